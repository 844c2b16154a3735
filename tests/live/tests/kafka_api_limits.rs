//! Limits, pause, notices and counters of the handle on Kafka.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;
mod kafka_api_tools;

use std::collections::BTreeSet;
use std::time::Duration;

use api_tools::*;
use kafka_api_tools::*;
use tidegate::{
    ConsumerError, ConsumerOptions, KafkaOptions, Limits, Notice, Notices, Reason, RequestError, Taken,
};
use tidegate_live::kafka::{Cluster, shared, unique};
use tidegate_live::wait;

fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits);
    limits
}

#[test]
fn one_batch_larger_than_the_lane_comes_all_the_same() {
    let kafka = shared();
    let topic = kafka.topic(2);
    for _ in 0..2 {
        kafka.produce(&topic).values(0, ["x".repeat(700_000), "small".into()]).send();
        kafka.produce(&topic).values(1, ["small".into(), "y".repeat(700_000)]).send();
    }
    runtime().block_on(async {
        let consumer = open(
            &kafka.url(&topic),
            member_of(&unique("group")).limits(limits(|l| l.lane_bytes_max = 1_000)),
        )
        .await;
        let mut lengths: Vec<_> =
            take(&consumer, 8).await.iter().map(|m| m.payload().map_or(0, <[u8]>::len)).collect();
        lengths.sort_unstable();
        assert_eq!(lengths, [5, 5, 5, 5, 700_000, 700_000, 700_000, 700_000]);
        consumer.close().await.unwrap();
    });
}

#[test]
fn unacked_messages_reach_their_limit_and_it_is_said() {
    const COUNT: usize = 1_000;
    let kafka = shared();
    let (topic, group) = (kafka.topic(1), unique("group"));
    for batch in 0..COUNT / 10 {
        kafka.add(&topic, numbers(batch * 10..batch * 10 + 10));
    }
    runtime().block_on(async {
        // Little is fetched at once: what was asked for before the limit comes all the same.
        let kafka_options = KafkaOptions::default().partition_bytes_max(1_000).fetch_bytes_max(1_000);
        let options = member_of(&group)
            .batch(10)
            .kafka(kafka_options)
            .limits(limits(|l| (l.unacked_max, l.lane_bytes_max) = (50, 1_000)));
        let consumer = open(&kafka.url(&topic), options).await;
        let mut notices = consumer.notices();
        let mut tally = Tally::default();
        let (mut rounds, mut most) = (0, 0);
        while tally.0.len() < COUNT {
            // Takes what comes, and acks nothing.
            let mut held = Vec::new();
            while let Ok(message) = tokio::time::timeout(millis(150), consumer.next()).await {
                held.push(message.unwrap().unwrap());
                assert!(held.len() <= 50 + 200, "{} un-acked", held.len());
            }
            assert!(!held.is_empty(), "{} came, then nothing: {:?}", tally.0.len(), consumer.stats().await);
            most = most.max(held.len());
            held.iter().for_each(|message| tally.add(message));
            if tally.0.len() < COUNT {
                let unacked = notice(&mut notices, "the limit", |notice| match notice {
                    Notice::Stalled { reason: Reason::Unacked { unacked }, .. } => Some(*unacked),
                    _ => None,
                });
                let unacked = unacked.await;
                assert!(unacked >= 50, "{unacked}");
            }
            held.iter().for_each(|message| consumer.ack(message));
            assert_eq!(consumer.commit().await, Ok(held.len() as u64));
            if tally.0.len() < COUNT {
                notice(&mut notices, "going on", |n| {
                    matches!(n, Notice::Ready | Notice::Mended { .. }).then_some(())
                })
                .await;
            }
            rounds += 1;
        }
        println!("{rounds} rounds of at most {most} un-acked (limit 50)");
        tally.each_once(&topic, &[COUNT as i64]);
        consumer.close().await.unwrap();
        assert_eq!(kafka.committed_offsets(&group, &topic, 1), [COUNT as i64]);
    });
}

#[test]
fn pause_hands_out_nothing_and_the_rest_goes_on() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(1), unique("group"));
    kafka.add(&topic, numbers(0..100));
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), member_of(&group).batch(10)).await;
        let messages = take(&consumer, 15).await;
        consumer.pause().await.unwrap();
        let waiting = tokio::spawn({
            let consumer = consumer.clone();
            async move { consumer.next().await }
        });
        nothing_comes(&consumer, millis(300)).await;
        messages.iter().for_each(|message| consumer.ack(message));
        assert_eq!(consumer.commit().await, Ok(15), "commits go on");
        // The group's life, too: it is there after its session would have been over.
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(kafka.group(&group).unwrap().members.len(), 1);
        assert!(!waiting.is_finished(), "paused");
        consumer.pause().await.unwrap();
        consumer.resume().await.unwrap();
        let first = within("next", wait::PATIENCE, waiting).await.unwrap().unwrap().unwrap();
        let mut seen = vec![offset(&first)];
        seen.extend(offsets(&take(&consumer, 84).await));
        assert_eq!(seen, (15..100).collect::<Vec<_>>(), "where it was, once is enough to resume");
        // A message for one that is idle and was paused in between.
        consumer.pause().await.unwrap();
        kafka.add(&topic, ["new"]);
        nothing_comes(&consumer, millis(100)).await;
        consumer.resume().await.unwrap();
        assert_eq!(text(&next(&consumer).await), "new");
        consumer.pause().await.unwrap();
        consumer.close().await.unwrap();
        assert!(consumer.next().await.unwrap().is_none(), "a close ends a pause");
    });
}

async fn shards(notices: &mut Notices, count: usize, gained: bool) -> BTreeSet<u64> {
    let mut shards = BTreeSet::new();
    while shards.len() < count {
        let shard = notice(notices, if gained { "a gain" } else { "a loss" }, |notice| match notice {
            Notice::Assigned(shard) if gained => Some(shard.shard.number()),
            Notice::Revoked(shard) if !gained => Some(shard.shard.number()),
            _ => None,
        });
        assert!(shards.insert(shard.await), "twice in {shards:?}");
    }
    shards
}

#[test]
fn gains_and_losses_are_told_as_notices_and_in_the_order_of_deliveries() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(4), unique("group"));
    kafka.numbers(&topic, 4).send(0..40);
    runtime().block_on(async {
        let one = open(&kafka.url(&topic), member_of(&group).batch(5)).await;
        let mut of_one = one.notices();
        let all = BTreeSet::from([0, 1, 2, 3]);
        assert_eq!(shards(&mut of_one, 4, true).await, all);
        // In the lane: assigned, then its messages.
        let (mut assigned, mut messages) = (BTreeSet::new(), 0);
        while messages < 40 {
            match within("a delivery", wait::PATIENCE, one.take()).await.unwrap().unwrap() {
                Taken::Assigned(shard) => assert!(assigned.insert(shard.shard.number())),
                Taken::Messages(batch) => {
                    assert!(assigned.contains(&batch.source().shard.number()), "before it was assigned");
                    one.ack_batch(&batch);
                    messages += batch.len();
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(assigned, all);
        let two = open(&kafka.url(&topic), member_of(&group)).await;
        let mut of_two = two.notices();
        let gained = shards(&mut of_two, 2, true).await;
        let lost = shards(&mut of_one, 2, false).await;
        assert_eq!(gained, lost);
        let mut revoked = BTreeSet::new();
        while revoked.len() < 2 {
            match within("a delivery", wait::PATIENCE, one.take()).await.unwrap().unwrap() {
                Taken::Revoked(shard) => assert!(revoked.insert(shard.shard.number())),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(revoked, lost);
        let committed = kafka.committed_offsets(&group, &topic, 4);
        let of_lost: Vec<_> = lost.iter().map(|shard| committed[*shard as usize]).collect();
        assert_eq!(of_lost, [10, 10], "what was acked is committed before it is let go");
        assert_eq!((one.stats().await.shards, two.stats().await.shards), (2, 2));
        two.close().await.unwrap();
        assert_eq!(shards(&mut of_one, 2, true).await, lost, "back again");
        one.close().await.unwrap();
    });
}

#[test]
fn a_lost_broker_is_told_of_and_counted() {
    let mut cluster = Cluster::start(1);
    let (topic, group) = (cluster.admin().topic(1), unique("group"));
    cluster.admin().add(&topic, numbers(0..10));
    runtime().block_on(async {
        let consumer = open(&cluster.url(&topic), member_of(&group)).await;
        let mut notices = consumer.notices();
        let messages = take(&consumer, 10).await;
        cluster.kill9(1);
        let (attempt, line) = notice(&mut notices, "reconnecting", |notice| match notice {
            Notice::Reconnecting { attempt, .. } => Some((*attempt, notice.to_string())),
            _ => None,
        })
        .await;
        println!("{line}");
        assert!(attempt >= 1 && !line.contains('\n'), "{line}");
        messages.iter().for_each(|message| consumer.ack(message));
        let committing = tokio::spawn({
            let consumer = consumer.clone();
            async move { consumer.commit().await }
        });
        cluster.restart(1);
        assert_eq!(within("the commit", Duration::from_secs(60), committing).await.unwrap(), Ok(10));
        cluster.admin().add(&topic, ["after it"]);
        assert_eq!(text(&next(&consumer).await), "after it");
        assert_eq!(cluster.admin().committed_offsets(&group, &topic, 1), [10]);
        let stats = consumer.stats().await;
        assert!(stats.reconnects >= 1, "{stats:?}");
        consumer.close().await.unwrap();
    });
}

#[test]
fn the_counters_count() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(3), unique("group"));
    kafka.numbers(&topic, 3).send(0..300);
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), member_of(&group)).await;
        let messages = take(&consumer, 300).await;
        let stats = consumer.stats().await;
        assert_eq!(
            (stats.delivered, stats.in_flight, stats.acked, stats.shards),
            (300, 300, 0, 3),
            "{stats:?}"
        );
        assert_eq!((stats.queued, stats.queued_bytes), (0, 0), "{stats:?}");
        assert!(stats.bytes_received > 300 * 5 && stats.bytes_sent > 100, "{stats:?}");
        assert_eq!(stats.lag, Some(0), "{stats:?}");
        messages[..100].iter().for_each(|message| consumer.ack(message));
        let stats = consumer.stats().await;
        assert_eq!((stats.acked, stats.in_flight, stats.uncommitted), (100, 200, 100), "{stats:?}");
        consumer.commit().await.unwrap();
        let stats = consumer.stats().await;
        assert_eq!(
            (stats.committed, stats.uncommitted),
            (stats.acked - stats.uncommitted, stats.uncommitted)
        );
        consumer.seek(after(i64::MAX)).await.unwrap();
        messages.iter().for_each(|message| consumer.ack(message));
        assert_eq!(consumer.commit().await, Ok(0), "stale ones do no harm");
        consumer.close().await.unwrap();
        let last = consumer.stats().await;
        assert_eq!((last.delivered, last.acked), (300, 100), "after the end, as they were then: {last:?}");
    });
}

#[test]
fn too_many_requests_are_refused_and_a_close_never_is() {
    let cluster = Cluster::start(1);
    let (topic, group) = (cluster.admin().topic(1), unique("group"));
    cluster.admin().add(&topic, numbers(0..10));
    let options: ConsumerOptions = member_of(&group).limits(limits(|l| l.requests_max = 4));
    runtime().block_on(async {
        let consumer = open(&cluster.url(&topic), options).await;
        let messages = take(&consumer, 10).await;
        cluster.stop(1);
        let commits: Vec<_> = messages[..4]
            .iter()
            .map(|message| {
                consumer.ack(message);
                let consumer = consumer.clone();
                tokio::spawn(async move { consumer.commit().await })
            })
            .collect();
        tokio::time::sleep(millis(100)).await;
        assert!(commits.iter().all(|task| !task.is_finished()), "four wait");
        let refused = ConsumerError::Request(RequestError::TooManyRequests { max: 4 });
        for _ in 0..50 {
            let fifth = within("a refusal is at once", Duration::from_secs(1), consumer.commit()).await;
            assert_eq!(fifth, Err(refused.clone()));
        }
        let (closed, took) = timed(consumer.close_within(millis(500))).await;
        println!("close with as many requests as may wait, the broker stopped: {took:?}, {closed:?}");
        assert!(closed.is_err() && took < millis(1_500));
        for task in commits {
            assert!(within("a commit ends", wait::PATIENCE, task).await.unwrap().is_err());
        }
        cluster.cont(1);
    });
}
