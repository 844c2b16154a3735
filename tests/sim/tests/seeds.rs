//! The machine under a simulated year of faults.
//!
//! `TIDEGATE_SEED=1:123 cargo test -p tidegate-sim --test seeds` replays one run, with its trace;
//! `TIDEGATE_SEEDS=1000000 cargo test --release -p tidegate-sim --test seeds` runs a million.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::time::Instant;

use tidegate_sim::swarm::FaultKind;
use tidegate_sim::{Fresh, KafkaBackend, Keep, RedisBackend, Seed, Tape, campaign, run};

/// Kafka's worlds are young: about one in 2,000 of those beyond is still accused, the first is 14,385.
/// Whether the oracle or the machine is wrong is looked into one by one.
const OF_KAFKA: u64 = if cfg!(debug_assertions) { 100 } else { 10_000 };

fn seeds(default: u64) -> u64 {
    let wanted = std::env::var("TIDEGATE_SEEDS")
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("TIDEGATE_SEEDS is no number: {text}")));
    wanted.unwrap_or(default)
}

/// The first seed; 0 unless the environment says.
fn first() -> u64 {
    std::env::var("TIDEGATE_FIRST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// The seed that the environment names, run alone and told at length.
fn replayed<B: Fresh>() -> bool {
    let Ok(text) = std::env::var("TIDEGATE_SEED") else { return false };
    let seed: Seed = text.parse().unwrap_or_else(|error| panic!("TIDEGATE_SEED: {error}"));
    let report = run::<B>(seed, Keep { trace: true, ..Keep::default() });
    println!("{}\na world of {}\n", report.trace, report.swarm);
    match report.violation {
        Some(violation) => panic!("seed {seed}: {violation}"),
        None => println!("seed {seed}: no promise was broken"),
    }
    true
}

#[test]
fn no_promise_is_broken_in_any_world() {
    // Without optimisation a tenth and less of it has to do.
    let seeds = seeds(if cfg!(debug_assertions) { 1_000 } else { 100_000 });
    no_promise_is_broken::<RedisBackend>("no_promise_is_broken_in_any_world", seeds, SEEN, &[]);
}

#[test]
fn no_promise_is_broken_in_any_world_of_kafka() {
    no_promise_is_broken::<KafkaBackend>("of_kafka", seeds(OF_KAFKA), SEEN_IN_KAFKA, REFUSED_IN_KAFKA);
}

fn no_promise_is_broken<B: Fresh>(test: &str, seeds: u64, seen: &[&str], refused: &[(&str, &str)]) {
    if replayed::<B>() {
        return;
    }
    let since = Instant::now();
    let summary = campaign::<B>(first()..first() + seeds, threads(), 5, |_| {});
    let took = since.elapsed().as_secs_f64();
    let (sent, got, again) = summary.messages;
    println!(
        "{} seeds in {took:.1} s on {} threads: {:.1} simulated hours, {} events, {:.0} events a second; \
         {sent} messages sent, {got} received, {again} of them again",
        summary.runs,
        threads(),
        summary.simulated.as_secs_f64() / 3_600.0,
        summary.events,
        summary.events as f64 / took,
    );
    println!("{}", summary.sometimes);
    for failure in &summary.failures {
        println!(
            "{failure}\n  replay it: TIDEGATE_SEED={} cargo test -p tidegate-sim --test seeds {test}",
            failure.seed
        );
    }
    assert!(summary.failures.is_empty(), "{} of {} seeds failed", summary.failures.len(), summary.runs);
    let kinds = FaultKind::ALL.iter().map(|kind| kind.name()).chain(B::FAULTS.iter().copied());
    let never: Vec<_> =
        kinds.chain(seen.iter().copied()).filter(|what| summary.sometimes.count(what) == 0).collect();
    let unmet: Vec<_> =
        refused.iter().filter(|(one, other)| summary.sometimes.refused(one, other) == 0).collect();
    // What is rare needs many.
    assert!(seeds < 20_000 || never.is_empty(), "never happened, so it was not tested: {never:?}");
    assert!(seeds < 20_000 || unmet.is_empty(), "never answered, so it was not tested: {unmet:?}");
}

/// What must happen in a run of seeds, beside each kind of fault.
const SEEN: &[&str] = &[
    "BUSY",
    "ERR",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOGROUP",
    "OOM",
    "READONLY",
    "UNBLOCKED",
    "WRONGTYPE",
    "BUSYGROUP",
    "assigned",
    "backpressure",
    "closed clean",
    "closed with acks uncommitted",
    "commit answered",
    "committed",
    "connect failed",
    "delivered again",
    "delivered for the first time",
    "ended",
    "failed at the start",
    "group set back",
    "handed out: claimed",
    "handed out: new",
    "handed out: own again",
    "kept alive",
    "member dead for ever",
    "message deleted",
    "message lost by the broker",
    "moved",
    "notice: assigned",
    "notice: claimed",
    "notice: group created",
    "notice: mended",
    "notice: ready",
    "notice: reconnecting",
    "notice: recovered",
    "notice: refused",
    "notice: revoked",
    "notice: stalled",
    "notice: vanished",
    "pending entry without a message left",
    "request failed",
    "revoked",
];

/// The same in a run of Kafka's seeds.
const SEEN_IN_KAFKA: &[&str] = &[
    "assigned",
    "backpressure",
    "closed clean",
    "closed with acks uncommitted",
    "commit answered",
    "committed",
    "connect failed",
    "delivered again",
    "delivered for the first time",
    "disowned: expired",
    "disowned: fenced",
    "disowned: left",
    "disowned: rebalanced",
    "ended",
    "failed at the start",
    "log cut",
    "log trimmed",
    "member dead for ever",
    "message aborted",
    "message deleted",
    "message lost by the broker",
    "message of a transaction",
    "message of a transaction committed",
    "moved",
    "notice: assigned",
    "notice: ready",
    "notice: reconnecting",
    "notice: refused",
    "notice: repositioned",
    "notice: revoked",
    "notice: stalled",
    "notice: uncommitted",
    "owned, as the coordinator sees it",
    "passed over by the reset policy",
    "request failed",
    "revoked",
];

/// And which answers its members must get: requests and error codes.
const REFUSED_IN_KAFKA: &[(&str, &str)] = &[
    ("ConsumerGroupHeartbeat", "COORDINATOR_LOAD_IN_PROGRESS"),
    ("ConsumerGroupHeartbeat", "FENCED_MEMBER_EPOCH"),
    ("ConsumerGroupHeartbeat", "NOT_COORDINATOR"),
    ("ConsumerGroupHeartbeat", "UNKNOWN_MEMBER_ID"),
    ("ConsumerGroupHeartbeat", "UNRELEASED_INSTANCE_ID"),
    ("Fetch", "FENCED_LEADER_EPOCH"),
    ("Fetch", "FETCH_SESSION_ID_NOT_FOUND"),
    ("Fetch", "OFFSET_OUT_OF_RANGE"),
    ("Heartbeat", "ILLEGAL_GENERATION"),
    ("Heartbeat", "NOT_COORDINATOR"),
    ("Heartbeat", "REBALANCE_IN_PROGRESS"),
    ("Heartbeat", "UNKNOWN_MEMBER_ID"),
    ("JoinGroup", "COORDINATOR_LOAD_IN_PROGRESS"),
    ("JoinGroup", "FENCED_INSTANCE_ID"),
    ("JoinGroup", "MEMBER_ID_REQUIRED"),
    ("JoinGroup", "NOT_COORDINATOR"),
    ("JoinGroup", "UNKNOWN_MEMBER_ID"),
    ("LeaveGroup", "COORDINATOR_LOAD_IN_PROGRESS"),
    ("LeaveGroup", "NOT_COORDINATOR"),
    ("LeaveGroup", "UNKNOWN_MEMBER_ID"),
    ("ListOffsets", "FENCED_LEADER_EPOCH"),
    ("ListOffsets", "OFFSET_NOT_AVAILABLE"),
    ("Metadata", "LEADER_NOT_AVAILABLE"),
    ("OffsetCommit", "COORDINATOR_LOAD_IN_PROGRESS"),
    ("OffsetCommit", "ILLEGAL_GENERATION"),
    ("OffsetCommit", "NOT_COORDINATOR"),
    ("OffsetCommit", "STALE_MEMBER_EPOCH"),
    ("OffsetCommit", "UNKNOWN_MEMBER_ID"),
    ("OffsetFetch", "COORDINATOR_LOAD_IN_PROGRESS"),
    ("OffsetFetch", "NOT_COORDINATOR"),
    ("OffsetFetch", "STALE_MEMBER_EPOCH"),
    ("OffsetFetch", "UNKNOWN_MEMBER_ID"),
    ("OffsetForLeaderEpoch", "FENCED_LEADER_EPOCH"),
    ("SyncGroup", "COORDINATOR_LOAD_IN_PROGRESS"),
    ("SyncGroup", "NOT_COORDINATOR"),
    ("SyncGroup", "REBALANCE_IN_PROGRESS"),
    ("SyncGroup", "UNKNOWN_MEMBER_ID"),
];

#[test]
fn the_same_seed_is_the_same_run() {
    the_same_twice::<RedisBackend>(200);
    the_same_twice::<KafkaBackend>(if cfg!(debug_assertions) { 40 } else { 200 });
}

fn the_same_twice<B: Fresh>(seeds: u64) {
    for seed in 0..seeds {
        let [first, second] = [(); 2].map(|()| run::<B>(Seed(seed), Keep::default()));
        if first.hash != second.hash || first.events != second.events {
            let [first, second] =
                [(); 2].map(|()| run::<B>(Seed(seed), Keep { trace: true, ..Keep::default() }).trace);
            let differs = first.lines().zip(second.lines()).enumerate().find(|(_, (a, b))| a != b);
            panic!("seed {seed} is not the same twice: {differs:?}");
        }
    }
}

#[test]
fn a_recorded_tape_is_the_same_run_as_its_seed() {
    for seed in 0..50 {
        let from_seed = run::<RedisBackend>(Seed(seed), Keep::default());
        let choices = tidegate_sim::choices::<RedisBackend>(Seed(seed));
        let text = tidegate_sim::print_tape(&choices);
        let from_tape = run::<RedisBackend>(
            Tape::from_choices(tidegate_sim::parse_tape(&text).unwrap()),
            Keep::default(),
        );
        assert_eq!((from_seed.hash, from_seed.events), (from_tape.hash, from_tape.events), "seed {seed}");
    }
}
