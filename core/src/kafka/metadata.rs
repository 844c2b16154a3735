//! Asking for metadata, and what follows from it: partitions that appear, leaders that move,
//! topics that are missing or are to be created.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::cluster::{Broker, Leader, Topic, TopicState};
use super::fault;
use super::links::{Role, read};
use super::machine::Machine;
use super::partitions::Stage;
use super::task::Task;
use super::wire::ErrorCode;
use super::wire::{
    CreateTopicsRequest, CreateTopicsRequestTopic, MetadataRequest, MetadataRequestTopic, MetadataResponse,
    MetadataResponseTopic,
};
use crate::ack::Slot;
use crate::delivery::{Notice, Reason};
use crate::desk::Phase;
use crate::error::Error;
use crate::mutation::{self, Mutation};
use crate::timer::Wake;

impl Machine {
    /// What is known may be out of date: asked again as soon as the backoff allows.
    pub(super) fn refresh_soon(&mut self) {
        if self.cluster.asked {
            self.cluster.again = true;
            return;
        }
        let at = self.cluster.backoff.next(self.now, &mut self.random);
        self.cluster.refresh_at = self.cluster.refresh_at.min(at);
    }

    pub(super) fn pump_metadata(&mut self) {
        let (now, patience) = (self.now, self.seed_timeout());
        let due = self.cluster.refresh_at <= now && !self.cluster.asked;
        if !due && self.cluster.answers > 0 && !self.coordinator.is_wanted() {
            return;
        }
        let client_id = self.config.options.kafka.client_id.clone();
        let name =
            |topic: &Topic| MetadataRequestTopic { name: Some(topic.text.clone()), ..Default::default() };
        let by_name = self.cluster.patterns.is_empty();
        let names = by_name.then(|| self.cluster.topics().iter().map(name).collect());
        let Some(link) = self.ready_link(Role::Seed) else { return };
        if !due {
            return;
        }
        let Some(version) = link.version::<MetadataRequest>() else {
            let number = link.conn().number;
            return self.too_old(number, "Metadata");
        };
        let request = MetadataRequest {
            // All of them, which version 0 says with an empty list.
            topics: names.or((version == 0).then(Vec::new)),
            // Default in the protocol is true, which creates what a consumer mistyped.
            allow_auto_topic_creation: version < 4,
            ..Default::default()
        };
        link.send(now, &client_id, version, &request, Task::Metadata, patience);
        self.cluster.asked = true;
        self.cluster.again = false;
    }

    pub(super) fn metadata_wake(&self) -> Option<Wake> {
        let link = self.roles.get(&Role::Seed).and_then(|number| self.links.get(usize::from(*number)));
        // Due, but for a connection that is on its way, or tried again later: that wakes us.
        let held = self.cluster.refresh_at <= self.now
            && link.is_some_and(|link| !link.is_ready() && (link.wanted || !link.is_down()));
        (!self.cluster.asked && !held).then_some(Wake { at: self.cluster.refresh_at, why: "metadata" })
    }

    pub(super) fn abandon_metadata(&mut self) {
        self.cluster.asked = false;
        self.cluster.refresh_at = self.now;
    }

    pub(super) fn on_metadata(&mut self, version: i16, frame: Bytes) -> Result<(), Error> {
        let response: MetadataResponse = read::<MetadataRequest>(frame, version)?;
        self.cluster.asked = false;
        self.cluster.answers += 1;
        let options = &self.config.options;
        self.cluster.refresh_at = self.now + options.kafka.metadata_age.min(options.discover_interval);
        if response.error_code != 0 {
            // Of version 13 on (KIP-1102): the broker doesn't know its cluster yet.
            self.refresh_soon();
            return Ok(());
        }
        self.on_brokers(&response);
        let mut unsure = false;
        let all = !self.cluster.patterns.is_empty();
        for topic in response.topics {
            if all {
                self.match_topic(&topic);
            }
            unsure |= self.on_topic(topic);
            if self.is_over() {
                return Ok(());
            }
        }
        // An answer without any broker comes from one that has just started.
        if all && !response.brokers.is_empty() {
            unsure |= self.miss_topics();
            if self.is_over() {
                return Ok(());
            }
            self.cluster.listed = true;
        }
        if unsure || std::mem::take(&mut self.cluster.again) {
            self.refresh_soon();
        } else {
            self.cluster.backoff.handle_success(self.now);
        }
        self.create_missing();
        self.select_partitions();
        self.membership.handle_metadata();
        Ok(())
    }

    fn on_brokers(&mut self, response: &MetadataResponse) {
        let known: BTreeMap<i32, Broker> = response
            .brokers
            .iter()
            .filter_map(|broker| {
                let endpoint = self.endpoint_named(&broker.host, broker.port)?;
                Some((broker.node_id, Broker { endpoint, rack: broker.rack.clone() }))
            })
            .collect();
        // An answer without any broker comes from one that has just started.
        if known.is_empty() {
            return;
        }
        let gone_or_moved: Vec<_> = self
            .cluster
            .brokers
            .iter()
            .filter(|(id, broker)| known.get(id).is_none_or(|now| now.endpoint != broker.endpoint))
            .map(|(id, _)| *id)
            .collect();
        self.cluster.brokers = known;
        for id in gone_or_moved {
            self.shut_link(Role::Query(id));
            self.shut_link(Role::Data(id));
            // Nothing would be heard of a connection that can't be made any more.
            self.leave_replica(id);
        }
    }

    /// Whether it has to be asked about again soon.
    pub(super) fn on_topic(&mut self, mut topic: MetadataResponseTopic) -> bool {
        // In whatever order a broker keeps them.
        topic.partitions.sort_by_key(|partition| partition.partition_index);
        let name = topic.name.as_deref().unwrap_or_default();
        let Some(at) = self.cluster.named(name) else { return false };
        let code = ErrorCode(topic.error_code);
        let stream = self.cluster.topic(at).map(|topic| topic.name.clone());
        let subscribed = self.cluster.topic(at).is_some_and(|topic| topic.subscribed);
        let (answers, now) = (self.cluster.answers, self.now);
        let Some(known) = self.cluster.topic_mut(at) else { return false };
        known.answered = answers;
        // Whatever is wrong with it: no name was given that an operator could be told about.
        let as_missing = known.matched && code != ErrorCode::NONE && !code.is_retriable();
        let code = if as_missing { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION } else { code };
        match code {
            ErrorCode::NONE => known.state = TopicState::Present,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => {
                let was = std::mem::replace(&mut known.state, TopicState::Missing);
                known.began.get_or_insert(0);
                if was != TopicState::Missing {
                    known.missing_since = now;
                }
                if known.matched {
                    return self.miss_matched(at);
                }
                let create = self.config.options.create;
                if self.phase == Phase::Starting && subscribed && !create && self.cluster.answers > 2 {
                    if let Some(stream) = stream {
                        self.fail(Error::StreamMissing { stream });
                    }
                } else if was == TopicState::Present {
                    self.tell_missing(at);
                }
                return true;
            }
            // For a moment there is no leader for some partition; the others are told.
            ErrorCode::LEADER_NOT_AVAILABLE => known.state = TopicState::Present,
            code if code.is_retriable() => return true,
            code => {
                let error = fault::error_of(code, "Metadata", stream.as_ref());
                known.state = TopicState::Refused(error.clone());
                if self.phase == Phase::Starting && subscribed {
                    self.fail(error);
                }
                return true;
            }
        }
        let another = self.cluster.set_id(at, topic.topic_id);
        let mut unsure = code != ErrorCode::NONE;
        for partition in topic.partitions {
            let Ok(index) = usize::try_from(partition.partition_index) else { continue };
            let leader = Leader {
                broker: (partition.leader_id >= 0).then_some(partition.leader_id),
                epoch: partition.leader_epoch,
                replicas: partition.replica_nodes,
            };
            unsure |= leader.broker.is_none_or(|broker| !self.cluster.brokers.contains_key(&broker));
            self.on_leader(at, index, leader, another);
        }
        if let Some(known) = self.cluster.topic_mut(at) {
            let count = known.leaders.len();
            known.began.get_or_insert(count);
        }
        unsure
    }

    fn tell_missing(&mut self, topic: usize) {
        let slots: Vec<_> = self
            .partitions
            .owned()
            .iter()
            .copied()
            .filter(|slot| self.partitions.at(*slot).topic == topic)
            .collect();
        for slot in slots {
            let stream = self.partitions.at(slot).stream.clone();
            self.stall(slot, Reason::Error(Error::StreamMissing { stream }));
        }
    }

    /// A partition has this leader, if what says so isn't older than what is known. `another`:
    /// the topic is another one than before.
    pub(super) fn on_leader(&mut self, topic: usize, index: usize, leader: Leader, another: bool) {
        let max = self.config.options.limits.shards_max;
        let before = self.cluster.topic(topic).and_then(|topic| topic.leaders.get(index));
        let older = before.is_some_and(|before| leader.epoch < before.epoch) && leader.epoch >= 0 && !another;
        if !older {
            self.end_doubt(topic, index);
        } else if !self.believes_older(topic, index) {
            return;
        }
        let Some(known) = self.cluster.topic_mut(topic) else { return };
        if index >= known.leaders.len() {
            // Partitions are numbered from 0 without gaps; an answer that counts otherwise is cut.
            if index >= max {
                return self.tell_too_many();
            }
            if index > known.leaders.len() {
                return;
            }
            known.leaders.push(leader.clone());
        } else if let Some(before) = known.leaders.get_mut(index) {
            let replicas = match leader.replicas.is_empty() {
                true => std::mem::take(&mut before.replicas),
                false => leader.replicas.clone(),
            };
            *before = Leader { replicas, ..leader.clone() };
        }
        if let Some(slot) = self.partitions.find(topic, index as i32) {
            self.lead(slot, &leader, another);
        }
    }

    /// The partition is led so from now on.
    pub(super) fn lead(&mut self, slot: Slot, leader: &Leader, another: bool) {
        let partition = self.partitions.at_mut(slot);
        let newer = leader.epoch > partition.leader_epoch;
        let moved = partition.leader != leader.broker;
        // Believed all the same.
        let older = leader.epoch >= 0 && leader.epoch < partition.leader_epoch;
        if !newer && !older && !moved && !another {
            return;
        }
        partition.leader = leader.broker;
        partition.leader_epoch = leader.epoch;
        if moved {
            partition.replica = None;
        }
        partition.retry_at = self.now;
        let position_epoch = partition.position_epoch;
        match partition.stage() {
            // What was read last may not be in the new leader's log (KIP-320).
            Stage::Fetching | Stage::Waiting if another => self.on_another_topic(slot),
            Stage::Fetching | Stage::Waiting
                if newer
                    && position_epoch >= 0
                    && position_epoch < leader.epoch
                    && !mutation::is(Mutation::LeaderEpochIgnored) =>
            {
                self.partitions.set(slot, Stage::Check);
            }
            Stage::Fetching => self.partitions.file(slot),
            Stage::Waiting => self.partitions.set(slot, Stage::Fetching),
            // Whom to ask changed.
            stage @ (Stage::Place(_) | Stage::Check) => self.partitions.set(slot, stage),
            Stage::Idle | Stage::Committed => {}
        }
    }

    /// Gives out the slot of a partition, with what is known of it.
    pub(super) fn partition(&mut self, topic: usize, index: i32) -> Option<Slot> {
        let stream = self.cluster.topic(topic)?.name.clone();
        let limits = &self.config.options.limits;
        let (max, bytes) = (limits.shards_max, self.config.options.kafka.partition_bytes_max as usize);
        let backoff = self.new_backoff();
        let slot = self.partitions.add(topic, &stream, index, max, backoff, bytes)?;
        if let Some(leader) = self.cluster.leader(topic, index).cloned() {
            let partition = self.partitions.at_mut(slot);
            if partition.stage() == Stage::Idle {
                (partition.leader, partition.leader_epoch) = (leader.broker, leader.epoch);
            }
        }
        Some(slot)
    }

    /// `create`: what is missing is made, as the broker's defaults have it.
    fn create_missing(&mut self) {
        if !self.config.options.create {
            return;
        }
        let missing: Vec<_> = self
            .cluster
            .topics()
            .iter()
            .enumerate()
            .filter(|(_, topic)| topic.is_named())
            .filter(|(_, topic)| topic.state == TopicState::Missing && !topic.created)
            .map(|(at, topic)| (at, topic.text.clone()))
            .collect();
        if missing.is_empty() {
            return;
        }
        let (now, patience) = (self.now, self.response_timeout());
        let client_id = self.config.options.kafka.client_id.clone();
        let Some(link) = self.ready_link(Role::Seed) else { return };
        // From version 4 on a broker has defaults for the counts (KIP-464).
        let Some(version) = link.version::<CreateTopicsRequest>().filter(|version| *version >= 4) else {
            return;
        };
        let topic = |(_, name): &(usize, String)| CreateTopicsRequestTopic {
            name: name.clone(),
            num_partitions: -1,
            replication_factor: -1,
            ..Default::default()
        };
        let request = CreateTopicsRequest {
            topics: missing.iter().map(topic).collect(),
            timeout_ms: i32::try_from(patience.as_millis() / 2).unwrap_or(i32::MAX),
            ..Default::default()
        };
        link.send(now, &client_id, version, &request, Task::CreateTopics, patience);
        for (at, _) in missing {
            if let Some(topic) = self.cluster.topic_mut(at) {
                topic.created = true;
            }
        }
    }

    pub(super) fn on_created(&mut self, version: i16, frame: Bytes) -> Result<(), Error> {
        let response = read::<CreateTopicsRequest>(frame, version)?;
        for topic in response.topics {
            let code = ErrorCode(topic.error_code);
            let Some(at) = self.cluster.named(&topic.name) else { continue };
            let Some(known) = self.cluster.topic_mut(at) else { continue };
            match code {
                ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS => {}
                code if code.is_retriable() => known.created = false,
                code => {
                    known.created = false;
                    let stream = known.name.clone();
                    let error = fault::error_of(code, "CreateTopics", Some(&stream));
                    if self.phase == Phase::Starting {
                        self.fail(error);
                        return Ok(());
                    }
                    self.desk.notice(Notice::Refused { command: "CreateTopics", error });
                }
            }
        }
        self.refresh_soon();
        Ok(())
    }
}
