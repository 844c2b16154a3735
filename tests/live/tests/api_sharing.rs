//! One handle for many tasks, threads and runtimes; several consumers of a group; pause and resume.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};
use std::thread;
use std::time::{Duration, Instant};

use api_tools::*;
use tidegate::{AutoCommit, ConsumerMode, ConsumerOptions, Handle, Message};
use tidegate_live::{RedisServer, wait};
use tokio::sync::Barrier;

/// An executor that knows nothing of tokio.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    let started = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        // Not woken for so long is a lost wake-up, if there is anything to wake for.
        thread::park_timeout(Duration::from_secs(60));
        assert!(started.elapsed() < Duration::from_secs(60), "never woken");
    }
}

/// Takes and acks until `count` came in all, or the consumer ended.
async fn work(consumer: &Handle, total: &AtomicUsize, count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    while total.load(Ordering::Relaxed) < count {
        match consumer.next().await.unwrap() {
            Some(message) => {
                consumer.ack(&message);
                messages.push(message);
            }
            None => break,
        }
        if total.fetch_add(1, Ordering::Relaxed) + 1 == count {
            // The others wait for a message that won't come.
            consumer.close().await.unwrap();
        }
        if messages.len() % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
    messages
}

#[test]
fn tasks_of_one_runtime_share_a_handle() {
    const COUNT: usize = 20_000;
    let server = RedisServer::start();
    let mut redis = server.client();
    for (runtime, options) in
        [(runtime(), member("one")), (single(), member("two")), (runtime(), from_the_beginning().batch(100))]
    {
        redis.tell(&["DEL", "orders"]);
        let sent = redis.add("orders", numbers(0..COUNT));
        runtime.block_on(async {
            let consumer = open(&server.url("orders"), options.clone()).await;
            let total = Arc::new(AtomicUsize::new(0));
            let tasks: Vec<_> = (0..2)
                .map(|_| {
                    let (consumer, total) = (consumer.clone(), Arc::clone(&total));
                    tokio::spawn(async move { work(&consumer, &total, COUNT).await })
                })
                .collect();
            let mut received = Received::default();
            for task in tasks {
                let messages = within("a worker", wait::PATIENCE, task).await.unwrap();
                assert!(messages.windows(2).all(|two| two[0].seq() < two[1].seq()), "each in order");
                messages.iter().for_each(|message| received.add(message));
            }
            received.each_once(&sent);
        });
        if options.mode == ConsumerMode::LoadBalanced {
            assert_eq!(redis.pending("orders", "crew"), 0);
        }
    }
}

#[test]
fn all_who_wait_are_woken_when_there_is_something_for_each() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.tell(&["XGROUP", "CREATE", "orders", "crew", "0", "MKSTREAM"]);
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), member("one")).await;
        for round in 0..100 {
            let barrier = Arc::new(Barrier::new(4));
            let tasks: Vec<_> = (0..4)
                .map(|_| {
                    let (consumer, barrier) = (consumer.clone(), Arc::clone(&barrier));
                    tokio::spawn(async move {
                        let message = consumer.next().await.unwrap().unwrap();
                        // Keeps its message until each of the others has one, too.
                        barrier.wait().await;
                        message
                    })
                })
                .collect();
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            let sent = if round % 3 == 0 {
                redis.atomically(&[
                    &["XADD", "orders", "*", "msg", "a"],
                    &["XADD", "orders", "*", "msg", "b"],
                ]);
                redis.add("orders", ["c", "d"]);
                4
            } else {
                redis.add("orders", numbers(0..4)).len()
            };
            assert_eq!(sent, 4);
            for task in tasks {
                within(&format!("round {round}: each has one"), Duration::from_secs(5), task).await.unwrap();
            }
        }
    });
}

#[test]
fn threads_with_runtimes_of_their_own_share_a_handle() {
    const COUNT: usize = 20_000;
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", numbers(0..COUNT));
    let total = Arc::new(AtomicUsize::new(0));
    let home = single();
    let consumer = home.block_on(open(&server.url("orders"), member("one")));
    let foreign: Vec<_> = [true, false]
        .map(|tokio| {
            let (consumer, total) = (consumer.clone(), Arc::clone(&total));
            thread::spawn(move || {
                let work = work(&consumer, &total, COUNT);
                // A runtime of its own, or none at all.
                if tokio { single().block_on(work) } else { block_on(work) }
            })
        })
        .into();
    // The runtime that drives the consumer is this thread's.
    let mut messages = home.block_on(work(&consumer, &total, COUNT));
    home.block_on(async {
        while foreign.iter().any(|t| !t.is_finished()) {
            tokio::time::sleep(millis(1)).await
        }
    });
    for thread in foreign {
        let some = thread.join().unwrap();
        assert!(!some.is_empty(), "a thread that got none of {COUNT}");
        messages.extend(some);
    }
    let mut received = Received::default();
    messages.iter().for_each(|message| received.add(message));
    received.each_once(&sent);
    assert_eq!(redis.pending("orders", "crew"), 0);
}

#[test]
fn two_consumers_of_a_group_on_two_runtimes() {
    const COUNT: usize = 10_000;
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", numbers(0..COUNT));
    let total = Arc::new(AtomicUsize::new(0));
    let url = server.url("orders");
    let threads = ["one", "two"].map(|name| {
        let (total, url) = (Arc::clone(&total), url.clone());
        thread::spawn(move || {
            single().block_on(async {
                let consumer = open(&url, member(name).batch(50)).await;
                let mut messages = Vec::new();
                while total.load(Ordering::Relaxed) < COUNT {
                    let next = tokio::time::timeout(millis(20), consumer.next()).await;
                    let Ok(message) = next else { continue };
                    let message = message.unwrap().unwrap();
                    consumer.ack(&message);
                    total.fetch_add(1, Ordering::Relaxed);
                    messages.push(message);
                }
                consumer.close().await.unwrap();
                messages
            })
        })
    });
    let mut received = Received::default();
    for thread in threads {
        let messages = thread.join().unwrap();
        assert!(!messages.is_empty(), "first asks, first served: both ask");
        messages.iter().for_each(|message| received.add(message));
    }
    received.each_once(&sent);
    assert_eq!(redis.pending("orders", "crew"), 0);
}

#[test]
fn a_shut_down_runtime_is_an_error_for_those_who_are_left() {
    let server = RedisServer::start();
    server.client().add("orders", ["one", "two"]);
    let home = runtime();
    let consumer = home.block_on(open(&server.url("orders"), member("one")));
    home.block_on(take(&consumer, 2));
    let waiting = thread::spawn({
        let consumer = consumer.clone();
        move || block_on(consumer.next())
    });
    drop(home);
    let stopped = tidegate::ConsumerError::Stopped;
    assert_eq!(waiting.join().unwrap().map(|m| m.is_some()), Err(stopped.clone()), "who waits");
    assert_eq!(block_on(consumer.next()).map(|m| m.is_some()), Err(stopped.clone()), "who asks");
    assert_eq!(block_on(consumer.commit()), Err(stopped.clone()));
    assert_eq!(block_on(consumer.close()), Err(stopped));
    assert_eq!(block_on(consumer.stats()).delivered, 2);
}

#[test]
fn while_paused_nothing_is_handed_out_and_the_rest_goes_on() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", numbers(0..100));
    runtime().block_on(async {
        let rolling = AutoCommit::Rolling { interval: millis(100) };
        let options = member("one").auto_commit(rolling).batch(10);
        let consumer = open(&server.url("orders"), options).await;
        let messages = take(&consumer, 25).await;
        until("more waits", wait::PATIENCE, || async { consumer.stats().await.queued > 10 }).await;
        let waiting = tokio::spawn({
            let consumer = consumer.clone();
            async move {
                tokio::time::sleep(millis(50)).await;
                consumer.next().await
            }
        });
        consumer.pause().await.unwrap();
        nothing_comes(&consumer, millis(200)).await;
        let batch = tokio::time::timeout(millis(50), consumer.next_batch()).await;
        assert!(batch.is_err(), "a batch while paused: {batch:?}");
        assert!(!waiting.is_finished(), "who asked in another task waits, too");
        // Acks and commits go on, by the clock and by hand.
        messages[..10].iter().for_each(|message| consumer.ack(message));
        wait::until_true("acks are committed", Duration::from_secs(2), || {
            let pending = redis.pending_list("orders", "crew");
            sent[..10].iter().all(|id| pending.iter().all(|entry| entry.id != *id))
        });
        messages[10..15].iter().for_each(|message| consumer.ack(message));
        consumer.commit().await.unwrap();
        let pending = redis.pending_list("orders", "crew");
        assert!(sent[10..15].iter().all(|id| pending.iter().all(|entry| entry.id != *id)), "{pending:?}");
        assert!(!waiting.is_finished());

        consumer.resume().await.unwrap();
        let first = within("who waited", wait::PATIENCE, waiting).await.unwrap().unwrap().unwrap();
        assert_eq!(id(&first), sent[25], "it goes on where it was");
        assert_eq!(ids(&take(&consumer, 74).await), sent[26..]);
    });
}

#[test]
fn a_paused_member_takes_nothing_from_others() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["first"]);
    runtime().block_on(async {
        let paused = open(&server.url("orders"), member("paused").batch(10)).await;
        paused.ack(&next(&paused).await);
        assert_eq!(paused.commit().await, Ok(1));
        wait::until_true("its read blocks", wait::PATIENCE, || redis.someone_waits());
        paused.pause().await.unwrap();
        wait::until_true("its read is broken off", Duration::from_secs(1), || !redis.someone_waits());
        let sent = redis.add("orders", numbers(0..100));
        wait::always("it takes nothing", millis(300), || redis.pending("orders", "crew") == 0);
        let other = open(&server.url("orders"), member("other").batch(10)).await;
        let mut received = Received::default();
        take(&other, 60).await.iter().for_each(|message| received.add(message));
        assert_eq!(redis.pending_by_consumer("orders", "crew").get("paused"), None);
        // The other one goes; what it left un-taken is not lost, and the rest is for who resumes.
        paused.resume().await.unwrap();
        let more = redis.add("orders", numbers(100..200));
        let rest = |received: &Received| 200 - received.0.len();
        while rest(&received) > 0 {
            for consumer in [&paused, &other] {
                if let Ok(message) = tokio::time::timeout(millis(50), consumer.next()).await {
                    received.add(&message.unwrap().unwrap());
                }
            }
        }
        let all: Vec<_> = sent.into_iter().chain(more).collect();
        received.each_once(&all);
        let by_consumer = redis.pending_by_consumer("orders", "crew");
        assert!(by_consumer.contains_key("paused"), "it takes its part again: {by_consumer:?}");
    });
}

#[test]
fn what_a_paused_member_holds_is_kept_alive_and_it_claims_nothing() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..10));
    runtime().block_on(async {
        let options = |name| member(name).claim(claims(50, 300));
        let paused = open(&server.url("orders"), options("paused")).await;
        let held = take(&paused, 10).await;
        paused.pause().await.unwrap();
        let other = open(&server.url("orders"), options("other")).await;
        // Another's hands are off for five times the idle time.
        nothing_comes(&other, millis(1_500)).await;
        let by_consumer = redis.pending_by_consumer("orders", "crew");
        assert_eq!(by_consumer.get("paused"), Some(&10), "{by_consumer:?}");
        other.close().await.unwrap();

        redis.add("orders", numbers(10..15));
        assert_eq!(redis.take("orders", "crew", "dead", 100).len(), 5);
        wait::always("a paused member claims nothing", millis(1_000), || {
            redis.pending_by_consumer("orders", "crew").get("dead") == Some(&5)
        });
        paused.resume().await.unwrap();
        let claimed = take(&paused, 5).await;
        assert!(claimed.iter().all(|message| message.deliveries() == 2), "from the dead");
        held.iter().chain(&claimed).for_each(|message| paused.ack(message));
        paused.close().await.unwrap();
        assert_eq!(redis.pending("orders", "crew"), 0);
    });
}

#[test]
fn a_real_time_consumer_may_pause_and_loses_nothing() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["old"]);
    runtime().block_on(async {
        let consumer = open(&server.url("orders"), ConsumerOptions::new(ConsumerMode::RealTime)).await;
        consumer.pause().await.unwrap();
        let sent = redis.add("orders", numbers(0..3_000));
        nothing_comes(&consumer, millis(200)).await;
        // A connection that is lost meanwhile makes no difference.
        for client in redis.clients() {
            redis.kill(client.id);
        }
        nothing_comes(&consumer, millis(200)).await;
        consumer.resume().await.unwrap();
        assert_eq!(ids(&take(&consumer, 3_000).await), sent);
        // A close while paused ends those who wait.
        consumer.pause().await.unwrap();
        let (ended, closed) =
            tokio::join!(within("the end", wait::PATIENCE, consumer.next()), consumer.close());
        assert_eq!((ended.map(|m| m.is_some()), closed), (Ok(false), Ok(())));
    });
}
