//! Records: produced, listed and fetched.

use bytes::Bytes;
use tidegate_core::kafka::records::{BatchBuilder, NewRecord};
use tidegate_core::kafka::wire::{
    FetchRequest, FetchRequestForgottenTopic, FetchRequestPartition, FetchRequestTopic, ListOffsetsRequest,
    ListOffsetsRequestPartition, ListOffsetsRequestTopic, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochRequestPartition, OffsetForLeaderEpochRequestTopic, ProduceRequest,
    ProduceRequestPartitionData, ProduceRequestTopicData, Uuid,
};

use super::ask::{Answer, Ask};
use super::generate::{Generator, Topic};

/// A fetch session, by its number.
#[derive(Clone, Debug)]
pub struct FetchSession {
    id: i32,
    epoch: i32,
    version: i16,
}

impl Generator {
    pub(super) fn records_ask(&mut self) -> Ask {
        match self.tape.below(10) {
            0..=2 => self.produce(),
            3 | 4 => self.list(),
            5 => self.epoch_end(),
            _ => self.fetch(),
        }
    }

    fn batch(&mut self) -> Bytes {
        let mut builder = BatchBuilder::new(0);
        for offset in 0..1 + i64::from(self.below(3)) {
            self.clock += i64::from(self.below(20));
            let value = vec![b'v'; self.index(40)];
            let record =
                NewRecord { offset, timestamp: self.clock, value: Some(&value), ..NewRecord::default() };
            builder.record(record);
        }
        builder.build().unwrap().into()
    }

    fn produce(&mut self) -> Ask {
        let version = self.version(3, 13);
        let topic = self.any_topic();
        let data = ProduceRequestPartitionData { index: self.partition(&topic), records: Some(self.batch()) };
        let request = ProduceRequest {
            acks: if self.one_in(2) { 1 } else { -1 },
            timeout_ms: 10_000,
            topic_data: vec![ProduceRequestTopicData {
                name: if version < 13 { topic.name } else { String::new() },
                topic_id: if version < 13 { Uuid::ZERO } else { topic.id },
                partition_data: vec![data],
            }],
            ..Default::default()
        };
        Ask::Produce(version, request)
    }

    fn list(&mut self) -> Ask {
        let version = self.version(1, 10);
        let topic = self.any_topic();
        let timestamp = match self.tape.below(6) {
            0 | 1 => -1,
            2 => -2,
            3 if version >= 7 => -3,
            _ => self.clock - i64::from(self.below(60)),
        };
        let partition = ListOffsetsRequestPartition {
            partition_index: self.partition(&topic),
            current_leader_epoch: if version < 4 { -1 } else { self.leader_epoch() },
            timestamp,
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: if version < 2 { 0 } else { i8::from(self.one_in(2)) },
            topics: vec![ListOffsetsRequestTopic { name: topic.name, partitions: vec![partition] }],
            timeout_ms: 1_000,
        };
        Ask::ListOffsets(version, request)
    }

    /// Mostly any.
    fn leader_epoch(&mut self) -> i32 {
        match self.tape.below(12) {
            0 => 1,
            1 | 2 => 0,
            _ => -1,
        }
    }

    fn epoch_end(&mut self) -> Ask {
        let version = self.version(2, 4);
        let topic = self.any_topic();
        let partition = OffsetForLeaderEpochRequestPartition {
            partition: self.partition(&topic),
            current_leader_epoch: self.leader_epoch(),
            leader_epoch: self.below(3),
        };
        let request = OffsetForLeaderEpochRequest {
            topics: vec![OffsetForLeaderEpochRequestTopic { topic: topic.name, partitions: vec![partition] }],
            replica_id: if version < 3 { -2 } else { -1 },
        };
        Ask::OffsetForLeaderEpoch(version, request)
    }

    fn fetch(&mut self) -> Ask {
        let mut version = self.version(4, 18);
        let (mut session_id, mut session_epoch) = (0, if self.one_in(2) { 0 } else { -1 });
        if !self.sessions.is_empty() && self.one_in(2) {
            let at = self.index(self.sessions.len());
            let session = self.sessions[at].clone();
            (version, session_id, session_epoch) = (session.version, session.id, session.epoch);
            match self.tape.below(12) {
                0 => session_epoch += 1,
                1 => session_id = 1_000_000,
                2 => session_epoch = 0,
                3 => session_epoch = -1,
                _ => {}
            }
        }
        if version < 7 {
            (session_id, session_epoch) = (0, -1);
        }
        let mut topics: Vec<FetchRequestTopic> = Vec::new();
        for _ in 0..self.tape.below(3) {
            let topic = self.any_topic();
            let (name, id) = wire_topic(version, &topic);
            let partition = self.fetch_partition(version, &topic);
            match topics.iter_mut().find(|one| one.topic == name && one.topic_id == id) {
                Some(known) if known.partitions.iter().any(|one| one.partition == partition.partition) => {}
                Some(known) => known.partitions.push(partition),
                None => {
                    topics.push(FetchRequestTopic { topic: name, topic_id: id, partitions: vec![partition] })
                }
            }
        }
        let mut forgotten = Vec::new();
        if session_epoch > 0 && self.one_in(6) {
            let topic = self.topic();
            let (name, topic_id) = wire_topic(version, &topic);
            let partitions = vec![self.partition(&topic)];
            forgotten.push(FetchRequestForgottenTopic { topic: name, topic_id, partitions });
        }
        let request = FetchRequest {
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: 1 << 20,
            isolation_level: i8::from(self.one_in(2)),
            session_id,
            session_epoch,
            topics,
            forgotten_topics_data: forgotten,
            ..Default::default()
        };
        Ask::Fetch(version, request)
    }

    fn fetch_partition(&mut self, version: i16, topic: &Topic) -> FetchRequestPartition {
        FetchRequestPartition {
            partition: self.partition(topic),
            current_leader_epoch: if version < 9 { -1 } else { self.leader_epoch() },
            fetch_offset: i64::from(self.below(6)),
            last_fetched_epoch: if version < 12 || !self.one_in(6) { -1 } else { 0 },
            log_start_offset: -1,
            partition_max_bytes: [1, 150, 1 << 20][self.index(3)],
            ..Default::default()
        }
    }

    pub(super) fn fetch_answered(&mut self, ask: &Ask, answer: &Answer) {
        let (Ask::Fetch(version, request), Answer::Fetch(answer)) = (ask, answer) else { return };
        if answer.error_code != 0 {
            return;
        }
        if request.session_epoch <= 0 {
            self.sessions.retain(|one| one.id != request.session_id);
            if answer.session_id != 0 {
                self.sessions.push(FetchSession { id: answer.session_id, epoch: 1, version: *version });
            }
        } else if let Some(session) = self.sessions.iter_mut().find(|one| one.id == request.session_id) {
            session.epoch += 1;
        }
    }
}

fn wire_topic(version: i16, topic: &Topic) -> (String, Uuid) {
    if version < 13 { (topic.name.clone(), Uuid::ZERO) } else { (String::new(), topic.id) }
}
