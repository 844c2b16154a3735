//! Topics by pattern on real brokers: in each kind of group, by the command and by the library; those
//! that come later, and those that go.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;
mod kafka_api_tools;

use std::collections::BTreeSet;
use std::time::Duration;

use api_tools::*;
use kafka_api_tools::*;
use tidegate::{ConsumerMode, ConsumerOptions, KafkaOptions, ShardId, StreamKey};
use tidegate_live::kafka::{Admin, Protocol, shared, unique};
use tidegate_live::{Consume, is_refused, run, wait};

/// The command looks for topics every 5 s; a rebalance or two follow.
const FOUND: Duration = Duration::from_secs(20);

/// Topics whose names begin alike, as nobody else's do.
struct Family {
    kafka: &'static Admin,
    name: String,
}

impl Family {
    /// With `-a` of two partitions and `-b` of one, and one that only ends so.
    fn new() -> Self {
        let family = Self { kafka: shared(), name: unique("family") };
        family.add("a", 2);
        family.add("b", 1);
        family.kafka.create_topic(&format!("not-{}-c", family.name), 1, 1, &[]);
        family
    }

    fn topic(&self, last: &str) -> String {
        format!("{}-{last}", self.name)
    }

    fn add(&self, last: &str, partitions: usize) {
        self.kafka.create_topic(&self.topic(last), partitions, 1, &[]);
    }

    fn url(&self) -> String {
        self.kafka.url(&format!("^{}-[a-z]{{1%2C9}}", self.name))
    }

    /// One more record for a partition; its payload.
    fn send(&self, last: &str, partition: i32) -> String {
        let value = unique("record");
        self.kafka.produce(&self.topic(last)).values(partition, [&value]).send();
        value
    }

    fn parts(&self, parts: &[(&str, i32)]) -> BTreeSet<(String, i32)> {
        parts.iter().map(|(last, partition)| (self.topic(last), *partition)).collect()
    }

    /// The group is stable, and its members hold these partitions, each once.
    #[track_caller]
    fn is_shared(&self, group: &str, members: usize, parts: &[(&str, i32)]) {
        let expected = self.parts(parts);
        wait::until_true(&format!("{members} members hold {expected:?}"), FOUND, || {
            let Some(books) = self.kafka.group(group).filter(|books| books.state == "Stable") else {
                return false;
            };
            let held: Vec<_> = books.members.iter().flat_map(|member| member.partitions.clone()).collect();
            let once: BTreeSet<_> = held.iter().cloned().collect();
            books.members.len() == members && held.len() == once.len() && once == expected
        });
    }
}

fn often(options: ConsumerOptions) -> ConsumerOptions {
    options.kafka(KafkaOptions::default().metadata_age(millis(300)))
}

#[test]
fn a_group_of_each_kind_shares_what_matches_what_appears_and_what_is_left() {
    for protocol in Protocol::ALL {
        println!("{protocol:?}");
        let (family, group) = (Family::new(), unique("group"));
        let join = |member: &str| {
            Consume::of(&family.url())
                .member(&group, member)
                .args(protocol.args())
                .args(["--commit-interval", "100ms"])
                .start()
        };
        let (mut one, mut two) = (join("one"), join("two"));
        let shown = |payload: &str| {
            wait::until(&format!("somebody shows {payload}"), FOUND, || {
                [&one, &two].iter().position(|member| member.seen().payloads().contains(payload))
            })
        };
        family.is_shared(&group, 2, &[("a", 0), ("a", 1), ("b", 0)]);
        [("a", 0), ("a", 1), ("b", 0)].iter().for_each(|(last, at)| _ = shown(&family.send(last, *at)));
        // What is in it when it is found is read as well.
        family.add("late", 3);
        let early = family.send("late", 2);
        shown(&early);
        family.is_shared(&group, 2, &[("a", 0), ("a", 1), ("b", 0), ("late", 0), ("late", 1), ("late", 2)]);
        [("late", 0), ("late", 1), ("a", 0)].iter().for_each(|(last, at)| _ = shown(&family.send(last, *at)));
        // What is acked and not committed when a topic goes can't be committed any more.
        wait::until_true("all of it is committed", FOUND, || {
            family.kafka.committed_offsets(&group, &family.topic("a"), 2) == [2, 1]
        });
        family.kafka.delete_topic(&family.topic("a"));
        family.is_shared(&group, 2, &[("b", 0), ("late", 0), ("late", 1), ("late", 2)]);
        shown(&family.send("b", 0));
        shown(&family.send("late", 2));
        let revoked = format!("revoked {}/0", family.topic("a"));
        wait::until_true("its owner has let go", FOUND, || {
            [&one, &two].iter().any(|member| member.seen().noticed(&revoked))
        });
        one.interrupt();
        two.interrupt();
        assert_eq!(one.count() + two.count(), 9, "nothing twice");
        assert_eq!(family.kafka.committed_offsets(&group, &family.topic("late"), 3), [1, 1, 2]);
        assert_eq!(family.kafka.group(&group).unwrap().kind, protocol.kind());
    }
}

#[test]
fn without_a_group_what_appears_is_read_from_its_beginning() {
    runtime().block_on(async {
        for mode in [ConsumerMode::RealTime, ConsumerMode::Resumable] {
            let family = Family::new();
            let consumer = match mode {
                ConsumerMode::RealTime => open(&family.url(), often(real_time())).await,
                _ => resumable(&family.url(), &unique("host")).await,
            };
            family.add("late", 2);
            let sent = [family.send("late", 1), family.send("late", 1), family.send("b", 0)];
            let mut got: Vec<_> = take(&consumer, 3).await.iter().map(text).collect();
            got.sort();
            let mut expected = sent.to_vec();
            expected.sort();
            assert_eq!(got, expected, "{mode:?}");
            // A name that matches may be assigned, another one may not.
            let other = consumer.assign(&"elsewhere".into(), ShardId::ZERO).await.unwrap_err();
            let other = other.to_string();
            assert!(other.contains("not subscribed"), "{other}");
            let stream = StreamKey::from(&*family.topic("late"));
            consumer.assign(&stream, ShardId::new(1)).await.unwrap();
            within("rewound", wait::PATIENCE, consumer.rewind(at(1))).await.unwrap();
            assert_eq!(text(&next(&consumer).await), sent[1]);
            family.kafka.delete_topic(&family.topic("late"));
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn a_command_that_finds_nothing_waits_and_says_so() {
    let (kafka, family) = (shared(), unique("none"));
    let pattern = format!("^{family}.*");
    for mode in [&[][..], &["--mode", "load-balanced", "--group", &unique("group")]] {
        let topic = unique(&family);
        let mut consumer = Consume::of(&kafka.url(&pattern)).args(mode).start();
        let says = format!("no topic matches {pattern}").to_lowercase();
        consumer.wait_for("it says so", FOUND, |seen| seen.noticed(&says) && seen.noticed("ready"));
        kafka.create_topic(&topic, 1, 1, &[]);
        kafka.add(&topic, ["first"]);
        consumer.wait_for_payloads(["first"], FOUND);
        kafka.delete_topic(&topic);
        consumer.wait_for("it says so again", FOUND, |seen| {
            seen.notices.iter().filter(|line| line.text.to_lowercase().contains(&says)).count() == 2
        });
        consumer.interrupt();
    }
}

#[test]
fn shards_of_what_matches_may_be_chosen() {
    let family = Family::new();
    let shard = format!("{}:1", family.topic("a"));
    let trace = std::env::temp_dir().join(unique("patterns"));
    let trace = trace.to_str().unwrap();
    let args = ["--shard", &shard, "--from", "0", "--record", trace];
    let mut consumer = Consume::of(&family.url()).args(args).start();
    family.send("a", 0);
    family.send("b", 0);
    let sent = family.send("a", 1);
    consumer.wait_for_payloads([&sent], FOUND);
    consumer.interrupt();
    assert_eq!(consumer.count(), 1);
    // What was recorded gives the same commands again.
    let replayed = run(&["replay", trace]);
    std::fs::remove_file(trace).unwrap();
    replayed.expect(0);
    is_refused(&run(&["consume", &family.url(), "--shard", "elsewhere:1"]), &["elsewhere:1"]);
}

#[test]
fn a_pattern_that_is_none_is_wrong_usage() {
    for (pattern, says) in [
        ("^orders-(", "no regular expression"),
        ("^orders-[0-9]{1,3}", "%2C"),
        ("orders,^(%3F=x)", "^(?=x)"),
        ("^orders-x?", "%3F"),
        ("^((a{100}){100}){100}", "KiB"),
    ] {
        let done = run(&["consume", &format!("kafka://127.0.0.1:1/{pattern}")]);
        done.expect(2);
        is_refused(&done, &[says]);
    }
    // A name beside a pattern is missed as ever.
    let (family, missing) = (Family::new(), unique("missing"));
    let done = run(&["consume", &format!("{},{missing}", family.url())]);
    tidegate_live::is_fatal(&done, &[&missing, "--create"]);
}

#[test]
fn a_java_member_of_a_classic_group_reads_what_it_named() {
    let (family, group) = (Family::new(), unique("group"));
    let (other, strategy) = (family.kafka.topic(2), "org.apache.kafka.clients.consumer.RangeAssignor");
    for java_first in [true, false] {
        let settings = [("partition.assignment.strategy", strategy), ("heartbeat.interval.ms", "300")];
        let start = || family.kafka.java_consumer(&group, &[&family.topic("a"), &other], &settings);
        let join = || Consume::of(&family.url()).member(&group, "ours").args(Protocol::Eager.args()).start();
        // Whoever is first leads the group, and has to know what both read.
        let (java, mut ours) = if java_first {
            let java = start();
            wait::until_true("it holds all", FOUND, || java.state().held.len() == 4);
            (java, join())
        } else {
            let ours = join();
            family.is_shared(&group, 1, &[("a", 0), ("a", 1), ("b", 0)]);
            (start(), ours)
        };
        wait::until_true("both have their share", FOUND, || {
            let ours = ours.seen().notices.iter().any(|line| line.text.contains(&family.topic("b")));
            ours && java.state().held.len() == 3
        });
        let sent = family.send("b", 0);
        ours.wait_for_payloads([sent], FOUND);
        ours.interrupt();
        java.close();
    }
}
