//! assign, unassign, rewind and seek on Kafka: exact, from the next move on, and out of the group.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::time::Duration;

use api_tools::kafka::*;
use api_tools::*;
use tidegate::{
    ConsumerError, ConsumerMode, ConsumerOptions, KafkaOptions, Position, RequestError, ShardId, StreamKey,
    Timestamp,
};
use tidegate_live::kafka::{shared, unique};
use tidegate_live::wait;

/// Long enough for a record that is there to come.
const QUIET: Duration = Duration::from_millis(300);

fn real_time() -> ConsumerOptions {
    ConsumerOptions::new(ConsumerMode::RealTime)
}

fn after(millis: i64) -> Timestamp {
    Timestamp::from_millis(THEN + millis)
}

#[test]
fn a_rewind_is_inclusive_and_goes_to_shard_zero_if_none_is_assigned() {
    let kafka = shared();
    let topic = dated(kafka, 3, 10);
    runtime().block_on(async {
        for options in [real_time(), in_group(&unique("group"))] {
            let consumer = open(&kafka.url(&topic), options).await;
            for from in [4, 0, 9, 7] {
                consumer.rewind(offset(from)).await.unwrap();
                assert_eq!(by_shard(&consumer, 10 - from as usize).await, each([0], from..10));
                nothing_comes(&consumer, QUIET).await;
            }
            consumer.rewind(Position::Beginning).await.unwrap();
            assert_eq!(by_shard(&consumer, 10).await, each([0], 0..10));
            consumer.rewind(Position::End).await.unwrap();
            nothing_comes(&consumer, QUIET).await;
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn what_is_assigned_counts_from_the_next_move_on() {
    let kafka = shared();
    let topic = dated(kafka, 3, 10);
    let stream = StreamKey::from(topic.as_str());
    runtime().block_on(async {
        let start = tidegate::Start::From(Position::Beginning);
        let consumer = open(&kafka.url(&topic), real_time().start(start)).await;
        consumer.assign(&stream, ShardId::new(1)).await.unwrap();
        consumer.assign(&stream, ShardId::new(2)).await.unwrap();
        assert_eq!(by_shard(&consumer, 30).await, each(0..3, 0..10), "not yet");
        consumer.rewind(offset(7)).await.unwrap();
        assert_eq!(by_shard(&consumer, 6).await, each(1..3, 7..10));
        nothing_comes(&consumer, QUIET).await;
        consumer.unassign(&stream, ShardId::new(2)).await.unwrap();
        consumer.rewind(Position::Beginning).await.unwrap();
        assert_eq!(by_shard(&consumer, 10).await, each([1], 0..10));
        nothing_comes(&consumer, QUIET).await;

        let not_assigned =
            RequestError::ConsumerNotAssigned { stream: stream.clone(), shard: ShardId::new(2) };
        let again = consumer.unassign(&stream, ShardId::new(2)).await;
        assert_eq!(again, Err(ConsumerError::Request(not_assigned)));
        let other = StreamKey::from("elsewhere");
        let elsewhere = consumer.assign(&other, ShardId::ZERO).await;
        let not_subscribed = RequestError::StreamNotSubscribed { stream: other };
        assert_eq!(elsewhere, Err(ConsumerError::Request(not_subscribed)));
        consumer.rewind(offset(8)).await.unwrap();
        assert_eq!(by_shard(&consumer, 2).await, each([1], 8..10), "the refused ones changed nothing");
        consumer.close().await.unwrap();
    });
}

#[test]
fn a_seek_is_strictly_later_in_all_shards() {
    let kafka = shared();
    let topic = dated(kafka, 3, 10);
    runtime().block_on(async {
        for options in [real_time(), in_group(&unique("group"))] {
            let consumer = open(&kafka.url(&topic), options).await;
            for (moment, from) in [(4, 5), (-1, 0), (8, 9), (0, 1)] {
                consumer.seek(after(moment)).await.unwrap();
                let count = 3 * (10 - from as usize);
                assert_eq!(by_shard(&consumer, count).await, each(0..3, from..10), "after {moment}");
                nothing_comes(&consumer, QUIET).await;
            }
            consumer.seek(after(9)).await.unwrap();
            nothing_comes(&consumer, QUIET).await;
            consumer.seek(Timestamp::from_millis(i64::MIN)).await.unwrap();
            assert_eq!(by_shard(&consumer, 30).await, each(0..3, 0..10));
            consumer.seek(Timestamp::from_millis(i64::MAX)).await.unwrap();
            nothing_comes(&consumer, QUIET).await;
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn a_seek_leaves_the_group() {
    let kafka = shared();
    let topic = dated(kafka, 2, 10);
    let group = unique("group");
    runtime().block_on(async {
        let one = open(&kafka.url(&topic), in_group(&group)).await;
        let messages = take(&one, 20).await;
        let of_zero: Vec<_> = messages.iter().filter(|message| message.shard() == ShardId::ZERO).collect();
        of_zero[..4].iter().for_each(|message| one.ack(message));
        one.seek(after(-1)).await.unwrap();
        assert_eq!(by_shard(&one, 20).await, each(0..2, 0..10));
        wait::until_true("it has left the group", wait::PATIENCE, || {
            kafka.group(&group).is_none_or(|books| books.members.is_empty())
        });
        // What was acked before the move is committed with the farewell, and what comes after it isn't.
        take_and_ack_all(&one, kafka, &topic).await;
        one.commit().await.unwrap();
        assert_eq!(kafka.committed_offsets(&group, &topic, 1), [4]);
        let two = open(&kafka.url(&topic), in_group(&group)).await;
        assert_eq!(by_shard(&two, 18).await, {
            let mut expected = each([0], 4..11);
            expected.extend(each([1], 0..11));
            expected
        });
        one.close().await.unwrap();
        two.close().await.unwrap();
        assert_eq!(kafka.committed_offsets(&group, &topic, 1), [4]);
    });
}

/// One more record in each of two partitions, taken and acked.
async fn take_and_ack_all(consumer: &tidegate::Handle, kafka: &tidegate_live::kafka::Admin, topic: &str) {
    kafka.numbers(topic, 2).send(0..2);
    take(consumer, 2).await.iter().for_each(|message| consumer.ack(message));
}

#[test]
fn nothing_of_before_comes_after_a_move_has_returned() {
    let kafka = shared();
    let topic = kafka.topic(1);
    kafka.numbers(&topic, 1).size(100).send(0..50_000);
    runtime().block_on(async {
        let start = tidegate::Start::From(Position::Beginning);
        for options in [real_time().start(start), in_group(&unique("group"))] {
            let consumer = open(&kafka.url(&topic), options).await;
            let mut random = 7_u64;
            for round in 0..60 {
                // Sometimes with a full lane, sometimes with a fetch in flight.
                take(&consumer, (random % 23) as usize).await;
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                let target = (random >> 20) % 49_900;
                consumer.rewind(offset(target)).await.unwrap();
                let expected: Vec<_> = (target..target + 20).map(|offset| (0, offset)).collect();
                let found: Vec<_> = take(&consumer, 20).await.iter().map(at).collect();
                assert_eq!(found, expected, "round {round}");
            }
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn real_time_finds_new_partitions_when_its_metadata_is_old() {
    let kafka = shared();
    let topic = kafka.topic(1);
    runtime().block_on(async {
        let often = KafkaOptions::default().metadata_age(Duration::from_millis(500));
        let consumer = open(&kafka.url(&topic), real_time().kafka(often)).await;
        kafka.add_partitions(&topic, 3);
        wait::until_true("three partitions", wait::PATIENCE, || kafka.partitions(&topic).len() == 3);
        // A partition that is new is read from its beginning: all of it came after the start.
        kafka.produce(&topic).values(2, ["in the third"]).send();
        assert_eq!(at(&next(&consumer).await), (2, 0));
        consumer.close().await.unwrap();
    });
}

#[test]
fn a_paused_consumer_takes_nothing_and_goes_on_where_it_was() {
    let kafka = shared();
    let topic = kafka.topic(1);
    let group = unique("group");
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), in_group_rolling(&group, 100)).await;
        kafka.add(&topic, ["one"]);
        consumer.ack(&next(&consumer).await);
        consumer.pause().await.unwrap();
        kafka.add(&topic, ["two", "three"]);
        nothing_comes(&consumer, Duration::from_secs(1)).await;
        // It stays a member, and what was acked is committed all the same.
        kafka.wait_until_shared(&group, &topic, &[1], wait::PATIENCE);
        wait::until_true("a commit while paused", wait::PATIENCE, || {
            kafka.committed_offsets(&group, &topic, 1) == [1]
        });
        consumer.resume().await.unwrap();
        assert_eq!(by_shard(&consumer, 2).await, each([0], 1..3));
        consumer.close().await.unwrap();
    });
}
