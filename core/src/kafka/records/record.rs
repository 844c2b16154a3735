//! Records of a batch, one at a time, as views of its bytes.
//!
//! A record is its length, a byte of attributes (unused), its timestamp and its offset relative to
//! the batch's, and a *body*: key, value, and headers. All numbers are of variable length, so that
//! where a thing lies is known only by reading what is before it.

use std::iter::FusedIterator;

use super::{Fault, RecordBatch, RecordsError, varint};

/// The fewest bytes that a record can have, its length included.
pub(crate) const RECORD_MIN: usize = 7;

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, from the producer or the broker
    /// ([`TimestampType`](super::TimestampType)); -1 where the producer gave none.
    pub timestamp: i64,
    /// Its key; `None` for null.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` for null, a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Its headers, in order, repeated names included.
    pub headers: Headers<'a>,
}

/// The records of a batch, in order. An error is the last item.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    batch: &'a RecordBatch,
    bytes: &'a [u8],
    walk: Walk,
    done: u32,
    over: bool,
}

impl<'a> Records<'a> {
    /// Over what [`RecordBatch::decompressed`] gave for `batch`.
    pub fn new(batch: &'a RecordBatch, decompressed: &'a [u8]) -> Self {
        Self { batch, bytes: decompressed, walk: Walk::new(batch, 0), done: 0, over: false }
    }

    #[cold]
    fn end(&mut self, fault: Option<Fault>) -> Option<Result<Record<'a>, RecordsError>> {
        let over = std::mem::replace(&mut self.over, true);
        let error = match fault {
            Some(fault) => self.batch.wrong_record(self.done, fault),
            None => self.walk.finish(self.batch, self.bytes).err()?,
        };
        (!over).then_some(Err(error))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordsError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.over || self.done >= self.batch.count {
            return self.end(None);
        }
        let raw = match self.walk.step(self.bytes) {
            Ok(raw) => raw,
            Err(fault) => return self.end(Some(fault)),
        };
        self.done += 1;
        // What was just walked over is there.
        let body = Body::at(self.bytes, raw.body)?;
        Some(Ok(Record {
            // Proved: between the header's first and last offset.
            offset: self.batch.base_offset + i64::from(raw.offset_delta),
            timestamp: self.batch.timestamp(raw.timestamp_delta),
            key: body.key,
            value: body.value,
            headers: body.headers,
        }))
    }
}

impl FusedIterator for Records<'_> {}

/// A record's frame, checked through and through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    /// Where its key begins.
    pub(super) body: usize,
    /// Where the next record begins.
    pub(super) end: usize,
}

/// Goes over the records of a batch and checks all that can be wrong with them. A plain value, so
/// that it stays in registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// Where the next record begins.
    at: usize,
    /// Above the offset delta of the record before; 64 bits, as it may be above all.
    offset_least: i64,
    offset_most: i64,
}

impl Walk {
    /// Over the records that begin at `at`.
    pub(super) fn new(batch: &RecordBatch, at: usize) -> Self {
        Self { at, offset_least: 0, offset_most: batch.last_offset - batch.base_offset }
    }

    /// The next record in `bytes`.
    #[inline(always)]
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<Raw, Fault> {
        let raw = match read_usual(bytes, self.at) {
            Some(raw) => raw,
            None => read_frame(bytes, self.at)?,
        };
        let offset = i64::from(raw.offset_delta);
        if offset < self.offset_least || offset > self.offset_most {
            return Err(Fault::Offset);
        }
        self.offset_least = offset + 1;
        self.at = raw.end;
        Ok(raw)
    }

    /// Nothing may be left in `bytes` behind the last record.
    pub(super) fn finish(self, batch: &RecordBatch, bytes: &[u8]) -> Result<(), RecordsError> {
        match bytes.len() - self.at {
            0 => Ok(()),
            bytes => Err(RecordsError::Count { base_offset: batch.base_offset, count: batch.count, bytes }),
        }
    }
}

/// Reads the record at `at`, whatever it is.
#[cold]
#[inline(never)]
fn read_frame(bytes: &[u8], at: usize) -> Result<Raw, Fault> {
    let (length, at) = read_count(bytes, at)?;
    let end = at.checked_add(length).ok_or(Fault::Short)?;
    let record = bytes.get(..end).ok_or(Fault::Short)?;
    // Behind a byte of attributes: no bit of them has a meaning.
    let (timestamp_delta, at) = varint::read_i64(record, at + 1)?;
    let (offset_delta, body) = varint::read_i32(record, at)?;
    let at = skip(record, body)?;
    let at = skip(record, at)?;
    let (headers, at) = read_count(record, at)?;
    match skip_headers(record, at, headers)? == end {
        true => Ok(Raw { timestamp_delta, offset_delta, body, end }),
        false => Err(Fault::Long),
    }
}

/// The same for a record as most are: numbers of three bytes at most, a key shorter than 64 bytes,
/// and seven bytes behind each number. Numbers are taken out of words of eight bytes, with one
/// look at the bounds for several, which takes two thirds of the time. `None` says that
/// [`read_frame`] has to look, and nothing about what is wrong.
#[inline(always)]
fn read_usual(bytes: &[u8], at: usize) -> Option<Raw> {
    let (length, size) = varint::short(varint::word(bytes, at)?)?;
    let start = at + size;
    let end = start + varint::as_length(length)?;
    // Attributes, at most six bytes of deltas, and the key's length: all in one word. It may
    // reach into the next record, as what is read later may, which is seen at the end: numbers and
    // lengths only ever add to where this one ends.
    let word = varint::word(bytes, start)? >> 8;
    let (timestamp_delta, first) = varint::short(word)?;
    let word = word >> (8 * first);
    let (offset_delta, second) = varint::short(word)?;
    let key = (word >> (8 * second)) as u8;
    let body = start + 1 + first + second;
    if key >= 0x80 || offset_delta & 1 != 0 {
        return None;
    }
    let at = body + 1 + varint::as_nullable(key.into())?;
    let (value, size) = varint::short(varint::word(bytes, at)?)?;
    let at = at + size + varint::as_nullable(value)?;
    let whole = match *bytes.get(at)? {
        0 => at + 1 == end,
        _ => has_headers(bytes, at, end),
    };
    whole.then_some(Raw {
        timestamp_delta: varint::zigzag_32(timestamp_delta).into(),
        offset_delta: (offset_delta >> 1) as i32,
        body,
        end,
    })
}

/// Whether the headers that are counted at `at` are right and end at `end`.
#[cold]
#[inline(never)]
fn has_headers(bytes: &[u8], at: usize, end: usize) -> bool {
    let record = bytes.get(..end).unwrap_or_default();
    read_count(record, at).and_then(|(count, at)| skip_headers(record, at, count)) == Ok(end)
}

fn skip_headers(record: &[u8], mut at: usize, count: usize) -> Result<usize, Fault> {
    for _ in 0..count {
        let (name, behind) = read_count(record, at)?;
        at = skip(record, advance(record, behind, name)?)?;
    }
    Ok(at)
}

/// A length or count that isn't null.
#[inline(always)]
fn read_count(bytes: &[u8], at: usize) -> Result<(usize, usize), Fault> {
    let (count, at) = varint::read_i32(bytes, at)?;
    usize::try_from(count).map(|count| (count, at)).map_err(|_| Fault::Negative)
}

/// `at`, moved over `length` bytes if they are there.
#[inline(always)]
fn advance(bytes: &[u8], at: usize, length: usize) -> Result<usize, Fault> {
    match at.checked_add(length) {
        Some(end) if end <= bytes.len() => Ok(end),
        _ => Err(Fault::Short),
    }
}

/// Over some bytes, or null.
#[inline(always)]
fn skip(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    match varint::read_i32(bytes, at)? {
        (-1, at) => Ok(at),
        (length, at) => advance(bytes, at, usize::try_from(length).map_err(|_| Fault::Negative)?),
    }
}

/// Some bytes, or null; and where they end.
#[inline(always)]
fn read_bytes(bytes: &[u8], at: usize) -> Option<(Option<&[u8]>, usize)> {
    match varint::read_i32(bytes, at).ok()? {
        (-1, at) => Some((None, at)),
        (length, at) => {
            let end = at.checked_add(usize::try_from(length).ok()?)?;
            Some((Some(bytes.get(at..end)?), end))
        }
    }
}

/// The body of a record.
pub(crate) struct Body<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Headers<'a>,
}

impl<'a> Body<'a> {
    /// Of the record whose key begins at `at`. `None` where none is: never, at a place that an
    /// index holds for these bytes.
    #[inline]
    pub(crate) fn at(bytes: &'a [u8], at: usize) -> Option<Self> {
        let (key, at) = read_bytes(bytes, at)?;
        let (value, at) = read_bytes(bytes, at)?;
        Some(Self { key, value, headers: Headers::at(bytes, at) })
    }

    /// The key alone.
    #[inline]
    pub(crate) fn key(bytes: &'a [u8], at: usize) -> Option<&'a [u8]> {
        read_bytes(bytes, at)?.0
    }

    /// The value alone.
    #[inline]
    pub(crate) fn value(bytes: &'a [u8], at: usize) -> Option<&'a [u8]> {
        read_bytes(bytes, skip(bytes, at).ok()?)?.0
    }
}

/// The headers of a record (KIP-82): name and value of each, in order, repeated names included.
/// Names are UTF-8 where the producer keeps to the protocol; a value may be null.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> Headers<'a> {
    fn at(bytes: &'a [u8], at: usize) -> Self {
        match read_count(bytes, at) {
            Ok((left, at)) => Self { bytes: bytes.get(at..).unwrap_or_default(), left },
            Err(_) => Self::default(),
        }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let (name, at) = read_bytes(self.bytes, 0)?;
        let (value, at) = read_bytes(self.bytes, at)?;
        self.bytes = self.bytes.get(at..).unwrap_or_default();
        Some((name?, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

impl FusedIterator for Headers<'_> {}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A record of these parts, where the numbers may be anything, and how long each is written.
    fn bytes(parts: (i64, i64, i64, i64, i64, i64), tail: &[u8]) -> Vec<u8> {
        let (wrong_by, timestamp, offset, key, value, headers) = parts;
        let mut body = vec![0];
        varint::write(&mut body, timestamp);
        varint::write(&mut body, offset);
        for length in [key, value] {
            varint::write(&mut body, length);
            body.resize(body.len() + length.clamp(0, 5000) as usize, b'x');
        }
        varint::write(&mut body, headers);
        for _ in 0..headers.clamp(0, 10) {
            body.extend_from_slice(b"\x04ab\x02c");
        }
        let mut record = Vec::new();
        varint::write(&mut record, body.len() as i64 + wrong_by);
        record.extend_from_slice(&body);
        record.extend_from_slice(tail);
        record
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        /// What the quick way takes, the other one takes for the same.
        #[test]
        fn both_ways_read_the_same(
            wrong_by in prop_oneof![9 => Just(0_i64), 1 => -2..3_i64],
            timestamp in prop_oneof![-70..70_i64, -9000..9000_i64, any::<i64>()],
            offset in prop_oneof![3 => 0..70_i64, 1 => -2..2_000_000_i64],
            lengths in (prop_oneof![3 => -1..70_i64, 1 => -2..200_i64], prop_oneof![-2..140_i64, -1..5000_i64]),
            headers in prop_oneof![3 => Just(0_i64), 1 => -2..4_i64],
            tail in vec(any::<u8>(), 0..12),
            change in proptest::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
            cut in proptest::option::weighted(0.1, any::<prop::sample::Index>()),
        ) {
            let mut bytes = bytes((wrong_by, timestamp, offset, lengths.0, lengths.1, headers), &tail);
            if let Some((place, byte)) = change {
                let place = place.index(bytes.len().min(20));
                bytes[place] = byte;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let told = |raw: Raw| (raw.timestamp_delta, raw.offset_delta, raw.body, raw.end);
            let slow = read_frame(&bytes, 0).map(told);
            if let Some(quick) = read_usual(&bytes, 0) {
                prop_assert_eq!(slow, Ok(told(quick)));
            }
            // It is the usual one indeed.
            let usual = wrong_by == 0 && change.is_none() && cut.is_none() && tail.len() >= 8;
            let small = timestamp.abs() < 1 << 20 && (0..1 << 20).contains(&offset);
            let there = (-1..64).contains(&lengths.0) && lengths.1 >= -1 && headers >= 0;
            prop_assert_eq!(usual && small && there && read_usual(&bytes, 0).is_none(), false);
        }
    }
}
