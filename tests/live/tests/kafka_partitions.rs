//! Three brokers, groups of all three protocols and producers, each in a network namespace of its own,
//! while cables are pulled, packets vanish one way or both, lines are slow or lossy, and brokers and members
//! stand still or die.
//!
//! `TIDEGATE_CHAOS_SECONDS` is how long there are faults (default 45), `TIDEGATE_SEED` which ones: it is
//! printed. Where no namespaces can be made, one line says so, and the test passes.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

#[path = "kafka_partitions/mod.rs"]
mod rig;

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rig::{Acknowledged, Act, BROKERS, Feeds, Kind, LEGS, MEMBERS, PRODUCERS, Planned, events, plan};
use tidegate_live::kafka::{Admin, Cluster, ClusterOptions, Crew, Protocol, Report, unique};
use tidegate_live::{Namespace, Network, again_as_root, heavy, tidegate};

const PARTITIONS: usize = 6;

/// Two faults that overlap cut somebody off for twice the longest one at most.
const CUT_OFF: Duration = Duration::from_secs(30);

/// After the faults: brokers find each other, lead again what they led, and are found; members join again.
/// On a busy machine each of these takes a while.
const RECOVERY: Duration = Duration::from_secs(90);

#[test]
fn nothing_is_lost_in_a_partitioned_network() {
    let _turn = heavy();
    if let Some(passed) = again_as_root("nothing_is_lost_in_a_partitioned_network") {
        return assert!(passed, "as root; see above");
    }
    let network = match Network::new(LEGS) {
        Ok(network) => network,
        Err(why) => return left_out(&format!("all of kafka_partitions.rs: {why}")),
    };
    let kinds = possible(&network);
    let seed = number("TIDEGATE_SEED").unwrap_or_else(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |age| age.as_micros() as u64)
    });
    let total = Duration::from_secs(number("TIDEGATE_CHAOS_SECONDS").unwrap_or(45));
    let plan = plan(seed, total, &kinds, Protocol::ALL.len());
    println!("TIDEGATE_SEED={seed}: {} faults in {total:?}; {}", plan.len(), network.means());

    tidegate(); // built where there is a network, if it has to be
    network.leg(PRODUCERS).enter();
    let namespaces = (0..BROKERS).map(|leg| network.leg(leg).clone()).collect();
    let cluster = Cluster::with(BROKERS, &ClusterOptions { namespaces, ..ClusterOptions::default() });
    println!("three brokers in {:.1?}", cluster.took());
    let kafka = cluster.admin();
    let topic = unique("topic");
    kafka.create_topic(&topic, PARTITIONS, BROKERS, &[("min.insync.replicas", "2")]);
    let homes: Vec<Namespace> = MEMBERS.iter().map(|&leg| network.leg(leg).clone()).collect();
    let mut crews: Vec<Crew> = Protocol::ALL
        .iter()
        .enumerate()
        .map(|(number, protocol)| {
            // In an order of its own, it is a Java client of its own: one that waits holds up no other.
            let admin = in_another_order(kafka, number);
            let group = unique("group");
            let crew = Crew::new(&admin, &topic, PARTITIONS, &group, protocol.args());
            let mut crew = crew.cut_off(&homes, CUT_OFF);
            MEMBERS.iter().for_each(|_| _ = crew.join());
            kafka.wait_until_shared(&group, &topic, &[PARTITIONS / 2; 2], RECOVERY);
            crew
        })
        .collect();
    let feeds = Feeds::start(kafka, &topic, PARTITIONS);
    crews.iter_mut().for_each(|crew| crew.goes_on(RECOVERY));

    let began = Instant::now();
    let over = plan.iter().map(|fault| fault.until).max().unwrap_or_default();
    let recovered: Vec<Duration> = thread::scope(|scope| {
        scope.spawn(|| shake(&network, &cluster, &plan, began));
        let kept = crews.iter_mut().enumerate().map(|(number, crew)| {
            let plan = &plan;
            scope.spawn(move || {
                keep(crew, number, plan, began, over);
                crew.goes_on(RECOVERY);
                began.elapsed() - over
            })
        });
        let kept: Vec<_> = kept.collect(); // all are begun before one is waited for
        kept.into_iter().map(|kept| kept.join().unwrap()).collect()
    });
    let told = feeds.end();
    let ends = kafka.ends(&topic);
    let written = check_written(&told, &ends);
    let reports = thread::scope(|scope| {
        let (told, ends) = (&told, &ends);
        let crews: Vec<_> =
            crews.into_iter().map(|crew| scope.spawn(move || close(crew, told, ends))).collect();
        crews.into_iter().map(|crew| crew.join().unwrap()).collect::<Vec<Report>>()
    });
    say(&plan, written, &told, &ends, &reports, &recovered);
}

/// Says what was left out, also where a test's output is kept from view.
fn left_out(what: &str) {
    writeln!(std::io::stderr(), "left out: {what}").ok();
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// The kinds of faults that this machine can make.
fn possible(network: &Network) -> Vec<Kind> {
    if !network.can_delay() {
        left_out("delay in kafka_partitions.rs: the kernel has neither netem nor tbf");
    }
    if !network.can_lose() {
        left_out("loss in kafka_partitions.rs: the kernel has neither netem nor cls_bpf");
    }
    let can = |kind: &Kind| match kind {
        Kind::Slow => network.can_delay(),
        Kind::Lossy => network.can_lose(),
        _ => true,
    };
    Kind::ALL.into_iter().filter(can).collect()
}

/// The same cluster, its addresses rotated.
fn in_another_order(kafka: &Admin, by: usize) -> Admin {
    let mut addresses: Vec<&str> = kafka.bootstrap().split(',').rev().collect();
    addresses.rotate_left(by);
    Admin::of(&addresses.join(","))
}

/// Carries out what is planned for the network and for brokers.
fn shake(network: &Network, cluster: &Cluster, plan: &[Planned], began: Instant) {
    let mine = plan.iter().filter(|fault| matches!(fault.act, Act::Network(_) | Act::BrokerStops(_)));
    for (at, begins, fault) in events(mine) {
        thread::sleep(at.saturating_sub(began.elapsed()));
        say_event(fault, begins, began);
        match &fault.act {
            Act::Network(troubles) if begins => troubles.iter().for_each(|&trouble| network.begin(trouble)),
            Act::Network(troubles) => troubles.iter().for_each(|&trouble| network.end(trouble)),
            &Act::BrokerStops(broker) if begins => cluster.stop(broker),
            &Act::BrokerStops(broker) => cluster.cont(broker),
            Act::MemberStops { .. } | Act::MemberDies { .. } => {}
        }
    }
}

/// Carries out what is planned for one crew, and holds its commits against its lines meanwhile.
fn keep(crew: &mut Crew, number: usize, plan: &[Planned], began: Instant, over: Duration) {
    let mine = plan.iter().filter(|fault| match fault.act {
        Act::MemberStops { crew, .. } | Act::MemberDies { crew, .. } => crew == number,
        Act::Network(_) | Act::BrokerStops(_) => false,
    });
    let mut events = events(mine).into_iter().peekable();
    let mut standing = BTreeMap::new();
    loop {
        while let Some((_, begins, fault)) = events.next_if(|(at, ..)| *at <= began.elapsed()) {
            say_event(fault, begins, began);
            let running = crew.running();
            let picked = |pick: usize| running.get(pick % running.len().max(1)).copied();
            match fault.act {
                Act::MemberStops { pick, .. } if begins => {
                    if let Some(member) = picked(pick) {
                        crew.stop(member);
                        standing.insert(fault.from, member);
                    }
                }
                Act::MemberStops { .. } => {
                    if let Some(member) = standing.remove(&fault.from) {
                        crew.cont(member);
                    }
                }
                Act::MemberDies { pick, .. } if begins => {
                    if let Some(member) = picked(pick) {
                        crew.kill9(member);
                    }
                }
                Act::MemberDies { .. } => _ = crew.join(),
                Act::Network(_) | Act::BrokerStops(_) => {}
            }
        }
        if events.peek().is_none() && began.elapsed() >= over {
            return;
        }
        crew.check_commits();
        thread::sleep(Duration::from_millis(200));
    }
}

fn say_event(fault: &Planned, begins: bool, began: Instant) {
    let Planned { from, until, kind, act } = fault;
    if begins {
        println!("{:.1?}: {kind:?} for {:.1?}: {act:?}", began.elapsed(), *until - *from);
    } else {
        println!("{:.1?}: end of {kind:?}", began.elapsed());
    }
}

/// What was acknowledged is there, once; how many records that are.
fn check_written(told: &[Acknowledged], ends: &[i64]) -> usize {
    for (partition, (told, &end)) in told.iter().zip(ends).enumerate() {
        let mut found = HashSet::new();
        for &offset in &told.offsets {
            assert!(offset < end, "partition {partition} ends at {end}, and {offset} was acknowledged");
            assert!(found.insert(offset), "partition {partition}: {offset} was acknowledged twice");
        }
    }
    told.iter().map(|told| told.offsets.len()).sum()
}

/// Everything there is gets written and committed, and what was acknowledged is what was written; then all
/// leave.
fn close(mut crew: Crew, told: &[Acknowledged], ends: &[i64]) -> Report {
    crew.wait_for(ends, RECOVERY);
    crew.wait_until_committed(ends, RECOVERY);
    for (partition, told) in told.iter().enumerate() {
        let numbers = crew.numbers(partition);
        for (number, offset) in (0..).zip(&told.offsets) {
            let found = numbers.get(&(*offset as u64));
            assert_eq!(found, Some(&number), "partition {partition}, offset {offset}");
        }
    }
    crew.finish()
}

fn say(
    plan: &[Planned],
    written: usize,
    told: &[Acknowledged],
    ends: &[i64],
    reports: &[Report],
    recovered: &[Duration],
) {
    let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
    for fault in plan {
        *kinds.entry(fault.kind).or_default() += 1;
    }
    println!("{} faults: {kinds:?}", plan.len());
    let failures: usize = told.iter().map(|told| told.failures).sum();
    let records: i64 = ends.iter().sum();
    println!("{written} records acknowledged of {records} written; producers gave up {failures} times");
    for ((protocol, report), recovered) in Protocol::ALL.iter().zip(reports).zip(recovered) {
        println!(
            "{protocol:?}: {} records, 0 lost, {} duplicates ({} written and not committed when taken over, {} beside \
             a new owner, that had not been heard of), {} commits, {} processes, longest gap {:.1?}, goes on {:.1?} \
             after the last fault",
            report.records,
            report.duplicates,
            report.excused.taken_over,
            report.excused.overlapping,
            report.commits,
            report.processes,
            report.longest_gap,
            recovered
        );
    }
}
