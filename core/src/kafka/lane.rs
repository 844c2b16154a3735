//! The data lane: records as they came, until the application takes them.
//!
//! What waits is bytes. They become messages when they are taken: checksum, decompression and
//! index are done for a piece at a time, so a position is known at once, and what is withdrawn
//! has cost nothing.
//!
//! **Invariant:** `bytes` is the size of all parts that wait, and `asked` what was asked for and
//! not answered; no more is asked for than `bytes_max` leaves.

use std::collections::VecDeque;

use bytes::Bytes;

use super::machine::Machine;
use super::partitions::Stage;
use super::positions::seq_of;
use super::records::{self, Aborted, Batches, Compression, Decompressor, RecordBatch, RecordsError};
use crate::ack::Slot;
use crate::delivery::{Delivery, Reason};
use crate::error::Error;
use crate::message::{Batch, Entries, Entry, Source};
use crate::mutation::{self, Mutation};

/// The records of one partition in one response.
pub(super) struct Part {
    pub(super) slot: Slot,
    data: Bytes,
    batches: Batches,
    /// A batch that was looked at, and where it begins.
    next: Option<(usize, RecordBatch)>,
    aborted: Aborted,
    /// The first offset that is wanted, and one past the last one.
    from: i64,
    pub(super) end: i64,
}

impl Part {
    pub(super) fn new(slot: Slot, data: Bytes, aborted: Aborted, from: i64, end: i64) -> Self {
        let batches = Batches::new(data.clone());
        Self { slot, data, batches, next: None, aborted, from, end }
    }

    fn peek(&mut self) -> Result<Option<&(usize, RecordBatch)>, RecordsError> {
        if self.next.is_none() {
            let at = self.batches.position();
            self.next = self.batches.next().transpose()?.map(|batch| (at, batch));
        }
        Ok(self.next.as_ref())
    }

    /// The next messages, about `count` of them; none at the end. Whole batches: one that was
    /// compressed is taken alone.
    fn take(
        &mut self,
        count: usize,
        check: bool,
        bytes_max: usize,
        codecs: &mut Decompressor,
    ) -> Result<Piece, RecordsError> {
        let mut piece = Piece { entries: Entries::default(), next_offset: self.from, leader_epoch: -1 };
        let mut start = None;
        loop {
            let full = piece.entries.index.len() >= count;
            let first = piece.entries.index.is_empty();
            let from = self.from;
            let Some((at, batch)) = self.peek()? else { break };
            let compressed = batch.compression != Compression::None;
            if full || (compressed && !first) {
                break;
            }
            if check {
                batch.verify()?;
            }
            let (at, batch) = (*at, batch.clone());
            if first {
                // For all of the piece at once, as far as those to come are like this one.
                let alike = if compressed { 1 } else { (self.data.len() - at).div_ceil(batch.size().max(1)) };
                let records = batch.count as usize;
                let most = batch.size() * alike / records::RECORD_MIN;
                piece
                    .entries
                    .index
                    .reserve(records.saturating_mul(alike).min(count.saturating_add(records)).min(most));
            }
            // Asked of every batch: a marker before the position ends a transaction, too.
            let kept = self.aborted.keeps(&batch);
            if batch.last_offset >= from && kept {
                match compressed {
                    true => {
                        let data = codecs.decompressed(&batch, bytes_max)?;
                        records::index(&batch, data, from, &mut piece.entries)?;
                    }
                    false => {
                        let start = *start.get_or_insert(at);
                        // Proved: where a batch begins lies within the records.
                        let data = self.data.slice(start..);
                        records::index(&batch, data, from, &mut piece.entries)?;
                    }
                }
            }
            self.next = None;
            self.from = self.from.max(batch.next_offset());
            (piece.next_offset, piece.leader_epoch) = (self.from, batch.leader_epoch);
            if compressed && !piece.entries.index.is_empty() {
                break;
            }
        }
        if let Some(start) = start {
            let end = self.next.as_ref().map_or(self.batches.position(), |(at, _)| *at);
            piece.entries.data.truncate(end - start);
        }
        Ok(piece)
    }
}

struct Piece {
    entries: Entries,
    next_offset: i64,
    leader_epoch: i32,
}

enum Item {
    Delivery(Delivery),
    Part(Box<Part>),
}

/// See the [module](self).
pub(super) struct Lane {
    items: VecDeque<Item>,
    bytes: usize,
    asked: usize,
    bytes_max: usize,
    codecs: Decompressor,
}

impl Lane {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { items: VecDeque::new(), bytes: 0, asked: 0, bytes_max, codecs: Decompressor::default() }
    }

    pub(super) fn put(&mut self, delivery: Delivery) {
        self.items.push_back(Item::Delivery(delivery));
    }

    pub(super) fn put_part(&mut self, part: Part) {
        self.bytes += part.data.len();
        self.items.push_back(Item::Part(Box::new(part)));
    }

    /// Bytes that may be asked for.
    pub(super) fn credit(&self) -> usize {
        if mutation::is(Mutation::UnboundedPrefetch) {
            return self.bytes_max;
        }
        self.bytes_max.saturating_sub(self.bytes).saturating_sub(self.asked)
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Bytes of records that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn handle_asked(&mut self, bytes: usize) {
        self.asked += bytes;
    }

    pub(super) fn handle_answered(&mut self, bytes: usize) {
        self.asked = self.asked.saturating_sub(bytes);
    }

    fn pop_part(&mut self) {
        if let Some(Item::Part(part)) = self.items.pop_front() {
            self.bytes -= part.data.len();
        }
    }

    /// Records of this partition are not handed out any more.
    fn withdraw(&mut self, slot: Slot) {
        let bytes = &mut self.bytes;
        self.items.retain(|item| match item {
            Item::Part(part) if part.slot == slot => {
                *bytes -= part.data.len();
                false
            }
            _ => true,
        });
    }

    /// Nothing that came is handed out any more.
    pub(super) fn withdraw_all(&mut self) {
        self.items.retain(|item| matches!(item, Item::Delivery(_)));
        self.bytes = 0;
    }
}

impl Machine {
    pub(super) fn withdraw(&mut self, slot: Slot) {
        self.lane.withdraw(slot);
    }

    /// What the application gets next.
    pub(super) fn next_delivery(&mut self) -> Option<Delivery> {
        loop {
            match self.lane.items.front_mut()? {
                Item::Delivery(_) => match self.lane.items.pop_front() {
                    Some(Item::Delivery(delivery)) => return Some(delivery),
                    _ => return None,
                },
                Item::Part(part) => {
                    let slot = part.slot;
                    // At most once: the broker knows of it before the application does.
                    let end = part.end;
                    if !self.membership.is_sure() {
                        return None;
                    }
                    let known = self.partitions.at(slot).committed >= end
                        || mutation::is(Mutation::HandedOutBeforeCommitted);
                    if self.config.no_ack && self.has_group() && !known {
                        return None;
                    }
                    let Lane { items, codecs, .. } = &mut self.lane;
                    let Some(Item::Part(part)) = items.front_mut() else { return None };
                    let (count, check) = (self.config.options.batch, self.config.options.kafka.check_crc);
                    let bytes_max = self.config.options.limits.reply_bytes_max;
                    match part.take(count, check, bytes_max, codecs) {
                        Ok(piece) if piece.entries.index.is_empty() => {
                            let epoch = piece.leader_epoch;
                            self.lane.pop_part();
                            self.hand_past(slot, end, epoch);
                        }
                        Ok(mut piece) => {
                            self.pass_over(slot, &mut piece);
                            if !piece.entries.index.is_empty() {
                                return Some(self.deliver(slot, piece));
                            }
                        }
                        Err(error) => {
                            // What was good before it in this piece was not handed out: it is
                            // fetched again with the rest.
                            self.on_corrupt(slot, error);
                        }
                    }
                }
            }
        }
    }

    /// After a seek to a moment that was still to come: what is not later yet is not handed out.
    fn pass_over(&mut self, slot: Slot, piece: &mut Piece) {
        let partition = self.partitions.at_mut(slot);
        let not_before = partition.not_before;
        if not_before == i64::MIN {
            return;
        }
        let index = &mut piece.entries.index;
        let is_later = |entry: &Entry| entry.timestamp.as_millis() >= not_before;
        match index.iter().position(is_later) {
            Some(first) => {
                index.drain(..first);
                partition.not_before = i64::MIN;
            }
            None => {
                index.clear();
                partition.hand_past(piece.next_offset, piece.leader_epoch);
            }
        }
    }

    fn deliver(&mut self, slot: Slot, piece: Piece) -> Delivery {
        let acks = self.acks();
        let partition = self.partitions.at_mut(slot);
        (partition.handed, partition.handed_epoch) = (piece.next_offset, piece.leader_epoch);
        let segment = acks.then(|| {
            let seqs = piece.entries.index.iter().map(|entry| entry.seq);
            self.buffer.ledger.deliver(self.now, slot, partition.epoch, seqs)
        });
        self.stats.delivered += piece.entries.index.len() as u64;
        let source = Source {
            stream: partition.stream.clone(),
            shard: partition.shard(),
            epoch: partition.epoch,
            segment,
        };
        self.membership.handle_taken(self.now);
        Delivery::Batch(Batch::new(source, piece.entries))
    }

    /// There was nothing for the application up to here: markers, aborted, compacted.
    fn hand_past(&mut self, slot: Slot, end: i64, epoch: i32) {
        self.partitions.at_mut(slot).hand_past(end, epoch);
    }

    /// The records are not what the format says: never passed on, never passed over. They are
    /// fetched again, perhaps from another replica, until they are right.
    fn on_corrupt(&mut self, slot: Slot, error: RecordsError) {
        self.withdraw(slot);
        let partition = self.partitions.at_mut(slot);
        let source = partition.source();
        // Everything before this was handed out.
        partition.position = partition.handed.max(0);
        let at = seq_of(partition.position);
        let words = format!("{} of {} at {at}: {error}", partition.shard(), partition.stream);
        self.stats.broker_errors += 1;
        self.partitions.set(slot, Stage::Waiting);
        self.retry(slot);
        self.stall(slot, Reason::Error(Error::Protocol(words.into())));
        if let Some(broker) = source {
            self.drop_data_link(broker);
        }
    }
}
