//! One whole entry at once, where all of it is there: the path that nearly every entry takes.
//!
//! **Invariant:** it takes nothing that the tokens would not take, and takes it in the same way;
//! whatever is unusual or incomplete it leaves to them.

use crate::message::Span;
use crate::redis::resp::Bounds;
use crate::redis::resp::number::parse_id;
use crate::redis::resp::token::short_header;
use crate::stream::SeqNo;

/// The entry that begins at `at`, and where it ends; its spans count from `origin`, which is at
/// most `at` and less than 4 GiB before the end of `bytes`. What is added to `spans` for nothing
/// the caller takes off again.
#[inline]
pub(super) fn read_entry(
    bytes: &[u8],
    at: usize,
    origin: usize,
    bounds: &Bounds,
    spans: &mut Vec<Span>,
) -> Option<(SeqNo, usize)> {
    if bytes.get(at..)?.first_chunk()? != b"*2\r\n" {
        return None;
    }
    let (start, end, at) = short_bulk(bytes, at + 4, bounds)?;
    let id = parse_id(bytes.get(start..end)?)?;
    let (b'*', texts, width) = short_header(bytes, at)? else {
        return None;
    };
    if texts % 2 != 0 || texts > bounds.aggregate {
        return None;
    }
    let mut at = at + width;
    for _ in 0..texts {
        let (start, end, next) = short_bulk(bytes, at, bounds)?;
        spans.push(Span { start: (start - origin) as u32, len: (end - start) as u32 });
        at = next;
    }
    Some((id, at))
}

/// Start and end of a bulk string's bytes, and what comes after it.
#[inline(always)]
fn short_bulk(bytes: &[u8], at: usize, bounds: &Bounds) -> Option<(usize, usize, usize)> {
    let (b'$', len, width) = short_header(bytes, at)? else {
        return None;
    };
    if len > bounds.bulk {
        return None;
    }
    let start = at + width;
    // Five digits at most, so no overflow: `start` lies within the bytes.
    let end = start + len as usize;
    (bytes.get(end..)?.first_chunk()? == b"\r\n").then_some((start, end, end + 2))
}
