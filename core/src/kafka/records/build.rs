//! The write side: batches for tests, and for brokers that are models.

use super::batch::{CHECKED, FRAME, HEADER, MAGIC, attribute};
use super::codec::{self, Failure};
use super::{Compression, Fault, Marker, RecordsError, TimestampType, varint};

/// A record to write. Fields are as in [`Record`](super::Record).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// Its offset in the partition: above that of the record before.
    pub offset: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Its key, or null.
    pub key: Option<&'a [u8]>,
    /// Its value, or null.
    pub value: Option<&'a [u8]>,
    /// Name and value of each header.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// Builds one batch, as the bytes that [`Batches`](super::Batches) reads.
///
/// ```
/// use tidegate_core::kafka::records::{Batches, BatchBuilder, NewRecord, Records};
///
/// let mut builder = BatchBuilder::new(40);
/// builder.record(NewRecord { offset: 40, value: Some(b"a"), ..NewRecord::default() });
/// // Compaction removed 41 to 43.
/// builder.record(NewRecord { offset: 44, value: Some(b"b"), ..NewRecord::default() });
/// let bytes = builder.build()?;
///
/// let batch = Batches::new(bytes.into()).next().expect("there is one")?;
/// batch.verify()?;
/// assert_eq!(batch.next_offset(), 45);
/// let data = batch.decompressed(1 << 20)?;
/// let offsets = Records::new(&batch, &data).map(|record| record.map(|record| record.offset));
/// assert_eq!(offsets.collect::<Result<Vec<_>, _>>()?, [40, 44]);
/// # Ok::<(), tidegate_core::kafka::records::RecordsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    base_offset: i64,
    last_offset: Option<i64>,
    leader_epoch: i32,
    compression: Compression,
    log_append: Option<i64>,
    delete_horizon: Option<i64>,
    attributes: u16,
    producer: (i64, i16, i32),
    /// What timestamps are relative to, once there is a record.
    base_timestamp: Option<i64>,
    max_timestamp: Option<i64>,
    count: u32,
    offset_least: i64,
    fault: Option<RecordsError>,
    records: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch from this offset on: uncompressed, stamped by the producer, of no
    /// transaction.
    pub fn new(base_offset: i64) -> Self {
        Self {
            base_offset,
            last_offset: None,
            leader_epoch: -1,
            compression: Compression::None,
            log_append: None,
            delete_horizon: None,
            attributes: 0,
            producer: (-1, -1, -1),
            base_timestamp: None,
            max_timestamp: None,
            count: 0,
            offset_least: base_offset,
            fault: None,
            records: Vec::new(),
        }
    }

    /// The control batch that ends a producer's transaction at this offset (KIP-98).
    pub fn marker(
        offset: i64,
        producer_id: i64,
        producer_epoch: i16,
        timestamp: i64,
        marker: Marker,
    ) -> Self {
        let mut builder = Self::new(offset);
        builder.producer(producer_id, producer_epoch, -1).transactional(true).control(true);
        let kind = match marker {
            Marker::Abort => 0,
            Marker::Commit => 1,
        };
        // Key: version and type; value: version and the coordinator's epoch.
        builder.record(NewRecord {
            offset,
            timestamp,
            key: Some(&[0, 0, 0, kind]),
            value: Some(&[0; 6]),
            headers: &[],
        });
        builder
    }

    /// The offset of the last record that was there before compaction; default: that of the last
    /// record.
    pub fn last_offset(&mut self, offset: i64) -> &mut Self {
        self.last_offset = Some(offset);
        self
    }

    /// The epoch of the leader that appended it; default -1, unknown.
    pub fn leader_epoch(&mut self, epoch: i32) -> &mut Self {
        self.leader_epoch = epoch;
        self
    }

    /// How to compress the records.
    pub fn compression(&mut self, compression: Compression) -> &mut Self {
        self.compression = compression;
        self
    }

    /// Stamps the whole batch, as a broker does where the topic says so.
    pub fn log_append_time(&mut self, timestamp: i64) -> &mut Self {
        self.log_append = Some(timestamp);
        self
    }

    /// When tombstones and markers may go (KIP-534); before the first record.
    pub fn delete_horizon(&mut self, timestamp: i64) -> &mut Self {
        self.delete_horizon = Some(timestamp);
        self
    }

    /// Who wrote it, and the first record's sequence; default -1, -1 and -1: not idempotent.
    pub fn producer(&mut self, id: i64, epoch: i16, base_sequence: i32) -> &mut Self {
        self.producer = (id, epoch, base_sequence);
        self
    }

    /// Whether it is part of a transaction.
    pub fn transactional(&mut self, transactional: bool) -> &mut Self {
        self.attribute(attribute::TRANSACTIONAL, transactional)
    }

    /// Whether its records are control records; [`marker`](Self::marker) writes the usual ones.
    pub fn control(&mut self, control: bool) -> &mut Self {
        self.attribute(attribute::CONTROL, control)
    }

    fn attribute(&mut self, bit: u16, on: bool) -> &mut Self {
        self.attributes = if on { self.attributes | bit } else { self.attributes & !bit };
        self
    }

    /// Appends a record. One that can't be there makes [`build`](Self::build) fail.
    pub fn record(&mut self, record: NewRecord<'_>) -> &mut Self {
        let Self { base_offset, count, .. } = *self;
        let delta = record.offset.checked_sub(base_offset).filter(|delta| *delta <= i64::from(i32::MAX));
        let Some(delta) = delta.filter(|_| record.offset >= self.offset_least) else {
            let fault = RecordsError::Record { base_offset, record: count, fault: Fault::Offset };
            self.fault.get_or_insert(fault);
            return self;
        };
        let base_timestamp =
            *self.base_timestamp.get_or_insert(self.delete_horizon.unwrap_or(record.timestamp));
        let mut body = vec![0];
        varint::write(&mut body, record.timestamp.wrapping_sub(base_timestamp));
        varint::write(&mut body, delta);
        write_bytes(&mut body, record.key);
        write_bytes(&mut body, record.value);
        varint::write(&mut body, record.headers.len() as i64);
        for (name, value) in record.headers {
            write_bytes(&mut body, Some(name));
            write_bytes(&mut body, *value);
        }
        write_bytes(&mut self.records, Some(&body));
        self.max_timestamp = self.max_timestamp.max(Some(record.timestamp));
        self.offset_least = record.offset.saturating_add(1);
        self.count += 1;
        self
    }

    /// The batch's bytes.
    ///
    /// # Errors
    /// [`RecordsError::Record`]: a record's offset is not above that of the one before, or too far
    /// from the batch's. [`RecordsError::Header`]: the last offset is before that of the last
    /// record, or too far. [`RecordsError::TooLarge`]: 2 GiB and more. [`RecordsError::CodecOff`],
    /// [`RecordsError::Decompress`]: the codec.
    pub fn build(&self) -> Result<Vec<u8>, RecordsError> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        let Self { base_offset, compression, .. } = *self;
        let last_offset = self.last_offset.unwrap_or(base_offset.max(self.offset_least.saturating_sub(1)));
        let last_delta = last_offset.checked_sub(base_offset).and_then(|delta| i32::try_from(delta).ok());
        let Some(last_delta) = last_delta.filter(|delta| *delta >= 0 && last_offset >= self.offset_least - 1)
        else {
            return Err(RecordsError::Header { base_offset, field: "last offset", value: last_offset });
        };
        let too_large = RecordsError::TooLarge { base_offset, max: i32::MAX as usize };
        let mut out = Vec::with_capacity(HEADER + self.records.len());
        out.resize(HEADER, 0);
        if i32::try_from(self.records.len()).is_err() {
            return Err(too_large);
        }
        codec::compress(compression, &self.records, &mut out).map_err(|failure| match failure {
            Failure::TooLarge => too_large.clone(),
            Failure::Broken(cause) => RecordsError::Decompress { base_offset, codec: compression, cause },
            Failure::Off => RecordsError::CodecOff { codec: compression },
        })?;
        let length = i32::try_from(out.len() - FRAME).map_err(|_| too_large)?;
        let (producer_id, producer_epoch, base_sequence) = self.producer;
        let timestamps = match self.log_append {
            None => TimestampType::Create,
            Some(_) => TimestampType::LogAppend,
        };
        let mut attributes = self.attributes | compression.code();
        if timestamps == TimestampType::LogAppend {
            attributes |= attribute::LOG_APPEND;
        }
        if self.delete_horizon.is_some() {
            attributes |= attribute::DELETE_HORIZON;
        }
        let base_timestamp = self.base_timestamp.or(self.delete_horizon).unwrap_or(-1);
        let mut header = Vec::with_capacity(HEADER - CHECKED);
        header.extend_from_slice(&attributes.to_be_bytes());
        header.extend_from_slice(&last_delta.to_be_bytes());
        header.extend_from_slice(&base_timestamp.to_be_bytes());
        header.extend_from_slice(&self.log_append.or(self.max_timestamp).unwrap_or(-1).to_be_bytes());
        header.extend_from_slice(&producer_id.to_be_bytes());
        header.extend_from_slice(&producer_epoch.to_be_bytes());
        header.extend_from_slice(&base_sequence.to_be_bytes());
        header.extend_from_slice(&self.count.to_be_bytes());
        put(&mut out, CHECKED, &header);
        let checksum = crc_fast::crc32_iscsi(out.get(CHECKED..).unwrap_or_default());
        put(&mut out, 0, &base_offset.to_be_bytes());
        put(&mut out, 8, &length.to_be_bytes());
        put(&mut out, 12, &self.leader_epoch.to_be_bytes());
        put(&mut out, 16, &MAGIC.to_be_bytes());
        put(&mut out, 17, &checksum.to_be_bytes());
        Ok(out)
    }
}

/// Writes over what is at `at`.
fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    // Proved: the header's length was reserved, and everything lies in it.
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

fn write_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::write(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => varint::write(out, -1),
    }
}
