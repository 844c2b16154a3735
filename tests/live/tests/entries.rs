//! Entries of every kind, and streams in every number.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tidegate_live::{Consume, Message, RedisServer, heavy, run, wait};

const BINARY: &[u8] = b"\x00\xff\xfe binary \r\n\x80";

#[test]
fn foreign_entries_between_good_ones_are_all_delivered_as_they_are() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let long = vec![b'v'; 100_000];
    let foreign: [&[(&[u8], &[u8])]; 10] = [
        &[(b"only", b"text")],
        &[(b"only", b"")],
        &[(b"only", BINARY)],
        &[(b"a", b"1"), (b"b", b"2")],
        &[(b"a", b""), (b"b", b"")],
        &[(b"a", BINARY), (b"b", b"text")],
        &[(b"", b"an empty name")],
        &[(BINARY, b"a binary name")],
        &[(b"only", &long)],
        &[("naïve ключ 鍵".as_bytes(), "значение\n\"quoted\"".as_bytes())],
    ];
    let mut ids = Vec::new();
    for _ in 0..10 {
        for fields in foreign {
            ids.push(redis.add_fields("orders", fields));
            ids.extend(redis.add("orders", ["good"]));
        }
    }
    let mut consumer = Consume::of(&server.url("orders")).member("crew", "one").start();
    consumer.wait_for_count(200);
    consumer.interrupt();
    assert_eq!(redis.pending("orders", "crew"), 0);
    let seen = consumer.seen();
    assert_eq!(
        seen.messages.iter().map(|message| &message.seq).collect::<Vec<_>>(),
        ids.iter().collect::<Vec<_>>()
    );
    for (at, (message, line)) in seen.messages.iter().zip(&seen.lines).enumerate() {
        if at % 2 == 1 {
            assert_eq!(message.payload.as_deref(), Some("good"));
        } else {
            is_shown_in_full(message, &line.text, foreign[at / 2 % foreign.len()]);
        }
    }
}

/// All fields are there; the payload is the only field's value, or null.
fn is_shown_in_full(message: &Message, line: &str, fields: &[(&[u8], &[u8])]) {
    for (name, value) in fields {
        match (std::str::from_utf8(name), std::str::from_utf8(value)) {
            (Ok(name), Ok(value)) => {
                assert_eq!(message.fields.get(name), Some(&Value::from(value)), "{line}");
            }
            // How binary fields are spelled CLI.md leaves open; their bytes are there as base64.
            (_, Err(_)) => assert!(line.contains(&BASE64_STANDARD.encode(value)), "{line}"),
            (Err(_), _) => assert!(line.contains(&BASE64_STANDARD.encode(name)), "{line}"),
        }
    }
    let (text, base64) = match fields {
        [(_, value)] => match std::str::from_utf8(value) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(BASE64_STANDARD.encode(value))),
        },
        _ => (None, None),
    };
    assert_eq!((&message.payload, &message.payload_base64), (&text, &base64), "{line}");
}

#[test]
fn msg_is_the_payload_among_other_fields() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add_fields("orders", &[(b"a", b"1"), (b"msg", b"the payload"), (b"z", b"2")]);
    redis.add_fields("orders", &[(b"msg", BINARY)]);
    let mut consumer =
        Consume::of(&server.url("orders")).args(["--from", "beginning", "--count", "2"]).start();
    consumer.finish();
    let seen = consumer.seen();
    assert_eq!(seen.messages[0].payload.as_deref(), Some("the payload"));
    assert_eq!(seen.messages[0].fields["z"], "2");
    assert_eq!(seen.messages[1].payload, None);
    assert_eq!(seen.messages[1].payload_base64, Some(BASE64_STANDARD.encode(BINARY)));
    assert!(seen.lines[1].text.contains("payload_base64") && !seen.lines[1].text.contains("\"payload\""));
}

#[test]
fn a_line_has_the_shape_that_scripts_rely_on() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.tell(&["XADD", "orders", "1767225600123-7", "msg", "hello"]);
    let done = run(&["consume", &server.url("orders"), "--from", "beginning", "--count", "1"]);
    let line: Value = serde_json::from_str(&done.expect(0).stdout[0]).unwrap();
    for (name, value) in [
        ("stream", Value::from("orders")),
        ("shard", Value::from(0)),
        ("seq", Value::from("1767225600123-7")),
        ("timestamp", Value::from("2026-01-01T00:00:00.123Z")),
        ("payload", Value::from("hello")),
        ("fields", serde_json::json!({"msg": "hello"})),
        ("deliveries", Value::from(1)),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
}

#[test]
fn payload_format_writes_the_payloads_and_nothing_else() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["one", "", "{\"three\":3}"]);
    let url = server.url("orders");
    let done = run(&["consume", &url, "--from", "beginning", "--count", "3", "--format", "payload"]);
    assert_eq!(done.expect(0).stdout, ["one", "", "{\"three\":3}"]);
}

#[test]
fn own_pending_entries_that_were_trimmed_leave_the_pending_list() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let ids = redis.add("orders", (0..20).map(|n| format!("entry-{n}")));
    redis.tell(&["XGROUP", "CREATE", "orders", "crew", "0"]);
    assert_eq!(redis.take("orders", "crew", "one", 20), ids);
    redis.tell(&["XTRIM", "orders", "MAXLEN", "5"]);
    redis.tell(&["XDEL", "orders", &ids[17]]);
    let mut consumer = Consume::of(&server.url("orders")).member("crew", "one").start();
    consumer.wait_for_payloads([15, 16, 18, 19].map(|n| format!("entry-{n}")), wait::PATIENCE);
    wait::until_true("an empty pending list", wait::PATIENCE, || redis.pending("orders", "crew") == 0);
    consumer.interrupt();
    assert_eq!(consumer.count(), 4, "what is gone is not shown");
}

#[test]
fn a_dead_consumer_s_trimmed_entries_leave_the_pending_list() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let ids = redis.add("orders", (0..300).map(|n| format!("entry-{n}")));
    redis.tell(&["XGROUP", "CREATE", "orders", "crew", "0"]);
    assert_eq!(redis.take("orders", "crew", "dead", 300), ids);
    redis.tell(&["XTRIM", "orders", "MAXLEN", "3"]);
    let mut consumer = Consume::of(&server.url("orders"))
        .member("crew", "one")
        .args(["--claim-idle", "500ms", "--claim-interval", "500ms"])
        .start();
    consumer.wait_for_payloads((297..300).map(|n| format!("entry-{n}")), wait::PATIENCE);
    wait::until_true("an empty pending list", wait::PATIENCE, || redis.pending("orders", "crew") == 0);
    consumer.interrupt();
    assert_eq!(consumer.count(), 3);
}

#[test]
fn a_thousand_quiet_streams_and_a_busy_one() {
    let _turn = heavy();
    for group in [false, true] {
        let server = RedisServer::start();
        let mut redis = server.client();
        let mut names: Vec<String> = (0..1_000).map(|n| format!("quiet-{n}")).collect();
        names.push("busy".into());
        for name in &names {
            redis.add(name, ["old"]);
        }
        let consumer = Consume::of(&server.url(&names.join(",")));
        let mut consumer = if group {
            let consumer = consumer.member("crew", "one").start();
            consumer.wait_for_count(names.len());
            consumer
        } else {
            consumer.start()
        };
        wait::until_true("a blocked read", wait::PATIENCE, || redis.someone_waits());
        let mut expected = Vec::new();
        for (round, quiet) in names[..1_000].chunks(50).enumerate() {
            let busy: Vec<String> = (0..500).map(|n| format!("busy-{round}-{n}")).collect();
            redis.add("busy", &busy);
            for name in quiet {
                redis.add(name, [format!("{name} speaks")]);
                expected.push(format!("{name} speaks"));
            }
            expected.extend(busy);
        }
        consumer.wait_for_payloads(expected.iter().cloned(), wait::PATIENCE);
        consumer.interrupt();
        let old = if group { names.len() } else { 0 };
        assert_eq!(consumer.count(), expected.len() + old, "each once");
    }
}

#[test]
fn names_of_any_bytes_and_entries_of_any_size() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let name = "a b/ü{c}";
    let big = "0123456789abcdef".repeat(1 << 17); // 2 MiB
    redis.add(name, ["small", &big, "small again"]);
    let url = server.url("a%20b%2F%C3%BC%7Bc%7D");
    let mut consumer = Consume::of(&url).member("crew 1", "one\"two").start();
    consumer.wait_for_payloads(["small", &big, "small again"], wait::PATIENCE);
    wait::until_true("all committed", Duration::from_secs(10), || redis.pending(name, "crew 1") == 0);
    assert_eq!(redis.consumers(name, "crew 1"), ["one\"two"]);
    consumer.interrupt();
    assert_eq!(consumer.seen().messages[0].stream, name);
}
