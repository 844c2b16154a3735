//! Values and commands into bytes, and back.
//!
//! **Input:** a byte that says what it is about, then a tape or a server's bytes.

use bytes::{Bytes, BytesMut};
use tidegate_core::redis::resp::{Bounds, Command, Decoder, Protocol, Value, encode_value};
use tidegate_sim::Tape;

use crate::oracle::{agrees, comparable};
use crate::source::{bytes, number, seq, signed, value};

/// What is written is read back: values in both protocols, as much of them as the protocol has;
/// commands, as arrays of strings, whatever number of arguments was said. What was read is written
/// as something that reads the same, and is written the same again.
pub fn resp_encode(data: &[u8]) {
    let [which, rest @ ..] = data else { return };
    match which % 4 {
        0 => command(&mut Tape::from_bytes(rest)),
        1 => wire(rest),
        _ => {
            let mut tape = Tape::from_bytes(rest);
            let value = value(&mut tape, 1 + u32::from(which / 4) % 6);
            round_trip(&value);
        }
    }
}

/// Deeper than anything here.
const WIDE: Bounds = Bounds { depth: 128, line: 1 << 20, bulk: 1 << 20, aggregate: 1 << 20, total: 1 << 30 };

fn round_trip(value: &Value) {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let wire = encoded(value, protocol);
        let read = decoded(&wire);
        assert_eq!(comparable(read.clone()), comparable(as_written(value, protocol)), "{protocol:?}");
        // Nothing more is lost by a second time.
        assert_eq!(encoded(&read, protocol), wire, "{protocol:?}");
        agrees(&wire, &read);
    }
}

fn wire(wire: &[u8]) {
    let mut decoder = Decoder::new(Bounds::default());
    let mut buffer = BytesMut::from(wire);
    let mut rest = wire;
    while let Ok(Some(value)) = decoder.decode(&mut buffer) {
        let (reply, after) = rest.split_at(rest.len() - buffer.len());
        rest = after;
        if has_one_spelling(reply) {
            assert_eq!(encoded(&value, Protocol::Resp3), reply, "{value:?}");
        }
        round_trip(&value);
    }
}

/// The decoder is strict, so that most replies can be written in one way only. Others: attributes,
/// doubles, errors as strings, the nulls of RESP2.
fn has_one_spelling(reply: &[u8]) -> bool {
    !reply.iter().any(|byte| b"|,!".contains(byte)) && !reply.windows(4).any(|null| null == b"-1\r\n")
}

fn encoded(value: &Value, protocol: Protocol) -> BytesMut {
    let mut out = BytesMut::new();
    encode_value(value, protocol, &mut out);
    out
}

fn decoded(wire: &[u8]) -> Value {
    let mut decoder = Decoder::new(WIDE);
    let mut buffer = BytesMut::from(wire);
    let value = decoder.decode(&mut buffer).unwrap().unwrap();
    assert!(buffer.is_empty() && decoder.is_idle());
    value
}

/// What is left of a value in this protocol, as `encode_value` documents it.
fn as_written(value: &Value, protocol: Protocol) -> Value {
    let resp3 = protocol == Protocol::Resp3;
    let all = |values: &[Value]| values.iter().map(|value| as_written(value, protocol)).collect::<Vec<_>>();
    match value {
        Value::Simple(text) => Value::Simple(line(text)),
        Value::Error(text) => Value::Error(line(text)),
        Value::Array(values) => Value::Array(all(values)),
        Value::Set(values) if resp3 => Value::Set(all(values)),
        Value::Push(values) if resp3 => Value::Push(all(values)),
        Value::Map(pairs) if resp3 => Value::Map(
            pairs.iter().map(|(n, v)| (as_written(n, protocol), as_written(v, protocol))).collect(),
        ),
        _ if resp3 => value.clone(),
        Value::Set(values) | Value::Push(values) => Value::Array(all(values)),
        Value::Map(pairs) => {
            let flat = pairs.iter().flat_map(|(name, value)| [name, value]);
            Value::Array(flat.map(|value| as_written(value, protocol)).collect())
        }
        Value::Boolean(boolean) => Value::Integer((*boolean).into()),
        Value::Double(double) if double.is_nan() => Value::Bulk("nan".into()),
        Value::Double(double) => Value::Bulk(format!("{double:?}").into()),
        Value::BigNumber(text) | Value::Verbatim { text, .. } => Value::Bulk(text.clone()),
        Value::Null | Value::Integer(_) | Value::Bulk(_) => value.clone(),
    }
}

/// A line has no line breaks.
fn line(text: &Bytes) -> Bytes {
    text.iter().map(|byte| if b"\r\n".contains(byte) { b' ' } else { *byte }).collect()
}

fn command(tape: &mut Tape) {
    let said = if tape.below(4) == 0 { number(tape) as usize } else { tape.below(20) as usize };
    let mut out = BytesMut::from(&b"before"[..]);
    let mut command = Command::new(&mut out, said);
    let mut expected: Vec<Vec<u8>> = Vec::new();
    for _ in 0..tape.below(20) {
        expected.push(match tape.below(4) {
            0 => {
                let arg = bytes(tape);
                command.arg(&arg);
                arg
            }
            1 => {
                let number = signed(tape);
                command.int(number);
                number.to_string().into()
            }
            2 => {
                let number = number(tape);
                command.uint(number);
                number.to_string().into()
            }
            _ => {
                let id = seq(tape);
                command.seq(id);
                format!("{}-{}", id.high(), id.low()).into()
            }
        });
    }
    drop(command);
    assert!(out.starts_with(b"before"));
    let request = out.split_off(6);
    let read = decoded(&request);
    let args = expected.into_iter().map(|arg| Value::Bulk(arg.into())).collect();
    assert_eq!(read, Value::Array(args));
    // The one way of writing it.
    assert_eq!(encoded(&read, Protocol::Resp2), request);
    agrees(&request, &read);
}
