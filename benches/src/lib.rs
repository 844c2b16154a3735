//! tidegate-benches: what the measurements of every backend share.
//!
//! Theory of operation. A **contender** is one way to consume a stream. Each of its runs is a process of its
//! own: the bench binary starts itself again with a hidden argument ([`child::run`]), so that CPU seconds and
//! peak resident memory are the client's and nobody else's. The child counts through a [`tally::Tally`] and
//! prints one line of JSON, a [`child::Measured`], which the parent gathers, reduces to medians ([`stats`])
//! and prints as markdown ([`report`]).
//!
//! **Invariant:** no process outlives the bench: every child is behind a guard that kills it by its own id.
//! **Invariant:** a run that did not do all of its work yields no rate, only a remark.

pub mod allocations;
pub mod child;
pub mod kafka;
pub mod redis;
pub mod report;
pub mod runtime;
pub mod stats;
pub mod tally;

/// What can go wrong in a measurement; it is reported as text, never acted upon.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
