//! The limits of replies and of patience, reached: the connection is left with a named cause, and the
//! consumer goes on.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use api_tools::*;
use tidegate::{
    Cause, ConsumerError, ConsumerOptions, Error, Limits, Notice, Position, Reason, RequestError, ShardId,
};
use tidegate_live::{Cut, Proxy, RedisServer, wait};

fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits);
    limits
}

fn cause(notice: &Notice) -> Option<Reason> {
    match notice {
        Notice::Reconnecting { cause, .. } => Some(cause.clone()),
        _ => None,
    }
}

/// What is too large is left in the stream for another: the reader says so, survives it, and goes on once
/// it is gone.
fn is_too_large(set: impl FnOnce(&mut Limits), entries: usize, fields: usize, size: usize) {
    let server = RedisServer::start();
    let mut redis = server.client();
    let good = redis.add("orders", ["good"]);
    runtime().block_on(async {
        let options = member("one").limits(limits(|l| {
            l.retry_min = millis(50);
            l.retry_max = millis(200);
            l.block = millis(500);
            set(l);
        }));
        let consumer = open(&server.url("orders"), options).await;
        let mut notices = consumer.notices();
        assert_eq!(ids(&take(&consumer, 1).await), good);
        wait::until_true("its read blocks", wait::PATIENCE, || redis.someone_waits());
        // Added at once, so that they come in one reply.
        let large = "x".repeat(size);
        let mut command = vec!["XADD", "orders", "*"];
        (0..fields).for_each(|_| command.extend(["field", &large]));
        let commands: Vec<&[&str]> = (0..entries).map(|_| &command[..]).collect();
        redis.atomically(&commands);
        let cause = notice(&mut notices, "what was too large", cause).await;
        assert!(matches!(&cause, Reason::Error(Error::Protocol(words)) if !words.is_empty()), "{cause:?}");
        // No storm meanwhile.
        redis.tell(&["CONFIG", "RESETSTAT"]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let calls = redis.calls();
        let total: u64 = calls.iter().filter(|(name, _)| !name.starts_with("config")).map(|(_, n)| n).sum();
        assert!(total < 200, "{total} commands in a second: {calls:?}");
        // Requests are answered, the lane of control is open.
        redis.tell(&["XTRIM", "orders", "MAXLEN", "0"]);
        let more = redis.add("orders", ["good", "again"]);
        assert_eq!(ids(&take(&consumer, 2).await), more, "once it is gone");
        let (closed, took) = timed(consumer.close()).await;
        assert_eq!(closed, Ok(()), "{took:?}");
    });
}

#[test]
fn a_bulk_larger_than_its_limit_closes_the_connection_and_is_survived() {
    is_too_large(|l| l.reply_bulk_max = 1_000, 1, 1, 5_000);
}

/// Entries are handed out as they complete, so what counts is what has to be held at once: one entry.
#[test]
fn an_entry_larger_than_a_reply_may_be_closes_the_connection_and_is_survived() {
    is_too_large(|l| l.reply_bytes_max = 20_000, 1, 5, 5_000);
}

#[test]
fn a_reply_of_many_small_entries_may_be_longer_than_its_limit() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", (0..100).map(|_| "x".repeat(1_000)));
    runtime().block_on(async {
        let options = member("one").limits(limits(|l| l.reply_bytes_max = 20_000));
        let consumer = open(&server.url("orders"), options).await;
        assert_eq!(ids(&take(&consumer, 100).await), sent);
        assert_eq!(consumer.stats().await.reconnects, 0);
        consumer.close().await.unwrap();
    });
}

#[test]
fn an_aggregate_larger_than_its_limit_closes_the_connection_and_is_survived() {
    is_too_large(|l| l.reply_elements_max = 100, 500, 1, 10);
}

#[test]
fn a_line_and_a_nesting_beyond_their_limits_close_the_connection_and_are_survived() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["one"]);
    let proxy = Proxy::to(server.port());
    runtime().block_on(async {
        let options = member("one").limits(limits(|l| {
            l.reply_line_max = 2_000;
            l.reply_depth_max = 8;
            l.retry_min = millis(10);
        }));
        let consumer = open(&proxy.url("orders"), options).await;
        let mut notices = consumer.notices();
        next(&consumer).await;
        for hostile in
            [format!("+{}\r\n", "x".repeat(3_000)), format!("+{}", "x".repeat(3_000)), "*1\r\n".repeat(9)]
        {
            wait::until_true("its read blocks", wait::PATIENCE, || redis.someone_waits());
            let fired = proxy.fired();
            proxy.arm(Cut::after("XREADGROUP").inject(hostile.clone()));
            let sent = redis.add("orders", ["lost on the wire"]);
            let cause = notice(&mut notices, "the hostile reply", cause).await;
            assert!(matches!(&cause, Reason::Error(Error::Protocol(_))), "{cause:?} for {hostile:.20?}");
            assert_eq!(ids(&take(&consumer, 1).await), sent, "recovered");
            assert_eq!(proxy.fired(), fired + 1);
        }
        consumer.close().await.unwrap();
    });
}

#[test]
fn a_connection_that_is_not_established_in_time_has_failed() {
    // Nobody accepts: when the queue is full, the kernel leaves a knock unanswered.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, millis(200)) {
        queue.push(stream);
        assert!(queue.len() < 10_000, "the queue has no end");
    }
    runtime().block_on(async {
        let options = ConsumerOptions::default().limits(limits(|l| l.connect_timeout = millis(300)));
        let url = format!("redis://{address}/orders");
        let (done, took) = timed(within("connect", wait::PATIENCE, tidegate::connect(&url, options))).await;
        match done {
            Err(ConsumerError::Failed(Error::Connect { endpoint, cause })) => {
                assert_eq!((endpoint.port, cause), (address.port(), Cause::TimedOut));
            }
            other => panic!("{other:?}"),
        }
        assert!(took < Duration::from_secs(3), "{took:?}");
    });
}

#[test]
fn a_server_that_says_nothing_is_left_in_time() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["one"]);
    let proxy = Proxy::to(server.port());
    runtime().block_on(async {
        let quick = limits(|l| {
            l.response_timeout = millis(300);
            l.block = millis(300);
            l.retry_min = millis(10);
        });
        let consumer = open(&proxy.url("orders"), member("one").limits(quick.clone())).await;
        let mut notices = consumer.notices();
        consumer.ack(&next(&consumer).await);
        proxy.hold_open_ones();
        let held = Instant::now();
        let cause = notice(&mut notices, "the silence", cause).await;
        assert!(matches!(cause, Reason::Silent { .. }), "{cause:?}");
        assert!(held.elapsed() < Duration::from_secs(2), "{:?}", held.elapsed());
        let sent = redis.add("orders", ["two"]);
        assert_eq!(ids(&take(&consumer, 1).await), sent, "over a new connection");
        within("a commit", Duration::from_secs(5), consumer.commit()).await.unwrap();
        assert_eq!(redis.pending("orders", "crew"), 1);
        consumer.close().await.unwrap();

        // From the start: an error, and no hang.
        proxy.hold();
        let (done, took) = timed(tidegate::connect(&proxy.url("orders"), member("one").limits(quick))).await;
        assert!(done.is_err(), "nobody can have answered");
        assert!(took < Duration::from_secs(5), "{took:?}");
        proxy.release();
    });
}

#[test]
fn retries_wait_between_their_limits() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["one"]);
    let proxy = Proxy::to(server.port());
    runtime().block_on(async {
        let options = member("one").limits(limits(|l| {
            l.retry_min = millis(20);
            l.retry_max = millis(200);
        }));
        let consumer = open(&proxy.url("orders"), options).await;
        let mut notices = consumer.notices();
        next(&consumer).await;
        proxy.refuse(true);
        proxy.cut_all();
        let mut waits = Vec::new();
        while waits.last().is_none_or(|(attempt, _)| *attempt < 8) {
            let (attempt, after) = notice(&mut notices, "a try", |notice| match notice {
                Notice::Reconnecting { attempt, after, .. } => Some((*attempt, *after)),
                _ => None,
            })
            .await;
            waits.push((attempt, after));
            assert!(waits.len() < 100, "{waits:?}");
        }
        assert!(waits.iter().all(|(_, after)| *after <= millis(200)), "{waits:?}");
        let first = waits.iter().find(|(attempt, _)| *attempt == 1).unwrap();
        assert!(first.1 <= millis(20), "the first retry comes at once: {waits:?}");
        let late = waits.iter().filter(|(attempt, _)| *attempt >= 7).map(|(_, after)| *after).max().unwrap();
        assert!(late >= millis(50), "then they back off: {waits:?}");
        proxy.refuse(false);
        let sent = redis.add("orders", ["two"]);
        assert_eq!(ids(&take(&consumer, 1).await), sent);
        // A move asked for meanwhile is carried out as well, after it.
        consumer.rewind(Position::Beginning).await.unwrap();
        assert_eq!(take(&consumer, 2).await.len(), 2);
        let missing = consumer.unassign(&"orders".into(), ShardId::new(9)).await;
        assert!(matches!(missing, Err(ConsumerError::Request(RequestError::ConsumerNotAssigned { .. }))));
        consumer.close().await.unwrap();
    });
}
