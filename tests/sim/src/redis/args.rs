//! The arguments of one request, as slices of the bytes that were read.

use bytes::Bytes;
use tidegate_core::SeqNo;

use super::refusal::Refusal;

/// Where an argument is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// The arguments of one request; the first is the command's name.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    pub(crate) fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans }
    }

    pub(crate) fn len(self) -> usize {
        self.spans.len()
    }

    /// The argument at this place; empty where there is none. Arity is looked at before.
    #[inline]
    pub(crate) fn get(self, at: usize) -> &'a [u8] {
        let span = self.spans.get(at).copied().unwrap_or_default();
        self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// Those from this place on.
    pub(crate) fn from(self, at: usize) -> Args<'a> {
        Self { bytes: self.bytes, spans: self.spans.get(at..).unwrap_or_default() }
    }

    pub(crate) fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        (0..self.spans.len()).map(move |at| self.get(at))
    }

    /// Whether it is this word, in any case.
    #[inline]
    pub(crate) fn is(self, at: usize, word: &str) -> bool {
        self.get(at).eq_ignore_ascii_case(word.as_bytes())
    }

    /// How many there are after this place.
    pub(crate) fn more(self, at: usize) -> usize {
        self.len().saturating_sub(at + 1)
    }

    pub(crate) fn bytes(self, at: usize) -> Bytes {
        Bytes::copy_from_slice(self.get(at))
    }

    pub(crate) fn int(self, at: usize) -> Result<i64, Refusal> {
        self.int_or(at, "value is not an integer or out of range")
    }

    pub(crate) fn int_or(self, at: usize, otherwise: &'static str) -> Result<i64, Refusal> {
        parse_int(self.get(at)).ok_or(Refusal::err(otherwise))
    }

    /// An entry's id without `-` and `+`; without a counter it is `counter`.
    pub(crate) fn id(self, at: usize, counter: u64) -> Result<SeqNo, Refusal> {
        strict_id(self.get(at), counter).ok_or(BAD_ID)
    }

    /// The start of an interval of ids, included.
    pub(crate) fn start(self, at: usize) -> Result<SeqNo, Refusal> {
        match self.get(at) {
            [b'(', rest @ ..] if !rest.is_empty() => match strict_id(rest, 0).ok_or(BAD_ID)? {
                SeqNo::MAX => Err(Refusal::err("invalid start ID for the interval")),
                id => Ok(id.next()),
            },
            text => lenient_id(text, 0).ok_or(BAD_ID),
        }
    }

    /// The end of an interval of ids, included.
    pub(crate) fn end(self, at: usize) -> Result<SeqNo, Refusal> {
        match self.get(at) {
            [b'(', rest @ ..] if !rest.is_empty() => match strict_id(rest, u64::MAX).ok_or(BAD_ID)? {
                SeqNo::ZERO => Err(Refusal::err("invalid end ID for the interval")),
                id => Ok(id.previous()),
            },
            text => lenient_id(text, u64::MAX).ok_or(BAD_ID),
        }
    }

    pub(crate) fn to_owned(self) -> OwnedArgs {
        OwnedArgs::new(self.iter())
    }
}

/// Arguments that outlive the bytes in which they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnedArgs {
    bytes: Bytes,
    spans: Box<[Span]>,
}

impl OwnedArgs {
    pub(crate) fn new<'a>(args: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut bytes = Vec::new();
        let spans = args
            .map(|arg| {
                let start = bytes.len() as u32;
                bytes.extend_from_slice(arg);
                Span { start, end: bytes.len() as u32 }
            })
            .collect();
        Self { bytes: bytes.into(), spans }
    }

    pub(crate) fn args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans)
    }
}

pub(crate) const BAD_ID: Refusal = Refusal::err("Invalid stream ID specified as stream command argument");

/// A decimal number as Redis reads it: no `+`, no needless zero, no `-0`.
pub(crate) fn parse_int(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(digits) => match canonical(digits)? {
            0 => None,
            value => 0i64.checked_sub_unsigned(value),
        },
        None => canonical(text)?.try_into().ok(),
    }
}

fn canonical(digits: &[u8]) -> Option<u64> {
    match digits {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] => decimal(digits),
        _ => None,
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { value.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}

/// Half of an id: what `strtoull` takes is taken too, spaces before it, a sign and needless zeros
/// among it.
fn half(text: &[u8]) -> Option<u64> {
    if let Some(value) = canonical(text) {
        return Some(value);
    }
    // The exception: what is a proper number and below zero.
    if parse_int(text).is_some() {
        return None;
    }
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = text.iter().position(|byte| !is_space(byte))?;
    match text.get(start..)? {
        [b'-', digits @ ..] => decimal(digits).map(u64::wrapping_neg),
        [b'+', digits @ ..] | digits => decimal(digits),
    }
}

fn lenient_id(text: &[u8], counter: u64) -> Option<SeqNo> {
    match c_string(text) {
        b"-" => Some(SeqNo::ZERO),
        b"+" => Some(SeqNo::MAX),
        _ => strict_id(text, counter),
    }
}

/// `millis-counter` or `millis`.
#[inline]
pub(crate) fn strict_id(text: &[u8], counter: u64) -> Option<SeqNo> {
    if text.len() > 127 {
        return None;
    }
    let text = c_string(text);
    match text.iter().position(|byte| *byte == b'-') {
        Some(dash) => Some(SeqNo::redis(half(text.get(..dash)?)?, half(text.get(dash + 1..)?)?)),
        None => Some(SeqNo::redis(half(text)?, counter)),
    }
}

/// An id for XADD: a counter of `None` is to be made.
pub(crate) fn add_id(text: &[u8]) -> Option<(u64, Option<u64>)> {
    match c_string(text).strip_suffix(b"-*") {
        Some(millis) if text.len() <= 127 => Some((half(millis)?, None)),
        _ => strict_id(text, 0).map(|id| (id.high(), Some(id.low()))),
    }
}

/// What C sees of it: up to the first zero byte.
pub(crate) fn c_string(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_redis_reads_them() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-0", None),
            ("01", None),
            ("+1", None),
            ("", None),
            ("-", None),
            ("1 ", None),
        ] {
            assert_eq!(parse_int(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn ids_as_redis_reads_them() {
        let id = |millis, counter| Some(SeqNo::redis(millis, counter));
        for (text, value) in [
            ("5", id(5, 7)),
            ("5-1", id(5, 1)),
            ("05-+1", id(5, 1)),
            ("18446744073709551615-18446744073709551615", Some(SeqNo::MAX)),
            ("5-", None),
            ("-5", None),
            ("-", None),
            ("5--1", None),
            ("5--01", id(5, u64::MAX)),
            ("5-1-1", None),
            ("5-1\0x", id(5, 1)),
            (" 5-\t-1", id(5, u64::MAX)),
            ("5 ", None),
            (" ", None),
            ("18446744073709551616", None),
            ("", None),
            ("a", None),
        ] {
            assert_eq!(strict_id(text.as_bytes(), 7), value, "{text:?}");
        }
        assert_eq!(lenient_id(b"+", 0), Some(SeqNo::MAX));
        assert_eq!(add_id(b"5-*"), Some((5, None)));
        assert_eq!(add_id(b"5"), Some((5, Some(0))));
        assert_eq!(add_id(b"-*"), None);
    }
}
