//! Batches that a broker writes anew: where it stamps them, and where it compacts a log.
//!
//! Compaction leaves a batch's first and last offset as they were, whatever records are left in it.
//! A batch without records stays while it is its producer's last one, as it tells the producer's
//! sequence; others go. What an open transaction may still abort isn't looked at, nor what follows.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_core::SeqNo;
use tidegate_core::kafka::records::{BatchBuilder, Batches, NewRecord, RecordBatch, Records, TimestampType};

use super::Kafka;
use super::log::{BATCH_MAX, Log};
use crate::broker::{Fact, Gone};

/// A batch with the records that are kept, stamped or as it was; `None` if it can't be read.
fn written_anew(batch: &RecordBatch, keep: impl Fn(i64) -> bool, stamp: Option<i64>) -> Option<Bytes> {
    let data = batch.decompressed(BATCH_MAX).ok()?;
    let mut builder = BatchBuilder::new(batch.base_offset);
    builder
        .last_offset(batch.last_offset)
        .leader_epoch(batch.leader_epoch)
        .compression(batch.compression)
        .producer(batch.producer_id, batch.producer_epoch, batch.base_sequence)
        .transactional(batch.transactional)
        .control(batch.control);
    if batch.delete_horizon {
        builder.delete_horizon(batch.base_timestamp);
    }
    let before = (batch.timestamp_type == TimestampType::LogAppend).then_some(batch.max_timestamp);
    if let Some(stamp) = stamp.or(before) {
        builder.log_append_time(stamp);
    }
    for record in Records::new(batch, &data) {
        let record = record.ok()?;
        if keep(record.offset) {
            let headers: Vec<_> = record.headers.collect();
            builder.record(NewRecord {
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: &headers,
            });
        }
    }
    Some(builder.build().ok()?.into())
}

/// Batches as the broker stamps them (KIP-32); `None` if they are broken.
pub(super) fn stamped(batches: Bytes, millis: i64) -> Option<Bytes> {
    let mut out = Vec::with_capacity(batches.len());
    let (whole, mut read) = (batches.len(), Batches::new(batches));
    for batch in read.by_ref() {
        let batch = batch.ok().filter(|batch| batch.verify().is_ok())?;
        match batch.control {
            // Markers are the broker's own.
            true => out.extend_from_slice(&written_anew(&batch, |_| true, None)?),
            false => out.extend_from_slice(&written_anew(&batch, |_| true, Some(millis))?),
        }
    }
    (read.position() == whole).then(|| out.into())
}

impl Log {
    /// Removes the records for which `gone` says so; their offsets.
    fn compact(&mut self, gone: impl Fn(i64) -> bool) -> Vec<i64> {
        let until = self.readable(true);
        let mut last_of = BTreeMap::new();
        for stored in &self.batches {
            if let Some(Ok(batch)) = Batches::new(stored.bytes.clone()).next() {
                last_of.insert(batch.producer_id, stored.base);
            }
        }
        let mut offsets = Vec::new();
        self.batches.retain_mut(|stored| {
            let Some(Ok(batch)) = Batches::new(stored.bytes.clone()).next() else { return true };
            if batch.control || stored.last >= until {
                return true;
            }
            let here: Vec<i64> = stored.stamps().into_iter().map(|(offset, _)| offset).collect();
            let going: Vec<i64> = here.iter().copied().filter(|offset| gone(*offset)).collect();
            let tells = batch.producer_id >= 0 && last_of.get(&batch.producer_id) == Some(&stored.base);
            if going.len() == here.len() && !tells {
                offsets.extend(going);
                return false;
            }
            if !going.is_empty()
                && let Some(bytes) = written_anew(&batch, |offset| !gone(offset), None)
            {
                stored.bytes = bytes;
                offsets.extend(going);
            }
            true
        });
        offsets
    }
}

impl Kafka {
    /// Compaction removes the records for which `gone` says so, as far as no transaction is open:
    /// gaps are left, batches with fewer records than offsets, and some with none.
    pub fn compact(&mut self, name: &str, index: i32, gone: impl Fn(i64) -> bool) {
        let shard = self.shard_of(name, index);
        let Some(partition) = self.topics.partition_mut(name, index) else { return };
        let offsets = partition.log.compact(gone);
        let Some(shard) = shard else { return };
        let seqs = offsets.into_iter().filter_map(|offset| u64::try_from(offset).ok());
        self.facts.extend(seqs.map(|offset| Fact::Gone {
            shard,
            seq: SeqNo::offset(offset),
            why: Gone::Deleted,
        }));
    }

    /// From now on a topic's batches are stamped when they are appended, or by their producers again
    /// (`message.timestamp.type`); false: there is no such topic.
    pub fn stamp_on_append(&mut self, name: &str, stamped: bool) -> bool {
        self.topics.set_stamped(name, stamped)
    }
}
