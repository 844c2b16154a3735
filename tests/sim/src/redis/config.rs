//! What a model Redis is set up as, and what can be wrong with one of its nodes.

use tidegate_core::Instant;

/// Whose answers are given, as far as they differ for streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// XAUTOCLAIM without deleted ids; deleted bodies are nil; a blocked XREADGROUP outlives its key.
    V6_2,
    /// As 7.0.15.
    #[default]
    V7_0,
    /// A blocked read runs again when its key changes; reading makes the consumer.
    V7_2,
    /// XREAD knows `+`; the lag of a group sees tombstones.
    V8_0,
}

impl Version {
    /// The number that it says it has.
    pub fn number(self) -> &'static str {
        match self {
            Self::V6_2 => "6.2.14",
            Self::V7_0 => "7.0.15",
            Self::V7_2 => "7.2.4",
            Self::V8_0 => "8.0.0",
        }
    }
}

/// What a model Redis is set up as.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose answers are given. Default 7.0.
    pub version: Version,
    /// Primaries, at least one. Default 1. Without `cluster` each is a server of its own.
    pub nodes: usize,
    /// Whether the nodes share the hash slots, in equal runs. Default false.
    pub cluster: bool,
    /// Whether each primary has an asynchronous replica to fail over to. In a cluster a replica
    /// is a node of its own, `nodes` further than its primary; else it is known by nobody and
    /// takes its primary's address over. Default false.
    pub replicas: bool,
    /// The default user's password. Default none.
    pub password: Option<String>,
    /// Connections to one node, above which they are turned away. Default 10,000.
    pub maxclients: usize,
    /// The host that all nodes say they are on. Default `127.0.0.1`.
    pub host: String,
    /// The first node's port; the others follow. Default 6379.
    pub port: u16,
    /// The wall clock at the origin of time, in milliseconds since the Unix epoch. Default
    /// 1,700,000,000,000.
    pub unix_ms_at_origin: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: Version::default(),
            nodes: 1,
            cluster: false,
            replicas: false,
            password: None,
            maxclients: 10_000,
            host: "127.0.0.1".to_owned(),
            port: 6379,
            unix_ms_at_origin: 1_700_000_000_000,
        }
    }
}

/// How a node answers until told otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// As a healthy one.
    #[default]
    Normal,
    /// LOADING to nearly everything, until then.
    Loading {
        /// The moment from which it is normal.
        until: Instant,
    },
    /// READONLY to writes, as a replica; its blocked clients are unblocked and disconnected.
    ReadOnly,
    /// OOM to what takes memory.
    Oom,
    /// CLUSTERDOWN to what names a key.
    ClusterDown,
    /// MASTERDOWN to nearly everything, as a replica that lost its primary and serves no stale data.
    MasterDown,
    /// BUSY to nearly everything: a script runs too long.
    Busy,
    /// MISCONF to writes: it can't save.
    Misconf,
}

/// What a crash leaves on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All, as with `appendfsync always`.
    All,
    /// What there was at the last save point; nothing if there was none.
    SavePoint,
    /// Nothing.
    Nothing,
}
