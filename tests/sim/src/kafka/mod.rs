//! Model Kafka: brokers as a real cluster's clients see them, as a value.
//!
//! ```text
//! incoming ─► frame ─► requests: whose turn, which version ─► topics · log ─► outgoing
//!                          │                                       │ records came
//!                          ├─► fetch: sessions, the long poll ◄────┘
//!                          └─► coordinator: groups, offsets
//! ```
//!
//! Theory of operation. One [`Kafka`] is a whole cluster: brokers, topics, partitions with leaders
//! and epochs, and logs that hold batches as the bytes that came. A peer's requests are answered in
//! order, one at a time: while a fetch waits for records, or a member for its group, nothing else of
//! its connection is looked at, as a real broker does it. After each event, those fetches are looked
//! after, and groups whose time has come.
//!
//! Answers are those of Apache Kafka 4.3. Not modelled yet: the requests of transactions; the sequence
//! numbers of producers, so that one which sends a batch twice has it twice; authorization. Replicas have at once what their leader has. What happens to a cluster happens by
//! hand: brokers that crash, are upgraded or hold clients up, coordinators that move, replicas that
//! lag, sessions that are forgotten, logs that are trimmed, compacted or lose their end, transactions.
//!
//! **Invariant:** same events, same commands, facts and bytes.
//!
//! **Invariant:** no bytes from a peer make it panic; what breaks the protocol, or asks for what
//! ApiVersions doesn't name, closes that peer.
//!
//! **Invariant:** a peer's requests are answered in order.

mod config;
mod coordinator;
mod drive;
mod fetch;
mod log;
mod nodes;
mod outcome;
mod peer;
mod racks;
mod requests;
mod rewrite;
mod sessions;
#[cfg(test)]
mod tests;
mod throttle;
mod topics;
mod transactions;
mod versions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use tidegate_core::kafka::records::{BatchBuilder, NewRecord};
use tidegate_core::kafka::wire::Uuid;
use tidegate_core::{Instant, SeqNo};

pub use config::{Config, ConsumerGroups};
pub use versions::Release;

use crate::broker::{BrokerCommand, Fact, Gone, PeerId};
use coordinator::Coordinator;
use nodes::Nodes;
use peer::Peer;
use sessions::Sessions;
use throttle::Throttle;
use topics::Topics;

/// A cluster of Kafka brokers.
///
/// ```
/// use tidegate_core::Instant;
/// use tidegate_sim::kafka::{Config, Kafka};
///
/// let mut kafka = Kafka::new(Config::default());
/// assert!(kafka.create_topic("orders", 3));
/// let now = Instant::from_nanos(5_000_000_000);
/// assert_eq!(kafka.produce(now, "orders", 2, &[b"one", b"two"]), Some(0));
/// assert_eq!(kafka.end("orders", 2), Some(2));
/// ```
#[derive(Debug)]
pub struct Kafka {
    config: Config,
    now: Instant,
    nodes: Nodes,
    topics: Topics,
    coordinator: Coordinator,
    /// By broker.
    sessions: BTreeMap<i32, Sessions>,
    /// By broker.
    throttles: BTreeMap<i32, Throttle>,
    peers: BTreeMap<PeerId, Peer>,
    commands: VecDeque<BrokerCommand>,
    /// Peers that must be looked after.
    restless: BTreeSet<PeerId>,
    /// Producer ids that were given out.
    producers: i64,
    /// Numbers of the partitions that are watched, by topic and partition.
    watched: BTreeMap<String, BTreeMap<i32, u32>>,
    facts: Vec<Fact>,
    /// Where bytes for a peer that is no more go.
    nowhere: BytesMut,
}

impl Kafka {
    /// A cluster without topics.
    pub fn new(config: Config) -> Self {
        let nodes = Nodes::new(&config);
        Self {
            coordinator: Coordinator::new(&nodes.all()),
            nodes,
            config,
            now: Instant::ZERO,
            topics: Topics::default(),
            sessions: BTreeMap::new(),
            throttles: BTreeMap::new(),
            peers: BTreeMap::new(),
            commands: VecDeque::new(),
            restless: BTreeSet::new(),
            producers: 0,
            watched: BTreeMap::new(),
            facts: Vec::new(),
            nowhere: BytesMut::new(),
        }
    }

    /// Makes a topic; false if there is one, or no broker is there.
    pub fn create_topic(&mut self, name: &str, partitions: i32) -> bool {
        self.topics.create(name, partitions, self.config.replicas, &self.nodes.alive())
    }

    /// Makes a topic with an id of one's own, such as another cluster's has; false if there is one of
    /// this name or this id, or no broker is there.
    pub fn create_topic_as(&mut self, name: &str, id: Uuid, partitions: i32) -> bool {
        self.topics.create_as(name, id, partitions, self.config.replicas, &self.nodes.alive())
    }

    /// Deletes a topic; one that is made of the same name later is another one.
    pub fn delete_topic(&mut self, name: &str) -> bool {
        let gone = self.topics.delete(name);
        self.forget_offsets(name);
        self.rouse();
        gone
    }

    /// Appends records in one batch by the world's own hand; the first one's offset, or `None` if
    /// nobody leads the partition.
    pub fn produce(&mut self, now: Instant, name: &str, index: i32, values: &[&[u8]]) -> Option<i64> {
        let timestamp = self.wall_clock(now);
        let mut builder = BatchBuilder::new(0);
        for (offset, value) in (0..).zip(values) {
            builder.record(NewRecord { offset, timestamp, value: Some(value), ..NewRecord::default() });
        }
        let batch = builder.build().ok()?;
        self.append(name, index, batch.into())
    }

    /// Gives a topic more partitions, up to this many in all; false if there is no such topic, or it
    /// has as many.
    pub fn add_partitions(&mut self, name: &str, partitions: i32) -> bool {
        self.topics.grow(name, partitions, self.config.replicas, &self.nodes.alive())
    }

    fn append(&mut self, name: &str, index: i32, records: Bytes) -> Option<i64> {
        let stamped = self.topics.get(name)?.stamped;
        let records = if stamped { rewrite::stamped(records, self.wall_clock(self.now))? } else { records };
        let shard = self.shard_of(name, index);
        let partition = self.topics.partition_mut(name, index).filter(|one| one.leader.is_some())?;
        let epoch = partition.epoch;
        let first = partition.log.append(records, epoch)?;
        if let Some(shard) = shard {
            let offsets = partition.log.offsets(first).filter_map(|offset| u64::try_from(offset).ok());
            self.facts.extend(offsets.map(|offset| Fact::Appended { shard, seq: SeqNo::offset(offset) }));
        }
        self.rouse();
        Some(first)
    }

    /// One past the last offset of a partition.
    pub fn end(&self, name: &str, index: i32) -> Option<i64> {
        Some(self.topics.partition(name, index)?.log.end())
    }

    /// A broker is gone, with its connections; others lead its partitions where they have replicas, and
    /// coordinate its groups.
    pub fn crash(&mut self, id: i32) {
        self.nodes.set_alive(id, false);
        self.forget_sessions(id);
        let theirs: Vec<PeerId> =
            self.peers.iter().filter(|(_, peer)| peer.node == id).map(|(id, _)| *id).collect();
        for peer in theirs {
            self.peers.remove(&peer);
            self.commands.push_back(BrokerCommand::Close { peer });
        }
        self.topics.elect(&self.nodes.alive());
        self.elect_coordinators();
        self.rouse();
    }

    /// It is there again.
    pub fn restart(&mut self, id: i32) {
        self.nodes.set_alive(id, true);
        self.topics.elect(&self.nodes.alive());
        self.elect_coordinators();
        self.rouse();
    }

    /// A leader that had not all of it takes over: what comes from this offset on is lost, as after
    /// an unclean election.
    pub fn lose(&mut self, name: &str, index: i32, end: i64) {
        let shard = self.shard_of(name, index);
        if let Some(partition) = self.topics.partition_mut(name, index) {
            let before: Vec<i64> = partition.log.offsets(0).collect();
            partition.log.truncate(end);
            partition.begin_epoch();
            let end = partition.log.end();
            let lost = before.into_iter().filter(|offset| *offset >= end);
            self.facts.extend(gone(shard, lost, Gone::Lost));
            self.facts.extend(shard.map(|shard| Fact::Cut { shard, end: seq_of(end) }));
        }
        self.rouse();
    }

    /// Retention: nothing before this offset is there any more.
    pub fn trim(&mut self, name: &str, index: i32, start: i64) {
        let shard = self.shard_of(name, index);
        if let Some(partition) = self.topics.partition_mut(name, index) {
            let before = partition.log.start();
            let known: Vec<i64> = partition.log.offsets(before).collect();
            partition.log.trim(start);
            let start = partition.log.start();
            let trimmed = known.into_iter().filter(|offset| *offset < start);
            self.facts.extend(gone(shard, trimmed, Gone::Deleted));
            self.facts.extend(shard.map(|shard| Fact::Trimmed { shard, start: seq_of(start) }));
        }
        self.rouse();
    }

    /// Another replica leads the partition from now on, in a new epoch; false if this one can't.
    pub fn move_leader(&mut self, name: &str, index: i32, id: i32) -> bool {
        let alive = self.nodes.is_alive(id);
        let partition = self.topics.partition_mut(name, index);
        let Some(partition) = partition.filter(|one| alive && one.replicas.contains(&id)) else {
            return false;
        };
        let moved = partition.leader != Some(id);
        if moved {
            partition.leader = Some(id);
            partition.begin_epoch();
            self.rouse();
        }
        moved
    }

    /// The offsets that a partition has: of the first record that may be there, and one past the last.
    pub fn range(&self, name: &str, index: i32) -> Option<(i64, i64)> {
        let log = &self.topics.partition(name, index)?.log;
        Some((log.start(), log.end()))
    }

    /// The number of a partition that is watched.
    fn shard_of(&self, name: &str, index: i32) -> Option<u32> {
        self.watched.get(name)?.get(&index).copied()
    }

    /// Fetches that wait may have something now.
    fn rouse(&mut self) {
        let parked = self.peers.iter().filter(|(_, peer)| peer.parked.is_some());
        self.restless.extend(parked.map(|(id, _)| *id));
    }
}

fn gone(shard: Option<u32>, offsets: impl Iterator<Item = i64>, why: Gone) -> impl Iterator<Item = Fact> {
    let all = offsets.map(seq_of);
    all.filter_map(move |seq| Some(Fact::Gone { shard: shard?, seq, why }))
}

fn seq_of(offset: i64) -> SeqNo {
    SeqNo::offset(u64::try_from(offset).unwrap_or(0))
}
