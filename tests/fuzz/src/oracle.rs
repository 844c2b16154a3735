//! Replies as the `redis-protocol` crate reads them.
//!
//! **Invariant:** it is asked only about bytes that our own decoder accepted: it allocates what a
//! reply announces.

use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::types::{OwnedFrame as Frame2, Resp2Frame as _};
use redis_protocol::resp3::types::{OwnedFrame as Frame3, Resp3Frame as _, VerbatimStringFormat as Format};
use redis_protocol::{resp2, resp3};
use tidegate_core::redis::resp::{Bounds, Decoder, Value};

/// `wire` is a whole reply that was read as `value`: where the other crate takes it too, it is
/// the same to it, and what it writes of it is the same to us.
pub(crate) fn agrees(wire: &[u8], value: &Value) {
    // Attributes are parts of values there, and nothing here.
    if wire.contains(&b'|') {
        return;
    }
    if let Ok(Some((frame, len))) = resp2::decode::decode(wire) {
        assert!(len == wire.len() && same2(&frame, value), "RESP2: {frame:?} is not {value:?}");
        let mut room = vec![0; frame.encode_len(false)];
        let len = resp2::encode::encode(&mut room, &frame, false).unwrap();
        assert!(same2(&frame, &read(&room[..len])), "RESP2: {frame:?} as it writes it");
    }
    if let Ok(Some((frame, len))) = resp3::decode::complete::decode(wire) {
        assert!(len == wire.len() && same3(&frame, value), "RESP3: {frame:?} is not {value:?}");
        let mut room = vec![0; frame.encode_len(false)];
        let len = resp3::encode::complete::encode(&mut room, &frame, false).unwrap();
        assert!(same3(&frame, &read(&room[..len])), "RESP3: {frame:?} as it writes it");
    }
}

fn read(wire: &[u8]) -> Value {
    let bounds = Bounds { depth: Bounds::DEPTH_LIMIT, ..Bounds::default() };
    Decoder::new(bounds).decode(&mut BytesMut::from(wire)).unwrap().unwrap()
}

fn same2(frame: &Frame2, value: &Value) -> bool {
    match (frame, value) {
        (Frame2::Null, Value::Null) => true,
        (Frame2::SimpleString(a), Value::Simple(b)) | (Frame2::BulkString(a), Value::Bulk(b)) => a == b,
        (Frame2::Error(a), Value::Error(b)) => a.as_bytes() == b,
        (Frame2::Integer(a), Value::Integer(b)) => a == b,
        (Frame2::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same2(a, b))
        }
        _ => false,
    }
}

fn same3(frame: &Frame3, value: &Value) -> bool {
    let all = |a: &[Frame3], b: &[Value]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same3(a, b));
    match (frame, value) {
        (Frame3::Null, Value::Null) => true,
        (Frame3::SimpleString { data, .. }, Value::Simple(b))
        | (Frame3::BlobString { data, .. }, Value::Bulk(b))
        | (Frame3::BlobError { data, .. }, Value::Error(b))
        | (Frame3::BigNumber { data, .. }, Value::BigNumber(b)) => data == b,
        (Frame3::SimpleError { data, .. }, Value::Error(b)) => data.as_bytes() == b,
        (Frame3::Number { data, .. }, Value::Integer(b)) => data == b,
        (Frame3::Double { data, .. }, Value::Double(b)) => data == b || data.is_nan() && b.is_nan(),
        (Frame3::Boolean { data, .. }, Value::Boolean(b)) => data == b,
        (Frame3::VerbatimString { data, format, .. }, Value::Verbatim { format: name, text }) => {
            let known = if *format == Format::Text { b"txt" } else { b"mkd" };
            data == text && known == name
        }
        (Frame3::Array { data, .. }, Value::Array(b)) | (Frame3::Push { data, .. }, Value::Push(b)) => {
            all(data, b)
        }
        // Theirs are hashed: in any order, and of equal keys the last one counts.
        (Frame3::Set { data, .. }, Value::Set(b)) => {
            data.len() <= b.len() && data.iter().all(|one| b.iter().any(|value| same3(one, value)))
        }
        (Frame3::Map { data, .. }, Value::Map(pairs)) => {
            let known = |(name, value): (&Frame3, &Frame3)| {
                pairs.iter().rev().any(|(n, v)| same3(name, n) && same3(value, v))
            };
            data.len() <= pairs.len() && data.iter().all(known)
        }
        _ => false,
    }
}

/// `value` with each NaN as one and the same text, so that values can be compared.
pub(crate) fn comparable(value: Value) -> Value {
    match value {
        Value::Double(double) if double.is_nan() => Value::Simple(Bytes::from_static(b"NaN")),
        Value::Array(values) => Value::Array(values.into_iter().map(comparable).collect()),
        Value::Set(values) => Value::Set(values.into_iter().map(comparable).collect()),
        Value::Push(values) => Value::Push(values.into_iter().map(comparable).collect()),
        Value::Map(pairs) => {
            Value::Map(pairs.into_iter().map(|(name, value)| (comparable(name), comparable(value))).collect())
        }
        other => other,
    }
}

/// Bytes of memory that a value has on top of the buffer that it was read from.
pub(crate) fn heap(value: &Value) -> usize {
    let list =
        |values: &Vec<Value>| values.capacity() * size_of::<Value>() + values.iter().map(heap).sum::<usize>();
    match value {
        Value::Array(values) | Value::Set(values) | Value::Push(values) => list(values),
        Value::Map(pairs) => {
            let each = |(name, value): &(Value, Value)| heap(name) + heap(value);
            pairs.capacity() * size_of::<(Value, Value)>() + pairs.iter().map(each).sum::<usize>()
        }
        _ => 0,
    }
}
