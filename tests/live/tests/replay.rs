//! A recorded run can be replayed, and a changed record is found out.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::path::{Path, PathBuf};

use tidegate_live::{Consume, RedisServer, run, wait};

/// A run with a reconnect in it, recorded.
fn recorded(dir: &Path, args: &[&str]) -> PathBuf {
    let trace = dir.join("trace");
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", (0..50).map(|n| format!("entry-{n}")));
    redis.add_fields("orders", &[(b"binary", b"\x00\xff\n\"")]);
    let mut consumer = Consume::of(&server.url("orders"))
        .args(args)
        .args(["--from", "beginning", "--commit-interval", "50ms", "--record", trace.to_str().unwrap()])
        .start();
    consumer.wait_for_count(51);
    for client in redis.clients() {
        redis.kill(client.id);
    }
    redis.add("orders", ["after"]);
    consumer.wait_for_payloads(["after"], wait::PATIENCE);
    consumer.interrupt();
    trace
}

fn replay(trace: &Path) -> tidegate_live::Finished {
    run(&["replay", trace.to_str().unwrap()])
}

#[test]
fn a_recorded_run_replays_the_same_commands() {
    for args in [
        &[][..],
        &["--mode", "load-balanced", "--group", "crew", "--consumer", "one"],
        &["--mode", "load-balanced", "--group", "crew"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let trace = recorded(dir.path(), args);
        let text = std::fs::read_to_string(&trace).unwrap();
        assert!(text.lines().count() > 20, "a line for each event and command:\n{text}");
        replay(&trace).expect(0);
    }
}

#[test]
fn a_changed_record_fails_to_replay() {
    let dir = tempfile::tempdir().unwrap();
    let trace = recorded(dir.path(), &["--mode", "load-balanced", "--group", "crew", "--consumer", "one"]);
    replay(&trace).expect(0);
    let text = std::fs::read_to_string(&trace).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let third = lines.len() / 3;
    let changed = dir.path().join("changed");
    std::fs::write(&changed, [&lines[..third], &lines[2 * third..]].concat().join("\n")).unwrap();
    let done = replay(&changed);
    assert!(matches!(done.status.code(), Some(1 | 2)), "{:?}, {:?}", done.status, done.stderr);
    assert!(!done.stderr.is_empty(), "it says where");
}

#[test]
fn what_is_no_record_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let nonsense = dir.path().join("nonsense");
    std::fs::write(&nonsense, b"this is no trace\n\x00\xff").unwrap();
    for trace in [nonsense, dir.path().join("missing")] {
        let done = replay(&trace);
        assert!(matches!(done.status.code(), Some(1 | 2)), "{done:#?}");
        done.says(trace.file_name().unwrap().to_str().unwrap());
    }
}
