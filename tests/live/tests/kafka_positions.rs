//! Where reading begins, in which partitions, and where it goes on.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tidegate_live::kafka::{Admin, Record, shared, unique};
use tidegate_live::{Consume, Finished, run, run_with, wait};

/// 2023-11-14T22:13:20.000Z.
const THEN: i64 = 1_700_000_000_000;

/// Five records in partition 0, dated 0, 0, 0, 1 and 2 ms after [`THEN`].
fn topic() -> (&'static Admin, String) {
    let kafka = shared();
    let topic = kafka.topic(1);
    let mut produce = kafka.produce(&topic);
    for (n, millis) in [0, 0, 0, 1, 2].into_iter().enumerate() {
        produce = produce.record(Record::new(0, format!("{n}")).at(THEN + millis));
    }
    produce.send();
    (kafka, topic)
}

#[track_caller]
fn consume(kafka: &Admin, topic: &str, args: &[&str]) -> Finished {
    let url = kafka.url(topic);
    let done = run(&[&["consume", &url, "--format", "payload", "--exit-idle", "2s"], args].concat());
    done.expect(0);
    done
}

#[track_caller]
fn shown(kafka: &Admin, topic: &str, args: &[&str]) -> Vec<String> {
    consume(kafka, topic, args).stdout
}

/// Follows from now on: it has said so, or shown something, before this returns.
fn follow(kafka: &Admin, topic: &str, args: &[&str]) -> Consume {
    let consumer = Consume::of(&kafka.url(topic)).args(args).start();
    consumer.wait_for("that it is assigned", wait::PATIENCE, |seen| seen.noticed("assigned"));
    consumer
}

#[test]
fn from_the_beginning_shows_all_in_order() {
    let (kafka, topic) = topic();
    assert_eq!(shown(kafka, &topic, &["--from", "beginning"]), ["0", "1", "2", "3", "4"]);
}

#[test]
fn from_an_offset_is_inclusive() {
    let (kafka, topic) = topic();
    assert_eq!(shown(kafka, &topic, &["--from", "0"]), ["0", "1", "2", "3", "4"]);
    assert_eq!(shown(kafka, &topic, &["--from", "1"]), ["1", "2", "3", "4"]);
    assert_eq!(shown(kafka, &topic, &["--from", "4"]), ["4"]);
}

#[test]
fn from_a_time_is_strictly_later() {
    let (kafka, topic) = topic();
    assert_eq!(shown(kafka, &topic, &["--from", "2023-11-14T22:13:20.000Z"]), ["3", "4"]);
    assert_eq!(shown(kafka, &topic, &["--from", "2023-11-14T23:13:20.001+01:00"]), ["4"]);
    assert_eq!(shown(kafka, &topic, &["--from", "2023-11-14T22:13:19Z"]), ["0", "1", "2", "3", "4"]);
    assert_eq!(shown(kafka, &topic, &["--from", "2023-11-14T22:13:21Z"]), [""; 0]);
}

#[test]
fn real_time_begins_now_and_so_does_from_the_end() {
    for args in [&[][..], &["--from", "end"]] {
        let (kafka, topic) = topic();
        let mut consumer = follow(kafka, &topic, args);
        // In one partition at least the end is known once something has come.
        let sent = wait::until("the first record after it began", wait::PATIENCE, || {
            kafka.add(&topic, [unique("new")]);
            (consumer.count() > 0).then(|| kafka.ends(&topic)[0] - 5)
        });
        consumer.wait_for("the newest record", wait::PATIENCE, |seen| {
            seen.messages.last().is_some_and(|message| message.seq == (sent + 4).to_string())
        });
        consumer.interrupt();
        let seen = consumer.seen();
        let seqs: Vec<i64> = seen.messages.iter().map(|message| message.seq.parse().unwrap()).collect();
        assert!(seqs[0] >= 5, "nothing old: {seqs:?}");
        assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1), "no gap and nothing twice: {seqs:?}");
    }
}

#[test]
fn real_time_commits_nothing_and_each_consumer_sees_all() {
    let (kafka, topic) = topic();
    for _ in 0..2 {
        assert_eq!(shown(kafka, &topic, &["--from", "beginning"]).len(), 5);
    }
}

#[test]
fn a_new_group_begins_at_the_beginning_or_at_the_end_and_an_old_one_where_it_was() {
    let (kafka, topic) = topic();
    let group = |name: &str, args: &[&str]| {
        let name = format!("{name}-{topic}");
        let args = [&["--mode", "load-balanced", "--group", &name], args].concat();
        shown(kafka, &topic, &args)
    };
    assert_eq!(group("plain", &[]).len(), 5);
    assert_eq!(group("named", &["--from", "beginning"]).len(), 5);
    assert_eq!(group("late", &["--from", "end"]), [""; 0]);
    kafka.add(&topic, ["new"]);
    assert_eq!(group("plain", &[]), ["new"]);
    assert_eq!(group("named", &["--from", "beginning"]), ["new"]);
    assert_eq!(group("late", &["--from", "end"]), ["new"], "it was at the end, and was committed there");
    let committed = |name: &str| kafka.committed_offsets(&format!("{name}-{topic}"), &topic, 1);
    assert_eq!([committed("plain"), committed("named"), committed("late")], [[6], [6], [6]]);
}

#[test]
fn resumable_goes_on_at_exactly_the_next_message() {
    let kafka = shared();
    let topic = kafka.topic(3);
    kafka.numbers(&topic, 3).send(0..300);
    let host = unique("host");
    let url = kafka.url(&topic);
    let mut seen = Vec::new();
    for (count, size) in [("1", 1), ("99", 99), ("50", 50), ("1000", 150)] {
        let args = ["consume", &url, "--mode", "resumable", "--count", count, "--exit-idle", "3s"];
        let done = run_with(&args, &[("HOST_ID", &host)]);
        let lines = &done.expect(0).stdout;
        assert_eq!(lines.len(), size, "of {count}");
        for line in lines {
            let message: tidegate_live::Message = serde_json::from_str(line).unwrap();
            seen.push((message.shard, message.seq.parse::<u64>().unwrap()));
        }
        let committed: i64 = kafka.committed_offsets(&host, &topic, 3).iter().filter(|&&at| at > 0).sum();
        assert_eq!(committed, seen.len() as i64, "what was shown is committed, and no more");
    }
    let different: BTreeSet<_> = seen.iter().collect();
    assert_eq!((seen.len(), different.len()), (300, 300), "nothing twice, nothing skipped");
    for shard in 0..3 {
        let of_it: Vec<u64> = seen.iter().filter(|at| at.0 == shard).map(|at| at.1).collect();
        assert_eq!(of_it, (0..100).collect::<Vec<_>>(), "in order over all runs");
    }
    // Another host begins for itself.
    let args = ["consume", &url, "--mode", "resumable", "--exit-idle", "3s"];
    assert_eq!(run_with(&args, &[("HOST_ID", &unique("host"))]).expect(0).stdout.len(), 300);
}

#[test]
fn after_a_crash_what_was_not_committed_is_repeated_and_nothing_is_skipped() {
    let kafka = shared();
    let topic = kafka.topic(2);
    kafka.numbers(&topic, 2).send(0..2_000);
    let host = unique("host");
    let start = |work: &str| {
        let args = ["--mode", "resumable", "--work", work, "--commit-interval", "300ms"];
        Consume::of(&kafka.url(&topic)).args(args).env("HOST_ID", &host).start()
    };
    let mut first = start("1ms");
    wait::until_true("a commit in the middle", wait::PATIENCE, || {
        kafka.committed_offsets(&host, &topic, 2).iter().any(|&at| at > 0)
    });
    first.kill9();
    let committed = kafka.committed_offsets(&host, &topic, 2);
    let at = |consumer: &Consume| -> Vec<(usize, i64)> {
        let each = |m: &tidegate_live::Message| (m.shard as usize, m.seq.parse().unwrap());
        consumer.seen().messages.iter().map(each).collect()
    };
    let before = at(&first);
    assert!(before.len() < 2_000, "it was to be killed in the middle");
    let repeats = before.iter().filter(|(shard, offset)| *offset >= committed[*shard]).count();
    let mut second = start("0ms");
    let left = committed.iter().map(|&at| 1_000 - at.max(0)).sum::<i64>();
    second.wait_for_count(left as usize);
    second.interrupt();
    let after = at(&second);
    assert_eq!(after.len() as i64, left, "from the commit on, each once");
    for (shard, &committed) in committed.iter().enumerate() {
        let of_it: Vec<i64> = after.iter().filter(|at| at.0 == shard).map(|at| at.1).collect();
        assert_eq!(of_it, (committed.max(0)..1_000).collect::<Vec<_>>());
        let acked = before.iter().filter(|at| at.0 == shard).map(|at| at.1 + 1).max().unwrap_or(0);
        assert!(committed <= acked, "{committed} committed, {acked} written");
    }
    println!("{} before the crash, {repeats} of them again after it", before.len());
}

#[test]
fn several_topics_are_read_side_by_side_and_partitions_by_name() {
    let kafka = shared();
    let (orders, returns) = (kafka.topic(3), kafka.topic(1));
    for partition in 0..3 {
        kafka.produce(&orders).values(partition, [format!("order in {partition}")]).send();
    }
    kafka.add(&returns, ["a return"]);
    let both = format!("{orders},{returns}");
    let all: BTreeSet<String> = shown(kafka, &both, &["--from", "beginning"]).into_iter().collect();
    let expected = ["a return", "order in 0", "order in 1", "order in 2"];
    assert_eq!(all, expected.map(str::to_owned).into());
    let (one, two) = (format!("{orders}:0"), format!("{orders}:2"));
    let named = shown(kafka, &orders, &["--from", "beginning", "--shard", &one, "--shard", &two]);
    let named: BTreeSet<String> = named.into_iter().collect();
    assert_eq!(named, ["order in 0", "order in 2"].map(str::to_owned).into());
    let wrong = run(&["consume", &kafka.url(&orders), "--shard", "elsewhere:1", "--exit-idle", "1s"]);
    assert_ne!(wrong.status.code(), Some(0), "only subscribed topics can be assigned: {wrong:#?}");
    wrong.says("elsewhere");
    let missing = format!("{orders}:7");
    let wrong = run(&["consume", &kafka.url(&orders), "--shard", &missing, "--exit-idle", "1s"]);
    assert_ne!(wrong.status.code(), Some(0), "there is no such partition: {wrong:#?}");
}

#[test]
fn count_and_exit_idle_end_with_status_0() {
    let (kafka, topic) = topic();
    assert_eq!(shown(kafka, &topic, &["--from", "beginning", "--count", "2"]), ["0", "1"]);
    let began = Instant::now();
    assert_eq!(shown(kafka, &topic, &[]), [""; 0]);
    assert!(began.elapsed() >= Duration::from_secs(2));
}

#[test]
fn partitions_that_are_added_are_found() {
    let kafka = shared();
    for group in [true, false] {
        let topic = kafka.topic(1);
        let name = unique("group");
        let consumer = Consume::of(&kafka.url(&topic));
        let consumer =
            if group { consumer.member(&name, "one") } else { consumer.args(["--from", "beginning"]) };
        let mut consumer = consumer.start();
        kafka.add(&topic, ["in the first"]);
        consumer.wait_for_payloads(["in the first"], wait::PATIENCE);
        kafka.add_partitions(&topic, 3);
        wait::until_true("three partitions", wait::PATIENCE, || kafka.partitions(&topic).len() == 3);
        let value = ["in the third, before anybody knew it"];
        kafka.produce(&topic).values(2, value).send();
        consumer.wait_for_payloads(value, Duration::from_secs(60));
        consumer.interrupt();
        assert_eq!(consumer.count(), 2, "group: {group}");
    }
}

#[test]
fn what_is_no_longer_there_is_passed_over_as_reset_says() {
    let kafka = shared();
    let topic = kafka.topic(1);
    kafka.add(&topic, (0..100).map(|n| n.to_string()));
    kafka.delete_records(&topic, 0, 40);
    let at = |offset: i64| {
        let group = unique("group");
        kafka.commit(&group, &topic, 0, offset);
        group
    };
    for (offset, reset, expected) in
        [(10, "earliest", 60), (10, "latest", 0), (500, "earliest", 60), (500, "latest", 0)]
    {
        let group = at(offset);
        let args = ["--mode", "load-balanced", "--group", &group, "--reset", reset];
        let done = consume(kafka, &topic, &args);
        assert_eq!(done.stdout.len(), expected, "{offset}, {reset}");
        // A jump over what may have been messages is never silent.
        done.says_one_of(&["out of range", "out_of_range", "reset"]);
    }
    let group = at(10);
    let url = kafka.url(&topic);
    let done = run(&["consume", &url, "--mode", "load-balanced", "--group", &group, "--reset", "none"]);
    done.expect(1).says_one_of(&["out of range", "out_of_range", "reset"]);
    assert!(done.stdout.is_empty());
    assert_eq!(kafka.committed_offsets(&group, &topic, 1), [10], "nothing was decided for the user");
    // A position that is there is nobody's case for a reset.
    let group = at(40);
    let args = ["--mode", "load-balanced", "--group", &group, "--reset", "none"];
    assert_eq!(shown(kafka, &topic, &args).len(), 60);
}

const HOUR: i64 = 3_600_000;

/// Records of a topic's partition 0 that are so many hours old, with these ages as values.
fn aged(ages: [i64; 5]) -> (&'static Admin, String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let kafka = shared();
    let topic = kafka.topic(1);
    let record = |age| Record::new(0, format!("{age}h")).at(now - age * HOUR);
    ages.into_iter().fold(kafka.produce(&topic), |produce, age| produce.record(record(age))).send();
    (kafka, topic)
}

#[test]
fn by_duration_a_new_group_begins_with_the_first_that_is_no_older() {
    for (reset, expected) in [
        ("2h", &["1h"][..]),
        // One that is older, but comes later: the first that is young enough is what counts.
        ("210m", &["3h", "4h", "1h"]),
        ("100days", &["9h", "5h", "3h", "4h", "1h"]),
        ("30m", &[]),
    ] {
        for protocol in ["classic", "consumer"] {
            let (kafka, topic) = aged([9, 5, 3, 4, 1]);
            let group = unique("group");
            let args = ["--mode", "load-balanced", "--group", &group, "--protocol", protocol];
            assert_eq!(shown(kafka, &topic, &[&args[..], &["--reset", reset]].concat()), expected, "{reset}");
            assert_eq!(kafka.committed_offsets(&group, &topic, 1), [5], "{reset}");
            // Where it was is what counts from now on, however old what comes is stamped.
            kafka.produce(&topic).record(Record::new(0, "copied").at(THEN)).send();
            assert_eq!(shown(kafka, &topic, &[&args[..], &["--reset", "1s"]].concat()), ["copied"]);
        }
    }
    let (kafka, topic) = aged([9, 5, 3, 4, 1]);
    assert_eq!(shown(kafka, &topic, &["--reset", "2h"]), ["1h"], "without a group");
}

#[test]
fn by_duration_a_group_is_where_it_began_even_if_it_acked_nothing() {
    let (kafka, topic) = aged([9, 5, 3, 2, 1]);
    let group = unique("group");
    let args = ["--reset", "4h", "--commit", "disabled"];
    let mut consumer = Consume::of(&kafka.url(&topic)).member(&group, "one").args(args).start();
    consumer.wait_for_payloads(["3h", "2h", "1h"], wait::PATIENCE);
    wait::until_true("the commit of where it began", wait::PATIENCE, || {
        kafka.committed_offsets(&group, &topic, 1) == [2]
    });
    // Three hours later two of them would be too old: they are not lost.
    consumer.kill9();
    let args = ["--mode", "load-balanced", "--group", &group, "--reset", "90m", "--exit-idle", "10s"];
    let url = kafka.url(&topic);
    let done = run(&[&["consume", &url, "--format", "payload", "--count", "3"], &args[..]].concat());
    assert_eq!(done.expect(0).stdout, ["3h", "2h", "1h"]);
}

#[test]
fn by_duration_after_the_log_was_cut_it_goes_on_with_the_first_that_is_no_older() {
    let (kafka, topic) = aged([9, 5, 3, 2, 1]);
    kafka.delete_records(&topic, 0, 2);
    for (offset, reset, expected) in [
        (0, "150m", &["2h", "1h"][..]),
        (1, "100h", &["3h", "2h", "1h"]),
        (0, "1m", &[]),
        (500, "90m", &["1h"]),
        (3, "1m", &["2h", "1h"]),
    ] {
        let group = unique("group");
        kafka.commit(&group, &topic, 0, offset);
        let args = ["--mode", "load-balanced", "--group", &group, "--reset", reset];
        let done = consume(kafka, &topic, &args);
        assert_eq!(done.stdout, expected, "{offset}, {reset}");
        if offset != 3 {
            done.says_one_of(&["out of range", "out_of_range"]);
        }
        assert_eq!(kafka.committed_offsets(&group, &topic, 1), [5], "{offset}, {reset}");
    }
}
