//! A close on Kafka is bounded and truthful; control is never behind data; dropping never blocks.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;
mod kafka_api_tools;

use std::time::{Duration, Instant};

use api_tools::*;
use kafka_api_tools::*;
use tidegate::{ConsumerError, Error, Handle, ShardId, StreamKey};
use tidegate_live::kafka::{Cluster, shared, unique};
use tidegate_live::wait;

const SECOND: Duration = Duration::from_secs(1);

async fn closes_in_time(what: &str, consumer: &Handle) {
    let (closed, took) = timed(within(what, wait::PATIENCE, consumer.close())).await;
    println!("close, {what}: {took:?}");
    assert_eq!(closed, Ok(()), "{what}");
    assert!(took < SECOND, "{what}: {took:?}");
    for _ in 0..2 {
        assert!(consumer.next().await.unwrap().is_none(), "after the close");
        assert!(consumer.next_batch().await.unwrap().is_none(), "after the close");
    }
    assert_eq!(consumer.close().await, Ok(()), "asked again, the same answer");
    assert_eq!(consumer.clone().close().await, Ok(()), "asked another, the same answer");
}

#[test]
fn an_idle_consumer_closes_at_once() {
    let kafka = shared();
    let topic = kafka.topic(3);
    kafka.add(&topic, ["one"]);
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), patient(real_time())).await;
        tokio::time::sleep(millis(100)).await;
        closes_in_time("idle, real-time", &consumer).await;
        let group = unique("group");
        let consumer = open(&kafka.url(&topic), patient(member_of(&group))).await;
        consumer.ack(&next(&consumer).await);
        tokio::time::sleep(millis(100)).await;
        closes_in_time("idle, a member", &consumer).await;
        assert_eq!(kafka.committed_offsets(&group, &topic, 3)[0], 1, "what was acked is committed");
        let members = kafka.group(&group).map_or(0, |group| group.members.len());
        assert_eq!(members, 0, "it left");
    });
}

#[test]
fn a_busy_consumer_closes_at_once_and_commits_what_was_acked() {
    let kafka = shared();
    let topic = kafka.topic(6);
    kafka.numbers(&topic, 6).size(200).send(0..120_000);
    runtime().block_on(async {
        for batch in [1_000, 10] {
            let group = unique("group");
            let consumer = open(&kafka.url(&topic), member_of(&group).batch(batch)).await;
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let consumer = consumer.clone();
                    tokio::spawn(async move {
                        let mut acked = 0;
                        while let Some(messages) = consumer.next_batch().await.unwrap() {
                            consumer.ack_batch(&messages);
                            acked += messages.len();
                        }
                        acked
                    })
                })
                .collect();
            until("it is busy", wait::PATIENCE, || async { consumer.stats().await.acked > 1_000 }).await;
            closes_in_time("busy", &consumer).await;
            let mut acked = 0;
            for task in others {
                acked += within("a task ends", wait::PATIENCE, task).await.unwrap();
            }
            let committed: i64 =
                kafka.committed_offsets(&group, &topic, 6).iter().map(|offset| (*offset).max(0)).sum();
            println!("acked {acked}, committed {committed} of 120000");
            let stats = consumer.stats().await;
            assert_eq!(stats.uncommitted, 0, "{stats:?}");
            // What was acked after the close had counted may be left; never more than that is committed.
            assert!(committed <= acked as i64, "committed {committed}, acked {acked}");
            assert_eq!(committed as u64, stats.committed, "{stats:?}");
        }
    });
}

#[test]
fn a_consumer_whose_application_takes_nothing_closes_at_once() {
    let kafka = shared();
    let topic = kafka.topic(6);
    kafka.numbers(&topic, 6).size(200).send(0..60_000);
    runtime().block_on(async {
        let group = unique("group");
        let consumer = open(&kafka.url(&topic), member_of(&group)).await;
        until("it is full", wait::PATIENCE, || async { consumer.stats().await.queued_bytes > 1 << 20 }).await;
        // Control goes on while nothing is taken.
        let stream = StreamKey::from(&*topic);
        for (what, took) in [
            ("commit", timed(async { assert_eq!(consumer.commit().await, Ok(0)) }).await.1),
            ("assign", timed(async { consumer.assign(&stream, ShardId::ZERO).await.unwrap() }).await.1),
            ("pause", timed(async { consumer.pause().await.unwrap() }).await.1),
            ("resume", timed(async { consumer.resume().await.unwrap() }).await.1),
            ("stats", timed(consumer.stats()).await.1),
        ] {
            println!("{what} with a full lane: {took:?}");
            assert!(took < SECOND, "{what}: {took:?}");
        }
        closes_in_time("full", &consumer).await;
        assert_eq!(kafka.committed_offsets(&group, &topic, 6), [-1; 6], "nothing was acked");
    });
}

#[test]
fn with_the_broker_stopped_it_closes_by_its_deadline_and_says_what_is_uncommitted() {
    let cluster = Cluster::start(1);
    let kafka = cluster.admin();
    let topic = kafka.topic(2);
    kafka.numbers(&topic, 2).send(0..100);
    let group = unique("group");
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), member_of(&group)).await;
        let messages = take(&consumer, 100).await;
        messages[..40].iter().for_each(|message| consumer.ack(message));
        assert_eq!(consumer.commit().await, Ok(40));
        let known = kafka.committed_offsets(&group, &topic, 2);
        cluster.stop(1);
        messages[40..75].iter().for_each(|message| consumer.ack(message));
        let (closed, took) = timed(consumer.close_within(millis(700))).await;
        println!("close within 700 ms of a stopped broker: {took:?}");
        assert_eq!(closed, Err(ConsumerError::Failed(Error::Uncommitted { messages: 35 })));
        assert!(took >= millis(600) && took < millis(700) + SECOND, "{took:?}");
        assert_eq!(consumer.close().await, closed, "asked again, the same answer");
        assert!(consumer.next().await.unwrap().is_none());

        // Without anything to say there is nothing to be sorry for, but a farewell is tried.
        cluster.cont(1);
        let idle = open(&kafka.url(&topic), real_time()).await;
        cluster.stop(1);
        let (closed, took) = timed(idle.close_within(millis(700))).await;
        println!("close of one without a group: {took:?}");
        assert_eq!(closed, Ok(()));
        assert!(took < millis(700) + SECOND, "{took:?}");
        cluster.cont(1);
        wait::until_true("the dead member's time is over", wait::PATIENCE, || {
            kafka.group(&group).is_none_or(|group| group.members.is_empty())
        });
        let now = kafka.committed_offsets(&group, &topic, 2);
        // The request may have reached the broker's socket before it was stopped in earnest.
        println!("committed {known:?}, after it all {now:?}");
        let other = open(&kafka.url(&topic), member_of(&group)).await;
        let left = 100 - now.iter().sum::<i64>() as usize;
        take(&other, left).await;
        nothing_comes(&other, millis(100)).await;
        other.close().await.unwrap();
    });
}

#[test]
fn with_the_broker_dead_it_closes_by_its_deadline_too() {
    let mut cluster = Cluster::start(1);
    let topic = cluster.admin().topic(1);
    cluster.admin().add(&topic, numbers(0..20));
    runtime().block_on(async {
        let consumer = open(&cluster.url(&topic), member_of(&unique("group"))).await;
        take(&consumer, 20).await.iter().for_each(|message| consumer.ack(message));
        cluster.kill9(1);
        let (closed, took) = timed(consumer.close_within(millis(700))).await;
        println!("close within 700 ms of a dead broker: {took:?}");
        assert_eq!(closed, Err(ConsumerError::Failed(Error::Uncommitted { messages: 20 })));
        assert!(took < millis(700) + SECOND, "{took:?}");
    });
}

#[test]
fn a_close_ends_whoever_waits() {
    let kafka = shared();
    let topic = kafka.topic(1);
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), patient(member_of(&unique("group")))).await;
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let consumer = consumer.clone();
                tokio::spawn(async move { consumer.next().await })
            })
            .collect();
        tokio::time::sleep(millis(50)).await;
        let closing: Vec<_> = (0..4)
            .map(|_| {
                let consumer = consumer.clone();
                tokio::spawn(async move { consumer.close().await })
            })
            .collect();
        for task in closing {
            assert_eq!(within("a close", wait::PATIENCE, task).await.unwrap(), Ok(()));
        }
        for task in waiting {
            assert!(within("a next", wait::PATIENCE, task).await.unwrap().unwrap().is_none());
        }
    });
}

#[test]
fn dropping_never_blocks_and_what_was_acked_is_committed_behind_it() {
    let kafka = shared();
    let topic = kafka.topic(1);
    kafka.add(&topic, numbers(0..50));
    runtime().block_on(async {
        let group = unique("group");
        let consumer = open(&kafka.url(&topic), member_of(&group)).await;
        take(&consumer, 30).await.iter().for_each(|message| consumer.ack(message));
        let began = Instant::now();
        drop(consumer);
        let took = began.elapsed();
        assert!(took < millis(100), "a drop took {took:?}");
        wait::until_true("it is committed", Duration::from_secs(5), || {
            kafka.committed_offsets(&group, &topic, 1) == [30]
        });
        wait::until_true("it left", Duration::from_secs(5), || {
            kafka.group(&group).is_none_or(|group| group.members.is_empty())
        });
        println!("a drop: {took:?}");
    });
    let cluster = Cluster::start(1);
    let topic = cluster.admin().topic(1);
    cluster.admin().add(&topic, numbers(0..50));
    let runtime = runtime();
    let consumer = runtime.block_on(async {
        let consumer = open(&cluster.url(&topic), member_of(&unique("group"))).await;
        take(&consumer, 30).await.iter().for_each(|message| consumer.ack(message));
        consumer
    });
    cluster.stop(1);
    let began = Instant::now();
    drop(consumer);
    let handle = began.elapsed();
    drop(runtime);
    println!("with the broker stopped: a drop {handle:?}, with its runtime {:?}", began.elapsed());
    assert!(handle < millis(100) && began.elapsed() < SECOND);
    cluster.cont(1);
}
