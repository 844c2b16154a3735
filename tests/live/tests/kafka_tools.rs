//! The tools for Kafka themselves, Apache Kafka's own clients against each other.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tidegate_live::kafka::{
    Cluster, ClusterOptions, JavaConsumer, Kcat, Outcome, Record, Version, kcat_produce, metadata, shared,
    unique,
};
use tidegate_live::wait;

/// The values, as text.
fn values(records: &[tidegate_live::kafka::StoredRecord]) -> Vec<String> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    records.iter().map(|record| record.value.as_ref().map_or("null".into(), text)).collect()
}

#[test]
fn records_of_all_kinds_come_back_as_they_were_sent() {
    let kafka = shared();
    let topic = kafka.topic(2);
    let odd = Record::new(1, b"\x00\xff\n")
        .key("k")
        .header("twice", Some(b"first"))
        .header("twice", Some(b"second"))
        .header("null", None)
        .at(1_600_000_000_123);
    let empty = Record { partition: Some(1), ..Record::default() };
    let offsets = kafka.produce(&topic).record(odd.clone()).record(empty).send();
    assert_eq!(offsets, [0, 1]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        kafka.produce(&topic).codec(codec).values(0, [format!("java {codec}")]).send();
        kcat_produce(kafka, &topic, 0, &[&format!("kcat {codec}"), "and more"], &["-z", codec]);
    }
    assert_eq!(kafka.ends(&topic), [15, 2]);
    let all = kafka.read(&topic, "read_uncommitted");
    assert_eq!(values(&all[..3]), ["java none", "kcat none", "and more"]);
    assert_eq!(values(&all[12..15]), ["java zstd", "kcat zstd", "and more"]);
    assert_eq!((&all[15].key, &all[15].value, &all[15].headers), (&odd.key, &odd.value, &odd.headers));
    assert_eq!((all[15].timestamp, all[15].timestamp_type.as_str()), (1_600_000_000_123, "CreateTime"));
    assert_eq!((&all[16].key, &all[16].value), (&None, &None));
}

#[test]
fn a_transaction_is_seen_by_those_who_ask_for_it() {
    let kafka = shared();
    let topic = kafka.topic(1);
    let id = unique("transaction");
    let send = |value: &str, outcome| kafka.produce(&topic).values(0, [value]).transaction(&id, outcome);
    send("committed", Outcome::Commit).send();
    send("aborted", Outcome::Abort).send();
    send("open", Outcome::Open).send();
    assert_eq!(values(&kafka.read(&topic, "read_committed")), ["committed"]);
    assert_eq!(values(&kafka.read(&topic, "read_uncommitted")), ["committed", "aborted", "open"]);
    send("and ended", Outcome::Commit).goes_on().send();
    assert_eq!(values(&kafka.read(&topic, "read_committed")), ["committed", "open", "and ended"]);
}

#[test]
fn topics_change_as_they_are_told() {
    let kafka = shared();
    let topic = unique("topic");
    kafka.create_topic(&topic, 1, 1, &[("message.timestamp.type", "LogAppendTime")]);
    kafka.produce(&topic).record(Record::new(0, "a").at(1)).record(Record::new(0, "b").at(2)).send();
    let all = kafka.read(&topic, "read_uncommitted");
    assert!(all.iter().all(|record| record.timestamp_type == "LogAppendTime" && record.timestamp > 2));
    kafka.delete_records(&topic, 0, 1);
    assert_eq!(kafka.starts(&topic), [1]);
    kafka.add_partitions(&topic, 3);
    wait::until_true("three partitions", wait::PATIENCE, || kafka.partitions(&topic).len() == 3);

    // Compaction leaves the last record of each key, and a gap before it.
    kafka.alter_topic(
        &topic,
        &[("cleanup.policy", "compact"), ("segment.ms", "50"), ("min.cleanable.dirty.ratio", "0")],
    );
    for n in 0..20 {
        kafka.produce(&topic).record(Record::new(1, format!("{n}")).key("same")).send();
    }
    wait::until_true("compaction", wait::PATIENCE, || {
        kafka.produce(&topic).record(Record::new(1, "last").key("another")).send();
        values(&kafka.read(&topic, "read_uncommitted")).iter().filter(|v| v.parse::<u32>().is_ok()).count()
            == 1
    });
    kafka.delete_topic(&topic);
    assert_eq!(
        kafka.group(&unique("no-group")).map(|group| group.state),
        Some("Dead".into()).filter(|_| false)
    );
}

#[test]
fn a_java_and_a_kcat_consumer_share_a_group_and_the_books_say_so() {
    let kafka = shared();
    for strategy in ["range", "cooperative-sticky"] {
        let topic = kafka.topic(4);
        let group = unique("group");
        kafka.numbers(&topic, 4).send(0..400);
        let assignor = match strategy {
            "range" => "org.apache.kafka.clients.consumer.RangeAssignor",
            _ => "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        };
        let settings = [
            ("partition.assignment.strategy", assignor),
            ("session.timeout.ms", "2000"),
            ("heartbeat.interval.ms", "300"),
        ];
        let java = kafka.java_consumer(&group, &[&topic], &settings);
        let settings = [
            ("partition.assignment.strategy", strategy),
            ("session.timeout.ms", "2000"),
            ("heartbeat.interval.ms", "300"),
        ];
        let kcat = Kcat::member(kafka, &group, &[&topic], &settings);
        shares(&java, &kcat);
        let books = kafka.group(&group).unwrap();
        assert_eq!(
            (books.state.as_str(), books.kind.as_str(), books.members.len()),
            ("Stable", "Classic", 2)
        );
        assert_eq!(books.assignor, strategy);
        let held: BTreeSet<_> = books.members.iter().flat_map(|member| member.partitions.clone()).collect();
        assert_eq!(held.len(), 4);
        wait::until_true("all read", wait::PATIENCE, || {
            let read: BTreeSet<_> = java.state().read.into_iter().chain(kcat.read()).map(|r| r.3).collect();
            read.len() == 400
        });
        wait::until_true("all committed", wait::PATIENCE, || {
            kafka.committed_offsets(&group, &topic, 4) == [100; 4]
        });
        // One dies, the other has it all; a new one comes, and it is shared again.
        kcat.kill9();
        wait::until_true("the rest has it all", wait::PATIENCE, || java.held().len() == 4);
        let kcat = Kcat::member(kafka, &group, &[&topic], &settings);
        shares(&java, &kcat);
        java.vanish();
        wait::until_true("the rest has it all", wait::PATIENCE, || kcat.held().len() == 4);
        kcat.close();
        wait::until_true("nobody is left", wait::PATIENCE, || {
            kafka.group(&group).is_some_and(|group| group.members.is_empty())
        });
        kafka.commit(&group, &topic, 2, 7);
        assert_eq!(kafka.committed_offsets(&group, &topic, 4), [100, 100, 7, 100]);
        let history = kafka.commits(&group);
        assert_eq!(history.last().map(|last| (last.partition, last.offset)), Some((2, 7)));
        assert!(history.iter().any(|commit| commit.topic == topic && commit.offset == 100), "{history:?}");
        kafka.delete_group(&group);
        assert!(kafka.committed(&group).is_empty());
    }
}

#[track_caller]
fn shares(java: &JavaConsumer, kcat: &Kcat) {
    wait::until_true("two partitions each", wait::PATIENCE, || {
        let (a, b) = (java.held(), kcat.held());
        a.len() == 2 && b.len() == 2 && a.is_disjoint(&b)
    });
}

#[test]
fn a_java_consumer_joins_a_group_of_the_consumer_protocol() {
    let kafka = shared();
    let topic = kafka.topic(3);
    let group = unique("group");
    let settings = [("group.protocol", "consumer")];
    let a = kafka.java_consumer(&group, &[&topic], &settings);
    let b = kafka.java_consumer(&group, &[&topic], &settings);
    wait::until_true("all partitions are held once", wait::PATIENCE, || {
        let (a, b) = (a.held(), b.held());
        a.len() + b.len() == 3 && a.is_disjoint(&b) && !a.is_empty() && !b.is_empty()
    });
    kafka.wait_until_shared(&group, &topic, &[1, 2], wait::PATIENCE);
    let books = kafka.group(&group).unwrap();
    assert_eq!((books.kind.as_str(), books.members.len()), ("Consumer", 2));
    a.close();
    wait::until_true("the rest has it all", wait::PATIENCE, || b.held().len() == 3);
}

#[test]
fn a_million_records_take_seconds() {
    let kafka = shared();
    let topic = kafka.topic(12);
    let took = kafka.numbers(&topic, 12).size(100).send(0..200_000);
    println!("200,000 records of 100 bytes in {took:?}");
    assert_eq!(kafka.ends(&topic).iter().sum::<i64>(), 200_000);
    let began = Instant::now();
    kafka.numbers(&topic, 12).rate(2_000).send(0..1_000);
    assert!(began.elapsed() >= Duration::from_millis(400), "half a second's records: {:?}", began.elapsed());
}

#[test]
fn three_brokers_survive_what_one_of_them_suffers() {
    let mut cluster = Cluster::start(3);
    println!("three brokers in {:?}", cluster.took());
    let kafka = cluster.admin().clone();
    let topic = unique("topic");
    kafka.create_topic(&topic, 3, 3, &[]);
    kafka.numbers(&topic, 3).send(0..300);
    for n in 1..=3 {
        kafka.move_leader(&topic, 0, n);
        wait::until_true("the leader moves", wait::PATIENCE, || {
            kafka.partitions(&topic)[0].leader == n as i32
        });
    }
    cluster.kill9(3);
    cluster.wait_until_known(3, false);
    kafka.numbers(&topic, 3).send(300..600);
    assert_ne!(kafka.partitions(&topic)[0].leader, 3);
    cluster.restart(3);
    cluster.wait_until_known(3, true);
    wait::until_true("in sync again", wait::PATIENCE, || {
        kafka.partitions(&topic).iter().all(|partition| partition.in_sync.len() == 3)
    });
    cluster.stop(1);
    assert_eq!(metadata(cluster.port(1)), None);
    cluster.wait_until_known(1, false);
    kafka.numbers(&topic, 3).send(600..900);
    cluster.cont(1);
    cluster.wait_until_known(1, true);
    let found: BTreeSet<String> = values(&kafka.read(&topic, "read_uncommitted")).into_iter().collect();
    assert_eq!(found, (0..900).map(|n| format!("n-{n}")).collect());
}

#[test]
fn the_release_before_runs_too() {
    let cluster = Cluster::with(1, &ClusterOptions { version: Version::Old, ..ClusterOptions::default() });
    let topic = cluster.admin().topic(1);
    cluster.admin().add(&topic, ["one", "two"]);
    assert_eq!(values(&cluster.admin().read(&topic, "read_committed")), ["one", "two"]);
}

/// What kcat says to a consumer's settings: its output, or its complaint.
fn kcat(args: &[&str]) -> String {
    let kcat = std::env::var("KCAT").unwrap_or_else(|_| "kcat".into());
    let done = std::process::Command::new(kcat).args(["-C", "-e"]).args(args).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
}

#[test]
fn a_guarded_broker_asks_for_a_password_and_for_rights_and_a_proxied_one_is_cut() {
    let options = ClusterOptions {
        users: vec![("tide".into(), "pw".into())],
        proxied: true,
        features: vec!["group.version=0".into()],
        ..ClusterOptions::default()
    };
    let cluster = Cluster::with(1, &options);
    let kafka = cluster.admin();
    let topic = kafka.topic(1);
    kafka.add(&topic, ["one"]);
    let address = |url: String| url.trim_start_matches("kafka://").trim_end_matches('/').to_owned();
    let guarded = address(cluster.guarded_url("x", "")).replace("x@", "");
    let login = |password: &str| {
        let password = format!("sasl.password={password}");
        let sasl = ["-X", "security.protocol=sasl_plaintext", "-X", "sasl.mechanisms=PLAIN"];
        let who = ["-X", "sasl.username=tide", "-X", &password, "-b", &guarded, "-t", &topic];
        kcat(&[&sasl[..], &who].concat())
    };
    assert!(login("wrong").contains("Authentication failed"), "{}", login("wrong"));
    let refused = login("pw").to_lowercase();
    assert!(refused.contains("authorization") && !refused.starts_with("one"), "{refused}");
    kafka.allow("tide", "Read", "Topic", &topic);
    wait::until_true("the right counts", wait::PATIENCE, || login("pw").starts_with("one\n"));

    let through = address(cluster.proxied_url(""));
    assert_eq!(through, format!("127.0.0.1:{}", cluster.proxy(1).port()));
    let before = cluster.proxy(1).bytes();
    assert!(kcat(&["-b", &through, "-t", &topic]).starts_with("one\n"));
    assert!(cluster.proxy(1).bytes().0 > before.0, "all of it through the proxy");

    // Without its feature the consumer protocol is refused.
    let java = kafka.java_consumer(&unique("group"), &[&topic], &[("group.protocol", "consumer")]);
    wait::until_true("it is refused", wait::PATIENCE, || java.failure().is_some());
}
