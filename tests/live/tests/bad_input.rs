//! Wrong input and wrong servers: one clear line, the right exit status, and no secret in it.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::time::Duration;

use tidegate_live::{Consume, Options, RedisServer, is_fatal, is_refused, run, unused_port, wait};

const SECRET: &str = "s3cr3t-0f-the-tide";

fn protected() -> RedisServer {
    RedisServer::with(Options { password: Some(SECRET.into()), ..Options::default() })
}

#[test]
fn a_wrong_url_is_refused() {
    for url in [
        "orders",
        "http://127.0.0.1/orders",
        "redis:///",
        "redis://127.0.0.1:port/orders",
        "redis://127.0.0.1:70000/orders",
        "",
    ] {
        is_refused(&run(&["consume", url, "--exit-idle", "1s"]), &["url"]);
    }
    is_refused(&run(&["consume", "redis://127.0.0.1:1/", "--exit-idle", "1s"]), &["stream"]);
    let with_secret = format!("redis://tide:{SECRET}@127.0.0.1:port/orders");
    let done = run(&["consume", &with_secret, "--exit-idle", "1s"]);
    is_refused(&done, &[]);
    done.never_says(SECRET);
}

#[test]
fn a_refused_connection_is_fatal_at_the_start() {
    let port = unused_port().to_string();
    let url = format!("redis://127.0.0.1:{port}/orders");
    is_fatal(&run(&["consume", &url]), &["127.0.0.1", &port, "refused"]);
    let url = format!("redis://tide:{SECRET}@127.0.0.1:{port}/orders");
    let done = run(&["consume", &url]);
    is_fatal(&done, &[&port]);
    done.never_says(SECRET);
}

#[test]
fn a_wrong_password_is_fatal_and_not_repeated() {
    let server = protected();
    for url in [
        format!("redis://:{SECRET}-wrong@127.0.0.1:{}/orders", server.port()),
        format!("redis://tide:{SECRET}-wrong@127.0.0.1:{}/orders", server.port()),
    ] {
        let done = run(&["consume", &url]);
        is_fatal(&done, &[]);
        done.says_one_of(&["password", "wrongpass"]).never_says(SECRET);
    }
    let done = run(&["consume", &format!("redis://127.0.0.1:{}/orders", server.port())]);
    is_fatal(&done, &[]);
    done.says_one_of(&["password", "auth"]);
}

#[test]
fn a_missing_stream_is_fatal_without_create_and_made_with_it() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let url = server.url("orders");
    is_fatal(&run(&["consume", &url]), &["orders", "--create"]);
    let group = ["consume", &url, "--mode", "load-balanced", "--group", "crew"];
    is_fatal(&run(&group), &["orders", "--create"]);
    assert_eq!(redis.run::<u64>(&["EXISTS", "orders"]), 0, "nothing is created unasked");
    let mut consumer = Consume::of(&url).member("crew", "one").args(["--create"]).start();
    wait::until_true("a blocked read", wait::PATIENCE, || redis.someone_waits());
    redis.add("orders", ["first"]);
    consumer.wait_for_payloads(["first"], wait::PATIENCE);
    consumer.interrupt();
}

#[test]
fn a_key_of_another_type_is_fatal_at_the_start() {
    let server = RedisServer::start();
    server.client().tell(&["SET", "orders", "a string"]);
    let url = server.url("orders");
    for mode in [&[][..], &["--mode", "load-balanced", "--group", "crew"], &["--create"]] {
        let done = run(&[&["consume", &url], mode].concat());
        is_fatal(&done, &["orders"]);
        done.says_one_of(&["type", "string", "not a stream"]);
    }
}

#[test]
fn an_unknown_option_or_value_is_wrong_usage() {
    let url = "redis://127.0.0.1:1/orders";
    for args in [
        &["consume", url, "--mode", "sideways"][..],
        &["consume", url, "--commit", "sometimes"],
        &["consume", url, "--commit-interval", "soon"],
        &["consume", url, "--claim-interval", "5"],
        &["consume", url, "--batch", "many"],
        &["consume", url, "--count", "-1"],
        &["consume", url, "--format", "xml"],
        &["consume", url, "--from", "yesterday-ish"],
        &["consume", url, "--shard", "orders"],
        &["consume", url, "--runtime", "threads"],
        &["consume", url, "--no-such-option"],
    ] {
        let done = run(args);
        done.expect(2);
        assert!(done.stdout.is_empty(), "{done:#?}");
        done.says(args.last().unwrap());
    }
    run(&["consume"]).expect(2);
    run(&["no-such-command"]).expect(2);
}

#[test]
fn a_group_is_asked_for_where_one_is_needed() {
    let server = RedisServer::start();
    server.client().add("orders", ["one"]);
    let url = server.url("orders");
    is_refused(&run(&["consume", &url, "--mode", "load-balanced"]), &["--group"]);
}

#[test]
fn the_help_shows_an_example() {
    for args in [&["--help"][..], &["consume", "--help"], &["replay", "--help"]] {
        let done = run(args);
        assert!(done.expect(0).stdout.iter().any(|line| line.contains("tidegate ")), "{done:#?}");
    }
    assert!(run(&["consume", "--help"]).stdout.iter().any(|line| line.contains("redis://")));
    run(&["--version"]).expect(0);
}

#[test]
fn the_password_is_in_no_output_and_in_no_trace() {
    let server = protected();
    let mut redis = server.client();
    redis.add("orders", ["one"]);
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let record = ["--record", trace.to_str().unwrap()];
    let mut consumer = Consume::of(&server.url("orders"))
        .member("crew", "one")
        .args(record)
        .env("RUST_LOG", "trace")
        .start();
    consumer.wait_for_count(1);
    // A reconnect logs in again, and says that it reconnects.
    let notices = consumer.seen().notices.len();
    for client in redis.clients() {
        redis.kill(client.id);
    }
    redis.add("orders", ["two"]);
    consumer.wait_for_payloads(["two"], wait::PATIENCE);
    consumer.wait_for("a notice", wait::PATIENCE, |seen| seen.notices.len() > notices);
    // And one in vain.
    redis.tell(&["CONFIG", "SET", "requirepass", "another"]);
    let notices = consumer.seen().notices.len();
    for client in redis.clients() {
        redis.kill(client.id);
    }
    wait::until_true("its end or a notice", wait::PATIENCE, || {
        consumer.seen().notices.len() > notices || !consumer.is_running()
    });
    redis.tell(&["CONFIG", "SET", "requirepass", SECRET]);
    if consumer.is_running() {
        consumer.signal(tidegate_live::Signal::INT);
    }
    consumer.end_within(Duration::from_secs(6));
    consumer.never_said(SECRET);
    let trace = std::fs::read(trace).unwrap();
    let told = trace.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    assert!(!told, "a trace is what people attach to a bug report");
}

#[test]
fn users_and_escaped_passwords_log_in() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.tell(&["ACL", "SETUSER", "tide", "on", ">p@ss:w/rd", "~*", "+@all"]);
    redis.add("orders", ["one"]);
    let url = format!("redis://tide:p%40ss%3Aw%2Frd@127.0.0.1:{}/orders", server.port());
    let mut consumer = Consume::of(&url).args(["--from", "beginning"]).start();
    consumer.wait_for_payloads(["one"], wait::PATIENCE);
    consumer.interrupt();
    consumer.never_said("p@ss:w/rd");
    consumer.never_said("p%40ss%3Aw%2Frd");
}

#[test]
fn a_user_without_the_right_is_told_which() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["one"]);
    redis.tell(&["ACL", "SETUSER", "tide", "on", ">pw", "~*", "+@all", "-xreadgroup"]);
    let url = format!("redis://tide:pw@127.0.0.1:{}/orders", server.port());
    let mut consumer = Consume::of(&url).member("crew", "one").start();
    wait::until_true("it is said, at its end or in a notice", wait::PATIENCE, || {
        consumer.seen().noticed("noperm") || consumer.seen().noticed("permission")
    });
    assert_eq!(consumer.count(), 0);
    // To give up is one way, to wait for the right is the other.
    if !consumer.ends_within(Duration::from_secs(2)) {
        redis.tell(&["ACL", "SETUSER", "tide", "+xreadgroup"]);
        consumer.wait_for_payloads(["one"], wait::PATIENCE);
        consumer.interrupt();
    }
}

#[test]
fn resp3_is_spoken_where_it_is_understood_and_resp2_elsewhere() {
    for (args, password, protocol) in [
        (&[][..], None, 3),
        (&["--rename-command", "HELLO", ""], None, 2),
        (&["--rename-command", "HELLO", ""], Some(SECRET), 2),
    ] {
        let server = RedisServer::with(Options {
            password: password.map(str::to_owned),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            ..Options::default()
        });
        // redis-rs needs no HELLO either.
        let mut redis = server.client();
        redis.add("orders", ["one", "two"]);
        for group in [false, true] {
            let consumer = Consume::of(&server.url("orders"));
            let consumer =
                if group { consumer.member("crew", "one") } else { consumer.args(["--from", "beginning"]) };
            let mut consumer = consumer.start();
            consumer.wait_for_payloads(["one", "two"], wait::PATIENCE);
            let clients = redis.clients();
            assert!(
                !clients.is_empty() && clients.iter().all(|client| client.protocol == protocol),
                "{clients:?}"
            );
            assert!(clients.iter().all(|client| !client.name.is_empty()), "CLIENT SETNAME: {clients:?}");
            consumer.interrupt();
            assert_eq!(consumer.count(), 2);
            wait::until_true("its connections are gone", wait::PATIENCE, || redis.clients().is_empty());
        }
    }
}
