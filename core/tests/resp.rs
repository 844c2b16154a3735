//! RESP through its public interface: against the `redis-protocol` crate, and against itself
//! under every split.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp2::types::Resp2Frame as _;
use redis_protocol::resp3::types::Resp3Frame as _;
use redis_protocol::{resp2, resp3};
use tidegate_core::SeqNo;
use tidegate_core::redis::resp::{
    Bounds, Chunk, Command, Decoder, End, EndKind, Protocol, RespError, Shape, StreamDecoder, Value,
    encode_value,
};

fn bulk(bytes: impl AsRef<[u8]>) -> Value {
    Value::Bulk(Bytes::copy_from_slice(bytes.as_ref()))
}

fn encoded(value: &Value, protocol: Protocol) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode_value(value, protocol, &mut out);
    out.to_vec()
}

/// What came out of a decoder: values, and the error or how many bytes are left.
type Decoded<T> = (T, Result<usize, RespError>);

fn decode_pieces<'a>(bounds: Bounds, pieces: impl IntoIterator<Item = &'a [u8]>) -> Decoded<Vec<Value>> {
    let mut decoder = Decoder::new(bounds);
    let mut buffer = BytesMut::new();
    let mut values = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(value)) => values.push(value),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(&mut buffer), Err(error.clone()), "an error is for ever");
                    return (values, Err(error));
                }
            }
        }
        assert_eq!(decoder.is_idle(), buffer.is_empty());
    }
    (values, Ok(buffer.len()))
}

fn decode_one(bytes: &[u8]) -> Result<Value, RespError> {
    let (mut values, rest) = decode_pieces(Bounds::default(), [bytes]);
    rest.map(|left| {
        assert_eq!((values.len(), left), (1, 0), "{}", bytes.escape_ascii());
        values.remove(0)
    })
}

/// Whole, in two pieces at every cut, and byte by byte.
fn same_for_every_split<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    run: impl Fn(&mut dyn Iterator<Item = &[u8]>) -> T,
) -> T {
    let whole = run(&mut std::iter::once(bytes));
    assert_eq!(run(&mut bytes.chunks(1)), whole, "byte by byte: {}", bytes.escape_ascii());
    for cut in 1..bytes.len() {
        let (a, b) = bytes.split_at(cut);
        assert_eq!(run(&mut [a, b].into_iter()), whole, "cut at {cut}: {}", bytes.escape_ascii());
    }
    whole
}

// ---- trees -------------------------------------------------------------------------------------

fn text() -> impl Strategy<Value = Bytes> {
    "[ -~]{0,12}".prop_map(Bytes::from)
}

fn leaf2() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        text().prop_map(Value::Simple),
        text().prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        (-20..20i64).prop_map(Value::Integer),
        vec(any::<u8>(), 0..20).prop_map(bulk),
    ]
}

fn tree2() -> impl Strategy<Value = Value> {
    leaf2().prop_recursive(4, 24, 5, |inner| vec(inner, 0..5).prop_map(Value::Array))
}

fn tree3() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        leaf2(),
        any::<bool>().prop_map(Value::Boolean),
        prop::num::f64::ANY
            .prop_filter("NaN is not equal to itself", |f| !f.is_nan())
            .prop_map(Value::Double),
        "-?[1-9][0-9]{0,40}".prop_map(|digits| Value::BigNumber(digits.into())),
        (any::<bool>(), text()).prop_map(|(plain, text)| {
            Value::Verbatim { format: if plain { *b"txt" } else { *b"mkd" }, text }
        }),
        // Their sets and maps are hashed, and take few kinds of keys.
        vec("[a-z]{0,5}", 0..5).prop_map(|names| Value::Set(names.into_iter().map(bulk).collect())),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            vec(inner.clone(), 0..5).prop_map(Value::Push),
            vec(inner, 0..5).prop_map(|values| {
                Value::Map(
                    values.into_iter().enumerate().map(|(at, v)| (bulk(format!("k{at}")), v)).collect(),
                )
            }),
        ]
    })
}

fn frame2(value: &Value) -> resp2::types::OwnedFrame {
    use resp2::types::OwnedFrame as Frame;
    match value {
        Value::Null => Frame::Null,
        Value::Simple(text) => Frame::SimpleString(text.to_vec()),
        Value::Error(text) => Frame::Error(String::from_utf8(text.to_vec()).unwrap()),
        Value::Integer(value) => Frame::Integer(*value),
        Value::Bulk(bytes) => Frame::BulkString(bytes.to_vec()),
        Value::Array(values) => Frame::Array(values.iter().map(frame2).collect()),
        other => panic!("not of RESP2: {other:?}"),
    }
}

fn frame3(value: &Value) -> resp3::types::OwnedFrame {
    use resp3::types::{OwnedFrame as Frame, VerbatimStringFormat as Format};
    let attributes = None;
    let all = |values: &[Value]| values.iter().map(frame3).collect::<Vec<_>>();
    match value {
        Value::Null => Frame::Null,
        Value::Simple(text) => Frame::SimpleString { data: text.to_vec(), attributes },
        Value::Error(text) => {
            Frame::SimpleError { data: String::from_utf8(text.to_vec()).unwrap(), attributes }
        }
        Value::Integer(data) => Frame::Number { data: *data, attributes },
        Value::Double(data) => Frame::Double { data: *data, attributes },
        Value::Boolean(data) => Frame::Boolean { data: *data, attributes },
        Value::BigNumber(digits) => Frame::BigNumber { data: digits.to_vec(), attributes },
        Value::Bulk(bytes) => Frame::BlobString { data: bytes.to_vec(), attributes },
        Value::Verbatim { format, text } => {
            let format = if format == b"txt" { Format::Text } else { Format::Markdown };
            Frame::VerbatimString { data: text.to_vec(), format, attributes }
        }
        Value::Array(values) => Frame::Array { data: all(values), attributes },
        Value::Push(values) => Frame::Push { data: all(values), attributes },
        Value::Set(values) => Frame::Set { data: all(values).into_iter().collect(), attributes },
        Value::Map(pairs) => {
            Frame::Map { data: pairs.iter().map(|(k, v)| (frame3(k), frame3(v))).collect(), attributes }
        }
    }
}

proptest! {
    #[test]
    fn resp2_trees_agree_with_redis_protocol(value in tree2()) {
        let ours = encoded(&value, Protocol::Resp2);
        let frame = frame2(&value);
        let (theirs, len) = resp2::decode::decode(&ours).unwrap().unwrap();
        prop_assert_eq!((&theirs, len), (&frame, ours.len()));

        let mut room = vec![0; frame.encode_len(false)];
        let len = resp2::encode::encode(&mut room, &frame, false).unwrap();
        prop_assert_eq!(decode_one(&room[..len]).unwrap(), value.clone());

        let (values, rest) =
            same_for_every_split(&ours, |pieces| decode_pieces(Bounds::default(), pieces));
        prop_assert_eq!((values, rest), (vec![value], Ok(0)));
    }

    #[test]
    fn resp3_trees_agree_with_redis_protocol(value in tree3()) {
        let ours = encoded(&value, Protocol::Resp3);
        let frame = frame3(&value);
        let (theirs, len) = resp3::decode::complete::decode(&ours).unwrap().unwrap();
        prop_assert_eq!((&theirs, len), (&frame, ours.len()));

        let mut room = vec![0; frame.encode_len(false)];
        let len = resp3::encode::complete::encode(&mut room, &frame, false).unwrap();
        // Their maps and sets come in any order.
        prop_assert_eq!(frame3(&decode_one(&room[..len]).unwrap()), frame);

        let (values, rest) =
            same_for_every_split(&ours, |pieces| decode_pieces(Bounds::default(), pieces));
        prop_assert_eq!((values, rest), (vec![value], Ok(0)));
    }

    #[test]
    fn commands_agree_with_redis_protocol(args in vec(vec(any::<u8>(), 0..40), 0..20), said in 0..200usize) {
        let mut out = BytesMut::from(&b"before"[..]);
        let mut command = Command::new(&mut out, said);
        for arg in &args {
            command.arg(arg);
        }
        drop(command);
        let (frame, len) = resp2::decode::decode(&out[6..]).unwrap().unwrap();
        prop_assert_eq!(len, out.len() - 6);
        prop_assert_eq!(frame, resp2::types::OwnedFrame::Array(
            args.into_iter().map(resp2::types::OwnedFrame::BulkString).collect()
        ));
    }
}

#[test]
fn numbers_in_commands_are_their_decimals() {
    let mut out = BytesMut::new();
    Command::new(&mut out, 5)
        .int(i64::MIN)
        .int(0)
        .int(-7)
        .uint(u64::MAX)
        .seq(SeqNo::redis(1_526_919_030_474, 55));
    assert_eq!(
        out,
        "*5\r\n$20\r\n-9223372036854775808\r\n$1\r\n0\r\n$2\r\n-7\r\n$20\r\n18446744073709551615\r\n\
         $16\r\n1526919030474-55\r\n"
    );
}

#[test]
fn the_rest_of_the_types() {
    let simple = |text: &'static str| Value::Simple(Bytes::from_static(text.as_bytes()));
    for (bytes, value) in [
        ("*-1\r\n", Value::Null),
        ("_\r\n", Value::Null),
        ("!5\r\na\r\nbc\r\n", Value::Error(Bytes::from_static(b"a\r\nbc"))),
        (",-inf\r\n", Value::Double(f64::NEG_INFINITY)),
        (",1.5e-3\r\n", Value::Double(0.0015)),
        ("(+12\r\n", Value::BigNumber(Bytes::from_static(b"+12"))),
        // Attributes: before the reply, before an element, empty, nested, before another one.
        ("|1\r\n+k\r\n*1\r\n:1\r\n+OK\r\n", simple("OK")),
        ("*2\r\n|1\r\n+k\r\n:1\r\n+a\r\n+b\r\n", Value::Array(vec![simple("a"), simple("b")])),
        ("*1\r\n|0\r\n|1\r\n|1\r\n:1\r\n:2\r\n:3\r\n*0\r\n:4\r\n", Value::Array(vec![Value::Integer(4)])),
        ("%1\r\n|1\r\n:0\r\n:0\r\n+a\r\n~1\r\n:1\r\n", {
            Value::Map(vec![(simple("a"), Value::Set(vec![Value::Integer(1)]))])
        }),
    ] {
        let (values, rest) =
            same_for_every_split(bytes.as_bytes(), |pieces| decode_pieces(Bounds::default(), pieces));
        assert_eq!((values, rest), (vec![value], Ok(0)), "{bytes:?}");
    }
    assert!(matches!(decode_one(b",nan\r\n"), Ok(Value::Double(f)) if f.is_nan()));
}

#[test]
fn names_and_values_read_alike_in_both_protocols() {
    let flat = Value::Array(vec![bulk("a"), Value::Integer(1), bulk("b"), Value::Null]);
    let map = Value::Map(vec![(bulk("a"), Value::Integer(1)), (bulk("b"), Value::Null)]);
    for value in [flat, map] {
        assert_eq!(value.field(b"a").and_then(Value::as_int), Some(1));
        assert!(value.field(b"b").unwrap().is_null() && value.field(b"c").is_none());
        assert_eq!(value.into_pairs().unwrap()[1], (bulk("b"), Value::Null));
    }
    assert_eq!(Value::Array(vec![bulk("a")]).into_pairs(), None);
}

#[test]
fn each_rule_has_its_error() {
    use RespError as E;
    for (bytes, error) in [
        ("H\r\n", E::UnknownType { byte: b'H' }),
        ("+a\nb\r\n", E::LineEnding),
        ("+a\rb\r\n", E::LineEnding),
        (":1\n", E::LineEnding),
        ("$1\r\nab\r\n", E::BulkEnding { len: 1 }),
        ("$1\r\na\n\r\n", E::BulkEnding { len: 1 }),
        (":+1\r\n", E::Number),
        (":01\r\n", E::Number),
        (":-0\r\n", E::Number),
        (":9223372036854775808\r\n", E::Number),
        (":\r\n", E::Number),
        (": 1\r\n", E::Number),
        ("$01\r\na\r\n", E::Number),
        ("*00\r\n__padding", E::Number),
        ("$+1\r\na\r\n", E::Number),
        ("$1x\r\na\r\n", E::Number),
        ("*99999999999999999999\r\n", E::Number),
        ("$-2\r\n", E::Negative { announced: -2 }),
        ("*-2\r\n", E::Negative { announced: -2 }),
        ("%-1\r\n", E::Negative { announced: -1 }),
        ("=-1\r\n", E::Negative { announced: -1 }),
        ("$?\r\n", E::Streamed),
        ("*?\r\n", E::Streamed),
        ("%?\r\n", E::Streamed),
        (",infinity\r\n", E::Double),
        (",\r\n", E::Double),
        (",0x1\r\n", E::Double),
        ("#true\r\n", E::Boolean),
        ("(-\r\n", E::BigNumber),
        ("(1.5\r\n", E::BigNumber),
        ("_x\r\n", E::Null),
        ("=3\r\ntxt\r\n", E::Verbatim),
        ("=5\r\ntxt-a\r\n", E::Verbatim),
    ] {
        let (values, rest) =
            same_for_every_split(bytes.as_bytes(), |pieces| decode_pieces(Bounds::default(), pieces));
        assert_eq!((values, rest), (vec![], Err(error)), "{bytes:?}");
    }
}

#[test]
fn each_bound_is_reached_and_not_passed() {
    use RespError as E;
    let bounds = Bounds { depth: 3, line: 5, bulk: 8, aggregate: 4, total: 40 };
    for (bytes, error) in [
        ("+12345\r\n", None),
        ("+123456\r\n", Some(E::LineTooLong { bound: 5 })),
        ("+123456789", Some(E::LineTooLong { bound: 5 })),
        ("$8\r\n12345678\r\n", None),
        ("$9\r\n", Some(E::BulkTooLong { len: 9, bound: 8 })),
        ("!9\r\n", Some(E::BulkTooLong { len: 9, bound: 8 })),
        ("$99999\r\n__padding", Some(E::BulkTooLong { len: 99999, bound: 8 })),
        ("*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n", None),
        ("*5\r\n", Some(E::AggregateTooLong { count: 5, bound: 4 })),
        ("*5\r\n__padding", Some(E::AggregateTooLong { count: 5, bound: 4 })),
        ("%2\r\n:1\r\n:1\r\n:1\r\n:1\r\n", None),
        ("%3\r\n", Some(E::AggregateTooLong { count: 6, bound: 4 })),
        ("|3\r\n", Some(E::AggregateTooLong { count: 6, bound: 4 })),
        ("*1\r\n*1\r\n*1\r\n:1\r\n", None),
        ("*1\r\n*1\r\n*1\r\n*1\r\n", Some(E::TooDeep { bound: 3 })),
        ("*1\r\n*1\r\n*1\r\n*0\r\n", Some(E::TooDeep { bound: 3 })),
        ("*1\r\n|1\r\n%1\r\n|1\r\n", Some(E::TooDeep { bound: 3 })),
        ("*4\r\n+12345\r\n+12345\r\n+12345\r\n$6\r\n123456\r\n", None), // 40 bytes
        ("*4\r\n+12345\r\n+12345\r\n+12345\r\n$7\r\n", Some(E::ReplyTooLong { bytes: 41, bound: 40 })),
    ] {
        let (values, rest) = same_for_every_split(bytes.as_bytes(), |pieces| decode_pieces(bounds, pieces));
        match error {
            Some(error) => assert_eq!((values, rest), (vec![], Err(error)), "{bytes:?}"),
            None => assert_eq!((values.len(), rest), (1, Ok(0)), "{bytes:?}"),
        }
    }
    // A depth that nobody can mean counts as the greatest.
    let (_, rest) =
        decode_pieces(Bounds { depth: u32::MAX, ..Bounds::default() }, [&b"*1\r\n".repeat(9999)[..]]);
    assert_eq!(rest, Err(RespError::TooDeep { bound: Bounds::DEPTH_LIMIT }));
}

// ---- stream replies ----------------------------------------------------------------------------

/// Entries of a stream, as far apart from spans as can be.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stream {
    key: Option<Vec<u8>>,
    entries: Vec<(SeqNo, Vec<Vec<u8>>)>,
    deleted: Vec<SeqNo>,
}

fn add_chunk(streams: &mut Vec<Stream>, chunk: Chunk) {
    let Chunk { key, entries, deleted } = chunk;
    let key = key.map(|key| key.to_vec());
    assert!(!entries.index.is_empty() || !deleted.is_empty(), "no empty chunks");
    assert_eq!(entries.data.is_empty(), entries.index.is_empty(), "no bytes for nothing");
    if !entries.data.is_empty() {
        assert!(entries.data.starts_with(b"*2\r\n$") && entries.data.ends_with(b"\r\n"), "tight");
    }
    if streams.last().is_none_or(|last| last.key != key) {
        streams.push(Stream { key, ..Stream::default() });
    }
    let stream = streams.last_mut().unwrap();
    let mut first = 0;
    for entry in &entries.index {
        assert_eq!(entry.timestamp.as_millis() as u64, entry.seq.high());
        assert_eq!(entry.deliveries, 1);
        let spans = &entries.spans[first..entry.spans_end as usize];
        first = entry.spans_end as usize;
        let texts = spans.iter().map(|s| entries.data[s.start as usize..][..s.len as usize].to_vec());
        stream.entries.push((entry.seq, texts.collect()));
    }
    assert_eq!(first, entries.spans.len());
    stream.deleted.extend(deleted);
}

type Replies = Vec<(Vec<Stream>, Option<End>)>;

/// Each reply with its streams; the last may lack its end.
fn stream_pieces<'a>(
    shape: Shape,
    bounds: Bounds,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Decoded<Replies> {
    let mut decoder = StreamDecoder::new(shape, bounds);
    let mut buffer = BytesMut::new();
    let mut replies: Replies = vec![(Vec::new(), None)];
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let mut chunks = Vec::new();
            let result = decoder.decode(&mut buffer, &mut chunks);
            let reply = replies.last_mut().unwrap();
            chunks.into_iter().for_each(|chunk| add_chunk(&mut reply.0, chunk));
            match result {
                Ok(Some(end)) => {
                    let entries: usize = reply.0.iter().map(|stream| stream.entries.len()).sum();
                    assert_eq!(end.entries, entries as u64);
                    assert!(decoder.is_idle());
                    reply.1 = Some(end);
                    replies.push((Vec::new(), None));
                }
                Ok(None) => break,
                Err(error) => return (replies, Err(error)),
            }
        }
    }
    (replies, Ok(buffer.len()))
}

fn stream_every_split(shape: Shape, bounds: Bounds, bytes: &[u8]) -> Decoded<Replies> {
    same_for_every_split(bytes, |pieces| stream_pieces(shape, bounds, pieces))
}

/// What a reply means, read off its tree.
fn from_tree(shape: Shape, value: Value) -> (Vec<Stream>, End) {
    let mut end = End { kind: EndKind::Complete, cursor: None, deleted: vec![], nils: 0, entries: 0 };
    let id = |value: &Value| {
        let text = String::from_utf8(value.as_bytes().unwrap().to_vec()).unwrap();
        let (millis, counter) = text.split_once('-').unwrap();
        SeqNo::redis(millis.parse().unwrap(), counter.parse().unwrap())
    };
    let mut streams = Vec::new();
    let mut add = |end: &mut End, key: Option<Vec<u8>>, list: &Value| {
        let mut stream = Stream { key, ..Stream::default() };
        for entry in list.as_array().unwrap() {
            match entry.as_array() {
                None => end.nils += 1,
                Some([seq, Value::Null]) => stream.deleted.push(id(seq)),
                Some([seq, Value::Map(pairs)]) => {
                    let texts =
                        pairs.iter().flat_map(|(n, v)| [n, v]).map(|t| t.as_bytes().unwrap().to_vec());
                    stream.entries.push((id(seq), texts.collect()));
                }
                Some([seq, fields]) => {
                    let texts = fields.as_array().unwrap().iter().map(|t| t.as_bytes().unwrap().to_vec());
                    stream.entries.push((id(seq), texts.collect()));
                }
                Some(other) => panic!("{other:?}"),
            }
        }
        end.entries += stream.entries.len() as u64;
        if !stream.entries.is_empty() || !stream.deleted.is_empty() {
            streams.push(stream);
        }
    };
    match (shape, value) {
        (_, Value::Null) => end.kind = EndKind::Null,
        (_, Value::Error(text)) => end.kind = EndKind::Error(text),
        (Shape::Read, Value::Map(pairs)) => {
            pairs.iter().for_each(|(key, list)| add(&mut end, Some(key.as_bytes().unwrap().to_vec()), list));
        }
        (Shape::Read, value) => {
            for pair in value.as_array().unwrap() {
                let [key, list] = pair.as_array().unwrap() else { panic!("{pair:?}") };
                add(&mut end, Some(key.as_bytes().unwrap().to_vec()), list);
            }
        }
        (Shape::Claim, value) => add(&mut end, None, &value),
        (Shape::AutoClaim, value) => {
            let parts = value.as_array().unwrap();
            end.cursor = Some(id(&parts[0]));
            add(&mut end, None, &parts[1]);
            if let Some(ids) = parts.get(2) {
                end.deleted = ids.as_array().unwrap().iter().map(id).collect();
            }
        }
    }
    (streams, end)
}

fn id_value() -> impl Strategy<Value = Value> {
    (0..30u32, any::<u64>(), 0..64u32, any::<u64>())
        .prop_map(|(a, millis, b, counter)| bulk(format!("{}-{}", millis >> (a + 10), counter >> b)))
}

fn entry_value() -> impl Strategy<Value = Value> {
    let texts = || vec(prop_oneof![6 => vec(any::<u8>(), 0..12), 1 => vec(any::<u8>(), 95..130)], 0..4);
    let fields = prop_oneof![
        8 => (texts(), texts()).prop_map(|(names, values)| {
            Value::Array(names.into_iter().zip(values).flat_map(|(n, v)| [bulk(n), bulk(v)]).collect())
        }),
        2 => (texts(), texts()).prop_map(|(names, values)| {
            Value::Map(names.into_iter().zip(values).map(|(n, v)| (bulk(n), bulk(v))).collect())
        }),
        2 => Just(Value::Null),
    ];
    prop_oneof![
        9 => (id_value(), fields).prop_map(|(id, fields)| Value::Array(vec![id, fields])),
        1 => Just(Value::Null),
    ]
}

fn entries_value() -> impl Strategy<Value = Value> {
    vec(entry_value(), 0..5).prop_map(Value::Array)
}

fn stream_value() -> impl Strategy<Value = (Shape, Value)> {
    let read = vec(entries_value(), 0..4).prop_flat_map(|lists| {
        any::<bool>().prop_map(move |keyed| {
            let keyed_lists =
                lists.iter().enumerate().map(|(at, list)| (bulk(format!("s{at}")), list.clone()));
            match keyed {
                true => Value::Map(keyed_lists.collect()),
                false => Value::Array(keyed_lists.map(|(key, list)| Value::Array(vec![key, list])).collect()),
            }
        })
    });
    let auto = (id_value(), entries_value(), prop::option::of(vec(id_value(), 0..4)));
    let shape = || prop_oneof![Just(Shape::Read), Just(Shape::Claim), Just(Shape::AutoClaim)];
    prop_oneof![
        6 => read.prop_map(|value| (Shape::Read, value)),
        3 => entries_value().prop_map(|value| (Shape::Claim, value)),
        4 => auto.prop_map(|(cursor, entries, ids)| {
            let mut parts = vec![cursor, entries];
            parts.extend(ids.map(Value::Array));
            (Shape::AutoClaim, Value::Array(parts))
        }),
        1 => shape().prop_map(|shape| (shape, Value::Null)),
        1 => (shape(), text()).prop_map(|(shape, text)| (shape, Value::Error(text))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn typed_and_tree_decoders_agree(
        (shape, value) in stream_value(),
        resp3 in any::<bool>(),
        push in prop::option::of(tree3()),
    ) {
        let protocol = if resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        let mut bytes = Vec::new();
        if let Some(push) = push {
            bytes.extend(encoded(&Value::Push(vec![push.clone()]), Protocol::Resp3));
            bytes.extend_from_slice(b"|1\r\n+a\r\n");
            bytes.extend(encoded(&push, Protocol::Resp3));
        }
        let reply = encoded(&value, protocol);
        bytes.extend(&reply);
        // A map has no form of its own in RESP2: a read's streams become a flat list, which no
        // server sends.
        prop_assume!(resp3 || !matches!((&shape, &value), (Shape::Read, Value::Map(pairs)) if !pairs.is_empty()));
        // The rest of the wire is the next reply's.
        bytes.extend_from_slice(b"*-1\r\n");

        let (streams, end) = from_tree(shape, decode_one(&reply).unwrap());
        let null = End { kind: EndKind::Null, cursor: None, deleted: vec![], nils: 0, entries: 0 };
        let expected = vec![(streams, Some(end)), (vec![], Some(null)), (vec![], None)];
        prop_assert_eq!(stream_every_split(shape, Bounds::default(), &bytes), (expected, Ok(0)));
    }

    #[test]
    fn garbage_never_panics_and_never_depends_on_the_split(
        bytes in vec(prop::sample::select(&b"$*:+-%~>|=!,#(_?0123456789\r\n\r\n\r\n\r\nab"[..]), 0..60),
    ) {
        let small = Bounds { depth: 4, line: 12, bulk: 20, aggregate: 10, total: 50 };
        for bounds in [small, Bounds::default()] {
            let _ = same_for_every_split(&bytes, |pieces| decode_pieces(bounds, pieces));
            for shape in [Shape::Read, Shape::Claim, Shape::AutoClaim] {
                let _ = stream_every_split(shape, bounds, &bytes);
            }
        }
    }

    #[test]
    fn damaged_replies_never_panic_and_never_depend_on_the_split(
        (shape, value) in stream_value(),
        resp3 in any::<bool>(),
        damage in vec((any::<prop::sample::Index>(), prop::sample::select(&b"$*_%0129-\r\n"[..]), 0..3u8), 1..4),
        total in 20..200u32,
    ) {
        let mut bytes = encoded(&value, if resp3 { Protocol::Resp3 } else { Protocol::Resp2 });
        for (at, byte, how) in damage {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        for bounds in [Bounds::default(), Bounds { total, bulk: 100, aggregate: 6, ..Bounds::default() }] {
            let _ = stream_every_split(shape, bounds, &bytes);
            let _ = same_for_every_split(&bytes, |pieces| decode_pieces(bounds, pieces));
        }
    }
}

#[test]
fn shapes_of_real_servers() {
    let complete = End { kind: EndKind::Complete, cursor: None, deleted: vec![], nils: 0, entries: 0 };
    let id = SeqNo::redis;
    let run = |shape, bytes: &str| {
        let (mut replies, rest) = stream_every_split(shape, Bounds::default(), bytes.as_bytes());
        assert_eq!((replies.len(), rest), (2, Ok(0)), "{bytes:?}");
        let (streams, end) = replies.remove(0);
        (streams, end.unwrap())
    };
    // Redis 6.2: two elements, and nulls for entries that were deleted.
    let (streams, end) = run(
        Shape::AutoClaim,
        "*2\r\n$3\r\n7-0\r\n*3\r\n*-1\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\na\r\n$0\r\n\r\n*-1\r\n",
    );
    assert_eq!(streams[0].entries, [(id(5, 1), vec![b"a".to_vec(), vec![]])]);
    assert_eq!(end, End { cursor: Some(id(7, 0)), nils: 2, entries: 1, ..complete.clone() });
    // Redis 7.0: what was deleted comes in a third element; an empty page with a cursor.
    let (streams, end) = run(Shape::AutoClaim, "*3\r\n$3\r\n0-0\r\n*0\r\n*2\r\n$3\r\n5-1\r\n$3\r\n5-2\r\n");
    assert_eq!((streams, end.cursor, end.deleted), (vec![], Some(SeqNo::ZERO), vec![id(5, 1), id(5, 2)]));
    // History with a deleted body, and a stream whose list is empty.
    let (streams, end) =
        run(Shape::Read, "*2\r\n*2\r\n$1\r\nx\r\n*0\r\n*2\r\n$1\r\ny\r\n*1\r\n*2\r\n$3\r\n5-1\r\n*-1\r\n");
    assert_eq!(streams, [Stream { key: Some(b"y".to_vec()), entries: vec![], deleted: vec![id(5, 1)] }]);
    assert_eq!(end, complete);
    assert_eq!(run(Shape::Read, "*0\r\n"), (vec![], complete.clone()));
    assert_eq!(run(Shape::Read, "*-1\r\n").1.kind, EndKind::Null);
    assert_eq!(run(Shape::Read, "_\r\n").1.kind, EndKind::Null);
    assert_eq!(run(Shape::Claim, "*0\r\n").1, complete);
    let error = EndKind::Error(Bytes::from_static(b"NOGROUP No such key"));
    assert_eq!(run(Shape::Read, "-NOGROUP No such key\r\n").1.kind, error);
    assert_eq!(run(Shape::Claim, "!19\r\nNOGROUP No such key\r\n").1.kind, error);
}

#[test]
fn wrong_shapes_have_names_and_lose_nothing_before() {
    use RespError as E;
    let shape = |expected, found| E::Shape { expected, found };
    for (kind, bytes, entries, error) in [
        (Shape::Read, "+OK\r\n", 0, shape("streams", "a simple string")),
        (Shape::Claim, "%1\r\n", 0, shape("entries", "a map")),
        (Shape::AutoClaim, "*4\r\n", 0, shape("a cursor, entries and ids", "an array")),
        (Shape::AutoClaim, "*2\r\n$1\r\n5\r\n", 0, E::EntryId),
        (Shape::Read, "*1\r\n*3\r\n", 0, shape("a key and its entries", "an array")),
        (Shape::Claim, "*1\r\n*2\r\n:5\r\n", 0, shape("an entry's id", "an integer")),
        (Shape::Claim, "*1\r\n*2\r\n$3\r\n5-1\r\n*3\r\n", 0, E::OddFields { count: 3 }),
        (Shape::Claim, "*2\r\n*2\r\n$3\r\n5-1\r\n*0\r\n*2\r\n$3\r\n5-x\r\n*0\r\n__padding", 1, E::EntryId),
    ] {
        let (replies, rest) = stream_every_split(kind, Bounds::default(), bytes.as_bytes());
        assert_eq!(rest, Err(error), "{bytes:?}");
        let found: usize = replies[0].0.iter().map(|stream| stream.entries.len()).sum();
        assert_eq!(found, entries, "{bytes:?}");
    }
}

/// `total` is for what is held at once, so a long reply of small entries is no offence.
#[test]
fn typed_replies_are_bounded_by_entry() {
    let entry = "*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\na\r\n$5\r\nvalue\r\n";
    let reply = format!("*50\r\n{}", entry.repeat(50));
    let bounds = |total| Bounds { total, ..Bounds::default() };
    let run = |total| stream_pieces(Shape::Claim, bounds(total), [reply.as_bytes()]);
    assert_eq!(run(entry.len() as u32).0[0].1.as_ref().unwrap().entries, 50);
    let (replies, rest) = run(entry.len() as u32 - 1);
    assert_eq!(
        rest,
        Err(RespError::ReplyTooLong { bytes: entry.len() as u64, bound: entry.len() as u32 - 1 })
    );
    assert!(replies[0].0.is_empty());

    // Where one entry may be nearly 4 GiB, a chunk is closed before its spans could overflow.
    let mut chunks = Vec::new();
    let total = u32::MAX - 100;
    let bounds = Bounds { bulk: u32::MAX, ..bounds(total) };
    let mut buffer = BytesMut::from(reply.as_bytes());
    StreamDecoder::new(Shape::Claim, bounds).decode(&mut buffer, &mut chunks).unwrap().unwrap();
    assert_eq!(chunks.iter().map(|chunk| chunk.entries.index.len()).collect::<Vec<_>>()[..2], [3, 3]);
    assert!(chunks.iter().all(|chunk| chunk.entries.data.len() == entry.len() * chunk.entries.index.len()));

    // A push is passed over, however it is split, but not for ever.
    let push = format!(">2\r\n+{}\r\n+{}\r\n", "a".repeat(30), "b".repeat(30));
    let bounds = Bounds { total: 60, ..Bounds::default() };
    let (_, rest) = stream_every_split(Shape::Claim, bounds, push.as_bytes());
    assert_eq!(rest, Err(RespError::ReplyTooLong { bytes: 66, bound: 60 }));
}

#[test]
fn chunks_of_a_call_share_the_buffer_and_streams_stay_apart() {
    let list = "*2\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$3\r\n5-2\r\n*0\r\n";
    let reply = format!("*2\r\n*2\r\n$1\r\nx\r\n{list}*2\r\n$1\r\ny\r\n{list}");
    let mut buffer = BytesMut::from(reply.as_bytes());
    let home = buffer.as_ptr_range();
    let mut chunks = Vec::new();
    StreamDecoder::new(Shape::Read, Bounds::default()).decode(&mut buffer, &mut chunks).unwrap().unwrap();
    assert_eq!(chunks.len(), 2);
    for chunk in &chunks {
        assert!(home.contains(&chunk.entries.data.as_ptr()), "a slice, not a copy");
        assert_eq!(chunk.entries.data, list.as_bytes()[4..]);
    }
}

// ---- work --------------------------------------------------------------------------------------

/// A megabyte byte by byte: the work is a small multiple of the bytes, whatever they are.
#[test]
fn work_is_linear_byte_by_byte() {
    const MEGABYTE: usize = 1 << 20;
    let entry = format!("*2\r\n$15\r\n1526919030474-0\r\n*2\r\n$3\r\nmsg\r\n$100\r\n{}\r\n", "x".repeat(100));
    let tiny = "*2\r\n$3\r\n1-1\r\n*0\r\n";
    let field = "$1\r\na\r\n";
    let count = |unit: &str| MEGABYTE / unit.len() / 2 * 2;
    let fields = format!("*1\r\n*2\r\n$3\r\n1-1\r\n*{}\r\n{}", count(field), field.repeat(count(field)));
    for reply in [
        format!("*{}\r\n{}", count(&entry), entry.repeat(count(&entry))),
        format!("*{}\r\n{}", count(tiny), tiny.repeat(count(tiny))),
        format!("*{}\r\n{}", count("*-1\r\n"), "*-1\r\n".repeat(count("*-1\r\n"))),
        format!("*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n${MEGABYTE}\r\n{}\r\n", "x".repeat(MEGABYTE)),
        format!("-{}\r\n", "x".repeat(MEGABYTE)),
        format!(">{}\r\n{}_\r\n", count(field), field.repeat(count(field))),
        fields,
    ] {
        let bounds = Bounds { line: 2 << 20, ..Bounds::default() };
        let mut typed = StreamDecoder::new(Shape::Claim, bounds);
        let mut tree = Decoder::new(bounds);
        let (mut ours, mut theirs) = (BytesMut::new(), BytesMut::new());
        let (mut ended, mut value) = (false, None);
        let mut chunks = Vec::new();
        for byte in reply.bytes() {
            ours.extend_from_slice(&[byte]);
            theirs.extend_from_slice(&[byte]);
            ended |= typed.decode(&mut ours, &mut chunks).unwrap().is_some();
            chunks.clear();
            value = value.or(tree.decode(&mut theirs).unwrap());
        }
        assert!(ended && value.is_some());
        let begin = &reply[..40];
        assert!(typed.steps() <= 12 * reply.len() as u64, "{} for {begin:?}", typed.steps());
        assert!(tree.steps() <= 4 * reply.len() as u64, "{} for {begin:?}", tree.steps());
    }
}
