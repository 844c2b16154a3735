//! The real broker's side.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidegate_core::kafka::wire::{
    CreateTopicsRequest, CreateTopicsRequestTopic, MetadataRequest, MetadataRequestTopic, Request, Uuid,
    read_response, split_frame, write_request,
};
use tidegate_live::kafka::{Cluster, ClusterOptions, Version};

use super::ask::{Answer, Ask};

/// An answer that doesn't come within this time doesn't come.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is written is written at once, members have time, targets are computed at once, and groups are
/// of one protocol; so that nothing in a dialogue is a matter of time.
const SETTINGS: [(&str, &str); 8] = [
    ("group.coordinator.append.linger.ms", "0"),
    ("group.consumer.session.timeout.ms", "45000"),
    ("group.consumer.heartbeat.interval.ms", "5000"),
    ("group.consumer.assignment.interval.ms", "0"),
    ("group.consumer.migration.policy", "disabled"),
    ("group.min.session.timeout.ms", "6000"),
    ("offsets.topic.num.partitions", "1"),
    ("num.io.threads", "1"),
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
        Self { cluster, connections: Vec::new() }
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
        self.connections = (0..count).map(connect).collect();
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

    fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let mut bytes = BytesMut::new();
        write_request(&mut bytes, 1, "dialogue", version, request).unwrap();
        self.connections[0].0.write_all(&bytes).unwrap();
        let frame = self.frame(0, PATIENCE).expect("an answer");
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
        made.into_iter().map(|topic| topic.topic_id).collect()
    }
}
