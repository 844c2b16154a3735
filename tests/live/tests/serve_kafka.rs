//! kcat and tidegate's own consumer at `tidegate serve kafka`.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod serve_tools;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serve_tools::Served;
use tidegate_live::{Consume, is_refused, run, wait};

/// kcat, with what it reads and what it says.
fn kcat(served: &Served, args: &[&str], input: &str) -> String {
    let program = std::env::var_os("KCAT").unwrap_or_else(|| "kcat".into());
    let broker = format!("127.0.0.1:{}", served.port());
    let mut command = Command::new(program);
    command
        .args(["-b", &broker])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "kcat {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn lines(from: u32, to: u32) -> String {
    (from..to).map(|number| format!("line {number}\n")).collect()
}

#[test]
fn what_kcat_writes_in_any_codec_both_read() {
    let served = Served::kafka(&[]);
    for (codec, round) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().zip(0..) {
        kcat(&served, &["-P", "-t", "orders", "-z", codec], &lines(round * 500, round * 500 + 500));
    }
    assert_eq!(kcat(&served, &["-C", "-t", "orders", "-o", "beginning", "-e", "-q"], ""), lines(0, 2_500));
    assert_eq!(
        kcat(&served, &["-C", "-t", "orders", "-o", "1200", "-c", "3", "-q"], ""),
        lines(1_200, 1_203)
    );
    let consumer = Consume::of(&served.url("orders")).args(["--from", "beginning"]).start();
    wait::until_true("all came", wait::PATIENCE, || consumer.count() >= 2_500);
    let said: Vec<String> =
        consumer.seen().messages.iter().filter_map(|message| message.payload.clone()).collect();
    assert_eq!(said.join("\n") + "\n", lines(0, 2_500), "in order, once");
}

#[test]
fn who_waits_at_the_end_gets_what_comes() {
    let served = Served::kafka(&[]);
    kcat(&served, &["-P", "-t", "orders"], "old\n");
    let consumer = Consume::of(&served.url("orders")).start();
    wait::until_true("it reads", wait::PATIENCE, || consumer.seen().noticed("ready"));
    kcat(&served, &["-P", "-t", "orders"], "new\n");
    consumer.wait_for_payloads(["new"], wait::PATIENCE);
    assert_eq!(consumer.count(), 1);
}

#[test]
fn three_brokers_share_the_partitions() {
    let served = Served::kafka(&["--nodes", "3", "--partitions", "6"]);
    for partition in 0..6 {
        let line = format!("of {partition}\n");
        kcat(&served, &["-P", "-t", "orders", "-p", &partition.to_string()], &line);
    }
    let known = kcat(&served, &["-L", "-t", "orders"], "");
    assert!((1..=3).all(|id| known.matches(&format!("leader {id},")).count() == 2), "{known}");
    let consumer = Consume::of(&served.url("orders")).args(["--from", "beginning"]).start();
    consumer.wait_for_payloads((0..6).map(|partition| format!("of {partition}")), wait::PATIENCE);
    let shards: BTreeSet<u64> = consumer.seen().messages.iter().map(|message| message.shard).collect();
    assert_eq!(shards, (0..6).collect());
}

#[test]
fn a_missing_topic_is_made_when_it_is_asked_for() {
    let served = Served::kafka(&["--partitions", "2"]);
    let done = run(&["consume", &served.url("orders")]);
    assert!(!done.status.success());
    let consumer = Consume::of(&served.url("orders")).args(["--create"]).start();
    wait::until_true("both are read", wait::PATIENCE, || {
        consumer.seen().noticed("assigned orders/1") && consumer.seen().noticed("ready")
    });
}

#[test]
fn options_of_the_other_broker_are_refused() {
    is_refused(&run(&["serve", "kafka", "--version", "7.2"]), &["Redis"]);
    is_refused(&run(&["serve", "redis", "--partitions", "3"]), &["Kafka"]);
}
