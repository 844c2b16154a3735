//! What the tests of the handle on Kafka share.

use std::collections::BTreeMap;

use tidegate::{AutoCommit, ConsumerMode, ConsumerOptions, Handle, Message, Position, SeqNo};
use tidegate_live::kafka::{Admin, Record};

use super::{BY_HAND, take};

/// 2023-11-14T22:13:20.000Z.
pub(crate) const THEN: i64 = 1_700_000_000_000;

/// A member of this group, that commits when told.
pub(crate) fn in_group(group: &str) -> ConsumerOptions {
    ConsumerOptions::new(ConsumerMode::LoadBalanced).group(group).auto_commit(BY_HAND)
}

/// A member of this group, that commits by the clock.
pub(crate) fn in_group_rolling(group: &str, every_ms: u64) -> ConsumerOptions {
    in_group(group).auto_commit(AutoCommit::Rolling { interval: super::millis(every_ms) })
}

/// Shard and offset.
pub(crate) fn at(message: &Message) -> (u64, u64) {
    (message.shard().number(), message.seq().low())
}

/// The position of an offset.
pub(crate) fn offset(offset: u64) -> Position {
    Position::At(SeqNo::offset(offset))
}

/// A topic with `each` records in each partition; record n is dated n milliseconds after [`THEN`].
pub(crate) fn dated(kafka: &Admin, partitions: usize, each: usize) -> String {
    let topic = kafka.topic(partitions);
    let mut produce = kafka.produce(&topic);
    for partition in 0..partitions as i32 {
        for n in 0..each {
            let record = Record::new(partition, format!("{partition}/{n}"));
            produce = produce.record(record.at(THEN + n as i64));
        }
    }
    produce.send();
    topic
}

/// The offsets of the next messages, by shard, in the order in which they came.
pub(crate) async fn by_shard(consumer: &Handle, count: usize) -> BTreeMap<u64, Vec<u64>> {
    let mut shards = BTreeMap::new();
    for message in take(consumer, count).await {
        let (shard, offset) = at(&message);
        shards.entry(shard).or_insert_with(Vec::new).push(offset);
    }
    shards
}

/// The same offsets in each of these shards.
pub(crate) fn each(
    shards: impl IntoIterator<Item = u64>,
    offsets: std::ops::Range<u64>,
) -> BTreeMap<u64, Vec<u64>> {
    shards.into_iter().map(|shard| (shard, offsets.clone().collect())).collect()
}
