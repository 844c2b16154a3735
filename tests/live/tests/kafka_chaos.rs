//! Four members on twelve partitions for as long as a million records last, and somebody joins,
//! leaves, is killed or stands still every few seconds.
//!
//! `TIDEGATE_KAFKA_RECORDS` is the number of records (default 1,000,000), which come at a rate that
//! makes them last half a minute; with fewer it is over sooner.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::time::{Duration, Instant};

use tidegate_live::heavy;
use tidegate_live::kafka::{Admin, Cluster, ClusterOptions, Crew, Protocol, Version, shared, unique};

const PARTITIONS: usize = 12;
const RATE: u64 = 30_000;

fn records() -> u64 {
    std::env::var("TIDEGATE_KAFKA_RECORDS").map_or(1_000_000, |text| text.parse().unwrap())
}

fn chaos(kafka: &Admin, protocol: Protocol, records: u64) {
    let _turn = heavy();
    let (topic, group) = (unique("topic"), unique("group"));
    kafka.create_topic(&topic, PARTITIONS, 1, &[]);
    let mut crew = Crew::new(kafka, &topic, PARTITIONS, &group, protocol.args());
    for _ in 0..4 {
        crew.join();
    }
    kafka.wait_until_shared(&group, &topic, &[PARTITIONS / 4; 4], Duration::from_secs(30));
    let began = Instant::now();
    let mut events = 0;
    std::thread::scope(|scope| {
        let producer =
            scope.spawn(|| kafka.numbers(&topic, PARTITIONS).size(100).rate(RATE).send(0..records));
        let mut next = Instant::now() + Duration::from_secs(3);
        let mut standing = None;
        while !producer.is_finished() {
            crew.check_commits();
            std::thread::sleep(Duration::from_millis(100));
            if Instant::now() < next {
                continue;
            }
            next = Instant::now() + Duration::from_secs(2);
            // The longest-serving one is next, so that everybody has its turn.
            let oldest = crew.running()[0];
            match events % 4 {
                0 => {
                    crew.leave(oldest);
                    crew.join();
                }
                1 => {
                    crew.kill9(oldest);
                    crew.join();
                }
                2 => {
                    crew.stop(oldest);
                    standing = Some(oldest);
                    // Until its partitions have been given away.
                    next = Instant::now() + protocol.death() + Duration::from_secs(2);
                }
                _ => {
                    if let Some(member) = standing.take() {
                        crew.cont(member);
                    }
                }
            }
            events += 1;
        }
        if let Some(member) = standing.take() {
            crew.cont(member);
        }
        producer.join().unwrap();
    });
    let ends = kafka.ends(&topic);
    assert_eq!(ends.iter().sum::<i64>() as u64, records);
    crew.wait_for(&ends, Duration::from_secs(60));
    let took = began.elapsed();
    // Who was killed last may have written its last lines without a commit: its heirs commit them.
    crew.wait_until_committed(&ends, Duration::from_secs(60));
    let report = crew.finish();
    assert_eq!(report.records, records);
    println!(
        "{protocol:?}: {} records, {events} events, {} processes, 0 lost, {} duplicates of at most {:?}; {took:.1?}",
        report.records, report.processes, report.duplicates, report.excused
    );
}

#[test]
fn nothing_is_lost_under_the_classic_eager_protocol() {
    chaos(shared(), Protocol::Eager, records());
}

#[test]
fn nothing_is_lost_under_the_classic_cooperative_protocol() {
    chaos(shared(), Protocol::Cooperative, records());
}

#[test]
fn nothing_is_lost_under_the_consumer_protocol() {
    chaos(shared(), Protocol::Consumer, records());
}

/// Its coordinator takes a commit with the newest member epoch only; later ones are content with one
/// that is not older than the partition's assignment (KIP-1251).
#[test]
fn nothing_is_lost_on_release_4_2() {
    let cluster = Cluster::with(1, &ClusterOptions { version: Version::Old, ..ClusterOptions::default() });
    for protocol in [Protocol::Consumer, Protocol::Cooperative] {
        chaos(cluster.admin(), protocol, records() / 2);
    }
}
