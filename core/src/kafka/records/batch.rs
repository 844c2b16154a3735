//! Batches in the records of a partition, and their headers.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::{Decompressor, Fault, RecordsError};

/// Bytes before a batch's length counts: its first offset and the length itself.
pub(super) const FRAME: usize = 12;
/// Up to and with the magic, which is at the same place in all formats.
const MAGIC_END: usize = 17;
/// Where what the checksum covers begins.
pub(super) const CHECKED: usize = 21;
/// The whole header of format 2.
pub(super) const HEADER: usize = 61;
/// The message format that is read.
pub(super) const MAGIC: i8 = 2;

/// Bits of the attributes.
pub(super) mod attribute {
    pub(in super::super) const CODEC: u16 = 0b111;
    pub(in super::super) const LOG_APPEND: u16 = 1 << 3;
    pub(in super::super) const TRANSACTIONAL: u16 = 1 << 4;
    pub(in super::super) const CONTROL: u16 = 1 << 5;
    pub(in super::super) const DELETE_HORIZON: u16 = 1 << 6;
}

/// How the records of a batch are compressed. Each but none is a cargo feature of its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Google's Snappy, bare or in the framing of snappy-java.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// Zstandard, RFC 8878 (KIP-110).
    Zstd,
}

impl Compression {
    const fn from_code(code: u16) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its number in a batch's attributes.
    pub(super) const fn code(self) -> u16 {
        self as u16
    }
}

/// As Kafka's `compression.type` names it.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// Who stamped the records of a batch: the topic's `message.timestamp.type` (KIP-32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimestampType {
    /// The producer, each record on its own.
    #[default]
    Create,
    /// The broker, when it appended the batch: one timestamp for all of its records.
    LogAppend,
}

/// The batches in the records of one partition of a Fetch response.
///
/// A broker may cut off the last batch where the response's size ends: iteration ends there, and
/// [`is_truncated`](Self::is_truncated) tells. Where that is the first batch as well, asking for
/// [`bytes_needed`](Self::bytes_needed) brings it whole (brokers since 0.10.1 send the first batch
/// whole in any case, KIP-74).
///
/// An error is the last item: where the next batch would begin can't be trusted.
#[derive(Clone, Debug)]
pub struct Batches {
    records: Bytes,
    at: usize,
    needed: usize,
    failed: bool,
}

impl Batches {
    /// Over the records as they came. Batches are slices of it; nothing is copied.
    pub fn new(records: Bytes) -> Self {
        Self { records, at: 0, needed: 0, failed: false }
    }

    /// True once iteration has ended at a batch that isn't whole.
    pub fn is_truncated(&self) -> bool {
        self.needed > 0
    }

    /// Once iteration has ended at a batch that isn't whole: how many bytes it has, or as far as
    /// what came of it tells; else 0. At most 2 GiB and some.
    pub fn bytes_needed(&self) -> usize {
        self.needed
    }

    /// Bytes of whole batches that were given so far.
    pub fn position(&self) -> usize {
        self.at
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, RecordsError> {
        // Proved: `at` grows by lengths of batches that are there.
        let rest = self.records.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        let (Some(base_offset), Some(length)) = (i64_at(rest, 0), i32_at(rest, 8)) else {
            self.needed = MAGIC_END;
            return Ok(None);
        };
        let magic = rest.get(MAGIC_END - 1).map(|byte| *byte as i8);
        let least = if magic == Some(MAGIC) { HEADER } else { MAGIC_END } - FRAME;
        let size = match usize::try_from(length) {
            Ok(size) if size >= least => size.saturating_add(FRAME),
            _ => return Err(RecordsError::Length { base_offset, length }),
        };
        let Some(magic) = magic.filter(|_| size <= rest.len()) else {
            self.needed = size;
            return Ok(None);
        };
        if magic != MAGIC {
            return Err(RecordsError::Magic { base_offset, magic });
        }
        let batch = RecordBatch::read(self.records.slice(self.at..self.at + size))?;
        self.at += size;
        Ok(Some(batch))
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.needed > 0 {
            return None;
        }
        let item = self.read().transpose();
        self.failed = matches!(item, Some(Err(_)));
        item
    }
}

impl std::iter::FusedIterator for Batches {}

/// One batch: what its header says, and its records as they came.
///
/// Made by [`Batches`]; the header's fields are checked against each other, the rest by
/// [`verify`](Self::verify).
#[derive(Clone, PartialEq, Eq)]
pub struct RecordBatch {
    /// Offset that the first record had when it was written; compaction may have removed it.
    pub base_offset: i64,
    /// Offset that the last record had when it was written: the position after this batch is
    /// one more, whatever records are left in it.
    pub last_offset: i64,
    /// Epoch of the leader that appended it (KIP-101); -1 if unknown.
    pub leader_epoch: i32,
    /// How the records are compressed.
    pub compression: Compression,
    /// Who stamped the records.
    pub timestamp_type: TimestampType,
    /// Part of a transaction (KIP-98).
    pub transactional: bool,
    /// Holds a control record, a transaction's marker, which is for no application.
    pub control: bool,
    /// What the records' timestamps are relative to, in milliseconds since the Unix epoch; the
    /// time after which tombstones may go where [`delete_horizon`](Self::delete_horizon) is true.
    pub base_timestamp: i64,
    /// The largest timestamp in it; with [`TimestampType::LogAppend`] that of all records.
    pub max_timestamp: i64,
    /// Who wrote it, if idempotent or transactional; else -1.
    pub producer_id: i64,
    /// The producer's epoch; -1 without a producer id.
    pub producer_epoch: i16,
    /// The first record's sequence of that producer; -1 without a producer id.
    pub base_sequence: i32,
    /// How many records are left in it: as announced, at most what the offsets leave room for.
    pub count: u32,
    /// Whether [`base_timestamp`](Self::base_timestamp) is a time after which tombstones and
    /// markers may go (KIP-534).
    pub delete_horizon: bool,
    frame: Bytes,
}

impl RecordBatch {
    fn read(frame: Bytes) -> Result<Self, RecordsError> {
        let fields = Fields::read(&frame).ok_or(RecordsError::Buffer)?;
        let Fields { base_offset, attributes, last_offset_delta, count, .. } = fields;
        let wrong = |field, value| Err(RecordsError::Header { base_offset, field, value });
        if base_offset < 0 {
            return wrong("base offset", base_offset);
        }
        let last_offset = match base_offset.checked_add(last_offset_delta.into()) {
            // One less than the largest, so that there is a position after it.
            Some(last) if last >= base_offset && last < i64::MAX => last,
            _ => return wrong("last offset delta", last_offset_delta.into()),
        };
        let Some(count) = u32::try_from(count).ok().filter(|count| *count <= last_offset_delta as u32 + 1)
        else {
            return wrong("record count", count.into());
        };
        let code = attributes & attribute::CODEC;
        let Some(compression) = Compression::from_code(code) else {
            return Err(RecordsError::UnknownCodec { base_offset, codec: code as u8 });
        };
        let is = |bit| attributes & bit != 0;
        Ok(Self {
            base_offset,
            last_offset,
            leader_epoch: fields.leader_epoch,
            compression,
            timestamp_type: match is(attribute::LOG_APPEND) {
                true => TimestampType::LogAppend,
                false => TimestampType::Create,
            },
            transactional: is(attribute::TRANSACTIONAL),
            control: is(attribute::CONTROL),
            base_timestamp: fields.base_timestamp,
            max_timestamp: fields.max_timestamp,
            producer_id: fields.producer_id,
            producer_epoch: fields.producer_epoch,
            base_sequence: fields.base_sequence,
            count,
            delete_horizon: is(attribute::DELETE_HORIZON),
            frame,
        })
    }

    /// Checks the bytes against the header's CRC-32C. It covers the header from the attributes
    /// on: the first offset and the leader's epoch are outside, as brokers set them.
    ///
    /// # Errors
    /// [`RecordsError::Checksum`].
    pub fn verify(&self) -> Result<(), RecordsError> {
        let computed = crc_fast::crc32_iscsi(self.frame.get(CHECKED..).unwrap_or_default());
        let announced = i32_at(&self.frame, MAGIC_END).unwrap_or_default() as u32;
        match computed == announced {
            true => Ok(()),
            false => Err(RecordsError::Checksum { base_offset: self.base_offset, announced, computed }),
        }
    }

    /// The position after this batch.
    pub fn next_offset(&self) -> i64 {
        // Proved: checked to be less than the largest number when the header was read.
        self.last_offset + 1
    }

    /// Bytes of it on the wire, header included.
    pub fn size(&self) -> usize {
        self.frame.len()
    }

    /// Its records as they came, compressed or not.
    pub fn body(&self) -> &[u8] {
        self.frame.get(HEADER..).unwrap_or_default()
    }

    /// Its records, decompressed if need be. Uncompressed ones are shared, not copied.
    ///
    /// # Errors
    /// [`RecordsError::TooLarge`] where more than `max` bytes come out; no more than that are
    /// allocated. [`RecordsError::CodecOff`], [`RecordsError::Decompress`].
    pub fn decompressed(&self, max: usize) -> Result<Bytes, RecordsError> {
        Decompressor::default().decompressed(self, max)
    }

    /// Appends its records to `out`, decompressed if need be, and says where they are: so that
    /// several small batches share one buffer and, by [`index_at`](super::index_at), one index.
    ///
    /// # Errors
    /// As [`decompressed`](Self::decompressed); `out` is as it was.
    pub fn decompress_into(&self, out: &mut Vec<u8>, max: usize) -> Result<Range<usize>, RecordsError> {
        Decompressor::default().decompress_into(self, out, max)
    }

    /// Its records as they came, sharing the buffer.
    pub(super) fn shared_body(&self) -> Bytes {
        self.frame.slice(HEADER.min(self.frame.len())..)
    }

    /// What is wrong with a record of it.
    pub(super) fn wrong_record(&self, record: u32, fault: Fault) -> RecordsError {
        RecordsError::Record { base_offset: self.base_offset, record, fault }
    }

    /// The timestamp of a record with this delta.
    #[inline]
    pub(super) fn timestamp(&self, delta: i64) -> i64 {
        match self.timestamp_type {
            TimestampType::Create => self.base_timestamp.saturating_add(delta),
            TimestampType::LogAppend => self.max_timestamp,
        }
    }
}

impl fmt::Debug for RecordBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { base_offset, last_offset, count, compression, transactional, control, .. } = self;
        write!(f, "RecordBatch({base_offset}..={last_offset} x{count} {compression}")?;
        f.write_str(if *transactional { " transactional" } else { "" })?;
        f.write_str(if *control { " control)" } else { ")" })
    }
}

/// The header's numbers as they stand there.
struct Fields {
    base_offset: i64,
    leader_epoch: i32,
    attributes: u16,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    count: i32,
}

impl Fields {
    fn read(frame: &[u8]) -> Option<Self> {
        Some(Self {
            base_offset: i64_at(frame, 0)?,
            leader_epoch: i32_at(frame, 12)?,
            attributes: i16_at(frame, 21)? as u16,
            last_offset_delta: i32_at(frame, 23)?,
            base_timestamp: i64_at(frame, 27)?,
            max_timestamp: i64_at(frame, 35)?,
            producer_id: i64_at(frame, 43)?,
            producer_epoch: i16_at(frame, 51)?,
            base_sequence: i32_at(frame, 53)?,
            count: i32_at(frame, 57)?,
        })
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    array_at(bytes, at).map(i64::from_be_bytes)
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    array_at(bytes, at).map(i32::from_be_bytes)
}

pub(super) fn i16_at(bytes: &[u8], at: usize) -> Option<i16> {
    array_at(bytes, at).map(i16::from_be_bytes)
}
