//! tidegate-sim: consumers of tidegate under a simulated year of faults.

#![forbid(unsafe_code)]

pub mod broker;
pub mod history;
pub mod redis;
pub mod tape;
pub mod timeline;

pub use broker::{Broker, BrokerCommand, BrokerEvent, Fact, PeerId};
pub use history::History;
pub use tape::Tape;
