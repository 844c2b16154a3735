//! What a model Kafka is set up as.

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
    /// Fetch sessions of one broker, above which the oldest is forgotten
    /// (`max.incremental.fetch.session.cache.slots`). Default 1,000.
    pub sessions: usize,
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
        }
    }
}
