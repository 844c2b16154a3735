//! What the partitions test is made of: a plan of faults, and producers that live through them.
//!
//! # Theory of operation
//!
//! [`plan`] draws from a seed which faults come when, as pure data: the same seed is the same plan, however
//! slow the machine is. Who carries it out is a matter of what a fault is about: the network and the
//! brokers have one thread for them, and each crew has the thread that keeps its books. [`Feeds`] are
//! producers, one for each partition, so that one that can't write holds up no other.
//!
//! **Invariant:** each kind of fault comes once before any comes twice.
//!
//! **Invariant:** two faults at a time at most, and all are over at the end of the plan.

mod feeds;
mod plan;

pub(crate) use feeds::{Acknowledged, Feeds};
pub(crate) use plan::{Act, Kind, Planned, events, plan};

/// The brokers' legs in the network are 0, 1 and 2.
pub(crate) const BROKERS: usize = 3;

/// The legs that members live at the end of.
pub(crate) const MEMBERS: [usize; 2] = [3, 4];

/// The leg of the producers, of the administrator and of the test itself.
pub(crate) const PRODUCERS: usize = 5;

/// How many there are.
pub(crate) const LEGS: usize = 6;
