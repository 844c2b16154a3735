//! One run of the machine in which everything happens that a tape of bytes says.

use tidegate_core::{
    AutoCommit, Cause, ConnId, ConsumerOptions, Event, Instant, Limits, Machine as _, Outcome, Position,
    Request as Ask, SeqNo, ShardId, Ticket, Timestamp,
};

use super::model::{Cluster, part};
use super::modes::{classic, cooperative, newer, resumable};
use super::spoil::{Tape, spoil_all};
use super::world::{App, World, group, millis, secs};

/// Each mode and protocol by a number below 6, each way to commit by one below 4.
pub fn options(mode: usize, commit: usize, rack: bool) -> ConsumerOptions {
    let options = match mode {
        0 => classic(),
        1 => cooperative(),
        2 => newer(),
        3 => group(),
        4 => resumable(),
        _ => ConsumerOptions::default(),
    };
    let commit = match commit {
        0 => AutoCommit::Rolling { interval: secs(1) },
        1 => AutoCommit::Delayed { delay: millis(500) },
        2 => AutoCommit::Immediate,
        _ => AutoCommit::Disabled,
    };
    let mut limits = Limits::default();
    limits.retry_max = secs(1);
    limits.response_timeout = secs(3);
    let mut kafka =
        options.kafka.clone().metadata_age(secs(10)).rebalance_timeout(secs(20)).fetch_max_wait(secs(2));
    if rack {
        kafka = kafka.rack("rack-2");
    }
    options.auto_commit(commit).limits(limits).kafka(kafka)
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

/// What came of it.
pub struct Ran {
    pub transcript: Vec<String>,
    pub got: Vec<String>,
    pub lane: Vec<String>,
    pub failed: bool,
    pub alive: bool,
}

/// It goes on when all is well again, and each request is done, or it panics. `single`: bytes reach the
/// machine one at a time; `quiet`: there is no transcript.
pub fn run(options: &ConsumerOptions, bytes: &[u8], single: bool, quiet: bool) -> Ran {
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
