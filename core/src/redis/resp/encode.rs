//! Commands and replies into bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::Value;
use super::number::{ID_BULK_LEN, width, write_digits, write_id_bulk};
use crate::stream::SeqNo;

/// One command, written behind what is in the buffer already: an array of bulk strings, which is
/// the same in RESP2 and RESP3, and safe for any bytes.
///
/// It is complete when it is dropped. Should there be more or fewer arguments than were said, the
/// header is put right then, at the price of moving the command's bytes: a wrong count can't
/// be sent.
///
/// ```
/// # use bytes::BytesMut;
/// # use tidegate_core::SeqNo;
/// # use tidegate_core::redis::resp::Command;
/// let mut out = BytesMut::new();
/// Command::new(&mut out, 4).arg("XACK").arg("orders").arg("group").seq(SeqNo::redis(5, 1));
/// assert_eq!(out, "*4\r\n$4\r\nXACK\r\n$6\r\norders\r\n$5\r\ngroup\r\n$3\r\n5-1\r\n");
/// ```
#[derive(Debug)]
pub struct Command<'a> {
    out: &'a mut BytesMut,
    start: usize,
    said: usize,
    written: usize,
}

impl<'a> Command<'a> {
    /// Begins a command of `args` arguments, its name included.
    pub fn new(out: &'a mut BytesMut, args: usize) -> Self {
        let start = out.len();
        put_header(out, b'*', args as u64);
        Self { out, start, said: args, written: 0 }
    }

    /// Adds any bytes.
    pub fn arg(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        put_bulk(self.out, bytes.as_ref());
        self.written += 1;
        self
    }

    /// Adds a number, in decimal.
    pub fn int(&mut self, value: i64) -> &mut Self {
        let digits = width(value.unsigned_abs());
        let mut text = [b'-'; 20];
        let len = digits + usize::from(value < 0);
        // Proved: 19 digits and a sign at most.
        write_digits(&mut text[len - digits..len], value.unsigned_abs());
        self.arg(&text[..len])
    }

    /// Adds a number, in decimal.
    pub fn uint(&mut self, value: u64) -> &mut Self {
        let mut text = [0; 20];
        let len = width(value);
        // Proved: a 64-bit number has 20 digits at most.
        write_digits(&mut text[..len], value);
        self.arg(&text[..len])
    }

    /// Adds an entry's id, `millis-counter`.
    #[inline]
    pub fn seq(&mut self, id: SeqNo) -> &mut Self {
        let mut room = [0; ID_BULK_LEN];
        self.out.extend_from_slice(write_id_bulk(&mut room, id));
        self.written += 1;
        self
    }
}

impl Drop for Command<'_> {
    fn drop(&mut self) {
        if self.written == self.said {
            return;
        }
        let wrong = 1 + width(self.said as u64) + 2;
        let args = self.out.split_off((self.start + wrong).min(self.out.len()));
        self.out.truncate(self.start);
        put_header(self.out, b'*', self.written as u64);
        self.out.extend_from_slice(&args);
    }
}

/// Which protocol a reply is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What every connection begins with. Types that it hasn't become what Redis makes of them:
    /// maps, sets and pushes arrays, booleans integers, other numbers and texts bulk strings,
    /// nulls `$-1`.
    #[default]
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// Writes `value` as a server would, behind what is in `out` already. Simple strings and errors
/// with line breaks get spaces for them, as in Redis.
pub fn encode_value(value: &Value, protocol: Protocol, out: &mut BytesMut) {
    let resp3 = protocol == Protocol::Resp3;
    let kind = |kind: u8| if resp3 { kind } else { b'*' };
    // What is still to be written, the next one last: depth costs no stack.
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        match value {
            Value::Null => out.extend_from_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" }),
            Value::Simple(text) => put_line(out, b'+', text),
            Value::Error(text) => put_line(out, b'-', text),
            Value::Integer(value) => put_line(out, b':', value.to_string().as_bytes()),
            Value::Boolean(value) if resp3 => {
                out.extend_from_slice(if *value { b"#t\r\n" } else { b"#f\r\n" })
            }
            Value::Boolean(value) => put_line(out, b':', if *value { b"1" } else { b"0" }),
            Value::Double(value) => {
                let text = if value.is_nan() { "nan".to_owned() } else { format!("{value:?}") };
                if resp3 { put_line(out, b',', text.as_bytes()) } else { put_bulk(out, text.as_bytes()) }
            }
            Value::BigNumber(digits) if resp3 => put_line(out, b'(', digits),
            Value::Verbatim { format, text } if resp3 => {
                put_header(out, b'=', text.len() as u64 + 4);
                out.extend_from_slice(format);
                out.put_u8(b':');
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
            Value::Bulk(bytes) | Value::BigNumber(bytes) | Value::Verbatim { text: bytes, .. } => {
                put_bulk(out, bytes)
            }
            Value::Array(values) => open(out, b'*', values, &mut left),
            Value::Set(values) => open(out, kind(b'~'), values, &mut left),
            Value::Push(values) => open(out, kind(b'>'), values, &mut left),
            Value::Map(pairs) => {
                put_header(out, kind(b'%'), pairs.len() as u64 * if resp3 { 1 } else { 2 });
                left.extend(pairs.iter().rev().flat_map(|(name, value)| [value, name]));
            }
        }
    }
}

fn open<'a>(out: &mut BytesMut, kind: u8, values: &'a [Value], left: &mut Vec<&'a Value>) {
    put_header(out, kind, values.len() as u64);
    left.extend(values.iter().rev());
}

#[inline]
fn put_header(out: &mut BytesMut, kind: u8, number: u64) {
    let mut room = [kind; 23];
    let end = 1 + width(number);
    // Proved: 20 digits at most, between a type byte and a line ending.
    write_digits(&mut room[1..end], number);
    room[end..end + 2].copy_from_slice(b"\r\n");
    out.extend_from_slice(&room[..end + 2]);
}

#[inline]
fn put_bulk(out: &mut BytesMut, bytes: &[u8]) {
    out.reserve(bytes.len() + 25);
    put_header(out, b'$', bytes.len() as u64);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn put_line(out: &mut BytesMut, kind: u8, text: &[u8]) {
    out.put_u8(kind);
    out.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    out.extend_from_slice(b"\r\n");
}

/// So that a model server can write replies from literals.
impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Bulk(Bytes::from_static(text.as_bytes()))
    }
}
