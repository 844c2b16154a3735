#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod edges;
mod logs;

use std::time::Duration;

use bytes::BytesMut;
use tidegate_core::kafka::records::{BatchBuilder, Batches, NewRecord};
use tidegate_core::kafka::wire::{
    ApiVersionsRequest, ErrorCode, FetchRequest, FetchRequestPartition, FetchRequestTopic, FetchResponse,
    InitProducerIdRequest, ListOffsetsRequest, ListOffsetsRequestPartition, ListOffsetsRequestTopic, Request,
    correlation_id, read_response, split_frame, write_request,
};
use tidegate_core::{Instant, SeqNo};

use super::*;
use crate::broker::{Broker, BrokerEvent};

/// A connection to broker 1, from its other end.
struct Client {
    kafka: Kafka,
    now: Instant,
    peer: PeerId,
    correlation: i32,
}

impl Client {
    fn new(config: Config) -> Self {
        let mut kafka = Kafka::new(config);
        let peer = PeerId(7);
        kafka.handle(Instant::ZERO, BrokerEvent::Accepted { peer, node: 0 });
        Self { kafka, now: Instant::ZERO, peer, correlation: 0 }
    }

    fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.correlation += 1;
        let mut bytes = BytesMut::new();
        write_request(&mut bytes, self.correlation, "test", version, request).unwrap();
        self.kafka.incoming(self.peer).extend_from_slice(&bytes);
        self.kafka.handle(self.now, BrokerEvent::Received { peer: self.peer });
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.kafka.handle(self.now, BrokerEvent::Tick);
    }

    /// The answer to the request that was sent last, if it is there.
    fn answer<R: Request>(&mut self, version: i16) -> Option<R::Response> {
        let mut bytes = BytesMut::from(self.kafka.outgoing(self.peer));
        let frame = split_frame(&mut bytes, usize::MAX).unwrap()?;
        assert_eq!(correlation_id(&frame), Ok(self.correlation));
        let n = self.kafka.outgoing(self.peer).len();
        self.kafka.handle(self.now, BrokerEvent::Wrote { peer: self.peer, n });
        Some(read_response::<R>(frame, version).unwrap())
    }

    fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.send(version, request);
        self.answer::<R>(version).unwrap()
    }

    fn commands(&mut self) -> Vec<BrokerCommand> {
        let mut commands = Vec::new();
        loop {
            match self.kafka.poll_command() {
                BrokerCommand::Wait(_) => return commands,
                command => commands.push(command),
            }
        }
    }
}

fn fetch(kafka: &Kafka, from: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        session_epoch: 0,
        topics: vec![FetchRequestTopic {
            topic_id: kafka.topics.id_of("orders"),
            partitions: vec![FetchRequestPartition {
                fetch_offset: from,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Codes, and the last offset of each batch, of the first partition in an answer.
fn read(response: &FetchResponse) -> (i16, Vec<i64>) {
    let Some(data) = response.responses.first().map(|topic| &topic.partitions[0]) else { return (0, vec![]) };
    let records = data.records.clone().unwrap_or_default();
    (data.error_code, Batches::new(records).map(|batch| batch.unwrap().last_offset).collect())
}

const NOW: Instant = Instant::ZERO;

#[test]
fn a_fetch_waits_for_records_and_no_longer_than_it_said() {
    let mut client = Client::new(Config::default());
    client.kafka.create_topic("orders", 1);
    let request = fetch(&client.kafka, 0);
    client.send(18, &request);
    assert_eq!(client.answer::<FetchRequest>(18), None);
    client.pass(499);
    assert_eq!(client.answer::<FetchRequest>(18), None);
    client.kafka.produce(client.now, "orders", 0, &[b"a", b"b"]).unwrap();
    client.commands();
    let answer = client.answer::<FetchRequest>(18).unwrap();
    assert_eq!(read(&answer), (0, vec![1]));
    // Nothing comes: in a session the answer is empty, at its time.
    let next = FetchRequest { session_id: answer.session_id, session_epoch: 1, topics: vec![], ..request };
    let mut next = next;
    next.topics = fetch(&client.kafka, 2).topics;
    client.send(18, &next);
    client.pass(499);
    assert_eq!(client.answer::<FetchRequest>(18), None);
    client.pass(1);
    assert_eq!(client.answer::<FetchRequest>(18).unwrap().responses, vec![]);
    assert_eq!(client.kafka.check(), Ok(()));
}

#[test]
fn positions_are_where_the_log_has_them() {
    let mut client = Client::new(Config { unix_ms_at_origin: 1_000, ..Config::default() });
    client.kafka.create_topic("orders", 1);
    for second in 0..5 {
        let now = Instant::from_nanos(second * 1_000_000_000);
        client.kafka.produce(now, "orders", 0, &[b"a"]).unwrap();
    }
    client.kafka.trim("orders", 0, 2);
    let mut at = |timestamp| {
        let partition = ListOffsetsRequestPartition { timestamp, ..Default::default() };
        let topic = ListOffsetsRequestTopic { name: "orders".into(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        // In each version: an old one can't say all of it.
        let of = |version| client.ask(version, &request).topics[0].partitions[0].offset;
        let found: Vec<i64> = (1..=9).map(of).collect();
        assert!(found.iter().all(|offset| *offset == found[0]), "{found:?}");
        found[0]
    };
    assert_eq!([at(-2), at(-1), at(0), at(3_500), at(5_000), at(5_001)], [2, 5, 2, 3, 4, -1]);
    let request = fetch(&client.kafka, 1);
    assert_eq!(read(&client.ask(18, &request)).0, ErrorCode::OFFSET_OUT_OF_RANGE.0);
    client.kafka.lose("orders", 0, 3);
    assert_eq!(client.kafka.end("orders", 0), Some(3));
    assert_eq!(client.kafka.check(), Ok(()));
}

#[test]
fn what_is_appended_is_told_and_aborted_transactions_are_listed() {
    let mut client = Client::new(Config::default());
    client.kafka.create_topic("orders", 1);
    client.kafka.watch(&["orders:0".into()]);
    let mut batch = BatchBuilder::new(0);
    batch.producer(9, 0, 0).transactional(true);
    batch.record(NewRecord { value: Some(b"void"), ..NewRecord::default() });
    client.kafka.append("orders", 0, batch.build().unwrap().into()).unwrap();
    client.kafka.produce(NOW, "orders", 0, &[b"kept"]).unwrap();
    let mut request = FetchRequest { isolation_level: 1, ..fetch(&client.kafka, 0) };
    request.max_wait_ms = 0;
    assert_eq!(read(&client.ask(18, &request)), (0, vec![]), "the transaction is open");
    let marker = BatchBuilder::marker(0, 9, 0, 0, tidegate_core::kafka::records::Marker::Abort);
    client.kafka.append("orders", 0, marker.build().unwrap().into()).unwrap();
    let answer = client.ask(18, &request);
    assert_eq!(read(&answer), (0, vec![0, 1, 2]));
    let aborted = answer.responses[0].partitions[0].aborted_transactions.clone().unwrap();
    assert_eq!((aborted.len(), aborted[0].producer_id, aborted[0].first_offset), (1, 9, 0));
    let told = client.kafka.facts().drain(..);
    let told: Vec<_> = told.filter(|fact| !matches!(fact, Fact::Commanded { .. })).collect();
    let seq = SeqNo::offset;
    assert_eq!(told, [0, 1].map(|offset| Fact::Appended { shard: 0, seq: seq(offset) }));
}

#[test]
fn a_crashed_broker_s_partitions_are_led_by_others_in_a_new_epoch() {
    let mut client = Client::new(Config { nodes: 2, replicas: 2, ..Config::default() });
    client.kafka.create_topic("orders", 2);
    client.kafka.produce(NOW, "orders", 1, &[b"a"]).unwrap();
    assert_eq!(client.kafka.topics.partition("orders", 1).unwrap().leader, Some(2));
    client.kafka.crash(2);
    let partition = client.kafka.topics.partition("orders", 1).unwrap();
    assert_eq!((partition.leader, partition.epoch, partition.log.end()), (Some(1), 1, 1));
    assert!(!client.kafka.accepts(1));
    let mut request = fetch(&client.kafka, 0);
    request.topics[0].partitions[0].partition = 1;
    request.topics[0].partitions[0].current_leader_epoch = 0;
    assert_eq!(read(&client.ask(18, &request)).0, ErrorCode::FENCED_LEADER_EPOCH.0);
    client.kafka.crash(1);
    assert_eq!(client.commands().last(), Some(&BrokerCommand::Close { peer: client.peer }));
    assert_eq!(client.kafka.produce(NOW, "orders", 1, &[b"b"]), None, "nobody leads it");
}

#[test]
fn what_is_no_request_closes_the_connection() {
    for bytes in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x02\0\0", b"\0\0\0\x0a\0\x63\0\0\0\0\0\x01\xff\xff"] {
        let mut client = Client::new(Config::default());
        client.kafka.incoming(client.peer).extend_from_slice(bytes);
        client.kafka.handle(NOW, BrokerEvent::Received { peer: client.peer });
        assert_eq!(client.commands(), [BrokerCommand::Close { peer: client.peer }], "{bytes:?}");
        assert!(!client.kafka.wants_read(client.peer));
    }
    // A version that it doesn't have is told, where that may be (KIP-511).
    let mut client = Client::new(Config::default());
    client.send(4, &ApiVersionsRequest::default());
    let answer = client.answer::<ApiVersionsRequest>(4).unwrap();
    assert!(answer.api_keys.iter().any(|api| (api.api_key, api.max_version) == (FetchRequest::KEY, 18)));
}

#[test]
fn a_producer_gets_an_id_of_its_own_and_no_transactions() {
    let mut client = Client::new(Config::default());
    for version in 0..=5 {
        let answer =
            client.ask(version, &InitProducerIdRequest { transactional_id: None, ..Default::default() });
        assert_eq!((answer.error_code, answer.producer_id, answer.producer_epoch), (0, version.into(), 0));
        let answer = client.ask(version, &InitProducerIdRequest::default());
        assert_eq!((ErrorCode(answer.error_code), answer.producer_id), (ErrorCode::INVALID_REQUEST, -1));
    }
}
