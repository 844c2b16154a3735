//! assign, unassign, rewind and seek on Kafka: exact, from the next move on, and out of the group.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;
mod kafka_api_tools;

use std::time::Duration;

use api_tools::*;
use kafka_api_tools::*;
use tidegate::{ConsumerError, Error, Handle, Position, RequestError, ShardId, StreamKey};
use tidegate_live::kafka::{Admin, Cluster, shared, unique};
use tidegate_live::wait;

/// Twice the same, gaps, and one that goes back.
const TIMES: [i64; 9] = [100, 100, 101, 102, 102, 105, 106, 106, 110];

fn stream() -> (&'static Admin, String) {
    let kafka = shared();
    let topic = kafka.topic(1);
    add_at(kafka, &topic, 0, &TIMES);
    (kafka, topic)
}

/// What comes after a move, to the end of the topic and no further.
async fn is_next(consumer: &Handle, expected: impl IntoIterator<Item = u64>, what: &str) {
    let expected: Vec<_> = expected.into_iter().collect();
    let seen = offsets(&take(consumer, expected.len()).await);
    assert_eq!(seen, expected, "after {what}");
    nothing_comes(consumer, millis(30)).await;
}

#[test]
fn rewind_is_inclusive_and_exact() {
    let (kafka, topic) = stream();
    runtime().block_on(async {
        for options in [real_time(), member_of(&unique("group")).batch(2)] {
            let consumer = open(&kafka.url(&topic), options).await;
            for from in [3, 0, 8, 9, 5] {
                consumer.rewind(at(from)).await.unwrap();
                is_next(&consumer, from..9, &format!("a rewind to {from}")).await;
            }
            consumer.rewind(Position::Beginning).await.unwrap();
            is_next(&consumer, 0..9, "a rewind to the beginning").await;
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn a_rewind_to_the_end_is_pinned_when_it_returns() {
    let (kafka, topic) = stream();
    runtime().block_on(async {
        let mut end = 9;
        for options in [real_time(), member_of(&unique("group"))] {
            let consumer = open(&kafka.url(&topic), options).await;
            consumer.rewind(Position::Beginning).await.unwrap();
            assert_eq!(offset(&next(&consumer).await), 0);
            consumer.rewind(Position::End).await.unwrap();
            nothing_comes(&consumer, millis(50)).await;
            kafka.add(&topic, ["later", "and later"]);
            is_next(&consumer, end..end + 2, "a rewind to the end").await;
            end += 2;
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn a_rewind_to_what_is_gone_goes_on_with_the_first_that_is_there() {
    let (kafka, topic) = stream();
    kafka.delete_records(&topic, 0, 4);
    runtime().block_on(async {
        for options in [real_time(), member_of(&unique("group"))] {
            let consumer = open(&kafka.url(&topic), options).await;
            consumer.rewind(at(1)).await.unwrap();
            is_next(&consumer, 4..9, "a rewind to before the log's start").await;
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn seek_is_strictly_later_than_the_moment() {
    let (kafka, topic) = stream();
    runtime().block_on(async {
        for options in [real_time(), member_of(&unique("group")).batch(2)] {
            let consumer = open(&kafka.url(&topic), options).await;
            for (moment, from) in
                [(100, 2), (99, 0), (101, 3), (102, 5), (104, 5), (105, 6), (109, 8), (0, 0), (-5, 0)]
            {
                consumer.seek(after(moment)).await.unwrap();
                is_next(&consumer, from..9, &format!("a seek to {moment}")).await;
            }
            for moment in [i64::MIN, -1] {
                consumer.seek(after(moment)).await.unwrap();
                is_next(&consumer, 0..9, &format!("a seek to {moment}")).await;
            }
            for moment in [110, 111, i64::MAX] {
                consumer.seek(after(moment)).await.unwrap();
                nothing_comes(&consumer, millis(50)).await;
            }
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn a_seek_to_the_future_has_only_what_comes() {
    let (kafka, topic) = stream();
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), real_time()).await;
        consumer.seek(after(200)).await.unwrap();
        nothing_comes(&consumer, millis(100)).await;
        add_at(kafka, &topic, 0, &[201, 202]);
        is_next(&consumer, 9..11, "a seek to the future").await;
        consumer.close().await.unwrap();
    });
}

#[test]
fn without_an_assignment_a_seek_is_about_all_shards_and_a_rewind_about_the_first() {
    let kafka = shared();
    let topic = kafka.topic(3);
    for partition in 0..3 {
        add_at(kafka, &topic, partition, &[100, 200 + i64::from(partition)]);
    }
    let place = |shard: u64, offset: u64| format!("{topic}/{shard} {offset}");
    runtime().block_on(async {
        for options in [real_time(), member_of(&unique("group"))] {
            let consumer = open(&kafka.url(&topic), options).await;
            consumer.seek(after(100)).await.unwrap();
            assert_eq!(shown(&consumer, 3).await, [place(0, 1), place(1, 1), place(2, 1)]);
            assert_eq!(consumer.stats().await.shards, 3);
            consumer.rewind(Position::Beginning).await.unwrap();
            assert_eq!(shown(&consumer, 2).await, [place(0, 0), place(0, 1)]);
            nothing_comes(&consumer, millis(100)).await;
            assert_eq!(consumer.stats().await.shards, 1);
            consumer.seek(after(200)).await.unwrap();
            assert_eq!(shown(&consumer, 2).await, [place(1, 1), place(2, 1)], "all again");
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn assign_and_unassign_take_effect_with_the_next_move() {
    let kafka = shared();
    let topic = kafka.topic(4);
    for partition in 0..4 {
        add_at(kafka, &topic, partition, &[100, 200]);
    }
    let place = |shard: u64, offset: u64| format!("{topic}/{shard} {offset}");
    let stream = StreamKey::from(&*topic);
    runtime().block_on(async {
        for options in [from_the_beginning(), member_of(&unique("group"))] {
            let consumer = open(&kafka.url(&topic), options).await;
            assert_eq!(shown(&consumer, 8).await.len(), 8);
            consumer.assign(&stream, ShardId::new(2)).await.unwrap();
            consumer.assign(&stream, ShardId::new(3)).await.unwrap();
            assert_eq!(consumer.stats().await.shards, 4, "not before the next move");
            consumer.rewind(at(1)).await.unwrap();
            assert_eq!(shown(&consumer, 2).await, [place(2, 1), place(3, 1)]);
            consumer.unassign(&stream, ShardId::new(2)).await.unwrap();
            assert_eq!(consumer.stats().await.shards, 2, "not before the next move");
            consumer.seek(after(100)).await.unwrap();
            assert_eq!(shown(&consumer, 1).await, [place(3, 1)]);
            nothing_comes(&consumer, millis(100)).await;
            consumer.close().await.unwrap();
        }
        let options = from_the_beginning().shard(&*topic, ShardId::new(1));
        let consumer = open(&kafka.url(&topic), options).await;
        assert_eq!(shown(&consumer, 2).await, [place(1, 0), place(1, 1)], "by the options");
        nothing_comes(&consumer, millis(100)).await;
        consumer.close().await.unwrap();
    });
}

#[test]
fn misuse_is_named_and_changes_nothing() {
    let (kafka, topic) = stream();
    let stream = StreamKey::from(&*topic);
    let other = StreamKey::from("other");
    let not_subscribed = ConsumerError::from(RequestError::StreamNotSubscribed { stream: other.clone() });
    let not_assigned =
        |shard| Err(ConsumerError::from(RequestError::ConsumerNotAssigned { stream: stream.clone(), shard }));
    runtime().block_on(async {
        for options in [from_the_beginning(), member_of(&unique("group"))] {
            let consumer = open(&kafka.url(&topic), options).await;
            assert_eq!(consumer.assign(&other, ShardId::ZERO).await, Err(not_subscribed.clone()));
            assert_eq!(consumer.unassign(&other, ShardId::ZERO).await, Err(not_subscribed.clone()));
            assert_eq!(consumer.unassign(&stream, ShardId::new(7)).await, not_assigned(ShardId::new(7)));
            consumer.assign(&stream, ShardId::ZERO).await.unwrap();
            consumer.unassign(&stream, ShardId::ZERO).await.unwrap();
            assert_eq!(consumer.unassign(&stream, ShardId::ZERO).await, not_assigned(ShardId::ZERO));
            is_next(&consumer, 0..9, "misuse").await;
            consumer.close().await.unwrap();
            let closed = ConsumerError::Request(RequestError::Closed);
            assert_eq!(consumer.assign(&stream, ShardId::ZERO).await, Err(closed.clone()));
            assert_eq!(consumer.seek(after(1)).await, Err(closed.clone()));
            assert_eq!(consumer.rewind(Position::End).await, Err(closed.clone()));
            assert_eq!(consumer.pause().await, Err(closed.clone()));
            assert_eq!(consumer.resume().await, Err(closed.clone()));
            assert_eq!(consumer.commit().await, Err(closed));
            assert_eq!(consumer.close().await, Ok(()), "asked again, the same answer");
        }
    });
}

#[test]
fn a_later_move_takes_the_place_of_an_earlier_one() {
    let cluster = Cluster::start(1);
    let kafka = cluster.admin();
    let topic = kafka.topic(1);
    add_at(kafka, &topic, 0, &TIMES);
    runtime().block_on(async {
        for options in [real_time(), member_of(&unique("group"))] {
            let consumer = open(&kafka.url(&topic), options).await;
            cluster.stop(1);
            let moving: Vec<_> = [at(1), at(3), Position::Beginning]
                .into_iter()
                .map(|to| {
                    let consumer = consumer.clone();
                    tokio::spawn(async move { consumer.rewind(to).await })
                })
                .collect();
            tokio::time::sleep(millis(50)).await;
            let waiting: Vec<_> = moving.iter().map(|task| !task.is_finished()).collect();
            let last = tokio::spawn({
                let consumer = consumer.clone();
                async move { consumer.seek(after(101)).await }
            });
            tokio::time::sleep(millis(50)).await;
            cluster.cont(1);
            within("the last", wait::PATIENCE, last).await.unwrap().unwrap();
            let superseded = Err(ConsumerError::Failed(Error::Superseded));
            for (task, waiting) in moving.into_iter().zip(waiting) {
                let answer = within("the others", wait::PATIENCE, task).await.unwrap();
                assert!(answer == superseded || (!waiting && answer == Ok(())), "{answer:?}, {waiting}");
            }
            is_next(&consumer, 3..9, "the last of four moves").await;
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn moves_of_many_tasks_at_once_end_in_one_of_them() {
    let (kafka, topic) = stream();
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), real_time()).await;
        for _ in 0..15 {
            let tasks: Vec<_> = (0..8)
                .map(|n| {
                    let consumer = consumer.clone();
                    tokio::spawn(async move { consumer.rewind(at(n)).await })
                })
                .collect();
            let mut done = 0;
            for task in tasks {
                match within("a move", wait::PATIENCE, task).await.unwrap() {
                    Ok(()) => done += 1,
                    Err(error) => assert_eq!(error, ConsumerError::Failed(Error::Superseded)),
                }
            }
            assert!(done > 0, "none of eight was carried out");
            let first = offset(&next(&consumer).await);
            is_next(&consumer, first + 1..9, "the move that won").await;
        }
    });
}

#[test]
fn nothing_of_before_comes_after_a_move_has_returned() {
    let kafka = shared();
    let topic = kafka.topic(1);
    kafka.numbers(&topic, 1).send(0..20_000);
    runtime().block_on(async {
        for options in [from_the_beginning(), member_of(&unique("group")).batch(10)] {
            let consumer = open(&kafka.url(&topic), options).await;
            let mut random = 7_u64;
            for _ in 0..60 {
                // Sometimes with a full lane, sometimes with a fetch in flight, sometimes in a batch.
                take(&consumer, (random % 23) as usize).await;
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let to = (random >> 33) % 19_990;
                consumer.rewind(at(to)).await.unwrap();
                let seen = offsets(&take(&consumer, 5).await);
                assert_eq!(seen, (to..to + 5).collect::<Vec<_>>(), "a rewind to {to}");
            }
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn a_move_commits_what_was_acked_and_leaves_the_group() {
    let kafka = shared();
    runtime().block_on(async {
        for seek in [true, false] {
            let (topic, group) = (kafka.topic(1), unique("group"));
            kafka.add(&topic, numbers(0..30));
            let consumer = open(&kafka.url(&topic), member_of(&group)).await;
            let messages = take(&consumer, 20).await;
            messages[..12].iter().for_each(|message| consumer.ack(message));
            match seek {
                true => consumer.seek(after(0)).await.unwrap(),
                false => consumer.rewind(Position::Beginning).await.unwrap(),
            }
            assert_eq!(kafka.committed_offsets(&group, &topic, 1), [12], "acked before the move");
            wait::until_true("it left", Duration::from_secs(3), || {
                kafka.group(&group).is_none_or(|group| group.members.is_empty())
            });
            // From then on it is real-time: acks of before and after mean nothing to the group.
            let again = take(&consumer, 30).await;
            assert_eq!(offsets(&again), (0..30).collect::<Vec<_>>());
            messages.iter().chain(&again).for_each(|message| consumer.ack(message));
            consumer.commit().await.unwrap();
            consumer.close().await.unwrap();
            assert_eq!(kafka.committed_offsets(&group, &topic, 1), [12]);
            let other = open(&kafka.url(&topic), member_of(&group)).await;
            assert_eq!(offsets(&take(&other, 18).await), (12..30).collect::<Vec<_>>());
            other.close().await.unwrap();
        }
    });
}

/// The times that `act` took, of which the middle one is far below the poll.
async fn is_a_round_trip(what: &str, mut act: impl AsyncFnMut()) {
    let mut times = Vec::new();
    for _ in 0..5 {
        // A fetch that waits at the broker.
        tokio::time::sleep(millis(100)).await;
        times.push(timed(act()).await.1);
    }
    println!("{what}: {times:?}");
    assert!(median(times.clone()) < ROUND_TRIP, "{what} beside a poll of {LONG_POLL:?}: {times:?}");
}

#[test]
fn moves_of_an_idle_consumer_take_a_round_trip() {
    let (kafka, topic) = stream();
    runtime().block_on(async {
        for options in [real_time(), member_of(&unique("group"))] {
            let consumer = open(&kafka.url(&topic), patient(options)).await;
            // The first one leaves the group.
            let (done, took) = timed(consumer.rewind(Position::End)).await;
            done.unwrap();
            println!("the first move: {took:?}");
            assert!(took < ROUND_TRIP, "the first move: {took:?}");
            is_a_round_trip("rewind to the end", async || consumer.rewind(Position::End).await.unwrap())
                .await;
            is_a_round_trip("seek past the end", async || consumer.seek(after(110)).await.unwrap()).await;
            is_a_round_trip("rewind to a record, and it", async || {
                consumer.rewind(at(8)).await.unwrap();
                assert_eq!(offset(&next(&consumer).await), 8);
            })
            .await;
            is_a_round_trip("seek to a record, and it", async || {
                consumer.seek(after(109)).await.unwrap();
                assert_eq!(offset(&next(&consumer).await), 8);
            })
            .await;
            let (closed, took) = timed(consumer.close()).await;
            closed.unwrap();
            assert!(took < ROUND_TRIP, "close: {took:?}");
        }
    });
}
