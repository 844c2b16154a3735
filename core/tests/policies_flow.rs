//! Credit of the data lane, and back-off, against the plainest possible models.

use std::time::Duration;

use proptest::prelude::*;
use tidegate_core::Instant;
use tidegate_core::backoff::Backoff;
use tidegate_core::flow::{Blocked, Flow};
use tidegate_core::random::Random;

#[derive(Clone, Debug)]
enum Op {
    Ask(usize),
    /// The oldest question is answered with up to so many messages of so many bytes.
    Answer(usize, usize),
    /// The connection of all questions is lost.
    Lost,
    /// Messages that nobody asked for.
    Pushed(usize, usize),
    Take,
    Ack(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..40usize).prop_map(Op::Ask),
        6 => (0..40usize, 0..50usize).prop_map(|(records, bytes)| Op::Answer(records, bytes)),
        1 => Just(Op::Lost),
        2 => (1..40usize, 0..50usize).prop_map(|(records, bytes)| Op::Pushed(records, bytes)),
        6 => Just(Op::Take),
        4 => (0..60u64).prop_map(Op::Ack),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn no_credit_is_lost_or_invented(
        ops in prop::collection::vec(op(), 1..200),
        records_max in 0..60usize,
        bytes_max in 0..1_000usize,
        unacked_max in 0..100usize,
    ) {
        let mut flow = Flow::new(records_max, bytes_max).with_unacked_max(unacked_max);
        let (records_max, bytes_max, unacked_max) = (records_max.max(1), bytes_max.max(1), unacked_max.max(1));
        let mut lane: Vec<(usize, usize)> = Vec::new();
        let mut questions: Vec<usize> = Vec::new();
        let (mut unacked, mut stopped) = (0u64, false);
        for op in ops {
            match op {
                Op::Ask(count) => {
                    let count = count.min(flow.credit(unacked));
                    if count > 0 {
                        questions.push(count);
                        flow.handle_asked(count);
                    }
                }
                Op::Answer(records, bytes) if !questions.is_empty() => {
                    let asked = questions.remove(0);
                    let records = records.min(asked);
                    flow.handle_answered(asked);
                    flow.handle_received(records, records * bytes);
                    lane.push((records, records * bytes));
                    unacked += records as u64;
                }
                Op::Answer(..) => {}
                Op::Lost => questions.drain(..).for_each(|asked| flow.handle_answered(asked)),
                Op::Pushed(records, bytes) => {
                    flow.handle_received(records, records * bytes);
                    lane.push((records, records * bytes));
                    unacked += records as u64;
                }
                Op::Take if !lane.is_empty() => {
                    let (records, bytes) = lane.remove(0);
                    flow.handle_taken(records, bytes);
                }
                Op::Take => {}
                Op::Ack(count) => unacked -= count.min(unacked),
            }
            let records: usize = lane.iter().map(|batch| batch.0).sum();
            let bytes: usize = lane.iter().map(|batch| batch.1).sum();
            let asked: usize = questions.iter().sum();
            prop_assert_eq!((flow.records(), flow.bytes(), flow.asked()), (records, bytes, asked));

            // Stops at the limit, goes on at half.
            if bytes >= bytes_max || records >= 2 * records_max {
                stopped = true;
            } else if bytes <= bytes_max / 2 && records <= records_max {
                stopped = false;
            }
            prop_assert_eq!(flow.wants_read(), !stopped);
            let free = records_max.saturating_sub(records).min(unacked_max.saturating_sub(unacked as usize));
            let credit = if stopped { 0 } else { free.saturating_sub(asked) };
            prop_assert_eq!(flow.credit(unacked), credit);
            if credit == 0 {
                prop_assert!(!flow.wants_ask(unacked));
                prop_assert!(asked > 0 || flow.blocked(unacked).is_some(), "silent");
            } else {
                prop_assert!(flow.wants_ask(unacked) || records > 0, "credit that nobody uses");
                prop_assert_eq!(flow.blocked(unacked), None);
            }
        }
        // With everything answered, taken and acked it is as new.
        questions.drain(..).for_each(|asked| flow.handle_answered(asked));
        lane.drain(..).for_each(|(records, bytes)| flow.handle_taken(records, bytes));
        prop_assert_eq!(flow.credit(0), records_max.min(unacked_max));
        prop_assert!(flow.wants_ask(0) && flow.wants_read());
    }

    #[test]
    fn any_order_of_any_numbers_saturates(calls in prop::collection::vec((0..4u8, any::<[usize; 2]>()), 1..30)) {
        let mut flow = Flow::new(usize::MAX, usize::MAX).with_unacked_max(usize::MAX);
        for (call, [one, other]) in calls {
            match call {
                0 => flow.handle_asked(one),
                1 => flow.handle_answered(one),
                2 => flow.handle_received(one, other),
                _ => flow.handle_taken(one, other),
            }
            let _ = (flow.credit(one as u64), flow.wants_ask(u64::MAX), flow.blocked(0));
        }
        flow.handle_answered(usize::MAX);
        flow.handle_taken(usize::MAX, usize::MAX);
        prop_assert_eq!(flow.credit(0), usize::MAX);
    }

    #[test]
    fn a_peer_that_opens_and_dies_is_waited_for(seed in any::<u64>(), lasts in 0..99u64) {
        let (mut backoff, mut random) = (Backoff::default(), Random::new(seed));
        let mut now = Instant::ZERO;
        for _ in 0..100 {
            now = backoff.next(now, &mut random);
            backoff.handle_success(now);
            backoff.handle_success(now + Duration::from_millis(lasts));
            now = now + Duration::from_millis(lasts);
        }
        // Seven growing waits, then 5 to 10 s each.
        prop_assert!(now.since(Instant::ZERO) >= Duration::from_secs(92 * 5), "{:?}", now);
        prop_assert_eq!(backoff.attempts(), 100);
    }
}

#[test]
fn what_blocks_is_named() {
    let mut flow = Flow::new(10, 100).with_unacked_max(20);
    assert_eq!(flow.blocked(0), None);
    flow.handle_asked(10);
    assert_eq!((flow.credit(0), flow.blocked(0)), (0, None), "it is on its way");
    flow.handle_answered(10);
    flow.handle_received(10, 10);
    assert_eq!((flow.blocked(10), flow.wants_read()), (Some(Blocked::Records), true));
    flow.handle_taken(8, 8);
    assert_eq!((flow.credit(18), flow.wants_ask(18)), (2, true));
    assert_eq!((flow.credit(19), flow.wants_ask(19)), (1, false), "not worth a command while there are some");
    flow.handle_taken(2, 2);
    assert_eq!((flow.credit(19), flow.wants_ask(19)), (1, true));
    assert_eq!((flow.credit(20), flow.blocked(20)), (0, Some(Blocked::Unacked)));
    flow.handle_received(1, 100);
    assert_eq!((flow.blocked(1), flow.wants_read(), flow.wants_ask(1)), (Some(Blocked::Bytes), false, false));
    flow.handle_taken(0, 49);
    assert_eq!((flow.blocked(1), flow.wants_read()), (Some(Blocked::Bytes), false), "not before half");
    flow.handle_taken(0, 1);
    assert_eq!((flow.blocked(1), flow.wants_read()), (None, true));
    flow.handle_received(20, 0);
    assert_eq!((flow.blocked(1), flow.wants_read()), (Some(Blocked::Records), false));
}

#[test]
fn waits_double_up_to_their_cap_for_ever() {
    let (base, cap) = (Duration::from_millis(100), Duration::from_secs(10));
    let (mut backoff, mut random) = (Backoff::new(base, cap), Random::new(3));
    let now = Instant::from_nanos(77);
    assert_eq!(backoff.next(now, &mut random), now, "at once the first time");
    for n in 0..200u32 {
        let most = base.saturating_mul(2u32.saturating_pow(n)).min(cap);
        let wait = backoff.next(now, &mut random) - now;
        assert!(wait >= most / 2 && wait <= most, "{n}: {wait:?} of {most:?}");
    }
    // A success that didn't last changes nothing; one that did begins anew.
    backoff.handle_success(now);
    assert!(backoff.next(now + cap / 2, &mut random) > now + cap / 2);
    backoff.handle_success(now);
    assert_eq!(backoff.next(now + cap, &mut random), now + cap);
    assert_eq!(backoff.attempts(), 1);
    // Limits: a base above the cap, no wait at all, the end of time.
    let mut odd = Backoff::new(cap, base);
    odd.next(now, &mut random);
    assert!(odd.next(now, &mut random) - now <= base);
    let mut none = Backoff::new(Duration::ZERO, Duration::ZERO);
    assert!((0..9).all(|_| none.next(now, &mut random) == now));
    assert_eq!(backoff.next(Instant::MAX, &mut random), Instant::MAX);
}
