//! The ack ledger: what was handed out, what the application is done with, what the broker knows.

use crate::message::Epoch;

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
