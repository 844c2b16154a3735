//! Every future of the handle may be dropped at any await, on Kafka too: nothing is lost by it, nothing
//! comes twice, and the consumer goes on.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api_tools::kafka::*;
use api_tools::*;
use futures_core::Stream;
use tidegate::{ConsumerError, Error, Handle, Message, ShardId, StreamKey, Timestamp};
use tidegate_live::kafka::{Admin, shared, unique};
use tidegate_live::wait;

/// More polls than any future has awaits.
const POLLS: usize = 6;
const ROUNDS: usize = 6;
const PARTITIONS: u64 = 2;

/// What was received and acked, by whichever way it came.
#[derive(Default)]
struct Application {
    received: BTreeMap<(u64, u64), usize>,
    acked: BTreeSet<(u64, u64)>,
}

impl Application {
    fn has(&mut self, consumer: &Handle, message: &Message) {
        let at = at(message);
        *self.received.entry(at).or_default() += 1;
        // One of fifty is left for ever, so that the frontier stops there.
        if at.1 % 50 != 49 {
            consumer.ack(message);
            self.acked.insert(at);
        }
    }

    /// Nothing lost, nothing twice, and what is committed after a clean close is the frontier.
    async fn ends(mut self, consumer: &Handle, kafka: &Admin, topic: &str, group: &str) {
        let ends = kafka.ends(topic);
        while self.received.len() < ends.iter().sum::<i64>() as usize {
            let message = next(consumer).await;
            self.has(consumer, &message);
        }
        nothing_comes(consumer, millis(200)).await;
        let twice: Vec<_> = self.received.iter().filter(|(_, times)| **times > 1).take(5).collect();
        assert!(twice.is_empty(), "more than once: {twice:?}");
        let done = within("a close", Duration::from_secs(5), consumer.close()).await;
        let frontier = |shard: u64| (0..).find(|&offset| !self.acked.contains(&(shard, offset))).unwrap();
        let expected: Vec<i64> = (0..PARTITIONS).map(|shard| frontier(shard) as i64).collect();
        assert_eq!(kafka.committed_offsets(group, topic, PARTITIONS as usize), expected);
        // What was acked behind it can't be committed, and that is said.
        let messages = self.acked.len() as u64 - expected.iter().sum::<i64>() as u64;
        let behind = ConsumerError::Failed(Error::Uncommitted { messages });
        assert_eq!(done, if messages > 0 { Err(behind) } else { Ok(()) });
    }
}

/// Writes a few records at a time until it is told to end.
fn produce(kafka: &Admin, topic: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        kafka.produce(topic).values(0, ["a", "b"]).values(1, ["c", "d", "e"]).send();
    }
}

/// Drops futures of one kind after every number of polls while messages flow.
fn while_messages_flow<F>(mut act: F)
where
    F: AsyncFnMut(&mut Handle, &mut Application, usize, Dropped),
{
    let kafka = shared();
    for runtime in [runtime(), single()] {
        let (topic, group) = (kafka.topic(PARTITIONS as usize), unique("group"));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| produce(kafka, &topic, &stop));
            runtime.block_on(async {
                let _stop = Stop(&stop);
                let mut consumer = open(&kafka.url(&topic), in_group(&group).batch(7)).await;
                let mut application = Application::default();
                for _ in 0..ROUNDS {
                    for (polls, dropped) in ways_to_drop(POLLS) {
                        act(&mut consumer, &mut application, polls, dropped).await;
                        // The application lives from other calls, too.
                        if let Ok(Ok(Some(message))) = tokio::time::timeout(millis(1), consumer.next()).await
                        {
                            application.has(&consumer, &message);
                        }
                    }
                }
                stop.store(true, Ordering::Relaxed);
                // What is in the producer's hands is in the topic soon.
                let mut ends = kafka.ends(&topic);
                wait::until_true("the producer ends", wait::PATIENCE, || {
                    std::thread::sleep(millis(100));
                    let now = kafka.ends(&topic);
                    std::mem::replace(&mut ends, now.clone()) == now
                });
                application.ends(&consumer, kafka, &topic, &group).await;
            });
        });
    }
}

/// Ends the producer also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn next_may_be_dropped() {
    while_messages_flow(async |consumer, application, polls, dropped| {
        if let Some(message) = poll_and_drop(consumer.next(), polls, dropped).await {
            application.has(consumer, &message.unwrap().unwrap());
        }
    });
}

#[test]
fn next_batch_and_take_may_be_dropped() {
    while_messages_flow(async |consumer, application, polls, dropped| {
        if let Some(messages) = poll_and_drop(consumer.next_batch(), polls, dropped).await {
            let messages = messages.unwrap().unwrap();
            (0..messages.len()).for_each(|at| application.has(consumer, &messages.message(at).unwrap()));
        }
    });
}

#[test]
fn the_stream_may_be_dropped_and_made_again() {
    while_messages_flow(async |consumer, application, polls, dropped| {
        let message = {
            let mut stream = consumer.stream();
            let next = poll_fn(|context| Pin::new(&mut stream).poll_next(context));
            poll_and_drop(next, polls, dropped).await
        };
        if let Some(message) = message {
            application.has(consumer, &message.unwrap().unwrap());
        }
    });
}

#[test]
fn commit_pause_and_resume_may_be_dropped() {
    while_messages_flow(async |consumer, _, polls, dropped| {
        poll_and_drop(consumer.commit(), polls, dropped).await;
        poll_and_drop(consumer.pause(), polls, dropped).await;
        consumer.resume().await.unwrap();
        poll_and_drop(consumer.stats(), polls, dropped).await;
        poll_and_drop(consumer.ready(), polls, dropped).await;
    });
}

#[test]
fn assign_and_unassign_may_be_dropped() {
    while_messages_flow(async |consumer, _, polls, dropped| {
        // They count from the next move on, so the group's partitions stay.
        let stream = StreamKey::from("elsewhere");
        poll_and_drop(consumer.assign(&stream, ShardId::ZERO), polls, dropped).await;
        poll_and_drop(consumer.unassign(&stream, ShardId::ZERO), polls, dropped).await;
    });
}

#[test]
fn a_rewind_or_seek_that_was_dropped_is_carried_out_and_the_consumer_goes_on() {
    let kafka = shared();
    let topic = dated(kafka, 1, 300);
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), in_group(&unique("group")).batch(10)).await;
        take(&consumer, 25).await;
        for (polls, dropped) in ways_to_drop(POLLS) {
            // From the last records back to the middle, so that what is old can be told from what is new.
            let what = format!("{polls} polls, {dropped:?}");
            let target = 40 * polls as u64;
            consumer.rewind(offset(280)).await.unwrap();
            next(&consumer).await;
            poll_and_drop(consumer.rewind(offset(target)), polls, dropped).await;
            arrives_at(&consumer, target, &format!("rewind, {what}")).await;

            consumer.rewind(offset(280)).await.unwrap();
            next(&consumer).await;
            let moment = Timestamp::from_millis(THEN + target as i64 - 1);
            poll_and_drop(consumer.seek(moment), polls, dropped).await;
            arrives_at(&consumer, target, &format!("seek, {what}")).await;
        }
        consumer.close().await.unwrap();
    });
}

/// Some of the last records may still come; then those from `target` on, without a gap.
async fn arrives_at(consumer: &Handle, target: u64, what: &str) {
    let started = Instant::now();
    let mut first = next(consumer).await.seq().low();
    while first > 270 {
        assert!(started.elapsed() < Duration::from_secs(5), "not carried out: {what}");
        first = next(consumer).await.seq().low();
    }
    assert_eq!(first, target, "{what}");
    assert_eq!(by_shard(consumer, 15).await, each([0], target + 1..target + 16), "without a gap: {what}");
}

#[test]
fn a_close_that_was_dropped_is_carried_out() {
    let kafka = shared();
    runtime().block_on(async {
        for (polls, dropped) in ways_to_drop(POLLS) {
            let (topic, group) = (kafka.topic(1), unique("group"));
            kafka.add(&topic, ["one", "two"]);
            let consumer = open(&kafka.url(&topic), in_group(&group)).await;
            consumer.ack(&next(&consumer).await);
            poll_and_drop(consumer.close(), polls, dropped).await;
            wait::until_true("committed, and gone", wait::PATIENCE, || {
                kafka.committed_offsets(&group, &topic, 1) == [1]
                    && kafka.group(&group).is_some_and(|books| books.members.is_empty())
            });
        }
    });
}

#[test]
fn a_connect_that_was_dropped_leaves_no_member() {
    let kafka = shared();
    let topic = kafka.topic(1);
    runtime().block_on(async {
        for (polls, dropped) in ways_to_drop(POLLS) {
            let group = unique("group");
            poll_and_drop(tidegate::connect(&kafka.url(&topic), in_group(&group)), polls, dropped).await;
            // Nobody holds the partition, however far it came.
            let consumer = open(&kafka.url(&topic), in_group(&group)).await;
            wait::until_true("the only member", wait::PATIENCE, || {
                let books = kafka.group(&group);
                books.is_some_and(|books| books.state == "Stable" && books.members.len() == 1)
            });
            consumer.close().await.unwrap();
        }
    });
}
