//! Control is never behind data: requests of an idle consumer take a round trip, and a close is bounded.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::future::Future;
use std::time::{Duration, Instant};

use api_tools::*;
use tidegate::{
    ConsumerError, ConsumerMode, ConsumerOptions, Error, Position, RequestError, ShardId, Timestamp,
};
use tidegate_live::{Client, RedisServer, wait};

/// A read of these consumers blocks for 5 s; a request must not wait for it.
const BOUND: Duration = Duration::from_millis(50);
const TRIES: usize = 7;

fn wait_until_blocked(redis: &mut Client) {
    wait::until_true("a read blocks", wait::PATIENCE, || redis.someone_waits());
}

fn is_quick(what: &str, times: Vec<Duration>) {
    let median = median(times.clone());
    assert!(median < BOUND, "{what} on an idle consumer: median {median:?} of {times:?}");
}

/// Measures `act` while a read blocks, some times over.
async fn measure<F, A>(what: &str, redis: &mut Client, mut act: F)
where
    F: FnMut(usize) -> A,
    A: Future<Output = ()>,
{
    let mut times = Vec::new();
    for attempt in 0..TRIES {
        wait_until_blocked(redis);
        times.push(timed(within(what, wait::PATIENCE, act(attempt))).await.1);
    }
    is_quick(what, times);
}

#[test]
fn a_commit_on_an_idle_consumer_is_a_round_trip() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["first"]);
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one")).await;
        consumer.ack(&next(&consumer).await);
        let mut times = Vec::new();
        for attempt in 0..TRIES {
            wait_until_blocked(&mut redis);
            let (done, took) = timed(consumer.commit()).await;
            assert_eq!(done, Ok(1), "attempt {attempt}");
            assert_eq!(redis.pending("orders", "crew"), 0, "a commit that returned has arrived");
            times.push(took);
            redis.add("orders", ["another"]);
            consumer.ack(&next(&consumer).await);
        }
        is_quick("commit", times);
    });
}

#[test]
fn a_message_reaches_an_idle_consumer_at_once() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["first"]);
    runtime().block_on(async {
        for options in [member("one"), from_the_beginning()] {
            let consumer = open(&server.url("orders"), options).await;
            next(&consumer).await;
            let mut times = Vec::new();
            for _ in 0..TRIES {
                wait_until_blocked(&mut redis);
                let started = Instant::now();
                redis.add("orders", ["another"]);
                next(&consumer).await;
                times.push(started.elapsed());
            }
            is_quick("next", times);
            consumer.close().await.unwrap();
            // The next consumer begins with what the first one left.
            redis.tell(&["XTRIM", "orders", "MAXLEN", "1"]);
        }
    });
}

#[test]
fn a_seek_or_rewind_on_an_idle_consumer_is_a_round_trip() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.run::<String>(&["XADD", "orders", "100-0", "msg", "first"]);
    runtime().block_on(async {
        for mode in [member("one"), ConsumerOptions::new(ConsumerMode::RealTime)] {
            let consumer = open(&server.url("orders"), mode).await;
            let handle = &consumer;
            measure("rewind to the end", &mut redis, |_| async {
                handle.rewind(Position::End).await.unwrap();
            })
            .await;
            measure("seek", &mut redis, |n| async move {
                handle.seek(Timestamp::from_millis(4_000_000_000_000 + n as i64)).await.unwrap();
            })
            .await;
            measure("rewind to what there is", &mut redis, |_| async {
                handle.rewind(Position::At(seq("100-0"))).await.unwrap();
                assert_eq!(id(&next(handle).await), "100-0");
            })
            .await;
            measure("seek to what there is", &mut redis, |_| async {
                handle.seek(Timestamp::from_millis(99)).await.unwrap();
                assert_eq!(id(&next(handle).await), "100-0");
            })
            .await;
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn the_first_seek_out_of_a_blocked_group_read_is_a_round_trip_too() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.run::<String>(&["XADD", "orders", "100-0", "msg", "first"]);
    runtime().block_on(async {
        let mut times = Vec::new();
        for attempt in 0..TRIES {
            let options = member(&format!("member-{attempt}"));
            let consumer = open(&server.url("orders"), options).await;
            wait_until_blocked(&mut redis);
            times.push(timed(consumer.seek(Timestamp::from_millis(99))).await.1);
            assert_eq!(id(&next(&consumer).await), "100-0");
            consumer.close().await.unwrap();
        }
        is_quick("the first seek", times);
    });
}

#[test]
fn a_close_of_an_idle_consumer_is_a_round_trip() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["first"]);
    runtime().block_on(async {
        for group in [true, false] {
            let mut times = Vec::new();
            for attempt in 0..TRIES {
                let options = if group { member("one") } else { from_the_beginning() };
                let consumer = open(&server.url("orders"), options).await;
                if !group || attempt == 0 {
                    consumer.ack(&next(&consumer).await);
                }
                wait_until_blocked(&mut redis);
                let (done, took) = timed(consumer.close()).await;
                assert_eq!(done, Ok(()));
                times.push(took);
                assert_eq!(consumer.next().await.map(|m| m.is_none()), Ok(true), "after the close");
                wait::until_true("its connections are gone", wait::PATIENCE, || redis.clients().is_empty());
            }
            is_quick("close", times);
        }
        assert_eq!(redis.pending("orders", "crew"), 0);
    });
}

#[test]
fn the_other_requests_do_not_wait_either() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["first"]);
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one")).await;
        let handle = &consumer;
        next(handle).await;
        let orders = &"orders".into();
        measure("assign, unassign", &mut redis, |_| async {
            handle.assign(orders, ShardId::ZERO).await.unwrap();
            handle.unassign(orders, ShardId::ZERO).await.unwrap();
        })
        .await;
        measure("pause, resume", &mut redis, |_| async {
            handle.pause().await.unwrap();
            handle.resume().await.unwrap();
        })
        .await;
        measure("stats", &mut redis, |_| async {
            assert_eq!(handle.stats().await.delivered, 1);
        })
        .await;
    });
}

#[test]
fn requests_of_a_busy_consumer_do_not_wait_for_the_application() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..20_000));
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one")).await;
        let taken = take(&consumer, 100).await;
        until("the lane is full", wait::PATIENCE, || async { consumer.stats().await.queued > 2_000 }).await;
        // Nobody takes anything from here on.
        let mut times = Vec::new();
        for message in taken.iter().take(TRIES) {
            consumer.ack(message);
            let (done, took) = timed(within("commit", wait::PATIENCE, consumer.commit())).await;
            assert_eq!(done, Ok(1));
            times.push(took);
        }
        is_quick("a commit behind a full lane", times);
        let (done, took) = timed(consumer.close()).await;
        assert_eq!(done, Ok(()));
        assert!(took < Duration::from_secs(1), "a close behind a full lane: {took:?}");
    });
}

#[test]
fn a_close_against_a_stopped_server_is_bounded_and_truthful() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..50));
    let runtime = runtime();
    let handle = runtime.block_on(async {
        let consumer = open(&server.url("orders"), member("one")).await;
        let messages = take(&consumer, 20).await;
        messages[..3].iter().for_each(|message| consumer.ack(message));
        assert_eq!(consumer.commit().await, Ok(3));
        server.stop();
        messages[3..10].iter().for_each(|message| consumer.ack(message));
        let committing = tokio::spawn({
            let consumer = consumer.clone();
            async move { consumer.commit().await }
        });
        until("the commit waits", wait::PATIENCE, || async { consumer.stats().await.uncommitted == 7 }).await;
        assert!(!committing.is_finished(), "nobody can have answered it");

        let limit = Duration::from_secs(1);
        let (done, took) = timed(consumer.close_within(limit)).await;
        assert_eq!(done, Err(ConsumerError::Failed(Error::Uncommitted { messages: 7 })), "{took:?}");
        assert!(took < limit + Duration::from_millis(500), "its deadline is {limit:?}: {took:?}");

        let committed = within("the commit ends with the close", Duration::from_secs(1), committing).await;
        assert!(committed.as_ref().unwrap().is_err(), "it can't have been done: {committed:?}");
        let again = within("asked again", Duration::from_secs(1), consumer.close()).await;
        assert_eq!(again, Err(ConsumerError::Failed(Error::Uncommitted { messages: 7 })), "the same answer");
        assert_eq!(consumer.next().await.map(|m| m.is_none()), Ok(true));
        assert_eq!(consumer.commit().await, Err(ConsumerError::Request(RequestError::Closed)));
        consumer
    });
    let started = Instant::now();
    drop(handle);
    drop(runtime);
    assert!(started.elapsed() < Duration::from_secs(1), "dropping: {:?}", started.elapsed());
    // What was not acked is with the group still.
    server.cont();
    let pending = redis.pending("orders", "crew");
    assert!((40..=47).contains(&pending), "{pending} pending");
}

#[test]
fn everybody_who_waits_is_woken_by_a_close_against_a_stopped_server() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["one"]);
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one")).await;
        let message = next(&consumer).await;
        server.stop();
        consumer.ack(&message);
        let ask = |which: usize| {
            let consumer = consumer.clone();
            tokio::spawn(async move {
                match which {
                    0 => format!("next {:?}", consumer.next().await.map(|m| m.is_some())),
                    1 => format!("batch {:?}", consumer.next_batch().await.map(|m| m.is_some())),
                    2 => format!("commit {:?}", consumer.commit().await),
                    3 => format!("seek {:?}", consumer.seek(Timestamp::from_millis(1)).await),
                    4 => format!("rewind {:?}", consumer.rewind(Position::End).await),
                    5 => format!("close {:?}", consumer.close_within(millis(400)).await),
                    _ => format!("close {:?}", consumer.close_within(Duration::from_secs(4)).await),
                }
            })
        };
        let mut waiting: Vec<_> = (0..5).map(ask).collect();
        tokio::time::sleep(millis(50)).await;
        waiting.extend((5..7).map(ask));
        let started = Instant::now();
        let mut answers = Vec::new();
        for task in waiting {
            answers.push(within("everybody is answered", Duration::from_secs(5), task).await.unwrap());
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}: {answers:#?}", started.elapsed());
        assert!(answers[5].contains("Uncommitted { messages: 1 }"), "{answers:#?}");
        server.cont();
    });
}

#[test]
fn dropping_the_last_handle_does_not_block_and_commits_in_the_background() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..50));
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one")).await;
        let other = consumer.clone();
        let messages = take(&consumer, 50).await;
        messages[..20].iter().for_each(|message| consumer.ack(message));
        drop(consumer);
        // Not the last one: it is alive.
        messages[20..30].iter().for_each(|message| other.ack(message));
        assert_eq!(other.commit().await, Ok(30));
        messages[30..45].iter().for_each(|message| other.ack(message));
        let started = Instant::now();
        drop(other);
        assert!(started.elapsed() < BOUND, "{:?}", started.elapsed());
        wait::until_true("what was acked is committed", Duration::from_secs(3), || {
            redis.pending("orders", "crew") == 5
        });
        wait::until_true("its connections are gone", Duration::from_secs(3), || redis.clients().is_empty());
    });
}

#[test]
fn dropping_against_a_stopped_server_blocks_nobody() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..50));
    let runtime = runtime();
    let consumer = runtime.block_on(async {
        let consumer = open(&server.url("orders"), member("one")).await;
        take(&consumer, 20).await.iter().for_each(|message| consumer.ack(message));
        consumer
    });
    server.stop();
    let started = Instant::now();
    drop(consumer);
    assert!(started.elapsed() < BOUND, "the handle: {:?}", started.elapsed());
    drop(runtime);
    assert!(started.elapsed() < Duration::from_secs(1), "the runtime: {:?}", started.elapsed());
    server.cont();
}

#[test]
fn a_close_while_the_server_is_dead_is_bounded_and_truthful() {
    let mut server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..50));
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one")).await;
        let messages = take(&consumer, 20).await;
        server.kill9();
        messages[..9].iter().for_each(|message| consumer.ack(message));
        let limit = Duration::from_secs(1);
        let (done, took) = timed(consumer.close_within(limit)).await;
        assert_eq!(done, Err(ConsumerError::Failed(Error::Uncommitted { messages: 9 })));
        assert!(took < limit + Duration::from_millis(500), "its deadline is {limit:?}: {took:?}");
    });
}
