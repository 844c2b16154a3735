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
    walk: Walk<'a>,
}

impl<'a> Records<'a> {
    /// Over what [`RecordBatch::decompressed`] gave for `batch`.
    pub fn new(batch: &'a RecordBatch, decompressed: &'a [u8]) -> Self {
        Self { batch, walk: Walk::new(batch, decompressed, 0) }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let raw = match self.walk.next()? {
            Ok(raw) => raw,
            Err(error) => return Some(Err(error)),
        };
        // What was just walked over is there.
        let body = Body::at(self.walk.bytes, raw.body)?;
        Some(Ok(Record {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    /// Where its key begins.
    pub(super) body: usize,
}

/// Goes over the records of a batch and checks all that can be wrong with them.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    /// Where the next record begins.
    at: usize,
    base_offset: i64,
    /// Above the offset delta of the record before.
    offset_least: i64,
    offset_most: i64,
    count: u32,
    done: u32,
}

impl<'a> Walk<'a> {
    /// Over the records that begin at `at` and end with `bytes`.
    pub(super) fn new(batch: &RecordBatch, bytes: &'a [u8], at: usize) -> Self {
        Self {
            bytes,
            at,
            base_offset: batch.base_offset,
            offset_least: 0,
            offset_most: batch.last_offset - batch.base_offset,
            count: batch.count,
            done: 0,
        }
    }

    /// Where the next record begins.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<Result<Raw, RecordsError>> {
        if self.done >= self.count {
            return self.end();
        }
        match self.step() {
            Ok(raw) => {
                self.done += 1;
                Some(Ok(raw))
            }
            Err(fault) => Some(Err(self.fail(fault))),
        }
    }

    #[inline(always)]
    fn step(&mut self) -> Result<Raw, Fault> {
        let (raw, end) = match read_short_frame(self.bytes, self.at) {
            Some(read) => read,
            None => read_frame(self.bytes, self.at)?,
        };
        let offset = i64::from(raw.offset_delta);
        if offset < self.offset_least || offset > self.offset_most {
            return Err(Fault::Offset);
        }
        self.offset_least = offset + 1;
        self.at = end;
        Ok(raw)
    }

    #[cold]
    fn fail(&mut self, fault: Fault) -> RecordsError {
        let record = self.done;
        // Nothing more, and no bytes too many either.
        self.done = self.count;
        self.at = self.bytes.len();
        RecordsError::Record { base_offset: self.base_offset, record, fault }
    }

    #[cold]
    fn end(&mut self) -> Option<Result<Raw, RecordsError>> {
        let bytes = self.bytes.len() - self.at;
        self.at = self.bytes.len();
        let (base_offset, count) = (self.base_offset, self.count);
        (bytes > 0).then_some(Err(RecordsError::Count { base_offset, count, bytes }))
    }
}

/// As [`read_frame`] for what nearly all records are: numbers of one or two bytes, no headers, and not at
/// the very end of the bytes. `None` for all others, whether right or wrong.
#[inline(always)]
fn read_short_frame(bytes: &[u8], at: usize) -> Option<(Raw, usize)> {
    let mut window = Window::at(bytes, at)?;
    let length = usize::try_from(window.number()?).ok()?;
    let end = at + window.taken + length;
    window.pass_byte();
    let timestamp_delta = window.number()?.into();
    let offset_delta = window.number()?;
    let body = at + window.taken;
    let mut window = Window::at(bytes, body)?;
    let mut value_at = body;
    // -1 is null.
    let key = window.number()?;
    if key < -1 {
        return None;
    }
    if key > 0 {
        value_at += window.taken + key as usize;
        window = Window::at(bytes, value_at)?;
    }
    let value = window.number()?;
    if value < -1 || offset_delta < 0 {
        return None;
    }
    let headers = value_at + window.taken + value.max(0) as usize;
    // Where the only byte that is left says that there are no headers, everything before it lies
    // within the record.
    match headers + 1 == end && bytes.get(headers) == Some(&0) {
        true => Some((Raw { timestamp_delta, offset_delta, body }, end)),
        false => None,
    }
}

/// Eight bytes that were read at once, for up to three numbers of two bytes at most and a byte more.
struct Window {
    bits: u64,
    taken: usize,
}

impl Window {
    #[inline(always)]
    fn at(bytes: &[u8], at: usize) -> Option<Self> {
        let chunk = bytes.get(at..)?.first_chunk()?;
        Some(Self { bits: u64::from_le_bytes(*chunk), taken: 0 })
    }

    /// The next number, if it is so short.
    #[inline(always)]
    fn number(&mut self) -> Option<i32> {
        let low = self.bits as u32;
        let raw = if low & 0x80 == 0 {
            self.bits >>= 8;
            self.taken += 1;
            low & 0x7f
        } else if low & 0x8000 == 0 {
            self.bits >>= 16;
            self.taken += 2;
            low & 0x7f | low >> 1 & 0x3f80
        } else {
            return None;
        };
        Some(varint::zigzag_32(raw))
    }

    #[inline(always)]
    fn pass_byte(&mut self) {
        self.bits >>= 8;
        self.taken += 1;
    }
}

/// Reads the record at `at`, and says where the next one begins.
#[inline(never)]
fn read_frame(bytes: &[u8], mut at: usize) -> Result<(Raw, usize), Fault> {
    let length = read_length(bytes, &mut at)?.ok_or(Fault::Negative)?;
    let end = at.checked_add(length).ok_or(Fault::Short)?;
    let record = bytes.get(..end).ok_or(Fault::Short)?;
    // The attributes: no bit of them has a meaning.
    at += 1;
    let timestamp_delta = varint::read_i64(record, &mut at)?;
    let offset_delta = varint::read_i32(record, &mut at)?;
    let body = at;
    skip(record, &mut at)?;
    skip(record, &mut at)?;
    let headers = read_length(record, &mut at)?.ok_or(Fault::Negative)?;
    if headers > 0 {
        skip_headers(record, &mut at, headers)?;
    }
    match at == end {
        true => Ok((Raw { timestamp_delta, offset_delta, body }, end)),
        false => Err(Fault::Long),
    }
}

fn skip_headers(record: &[u8], at: &mut usize, count: usize) -> Result<(), Fault> {
    for _ in 0..count {
        let name = read_length(record, at)?.ok_or(Fault::Negative)?;
        advance(record, at, name)?;
        skip(record, at)?;
    }
    Ok(())
}

/// A length or count; `None` for -1.
#[inline(always)]
fn read_length(bytes: &[u8], at: &mut usize) -> Result<Option<usize>, Fault> {
    match varint::read_i32(bytes, at)? {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Fault::Negative),
    }
}

/// Moves over `length` bytes if they are there.
#[inline(always)]
fn advance(bytes: &[u8], at: &mut usize, length: usize) -> Result<(), Fault> {
    // Proved: `at` is never behind the end.
    if length > bytes.len() - *at {
        return Err(Fault::Short);
    }
    *at += length;
    Ok(())
}

#[inline(always)]
fn skip(bytes: &[u8], at: &mut usize) -> Result<(), Fault> {
    match read_length(bytes, at)? {
        Some(length) => advance(bytes, at, length),
        None => Ok(()),
    }
}

/// Some bytes, or null.
#[inline(always)]
fn read_bytes<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Option<&'a [u8]>> {
    let Some(length) = read_length(bytes, at).ok()? else { return Some(None) };
    let taken = bytes.get(*at..)?.get(..length)?;
    *at += length;
    Some(Some(taken))
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
    pub(crate) fn at(bytes: &'a [u8], mut at: usize) -> Option<Self> {
        let key = read_bytes(bytes, &mut at)?;
        let value = read_bytes(bytes, &mut at)?;
        Some(Self { key, value, headers: Headers::at(bytes, at) })
    }

    /// The key alone.
    #[inline]
    pub(crate) fn key(bytes: &'a [u8], mut at: usize) -> Option<&'a [u8]> {
        read_bytes(bytes, &mut at)?
    }

    /// The value alone.
    #[inline]
    pub(crate) fn value(bytes: &'a [u8], mut at: usize) -> Option<&'a [u8]> {
        skip(bytes, &mut at).ok()?;
        read_bytes(bytes, &mut at)?
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
    fn at(bytes: &'a [u8], mut at: usize) -> Self {
        match read_length(bytes, &mut at) {
            Ok(Some(left)) => Self { bytes: bytes.get(at..).unwrap_or_default(), left },
            _ => Self::default(),
        }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut at = 0;
        let name = read_bytes(self.bytes, &mut at)??;
        let value = read_bytes(self.bytes, &mut at)?;
        self.bytes = self.bytes.get(at..).unwrap_or_default();
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

impl FusedIterator for Headers<'_> {}

#[cfg(test)]
mod tests {
    use super::super::{BatchBuilder, NewRecord};
    use super::*;
    use crate::random::Random;

    /// Records of a batch, and bytes behind them.
    fn bytes(records: &[NewRecord<'_>]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(0);
        records.iter().for_each(|record| {
            builder.record(*record);
        });
        let mut bytes = builder.build().unwrap().split_off(61);
        bytes.extend_from_slice(&[0; 8]);
        bytes
    }

    #[test]
    fn short_records_are_read_the_short_way_and_alike() {
        let long = vec![7; 5_000];
        for key in [None, Some(&b""[..]), Some(b"k"), Some(&long[..200])] {
            for value in [None, Some(&b""[..]), Some(b"value"), Some(&long[..100]), Some(&long[..4_000])] {
                let record = |offset| NewRecord { offset, timestamp: 50 * offset, key, value, headers: &[] };
                let bytes = bytes(&[record(0), record(90)]);
                let first = read_short_frame(&bytes, 0).unwrap();
                assert_eq!(read_frame(&bytes, 0).unwrap(), first);
                let second = read_short_frame(&bytes, first.1).unwrap();
                assert_eq!(read_frame(&bytes, first.1).unwrap(), second);
                assert_eq!((second.0.offset_delta, second.0.timestamp_delta), (90, 4_500));
                assert_eq!(second.1, bytes.len() - 8);
            }
        }
        let headers = NewRecord { headers: &[(b"h", None)], ..NewRecord::default() };
        let large = NewRecord { value: Some(&[0; 9_000]), ..NewRecord::default() };
        for record in [headers, large] {
            assert!(read_short_frame(&bytes(&[record]), 0).is_none());
            assert!(read_frame(&bytes(&[record]), 0).is_ok());
        }
    }

    #[test]
    fn whatever_the_bytes_what_is_read_the_short_way_is_read_alike() {
        let mut random = Random::new(7);
        let value = [3; 20];
        let whole = bytes(&[NewRecord { key: Some(b"key"), value: Some(&value), ..NewRecord::default() }]);
        let mut short = 0;
        for _ in 0..200_000 {
            let mut bytes = whole.clone();
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.next_u64() as u8;
            }
            bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
            if let Some(read) = read_short_frame(&bytes, 0) {
                short += 1;
                assert_eq!(read_frame(&bytes, 0), Ok(read), "{bytes:?}");
            }
        }
        assert!(short > 1_000, "{short}");
    }
}
