//! Large worlds, tiny worlds, and the same world driven in another way.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidegate_core::{AutoCommit, ClaimOptions, ConsumerMode, ConsumerOptions};
use tidegate_sim::swarm::{FaultKind, Net, Plan, Role, Sloppy};
use tidegate_sim::{Backend, Fresh, KafkaBackend, Keep, RedisBackend, Swarm, Tape, World, explore};

/// A world where nothing happens by chance.
fn plain<B: Backend>(members: usize, messages: u64) -> Swarm {
    let ms = Duration::from_millis;
    let claim = ClaimOptions::Every { interval: ms(1_000), idle: ms(3_000) };
    let options = ConsumerOptions::new(ConsumerMode::LoadBalanced)
        .auto_commit(AutoCommit::Rolling { interval: ms(200) })
        .claim(claim)
        .create(true);
    let plan = Plan {
        work_max: Duration::ZERO,
        long: 0,
        work_long: Duration::ZERO,
        workers: 1,
        hold_max: 1_000_000,
        never: 0,
        commit: 0,
        rest: 0,
        pause: 0,
        wander: 0,
    };
    Swarm {
        chaos: Duration::from_secs(20),
        roles: vec![Role { mode: ConsumerMode::LoadBalanced, members, named: true, options, plan }],
        streams: vec![("orders".into(), 0)],
        messages,
        burst: 1,
        payload_max: 0,
        foreign: 0,
        net: Net { latency_min: ms(1), latency_max: ms(1), split: 0, capacity: 1 << 20 },
        fault_every: None,
        weights: vec![0; FaultKind::ALL.len() + B::FAULTS.len()],
        fault_max: ms(500),
        sloppy: Sloppy::default(),
    }
}

fn weigh<B: Backend>(swarm: &mut Swarm, name: &str, weight: u32) {
    let names = FaultKind::ALL.iter().map(|kind| kind.name()).chain(B::FAULTS.iter().copied());
    let at = names.enumerate().find(|(_, known)| *known == name).map(|(at, _)| at);
    swarm.weights[at.unwrap_or_else(|| panic!("no fault {name}"))] = weight;
}

#[test]
fn a_hundred_members_through_a_thousand_crashes() {
    let since = Instant::now();
    // Without optimisation a fifth of it has to do, and with that few members fewer can be killed.
    let (members, part, least) = if cfg!(debug_assertions) { (20, 5, 50) } else { (100, 1, 1_000) };
    let mut swarm = plain::<RedisBackend>(members, 20_000 / part);
    swarm.chaos = Duration::from_secs(60 / part);
    swarm.burst = 20;
    swarm.fault_every = Some(Duration::from_millis(50));
    weigh::<RedisBackend>(&mut swarm, "member killed", 100);
    let report = World::<RedisBackend>::new(swarm, Tape::from_seed(5), Keep::default()).run();
    assert_eq!(report.violation, None);
    let crashes = report.sometimes.count("member killed");
    let (sent, got, again) = report.messages;
    println!(
        "{members} members, {crashes} crashes, {sent} messages sent, {got} received, {again} again, {} events, \
         {:.0} simulated seconds, in {:.2} s",
        report.events,
        report.simulated.as_secs_f64(),
        since.elapsed().as_secs_f64()
    );
    assert!(crashes >= least && sent >= 19_000 / part, "{crashes} crashes, {sent} messages");
}

#[test]
fn a_hundred_kafka_members_through_a_hundred_rebalances() {
    let since = Instant::now();
    // Without optimisation a fifth of it has to do.
    let part = if cfg!(debug_assertions) { 5 } else { 1 };
    let (members, partitions, least) = (100 / part, 1_000 / part as u64, 100 / part as u64);
    let mut swarm = plain::<KafkaBackend>(members, 5_000 / part as u64);
    swarm.streams = vec![("orders".into(), partitions)];
    swarm.chaos = Duration::from_secs(200);
    swarm.burst = 20;
    swarm.fault_every = Some(Duration::from_secs(2) / part as u32);
    weigh::<KafkaBackend>(&mut swarm, "member closes", 100);
    let report = World::<KafkaBackend>::new(swarm, Tape::from_seed(5), Keep::default()).run();
    assert_eq!(report.violation, None);
    let rebalances = report.sometimes.count("member closes");
    let (sent, got, again) = report.messages;
    println!(
        "{members} members, {partitions} partitions, {rebalances} members left and came back, {sent} messages sent, \
         {got} received, {again} again, {} events, {:.0} simulated seconds, in {:.2} s",
        report.events,
        report.simulated.as_secs_f64(),
        since.elapsed().as_secs_f64()
    );
    assert!(rebalances >= least, "{rebalances}");
}

#[test]
fn every_run_of_a_tiny_world() {
    let mut runs = 0;
    for fault in ["member killed", "connection reset", "XGROUP DESTROY", "reply cut", "DEL"] {
        // Without optimisation the first ones have to do.
        let most = if cfg!(debug_assertions) { 200 } else { 20_000 };
        let all = explore(most, |tape| {
            let mut swarm = plain::<RedisBackend>(1, 2);
            swarm.chaos = Duration::from_millis(1_500);
            swarm.fault_every = Some(Duration::from_millis(700));
            weigh::<RedisBackend>(&mut swarm, fault, 1);
            let own = std::mem::replace(tape, Tape::tiny(Vec::new()));
            let report = World::<RedisBackend>::new(swarm, own, Keep::default()).run();
            *tape = report.tape;
            report.violation
        });
        assert_eq!(all.found, None, "{fault}");
        runs += all.runs;
        println!(
            "{fault}: {} runs, {}",
            all.runs,
            if all.complete { "all that there are" } else { "the first" }
        );
    }
    assert!(runs >= 1_000, "{runs}");
}

/// G10: how the bytes were cut makes no difference to what is delivered. Without recoveries:
/// what is recovered is counted piece by piece, so there the commands, and with them the times,
/// depend on the pieces. And for one member: which of several gets what hangs on moments.
#[test]
fn bytes_whole_or_one_at_a_time_are_the_same_messages() {
    bytes_make_no_difference::<RedisBackend>(&["XTRIM", "XDEL"]);
    bytes_make_no_difference::<KafkaBackend>(&["compaction", "retention"]);
}

fn bytes_make_no_difference<B: Fresh>(faults: &[&str]) {
    let mut compared = 0;
    let seeds = if cfg!(debug_assertions) { 30 } else { 200 };
    for seed in 0..seeds {
        let worlds = [false, true].map(|single_bytes| {
            let mut swarm = plain::<B>(1, 60);
            swarm.payload_max = 40;
            swarm.fault_every = Some(Duration::from_millis(800));
            faults.iter().for_each(|fault| weigh::<B>(&mut swarm, fault, 1));
            swarm.sloppy.single_bytes = single_bytes;
            World::<B>::new(swarm, Tape::from_seed(seed), Keep { got: true, ..Keep::default() }).run()
        });
        let [whole, single] = worlds.map(|report| {
            assert_eq!(report.violation, None, "seed {seed}");
            let mut by_run: BTreeMap<_, Vec<_>> = BTreeMap::new();
            report.got.iter().for_each(|(run, id)| by_run.entry(*run).or_default().push(*id));
            by_run
        });
        assert_eq!(whole, single, "seed {seed}");
        compared += whole.values().map(Vec::len).sum::<usize>();
    }
    println!("{compared} messages compared");
    assert!(compared > 100 * seeds as usize / 4, "{compared}");
}
