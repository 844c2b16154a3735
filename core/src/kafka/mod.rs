//! The Kafka dialect.
//!
//! [`records`] reads what partitions hold: record batches, lazily, and the transactions that were
//! aborted among them.

pub mod records;
