//! Whatever comes, in whatever order: no panic, no spinning, the same again for the same, the same
//! deliveries for the same bytes in pieces; and when it stops, it goes on (G2, G7, G8, G10).

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use tidegate_core::kafka::Machine;
use tidegate_core::{
    AutoCommit, Cause, Command, ConnId, ConsumerOptions, Delivery, Event, Instant, Limits, Machine as _,
    Outcome, Position, Request as Ask, SeqNo, ShardId, Ticket, Timestamp,
};

use crate::basics::{classic, cooperative, newer, resumable};
use crate::model::{Cluster, part};
use crate::spoil::{Tape, spoil_all};
use crate::world::{App, World, group, millis, secs, setup};

fn all_options() -> impl Strategy<Value = ConsumerOptions> {
    let modes = prop::sample::select(vec![
        classic(),
        cooperative(),
        newer(),
        group(),
        resumable(),
        ConsumerOptions::default(),
    ]);
    let commits = prop::sample::select(vec![
        AutoCommit::Rolling { interval: secs(1) },
        AutoCommit::Delayed { delay: millis(500) },
        AutoCommit::Immediate,
        AutoCommit::Disabled,
    ]);
    (modes, commits, any::<bool>()).prop_map(|(options, commit, rack)| {
        let mut limits = Limits::default();
        limits.retry_max = secs(1);
        limits.response_timeout = secs(3);
        let mut kafka =
            options.kafka.clone().metadata_age(secs(10)).rebalance_timeout(secs(20)).fetch_max_wait(secs(2));
        if rack {
            kafka = kafka.rack("rack-2");
        }
        options.auto_commit(commit).limits(limits).kafka(kafka)
    })
}

fn asks(tape: &Tape) -> Ask {
    let stream = "orders".into();
    match tape.below(12) {
        0 | 1 => Ask::Pause,
        2 | 3 => Ask::Resume,
        4 => Ask::Seek(Timestamp::from_millis(1_000_000 + i64::from(tape.next()))),
        5 => Ask::Rewind(Position::Beginning),
        6 => Ask::Rewind(Position::At(SeqNo::offset(tape.next().into()))),
        7 => Ask::Assign { stream, shard: ShardId::new(tape.below(4) as u64) },
        8 => Ask::Unassign { stream, shard: ShardId::new(tape.below(4) as u64) },
        9 if tape.below(4) == 3 => Ask::Close { deadline: secs(2) },
        _ => Ask::Commit,
    }
}

/// What the application and the cluster do next.
fn disturb(world: &mut World, tape: &Tape, tickets: &mut Vec<(Ticket, bool, Option<Instant>)>) {
    match tape.below(24) {
        1 => {
            let ask = asks(tape);
            let due = match ask {
                Ask::Close { deadline } => Some(world.now + deadline),
                _ => None,
            };
            let moves = matches!(ask, Ask::Seek(_) | Ask::Rewind(_));
            if let Ok(Some(ticket)) = world.ask(ask) {
                tickets.push((ticket, moves, due));
            }
        }
        2 => {
            if let Some(conn) = world.conns().get(tape.below(8)) {
                world.cut(*conn);
            }
        }
        3 => world.kill(1 + tape.below(2) as i32),
        4 => world.cluster.down.clear(),
        5 => world.freeze(),
        6 => world.cluster.log("orders", tape.below(3) as i32).elect(1 + tape.below(2) as i32),
        7 => world.cluster.coordinator = 1 + tape.below(2) as i32,
        8 => world.cluster.group.rebalancing = true,
        9 => {
            let bits = tape.next();
            let parts = (0..3).filter(|index| bits >> index & 1 == 1).map(|index| part("orders", index));
            world.cluster.group.retarget(parts.collect::<Vec<_>>());
        }
        10 => world.cluster.sessions.clear(),
        11 => world.app = [App::Acks, App::Takes, App::Stopped][tape.below(3)],
        12 => {
            let log = world.cluster.log("orders", tape.below(3) as i32);
            let (keep, leader) = (log.end / 2, log.leader);
            log.truncate(keep.max(log.start), leader);
        }
        13 => {
            let log = world.cluster.log("orders", tape.below(3) as i32);
            log.start = (log.start + 5).min(log.end);
            let start = log.start;
            log.batches.retain(|batch| batch.last >= start);
        }
        14 => {
            // An event of a connection that is no more, or never was.
            let conn = ConnId { number: tape.below(5).try_into().unwrap(), generation: 1_000 };
            world.machine.incoming(conn).extend_from_slice(b"late");
            world.machine.handle(world.now, Event::Received { conn });
            world.machine.handle(world.now, Event::Closed { conn, cause: Cause::Reset });
            assert_eq!(world.machine.outgoing(conn), b"");
            assert!(!world.machine.wants_read(conn));
        }
        15 => world.run(secs(u64::from(tape.next() % 32))),
        16 => world.machine.handle(Instant::ZERO, Event::Tick),
        _ => world.cluster.produce("orders", tape.below(3) as i32, 1 + tape.below(3) as i64),
    }
}

struct Ran {
    transcript: Vec<String>,
    got: Vec<String>,
    lane: Vec<String>,
    failed: bool,
    alive: bool,
}

fn run(options: &ConsumerOptions, bytes: &[u8], single: bool, quiet: bool) -> Ran {
    let tape = Tape::new(bytes);
    let mut cluster = Cluster::new(2, &[("orders", 3)]);
    (0..3).for_each(|index| cluster.produce("orders", index, 5));
    // Not by the tape, which is as long as it is.
    let by_pattern = options.kafka.rack.is_some() && bytes.len() % 2 == 1;
    let names = if by_pattern { ["^ord.*"] } else { ["orders"] };
    let mut world = World::reading(options.clone(), &names, cluster);
    (world.chaos, world.single, world.quiet) = (true, single, quiet);
    let mut tickets = Vec::new();
    if tape.next() % 2 == 1 {
        world.run(secs(1));
    }
    spoil_all(&mut world, &tape);
    while !tape.is_over() && !world.ended() {
        disturb(&mut world, &tape, &mut tickets);
        world.run(millis(u64::from(tape.next()) * 4));
        for (ticket, _, due) in &tickets {
            let late = due.is_some_and(|due| due < world.now) && !world.done.contains_key(ticket);
            assert!(!late, "a close is not done at its deadline");
        }
    }
    // All is well from here on: it goes on, or has said that it doesn't.
    world.heal();
    world.cluster.down.clear();
    world.app = App::Acks;
    let _ = world.ask(Ask::Resume);
    let all = world.cluster.all_parts();
    world.cluster.group.retarget(all);
    // What a spoiled assignment said stands until the group assigns again.
    world.cluster.group.rebalancing = true;
    world.settle();
    world.run(secs(60));
    // A seek or a rewind may have left it with a part.
    if tickets.iter().any(|(_, moves, _)| *moves) {
        for at in 0..3 {
            let _ = world.ask(Ask::Assign { stream: "orders".into(), shard: ShardId::new(at) });
        }
        if let Ok(Some(ticket)) = world.ask(Ask::Rewind(Position::Beginning)) {
            tickets.push((ticket, true, None));
        }
    }
    (0..3).for_each(|index| world.produce("orders", index, 1));
    world.run(secs(30));
    let open: Vec<_> = tickets.iter().filter(|(ticket, ..)| !world.done.contains_key(ticket)).collect();
    if !open.is_empty() {
        if quiet {
            // Once more, with what happens written down.
            return run(options, bytes, single, false);
        }
        world.report();
        panic!("never done: {open:?}");
    }
    let closed = world.done.values().any(|outcome| matches!(outcome, Outcome::Closed { .. }));
    let ends = |index: i32| {
        let end = world.cluster.find("orders", index).unwrap().end;
        world.offsets("orders", index).contains(&(end - 1))
    };
    let alive = (0..3).all(ends);
    if !alive && !world.ended() && !closed {
        if quiet {
            return run(options, bytes, single, false);
        }
        world.report();
        panic!("it doesn't go on: {:?}", [0, 1, 2].map(ends));
    }
    Ran {
        got: world.got.iter().map(|got| format!("{:?} {} {:?}", got.part, got.offset, got.value)).collect(),
        failed: world.lane.last().is_some_and(|line| line.starts_with("failed")),
        lane: world.lane,
        transcript: world.transcript,
        alive,
    }
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
