//! Acks on their way to the server: XACK, in chunks, as the schedule says.

use super::command;
use super::fault::Fault;
use super::link::{Answer, error_of};
use super::machine::Machine;
use super::task::Task;
use crate::ack::{CommitId, Slot};
use crate::delivery::Notice;
use crate::mutation::{self, Mutation};
use crate::request::Outcome;
use crate::stream::SeqNo;
use crate::timer::Wake;

impl Machine {
    pub(super) fn pump_commits(&mut self) {
        self.buffer.handle_time(self.now, &mut self.stats);
        let limits = &self.config.options.limits;
        let (max, patience) = (limits.commit_messages_max, limits.response_timeout);
        let (commits_max, outgoing_max) = (limits.commits_in_flight_max, limits.outgoing_bytes_max);
        while self.control.is_ready()
            && !(mutation::is(Mutation::CommitsStarved) && self.flow.records() > 0)
            && self.commits_in_flight() < commits_max
            && self.control.outgoing().len() < outgoing_max
            && self.buffer.schedule.wants_commit(self.now, self.buffer.ledger.acked())
        {
            let mut ids = std::mem::take(&mut self.ids);
            ids.clear();
            let commit = self.buffer.ledger.next_commit(max, &mut ids);
            if let Some(commit) = commit {
                let (slot, messages) = (commit.slot, ids.len() as u64);
                let (name, group) = (&self.keys.at(slot).name, &self.config.group);
                let tracked = self.is_recovering(slot);
                if tracked && !mutation::is(Mutation::CrossedCommitForgotten) {
                    self.reads.settled.extend(ids.iter().map(|seq| (slot.0, *seq)));
                }
                let task = Task::Commit { id: commit.id, slot, messages, tracked };
                self.control.send(self.now, task, patience, |out| command::ack(out, name, group, &ids));
                self.buffer.schedule.handle_sent(self.now, messages);
            }
            self.ids = ids;
            if commit.is_none() {
                break;
            }
        }
        self.answer_waiters();
    }

    fn commits_in_flight(&self) -> usize {
        if self.buffer.ledger.committing() == 0 {
            return 0;
        }
        self.control.tasks().filter(|task| matches!(task, Task::Commit { .. })).count()
    }

    pub(super) fn commit_wake(&self) -> Option<Wake> {
        if self.commits_in_flight() >= self.config.options.limits.commits_in_flight_max {
            return None;
        }
        self.buffer.schedule.next_wake()
    }

    /// Nothing that was acked is unknown to the broker.
    pub(super) fn is_committed(&self) -> bool {
        self.buffer.ledger.acked() + self.buffer.ledger.committing() == 0
    }

    fn answer_waiters(&mut self) {
        while self.is_committed()
            && let Some((ticket, messages)) = self.buffer.poll_committed(self.now, &mut self.stats)
        {
            self.desk.done(ticket, Outcome::Committed { messages });
        }
    }

    pub(super) fn on_commit(&mut self, id: CommitId, slot: Slot, messages: u64, answer: &Answer) {
        match error_of(answer) {
            None => {
                self.buffer.ledger.committed(id);
                self.buffer.schedule.handle_committed(self.now);
                self.stats.committed += messages;
            }
            // The stream is gone, and the pending list with it: nothing is pending any more.
            Some(words) if matches!(Fault::of(words), Fault::WrongType | Fault::NoGroup) => {
                self.buffer.ledger.committed(id);
                self.stats.committed += messages;
            }
            Some(words) => {
                self.buffer.ledger.failed(id);
                self.buffer.schedule.handle_failed(self.now, messages);
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
