//! What is acked is committed: in each mode, on time, and before the end.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tidegate_live::{Client, Consume, RedisServer, Signal, run, wait};

const MODES: [&str; 4] = ["immediate", "delayed", "rolling", "disabled"];

/// Nothing is committed by the clock in these tests: what is committed is committed by the close.
const SLOW_CLOCK: [&str; 4] = ["--commit-delay", "60s", "--commit-interval", "60s"];

fn numbers(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|n| format!("entry-{n}"))
}

fn pending_ids(redis: &mut Client, stream: &str) -> BTreeSet<String> {
    redis.pending_list(stream, "crew").into_iter().map(|entry| entry.id).collect()
}

#[test]
fn rolling_commits_on_time_while_the_application_sits_on_a_message() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let ids = redis.add("orders", ["one", "two", "three"]);
    let mut consumer = Consume::of(&server.url("orders"))
        .member("crew", "one")
        .args(["--work", "10s", "--commit", "rolling", "--commit-interval", "500ms"])
        .start();
    consumer.wait_for_count(1);
    // On time: long before the application is done with the message that it now sits on.
    wait::until_true("the first is committed", Duration::from_secs(4), || {
        !pending_ids(&mut redis, "orders").contains(&ids[0])
    });
    assert_eq!(consumer.count(), 1, "while the application sat on the second");
    let left: Vec<String> = pending_ids(&mut redis, "orders").into_iter().collect();
    assert_eq!(left, ids[1..], "what is not acked is not committed");
    consumer.wait_for_count(2);
    wait::until_true("the second is committed", Duration::from_secs(4), || {
        !pending_ids(&mut redis, "orders").contains(&ids[1])
    });
    assert_eq!(consumer.count(), 2);
    consumer.interrupt();
}

#[test]
fn after_exit_0_nothing_shown_is_pending_in_each_mode() {
    let server = RedisServer::start();
    let mut redis = server.client();
    for mode in MODES {
        let ids = redis.add(mode, numbers(0..2_000));
        let url = server.url(mode);
        let mut args =
            vec!["consume", &url, "--mode", "load-balanced", "--group", "crew", "--consumer", "one"];
        args.extend(["--commit", mode, "--count", "500"]);
        args.extend(SLOW_CLOCK);
        let done = run(&args);
        assert_eq!(done.expect(0).stdout.len(), 500);
        let pending = pending_ids(&mut redis, mode);
        let shown = &ids[..500];
        let kept: Vec<_> = shown.iter().filter(|id| pending.contains(*id)).collect();
        assert!(kept.is_empty(), "{mode}: {} shown and still pending, such as {:?}", kept.len(), kept[0]);
        if mode == "immediate" {
            assert!(pending.is_empty(), "no acks, no pending list");
        }
    }
}

#[test]
fn after_sigint_nothing_shown_is_pending_in_each_mode() {
    let server = RedisServer::start();
    let mut redis = server.client();
    for mode in MODES {
        redis.add(mode, numbers(0..2_000));
        let mut consumer = Consume::of(&server.url(mode))
            .member("crew", "one")
            .args(["--commit", mode, "--work", "1ms"])
            .args(SLOW_CLOCK)
            .start();
        consumer.wait_for_count(100);
        consumer.interrupt();
        let pending = pending_ids(&mut redis, mode);
        let seen = consumer.seen();
        let kept: Vec<_> = seen.seqs().into_iter().filter(|id| pending.contains(*id)).collect();
        assert!(kept.is_empty(), "{mode}: {} shown and still pending, such as {:?}", kept.len(), kept[0]);
        assert!(seen.lines.len() < 2_000, "{mode}: it should have stopped in the middle");
    }
}

#[test]
fn delayed_waits_its_delay_and_then_commits() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["one"]);
    let mut consumer = Consume::of(&server.url("orders"))
        .member("crew", "one")
        .args(["--commit", "delayed", "--commit-delay", "3s"])
        .start();
    consumer.wait_for_count(1);
    let shown = consumer.seen().lines[0].at;
    wait::always("pending before its time", Duration::from_secs(1), || redis.pending("orders", "crew") == 1);
    wait::until_true("committed after its time", wait::PATIENCE, || redis.pending("orders", "crew") == 0);
    assert!(shown.elapsed() > Duration::from_millis(2_500), "{:?}", shown.elapsed());
    consumer.interrupt();
}

#[test]
fn immediate_leaves_nothing_pending_at_any_time() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..1_000));
    let mut consumer = Consume::of(&server.url("orders"))
        .member("crew", "one")
        .args(["--commit", "immediate", "--work", "1ms"])
        .start();
    consumer.wait_for_count(1);
    wait::always("nothing pending", Duration::from_millis(500), || redis.pending("orders", "crew") == 0);
    consumer.wait_for_payloads(numbers(0..1_000), wait::PATIENCE);
    consumer.interrupt();
    assert_eq!(consumer.count(), 1_000);
}

#[test]
fn sigint_and_sigterm_end_an_idle_and_a_busy_consumer_within_five_seconds() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..10));
    let begin = |args: &[&str]| Consume::of(&server.url("orders")).args(args).start();
    let group = ["--mode", "load-balanced", "--group", "crew"];
    for signal in [Signal::INT, Signal::TERM] {
        let mut idle = [begin(&[]), begin(&[&group[..], &["--from", "end"]].concat())];
        wait::until_true("two blocked reads", wait::PATIENCE, || {
            redis.clients().iter().filter(|client| client.blocked).count() >= 2
        });
        for consumer in &mut idle {
            consumer.signal(signal);
            let status = consumer.end_within(Duration::from_secs(5));
            assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
        }
    }
    for signal in [Signal::INT, Signal::TERM] {
        let name = format!("{signal:?}");
        let mut busy = begin(&["--mode", "load-balanced", "--group", &name, "--work", "60s"]);
        wait::until_true("it has its messages", wait::PATIENCE, || {
            redis.groups("orders").contains(&name) && redis.pending("orders", &name) > 0
        });
        busy.signal(signal);
        let status = busy.end_within(Duration::from_secs(5));
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
    }
}

/// A consumer that has shown ten messages, none of them committed, and whose server then stops.
fn cut_off() -> (RedisServer, Consume) {
    let server = RedisServer::start();
    server.client().add("orders", numbers(0..10));
    let consumer = Consume::of(&server.url("orders")).member("crew", "one").args(SLOW_CLOCK).start();
    consumer.wait_for_count(10);
    server.stop();
    (server, consumer)
}

#[test]
fn against_a_stopped_server_the_close_is_bounded_and_says_what_it_could_not_commit() {
    let (server, mut consumer) = cut_off();
    let notices = consumer.seen().notices.len();
    consumer.signal(Signal::INT);
    // CLI.md's 5 s, and one for the machine that runs the tests.
    let status = consumer.end_within(Duration::from_secs(6));
    assert!(status.code().is_some(), "ended by itself: {status}");
    let seen = consumer.seen();
    assert!(seen.noticed_after(notices, "commit"), "{}", seen.stderr_tail());
    assert!(seen.noticed_after(notices, "10"), "how many: {}", seen.stderr_tail());
    drop(seen);
    server.cont();
    assert!(server.client().pending("orders", "crew") <= 10);
}

#[test]
fn a_second_signal_ends_at_once() {
    let (_server, mut consumer) = cut_off();
    let began = Instant::now();
    consumer.signal(Signal::INT);
    wait::always("it tries to commit", Duration::from_millis(500), || consumer.is_running());
    consumer.signal(Signal::INT);
    consumer.end_within(Duration::from_secs(1));
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_reader_that_goes_away_ends_the_command_and_leaves_the_rest_pending() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..20_000));
    let mut consumer = Consume::of(&server.url("orders")).member("crew", "one").nobody_reads().start();
    let status = consumer.end_within(wait::PATIENCE);
    let seen = consumer.seen();
    assert!(!seen.noticed("panicked"), "{status}: {}", seen.stderr_tail());
    assert!(redis.pending("orders", "crew") > 0, "what was not written is not acked");
}
