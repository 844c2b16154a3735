//! tidegate-sim: consumers of tidegate under a simulated year of faults.

#![forbid(unsafe_code)]

pub mod backend;
pub mod broker;
pub mod campaign;
mod explore;
pub mod history;
pub mod oracle;
pub mod redis;
#[cfg(feature = "serve")]
pub mod serve;
mod seed;
mod shrink;
pub mod swarm;
pub mod tape;
pub mod timeline;
pub mod world;

pub use backend::{Backend, RedisBackend};
pub use broker::{Broker, BrokerCommand, BrokerEvent, Fact, PeerId};
pub use campaign::{Failure, Summary, campaign, choices, run};
pub use explore::{Explored, explore};
pub use history::History;
pub use seed::{Seed, SeedError, VERSION, parse_tape, print_tape};
pub use shrink::shrink;
pub use swarm::Swarm;
pub use tape::Tape;
pub use world::{Keep, Report, World};
