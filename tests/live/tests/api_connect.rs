//! From a URL and options to a consumer: what the options mean, and what is wrong as a value.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::time::Duration;

use api_tools::*;
use tidegate::{
    AnyMachine, AutoCommit, Cause, ConsumerError, ConsumerMode, ConsumerOptions, Error, Handle, HostId,
    Position, RequestError, Runtime as _, SeqNo, Start, StreamUrl, Timestamp, Tokio,
};
use tidegate_core::identity::HostFacts;
use tidegate_live::{Answer, Client, FakeServer, Monitor, Options, RedisServer, run_with, unused_port, wait};

const PASSWORD: &str = "sesame-0pen";

/// A resumable consumer of a host of this name, as `HOST_ID` would have it.
async fn resumable(url: &str, host: &str) -> Handle {
    let url: StreamUrl = url.parse().unwrap();
    let facts = HostFacts { override_: Some(host.into()), ..HostFacts::default() };
    let options = ConsumerOptions::new(ConsumerMode::Resumable).auto_commit(BY_HAND).batch(10);
    // This machine's own host id, if it has one, gives way to the one that is wanted here.
    let named = options.clone().group("any").consumer("any");
    let runtime = Tokio::current().unwrap();
    let mut setup = tidegate::setup(&url, named, runtime.now()).unwrap();
    setup.options = url.apply(options);
    setup.host = Some(HostId::resolve(&facts).unwrap());
    let machine = AnyMachine::new(&url, setup.clone()).unwrap();
    let handle = tidegate::drive(runtime, machine, &setup.options);
    within("ready", wait::PATIENCE, handle.ready()).await.unwrap();
    handle
}

async fn failed(url: &str, options: ConsumerOptions) -> Error {
    let what = format!("connect {url}");
    match within(&what, Duration::from_secs(8), tidegate::connect(url, options)).await {
        Err(ConsumerError::Failed(error)) => error,
        other => panic!("{url}: {other:?}"),
    }
}

#[test]
fn resumable_goes_on_where_it_stopped_with_its_own_first() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", numbers(0..100));
    runtime().block_on(async {
        let consumer = resumable(&server.url("orders"), "web-1").await;
        let messages = take(&consumer, 30).await;
        assert_eq!(ids(&messages), sent[..30]);
        messages[..20].iter().for_each(|message| consumer.ack(message));
        consumer.close().await.unwrap();
        assert_eq!(redis.groups("orders"), ["web-1"], "group and member are called after the host");
        assert_eq!(redis.consumers("orders", "web-1"), ["web-1"], "it stays: its pending list is its own");
        let pending = redis.pending("orders", "web-1") as usize;
        assert!((10..=80).contains(&pending), "{pending}");

        let more = redis.add("orders", numbers(100..110));
        let consumer = resumable(&server.url("orders"), "web-1").await;
        let messages = take(&consumer, 90).await;
        let expected: Vec<_> = sent[20..].iter().chain(&more).cloned().collect();
        assert_eq!(ids(&messages), expected, "own pending ones first, and everything in order");
        let stats = consumer.stats().await;
        assert_eq!(stats.recovered as usize, pending, "{stats:?}");
        messages.iter().for_each(|message| consumer.ack(message));
        consumer.close().await.unwrap();
        assert_eq!(redis.pending("orders", "web-1"), 0);

        // Another host is another group.
        let other = resumable(&server.url("orders"), "web-2").await;
        assert_eq!(take(&other, 110).await.len(), 110);
        other.close().await.unwrap();
    });
}

#[test]
fn host_id_names_a_resumable_consumer() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..3));
    let url = server.url("orders");
    let done = run_with(&["consume", &url, "--mode", "resumable", "--count", "2"], &[("HOST_ID", "web-7")]);
    assert_eq!(done.expect(0).stdout.len(), 2);
    assert_eq!(redis.groups("orders"), ["web-7"]);
    assert_eq!(redis.consumers("orders", "web-7"), ["web-7"]);
}

#[test]
fn a_dead_resumable_consumer_s_messages_come_first_too() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let sent = redis.add("orders", numbers(0..50));
    {
        let runtime = runtime();
        let consumer = runtime.block_on(resumable(&server.url("orders"), "web-1"));
        runtime.block_on(take(&consumer, 25));
        // Shut down without a close, as a process that dies.
        drop(runtime);
    }
    runtime().block_on(async {
        let consumer = resumable(&server.url("orders"), "web-1").await;
        let messages = take(&consumer, 50).await;
        assert_eq!(ids(&messages), sent);
    });
}

#[test]
fn immediate_is_noack_and_the_others_are_not() {
    let server = RedisServer::start();
    let mut redis = server.client();
    for (stream, auto_commit) in
        [("a", AutoCommit::Immediate), ("b", AutoCommit::default()), ("c", AutoCommit::Disabled)]
    {
        redis.add(stream, numbers(0..20));
        let monitor = Monitor::of(server.port());
        runtime().block_on(async {
            let consumer = open(&server.url(stream), member("one").auto_commit(auto_commit)).await;
            let messages = take(&consumer, 20).await;
            let immediate = auto_commit == AutoCommit::Immediate;
            assert_eq!(redis.pending(stream, "crew"), if immediate { 0 } else { 20 });
            assert_eq!(messages[0].ack_range().is_none(), immediate, "is there anything to ack?");
            messages.iter().for_each(|message| consumer.ack(message));
            assert_eq!(consumer.commit().await, Ok(if immediate { 0 } else { 20 }));
            consumer.close().await.unwrap();
            let new = wait::until("the monitor has seen the reads", wait::PATIENCE, || {
                let mut reads = monitor.commands("XREADGROUP");
                reads.retain(|words| words.last().is_some_and(|word| word == ">"));
                (!reads.is_empty()).then_some(reads)
            });
            let noack = |words: &Vec<String>| words.iter().any(|word| word == "NOACK");
            assert!(new.iter().all(|words| noack(words) == immediate), "{new:?}");
        });
    }
}

#[test]
fn create_makes_a_missing_stream_and_without_it_that_is_an_error() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let real_time = || ConsumerOptions::new(ConsumerMode::RealTime);
    runtime().block_on(async {
        for options in [member("one"), real_time()] {
            let error = failed(&server.url("nowhere"), options).await;
            assert_eq!(error, Error::StreamMissing { stream: "nowhere".into() });
            assert!(!redis.run::<bool>(&["EXISTS", "nowhere"]), "it was not asked for");
        }
        // One of two is missing.
        redis.add("there", ["x"]);
        let error = failed(&server.url("there,nowhere"), member("one")).await;
        assert_eq!(error, Error::StreamMissing { stream: "nowhere".into() });

        let consumer = open(&server.url("made"), member("one").create(true)).await;
        assert_eq!(redis.run::<String>(&["TYPE", "made"]), "stream");
        assert_eq!(redis.groups("made"), ["crew"]);
        let sent = redis.add("made", ["first"]);
        assert_eq!(ids(&take(&consumer, 1).await), sent);
        consumer.close().await.unwrap();

        // Made, or waited for: what is added first is received in either case.
        let consumer = open(&server.url("awaited"), real_time().create(true)).await;
        let sent = redis.add("awaited", ["first"]);
        assert_eq!(ids(&take(&consumer, 1).await), sent);
        consumer.close().await.unwrap();
    });
}

#[test]
fn what_the_server_does_not_let_be_is_a_value() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.tell(&["SET", "text", "x"]);
    redis.add("orders", ["x"]);
    redis.tell(&["ACL", "SETUSER", "reader", "on", ">pw", "+@connection", "+info", "~*"]);
    runtime().block_on(async {
        for options in [member("one"), ConsumerOptions::default(), member("one").create(true)] {
            let error = failed(&server.url("text"), options).await;
            assert_eq!(error, Error::WrongType { stream: "text".into() });
        }
        let port = unused_port();
        match failed(&format!("redis://127.0.0.1:{port}/orders"), member("one")).await {
            Error::Connect { endpoint, cause } => assert_eq!((endpoint.port, cause), (port, Cause::Refused)),
            other => panic!("{other:?}"),
        }
        match failed("redis://no-such-host.invalid/orders", member("one")).await {
            Error::Connect { endpoint, .. } => assert_eq!(&*endpoint.host, "no-such-host.invalid"),
            other => panic!("{other:?}"),
        }
        let url = format!("redis://reader:pw@127.0.0.1:{}/orders", server.port());
        let error = failed(&url, member("one")).await;
        assert!(matches!(error, Error::Permission { .. }), "{error:?}");
    });
    wait::until_true("nobody is left", Duration::from_secs(3), || redis.clients().is_empty());
}

#[test]
fn a_database_that_is_not_there_is_a_value() {
    let server = RedisServer::start();
    server.client().add("orders", ["x"]);
    runtime().block_on(async {
        let error = failed(&server.url("orders?db=99"), member("one")).await;
        assert!(error.to_string().contains("DB index"), "the server's own words: {error}");
    });
}

#[test]
fn options_that_cannot_be_are_a_value() {
    let server = RedisServer::start();
    server.client().add("orders", ["x"]);
    let url = server.url("orders");
    let load_balanced = ConsumerOptions::new(ConsumerMode::LoadBalanced);
    runtime().block_on(async {
        for (url, options) in [
            (&*url, load_balanced.clone()),
            (&*url, ConsumerOptions::default().group("crew")),
            ("orders", member("one")),
            ("http://127.0.0.1/orders", member("one")),
            ("kafka://127.0.0.1", member("one")),
            ("redis://127.0.0.1", member("one")),
            ("redis://127.0.0.1/", member("one")),
            ("redis:///orders", member("one")),
            ("redis://127.0.0.1:0/orders", member("one")),
            ("redis://127.0.0.1:70000/orders", member("one")),
            ("redis://127.0.0.1/orders?db=x", member("one")),
            ("redis://127.0.0.1/orders?what=1", member("one")),
            ("", member("one")),
        ] {
            let error = failed(url, options).await;
            assert!(matches!(&error, Error::Options(words) if words.len() > 10), "{url}: {error:?}");
        }
    });
}

#[test]
fn outside_of_a_runtime_it_is_a_value_and_no_panic() {
    // Ready at its first poll, so that it needs no executor.
    fn poll_once<F: Future>(future: F) -> F::Output {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut cx) {
            std::task::Poll::Ready(output) => output,
            std::task::Poll::Pending => panic!("it waits for what can't come"),
        }
    }
    let connected = poll_once(tidegate::connect("redis://127.0.0.1/orders", member("one")));
    assert!(matches!(&connected, Err(ConsumerError::Failed(Error::Options(_)))), "{connected:?}");
}

#[test]
fn the_database_and_the_login_of_the_url_take_the_place_of_the_options() {
    let server = RedisServer::with(Options { password: Some(PASSWORD.into()), ..Options::default() });
    let mut redis = server.client();
    redis.tell(&["ACL", "SETUSER", "ann", "on", ">p@ss:w/rd", "+@all", "~*"]);
    redis.tell(&["SELECT", "3"]);
    let sent = redis.add("orders", ["in three"]);
    let host = format!("127.0.0.1:{}", server.port());
    runtime().block_on(async {
        for (url, options) in [
            (format!("redis://:{PASSWORD}@{host}/orders?db=3"), from_the_beginning()),
            (format!("redis://{host}/orders"), from_the_beginning().login(None, PASSWORD).database(3)),
            (
                format!("redis://ann:p%40ss%3Aw%2Frd@{host}/orders?db=3"),
                from_the_beginning().login(None, "x"),
            ),
            (format!("redis://{host}/orders?db=3"), {
                from_the_beginning().login(Some("ann".into()), "p@ss:w/rd").database(7)
            }),
        ] {
            let consumer = open(&url, options).await;
            assert_eq!(ids(&take(&consumer, 1).await), sent);
            // Each connection logs in and selects anew.
            for client in redis.clients() {
                redis.kill(client.id);
            }
            consumer.rewind(Position::Beginning).await.unwrap();
            assert_eq!(ids(&take(&consumer, 1).await), sent);
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn a_password_is_never_seen() {
    let server = RedisServer::with(Options { password: Some("the right one".into()), ..Options::default() });
    let url = format!("redis://ann:{PASSWORD}@127.0.0.1:{}/orders", server.port());
    let mut said = Vec::new();
    let parsed: StreamUrl = url.parse().unwrap();
    said.push(format!("{parsed} {parsed:?} {:?}", parsed.login()));
    let options = member("one").login(Some("ann".into()), PASSWORD);
    said.push(format!("{options:?} {options:#?} {:?}", options.login));
    said.push(format!(
        "{:?} {:#?}",
        parsed.apply(member("one")),
        tidegate::setup(&parsed, member("one"), tidegate_core::Instant::ZERO).unwrap()
    ));
    runtime().block_on(async {
        for (url, options) in [
            (url.clone(), member("one")),
            (format!("redis://:{PASSWORD}@127.0.0.1:{}/orders", server.port()), member("one")),
            (server.url("orders").replace("the right one", PASSWORD), options.clone()),
        ] {
            let error = failed(&url, options).await;
            assert!(matches!(error, Error::Login { .. }), "{error:?}");
            said.push(format!("{error} {error:?} {:?}", ConsumerError::from(error.clone())));
        }
        // No password where one is needed.
        let url = format!("redis://127.0.0.1:{}/orders", server.port());
        let error = failed(&url, member("one")).await;
        assert!(matches!(error, Error::Login { .. }), "{error:?}");
        for wrong in [
            format!("redis://ann:{PASSWORD}/x@127.0.0.1/orders"),
            format!("redis://ann:{PASSWORD}#x@127.0.0.1/orders"),
            format!("redis://ann:{PASSWORD}?x@127.0.0.1/orders"),
            format!("redis://ann:{PASSWORD}%zz@127.0.0.1/orders"),
            format!("redis://ann:{PASSWORD}@127.0.0.1:99999/orders"),
            format!("redis://ann:{PASSWORD}@127.0.0.1/orders?db=x"),
            format!("redis://ann:{PASSWORD}@@127.0.0.1/"),
            format!("ann:{PASSWORD}://127.0.0.1/orders"),
            format!("ann:{PASSWORD}@127.0.0.1/orders"),
        ] {
            if let Err(error) = wrong.parse::<StreamUrl>() {
                let error = ConsumerError::from(error);
                said.push(format!("{error} {error:?}"));
            }
        }
    });
    assert!(said.len() >= 10, "{said:#?}");
    for line in said {
        assert!(!line.contains(PASSWORD), "the password: {line}");
    }
}

#[test]
fn a_password_without_a_host_is_not_seen_either() {
    let error = format!("redis://ann:{PASSWORD}/orders").parse::<StreamUrl>().unwrap_err();
    assert!(!error.to_string().contains(PASSWORD), "the password: {error}");
}

#[test]
fn a_password_that_a_server_repeats_is_not_seen_either() {
    let parrot = FakeServer::start(|words| {
        Answer::Bytes(format!("-ERR what is '{}'?\r\n", words.join(" ")).into_bytes())
    });
    runtime().block_on(async {
        let url = format!("redis://ann:{PASSWORD}@127.0.0.1:{}/orders", parrot.port());
        let error = failed(&url, member("one")).await;
        let said = format!("{error} {error:?}");
        assert!(!said.contains(PASSWORD), "the password: {said}");
    });
}

fn at(id: &str) -> Start {
    let (millis, counter) = id.split_once('-').unwrap();
    Start::From(Position::At(SeqNo::redis(millis.parse().unwrap(), counter.parse().unwrap())))
}

fn fixed(redis: &mut Client) {
    for id in ["1-0", "1-1", "2-0", "3-0"] {
        redis.run::<String>(&["XADD", "orders", id, "msg", "x"]);
    }
}

#[test]
fn each_start_begins_where_it_says() {
    let server = RedisServer::start();
    let mut redis = server.client();
    fixed(&mut redis);
    let all = ["1-0", "1-1", "2-0", "3-0"];
    let real_time = || ConsumerOptions::new(ConsumerMode::RealTime);
    runtime().block_on(async {
        let mut round = 10;
        for (options, start, from) in [
            (real_time(), Start::Default, 4),
            (real_time(), Start::From(Position::Beginning), 0),
            (real_time(), Start::From(Position::End), 4),
            (real_time(), at("1-1"), 1),
            (real_time(), Start::After(Timestamp::from_millis(1)), 2),
            (member("one"), Start::Default, 0),
            (member("one"), Start::From(Position::Beginning), 0),
            (member("one"), Start::From(Position::End), 4),
            (member("one"), at("1-1"), 1),
            (member("one"), Start::After(Timestamp::from_millis(2)), 3),
        ] {
            let group = options.group.is_some();
            let consumer = open(&server.url("orders"), options.start(start)).await;
            let seen = ids(&take(&consumer, 4 - from).await);
            assert_eq!(seen, all[from..], "{start:?}, group: {group}");
            round += 1;
            let new = format!("{round}-0");
            redis.run::<String>(&["XADD", "orders", &new, "msg", "x"]);
            assert_eq!(ids(&take(&consumer, 1).await), [new.as_str()], "{start:?}, group: {group}");
            consumer.close().await.unwrap();
            redis.tell(&["XDEL", "orders", &new]);
            let _: Result<u64, _> = redis.query(&["XGROUP", "DESTROY", "orders", "crew"]);
        }
    });
}

#[test]
fn after_a_close_everything_says_so() {
    let server = RedisServer::start();
    let mut redis = server.client();
    fixed(&mut redis);
    runtime().block_on(async {
        let mut consumer = open(&server.url("orders"), member("one")).await;
        let message = next(&consumer).await;
        let other = consumer.clone();
        consumer.close().await.unwrap();
        consumer.ack(&message);
        assert_eq!(consumer.close().await, Ok(()));
        assert_eq!(other.close().await, Ok(()));
        for _ in 0..3 {
            assert!(other.next().await.unwrap().is_none());
            assert!(other.next_batch().await.unwrap().is_none());
            assert!(other.take().await.unwrap().is_none());
        }
        assert_eq!(other.commit().await, Err(RequestError::Closed.into()));
        let mut notices = other.notices();
        within("the notices end", Duration::from_secs(1), async { while notices.recv().await.is_some() {} })
            .await;
        {
            let mut stream = consumer.stream();
            let item = std::future::poll_fn(|cx| {
                futures_core::Stream::poll_next(std::pin::Pin::new(&mut stream), cx)
            });
            assert!(within("the stream ends", Duration::from_secs(1), item).await.is_none());
        }
        assert_eq!(redis.pending("orders", "crew"), 4, "what came after the close is not committed");
    });
}
