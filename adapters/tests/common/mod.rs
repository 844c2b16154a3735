//! A scripted machine, and a runtime that runs what the test says, when it says so.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod fake;
pub mod manual;

use tidegate::{Batch, SeqNo, ShardId, Timestamp};
use tidegate_core::Epoch;
use tidegate_core::ack::SegmentId;
use tidegate_core::message::{Entries, Entry, Source};

/// Messages `from..to`, their numbers as sequences, in a segment named after the first.
pub fn batch(epoch: u64, from: u64, to: u64) -> Batch {
    let entry =
        |at| Entry { seq: SeqNo::offset(at), timestamp: Timestamp::default(), deliveries: 1, place: 0 };
    let source = Source {
        stream: "s".into(),
        shard: ShardId::ZERO,
        epoch: Epoch(epoch),
        segment: Some(SegmentId(from)),
    };
    Batch::new(source, Entries { index: (from..to).map(entry).collect(), ..Entries::default() })
}
