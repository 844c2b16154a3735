//! Which partitions are ours, and from when to when: taken up, let go, and begun anew elsewhere.
//!
//! **Invariant:** a partition is owned from `Assigned` to `Revoked`, under one epoch, in which
//! sequences only grow: where a position goes back, a new epoch begins.

use super::cluster::TopicState;
use super::machine::Machine;
use super::partitions::{Spot, Stage};
use super::positions::{offset_of, seq_of};
use crate::ack::Slot;
use crate::delivery::{Delivery, Notice, Reason};
use crate::desk::Phase;
use crate::error::Error;
use crate::mutation::{self, Mutation};
use crate::options::Start;
use crate::stream::{Position, ShardId, StreamKey};

impl Machine {
    /// The partition is ours from now on; where it is to be read from is found out next. `fresh`:
    /// it appeared while we were reading, so all in it is new.
    pub(super) fn acquire(&mut self, slot: Slot, fresh: bool) {
        if self.partitions.at(slot).is_owned() {
            return;
        }
        let backoff = self.new_backoff();
        self.epoch = self.epoch.next();
        let (epoch, now) = (self.epoch, self.now);
        let (topic, index) = (self.partitions.at(slot).topic, self.partitions.at(slot).index);
        let leader = self.cluster.leader(topic, index).cloned();
        let partition = self.partitions.at_mut(slot);
        partition.epoch = epoch;
        partition.backoff = backoff;
        partition.retry_at = now;
        (partition.position, partition.position_epoch) = (0, -1);
        (partition.handed, partition.handed_epoch, partition.committed) = (-1, -1, -1);
        partition.said = (-1, -1);
        (partition.replica, partition.stalled, partition.lost) = (None, false, None);
        partition.not_before = i64::MIN;
        if let Some(leader) = leader {
            (partition.leader, partition.leader_epoch) = (leader.broker, leader.epoch);
        }
        let stage = match self.start {
            _ if self.has_group() => Stage::Committed,
            Start::From(Position::At(seq)) => {
                let partition = self.partitions.at_mut(slot);
                partition.position = offset_of(seq);
                partition.handed = partition.position;
                Stage::Fetching
            }
            Start::Default if fresh => Stage::Place(Spot::Earliest),
            _ => Stage::Place(self.first_spot().unwrap_or(Spot::Latest)),
        };
        self.partitions.set(slot, stage);
        self.announce(slot);
    }

    pub(super) fn announce(&mut self, slot: Slot) {
        let partition = self.partitions.at_mut(slot);
        partition.announced = true;
        let shard = partition.assignment();
        self.desk.notice(Notice::Assigned(shard.clone()));
        self.lane.put(Delivery::Assigned(shard));
    }

    /// The partition isn't ours any more: nothing of it is handed out from now on, and acks of
    /// what was are stale.
    pub(super) fn release(&mut self, slot: Slot) {
        if !self.partitions.at(slot).is_owned() {
            return;
        }
        if !mutation::is(Mutation::StaleEpochDelivered) {
            self.withdraw(slot);
        }
        // Of this assignment: in the next one it may be behind what others have committed, or ahead of
        // what they are done with.
        self.unacked_commits.remove(&slot);
        let acked = self.buffer.ledger.acked();
        if !mutation::is(Mutation::CommitAfterRevocation) {
            self.buffer.ledger.revoke(slot);
        }
        let messages = acked - self.buffer.ledger.acked();
        self.partitions.set(slot, Stage::Idle);
        let partition = self.partitions.at_mut(slot);
        let shard = partition.assignment();
        if messages > 0 {
            self.desk.notice(Notice::Uncommitted { shard: shard.clone(), messages });
        }
        if std::mem::replace(&mut partition.announced, false) {
            self.desk.notice(Notice::Revoked(shard.clone()));
            self.lane.put(Delivery::Revoked(shard));
        }
    }

    /// Reading goes on somewhere else in the same partition: a new epoch, as sequences only grow
    /// within one.
    pub(super) fn relocate(&mut self, slot: Slot, to: i64, reason: Reason) {
        self.begin_elsewhere(slot, to, reason);
        self.tell_repositioned(slot);
        self.mend(slot);
    }

    fn begin_elsewhere(&mut self, slot: Slot, to: i64, reason: Reason) {
        let from = self.partitions.at(slot).position;
        let stalled = self.partitions.at(slot).stalled;
        self.release(slot);
        self.epoch = self.epoch.next();
        let epoch = self.epoch;
        let partition = self.partitions.at_mut(slot);
        partition.epoch = epoch;
        (partition.position, partition.position_epoch) = (to, -1);
        (partition.handed, partition.handed_epoch) = (to, -1);
        partition.said = (-1, -1);
        partition.stalled = stalled;
        // Lost again before it was found: what was read last is what counts.
        partition.lost.get_or_insert((from, reason));
        self.partitions.set(slot, Stage::Fetching);
        self.announce(slot);
    }

    /// The operator is told where reading goes on, once that is known.
    pub(super) fn tell_repositioned(&mut self, slot: Slot) {
        let partition = self.partitions.at_mut(slot);
        if let Some((from, reason)) = partition.lost.take() {
            let (shard, to) = (partition.assignment(), seq_of(partition.position));
            self.desk.notice(Notice::Repositioned { shard, from: seq_of(from), to, reason });
        }
    }

    /// Without a group's word: the partitions of all topics that are subscribed, or those that
    /// were selected.
    pub(super) fn select_partitions(&mut self) {
        if self.is_member() || self.moving.is_some() || self.phase == Phase::Closing {
            return;
        }
        self.acquire_selected();
    }

    pub(super) fn acquire_selected(&mut self) {
        if self.phase == Phase::Starting
            && let Some(error) = self.missing_selected()
        {
            return self.fail(error);
        }
        for topic in 0..self.cluster.topics().len() {
            let Some(known) = self.cluster.topic(topic).filter(|topic| topic.subscribed) else { continue };
            let (count, began, name) = (known.leaders.len(), known.began, known.name.clone());
            for index in 0..count {
                let shard = ShardId::new(index as u64);
                let chosen = self.selected.is_empty() || self.selected.contains(&(name.clone(), shard));
                if !chosen || (self.first_only && shard != ShardId::ZERO) {
                    continue;
                }
                let fresh = began.is_some_and(|began| index >= began);
                match self.partition(topic, index as i32) {
                    Some(slot) => self.acquire(slot, fresh),
                    None => return self.tell_too_many(),
                }
            }
        }
    }

    /// A partition that was asked for by number, of a topic that has fewer.
    fn missing_selected(&self) -> Option<Error> {
        let missing = |(stream, shard): &&(StreamKey, ShardId)| {
            let topic = self.cluster.topics().iter().find(|topic| topic.name == *stream);
            topic.is_some_and(|topic| {
                topic.state == TopicState::Present && shard.number() >= topic.leaders.len() as u64
            })
        };
        let (stream, shard) = self.selected.iter().find(missing)?;
        let topic = self.cluster.topics().iter().find(|topic| topic.name == *stream)?;
        let count = topic.leaders.len();
        let words = format!("{stream} has no partition {shard}: it has {count}, numbered from 0");
        Some(Error::Options(words.into()))
    }

    pub(super) fn tell_too_many(&mut self) {
        let words = "more partitions than limits.shards_max allows: the rest is not read";
        let reason = Reason::Error(Error::Options(words.into()));
        if !std::mem::replace(&mut self.too_many_said, true) {
            self.desk.notice(Notice::Stalled { shard: None, reason });
        }
    }

    /// The position isn't in the log: the reset policy says where to go on.
    pub(super) fn on_lost_position(&mut self, slot: Slot, reason: Reason) {
        let spot = match self.config.options.kafka.reset {
            _ if mutation::is(Mutation::OutOfRangeToTheEnd) => Some(Spot::Latest),
            Some(reset) => self.spot_of(reset),
            None => Some(Spot::Earliest),
        };
        let Some(spot) = spot else {
            let shard = self.partitions.at(slot).assignment();
            let at = self.partitions.at(slot).position;
            let words = format!(
                "offset {at} of {shard} is out of range, and reset is none: rewind, or choose earliest or latest"
            );
            return self.fail(Error::Options(words.into()));
        };
        let from = self.partitions.at(slot).position;
        self.begin_elsewhere(slot, from, reason);
        self.partitions.set(slot, Stage::Place(spot));
        // At once the first time; a broker whose answers contradict each other is asked less and less.
        self.retry(slot);
    }

    /// The topic was deleted and made again under the same name: all that is in it is new.
    pub(super) fn on_another_topic(&mut self, slot: Slot) {
        let from = self.partitions.at(slot).position;
        let words = format!("{} is another topic than before", self.partitions.at(slot).stream);
        self.begin_elsewhere(
            slot,
            from,
            Reason::Error(Error::Broker { command: "Metadata", message: words.into() }),
        );
        self.partitions.set(slot, Stage::Place(Spot::Earliest));
    }
}
