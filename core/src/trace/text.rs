//! The words of a line: quoted bytes, durations, positions, connections; printed and read back.

use std::fmt::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use crate::event::{Cause, ConnId};
use crate::stream::{Epoch, Position, SeqNo, ShardId, StreamKey};

/// Why a line can't be read, in a few words.
pub(super) type What = String;

/// Bytes between quotes: printable ASCII as it is, the rest escaped.
pub(super) struct Quoted<'a>(pub(super) &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        f.write_char('"')?;
        let mut rest = self.0;
        while let Some((&first, after)) = rest.split_first() {
            // Runs of plain bytes go out in one piece.
            let plain = rest.iter().take_while(|byte| is_plain(**byte)).count();
            let (run, others) = rest.split_at(plain);
            if !run.is_empty() {
                // Proved: plain bytes are ASCII. The alternative is never taken.
                f.write_str(std::str::from_utf8(run).unwrap_or_default())?;
                rest = others;
                continue;
            }
            match first {
                b'\\' => f.write_str("\\\\")?,
                b'"' => f.write_str("\\\"")?,
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                // Proved: both indices are below 16.
                byte => {
                    f.write_str("\\x")?;
                    f.write_char(char::from(HEX[usize::from(byte >> 4)]))?;
                    f.write_char(char::from(HEX[usize::from(byte & 15)]))?;
                }
            }
            rest = after;
        }
        f.write_char('"')
    }
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'\\' && byte != b'"'
}

/// The largest unit that loses nothing: `5s`, `1500ms`, `7ns`.
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        match (nanos % 1_000_000_000, nanos % 1_000_000, nanos % 1_000) {
            (0, ..) => write!(f, "{}s", nanos / 1_000_000_000),
            (_, 0, _) => write!(f, "{}ms", nanos / 1_000_000),
            (_, _, 0) => write!(f, "{}us", nanos / 1_000),
            _ => write!(f, "{nanos}ns"),
        }
    }
}

/// The name of a [`Position`].
pub(super) struct Place(pub(super) Position);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Position::Beginning => f.write_str("beginning"),
            Position::End => f.write_str("end"),
            Position::At(seq) => seq.as_redis().fmt(f),
        }
    }
}

/// The name of a [`Cause`].
pub(super) struct Why<'a>(pub(super) &'a Cause);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Cause::Eof => f.write_str("eof"),
            Cause::Refused => f.write_str("refused"),
            Cause::Reset => f.write_str("reset"),
            Cause::TimedOut => f.write_str("timed-out"),
            Cause::Unresolved => f.write_str("unresolved"),
            Cause::Other(text) => write!(f, "other {}", Quoted(text.as_bytes())),
        }
    }
}

/// `"orders"/0`.
pub(super) struct Shard<'a>(pub(super) &'a StreamKey, pub(super) ShardId);

impl fmt::Display for Shard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Quoted(self.0.as_bytes()), self.1)
    }
}

/// What is left of a line.
#[derive(Clone, Copy)]
pub(super) struct Words<'a>(pub(super) &'a str);

impl<'a> Words<'a> {
    /// The next word, and the space after it.
    pub(super) fn word(&mut self) -> Result<&'a str, What> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        if word.is_empty() {
            return Err("a word is missing".into());
        }
        self.0 = rest;
        Ok(word)
    }

    /// The next word has to be this one.
    pub(super) fn literal(&mut self, literal: &str) -> Result<(), What> {
        match self.word()? {
            word if word == literal => Ok(()),
            word => Err(format!("'{literal}' was expected in place of {}", Quoted(word.as_bytes()))),
        }
    }

    /// The next word as a value.
    pub(super) fn value<T: FromStr>(&mut self, kind: &str) -> Result<T, What> {
        parse(self.word()?, kind)
    }

    pub(super) fn conn(&mut self) -> Result<ConnId, What> {
        let word = self.word()?;
        let halves = word.strip_prefix('c').and_then(|word| word.split_once('.'));
        let conn = halves.and_then(|(number, generation)| {
            Some(ConnId { number: number.parse().ok()?, generation: generation.parse().ok()? })
        });
        conn.ok_or_else(|| wrong(word, "connection"))
    }

    /// Quoted bytes, and the space after them if there is one.
    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, What> {
        let bytes = self.bytes_before_slash()?;
        self.space()?;
        Ok(bytes)
    }

    /// Quoted text.
    pub(super) fn text(&mut self) -> Result<Box<str>, What> {
        let bytes = self.bytes()?;
        String::from_utf8(bytes).map(String::into_boxed_str).map_err(|_| "text that is not UTF-8".into())
    }

    fn space(&mut self) -> Result<(), What> {
        if !self.0.is_empty() {
            self.0 = self.0.strip_prefix(' ').ok_or("a space is missing after a quote")?;
        }
        Ok(())
    }

    fn bytes_before_slash(&mut self) -> Result<Vec<u8>, What> {
        let quoted = self.0.strip_prefix('"').ok_or("a quote is missing")?;
        let mut bytes = Vec::new();
        let mut rest = quoted.as_bytes();
        loop {
            let plain = rest.iter().take_while(|byte| is_plain(**byte)).count();
            let (run, others) = rest.split_at(plain);
            bytes.extend_from_slice(run);
            let (byte, used) = match others {
                [] => return Err("a quote is not closed".into()),
                [b'"', ..] => {
                    // Proved: what was passed is ASCII, so this is the boundary of a character.
                    self.0 = quoted.get(quoted.len() - others.len() + 1..).unwrap_or_default();
                    return Ok(bytes);
                }
                [b'\\', b'\\', ..] => (b'\\', 2),
                [b'\\', b'"', ..] => (b'"', 2),
                [b'\\', b'n', ..] => (b'\n', 2),
                [b'\\', b'r', ..] => (b'\r', 2),
                [b'\\', b't', ..] => (b'\t', 2),
                [b'\\', b'x', high, low, ..] => match (hex(*high), hex(*low)) {
                    (Some(high), Some(low)) => ((high << 4) | low, 4),
                    _ => return Err("\\x without two hexadecimal digits".into()),
                },
                [b'\\', ..] => return Err("an unknown escape".into()),
                _ => return Err("a byte that should be escaped".into()),
            };
            bytes.push(byte);
            rest = others.get(used..).unwrap_or_default();
        }
    }

    pub(super) fn shard(&mut self) -> Result<(StreamKey, ShardId), What> {
        let stream = self.bytes_before_slash()?;
        self.0 = self.0.strip_prefix('/').ok_or("a slash is missing after the stream")?;
        Ok((StreamKey::from(bytes::Bytes::from(stream)), ShardId::new(self.value("shard")?)))
    }

    pub(super) fn epoch(&mut self) -> Result<Epoch, What> {
        self.literal("epoch")?;
        Ok(Epoch(self.value("epoch")?))
    }

    pub(super) fn span(&mut self) -> Result<Duration, What> {
        let word = self.word()?;
        let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let nanos = match unit {
            "s" => Some(1_000_000_000),
            "ms" => Some(1_000_000),
            "us" => Some(1_000),
            "ns" => Some(1),
            _ => None,
        };
        let number = word.strip_suffix(unit).and_then(|number| number.parse::<u128>().ok());
        let nanos = nanos.zip(number).and_then(|(unit, number)| number.checked_mul(unit));
        let duration = nanos.and_then(|nanos| {
            let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
            // Proved: a remainder of 10^9 fits 32 bits.
            Some(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
        });
        duration.ok_or_else(|| wrong(word, "duration"))
    }

    pub(super) fn place(&mut self) -> Result<Position, What> {
        match self.word()? {
            "beginning" => Ok(Position::Beginning),
            "end" => Ok(Position::End),
            word => seq(word).map(Position::At),
        }
    }

    pub(super) fn cause(&mut self) -> Result<Cause, What> {
        Ok(match self.word()? {
            "eof" => Cause::Eof,
            "refused" => Cause::Refused,
            "reset" => Cause::Reset,
            "timed-out" => Cause::TimedOut,
            "unresolved" => Cause::Unresolved,
            "other" => Cause::Other(self.text()?),
            word => return Err(wrong(word, "cause")),
        })
    }

    /// Nothing may follow.
    pub(super) fn end(self) -> Result<(), What> {
        if self.0.is_empty() { Ok(()) } else { Err(format!("too much: {}", Quoted(self.0.as_bytes()))) }
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// `high-low`.
pub(super) fn seq(word: &str) -> Result<SeqNo, What> {
    let halves = word.split_once('-');
    let seq = halves.and_then(|(high, low)| Some(SeqNo::redis(high.parse().ok()?, low.parse().ok()?)));
    seq.ok_or_else(|| wrong(word, "sequence"))
}

pub(super) fn parse<T: FromStr>(word: &str, kind: &str) -> Result<T, What> {
    word.parse().map_err(|_| wrong(word, kind))
}

pub(super) fn wrong(word: &str, kind: &str) -> What {
    format!("no {kind}: {}", Quoted(word.as_bytes()))
}
