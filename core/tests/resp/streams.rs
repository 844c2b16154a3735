//! The typed decoder: against the tree decoder, under every split, at its bounds, and its work.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_core::SeqNo;
use tidegate_core::redis::resp::{
    Bounds, Chunk, Decoder, End, EndKind, Protocol, RespError, Shape, StreamDecoder, Value,
};

use super::{Decoded, bulk, decode_one, decode_pieces, encoded, same_for_every_split, text, tree3};

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
        let spans = &entries.spans[first..entry.place as usize];
        first = entry.place as usize;
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
        (Shape::Claim, "*1\r\n*2\r\n$3\r\n5-1\r\n*1\r\n$1\r\na\r\n__padding", 0, E::OddFields { count: 1 }),
        (Shape::Claim, "*2\r\n*2\r\n$3\r\n5-1\r\n*0\r\n*2\r\n$3\r\n5-x\r\n*0\r\n__padding", 1, E::EntryId),
    ] {
        let (replies, rest) = stream_every_split(kind, Bounds::default(), bytes.as_bytes());
        assert_eq!(rest, Err(error), "{bytes:?}");
        let found: usize = replies[0].0.iter().map(|stream| stream.entries.len()).sum();
        assert_eq!(found, entries, "{bytes:?}");
    }
}

/// Whole entries, which are read in one step, keep the bounds as those in pieces do.
#[test]
fn typed_replies_keep_the_bounds() {
    let entry = "*2\r\n$3\r\n5-1\r\n*4\r\n$1\r\na\r\n$8\r\n12345678\r\n$1\r\na\r\n$1\r\na\r\n";
    let reply = format!("*2\r\n{entry}{entry}");
    let run = |bulk, aggregate| {
        let bounds = Bounds { bulk, aggregate, ..Bounds::default() };
        stream_every_split(Shape::Claim, bounds, reply.as_bytes()).1
    };
    assert_eq!(run(8, 4), Ok(0));
    assert_eq!(run(7, 4), Err(RespError::BulkTooLong { len: 8, bound: 7 }));
    assert_eq!(run(8, 3), Err(RespError::AggregateTooLong { count: 4, bound: 3 }));
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
