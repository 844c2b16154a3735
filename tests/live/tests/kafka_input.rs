//! Wrong input and wrong brokers: one clear line, the right exit status, and no secret in it.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use tidegate_live::kafka::{Cluster, ClusterOptions, shared, unique};
use tidegate_live::{Consume, RedisServer, is_fatal, is_refused, run, unused_port, wait};

const SECRET: &str = "s3cr3t-0f-the-tide";

#[test]
fn a_wrong_url_is_refused() {
    for url in
        ["kafka:///", "kafka://127.0.0.1:port/orders", "kafka://127.0.0.1:70000/orders", "kafka:orders"]
    {
        is_refused(&run(&["consume", url, "--exit-idle", "1s"]), &["url"]);
    }
    let done = run(&["consume", "kafka://127.0.0.1:1/", "--exit-idle", "1s"]);
    is_refused(&done, &[]);
    done.says_one_of(&["topic", "stream"]);
    let with_secret = format!("kafka://tide:{SECRET}@127.0.0.1:port/orders");
    let done = run(&["consume", &with_secret, "--exit-idle", "1s"]);
    is_refused(&done, &[]);
    done.never_says(SECRET);
}

#[test]
fn an_unreachable_bootstrap_list_is_fatal_at_the_start() {
    let ports = [unused_port().to_string(), unused_port().to_string()];
    let list = format!("127.0.0.1:{},127.0.0.1:{}", ports[0], ports[1]);
    for mode in [&[][..], &["--mode", "load-balanced", "--group", "crew"], &["--create"]] {
        let url = format!("kafka://{list}/orders");
        let done = run(&[&["consume", &url], mode].concat());
        is_fatal(&done, &["127.0.0.1", "refused"]);
        done.says_one_of(&[&ports[0], &ports[1]]);
    }
    let done = run(&["consume", &format!("kafka://tide:{SECRET}@{list}/orders")]);
    is_fatal(&done, &[]);
    done.never_says(SECRET);
}

#[test]
fn one_reachable_broker_of_the_list_is_enough() {
    let kafka = shared();
    let topic = kafka.topic(1);
    kafka.add(&topic, ["one"]);
    for list in [
        format!("127.0.0.1:{},{}", unused_port(), kafka.bootstrap()),
        format!("{},127.0.0.1:{}", kafka.bootstrap(), unused_port()),
    ] {
        let url = format!("kafka://{list}/{topic}");
        let mut consumer = Consume::of(&url).args(["--from", "beginning"]).start();
        consumer.wait_for_payloads(["one"], wait::PATIENCE);
        consumer.interrupt();
    }
}

#[test]
fn an_unknown_topic_is_fatal_without_create_and_made_with_it() {
    let kafka = shared();
    let topic = unique("missing");
    let url = kafka.url(&topic);
    let group = unique("group");
    for mode in [&[][..], &["--mode", "load-balanced", "--group", &group]] {
        is_fatal(&run(&[&["consume", &url], mode].concat()), &[&topic, "--create"]);
    }
    let known = kafka.topic(1);
    is_fatal(&run(&["consume", &kafka.url(&format!("{known},{topic}"))]), &[&topic, "--create"]);
    assert!(!kafka.has_topic(&topic), "nothing is created unasked");

    let mut consumer = Consume::of(&url).member(&group, "one").args(["--create"]).start();
    wait::until_true("the topic is there", wait::PATIENCE, || kafka.has_topic(&topic));
    kafka.add(&topic, ["first"]);
    consumer.wait_for_payloads(["first"], wait::PATIENCE);
    consumer.interrupt();
}

#[test]
fn a_name_that_no_topic_can_have_is_fatal() {
    let kafka = shared();
    for name in ["or%20ders", "%c3%b6rders", "..", &"x".repeat(300)] {
        for create in [&[][..], &["--create"]] {
            let done = run(&[&["consume", &kafka.url(name)], create].concat());
            is_refused(&done, &[]);
            done.says_one_of(&["topic", "name"]);
        }
    }
}

#[test]
fn an_unknown_option_or_value_is_wrong_usage() {
    let url = "kafka://127.0.0.1:1/orders";
    for args in [
        &["consume", url, "--protocol", "telepathy"][..],
        &["consume", url, "--assignor", "fair"],
        &["consume", url, "--isolation", "serializable"],
        &["consume", url, "--reset", "sometimes"],
        &["consume", url, "--session-timeout", "soon"],
    ] {
        let done = run(args);
        done.expect(2);
        assert!(done.stdout.is_empty(), "{done:#?}");
        done.says(args.last().unwrap());
    }
    let classic_only =
        ["--mode", "load-balanced", "--group", "crew", "--protocol", "consumer", "--assignor", "range"];
    is_refused(&run(&[&["consume", url], &classic_only[..]].concat()), &["assignor"]);
    is_refused(&run(&["consume", url, "--mode", "load-balanced"]), &["--group"]);
    is_refused(&run(&["consume", url, "--group", "crew"]), &["group"]);
}

#[test]
fn the_share_protocol_works_or_is_refused_in_words() {
    let kafka = shared();
    let topic = kafka.topic(1);
    let group = unique("group");
    let args = ["--mode", "load-balanced", "--group", &group, "--protocol", "share", "--exit-idle", "1s"];
    let done = run(&[&["consume", &kafka.url(&topic)], &args[..]].concat());
    if done.status.code() != Some(0) {
        is_refused(&done, &["share"]);
        assert_eq!(done.stderr.len(), 1, "{done:#?}");
    }
}

#[test]
fn a_broker_without_the_consumer_protocol_gets_the_classic_one_unless_it_was_asked_for() {
    let options = ClusterOptions { features: vec!["group.version=0".into()], ..ClusterOptions::default() };
    let cluster = Cluster::with(1, &options);
    let kafka = cluster.admin();
    let (topic, group) = (kafka.topic(2), unique("group"));
    let mut consumer = Consume::of(&kafka.url(&topic)).member(&group, "one").start();
    kafka.wait_until_shared(&group, &topic, &[2], wait::PATIENCE);
    assert_eq!(kafka.group(&group).unwrap().kind, "Classic");
    kafka.add(&topic, ["one"]);
    consumer.wait_for_payloads(["one"], wait::PATIENCE);
    consumer.interrupt();
    let group = unique("group");
    let args = ["--mode", "load-balanced", "--group", &group, "--protocol", "consumer"];
    let done = run(&[&["consume", &kafka.url(&topic)], &args[..]].concat());
    is_fatal(&done, &["consumer"]);
    done.says_one_of(&["classic", "KIP-848", "support"]);
}

#[test]
fn an_invalid_group_is_fatal() {
    let kafka = shared();
    let topic = kafka.topic(1);
    let url = kafka.url(&topic);
    let load_balanced = ["consume", &url, "--mode", "load-balanced"];
    is_refused(&run(&[&load_balanced[..], &["--group", ""]].concat()), &["group"]);
    let group = unique("group");
    for timeout in ["100ms", "24h"] {
        let args = ["--group", &group, "--protocol", "classic", "--session-timeout", timeout];
        let done = run(&[&load_balanced[..], &args].concat());
        is_refused(&done, &["session"]);
        assert_eq!(done.stderr.len(), 1, "one line: {done:#?}");
    }
}

fn guarded() -> Cluster {
    let users = [("tide", SECRET), ("stranger", "pw")];
    let users = users.map(|(user, password)| (user.into(), password.into())).into();
    Cluster::with(1, &ClusterOptions { users, ..ClusterOptions::default() })
}

#[test]
fn who_may_not_is_told_what_and_who_may_reads() {
    let cluster = guarded();
    let kafka = cluster.admin();
    let (topic, group) = (kafka.topic(1), unique("group"));
    kafka.add(&topic, ["one"]);
    let login = format!("tide:{SECRET}");
    let url = cluster.guarded_url(&login, &topic);

    // The wrong password, an unknown user, none at all.
    for login in [format!("tide:{SECRET}-wrong"), format!("nobody:{SECRET}")] {
        let done = run(&["consume", &cluster.guarded_url(&login, &topic)]);
        is_fatal(&done, &[]);
        done.says_one_of(&["password", "authentication", "log in", "login"]).never_says(SECRET);
    }
    let plain = url.replace(&format!("{login}@"), "");
    let done = run(&["consume", &plain]);
    is_refused(&done, &[]);
    // A login where none is taken. The words are our own: nothing in them is the password.
    let done = run(&["consume", &format!("kafka://tide:port@{}/{topic}", cluster.bootstrap())]);
    is_fatal(&done, &["no SASL on this port"]);

    // No right to anything, then to one of the two, then to both. Whoever is refused must know what to
    // ask for, so the line names it.
    let member = ["--mode", "load-balanced", "--group", &group, "--exit-idle", "3s"];
    let read = |url: &str| run(&[&["consume", url], &member[..]].concat());
    let forbidden = |what: &[&str]| {
        let done = read(&url);
        is_fatal(&done, &[]);
        done.says_one_of(&["authoriz", "permission", "may not", "not allowed"]).never_says(SECRET);
        done.says_one_of(what);
    };
    forbidden(&[&topic, &group]);
    kafka.allow("tide", "Read", "Topic", &topic);
    forbidden(&[&group]);
    kafka.allow("tide", "Read", "Group", &group);
    wait::until_true("the rights count", wait::PATIENCE, || read(&url).stdout.len() == 1);
    let other = kafka.topic(1);
    let done = run(&["consume", &cluster.guarded_url(&login, &other)]);
    is_fatal(&done, &[&other]);
    done.says_one_of(&["authoriz", "permission", "may not", "not allowed", "does not exist"]);

    // To see a topic is not to read it.
    kafka.allow("stranger", "Describe", "Topic", &topic);
    let stranger = cluster.guarded_url("stranger:pw", &topic);
    let mut consumer = Consume::of(&stranger).args(["--from", "beginning"]).start();
    wait::until_true("it is said, at its end or in a notice", wait::PATIENCE, || {
        let seen = consumer.seen();
        seen.noticed("authoriz") || seen.noticed("permission") || seen.noticed("not allowed")
    });
    assert_eq!(consumer.count(), 0);
    if !consumer.ends_within(Duration::from_secs(2)) {
        kafka.allow("stranger", "Read", "Topic", &topic);
        consumer.wait_for_payloads(["one"], wait::PATIENCE);
    }
}

/// A listener that answers whatever it is asked with what `answer` makes of it, and keeps the
/// connection.
fn answers(answer: fn(&[u8]) -> Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            std::thread::spawn(move || {
                let mut buffer = [0; 1024];
                while let Ok(length @ 1..) = connection.read(&mut buffer) {
                    if connection.write_all(&answer(&buffer[..length])).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// What a broker from before most of the protocol would say: of ApiVersions it knows version 0, in which
/// it says so too, and of the rest only Fetch of versions 0 to 3.
fn ancient(request: &[u8]) -> Vec<u8> {
    let (version, correlation) = (&request[6..8], &request[8..12]);
    let mut body = correlation.to_vec();
    body.extend(if version == [0, 0] { [0, 0] } else { [0, 35] });
    body.extend([0, 0, 0, 2]);
    body.extend([0, 18, 0, 0, 0, 0]);
    body.extend([0, 1, 0, 0, 0, 3]);
    let mut answer = (body.len() as u32).to_be_bytes().to_vec();
    answer.extend(body);
    answer
}

#[test]
fn what_is_no_broker_of_a_known_version_is_refused_in_words() {
    let redis = RedisServer::start();
    let mut wrong = Vec::new();
    for (what, port) in [
        ("a web server", answers(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".into())),
        ("a huge length", answers(|_| b"\x7f\xff\xff\xff\0\0\0\0".into())),
        ("a negative length", answers(|_| b"\xff\xff\xff\xff".into())),
        ("a wrong correlation id", answers(|_| b"\0\0\0\x0a\x77\x77\x77\x77\0\0\0\0\0\0".into())),
        ("an ancient broker", answers(ancient)),
        ("redis", redis.port()),
    ] {
        let url = format!("kafka://127.0.0.1:{port}/orders");
        let mut consumer = Consume::of(&url).start();
        // To give up is one way; to go on trying, and to say why, is the other.
        consumer.wait_for(what, Duration::from_secs(25), |seen| !seen.notices.is_empty());
        let ended = consumer.ends_within(Duration::from_secs(1));
        let seen = consumer.seen();
        assert_eq!(seen.messages.len(), 0);
        println!("{what}: {}", seen.stderr_tail().trim());
        if seen.noticed("panicked") || !seen.noticed(&port.to_string()) || (ended && seen.notices.len() != 1)
        {
            wrong.push((what, seen.stderr_tail()));
        }
    }
    assert!(wrong.is_empty(), "it should say who and why, in one line if it ends: {wrong:#?}");
}

#[test]
fn the_password_is_in_no_output_and_in_no_trace() {
    let cluster = guarded();
    let kafka = cluster.admin();
    let (topic, group) = (kafka.topic(1), unique("group"));
    kafka.allow("tide", "Read", "Topic", &topic);
    kafka.allow("tide", "Read", "Group", &group);
    kafka.add(&topic, ["one"]);
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let mut consumer = Consume::of(&cluster.guarded_url(&format!("tide:{SECRET}"), &topic))
        .member(&group, "one")
        .args(["--record", trace.to_str().unwrap()])
        .env("RUST_LOG", "trace")
        .start();
    consumer.wait_for_payloads(["one"], wait::PATIENCE);
    consumer.interrupt();
    consumer.never_said(SECRET);
    let trace = std::fs::read(trace).unwrap();
    assert!(trace.len() > 100, "there is a trace");
    let told = trace.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
    assert!(!told, "a trace is what people attach to a bug report");
}
