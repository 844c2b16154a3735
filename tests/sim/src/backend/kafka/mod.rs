//! Kafka in the simulated world: the model cluster, what is produced, and what operators and fate
//! do to it.
//!
//! # Theory of operation
//!
//! The world's producer sends a message at a time; here it becomes a batch as others write them:
//! with more messages in it, compressed, of a transaction, with offsets that compaction left empty
//! ([`Habits`](produce::Habits)). What its transactions become is told as facts, as no model broker
//! knows which records belong to which.
//!
//! All partitions have their names from the start; some appear only later. At the end there are all
//! of them.
//!
//! **Invariant:** nobody else produces, so the number of records that were appended to a partition
//! is the place of the next one in the reference log.
//!
//! **Invariant:** what a consumer can't mend is mended when faults are over: brokers are there, and
//! no transaction is open.

mod options;
mod produce;
mod trouble;

use std::time::Duration;

use bytes::Bytes;
use tidegate_core::random::Random;
use tidegate_core::{ConsumerOptions, Error, Instant, SeqNo, Setup, ShardId, StreamKey};

use super::{Backend, Fresh, Heal, Outage, Produced, Progress, UNIX_MS_AT_ORIGIN};
use crate::kafka::{Config, ConsumerGroups, Kafka, Release};
use crate::swarm::Swarm;
use crate::tape::Tape;
use produce::{Habits, Writer};
use trouble::Undo;

/// A model Kafka and the partitions that are of interest in it.
#[derive(Debug)]
pub struct KafkaBackend {
    kafka: Kafka,
    nodes: i32,
    /// Topic and partition, as they were watched.
    places: Vec<(String, i32)>,
    writers: Vec<Writer>,
    habits: Habits,
    random: Random,
    heals: Vec<Undo>,
    /// What brokers may run.
    releases: Vec<Release>,
}

impl KafkaBackend {
    /// How many partitions a topic has in the end.
    fn full(&self, topic: &str) -> i32 {
        self.places.iter().filter(|(name, _)| name == topic).map(|(_, index)| index + 1).max().unwrap_or(1)
    }
}

impl Fresh for KafkaBackend {
    fn refine(swarm: &mut Swarm, tape: &mut Tape) {
        options::refine(swarm, tape);
    }

    fn new(swarm: &Swarm, shards: &[(StreamKey, ShardId)], tape: &mut Tape) -> Self {
        let ms = Duration::from_millis;
        let releases = options::releases(swarm);
        let racks = swarm.roles.iter().any(|role| role.options.kafka.rack.is_some());
        let nodes = [1, 2, 3, 3][tape.below(4) as usize];
        let mut kafka = Kafka::new(Config {
            nodes,
            replicas: [3, 1, 2][tape.below(3) as usize],
            unix_ms_at_origin: UNIX_MS_AT_ORIGIN as i64,
            sessions: [1_000, 2][tape.below(2) as usize],
            coordinator_load: ms([0, 0, 300][tape.below(3) as usize]),
            initial_rebalance_delay: ms([0, 0, 500][tape.below(3) as usize]),
            session_timeout_min: ms(1_000),
            racks: if racks { vec!["east".into(), "west".into()] } else { Vec::new() },
            release: tape.pick(&releases).copied().unwrap_or_default(),
            consumer_groups: ConsumerGroups {
                session_timeout: ms([6_000, 12_000, 3_000][tape.below(3) as usize]),
                heartbeat_interval: ms([1_000, 500][tape.below(2) as usize]),
                assignment_interval: ms([0, 1_000][tape.below(2) as usize]),
                ..ConsumerGroups::default()
            },
            ..Config::default()
        });
        for (stream, count) in &swarm.streams {
            let all = (*count).max(1);
            // The others appear later.
            let first = if tape.chance(3_000) { tape.within(1, all) } else { all };
            kafka.create_topic(&stream.to_string(), first as i32);
        }
        let places: Vec<_> =
            shards.iter().map(|(stream, shard)| (stream.to_string(), shard.number() as i32)).collect();
        Self {
            kafka,
            nodes: nodes as i32,
            writers: vec![Writer::default(); places.len()],
            places,
            habits: Habits::draw(tape),
            random: Random::new(tape.below(1 << 32)),
            heals: Vec::new(),
            releases,
        }
    }
}

impl Backend for KafkaBackend {
    type Machine = tidegate_core::kafka::Machine;
    type Broker = Kafka;

    const FAULTS: &'static [&'static str] = trouble::FAULTS;
    const PROGRESS: Progress = Progress::Offsets;

    fn shard_name(stream: &StreamKey, shard: ShardId, _: bool) -> Bytes {
        format!("{stream}:{shard}").into_bytes().into()
    }

    fn position(number: u64) -> SeqNo {
        SeqNo::offset(number % 100)
    }

    fn patience(options: &ConsumerOptions) -> Duration {
        let kafka = &options.kafka;
        // Dead members are waited for, and then those that are slow to let go.
        (kafka.session_timeout + kafka.rebalance_timeout + kafka.fetch_max_wait) * 4
    }

    fn machine(&mut self, mut setup: Setup) -> Result<Self::Machine, Error> {
        let kafka = &mut setup.options.kafka;
        if kafka.instance.is_some() {
            // Each member its own.
            kafka.instance = setup.options.consumer.as_ref().map(ToString::to_string);
        }
        tidegate_core::kafka::Machine::new(setup)
    }

    fn broker(&mut self) -> &mut Kafka {
        &mut self.kafka
    }

    fn produce(&mut self, now: Instant, message: &Produced<'_>) -> bool {
        self.write(now, message)
    }

    fn disturb(&mut self, now: Instant, which: usize, tape: &mut Tape) -> Option<Outage> {
        self.put_in(now, which, tape)
    }

    fn heal(&mut self, now: Instant, heal: Heal) {
        if let Some(undo) = self.heals.get(heal.0 as usize).cloned() {
            self.undo(now, &undo);
        }
    }

    fn calm(&mut self, now: Instant) {
        for undo in std::mem::take(&mut self.heals) {
            self.undo(now, &undo);
        }
        // What is written from now on is decided at once.
        self.habits.transactions = 0;
        for shard in 0..self.places.len() {
            self.end_transactions(now, shard, true);
        }
        for (topic, _) in self.places.clone() {
            let full = self.full(&topic);
            self.grow(&topic, full);
        }
    }

    fn members(&mut self, group: &Bytes) -> Vec<Bytes> {
        let members = self.kafka.members(&String::from_utf8_lossy(group));
        members.into_iter().map(Bytes::from).collect()
    }

    fn unfinished(&mut self, _: Instant, _: &Bytes) -> Option<String> {
        None
    }
}
