//! Where reading begins, in which shards, and where it ends.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tidegate_live::{Client, Consume, RedisServer, run, wait};

/// 2023-11-14T22:13:20.000Z, and what follows.
const IDS: [&str; 5] =
    ["1700000000000-0", "1700000000000-1", "1700000000000-2", "1700000000001-0", "1700000000002-0"];

fn stream() -> (RedisServer, Client) {
    let server = RedisServer::start();
    let mut redis = server.client();
    for id in IDS {
        redis.tell(&["XADD", "orders", id, "msg", id]);
    }
    (server, redis)
}

/// The payloads (here: the ids) that come until nothing came for a second.
fn shown(server: &RedisServer, args: &[&str]) -> Vec<String> {
    let url = server.url("orders");
    let done = run(&[&["consume", &url, "--format", "payload", "--exit-idle", "1s"], args].concat());
    done.expect(0).stdout.clone()
}

#[test]
fn from_the_beginning_shows_all_in_order() {
    let (server, _redis) = stream();
    assert_eq!(shown(&server, &["--from", "beginning"]), IDS);
}

#[test]
fn from_a_sequence_is_inclusive_within_a_millisecond() {
    let (server, _redis) = stream();
    assert_eq!(shown(&server, &["--from", IDS[1]]), IDS[1..]);
    assert_eq!(shown(&server, &["--from", IDS[4]]), IDS[4..]);
    assert_eq!(shown(&server, &["--from", "1700000000000-7"]), IDS[3..], "between two entries");
}

#[test]
fn from_a_time_is_strictly_later() {
    let (server, _redis) = stream();
    assert_eq!(shown(&server, &["--from", "2023-11-14T22:13:20.000Z"]), IDS[3..]);
    assert_eq!(shown(&server, &["--from", "2023-11-14T23:13:20.001+01:00"]), IDS[4..]);
    assert_eq!(shown(&server, &["--from", "2023-11-14T22:13:19Z"]), IDS);
}

#[test]
fn real_time_begins_now_and_so_does_from_the_end() {
    for args in [&[][..], &["--from", "end"]] {
        let (server, mut redis) = stream();
        let mut consumer = Consume::of(&server.url("orders")).args(args).start();
        wait::until_true("a blocked read", wait::PATIENCE, || redis.someone_waits());
        redis.add("orders", ["new"]);
        consumer.wait_for_payloads(["new"], wait::PATIENCE);
        consumer.interrupt();
        assert_eq!(consumer.count(), 1);
    }
}

#[test]
fn a_new_group_begins_at_the_beginning_or_at_the_end_and_an_old_one_where_it_was() {
    let (server, mut redis) = stream();
    let group = |name: &'static str| ["--mode", "load-balanced", "--group", name];
    assert_eq!(shown(&server, &group("plain")), IDS);
    assert_eq!(shown(&server, &[&group("named")[..], &["--from", "beginning"]].concat()), IDS);
    let late = shown(&server, &[&group("late")[..], &["--from", "end"]].concat());
    assert_eq!(late, [""; 0]);
    redis.add("orders", ["new"]);
    assert_eq!(shown(&server, &group("plain")), ["new"]);
    assert_eq!(shown(&server, &[&group("named")[..], &["--from", "beginning"]].concat()), ["new"]);
    assert_eq!(shown(&server, &[&group("late")[..], &["--from", "end"]].concat()), ["new"]);
}

#[test]
fn count_and_exit_idle_end_with_status_0() {
    let (server, redis) = stream();
    assert_eq!(shown(&server, &["--from", "beginning", "--count", "2"]), IDS[..2]);
    let url = server.url("orders");
    let began = Instant::now();
    run(&["consume", &url, "--exit-idle", "2s"]).expect(0);
    assert!(began.elapsed() >= Duration::from_secs(2));
    drop(redis);
    // Each message begins the wait anew.
    let mut redis = server.client();
    let mut consumer = Consume::of(&url).args(["--exit-idle", "2s"]).start();
    wait::until_true("a blocked read", wait::PATIENCE, || redis.someone_waits());
    for _ in 0..4 {
        let before = consumer.count();
        std::thread::sleep(Duration::from_millis(800)); // the quiet that is measured
        redis.add("orders", ["more"]);
        consumer.wait_for_count(before + 1);
    }
    consumer.finish();
    assert_eq!(consumer.count(), 4);
}

#[test]
fn shards_are_found_at_the_start_and_while_running() {
    for group in [true, false] {
        let server = RedisServer::start();
        let mut redis = server.client();
        for shard in 0..3 {
            redis.add(&format!("orders:{shard}"), [format!("old in {shard}")]);
        }
        redis.add("orders:x", ["not a shard"]);
        redis.add("orders:1:2", ["nor this"]);
        let consumer = Consume::of(&server.url("orders"));
        let consumer =
            if group { consumer.member("crew", "one") } else { consumer.args(["--from", "beginning"]) };
        let mut consumer = consumer.start();
        consumer.wait_for_payloads((0..3).map(|shard| format!("old in {shard}")), wait::PATIENCE);
        redis.add("orders:3", ["new shard, first", "new shard, second"]);
        redis.add("orders:1", ["meanwhile"]);
        let new = ["new shard, first", "new shard, second", "meanwhile"];
        consumer.wait_for_payloads(new, Duration::from_secs(60));
        redis.add("orders:3", ["new shard, third"]);
        consumer.wait_for_payloads(["new shard, third"], wait::PATIENCE);
        consumer.interrupt();
        let seen = consumer.seen();
        assert_eq!(seen.messages.len(), 7);
        for message in &seen.messages {
            assert_eq!(message.stream, "orders");
        }
        let shards: BTreeSet<u64> = seen.messages.iter().map(|message| message.shard).collect();
        assert_eq!(shards, [0, 1, 2, 3].into());
        let third = seen.messages.iter().find(|m| m.payload.as_deref() == Some("new shard, third"));
        assert_eq!(third.unwrap().shard, 3);
    }
}

#[test]
fn several_streams_are_read_side_by_side() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["an order"]);
    redis.add("returns:0", ["a return"]);
    redis.add("returns:1", ["another"]);
    redis.add("other", ["not asked for"]);
    let url = server.url("orders,returns");
    let done = run(&["consume", &url, "--from", "beginning", "--format", "payload", "--exit-idle", "1s"]);
    let shown: BTreeSet<&str> = done.expect(0).stdout.iter().map(String::as_str).collect();
    assert_eq!(shown, ["an order", "a return", "another"].into());
}

#[test]
fn shard_reads_only_what_is_named() {
    let server = RedisServer::start();
    let mut redis = server.client();
    for shard in 0..3 {
        redis.add(&format!("orders:{shard}"), [format!("in {shard}")]);
    }
    let only = |shards: &[&str]| {
        let mut args = vec!["--from", "beginning"];
        args.extend(shards.iter().flat_map(|shard| ["--shard", shard]));
        shown(&server, &args).into_iter().collect::<BTreeSet<_>>()
    };
    assert_eq!(only(&["orders:1"]), ["in 1".to_owned()].into());
    assert_eq!(only(&["orders:0", "orders:2"]), ["in 0".to_owned(), "in 2".to_owned()].into());
    let wrong = run(&["consume", &server.url("orders"), "--shard", "elsewhere:1", "--exit-idle", "1s"]);
    assert_ne!(wrong.status.code(), Some(0), "only subscribed streams can be assigned: {wrong:#?}");
    wrong.says("elsewhere");
}
