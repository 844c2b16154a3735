//! Lines: each reads back as what it was printed from.

use super::*;

fn conn() -> impl Strategy<Value = ConnId> {
    (any::<u16>(), any::<u64>()).prop_map(|(number, generation)| ConnId { number, generation })
}

fn bytes() -> impl Strategy<Value = Cow<'static, [u8]>> {
    vec(any::<u8>(), 0..40).prop_map(Cow::Owned)
}

fn text() -> impl Strategy<Value = Cow<'static, str>> {
    any::<String>().prop_map(Cow::Owned)
}

pub(super) fn stream() -> impl Strategy<Value = StreamKey> {
    vec(any::<u8>(), 0..8).prop_map(|name| StreamKey::from(bytes::Bytes::from(name)))
}

fn seq() -> impl Strategy<Value = SeqNo> {
    (any::<u64>(), any::<u64>()).prop_map(|(high, low)| SeqNo::redis(high, low))
}

pub(super) fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        any::<Duration>(),
        any::<u32>().prop_map(|n| Duration::from_millis(n.into())),
        any::<u64>().prop_map(Duration::from_secs),
        Just(Duration::MAX),
        Just(Duration::ZERO),
    ]
}

fn instant() -> impl Strategy<Value = Instant> {
    any::<u64>().prop_map(Instant::from_nanos)
}

fn cause() -> impl Strategy<Value = Cow<'static, Cause>> {
    prop_oneof![
        Just(Cause::Eof),
        Just(Cause::Refused),
        Just(Cause::Reset),
        Just(Cause::TimedOut),
        Just(Cause::Unresolved),
        any::<String>().prop_map(|text| Cause::Other(text.into())),
    ]
    .prop_map(Cow::Owned)
}

fn ranges() -> impl Strategy<Value = Vec<AckRange>> {
    let range =
        (any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>()).prop_map(|(segment, epoch, start, end)| {
            AckRange { segment: SegmentId(segment), epoch: Epoch(epoch), start, end }
        });
    vec(range, 0..4)
}

pub(super) fn position() -> impl Strategy<Value = Position> {
    prop_oneof![Just(Position::Beginning), Just(Position::End), seq().prop_map(Position::At)]
}

pub(super) fn shard() -> impl Strategy<Value = (StreamKey, ShardId)> {
    (stream(), any::<u64>().prop_map(ShardId::new))
}

pub(super) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        ranges().prop_map(Request::Ack),
        ranges().prop_map(Request::Taken),
        Just(Request::Commit),
        any::<i64>().prop_map(|millis| Request::Seek(Timestamp::from_millis(millis))),
        position().prop_map(Request::Rewind),
        shard().prop_map(|(stream, shard)| Request::Assign { stream, shard }),
        shard().prop_map(|(stream, shard)| Request::Unassign { stream, shard }),
        Just(Request::Pause),
        Just(Request::Resume),
        duration().prop_map(|deadline| Request::Close { deadline }),
    ]
}

fn input() -> impl Strategy<Value = Input<'static>> {
    prop_oneof![
        Just(Input::Tick),
        conn().prop_map(|conn| Input::Opened { conn }),
        (conn(), cause()).prop_map(|(conn, cause)| Input::OpenFailed { conn, cause }),
        (conn(), bytes()).prop_map(|(conn, bytes)| Input::Received { conn, bytes }),
        (conn(), any::<usize>()).prop_map(|(conn, n)| Input::Wrote { conn, n }),
        (conn(), cause()).prop_map(|(conn, cause)| Input::Closed { conn, cause }),
        request().prop_map(|request| Input::Request(Cow::Owned(request))),
    ]
}

pub(super) fn endpoint() -> impl Strategy<Value = Endpoint> {
    let host = any::<String>().prop_map(|host| host.as_str().into());
    (host, any::<u16>(), any::<bool>()).prop_map(|(host, port, tls)| Endpoint { host, port, tls })
}

fn ended() -> impl Strategy<Value = Ended<'static>> {
    prop_oneof![
        any::<u64>().prop_map(Ended::Committed),
        Just(Ended::Positioned),
        any::<u64>().prop_map(Ended::Closed),
        Just(Ended::Superseded),
        text().prop_map(Ended::Failed),
    ]
}

fn digest() -> impl Strategy<Value = Digest> {
    let numbers = (any::<u64>(), proptest::option::of(any::<u64>()), any::<usize>(), any::<u64>());
    (shard(), numbers, seq(), seq()).prop_map(
        |((stream, shard), (epoch, segment, messages, hash), first, last)| {
            let (epoch, segment) = (Epoch(epoch), segment.map(SegmentId));
            Digest { stream, shard, epoch, segment, messages, first, last, hash }
        },
    )
}

fn output() -> impl Strategy<Value = Output<'static>> {
    let assignment = || {
        (shard(), any::<u64>()).prop_map(|((stream, shard), epoch)| {
            Cow::Owned(Assignment { stream, shard, epoch: Epoch(epoch) })
        })
    };
    let commands = prop_oneof![
        (conn(), endpoint())
            .prop_map(|(conn, endpoint)| Output::Open { conn, endpoint: Cow::Owned(endpoint) }),
        (conn(), bytes()).prop_map(|(conn, bytes)| Output::Write { conn, bytes }),
        (conn(), bytes()).prop_map(|(conn, bytes)| Output::More { conn, bytes }),
        conn().prop_map(|conn| Output::Close { conn }),
        (any::<u64>(), ended()).prop_map(|(ticket, ended)| Output::Done { ticket: Ticket(ticket), ended }),
        text().prop_map(Output::Notice),
        proptest::option::of((instant(), text())).prop_map(Output::Wait),
        any::<u64>().prop_map(|ticket| Output::Ticket(Ticket(ticket))),
        Just(Output::Accepted),
        text().prop_map(Output::Refused),
    ];
    let deliveries = prop_oneof![
        digest().prop_map(Output::Batch),
        assignment().prop_map(Output::Assigned),
        assignment().prop_map(Output::Revoked),
        Just(Output::End),
        text().prop_map(Output::Failed),
        Just(Output::Nothing),
    ];
    prop_oneof![commands, deliveries]
}

fn line() -> impl Strategy<Value = Line<'static>> {
    prop_oneof![
        4 => (instant(), input()).prop_map(|(at, input)| Line::At(at, input)),
        1 => Just(Line::Take),
        1 => (conn(), bytes()).prop_map(|(conn, bytes)| Line::Appended { conn, bytes }),
        6 => output().prop_map(Line::Out),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_line_reads_back_as_what_it_was_printed_from(line in line()) {
        let printed = line.to_string();
        prop_assert!(printed.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{}", printed);
        prop_assert_eq!(printed.parse::<Line<'_>>(), Ok(line), "{}", printed);
    }

    #[test]
    fn a_line_that_was_damaged_reads_as_another_or_not_at_all(line in line(), at in any::<usize>(), to in any::<char>()) {
        let mut damaged: Vec<char> = line.to_string().chars().collect();
        let at = at % damaged.len();
        damaged[at] = to;
        let damaged: String = damaged.into_iter().collect();
        if let Ok(read) = damaged.parse::<Line<'_>>() {
            prop_assert_eq!(read.to_string().parse::<Line<'_>>(), Ok(read));
        }
    }

    #[test]
    fn any_text_reads_without_a_panic(text in any::<String>(), bytes in vec(any::<u8>(), 0..200)) {
        let _ = text.parse::<Line<'_>>();
        let _ = Trace::parse(&bytes);
    }
}

#[test]
fn lines_look_as_documented() {
    let c = ConnId { number: 0, generation: 1 };
    let at = |input| Line::At(Instant::from_nanos(7), input).to_string();
    let out = |output| Line::Out(output).to_string();
    assert_eq!(at(Input::Opened { conn: c }), "7 > opened c0.1");
    assert_eq!(
        at(Input::Received { conn: c, bytes: b"+OK\r\n\t\"\\\0\xff"[..].into() }),
        r#"7 > received c0.1 "+OK\r\n\t\"\\\x00\xff""#
    );
    assert_eq!(at(Input::Wrote { conn: c, n: 17 }), "7 > wrote c0.1 17");
    assert_eq!(at(Input::Request(Cow::Owned(Request::Commit))), "7 > request commit");
    let close = Request::Close { deadline: Duration::from_millis(1_500) };
    assert_eq!(at(Input::Request(Cow::Owned(close))), "7 > request close 1500ms");
    assert_eq!(Line::Take.to_string(), "> take");
    let endpoint = Cow::Owned(Endpoint::tcp("::1", 6379));
    assert_eq!(out(Output::Open { conn: c, endpoint }), "< open c0.1 tcp \"::1\" 6379");
    assert_eq!(out(Output::Done { ticket: Ticket(3), ended: Ended::Committed(17) }), "< done 3 committed 17");
    let wait = Some((Instant::from_nanos(123_456), "commit interval".into()));
    assert_eq!(out(Output::Wait(wait)), "< wait 123456 \"commit interval\"");
    assert_eq!(out(Output::Wait(None)), "< wait");
}
