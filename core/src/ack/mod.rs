//! The ack ledger: what was handed out, what the application is done with, what the broker knows.
//!
//! # Theory of operation
//!
//! A delivered batch is a *segment*: its positions, and three bits a message. A message is **in
//! flight** (handed out; no bit), **acked** (the application is done), **committing** (in a
//! commit that the broker hasn't answered), then **gone** (committed, or withdrawn before the
//! application saw it). A segment of which everything is gone is freed, so one message that is
//! never acked pins its own segment and nothing else.
//!
//! ```text
//!            ack              next_commit             committed
//! in flight ─────► acked ───────────────► committing ───────────► gone ─► freed
//!     │              ▲                        │                     ▲
//!     │              └──────── failed ────────┘                     │
//!     └──────────────────────── withdraw ───────────────────────────┘
//! ```
//!
//! Two ways of committing share it. Redis and Kafka share groups commit *messages*
//! ([`Ledger::next_commit`]); Kafka offsets commit a *frontier* ([`Ledger::next_frontier`]): the
//! last message before which nothing of the slot is un-acked. Acks may come in any order.
//!
//! Each slot keeps its segments in the order of their positions. Segments with positions that
//! ascend and lie beside those of all others are found by their first one; those that overlap
//! (claimed, recovered, handed out twice) are indexed message by message.
//!
//! Costs: an ack of a range is a lookup and one step for 64 messages; a commit is O(log n) a
//! segment and O(1) a message. A message costs 3 bits, and 16 bytes if its batch has gaps between its
//! positions; a segment some 200 bytes; a message of an overlapping segment about 100 bytes more.
//!
//! **Invariant:** a message is in one of the four states, and in at most one commit.
//!
//! **Invariant:** what was acked stays in the ledger until its commit was confirmed, or its slot
//! revoked.
//!
//! **Invariant:** a frontier never passes a message that is in flight or withdrawn, and never
//! moves backwards within an epoch.
//!
//! **Invariant:** no acks, commit ids or ranges, however wrong, make it panic or loop.

mod ledger;
mod segment;
mod seqs;
mod slot;
#[cfg(test)]
mod tests;

pub use ledger::{AckReport, Commit, CommitId, Frontier, Ledger, TOMBSTONES_MAX};

use crate::stream::Epoch;

/// A run of messages that was handed out together: a batch, seen from the ledger. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u64);

/// Messages `start..end` of a segment: what an ack speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckRange {
    /// Which run.
    pub segment: SegmentId,
    /// The assignment under which it was handed out.
    pub epoch: Epoch,
    /// The first message, counted from 0.
    pub start: u32,
    /// One past the last message.
    pub end: u32,
}

/// An assigned shard, by the machine's own dense number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// Work done, counted in tests only, by a ledger and its parts together: costs are asserted in
/// steps, not in time.
#[derive(Clone, Debug, Default)]
struct Steps {
    #[cfg(test)]
    count: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl Steps {
    #[cfg(test)]
    fn add(&self, n: usize) {
        self.count.fetch_add(n as u64, std::sync::atomic::Ordering::Relaxed);
    }

    #[cfg(test)]
    fn take(&self) -> u64 {
        self.count.swap(0, std::sync::atomic::Ordering::Relaxed)
    }

    #[cfg(not(test))]
    const fn add(&self, _: usize) {}
}
