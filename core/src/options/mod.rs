//! How a consumer behaves: one type for all backends.
//!
//! # Theory of operation
//!
//! [`ConsumerOptions`] has what every backend understands; what only one broker has is a part of it
//! (`kafka`), and the others take no notice. [`check`](ConsumerOptions::check) sees what contradicts
//! itself in options alone; a machine refuses what its broker can't have.
//!
//! **Invariant:** whatever passes the check fits the wire, and the defaults pass.
//!
//! **Invariant:** each option is in a trace (`trace::setup`), so that a replay has the same.

mod kafka;

use std::fmt;
use std::time::Duration;

use crate::claim::ClaimOptions;
use crate::commit::AutoCommit;
use crate::error::Error;
use crate::identity::{ConsumerGroup, ConsumerId};
use crate::limits::Limits;
use crate::stream::{Position, ShardId, StreamKey, Timestamp};

pub use kafka::{AssignorKind, GroupProtocol, Isolation, KafkaOptions, Reset};

/// Who gets which messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsumerMode {
    /// Every message from now on, to every consumer. No group, nothing to ack. The default.
    #[default]
    RealTime,
    /// This host's messages, going on where it stopped: a group and member named by the host id.
    Resumable,
    /// Each message to one member of the named group.
    LoadBalanced,
}

/// Where the first read starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// [`RealTime`](ConsumerMode::RealTime): from now on. A group that doesn't exist yet: from
    /// the oldest message, as nothing may be lost between the first message and the first
    /// member. One that does: where it stands. The default.
    Default,
    /// Real-time: this position. A group that doesn't exist yet: `Beginning` or `End`; with
    /// `At`, as a rewind before the first message, so without the group.
    From(Position),
    /// As a seek before the first message: what is later than this moment, without the group.
    After(Timestamp),
}

/// A password, or anything else that must not be seen. `Debug` and `Display` show dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// What is to be kept secret.
    pub fn new(secret: impl Into<Box<str>>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the wire and nothing else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// User and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user; `None` is the server's default user.
    pub user: Option<String>,
    /// The password.
    pub password: Secret,
}

/// Options of a consumer, with defaults that are safe and fast.
///
/// ```
/// # use std::time::Duration;
/// # use tidegate_core::{AutoCommit, ConsumerMode, ConsumerOptions};
/// let options = ConsumerOptions::new(ConsumerMode::LoadBalanced)
///     .group("billing")
///     .auto_commit(AutoCommit::Rolling { interval: Duration::from_millis(200) });
/// assert!(options.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerOptions {
    /// Who gets which messages. Default real-time.
    pub mode: ConsumerMode,
    /// The group. Needed by load-balanced; resumable takes the host id if it is unset.
    pub group: Option<ConsumerGroup>,
    /// The member's name. Unset, load-balanced makes one that nobody else has, and removes it
    /// at a clean close; resumable takes the host id.
    pub consumer: Option<ConsumerId>,
    /// Who acks and who commits. Default rolling, 1 s.
    pub auto_commit: AutoCommit,
    /// Taking over what dead members left. Default every 30 s, what was idle for 60 s.
    pub claim: ClaimOptions,
    /// Where the first read starts.
    pub start: Start,
    /// Whether a missing stream is created, or waited for, instead of being an error. Default
    /// false.
    pub create: bool,
    /// Read these shards from the start, and no others. Default empty: all.
    pub shards: Vec<(StreamKey, ShardId)>,
    /// Most messages asked for at once. Default 1,000.
    pub batch: usize,
    /// How often new shards are looked for: keys `stream:N` on Redis; on Kafka partitions, by asking for
    /// metadata, unless `KafkaOptions::metadata_age` is shorter; where a pattern is subscribed, by asking
    /// for all topics, which a cluster of very many may want less often. Default 5 s.
    pub discover_interval: Duration,
    /// User and password. Default none.
    pub login: Option<Login>,
    /// Database number, Redis only. Default 0.
    pub database: u32,
    /// What only Kafka has.
    pub kafka: KafkaOptions,
    /// The bounds.
    pub limits: Limits,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            mode: ConsumerMode::RealTime,
            group: None,
            consumer: None,
            auto_commit: AutoCommit::default(),
            claim: ClaimOptions::default(),
            start: Start::Default,
            create: false,
            shards: Vec::new(),
            batch: 1_000,
            discover_interval: Duration::from_secs(5),
            login: None,
            database: 0,
            kafka: KafkaOptions::default(),
            limits: Limits::default(),
        }
    }
}

impl ConsumerOptions {
    /// The defaults in this mode.
    pub fn new(mode: ConsumerMode) -> Self {
        Self { mode, ..Self::default() }
    }

    /// Sets [`group`](Self::group).
    #[must_use]
    pub fn group(mut self, group: impl Into<ConsumerGroup>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Sets [`consumer`](Self::consumer).
    #[must_use]
    pub fn consumer(mut self, consumer: impl Into<ConsumerId>) -> Self {
        self.consumer = Some(consumer.into());
        self
    }

    /// Sets [`auto_commit`](Self::auto_commit).
    #[must_use]
    pub fn auto_commit(mut self, auto_commit: AutoCommit) -> Self {
        self.auto_commit = auto_commit;
        self
    }

    /// Sets [`claim`](Self::claim).
    #[must_use]
    pub fn claim(mut self, claim: ClaimOptions) -> Self {
        self.claim = claim;
        self
    }

    /// Sets [`start`](Self::start).
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Sets [`create`](Self::create).
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Adds one to [`shards`](Self::shards).
    #[must_use]
    pub fn shard(mut self, stream: impl Into<StreamKey>, shard: ShardId) -> Self {
        self.shards.push((stream.into(), shard));
        self
    }

    /// Sets [`batch`](Self::batch); 0 is taken as 1.
    #[must_use]
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// Sets [`discover_interval`](Self::discover_interval).
    #[must_use]
    pub fn discover_interval(mut self, interval: Duration) -> Self {
        self.discover_interval = interval;
        self
    }

    /// Sets [`login`](Self::login).
    #[must_use]
    pub fn login(mut self, user: Option<String>, password: impl Into<Box<str>>) -> Self {
        self.login = Some(Login { user, password: Secret::new(password) });
        self
    }

    /// Sets [`database`](Self::database).
    #[must_use]
    pub fn database(mut self, database: u32) -> Self {
        self.database = database;
        self
    }

    /// Sets [`kafka`](Self::kafka).
    #[must_use]
    pub fn kafka(mut self, kafka: KafkaOptions) -> Self {
        self.kafka = kafka;
        self
    }

    /// Sets [`limits`](Self::limits).
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether the options fit together.
    ///
    /// # Errors
    /// [`Error::Options`], with what to change.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |what: &str| Err(Error::Options(what.into()));
        match self.mode {
            ConsumerMode::RealTime if self.group.is_some() => {
                wrong("real-time has no group: choose load-balanced or resumable, or leave the group out")
            }
            ConsumerMode::LoadBalanced if self.group.is_none() => {
                wrong("load-balanced needs a group: name one")
            }
            _ if self.batch == 0 => wrong("batch must be at least 1"),
            _ => self.kafka.check().and_then(|()| self.limits.check()),
        }
    }
}
