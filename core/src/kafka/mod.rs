//! The Kafka dialect and its machine.

pub mod wire;
