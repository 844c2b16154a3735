//! Each request to its answer.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use tidegate_core::kafka::is_topic_name;
use tidegate_core::kafka::wire::{
    ApiVersionsRequest, ApiVersionsResponse, ApiVersionsResponseApiVersion, ConsumerGroupHeartbeatRequest,
    CreateTopicsRequest, CreateTopicsResponse, CreateTopicsResponseTopic, ErrorCode, FetchRequest,
    FetchResponse, FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest, InitProducerIdResponse,
    JoinGroupRequest, LeaveGroupRequest, ListOffsetsRequest, ListOffsetsRequestPartition,
    ListOffsetsResponse, ListOffsetsResponsePartition, ListOffsetsResponseTopic, MetadataRequest,
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    OffsetCommitRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochRequestPartition, OffsetForLeaderEpochResponse,
    OffsetForLeaderEpochResponseEpochEndOffset, OffsetForLeaderEpochResponseTopic, ProduceRequest,
    ProduceResponse, ProduceResponsePartition, ProduceResponseTopic, Request, SyncGroupRequest, Uuid,
    api_key, read_request, request_header,
};

use super::Kafka;
use super::fetch::Reading;
use super::outcome::Outcome;
use super::peer::{Head, Parked};
use super::sessions::Sessions;
use super::throttle::HeldUp;
use crate::broker::{Fact, PeerId};

/// What is answered, and in which versions.
const APIS: &[(i16, RangeInclusive<i16>)] = &[
    // Kafka 4 says so for the sake of librdkafka, and refuses the versions before 3 (KAFKA-18659).
    (ProduceRequest::KEY, 0..=13),
    (FetchRequest::KEY, 4..=18),
    (ListOffsetsRequest::KEY, 1..=10),
    (MetadataRequest::KEY, 0..=13),
    (ApiVersionsRequest::KEY, 0..=4),
    (CreateTopicsRequest::KEY, 2..=7),
    (OffsetForLeaderEpochRequest::KEY, 2..=4),
    (OffsetCommitRequest::KEY, 2..=10),
    (OffsetFetchRequest::KEY, 1..=10),
    (FindCoordinatorRequest::KEY, 0..=6),
    (JoinGroupRequest::KEY, 0..=9),
    (HeartbeatRequest::KEY, 0..=4),
    (LeaveGroupRequest::KEY, 0..=5),
    (SyncGroupRequest::KEY, 0..=5),
    // Version 6 isn't stable in 4.3.
    (InitProducerIdRequest::KEY, 0..=5),
    (ConsumerGroupHeartbeatRequest::KEY, 0..=1),
];

/// Timestamps that ask for something else than a time.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;

impl Kafka {
    /// Answers a request, or parks it. False: it is none that this broker knows.
    pub(super) fn serve(&mut self, peer: PeerId, node: i32, frame: Bytes) -> bool {
        let Ok(header) = request_header(&frame) else { return false };
        let (key, version) = (header.request_api_key, header.request_api_version);
        let head = Head { correlation: header.correlation_id, version };
        if key == ApiVersionsRequest::KEY {
            self.on_api_versions(peer, node, head);
            return true;
        }
        if !self.versions(node).any(|(api, versions)| api == key && versions.contains(&version)) {
            return false;
        }
        match key {
            ProduceRequest::KEY => self.on_produce(peer, node, head, frame),
            FetchRequest::KEY => self.on_fetch(peer, node, head, frame),
            ListOffsetsRequest::KEY => {
                self.answer::<ListOffsetsRequest>(peer, head, frame, |kafka, request| {
                    kafka.offsets(node, &request, head.version)
                })
            }
            MetadataRequest::KEY => self.answer::<MetadataRequest>(peer, head, frame, |kafka, request| {
                kafka.metadata(&request, head.version)
            }),
            CreateTopicsRequest::KEY => {
                self.answer::<CreateTopicsRequest>(peer, head, frame, |kafka, request| kafka.create(&request))
            }
            OffsetForLeaderEpochRequest::KEY => {
                self.answer::<OffsetForLeaderEpochRequest>(peer, head, frame, |kafka, request| {
                    kafka.epoch_ends(node, &request)
                })
            }
            InitProducerIdRequest::KEY => {
                self.answer::<InitProducerIdRequest>(peer, head, frame, |kafka, request| {
                    kafka.init_producer(&request)
                })
            }
            _ => self.serve_group(peer, node, key, head, frame),
        }
    }

    pub(super) fn answer<R: Request>(
        &mut self,
        peer: PeerId,
        head: Head,
        frame: Bytes,
        answer: impl FnOnce(&mut Self, R) -> R::Response,
    ) -> bool
    where
        R::Response: Outcome + HeldUp,
    {
        let Ok((_, request)) = read_request::<R>(frame) else { return false };
        let response = answer(self, request);
        self.reply::<R>(peer, head, &response);
        true
    }

    /// Answers, and tells that it did.
    pub(super) fn reply<R: Request>(&mut self, id: PeerId, head: Head, response: &R::Response)
    where
        R::Response: Outcome + HeldUp,
    {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.answer::<R>(head, response);
        }
        self.tell_commanded(id, R::KEY, response.error());
    }

    fn tell_commanded(&mut self, peer: PeerId, key: i16, error: ErrorCode) {
        if !self.watched.is_empty() {
            let name = api_key::name_of(key).unwrap_or("unknown");
            let refused = (!error.is_none()).then(|| error.name());
            self.facts.push(Fact::Commanded { peer, name, refused });
        }
    }

    /// What a broker answers, and in which versions.
    fn versions(&self, node: i32) -> impl Iterator<Item = (i16, RangeInclusive<i16>)> + use<> {
        let release = self.nodes.release(node);
        APIS.iter().filter_map(move |(key, all)| Some((*key, release.versions(*key, all)?)))
    }

    fn on_api_versions(&mut self, peer: PeerId, node: i32, head: Head) {
        let api_keys = self.versions(node).map(|(api_key, versions)| ApiVersionsResponseApiVersion {
            api_key,
            min_version: *versions.start(),
            max_version: *versions.end(),
        });
        let mut response = ApiVersionsResponse { api_keys: api_keys.collect(), ..Default::default() };
        let mut head = head;
        let own = response.api_keys.iter().find(|api| api.api_key == ApiVersionsRequest::KEY).cloned();
        if !own.iter().any(|own| (own.min_version..=own.max_version).contains(&head.version)) {
            // In version 0, whatever was asked, and with nothing but what it could be (KIP-511).
            (head.version, response.error_code) = (0, ErrorCode::UNSUPPORTED_VERSION.0);
            response.api_keys = own.into_iter().collect();
        }
        self.reply::<ApiVersionsRequest>(peer, head, &response);
    }

    fn metadata(&mut self, request: &MetadataRequest, version: i16) -> MetadataResponse {
        let broker = |id: i32| {
            let (host, port) = self.nodes.address(id)?;
            Some(MetadataResponseBroker { node_id: id, host, port, rack: self.nodes.rack(id) })
        };
        let brokers = self.nodes.all().into_iter().filter_map(broker).collect();
        // An empty list is all topics in version 0 only.
        let all = request.topics.as_ref().is_none_or(|topics| version == 0 && topics.is_empty());
        let topics = match (&request.topics, all) {
            (Some(topics), false) => topics
                .iter()
                .map(|topic| {
                    let name = topic.name.as_deref().unwrap_or_default();
                    self.describe(name, topic.topic_id, request.allow_auto_topic_creation || version < 4)
                })
                .collect(),
            _ => {
                let names: Vec<String> = self.topics.names().cloned().collect();
                names.iter().map(|name| self.describe(name, Uuid::ZERO, false)).collect()
            }
        };
        MetadataResponse {
            brokers,
            cluster_id: Some("tidegate-model".into()),
            controller_id: self.nodes.alive().first().copied().unwrap_or(-1),
            topics,
            ..Default::default()
        }
    }

    fn describe(&mut self, name: &str, id: Uuid, create: bool) -> MetadataResponseTopic {
        if create && id == Uuid::ZERO && is_topic_name(name.as_bytes()) {
            self.create_topic(name, self.config.partitions);
        }
        let Some(known) = self.topics.name_of(id, name).map(str::to_owned) else {
            let error = match id {
                Uuid::ZERO if !is_topic_name(name.as_bytes()) => ErrorCode::INVALID_TOPIC_EXCEPTION,
                Uuid::ZERO => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                _ => ErrorCode::UNKNOWN_TOPIC_ID,
            };
            let name = (id == Uuid::ZERO).then(|| name.to_owned());
            return MetadataResponseTopic { error_code: error.0, name, topic_id: id, ..Default::default() };
        };
        let partitions = self.topics.get(&known).map(|topic| {
            let all = (0..).zip(&topic.partitions).map(|(partition_index, partition)| {
                let alive = |id: &&i32| self.nodes.is_alive(**id);
                let in_sync = |id: &&i32| alive(id) && partition.is_in_sync(**id);
                let none = ErrorCode::LEADER_NOT_AVAILABLE.0;
                MetadataResponsePartition {
                    error_code: if partition.leader.is_none() { none } else { 0 },
                    partition_index,
                    leader_id: partition.leader.unwrap_or(-1),
                    leader_epoch: partition.epoch,
                    replica_nodes: partition.replicas.clone(),
                    isr_nodes: partition.replicas.iter().filter(in_sync).copied().collect(),
                    offline_replicas: partition.replicas.iter().filter(|id| !alive(id)).copied().collect(),
                }
            });
            all.collect()
        });
        MetadataResponseTopic {
            topic_id: self.topics.id_of(&known),
            name: Some(known),
            partitions: partitions.unwrap_or_default(),
            ..Default::default()
        }
    }

    fn create(&mut self, request: &CreateTopicsRequest) -> CreateTopicsResponse {
        let mut topics = Vec::new();
        for topic in &request.topics {
            let count = if topic.num_partitions < 0 { self.config.partitions } else { topic.num_partitions };
            let error = match () {
                () if !is_topic_name(topic.name.as_bytes()) => ErrorCode::INVALID_TOPIC_EXCEPTION,
                () if self.topics.get(&topic.name).is_some() => ErrorCode::TOPIC_ALREADY_EXISTS,
                () if !(1..=PARTITIONS_MAX).contains(&count) => ErrorCode::INVALID_PARTITIONS,
                () => ErrorCode::NONE,
            };
            if error == ErrorCode::NONE && !request.validate_only {
                self.create_topic(&topic.name, count);
                let kind = topic.configs.iter().find(|config| config.name == "message.timestamp.type");
                let stamped = kind.and_then(|config| config.value.as_deref()) == Some("LogAppendTime");
                self.stamp_on_append(&topic.name, stamped);
            }
            topics.push(CreateTopicsResponseTopic {
                name: topic.name.clone(),
                topic_id: self.topics.id_of(&topic.name),
                error_code: error.0,
                error_message: (error != ErrorCode::NONE).then(|| error.to_string()),
                num_partitions: count,
                replication_factor: i16::try_from(self.config.replicas).unwrap_or(1),
                configs: Some(Vec::new()),
                ..Default::default()
            });
        }
        CreateTopicsResponse { topics, ..Default::default() }
    }

    /// A producer id that nobody has. There are no transactions, so nobody may begin one.
    fn init_producer(&mut self, request: &InitProducerIdRequest) -> InitProducerIdResponse {
        if request.transactional_id.is_some() {
            let error_code = ErrorCode::INVALID_REQUEST.0;
            return InitProducerIdResponse { error_code, producer_epoch: -1, ..Default::default() };
        }
        let producer_id = self.producers;
        self.producers += 1;
        InitProducerIdResponse { producer_id, ..Default::default() }
    }

    fn on_produce(&mut self, peer: PeerId, node: i32, head: Head, frame: Bytes) -> bool {
        let Ok((_, request)) = read_request::<ProduceRequest>(frame) else { return false };
        let acks = request.acks;
        let mut responses = Vec::new();
        for topic in request.topic_data {
            let known = self.topics.name_of(topic.topic_id, &topic.name).map(str::to_owned);
            let mut partition_responses = Vec::new();
            for data in topic.partition_data {
                let name = known.as_deref().unwrap_or_default();
                let mut answer = ProduceResponsePartition { index: data.index, ..Default::default() };
                match self.write(node, name, data.index, data.records.unwrap_or_default()) {
                    Ok((base, start)) => {
                        (answer.base_offset, answer.log_start_offset) = (base, start);
                        if self.topics.get(name).is_some_and(|topic| topic.stamped) {
                            answer.log_append_time_ms = self.wall_clock(self.now);
                        }
                    }
                    Err(error) => (answer.error_code, answer.base_offset) = (error.0, -1),
                }
                partition_responses.push(answer);
            }
            let (name, topic_id) = (topic.name, topic.topic_id);
            responses.push(ProduceResponseTopic { name, topic_id, partition_responses });
        }
        let response = ProduceResponse { responses, ..Default::default() };
        match acks {
            0 => self.tell_commanded(peer, ProduceRequest::KEY, response.error()),
            _ => self.reply::<ProduceRequest>(peer, head, &response),
        }
        true
    }

    fn write(&mut self, node: i32, name: &str, index: i32, records: Bytes) -> Result<(i64, i64), ErrorCode> {
        let start = self.topics.led(node, name, index, -1)?.log.start();
        let base = self.append(name, index, records).ok_or(ErrorCode::CORRUPT_MESSAGE)?;
        Ok((base, start))
    }

    fn on_fetch(&mut self, peer: PeerId, node: i32, head: Head, frame: Bytes) -> bool {
        let Ok((_, request)) = read_request::<FetchRequest>(frame) else { return false };
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        let until = self.now + wait;
        match self.sessions.entry(node).or_default().take(self.now, request, head.version) {
            Ok(pending) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.parked = Some(Parked::Fetch { head, pending, until });
                }
            }
            Err(error) => {
                let response = FetchResponse { error_code: error.0, ..Default::default() };
                self.reply::<FetchRequest>(peer, head, &response);
            }
        }
        true
    }

    /// Answers the fetch that waits here, if it need not wait any more.
    pub(super) fn look_after(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(Parked::Fetch { head, pending, until }) = &peer.parked else { return };
        let sessions = self.sessions.entry(peer.node).or_default();
        let reading = Reading { node: peer.node, topics: &self.topics, nodes: &self.nodes, pending };
        let (mut response, bytes) = reading.answer(sessions);
        let waits = bytes.is_some_and(|bytes| bytes < pending.least.max(1));
        if waits && *until > self.now {
            return;
        }
        if peer.held_up > Duration::ZERO {
            let session_id = Sessions::number(pending);
            response = FetchResponse { session_id, ..FetchResponse::default() };
        } else {
            sessions.handle_answered(self.now, pending, &self.config, &mut response);
        }
        let head = *head;
        peer.parked = None;
        self.reply::<FetchRequest>(id, head, &response);
    }

    fn offsets(&self, node: i32, request: &ListOffsetsRequest, version: i16) -> ListOffsetsResponse {
        let committed = request.isolation_level == 1;
        let one = |name: &str, asked: &ListOffsetsRequestPartition| {
            let partition_index = asked.partition_index;
            let answer = ListOffsetsResponsePartition { partition_index, ..Default::default() };
            let refused = |error: ErrorCode| ListOffsetsResponsePartition { error_code: error.0, ..answer };
            let partition = match self.topics.led(node, name, partition_index, asked.current_leader_epoch) {
                Ok(partition) => partition,
                Err(error) => return refused(error),
            };
            let log = &partition.log;
            let until = log.readable(committed).min(partition.watermark_at(node));
            let found = match asked.timestamp {
                LATEST => Some((until, -1)).filter(|_| !partition.is_behind(node)),
                EARLIEST => Some((log.start(), -1)),
                MAX_TIMESTAMP => Some(log.latest_time().unwrap_or((-1, -1))),
                time => {
                    let found = log.find_time(time, committed).filter(|(offset, _)| *offset < until);
                    found.or((!partition.is_behind(node)).then_some((-1, -1)))
                }
            };
            let Some((offset, timestamp)) = found else {
                let told = version >= NOT_AVAILABLE_SINCE;
                let error =
                    if told { ErrorCode::OFFSET_NOT_AVAILABLE } else { ErrorCode::LEADER_NOT_AVAILABLE };
                return refused(error);
            };
            let leader_epoch = if offset < 0 || version < 4 { -1 } else { log.epoch_of(offset) };
            ListOffsetsResponsePartition { offset, timestamp, leader_epoch, ..answer }
        };
        let topics = request.topics.iter().map(|topic| ListOffsetsResponseTopic {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(|asked| one(&topic.name, asked)).collect(),
        });
        ListOffsetsResponse { topics: topics.collect(), ..Default::default() }
    }

    fn epoch_ends(&self, node: i32, request: &OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
        let one = |name: &str, asked: &OffsetForLeaderEpochRequestPartition| {
            let partition = asked.partition;
            let answer = OffsetForLeaderEpochResponseEpochEndOffset { partition, ..Default::default() };
            match self.topics.led(node, name, partition, asked.current_leader_epoch) {
                Ok(found) => {
                    let (leader_epoch, end_offset) =
                        found.log.end_of_epoch(asked.leader_epoch).unwrap_or((-1, -1));
                    OffsetForLeaderEpochResponseEpochEndOffset { leader_epoch, end_offset, ..answer }
                }
                Err(error) => OffsetForLeaderEpochResponseEpochEndOffset { error_code: error.0, ..answer },
            }
        };
        let topics = request.topics.iter().map(|topic| OffsetForLeaderEpochResponseTopic {
            topic: topic.topic.clone(),
            partitions: topic.partitions.iter().map(|asked| one(&topic.topic, asked)).collect(),
        });
        OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
    }
}

/// The first version of ListOffsets with `OFFSET_NOT_AVAILABLE` (KIP-207).
const NOT_AVAILABLE_SINCE: i16 = 5;
/// Partitions of one topic at most.
const PARTITIONS_MAX: i32 = 10_000;
