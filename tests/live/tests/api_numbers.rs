//! The counters, and how often a message was handed out.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::time::{Duration, Instant};

use api_tools::*;
use tidegate::{ConsumerMode, ConsumerOptions, Notice, Position, Stats};
use tidegate_live::{Cut, Proxy, RedisServer, wait};

#[test]
fn the_counters_follow_a_message_from_the_wire_to_the_commit() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let proxy = Proxy::to(server.port());
    redis.add("orders", (0..100).map(|_| "x".repeat(1_000)));
    runtime().block_on(async {
        let consumer = open(&proxy.url("orders"), member("one")).await;
        until("all arrived", wait::PATIENCE, || async { consumer.stats().await.delivered == 100 }).await;
        let stats = consumer.stats().await;
        assert_eq!(
            (stats.queued, stats.in_flight, stats.acked, stats.uncommitted),
            (100, 0, 0, 0),
            "{stats:?}"
        );

        let messages = take(&consumer, 60).await;
        let stats = consumer.stats().await;
        assert_eq!((stats.delivered, stats.queued, stats.in_flight), (100, 40, 60), "{stats:?}");

        messages[..40].iter().for_each(|message| consumer.ack(message));
        let stats = consumer.stats().await;
        assert_eq!((stats.acked, stats.uncommitted, stats.committed), (40, 40, 0), "{stats:?}");
        assert_eq!((stats.queued, stats.in_flight), (40, 20), "{stats:?}");

        consumer.commit().await.unwrap();
        // Repeated ones do no harm, and count once.
        messages[..40].iter().for_each(|message| consumer.ack(message));
        let stats = consumer.stats().await;
        assert_eq!((stats.acked, stats.uncommitted, stats.committed), (40, 0, 40), "{stats:?}");
        assert_eq!(stats.shards, 1);
        let none = [stats.claimed, stats.recovered, stats.redelivered, stats.vanished, stats.reconnects];
        assert_eq!((none, stats.stale_acks, stats.broker_errors), ([0; 5], 0, 0), "{stats:?}");

        // Every byte is counted.
        wait::until_true("the reader waits", wait::PATIENCE, || redis.someone_waits());
        until("the bytes agree", wait::PATIENCE, || async {
            let stats = consumer.stats().await;
            (stats.bytes_received, stats.bytes_sent) == proxy.bytes()
        })
        .await;
        assert!(stats.bytes_received > 100_000, "{stats:?}");

        consumer.close().await.unwrap();
        let after = consumer.stats().await;
        assert_eq!((after.delivered, after.acked, after.committed), (100, 40, 40), "as they were: {after:?}");
        assert_eq!(after.reconnects, 0);
    });
}

#[test]
fn the_lag_is_what_the_group_has_not_handed_out() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..20_000));
    runtime().block_on(async {
        let options = member("one").batch(10).discover_interval(millis(100)).limits({
            let mut limits = tidegate::Limits::default();
            limits.lane_records_max = 100;
            limits
        });
        let consumer = open(&server.url("orders"), options).await;
        let lag = |stats: Stats| stats.lag.unwrap_or(0);
        until("it is known", wait::PATIENCE, || async { lag(consumer.stats().await) > 0 }).await;
        let stats = consumer.stats().await;
        assert!((19_000..=20_000).contains(&lag(stats)), "{stats:?}");
        take(&consumer, 20_000).await;
        until("nothing is left", wait::PATIENCE, || async { consumer.stats().await.lag == Some(0) }).await;
    });
}

#[test]
fn a_claim_counts_and_the_message_says_so() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..10));
    redis.tell(&["XGROUP", "CREATE", "orders", "crew", "0"]);
    let dead = redis.take("orders", "crew", "dead", 6);
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one").claim(claims(50, 300))).await;
        let mut notices = consumer.notices();
        let messages = take(&consumer, 10).await;
        for message in &messages {
            let expected = if dead.contains(&id(message)) { 2 } else { 1 };
            assert_eq!(message.deliveries(), expected, "{message:?}");
        }
        let stats = consumer.stats().await;
        assert_eq!((stats.claimed, stats.redelivered, stats.recovered), (6, 6, 0), "{stats:?}");
        let claimed = notice(&mut notices, "the claim", |notice| match notice {
            Notice::Claimed { messages, .. } => Some(*messages),
            _ => None,
        });
        assert_eq!(claimed.await, 6);
        let books = redis.pending_list("orders", "crew");
        assert!(books.iter().all(|entry| entry.owner == "one"), "{books:?}");
        messages.iter().for_each(|message| consumer.ack(message));
        consumer.close().await.unwrap();
        assert_eq!(redis.pending("orders", "crew"), 0);
    });
}

/// Own work is kept alive as often as such an idle time asks for, and the application gets its messages.
#[test]
fn a_short_idle_time_starves_nobody() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", numbers(0..3_000));
    redis.tell(&["XGROUP", "CREATE", "orders", "crew", "0"]);
    assert_eq!(redis.take("orders", "crew", "dead", 400).len(), 400);
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one").batch(100).claim(claims(50, 1))).await;
        let mut received = Received::default();
        take(&consumer, 3_000).await.iter().for_each(|message| received.add(message));
        received.each_once(&sent);
        consumer.close().await.unwrap();
    });
}

#[test]
fn a_message_that_dies_with_each_member_counts_up() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["poison"]);
    for round in 1..=4 {
        let runtime = runtime();
        let options = member(&format!("member-{round}")).claim(claims(30, 100));
        let consumer = runtime.block_on(open(&server.url("orders"), options));
        let message = runtime.block_on(next(&consumer));
        assert_eq!(message.deliveries(), round, "handed out {round} times");
        // Dies without a word; its long work was kept alive until then, and that did not count.
        runtime.block_on(async { tokio::time::sleep(millis(250)).await });
        drop(runtime);
        assert_eq!(redis.pending_list("orders", "crew")[0].deliveries, u64::from(round));
    }
}

#[test]
fn a_recovery_after_a_lost_reply_does_not_count_against_a_message() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["first"]);
    let proxy = Proxy::to(server.port());
    runtime().block_on(async {
        for (round, pass) in [0, 30, 150].into_iter().enumerate() {
            let name = format!("member-{round}");
            let consumer = open(&proxy.url("orders"), member(&name)).await;
            let mut notices = consumer.notices();
            if round == 0 {
                consumer.ack(&next(&consumer).await);
                assert_eq!(consumer.commit().await, Ok(1));
            }
            wait::until_true("its read blocks", wait::PATIENCE, || redis.someone_waits());
            let fired = proxy.fired();
            proxy.arm(Cut::after("XREADGROUP").pass(pass));
            redis.atomically(&[
                &["XADD", "orders", "*", "msg", "one"],
                &["XADD", "orders", "*", "msg", "two"],
                &["XADD", "orders", "*", "msg", "three"],
            ]);
            let messages = take(&consumer, 3).await;
            assert_eq!(proxy.fired(), fired + 1, "the reply was lost");
            let deliveries: Vec<_> = messages.iter().map(|message| message.deliveries()).collect();
            assert_eq!(deliveries, [1, 1, 1], "round {round}");
            nothing_comes(&consumer, millis(50)).await;
            let started = Instant::now();
            loop {
                let books = redis.pending_list("orders", "crew");
                if books.len() == 3 && books.iter().all(|entry| entry.deliveries == 1) {
                    break;
                }
                assert!(started.elapsed() < Duration::from_secs(3), "{pass} bytes passed: {books:?}");
                tokio::time::sleep(millis(10)).await;
            }
            let stats = consumer.stats().await;
            assert!((1..=2).contains(&stats.reconnects), "{stats:?}");
            assert!(stats.recovered <= 3 && stats.claimed == 0, "{stats:?}");
            if pass == 0 {
                assert_eq!(stats.recovered, 3, "{stats:?}");
                let recovered = notice(&mut notices, "the recovery", |notice| match notice {
                    Notice::Recovered { messages, .. } => Some(*messages),
                    _ => None,
                });
                assert_eq!(recovered.await, 3);
            }
            messages.iter().for_each(|message| consumer.ack(message));
            consumer.close().await.unwrap();
            assert_eq!(redis.pending("orders", "crew"), 0);
        }
    });
}

#[test]
fn what_is_processed_while_the_connection_is_lost_does_not_come_twice() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..50));
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one").batch(10)).await;
        let messages = take(&consumer, 30).await;
        let mut received = Received::default();
        messages.iter().for_each(|message| received.add(message));
        for (round, message) in messages[..5].iter().enumerate() {
            for client in redis.clients() {
                redis.kill(client.id);
            }
            // Acks given while it is cut off are committed afterwards.
            consumer.ack(message);
            assert_eq!(consumer.commit().await, Ok(1), "round {round}");
        }
        while received.0.len() < 50 {
            received.add(&next(&consumer).await);
        }
        nothing_comes(&consumer, millis(100)).await;
        let sent: Vec<_> = received.0.keys().cloned().collect();
        received.each_once(&sent);
        let stats = consumer.stats().await;
        assert!(stats.reconnects >= 5, "{stats:?}");
        assert_eq!((stats.acked, stats.committed), (5, 5), "{stats:?}");
        assert!(redis.pending_list("orders", "crew").iter().all(|entry| entry.deliveries == 1));
    });
}

#[test]
fn trimmed_pending_messages_are_counted_as_vanished() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..10));
    redis.tell(&["XGROUP", "CREATE", "orders", "crew", "0"]);
    assert_eq!(redis.take("orders", "crew", "dead", 10).len(), 10);
    redis.tell(&["XTRIM", "orders", "MAXLEN", "4"]);
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one").claim(claims(50, 20))).await;
        let mut notices = consumer.notices();
        let messages = take(&consumer, 4).await;
        until("six are gone", wait::PATIENCE, || async { consumer.stats().await.vanished == 6 }).await;
        let mut gone = 0;
        while gone < 6 {
            gone += notice(&mut notices, "what vanished", |notice| match notice {
                Notice::Vanished { messages, .. } => Some(*messages),
                _ => None,
            })
            .await;
        }
        assert_eq!(gone, 6);
        assert_eq!(redis.pending("orders", "crew"), 4);
        messages.iter().for_each(|message| consumer.ack(message));
        consumer.close().await.unwrap();
        assert_eq!(redis.pending("orders", "crew"), 0);
    });
}

#[test]
fn acks_from_before_a_move_are_stale_and_do_no_harm() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", numbers(0..10));
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one")).await;
        let old = take(&consumer, 10).await;
        old[..3].iter().for_each(|message| consumer.ack(message));
        consumer.rewind(Position::Beginning).await.unwrap();
        old[3..].iter().for_each(|message| consumer.ack(message));
        let new = take(&consumer, 10).await;
        assert_eq!(ids(&new), sent);
        assert!(new.iter().all(|message| message.ack_range().is_none()), "nothing to ack in real time");
        new.iter().for_each(|message| consumer.ack(message));
        let committed = consumer.commit().await.unwrap();
        let stats = consumer.stats().await;
        // Whether those of before the move still count or are stale: all ten are accounted for.
        assert_eq!(stats.acked + stats.stale_acks, 10, "{stats:?}");
        assert!(stats.committed >= 3 && committed <= 10, "{stats:?}");
        assert_eq!(redis.pending("orders", "crew"), 10 - stats.committed, "{stats:?}");
        consumer.close().await.unwrap();
    });
}

#[test]
fn real_time_has_counters_too() {
    let server = RedisServer::start();
    let mut redis = server.client();
    for shard in 0..3 {
        redis.add(&format!("orders:{shard}"), ["old"]);
    }
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), ConsumerOptions::new(ConsumerMode::RealTime)).await;
        for shard in 0..3 {
            redis.add(&format!("orders:{shard}"), numbers(0..10));
        }
        let messages = take(&consumer, 30).await;
        messages.iter().for_each(|message| consumer.ack(message));
        assert_eq!(consumer.commit().await, Ok(0), "there is nothing to ack");
        let stats = consumer.stats().await;
        assert_eq!((stats.delivered, stats.queued, stats.shards), (30, 0, 3), "{stats:?}");
        assert_eq!((stats.acked, stats.in_flight, stats.uncommitted), (0, 0, 0), "{stats:?}");
        redis.tell(&["SET", "orders:1", "no stream"]);
        until("the broker's error is counted", wait::PATIENCE, || async {
            consumer.stats().await.broker_errors > 0
        })
        .await;
        consumer.close().await.unwrap();
    });
}
