//! The frontier as Kafka uses it: batches in order, acks in any order, one offset committed.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate_core::ack::{AckRange, Frontier, Ledger, SegmentId, Slot};
use tidegate_core::{Epoch, Instant, SeqNo};

const SLOT: Slot = Slot(4);

#[derive(Clone, Debug)]
enum Op {
    /// The next batch; gaps are compacted messages.
    Deliver {
        count: u64,
        gap: u64,
    },
    Ack {
        segment: usize,
        start: u32,
        len: u32,
    },
    /// What waits in the lane is dropped from here on, and fetched again.
    WithdrawTail {
        from: usize,
    },
    Take,
    Committed,
    Failed,
    ConnectionLost,
    /// A rewind to this offset, under a new epoch.
    Rewind {
        to: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..150u64, prop_oneof![3 => Just(1u64), 1 => 1..4u64]).prop_map(|(count, gap)| Op::Deliver { count, gap }),
        12 => (0..20usize, 0..150u32, prop_oneof![1..4u32, 50..200u32])
            .prop_map(|(segment, start, len)| Op::Ack { segment, start, len }),
        1 => (0..20usize).prop_map(|from| Op::WithdrawTail { from }),
        4 => Just(Op::Take),
        4 => Just(Op::Committed),
        1 => Just(Op::Failed),
        1 => Just(Op::ConnectionLost),
        1 => (0..500u64).prop_map(|to| Op::Rewind { to }),
    ]
}

#[derive(Default)]
struct World {
    epoch: Epoch,
    next_offset: u64,
    /// Each message of the epoch that was handed out and not withdrawn: whether it was acked.
    messages: BTreeMap<SeqNo, bool>,
    batches: Vec<(SegmentId, Vec<SeqNo>)>,
    sent: Option<Frontier>,
    committed: Option<SeqNo>,
}

impl World {
    /// The last message before which everything was acked.
    fn frontier(&self) -> Option<SeqNo> {
        self.messages.iter().take_while(|message| *message.1).map(|message| *message.0).last()
    }
}

fn apply(ledger: &mut Ledger, world: &mut World, op: Op) {
    match op {
        Op::Deliver { count, gap } => {
            let seqs: Vec<_> = (0..count).map(|n| SeqNo::offset(world.next_offset + n * gap)).collect();
            world.next_offset += count * gap;
            let id = ledger.deliver(Instant::ZERO, SLOT, world.epoch, seqs.iter().copied());
            world.messages.extend(seqs.iter().map(|&seq| (seq, false)));
            world.batches.push((id, seqs));
        }
        Op::Ack { segment, start, len } => {
            let Some((id, seqs)) = world.batches.iter().rev().nth(segment) else { return };
            ledger.ack(AckRange { segment: *id, epoch: world.epoch, start, end: start + len });
            for seq in seqs.iter().skip(start as usize).take(len as usize) {
                world.messages.insert(*seq, true);
            }
        }
        Op::WithdrawTail { from } => {
            // Nothing of them was acked, as they never reached the application.
            let untouched = |batch: &(SegmentId, Vec<SeqNo>)| batch.1.iter().all(|seq| !world.messages[seq]);
            let tail = world.batches.iter().rev().take(from).take_while(|batch| untouched(batch)).count();
            let batches = world.batches.split_off(world.batches.len() - tail);
            // The lane is dropped from its end or its start: either way nothing may be passed.
            for (id, seqs) in batches.iter().rev() {
                let all = AckRange { segment: *id, epoch: world.epoch, start: 0, end: seqs.len() as u32 };
                assert_eq!(ledger.withdraw(all), seqs.len() as u64);
                world.messages.retain(|seq, _| !seqs.contains(seq));
            }
            if let Some((_, seqs)) = batches.first() {
                world.next_offset = seqs[0].low();
            }
        }
        Op::Take => {
            let frontier = ledger.next_frontier();
            assert_eq!(ledger.frontiers(), 0);
            if let Some(frontier) = frontier {
                assert_eq!((Some(frontier.seq), frontier.epoch), (world.frontier(), world.epoch));
                world.sent = Some(frontier);
            }
        }
        Op::Committed => {
            if let Some(frontier) = world.sent.take() {
                ledger.frontier_committed(frontier);
                assert!(Some(frontier.seq) >= world.committed, "a commit went back");
                world.committed = Some(frontier.seq);
            }
        }
        Op::Failed => {
            if let Some(frontier) = world.sent.take() {
                ledger.frontier_failed(frontier);
                assert_eq!(ledger.frontiers(), 1, "sent again");
            }
        }
        Op::ConnectionLost => {
            ledger.fail_all();
            if world.sent.take().is_some() {
                assert_eq!(ledger.frontiers(), 1, "sent again");
            }
        }
        Op::Rewind { to } => {
            ledger.revoke(SLOT);
            let late = world.sent;
            *world = World { epoch: world.epoch.next(), next_offset: to, ..World::default() };
            if let Some(late) = late {
                // An answer to a commit of the assignment before changes nothing.
                ledger.frontier_committed(late);
                ledger.frontier_failed(late);
                assert_eq!((ledger.frontiers(), ledger.len()), (0, 0));
            }
        }
    }
    assert_eq!(ledger.frontier(SLOT), world.frontier());
    let held = world.messages.iter().filter(|message| !message.1 || Some(*message.0) > world.committed);
    assert_eq!(ledger.len(), held.count() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn is_where_a_naive_scan_finds_it(ops in prop::collection::vec(op(), 1..80)) {
        let (mut ledger, mut world) = (Ledger::new(), World::default());
        for op in ops {
            apply(&mut ledger, &mut world, op);
        }
        // In the end everything is acked, and one commit tells the broker all of it.
        for segment in 0..world.batches.len() {
            apply(&mut ledger, &mut world, Op::Ack { segment, start: 0, len: 200 });
        }
        apply(&mut ledger, &mut world, Op::ConnectionLost);
        apply(&mut ledger, &mut world, Op::Take);
        apply(&mut ledger, &mut world, Op::Committed);
        prop_assert!(ledger.is_empty());
    }
}
