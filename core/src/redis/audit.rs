//! What is pending here, and nobody knows of it.
//!
//! Own pending entries are read again after a loss, from the position on which reading goes on.
//! That leaves some out. A fail-over may lose an XACK that was confirmed, and what was committed
//! is no longer in the ledger. A read that waited on the lost connection may be given entries
//! later, as long as the server doesn't know of the loss. A group that was set back hands out
//! again what is acked that very moment.
//!
//! So after each loss, once such a read is over, and from time to time, XPENDING tells, without
//! bodies and without counting as a delivery, what is pending with this consumer. What is neither
//! in the ledger nor about to be read again is read again: if it lies before the position, or has
//! been idle for longer than any answer may take. (Else it is in an answer that is on its way.)
//!
//! **Invariant:** XACK and this XPENDING go through one connection: what the answer shows was
//! pending after all acks that were confirmed before it.

use std::time::Duration;

use super::command;
use super::keys::KeyState;
use super::link::Answer;
use super::machine::Machine;
use super::task::Task;
use crate::ack::Slot;
use crate::desk::Phase;
use crate::mutation::{self, Mutation};
use crate::stream::SeqNo;
use crate::timer::Wake;

/// Rows asked for at once.
const ROWS: usize = 1_000;
/// Commands of this kind that may be without an answer.
const IN_FLIGHT: usize = 8;

/// The longest time from one look at everything to the next.
const EVERY: Duration = Duration::from_secs(60);

impl Machine {
    /// The control connection is lost, perhaps with its server; or it is time.
    pub(super) fn audit_all(&mut self) {
        if self.acks() {
            let started = self.keys.slots().filter(|slot| self.keys.at(*slot).started);
            self.audits.extend(started.map(|slot| (slot, SeqNo::ZERO)));
        }
    }

    /// Something of this key may be pending though it was acked.
    pub(super) fn audit_key(&mut self, slot: Slot) {
        if self.acks() {
            self.audits.entry(slot).or_insert(SeqNo::ZERO);
        }
    }

    /// How long an answer, and a read that waits on a lost connection, may take: two reads, one
    /// behind the other, may wait there.
    fn answered_within(&self) -> Duration {
        let limits = &self.config.options.limits;
        limits.block.saturating_mul(2).saturating_add(limits.response_timeout)
    }

    /// The reading connection is lost, and the server may not know: a read that waits there may
    /// still be given entries, after own pending ones have been read again here. It is over
    /// when its time is; then it is looked for what it was given.
    pub(super) fn audit_later(&mut self) {
        let at = self.now + self.answered_within();
        match self.audit_at {
            Some(before) if before <= at => self.audit_again_at = Some(at),
            _ => self.audit_at = Some(at),
        }
    }

    pub(super) fn audit_wake(&self) -> Option<Wake> {
        let never =
            mutation::is(Mutation::UnknownPendingIgnored) || mutation::is(Mutation::OwnPendingForgotten);
        let runs = self.control.is_ready() && self.phase == Phase::Running && self.acks() && !never;
        self.audit_at.filter(|_| runs).map(|at| Wake { at, why: "look for what a lost read was given" })
    }

    pub(super) fn pump_audits(&mut self) {
        if self.audit_at.is_none() {
            self.audit_at = Some(self.now + EVERY);
        }
        if self.audit_wake().is_some_and(|wake| wake.at <= self.now) {
            let again = self.audit_again_at.take();
            self.audit_at = Some(again.unwrap_or(self.now + EVERY));
            self.audit_all();
        }
        if self.audits.is_empty() || self.audit_wake().is_none() {
            return;
        }
        let free = IN_FLIGHT
            .saturating_sub(self.control.tasks().filter(|task| matches!(task, Task::Audit { .. })).count());
        // While own pending entries are read, what was committed meanwhile counts as known.
        let ready = self
            .audits
            .iter()
            .filter(|(slot, _)| self.keys.state(**slot) == KeyState::Ready && !self.is_recovering(**slot));
        let next: Vec<(Slot, SeqNo)> = ready.take(free).map(|(slot, from)| (*slot, *from)).collect();
        let patience = self.config.options.limits.response_timeout;
        for (slot, from) in next {
            self.audits.remove(&slot);
            let (name, config) = (&self.keys.at(slot).name, &self.config);
            self.control.send(self.now, Task::Audit { slot, from }, patience, |out| {
                command::pending(out, name, &config.group, &config.consumer, from, SeqNo::MAX, ROWS);
            });
        }
    }

    pub(super) fn on_audit(&mut self, slot: Slot, answer: &Answer) {
        if !self.acks() {
            // It has left the group meanwhile.
            return;
        }
        let rows = super::claims::pending_rows(answer);
        let key = self.keys.at(slot);
        let read_again = self.keys.recovery(slot).unwrap_or(SeqNo::MAX);
        let old = self.answered_within();
        let forgotten = rows.iter().find(|row| {
            (row.seq <= key.position || row.idle >= old)
                && row.seq <= read_again
                && !self.is_known(slot, row.seq)
        });
        if let Some(first) = forgotten {
            // Those after it are read with it; what is in the ledger is not handed out twice.
            return self.keys.set_recovery(slot, Some(first.seq.previous()));
        }
        if rows.len() >= ROWS
            && let Some(last) = rows.last()
        {
            self.audits.insert(slot, last.seq.next());
        }
    }
}
