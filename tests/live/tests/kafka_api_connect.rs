//! What is wrong with a URL, the options or what listens there is a value on Kafka: one clear line, in
//! time, never with a password; and each start begins where it says.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;
mod kafka_api_tools;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use api_tools::*;
use kafka_api_tools::*;
use tidegate::{
    AutoCommit, Cause, ConsumerError, ConsumerMode, ConsumerOptions, Error, KafkaOptions, Limits, Position,
    Reset, Start,
};
use tidegate_live::kafka::{shared, unique};
use tidegate_live::{RedisServer, unused_port, wait};

const PASSWORD: &str = "sesame-0pen";

/// What a connection fails with, in time, in one line without the password.
async fn failed(what: &str, url: &str, options: ConsumerOptions) -> Error {
    let began = Instant::now();
    let error = match within(what, Duration::from_secs(15), tidegate::connect(url, options)).await {
        Err(ConsumerError::Failed(error)) => error,
        Err(other) => panic!("{what}: {other:?}"),
        Ok(_) => panic!("{what}: connected"),
    };
    println!("{what}, after {:?}: {error}", began.elapsed());
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() > 10, "{what}: one line: {line:?}");
    assert!(!line.ends_with('.') && !line.contains("Error"), "{what}: {line}");
    let all = format!("{line} {error:?} {error:#?}");
    assert!(!all.contains(PASSWORD), "{what}: the password: {all}");
    error
}

/// Something on a port that answers the first bytes of each connection with these, and closes it.
struct Fake {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Fake {
    fn answers(answer: &'static [u8]) -> Self {
        let (port, listener) = (0..20)
            .find_map(|_| {
                let port = unused_port();
                Some((port, TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?))
            })
            .unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        // It ends with the test executable.
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                counted.fetch_add(1, Ordering::Relaxed);
                thread::spawn(move || {
                    let mut bytes = [0; 4096];
                    let Ok(1..) = stream.read(&mut bytes) else { return };
                    stream.write_all(answer).ok();
                    if answer.is_empty() {
                        // Says nothing until the other side goes.
                        while matches!(stream.read(&mut bytes), Ok(1..)) {}
                    }
                });
            }
        });
        Self { port, connections }
    }

    fn url(&self) -> String {
        format!("kafka://127.0.0.1:{}/topic", self.port)
    }
}

#[test]
fn nobody_there_is_said_by_name() {
    runtime().block_on(async {
        let port = unused_port();
        for options in [real_time(), member_of("group")] {
            let error = failed("refused", &format!("kafka://127.0.0.1:{port}/topic"), options).await;
            assert!(matches!(&error, Error::Connect { cause: Cause::Refused, .. }), "{error:?}");
            assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
        }
        let url = format!("kafka://127.0.0.1:{port},127.0.0.1:{}/topic", unused_port());
        let error = failed("a list of nobody", &url, real_time()).await;
        assert!(matches!(&error, Error::Connect { .. }), "{error:?}");
        let error = failed("no such host", "kafka://nowhere.invalid/topic", real_time()).await;
        assert!(matches!(&error, Error::Connect { cause: Cause::Unresolved, .. }), "{error:?}");
        // The password has no part in it.
        let url = format!("kafka://ann:{PASSWORD}@127.0.0.1:{port}/topic");
        failed("refused, with a password", &url, real_time()).await;
    });
}

#[test]
fn one_of_the_list_is_enough() {
    let kafka = shared();
    let topic = kafka.topic(1);
    kafka.add(&topic, ["one"]);
    runtime().block_on(async {
        let url = format!("kafka://127.0.0.1:{},{}/{topic}", unused_port(), kafka.bootstrap());
        let consumer = open(&url, from_the_beginning()).await;
        assert_eq!(text(&next(&consumer).await), "one");
        consumer.close().await.unwrap();
    });
}

#[test]
fn a_topic_that_does_not_exist_is_named() {
    let kafka = shared();
    let (there, missing) = (kafka.topic(1), unique("missing"));
    runtime().block_on(async {
        for options in [real_time(), member_of(&unique("group"))] {
            for names in [missing.clone(), format!("{there},{missing}"), format!("{missing},{there}")] {
                let error = failed("a missing topic", &kafka.url(&names), options.clone()).await;
                assert_eq!(error, Error::StreamMissing { stream: missing.as_str().into() });
            }
        }
    });
}

#[test]
fn a_login_where_none_is_taken_is_said() {
    let kafka = shared();
    let topic = kafka.topic(1);
    runtime().block_on(async {
        let url = format!("kafka://ann:{PASSWORD}@{}/{topic}", kafka.bootstrap());
        let by_options = real_time().login(Some("ann".into()), PASSWORD);
        for (url, options) in [(url, real_time()), (kafka.url(&topic), by_options)] {
            let error = failed("sasl against a broker without", &url, options).await;
            assert!(matches!(error, Error::Login { .. }), "{error:?}");
            assert!(error.to_string().contains("SASL"), "{error}");
        }
    });
}

#[test]
fn what_is_no_kafka_is_said_and_not_stormed() {
    let redis = RedisServer::start();
    let http = Fake::answers(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let tls = Fake::answers(b"\x15\x03\x03\x00\x02\x02\x46");
    let huge = Fake::answers(b"\x7f\xff\xff\xff\x00\x00\x00\x01");
    let negative = Fake::answers(b"\xff\xff\xff\xff\x00\x00\x00\x01");
    let wrong_id = Fake::answers(b"\x00\x00\x00\x06\x00\x01\xe2\x40\x00\x00");
    let silent = Fake::answers(b"");
    let mut quick = Limits::default();
    quick.response_timeout = Duration::from_secs(1);
    runtime().block_on(async {
        for (what, url) in [
            ("redis", format!("kafka://127.0.0.1:{}/topic", redis.port())),
            ("http", http.url()),
            ("tls", tls.url()),
            ("a huge length", huge.url()),
            ("a negative length", negative.url()),
            ("a wrong correlation id", wrong_id.url()),
        ] {
            let error = failed(what, &url, real_time()).await;
            assert!(matches!(error, Error::Protocol(_) | Error::Connect { .. }), "{what}: {error:?}");
            assert!(error.to_string().contains("127.0.0.1:"), "{what}: where? {error}");
            let with_password = url.replace("//", &format!("//ann:{PASSWORD}@"));
            failed(what, &with_password, member_of("group").limits(quick.clone())).await;
        }
        let list = format!("kafka://127.0.0.1:{},127.0.0.1:{}/topic", silent.port, silent.port);
        for url in [silent.url(), list] {
            let error = failed("silence", &url, real_time().limits(quick.clone())).await;
            assert!(matches!(error, Error::Connect { cause: Cause::TimedOut, .. }), "{error:?}");
        }
    });
    for (what, fake) in [("http", http), ("tls", tls), ("silent", silent)] {
        let connections = fake.connections.load(Ordering::Relaxed);
        println!("{what}: {connections} connections");
        assert!(connections <= 20, "{what}: {connections} connections");
    }
}

#[test]
fn options_that_cannot_be_are_a_value() {
    let kafka = shared();
    let topic = kafka.topic(1);
    let url = kafka.url(&topic);
    let load_balanced = ConsumerOptions::new(ConsumerMode::LoadBalanced);
    let of = |kafka: KafkaOptions| member_of("group").kafka(kafka);
    let ours = KafkaOptions::default;
    runtime().block_on(async {
        for (url, options) in [
            (&*url, load_balanced),
            (&*url, ConsumerOptions::default().group("crew")),
            (&*url, of(ours().assignors([]))),
            (&*url, of(ours().fetch_bytes_max(0))),
            (&*url, of(ours().session_timeout(Duration::ZERO))),
            (&*url, of(ours().client_id("x".repeat(40_000)))),
            (&*url, of(ours().commit_metadata("x".repeat(40_000)))),
            ("kafka://127.0.0.1", real_time()),
            ("kafka:///topic", real_time()),
            ("kafka://127.0.0.1:0/topic", real_time()),
            ("kafka://127.0.0.1/to%20pic", real_time()),
            ("kafka://127.0.0.1/topic?db=1", real_time()),
            ("kafkas://127.0.0.1/topic", real_time()),
        ] {
            let error = failed("options", url, options).await;
            assert!(matches!(&error, Error::Options(_)), "{url}: {error:?}");
        }
    });
    for wrong in [
        format!("kafka://ann:{PASSWORD}/x@127.0.0.1/topic"),
        format!("kafka://:{PASSWORD}@127.0.0.1/topic"),
        format!("kafka://ann:{PASSWORD}%zz@127.0.0.1/topic"),
        format!("kafka://ann:{PASSWORD}@127.0.0.1:99999/topic"),
        format!("kafka://ann:{PASSWORD}/topic"),
    ] {
        let error = wrong.parse::<tidegate::StreamUrl>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains(PASSWORD), "{error}");
    }
}

#[test]
fn each_start_begins_where_it_says() {
    let kafka = shared();
    let topic = kafka.topic(1);
    add_at(kafka, &topic, 0, &[100, 101, 101, 105]);
    let group = || member_of(&unique("group"));
    let reset = |options: ConsumerOptions, reset| options.kafka(KafkaOptions::default().reset(reset));
    runtime().block_on(async {
        let mut end = 4;
        for (options, start, from) in [
            (real_time(), Start::Default, None),
            (real_time(), Start::From(Position::Beginning), Some(0)),
            (real_time(), Start::From(Position::End), None),
            (real_time(), Start::From(at(2)), Some(2)),
            (real_time(), Start::After(after(100)), Some(1)),
            (group(), Start::Default, Some(0)),
            (group(), Start::From(Position::Beginning), Some(0)),
            (group(), Start::From(Position::End), None),
            (group(), Start::From(at(2)), Some(2)),
            (group(), Start::After(after(101)), Some(3)),
            (reset(group(), Reset::Latest), Start::Default, None),
            (reset(group(), Reset::Earliest), Start::Default, Some(0)),
            (reset(real_time(), Reset::Earliest), Start::Default, Some(0)),
        ] {
            let what = format!("{:?}, {start:?}, reset {:?}", options.mode, options.kafka.reset);
            let consumer = open(&kafka.url(&topic), options.start(start)).await;
            let from = from.unwrap_or(end);
            let there: Vec<_> = (from..end).collect();
            assert_eq!(offsets(&take(&consumer, there.len()).await), there, "{what}");
            kafka.add(&topic, ["new"]);
            end += 1;
            assert_eq!(offset(&next(&consumer).await), end - 1, "{what}");
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn a_group_that_stands_somewhere_goes_on_there_whatever_the_start() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(1), unique("group"));
    kafka.add(&topic, numbers(0..10));
    kafka.commit(&group, &topic, 0, 4);
    runtime().block_on(async {
        for start in [Start::Default, Start::From(Position::Beginning), Start::From(Position::End)] {
            let consumer = open(&kafka.url(&topic), member_of(&group).start(start)).await;
            assert_eq!(offset(&next(&consumer).await), 4, "{start:?}");
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn after_a_close_everything_says_so() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(1), unique("group"));
    kafka.add(&topic, numbers(0..10));
    runtime().block_on(async {
        let options = member_of(&group).auto_commit(AutoCommit::Rolling { interval: millis(100) });
        let mut consumer = open(&kafka.url(&topic), options).await;
        let message = next(&consumer).await;
        let other = consumer.clone();
        consumer.close().await.unwrap();
        consumer.ack(&message);
        let mut notices = other.notices();
        within("the notices end", wait::PATIENCE, async { while notices.recv().await.is_some() {} }).await;
        {
            let mut stream = consumer.stream();
            let item = std::future::poll_fn(|cx| {
                futures_core::Stream::poll_next(std::pin::Pin::new(&mut stream), cx)
            });
            assert!(within("the stream ends", Duration::from_secs(1), item).await.is_none());
        }
        tokio::time::sleep(millis(300)).await;
        assert_eq!(kafka.committed_offsets(&group, &topic, 1), [-1], "acked after the close");
    });
}
