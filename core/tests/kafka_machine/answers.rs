//! What the cluster answers to each request, all but Fetch.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::kafka::wire::*;

use super::model::{Cluster, Part, code};

/// What Kafka 4.3 says of itself, of the APIs that a consumer uses.
pub fn all_versions() -> BTreeMap<i16, (i16, i16)> {
    fn of<R: Request>() -> (i16, (i16, i16)) {
        (R::KEY, (*R::VERSIONS.start(), *R::VERSIONS.end()))
    }
    [
        of::<ApiVersionsRequest>(),
        of::<MetadataRequest>(),
        of::<FindCoordinatorRequest>(),
        of::<ListOffsetsRequest>(),
        of::<OffsetForLeaderEpochRequest>(),
        of::<FetchRequest>(),
        of::<OffsetCommitRequest>(),
        of::<OffsetFetchRequest>(),
        of::<JoinGroupRequest>(),
        of::<SyncGroupRequest>(),
        of::<HeartbeatRequest>(),
        of::<LeaveGroupRequest>(),
        of::<ConsumerGroupHeartbeatRequest>(),
    ]
    .into()
}

/// What a consumer speaks to.
pub fn host(node: i32) -> String {
    format!("b{node}")
}

pub const PORT: i32 = 9092;

impl Cluster {
    pub fn api_versions(&self) -> ApiVersionsResponse {
        let api_keys = self
            .versions
            .iter()
            .map(|(&api_key, &(min_version, max_version))| ApiVersionsResponseApiVersion {
                api_key,
                min_version,
                max_version,
            })
            .collect();
        ApiVersionsResponse { api_keys, ..Default::default() }
    }

    pub fn metadata(&self, version: i16, request: &MetadataRequest) -> MetadataResponse {
        let brokers = self
            .nodes
            .iter()
            .map(|&node_id| MetadataResponseBroker {
                node_id,
                host: host(node_id),
                port: PORT,
                rack: Some(format!("rack-{node_id}")),
            })
            .collect();
        let topic = |name: &str| {
            let Some(topic) = self.topics.get(name) else {
                return MetadataResponseTopic {
                    error_code: code::UNKNOWN_TOPIC_OR_PARTITION,
                    name: Some(name.to_owned()),
                    ..Default::default()
                };
            };
            let partitions = topic
                .parts
                .iter()
                .enumerate()
                .map(|(index, log)| MetadataResponsePartition {
                    partition_index: index as i32,
                    leader_id: log.leader,
                    leader_epoch: log.epoch,
                    replica_nodes: self.nodes.iter().copied().collect(),
                    isr_nodes: self.nodes.iter().copied().collect(),
                    ..Default::default()
                })
                .collect();
            MetadataResponseTopic {
                name: Some(name.to_owned()),
                topic_id: topic.id,
                is_internal: name == "__consumer_offsets",
                partitions,
                ..Default::default()
            }
        };
        let topics = match request.topics.as_ref().filter(|topics| version > 0 || !topics.is_empty()) {
            None => self.topics.keys().map(|name| topic(name)).collect(),
            Some(wanted) => {
                let asked = wanted.iter().map(|wanted| match &wanted.name {
                    Some(name) => topic(name),
                    None => match self.name_of("", wanted.topic_id) {
                        Some(name) => topic(&name),
                        None => MetadataResponseTopic {
                            error_code: code::UNKNOWN_TOPIC_ID,
                            topic_id: wanted.topic_id,
                            ..Default::default()
                        },
                    },
                });
                asked.collect()
            }
        };
        MetadataResponse { brokers, topics, controller_id: 1, ..Default::default() }
    }

    pub fn find_coordinator(
        &self,
        version: i16,
        request: &FindCoordinatorRequest,
    ) -> FindCoordinatorResponse {
        let node_id = self.coordinator;
        if version < 4 {
            return FindCoordinatorResponse {
                node_id,
                host: host(node_id),
                port: PORT,
                ..Default::default()
            };
        }
        let coordinators = request
            .coordinator_keys
            .iter()
            .map(|key| FindCoordinatorResponseCoordinator {
                key: key.clone(),
                node_id,
                host: host(node_id),
                port: PORT,
                ..Default::default()
            })
            .collect();
        FindCoordinatorResponse { coordinators, ..Default::default() }
    }

    pub fn list_offsets(&self, node: i32, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        let committed = request.isolation_level == 1;
        let topics = request
            .topics
            .iter()
            .map(|topic| ListOffsetsResponseTopic {
                name: topic.name.clone(),
                partitions: topic
                    .partitions
                    .iter()
                    .map(|asked| {
                        let mut answer = ListOffsetsResponsePartition {
                            partition_index: asked.partition_index,
                            ..Default::default()
                        };
                        let found =
                            self.led(node, &topic.name, asked.partition_index, asked.current_leader_epoch);
                        let log = match found {
                            Ok(log) => log,
                            Err(error_code) => return ListOffsetsResponsePartition { error_code, ..answer },
                        };
                        let after = |(_, stamp): &&(i64, i64)| *stamp >= asked.timestamp;
                        let stamps = || log.batches.iter().flat_map(|batch| &batch.stamps);
                        (answer.offset, answer.timestamp) = match asked.timestamp {
                            -1 => (log.readable(committed), -1),
                            -2 => (log.start, -1),
                            _ => stamps().find(after).copied().unwrap_or((-1, -1)),
                        };
                        answer.leader_epoch = if answer.offset < 0 { -1 } else { log.epoch };
                        answer
                    })
                    .collect(),
            })
            .collect();
        ListOffsetsResponse { topics, ..Default::default() }
    }

    /// The log, if this node leads it in this epoch (-1: whichever); else the error.
    pub fn led(&self, node: i32, topic: &str, index: i32, epoch: i32) -> Result<&super::model::Log, i16> {
        let log = self.find(topic, index).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        match epoch {
            _ if log.leader != node => Err(code::NOT_LEADER_OR_FOLLOWER),
            0.. if epoch < log.epoch => Err(code::FENCED_LEADER_EPOCH),
            0.. if epoch > log.epoch => Err(code::UNKNOWN_LEADER_EPOCH),
            _ => Ok(log),
        }
    }

    pub fn epoch_ends(
        &self,
        node: i32,
        request: &OffsetForLeaderEpochRequest,
    ) -> OffsetForLeaderEpochResponse {
        let end = |topic: &str, asked: &OffsetForLeaderEpochRequestPartition| {
            let partition = asked.partition;
            match self.led(node, topic, partition, asked.current_leader_epoch) {
                Ok(log) => {
                    let (leader_epoch, end_offset) = log.end_of_epoch(asked.leader_epoch);
                    OffsetForLeaderEpochResponseEpochEndOffset {
                        partition,
                        leader_epoch,
                        end_offset,
                        error_code: 0,
                    }
                }
                Err(error_code) => {
                    OffsetForLeaderEpochResponseEpochEndOffset { partition, error_code, ..Default::default() }
                }
            }
        };
        let topics = request
            .topics
            .iter()
            .map(|topic| OffsetForLeaderEpochResponseTopic {
                topic: topic.topic.clone(),
                partitions: topic.partitions.iter().map(|asked| end(&topic.topic, asked)).collect(),
            })
            .collect();
        OffsetForLeaderEpochResponse { topics, ..Default::default() }
    }

    pub fn commit(&mut self, request: &OffsetCommitRequest) -> OffsetCommitResponse {
        let group = &self.group;
        let (member, epoch) = (&request.member_id, request.generation_id_or_member_epoch);
        let newer = group.told.is_some();
        let error_code = match () {
            // Not a member: resumable.
            () if member.is_empty() && epoch < 0 => 0,
            () if *member != group.member => code::UNKNOWN_MEMBER_ID,
            () if newer && epoch != group.member_epoch => code::STALE_MEMBER_EPOCH,
            () if !newer && epoch != group.generation => code::ILLEGAL_GENERATION,
            // While members are joining, commits are taken still.
            () => 0,
        };
        let mut topics = Vec::new();
        for topic in &request.topics {
            let name = self.name_of(&topic.name, topic.topic_id);
            let mut partitions = Vec::new();
            for offset in &topic.partitions {
                let partition_index = offset.partition_index;
                let known = name.as_ref().filter(|name| self.find(name, partition_index).is_some());
                if let (0, Some(name)) = (error_code, known) {
                    let part = (name.clone(), partition_index);
                    self.group.commits.push((part.clone(), offset.committed_offset));
                    self.group
                        .committed
                        .insert(part, (offset.committed_offset, offset.committed_metadata.clone()));
                }
                let error_code = if known.is_none() { code::UNKNOWN_TOPIC_OR_PARTITION } else { error_code };
                partitions.push(OffsetCommitResponsePartition { partition_index, error_code });
            }
            topics.push(OffsetCommitResponseTopic {
                name: topic.name.clone(),
                topic_id: topic.topic_id,
                partitions,
            });
        }
        OffsetCommitResponse { topics, ..Default::default() }
    }

    pub fn committed(&self, version: i16, request: &OffsetFetchRequest) -> OffsetFetchResponse {
        let offset = |name: &str, index: i32| {
            self.group.committed.get(&(name.to_owned(), index)).cloned().unwrap_or((-1, Some(String::new())))
        };
        if version < 8 {
            let topics = request.topics.iter().flatten().map(|topic| OffsetFetchResponseTopic {
                name: topic.name.clone(),
                partitions: topic
                    .partition_indexes
                    .iter()
                    .map(|&partition_index| {
                        let (committed_offset, metadata) = offset(&topic.name, partition_index);
                        OffsetFetchResponsePartition {
                            partition_index,
                            committed_offset,
                            metadata,
                            ..Default::default()
                        }
                    })
                    .collect(),
            });
            return OffsetFetchResponse { topics: topics.collect(), ..Default::default() };
        }
        let groups = request
            .groups
            .iter()
            .map(|group| OffsetFetchResponseGroup {
                group_id: group.group_id.clone(),
                topics: group
                    .topics
                    .iter()
                    .flatten()
                    .map(|topic| {
                        let name = self.name_of(&topic.name, topic.topic_id).unwrap_or_default();
                        let partition = |&partition_index: &i32| {
                            let (committed_offset, metadata) = offset(&name, partition_index);
                            OffsetFetchResponsePartitions {
                                partition_index,
                                committed_offset,
                                metadata,
                                ..Default::default()
                            }
                        };
                        OffsetFetchResponseTopics {
                            name: topic.name.clone(),
                            topic_id: topic.topic_id,
                            partitions: topic.partition_indexes.iter().map(partition).collect(),
                        }
                    })
                    .collect(),
                error_code: 0,
            })
            .collect();
        OffsetFetchResponse { groups, ..Default::default() }
    }

    pub fn join(&mut self, version: i16, request: &JoinGroupRequest) -> JoinGroupResponse {
        let group = &mut self.group;
        if request.member_id.is_empty() && request.group_instance_id.is_none() && version >= 4 {
            group.member = format!("member-{}", group.generation + 1);
            return JoinGroupResponse {
                error_code: code::MEMBER_ID_REQUIRED,
                member_id: group.member.clone(),
                protocol_name: Some(String::new()),
                ..Default::default()
            };
        }
        if request.member_id.is_empty() {
            group.member = format!("member-{}", group.generation + 1);
        } else if request.member_id != group.member {
            return JoinGroupResponse {
                error_code: code::UNKNOWN_MEMBER_ID,
                protocol_name: Some(String::new()),
                ..Default::default()
            };
        }
        group.generation += 1;
        group.rebalancing = false;
        let protocol = request.protocols.first().cloned().unwrap_or_default();
        let leads = group.given.is_none();
        let us = JoinGroupResponseMember {
            member_id: group.member.clone(),
            group_instance_id: request.group_instance_id.clone().filter(|_| version >= 5),
            metadata: protocol.metadata,
        };
        let members =
            if leads { [us].into_iter().chain(group.others.iter().cloned()).collect() } else { vec![] };
        JoinGroupResponse {
            generation_id: group.generation,
            protocol_type: Some("consumer".into()),
            protocol_name: Some(protocol.name),
            leader: if leads { group.member.clone() } else { "other".into() },
            member_id: group.member.clone(),
            members,
            ..Default::default()
        }
    }

    pub fn sync(&mut self, request: &SyncGroupRequest) -> SyncGroupResponse {
        let error_code = self.classic_error(&request.member_id, request.generation_id);
        if error_code != 0 {
            return SyncGroupResponse { error_code, ..Default::default() };
        }
        let group = match self.group.given.clone() {
            Some(given) => {
                let assignment = write_embedded(1, &given).unwrap();
                return SyncGroupResponse { assignment, ..Default::default() };
            }
            None => &mut self.group,
        };
        group.synced = request.assignments.clone();
        let own = group.synced.iter().find(|one| one.member_id == group.member);
        let assignment = own.map(|own| own.assignment.clone()).unwrap_or_default();
        SyncGroupResponse {
            protocol_type: request.protocol_type.clone(),
            protocol_name: request.protocol_name.clone(),
            assignment,
            ..Default::default()
        }
    }

    fn classic_error(&self, member: &str, generation: i32) -> i16 {
        match () {
            () if member != self.group.member => code::UNKNOWN_MEMBER_ID,
            () if generation != self.group.generation => code::ILLEGAL_GENERATION,
            () if self.group.rebalancing => code::REBALANCE_IN_PROGRESS,
            () => 0,
        }
    }

    pub fn heartbeat(&self, request: &HeartbeatRequest) -> HeartbeatResponse {
        let error_code = self.classic_error(&request.member_id, request.generation_id);
        HeartbeatResponse { error_code, ..Default::default() }
    }

    pub fn leave(&mut self, version: i16, request: &LeaveGroupRequest) -> LeaveGroupResponse {
        self.group.member.clear();
        let members = request
            .members
            .iter()
            .filter(|_| version >= 3)
            .map(|member| LeaveGroupResponseMemberResponse {
                member_id: member.member_id.clone(),
                group_instance_id: member.group_instance_id.clone(),
                error_code: 0,
            })
            .collect();
        LeaveGroupResponse { members, ..Default::default() }
    }

    /// KIP-848: the coordinator's reconciliation with one member.
    pub fn group_heartbeat(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        let heartbeat_interval_ms = self.heartbeat_interval_ms;
        let named: Vec<Part> = request
            .topic_partitions
            .iter()
            .flatten()
            .flat_map(|topic| {
                let name = self.name_of("", topic.topic_id).unwrap_or_default();
                topic.partitions.iter().map(move |index| (name.clone(), *index))
            })
            .collect();
        if let Some(topics) = &request.subscribed_topic_names {
            self.group.topics.clone_from(topics);
        }
        if self.group.follows {
            let mut target = self.all_parts();
            target.retain(|(topic, _)| self.group.topics.contains(topic));
            if target != self.group.target {
                self.group.retarget(target);
            }
        }
        let group = &mut self.group;
        let epoch = request.member_epoch;
        let refused = |error_code| ConsumerGroupHeartbeatResponse { error_code, ..Default::default() };
        match epoch {
            ..0 => {
                group.told = None;
                group.member.clear();
                return ConsumerGroupHeartbeatResponse { member_epoch: epoch, ..Default::default() };
            }
            0 => {
                group.member = match request.member_id.is_empty() {
                    true => "given-by-broker".into(),
                    false => request.member_id.clone(),
                };
                (group.member_epoch, group.previous_epoch) = (group.epoch, group.epoch);
                group.assigned = group.target.clone();
                group.owned.clear();
                group.told = None;
            }
            _ if request.member_id != group.member => return refused(code::UNKNOWN_MEMBER_ID),
            _ if epoch == group.member_epoch || epoch == group.previous_epoch => {}
            _ => return refused(code::FENCED_MEMBER_EPOCH),
        }
        if request.topic_partitions.is_some() {
            group.owned = named.into_iter().collect();
        }
        if group.member_epoch < group.epoch {
            group.assigned = &group.assigned & &group.target;
            if group.owned.is_subset(&group.target) {
                group.assigned = group.target.clone();
                (group.previous_epoch, group.member_epoch) = (group.member_epoch, group.epoch);
            }
        }
        let tell = group.told.as_ref() != Some(&group.assigned) || request.topic_partitions.is_some();
        group.told = Some(group.assigned.clone());
        let (member, member_epoch) = (group.member.clone(), group.member_epoch);
        let assigned: BTreeSet<Part> = self.group.assigned.clone();
        let mut by_topic = BTreeMap::<Uuid, Vec<i32>>::new();
        for (topic, index) in &assigned {
            by_topic.entry(self.id_of(topic)).or_default().push(*index);
        }
        let topic_partitions = by_topic
            .into_iter()
            .map(|(topic_id, partitions)| ConsumerGroupHeartbeatResponseTopicPartitions {
                topic_id,
                partitions,
            })
            .collect();
        ConsumerGroupHeartbeatResponse {
            member_id: Some(member),
            member_epoch,
            heartbeat_interval_ms,
            assignment: tell.then_some(ConsumerGroupHeartbeatResponseAssignment { topic_partitions }),
            ..Default::default()
        }
    }
}
