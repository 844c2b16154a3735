//! The cheapest correct scan of XREADGROUP and XACK replies: it walks the announced lengths, looks at nothing
//! else, and hands on slices of the receive buffer.
//!
//! **Invariant:** what is not complete yet is not consumed; an entry is looked at again only from its own
//! first byte, when more has arrived.

use crate::Failure;

/// One fact of a reply.
#[derive(Debug, PartialEq)]
pub enum Fact<'a> {
    /// A read brought this many entries; they follow, and then [`Fact::End`].
    Begin(u64),
    /// One entry: its id as a whole bulk string (`$15\r\n…\r\n`), as an XACK takes it, and its last value.
    Entry {
        /// The id, with its length before it.
        id: &'a [u8],
        /// The last value.
        payload: &'a [u8],
    },
    /// The read is complete.
    End,
    /// A read brought nothing.
    Nothing,
    /// An XACK acked this many.
    Acked(u64),
}

/// Where in a reply the scan is.
#[derive(Debug, Default)]
pub struct Scan {
    /// Entries of the current read that are still to come.
    left: u64,
}

impl Scan {
    /// Reports what is complete in `bytes`, and answers how many of them are done with.
    pub fn scan<'a>(&mut self, bytes: &'a [u8], mut report: impl FnMut(Fact<'a>)) -> Result<usize, Failure> {
        let mut at = 0;
        loop {
            let step = if self.left > 0 { entry(bytes, at)? } else { head(bytes, at)? };
            let Some((fact, next)) = step else { return Ok(at) };
            at = next;
            match fact {
                Fact::Begin(entries) => self.left = entries,
                Fact::Entry { .. } => {
                    self.left -= 1;
                    report(fact);
                    if self.left == 0 {
                        report(Fact::End);
                    }
                    continue;
                }
                _ => {}
            }
            report(fact);
        }
    }
}

/// A fact, and where what follows it begins; `None` when it is not complete.
type Step<'a> = Result<Option<(Fact<'a>, usize)>, Failure>;

fn head(bytes: &[u8], at: usize) -> Step<'_> {
    match bytes.get(at) {
        None => Ok(None),
        Some(b':') => {
            let Some((acked, next)) = number(bytes, at, b':')? else { return Ok(None) };
            Ok(Some((Fact::Acked(u64::try_from(acked)?), next)))
        }
        Some(b'*') => {
            // *1 *2 $key *entries
            let Some((streams, next)) = number(bytes, at, b'*')? else { return Ok(None) };
            if streams < 0 {
                return Ok(Some((Fact::Nothing, next)));
            }
            let Some((_, next)) = number(bytes, next, b'*')? else { return Ok(None) };
            let Some((_, next)) = bulk(bytes, next)? else { return Ok(None) };
            let Some((entries, next)) = number(bytes, next, b'*')? else { return Ok(None) };
            match u64::try_from(entries)? {
                0 => Ok(Some((Fact::Nothing, next))),
                entries => Ok(Some((Fact::Begin(entries), next))),
            }
        }
        Some(_) => {
            let Some(end) = bytes[at..].iter().position(|byte| *byte == b'\n') else { return Ok(None) };
            Err(String::from_utf8_lossy(&bytes[at..at + end]).trim_end().into())
        }
    }
}

fn entry(bytes: &[u8], at: usize) -> Step<'_> {
    // *2 $id *fields $field $value …
    let Some((_, id_at)) = number(bytes, at, b'*')? else { return Ok(None) };
    let Some((_, mut next)) = bulk(bytes, id_at)? else { return Ok(None) };
    let id = &bytes[id_at..next];
    let Some((fields, after)) = number(bytes, next, b'*')? else { return Ok(None) };
    next = after;
    let mut payload: &[u8] = &[];
    for _ in 0..fields {
        let Some((value, after)) = bulk(bytes, next)? else { return Ok(None) };
        (payload, next) = (value, after);
    }
    Ok(Some((Fact::Entry { id, payload }, next)))
}

fn bulk(bytes: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, Failure> {
    let Some((length, from)) = number(bytes, at, b'$')? else { return Ok(None) };
    let to = from.saturating_add(usize::try_from(length)?);
    let next = to.saturating_add(2);
    if next > bytes.len() {
        return Ok(None);
    }
    Ok(Some((&bytes[from..to], next)))
}

/// The number on the line that begins at `at` with `kind`.
#[inline]
fn number(bytes: &[u8], at: usize, kind: u8) -> Result<Option<(i64, usize)>, Failure> {
    let Some(line) = bytes.get(at..).filter(|line| !line.is_empty()) else { return Ok(None) };
    if line[0] != kind {
        return Err(format!("odd byte {} where {} was expected", line[0], kind).into());
    }
    let mut value = 0_i64;
    let mut sign = 1;
    for (offset, byte) in line.iter().enumerate().skip(1) {
        match byte {
            b'0'..=b'9' => value = value.wrapping_mul(10).wrapping_add(i64::from(byte - b'0')),
            b'-' => sign = -1,
            b'\r' if line.len() > offset + 1 => return Ok(Some((sign * value, at + offset + 2))),
            b'\r' => return Ok(None),
            other => return Err(format!("odd byte {other} in a number").into()),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[u8] = b"*1\r\n*2\r\n$4\r\nlive\r\n*2\r\n\
        *2\r\n$3\r\n1-0\r\n*2\r\n$3\r\nmsg\r\n$4\r\na\r\nb\r\n\
        *2\r\n$4\r\n12-3\r\n*4\r\n$1\r\nx\r\n$0\r\n\r\n$3\r\nmsg\r\n$1\r\nc\r\n\
        :2\r\n*-1\r\n*1\r\n*2\r\n$4\r\nlive\r\n*1\r\n*2\r\n$3\r\n2-0\r\n*-1\r\n:0\r\n";

    const FACTS: [&str; 10] = [
        "begin 2",
        "$3 1-0 a b",
        "$4 12-3 c",
        "end",
        "acked 2",
        "nothing",
        "begin 1",
        "$3 2-0",
        "end",
        "acked 0",
    ];

    /// Feeds the replies in pieces of `size`, keeping what was not consumed, as the floor does.
    fn facts(size: usize) -> Vec<String> {
        let (mut facts, mut scan, mut buffer) = (Vec::new(), Scan::default(), Vec::new());
        for piece in REPLIES.chunks(size) {
            buffer.extend_from_slice(piece);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\r\n", " ");
            let consumed = scan.scan(&buffer, |fact| {
                let fact = match fact {
                    Fact::Begin(entries) => format!("begin {entries}"),
                    Fact::Entry { id, payload } => text(id) + &text(payload),
                    Fact::End => "end".into(),
                    Fact::Nothing => "nothing".into(),
                    Fact::Acked(number) => format!("acked {number}"),
                };
                facts.push(fact.trim_end().to_owned());
            });
            buffer.drain(..consumed.unwrap());
        }
        assert!(buffer.is_empty());
        facts
    }

    #[test]
    fn finds_the_same_however_the_bytes_are_split() {
        for size in 1..=REPLIES.len() {
            assert_eq!(facts(size), FACTS, "pieces of {size}");
        }
    }

    #[test]
    fn an_error_reply_and_odd_bytes_are_failures() {
        let failure = |bytes: &[u8]| Scan::default().scan(bytes, |_| {}).unwrap_err().to_string();
        assert_eq!(failure(b"-NOGROUP gone\r\n"), "-NOGROUP gone");
        assert!(failure(b"*1\r\n:2\r\n").contains("odd byte"));
        assert!(failure(b":x\r\n").contains("odd byte"));
        assert_eq!(Scan::default().scan(b"-NOGR", |_| {}).unwrap(), 0);
    }
}
