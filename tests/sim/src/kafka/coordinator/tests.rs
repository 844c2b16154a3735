#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use bytes::BytesMut;
use tidegate_core::kafka::wire::{
    FindCoordinatorRequest, OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics, Request,
    Uuid, correlation_id, read_response, split_frame, write_request,
};

use super::*;
use crate::broker::{Broker, BrokerCommand, BrokerEvent, Fact};

/// A cluster with a topic `orders` of four partitions, and connections to it by number.
pub(super) struct Bed {
    pub(super) kafka: Kafka,
    pub(super) now: Instant,
    correlation: i32,
}

impl Bed {
    pub(super) fn new(config: Config) -> Self {
        let mut kafka = Kafka::new(config);
        kafka.create_topic("orders", 4);
        kafka.watch(&["orders:0".into(), "orders:1".into()]);
        Self { kafka, now: Instant::ZERO, correlation: 0 }
    }

    /// Connects number `peer` to this broker.
    pub(super) fn connect(&mut self, peer: u64, node: usize) {
        self.kafka.handle(self.now, BrokerEvent::Accepted { peer: PeerId(peer), node: node - 1 });
    }

    pub(super) fn send<R: Request>(&mut self, peer: u64, version: i16, request: &R) {
        self.correlation += 1;
        let mut bytes = BytesMut::new();
        write_request(&mut bytes, self.correlation, &format!("client{peer}"), version, request).unwrap();
        let peer = PeerId(peer);
        self.kafka.incoming(peer).extend_from_slice(&bytes);
        self.kafka.handle(self.now, BrokerEvent::Received { peer });
        self.settle();
    }

    /// The next answer on a connection, if there is one.
    pub(super) fn answer<R: Request>(&mut self, peer: u64, version: i16) -> Option<R::Response> {
        let peer = PeerId(peer);
        let mut bytes = BytesMut::from(self.kafka.outgoing(peer));
        let before = bytes.len();
        let frame = split_frame(&mut bytes, usize::MAX).unwrap()?;
        assert!(correlation_id(&frame).unwrap() <= self.correlation);
        self.kafka.handle(self.now, BrokerEvent::Wrote { peer, n: before - bytes.len() });
        self.settle();
        Some(read_response::<R>(frame, version).unwrap())
    }

    pub(super) fn ask<R: Request>(&mut self, peer: u64, version: i16, request: &R) -> R::Response {
        self.send(peer, version, request);
        self.answer::<R>(peer, version).expect("an answer at once")
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.kafka.handle(self.now, BrokerEvent::Tick);
        self.settle();
    }

    pub(super) fn settle(&mut self) {
        while !matches!(self.kafka.poll_command(), BrokerCommand::Wait(_)) {}
        assert_eq!(self.kafka.check(), Ok(()));
    }

    /// What was told since the last time, but for commands.
    pub(super) fn facts(&mut self) -> Vec<Fact> {
        let facts = self.kafka.facts().drain(..);
        facts.filter(|fact| !matches!(fact, Fact::Commanded { .. } | Fact::Met { .. })).collect()
    }
}

/// A commit of offset 5 for `orders` partition 0.
pub(super) fn commit(group: &str, member: &str, generation: i32) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.into(),
        member_id: member.into(),
        generation_id_or_member_epoch: generation,
        topics: vec![OffsetCommitRequestTopic {
            name: "orders".into(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 5,
                committed_leader_epoch: 3,
                committed_metadata: Some("here".into()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// The first partition's error of a commit's answer.
pub(super) fn committed(bed: &mut Bed, peer: u64, request: &OffsetCommitRequest) -> ErrorCode {
    ErrorCode(bed.ask(peer, 9, request).topics[0].partitions[0].error_code)
}

fn topics_of(request: &OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topic = |topic: &OffsetFetchRequestTopic| OffsetFetchRequestTopics {
        name: topic.name.clone(),
        partition_indexes: topic.partition_indexes.clone(),
        ..Default::default()
    };
    OffsetFetchRequestGroup {
        group_id: request.group_id.clone(),
        topics: request.topics.as_ref().map(|topics| topics.iter().map(topic).collect()),
        ..Default::default()
    }
}

/// Topic, partition, offset, epoch, metadata, error of each; or the group's error.
type Fetched = Result<Vec<(String, i32, i64, i32, String, ErrorCode)>, ErrorCode>;

/// The same request in a version's own shape.
fn fetch(bed: &mut Bed, peer: u64, version: i16, request: &OffsetFetchRequest) -> Fetched {
    if version < 8 {
        let answer = bed.ask(peer, version, request);
        if answer.error_code != 0 {
            return Err(ErrorCode(answer.error_code));
        }
        let all = answer.topics.into_iter().flat_map(|topic| {
            topic.partitions.into_iter().map(move |one| {
                let (epoch, error) = (one.committed_leader_epoch, ErrorCode(one.error_code));
                let metadata = one.metadata.unwrap();
                (topic.name.clone(), one.partition_index, one.committed_offset, epoch, metadata, error)
            })
        });
        return Ok(all.collect());
    }
    let mut group = topics_of(request);
    if version >= 10 {
        for topic in group.topics.iter_mut().flatten() {
            let known = bed.kafka.topics.id_of(&topic.name);
            topic.topic_id = if known == Uuid::ZERO { Uuid([7; 16]) } else { known };
            topic.name.clear();
        }
    }
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let answer = bed.ask(peer, version, &request).groups.remove(0);
    if answer.error_code != 0 {
        return Err(ErrorCode(answer.error_code));
    }
    let mut all = Vec::new();
    for topic in answer.topics {
        let by_id = bed.kafka.topics.name_of(topic.topic_id, "").map(str::to_owned);
        let name = if version >= 10 { by_id.unwrap_or_default() } else { topic.name };
        for one in topic.partitions {
            let (epoch, error) = (one.committed_leader_epoch, ErrorCode(one.error_code));
            let metadata = one.metadata.unwrap();
            all.push((name.clone(), one.partition_index, one.committed_offset, epoch, metadata, error));
        }
    }
    Ok(all)
}

fn asks(topics: Option<&[(&str, &[i32])]>) -> OffsetFetchRequest {
    let topic = |(name, indexes): &(&str, &[i32])| OffsetFetchRequestTopic {
        name: (*name).into(),
        partition_indexes: indexes.to_vec(),
    };
    OffsetFetchRequest {
        group_id: "g".into(),
        topics: topics.map(|topics| topics.iter().map(topic).collect()),
        ..Default::default()
    }
}

#[test]
fn what_is_committed_from_outside_is_read_in_all_versions() {
    let mut bed = Bed::new(Config::default());
    bed.connect(1, 1);
    let mut request = commit("g", "", -1);
    request.topics[0].partitions.push(OffsetCommitRequestPartition {
        partition_index: 1,
        committed_offset: 7,
        ..Default::default()
    });
    let answer = bed.ask(1, 9, &request);
    assert!(answer.topics[0].partitions.iter().all(|one| one.error_code == 0), "{answer:?}");
    let told = |shard, next| Fact::CommittedTo {
        shard,
        next: tidegate_core::SeqNo::offset(next),
        group: "g".into(),
        member: "".into(),
        epoch: -1,
        peer: PeerId(1),
    };
    assert_eq!(bed.facts(), [told(0, 5), told(1, 7)]);
    assert_eq!(bed.kafka.committed("g", "orders", 1), Some(7));
    let none = ErrorCode::NONE;
    for version in 1..=10 {
        // Versions before 5 don't have the epoch.
        let epoch = if version < 5 { -1 } else { 3 };
        let at = |index, offset, epoch, text: &str| {
            ("orders".to_owned(), index, offset, epoch, text.to_owned(), none)
        };
        let some = fetch(&mut bed, 1, version, &asks(Some(&[("orders", &[0, 1, 3])])));
        let all = [at(0, 5, epoch, "here"), at(1, 7, -1, "")];
        let mut wanted = all.to_vec();
        wanted.push(at(3, -1, -1, ""));
        assert_eq!(some, Ok(wanted), "version {version}");
        if version >= 2 {
            assert_eq!(fetch(&mut bed, 1, version, &asks(None)), Ok(all.to_vec()), "version {version}");
        }
        let unknown = fetch(&mut bed, 1, version, &asks(Some(&[("none", &[0])]))).unwrap().remove(0);
        let error = if version < 10 { ErrorCode::NONE } else { ErrorCode::UNKNOWN_TOPIC_ID };
        assert_eq!((unknown.2, unknown.5), (-1, error), "version {version}");
    }
    // A group that isn't there has committed nothing.
    let other = OffsetFetchRequest { group_id: "other".into(), ..asks(None) };
    assert_eq!(fetch(&mut bed, 1, 9, &other), Ok(vec![]));
}

#[test]
fn commits_that_cannot_be_kept_say_why() {
    let mut bed = Bed::new(Config { offset_metadata_max: 3, ..Config::default() });
    bed.connect(1, 1);
    assert_eq!(committed(&mut bed, 1, &commit("g", "", -1)), ErrorCode::OFFSET_METADATA_TOO_LARGE);
    // No such group, and the request is a member's.
    let of_member = commit("none", "m", 3);
    assert_eq!(committed(&mut bed, 1, &of_member), ErrorCode::GROUP_ID_NOT_FOUND);
    let old = bed.ask(1, 8, &of_member).topics[0].partitions[0].error_code;
    assert_eq!(ErrorCode(old), ErrorCode::ILLEGAL_GENERATION);
    // Unknown topics and partitions, next to one that is known.
    let mut request = commit("h", "", -1);
    request.topics[0].partitions[0].committed_metadata = None;
    request.topics[0]
        .partitions
        .push(OffsetCommitRequestPartition { partition_index: 9, ..Default::default() });
    request.topics.push(OffsetCommitRequestTopic { name: "none".into(), ..request.topics[0].clone() });
    let answer = bed.ask(1, 9, &request);
    let errors = |at: usize| {
        let all = answer.topics[at].partitions.iter();
        all.map(|one| (one.partition_index, ErrorCode(one.error_code))).collect::<Vec<_>>()
    };
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(answer.topics.len(), 2);
    assert_eq!(errors(0), [(9, unknown), (0, ErrorCode::NONE)]);
    assert_eq!(errors(1), [(0, unknown), (9, unknown)]);
    // By id.
    for topic in &mut request.topics {
        topic.topic_id = bed.kafka.topics.id_of(&topic.name);
    }
    request.topics[1].topic_id = Uuid([9; 16]);
    let answer = bed.ask(1, 10, &request);
    let first = |at: usize| ErrorCode(answer.topics[at].partitions[0].error_code);
    assert_eq!((first(0), first(1)), (unknown, ErrorCode::UNKNOWN_TOPIC_ID));
    assert_eq!(answer.topics[0].topic_id, bed.kafka.topics.id_of("orders"));
}

#[test]
fn offsets_go_with_their_topic() {
    let mut bed = Bed::new(Config::default());
    bed.connect(1, 1);
    assert_eq!(committed(&mut bed, 1, &commit("g", "", -1)), ErrorCode::NONE);
    bed.facts();
    bed.kafka.delete_topic("orders");
    assert_eq!(bed.facts(), [Fact::SetBack { shard: 0 }]);
    bed.kafka.create_topic("orders", 4);
    assert_eq!(bed.kafka.committed("g", "orders", 0), None);
}

#[test]
fn only_the_coordinator_answers_and_who_takes_over_has_it_all() {
    let load = Duration::from_secs(2);
    let mut bed = Bed::new(Config { nodes: 3, coordinator_load: load, ..Config::default() });
    (1..=3).for_each(|node| bed.connect(node as u64, node));
    // Partition 4 of 50, so broker 2.
    assert_eq!(bed.kafka.coordinator("h"), Some(2));
    let find = |bed: &mut Bed, version| {
        let request = match version {
            ..4 => FindCoordinatorRequest { key: "h".into(), ..Default::default() },
            _ => FindCoordinatorRequest { coordinator_keys: vec!["h".into()], ..Default::default() },
        };
        let answer = bed.ask(3, version, &request);
        match answer.coordinators.first() {
            Some(one) => (one.node_id, one.port, ErrorCode(one.error_code)),
            None => (answer.node_id, answer.port, ErrorCode(answer.error_code)),
        }
    };
    for version in 0..=6 {
        assert_eq!(find(&mut bed, version), (2, 9_093, ErrorCode::NONE), "version {version}");
    }
    let request = commit("h", "", -1);
    assert_eq!(committed(&mut bed, 1, &request), ErrorCode::NOT_COORDINATOR);
    assert_eq!(committed(&mut bed, 2, &request), ErrorCode::NONE);
    bed.kafka.crash(2);
    assert_eq!(find(&mut bed, 4), (3, 9_094, ErrorCode::NONE));
    let asked = OffsetFetchRequest { group_id: "h".into(), ..asks(None) };
    let fetched = |bed: &mut Bed, peer| fetch(bed, peer, 7, &asked).map(|all| all.len());
    assert_eq!(fetched(&mut bed, 3), Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    bed.pass(2_000);
    assert_eq!(fetched(&mut bed, 3), Ok(1));
    // It stays there when the other one is back, until it is moved by hand.
    bed.kafka.restart(2);
    assert_eq!(bed.kafka.coordinator("h"), Some(3));
    assert!(bed.kafka.move_coordinator("h", 1));
    bed.pass(2_000);
    assert_eq!((fetched(&mut bed, 3), fetched(&mut bed, 1)), (Err(ErrorCode::NOT_COORDINATOR), Ok(1)));
    bed.kafka.reload_coordinator("h", Duration::from_secs(9));
    assert_eq!(fetched(&mut bed, 1), Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    assert!(!bed.kafka.move_coordinator("h", 4));
    bed.kafka.unseat_coordinator("h");
    for version in 0..=6 {
        let nobody = (-1, -1, ErrorCode::COORDINATOR_NOT_AVAILABLE);
        assert_eq!(find(&mut bed, version), nobody, "version {version}");
    }
    assert_eq!(fetched(&mut bed, 1), Err(ErrorCode::NOT_COORDINATOR));
    bed.kafka.crash(3);
    assert_eq!(bed.kafka.coordinator("h"), Some(1));
}
