//! What groups have committed: OffsetCommit and OffsetFetch.

use std::collections::BTreeMap;

use tidegate_core::SeqNo;
use tidegate_core::kafka::wire::{
    ErrorCode, OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic, OffsetFetchRequest, OffsetFetchRequestGroup,
    OffsetFetchRequestTopics, OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics, Uuid,
};

use super::consumer::Spot;
use super::{Coordinator, Group};
use crate::broker::{Fact, PeerId};
use crate::kafka::{Config, Kafka};
use tidegate_core::Instant;

/// An offset that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    /// The record to go on with.
    pub(super) offset: i64,
    /// Of the record before it; -1: not known.
    leader_epoch: i32,
    metadata: String,
}

/// What a group has committed, by topic and partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Offsets(BTreeMap<String, BTreeMap<i32, Committed>>);

impl Offsets {
    pub(super) fn get(&self, name: &str, index: i32) -> Option<&Committed> {
        self.0.get(name)?.get(&index)
    }

    fn put(&mut self, name: &str, index: i32, committed: Committed) {
        self.0.entry(name.to_owned()).or_default().insert(index, committed);
    }
}

impl Kafka {
    /// A topic is gone: what was committed for it is, too.
    pub(in crate::kafka) fn forget_offsets(&mut self, name: &str) {
        let mut gone = Vec::new();
        for entry in self.coordinator.groups.values_mut() {
            gone.extend(entry.offsets.0.remove(name).into_iter().flatten().map(|(index, _)| index));
        }
        for index in gone {
            if let Some(shard) = self.shard_of(name, index) {
                self.facts.push(Fact::SetBack { shard });
            }
        }
    }

    pub(super) fn commit(
        &mut self,
        peer: PeerId,
        node: i32,
        request: &OffsetCommitRequest,
        version: i16,
    ) -> OffsetCommitResponse {
        let by_id = version >= 10;
        let mut answers = Answers { by_id, topics: Vec::new() };
        let mut wanted = Vec::new();
        for topic in &request.topics {
            let id = if by_id { topic.topic_id } else { Uuid::ZERO };
            let known = self.topics.name_of(id, &topic.name).map(str::to_owned);
            let unknown =
                if by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
            for partition in &topic.partitions {
                let index = partition.partition_index;
                match &known {
                    None => answers.add(id, &topic.name, index, unknown),
                    Some(name) if self.topics.partition(name, index).is_none() => {
                        answers.add(id, name, index, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
                    }
                    Some(name) => wanted.push((id, name.clone(), partition)),
                }
            }
        }
        // Nothing is left to commit: the coordinator isn't asked.
        let allowed = match wanted.is_empty() {
            true => Ok(()),
            false => {
                let fits = wanted.iter().filter(|(.., one)| self.metadata_fits(one));
                let spots = fits.map(|(_, name, one)| (self.topics.id_of(name), one.partition_index));
                let spots: Vec<Spot> = spots.collect();
                self.coordinator.may_commit(self.now, &self.config, node, request, version, &spots)
            }
        };
        for (id, name, partition) in wanted {
            let result = allowed.and_then(|()| self.keep(peer, request, &name, partition));
            answers.add(id, &name, partition.partition_index, result.err().unwrap_or(ErrorCode::NONE));
        }
        OffsetCommitResponse { topics: answers.topics, ..Default::default() }
    }

    fn metadata_fits(&self, partition: &OffsetCommitRequestPartition) -> bool {
        let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
        metadata.encode_utf16().count() <= self.config.offset_metadata_max
    }

    /// Keeps an offset, and tells it.
    fn keep(
        &mut self,
        peer: PeerId,
        request: &OffsetCommitRequest,
        name: &str,
        partition: &OffsetCommitRequestPartition,
    ) -> Result<(), ErrorCode> {
        if !self.metadata_fits(partition) {
            return Err(ErrorCode::OFFSET_METADATA_TOO_LARGE);
        }
        let metadata = partition.committed_metadata.clone().unwrap_or_default();
        let (index, offset) = (partition.partition_index, partition.committed_offset);
        let entry =
            self.coordinator.groups.get_mut(&request.group_id).ok_or(ErrorCode::GROUP_ID_NOT_FOUND)?;
        let leader_epoch = partition.committed_leader_epoch;
        entry.offsets.put(name, index, Committed { offset, leader_epoch, metadata });
        if let (Some(shard), Ok(next)) = (self.shard_of(name, index), u64::try_from(offset)) {
            self.facts.push(Fact::CommittedTo {
                shard,
                next: SeqNo::offset(next),
                group: request.group_id.clone().into(),
                member: request.member_id.clone().into(),
                epoch: request.generation_id_or_member_epoch,
                peer,
            });
        }
        Ok(())
    }

    pub(super) fn fetch_offsets(
        &mut self,
        node: i32,
        request: OffsetFetchRequest,
        version: i16,
    ) -> OffsetFetchResponse {
        if version >= 8 {
            let groups = request.groups.iter().map(|group| self.fetch_group(node, group, version));
            return OffsetFetchResponse { groups: groups.collect(), ..Default::default() };
        }
        let topics = request.topics.map(|topics| {
            topics
                .into_iter()
                .map(|topic| OffsetFetchRequestTopics {
                    name: topic.name,
                    partition_indexes: topic.partition_indexes,
                    ..Default::default()
                })
                .collect()
        });
        let group = OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() };
        let group = self.fetch_group(node, &group, version);
        let partition = |one: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
            partition_index: one.partition_index,
            committed_offset: one.committed_offset,
            committed_leader_epoch: one.committed_leader_epoch,
            metadata: one.metadata,
            error_code: one.error_code,
        };
        let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
            name: topic.name,
            partitions: topic.partitions.into_iter().map(partition).collect(),
        });
        let error_code = group.error_code;
        OffsetFetchResponse { topics: topics.collect(), error_code, ..Default::default() }
    }

    fn fetch_group(
        &self,
        node: i32,
        request: &OffsetFetchRequestGroup,
        version: i16,
    ) -> OffsetFetchResponseGroup {
        let group_id = request.group_id.clone();
        if let Err(error) = self.coordinator.may_fetch(self.now, node, request) {
            return match &request.topics {
                // Version 1 has no other place for it.
                Some(topics) if version < 2 => {
                    let topics = topics.iter().map(|topic| refused(topic, error)).collect();
                    OffsetFetchResponseGroup { group_id, topics, ..Default::default() }
                }
                _ => OffsetFetchResponseGroup { group_id, error_code: error.0, ..Default::default() },
            };
        }
        let none = Offsets::default();
        let offsets = self.coordinator.groups.get(&group_id).map_or(&none, |entry| &entry.offsets);
        let by_id = version >= 10;
        let (mut topics, mut unknown) = (Vec::new(), Vec::new());
        let Some(asked) = &request.topics else {
            topics.extend(offsets.0.iter().map(|(name, partitions)| OffsetFetchResponseTopics {
                name: name.clone(),
                topic_id: self.topics.id_of(name),
                partitions: partitions.iter().map(|(index, one)| found(*index, Some(one))).collect(),
            }));
            return OffsetFetchResponseGroup { group_id, topics, ..Default::default() };
        };
        for topic in asked {
            let name = match by_id {
                true => self.topics.name_of(topic.topic_id, ""),
                false => Some(topic.name.as_str()),
            };
            let Some(name) = name else {
                unknown.push(refused(topic, ErrorCode::UNKNOWN_TOPIC_ID));
                continue;
            };
            let partition = |index: &i32| found(*index, offsets.get(name, *index));
            topics.push(OffsetFetchResponseTopics {
                name: name.to_owned(),
                topic_id: topic.topic_id,
                partitions: topic.partition_indexes.iter().map(partition).collect(),
            });
        }
        topics.append(&mut unknown);
        OffsetFetchResponseGroup { group_id, topics, ..Default::default() }
    }
}

impl Coordinator {
    /// Whether the group takes this commit. One from outside makes the group, if there is none.
    fn may_commit(
        &mut self,
        now: Instant,
        config: &Config,
        node: i32,
        request: &OffsetCommitRequest,
        version: i16,
        spots: &[Spot],
    ) -> Result<(), ErrorCode> {
        let (id, epoch) = (&request.group_id, request.generation_id_or_member_epoch);
        self.ready(now, node, id)?;
        if !self.groups.contains_key(id) {
            match epoch {
                ..0 => self.create(id),
                // Who speaks an older version doesn't know the newer error.
                _ if version < 9 => return Err(ErrorCode::ILLEGAL_GENERATION),
                _ => return Err(ErrorCode::GROUP_ID_NOT_FOUND),
            }
        }
        let (member, instance) = (&request.member_id, request.group_instance_id.as_deref());
        let allowed = self.with(now, config, id, |entry, scope| match &mut entry.group {
            Group::Classic(group) => group.may_commit(scope, member, instance, epoch),
            Group::Consumer(group) => group.may_commit(member, epoch, version, spots.iter().copied()),
        });
        allowed.unwrap_or(Err(ErrorCode::GROUP_ID_NOT_FOUND))
    }

    /// Whether the group tells its offsets; one that isn't there has none.
    fn may_fetch(&self, now: Instant, node: i32, request: &OffsetFetchRequestGroup) -> Result<(), ErrorCode> {
        self.ready(now, node, &request.group_id)?;
        match self.groups.get(&request.group_id).map(|entry| &entry.group) {
            None | Some(Group::Classic(_)) => Ok(()),
            Some(Group::Consumer(group)) => {
                group.may_fetch_offsets(request.member_id.as_deref(), request.member_epoch)
            }
        }
    }
}

/// What becomes of each partition, by topic.
struct Answers {
    by_id: bool,
    topics: Vec<OffsetCommitResponseTopic>,
}

impl Answers {
    fn add(&mut self, topic_id: Uuid, name: &str, partition_index: i32, error: ErrorCode) {
        let one = OffsetCommitResponsePartition { partition_index, error_code: error.0 };
        let same = |topic: &&mut OffsetCommitResponseTopic| match self.by_id {
            true => topic.topic_id == topic_id,
            false => topic.name == name,
        };
        match self.topics.iter_mut().find(same) {
            Some(topic) => topic.partitions.push(one),
            None => {
                let name = name.to_owned();
                self.topics.push(OffsetCommitResponseTopic { name, topic_id, partitions: vec![one] });
            }
        }
    }
}

/// A partition's answer: what is committed, or that nothing is.
fn found(partition_index: i32, committed: Option<&Committed>) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: committed.map_or(-1, |one| one.offset),
        committed_leader_epoch: committed.map_or(-1, |one| one.leader_epoch),
        metadata: Some(committed.map_or(String::new(), |one| one.metadata.clone())),
        error_code: 0,
    }
}

/// The answer for each partition of a topic that can't be asked about.
fn refused(topic: &OffsetFetchRequestTopics, error: ErrorCode) -> OffsetFetchResponseTopics {
    let partition =
        |index: &i32| OffsetFetchResponsePartitions { error_code: error.0, ..found(*index, None) };
    OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(partition).collect(),
    }
}
