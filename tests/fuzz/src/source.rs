//! Bytes of a fuzzer as what a target needs: pieces of a stream, values, texts.

use bytes::Bytes;
use tidegate_core::SeqNo;
use tidegate_core::random::Random;
use tidegate_core::redis::resp::Value;
use tidegate_sim::Tape;

/// `bytes` as they could come from a socket: whole, cut at random, one at a time.
pub(crate) fn splits(bytes: &[u8], seed: u8) -> [Vec<&[u8]>; 3] {
    let mut random = Random::new(seed.into());
    // From cuts everywhere to hardly any.
    let longest = 1 << (1 + random.below(8));
    let mut cut = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + random.below(longest) as usize).min(rest.len()));
        cut.push(piece);
        rest = after;
    }
    [vec![bytes], cut, bytes.chunks(1).collect()]
}

/// Any bytes, short ones above all.
pub(crate) fn bytes(tape: &mut Tape) -> Vec<u8> {
    let len = if tape.below(16) < 14 { tape.below(12) } else { tape.below(300) };
    (0..len).map(|_| tape.below(256) as u8).collect()
}

/// Any text, of which most is ASCII.
pub(crate) fn text(tape: &mut Tape) -> String {
    String::from_utf8_lossy(&bytes(tape)).into_owned()
}

/// Numbers of every length, and the ends of their range.
pub(crate) fn number(tape: &mut Tape) -> u64 {
    match tape.below(4) {
        0 => tape.below(256),
        1 => u64::MAX - tape.below(3),
        _ => tape.below(u64::MAX) >> tape.below(64),
    }
}

/// As [`number`], of either sign.
pub(crate) fn signed(tape: &mut Tape) -> i64 {
    number(tape) as i64
}

/// An id of an entry.
pub(crate) fn seq(tape: &mut Tape) -> SeqNo {
    SeqNo::redis(number(tape), number(tape))
}

/// Any value that a server could mean, `depth` levels deep at the most.
pub(crate) fn value(tape: &mut Tape, depth: u32) -> Value {
    let kinds = if depth == 0 { 9 } else { 13 };
    match tape.below(kinds) {
        0 => Value::Null,
        1 => Value::Simple(bytes(tape).into()),
        2 => Value::Error(bytes(tape).into()),
        3 => Value::Integer(signed(tape)),
        4 => Value::Bulk(bytes(tape).into()),
        5 => Value::Boolean(tape.below(2) == 1),
        6 => Value::Double(double(tape)),
        7 => Value::BigNumber(digits(tape)),
        8 => {
            let format = [tape.below(256) as u8, tape.below(256) as u8, tape.below(256) as u8];
            let format = if tape.below(2) == 0 { *b"txt" } else { format };
            Value::Verbatim { format, text: bytes(tape).into() }
        }
        9 => Value::Array(values(tape, depth)),
        10 => Value::Set(values(tape, depth)),
        11 => Value::Push(values(tape, depth)),
        _ => {
            let pairs = tape.below(5);
            Value::Map((0..pairs).map(|_| (value(tape, depth - 1), value(tape, depth - 1))).collect())
        }
    }
}

fn values(tape: &mut Tape, depth: u32) -> Vec<Value> {
    (0..tape.below(6)).map(|_| value(tape, depth - 1)).collect()
}

fn double(tape: &mut Tape) -> f64 {
    match tape.below(4) {
        0 => tape.below(1000) as f64 / 8.0,
        1 => [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -0.0][tape.below(4) as usize],
        _ => f64::from_bits(tape.below(u64::MAX)),
    }
}

fn digits(tape: &mut Tape) -> Bytes {
    let sign = ["", "-", "+"][tape.below(3) as usize];
    let digits = (0..=tape.below(40)).map(|_| char::from(b'0' + tape.below(10) as u8));
    Bytes::from(sign.chars().chain(digits).collect::<String>())
}
