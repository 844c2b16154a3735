//! A recorded run can be replayed, and a changed record is found out.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::path::{Path, PathBuf};

use tidegate_live::kafka::{shared, unique};
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

/// A record that can't be read: one line that names the file and says this.
#[track_caller]
fn refused(trace: &Path, says: &str) {
    let html = trace.with_extension("html");
    let done = run(&["replay", trace.to_str().unwrap(), "--html", html.to_str().unwrap()]);
    done.expect(1).says(trace.to_str().unwrap()).says(says);
    assert_eq!((done.stdout.len(), done.stderr.len()), (0, 1), "{done:#?}");
    assert!(!html.exists(), "nothing to draw");
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
        // As it was before a trace told of the wall clock.
        let older: String =
            text.split_inclusive('\n').filter(|line| !line.starts_with("= wall-clock ")).collect();
        assert_ne!(older, text);
        std::fs::write(&trace, older).unwrap();
        replay(&trace).expect(0);
    }
}

#[test]
fn a_recorded_run_on_kafka_replays_the_same_commands() {
    let kafka = shared();
    for args in [
        &["--protocol", "consumer"][..],
        &["--protocol", "classic", "--assignor", "sticky"],
        // What is asked for goes by the wall clock.
        &["--protocol", "consumer", "--reset", "2h"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let trace = dir.path().join("trace");
        let topic = kafka.topic(3);
        kafka.add(&topic, (0..50).map(|n| format!("record-{n}")));
        let mut consumer = Consume::of(&kafka.url(&topic))
            .member(&unique("group"), "one")
            .args(args)
            .args(["--commit-interval", "50ms", "--record", trace.to_str().unwrap()])
            .start();
        consumer.wait_for_count(50);
        kafka.add(&topic, ["after"]);
        consumer.wait_for_payloads(["after"], wait::PATIENCE);
        consumer.interrupt();
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
fn a_record_is_drawn_as_one_file_that_loads_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let trace = recorded(dir.path(), &["--mode", "load-balanced", "--group", "crew", "--consumer", "one"]);
    let html = dir.path().join("timeline.html");
    let done = run(&["replay", trace.to_str().unwrap(), "--html", html.to_str().unwrap()]);
    done.expect(0).says(&format!("timeline: {}", html.display())).says("all as recorded");
    let page = std::fs::read_to_string(&html).unwrap();
    assert!(page.trim_end().ends_with("</html>"), "{page}");
    // What it draws: 52 messages of a stream, and an outage.
    assert!(page.contains("orders/0") && page.contains("\"one\""), "{page}");
    let page = page.to_lowercase();
    for way_out in ["http://", "https://", "src=", "href=", "url(", "@import", "<link", "<img", "<iframe"] {
        assert!(!page.contains(way_out), "{way_out}");
    }
    let nowhere = run(&["replay", trace.to_str().unwrap(), "--html", "/nowhere/at/all"]);
    nowhere.expect(1).says("error: /nowhere/at/all: No such file");
}

#[test]
fn a_corrupt_record_and_one_of_another_version_are_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let trace = recorded(dir.path(), &[]);
    let text = std::fs::read_to_string(&trace).unwrap();
    let write = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let lines: Vec<&str> = text.lines().collect();
    // A line in the middle that says nothing, and one that isn't text.
    let middle = lines.len() / 2;
    let mut odd = lines.clone();
    odd[middle] = "17 > nonsense";
    refused(&write("nonsense", odd.join("\n")), &format!("line {}", middle + 1));
    odd[middle] = "\u{0}\u{7f}\u{fffd}";
    refused(&write("binary", odd.join("\n")), &format!("line {}", middle + 1));
    // An option that there isn't.
    let unknown = text.replacen("\n= batch ", "\n= catch ", 1);
    assert_ne!(unknown, text);
    refused(&write("unknown", unknown), "catch");
    let newer = text.replacen("tidegate-trace ", "tidegate-trace 9", 1);
    assert_ne!(newer, text);
    refused(&write("newer", newer), "version 9");
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
