//! The Kafka dialect and its machine.

pub mod sticky_data;
