//! Memory holds, whatever the brokers have and the application does not take.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::time::Duration;

use api_tools::kafka::*;
use api_tools::*;
use tidegate::{ConsumerMode, ConsumerOptions, KafkaOptions, Limits, Position, Start};
use tidegate_live::kafka::{Record, shared, unique};
use tidegate_live::{Consume, peak_memory_kib, wait};

const MIB: u64 = 1 << 20;
const PARTITIONS: usize = 50;

/// Fifty partitions with 1 MiB each, in batches of about 64 KiB.
fn topic() -> String {
    let kafka = shared();
    let topic = kafka.topic(PARTITIONS);
    kafka.numbers(&topic, PARTITIONS).size(1_000).config("linger.ms", "100").send(0..50_000);
    topic
}

#[test]
fn the_prefetch_bound_holds_with_50_partitions_and_an_application_that_takes_nothing() {
    let kafka = shared();
    let topic = topic();
    runtime().block_on(async {
        for lane_bytes_max in [MIB as usize, Limits::default().lane_bytes_max] {
            let mut limits = Limits::default();
            limits.lane_bytes_max = lane_bytes_max;
            let options = ConsumerOptions::new(ConsumerMode::RealTime)
                .start(Start::From(Position::Beginning))
                .limits(limits);
            let consumer = open(&kafka.url(&topic), options).await;
            let mut most = 0;
            let mut same = 0;
            let mut received = 0;
            // Until nothing more comes in for a second.
            while same < 20 {
                let stats = consumer.stats().await;
                most = most.max(stats.queued_bytes);
                same = if stats.bytes_received == received { same + 1 } else { 0 };
                received = stats.bytes_received;
                tokio::time::sleep(millis(50)).await;
            }
            // A batch may be as large as the producer makes it: 64 KiB here.
            let bound = lane_bytes_max as u64 + 64 * 1024;
            println!("a limit of {lane_bytes_max} bytes: {most} waited, {received} received");
            assert!(most > 0 && most <= bound, "{most} bytes wait, the limit is {lane_bytes_max}");
            // It goes on where it was, and nothing is missing.
            let shards = by_shard(&consumer, 50_000).await;
            assert_eq!(shards, each(0..PARTITIONS as u64, 0..1_000));
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn the_command_keeps_within_its_memory_while_its_reader_takes_nothing() {
    let kafka = shared();
    let topic = topic();
    let idle = Consume::of(&kafka.url(&kafka.topic(1))).start();
    idle.wait_for("that it is assigned", wait::PATIENCE, |seen| seen.noticed("assigned"));
    for mode in ["real-time", "load-balanced"] {
        let group = unique("group");
        let member = ["--mode", mode, "--group", &group];
        let args = if mode == "real-time" { &["--from", "beginning"][..] } else { &member[..] };
        let mut consumer = Consume::of(&kafka.url(&topic)).args(args).args(["--work", "1h"]).start();
        // The first message is in work for an hour; everything else waits.
        consumer.wait_for("that it reads", wait::PATIENCE, |seen| seen.noticed("assigned"));
        let mut peak = 0;
        let mut same = 0;
        while same < 20 {
            std::thread::sleep(Duration::from_millis(100));
            let now = peak_memory_kib(consumer.pid()).unwrap();
            same = if now == peak { same + 1 } else { 0 };
            peak = now;
        }
        let base = peak_memory_kib(idle.pid()).unwrap();
        println!("{mode}: {peak} KiB at most; {base} KiB without messages");
        // Beyond what the same executable has without messages, its own code above all.
        let limit = base + (Limits::default().lane_bytes_max as u64 + 4 * MIB) / 1024;
        assert!(peak <= limit, "{peak} KiB, the limit is {limit} KiB");
        consumer.kill9();
    }
}

#[test]
fn one_batch_larger_than_the_lane_comes_all_the_same() {
    let kafka = shared();
    let topic = kafka.topic(1);
    let large = "x".repeat(900_000);
    kafka.produce(&topic).record(Record::new(0, &large)).record(Record::new(0, "small")).send();
    runtime().block_on(async {
        let mut limits = Limits::default();
        limits.lane_bytes_max = 64 * 1024;
        let consumer = open(&kafka.url(&topic), in_group(&unique("group")).limits(limits)).await;
        assert_eq!(next(&consumer).await.payload().map(<[u8]>::len), Some(900_000));
        assert_eq!(next(&consumer).await.payload(), Some(&b"small"[..]));
        consumer.close().await.unwrap();
    });
}

#[test]
fn a_slow_partition_is_not_starved_by_a_full_one() {
    let kafka = shared();
    let topic = kafka.topic(2);
    kafka.numbers(&topic, 1).size(1_000).send(0..30_000);
    runtime().block_on(async {
        let options = ConsumerOptions::new(ConsumerMode::RealTime).start(Start::From(Position::Beginning));
        let consumer = open(&kafka.url(&topic), options.kafka(KafkaOptions::default())).await;
        take(&consumer, 100).await;
        kafka.produce(&topic).values(1, ["from the other one"]).send();
        // It need not be the next one, but it must not wait for the end of the full one.
        let mut before = 0;
        while next(&consumer).await.shard().number() == 0 {
            before += 1;
        }
        println!("{before} records of the full partition came first");
        assert!(before < 20_000, "{before} records of the full partition came first");
        consumer.close().await.unwrap();
    });
}
