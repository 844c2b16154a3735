//! Each limit, reached: memory within it, a notice or an error that names it, and the consumer goes on.
//! Those of replies and of patience are in `api_patience.rs`.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use api_tools::*;
use tidegate::{ConsumerError, Error, Limits, Notice, Reason, RequestError};
use tidegate_core::{Command, ConnId, Delivery, Event, Machine, Request, Stats, Ticket};
use tidegate_live::{Monitor, Proxy, RedisServer, wait};

fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits);
    limits
}

#[test]
fn lane_records_hold_against_an_application_that_takes_nothing() {
    const COUNT: usize = 20_000;
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", numbers(0..COUNT));
    runtime().block_on(async {
        for options in [member("one"), from_the_beginning()] {
            let group = options.group.is_some();
            let options = options.batch(50).limits(limits(|l| l.lane_records_max = 200));
            let consumer = open(&server.url("orders"), options).await;
            let most = 200 + 2 * 50;
            until("it is full", wait::PATIENCE, || async { consumer.stats().await.queued >= 200 }).await;
            let started = Instant::now();
            while started.elapsed() < millis(500) {
                let queued = consumer.stats().await.queued;
                assert!(queued <= most, "{queued} messages wait; the limit is 200 and two batches");
                if group {
                    let pending = redis.pending("orders", "crew");
                    assert!(pending <= most, "{pending} pending");
                }
                tokio::time::sleep(millis(10)).await;
            }
            // And against one that is slower than the server, without a gap.
            let mut received = Vec::new();
            while received.len() < COUNT {
                received.extend(ids(&take(&consumer, 100).await));
                let queued = consumer.stats().await.queued;
                assert!(queued <= most, "{queued} messages wait");
            }
            assert!(received == sent, "all of them in order");
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn lane_bytes_hold_against_an_application_that_takes_nothing() {
    const KIB: usize = 1024;
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", (0..1_000).map(|_| "x".repeat(10 * KIB)));
    runtime().block_on(async {
        for options in [member("one"), from_the_beginning()] {
            let options = options.batch(10).limits(limits(|l| l.lane_bytes_max = 256 * KIB));
            let consumer = open(&server.url("orders"), options).await;
            until("it is full", wait::PATIENCE, || async { consumer.stats().await.queued >= 20 }).await;
            let started = Instant::now();
            while started.elapsed() < millis(500) {
                let stats = consumer.stats().await;
                // The limit, two batches, and room for what one read brings.
                let most = 256 + 2 * 100 + 256;
                assert!(stats.queued * 10 <= most, "{} KiB wait: {stats:?}", stats.queued * 10);
                tokio::time::sleep(millis(10)).await;
            }
            assert_eq!(ids(&take(&consumer, 1_000).await), sent);
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn one_message_larger_than_the_lane_comes_all_the_same() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["small".to_owned(), "x".repeat(1 << 20), "small".to_owned(), "y".repeat(1 << 20)]);
    runtime().block_on(async {
        let consumer =
            open(&server.url("orders"), member("one").limits(limits(|l| l.lane_bytes_max = 1_000))).await;
        let lengths: Vec<_> =
            take(&consumer, 4).await.iter().map(|m| m.payload().map_or(0, <[u8]>::len)).collect();
        assert_eq!(lengths, [5, 1 << 20, 5, 1 << 20]);
        consumer.close().await.unwrap();
    });
}

#[test]
fn unacked_messages_reach_their_limit_and_it_is_said() {
    const COUNT: usize = 1_000;
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", numbers(0..COUNT));
    runtime().block_on(async {
        let options = member("one").batch(10).limits(limits(|l| l.unacked_max = 50));
        let consumer = open(&server.url("orders"), options).await;
        let mut notices = consumer.notices();
        let mut received = Received::default();
        let mut rounds = 0;
        while received.0.len() < COUNT {
            // Takes what comes, and acks nothing.
            let mut held = Vec::new();
            while let Ok(message) = tokio::time::timeout(millis(100), consumer.next()).await {
                held.push(message.unwrap().unwrap());
                assert!(held.len() <= 50 + 2 * 10, "{} un-acked", held.len());
            }
            assert!(
                !held.is_empty(),
                "{} came, then nothing: {:?}",
                received.0.len(),
                consumer.stats().await
            );
            held.iter().for_each(|message| received.add(message));
            if received.0.len() < COUNT {
                let unacked = notice(&mut notices, "the limit", |notice| match notice {
                    Notice::Stalled { reason: Reason::Unacked { unacked }, .. } => Some(*unacked),
                    _ => None,
                });
                let unacked = unacked.await;
                assert!((50..=70).contains(&unacked), "{unacked}");
            }
            // An ack alone is no commit; what waits to be committed counts, too.
            held.iter().for_each(|message| consumer.ack(message));
            if rounds == 0 {
                nothing_comes(&consumer, millis(100)).await;
            }
            assert_eq!(consumer.commit().await, Ok(held.len() as u64));
            if rounds < 3 {
                notice(&mut notices, "going on", |n| {
                    matches!(n, Notice::Ready | Notice::Mended { .. }).then_some(())
                })
                .await;
            }
            rounds += 1;
        }
        received.each_once(&sent);
        consumer.close().await.unwrap();
        assert_eq!(redis.pending("orders", "crew"), 0);
    });
}

#[test]
fn too_many_requests_are_refused_and_a_close_never_is() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..10));
    runtime().block_on(async {
        let options = member("one").limits(limits(|l| l.requests_max = 4));
        let consumer = open(&server.url("orders"), options).await;
        let messages = take(&consumer, 10).await;
        server.stop();
        let commits: Vec<_> = messages[..4]
            .iter()
            .map(|message| {
                let (consumer, message) = (consumer.clone(), message.clone());
                tokio::spawn(async move {
                    consumer.ack(&message);
                    consumer.commit().await
                })
            })
            .collect();
        tokio::time::sleep(millis(100)).await;
        assert!(commits.iter().all(|task| !task.is_finished()), "four wait");
        consumer.ack(&messages[4]);
        let refused = ConsumerError::Request(RequestError::TooManyRequests { max: 4 });
        for _ in 0..100 {
            let fifth = within("a refusal is at once", Duration::from_secs(1), consumer.commit()).await;
            assert_eq!(fifth, Err(refused.clone()));
        }
        // It is about requests that wait: with the server back it goes on.
        server.cont();
        for task in commits {
            within("a commit", wait::PATIENCE, task).await.unwrap().unwrap();
        }
        consumer.commit().await.unwrap();
        assert_eq!(redis.pending("orders", "crew"), 5);

        // With as many waiting as may, a close is bounded all the same (G4).
        server.stop();
        let commits: Vec<_> = messages[5..9]
            .iter()
            .map(|message| {
                let (consumer, message) = (consumer.clone(), message.clone());
                tokio::spawn(async move {
                    consumer.ack(&message);
                    consumer.commit().await
                })
            })
            .collect();
        tokio::time::sleep(millis(100)).await;
        let (closed, took) = timed(consumer.close_within(millis(500))).await;
        server.cont();
        assert_eq!(closed, Err(ConsumerError::Failed(Error::Uncommitted { messages: 4 })), "{took:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
        for task in commits {
            let ended = within("a commit ends", wait::PATIENCE, task).await.unwrap();
            assert!(ended.is_err(), "{ended:?}");
        }
    });
}

#[test]
fn notices_that_nobody_takes_are_bounded_and_counted() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["one"]);
    runtime().block_on(async {
        let options = member("one").limits(limits(|l| {
            l.notices_max = 8;
            l.retry_min = millis(1);
            l.retry_max = millis(10);
        }));
        let consumer = open(&server.url("orders"), options).await;
        let mut lazy = consumer.notices();
        let mut diligent = consumer.notices();
        let mut all = Vec::new();
        for _ in 0..15 {
            for client in redis.clients() {
                redis.kill(client.id);
            }
            wait::until_true("it is back", wait::PATIENCE, || redis.someone_waits());
            while let Some(notice) = diligent.try_recv() {
                all.push(notice);
            }
        }
        consumer.close().await.unwrap();
        while let Some(notice) = diligent.recv().await {
            all.push(notice);
        }
        assert_eq!(diligent.lost(), 0, "who takes them loses none");
        assert!(all.len() >= 15, "{all:#?}");
        let lost = lazy.lost();
        let mut kept = Vec::new();
        while let Some(notice) = lazy.recv().await {
            kept.push(notice);
        }
        assert_eq!(kept.len(), 8, "{kept:#?}");
        assert_eq!(kept, all[all.len() - 8..], "the oldest go first");
        // The first subscription also has what was said before it.
        assert!(lost >= all.len() as u64 - 8, "{lost} lost of {}", all.len());
    });
}

#[test]
fn shards_reach_their_limit_and_it_is_said() {
    let server = RedisServer::start();
    let mut redis = server.client();
    for shard in 0..10 {
        redis.add(&format!("orders:{shard}"), ["one"]);
    }
    runtime().block_on(async {
        let options = from_the_beginning().limits(limits(|l| l.shards_max = 3));
        match within("connect", wait::PATIENCE, tidegate::connect(&server.url("orders"), options)).await {
            // More than the limit from the start may be refused, in words.
            Err(error) => assert!(error.to_string().contains("shards_max"), "{error}"),
            Ok(consumer) => {
                let mut notices = consumer.notices();
                assert_eq!(take(&consumer, 3).await.len(), 3);
                nothing_comes(&consumer, millis(100)).await;
                assert_eq!(consumer.stats().await.shards, 3);
                // No silence: who misses the others can see why.
                let words = notice(&mut notices, "the limit", |notice| {
                    let words = notice.to_string();
                    words.contains("shards_max").then_some(words)
                });
                words.await;
                consumer.close().await.unwrap();
            }
        }
    });
}

#[test]
fn a_commit_command_has_no_more_acks_than_its_limit() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..95));
    runtime().block_on(async {
        let options = member("one").limits(limits(|l| l.commit_messages_max = 10));
        let consumer = open(&server.url("orders"), options).await;
        let messages = take(&consumer, 95).await;
        let monitor = Monitor::of(server.port());
        messages.iter().for_each(|message| consumer.ack(message));
        assert_eq!(consumer.commit().await, Ok(95));
        wait::until_true("the monitor has seen them", wait::PATIENCE, || {
            let acks = monitor.commands("XACK");
            acks.iter().map(|words| words.len() - 3).sum::<usize>() == 95
        });
        let sizes: Vec<_> = monitor.commands("XACK").iter().map(|words| words.len() - 3).collect();
        assert!(sizes.iter().all(|size| *size <= 10), "{sizes:?}");
        assert_eq!(sizes.len(), 10, "no smaller than need be: {sizes:?}");
    });
}

#[test]
fn commits_in_flight_reach_their_limit() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..100));
    let proxy = Proxy::to(server.port());
    runtime().block_on(async {
        let options = member("one").limits(limits(|l| {
            l.commit_messages_max = 10;
            l.commits_in_flight_max = 2;
        }));
        let consumer = open(&proxy.url("orders"), options).await;
        take(&consumer, 100).await.iter().for_each(|message| consumer.ack(message));
        proxy.delay(millis(30));
        let (done, took) = timed(consumer.commit()).await;
        assert_eq!(done, Ok(100));
        // Ten commands, two at a time, 60 ms each: with all in flight at once it were one round trip.
        assert!(took >= millis(5 * 60 - 30), "more than two were in flight: {took:?}");
        assert_eq!(redis.pending("orders", "crew"), 0);
    });
}

#[test]
fn a_claim_command_takes_no_more_than_its_limit() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", numbers(0..50));
    redis.tell(&["XGROUP", "CREATE", "orders", "crew", "0"]);
    assert_eq!(redis.take("orders", "crew", "dead", 50).len(), 50);
    let monitor = Monitor::of(server.port());
    runtime().block_on(async {
        let options = member("one").claim(claims(50, 20)).limits(limits(|l| l.claim_messages_max = 7));
        let consumer = open(&server.url("orders"), options).await;
        let mut received = Received::default();
        take(&consumer, 50).await.iter().for_each(|message| received.add(message));
        received.each_once(&sent);
    });
    let claims = monitor.commands("XAUTOCLAIM");
    assert!(claims.len() >= 8, "{claims:?}");
    for words in &claims {
        let count = words.iter().position(|word| word == "COUNT").map(|at| &words[at + 1]);
        assert_eq!(count.map(String::as_str), Some("7"), "{words:?}");
    }
}

/// A machine around the machine, which looks at how much waits to be written.
struct Watched<M> {
    machine: M,
    conns: Vec<ConnId>,
    most: Arc<AtomicUsize>,
}

impl<M: Machine> Watched<M> {
    fn look(&self) {
        for conn in &self.conns {
            self.most.fetch_max(self.machine.outgoing(*conn).len(), Ordering::Relaxed);
        }
    }
}

impl<M: Machine> Machine for Watched<M> {
    fn handle(&mut self, now: tidegate_core::Instant, event: Event) {
        self.machine.handle(now, event);
        self.look();
    }

    fn request(
        &mut self,
        now: tidegate_core::Instant,
        request: Request,
    ) -> Result<Option<Ticket>, RequestError> {
        let ticket = self.machine.request(now, request);
        self.look();
        ticket
    }

    fn poll_command(&mut self) -> Command {
        let command = self.machine.poll_command();
        if let Command::Open { conn, .. } = &command {
            self.conns.push(*conn);
        }
        self.look();
        command
    }

    fn poll_delivery(&mut self) -> Option<Delivery> {
        let delivery = self.machine.poll_delivery();
        self.look();
        delivery
    }

    fn outgoing(&self, conn: ConnId) -> &[u8] {
        self.machine.outgoing(conn)
    }

    fn incoming(&mut self, conn: ConnId) -> &mut bytes::BytesMut {
        self.machine.incoming(conn)
    }

    fn wants_read(&self, conn: ConnId) -> bool {
        self.machine.wants_read(conn)
    }

    fn ack_appetite(&self) -> u64 {
        self.machine.ack_appetite()
    }

    fn stats(&self) -> Stats {
        self.machine.stats()
    }
}

#[test]
fn bytes_to_write_reach_their_limit() {
    const COUNT: usize = 20_000;
    const MOST: usize = 4_096;
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..COUNT));
    let most = Arc::new(AtomicUsize::new(0));
    runtime().block_on(async {
        let options = member("one").limits(limits(|l| {
            l.commit_messages_max = 10;
            l.commits_in_flight_max = 1_000_000;
            l.outgoing_bytes_max = MOST;
        }));
        let url = server.url("orders");
        let watched = Arc::clone(&most);
        let wrap = |machine, _: &_| Watched { machine, conns: Vec::new(), most: watched };
        let consumer = tidegate::connect_with(&url, options, wrap).await.unwrap();
        let mut received = Vec::new();
        while received.len() < COUNT {
            let messages = consumer.next_batch().await.unwrap().unwrap();
            received.extend((0..messages.len()).map(|at| messages.message(at).unwrap()));
        }
        most.store(0, Ordering::Relaxed);
        received.iter().for_each(|message| consumer.ack(message));
        assert_eq!(consumer.commit().await, Ok(COUNT as u64));
        consumer.close().await.unwrap();
    });
    assert_eq!(redis.pending("orders", "crew"), 0);
    let most = most.load(Ordering::Relaxed);
    // One XACK of ten ids is less than 400 bytes; 2,000 of them are half a megabyte.
    assert!(most > MOST / 2, "the limit was not reached: {most}");
    assert!(most <= MOST + 400, "{most} bytes waited to be written; the limit is {MOST} and one command");
}
