//! What a backend brings to the simulated world: its machine, its model broker, and what can go
//! wrong with that.
//!
//! **Invariant:** the world, the tape, the faults of the network and the oracle know a backend
//! only by this; a new backend changes none of them.

use std::time::Duration;

use bytes::Bytes;
use tidegate_core::{ConsumerOptions, Error, Instant, Machine, SeqNo, Setup, ShardId, StreamKey};

use crate::broker::Broker;
use crate::swarm::Swarm;
use crate::tape::Tape;

/// What brokers' and members' wall clocks show at the origin of time, in milliseconds since the Unix
/// epoch: 2023-11-14T22:13:20Z.
pub(crate) const UNIX_MS_AT_ORIGIN: u64 = 1_700_000_000_000;

/// A message to produce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produced<'a> {
    /// Index of the shard, as it was watched.
    pub shard: usize,
    /// What makes it known again.
    pub payload: &'a [u8],
    /// It has not the shape that our own producers give.
    pub foreign: bool,
}

/// A broker's fault that was put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// What to undo when it is over; `None`: it was over at once.
    pub heal: Option<Heal>,
    /// In a few words, for traces.
    pub text: String,
}

/// How to undo a broker's fault: the backend's own number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heal(pub u64);

/// How a group's progress is kept at the broker, which decides what the oracle holds it against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Message by message.
    #[default]
    Entries,
    /// As one position in each shard.
    Offsets,
}

/// A backend, as the world sees it.
pub trait Backend {
    /// The machine, as production runs it.
    type Machine: Machine;
    /// The model broker.
    type Broker: Broker;

    /// Names of the broker's faults, for tables.
    const FAULTS: &'static [&'static str];

    /// How a group's progress is kept.
    const PROGRESS: Progress = Progress::Entries;

    /// What the broker calls a shard; `sharded`: of a stream that has several.
    fn shard_name(stream: &StreamKey, shard: ShardId, sharded: bool) -> Bytes;

    /// A position to rewind to, from a number below 2^41.
    fn position(number: u64) -> SeqNo {
        SeqNo::redis(number, 0)
    }

    /// How much longer than elsewhere everything may take once faults are over.
    fn patience(_options: &ConsumerOptions) -> Duration {
        Duration::ZERO
    }

    /// A machine.
    ///
    /// # Errors
    /// As the machine's own `new`.
    fn machine(&mut self, setup: Setup) -> Result<Self::Machine, Error>;

    /// What a member did since the last time, where it takes its messages by itself. The world
    /// looks after everything that it does to the machine.
    fn observe(_machine: &mut Self::Machine) -> Vec<Observed> {
        Vec::new()
    }

    /// The broker.
    fn broker(&mut self) -> &mut Self::Broker;

    /// Appends a message by the world's own hand; false if the broker can't take it now.
    fn produce(&mut self, now: Instant, message: &Produced<'_>) -> bool;

    /// Puts in fault number `which` of [`Backend::FAULTS`]; `None` if it makes no sense now.
    fn disturb(&mut self, now: Instant, which: usize, tape: &mut Tape) -> Option<Outage>;

    /// Ends a fault.
    fn heal(&mut self, now: Instant, heal: Heal);

    /// All faults are over, and stay so; what they broke and a consumer can't mend is mended.
    fn calm(&mut self, now: Instant);

    /// The members of a group, as the broker knows them; those that must be alive in the end.
    fn members(&mut self, _group: &Bytes) -> Vec<Bytes> {
        Vec::new()
    }

    /// What of the group's work the broker still waits for, in a few words.
    fn unfinished(&mut self, now: Instant, group: &Bytes) -> Option<String>;
}

/// A backend that needs nothing but the kind of world that it is for.
pub trait Fresh: Backend {
    /// Makes a swarm one of this backend's: what only its consumers have is drawn, too.
    fn refine(_swarm: &mut Swarm, _tape: &mut Tape) {}

    /// A fresh cluster, with these shards.
    fn new(swarm: &Swarm, shards: &[(StreamKey, ShardId)], tape: &mut Tape) -> Self;
}

mod kafka;
mod observed;
mod redis;

pub use kafka::KafkaBackend;
pub use observed::Observed;
pub use redis::RedisBackend;
