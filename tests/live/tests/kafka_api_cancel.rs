//! Every future of the handle may be dropped at any await on Kafka: nothing is lost by it, and the
//! consumer goes on.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;
mod kafka_api_tools;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use api_tools::*;
use futures_core::Stream;
use kafka_api_tools::*;
use tidegate::{ConsumerError, Error, Handle, Message, Position, ShardId, StreamKey, Taken};
use tidegate_live::kafka::{Admin, shared, unique};
use tidegate_live::wait;

/// More polls than any future has awaits.
const POLLS: usize = 6;
const COUNT: u64 = 3_000;

/// What was received and acked, by whichever way it came.
#[derive(Default)]
struct Application {
    tally: Tally,
    /// The first one that it leaves un-acked, from each shard.
    left: u64,
}

impl Application {
    fn has(&mut self, consumer: &Handle, message: &Message) {
        self.tally.add(message);
        if offset(message) != self.left {
            consumer.ack(message);
        }
    }
}

/// Drops futures of one kind after every number of polls while messages flow.
fn while_messages_flow<F>(mut act: F)
where
    F: AsyncFnMut(&mut Handle, &mut Application, usize, Dropped),
{
    let kafka = shared();
    for runtime in [runtime(), single()] {
        let (topic, group) = (kafka.topic(2), unique("group"));
        kafka.numbers(&topic, 2).send(0..10);
        runtime.block_on(async {
            let mut consumer = open(&kafka.url(&topic), member_of(&group).batch(7)).await;
            let producer = {
                let topic = topic.clone();
                thread::spawn(move || kafka.numbers(&topic, 2).rate(1_000).send(10..COUNT))
            };
            let mut application = Application { left: 1_234, ..Application::default() };
            let mut acts = 0;
            while !producer.is_finished() {
                for (polls, dropped) in ways_to_drop(POLLS) {
                    act(&mut consumer, &mut application, polls, dropped).await;
                    acts += 1;
                    // The application lives from other calls, too.
                    if let Ok(Ok(Some(message))) = tokio::time::timeout(millis(1), consumer.next()).await {
                        application.has(&consumer, &message);
                    }
                }
            }
            producer.join().unwrap();
            println!("{acts} futures dropped, {} of {COUNT} had come", application.tally.0.len());
            ends(kafka, application, &consumer, &topic, &group).await;
        });
    }
}

/// Nothing lost, nothing twice, and the books are right after a clean close.
async fn ends(kafka: &Admin, mut application: Application, consumer: &Handle, topic: &str, group: &str) {
    while (application.tally.0.len() as u64) < COUNT {
        let message = next(consumer).await;
        application.has(consumer, &message);
    }
    nothing_comes(consumer, millis(50)).await;
    let half = COUNT as i64 / 2;
    application.tally.each_once(topic, &[half, half]);
    let closed = within("a close", Duration::from_secs(5), consumer.close()).await;
    let left = (application.left as i64).min(half);
    assert_eq!(kafka.committed_offsets(group, topic, 2), [left, left], "up to the first un-acked");
    // What was acked behind it comes again, and the close says so.
    let expected = match 2 * (half - left - 1).max(0) as u64 {
        0 => Ok(()),
        messages => Err(ConsumerError::Failed(Error::Uncommitted { messages })),
    };
    assert_eq!(closed, expected);
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
fn next_batch_may_be_dropped() {
    while_messages_flow(async |consumer, application, polls, dropped| {
        if let Some(messages) = poll_and_drop(consumer.next_batch(), polls, dropped).await {
            let messages = messages.unwrap().unwrap();
            (0..messages.len()).for_each(|at| application.has(consumer, &messages.message(at).unwrap()));
        }
    });
}

#[test]
fn take_may_be_dropped() {
    while_messages_flow(async |consumer, application, polls, dropped| {
        match poll_and_drop(consumer.take(), polls, dropped).await {
            Some(Ok(Some(Taken::Messages(messages)))) => {
                (0..messages.len()).for_each(|at| application.has(consumer, &messages.message(at).unwrap()));
            }
            Some(Ok(Some(_))) | None => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn the_stream_may_be_dropped() {
    while_messages_flow(async |consumer, application, polls, dropped| {
        let taken = {
            let mut stream = consumer.stream();
            let item = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx));
            poll_and_drop(item, polls, dropped).await
        };
        if let Some(message) = taken {
            application.has(consumer, &message.unwrap().unwrap());
        }
    });
}

#[test]
fn commit_pause_resume_assign_and_what_only_looks_may_be_dropped() {
    let stream = StreamKey::from("not subscribed");
    while_messages_flow(async |consumer, application, polls, dropped| {
        poll_and_drop(consumer.commit(), polls, dropped).await;
        poll_and_drop(consumer.pause(), polls, dropped).await;
        poll_and_drop(consumer.resume(), polls, dropped).await;
        poll_and_drop(consumer.assign(&stream, ShardId::ZERO), polls, dropped).await;
        poll_and_drop(consumer.unassign(&stream, ShardId::ZERO), polls, dropped).await;
        poll_and_drop(consumer.stats(), polls, dropped).await;
        poll_and_drop(consumer.ready(), polls, dropped).await;
        let mut notices = consumer.notices();
        poll_and_drop(notices.recv(), polls, dropped).await;
        if application.tally.0.len() as u64 + 1 < COUNT {
            let message = next(consumer).await;
            application.has(consumer, &message);
        }
    });
}

#[test]
fn a_commit_that_was_dropped_after_its_first_poll_is_carried_out() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(1), unique("group"));
    kafka.add(&topic, numbers(0..40));
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), member_of(&group)).await;
        for ((polls, dropped), expected) in ways_to_drop(POLLS).zip(1..) {
            consumer.ack(&next(&consumer).await);
            poll_and_drop(consumer.commit(), polls, dropped).await;
            wait::until_true("it is committed", Duration::from_secs(5), || {
                kafka.committed_offsets(&group, &topic, 1) == [expected]
            });
        }
        consumer.close().await.unwrap();
    });
}

/// Some of the last records may still come; then those from `target` on, without a gap.
async fn arrives_at(consumer: &Handle, target: u64, what: &str) {
    let mut first = offset(&next(consumer).await);
    while first >= 370 {
        first = offset(&next(consumer).await);
    }
    assert_eq!(first, target, "{what}");
    let expected: Vec<_> = (target + 1..target + 16).collect();
    assert_eq!(offsets(&take(consumer, 15).await), expected, "without a gap: {what}");
}

#[test]
fn a_rewind_or_seek_that_was_dropped_is_carried_out() {
    let kafka = shared();
    let topic = kafka.topic(1);
    add_at(kafka, &topic, 0, &(1_000..1_400).collect::<Vec<_>>());
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), member_of(&unique("group")).batch(10)).await;
        take(&consumer, 25).await;
        for (polls, dropped) in ways_to_drop(POLLS) {
            // From the last ones back to the middle, so that what is old can be told from what is new.
            let what = format!("{polls} polls, {dropped:?}");
            let target = 40 * polls as u64;
            consumer.rewind(at(380)).await.unwrap();
            next(&consumer).await;
            poll_and_drop(consumer.rewind(at(target)), polls, dropped).await;
            arrives_at(&consumer, target, &format!("rewind, {what}")).await;
            consumer.rewind(at(380)).await.unwrap();
            next(&consumer).await;
            poll_and_drop(consumer.seek(after(1_000 + target as i64 - 1)), polls, dropped).await;
            arrives_at(&consumer, target, &format!("seek, {what}")).await;
        }
        // And one that is awaited is exact, whatever was dropped just before it.
        for (polls, dropped) in ways_to_drop(POLLS) {
            poll_and_drop(consumer.rewind(Position::Beginning), polls, dropped).await;
            poll_and_drop(consumer.seek(after(1_150)), polls, dropped).await;
            consumer.rewind(at(200)).await.unwrap();
            assert_eq!(offsets(&take(&consumer, 3).await), [200, 201, 202]);
        }
        consumer.close().await.unwrap();
    });
}

#[test]
fn a_first_seek_that_was_dropped_leaves_the_group_all_the_same() {
    let kafka = shared();
    let topic = kafka.topic(1);
    kafka.add(&topic, numbers(0..20));
    runtime().block_on(async {
        for (polls, dropped) in ways_to_drop(3) {
            let group = unique("group");
            let consumer = open(&kafka.url(&topic), member_of(&group)).await;
            take(&consumer, 5).await.iter().for_each(|message| consumer.ack(message));
            poll_and_drop(consumer.seek(after(i64::MAX)), polls, dropped).await;
            wait::until_true("it commits and leaves", Duration::from_secs(5), || {
                kafka.committed_offsets(&group, &topic, 1) == [5]
                    && kafka.group(&group).is_none_or(|group| group.members.is_empty())
            });
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn a_close_that_was_dropped_is_carried_out() {
    let kafka = shared();
    runtime().block_on(async {
        let (topic, group) = (kafka.topic(1), unique("group"));
        kafka.add(&topic, numbers(0..300));
        let mut acked = 0;
        for (polls, dropped) in ways_to_drop(POLLS) {
            let consumer = open(&kafka.url(&topic), member_of(&group).batch(10)).await;
            let messages = take(&consumer, 20).await;
            assert_eq!(offset(&messages[0]), acked, "{polls} polls, {dropped:?}");
            messages.iter().for_each(|message| consumer.ack(message));
            acked += 20;
            poll_and_drop(consumer.close(), polls, dropped).await;
            let ended = async { while consumer.next().await.unwrap().is_some() {} };
            within("the end", Duration::from_secs(3), ended).await;
            within("asked again, the same answer", Duration::from_secs(3), consumer.close()).await.unwrap();
            assert_eq!(kafka.committed_offsets(&group, &topic, 1), [acked as i64]);
        }
    });
}

#[test]
fn connect_may_be_dropped_and_leaves_no_member() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(1), unique("group"));
    kafka.add(&topic, numbers(0..600));
    runtime().block_on(async {
        let url = kafka.url(&topic);
        let (mut connected, mut acked) = (0, 0);
        for (polls, dropped) in ways_to_drop(24) {
            let connecting = tidegate::connect(&url, member_of(&group));
            let Some(consumer) = poll_and_drop(Box::pin(connecting), polls, dropped).await else { continue };
            connected += 1;
            let consumer = consumer.unwrap();
            for message in take(&consumer, 5).await {
                assert_eq!(offset(&message), acked, "{polls} polls, {dropped:?}");
                consumer.ack(&message);
                acked += 1;
            }
            consumer.close().await.unwrap();
        }
        println!("{connected} of 48 were connected before they were dropped");
        wait::until_true("no member is left", Duration::from_secs(10), || {
            kafka.group(&group).is_none_or(|group| group.members.is_empty())
        });
        let consumer = open(&url, member_of(&group)).await;
        let expected: Vec<_> = (acked..600).collect();
        assert_eq!(offsets(&take(&consumer, expected.len()).await), expected, "nothing is lost");
        consumer.close().await.unwrap();
    });
}

/// Time-outs that fire all the time, on many tasks.
#[test]
fn a_storm_of_cancellations_loses_nothing() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(2), unique("group"));
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), member_of(&group).batch(16)).await;
        let stop = Arc::new(AtomicBool::new(false));
        let tasks: Vec<_> = (0..4_u64)
            .map(|task| {
                let (consumer, stop) = (consumer.clone(), Arc::clone(&stop));
                tokio::spawn(async move {
                    let (mut received, mut cancelled, mut round) = (Vec::new(), 0, task);
                    while !stop.load(Ordering::Relaxed) {
                        round += 1;
                        let mut next = pin!(consumer.next());
                        let patience = Duration::from_micros(round * 37 % 400);
                        let polls = (round % 3) as usize + 1;
                        match round % 2 {
                            0 => match poll_and_drop(next, polls, Dropped::AtOnce).await {
                                Some(message) => received.push(message.unwrap().unwrap()),
                                None => cancelled += 1,
                            },
                            _ => match tokio::time::timeout(patience, &mut next).await {
                                Ok(message) => received.push(message.unwrap().unwrap()),
                                Err(_) => cancelled += 1,
                            },
                        }
                    }
                    (received, cancelled)
                })
            })
            .collect();
        let sending = topic.clone();
        blocking(move || kafka.numbers(&sending, 2).rate(1_500).send(0..COUNT)).await;
        tokio::time::sleep(millis(300)).await;
        stop.store(true, Ordering::Relaxed);
        let mut application = Application { left: COUNT, ..Application::default() };
        let mut storms = 0;
        for task in tasks {
            let (received, cancelled) = within("a task", wait::PATIENCE, task).await.unwrap();
            received.iter().for_each(|message| application.has(&consumer, message));
            storms += cancelled;
        }
        println!("{storms} cancellations, {} received meanwhile", application.tally.0.len());
        assert!(storms > 300, "only {storms} cancellations");
        ends(kafka, application, &consumer, &topic, &group).await;
    });
}
