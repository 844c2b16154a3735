//! The schedule of commits, driven by a loop that obeys its wakes and nothing else.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use tidegate_core::ack::{AckRange, SegmentId};
use tidegate_core::commit::Schedule;
use tidegate_core::{AutoCommit, Epoch, Instant};

const MILLI: u64 = 1_000_000;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * MILLI)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn range(segment: u64, start: u32, end: u32) -> AckRange {
    AckRange { segment: SegmentId(segment), epoch: Epoch(1), start, end }
}

/// A ledger reduced to the moment of each ack.
struct World {
    schedule: Schedule,
    batch: u64,
    now: u64,
    acked: VecDeque<u64>,
    in_flight: Vec<VecDeque<u64>>,
    sent: Vec<(u64, u64)>,
    oldest_sent: u64,
}

impl World {
    fn new(mode: AutoCommit, batch: u64, idle: u64) -> Self {
        let schedule = Schedule::new(mode, batch as usize, millis(idle));
        let (acked, in_flight, sent) = (VecDeque::new(), Vec::new(), Vec::new());
        Self { schedule, batch, now: 0, acked, in_flight, sent, oldest_sent: 0 }
    }

    fn ack(&mut self, count: u64) {
        self.acked.extend((0..count).map(|_| self.now));
        self.schedule.handle_acked(at(self.now), count);
    }

    /// All that a machine does before it sleeps. `open`: whether there is a connection.
    fn pump(&mut self, open: bool) {
        while let Some(range) = self.schedule.poll_due(at(self.now)) {
            self.ack(u64::from(range.end - range.start));
        }
        let mut commits = 0;
        // As a machine does that doesn't even ask while it has no connection.
        while open && self.schedule.wants_commit(at(self.now), self.acked.len() as u64) {
            let ids = self.acked.len().min(self.batch as usize);
            let commit: VecDeque<u64> = self.acked.drain(..ids).collect();
            self.oldest_sent = self.oldest_sent.max(self.now - commit[0]);
            self.sent.push((self.now, ids as u64));
            self.in_flight.push(commit);
            self.schedule.handle_sent(at(self.now), ids as u64);
            commits += 1;
            assert!(commits < 10_000, "commits without end");
        }
        if let Some(wake) = self.schedule.next_wake() {
            assert!(wake.at > at(self.now), "spins: {wake:?} at {}", self.now);
        }
    }

    /// Sleeps until `until`, and wakes when told to, on the next full millisecond.
    fn sleep(&mut self, until: u64, open: bool) {
        self.pump(open);
        let mut wakes = 0;
        while let Some(wake) = self.schedule.next_wake().filter(|wake| wake.at <= at(until)) {
            self.now = wake.at.as_nanos().div_ceil(MILLI);
            self.pump(open);
            wakes += 1;
            assert!(wakes < 10_000, "wakes without end: {wake:?}");
        }
        self.now = until;
        self.pump(open);
    }

    fn answer(&mut self, ok: bool) {
        for mut commit in std::mem::take(&mut self.in_flight) {
            if ok {
                self.schedule.handle_committed(at(self.now));
            } else {
                let ids = commit.len() as u64;
                commit.append(&mut self.acked);
                self.acked = commit;
                self.schedule.handle_failed(at(self.now), ids);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Ack(u64),
    Taken(u32),
    Sleep(u64),
    Answer(bool),
    Connection(bool),
    Request,
    Revoked(u64),
}

fn op(faults: bool) -> impl Strategy<Value = Op> {
    let faults = u32::from(faults);
    prop_oneof![
        8 => prop_oneof![0..3u64, 1..60u64].prop_map(Op::Ack),
        4 => (1..40u32).prop_map(Op::Taken),
        8 => prop_oneof![0..20u64, 0..700u64].prop_map(Op::Sleep),
        4 => Just(Op::Answer(true)),
        2 => (0..100u64).prop_map(Op::Revoked),
        1 => Just(Op::Request),
        2 * faults => Just(Op::Answer(false)),
        2 * faults => any::<bool>().prop_map(Op::Connection),
    ]
}

fn modes() -> impl Strategy<Value = AutoCommit> {
    prop_oneof![
        Just(AutoCommit::Immediate),
        (0..500u64).prop_map(|delay| AutoCommit::Delayed { delay: millis(delay) }),
        (0..500u64).prop_map(|interval| AutoCommit::Rolling { interval: millis(interval) }),
        Just(AutoCommit::Disabled),
    ]
}

fn run(world: &mut World, ops: Vec<Op>) {
    let (mut open, mut segment) = (true, 0);
    for op in ops {
        match op {
            Op::Ack(count) => world.ack(count),
            Op::Taken(count) => {
                segment += 1;
                (0..count).for_each(|n| world.schedule.handle_taken(at(world.now), range(segment, n, n + 1)));
            }
            Op::Sleep(time) => world.sleep(world.now + time, open),
            Op::Answer(ok) => world.answer(ok),
            Op::Connection(up) => {
                open = up;
                world.answer(false);
            }
            Op::Request => world.schedule.handle_request(at(world.now)),
            Op::Revoked(count) => drop(world.acked.drain(..world.acked.len().min(count as usize))),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_ack_waits_longer_than_promised(
        ops in prop::collection::vec(op(false), 1..80),
        mode in modes(),
        batch in 1..50u64,
        idle in prop_oneof![Just(0u64), 1..200u64],
    ) {
        let mut world = World::new(mode, batch, idle);
        run(&mut world, ops);
        world.sleep(world.now + 2_000, true);
        let limit = match mode {
            AutoCommit::Rolling { interval } => interval,
            AutoCommit::Delayed { delay } => delay / 64 + millis(1),
            AutoCommit::Immediate | AutoCommit::Disabled => Duration::MAX,
        };
        prop_assert!(millis(world.oldest_sent) <= limit, "{} of {limit:?}", world.oldest_sent);
        match mode {
            AutoCommit::Immediate => prop_assert!(world.sent.is_empty()),
            AutoCommit::Disabled => {}
            _ => prop_assert!(world.acked.is_empty(), "forgot {} acks", world.acked.len()),
        }
    }

    #[test]
    fn everything_is_committed_once_faults_stop(
        ops in prop::collection::vec(op(true), 1..80),
        mode in modes(),
        batch in 1..50u64,
    ) {
        let mut world = World::new(mode, batch, 0);
        run(&mut world, ops);
        // A clean close, in every mode: what was taken is acked, what is acked is committed.
        while let Some(range) = world.schedule.drain_taken() {
            world.ack(u64::from(range.end - range.start));
        }
        world.schedule.handle_drain(at(world.now));
        world.sleep(world.now + 1_000, true);
        if mode != AutoCommit::Immediate {
            prop_assert!(world.acked.is_empty(), "forgot {} acks", world.acked.len());
            prop_assert_eq!(world.schedule.appetite(0), 1);
        }
        prop_assert_eq!(world.schedule.next_wake(), None);
    }

    /// Acks that the driver holds back, as many as the appetite allows, break no promise.
    #[test]
    fn appetite_never_hides_what_would_start_something(
        steps in prop::collection::vec((0..30u64, 0..200u64), 1..60),
        interval in 1..500u64,
        batch in 1..50u64,
    ) {
        let mut world = World::new(AutoCommit::Rolling { interval: millis(interval) }, batch, 0);
        let mut held = VecDeque::new();
        for (count, time) in steps {
            for _ in 0..count {
                held.push_back(world.now);
                if held.len() as u64 >= world.schedule.appetite(world.acked.len() as u64) {
                    world.schedule.handle_acked(at(world.now), held.len() as u64);
                    world.acked.append(&mut held);
                    world.pump(true);
                }
            }
            // A driver that wakes brings along what it holds.
            let until = world.now + time;
            while let Some(wake) = world.schedule.next_wake().filter(|wake| wake.at <= at(until)) {
                world.now = wake.at.as_nanos().div_ceil(MILLI);
                world.schedule.handle_acked(at(world.now), held.len() as u64);
                world.acked.append(&mut held);
                world.pump(true);
            }
            world.now = until;
            prop_assert!(held.front().is_none_or(|since| world.now - since <= interval), "held for ever");
        }
        prop_assert!(world.oldest_sent <= interval);
    }
}

#[test]
fn each_trigger_fires_where_the_table_says() {
    let rolling = AutoCommit::Rolling { interval: millis(1_000) };
    let delayed = AutoCommit::Delayed { delay: millis(6_400) };

    // Size: full commits only, at once.
    for (mode, sent) in [(rolling, 20), (delayed, 20), (AutoCommit::Disabled, 0)] {
        let mut world = World::new(mode, 10, 0);
        world.ack(25);
        world.pump(true);
        assert_eq!(world.sent.iter().map(|commit| commit.1).sum::<u64>(), sent, "{mode:?}");
    }
    // Age: the interval after the first ack, not the last.
    let mut world = World::new(rolling, 10, 0);
    world.ack(1);
    world.sleep(999, true);
    world.ack(1);
    assert_eq!(world.sent, []);
    world.sleep(1_500, true);
    assert_eq!(world.sent, [(1_000, 2)]);
    // Idleness, if it is on.
    let mut world = World::new(rolling, 10, 50);
    world.ack(1);
    world.sleep(40, true);
    world.ack(1);
    world.sleep(200, true);
    assert_eq!(world.sent, [(90, 2)]);
    // Explicit: what is acked now; what comes later waits again.
    let mut world = World::new(AutoCommit::Disabled, 10, 0);
    world.ack(3);
    world.sleep(60_000, true);
    assert_eq!((world.sent.len(), world.schedule.next_wake()), (0, None));
    world.schedule.handle_request(at(world.now));
    world.pump(true);
    world.ack(1);
    world.sleep(120_000, true);
    assert_eq!(world.sent, [(60_000, 3)]);
    // Due: a set time after it was taken, and then at once.
    let mut world = World::new(delayed, 10, 0);
    world.schedule.handle_taken(at(0), range(1, 0, 4));
    world.sleep(10_000, true);
    assert_eq!(world.sent, [(6_400, 4)]);
}

#[test]
fn what_is_taken_together_is_remembered_together() {
    let mut schedule = Schedule::new(AutoCommit::Delayed { delay: millis(6_400) }, 10, Duration::ZERO);
    // Eight tasks take message by message, each from its own batch, for ten times the delay.
    let (mut entries, mut messages) = (0, 0);
    for n in 0..64_000u32 {
        for segment in 0..8 {
            schedule.handle_taken(at(n.into()), range(segment, n, n + 1));
        }
        while let Some(range) = schedule.poll_due(at(n.into())) {
            assert!(range.end <= n + 1 - 6_400, "{range:?} at {n} is too early");
            assert!(range.start + 6_400 + 100 >= n, "{range:?} at {n} is too late");
            entries += 1;
            messages += range.end - range.start;
        }
    }
    assert!(entries <= 8 * 64 * 10, "{entries} entries");
    while let Some(range) = schedule.drain_taken() {
        entries += 1;
        messages += range.end - range.start;
    }
    assert_eq!(messages, 8 * 64_000);
    assert!(entries <= 8 * 66 * 10, "{entries} entries");
    // Neither another epoch, nor a gap, nor an empty range is a neighbour.
    schedule.handle_taken(at(0), range(1, 0, 1));
    schedule.handle_taken(at(0), AckRange { epoch: Epoch(2), ..range(1, 1, 2) });
    schedule.handle_taken(at(0), range(1, 3, 4));
    schedule.handle_taken(at(0), range(1, 4, 4));
    assert_eq!(std::iter::from_fn(|| schedule.drain_taken()).count(), 3);
}

#[test]
fn a_commit_that_always_fails_is_no_storm() {
    let mut world = World::new(AutoCommit::Rolling { interval: millis(1_000) }, 10, 0);
    world.ack(5);
    world.sleep(1_000, true);
    for _ in 0..10_000 {
        world.answer(false);
        world.sleep(world.now + 1, true);
    }
    let times: Vec<_> = world.sent.iter().map(|commit| commit.0 - 1_000).collect();
    assert_eq!(times[..5], [0, 0, 101, 301, 701], "at once, then further and further apart");
    assert!((10..=16).contains(&times.len()), "{times:?}");
    // It is never given up, and goes back to normal after a while without failures.
    world.answer(true);
    world.sleep(world.now + 3_000, true);
    world.ack(5);
    world.schedule.handle_request(at(world.now));
    world.pump(true);
    world.answer(true);
    let now = world.now;
    world.ack(1);
    world.schedule.handle_request(at(now));
    world.pump(true);
    world.answer(false);
    world.pump(true);
    assert_eq!(world.sent.last(), Some(&(now, 1)));
}

#[test]
fn one_shard_that_fails_beside_others_that_dont_is_no_storm() {
    let mut schedule = Schedule::new(AutoCommit::Rolling { interval: millis(10) }, 10, Duration::ZERO);
    let mut sent = 0;
    for now in 0..20_000 {
        schedule.handle_acked(at(now), 1);
        if schedule.wants_commit(at(now), 2) {
            // One commit of each shard; the first always fails.
            sent += 1;
            schedule.handle_sent(at(now), 2);
            schedule.handle_failed(at(now), 1);
            schedule.handle_committed(at(now));
        }
    }
    assert!((19..=30).contains(&sent), "{sent} in 20 s");
}
