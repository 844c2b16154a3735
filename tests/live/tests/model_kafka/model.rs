//! The model's side: in this process, by the clock of the real one.

use std::time::Duration;

use bytes::BytesMut;
use tidegate_core::Instant;
use tidegate_core::kafka::wire::{Uuid, split_frame};
use tidegate_live::kafka::Version;
use tidegate_sim::kafka::{Config, ConsumerGroups, Kafka, Release};
use tidegate_sim::{Broker, BrokerCommand, BrokerEvent, PeerId};

use super::ask::{Answer, Ask};

/// A model Kafka of one broker, and connections to it.
#[derive(Debug)]
pub struct Model {
    kafka: Kafka,
    started: std::time::Instant,
    now: Instant,
    connected: u64,
    connections: Vec<PeerId>,
}

impl Model {
    /// One that says it listens on this port.
    pub fn new(version: Version, port: u16) -> Self {
        let release = match version {
            Version::Newest => Release::V4_3,
            Version::Old => Release::V4_2,
        };
        let consumer_groups =
            ConsumerGroups { assignment_interval: Duration::ZERO, ..ConsumerGroups::default() };
        let kafka = Kafka::new(Config { port, release, consumer_groups, ..Config::default() });
        let (started, now) = (std::time::Instant::now(), Instant::ZERO);
        Self { kafka, started, now, connected: 0, connections: Vec::new() }
    }

    /// New connections instead of all that there were.
    pub fn connect(&mut self, count: usize) {
        for peer in std::mem::take(&mut self.connections) {
            self.kafka.handle(self.now, BrokerEvent::Closed { peer });
        }
        for _ in 0..count {
            self.connected += 1;
            let peer = PeerId(self.connected);
            self.kafka.handle(self.now, BrokerEvent::Accepted { peer, node: 0 });
            self.connections.push(peer);
        }
        self.settle();
    }

    /// Makes a topic with the id that the real broker gave it.
    pub fn create_topic(&mut self, name: &str, id: Uuid, partitions: i32) {
        assert!(self.kafka.create_topic_as(name, id, partitions));
    }

    /// Gives a topic more partitions.
    pub fn add_partitions(&mut self, topic: &str, total: i32) {
        assert!(self.kafka.add_partitions(topic, total));
    }

    /// Sends a request.
    pub fn send(&mut self, connection: usize, ask: &Ask, correlation: i32) {
        let peer = self.connections[connection];
        self.pass();
        self.kafka.incoming(peer).extend_from_slice(&ask.bytes(correlation));
        self.kafka.handle(self.now, BrokerEvent::Received { peer });
        self.settle();
    }

    /// The answer to it, if it is there.
    pub fn receive(&mut self, connection: usize, ask: &Ask) -> Option<Answer> {
        let peer = self.connections[connection];
        let mut bytes = BytesMut::from(self.kafka.outgoing(peer));
        let before = bytes.len();
        let frame = split_frame(&mut bytes, usize::MAX).unwrap()?;
        self.kafka.handle(self.now, BrokerEvent::Wrote { peer, n: before - bytes.len() });
        self.settle();
        Some(ask.read(frame))
    }

    /// Time has passed.
    pub fn pass(&mut self) {
        self.now = Instant::ZERO + self.started.elapsed();
        self.kafka.handle(self.now, BrokerEvent::Tick);
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            match self.kafka.poll_command() {
                BrokerCommand::Wait(_) => break,
                BrokerCommand::Close { peer } => panic!("the model closed {peer:?}"),
                BrokerCommand::Write { .. } => {}
            }
        }
        if let Err(what) = self.kafka.check() {
            panic!("the model's own invariants: {what}");
        }
        self.kafka.facts().clear();
    }
}
