//! Records as messages: an index over the buffer in which they lie.

use std::ops::Range;

use bytes::Bytes;

use super::record::{RECORD_MIN, Walk};
use super::{Compression, RecordBatch, RecordsError, TimestampType};
use crate::message::{Entries, Entry, Layout};
use crate::stream::{SeqNo, Timestamp};

/// What [`index`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexReport {
    /// Messages that were added.
    pub indexed: usize,
    /// Records before the wanted offset: a batch is sent whole for any offset within it.
    pub skipped: usize,
    /// Bytes of the records that were added, decompressed and with their framing.
    pub bytes: usize,
    /// The position after the batch, compacted tail included.
    pub next_offset: i64,
}

/// Appends the records of `batch` from offset `from` on to `into`, as messages for the application.
/// All of the batch is checked; nothing is allocated for a record but its place in the index.
///
/// `data` is what `into` is, or becomes, an index over. For an uncompressed batch it may be any
/// buffer that has the batch in it, best the whole that [`Batches`](super::Batches) was made from:
/// then several batches fit into one index. For a compressed one it is exactly what
/// [`RecordBatch::decompressed`] gave; [`index_at`] takes a buffer with several.
///
/// It adds control records like any others: see [`RecordBatch::control`] and
/// [`Aborted::keeps`](super::Aborted::keeps) first.
///
/// # Errors
/// [`RecordsError::Record`], [`RecordsError::Count`]: the records are not what the format says.
/// [`RecordsError::Buffer`]: `into` is not empty and over another buffer, or the batch is not in
/// `data`, or `data` is of 4 GiB or more. In all cases `into` is as it was.
pub fn index(
    batch: &RecordBatch,
    data: Bytes,
    from: i64,
    into: &mut Entries,
) -> Result<IndexReport, RecordsError> {
    let at = match batch.compression {
        Compression::None => range_in(batch.body(), &data).ok_or(RecordsError::Buffer)?,
        _ => 0..data.len(),
    };
    index_at(batch, data, at, from, into)
}

/// [`index`] where the batch's decompressed records are the part `at` of `data`, as
/// [`RecordBatch::decompress_into`] says.
///
/// # Errors
/// As [`index`].
pub fn index_at(
    batch: &RecordBatch,
    data: Bytes,
    at: Range<usize>,
    from: i64,
    into: &mut Entries,
) -> Result<IndexReport, RecordsError> {
    if data.len() > u32::MAX as usize || data.get(at.clone()).is_none() {
        return Err(RecordsError::Buffer);
    }
    if into.index.is_empty() {
        // What it has reserved is used again.
        into.spans.clear();
        (into.data, into.layout) = (data, Layout::Record);
    } else if into.layout != Layout::Record || range_in(&data, &into.data) != Some(0..into.data.len()) {
        return Err(RecordsError::Buffer);
    }
    let before = into.index.len();
    let report = append(batch, &at, from, into);
    if report.is_err() {
        into.index.truncate(before);
    }
    report
}

fn append(
    batch: &RecordBatch,
    at: &Range<usize>,
    from: i64,
    into: &mut Entries,
) -> Result<IndexReport, RecordsError> {
    let Entries { data, index, .. } = into;
    // Proved: the caller looked.
    let bytes = data.get(..at.end).unwrap_or_default();
    // As many as are announced, if the bytes can hold them.
    index.reserve((batch.count as usize).min(at.len() / RECORD_MIN));
    // All as one timestamp: no delta counts.
    let (base, counts) = match batch.timestamp_type {
        TimestampType::Create => (batch.base_timestamp, -1),
        TimestampType::LogAppend => (batch.max_timestamp, 0),
    };
    let mut walk = Walk::new(batch, at.start);
    let (mut skipped, mut first) = (0, at.start);
    for record in 0..batch.count {
        let raw = match walk.step(bytes) {
            Ok(raw) => raw,
            Err(fault) => return Err(batch.wrong_record(record, fault)),
        };
        // Proved: between the header's first and last offset, which are not below zero.
        let offset = batch.base_offset + i64::from(raw.offset_delta);
        if offset < from {
            (skipped, first) = (record + 1, raw.end);
            continue;
        }
        index.push(Entry {
            seq: SeqNo::offset(offset as u64),
            timestamp: Timestamp::from_millis(base.saturating_add(raw.timestamp_delta & counts)),
            deliveries: 1,
            place: raw.body as u32,
        });
    }
    walk.finish(batch, bytes)?;
    Ok(IndexReport {
        indexed: (batch.count - skipped) as usize,
        skipped: skipped as usize,
        bytes: at.end - first,
        next_offset: batch.next_offset(),
    })
}

/// Where `part` lies in `whole`, if it does.
fn range_in(part: &[u8], whole: &[u8]) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}
