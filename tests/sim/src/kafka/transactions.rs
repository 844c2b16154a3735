//! Transactions, by the world's own hand (KIP-98).
//!
//! A log has what transactional producers leave in it: their batches, of several producers in turn,
//! and the markers that end a transaction. A reader of committed records gets nothing from the first
//! one of an open transaction on, and is told which producers' records were aborted.

use bytes::Bytes;
use tidegate_core::Instant;
use tidegate_core::kafka::records::{BatchBuilder, Marker, NewRecord};

use super::Kafka;

impl Kafka {
    /// Appends records of a producer's transaction in one batch; its first ones begin it. The first
    /// one's offset, or `None` if nobody leads the partition.
    ///
    /// ```
    /// use tidegate_core::Instant;
    /// use tidegate_core::kafka::records::Marker;
    /// use tidegate_sim::kafka::{Config, Kafka};
    ///
    /// let mut kafka = Kafka::new(Config::default());
    /// kafka.create_topic("orders", 1);
    /// let now = Instant::from_nanos(5_000_000_000);
    /// // Two transactions that are open at the same time; the second one is aborted.
    /// assert_eq!(kafka.produce_transactional(now, "orders", 0, 1, &[b"a"]), Some(0));
    /// assert_eq!(kafka.produce_transactional(now, "orders", 0, 2, &[b"b", b"c"]), Some(1));
    /// assert_eq!(kafka.end_transaction(now, "orders", 0, 2, Marker::Abort), Some(3));
    /// assert_eq!(kafka.end_transaction(now, "orders", 0, 1, Marker::Commit), Some(4));
    /// ```
    pub fn produce_transactional(
        &mut self,
        now: Instant,
        name: &str,
        index: i32,
        producer: i64,
        values: &[&[u8]],
    ) -> Option<i64> {
        let timestamp = self.wall_clock(now);
        let mut builder = BatchBuilder::new(0);
        builder.producer(producer, 0, -1).transactional(true);
        for (offset, value) in (0..).zip(values) {
            builder.record(NewRecord { offset, timestamp, value: Some(value), ..NewRecord::default() });
        }
        let batch = builder.build().ok()?;
        self.append(name, index, batch.into())
    }

    /// Ends a producer's transaction in a partition. The marker's offset, or `None` if nobody leads
    /// the partition.
    pub fn end_transaction(
        &mut self,
        now: Instant,
        name: &str,
        index: i32,
        producer: i64,
        marker: Marker,
    ) -> Option<i64> {
        let timestamp = self.wall_clock(now);
        let batch = BatchBuilder::marker(0, producer, 0, timestamp, marker).build().ok()?;
        self.append(name, index, batch.into())
    }

    /// Appends batches as they are, such as [`BatchBuilder`] makes: with any codec, keys, headers.
    /// Their offsets are given anew. The first one's, or `None` if nobody leads the partition, or a
    /// batch is broken.
    pub fn produce_batches(&mut self, now: Instant, name: &str, index: i32, batches: Bytes) -> Option<i64> {
        self.now = self.now.max(now);
        self.append(name, index, batches)
    }

    /// Milliseconds since the Unix epoch.
    pub(super) fn wall_clock(&mut self, now: Instant) -> i64 {
        self.now = self.now.max(now);
        let millis = i64::try_from(self.now.as_nanos() / 1_000_000).unwrap_or(i64::MAX);
        self.config.unix_ms_at_origin.saturating_add(millis)
    }
}
