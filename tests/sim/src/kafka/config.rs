//! What a model Kafka is set up as.

use std::time::Duration;

use super::Release;

/// What a model Kafka is set up as.
#[derive(Clone, Debug)]
pub struct Config {
    /// Brokers, at least one; their ids are counted from 1. Default 1.
    pub nodes: usize,
    /// Replicas of each partition, at most as many as there are brokers. Default 1.
    pub replicas: usize,
    /// The host that all brokers say they are on. Default `127.0.0.1`.
    pub host: String,
    /// The first broker's port; the others follow. Default 9092.
    pub port: u16,
    /// The wall clock at the origin of time, in milliseconds since the Unix epoch. Default
    /// 1,700,000,000,000.
    pub unix_ms_at_origin: i64,
    /// How many partitions a topic has that is made without a number. Default 1.
    pub partitions: i32,
    /// Fetch sessions that one broker has room for (`max.incremental.fetch.session.cache.slots`).
    /// Default 1,000.
    pub sessions: usize,
    /// How long a fetch session is safe from others that want its place
    /// (`min.incremental.fetch.session.eviction.ms`). Default 2 minutes.
    pub session_eviction: Duration,
    /// The brokers' racks in the order of their ids, from the first again where there are fewer; an
    /// empty name is none. With racks, readers are sent to a replica in their own (KIP-392). Default
    /// none.
    pub racks: Vec<String>,
    /// What all brokers run at first. Default Kafka 4.3.
    pub release: Release,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            nodes: 1,
            replicas: 1,
            host: "127.0.0.1".into(),
            port: 9092,
            unix_ms_at_origin: 1_700_000_000_000,
            partitions: 1,
            sessions: 1_000,
            session_eviction: Duration::from_secs(120),
            racks: Vec::new(),
            release: Release::default(),
        }
    }
}
