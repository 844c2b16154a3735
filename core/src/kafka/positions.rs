//! Where to read: the group's committed offsets, the ends of the logs, and what became of a
//! position under a new leader.
//!
//! **Invariant:** a partition of a group comes to the reset policy in two ways only: the group has
//! no committed offset for it, or the position isn't in the log any more; both answered without
//! an error.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::fault;
use super::links::{Role, read};
use super::machine::Machine;
use super::partitions::{Since, Spot, Stage};
use super::task::{Asked, Task};
use super::wire::{ErrorCode, Uuid};
use super::wire::{
    ListOffsetsRequest, ListOffsetsRequestPartition, ListOffsetsRequestTopic, OffsetFetchRequest,
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochRequestPartition, OffsetForLeaderEpochRequestTopic,
};
use crate::ack::Slot;
use crate::delivery::{Notice, Reason};
use crate::desk::Phase;
use crate::error::Error;
use crate::mutation::{self, Mutation};
use crate::options::{Isolation, Reset, Start};
use crate::stream::{Position, SeqNo, StreamKey};
use crate::time::Instant;
use crate::timer::Wake;

/// ListOffsets: the first offset, and the end (KIP-79).
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

impl Machine {
    /// Where a partition begins that has no position; `None`: that is an error.
    pub(super) fn first_spot(&self) -> Option<Spot> {
        match (self.start, self.config.options.kafka.reset) {
            (Start::From(Position::Beginning), _) => Some(Spot::Earliest),
            (Start::From(Position::End), _) => Some(Spot::Latest),
            (Start::After(moment), _) => {
                Some(Spot::Time(Since { millis: moment.as_millis().saturating_add(1), strict: true }))
            }
            (_, Some(reset)) => self.spot_of(reset),
            (_, None) if self.has_group() => Some(Spot::Earliest),
            (_, None) => Some(Spot::Latest),
        }
    }

    pub(super) fn spot_of(&self, reset: Reset) -> Option<Spot> {
        match reset {
            Reset::Earliest => Some(Spot::Earliest),
            Reset::Latest => Some(Spot::Latest),
            Reset::None => None,
            Reset::ByDuration(age) => {
                // `new` saw to it that there is one.
                let at_zero = self.config.wall_clock?;
                let now = at_zero.plus(self.now.since(Instant::ZERO));
                Some(Spot::Time(Since { millis: now.minus(age).as_millis(), strict: false }))
            }
        }
    }

    /// Tells the operator once that a partition can't be read.
    pub(super) fn stall(&mut self, slot: Slot, reason: Reason) {
        let partition = self.partitions.at_mut(slot);
        if !std::mem::replace(&mut partition.stalled, true) {
            let shard = Some(partition.assignment());
            self.desk.notice(Notice::Stalled { shard, reason });
        }
    }

    pub(super) fn mend(&mut self, slot: Slot) {
        let partition = self.partitions.at_mut(slot);
        if std::mem::replace(&mut partition.stalled, false) {
            let shard = partition.assignment();
            self.desk.notice(Notice::Mended { shard });
        }
    }

    /// To be asked again after a while.
    pub(super) fn retry(&mut self, slot: Slot) {
        let (now, random) = (self.now, &mut self.random);
        let partition = self.partitions.at_mut(slot);
        partition.asked = false;
        partition.retry_at = partition.backoff.next(now, random);
    }

    pub(super) fn ask_again(&mut self, asked: &[Asked]) {
        if mutation::is(Mutation::StrandedPartition) {
            return;
        }
        for &Asked { slot, turn } in asked {
            if self.partitions.at(slot).turn == turn {
                self.retry(slot);
            }
        }
    }

    /// Asks for the positions that are not known.
    pub(super) fn pump_positions(&mut self) {
        if self.partitions.unsettled().is_empty() || self.phase == Phase::Closing {
            return self.tell_ready();
        }
        let now = self.now;
        let mut committed = Vec::new();
        let mut by_leader: BTreeMap<(i32, bool), Vec<Slot>> = BTreeMap::new();
        let (mut leaderless, mut again) = (Vec::new(), Vec::new());
        for &slot in self.partitions.unsettled() {
            let partition = self.partitions.at(slot);
            if partition.asked || partition.retry_at > now {
                continue;
            }
            match (partition.stage(), partition.leader) {
                (Stage::Committed, _) => committed.push(slot),
                (Stage::Waiting, Some(_)) => again.push(slot),
                (stage, Some(leader)) => {
                    by_leader.entry((leader, stage == Stage::Check)).or_default().push(slot);
                }
                (_, None) => leaderless.push(slot),
            }
        }
        for slot in again {
            self.partitions.set(slot, Stage::Fetching);
        }
        for slot in leaderless {
            self.retry(slot);
            self.refresh_soon();
        }
        if !committed.is_empty() {
            self.ask_committed(&committed);
        }
        for ((leader, check), slots) in by_leader {
            if !self.cluster.brokers.contains_key(&leader) {
                slots.into_iter().for_each(|slot| self.retry(slot));
                self.refresh_soon();
            } else if check {
                self.ask_epoch_ends(leader, &slots);
            } else {
                self.ask_offsets(leader, &slots);
            }
        }
    }

    pub(super) fn positions_wake(&self) -> Option<Wake> {
        let waiting = self.partitions.unsettled().iter().map(|slot| self.partitions.at(*slot));
        let at = waiting
            .filter(|partition| !partition.asked && partition.retry_at > self.now)
            .map(|partition| partition.retry_at)
            .min()?;
        Some(Wake { at, why: "ask for a position again" })
    }

    /// Marks them as asked for.
    fn asked(&mut self, slots: &[Slot]) -> Vec<Asked> {
        let mark = |slot: &Slot| {
            let partition = self.partitions.at_mut(*slot);
            partition.asked = true;
            Asked { slot: *slot, turn: partition.turn }
        };
        slots.iter().map(mark).collect()
    }

    fn ask_committed(&mut self, slots: &[Slot]) {
        let Some((member_id, member_epoch)) = self.membership.identity_for_offsets() else { return };
        let (now, patience) = (self.now, self.response_timeout());
        let client_id = self.config.options.kafka.client_id.clone();
        let group_id = self.config.group.clone();
        let Some(link) = self.coordinator_link() else { return };
        let number = link.conn().number;
        let Some(version) = link.version::<OffsetFetchRequest>() else {
            return self.too_old(number, "OffsetFetch");
        };
        let mut by_topic: BTreeMap<usize, Vec<i32>> = BTreeMap::new();
        for &slot in slots {
            let partition = self.partitions.at(slot);
            by_topic.entry(partition.topic).or_default().push(partition.index);
        }
        let topics = by_topic.into_iter().filter_map(|(topic, indexes)| {
            let topic = self.cluster.topic(topic)?;
            Some((topic.text.clone(), topic.id, indexes))
        });
        let mut request = OffsetFetchRequest { require_stable: version >= 7, ..Default::default() };
        if version >= 8 {
            let topics = topics.map(|(name, topic_id, partition_indexes)| OffsetFetchRequestTopics {
                name,
                topic_id,
                partition_indexes,
            });
            request.groups = vec![OffsetFetchRequestGroup {
                group_id,
                member_id: member_id.filter(|_| version >= 9),
                member_epoch: if version >= 9 { member_epoch } else { -1 },
                topics: Some(topics.collect()),
            }];
        } else {
            let topics = topics
                .map(|(name, _, partition_indexes)| OffsetFetchRequestTopic { name, partition_indexes });
            request.topics = Some(topics.collect());
            request.group_id = group_id;
        }
        let asked = self.asked(slots);
        let link = &mut self.links[usize::from(number)];
        link.send(now, &client_id, version, &request, Task::OffsetFetch(asked), patience);
    }

    pub(super) fn on_offsets_fetched(
        &mut self,
        asked: &[Asked],
        version: i16,
        frame: Bytes,
    ) -> Result<(), Error> {
        let response = read::<OffsetFetchRequest>(frame, version)?;
        let mut code = ErrorCode(response.error_code);
        let mut answers = BTreeMap::new();
        for topic in response.topics {
            let Some(at) = self.cluster.named(&topic.name) else { continue };
            for partition in topic.partitions {
                let answer =
                    (partition.committed_offset, partition.committed_leader_epoch, partition.error_code);
                answers.insert((at, partition.partition_index), answer);
            }
        }
        for group in response.groups {
            if group.error_code != 0 {
                code = ErrorCode(group.error_code);
            }
            for topic in group.topics {
                let id = if version >= 10 { topic.topic_id } else { Uuid::ZERO };
                let Some(at) = self.cluster.find(id, &topic.name) else { continue };
                for partition in topic.partitions {
                    let answer =
                        (partition.committed_offset, partition.committed_leader_epoch, partition.error_code);
                    answers.insert((at, partition.partition_index), answer);
                }
            }
        }
        let resets = mutation::is(Mutation::FetchOffsetErrorResets);
        if code != ErrorCode::NONE {
            self.ask_again(asked);
            if resets {
                asked.iter().for_each(|asked| self.on_committed_offset(asked.slot, -1, -1));
            }
            return self.on_group_error(code, "OffsetFetch");
        }
        for &Asked { slot, turn } in asked {
            if self.partitions.at(slot).turn != turn {
                continue;
            }
            let partition = self.partitions.at(slot);
            let stream = partition.stream.clone();
            match answers.get(&(partition.topic, partition.index)) {
                Some(&(offset, epoch, 0)) => self.on_committed_offset(slot, offset, epoch),
                Some(_) if resets => self.on_committed_offset(slot, -1, -1),
                Some(&(_, _, code)) => {
                    let code = ErrorCode(code);
                    self.retry(slot);
                    if !code.is_retriable() {
                        self.stall(slot, Reason::Error(fault::error_of(code, "OffsetFetch", Some(&stream))));
                    }
                    self.refresh_soon();
                }
                None => self.retry(slot),
            }
        }
        Ok(())
    }

    fn on_committed_offset(&mut self, slot: Slot, offset: i64, epoch: i32) {
        if offset < 0 {
            match self.first_spot() {
                Some(spot) => self.partitions.set(slot, Stage::Place(spot)),
                None => {
                    let shard = self.partitions.at(slot).assignment();
                    let words = format!(
                        "no offset is committed for {shard}, and reset is none: commit one, or choose earliest or latest"
                    );
                    self.fail(Error::Options(words.into()));
                }
            }
            return;
        }
        let partition = self.partitions.at_mut(slot);
        (partition.position, partition.position_epoch) = (offset, epoch);
        (partition.handed, partition.handed_epoch, partition.committed) = (offset, epoch, offset);
        // The log may have been cut since the commit (KIP-320).
        let check =
            epoch >= 0 && epoch < partition.leader_epoch && !mutation::is(Mutation::LeaderEpochIgnored);
        self.partitions.set(slot, if check { Stage::Check } else { Stage::Fetching });
        self.mend(slot);
    }

    fn ask_offsets(&mut self, leader: i32, slots: &[Slot]) {
        let (now, patience) = (self.now, self.response_timeout());
        let client_id = self.config.options.kafka.client_id.clone();
        let isolation_level = self.isolation();
        let Some(link) = self.ready_link(Role::Query(leader)) else { return };
        let number = link.conn().number;
        let Some(version) = link.version::<ListOffsetsRequest>().filter(|version| *version >= 1) else {
            return self.too_old(number, "ListOffsets");
        };
        let mut by_topic: BTreeMap<usize, Vec<ListOffsetsRequestPartition>> = BTreeMap::new();
        for &slot in slots {
            let partition = self.partitions.at(slot);
            let timestamp = match partition.stage() {
                Stage::Place(Spot::Latest | Spot::End(_)) => LATEST,
                // Below 0 are other questions.
                Stage::Place(Spot::Time(since) | Spot::TimeOrEnd(since, _)) => since.millis.max(0),
                _ => EARLIEST,
            };
            by_topic.entry(partition.topic).or_default().push(ListOffsetsRequestPartition {
                partition_index: partition.index,
                current_leader_epoch: partition.leader_epoch,
                timestamp,
            });
        }
        let topics = by_topic.into_iter().filter_map(|(topic, partitions)| {
            Some(ListOffsetsRequestTopic { name: self.cluster.topic(topic)?.text.clone(), partitions })
        });
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: if version >= 2 { isolation_level } else { 0 },
            topics: topics.collect(),
            ..Default::default()
        };
        let asked = self.asked(slots);
        let link = &mut self.links[usize::from(number)];
        link.send(now, &client_id, version, &request, Task::ListOffsets(asked), patience);
    }

    pub(super) fn isolation(&self) -> i8 {
        match self.config.options.kafka.isolation {
            _ if mutation::is(Mutation::IsolationNotAsked) => 0,
            Isolation::ReadUncommitted => 0,
            Isolation::ReadCommitted => 1,
        }
    }

    pub(super) fn on_offsets_listed(
        &mut self,
        asked: &[Asked],
        version: i16,
        frame: Bytes,
    ) -> Result<(), Error> {
        let response = read::<ListOffsetsRequest>(frame, version)?;
        let mut answers = BTreeMap::new();
        for topic in response.topics {
            let Some(at) = self.cluster.named(&topic.name) else { continue };
            for partition in topic.partitions {
                answers.insert((at, partition.partition_index), partition);
            }
        }
        for &Asked { slot, turn } in asked {
            if self.partitions.at(slot).turn != turn {
                continue;
            }
            let partition = self.partitions.at(slot);
            let (key, stage, stream) =
                ((partition.topic, partition.index), partition.stage(), partition.stream.clone());
            let Some(answer) = answers.get(&key) else {
                self.retry(slot);
                continue;
            };
            // Nothing is that late: what comes from the end on may be.
            let (offset, not_before) = match stage {
                Stage::Place(Spot::TimeOrEnd(since, end)) if answer.offset < 0 => {
                    (end, if since.strict { since.millis } else { i64::MIN })
                }
                _ => (answer.offset, i64::MIN),
            };
            match (ErrorCode(answer.error_code), stage) {
                (ErrorCode::NONE, Stage::Place(Spot::End(since))) if offset >= 0 => {
                    self.partitions.set(slot, Stage::Place(Spot::TimeOrEnd(since, offset)));
                }
                (ErrorCode::NONE, Stage::Place(Spot::Time(since))) if offset < 0 => {
                    self.partitions.set(slot, Stage::Place(Spot::End(since)));
                }
                (ErrorCode::NONE, _) if offset >= 0 => {
                    let partition = self.partitions.at_mut(slot);
                    partition.not_before = not_before;
                    // Without the epoch a log that is cut before anything was read goes unseen.
                    let epoch = if offset == answer.offset { answer.leader_epoch } else { -1 };
                    (partition.position, partition.position_epoch) = (offset, epoch);
                    partition.handed = offset;
                    self.partitions.set(slot, Stage::Fetching);
                    let partition = self.partitions.at(slot);
                    let begins = partition.committed < 0 || partition.lost.is_some();
                    if begins && self.acks() && stage != Stage::Place(Spot::Earliest) {
                        // The end, and what is so old, are somewhere else a little later: this is
                        // where the group begins from now on, whether or not anything comes, or is
                        // acked, while it has a member.
                        self.commit_position(slot, offset);
                    }
                    self.tell_repositioned(slot);
                    self.mend(slot);
                }
                (ErrorCode::NONE, _) => self.retry(slot),
                (code, _) => self.on_leader_error(slot, code, "ListOffsets", &stream),
            }
        }
        Ok(())
    }

    /// A leader refused to answer for a partition.
    pub(super) fn on_leader_error(
        &mut self,
        slot: Slot,
        code: ErrorCode,
        command: &'static str,
        stream: &StreamKey,
    ) {
        self.stats.broker_errors += 1;
        self.retry(slot);
        self.refresh_soon();
        if !code.is_retriable() {
            self.stall(slot, Reason::Error(fault::error_of(code, command, Some(stream))));
        }
    }

    fn ask_epoch_ends(&mut self, leader: i32, slots: &[Slot]) {
        let (now, patience) = (self.now, self.response_timeout());
        let client_id = self.config.options.kafka.client_id.clone();
        let Some(link) = self.ready_link(Role::Query(leader)) else { return };
        let number = link.conn().number;
        let Some(version) = link.version::<OffsetForLeaderEpochRequest>() else {
            // A broker that can't tell: what is fetched will show (before KIP-320).
            return slots.iter().for_each(|slot| self.partitions.set(*slot, Stage::Fetching));
        };
        let mut by_topic: BTreeMap<usize, Vec<OffsetForLeaderEpochRequestPartition>> = BTreeMap::new();
        for &slot in slots {
            let partition = self.partitions.at(slot);
            by_topic.entry(partition.topic).or_default().push(OffsetForLeaderEpochRequestPartition {
                partition: partition.index,
                current_leader_epoch: partition.leader_epoch,
                leader_epoch: partition.position_epoch,
            });
        }
        let topics = by_topic.into_iter().filter_map(|(topic, partitions)| {
            Some(OffsetForLeaderEpochRequestTopic {
                topic: self.cluster.topic(topic)?.text.clone(),
                partitions,
            })
        });
        let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: topics.collect() };
        let asked = self.asked(slots);
        let link = &mut self.links[usize::from(number)];
        link.send(now, &client_id, version, &request, Task::EpochEnds(asked), patience);
    }

    pub(super) fn on_epoch_ends(&mut self, asked: &[Asked], version: i16, frame: Bytes) -> Result<(), Error> {
        let response = read::<OffsetForLeaderEpochRequest>(frame, version)?;
        let mut answers = BTreeMap::new();
        for topic in response.topics {
            let Some(at) = self.cluster.named(&topic.topic) else { continue };
            for partition in topic.partitions {
                answers.insert((at, partition.partition), partition);
            }
        }
        for &Asked { slot, turn } in asked {
            if self.partitions.at(slot).turn != turn {
                continue;
            }
            let partition = self.partitions.at(slot);
            let (key, position, stream) =
                ((partition.topic, partition.index), partition.position, partition.stream.clone());
            let Some(answer) = answers.get(&key) else {
                self.retry(slot);
                continue;
            };
            match ErrorCode(answer.error_code) {
                ErrorCode::NONE if answer.end_offset >= position => {
                    self.partitions.set(slot, Stage::Fetching);
                    self.mend(slot);
                }
                ErrorCode::NONE => self.on_truncated(slot, answer.end_offset, answer.leader_epoch),
                code => self.on_leader_error(slot, code, "OffsetForLeaderEpoch", &stream),
            }
        }
        Ok(())
    }

    /// The log ends before our position: what was read there is gone (KIP-320).
    fn on_truncated(&mut self, slot: Slot, end: i64, epoch: i32) {
        let partition = self.partitions.at(slot);
        let (shard, position) = (partition.assignment(), partition.position);
        let words = format!("the log of {shard} was cut at {end}, before {position}");
        if self.config.options.kafka.reset == Some(Reset::None) {
            return self.fail(Error::Broker {
                command: "OffsetForLeaderEpoch",
                message: format!("{words}, and reset is none").into(),
            });
        }
        let error = Error::Broker { command: "OffsetForLeaderEpoch", message: words.into() };
        // What was fetched and not handed out is withdrawn, and a commit in the new epoch would pass
        // what the application has in hand of the old one: from the first of these on it comes again.
        let handed = self.partitions.at(slot).handed;
        let undone =
            self.buffer.ledger.first_in_flight(slot).map_or(handed, |seq| offset_of(seq).min(handed));
        match end {
            0.. => {
                self.relocate(slot, if undone < 0 { end } else { end.min(undone) }, Reason::Error(error));
                // Should the log be cut once more before anything comes, that is seen, too.
                self.partitions.at_mut(slot).position_epoch = epoch;
            }
            // The leader doesn't know the epoch at all.
            _ => self.on_lost_position(slot, Reason::Error(error)),
        }
    }

    /// Everything that is ours is read: told once.
    fn tell_ready(&mut self) {
        let settled = !self.is_member() || self.waits_for_topics() || self.membership.is_settled();
        let settled = settled && self.partitions.unsettled().is_empty();
        if self.phase == Phase::Starting {
            let known = self.cluster.answers > 0 && self.cluster.is_known(self.config.options.create);
            if known && settled {
                self.phase = Phase::Running;
                self.desk.notice(Notice::Ready);
            }
        }
        self.tell_unmatched(settled);
    }
}

/// Offsets as sequences.
pub(super) fn seq_of(offset: i64) -> SeqNo {
    SeqNo::offset(u64::try_from(offset).unwrap_or(0))
}

/// Sequences as offsets: those of another kind are cut.
pub(super) fn offset_of(seq: SeqNo) -> i64 {
    match seq.high() {
        0 => i64::try_from(seq.low()).unwrap_or(i64::MAX),
        _ => i64::MAX,
    }
}
