//! The same random commands to the model Redis and to a real redis-server.
//!
//! # Theory of operation
//!
//! A [`Session`] empties both sides ([`Side`]), opens a few connections to each, and sends what
//! the [`Generator`] draws from a tape: few keys, groups, members and ids, so that things meet.
//! Commands go in batches on one connection at a time. Each side settles before the next batch,
//! so there is one order of things, the same on both. Then whole replies are compared, byte for
//! byte ([`compare`]), as well as who still waits and whose connection was closed.
//!
//! Nothing that is compared depends on how fast the machine is: ids are explicit, idle times are
//! set by XCLAIM and far from the thresholds that are asked for. What remains of the clock in a
//! reply is compared with a tolerance, the time that the slowest batch took so far: a few
//! milliseconds, and a stalled machine only widens it.
//!
//! A difference is shrunk ([`session::shrink`]) by sending fewer and fewer commands one by one.
//!
//! **Invariant:** the same seed draws the same commands as long as both sides agree.
//!
//! **Invariant:** a command is sent only to a connection that doesn't wait.

mod command;
pub mod compare;
mod explained;
pub mod found;
mod frame;
mod generate;
mod model;
mod real;
pub mod session;
mod side;
mod tally;

pub use generate::Generator;
pub use model::Model;
pub use real::Real;
pub use session::Session;
pub use side::Side;
pub use tally::Tally;
