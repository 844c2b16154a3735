//! What is acked is committed: on time, in each mode, and before a close returns.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use api_tools::*;
use tidegate::{AutoCommit, Handle, Message};
use tidegate_live::{Client, RedisServer, wait};

fn pending(redis: &mut Client, stream: &str) -> BTreeSet<String> {
    redis.pending_list(stream, "crew").into_iter().map(|entry| entry.id).collect()
}

fn rolling(interval: Duration) -> AutoCommit {
    AutoCommit::Rolling { interval }
}

fn ack(consumer: &Handle, messages: &[Message]) {
    messages.iter().for_each(|message| consumer.ack(message));
}

#[test]
fn rolling_commits_on_time_while_the_application_sits_on_one_message() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", numbers(0..20));
    runtime().block_on(async {
        let options = member("one").auto_commit(rolling(millis(200)));
        let consumer = open(&server.url("orders"), options).await;
        let messages = take(&consumer, 20).await;
        let sitting_on = &messages[19];
        let started = Instant::now();
        // Every 200 ms a worker acks another one, of which each is committed by the next interval.
        let mut times = Vec::new();
        for (message, id) in messages[..10].iter().zip(&sent) {
            let acked = Instant::now();
            consumer.ack(message);
            wait::until_true("an ack is committed", Duration::from_secs(3), || {
                !pending(&mut redis, "orders").contains(id)
            });
            times.push(acked.elapsed());
        }
        assert!(median(times.clone()) < millis(350), "the interval is 200 ms: {times:?}");
        ack(&consumer, &messages[10..19]);
        wait::until_true("all acks are committed", Duration::from_secs(2), || {
            redis.pending("orders", "crew") == 1
        });
        tokio::time::sleep(Duration::from_secs(3).saturating_sub(started.elapsed())).await;
        assert_eq!(pending(&mut redis, "orders"), BTreeSet::from([id(sitting_on)]), "the one that it sat on");
        consumer.ack(sitting_on);
        consumer.close().await.unwrap();
        assert_eq!(redis.pending("orders", "crew"), 0);
    });
}

#[test]
fn rolling_commits_on_time_on_a_runtime_of_one_thread() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..20));
    single().block_on(async {
        let options = member("one").auto_commit(rolling(millis(200)));
        let consumer = open(&server.url("orders"), options).await;
        let messages = take(&consumer, 20).await;
        ack(&consumer, &messages[..19]);
        let acked = Instant::now();
        let mut committed = None;
        while acked.elapsed() < Duration::from_secs(3) {
            tokio::time::sleep(millis(10)).await;
            if committed.is_none() && redis.pending("orders", "crew") == 1 {
                committed = Some(acked.elapsed());
            }
        }
        let committed = committed.expect("nothing was committed in 3 s");
        assert!(committed < Duration::from_secs(1), "the interval is 200 ms: {committed:?}");
    });
}

#[test]
fn rolling_bundles_what_is_acked_within_an_interval() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..100));
    runtime().block_on(async {
        let options = member("one").auto_commit(rolling(millis(500)));
        let consumer = open(&server.url("orders"), options).await;
        for message in take(&consumer, 100).await {
            consumer.ack(&message);
            tokio::time::sleep(millis(5)).await;
        }
        wait::until_true("all is committed", Duration::from_secs(3), || redis.pending("orders", "crew") == 0);
        let commits = redis.calls().get("xack").copied().unwrap_or(0);
        assert!((1..=10).contains(&commits), "{commits} XACK for 100 acks in a second");
    });
}

#[test]
fn after_a_close_nothing_acked_is_pending_in_each_mode() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let hour = Duration::from_secs(3_600);
    let modes = [
        ("immediate", AutoCommit::Immediate),
        ("delayed", AutoCommit::Delayed { delay: hour }),
        ("rolling", rolling(hour)),
        ("disabled", AutoCommit::Disabled),
    ];
    runtime().block_on(async {
        for (mode, auto_commit) in modes {
            let sent = redis.add(mode, numbers(0..3_000));
            let options = member("one").auto_commit(auto_commit).batch(100);
            let consumer = open(&server.url(mode), options).await;
            let messages = take(&consumer, 310).await;
            assert_eq!(ids(&messages), sent[..310], "{mode}: in order");
            let (done, kept) = messages.split_at(300);
            let acks = matches!(mode, "rolling" | "disabled");
            if acks {
                // In any order, repeated, one by one and as ranges.
                done[..100].iter().rev().for_each(|message| consumer.ack(message));
                ack(&consumer, &done[50..120]);
                done[120..].iter().for_each(|message| consumer.ack_range(message.ack_range().unwrap()));
            }
            within(mode, Duration::from_secs(5), consumer.close()).await.unwrap();
            let stats = consumer.stats().await;
            let pending = pending(&mut redis, mode);
            let wrong: Vec<_> = done.iter().map(id).filter(|id| pending.contains(id)).collect();
            assert!(wrong.is_empty(), "{mode}: {} of 300 acked are pending; {stats:?}", wrong.len());
            let kept_pending = kept.iter().map(id).filter(|id| pending.contains(id)).count();
            match mode {
                // At most once: nothing was ever pending.
                "immediate" => assert!(pending.is_empty(), "{} pending", pending.len()),
                // Taken is acked.
                "delayed" => assert_eq!(kept_pending, 0, "{mode}: a clean close acks what was taken"),
                _ => assert_eq!(kept_pending, 10, "{mode}: what was not acked is handed out again"),
            }
            if mode != "immediate" {
                // Whatever was not acked comes again, to another member, and nothing else.
                let options = member("two").claim(claims(50, 200)).auto_commit(BY_HAND);
                let other = open(&server.url(mode), options).await;
                let rest = if acks { 2_700 } else { 2_690 };
                let mut received = Received::default();
                take(&other, rest).await.iter().for_each(|message| received.add(message));
                received.each_once(&sent[3_000 - rest..]);
                other.close().await.unwrap();
            }
        }
    });
}

#[test]
fn a_batch_is_acked_whole_or_in_part() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..30));
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one").batch(10)).await;
        let mut expected = 30;
        let mut received = 0;
        while received < 30 {
            // One of each batch is taken alone first, and not acked with the rest.
            let alone = next(&consumer).await;
            received += 1;
            let in_batch = alone.batch().len();
            if in_batch > 1 {
                let rest = consumer.next_batch().await.unwrap().unwrap();
                assert_eq!(rest.len(), in_batch - 1, "what next left of it");
                received += rest.len();
                consumer.ack_batch(&rest);
                expected -= rest.len();
            }
            consumer.commit().await.unwrap();
            let left = pending(&mut redis, "orders");
            assert!(left.contains(&id(&alone)), "it was not acked: {left:?}");
        }
        wait::until_true("the rest is not committed", wait::PATIENCE, || {
            redis.pending("orders", "crew") as usize == expected
        });
    });
}

#[test]
fn delayed_counts_from_the_taking_and_not_from_the_arrival() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..3));
    runtime().block_on(async {
        let options = member("one").auto_commit(AutoCommit::Delayed { delay: Duration::from_secs(1) });
        let consumer = open(&server.url("orders"), options).await;
        until("they arrived", wait::PATIENCE, || async { consumer.stats().await.queued == 3 }).await;
        wait::always("nobody took one", millis(1_500), || redis.pending("orders", "crew") == 3);
        let taken = Instant::now();
        let first = next(&consumer).await;
        while taken.elapsed() < millis(900) {
            let pending = redis.pending("orders", "crew");
            assert!(pending == 3 || taken.elapsed() >= millis(900), "acked after {:?}", taken.elapsed());
            tokio::time::sleep(millis(20)).await;
        }
        wait::until_true("the first is committed after its delay", Duration::from_secs(2), || {
            !pending(&mut redis, "orders").contains(&id(&first))
        });
        wait::always("the others were not taken", millis(1_200), || redis.pending("orders", "crew") == 2);
        // Earlier, where the application says so.
        let second = next(&consumer).await;
        consumer.ack(&second);
        assert_eq!(consumer.commit().await, Ok(1));
        assert!(!pending(&mut redis, "orders").contains(&id(&second)));
        // A clean close acks what was taken: this one just now.
        next(&consumer).await;
        consumer.close().await.unwrap();
        assert_eq!(redis.pending("orders", "crew"), 0);
    });
}

#[test]
fn disabled_commits_when_it_is_told_and_says_how_many() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..2_500));
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one")).await;
        assert_eq!(consumer.commit().await, Ok(0), "there is nothing to commit");
        let messages = take(&consumer, 2_500).await;
        ack(&consumer, &messages[..2_300]);
        wait::always("nobody said commit", millis(1_500), || redis.pending("orders", "crew") == 2_500);
        assert_eq!(consumer.commit().await, Ok(2_300));
        assert_eq!(redis.pending("orders", "crew"), 200);
        ack(&consumer, &messages[..2_400]);
        assert_eq!(consumer.commit().await, Ok(100), "repeated acks count once");
        assert_eq!(redis.pending("orders", "crew"), 100);
    });
}

#[test]
fn commits_asked_for_at_the_same_time_are_all_answered_truthfully() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..1_000));
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one")).await;
        let messages = take(&consumer, 1_000).await;
        let mut tasks = Vec::new();
        for some in messages.chunks(100) {
            let (consumer, some) = (consumer.clone(), some.to_vec());
            tasks.push(tokio::spawn(async move {
                let mut commits = Vec::new();
                for few in some.chunks(10) {
                    ack(&consumer, few);
                    commits.push(consumer.commit().await.unwrap());
                }
                commits
            }));
        }
        for task in tasks {
            within("a commit", wait::PATIENCE, task).await.unwrap();
        }
        assert_eq!(redis.pending("orders", "crew"), 0, "each commit returned after its own acks arrived");
        let stats = consumer.stats().await;
        assert_eq!((stats.acked, stats.committed, stats.uncommitted), (1_000, 1_000, 0), "{stats:?}");
    });
}
