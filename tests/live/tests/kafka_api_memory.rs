//! The prefetch bound on Kafka, in an executable of its own, as it looks at the memory of its process.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;
mod kafka_api_tools;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use api_tools::*;
use kafka_api_tools::*;
use tidegate::{Handle, Limits};
use tidegate_live::kafka::{shared, unique};
use tidegate_live::wait;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// The Java producer's batch.size at its default.
const BATCH: u64 = 16 * KIB;

/// The memory of this process that is resident now, in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// The most bytes that wait while nobody takes anything, and the most memory.
async fn watch(consumer: &Handle, during: Duration) -> (u64, u64) {
    let (mut queued, mut resident) = (0, 0);
    let began = Instant::now();
    while began.elapsed() < during {
        queued = queued.max(consumer.stats().await.queued_bytes);
        resident = resident.max(resident_kib());
        tokio::time::sleep(millis(10)).await;
    }
    (queued, resident)
}

#[test]
fn prefetch_is_bounded_over_50_partitions_when_nothing_is_taken() {
    const PARTITIONS: usize = 50;
    const COUNT: u64 = 100_000;
    let kafka = shared();
    let mut small = Limits::default();
    small.lane_bytes_max = 256 * KIB as usize;
    let topic = kafka.topic(PARTITIONS);
    kafka.numbers(&topic, PARTITIONS).size(1_000).send(0..COUNT);
    runtime().block_on(async {
        for (what, options) in [
            ("a member, 4 MiB", member_of(&unique("group"))),
            ("real-time, 4 MiB", from_the_beginning()),
            ("a member, 256 KiB", member_of(&unique("group")).limits(small.clone())),
        ] {
            let max = options.limits.lane_bytes_max as u64;
            let before = resident_kib();
            let consumer = open(&kafka.url(&topic), options).await;
            until("it is full", wait::PATIENCE, || async { consumer.stats().await.queued_bytes >= max / 2 })
                .await;
            let (queued, resident) = watch(&consumer, Duration::from_secs(2)).await;
            let grown = resident.saturating_sub(before);
            println!(
                "{what}: {COUNT} records of 1,000 bytes, at most {queued} bytes waited (limit {max}), \
                 resident memory {before} KiB and then {resident} KiB: {grown} KiB more"
            );
            assert!(queued <= max + BATCH, "{what}: {queued} bytes wait");
            assert!(grown <= (max + 16 * MIB) / KIB, "{what}: {grown} KiB more");
            // And with one that takes a little: all partitions have their turn, nothing is missing.
            let (mut tally, mut shards, mut most) = (Tally::default(), BTreeSet::new(), 0);
            while (tally.0.len() as u64) < COUNT {
                let messages =
                    within("a batch", wait::PATIENCE, consumer.next_batch()).await.unwrap().unwrap();
                for at in 0..messages.len() {
                    let message = messages.message(at).unwrap();
                    shards.insert(message.shard());
                    tally.add(&message);
                }
                consumer.ack_batch(&messages);
                most = most.max(consumer.stats().await.queued_bytes);
            }
            assert!(most <= max + BATCH, "{what}: {most} bytes waited while it was taken from");
            assert_eq!(shards.len(), PARTITIONS);
            tally.each_once(&topic, &[COUNT as i64 / PARTITIONS as i64; PARTITIONS]);
            println!("{what}: all of it, at most {most} bytes waited");
            consumer.close().await.unwrap();
        }
    });
}
