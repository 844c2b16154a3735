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
    /// What all brokers run at first, and whose rules groups go by. Default Kafka 4.3.
    pub release: Release,
    /// How long a broker loads the groups that it begins to coordinate; meanwhile it answers
    /// COORDINATOR_LOAD_IN_PROGRESS. Default 0: it has them at once.
    pub coordinator_load: Duration,
    /// How long an empty classic group waits for more members, from the first one on
    /// (`group.initial.rebalance.delay.ms`, 3 s in Kafka). Default 0, as tests set it.
    pub initial_rebalance_delay: Duration,
    /// The shortest session of a classic member (`group.min.session.timeout.ms`). Default 6 s.
    pub session_timeout_min: Duration,
    /// The longest session of a classic member (`group.max.session.timeout.ms`). Default 30 min.
    pub session_timeout_max: Duration,
    /// Members of a classic group at most (`group.max.size`). Default 2,147,483,647.
    pub group_max_size: usize,
    /// Most UTF-16 units of the metadata that is committed with an offset
    /// (`offset.metadata.max.bytes`). Default 4,096.
    pub offset_metadata_max: usize,
    /// Consumer groups of the new protocol (KIP-848).
    pub consumer_groups: ConsumerGroups,
}

/// How consumer groups of the new protocol (KIP-848) are kept.
#[derive(Clone, Debug)]
pub struct ConsumerGroups {
    /// After how long without a heartbeat a member is out (`group.consumer.session.timeout.ms`).
    /// Default 45 s.
    pub session_timeout: Duration,
    /// What members are told (`group.consumer.heartbeat.interval.ms`). Default 5 s.
    pub heartbeat_interval: Duration,
    /// Most members of a group (`group.consumer.max.size`). Default: no limit.
    pub max_size: usize,
    /// Least time between two targets (`group.consumer.assignment.interval.ms`), in 4.3. Default 1 s.
    pub assignment_interval: Duration,
    /// After how long patterns are resolved again, though no topic was made
    /// (`group.consumer.regex.refresh.interval.ms`). Default 10 min.
    pub regex_refresh_interval: Duration,
}

impl Default for ConsumerGroups {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            max_size: usize::MAX,
            assignment_interval: Duration::from_secs(1),
            regex_refresh_interval: Duration::from_secs(600),
        }
    }
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
            coordinator_load: Duration::ZERO,
            initial_rebalance_delay: Duration::ZERO,
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(30 * 60),
            group_max_size: 2_147_483_647,
            offset_metadata_max: 4_096,
            consumer_groups: ConsumerGroups::default(),
        }
    }
}
