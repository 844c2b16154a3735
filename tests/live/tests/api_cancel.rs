//! Every future of the handle may be dropped at any await: nothing is lost by it, and the consumer goes
//! on.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use api_tools::*;
use futures_core::Stream;
use tidegate::{ConsumerError, Handle, Message, Notice, Position, ShardId, Taken, Timestamp};
use tidegate_live::{Client, RedisServer, wait};

/// More polls than any future has awaits.
const POLLS: usize = 6;
const ROUNDS: usize = 8;

/// Somebody who adds entries, a few every two milliseconds, until told to stop.
struct Producer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Producer {
    fn of(server: &RedisServer, stream: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut redis = server.client();
        let stopping = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut sent = Vec::new();
            while !stopping.load(Ordering::Relaxed) {
                let from = sent.len();
                sent.extend(redis.add(stream, numbers(from..from + 3)));
                thread::sleep(millis(2));
            }
            sent
        });
        Self { stop, thread }
    }

    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// What was received and acked, by whichever way it came.
#[derive(Default)]
struct Application {
    received: Received,
    acked: BTreeSet<String>,
}

impl Application {
    fn has(&mut self, consumer: &Handle, message: &Message) {
        self.received.add(message);
        // Every third is left.
        if !self.received.0.len().is_multiple_of(3) {
            consumer.ack(message);
            self.acked.insert(id(message));
        }
    }

    async fn takes_the_rest(&mut self, consumer: &Handle, sent: &[String]) {
        while self.received.0.len() < sent.len() {
            let message = next(consumer).await;
            self.has(consumer, &message);
        }
    }

    /// Nothing lost, nothing twice, and the books are right after a clean close.
    async fn ends(mut self, consumer: &Handle, redis: &mut Client, sent: &[String]) {
        self.takes_the_rest(consumer, sent).await;
        nothing_comes(consumer, millis(50)).await;
        self.received.each_once(sent);
        within("a close", Duration::from_secs(5), consumer.close()).await.unwrap();
        let left: BTreeSet<_> = redis.pending_list("orders", "crew").into_iter().map(|e| e.id).collect();
        let expected: BTreeSet<_> = sent.iter().filter(|id| !self.acked.contains(*id)).cloned().collect();
        assert!(left == expected, "{} pending instead of {}", left.len(), expected.len());
    }
}

/// Drops futures of one kind after every number of polls while messages flow.
fn while_messages_flow<F>(mut act: F)
where
    F: AsyncFnMut(&mut Handle, &mut Application, usize, Dropped),
{
    let server = RedisServer::start();
    let mut redis = server.client();
    for runtime in [runtime(), single()] {
        let mut sent = redis.add("orders", ["the first"]);
        runtime.block_on(async {
            redis.tell(&["XGROUP", "CREATE", "orders", "crew", "0"]);
            let mut consumer = open(&server.url("orders"), member("one").batch(7)).await;
            let producer = Producer::of(&server, "orders");
            let mut application = Application::default();
            for _ in 0..ROUNDS {
                for (polls, dropped) in ways_to_drop(POLLS) {
                    act(&mut consumer, &mut application, polls, dropped).await;
                    // The application lives from other calls, too.
                    if let Ok(Ok(Some(message))) = tokio::time::timeout(millis(1), consumer.next()).await {
                        application.has(&consumer, &message);
                    }
                }
            }
            sent.extend(producer.stop());
            application.ends(&consumer, &mut redis, &sent).await;
        });
        redis.tell(&["DEL", "orders"]);
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
        let taken = poll_and_drop(consumer.take(), polls, dropped).await;
        if let Some(Taken::Messages(messages)) = taken.map(|taken| taken.unwrap().unwrap()) {
            (0..messages.len()).for_each(|at| application.has(consumer, &messages.message(at).unwrap()));
        }
    });
}

#[test]
fn the_stream_may_be_dropped_and_made_again() {
    while_messages_flow(async |consumer, application, polls, dropped| {
        let message = {
            let mut stream = consumer.stream();
            poll_and_drop(poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)), polls, dropped).await
        };
        if let Some(message) = message {
            application.has(consumer, &message.unwrap().unwrap());
        }
    });
}

#[test]
fn the_stream_s_next_may_be_dropped_while_the_stream_lives_on() {
    while_messages_flow(async |consumer, application, polls, dropped| {
        let mut messages = Vec::new();
        {
            let mut stream = consumer.stream();
            for _ in 0..5 {
                let next = poll_fn(|cx| Pin::new(&mut stream).poll_next(cx));
                messages.extend(poll_and_drop(next, polls, dropped).await);
            }
        }
        messages.into_iter().for_each(|message| application.has(consumer, &message.unwrap().unwrap()));
    });
}

#[test]
fn commit_may_be_dropped() {
    while_messages_flow(async |consumer, application, polls, dropped| {
        let message = next(consumer).await;
        application.has(consumer, &message);
        if let Some(done) = poll_and_drop(consumer.commit(), polls, dropped).await {
            done.unwrap();
        }
    });
}

#[test]
fn pause_and_resume_may_be_dropped() {
    while_messages_flow(async |consumer, application, polls, dropped| {
        poll_and_drop(consumer.pause(), polls, dropped).await;
        poll_and_drop(consumer.resume(), polls, dropped).await;
        let message = next(consumer).await;
        application.has(consumer, &message);
    });
}

#[test]
fn assign_and_unassign_may_be_dropped() {
    while_messages_flow(async |consumer, application, polls, dropped| {
        let orders = "orders".into();
        poll_and_drop(consumer.assign(&orders, ShardId::ZERO), polls, dropped).await;
        poll_and_drop(consumer.unassign(&orders, ShardId::ZERO), polls, dropped).await;
        let message = next(consumer).await;
        application.has(consumer, &message);
    });
}

#[test]
fn what_only_looks_may_be_dropped() {
    while_messages_flow(async |consumer, application, polls, dropped| {
        poll_and_drop(consumer.stats(), polls, dropped).await;
        poll_and_drop(consumer.ready(), polls, dropped).await;
        let mut notices = consumer.notices();
        poll_and_drop(notices.recv(), polls, dropped).await;
        let message = next(consumer).await;
        application.has(consumer, &message);
    });
}

#[test]
fn several_that_wait_for_a_message_may_be_dropped_in_any_order() {
    while_messages_flow(async |consumer, application, polls, dropped| {
        // Three wait side by side; who is told of a message and gone must not have taken it along.
        let mut waiting: Vec<Pin<Box<dyn Future<Output = _> + '_>>> =
            (0..3).map(|_| Box::pin(consumer.next()) as Pin<Box<dyn Future<Output = _>>>).collect();
        let mut messages: Vec<Result<Option<Message>, ConsumerError>> = Vec::new();
        poll_fn(|cx| {
            waiting.retain_mut(|next| match next.as_mut().poll(cx) {
                Poll::Ready(message) => {
                    messages.push(message);
                    false
                }
                Poll::Pending => true,
            });
            Poll::Ready(())
        })
        .await;
        while !waiting.is_empty() {
            tokio::time::sleep(millis(1)).await;
            let gone = waiting.remove(polls % waiting.len());
            messages.extend(poll_and_drop(gone, polls - 1, dropped).await);
        }
        drop(waiting);
        messages.into_iter().for_each(|message| application.has(consumer, &message.unwrap().unwrap()));
        // Nothing else wakes the consumer than what is there: no wake-up is lost.
        let message = next(consumer).await;
        application.has(consumer, &message);
    });
}

#[test]
fn a_commit_that_was_dropped_after_its_first_poll_is_carried_out() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..40));
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one")).await;
        let mut left = 40;
        for (polls, dropped) in ways_to_drop(POLLS) {
            consumer.ack(&next(&consumer).await);
            left -= 1;
            poll_and_drop(consumer.commit(), polls, dropped).await;
            wait::until_true("it is committed", Duration::from_secs(2), || {
                redis.pending("orders", "crew") == left
            });
        }
    });
}

/// Some of the last entries may still come; then those from `target` on, without a gap.
async fn arrives_at(consumer: &Handle, target: u64, what: &str) {
    let started = Instant::now();
    let mut first = next(consumer).await.seq().high();
    while first > 370 {
        assert!(started.elapsed() < Duration::from_secs(5), "not carried out: {what}");
        first = next(consumer).await.seq().high();
    }
    assert_eq!(first, target, "{what}");
    let expected: Vec<_> = (target + 1..target + 16).map(|n| format!("{n}-0")).collect();
    assert_eq!(ids(&take(consumer, 15).await), expected, "without a gap: {what}");
}

#[test]
fn a_rewind_or_seek_that_was_dropped_is_carried_out_and_the_consumer_goes_on() {
    let server = RedisServer::start();
    let mut redis = server.client();
    for n in 100..400 {
        redis.run::<String>(&["XADD", "orders", &format!("{n}-0"), "msg", "x"]);
    }
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one").batch(10)).await;
        take(&consumer, 25).await;
        for (polls, dropped) in ways_to_drop(POLLS) {
            // From the last entries back to the middle, so that what is old can be told from what is new.
            let what = format!("{polls} polls, {dropped:?}");
            consumer.rewind(Position::At(seq("380-0"))).await.unwrap();
            next(&consumer).await;
            let target = 100 + 40 * polls as u64;
            let rewind = consumer.rewind(Position::At(tidegate::SeqNo::redis(target, 0)));
            poll_and_drop(rewind, polls, dropped).await;
            arrives_at(&consumer, target, &format!("rewind, {what}")).await;

            consumer.rewind(Position::At(seq("380-0"))).await.unwrap();
            next(&consumer).await;
            let seek = consumer.seek(Timestamp::from_millis(target as i64 - 7));
            poll_and_drop(seek, polls, dropped).await;
            arrives_at(&consumer, target - 6, &format!("seek, {what}")).await;
        }
        // And one that is awaited is exact, whatever was dropped just before it.
        for (polls, dropped) in ways_to_drop(POLLS) {
            poll_and_drop(consumer.rewind(Position::Beginning), polls, dropped).await;
            poll_and_drop(consumer.seek(Timestamp::from_millis(150)), polls, dropped).await;
            consumer.rewind(Position::At(seq("200-0"))).await.unwrap();
            assert_eq!(ids(&take(&consumer, 3).await), ["200-0", "201-0", "202-0"]);
        }
    });
}

#[test]
fn a_close_that_was_dropped_is_carried_out() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..600));
    runtime().block_on(async {
        let mut acked = 0;
        for (polls, dropped) in ways_to_drop(POLLS) {
            let consumer = open(&server.url("orders"), member("one").batch(10)).await;
            let messages = take(&consumer, 20).await;
            messages.iter().for_each(|message| consumer.ack(message));
            acked += 20;
            poll_and_drop(consumer.close(), polls, dropped).await;
            // It ends for everybody; whatever comes until then is in order.
            let ended = async { while consumer.next().await.unwrap().is_some() {} };
            within("the end", Duration::from_secs(3), ended).await;
            within("asked again, the same answer", Duration::from_secs(3), consumer.close()).await.unwrap();
            let left = redis.pending("orders", "crew");
            let read: u64 = redis.run::<Vec<std::collections::BTreeMap<String, redis_value::Text>>>(&[
                "XINFO", "GROUPS", "orders",
            ])[0]["entries-read"]
                .0
                .parse()
                .unwrap();
            assert_eq!(left, read - acked, "what was acked is committed: {polls} polls, {dropped:?}");
            wait::until_true("its connections are gone", Duration::from_secs(3), || {
                redis.clients().is_empty()
            });
        }
    });
}

#[test]
fn connect_may_be_dropped() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", numbers(0..600));
    runtime().block_on(async {
        let url = server.url("orders");
        let mut connected = 0;
        let mut acked = 0;
        for (polls, dropped) in ways_to_drop(30) {
            let connecting = tidegate::connect(&url, member("one").batch(10));
            let Some(consumer) = poll_and_drop(Box::pin(connecting), polls, dropped).await else { continue };
            connected += 1;
            let consumer = consumer.unwrap();
            for message in take(&consumer, 5).await {
                consumer.ack(&message);
                acked += 1;
            }
            consumer.close().await.unwrap();
        }
        assert!(connected > 0, "30 polls were not enough for a single one");
        wait::until_true("nobody is connected", Duration::from_secs(5), || redis.clients().is_empty());
        // Whatever they were handed out comes again to the member of that name.
        let consumer = open(&server.url("orders"), member("one")).await;
        let mut received = Received::default();
        take(&consumer, 600 - acked).await.iter().for_each(|message| received.add(message));
        let left: Vec<_> = sent.iter().filter(|id| received.0.contains_key(*id)).cloned().collect();
        received.each_once(&left);
        assert_eq!(redis.consumers("orders", "crew"), ["one"]);
    });
}

#[test]
fn a_connect_that_was_dropped_leaves_no_generated_member() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.tell(&["XGROUP", "CREATE", "orders", "crew", "0", "MKSTREAM"]);
    let options = || tidegate::ConsumerOptions::new(tidegate::ConsumerMode::LoadBalanced).group("crew");
    runtime().block_on(async {
        let url = server.url("orders");
        for (polls, dropped) in ways_to_drop(30) {
            let connecting = tidegate::connect(&url, options());
            poll_and_drop(Box::pin(connecting), polls, dropped).await;
        }
        wait::until_true("nobody is connected", Duration::from_secs(5), || redis.clients().is_empty());
        wait::until_true("no member is left", Duration::from_secs(2), || {
            redis.consumers("orders", "crew").is_empty()
        });
    });
}

#[test]
fn notices_may_be_dropped() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["one"]);
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one")).await;
        let mut notices = consumer.notices();
        let mut reference = consumer.notices();
        let mut seen = Vec::new();
        for (polls, dropped) in ways_to_drop(POLLS) {
            for client in redis.clients() {
                redis.kill(client.id);
            }
            seen.extend(poll_and_drop(notices.recv(), polls, dropped).await.flatten());
            wait::until_true("it is back", wait::PATIENCE, || redis.someone_waits());
        }
        consumer.close().await.unwrap();
        while let Some(notice) = notices.recv().await {
            seen.push(notice);
        }
        let mut expected = Vec::new();
        while let Some(notice) = reference.recv().await {
            expected.push(notice);
        }
        // The first subscription also has what was said before it.
        let since = seen.len().saturating_sub(expected.len());
        assert_eq!(seen[since..], expected[..], "no notice is lost, none comes twice");
        assert!(expected.iter().any(|notice| matches!(notice, Notice::Reconnecting { .. })), "{expected:?}");
    });
}

/// Time-outs that fire all the time, on every call.
#[test]
fn a_storm_of_cancellations_loses_nothing() {
    let server = RedisServer::start();
    let mut redis = server.client();
    for runtime in [runtime(), single()] {
        let sent = redis.add("orders", numbers(0..1));
        redis.tell(&["XGROUP", "CREATE", "orders", "crew", "0"]);
        runtime.block_on(async {
            let consumer = open(&server.url("orders"), member("one").batch(16)).await;
            let producer = Producer::of(&server, "orders");
            let stop = Arc::new(AtomicBool::new(false));
            let tasks: Vec<_> = (0..4u64)
                .map(|task| {
                    let (consumer, stop) = (consumer.clone(), Arc::clone(&stop));
                    tokio::spawn(async move {
                        let mut received = Vec::new();
                        let mut cancelled = 0;
                        let mut round = task;
                        while !stop.load(Ordering::Relaxed) {
                            round += 1;
                            let patience = Duration::from_micros(round * 37 % 400);
                            let mut next = pin!(consumer.next());
                            let mut tick = pin!(async move {
                                match round % 3 {
                                    0 => tokio::task::yield_now().await,
                                    1 => tokio::time::sleep(patience).await,
                                    _ => {}
                                }
                            });
                            let message = poll_fn(|cx| {
                                if round % 2 == 0 && tick.as_mut().poll(cx).is_ready() {
                                    return Poll::Ready(None);
                                }
                                match next.as_mut().poll(cx) {
                                    Poll::Ready(message) => Poll::Ready(Some(message)),
                                    Poll::Pending if round % 2 == 1 => tick.as_mut().poll(cx).map(|()| None),
                                    Poll::Pending => Poll::Pending,
                                }
                            })
                            .await;
                            match message {
                                Some(message) => received.push(message.unwrap().unwrap()),
                                None => cancelled += 1,
                            }
                            if round % 7 == 0 {
                                tokio::task::yield_now().await;
                            }
                        }
                        (received, cancelled)
                    })
                })
                .collect();
            tokio::time::sleep(Duration::from_secs(2)).await;
            let mut sent = sent;
            sent.extend(producer.stop());
            tokio::time::sleep(millis(300)).await;
            stop.store(true, Ordering::Relaxed);
            let mut application = Application::default();
            let mut storms = 0;
            for task in tasks {
                let (received, cancelled) = within("a task", wait::PATIENCE, task).await.unwrap();
                received.iter().for_each(|message| application.has(&consumer, message));
                storms += cancelled;
            }
            assert!(storms > 1_000, "only {storms} cancellations");
            assert!(application.received.0.len() > 100, "{} received", application.received.0.len());
            application.ends(&consumer, &mut redis, &sent).await;
        });
        redis.tell(&["DEL", "orders"]);
    }
}

mod redis_value {
    //! A reply that may be text or a number.

    use redis::{FromRedisValue, ParsingError, Value};

    pub(crate) struct Text(pub(crate) String);

    impl FromRedisValue for Text {
        fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
            Ok(Self(match value {
                Value::Int(number) => number.to_string(),
                Value::Nil => String::new(),
                other => String::from_redis_value(other)?,
            }))
        }
    }
}
