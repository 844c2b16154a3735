//! The real broker's side.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidegate_core::kafka::wire::{
    ConsumerGroupHeartbeatRequest, CreateTopicsRequest, CreateTopicsRequestTopic, ErrorCode,
    FindCoordinatorRequest, HeartbeatRequest, ListOffsetsRequest, ListOffsetsRequestPartition,
    ListOffsetsRequestTopic, MetadataRequest, MetadataRequestTopic, Request, Uuid, read_response,
    split_frame, write_request,
};
use tidegate_live::kafka::{Cluster, ClusterOptions, Version};

use super::ask::{Answer, Ask};

/// An answer that doesn't come within this time doesn't come.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is written is written at once, members have time, targets are computed at once, and groups are
/// of one protocol; so that nothing in a dialogue is a matter of time.
const SETTINGS: [(&str, &str); 9] = [
    ("group.coordinator.append.linger.ms", "0"),
    ("group.consumer.session.timeout.ms", "45000"),
    ("group.consumer.heartbeat.interval.ms", "5000"),
    ("group.consumer.assignment.interval.ms", "0"),
    ("group.consumer.migration.policy", "disabled"),
    ("group.min.session.timeout.ms", "6000"),
    ("offsets.topic.num.partitions", "1"),
    ("num.io.threads", "1"),
    ("num.network.threads", "1"),
];

/// A broker of one's own, and connections to it.
#[derive(Debug)]
pub struct Real {
    cluster: Cluster,
    connections: Vec<(TcpStream, BytesMut)>,
}

impl Real {
    /// A broker of this release, up.
    pub fn start(version: Version) -> Self {
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let cluster = Cluster::with(1, &ClusterOptions { version, settings, ..ClusterOptions::default() });
        let mut real = Self { cluster, connections: Vec::new() };
        real.connect(0);
        real.wait_for_coordinator();
        real
    }

    /// The topic that keeps groups is made when somebody asks for a coordinator.
    fn wait_for_coordinator(&mut self) {
        let find = FindCoordinatorRequest { coordinator_keys: vec!["any".into()], ..Default::default() };
        let beat = HeartbeatRequest { group_id: "any".into(), member_id: "any".into(), ..Default::default() };
        tidegate_live::wait::until_true("groups can be used", 3 * PATIENCE, || {
            let found = self.ask(4, &find).coordinators.iter().all(|one| one.error_code == 0);
            found && ErrorCode(self.ask(4, &beat).error_code) == ErrorCode::UNKNOWN_MEMBER_ID
        });
    }

    /// Where it listens on loopback.
    pub fn port(&self) -> u16 {
        self.cluster.port(1)
    }

    /// New connections instead of all that there were.
    pub fn connect(&mut self, count: usize) {
        let connect = |_| {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).unwrap();
            stream.set_nodelay(true).unwrap();
            (stream, BytesMut::new())
        };
        // One more for questions of the rig's own.
        self.connections = (0..=count).map(connect).collect();
    }

    /// Sends a request.
    pub fn send(&mut self, connection: usize, ask: &Ask, correlation: i32) {
        self.connections[connection].0.write_all(&ask.bytes(correlation)).unwrap();
    }

    /// The answer to it, if it comes within this time; `None`: however long it takes.
    pub fn receive(&mut self, connection: usize, ask: &Ask, within: Option<Duration>) -> Option<Answer> {
        self.frame(connection, within.unwrap_or(PATIENCE)).map(|frame| ask.read(frame))
    }

    fn frame(&mut self, connection: usize, within: Duration) -> Option<Bytes> {
        let (stream, bytes) = &mut self.connections[connection];
        stream.set_read_timeout(Some(within)).unwrap();
        loop {
            if let Some(frame) = split_frame(bytes, usize::MAX).unwrap() {
                return Some(frame);
            }
            let mut part = [0; 64 << 10];
            match stream.read(&mut part) {
                Ok(0) => panic!("the broker closed connection {connection}"),
                Ok(n) => bytes.extend_from_slice(&part[..n]),
                Err(_) => return None,
            }
        }
    }

    /// Whatever was sent before has come to where it waits: a broker with one thread takes requests in
    /// the order in which they arrive.
    pub fn settle(&mut self) {
        self.ask(4, &FindCoordinatorRequest { coordinator_keys: vec!["any".into()], ..Default::default() });
    }

    fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let mut bytes = BytesMut::new();
        write_request(&mut bytes, 1, "dialogue", version, request).unwrap();
        let own = self.connections.len() - 1;
        self.connections[own].0.write_all(&bytes).unwrap();
        let frame = self.frame(own, PATIENCE).expect("an answer");
        read_response::<R>(frame, version).unwrap()
    }

    /// Makes topics, and waits until they can be used. Their ids.
    pub fn create_topics(&mut self, topics: &[(String, i32)]) -> Vec<Uuid> {
        let topic = |(name, num_partitions): &(String, i32)| CreateTopicsRequestTopic {
            name: name.clone(),
            num_partitions: *num_partitions,
            replication_factor: 1,
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: topics.iter().map(topic).collect(), ..Default::default() };
        let made = self.ask(7, &request).topics;
        assert!(made.iter().all(|topic| topic.error_code == 0), "{made:?}");
        let name = |(name, _): &(String, i32)| MetadataRequestTopic {
            name: Some(name.clone()),
            ..Default::default()
        };
        let request = MetadataRequest {
            topics: Some(topics.iter().map(name).collect()),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        tidegate_live::wait::until_true("topics are there", PATIENCE, || {
            let known = self.ask(12, &request).topics;
            known.iter().zip(topics).all(|(topic, (_, count))| {
                let led = topic.partitions.iter().filter(|one| one.error_code == 0 && one.leader_id == 1);
                led.count() == usize::try_from(*count).unwrap()
            })
        });
        let ids: Vec<Uuid> = made.into_iter().map(|topic| topic.topic_id).collect();
        self.wait_for_leaders(topics);
        self.wait_for_groups(topics);
        ids
    }

    /// Gives a topic more partitions, and waits until they can be used.
    pub fn add_partitions(&mut self, topic: &str, total: i32) {
        self.cluster.admin().add_partitions(topic, usize::try_from(total).unwrap());
        let topics = [(topic.to_owned(), total)];
        self.wait_for_leaders(&topics);
        self.wait_for_groups(&topics);
    }

    fn wait_for_leaders(&mut self, topics: &[(String, i32)]) {
        let partition = |partition_index| ListOffsetsRequestPartition {
            partition_index,
            timestamp: -1,
            ..Default::default()
        };
        let topic = |(name, count): &(String, i32)| ListOffsetsRequestTopic {
            name: name.clone(),
            partitions: (0..*count).map(partition).collect(),
        };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: topics.iter().map(topic).collect(),
            ..Default::default()
        };
        tidegate_live::wait::until_true("partitions are led", PATIENCE, || {
            let known = self.ask(5, &request).topics;
            known.iter().flat_map(|topic| &topic.partitions).all(|one| one.error_code == 0)
        });
    }

    /// The coordinator learns of topics by itself: a member of a group that nobody else uses gets all.
    fn wait_for_groups(&mut self, topics: &[(String, i32)]) {
        let names: Vec<String> = topics.iter().map(|(name, _)| name.clone()).collect();
        let request = ConsumerGroupHeartbeatRequest {
            group_id: format!("{}-probe", names[0]),
            member_id: "probe".into(),
            rebalance_timeout_ms: 60_000,
            subscribed_topic_names: Some(names),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        let all = topics.iter().map(|(_, count)| usize::try_from(*count).unwrap()).sum::<usize>();
        tidegate_live::wait::until_true("groups know the topics", PATIENCE, || {
            let assignment = self.ask(1, &request).assignment.unwrap_or_default();
            assignment.topic_partitions.iter().map(|topic| topic.partitions.len()).sum::<usize>() == all
        });
    }
}
