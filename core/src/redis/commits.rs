//! Acks on their way to the server: XACK, in chunks, as the schedule says.
//!
//! **Invariant:** a `commit()` speaks of the acks that came before it. Acks that come while it
//! waits are kept apart until it is done, so that a busy application can't keep it from ending.

use super::command;
use super::fault::Fault;
use super::link::{Answer, error_of};
use super::machine::Machine;
use super::task::Task;
use crate::ack::{AckRange, CommitId, Slot};
use crate::delivery::Notice;
use crate::desk::Waiter;
use crate::mutation::{self, Mutation};
use crate::request::{Outcome, Ticket};
use crate::stream::SeqNo;
use crate::timer::Wake;

impl Machine {
    /// The application is done with these.
    pub(super) fn on_acks(&mut self, ranges: Vec<AckRange>) {
        match self.desk.waiters.back_mut() {
            // A close waits for all of them, so it has to know of them.
            Some(waiter) if self.closing.is_none() => waiter.later.extend(ranges),
            _ => self.apply_acks(&ranges),
        }
    }

    /// Without a group there is nothing to ack; what was handed out before a seek is stale.
    fn apply_acks(&mut self, ranges: &[AckRange]) {
        for range in ranges {
            let report = self.ledger.ack(*range);
            self.schedule.handle_acked(self.now, report.newly);
            self.stats.acked += report.newly;
            self.stats.stale_acks += report.stale;
        }
    }

    /// The application took these.
    pub(super) fn on_taken(&mut self, ranges: &[AckRange]) {
        if mutation::is(Mutation::AckedWhenTaken) {
            self.apply_acks(ranges);
        }
        if self.acks() {
            ranges.iter().for_each(|range| self.schedule.handle_taken(self.now, *range));
        }
    }

    pub(super) fn on_commit_request(&mut self, ticket: Ticket) {
        if self.desk.waiters.is_empty() {
            self.schedule.handle_request(self.now);
        }
        self.desk.waiters.push_back(Waiter {
            ticket,
            later: Vec::new(),
            committed_before: self.stats.committed,
        });
    }

    /// At a close: everything counts, and what `Delayed` waits for is over.
    pub(super) fn drain_acks(&mut self) {
        for waiter in &mut self.desk.waiters {
            let later = std::mem::take(&mut waiter.later);
            for range in later {
                let report = self.ledger.ack(range);
                self.stats.acked += report.newly;
            }
        }
        while let Some(range) = self.schedule.drain_taken() {
            let report = self.ledger.ack(range);
            self.stats.acked += report.newly;
        }
        self.schedule.handle_drain(self.now);
    }

    pub(super) fn pump_commits(&mut self) {
        while let Some(range) = self.schedule.poll_due(self.now) {
            let report = self.ledger.ack(range);
            self.schedule.handle_acked(self.now, report.newly);
            self.stats.acked += report.newly;
        }
        let limits = &self.config.options.limits;
        let (max, patience) = (limits.commit_messages_max, limits.response_timeout);
        let (commits_max, outgoing_max) = (limits.commits_in_flight_max, limits.outgoing_bytes_max);
        while self.control.is_ready()
            && !(mutation::is(Mutation::CommitsStarved) && self.flow.records() > 0)
            && self.commits_in_flight() < commits_max
            && self.control.outgoing().len() < outgoing_max
            && self.schedule.wants_commit(self.now, self.ledger.acked())
        {
            let mut ids = std::mem::take(&mut self.ids);
            ids.clear();
            let commit = self.ledger.next_commit(max, &mut ids);
            if let Some(commit) = commit {
                let (slot, messages) = (commit.slot, ids.len() as u64);
                let (name, group) = (&self.keys.at(slot).name, &self.config.group);
                let tracked = self.is_recovering(slot);
                if tracked && !mutation::is(Mutation::CrossedCommitForgotten) {
                    self.reads.settled.extend(ids.iter().map(|seq| (slot.0, *seq)));
                }
                let task = Task::Commit { id: commit.id, slot, messages, tracked };
                self.control.send(self.now, task, patience, |out| command::ack(out, name, group, &ids));
                self.schedule.handle_sent(self.now, messages);
            }
            self.ids = ids;
            if commit.is_none() {
                break;
            }
        }
        self.answer_waiters();
    }

    fn commits_in_flight(&self) -> usize {
        if self.ledger.committing() == 0 {
            return 0;
        }
        self.control.tasks().filter(|task| matches!(task, Task::Commit { .. })).count()
    }

    pub(super) fn commit_wake(&self) -> Option<Wake> {
        if self.commits_in_flight() >= self.config.options.limits.commits_in_flight_max {
            return None;
        }
        self.schedule.next_wake()
    }

    /// Nothing that was acked is unknown to the broker.
    pub(super) fn is_committed(&self) -> bool {
        self.ledger.acked() + self.ledger.committing() == 0
    }

    fn answer_waiters(&mut self) {
        while self.is_committed()
            && let Some(waiter) = self.desk.waiters.pop_front()
        {
            let messages = self.stats.committed - waiter.committed_before;
            self.done(waiter.ticket, Outcome::Committed { messages });
            self.apply_acks(&waiter.later);
            if !self.desk.waiters.is_empty() {
                self.schedule.handle_request(self.now);
            }
        }
    }

    pub(super) fn on_commit(&mut self, id: CommitId, slot: Slot, messages: u64, answer: &Answer) {
        match error_of(answer) {
            None => {
                self.ledger.committed(id);
                self.schedule.handle_committed(self.now);
                self.stats.committed += messages;
            }
            // The stream is gone, and the pending list with it: nothing is pending any more.
            Some(words) if matches!(Fault::of(words), Fault::WrongType | Fault::NoGroup) => {
                self.ledger.committed(id);
                self.stats.committed += messages;
            }
            Some(words) => {
                self.ledger.failed(id);
                self.schedule.handle_failed(self.now, messages);
                let stream = self.keys.at(slot).stream.clone();
                let error = Fault::of(words).error("XACK", words, self.endpoint(), Some(&stream));
                self.notice(Notice::Refused { command: "XACK", error });
            }
        }
    }

    /// Takes entries that no longer exist off the own pending list.
    pub(super) fn forget(&mut self, slot: Slot, ids: &[SeqNo]) {
        if ids.is_empty() || mutation::is(Mutation::TrimmedNeverLeaves) {
            return;
        }
        let patience = self.config.options.limits.response_timeout;
        if self.control.is_ready() {
            let (name, group) = (&self.keys.at(slot).name, &self.config.group);
            let task = Task::Forget { slot, messages: ids.len() as u64 };
            self.control.send(self.now, task, patience, |out| command::ack(out, name, group, ids));
        }
    }

    pub(super) fn on_forget(&mut self, slot: Slot, messages: u64, answer: &Answer) {
        match error_of(answer) {
            None => self.tell_vanished(slot, messages),
            // They are found again, and once more told to leave.
            Some(_) => self.audit_later(),
        }
    }

    pub(super) fn tell_vanished(&mut self, slot: Slot, messages: u64) {
        if messages > 0 {
            self.stats.vanished += messages;
            let shard = self.keys.assignment(slot, self.epoch);
            self.notice(Notice::Vanished { shard, messages });
        }
    }
}
