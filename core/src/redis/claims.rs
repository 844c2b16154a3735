//! Taking over what dead members left, and keeping long work of one's own.
//!
//! XAUTOCLAIM walks the pending list by its cursor, with this consumer as the new owner; what it
//! finds is counted (XPENDING) and handed out. Own work that takes long is shown to be alive
//! before others may claim it: first XPENDING tells which of it is still ours, then XCLAIM …
//! JUSTID starts the idle time of just those anew. Without the first step a process that was
//! stopped for a while would take back, from a live member, what that had claimed.
//!
//! **Invariant:** an entry that is in the ledger is never handed out by a claim.

use std::collections::BTreeMap;
use std::time::Duration;

use super::command;
use super::fault::Fault;
use super::keys::KeyState;
use super::link::{Answer, error_of};
use super::machine::Machine;
use super::resp::Value;
use super::setup::seq_of;
use super::task::{Claim, Held, Origin, Task};
use crate::ack::Slot;
use crate::delivery::Notice;
use crate::desk::Phase;
use crate::mutation::{self, Mutation};
use crate::stream::SeqNo;
use crate::timer::Wake;

/// Most rows asked for by one XPENDING.
const ROWS_MAX: usize = 10_000;
/// XPENDING commands for keep-alives that may be without an answer.
const TOUCHES_MAX: usize = 8;
/// Most ids touched by one XCLAIM.
const TOUCH_MAX: usize = 1_000;

impl Machine {
    pub(super) fn pump_claims(&mut self) {
        if !self.control.is_ready() || !self.acks() || self.phase != Phase::Running {
            return;
        }
        let limits = &self.config.options.limits;
        let (patience, outgoing_max) = (limits.response_timeout, limits.outgoing_bytes_max);
        let credit = match self.desk.paused || self.moving.is_some() {
            true => 0,
            false => self.flow.credit(self.buffer.ledger.len()),
        };
        if let Some(step) = self.cycle.poll(self.now, credit) {
            if self.keys.state(step.slot) == KeyState::Ready {
                let idle = self.cycle.idle().unwrap_or_default();
                let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
                let (key, config) = (self.keys.at(step.slot), &self.config);
                let claim = Claim {
                    slot: step.slot,
                    cursor: step.cursor,
                    asked: step.count,
                    epoch: self.epoch,
                    entries: Vec::new(),
                };
                self.control.send(self.now, Task::Claim(claim), patience, |out| {
                    let (group, mut consumer) = (&config.group, &config.consumer);
                    if mutation::is(Mutation::ClaimForTheDead) {
                        // Somebody else, whoever it is.
                        consumer = group;
                    }
                    command::auto_claim(out, &key.name, group, consumer, idle_ms, step.cursor, step.count);
                });
                self.flow.handle_asked(step.count);
            } else {
                self.cycle.handle_failed(step.slot);
            }
        }
        let Some(touch_after) = self.cycle.touch_after() else { return };
        if mutation::is(Mutation::LongWorkNotKeptAlive) || mutation::is(Mutation::OwnWorkClaimed) {
            return;
        }
        // One round at a time: a server that is slower than the idle time mustn't be flooded.
        while self.control.outgoing().len() < outgoing_max && !self.is_touching() {
            let mut ids = Vec::new();
            let Some(slot) = self.buffer.ledger.next_aging(self.now, touch_after, TOUCH_MAX, &mut ids) else {
                break;
            };
            ids.sort_unstable();
            self.ask_which_are_ours(slot, ids);
        }
    }

    fn is_touching(&self) -> bool {
        self.touching >= TOUCHES_MAX
    }

    pub(super) fn claim_wake(&self) -> Option<Wake> {
        if !self.acks() || self.phase != Phase::Running {
            return None;
        }
        let limits = &self.config.options.limits;
        let room = self.control.outgoing().len() < limits.outgoing_bytes_max && !self.is_touching();
        let none = mutation::is(Mutation::LongWorkNotKeptAlive) || mutation::is(Mutation::OwnWorkClaimed);
        let touch = self.cycle.touch_after().filter(|_| room && !none);
        let touch = touch.and_then(|after| self.buffer.ledger.next_aging_at(after));
        let touch = touch.map(|at| Wake { at, why: "show that long work is alive" });
        Wake::earlier(self.cycle.next_wake(), touch)
    }

    fn ask_which_are_ours(&mut self, slot: Slot, ids: Vec<SeqNo>) {
        let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else { return };
        let rows = (ids.len() * 2).min(ROWS_MAX);
        self.touching += 1;
        let patience = self.config.options.limits.response_timeout;
        let (name, config) = (&self.keys.at(slot).name, &self.config);
        self.control.send(self.now, Task::Owned { slot, ids }, patience, |out| {
            command::pending(out, name, &config.group, &config.consumer, first, last, rows);
        });
    }

    pub(super) fn on_owned(&mut self, slot: Slot, ids: Vec<SeqNo>, answer: &Answer) {
        self.touching = self.touching.saturating_sub(1);
        let rows = pending_rows(answer);
        let asked = (ids.len() * 2).min(ROWS_MAX);
        let ours: Vec<SeqNo> =
            rows.iter().map(|row| row.seq).filter(|seq| ids.binary_search(seq).is_ok()).collect();
        if !ours.is_empty() {
            let patience = self.config.options.limits.response_timeout;
            let (name, config) = (&self.keys.at(slot).name, &self.config);
            self.control.send(self.now, Task::Touch, patience, |out| {
                command::touch(out, name, &config.group, &config.consumer, &ours, None);
            });
        }
        if rows.len() >= asked
            && let Some(last) = rows.last()
        {
            let rest: Vec<SeqNo> = ids.into_iter().filter(|seq| *seq > last.seq).collect();
            self.ask_which_are_ours(slot, rest);
        }
    }

    /// A page of a claim is whole.
    pub(super) fn on_claim(&mut self, claim: Claim, answer: Answer) {
        self.flow.handle_answered(claim.asked);
        let slot = claim.slot;
        if let Some(words) = error_of(&answer) {
            self.cycle.handle_failed(slot);
            let fault = Fault::of(words);
            // A missing group or stream is found, and mended, by the read.
            if !matches!(fault, Fault::NoGroup | Fault::NoSuchKey | Fault::WrongType) {
                let error = fault.error("XAUTOCLAIM", words, self.endpoint(), None);
                self.notice(Notice::Refused { command: "XAUTOCLAIM", error });
            }
            return;
        }
        let Answer::Stream(end) = answer else { return };
        let mut next = end.cursor.unwrap_or(SeqNo::ZERO);
        if mutation::is(Mutation::EmptyPageIsTheEnd) && claim.entries.is_empty() {
            next = SeqNo::ZERO;
        }
        self.cycle.handle_page(slot, next);
        // Since 7.0 the server took these off the list itself.
        self.tell_vanished(slot, end.deleted.len() as u64);
        if claim.epoch != self.epoch {
            return;
        }
        let mut entries = claim.entries;
        for part in &mut entries {
            part.retain(|entry| mutation::is(Mutation::OwnWorkClaimed) || !self.is_ours(slot, entry.seq));
        }
        entries.retain(|part| !part.index.is_empty());
        let claimed: usize = entries.iter().map(|part| part.index.len()).sum();
        if claimed > 0 {
            self.stats.claimed += claimed as u64;
            let shard = self.keys.assignment(slot, self.epoch);
            self.notice(Notice::Claimed { shard, messages: claimed as u64 });
        }
        if end.nils > 0 {
            // 6.2: entries that no longer exist came without their ids. Read as own pending ones
            // they have them, and leave. Asking XPENDING what came with no entry would also show
            // what the read that is under way has just been given.
            let from = claim.cursor.previous();
            let from = self.keys.recovery(slot).map_or(from, |other| other.min(from));
            self.keys.set_recovery(slot, Some(from));
        }
        if claimed == 0 {
            return;
        }
        let in_flight = usize::try_from(self.buffer.ledger.in_flight_of(slot)).unwrap_or(ROWS_MAX);
        let rows = claim.asked.saturating_add(in_flight).min(ROWS_MAX);
        self.count_deliveries(Held::new(slot, entries, Origin::Claimed, self.epoch), rows);
    }

    /// The reply is lost: what it claimed is ours, and pending.
    pub(super) fn abandon_claim(&mut self, claim: Claim) {
        self.flow.handle_answered(claim.asked);
        self.cycle.handle_failed(claim.slot);
        if claim.epoch == self.epoch {
            self.keys.at_mut(claim.slot).recovered = false;
            self.keys.set_recovery(claim.slot, Some(SeqNo::ZERO));
        }
    }

    /// Asks how often these entries were handed out. Meanwhile they wait as if in the data lane.
    pub(super) fn count_deliveries(&mut self, held: Held, rows: usize) {
        let (records, bytes) = held.size();
        self.flow.handle_received(records, bytes);
        self.reads.counting += 1;
        self.note_high(held.slot, held.ids().max());
        self.reads.held.extend(held.ids().map(|seq| (held.slot.0, seq)));
        if !self.control.is_ready() {
            return self.deliver_held(held, None);
        }
        let patience = self.config.options.limits.response_timeout;
        let (name, config) = (&self.keys.at(held.slot).name, &self.config);
        let (first, last) = held.between;
        self.control.send(self.now, Task::Count(held), patience, |out| {
            command::pending(out, name, &config.group, &config.consumer, first, last, rows);
        });
    }

    /// Hands out what was held; without an answer with the least count that it can have.
    pub(super) fn deliver_held(&mut self, held: Held, answer: Option<&Answer>) {
        let (records, bytes) = held.size();
        self.flow.handle_taken(records, bytes);
        self.reads.counting = self.reads.counting.saturating_sub(1);
        for seq in held.ids() {
            self.reads.held.remove(&(held.slot.0, seq));
        }
        if held.epoch != self.epoch || self.phase != Phase::Running {
            return;
        }
        let Held { slot, entries, origin, .. } = held;
        let counts: BTreeMap<SeqNo, u32> = answer
            .map(pending_rows)
            .unwrap_or_default()
            .into_iter()
            .map(|row| (row.seq, row.deliveries))
            .collect();
        let mut reset: BTreeMap<u32, Vec<SeqNo>> = BTreeMap::new();
        let mut messages = 0;
        for mut part in entries {
            for entry in &mut part.index {
                let counted = counts.get(&entry.seq).copied();
                entry.deliveries = match origin {
                    Origin::Claimed | Origin::Restarted => counted.unwrap_or(2).max(2),
                    // The read that was lost counted one too many, and the one that mended it.
                    Origin::Reconnected => counted.unwrap_or(2).saturating_sub(1).max(1),
                };
                if origin == Origin::Reconnected && counted.is_some() {
                    reset.entry(entry.deliveries).or_default().push(entry.seq);
                }
                self.stats.redelivered += u64::from(entry.deliveries > 1);
            }
            messages += part.index.len() as u64;
            self.deliver(slot, part);
        }
        if origin != Origin::Claimed && messages > 0 {
            self.stats.recovered += messages;
            let shard = self.keys.assignment(slot, self.epoch);
            self.notice(Notice::Recovered { shard, messages });
        }
        self.reset_counts(slot, reset);
    }

    /// A recovery after a lost reply isn't a delivery: the server's count is put back.
    fn reset_counts(&mut self, slot: Slot, reset: BTreeMap<u32, Vec<SeqNo>>) {
        let patience = self.config.options.limits.response_timeout;
        for (deliveries, ids) in reset {
            let (name, config) = (&self.keys.at(slot).name, &self.config);
            if self.control.is_ready() {
                self.control.send(self.now, Task::Touch, patience, |out| {
                    command::touch(out, name, &config.group, &config.consumer, &ids, Some(deliveries));
                });
            }
        }
    }
}

/// A member that leaves for good.
impl Machine {
    /// What was handed to us and isn't acked goes to the others at once, not when it has been
    /// idle for long enough. Nobody is waited for longer than the close may take.
    pub(super) fn hand_back(&mut self, slot: Slot, after: SeqNo) {
        let patience = self.config.options.limits.response_timeout;
        let (name, config) = (&self.keys.at(slot).name, &self.config);
        self.control.send(self.now, Task::Left { slot }, patience, |out| {
            command::pending(out, name, &config.group, &config.consumer, after, SeqNo::MAX, TOUCH_MAX);
        });
    }

    pub(super) fn on_left(&mut self, slot: Slot, answer: &Answer) {
        let Some(idle) = self.cycle.idle() else { return };
        let ids: Vec<SeqNo> = pending_rows(answer).into_iter().map(|row| row.seq).collect();
        let Some(last) = ids.last() else { return };
        if ids.len() >= TOUCH_MAX {
            self.hand_back(slot, last.next());
        }
        let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let patience = self.config.options.limits.response_timeout;
        let (name, config) = (&self.keys.at(slot).name, &self.config);
        self.control.send(self.now, Task::Touch, patience, |out| {
            command::hand_back(out, name, &config.group, &config.consumer, &ids, idle_ms);
        });
    }
}

/// One row of XPENDING, extended.
pub(super) struct Row {
    pub(super) seq: SeqNo,
    /// How long nobody has touched it.
    pub(super) idle: Duration,
    pub(super) deliveries: u32,
}

/// The rows of XPENDING, extended.
pub(super) fn pending_rows(answer: &Answer) -> Vec<Row> {
    let Answer::Value(value) = answer else { return Vec::new() };
    let row = |row: &Value| match row.as_array()? {
        [id, _, idle, count] => Some(Row {
            seq: seq_of(id)?,
            idle: Duration::from_millis(u64::try_from(idle.as_int()?).unwrap_or(0)),
            deliveries: u32::try_from(count.as_int()?).unwrap_or(u32::MAX),
        }),
        _ => None,
    };
    value.as_array().unwrap_or_default().iter().filter_map(row).collect()
}
