//! Acks on their way to the coordinator: the frontier of each partition, as the schedule says.
//!
//! What is committed is the offset after the last message before which nothing is un-acked, so
//! that a restart begins with the first one that is. Where everything that was handed out is
//! acked, that is the position itself: past markers and compacted tails.
//!
//! | answer for a partition | what follows |
//! |---|---|
//! | no error | the broker knows |
//! | REBALANCE_IN_PROGRESS | sent again in the next generation, if it is still ours |
//! | STALE_MEMBER_EPOCH | a heartbeat, then sent again |
//! | ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_… of the generation in force | the membership is lost, and what was acked with it |
//! | NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE | the coordinator is looked for, then sent again |
//! | anything else | told, and sent again as the schedule says |
//!
//! **Invariant:** one commit is on its way at a time, so an older offset never overtakes a newer
//! one.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::fault;
use super::links::read;
use super::machine::Machine;
use super::task::{Commit, Task};
use super::wire::{
    ErrorCode, OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, Uuid,
};
use crate::ack::{Frontier, Slot};
use crate::delivery::Notice;
use crate::error::Error;
use crate::mutation::{self, Mutation};
use crate::request::Outcome;
use crate::stream::Epoch;
use crate::timer::Wake;

impl Machine {
    /// Messages acked since the last commit, where a commit could tell of any. Those that lie behind
    /// one that is un-acked count once, not with each commit again.
    fn committable(&self) -> u64 {
        match self.buffer.ledger.frontiers() {
            0 => 0,
            _ => (self.stats.acked - self.acked_before).max(1),
        }
    }

    /// Nothing that may be committed is unknown to the broker.
    pub(super) fn is_committed(&self) -> bool {
        self.buffer.ledger.frontiers() == 0 && !self.committing && self.unacked_commits.is_empty()
    }

    /// As far as these partitions go.
    pub(super) fn is_committed_for(&self, slots: &[Slot]) -> bool {
        !self.committing && !slots.iter().any(|slot| self.buffer.ledger.has_frontier(*slot))
    }

    pub(super) fn pump_commits(&mut self) {
        self.buffer.handle_time(self.now, &mut self.stats);
        if self.has_group() && !self.committing {
            // What is let go, or was asked to be committed now, doesn't wait for the interval.
            let wanted = self.buffer.schedule.wants_commit(self.now, self.committable());
            let positions = !self.unacked_commits.is_empty() && self.unacked_at <= self.now;
            if wanted || positions {
                self.send_commit(wanted);
            }
        }
        self.answer_waiters();
    }

    fn send_commit(&mut self, frontiers_too: bool) {
        let Some(identity) = self.membership.identity_for_commits() else { return };
        let (now, patience) = (self.now, self.coordinator_timeout());
        let client_id = self.config.options.kafka.client_id.clone();
        let committed_metadata = self.config.options.kafka.commit_metadata.clone().unwrap_or_default();
        let group_id = self.config.group.clone();
        let max = self.config.options.limits.commit_messages_max;
        let Some(link) = self.coordinator_link() else { return };
        let number = link.conn().number;
        let Some(mut version) = link.version::<OffsetCommitRequest>() else {
            return self.too_old(number, "OffsetCommit");
        };
        let mut commit = Commit { generation: identity.generation, ..Commit::default() };
        let mut offsets: BTreeMap<usize, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        let mut count = 0;
        if frontiers_too {
            while count < max
                && let Some(frontier) = self.buffer.ledger.next_frontier()
            {
                let (offset, epoch) = self.offset_after(frontier);
                let partition = self.partitions.at_mut(frontier.slot);
                partition.said = (offset, epoch);
                offsets.entry(partition.topic).or_default().push(OffsetCommitRequestPartition {
                    partition_index: partition.index,
                    committed_offset: offset,
                    committed_leader_epoch: epoch,
                    committed_metadata: Some(committed_metadata.clone()),
                });
                commit.frontiers.push((frontier, offset));
                count += 1;
            }
        }
        while count < max
            && let Some((slot, offset)) = self.unacked_commits.pop_first()
        {
            let partition = self.partitions.at(slot);
            // Where acks got further, they speak for themselves.
            let spoken = self.buffer.ledger.frontier(slot).is_some();
            if !partition.is_owned() || (spoken && !mutation::is(Mutation::CommitRegresses)) {
                continue;
            }
            let at_position = offset == partition.position;
            offsets.entry(partition.topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: partition.index,
                committed_offset: offset,
                committed_leader_epoch: if at_position { partition.position_epoch } else { -1 },
                committed_metadata: Some(committed_metadata.clone()),
            });
            commit.positions.push((slot, partition.epoch, offset));
            count += 1;
        }
        if count == 0 {
            return;
        }
        let topic_id = |topic: usize| self.cluster.topic(topic).map_or(Uuid::ZERO, |topic| topic.id);
        if offsets.keys().any(|topic| topic_id(*topic) == Uuid::ZERO) {
            version = version.min(9);
        }
        let topics = offsets.into_iter().filter_map(|(topic, partitions)| {
            let known = self.cluster.topic(topic)?;
            Some(OffsetCommitRequestTopic { name: known.text.clone(), topic_id: known.id, partitions })
        });
        let request = OffsetCommitRequest {
            group_id,
            generation_id_or_member_epoch: identity.generation,
            member_id: identity.member_id,
            group_instance_id: identity.instance.filter(|_| version >= 7),
            topics: topics.collect(),
            ..Default::default()
        };
        let full = commit.frontiers.len() >= max;
        let link = &mut self.links[usize::from(number)];
        link.send(now, &client_id, version, &request, Task::Commit(commit), patience);
        // Positions alone leave what is acked to its own schedule, where it may be held back.
        if frontiers_too {
            self.buffer.schedule.handle_sent(now, u64::MAX);
            self.acked_before = self.stats.acked;
        }
        if full {
            // There may be more of them than one request takes: the rest goes with the next, and not
            // when somebody acks again, as whoever waits for this commit may hold all acks back.
            self.buffer.schedule.handle_request(now);
        }
        self.committing = true;
    }

    /// The offset that a frontier commits, and the leader epoch of what is before it, if that is
    /// known.
    fn offset_after(&self, frontier: Frontier) -> (i64, i32) {
        let next = i64::try_from(frontier.seq.next().low()).unwrap_or(i64::MAX);
        if mutation::is(Mutation::OffsetPlusOneMissing) {
            return (next - 1, -1);
        }
        let partition = self.partitions.at(frontier.slot);
        let all_done =
            self.buffer.ledger.in_flight_of(frontier.slot) == 0 || mutation::is(Mutation::FrontierPassesHole);
        match all_done && partition.handed >= next {
            true => (partition.handed, partition.handed_epoch),
            // Sent before, past markers, and its answer was lost: what was handed out since is behind.
            false if partition.said.0 > next => partition.said,
            // An epoch that is too old is never wrong (KIP-320), but one that is too new is.
            false => (next, -1),
        }
    }

    pub(super) fn commit_wake(&self) -> Option<Wake> {
        let positions = (!self.unacked_commits.is_empty() && self.unacked_at > self.now)
            .then_some(Wake { at: self.unacked_at, why: "commit a position again" });
        Wake::earlier(self.buffer.schedule.next_wake(), positions)
            .filter(|_| self.has_group() && !self.committing)
    }

    fn answer_waiters(&mut self) {
        while self.is_committed()
            && let Some((ticket, messages)) = self.buffer.poll_committed(self.now, &mut self.stats)
        {
            self.desk.done(ticket, Outcome::Committed { messages });
        }
    }

    pub(super) fn abandon_commit(&mut self, commit: &Commit) {
        if !std::mem::replace(&mut self.committing, false) {
            return;
        }
        if mutation::is(Mutation::CommitRegresses) {
            commit
                .frontiers
                .iter()
                .for_each(|(frontier, offset)| self.commit_position(frontier.slot, *offset));
            self.unacked_at = self.unacked_backoff.next(self.now, &mut self.random);
        }
        self.commit_again(commit.frontiers.iter().map(|(frontier, _)| *frontier).collect());
        commit.positions.iter().for_each(|position| self.commit_position_again(*position));
    }

    /// A position that is to be committed without an ack: in `Immediate` what is handed out next,
    /// and where a group begins that begins at the end, or at an age.
    pub(super) fn commit_position(&mut self, slot: Slot, offset: i64) {
        self.unacked_commits.insert(slot, offset);
    }

    fn commit_position_again(&mut self, (slot, epoch, offset): (Slot, Epoch, i64)) {
        if self.partitions.at(slot).epoch == epoch {
            self.unacked_commits.entry(slot).or_insert(offset);
            self.unacked_at = self.unacked_backoff.next(self.now, &mut self.random);
        }
    }

    fn commit_again(&mut self, frontiers: Vec<Frontier>) {
        if frontiers.is_empty() {
            return;
        }
        frontiers.into_iter().for_each(|frontier| self.buffer.ledger.frontier_failed(frontier));
        self.buffer.schedule.handle_failed(self.now, self.committable());
    }

    pub(super) fn on_committed(&mut self, commit: Commit, version: i16, frame: Bytes) -> Result<(), Error> {
        let response = read::<OffsetCommitRequest>(frame, version)?;
        self.committing = false;
        let mut codes = BTreeMap::new();
        for topic in response.topics {
            let id = if version >= 10 { topic.topic_id } else { Uuid::ZERO };
            let Some(at) = self.cluster.find(id, &topic.name) else { continue };
            for partition in topic.partitions {
                let code = match ErrorCode(partition.error_code) {
                    _ if mutation::is(Mutation::CommitErrorPerPartitionIgnored) => ErrorCode::NONE,
                    code => code,
                };
                codes.insert((at, partition.partition_index), code);
            }
        }
        // What isn't answered for was not committed.
        let silent = ErrorCode::UNKNOWN_SERVER_ERROR;
        let mut failed = Vec::new();
        let mut worst = ErrorCode::NONE;
        let acked_before = self.buffer.ledger.acked();
        for (frontier, offset) in commit.frontiers {
            let partition = self.partitions.at(frontier.slot);
            let code = codes.get(&(partition.topic, partition.index)).copied().unwrap_or(silent);
            if code == ErrorCode::NONE {
                let owned = partition.epoch == frontier.epoch;
                self.buffer.ledger.frontier_committed(frontier);
                if owned {
                    self.partitions.at_mut(frontier.slot).committed = offset;
                }
            } else {
                failed.push(frontier);
                worst = worse(worst, code);
            }
        }
        for (slot, epoch, offset) in commit.positions {
            let partition = self.partitions.at_mut(slot);
            let code = codes.get(&(partition.topic, partition.index)).copied().unwrap_or(silent);
            match code {
                ErrorCode::NONE if partition.epoch == epoch => {
                    partition.committed = offset;
                    self.unacked_backoff.handle_success(self.now);
                }
                ErrorCode::NONE => {}
                code => {
                    self.commit_position_again((slot, epoch, offset));
                    worst = worse(worst, code);
                }
            }
        }
        self.stats.committed += acked_before - self.buffer.ledger.acked();
        if worst == ErrorCode::NONE {
            self.buffer.schedule.handle_committed(self.now);
            return Ok(());
        }
        self.stats.broker_errors += 1;
        self.commit_again(failed);
        self.on_commit_error(worst, commit.generation)
    }

    fn on_commit_error(&mut self, code: ErrorCode, generation: i32) -> Result<(), Error> {
        let of_now = generation == self.membership.generation();
        match code {
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => self.refresh_soon(),
            ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::FENCED_MEMBER_EPOCH
            | ErrorCode::STALE_MEMBER_EPOCH
            | ErrorCode::REBALANCE_IN_PROGRESS
                // Of a generation that is over: the new one's identity will do.
                if !of_now => {}
            ErrorCode::NOT_COORDINATOR
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::REBALANCE_IN_PROGRESS
            | ErrorCode::STALE_MEMBER_EPOCH
            | ErrorCode::ILLEGAL_GENERATION
            | ErrorCode::UNKNOWN_MEMBER_ID
            | ErrorCode::FENCED_MEMBER_EPOCH
            | ErrorCode::FENCED_INSTANCE_ID => return self.on_group_error(code, "OffsetCommit"),
            code => {
                let error = fault::error_of(code, "OffsetCommit", None);
                self.desk.notice(Notice::Refused { command: "OffsetCommit", error });
            }
        }
        Ok(())
    }
}

/// Of two errors the one that says more about the membership.
fn worse(one: ErrorCode, other: ErrorCode) -> ErrorCode {
    let weight = |code: ErrorCode| match code {
        ErrorCode::NONE => 0,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => 1,
        ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => 3,
        ErrorCode::UNKNOWN_MEMBER_ID
        | ErrorCode::ILLEGAL_GENERATION
        | ErrorCode::FENCED_MEMBER_EPOCH
        | ErrorCode::FENCED_INSTANCE_ID => 4,
        _ => 2,
    };
    if weight(other) > weight(one) { other } else { one }
}
