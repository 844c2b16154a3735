//! A hostile server closes its own connection, and nothing else.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::sync::Mutex;
use std::time::Duration;

use api_tools::*;
use tidegate::{Cause, ConsumerError, ConsumerOptions, Error, Limits, Notice, Reason};
use tidegate_live::{Answer, Cut, FakeServer, Proxy, RedisServer, wait};

fn quick(options: ConsumerOptions) -> ConsumerOptions {
    let mut limits = Limits::default();
    limits.retry_min = millis(10);
    limits.retry_max = millis(100);
    limits.response_timeout = millis(500);
    limits.block = millis(500);
    options.limits(limits)
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// Polite in everything but the read: as much of a server as any client's handshake needs.
fn handshake(words: &[String]) -> Option<String> {
    let word = |at: usize| words.get(at).map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    Some(match (&*word(0), &*word(1)) {
        ("HELLO", _) => {
            let pairs = [("server", bulk("redis")), ("version", bulk("7.0.15")), ("proto", ":3\r\n".into())];
            let more = [("id", ":7\r\n".into()), ("mode", bulk("standalone")), ("role", bulk("master"))];
            let pairs: String =
                pairs.iter().chain(&more).map(|(name, value)| format!("{}{value}", bulk(name))).collect();
            format!("%6\r\n{pairs}")
        }
        ("CLIENT", "ID") => ":7\r\n".into(),
        ("CLIENT", "UNBLOCK") => ":0\r\n".into(),
        ("CLIENT" | "AUTH" | "SELECT", _) | ("XGROUP", "CREATE") => "+OK\r\n".into(),
        ("TYPE", _) => "+stream\r\n".into(),
        ("EXISTS" | "XACK" | "XLEN", _) => ":1\r\n".into(),
        ("SCAN", _) => format!("*2\r\n{}*0\r\n", bulk("0")),
        ("XAUTOCLAIM", _) => format!("*3\r\n{}*0\r\n*0\r\n", bulk("0-0")),
        ("XINFO" | "XPENDING" | "XRANGE" | "XREVRANGE" | "XCLAIM", _) => "*0\r\n".into(),
        _ => return None,
    })
}

/// What no server should answer to a read, by name.
fn hostile() -> Vec<(&'static str, Vec<u8>, bool)> {
    let entry = |id: &str| format!("*2\r\n{}*2\r\n{}{}", bulk(id), bulk("msg"), bulk("x"));
    let stream = |entries: &str| format!("%1\r\n{}{entries}", bulk("orders"));
    vec![
        ("garbage", b"\x00\xff\xfe garbage that is no reply at all\r\n".to_vec(), false),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(), true),
        ("a bulk of 9 EB", b"$9223372036854775807\r\n".to_vec(), false),
        ("a bulk beyond 64 bits", b"$99999999999999999999999\r\n".to_vec(), false),
        ("a bulk below -1", b"$-2\r\nxx\r\n".to_vec(), false),
        ("a bulk of 513 MiB", b"$537919488\r\n".to_vec(), false),
        ("4 billion elements", b"*4294967296\r\n".to_vec(), false),
        ("2 billion pairs", b"%2147483647\r\n".to_vec(), false),
        ("5 million elements", b"*5000000\r\n".to_vec(), false),
        ("deep nesting", b"*1\r\n".repeat(20_000), false),
        ("deep nesting in an entry", stream(&"*1\r\n".repeat(20_000)).into_bytes(), false),
        ("a line without an end", vec![b'+'; 100_000], false),
        ("a number with letters", b":12x\r\n".to_vec(), false),
        ("a stream of numbers", stream("*1\r\n:5\r\n").into_bytes(), false),
        ("an id that is none", stream(&format!("*1\r\n{}", entry("five"))).into_bytes(), false),
        (
            "an id beyond 64 bits",
            { stream(&format!("*1\r\n{}", entry("99999999999999999999-0"))).into_bytes() },
            false,
        ),
        (
            "a field without a value",
            { stream(&format!("*1\r\n*2\r\n{}*1\r\n{}", bulk("5-0"), bulk("msg"))).into_bytes() },
            false,
        ),
        ("text for a reply", b"+OK\r\n".to_vec(), false),
        ("a bulk without its end", stream("*1\r\n*2\r\n$3\r\n5-0XX").into_bytes(), false),
        ("half a reply", b"%1\r\n$6\r\nord".to_vec(), true),
        ("half an entry", stream("*2\r\n*2\r\n$3\r\n5-0\r\n*2\r\n$3\r\nmsg\r\n$5\r\nhe").into_bytes(), true),
        ("half a line", b"%".to_vec(), true),
        ("nothing", Vec::new(), true),
    ]
}

/// The fake server answers the read with this until it is switched for a real one.
#[test]
fn whatever_a_server_answers_to_a_read_the_consumer_survives_it() {
    let server = RedisServer::start();
    let mut redis = server.client();
    runtime().block_on(async {
        for (name, answer, last) in hostile() {
            redis.tell(&["DEL", "orders"]);
            redis.add("orders", ["before"]);
            let unknown = std::sync::Arc::new(Mutex::new(Vec::new()));
            let fake = FakeServer::start({
                let unknown = std::sync::Arc::clone(&unknown);
                move |words| match handshake(words) {
                    Some(polite) => Answer::Bytes(polite.into_bytes()),
                    None if words[0].starts_with("XREAD") && last => Answer::Last(answer.clone()),
                    None if words[0].starts_with("XREAD") => Answer::Bytes(answer.clone()),
                    None => {
                        unknown.lock().unwrap().push(words.to_vec());
                        Answer::Bytes(b"-ERR unknown command\r\n".to_vec())
                    }
                }
            });
            for options in [quick(member("one")), quick(from_the_beginning())] {
                let proxy = Proxy::to(server.port());
                let consumer = open(&proxy.url("orders"), options).await;
                let mut notices = consumer.notices();
                let message = next(&consumer).await;
                assert_eq!(message.payload(), Some(&b"before"[..]));
                consumer.ack(&message);
                wait::until_true("its read blocks", wait::PATIENCE, || redis.someone_waits());
                proxy.switch(fake.port());
                // The cause of the switch itself comes first, then what the fake one is left for.
                let mut causes = Vec::new();
                let hostile = |causes: &[Reason]| {
                    causes.iter().any(|cause| match cause {
                        Reason::Error(Error::Protocol(words)) => !last && !words.is_empty(),
                        Reason::Connection(Cause::Eof | Cause::Reset) => last && causes.len() > 3,
                        _ => false,
                    })
                };
                let started = std::time::Instant::now();
                while !hostile(&causes) {
                    assert!(started.elapsed() < Duration::from_secs(10), "{name}: {causes:#?}");
                    causes.push(
                        notice(&mut notices, name, |notice| match notice {
                            Notice::Reconnecting { cause, .. } => Some(cause.clone()),
                            _ => None,
                        })
                        .await,
                    );
                }
                // It lives: with a real server behind the same port it goes on, and nothing is lost.
                let sent = redis.add("orders", ["meanwhile"]);
                proxy.switch(server.port());
                assert_eq!(ids(&take(&consumer, 1).await), sent, "{name}");
                nothing_comes(&consumer, millis(20)).await;
                within("a commit", Duration::from_secs(5), consumer.commit()).await.unwrap();
                within("a close", Duration::from_secs(5), consumer.close()).await.unwrap();
                redis.tell(&["XTRIM", "orders", "MAXLEN", "0"]);
                redis.add("orders", ["before"]);
                let _: Result<u64, _> = redis.query(&["XGROUP", "DESTROY", "orders", "crew"]);
            }
            let unknown = unknown.lock().unwrap();
            assert!(unknown.is_empty(), "the fake server is asked for what it does not know: {unknown:?}");
        }
    });
}

/// The same through the proxy: an injection in place of a real reply that the server has acted on.
#[test]
fn a_real_reply_that_is_replaced_by_a_hostile_one_is_recovered() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["first"]);
    let proxy = Proxy::to(server.port());
    runtime().block_on(async {
        let consumer = open(&proxy.url("orders"), quick(member("one"))).await;
        let mut received = Received::default();
        let mut sent = ids(&take(&consumer, 1).await);
        for (name, answer, last) in hostile() {
            if last {
                continue;
            }
            wait::until_true("its read blocks", wait::PATIENCE, || redis.someone_waits());
            let fired = proxy.fired();
            proxy.arm(Cut::after("XREADGROUP").inject(answer));
            let more = redis.add("orders", numbers(0..3));
            for message in take(&consumer, 3).await {
                assert_eq!(message.deliveries(), 1, "{name}");
                received.add(&message);
                consumer.ack(&message);
            }
            assert!(proxy.fired() > fired, "{name}: it never came");
            sent.extend(more);
        }
        nothing_comes(&consumer, millis(50)).await;
        received.each_once(&sent[1..]);
        consumer.commit().await.unwrap();
        assert_eq!(redis.pending("orders", "crew"), 1);
        consumer.close().await.unwrap();
    });
}

#[test]
fn a_hostile_server_at_the_first_connection_is_an_error_and_no_hang() {
    let greetings: Vec<(&str, Answer)> = vec![
        ("garbage", Answer::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())),
        ("HTTP", Answer::Last(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
        ("a huge map", Answer::Bytes(b"%2147483647\r\n".to_vec())),
        ("nesting", Answer::Bytes(b"*1\r\n".repeat(1_000))),
        ("the end", Answer::Last(Vec::new())),
        ("an error", Answer::Bytes(b"-ERR not today\r\n".to_vec())),
        ("silence", Answer::Silence),
    ];
    runtime().block_on(async {
        let mut wrong = Vec::new();
        for (name, greeting) in greetings {
            let fake = FakeServer::start(move |_| greeting.clone());
            for options in [quick(member("one")), quick(ConsumerOptions::default())] {
                let url = fake.url("orders");
                let connecting = tidegate::connect(&url, options);
                match tokio::time::timeout(Duration::from_secs(5), connecting).await {
                    Ok(Err(ConsumerError::Failed(error))) => {
                        let words = error.to_string();
                        assert!(
                            !words.is_empty() && !words.contains('\n'),
                            "{name}: one line, not {words:?}"
                        );
                    }
                    Ok(other) => wrong.push(format!("{name}: {other:?}")),
                    Err(_) => wrong.push(format!("{name}: no answer in 5 s")),
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

#[test]
fn a_server_that_errs_on_everything_is_named_and_asked_slowly() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["before"]);
    let proxy = Proxy::to(server.port());
    let fake = FakeServer::start(|words| match handshake(words) {
        Some(polite) => Answer::Bytes(polite.into_bytes()),
        None => Answer::Bytes(b"-ERR this server is\tnot well\r\n".to_vec()),
    });
    runtime().block_on(async {
        let consumer = open(&proxy.url("orders"), quick(member("one"))).await;
        let mut notices = consumer.notices();
        next(&consumer).await;
        proxy.switch(fake.port());
        // Seen by somebody who watches, in the server's own words.
        notice(&mut notices, "its error", |notice| notice.to_string().contains("not well").then_some(()))
            .await;
        let before = fake.commands().len();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let asked = fake.commands().len() - before;
        assert!(asked < 200, "{asked} commands in two seconds");
        let sent = redis.add("orders", ["meanwhile"]);
        proxy.switch(server.port());
        assert_eq!(ids(&take(&consumer, 1).await), sent);
        consumer.close().await.unwrap();
    });
}

#[test]
fn answers_that_were_not_asked_for_close_the_connection() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..10));
    let proxy = Proxy::to(server.port());
    runtime().block_on(async {
        let consumer = open(&proxy.url("orders"), quick(member("one"))).await;
        let messages = take(&consumer, 10).await;
        for message in &messages {
            // One reply more than commands: the next command must not take it for its own.
            proxy.arm(Cut::after_next("XACK").inject(":1\r\n:1\r\n:1\r\n"));
            consumer.ack(message);
            within("a commit", wait::PATIENCE, consumer.commit()).await.unwrap();
        }
        wait::until_true("all is committed", wait::PATIENCE, || redis.pending("orders", "crew") == 0);
        let sent = redis.add("orders", ["more"]);
        assert_eq!(ids(&take(&consumer, 1).await), sent);
        consumer.close().await.unwrap();
    });
}
