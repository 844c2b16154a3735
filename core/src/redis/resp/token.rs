//! Bytes into tokens: the framing of RESP2 and RESP3, without its nesting.
//!
//! **Invariant:** a byte of a line is looked at once, and a byte of a payload never, however the
//! bytes are split: an incomplete line remembers how far it was searched, and an incomplete
//! bulk string where it will end.
//!
//! **Invariant:** nothing is allocated.

use std::ops::Range;

use super::number::parse_i64;
use super::{Bounds, RespError};

/// One element of framing. Ranges are offsets into the bytes that
/// [`Tokenizer::next_token`] was given; counts are what was announced, within [`Bounds`].
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// `*n`: n values follow.
    Array(u32),
    /// `%n`: n pairs follow.
    Map(u32),
    /// `~n`: n values follow.
    Set(u32),
    /// `>n`: n values follow, which answer nothing.
    Push(u32),
    /// `|n`: n pairs follow, and then the value that they are about.
    Attribute(u32),
    /// `$`: binary-safe bytes.
    Bulk(Range<usize>),
    /// `=`: text and what it is written in.
    Verbatim {
        /// Three bytes, `txt` or `mkd`.
        format: [u8; 3],
        /// The text alone.
        text: Range<usize>,
    },
    /// `!`: an error as binary-safe bytes.
    BlobError(Range<usize>),
    /// `+`: a line.
    Simple(Range<usize>),
    /// `-`: an error as a line.
    Error(Range<usize>),
    /// `:`
    Integer(i64),
    /// `,`
    Double(f64),
    /// `#`
    Boolean(bool),
    /// `(`: sign and digits as they came.
    BigNumber(Range<usize>),
    /// `_`, `$-1` and `*-1`.
    Null,
}

impl Token {
    /// What it is, for an error.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
            Self::Set(_) => "a set",
            Self::Push(_) => "a push",
            Self::Attribute(_) => "an attribute",
            Self::Bulk(_) => "a bulk string",
            Self::Verbatim { .. } => "a verbatim string",
            Self::Simple(_) => "a simple string",
            Self::Error(_) | Self::BlobError(_) => "an error",
            Self::Integer(_) => "an integer",
            Self::Double(_) => "a double",
            Self::Boolean(_) => "a boolean",
            Self::BigNumber(_) => "a big number",
            Self::Null => "a null",
        }
    }
}

/// A string whose header was read and whose bytes aren't all there.
#[derive(Clone, Copy, Debug)]
struct Body {
    kind: u8,
    /// Length of the header line, its line ending included.
    header: usize,
    len: u32,
}

/// Reads tokens from the front of a buffer that grows at its end.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    bounds: Bounds,
    /// Where the token begins that comes next, or is incomplete.
    at: usize,
    /// From here on `Bounds::total` counts.
    floor: usize,
    /// Bytes of its line, after the type, that were searched for the line's end in vain.
    searched: usize,
    body: Option<Body>,
    begun: bool,
    steps: u64,
}

impl Tokenizer {
    /// At the start of a reply.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, at: 0, floor: 0, searched: 0, body: None, begun: false, steps: 0 }
    }

    /// The next token of `bytes`, or `None` while it is incomplete. `bytes` is what the call
    /// before was given, with more at its end, until [`Tokenizer::drop_front`].
    ///
    /// # Errors
    ///
    /// The first rule that the bytes break. Calls after that answer the same while `bytes` stay.
    #[inline]
    pub fn next_token(&mut self, bytes: &[u8]) -> Result<Option<Token>, RespError> {
        if let Some(body) = self.body {
            return self.body_token(bytes, body);
        }
        if self.searched == 0
            && let Some((kind @ (b'$' | b'*'), number, width)) = short_header(bytes, self.at)
        {
            self.steps += width as u64;
            return match kind {
                b'$' => self.open_body(bytes, kind, i64::from(number), width),
                _ => {
                    let count = self.count(u64::from(number))?;
                    self.end_token(width, Token::Array(count)).map(Some)
                }
            };
        }
        self.line_token(bytes)
    }

    /// Where the next token begins: what lies before was read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The caller took `count` bytes away from the front; at most [`Tokenizer::position`].
    pub fn drop_front(&mut self, count: usize) {
        self.at = self.at.saturating_sub(count);
        self.floor = self.floor.saturating_sub(count);
    }

    /// True while the bytes that were given end inside a token.
    pub fn is_partial(&self) -> bool {
        self.begun
    }

    /// How many bytes were looked at so far, plus one a call: what proves that the work is linear.
    #[doc(hidden)]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// `Bounds::total` counts from the next token on.
    #[inline]
    pub(super) fn count_from_here(&mut self) {
        self.floor = self.at;
    }

    /// The caller has read up to `position` by itself.
    #[inline]
    pub(super) fn jump(&mut self, position: usize) {
        self.steps += (position - self.at) as u64;
        self.at = position;
        self.searched = 0;
        self.begun = false;
    }

    #[inline]
    pub(super) fn add_steps(&mut self, steps: usize) {
        self.steps += steps as u64;
    }

    fn incomplete<T>(&mut self, bytes: &[u8]) -> Result<Option<T>, RespError> {
        self.begun = bytes.len() > self.at;
        Ok(None)
    }

    /// The header needs no second look: from now on it is the length that is compared.
    #[cold]
    fn wait_for(&mut self, bytes: &[u8], body: Body) -> Result<Option<Token>, RespError> {
        self.body = Some(body);
        self.incomplete(bytes)
    }

    #[inline]
    fn end_token(&mut self, len: usize, token: Token) -> Result<Token, RespError> {
        let end = self.at + len;
        self.check_total((end - self.floor) as u64)?;
        self.at = end;
        self.searched = 0;
        self.body = None;
        self.begun = false;
        Ok(token)
    }

    #[inline]
    fn check_total(&self, bytes: u64) -> Result<(), RespError> {
        match bytes > u64::from(self.bounds.total) {
            true => Err(RespError::ReplyTooLong { bytes, bound: self.bounds.total }),
            false => Ok(()),
        }
    }

    #[inline]
    fn count(&self, elements: u64) -> Result<u32, RespError> {
        let bound = self.bounds.aggregate;
        match u32::try_from(elements) {
            Ok(count) if count <= bound => Ok(count),
            _ => Err(RespError::AggregateTooLong { count: elements, bound }),
        }
    }

    #[inline]
    fn open_body(
        &mut self,
        bytes: &[u8],
        kind: u8,
        announced: i64,
        header: usize,
    ) -> Result<Option<Token>, RespError> {
        let bound = self.bounds.bulk;
        let len = u64::try_from(announced).map_err(|_| RespError::Negative { announced })?;
        let Some(len) = u32::try_from(len).ok().filter(|len| *len <= bound) else {
            return Err(RespError::BulkTooLong { len, bound });
        };
        self.check_total((self.at - self.floor + header) as u64 + u64::from(len) + 2)?;
        self.body_token(bytes, Body { kind, header, len })
    }

    #[inline]
    fn body_token(&mut self, bytes: &[u8], body: Body) -> Result<Option<Token>, RespError> {
        self.steps += 1;
        let start = self.at + body.header;
        let there = bytes.len().saturating_sub(start);
        let len = body.len as usize;
        if there < len {
            return self.wait_for(bytes, body);
        }
        match bytes.get(start + len..) {
            Some([b'\r', b'\n', ..]) => {}
            Some([] | [b'\r']) | None => return self.wait_for(bytes, body),
            Some(_) => return Err(RespError::BulkEnding { len: body.len }),
        }
        let range = start..start + len;
        let token = match body.kind {
            b'$' => Token::Bulk(range),
            b'!' => Token::BlobError(range),
            _ => match bytes.get(range.clone()) {
                Some([a, b, c, b':', ..]) => {
                    Token::Verbatim { format: [*a, *b, *c], text: range.start + 4..range.end }
                }
                _ => return Err(RespError::Verbatim),
            },
        };
        self.end_token(body.header + len + 2, token).map(Some)
    }

    /// Any token, by searching the end of its line.
    fn line_token(&mut self, bytes: &[u8]) -> Result<Option<Token>, RespError> {
        self.steps += 1;
        let Some(&kind) = bytes.get(self.at) else {
            return self.incomplete(bytes);
        };
        if !b"$*:+-%~>|=!,#(_".contains(&kind) {
            return Err(RespError::UnknownType { byte: kind });
        }
        let start = self.at + 1;
        let Some(line) = self.line(bytes, start)? else {
            return self.incomplete(bytes);
        };
        // Type byte, line, CR LF.
        let header = line.len() + 3;
        let range = start..start + line.len();
        let token = match kind {
            b'+' => Token::Simple(range),
            b'-' => Token::Error(range),
            b':' => Token::Integer(parse_i64(line).ok_or(RespError::Number)?),
            b',' => Token::Double(parse_double(line).ok_or(RespError::Double)?),
            b'#' => match line {
                b"t" => Token::Boolean(true),
                b"f" => Token::Boolean(false),
                _ => return Err(RespError::Boolean),
            },
            b'(' => match line.strip_prefix(b"-").or(line.strip_prefix(b"+")).unwrap_or(line) {
                digits if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
                    Token::BigNumber(range)
                }
                _ => return Err(RespError::BigNumber),
            },
            b'_' => match line {
                b"" => Token::Null,
                _ => return Err(RespError::Null),
            },
            _ if line == b"?" => return Err(RespError::Streamed),
            _ => match (kind, parse_i64(line).ok_or(RespError::Number)?) {
                (b'$' | b'*', -1) => Token::Null,
                (b'$' | b'=' | b'!', announced) => return self.open_body(bytes, kind, announced, header),
                (_, announced) => {
                    let n = u64::try_from(announced).map_err(|_| RespError::Negative { announced })?;
                    match kind {
                        b'*' => Token::Array(self.count(n)?),
                        b'~' => Token::Set(self.count(n)?),
                        b'>' => Token::Push(self.count(n)?),
                        // Proved: `n` came out of an i64, so doubling it can't overflow a u64.
                        b'%' => Token::Map(self.count(2 * n)? / 2),
                        _ => Token::Attribute(self.count(2 * n)? / 2),
                    }
                }
            },
        };
        self.end_token(header, token).map(Some)
    }

    /// The line from `start` on, without its ending, once that is there.
    fn line<'a>(&mut self, bytes: &'a [u8], start: usize) -> Result<Option<&'a [u8]>, RespError> {
        let bound = self.bounds.line as usize;
        let rest = bytes.get(start..).unwrap_or_default();
        // No further than the bound, so that which error it is doesn't depend on the split.
        let window = rest.get(self.searched..rest.len().min(bound + 1)).unwrap_or_default();
        match window.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            Some(found) => {
                self.steps += found as u64 + 1;
                let len = self.searched + found;
                self.searched = len;
                match rest.get(len..) {
                    Some([b'\r', b'\n', ..]) => Ok(rest.get(..len)),
                    Some([b'\r']) => Ok(None),
                    _ => Err(RespError::LineEnding),
                }
            }
            None => {
                self.steps += window.len() as u64;
                self.searched += window.len();
                match self.searched > bound {
                    true => Err(RespError::LineTooLong { bound: self.bounds.line }),
                    false => Ok(None),
                }
            }
        }
    }
}

/// A header of up to five digits, where eight bytes are there to look at: type, number, width
/// with its line ending. `None` is no verdict: [`Tokenizer::next_token`] gives that.
#[inline(always)]
pub(super) fn short_header(bytes: &[u8], at: usize) -> Option<(u8, u32, usize)> {
    let head: &[u8; 8] = bytes.get(at..)?.first_chunk()?;
    let digit = |at: usize| u32::from(head[at].wrapping_sub(b'0'));
    let mut number = digit(1);
    if number > 9 {
        return None;
    }
    if head[2] == b'\r' {
        return (head[3] == b'\n').then_some((head[0], number, 4));
    }
    if number == 0 {
        return None;
    }
    // Unrolled by the compiler: the positions are constants.
    for at in 2..6 {
        let next = digit(at);
        if next > 9 {
            return None;
        }
        number = 10 * number + next;
        if head[at + 1] == b'\r' {
            // Proved: `at` is at most 5, so the line feed is at most at 7.
            return (head[at + 2] == b'\n').then_some((head[0], number, at + 3));
        }
    }
    None
}

fn parse_double(line: &[u8]) -> Option<f64> {
    match line {
        b"inf" => Some(f64::INFINITY),
        b"-inf" => Some(f64::NEG_INFINITY),
        // Servers before 7.2 print what the C library prints.
        b"nan" | b"-nan" => Some(f64::NAN),
        _ if line.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) => {
            std::str::from_utf8(line).ok()?.parse().ok()
        }
        _ => None,
    }
}
