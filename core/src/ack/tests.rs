//! Costs in steps, limits, and the corners that need names.

use std::time::Duration;

use super::*;
use crate::stream::SeqNo;
use crate::time::Instant;

const SLOT: Slot = Slot(0);
const EPOCH: Epoch = Epoch(1);

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn range(segment: SegmentId, start: u32, end: u32) -> AckRange {
    AckRange { segment, epoch: EPOCH, start, end }
}

fn deliver(ledger: &mut Ledger, offsets: &[u64]) -> SegmentId {
    ledger.deliver(at(0), SLOT, EPOCH, offsets.iter().map(|&offset| SeqNo::offset(offset)))
}

fn commit_all(ledger: &mut Ledger) -> usize {
    let mut out = Vec::new();
    while let Some(commit) = ledger.next_commit(1_000, &mut out) {
        ledger.committed(commit.id);
    }
    out.len()
}

/// Acks each message alone in an order that scatters them, and commits every thousand.
fn scattered(messages: u64, batch: u64) -> (u64, u64) {
    let mut ledger = Ledger::new();
    for first in (0..messages).step_by(batch as usize) {
        ledger.deliver(
            at(first),
            SLOT,
            EPOCH,
            (0..batch as u32).map(|n| SeqNo::offset(first + u64::from(n))),
        );
    }
    assert_eq!(ledger.in_flight(), messages);
    let delivered = ledger.take_steps();
    let mut out = Vec::new();
    for n in 0..messages {
        // A prime that divides no power of ten: each message once.
        let message = n * 611_953 % messages;
        let (segment, start) = (SegmentId(message / batch), (message % batch) as u32);
        assert_eq!(ledger.ack(range(segment, start, start + 1)).newly, 1);
        if n % 1_000 == 999 {
            let commit = ledger.next_commit(1_000, &mut out).unwrap();
            ledger.committed(commit.id);
        }
    }
    assert!(ledger.is_empty());
    assert_eq!(out.len() as u64, messages);
    (delivered, ledger.take_steps())
}

#[test]
fn a_message_costs_the_same_whatever_the_size() {
    println!("messages  batch  steps/message to deliver  to ack and commit");
    for messages in [1_000, 10_000, 100_000, 1_000_000] {
        // More segments than this take long in a debug build, and the same steps.
        for batch in [1, 100, messages].into_iter().filter(|batch| messages / batch <= 10_000) {
            let (delivered, done) = scattered(messages, batch);
            println!("{messages:8} {batch:6} {:24} {:18}", delivered / messages, done / messages);
            assert!(delivered <= 5 * messages, "deliver: {messages} by {batch}: {delivered}");
            assert!(done <= 20 * messages, "ack and commit: {messages} by {batch}: {done}");
        }
    }
}

#[test]
fn a_batch_is_acked_64_messages_at_a_time() {
    let mut ledger = Ledger::new();
    let id = ledger.deliver(at(0), SLOT, EPOCH, (0..1_000_000).map(SeqNo::offset_of));
    ledger.take_steps();
    assert_eq!(ledger.ack(range(id, 0, 1_000_000)).newly, 1_000_000);
    assert!(ledger.take_steps() < 2 * 1_000_000 / 64 + 10);
    assert_eq!(ledger.ack(range(id, 0, u32::MAX)).repeated, 1_000_000);
    assert!(ledger.take_steps() < 1_000_000 / 64 + 10);
}

#[test]
fn aging_costs_what_it_finds() {
    let mut ledger = Ledger::new();
    for n in 0..100_000 {
        ledger.deliver(at(n), Slot((n % 7) as u32), EPOCH, [SeqNo::offset(n)].into_iter());
    }
    for n in (0..100_000).filter(|n| n % 10 != 0) {
        ledger.ack(range(SegmentId(n), 0, 1));
    }
    ledger.take_steps();
    let (mut out, mut calls) = (Vec::new(), 0);
    while ledger.next_aging(at(200_000), Duration::from_nanos(1), 100, &mut out).is_some() {
        calls += 1;
    }
    assert_eq!(out.len(), 10_000);
    assert!(calls <= 10_000 / 100 + 7, "slots are swept in full pages: {calls} calls");
    assert!(ledger.take_steps() < 10 * 10_000);
    // Nothing is left of the acked ones, in the queue either.
    assert_eq!(ledger.next_aging(at(200_000), Duration::ZERO, 100, &mut out), None);
    assert_eq!(ledger.next_aging_at(Duration::from_nanos(5)), Some(at(200_005)));
}

#[test]
fn one_message_pins_its_own_segment_only() {
    let mut ledger = Ledger::new();
    let pinned = deliver(&mut ledger, &[0, 1]);
    ledger.ack(range(pinned, 0, 1));
    for n in 1..1_000 {
        let id = deliver(&mut ledger, &[2 * n, 2 * n + 1]);
        ledger.ack(range(id, 0, 2));
    }
    assert_eq!(commit_all(&mut ledger), 1_999);
    assert_eq!(ledger.segments(), 1);
    let open = deliver(&mut ledger, &[2_000]);
    assert_eq!((ledger.len(), ledger.frontier(SLOT)), (2, Some(SeqNo::offset(0))));
    // What was freed behind it is remembered.
    ledger.ack(range(pinned, 1, 2));
    assert_eq!(ledger.frontier(SLOT), Some(SeqNo::offset(1_999)));
    ledger.withdraw(range(open, 0, 1));
    assert_eq!(commit_all(&mut ledger), 1);
    assert_eq!((ledger.segments(), ledger.frontier(SLOT)), (0, Some(SeqNo::offset(1_999))));
}

#[test]
fn odd_ranges_are_counted_and_do_no_harm() {
    let mut ledger = Ledger::new();
    let id = deliver(&mut ledger, &[1, 2, 3]);
    let empty = deliver(&mut ledger, &[]);
    let report = |newly, repeated, unknown, stale| AckReport { newly, repeated, unknown, stale };
    assert_eq!(ledger.ack(range(id, 2, 1)), report(0, 0, 0, 0));
    assert_eq!(ledger.ack(range(id, 1, 1)), report(0, 0, 0, 0));
    assert_eq!(ledger.ack(range(id, u32::MAX, 0)), report(0, 0, 0, 0));
    assert_eq!(ledger.ack(range(id, 3, u32::MAX)), report(0, 0, u64::from(u32::MAX) - 3, 0));
    assert_eq!(ledger.ack(range(SegmentId(u64::MAX), 0, 7)), report(0, 0, 7, 0));
    assert_eq!(ledger.ack(range(empty, 0, 2)), report(0, 2, 0, 0));
    assert_eq!(ledger.ack(AckRange { epoch: Epoch(0), ..range(id, 0, 3) }), report(0, 0, 0, 3));
    assert_eq!(ledger.ack(range(id, 2, 5)), report(1, 0, 2, 0));
    assert_eq!(ledger.ack(range(id, 0, 4)), report(2, 1, 1, 0));
    assert_eq!(ledger.withdraw(range(id, 0, u32::MAX)), 0);
    ledger.committed(CommitId(9));
    ledger.failed(CommitId(9));
    assert_eq!(ledger.next_commit(0, &mut Vec::new()), None);
    ledger.revoke(SLOT);
    assert_eq!(ledger.ack(range(id, 0, 4)), report(0, 0, 0, 4));
    ledger.revoke(SLOT);
    assert!(ledger.is_empty());
}

#[test]
fn tombstones_are_bounded_and_forget_the_oldest() {
    let mut ledger = Ledger::new();
    for n in 0..TOMBSTONES_MAX as u64 + 2 {
        deliver(&mut ledger, &[n]);
    }
    ledger.revoke(SLOT);
    assert_eq!(ledger.tombstones(), TOMBSTONES_MAX);
    assert_eq!(ledger.ack(range(SegmentId(1), 0, 1)).repeated, 1);
    assert_eq!(ledger.ack(range(SegmentId(2), 0, 1)).stale, 1);
    ledger.revoke_all();
    assert_eq!(ledger.tombstones(), 0);
    assert_eq!(ledger.ack(range(SegmentId(1), 0, 1)).stale, 1);
}

#[test]
fn the_same_message_handed_out_twice_is_two() {
    let mut ledger = Ledger::new();
    let one = deliver(&mut ledger, &[5, 6]);
    let two = deliver(&mut ledger, &[6, 5, 6]);
    assert_eq!(ledger.len(), 5);
    ledger.ack(range(one, 0, 2));
    assert_eq!(ledger.frontier(SLOT), None);
    assert_eq!(commit_all(&mut ledger), 2);
    assert!(ledger.contains(SLOT, SeqNo::offset(5)) && ledger.contains(SLOT, SeqNo::offset(6)));
    ledger.ack(range(two, 0, 3));
    assert_eq!(ledger.frontier(SLOT), Some(SeqNo::offset(6)));
    assert_eq!(commit_all(&mut ledger), 3);
    assert!(!ledger.contains(SLOT, SeqNo::offset(6)));
    assert_eq!(ledger.segments(), 0);
}

#[test]
fn a_later_epoch_counts_its_own_messages_only() {
    let mut ledger = Ledger::new();
    let old = deliver(&mut ledger, &[10, 11]);
    ledger.ack(range(old, 0, 2));
    assert_eq!(ledger.frontier(SLOT), Some(SeqNo::offset(11)));
    // A rewind: message 2 follows, and must not be passed because 11 was done once.
    let new = ledger.deliver(at(0), SLOT, Epoch(2), [0, 1].map(SeqNo::offset).into_iter());
    assert_eq!((ledger.frontier(SLOT), ledger.frontiers()), (None, 0));
    ledger.ack(AckRange { epoch: Epoch(2), ..range(new, 0, 2) });
    assert_eq!(ledger.frontier(SLOT), Some(SeqNo::offset(1)));
    ledger.frontier_committed(Frontier { slot: SLOT, epoch: EPOCH, seq: SeqNo::offset(11) });
    assert_eq!(ledger.acked(), 4);
}

#[test]
fn withdrawn_messages_hold_the_frontier_until_they_come_again() {
    let mut ledger = Ledger::new();
    let id = deliver(&mut ledger, &[0, 1, 2, 3, 4]);
    assert_eq!(ledger.withdraw(range(id, 2, 4)), 2);
    ledger.ack(range(id, 0, 2));
    ledger.ack(range(id, 4, 5));
    assert_eq!(ledger.frontier(SLOT), Some(SeqNo::offset(1)));
    let again = deliver(&mut ledger, &[2, 3]);
    ledger.ack(range(again, 0, 1));
    assert_eq!(ledger.frontier(SLOT), Some(SeqNo::offset(2)));
    ledger.ack(range(again, 1, 2));
    assert_eq!(ledger.frontier(SLOT), Some(SeqNo::offset(4)));
    let frontier = ledger.next_frontier().unwrap();
    assert_eq!((frontier.seq, ledger.next_frontier()), (SeqNo::offset(4), None));
    ledger.fail_all();
    assert_eq!(ledger.next_frontier(), Some(frontier));
    ledger.frontier_failed(frontier);
    assert_eq!(ledger.next_frontier(), Some(frontier));
    ledger.frontier_committed(frontier);
    assert!(ledger.is_empty());
    assert_eq!(ledger.segments(), 0);
}

#[test]
fn what_vanished_before_it_was_read_again_holds_nothing_back() {
    let mut ledger = Ledger::new();
    let id = deliver(&mut ledger, &[0, 1, 2, 3, 4, 5]);
    ledger.ack(range(id, 0, 2));
    ledger.withdraw(range(id, 2, 6));
    // Read on behind them by mistake: never passed.
    let ahead = deliver(&mut ledger, &[9]);
    ledger.ack(range(ahead, 0, 1));
    assert_eq!(ledger.frontier(SLOT), Some(SeqNo::offset(1)));
    // Read again from 2 on; 2 and 4 were compacted.
    ledger.read_from(SLOT, SeqNo::offset(2));
    for offset in [3, 5] {
        let again = deliver(&mut ledger, &[offset]);
        assert_ne!(ledger.frontier(SLOT), Some(SeqNo::offset(9)));
        ledger.ack(range(again, 0, 1));
    }
    assert_eq!(ledger.frontier(SLOT), Some(SeqNo::offset(9)));
}

#[test]
fn a_sweep_of_a_huge_batch_goes_on_where_it_stopped() {
    let mut ledger = Ledger::new();
    let period = Duration::from_nanos(10);
    ledger.deliver(at(0), SLOT, EPOCH, (0..250u32).map(SeqNo::offset_of));
    let mut out = Vec::new();
    assert_eq!(ledger.next_aging(at(9), period, 100, &mut out), None);
    assert_eq!(ledger.next_aging(at(10), period, 100, &mut out), Some(SLOT));
    assert_eq!(ledger.next_aging(at(12), period, 100, &mut out), Some(SLOT));
    assert_eq!(ledger.next_aging(at(14), period, 100, &mut out), Some(SLOT));
    assert_eq!(ledger.next_aging(at(14), period, 100, &mut out), None);
    assert!(out.iter().copied().eq((0..250u32).map(SeqNo::offset_of)));
    // The first part is as old as the beginning of the sweep.
    assert_eq!(ledger.next_aging_at(period), Some(at(20)));
    let mut done = ledger.clone();
    assert_eq!(done.ack(range(SegmentId(0), 0, 250)).newly, 250);
    assert_eq!(done.next_aging_at(period), None);
    assert_eq!(ledger.next_aging(at(20), period, 0, &mut out), None);
    assert_eq!(ledger.next_aging(Instant::MAX, Duration::MAX, 1_000, &mut out), Some(SLOT));
    assert_eq!(ledger.next_aging(Instant::MAX, Duration::ZERO, 1_000, &mut out), None);
}

impl SeqNo {
    /// An exact size needs a range of 32 bits.
    fn offset_of(offset: u32) -> Self {
        Self::offset(u64::from(offset))
    }
}
