//! The ledger itself: all slots, all segments, commits in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use super::segment::{Part, Segment};
use super::seqs::Seqs;
use super::slot::{Segments, SlotState};
use super::{AckRange, SegmentId, Slot, Steps};
use crate::stream::{Epoch, SeqNo};
use crate::time::Instant;

/// How many revoked segments are remembered, so that late acks count as stale; those of older
/// ones count as repeated.
pub const TOMBSTONES_MAX: usize = 4096;

/// What became of an ack, in messages; the four add up to what it spoke of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckReport {
    /// Were in flight, and now wait for a commit.
    pub newly: u64,
    /// Had been acked, committed or withdrawn before.
    pub repeated: u64,
    /// Were never handed out: no such segment, or past its end.
    pub unknown: u64,
    /// Belong to another assignment: an epoch that isn't the segment's, or a slot that was revoked.
    pub stale: u64,
}

/// A commit of messages that was sent. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// Messages of one slot that are to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// For the answer.
    pub id: CommitId,
    /// Whose messages.
    pub slot: Slot,
}

/// A slot's frontier that is to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frontier {
    /// Whose.
    pub slot: Slot,
    /// The assignment that it belongs to.
    pub epoch: Epoch,
    /// The last message that is done; Kafka commits the one after it.
    pub seq: SeqNo,
}

#[derive(Clone, Debug)]
struct Sent {
    parts: Vec<(SegmentId, Part)>,
}

/// What was handed out and isn't committed. See the [module](super).
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    segments: Segments,
    slots: BTreeMap<Slot, SlotState>,
    commits: BTreeMap<CommitId, Sent>,
    next_segment: u64,
    next_commit: u64,
    in_flight: u64,
    acked: u64,
    committing: u64,
    /// Slots with acked messages, and whose turn was last.
    dirty: BTreeSet<Slot>,
    last_dirty: Option<Slot>,
    /// Slots with messages in flight, by their least recently touched segment.
    aging: BTreeSet<(Instant, Slot)>,
    /// Slots whose frontier moved since it was sent.
    moved: BTreeSet<Slot>,
    revoked: BTreeSet<SegmentId>,
    /// All segments below this were revoked at once.
    revoked_below: u64,
    steps: Steps,
}

impl Ledger {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a batch that goes to the application; all of it is in flight from now on.
    ///
    /// A later `epoch` than the slot's begins its frontier anew. An empty batch has an id, and
    /// nothing to ack. The ids ascend.
    pub fn deliver(
        &mut self,
        now: Instant,
        slot: Slot,
        epoch: Epoch,
        seqs: impl ExactSizeIterator<Item = SeqNo>,
    ) -> SegmentId {
        let id = SegmentId(self.next_segment);
        self.next_segment += 1;
        let seqs = Seqs::new(seqs);
        self.steps.add(seqs.len() as usize);
        if seqs.len() == 0 {
            return id;
        }
        let mut segment = Box::new(Segment::new(slot, epoch, now, seqs, self.steps.clone()));
        let state = self.slots.entry(slot).or_insert_with(|| SlotState::new(epoch, self.steps.clone()));
        if epoch > state.epoch {
            state.begin(epoch);
            self.moved.remove(&slot);
        }
        state.insert(id, &mut segment);
        self.in_flight += u64::from(segment.open);
        self.segments.insert(id, segment);
        self.requeue(slot);
        id
    }

    /// The application is done with `range`. A range past the segment's end is cut there; one
    /// that ends before it starts is nothing.
    pub fn ack(&mut self, range: AckRange) -> AckReport {
        let mut report = AckReport::default();
        let AckRange { segment: id, epoch, start, end } = range;
        let spoken_of = u64::from(end.saturating_sub(start));
        let Some(segment) = self.segments.get_mut(&id) else {
            *match id {
                _ if id.0 >= self.next_segment => &mut report.unknown,
                _ if id.0 < self.revoked_below || self.revoked.contains(&id) => &mut report.stale,
                _ => &mut report.repeated,
            } = spoken_of;
            return report;
        };
        let Some(state) = self.slots.get_mut(&segment.slot) else { return report };
        if segment.epoch != epoch {
            report.stale = spoken_of;
            return report;
        }
        let slot = segment.slot;
        let end = end.min(segment.len());
        let known = u64::from(end.saturating_sub(start));
        let newly = segment.ack(start, end, |seq, at| state.close_single(seq, id, at));
        report.newly = u64::from(newly);
        report.repeated = known - report.newly;
        report.unknown = spoken_of - known;
        if newly > 0 {
            state.handle_closed(id, segment, newly);
            if segment.acked == newly {
                state.dirty.insert(id);
                self.dirty.insert(slot);
            }
            self.in_flight -= report.newly;
            self.acked += report.newly;
            if state.move_frontier(&self.segments) {
                self.moved.insert(slot);
            }
            self.requeue(slot);
        }
        report
    }

    /// Messages that never reached the application, because the batch was dropped while it
    /// waited: they leave without a commit. Only those in flight; tells how many. A frontier
    /// stays in front of them until they are handed out again, in order, from the first on.
    pub fn withdraw(&mut self, range: AckRange) -> u64 {
        let AckRange { segment: id, epoch, start, end } = range;
        let Some(segment) = self.segments.get_mut(&id).filter(|segment| segment.epoch == epoch) else {
            return 0;
        };
        let slot = segment.slot;
        let Some(state) = self.slots.get_mut(&slot) else { return 0 };
        let (aside, current) = (segment.aside, state.epoch == epoch);
        let gone = segment.withdraw(start, end.min(segment.len()), |seq, at| {
            if aside {
                state.forget_single(seq, id, at);
            }
            if current {
                state.hold_back(seq);
            }
        });
        if gone > 0 {
            state.handle_closed(id, segment, gone);
            self.in_flight -= u64::from(gone);
            if state.move_frontier(&self.segments) {
                self.moved.insert(slot);
            }
            self.requeue(slot);
            self.free_if_gone(id);
        }
        u64::from(gone)
    }

    /// The slot is read again from `from` on, leaving nothing out: what was withdrawn behind it
    /// and doesn't come again doesn't exist any more. Needed only where the first message that
    /// was withdrawn may be gone from the broker.
    pub fn read_from(&mut self, slot: Slot, from: SeqNo) {
        if let Some(state) = self.slots.get_mut(&slot) {
            state.read_from(from);
        }
    }

    /// The next messages to commit: appends up to `max` acked ones of one slot, which are
    /// committing from now on. Slots take turns; in a slot the oldest batches go first, and in
    /// a batch the order of the acks. `None` with nothing acked, or `max` 0.
    pub fn next_commit(&mut self, max: usize, out: &mut Vec<SeqNo>) -> Option<Commit> {
        if max == 0 {
            return None;
        }
        let after = self.last_dirty.map_or(Bound::Unbounded, Bound::Excluded);
        let slot = *self.dirty.range((after, Bound::Unbounded)).next().or_else(|| self.dirty.first())?;
        self.last_dirty = Some(slot);
        let state = self.slots.get_mut(&slot)?;
        let begin = out.len();
        let mut parts = Vec::new();
        while let Some(&id) = state.dirty.first() {
            self.steps.add(1);
            let room = max - (out.len() - begin);
            let part = self.segments.get_mut(&id).and_then(|segment| segment.take_acked(room, out));
            parts.extend(part.map(|part| (id, part)));
            if self.segments.get(&id).is_none_or(|segment| segment.acked == 0) {
                state.dirty.remove(&id);
            } else if part.is_none() {
                break;
            }
            if out.len() - begin == max {
                break;
            }
        }
        if state.dirty.is_empty() {
            self.dirty.remove(&slot);
        }
        let messages = (out.len() - begin) as u64;
        if messages == 0 {
            return None;
        }
        self.acked -= messages;
        self.committing += messages;
        let id = CommitId(self.next_commit);
        self.next_commit += 1;
        self.commits.insert(id, Sent { parts });
        Some(Commit { id, slot })
    }

    /// The broker has confirmed a commit: its messages are gone. Unknown ids are ignored.
    pub fn committed(&mut self, id: CommitId) {
        let Some(sent) = self.commits.remove(&id) else { return };
        for (id, part) in sent.parts {
            // Revoked since: nothing of it is left.
            let Some(segment) = self.segments.get_mut(&id) else { continue };
            let Some(state) = self.slots.get_mut(&segment.slot) else { continue };
            let gone = segment.committed(part, |seq, at| state.forget_single(seq, id, at));
            self.committing -= u64::from(gone);
            self.free_if_gone(id);
        }
    }

    /// A commit was refused or lost: its messages are acked again, and wait for the next one.
    /// Unknown ids are ignored.
    pub fn failed(&mut self, id: CommitId) {
        if let Some(sent) = self.commits.remove(&id) {
            self.back_to_acked(sent);
        }
    }

    /// The connection is lost: nobody knows what became of the commits in flight, so all are
    /// sent again, frontiers too.
    pub fn fail_all(&mut self) {
        for sent in std::mem::take(&mut self.commits).into_values() {
            self.back_to_acked(sent);
        }
        for (&slot, state) in &mut self.slots {
            if state.sent.take().is_some() {
                self.moved.insert(slot);
            }
        }
    }

    fn back_to_acked(&mut self, sent: Sent) {
        for (id, part) in sent.parts {
            let Some(segment) = self.segments.get_mut(&id) else { continue };
            let Some(state) = self.slots.get_mut(&segment.slot) else { continue };
            let again = segment.failed(part);
            self.committing -= u64::from(again);
            self.acked += u64::from(again);
            if again > 0 {
                state.dirty.insert(id);
                self.dirty.insert(segment.slot);
            }
        }
    }

    /// The last message of the slot's epoch before which nothing is in flight or withdrawn;
    /// `None` before there is one. Freeing what is committed doesn't change it; what is handed
    /// out late in front of it doesn't take it back.
    pub fn frontier(&self, slot: Slot) -> Option<SeqNo> {
        self.slots.get(&slot)?.frontier
    }

    /// The next frontier to commit: one that moved since it was taken last. Each slot once
    /// until it moves again, or fails.
    pub fn next_frontier(&mut self) -> Option<Frontier> {
        while let Some(slot) = self.moved.pop_first() {
            let Some(state) = self.slots.get_mut(&slot) else { continue };
            if let Some(seq) = state.frontier {
                state.sent = Some(seq);
                return Some(Frontier { slot, epoch: state.epoch, seq });
            }
        }
        None
    }

    /// How many frontiers [`Ledger::next_frontier`] has to give.
    pub fn frontiers(&self) -> usize {
        self.moved.len()
    }

    /// Whether [`Ledger::next_frontier`] has to give this slot's.
    pub fn has_frontier(&self, slot: Slot) -> bool {
        self.moved.contains(&slot)
    }

    /// The broker has confirmed a frontier: what is acked up to it is gone. Ignored if it is of
    /// another epoch.
    pub fn frontier_committed(&mut self, frontier: Frontier) {
        let Frontier { slot, epoch, seq } = frontier;
        let Some(state) = self.slots.get_mut(&slot).filter(|state| state.epoch == epoch) else { return };
        // What was never sent isn't confirmed either.
        let seq = match state.frontier {
            Some(reached) => seq.min(reached),
            None => return,
        };
        if state.sent == Some(seq) {
            state.sent = None;
        }
        let (runs, singles) = state.up_to(seq);
        for id in runs {
            let end = self.segments.get(&id).map_or(0, |segment| segment.seqs().count_through(seq));
            self.retire(slot, id, 0, end);
        }
        for (id, at) in singles {
            self.retire(slot, id, at, at.saturating_add(1));
        }
    }

    /// A frontier's commit was refused or lost: it is given again. Ignored if it is of another
    /// epoch.
    pub fn frontier_failed(&mut self, frontier: Frontier) {
        if let Some(state) = self.slots.get_mut(&frontier.slot).filter(|s| s.epoch == frontier.epoch) {
            state.sent = None;
            self.moved.insert(frontier.slot);
        }
    }

    fn retire(&mut self, slot: Slot, id: SegmentId, start: u32, end: u32) {
        let (Some(segment), Some(state)) = (self.segments.get_mut(&id), self.slots.get_mut(&slot)) else {
            return;
        };
        let gone = segment.retire(start, end, |seq, at| state.forget_single(seq, id, at));
        self.acked -= u64::from(gone);
        if segment.acked == 0 {
            state.dirty.remove(&id);
            if state.dirty.is_empty() {
                self.dirty.remove(&slot);
            }
        }
        self.free_if_gone(id);
    }

    /// Whether a message is in flight, acked or committing here. O(log n).
    pub fn contains(&self, slot: Slot, seq: SeqNo) -> bool {
        self.slots.get(&slot).is_some_and(|state| state.contains(&self.segments, seq))
    }

    /// Work that takes long: appends up to `max` messages of one slot that are still in flight,
    /// of batches that were handed out, or found by this, at least `older_than` ago. They count
    /// as touched now; the rest of a batch that doesn't fit comes with the next call. Call it
    /// until `None`; it never finds a message twice at the same `now`.
    pub fn next_aging(
        &mut self,
        now: Instant,
        older_than: Duration,
        max: usize,
        out: &mut Vec<SeqNo>,
    ) -> Option<Slot> {
        let due = |touched: Instant| touched < now && touched + older_than <= now;
        let begin = out.len();
        if max == 0 {
            return None;
        }
        loop {
            let &(oldest, slot) = self.aging.first()?;
            if !due(oldest) {
                return None;
            }
            let state = self.slots.get_mut(&slot)?;
            while let Some(&(touched, id)) = state.aging.first().filter(|entry| due(entry.0)) {
                self.steps.add(1);
                let room = max - (out.len() - begin);
                let segment = self.segments.get_mut(&id)?;
                let Some(begun) = segment.sweep(now, room, out) else { break };
                state.aging.remove(&(touched, id));
                state.aging.insert((begun, id));
                // A sweep that took longer than the period is due again already: not in this call.
                if begun < now || out.len() - begin == max {
                    break;
                }
            }
            self.requeue(slot);
            if out.len() > begin {
                return Some(slot);
            }
        }
    }

    /// When [`Ledger::next_aging`] has something next, for the same `older_than`.
    pub fn next_aging_at(&self, older_than: Duration) -> Option<Instant> {
        let &(touched, _) = self.aging.first()?;
        Some(touched + older_than.max(Duration::from_nanos(1)))
    }

    /// The slot is lost: all of it leaves, acked or not, and later acks of it are stale.
    /// Linear in its messages.
    pub fn revoke(&mut self, slot: Slot) {
        let Some(state) = self.slots.remove(&slot) else { return };
        self.dirty.remove(&slot);
        self.moved.remove(&slot);
        if let Some(key) = state.aging_key {
            self.aging.remove(&(key, slot));
        }
        for id in state.segments() {
            // Those that are aside come once a message, and are found once.
            let Some(segment) = self.segments.remove(&id) else { continue };
            self.in_flight -= u64::from(segment.open);
            self.acked -= u64::from(segment.acked);
            self.committing -= u64::from(segment.committing);
            self.revoked.insert(id);
            if self.revoked.len() > TOMBSTONES_MAX {
                self.revoked.pop_first();
            }
        }
    }

    /// Everything is lost. Later acks of anything that was handed out before are stale.
    pub fn revoke_all(&mut self) {
        *self = Self {
            next_segment: self.next_segment,
            next_commit: self.next_commit,
            revoked_below: self.next_segment,
            ..Self::default()
        };
    }

    /// Messages that were handed out and not acked. O(1).
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Messages of one slot that were handed out and not acked. O(log slots).
    pub fn in_flight_of(&self, slot: Slot) -> u64 {
        self.slots.get(&slot).map_or(0, |state| state.in_flight)
    }

    /// The first message of one slot that was handed out and not acked. Linear in its batches.
    pub fn first_in_flight(&self, slot: Slot) -> Option<SeqNo> {
        let batches = self.slots.get(&slot)?.segments();
        batches.filter_map(|id| self.segments.get(&id)?.first_open()).min()
    }

    /// Messages that were acked and are in no commit; where frontiers are committed, those up
    /// to one that is under way count too. O(1).
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Messages in commits that weren't answered. O(1).
    pub fn committing(&self) -> u64 {
        self.committing
    }

    /// Messages that are not committed: in flight, acked or committing. O(1).
    pub fn len(&self) -> u64 {
        self.in_flight + self.acked + self.committing
    }

    /// True if nothing waits for an ack or a commit.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[cfg(test)]
    pub(super) fn segments(&self) -> usize {
        self.segments.len()
    }

    #[cfg(test)]
    pub(super) fn take_steps(&self) -> u64 {
        self.steps.take()
    }

    #[cfg(test)]
    pub(super) fn tombstones(&self) -> usize {
        self.revoked.len()
    }

    fn free_if_gone(&mut self, id: SegmentId) {
        if self.segments.get(&id).is_some_and(|segment| segment.is_gone())
            && let Some(segment) = self.segments.remove(&id)
            && let Some(state) = self.slots.get_mut(&segment.slot)
        {
            state.remove(&segment);
        }
    }

    /// Brings the slot's entry in the queue of the aging up to date.
    fn requeue(&mut self, slot: Slot) {
        let Some(state) = self.slots.get_mut(&slot) else { return };
        let key = state.aging.first().map(|entry| entry.0);
        if key != state.aging_key {
            if let Some(old) = state.aging_key {
                self.aging.remove(&(old, slot));
            }
            if let Some(new) = key {
                self.aging.insert((new, slot));
            }
            state.aging_key = key;
            self.steps.add(1);
        }
    }
}
