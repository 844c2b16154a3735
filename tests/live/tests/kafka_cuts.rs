//! Connections that are cut at a chosen byte, hang, are refused, or carry rubbish: answers get lost after
//! the broker has acted, and nothing else gets lost with them.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::time::{Duration, Instant};

use tidegate_live::kafka::{Cluster, ClusterOptions, Crew, Protocol, unique};
use tidegate_live::{Consume, Cut, heavy, wait};

const PARTITIONS: usize = 4;

fn proxied() -> Cluster {
    Cluster::with(1, &ClusterOptions { proxied: true, ..ClusterOptions::default() })
}

/// In every request's header.
const CLIENT: &str = "tidegate";

fn storm(protocol: Protocol) {
    let _turn = heavy();
    let cluster = proxied();
    let kafka = cluster.admin();
    let proxy = cluster.proxy(1);
    let (topic, group) = (kafka.topic(PARTITIONS), unique("group"));
    let args = protocol.args();
    let mut crew =
        Crew::new(kafka, &topic, PARTITIONS, &group, args).at(&cluster.proxied_url(&topic)).brokers_fail();
    crew.join();
    crew.join();
    kafka.wait_until_shared(&group, &topic, &[2, 2], wait::PATIENCE);
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| kafka.numbers(&topic, PARTITIONS).rate(3_000).send(0..45_000));
        let mut round = 0_usize;
        while !producer.is_finished() {
            // Each time another number of bytes of an answer comes through: none, a part of its length,
            // a part of its head, more.
            let pass = [0, 2, 4, 7, 8, 9, 13, 40, 100, 1_000][round % 10];
            let cut = Cut::after_next(CLIENT).pass(pass);
            match round % 16 {
                5 => proxy.arm(cut.inject(*b"\x7f\xff\xff\xff rubbish")),
                9 => proxy.arm(cut.inject([0xff; 64])),
                11 => proxy.cut_all(),
                13 => {
                    proxy.hold_open_ones();
                    std::thread::sleep(Duration::from_millis(700));
                    proxy.release();
                }
                15 => {
                    proxy.refuse(true);
                    proxy.cut_all();
                    std::thread::sleep(Duration::from_millis(300));
                    proxy.refuse(false);
                }
                _ => proxy.arm(cut),
            }
            round += 1;
            std::thread::sleep(Duration::from_millis(200));
            crew.check_commits();
        }
        producer.join().unwrap();
    });
    let fired = proxy.fired();
    println!("{protocol:?}: {fired} cuts fired, {} connections", proxy.accepted());
    assert!(fired > 30, "{fired} cuts fired");
    crew.wait_for(&kafka.ends(&topic), Duration::from_secs(30));
    crew.wait_until_committed(&kafka.ends(&topic), Duration::from_secs(30));
    // Whoever was cut off for longer than its session is back.
    kafka.wait_until_shared(&group, &topic, &[2, 2], wait::PATIENCE);
    let report = crew.finish();
    println!(
        "{protocol:?}: {} records, 0 lost, {} duplicates of at most {} explained",
        report.records,
        report.duplicates,
        report.excused.explained()
    );
}

#[test]
fn a_storm_of_cuts_loses_nothing_under_the_consumer_protocol() {
    storm(Protocol::Consumer);
}

#[test]
fn a_storm_of_cuts_loses_nothing_under_the_classic_protocol() {
    storm(Protocol::Cooperative);
}

#[test]
fn a_broker_that_hangs_is_noticed_and_its_return_too() {
    let cluster = proxied();
    let kafka = cluster.admin();
    let proxy = cluster.proxy(1);
    let (topic, group) = (kafka.topic(1), unique("group"));
    let mut consumer = Consume::of(&cluster.proxied_url(&topic)).member(&group, "one").start();
    kafka.add(&topic, ["one"]);
    consumer.wait_for_payloads(["one"], wait::PATIENCE);
    let notices = consumer.seen().notices.len();
    proxy.hold();
    // Nothing but silence, and it is said: G7.
    consumer.wait_for("a word about the silence", wait::PATIENCE, |seen| {
        seen.noticed_after(notices, "no answer") || seen.noticed_after(notices, "reconnecting")
    });
    kafka.add(&topic, ["two"]);
    proxy.release();
    consumer.wait_for_payloads(["two"], wait::PATIENCE);
    // Where the silence was longer than its session it joins again first, and gets again what it had.
    wait::until_true("both are committed", wait::PATIENCE, || {
        kafka.committed_offsets(&group, &topic, 1) == [2]
    });
    consumer.interrupt();
    let mut shown: Vec<String> = Vec::new();
    for message in &consumer.seen().messages {
        if !shown.contains(&message.seq) {
            shown.push(message.seq.clone());
        }
    }
    assert_eq!(shown, ["0", "1"]);
}

#[test]
fn a_broker_that_is_gone_is_not_stormed() {
    let mut cluster = Cluster::start(1);
    let kafka = cluster.admin().clone();
    let (topic, group) = (kafka.topic(1), unique("group"));
    kafka.add(&topic, ["one"]);
    let mut consumer = Consume::of(&kafka.url(&topic)).member(&group, "one").start();
    consumer.wait_for_payloads(["one"], wait::PATIENCE);
    cluster.kill9(1);
    let before = consumer.seen().notices.len();
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(10)); // the time over which tries are counted
    let tries = {
        let seen = consumer.seen();
        seen.notices[before..].iter().filter(|line| line.text.contains("reconnecting")).count()
    };
    println!("{tries} words about reconnecting in {:?}", began.elapsed());
    // At once, then after 100 ms, doubled each time with jitter: about eight tries, of a few connections.
    assert!(tries >= 1, "silence");
    assert!(tries <= 40, "{tries} tries in ten seconds: no back-off");
    cluster.restart(1);
    kafka.add(&topic, ["two"]);
    consumer.wait_for_payloads(["two"], wait::PATIENCE);
    consumer.interrupt();
}
