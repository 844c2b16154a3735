//! The Kafka dialect.

pub mod records;
pub mod wire;
