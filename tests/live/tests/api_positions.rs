//! assign, unassign, rewind and seek: exact, from the next move on, and out of the group.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::time::Duration;

use api_tools::*;
use tidegate::{
    ConsumerError, ConsumerMode, ConsumerOptions, Error, Handle, Position, RequestError, ShardId, StreamKey,
    Timestamp,
};
use tidegate_live::{Client, RedisServer, wait};

const IDS: [&str; 9] = ["100-0", "100-1", "100-2", "100-3", "100-4", "101-0", "101-7", "102-0", "105-0"];

fn add(redis: &mut Client, stream: &str, ids: &[&str]) {
    for id in ids {
        redis.run::<String>(&["XADD", stream, id, "msg", stream]);
    }
}

fn stream() -> (RedisServer, Client) {
    let server = RedisServer::start();
    let mut redis = server.client();
    add(&mut redis, "orders", &IDS);
    (server, redis)
}

fn real_time() -> ConsumerOptions {
    ConsumerOptions::new(ConsumerMode::RealTime)
}

fn at(id: &str) -> Position {
    Position::At(seq(id))
}

fn after(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// What comes after a move, to the end of the stream and no further.
async fn is_next(consumer: &Handle, expected: &[&str], what: &str) {
    let seen = ids(&take(consumer, expected.len()).await);
    assert_eq!(seen, expected, "after {what}");
    nothing_comes(consumer, millis(30)).await;
}

/// `stream/shard id`, in the order of the streams and ids, for what is there to take.
async fn shown(consumer: &Handle, count: usize) -> Vec<String> {
    let messages = take(consumer, count).await;
    nothing_comes(consumer, millis(50)).await;
    let mut shown: Vec<_> =
        messages.iter().map(|m| format!("{}/{} {}", m.stream(), m.shard(), id(m))).collect();
    shown.sort();
    shown
}

#[test]
fn rewind_is_inclusive_and_exact_within_a_millisecond() {
    let (server, _) = stream();
    runtime().block_on(async {
        for options in [real_time(), member("one").batch(2), member("two")] {
            let consumer = open(&server.url("orders"), options).await;
            for (target, from) in [
                ("100-2", 2),
                ("100-0", 0),
                ("100-4", 4),
                ("99-5", 0),
                ("101-1", 6),
                ("101-7", 6),
                ("103-0", 8),
                ("105-0", 8),
                ("105-1", 9),
                ("0-0", 0),
                ("18446744073709551615-18446744073709551615", 9),
                ("100-18446744073709551615", 5),
            ] {
                consumer.rewind(at(target)).await.unwrap();
                is_next(&consumer, &IDS[from..], &format!("a rewind to {target}")).await;
            }
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn seek_is_strictly_later_than_the_moment() {
    let (server, mut redis) = stream();
    runtime().block_on(async {
        for options in [real_time(), member("one").batch(2), member("two")] {
            let consumer = open(&server.url("orders"), options).await;
            for (moment, from) in
                [(100, 5), (99, 0), (101, 7), (102, 8), (104, 8), (105, 9), (0, 0), (-1, 0), (i64::MIN, 0)]
            {
                consumer.seek(after(moment)).await.unwrap();
                is_next(&consumer, &IDS[from..], &format!("a seek to {moment}")).await;
            }
            consumer.seek(after(i64::MAX)).await.unwrap();
            nothing_comes(&consumer, millis(50)).await;
            consumer.close().await.unwrap();
        }
        // A moment that is still to come: what comes before it is passed over.
        let consumer = open(&server.url("orders"), real_time()).await;
        consumer.seek(after(200)).await.unwrap();
        add(&mut redis, "orders", &["199-0", "200-0", "200-9", "201-0", "202-0"]);
        is_next(&consumer, &["201-0", "202-0"], "a seek to the future").await;
    });
}

#[test]
fn rewind_goes_to_the_beginning_and_to_the_end() {
    let (server, mut redis) = stream();
    runtime().block_on(async {
        for (round, options) in [real_time(), member("one").batch(2)].into_iter().enumerate() {
            let consumer = open(&server.url("orders"), options).await;
            consumer.rewind(Position::Beginning).await.unwrap();
            assert_eq!(ids(&take(&consumer, 9).await), IDS);
            consumer.rewind(Position::Beginning).await.unwrap();
            assert_eq!(id(&next(&consumer).await), IDS[0]);
            consumer.rewind(Position::End).await.unwrap();
            nothing_comes(&consumer, millis(50)).await;
            // The end is pinned: what is added after it returned comes, also when nothing came for long.
            let later = [format!("{}-0", 200 + round), format!("{}-1", 200 + round)];
            add(&mut redis, "orders", &[&later[0], &later[1]]);
            is_next(&consumer, &[&later[0], &later[1]], "a rewind to the end").await;
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn nothing_of_before_comes_after_a_move_has_returned() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", numbers(0..20_000));
    runtime().block_on(async {
        for options in [from_the_beginning(), member("one"), member("two").batch(10)] {
            let consumer = open(&server.url("orders"), options).await;
            let mut random = 7_usize;
            for round in 0..60 {
                // Sometimes with a full lane, sometimes with a read in flight, sometimes in a batch.
                take(&consumer, random % 23).await;
                if round % 10 == 0 {
                    until("much waits", wait::PATIENCE, || async { consumer.stats().await.queued > 0 }).await;
                }
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                let target = (random >> 20) % (sent.len() - 200);
                consumer.rewind(at(&sent[target])).await.unwrap();
                let messages = if round % 2 == 0 {
                    take(&consumer, 20).await
                } else {
                    let batch = consumer.next_batch().await.unwrap().unwrap();
                    (0..batch.len()).map(|at| batch.message(at).unwrap()).collect()
                };
                assert_eq!(ids(&messages), sent[target..target + messages.len()], "round {round}");
            }
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn a_seek_leaves_the_group() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let first = redis.add("orders", numbers(0..30));
    runtime().block_on(async {
        let one = open(&server.url("orders"), member("one").batch(10)).await;
        let messages = take(&one, 10).await;
        messages[..4].iter().for_each(|message| one.ack(message));
        one.rewind(Position::Beginning).await.unwrap();
        assert_eq!(ids(&take(&one, 30).await), first, "all, whoever had them");
        // What was acked before the move is not lost by it.
        messages[4..6].iter().for_each(|message| one.ack(message));
        one.commit().await.unwrap();
        let before = redis.pending_list("orders", "crew");
        assert!(before.iter().all(|entry| !first[..4].contains(&entry.id)), "acked before: {before:?}");
        // What it receives from now on is not its own: nothing becomes pending, and others get it.
        let more = redis.add("orders", numbers(30..60));
        assert_eq!(ids(&take(&one, 30).await), more);
        assert_eq!(redis.pending_list("orders", "crew").len(), before.len(), "it left the group");
        let two = open(&server.url("orders"), member("two").claim(claims(50, 20))).await;
        let mut received = Received::default();
        let rest: Vec<String> = {
            let acked = &first[..4];
            let late = &first[4..6];
            let still = |id: &&String| before.iter().any(|entry| entry.id == **id);
            first[6..]
                .iter()
                .chain(late.iter().filter(still))
                .chain(&more)
                .filter(|id| !acked.contains(id))
                .cloned()
        }
        .collect();
        while received.0.len() < rest.len() {
            received.add(&next(&two).await);
        }
        received.all(&rest);
        one.close().await.unwrap();
        two.close().await.unwrap();
    });
}

#[test]
fn acks_of_before_a_move_are_committed_by_the_clock_and_by_a_close() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..30));
    runtime().block_on(async {
        let rolling = tidegate::AutoCommit::Rolling { interval: millis(200) };
        let consumer = open(&server.url("orders"), member("one").auto_commit(rolling)).await;
        take(&consumer, 30).await.iter().for_each(|message| consumer.ack(message));
        consumer.seek(after(1)).await.unwrap();
        next(&consumer).await;
        wait::until_true("they are committed", Duration::from_secs(2), || {
            redis.pending("orders", "crew") == 0
        });
        consumer.close().await.unwrap();
        redis.add("orders", numbers(0..30));
        let consumer = open(&server.url("orders"), member("one")).await;
        take(&consumer, 30).await.iter().for_each(|message| consumer.ack(message));
        consumer.rewind(Position::End).await.unwrap();
        consumer.close().await.unwrap();
        assert_eq!(redis.pending("orders", "crew"), 0, "after a close");
    });
}

#[test]
fn a_later_move_takes_the_place_of_an_earlier_one() {
    let (server, _) = stream();
    runtime().block_on(async {
        for options in [real_time(), member("one")] {
            let consumer = open(&server.url("orders"), options).await;
            server.stop();
            let moving: Vec<_> = [at("100-1"), at("100-3"), Position::Beginning]
                .into_iter()
                .map(|to| {
                    let consumer = consumer.clone();
                    tokio::spawn(async move { consumer.rewind(to).await })
                })
                .collect();
            tokio::time::sleep(millis(50)).await;
            // Where a move needs the server, it can't have been done; where it needs none, it was.
            let waiting: Vec<_> = moving.iter().map(|task| !task.is_finished()).collect();
            let last = tokio::spawn({
                let consumer = consumer.clone();
                async move { consumer.seek(after(100)).await }
            });
            tokio::time::sleep(millis(50)).await;
            server.cont();
            within("the last", wait::PATIENCE, last).await.unwrap().unwrap();
            let superseded = Err(ConsumerError::Failed(Error::Superseded));
            for (task, waiting) in moving.into_iter().zip(waiting) {
                let answer = within("the others", wait::PATIENCE, task).await.unwrap();
                assert!(
                    answer == superseded || (!waiting && answer == Ok(())),
                    "{answer:?}, waited {waiting}"
                );
            }
            is_next(&consumer, &IDS[5..], "the last of four moves").await;
            // And by a close.
            server.stop();
            let moving = tokio::spawn({
                let consumer = consumer.clone();
                async move { consumer.seek(after(1)).await }
            });
            tokio::time::sleep(millis(50)).await;
            let waited = !moving.is_finished();
            consumer.close_within(millis(300)).await.unwrap();
            let answer = within("the move", wait::PATIENCE, moving).await.unwrap();
            assert!(!waited || answer.is_err(), "a close took its place: {answer:?}");
            server.cont();
        }
    });
}

#[test]
fn moves_of_many_tasks_at_once_end_in_one_of_them() {
    let (server, _) = stream();
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), real_time()).await;
        for _ in 0..20 {
            let tasks: Vec<_> = (0..8)
                .map(|n| {
                    let consumer = consumer.clone();
                    tokio::spawn(async move { consumer.rewind(at(IDS[n])).await })
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
            let first = id(&next(&consumer).await);
            let from = IDS.iter().position(|id| *id == first).unwrap();
            is_next(&consumer, &IDS[from + 1..], "the move that won").await;
        }
    });
}

#[test]
fn unassign_and_assign_take_effect_with_the_next_move() {
    let server = RedisServer::start();
    let mut redis = server.client();
    add(&mut redis, "a", &["1-0"]);
    add(&mut redis, "b", &["2-0"]);
    let (a, b): (StreamKey, StreamKey) = ("a".into(), "b".into());
    let zero = ShardId::ZERO;
    runtime().block_on(async {
        for options in [from_the_beginning(), member("one")] {
            let consumer = open(&server.url("a,b"), options).await;
            assert_eq!(shown(&consumer, 2).await, ["a/0 1-0", "b/0 2-0"]);
            consumer.assign(&a, zero).await.unwrap();
            add(&mut redis, "b", &["3-0"]);
            assert_eq!(shown(&consumer, 1).await, ["b/0 3-0"], "not before the next move");
            consumer.rewind(Position::Beginning).await.unwrap();
            assert_eq!(shown(&consumer, 1).await, ["a/0 1-0"], "this shard, and no other");
            add(&mut redis, "b", &["4-0"]);
            nothing_comes(&consumer, millis(100)).await;
            assert_eq!(consumer.stats().await.shards, 1);
            consumer.assign(&b, zero).await.unwrap();
            nothing_comes(&consumer, millis(100)).await;
            consumer.seek(after(1)).await.unwrap();
            assert_eq!(shown(&consumer, 3).await, ["b/0 2-0", "b/0 3-0", "b/0 4-0"]);
            consumer.unassign(&a, zero).await.unwrap();
            add(&mut redis, "a", &["5-0"]);
            assert_eq!(shown(&consumer, 1).await, ["a/0 5-0"], "not before the next move");
            consumer.rewind(Position::Beginning).await.unwrap();
            assert_eq!(shown(&consumer, 3).await, ["b/0 2-0", "b/0 3-0", "b/0 4-0"]);
            consumer.close().await.unwrap();
            redis.tell(&["XTRIM", "a", "MAXLEN", "0"]);
            redis.tell(&["XGROUP", "DESTROY", "a", "crew"]);
            redis.tell(&["DEL", "a", "b"]);
            add(&mut redis, "a", &["1-0"]);
            add(&mut redis, "b", &["2-0"]);
        }
    });
}

#[test]
fn shards_are_assigned_one_by_one() {
    let server = RedisServer::start();
    let mut redis = server.client();
    for shard in 0..4 {
        add(&mut redis, &format!("orders:{shard}"), &["1-0", "2-0"]);
    }
    let orders: StreamKey = "orders".into();
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), from_the_beginning()).await;
        assert_eq!(take(&consumer, 8).await.len(), 8);
        consumer.assign(&orders, ShardId::new(2)).await.unwrap();
        consumer.assign(&orders, ShardId::new(3)).await.unwrap();
        consumer.rewind(at("2-0")).await.unwrap();
        assert_eq!(shown(&consumer, 2).await, ["orders/2 2-0", "orders/3 2-0"]);
        consumer.unassign(&orders, ShardId::new(2)).await.unwrap();
        consumer.rewind(Position::Beginning).await.unwrap();
        assert_eq!(shown(&consumer, 2).await, ["orders/3 1-0", "orders/3 2-0"]);
        consumer.close().await.unwrap();

        // The same by the options, from the start.
        let options = from_the_beginning().shard("orders", ShardId::new(1));
        let consumer = open(&server.url("orders"), options).await;
        assert_eq!(shown(&consumer, 2).await, ["orders/1 1-0", "orders/1 2-0"]);
        consumer.close().await.unwrap();
    });
}

#[test]
fn misuse_is_named_and_changes_nothing() {
    let (server, mut redis) = stream();
    let orders: StreamKey = "orders".into();
    let other: StreamKey = "other".into();
    let missing = ShardId::new(7);
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), from_the_beginning()).await;
        assert_eq!(
            consumer.assign(&other, ShardId::ZERO).await,
            Err(RequestError::StreamNotSubscribed { stream: other.clone() }.into())
        );
        assert_eq!(
            consumer.unassign(&other, ShardId::ZERO).await,
            Err(RequestError::StreamNotSubscribed { stream: other.clone() }.into())
        );
        assert_eq!(
            consumer.unassign(&orders, missing).await,
            Err(RequestError::ConsumerNotAssigned { stream: orders.clone(), shard: missing }.into())
        );
        consumer.assign(&orders, ShardId::ZERO).await.unwrap();
        consumer.unassign(&orders, ShardId::ZERO).await.unwrap();
        assert_eq!(
            consumer.unassign(&orders, ShardId::ZERO).await,
            Err(RequestError::ConsumerNotAssigned { stream: orders.clone(), shard: ShardId::ZERO }.into())
        );
        consumer.assign(&orders, ShardId::ZERO).await.unwrap();
        assert_eq!(ids(&take(&consumer, 9).await), IDS);
        add(&mut redis, "orders", &["300-0"]);
        is_next(&consumer, &["300-0"], "misuse").await;
        consumer.close().await.unwrap();
        let closed = ConsumerError::Request(RequestError::Closed);
        assert_eq!(consumer.assign(&orders, ShardId::ZERO).await, Err(closed.clone()));
        assert_eq!(consumer.unassign(&orders, ShardId::ZERO).await, Err(closed.clone()));
        assert_eq!(consumer.seek(after(1)).await, Err(closed.clone()));
        assert_eq!(consumer.rewind(Position::End).await, Err(closed.clone()));
        assert_eq!(consumer.pause().await, Err(closed.clone()));
        assert_eq!(consumer.resume().await, Err(closed.clone()));
        assert_eq!(consumer.close().await, Ok(()), "asked again, the same answer");
    });
}

#[test]
fn positions_survive_a_lost_connection() {
    let (server, mut redis) = stream();
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one").batch(2)).await;
        consumer.rewind(at("100-2")).await.unwrap();
        assert_eq!(ids(&take(&consumer, 3).await), &IDS[2..5]);
        for client in redis.clients() {
            redis.kill(client.id);
        }
        is_next(&consumer, &IDS[5..], "a lost connection").await;
        // On a quiet stream too.
        consumer.seek(after(400)).await.unwrap();
        for client in redis.clients() {
            redis.kill(client.id);
        }
        add(&mut redis, "orders", &["400-0", "401-0"]);
        is_next(&consumer, &["401-0"], "a seek and a lost connection").await;
    });
}
