//! Whatever comes, in whatever order: no panic, no spinning, the same again for the same, the same
//! deliveries for the same bytes in pieces; and when it stops, it goes on (G2, G7, G8, G10).

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use tidegate_core::kafka::Machine;
use tidegate_core::{Cause, Command, ConsumerOptions, Delivery, Event, Instant, Machine as _};

use crate::chaos::{options, run};
use crate::world::setup;

fn all_options() -> impl Strategy<Value = ConsumerOptions> {
    (0..6_usize, 0..4_usize, any::<bool>()).prop_map(|(mode, commit, rack)| options(mode, commit, rack))
}

/// A run of a few seconds; more by PROPTEST_CASES, which proptest knows too.
const CASES: u32 = 48;

/// Sparse: most bytes are as they would be without it.
fn tapes(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![2 => any::<u8>(), 1 => 0..24_u8, 1 => 225..=255_u8], 0..len)
}

fn cases(count: u32, test: impl Fn(ConsumerOptions, Vec<u8>)) {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|count| count.parse().ok());
    let count = asked.unwrap_or(count);
    let config = ProptestConfig {
        max_shrink_iters: 16,
        failure_persistence: None,
        ..ProptestConfig::with_cases(count)
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    runner
        .run(&(all_options(), tapes(120)), |(options, tape)| {
            test(options, tape);
            Ok(())
        })
        .unwrap();
}

#[test]
fn nothing_makes_it_panic_or_spin_and_when_it_stops_it_goes_on() {
    let (failed, alive, messages) = (Cell::new(0), Cell::new(0), Cell::new(0));
    cases(CASES, |options, tape| {
        let ran = run(&options, &tape, false, true);
        failed.set(failed.get() + u32::from(ran.failed));
        alive.set(alive.get() + u32::from(ran.alive));
        messages.set(messages.get() + ran.got.len());
    });
    println!("of {CASES} {} failed, {} went on; {} messages", failed.get(), alive.get(), messages.get());
    assert!(alive.get() > CASES / 4 && messages.get() > 10 * CASES as usize, "nothing was tested");
}

#[test]
fn the_same_events_give_the_same_commands_and_single_bytes_the_same_deliveries() {
    let messages = Cell::new(0);
    cases(CASES / 6, |options, tape| {
        let first = run(&options, &tape, false, false);
        let again = run(&options, &tape, false, false);
        assert!(first.transcript == again.transcript, "not the same again");
        let single = run(&options, &tape, true, true);
        assert_eq!(first.got, single.got);
        assert_eq!(first.lane, single.lane);
        messages.set(messages.get() + first.got.len());
    });
    assert!(messages.get() > 60, "nothing was tested");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// No cluster at all: any bytes, on any connection, at any time.
    #[test]
    fn any_bytes_on_any_connection(
        options in all_options(),
        pieces in prop::collection::vec((0..4_usize, prop::collection::vec(any::<u8>(), 0..64), 0..9_u8), 0..40),
    ) {
        let mut machine = Machine::new(setup(options, &["orders"], 2)).unwrap();
        let mut now = Instant::from_nanos(1);
        let mut open = Vec::new();
        for (at, bytes, kind) in pieces {
            for _ in 0..1_000 {
                match machine.poll_command() {
                    Command::Open { conn, .. } => open.push(conn),
                    Command::Close { conn } => open.retain(|known| *known != conn),
                    Command::Wait(_) => break,
                    _ => {}
                }
            }
            while let Some(delivery) = machine.poll_delivery() {
                if matches!(delivery, Delivery::End | Delivery::Failed(_)) {
                    break;
                }
            }
            let Some(&conn) = open.get(at % open.len().max(1)) else { continue };
            match kind {
                0..=2 => machine.handle(now, Event::Opened { conn }),
                3 => {
                    now = now + Duration::from_millis(bytes.len() as u64 * 100);
                    machine.handle(now, Event::Tick);
                }
                4 => machine.handle(now, Event::Wrote { conn, n: bytes.len() * 100 }),
                5 => {
                    open.retain(|known| *known != conn);
                    machine.handle(now, Event::Closed { conn, cause: Cause::Eof });
                }
                _ => {
                    // A length that fits, sometimes the correlation id that is expected.
                    let mut framed = ((bytes.len() as i32) + 4 * i32::from(kind > 6)).to_be_bytes().to_vec();
                    if kind > 6 {
                        framed.extend_from_slice(&i32::from(kind - 7).to_be_bytes());
                    }
                    framed.extend_from_slice(&bytes);
                    machine.incoming(conn).extend_from_slice(&framed);
                    machine.handle(now, Event::Received { conn });
                }
            }
        }
    }
}
