//! What a timer, an ack and a commit cost while so many messages are un-acked.

use std::time::{Duration, Instant as Clock};

use tidegate_core::ack::{AckRange, Ledger, Slot};
use tidegate_core::commit::{AutoCommit, Schedule};
use tidegate_core::{Epoch, Instant, SeqNo};

/// Nanoseconds, with this many messages un-acked.
pub(crate) struct Cost {
    pub(crate) unacked: u64,
    /// Asking when to wake, and being told that nothing is due.
    pub(crate) timer: f64,
    /// Acking one message in the middle.
    pub(crate) ack: f64,
    /// Committing one message, in commits of 1,000.
    pub(crate) commit: f64,
}

/// Messages of one batch.
const BATCH: u64 = 100;
/// Messages acked in each measurement.
const ACKED: u64 = 1_000;

/// One row for each power of ten from 10³ to 10⁶.
pub(crate) fn table() -> Vec<Cost> {
    [1_000, 10_000, 100_000, 1_000_000].map(row).into()
}

fn row(unacked: u64) -> Cost {
    let now = Instant::from_nanos(1);
    let mut ledger = Ledger::new();
    let mut schedule = Schedule::new(AutoCommit::default(), 1_000, Schedule::IDLE);
    let mut segments = Vec::new();
    for first in (0..unacked + ACKED).step_by(BATCH as usize) {
        let seqs: Vec<SeqNo> = (first..first + BATCH).map(|counter| SeqNo::redis(1, counter)).collect();
        segments.push(ledger.deliver(now, Slot(0), Epoch(1), seqs.into_iter()));
    }
    let timer = nanos(ACKED, || {
        std::hint::black_box((schedule.next_wake(), ledger.next_aging_at(Duration::from_secs(20))));
    });
    // Single messages all over the un-acked ones, no two of them neighbours.
    let every = segments.len() / 100;
    let mut at = 0;
    let ack = nanos(ACKED, || {
        let segment = segments[(at as usize * 7 % 100) * every.max(1) % segments.len()];
        let start = (at / 100 * 2) as u32;
        let report = ledger.ack(AckRange { segment, epoch: Epoch(1), start, end: start + 1 });
        schedule.handle_acked(now, report.newly);
        at += 1;
    });
    let acked = ledger.acked();
    let mut ids = Vec::new();
    let clock = Clock::now();
    while let Some(commit) = ledger.next_commit(1_000, &mut ids) {
        ledger.committed(commit.id);
        ids.clear();
    }
    let commit = clock.elapsed().as_nanos() as f64 / acked.max(1) as f64;
    Cost { unacked, timer, ack, commit }
}

fn nanos(times: u64, mut run: impl FnMut()) -> f64 {
    let clock = Clock::now();
    (0..times).for_each(|_| run());
    clock.elapsed().as_nanos() as f64 / times as f64
}
