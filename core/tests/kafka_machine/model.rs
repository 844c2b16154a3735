//! A small cluster as a value: logs, one group, sessions. It answers as Apache Kafka 4.3 would
//! answer this one consumer; tests change it, or its answers.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidegate_core::kafka::records::{BatchBuilder, Compression, NewRecord};
use tidegate_core::kafka::wire::{
    ConsumerProtocolAssignment, FetchRequestPartition, JoinGroupResponseMember, SyncGroupRequestAssignment,
    Uuid,
};

/// A topic's partition, by name.
pub type Part = (String, i32);

pub fn part(topic: &str, index: i32) -> Part {
    (topic.to_owned(), index)
}

/// A batch as it is stored.
#[derive(Clone)]
pub struct Stored {
    pub last: i64,
    pub bytes: Bytes,
    /// Offset and timestamp of each record.
    pub stamps: Vec<(i64, i64)>,
}

/// A partition.
#[derive(Clone, Default)]
pub struct Log {
    pub leader: i32,
    pub epoch: i32,
    pub start: i64,
    pub batches: Vec<Stored>,
    /// The next offset.
    pub end: i64,
    /// Where the first open transaction begins.
    pub stable: Option<i64>,
    /// Producer, first offset, and that of the marker.
    pub aborted: Vec<(i64, i64, i64)>,
    /// Where the leader sends readers to (KIP-392).
    pub preferred: Option<i32>,
    /// Epochs and where each began.
    pub epochs: Vec<(i32, i64)>,
}

impl Log {
    /// Appends a batch.
    pub fn append(&mut self, stored: Stored) {
        self.end = stored.last + 1;
        self.batches.push(stored);
    }

    /// The last epoch up to `epoch`, and where it ends.
    pub fn end_of_epoch(&self, epoch: i32) -> (i32, i64) {
        let found = self.epochs.iter().rev().find(|(known, _)| *known <= epoch);
        let Some((found, _)) = found else { return (-1, -1) };
        let next = self.epochs.iter().find(|(known, _)| known > found);
        (*found, next.map_or(self.end, |(_, start)| *start))
    }

    /// Another leader, in the next epoch.
    pub fn elect(&mut self, leader: i32) {
        self.leader = leader;
        self.epoch += 1;
        self.epochs.push((self.epoch, self.end));
    }

    /// Loses what comes from this offset on, as after an unclean election of `leader`.
    pub fn truncate(&mut self, end: i64, leader: i32) {
        self.batches.retain(|batch| batch.last < end);
        self.end = end;
        self.elect(leader);
    }

    /// How far a reader may read.
    pub fn readable(&self, committed: bool) -> i64 {
        if committed { self.stable.unwrap_or(self.end) } else { self.end }
    }
}

/// What every record of a test says, so that a wrong one is seen.
pub fn value_of(topic: &str, index: i32, offset: i64) -> String {
    format!("{topic}-{index}@{offset}")
}

/// Milliseconds at which the record of an offset was stamped.
pub const fn stamp_of(offset: i64) -> i64 {
    1_000_000 + offset * 10
}

/// A batch with these records, each of which says where it is.
pub fn batch(
    topic: &str,
    index: i32,
    base: i64,
    offsets: &[i64],
    shape: impl FnOnce(&mut BatchBuilder),
) -> Stored {
    let mut builder = BatchBuilder::new(base);
    shape(&mut builder);
    for &offset in offsets {
        let value = value_of(topic, index, offset);
        let record = NewRecord {
            offset,
            timestamp: stamp_of(offset),
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        };
        builder.record(record);
    }
    let stamps: Vec<_> = offsets.iter().map(|offset| (*offset, stamp_of(*offset))).collect();
    stored(&builder, offsets.last().copied().unwrap_or(base), stamps)
}

/// A batch that is built already; `last` as its header has it.
pub fn stored(builder: &BatchBuilder, last: i64, stamps: Vec<(i64, i64)>) -> Stored {
    Stored { last, bytes: builder.build().unwrap().into(), stamps }
}

pub struct Topic {
    pub id: Uuid,
    pub parts: Vec<Log>,
}

/// The group, as its coordinator knows it; we are its only real member.
#[derive(Default)]
pub struct Group {
    pub committed: BTreeMap<Part, (i64, Option<String>)>,
    /// Every commit that was taken, in order.
    pub commits: Vec<(Part, i64)>,
    pub generation: i32,
    pub member: String,
    /// Other members, that say nothing but what is here.
    pub others: Vec<JoinGroupResponseMember>,
    /// Another member leads, and gives us this.
    pub given: Option<ConsumerProtocolAssignment>,
    pub rebalancing: bool,
    /// What we assigned as the leader, last.
    pub synced: Vec<SyncGroupRequestAssignment>,
    /// KIP-848: the group's epoch, and what is to be ours.
    pub epoch: i32,
    pub target: BTreeSet<Part>,
    pub member_epoch: i32,
    pub previous_epoch: i32,
    pub assigned: BTreeSet<Part>,
    /// As the member said last.
    pub owned: BTreeSet<Part>,
    /// What it was told last.
    pub told: Option<BTreeSet<Part>>,
    /// The topics that the member subscribed to last, and whether the target is all of their parts.
    pub topics: Vec<String>,
    pub follows: bool,
}

impl Group {
    /// A new target, in the next epoch.
    pub fn retarget(&mut self, target: impl IntoIterator<Item = Part>) {
        self.epoch += 1;
        self.target = target.into_iter().collect();
    }
}

#[derive(Default)]
pub struct Session {
    pub epoch: i32,
    pub parts: BTreeMap<(String, i32), FetchRequestPartition>,
    /// High watermark as it was told last.
    pub told: BTreeMap<(String, i32), i64>,
}

/// The whole cluster.
pub struct Cluster {
    pub nodes: BTreeSet<i32>,
    /// Nobody listens there, though the cluster may still speak of them.
    pub down: BTreeSet<i32>,
    pub topics: BTreeMap<String, Topic>,
    /// Least and greatest version of each API.
    pub versions: BTreeMap<i16, (i16, i16)>,
    pub coordinator: i32,
    pub group: Group,
    pub sessions: BTreeMap<(i32, i32), Session>,
    pub sessions_made: i32,
    /// NOT_LEADER answers say who leads (KIP-951).
    pub hints: bool,
    pub heartbeat_interval_ms: i32,
    /// Topics that were ever made.
    made: u8,
}

/// Errors by their numbers in Kafka.
pub mod code {
    pub const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub const NOT_LEADER_OR_FOLLOWER: i16 = 6;
    pub const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
    pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    pub const NOT_COORDINATOR: i16 = 16;
    pub const ILLEGAL_GENERATION: i16 = 22;
    pub const UNKNOWN_MEMBER_ID: i16 = 25;
    pub const REBALANCE_IN_PROGRESS: i16 = 27;
    pub const GROUP_AUTHORIZATION_FAILED: i16 = 30;
    pub const UNSUPPORTED_VERSION: i16 = 35;
    pub const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
    pub const INVALID_FETCH_SESSION_EPOCH: i16 = 71;
    pub const FENCED_LEADER_EPOCH: i16 = 74;
    pub const UNKNOWN_LEADER_EPOCH: i16 = 75;
    pub const MEMBER_ID_REQUIRED: i16 = 79;
    pub const FENCED_INSTANCE_ID: i16 = 82;
    pub const UNKNOWN_TOPIC_ID: i16 = 100;
    pub const FENCED_MEMBER_EPOCH: i16 = 110;
    pub const STALE_MEMBER_EPOCH: i16 = 113;
}

impl Cluster {
    /// `nodes` brokers, and topics with so many partitions, led in turn.
    pub fn new(nodes: i32, topics: &[(&str, i32)]) -> Self {
        let mut cluster = Self {
            nodes: (1..=nodes).collect(),
            down: BTreeSet::new(),
            topics: BTreeMap::new(),
            versions: super::answers::all_versions(),
            coordinator: 1,
            group: Group { epoch: 1, ..Group::default() },
            sessions: BTreeMap::new(),
            sessions_made: 0,
            hints: true,
            heartbeat_interval_ms: 5_000,
            made: 0,
        };
        for (name, parts) in topics {
            cluster.create(name, *parts);
        }
        cluster.group.target = cluster.all_parts();
        cluster
    }

    pub fn create(&mut self, name: &str, parts: i32) {
        let count = self.nodes.len() as i32;
        let log = |index| Log { leader: 1 + index % count, epochs: vec![(0, 0)], ..Log::default() };
        self.made += 1;
        let id = Uuid([self.made; 16]);
        self.topics.insert(name.to_owned(), Topic { id, parts: (0..parts).map(log).collect() });
    }

    /// What groups committed for it goes as well.
    pub fn delete(&mut self, name: &str) {
        self.topics.remove(name).unwrap();
        self.group.committed.retain(|(topic, _), _| topic != name);
    }

    pub fn all_parts(&self) -> BTreeSet<Part> {
        let of = |(name, topic): (&String, &Topic)| {
            (0..topic.parts.len() as i32).map(|index| (name.clone(), index)).collect::<Vec<_>>()
        };
        self.topics.iter().flat_map(of).collect()
    }

    pub fn log(&mut self, topic: &str, index: i32) -> &mut Log {
        &mut self.topics.get_mut(topic).unwrap().parts[index as usize]
    }

    pub fn find(&self, topic: &str, index: i32) -> Option<&Log> {
        self.topics.get(topic)?.parts.get(usize::try_from(index).ok()?)
    }

    pub fn id_of(&self, topic: &str) -> Uuid {
        self.topics.get(topic).map_or(Uuid::ZERO, |topic| topic.id)
    }

    /// By name, or where there is none by id.
    pub fn name_of(&self, name: &str, id: Uuid) -> Option<String> {
        let named = |(known, topic): (&String, &Topic)| {
            (known == name || (name.is_empty() && topic.id == id)).then(|| known.clone())
        };
        self.topics.iter().find_map(named)
    }

    /// Appends `count` records in one batch.
    pub fn produce(&mut self, topic: &str, index: i32, count: i64) {
        self.produce_as(topic, index, count, Compression::None);
    }

    pub fn produce_as(&mut self, topic: &str, index: i32, count: i64, codec: Compression) {
        let log = self.log(topic, index);
        let (base, epoch) = (log.end, log.epoch);
        let offsets: Vec<i64> = (base..base + count).collect();
        let stored = batch(topic, index, base, &offsets, |builder| {
            builder.leader_epoch(epoch).compression(codec);
        });
        self.log(topic, index).append(stored);
    }
}
