//! What is acked is committed: in each mode, on time, and before the end; and the offset that is
//! committed is that of the next message.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::time::Duration;

use tidegate_live::kafka::{Admin, Protocol, shared, unique};
use tidegate_live::{Consume, Signal, run, wait};

const MODES: [&str; 4] = ["immediate", "delayed", "rolling", "disabled"];

/// Nothing is committed by the clock: what is committed is committed by the close.
const SLOW_CLOCK: [&str; 4] = ["--commit-delay", "60s", "--commit-interval", "60s"];

/// A topic of one partition with this many records, and a group of its own.
fn filled(records: u64) -> (&'static Admin, String, String) {
    let kafka = shared();
    let topic = kafka.topic(1);
    kafka.numbers(&topic, 1).send(0..records);
    (kafka, topic, unique("group"))
}

fn committed(kafka: &Admin, group: &str, topic: &str) -> i64 {
    kafka.committed_offsets(group, topic, 1)[0]
}

#[test]
fn rolling_commits_on_time_while_the_application_sits_on_a_message() {
    for protocol in Protocol::ALL {
        let (kafka, topic, group) = filled(3);
        let mut consumer = Consume::of(&kafka.url(&topic))
            .member(&group, "one")
            .args(protocol.args())
            .args(["--work", "8s", "--commit", "rolling", "--commit-interval", "500ms"])
            .start();
        consumer.wait_for_count(1);
        // On time: long before the application is done with the message that it now sits on; and the
        // member stays a member meanwhile.
        wait::until_true("the first is committed", Duration::from_secs(4), || {
            committed(kafka, &group, &topic) == 1
        });
        assert_eq!(consumer.count(), 1, "while the application sat on the second");
        consumer.wait_for_count(2);
        wait::until_true("the second is committed", Duration::from_secs(4), || {
            committed(kafka, &group, &topic) == 2
        });
        assert_eq!(consumer.count(), 2);
        consumer.kill9();
    }
}

#[test]
fn after_exit_0_what_was_shown_is_committed_in_each_mode() {
    for mode in MODES {
        let (kafka, topic, group) = filled(2_000);
        let url = kafka.url(&topic);
        let mut args = vec!["consume", &url, "--mode", "load-balanced", "--group", &group];
        args.extend(["--commit", mode, "--count", "500"]);
        args.extend(SLOW_CLOCK);
        assert_eq!(run(&args).expect(0).stdout.len(), 500);
        let at = committed(kafka, &group, &topic);
        if mode == "immediate" {
            assert!(at >= 500, "immediate commits what is handed out: {at}");
        } else {
            assert_eq!(at, 500, "{mode}");
        }
    }
}

#[test]
fn after_sigint_what_was_shown_is_committed_in_each_mode() {
    for mode in MODES {
        let (kafka, topic, group) = filled(20_000);
        let mut consumer = Consume::of(&kafka.url(&topic))
            .member(&group, "one")
            .args(["--commit", mode, "--work", "1ms"])
            .args(SLOW_CLOCK)
            .start();
        consumer.wait_for_count(100);
        consumer.interrupt();
        let (at, shown) = (committed(kafka, &group, &topic), consumer.count() as i64);
        assert!(shown < 20_000, "{mode}: it should have stopped in the middle");
        if mode == "immediate" {
            assert!(at >= shown, "{mode}: {at} committed, {shown} shown");
        } else {
            assert_eq!(at, shown, "{mode}");
        }
    }
}

#[test]
fn delayed_waits_its_delay_and_then_commits() {
    let (kafka, topic, group) = filled(1);
    let mut consumer = Consume::of(&kafka.url(&topic))
        .member(&group, "one")
        .args(["--commit", "delayed", "--commit-delay", "3s"])
        .start();
    consumer.wait_for_count(1);
    let shown = consumer.seen().lines[0].at;
    wait::always("not committed before its time", Duration::from_secs(1), || {
        committed(kafka, &group, &topic) <= 0
    });
    wait::until_true("committed after its time", wait::PATIENCE, || committed(kafka, &group, &topic) == 1);
    assert!(shown.elapsed() > Duration::from_millis(2_500), "{:?}", shown.elapsed());
    consumer.interrupt();
}

#[test]
fn disabled_commits_once_and_at_the_end() {
    let (kafka, topic, group) = filled(100);
    let mut consumer =
        Consume::of(&kafka.url(&topic)).member(&group, "one").args(["--commit", "disabled"]).start();
    consumer.wait_for_count(100);
    wait::always("nothing is committed", Duration::from_secs(2), || committed(kafka, &group, &topic) <= 0);
    consumer.interrupt();
    assert_eq!(committed(kafka, &group, &topic), 100);
    let history = kafka.commits(&group);
    assert_eq!(history.iter().filter(|commit| commit.offset > 0).count(), 1, "{history:?}");
}

#[test]
fn an_idle_group_is_not_committed_over_and_over() {
    let (kafka, topic, group) = filled(10);
    let mut consumer =
        Consume::of(&kafka.url(&topic)).member(&group, "one").args(["--commit-interval", "50ms"]).start();
    consumer.wait_for_count(10);
    wait::until_true("all is committed", wait::PATIENCE, || committed(kafka, &group, &topic) == 10);
    let before = kafka.commits(&group).len();
    wait::always("nothing to commit", Duration::from_secs(2), || committed(kafka, &group, &topic) == 10);
    let after = kafka.commits(&group).len();
    assert_eq!(after, before, "commits of what was committed already");
    consumer.interrupt();
}

#[test]
fn a_member_that_was_stopped_for_longer_than_its_session_commits_nothing_old() {
    for protocol in Protocol::ALL {
        let (kafka, topic, group) = filled(1_000);
        let join = |member: &str, work: &str| {
            let url = kafka.url(&topic);
            let args = ["--commit-interval", "60s", "--work", work];
            Consume::of(&url).member(&group, member).args(protocol.args()).args(args).start()
        };
        // It has shown some, committed none, and stands still until another one has all of it.
        let mut old = join("old", "5ms");
        old.wait_for_count(50);
        old.stop();
        let mut new = join("new", "0ms");
        new.wait_for_count(1_000);
        new.interrupt();
        assert_eq!(committed(kafka, &group, &topic), 1_000, "{protocol:?}");
        old.cont();
        // It finds out, joins again, and finds nothing left.
        kafka.wait_until_shared(&group, &topic, &[1], wait::PATIENCE);
        kafka.add(&topic, ["new"]);
        old.wait_for_payloads(["new"], wait::PATIENCE);
        old.interrupt();
        let history: Vec<i64> = kafka.commits(&group).iter().map(|commit| commit.offset).collect();
        assert!(history.is_sorted(), "{protocol:?}: a commit of what it had lost: {history:?}");
        assert_eq!(committed(kafka, &group, &topic), 1_001);
        println!("{protocol:?}: {} lines of the old one, commits {history:?}", old.count());
    }
}

#[test]
fn what_a_second_signal_ends_at_once_is_repeated() {
    let (kafka, topic, group) = filled(10);
    let mut consumer =
        Consume::of(&kafka.url(&topic)).member(&group, "one").args(["--commit-interval", "60s"]).start();
    consumer.wait_for_count(10);
    consumer.signal(Signal::TERM);
    consumer.signal(Signal::TERM);
    assert!(consumer.ends_within(Duration::from_secs(5)));
    let at = committed(kafka, &group, &topic).max(0);
    let mut again = Consume::of(&kafka.url(&topic)).member(&group, "two").args(["--exit-idle", "8s"]).start();
    again.finish();
    assert_eq!(again.count() as i64, 10 - at);
}

#[test]
fn commits_go_on_while_a_cooperative_rebalance_waits_for_a_dead_member() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(4), unique("group"));
    let join = |member: &str| {
        let args = ["--protocol", "classic", "--assignor", "cooperative-sticky", "--session-timeout", "12s"];
        let url = kafka.url(&topic);
        Consume::of(&url).member(&group, member).args(args).args(["--commit-interval", "100ms"]).start()
    };
    let mut alive = join("alive");
    let mut dead = join("dead");
    kafka.wait_until_shared(&group, &topic, &[2, 2], wait::PATIENCE);
    dead.kill9();
    // The group can't go on before the dead one's session has ended; its other members can.
    let mut new = join("new");
    wait::until_true("the rebalance has begun", wait::PATIENCE, || {
        kafka.group(&group).is_some_and(|group| group.state == "PreparingRebalance")
    });
    for partition in 0..4 {
        kafka.produce(&topic).values(partition, ["during the rebalance"]).send();
    }
    alive.wait_for_count(2);
    wait::until_true("what it has shown is committed", Duration::from_secs(5), || {
        let committed = kafka.committed_offsets(&group, &topic, 4);
        committed.iter().filter(|&&at| at == 1).count() == 2
    });
    let state = kafka.group(&group).unwrap().state;
    assert_eq!(state, "PreparingRebalance", "it was committed meanwhile, and not after it");
    alive.interrupt();
    new.interrupt();
}
