//! RESP through its public interface: against the `redis-protocol` crate, and against itself
//! under every split.
#![allow(clippy::unwrap_used)] // a panic with its line is the report, in helpers too

#[path = "resp/streams.rs"]
mod streams;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp2::types::Resp2Frame as _;
use redis_protocol::resp3::types::Resp3Frame as _;
use redis_protocol::{resp2, resp3};
use tidegate_core::SeqNo;
use tidegate_core::redis::resp::{Bounds, Command, Decoder, Protocol, RespError, Value, encode_value};

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
