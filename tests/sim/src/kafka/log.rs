//! A partition's log: batches as the bytes that went over the wire.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use tidegate_core::kafka::records::{Batches, Marker, RecordBatch, Records};

/// Where a batch's header has its first offset, and its leader epoch: neither is covered by the
/// checksum, so a broker sets them.
const BASE_OFFSET: std::ops::Range<usize> = 0..8;
const LEADER_EPOCH: std::ops::Range<usize> = 12..16;
/// Most bytes of one batch, decompressed.
pub(super) const BATCH_MAX: usize = 64 << 20;

/// A batch as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) base: i64,
    pub(super) last: i64,
    max_timestamp: i64,
    pub(super) bytes: Bytes,
}

impl Stored {
    /// Offset and timestamp of each record for applications.
    pub(super) fn stamps(&self) -> Vec<(i64, i64)> {
        let Some(Ok(batch)) = Batches::new(self.bytes.clone()).next() else { return Vec::new() };
        if batch.control {
            return Vec::new();
        }
        let Ok(data) = batch.decompressed(BATCH_MAX) else { return Vec::new() };
        let records = Records::new(&batch, &data).filter_map(Result::ok);
        records.map(|record| (record.offset, record.timestamp)).collect()
    }
}

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AbortedAt {
    pub(super) producer: i64,
    pub(super) first: i64,
    /// Offset of its marker.
    marker: i64,
}

/// **Invariant:** batches lie in the order of their offsets, all of them between `start` and `end`;
/// epochs ascend with where they begin.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    start: i64,
    end: i64,
    pub(super) batches: VecDeque<Stored>,
    /// Each leader epoch that wrote, and its first offset.
    epochs: Vec<(i32, i64)>,
    /// Open transactions: producer and first offset.
    open: BTreeMap<i64, i64>,
    aborted: Vec<AbortedAt>,
}

impl Log {
    pub(super) fn start(&self) -> i64 {
        self.start
    }

    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// How far a reader may read; `committed`: no transaction is open before it.
    pub(super) fn readable(&self, committed: bool) -> i64 {
        let open = self.open.values().min().filter(|_| committed);
        open.map_or(self.end, |open| self.end.min(*open))
    }

    /// Appends what a producer sent: whole batches, whose offsets are counted from 0. The first
    /// offset that was given; `None` if they are broken.
    pub(super) fn append(&mut self, records: Bytes, epoch: i32) -> Option<i64> {
        let batches: Vec<RecordBatch> = Batches::new(records.clone()).collect::<Result<_, _>>().ok()?;
        let whole: usize = batches.iter().map(RecordBatch::size).sum();
        if batches.is_empty() || whole != records.len() || batches.iter().any(|batch| batch.verify().is_err())
        {
            return None;
        }
        let (first, mut at) = (self.end, 0);
        for batch in batches {
            let mut bytes = BytesMut::from(records.get(at..at + batch.size())?);
            at += batch.size();
            let base = self.end;
            bytes.get_mut(BASE_OFFSET)?.copy_from_slice(&base.to_be_bytes());
            bytes.get_mut(LEADER_EPOCH)?.copy_from_slice(&epoch.to_be_bytes());
            let last = base + (batch.last_offset - batch.base_offset);
            self.note_epoch(epoch, base);
            self.note_transaction(&batch, base);
            let bytes = bytes.freeze();
            self.batches.push_back(Stored { base, last, max_timestamp: batch.max_timestamp, bytes });
            self.end = last + 1;
        }
        Some(first)
    }

    fn note_epoch(&mut self, epoch: i32, from: i64) {
        if self.epochs.last().is_none_or(|(last, _)| *last < epoch) {
            self.epochs.push((epoch, from));
        }
    }

    fn note_transaction(&mut self, batch: &RecordBatch, base: i64) {
        let producer = batch.producer_id;
        match Marker::of(batch) {
            Some(Marker::Abort) => {
                if let Some(first) = self.open.remove(&producer) {
                    self.aborted.push(AbortedAt { producer, first, marker: base });
                }
            }
            Some(_) => drop(self.open.remove(&producer)),
            None if batch.transactional => drop(self.open.entry(producer).or_insert(base)),
            None => {}
        }
    }

    /// Whole batches from the one on that has `from` in it, up to `until`, as far as there is room;
    /// the first in any case (KIP-74), if `least` allows one.
    pub(super) fn read(&self, from: i64, until: i64, room: usize, least: bool) -> Bytes {
        let first = self.batches.partition_point(|batch| batch.last < from);
        let mut out = BytesMut::new();
        for batch in self.batches.range(first..).take_while(|batch| batch.last < until) {
            let fits = out.len() + batch.bytes.len() <= room;
            if !fits && (!out.is_empty() || !least) {
                break;
            }
            out.extend_from_slice(&batch.bytes);
        }
        out.freeze()
    }

    /// The aborted transactions of which something lies at `from` or behind it, up to `until`.
    pub(super) fn aborted(&self, from: i64, until: i64) -> impl Iterator<Item = AbortedAt> {
        self.aborted.iter().filter(move |one| one.marker >= from && one.first < until).copied()
    }

    /// Offset and timestamp of the first record that is no older than `timestamp`.
    pub(super) fn find_time(&self, timestamp: i64, committed: bool) -> Option<(i64, i64)> {
        let until = self.readable(committed);
        let late = self.batches.iter().filter(|batch| batch.max_timestamp >= timestamp && batch.base < until);
        late.flat_map(Stored::stamps)
            .find(|(offset, stamp)| *stamp >= timestamp && *offset >= self.start && *offset < until)
    }

    /// Offset and timestamp of the record with the largest timestamp.
    pub(super) fn latest_time(&self) -> Option<(i64, i64)> {
        let all = self.batches.iter().flat_map(Stored::stamps);
        all.reduce(|best, next| if next.1 > best.1 { next } else { best })
    }

    /// The last epoch up to `epoch`, and where it ends; `None` if there is none.
    pub(super) fn end_of_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        let at = self.epochs.iter().rposition(|(known, _)| *known <= epoch)?;
        let &(found, _) = self.epochs.get(at)?;
        Some((found, self.epochs.get(at + 1).map_or(self.end, |(_, start)| *start)))
    }

    /// The epoch of the last record before `offset`; -1 for none.
    pub(super) fn epoch_of(&self, offset: i64) -> i32 {
        self.epochs.iter().rev().find(|(_, start)| *start < offset.max(1)).map_or(-1, |(epoch, _)| *epoch)
    }

    /// Retention: nothing before this offset is there any more.
    pub(super) fn trim(&mut self, start: i64) {
        self.start = start.clamp(self.start, self.end);
        while self.batches.front().is_some_and(|batch| batch.last < self.start) {
            self.batches.pop_front();
        }
    }

    /// A leader that had not all of it: what comes from this offset on is lost, whole batches.
    pub(super) fn truncate(&mut self, end: i64) {
        self.batches.retain(|batch| batch.last < end);
        let end = self.batches.back().map_or(self.start, |batch| batch.last + 1).max(self.start);
        self.end = end;
        self.epochs.retain(|(_, start)| *start < end);
        self.aborted.retain(|one| one.marker < end);
        self.open.retain(|_, first| *first < end);
    }

    /// Its invariants.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut next = self.batches.front().map_or(self.end, |batch| batch.base);
        for batch in &self.batches {
            if batch.base < next || batch.last < batch.base {
                return Err(format!("a batch from {} to {} follows {next}", batch.base, batch.last));
            }
            next = batch.last + 1;
        }
        if next > self.end || self.start > self.end {
            return Err(format!("it begins at {}, has up to {next}, and ends at {}", self.start, self.end));
        }
        if !self.epochs.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1) {
            return Err(format!("epochs {:?} don't ascend", self.epochs));
        }
        Ok(())
    }

    /// Offsets of the records between two, those that a consumer of `read_uncommitted` gets.
    pub(super) fn offsets(&self, from: i64) -> impl Iterator<Item = i64> + '_ {
        let late = self.batches.iter().filter(move |batch| batch.last >= from);
        late.flat_map(Stored::stamps).map(|(offset, _)| offset).filter(move |at| *at >= from)
    }
}
