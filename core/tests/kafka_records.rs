//! Record batches: against `kafka-protocol` and Apache Kafka's own, cut off, damaged, compacted,
//! in transactions.
//!
//! Codecs that are off are tested as such: `--all-features` tests all of them on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in tests a panic with its line is the report")]

#[path = "kafka_records/aborted.rs"]
mod aborted;
#[path = "kafka_records/codecs.rs"]
mod codecs;
#[path = "kafka_records/damage.rs"]
mod damage;
#[path = "kafka_records/index.rs"]
mod index;
#[path = "kafka_records/java.rs"]
mod java;
#[path = "kafka_records/model.rs"]
mod model;
#[path = "kafka_records/oracle.rs"]
mod oracle;
