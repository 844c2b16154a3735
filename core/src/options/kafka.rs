//! What only Kafka has: the group protocol, fetching, resets.
//!
//! Names and defaults are those of Apache Kafka 4.3's own consumer (`ConsumerConfig`) where it has
//! them; each field says under which name.
//!
//! **Invariant:** a duration fits the wire, which counts in 32-bit milliseconds; a text fits a
//! 16-bit length.

use std::time::Duration;

use super::ConsumerMode;
use crate::assign::{OwnAssignor, by_name};
use crate::error::Error;

/// Who decides which member reads which partition (`group.protocol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupProtocol {
    /// [`Consumer`](Self::Consumer) where the broker has it, else [`Classic`](Self::Classic). The
    /// default.
    #[default]
    Auto,
    /// JoinGroup and SyncGroup: a member of the group decides, all brokers have it.
    Classic,
    /// ConsumerGroupHeartbeat (KIP-848, Kafka 4.0): the broker decides.
    Consumer,
    /// Share groups (KIP-932, Kafka 4.2): members share partitions, each message is acked by itself.
    Share,
}

/// How the leader of a classic group shares out the partitions (`partition.assignment.strategy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AssignorKind {
    /// Of each topic a run of partitions to each member. Eager.
    Range,
    /// Partition by partition, member by member. Eager.
    RoundRobin,
    /// In balance, with as few moves as that allows. Eager.
    Sticky,
    /// As sticky; members keep reading what they keep (KIP-429).
    CooperativeSticky,
}

impl AssignorKind {
    /// Its name on the wire, as Kafka's own members have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }
}

/// Whether what a transaction has not committed is read (`isolation.level`, KIP-98).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All of it, what will be aborted as well. The default.
    #[default]
    ReadUncommitted,
    /// Only what was committed, as far as no transaction is open before it.
    ReadCommitted,
}

/// Where to go on where there is no position: the group committed none, or the log no longer has
/// it (`auto.offset.reset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// At the oldest message.
    Earliest,
    /// At the end: what comes from then on.
    Latest,
    /// Nowhere: it is an error.
    None,
    /// At the first message that is no older than this when the position is looked for (KIP-1106,
    /// `by_duration`), by the timestamps that brokers have; at the end if there is none. It needs
    /// [`Setup::wall_clock`](crate::Setup::wall_clock), which the adapters fill in.
    ByDuration(Duration),
}

/// Options of a Kafka consumer; other backends take no notice of them.
///
/// ```
/// # use tidegate_core::{AssignorKind, ConsumerMode, ConsumerOptions, GroupProtocol, KafkaOptions};
/// let kafka = KafkaOptions::default()
///     .protocol(GroupProtocol::Classic)
///     .assignors([AssignorKind::CooperativeSticky]);
/// let options = ConsumerOptions::new(ConsumerMode::LoadBalanced).group("billing").kafka(kafka);
/// assert!(options.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KafkaOptions {
    /// The group protocol (`group.protocol`). Default: the newest that the broker has.
    pub protocol: GroupProtocol,
    /// What this member of a classic group can do, the favourite first
    /// (`partition.assignment.strategy`); the group takes one that all its members can. Default
    /// range and cooperative-sticky, as Kafka's own, so that members of both kinds share a group.
    /// Cooperative only where each one in the list is. Other protocols take no notice.
    pub assignors: Vec<AssignorKind>,
    /// Assignors of one's own, preferred to [`assignors`](Self::assignors), the favourite first; for
    /// classic groups, so [`protocol`](Self::protocol) has to be named. A trace has their names
    /// only. Default none.
    pub own_assignors: Vec<OwnAssignor>,
    /// Default read-uncommitted.
    pub isolation: Isolation,
    /// Default `None`, which goes by the mode: see [`reset_in`](Self::reset_in).
    pub reset: Option<Reset>,
    /// Classic groups: how soon a member that isn't heard of is dead, and its partitions are given
    /// away (`session.timeout.ms`); the broker has bounds of its own for it. Default 45 s. Other
    /// protocols have it from the broker.
    pub session_timeout: Duration,
    /// Classic groups: how often this member is heard of (`heartbeat.interval.ms`); at most a third
    /// of [`session_timeout`](Self::session_timeout). Default 3 s. Other protocols have it from the
    /// broker.
    pub heartbeat_interval: Duration,
    /// How long the members have for a rebalance, and how long the application may take nothing of
    /// what is there before this member leaves the group (`max.poll.interval.ms`). Default 5 min.
    /// What is there counts from where the handle's own share is full: see
    /// [`Limits::lane_records_max`](crate::Limits::lane_records_max).
    pub rebalance_timeout: Duration,
    /// Where this consumer is (`client.rack`): brokers may name a replica nearby to fetch from
    /// (KIP-392), assignors may take it into account (KIP-881). Default none.
    pub rack: Option<String>,
    /// A name of this member that outlives it (`group.instance.id`, KIP-345): one that is back
    /// within the session time-out finds its partitions, without a rebalance. Default none.
    pub instance: Option<String>,
    /// A text that is committed with each offset. Default none. Brokers take up to 4,096 bytes
    /// (`offset.metadata.max.bytes`).
    pub commit_metadata: Option<String>,
    /// How old what is known of the cluster may become (`metadata.max.age.ms`): how soon new topics
    /// and partitions are found. Default 5 min.
    pub metadata_age: Duration,
    /// Bytes that the broker waits for before it answers a fetch (`fetch.min.bytes`). Default 1.
    pub fetch_min_bytes: u32,
    /// How long it waits for them (`fetch.max.wait.ms`). Default 500 ms.
    pub fetch_max_wait: Duration,
    /// Bytes of one answer to a fetch (`fetch.max.bytes`), one from each broker at a time; a single
    /// batch that is larger comes whole all the same (KIP-74). Default 8 MiB: what is asked for
    /// counts against `Limits::lane_bytes_max`, larger answers cost memory and win nothing.
    pub fetch_bytes_max: u32,
    /// Bytes of one partition in one answer (`max.partition.fetch.bytes`), likewise. Default 1 MiB.
    pub partition_bytes_max: u32,
    /// Whether the checksum of each batch is verified (`check.crcs`). Default true.
    pub check_crc: bool,
    /// What the broker calls this program in its logs, metrics and quotas (`client.id`). Default
    /// `tidegate`.
    pub client_id: String,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            protocol: GroupProtocol::Auto,
            assignors: vec![AssignorKind::Range, AssignorKind::CooperativeSticky],
            own_assignors: Vec::new(),
            isolation: Isolation::ReadUncommitted,
            reset: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout: Duration::from_secs(300),
            rack: None,
            instance: None,
            commit_metadata: None,
            metadata_age: Duration::from_secs(300),
            fetch_min_bytes: 1,
            fetch_max_wait: Duration::from_millis(500),
            fetch_bytes_max: 8 << 20,
            partition_bytes_max: 1 << 20,
            check_crc: true,
            client_id: "tidegate".into(),
        }
    }
}

impl KafkaOptions {
    /// Sets [`protocol`](Self::protocol).
    #[must_use]
    pub fn protocol(mut self, protocol: GroupProtocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Sets [`assignors`](Self::assignors).
    #[must_use]
    pub fn assignors(mut self, assignors: impl IntoIterator<Item = AssignorKind>) -> Self {
        self.assignors = assignors.into_iter().collect();
        self
    }

    /// Sets [`own_assignors`](Self::own_assignors).
    #[must_use]
    pub fn own_assignors(mut self, assignors: impl IntoIterator<Item = OwnAssignor>) -> Self {
        self.own_assignors = assignors.into_iter().collect();
        self
    }

    /// Sets [`isolation`](Self::isolation).
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Sets [`reset`](Self::reset).
    #[must_use]
    pub fn reset(mut self, reset: Reset) -> Self {
        self.reset = Some(reset);
        self
    }

    /// Sets [`session_timeout`](Self::session_timeout), and shortens
    /// [`heartbeat_interval`](Self::heartbeat_interval) to a third of it where it is longer.
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self.heartbeat_interval = self.heartbeat_interval.min(timeout / 3);
        self
    }

    /// Sets [`heartbeat_interval`](Self::heartbeat_interval).
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = interval;
        self
    }

    /// Sets [`rebalance_timeout`](Self::rebalance_timeout).
    #[must_use]
    pub fn rebalance_timeout(mut self, timeout: Duration) -> Self {
        self.rebalance_timeout = timeout;
        self
    }

    /// Sets [`rack`](Self::rack).
    #[must_use]
    pub fn rack(mut self, rack: impl Into<String>) -> Self {
        self.rack = Some(rack.into());
        self
    }

    /// Sets [`instance`](Self::instance).
    #[must_use]
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Sets [`commit_metadata`](Self::commit_metadata).
    #[must_use]
    pub fn commit_metadata(mut self, metadata: impl Into<String>) -> Self {
        self.commit_metadata = Some(metadata.into());
        self
    }

    /// Sets [`metadata_age`](Self::metadata_age).
    #[must_use]
    pub fn metadata_age(mut self, age: Duration) -> Self {
        self.metadata_age = age;
        self
    }

    /// Sets [`fetch_min_bytes`](Self::fetch_min_bytes).
    #[must_use]
    pub fn fetch_min_bytes(mut self, bytes: u32) -> Self {
        self.fetch_min_bytes = bytes;
        self
    }

    /// Sets [`fetch_max_wait`](Self::fetch_max_wait).
    #[must_use]
    pub fn fetch_max_wait(mut self, wait: Duration) -> Self {
        self.fetch_max_wait = wait;
        self
    }

    /// Sets [`fetch_bytes_max`](Self::fetch_bytes_max).
    #[must_use]
    pub fn fetch_bytes_max(mut self, bytes: u32) -> Self {
        self.fetch_bytes_max = bytes;
        self
    }

    /// Sets [`partition_bytes_max`](Self::partition_bytes_max).
    #[must_use]
    pub fn partition_bytes_max(mut self, bytes: u32) -> Self {
        self.partition_bytes_max = bytes;
        self
    }

    /// Sets [`check_crc`](Self::check_crc).
    #[must_use]
    pub fn check_crc(mut self, check: bool) -> Self {
        self.check_crc = check;
        self
    }

    /// Sets [`client_id`](Self::client_id).
    #[must_use]
    pub fn client_id(mut self, id: impl Into<String>) -> Self {
        self.client_id = id.into();
        self
    }

    /// Where to go on in this mode: [`reset`](Self::reset), or if that is unset the oldest message
    /// for a group, as nothing may be lost between the first message and the first member, and the
    /// end for real-time.
    pub fn reset_in(&self, mode: ConsumerMode) -> Reset {
        self.reset.unwrap_or(match mode {
            ConsumerMode::RealTime => Reset::Latest,
            ConsumerMode::Resumable | ConsumerMode::LoadBalanced => Reset::Earliest,
        })
    }

    /// Whether the options fit together, and the wire.
    ///
    /// # Errors
    /// [`Error::Options`], with what to change.
    pub fn check(&self) -> Result<(), Error> {
        match self.wrong() {
            None => Ok(()),
            Some(what) => Err(Error::Options(format!("kafka.{what}").into())),
        }
    }

    fn wrong(&self) -> Option<String> {
        let has_twice = |at: usize, kind| self.assignors.iter().skip(at + 1).any(|other| *other == kind);
        let twice = self.assignors.iter().enumerate().find(|(at, kind)| has_twice(*at, **kind));
        if let Some((_, kind)) = twice {
            return Some(format!("assignors has {} twice: name it once", kind.name()));
        }
        if self.protocol != GroupProtocol::Consumer
            && self.protocol != GroupProtocol::Share
            && self.assignors.is_empty()
            && self.own_assignors.is_empty()
        {
            return Some("assignors is empty, and a classic group needs one: name range, for example".into());
        }
        if self.protocol == GroupProtocol::Share {
            let set = [
                ("instance", self.instance.is_some(), "share groups have no static members"),
                ("reset", self.reset.is_some(), "it is the group's (share.auto.offset.reset)"),
                (
                    "isolation",
                    self.isolation != Isolation::ReadUncommitted,
                    "it is the group's (share.isolation.level)",
                ),
                ("commit_metadata", self.commit_metadata.is_some(), "share groups commit no offsets"),
            ];
            if let Some((name, _, why)) = set.iter().find(|(_, is_set, _)| *is_set) {
                return Some(format!("{name} is not for share groups: {why}; leave it out"));
            }
        }
        self.wrong_own().or_else(|| self.wrong_number()).or_else(|| self.wrong_text())
    }

    fn wrong_own(&self) -> Option<String> {
        for (at, own) in self.own_assignors.iter().enumerate() {
            let name = own.name();
            let wrong = match name.len() {
                0 => Some("one without a name: groups agree on an assignor by its name".into()),
                1..=TEXT_MAX => None,
                _ => Some(format!("a name that is longer than {TEXT_MAX} bytes: shorten it")),
            };
            let wrong = wrong.or_else(|| match () {
                () if by_name(name).is_some() => {
                    Some(format!("{name}, which others understand as Kafka's: choose another name"))
                }
                () if self.own_assignors.iter().skip(at + 1).any(|other| other == own) => {
                    Some(format!("{name:?} twice: name it once"))
                }
                () if own.assignor().is_none() => Some(format!(
                    "{name:?} from a trace, which has no more than the name: replay it from a program that puts \
                     its assignor there"
                )),
                () if self.protocol != GroupProtocol::Classic => Some(format!(
                    "{name:?}, and only in classic groups a member assigns: choose the protocol classic"
                )),
                () => None,
            });
            if let Some(wrong) = wrong {
                return Some(format!("own_assignors has {wrong}"));
            }
        }
        None
    }

    fn wrong_number(&self) -> Option<String> {
        let spans = [
            ("session_timeout", self.session_timeout),
            ("heartbeat_interval", self.heartbeat_interval),
            ("rebalance_timeout", self.rebalance_timeout),
            ("metadata_age", self.metadata_age),
        ];
        let least = Duration::from_millis(1);
        if let Some((name, _)) = spans.iter().find(|(_, span)| *span < least || *span > MILLIS_MAX) {
            return Some(format!("{name} is 1 ms to 24 days"));
        }
        if self.fetch_max_wait > MILLIS_MAX {
            return Some("fetch_max_wait is at most 24 days".into());
        }
        if self.heartbeat_interval > self.session_timeout / 3 {
            return Some(format!(
                "heartbeat_interval ({:?}) is more than a third of session_timeout ({:?}), so one that is late \
                 makes the member dead: shorten it, or raise session_timeout",
                self.heartbeat_interval, self.session_timeout
            ));
        }
        let sizes = [
            ("fetch_bytes_max", self.fetch_bytes_max),
            ("partition_bytes_max", self.partition_bytes_max),
            // The broker takes 0 as 1.
            ("fetch_min_bytes", self.fetch_min_bytes.max(1)),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0 || *size > BYTES_MAX) {
            return Some(format!("{name} is 1 to {BYTES_MAX} bytes"));
        }
        for (name, size) in sizes.iter().skip(1) {
            if *size > self.fetch_bytes_max {
                return Some(format!(
                    "{name} ({size}) is more than fetch_bytes_max ({}): lower it, or raise fetch_bytes_max",
                    self.fetch_bytes_max
                ));
            }
        }
        None
    }

    fn wrong_text(&self) -> Option<String> {
        if self.instance.as_deref() == Some("") {
            return Some("instance is empty: name the member, or leave it out".into());
        }
        let texts = [
            ("client_id", Some(&self.client_id)),
            ("rack", self.rack.as_ref()),
            ("instance", self.instance.as_ref()),
            ("commit_metadata", self.commit_metadata.as_ref()),
        ];
        let long = texts.iter().find(|(_, text)| text.is_some_and(|text| text.len() > TEXT_MAX));
        long.map(|(name, _)| format!("{name} is longer than {TEXT_MAX} bytes: shorten it"))
    }
}

/// The wire counts milliseconds in 32 bits, with a sign.
const MILLIS_MAX: Duration = Duration::from_millis(i32::MAX as u64);
/// And bytes.
const BYTES_MAX: u32 = i32::MAX as u32;
/// And the bytes of a text in 16.
const TEXT_MAX: usize = i16::MAX as usize;

#[cfg(test)]
#[path = "kafka_tests.rs"]
mod tests;
