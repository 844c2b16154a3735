//! Counters of a consumer.

/// What a consumer did since it was made. Counters only grow; gauges say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages given to the data lane.
    pub delivered: u64,
    /// Messages that the application acked, or that `Delayed` acked for it.
    pub acked: u64,
    /// Messages that the broker was told about, and confirmed.
    pub committed: u64,
    /// Acks that named a message of an earlier assignment: ignored.
    pub stale_acks: u64,
    /// Messages taken over from other members.
    pub claimed: u64,
    /// Own messages read again after a restart or reconnect.
    pub recovered: u64,
    /// Messages that had been handed out before: of those claimed and recovered.
    pub redelivered: u64,
    /// Pending messages that no longer existed.
    pub vanished: u64,
    /// Connections made after the first ones.
    pub reconnects: u64,
    /// Errors that the broker answered.
    pub broker_errors: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Gauge: messages in the data lane, not taken yet. On Kafka only what waits in the handle:
    /// in the machine records are bytes until they are taken.
    pub queued: u64,
    /// Gauge: bytes in the data lane, not taken yet; `Limits::lane_bytes_max` bounds them.
    pub queued_bytes: u64,
    /// Gauge: messages handed out and not acked.
    pub in_flight: u64,
    /// Gauge: acked, and the broker has not confirmed.
    pub uncommitted: u64,
    /// Gauge: shards that are read.
    pub shards: u64,
    /// Gauge: entries that the group has not handed out yet, as the broker last said; `None`
    /// where it doesn't know.
    pub lag: Option<u64>,
}
