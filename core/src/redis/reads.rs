//! Reading: what to ask for next, and what comes.
//!
//! There is always a read at the server while there is credit: a blocking one where the streams
//! are quiet, a second one behind it where they are not, so that the server has work while the
//! first answer is on its way and being processed. Own pending entries come first, at the start
//! and after every loss of a connection that may have swallowed a reply.
//!
//! **Invariant:** nothing new is asked for while own pending entries are still to be read, or
//! wait for their delivery counts: in each shard, positions ascend.

use std::collections::BTreeMap;
use std::time::Duration;

use super::command::{self, Ask};
use super::fault::{Fault, Reaction, named_key};
use super::keys::KeyState;
use super::link::{Answer, error_of};
use super::machine::{Machine, READER, Recovery, UNBLOCK_AFTER};
use super::resp::Chunk;
use super::task::{Held, Read, Task};
use crate::ack::Slot;
use crate::delivery::{Delivery, Notice, Reason};
use crate::desk::Phase;
use crate::flow::Blocked;
use crate::message::{Batch, Entries, Source};
use crate::mutation::{self, Mutation};
use crate::stream::SeqNo;
use crate::time::Instant;
use crate::timer::Wake;

/// The longest wait before a CLIENT UNBLOCK is sent again.
const UNBLOCK_AFTER_MAX: Duration = Duration::from_millis(50);
/// The wait where the server refuses it.
const UNBLOCK_REFUSED: Duration = Duration::from_secs(1);
/// Keys whose own pending entries are asked for at once.
const RECOVER_AT_ONCE: usize = 64;

impl Machine {
    pub(super) fn pump_reads(&mut self) {
        let idle = !self.reader.is_ready()
            || self.phase != Phase::Running
            || self.desk.paused
            || self.moving.is_some()
            || self.now < self.reads.hold_until
            || self.reads.counting > 0;
        if idle || self.keys.ready() == 0 {
            return;
        }
        if self.keys.recovering().next().is_some() {
            if self.reader.waiting() == 0 {
                self.recover();
            }
            return;
        }
        // Without a group the next read needs the last position of the one before.
        let depth = if self.reads.full && !self.real_time { 2 } else { 1 };
        while self.reader.waiting() < depth {
            let unacked = self.buffer.ledger.len();
            if !self.flow.wants_ask(unacked) {
                self.tell_why_nothing_is_asked(unacked);
                return;
            }
            if std::mem::replace(&mut self.reads.stalled, false) {
                self.notice(Notice::Ready);
            }
            // A read gives up to COUNT of each key: the credit is shared among those that gave.
            let credit = self.flow.credit(unacked) / self.reads.busy.max(1);
            let count = credit.clamp(1, self.config.options.batch);
            self.read(count);
        }
    }

    fn tell_why_nothing_is_asked(&mut self, unacked: u64) {
        if self.flow.blocked(unacked) == Some(Blocked::Unacked)
            && self.reader.waiting() == 0
            && !std::mem::replace(&mut self.reads.stalled, true)
        {
            self.notice(Notice::Stalled { shard: None, reason: Reason::Unacked { unacked } });
        }
    }

    fn read(&mut self, count: usize) {
        let limits = &self.config.options.limits;
        let block_ms = u64::try_from(limits.block.as_millis()).unwrap_or(u64::MAX).max(1);
        let patience = limits.response_timeout.saturating_add(limits.block);
        let ask = Ask { count, block_ms: Some(block_ms), no_ack: self.config.no_ack };
        let version = self.keys.version();
        let read = Read {
            recovery: false,
            blocks: true,
            asked: count,
            count,
            version,
            epoch: self.epoch,
            came: 0,
            busy: 0,
        };
        let (keys, config) = (&self.keys, &self.config);
        let slots: Vec<Slot> = keys.ready_slots().collect();
        let real_time = self.real_time;
        self.reader.send(self.now, Task::Read(read), patience, |out| {
            if real_time {
                let keys = slots.iter().map(|slot| (&keys.at(*slot).name[..], keys.at(*slot).position));
                command::read(out, ask, keys);
            } else {
                let keys = slots.iter().map(|slot| (&keys.at(*slot).name[..], None));
                command::read_group(out, &config.group, &config.consumer, ask, keys);
            }
        });
        self.flow.handle_asked(count);
    }

    /// Asks for own pending entries, of all keys that need it.
    fn recover(&mut self) {
        let unacked = self.buffer.ledger.len();
        // They are pending already: what is un-acked doesn't count, only the lane's room does.
        if !self.flow.wants_ask(unacked.min(self.flow.records() as u64)) {
            return;
        }
        let asked: Vec<(Slot, SeqNo)> = self.keys.recovering().take(RECOVER_AT_ONCE).collect();
        // What is committed meanwhile is remembered; what was on its way before that is waited for.
        let untold = |task: &Task| match task {
            Task::Commit { tracked: false, slot, .. } => asked.iter().any(|(known, _)| known == slot),
            _ => false,
        };
        if self.control.tasks().any(untold) {
            return;
        }
        let (batch, lane) = (self.config.options.batch, self.config.options.limits.lane_records_max);
        let count = (lane / asked.len().max(1)).clamp(1, batch);
        let ask = Ask { count, block_ms: None, no_ack: false };
        let read = Read {
            recovery: true,
            blocks: false,
            asked: count,
            count,
            version: self.keys.version(),
            epoch: self.epoch,
            came: 0,
            busy: 0,
        };
        let patience = self.config.options.limits.response_timeout;
        let (keys, config) = (&self.keys, &self.config);
        self.reader.send(self.now, Task::Read(read), patience, |out| {
            let keys = asked.iter().map(|(slot, after)| (&keys.at(*slot).name[..], Some(*after)));
            command::read_group(out, &config.group, &config.consumer, ask, keys);
        });
        self.flow.handle_asked(count);
        let asked = asked.into_iter().map(|(slot, _)| slot).collect();
        self.reads.recovery = Some(Recovery { asked, count, came: BTreeMap::new() });
    }

    /// Entries came, of this command.
    pub(super) fn on_chunks(&mut self, task: &mut Task, chunks: &mut Vec<Chunk>) {
        if mutation::is(Mutation::ForeignEntrySkipped) {
            chunks.iter_mut().for_each(|chunk| mutation::leave_out_foreign(&mut chunk.entries));
        }
        match task {
            Task::Read(read) => {
                for chunk in chunks.drain(..) {
                    read.came += chunk.entries.index.len() + chunk.deleted.len();
                    read.busy += 1;
                    if read.epoch == self.epoch && self.phase == Phase::Running {
                        self.on_entries(read.recovery, chunk);
                    }
                }
            }
            Task::Claim(claim) => {
                for chunk in chunks.drain(..) {
                    claim.entries.push(chunk.entries);
                }
            }
            _ => chunks.clear(),
        }
    }

    fn on_entries(&mut self, recovery: bool, chunk: Chunk) {
        let Some(slot) = chunk.key.as_ref().and_then(|key| self.keys.find(key)) else { return };
        if !self.keys.at(slot).announced {
            // Nobody asked for it: only a broken server answers so.
            return;
        }
        let mut entries = chunk.entries;
        let (first, last) = match (entries.index.first(), entries.index.last()) {
            (Some(first), Some(last)) => (first.seq, last.seq),
            _ => (SeqNo::MAX, SeqNo::ZERO),
        };
        if recovery {
            let came = entries.index.len() + chunk.deleted.len();
            let after = chunk.deleted.last().copied().unwrap_or_default().max(last);
            if self.keys.recovery(slot).is_some() {
                self.keys.set_recovery(slot, Some(after));
            }
            self.forget(slot, &chunk.deleted);
            let mutated = mutation::is(Mutation::RecoveredInFlight);
            entries.retain(|entry| mutated || !self.is_known(slot, entry.seq));
            if let Some(recovery) = &mut self.reads.recovery {
                *recovery.came.entry(slot.0).or_default() += came;
            }
            if !entries.index.is_empty() {
                let origin = self.recovered_origin(slot);
                self.count_deliveries(Held::new(slot, vec![entries], origin, self.epoch), came);
            }
            return;
        }
        let high = match mutation::is(Mutation::PieceAfterSetBack) {
            true => self.keys.at(slot).position,
            false => self.keys.at(slot).high,
        };
        if !self.real_time && first <= high {
            // The group was set back, perhaps further than this piece of the reply shows. What is
            // still being processed here is not handed out a second time; its ack counts for both.
            let came = entries.index.len();
            entries.retain(|entry| !self.is_known(slot, entry.seq));
            if entries.index.len() < came {
                // An ack that was on its way may have come before they were handed out again.
                self.audit_key(slot);
            }
        }
        let key = self.keys.at_mut(slot);
        if last > SeqNo::ZERO {
            // Of a stream that was read from its beginning.
            key.first.get_or_insert(first);
            key.position = last;
            key.seen = key.seen.max(last);
        }
        if !entries.index.is_empty() {
            self.deliver(slot, entries);
        }
    }

    /// Entries up to this one are, or will be, in the ledger.
    pub(super) fn note_high(&mut self, slot: Slot, last: Option<SeqNo>) {
        let key = self.keys.at_mut(slot);
        key.high = key.high.max(last.unwrap_or_default());
    }

    /// Whether an entry is being processed here, or waits to be.
    pub(super) fn is_ours(&self, slot: Slot, seq: SeqNo) -> bool {
        self.buffer.ledger.contains(slot, seq) || self.reads.held.contains(&(slot.0, seq))
    }

    /// The same, or it was committed since own pending entries began to be read: an answer that
    /// is on its way may still bring it.
    pub(super) fn is_known(&self, slot: Slot, seq: SeqNo) -> bool {
        self.is_ours(slot, seq) || self.reads.settled.contains(&(slot.0, seq))
    }

    /// Whether acks of this key that are committed now have to be remembered.
    pub(super) fn is_recovering(&self, slot: Slot) -> bool {
        let asked = self.reads.recovery.as_ref().is_some_and(|recovery| recovery.asked.contains(&slot));
        asked || self.keys.recovery(slot).is_some()
    }

    /// Entries for the application.
    pub(super) fn deliver(&mut self, slot: Slot, entries: Entries) {
        let (records, bytes) = (entries.index.len(), entries.data.len());
        let segment = self.acks().then(|| {
            self.buffer.ledger.deliver(
                self.now,
                slot,
                self.epoch,
                entries.index.iter().map(|entry| entry.seq),
            )
        });
        self.note_high(slot, entries.index.last().map(|entry| entry.seq));
        let key = self.keys.at(slot);
        let source = Source { stream: key.stream.clone(), shard: key.shard, epoch: self.epoch, segment };
        self.lane.push_back(Delivery::Batch(Batch::new(source, entries)));
        self.flow.handle_received(records, bytes);
        self.stats.delivered += records as u64;
    }

    pub(super) fn on_read(&mut self, read: Read, answer: Answer) {
        if !(mutation::is(Mutation::CreditLeak) && error_of(&answer).is_some()) {
            self.flow.handle_answered(read.asked);
        }
        self.reads.unblock_after = UNBLOCK_AFTER;
        self.reads.unblock_at = self.now;
        if let Some(words) = error_of(&answer) {
            let words = words.clone();
            self.reads.recovery = None;
            return self.on_read_error(read, &words);
        }
        self.reads.backoff.handle_success(self.now);
        if read.recovery {
            return self.on_recovered(read);
        }
        self.reads.full = read.came >= read.count;
        self.reads.busy = read.busy.max(1);
    }

    fn on_read_error(&mut self, read: Read, words: &[u8]) {
        let fault = Fault::of(words);
        let command = if self.real_time { "XREAD" } else { "XREADGROUP" };
        let error = fault.error(command, words, self.endpoint(), None);
        if mutation::is(Mutation::AnyErrorIsTheEnd) {
            self.reads.hold_until = Instant::MAX;
            return;
        }
        match fault.reaction() {
            Reaction::SetUp if read.epoch != self.epoch => {}
            Reaction::SetUp if mutation::is(Mutation::GroupNeverMadeAgain) => {
                self.reads.hold_until = self.reads.backoff.next(self.now, &mut self.random);
            }
            Reaction::SetUp => match named_key(words).and_then(|name| self.keys.find(name)) {
                Some(slot) if self.keys.state(slot) == KeyState::Ready => self.look_again(slot),
                Some(_) => {}
                None => {
                    let ready: Vec<_> = self.keys.ready_slots().collect();
                    ready.into_iter().for_each(|slot| self.look_again(slot));
                }
            },
            Reaction::Later => {
                self.reads.hold_until = self.reads.backoff.next(self.now, &mut self.random);
                if mutation::is(Mutation::ReadAgainAtOnce) {
                    self.reads.hold_until = self.now;
                }
                if self.reads.backoff.attempts() == 1 {
                    self.notice(Notice::Refused { command, error });
                }
            }
            Reaction::Reconnect => self.drop_link(READER, Reason::Error(error)),
        }
    }

    pub(super) fn read_wake(&self) -> Option<Wake> {
        let stays = mutation::is(Mutation::PassedDeadlineKept) && self.reads.hold_until > Instant::ZERO;
        let held = self.reader.is_ready() && (self.reads.hold_until > self.now || stays);
        held.then_some(Wake { at: self.reads.hold_until, why: "read again" })
    }

    /// A page of own pending entries is whole.
    fn on_recovered(&mut self, read: Read) {
        let Some(mut recovery) = self.reads.recovery.take() else { return };
        if read.epoch != self.epoch {
            return;
        }
        for slot in recovery.asked {
            let came = recovery.came.remove(&slot.0).unwrap_or_default();
            if came < recovery.count || mutation::is(Mutation::RecoveryStopsEarly) {
                self.keys.set_recovery(slot, None);
                self.keys.at_mut(slot).recovered = true;
                self.reads.settled.retain(|(known, _)| *known != slot.0);
            }
        }
    }

    /// The reading connection is lost: what was handed out and never came is pending.
    pub(super) fn recover_after_loss(&mut self) {
        if !self.acks() || mutation::is(Mutation::OwnPendingForgotten) {
            return;
        }
        self.audit_later();
        self.reads.full = false;
        for slot in self.keys.slots() {
            let key = self.keys.at(slot);
            if key.started && self.keys.recovery(slot).is_none() {
                let after =
                    if mutation::is(Mutation::RecoveredInFlight) { SeqNo::ZERO } else { key.position };
                self.keys.set_recovery(slot, Some(after));
            }
        }
    }

    /// Whether the read that is next in turn has to be broken off.
    fn wants_unblock(&self) -> bool {
        let Some(Task::Read(read)) = self.reader.front() else { return false };
        let stale = read.version != self.keys.version() && self.keys.is_settled();
        read.blocks
            && (self.desk.paused
                || self.moving.is_some()
                || self.phase == Phase::Closing
                || stale
                || self.keys.recovering().next().is_some())
    }

    pub(super) fn pump_unblock(&mut self) {
        let Some(id) = self.reader.client_id else { return };
        if self.control.is_ready()
            && !self.reads.unblocking
            && self.now >= self.reads.unblock_at
            && self.wants_unblock()
        {
            self.reads.unblocking = true;
            let patience = self.config.options.limits.response_timeout;
            self.control.send(self.now, Task::Unblock, patience, |out| command::client_unblock(out, id));
        }
    }

    /// Whether it was blocked or not (the read may have been on its way still): if its answer
    /// doesn't come, it is told again.
    pub(super) fn on_unblock(&mut self, answer: &Answer) {
        self.reads.unblocking = false;
        if error_of(answer).is_some() {
            // Not permitted, perhaps: the read ends by itself.
            self.reads.unblock_after = UNBLOCK_REFUSED;
        }
        self.reads.unblock_at = self.now + self.reads.unblock_after;
        self.reads.unblock_after = (self.reads.unblock_after * 2).min(UNBLOCK_AFTER_MAX.max(UNBLOCK_AFTER));
    }

    pub(super) fn unblock_wake(&self) -> Option<Wake> {
        let wants = self.control.is_ready()
            && !self.reads.unblocking
            && self.reader.client_id.is_some()
            && self.wants_unblock();
        wants.then_some(Wake { at: self.reads.unblock_at, why: "break off a read" })
    }
}
