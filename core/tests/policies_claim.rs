//! Claim cycles against a broker that gives any pages.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use tidegate_core::ack::Slot;
use tidegate_core::claim::Cycle;
use tidegate_core::random::Random;
use tidegate_core::{ClaimOptions, Instant, SeqNo};

const INTERVAL: u64 = 1_000;

fn at(n: u64) -> Instant {
    Instant::from_nanos(n * 1_000_000)
}

fn every(interval: u64) -> ClaimOptions {
    ClaimOptions::Every { interval: Duration::from_millis(interval), idle: Duration::from_secs(60) }
}

fn cycle(pages_max: u32, seed: u64) -> Cycle {
    let mut cycle = Cycle::new(every(INTERVAL), 100, pages_max, at(0), &mut Random::new(seed));
    assert_eq!((cycle.next_wake(), cycle.poll(at(0), 1)), (None, None));
    cycle
}

proptest! {
    /// A broker with so many pages a slot, some failures, any credit, slots that come and go:
    /// every slot that is there for two intervals is walked to its end, if its pages allow.
    #[test]
    fn every_slot_is_walked_whatever_comes_back(
        seed in any::<u64>(),
        pages in prop::collection::vec(1..6u64, 1..12),
        events in prop::collection::vec((0..20u8, 0..12u32, 0..40u64), 50..400),
    ) {
        let mut cycle = cycle(8, seed);
        let slots = pages.len() as u32;
        (0..slots).for_each(|slot| cycle.add(Slot(slot)));
        // Since when each slot waits for the end of a walk; no faults, no pauses.
        let mut calm_since: BTreeMap<u32, u64> = (0..slots).map(|slot| (slot, 0)).collect();
        let (mut now, mut asked) = (0, None);
        for (event, pick, time) in events {
            match event {
                0 => {
                    cycle.remove(Slot(pick));
                    calm_since.remove(&pick);
                    asked = asked.filter(|&(slot, _)| slot != pick);
                }
                1 | 2 if pick < slots => {
                    cycle.add(Slot(pick));
                    calm_since.entry(pick).or_insert(now);
                }
                3 => {
                    // Answers that nobody waits for.
                    let odd = Slot(slots + pick);
                    cycle.handle_page(odd, SeqNo::offset(3));
                    cycle.handle_failed(odd);
                }
                4 => {
                    if let Some((slot, _)) = asked.take() {
                        cycle.handle_failed(Slot(slot));
                        calm_since.insert(slot, now);
                    }
                }
                5 => {
                    // No credit for a while: paused, not lost.
                    prop_assert_eq!(cycle.poll(at(now), 0), None);
                    now += time;
                    calm_since.values_mut().for_each(|since| *since += time);
                }
                _ => {
                    if let Some((slot, cursor)) = asked.take() {
                        let next = if cursor + 1 >= pages[slot as usize] { 0 } else { cursor + 1 };
                        cycle.handle_page(Slot(slot), SeqNo::offset(next));
                        if next == 0 {
                            calm_since.insert(slot, now);
                        }
                    }
                    let step = cycle.poll(at(now), 1 + time as usize * 10);
                    if let Some(step) = step {
                        prop_assert!(calm_since.contains_key(&step.slot.0), "not assigned");
                        prop_assert!((1..=100).contains(&step.count) && step.count <= 1 + time as usize * 10);
                        asked = Some((step.slot.0, step.cursor.low()));
                    } else {
                        // Nothing to do before the next cycle: sleep as long as the wake says.
                        let wake = cycle.next_wake();
                        prop_assert_eq!(wake.is_some(), !calm_since.is_empty());
                        if let Some(wake) = wake {
                            prop_assert!(wake.at > at(now), "spins");
                            now = now.max(wake.at.as_nanos().div_ceil(1_000_000));
                        }
                    }
                    prop_assert!(asked.is_none() || cycle.poll(at(now), 100).is_none(), "one page at a time");
                }
            }
            for (slot, since) in &calm_since {
                prop_assert!(now <= since + 2 * INTERVAL + 1, "slot {} wasn't walked since {}", slot, since);
            }
        }
    }

    #[test]
    fn members_spread_over_the_first_interval(seed in any::<u64>()) {
        let mut random = Random::new(seed);
        let mut firsts = BTreeSet::new();
        for _ in 0..50 {
            let mut cycle = Cycle::new(every(30_000), 100, Cycle::PAGES_MAX, at(5), &mut random);
            cycle.add(Slot(0));
            prop_assert_eq!(cycle.next_wake(), None);
            prop_assert_eq!(cycle.poll(at(0), 1), None);
            let first = cycle.next_wake().unwrap().at;
            prop_assert!(first > at(5) && first <= at(30_005));
            prop_assert_eq!(cycle.poll(at(5), 1), None);
            prop_assert!(cycle.poll(first, 1).is_some());
            firsts.insert(first.as_nanos() / 5_000_000_000);
        }
        prop_assert!(firsts.len() >= 4, "{:?}", firsts);
    }
}

#[test]
fn a_machine_made_long_before_its_first_poll_still_waits_for_its_moment() {
    let mut cycle = Cycle::new(every(INTERVAL), 100, 8, Instant::ZERO, &mut Random::new(9));
    cycle.add(Slot(0));
    assert_eq!(cycle.poll(at(1_700_000_000_000), 1), None);
    let first = cycle.next_wake().unwrap().at;
    assert!(first > at(1_700_000_000_000) && first <= at(1_700_000_001_000));
}

#[test]
fn a_long_list_goes_on_from_its_cursor_in_the_next_cycle() {
    let mut cycle = cycle(3, 1);
    cycle.add(Slot(0));
    cycle.add(Slot(1));
    let mut walked = Vec::new();
    for now in [1_000, 2_000, 3_000] {
        while let Some(step) = cycle.poll(at(now), 10) {
            walked.push((now, step.slot.0, step.cursor.low()));
            // Slot 0 has seven pages, all empty; slot 1 has one.
            let next = if step.slot == Slot(0) { (step.cursor.low() + 1) % 7 } else { 0 };
            cycle.handle_page(step.slot, SeqNo::offset(next));
        }
        assert!(!cycle.is_walking());
    }
    let zero: Vec<_> = walked.iter().filter(|step| step.1 == 0).map(|step| (step.0, step.2)).collect();
    assert_eq!(zero, [(1_000, 0), (1_000, 1), (1_000, 2), (2_000, 3), (2_000, 4), (2_000, 5), (3_000, 6)]);
    assert_eq!(walked.iter().filter(|step| step.1 == 1).count(), 3);
}

#[test]
fn a_cursor_that_never_ends_delays_no_other_slot() {
    let mut cycle = cycle(256, 1);
    (0..3).for_each(|slot| cycle.add(Slot(slot)));
    let mut pages = [0; 3];
    while let Some(step) = cycle.poll(at(1_000), 10) {
        pages[step.slot.0 as usize] += 1;
        let endless = step.slot == Slot(0);
        cycle.handle_page(step.slot, if endless { SeqNo::MAX } else { SeqNo::ZERO });
    }
    assert_eq!(pages, [256, 1, 1]);
}

#[test]
fn a_failed_walk_begins_again_in_the_next_cycle_and_not_before() {
    let mut cycle = cycle(8, 1);
    cycle.add(Slot(0));
    let step = cycle.poll(at(1_000), 10).unwrap();
    cycle.handle_page(step.slot, SeqNo::offset(5));
    assert_eq!(cycle.poll(at(1_000), 10).unwrap().cursor, SeqNo::offset(5));
    cycle.handle_failed(Slot(0));
    assert_eq!(cycle.poll(at(1_000), 10), None);
    let next = cycle.next_wake().unwrap().at;
    assert!(next > at(1_000) && next <= at(2_000));
    assert_eq!(cycle.poll(next, 10).unwrap().cursor, SeqNo::ZERO);
}

#[test]
fn slots_join_a_cycle_that_lasts_longer_than_its_interval() {
    let mut cycle = cycle(1_000, 1);
    (0..2).for_each(|slot| cycle.add(Slot(slot)));
    let mut walked = Vec::new();
    // Each page takes most of an interval.
    for n in 1..9 {
        let step = cycle.poll(at(n * 900 + 100), 10).unwrap();
        walked.push(step.slot.0);
        cycle.handle_page(step.slot, SeqNo::ZERO);
    }
    assert_eq!(walked, [0, 1, 0, 1, 0, 1, 0, 1]);
}

#[test]
fn never_is_never_and_the_keep_alive_is_a_third() {
    let mut random = Random::new(0);
    let mut never = Cycle::new(ClaimOptions::Never, 100, 8, at(0), &mut random);
    never.add(Slot(0));
    assert_eq!((never.poll(Instant::MAX, 100), never.next_wake(), never.touch_after()), (None, None, None));
    let mut default = Cycle::new(ClaimOptions::default(), 100, 8, at(0), &mut random);
    assert_eq!(default.poll(at(0), 1), None);
    assert_eq!(default.idle(), Some(Duration::from_secs(60)));
    assert_eq!(default.touch_after(), Some(Duration::from_secs(20)));
    assert_eq!(default.next_wake(), None, "nothing to walk");
    // Options at their limits: no division by zero, no endless cycle.
    let zero = ClaimOptions::Every { interval: Duration::ZERO, idle: Duration::ZERO };
    for options in [zero, ClaimOptions::Every { interval: Duration::MAX, idle: Duration::MAX }] {
        let mut cycle = Cycle::new(options, 0, 0, at(0), &mut random);
        cycle.add(Slot(0));
        assert_eq!(cycle.poll(at(0), 1), None);
        let at = cycle.next_wake().unwrap().at;
        assert_eq!(cycle.poll(at, usize::MAX).unwrap().count, 1);
        assert!(cycle.next_wake().unwrap().at >= at);
    }
}
