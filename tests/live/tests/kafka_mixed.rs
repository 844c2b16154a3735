//! One classic group of three clients: ours, Apache Kafka's Java consumer, and librdkafka (kcat). Each
//! must understand what the others subscribe to and assign, whoever leads.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_live::kafka::{Admin, JavaConsumer, Kcat, shared, unique};
use tidegate_live::{Consume, wait};

const PARTITIONS: usize = 6;

/// Joins and leaves are told, so no session has to end for them; but kcat joins only when it has seen
/// its topic, and eager members finish their poll first.
const REBALANCE: Duration = Duration::from_secs(20);

struct Group {
    kafka: &'static Admin,
    strategy: &'static str,
    topic: String,
    name: String,
    sent: u64,
}

impl Group {
    fn new(strategy: &'static str) -> Self {
        let kafka = shared();
        Self { kafka, strategy, topic: kafka.topic(PARTITIONS), name: unique("group"), sent: 0 }
    }

    fn ours(&self) -> Consume {
        Consume::of(&self.kafka.url(&self.topic))
            .member(&self.name, "ours")
            .args(["--protocol", "classic", "--assignor", self.strategy, "--session-timeout", "6s"])
            .args(["--commit-interval", "100ms"])
            .start()
    }

    fn java(&self) -> JavaConsumer {
        let assignor = match self.strategy {
            "range" => "org.apache.kafka.clients.consumer.RangeAssignor",
            "roundrobin" => "org.apache.kafka.clients.consumer.RoundRobinAssignor",
            _ => "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        };
        let settings = [
            ("partition.assignment.strategy", assignor),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "300"),
        ];
        self.kafka.java_consumer(&self.name, &[&self.topic], &settings)
    }

    fn kcat(&self) -> Kcat {
        let settings = [
            ("partition.assignment.strategy", self.strategy),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "300"),
        ];
        Kcat::member(self.kafka, &self.name, &[&self.topic], &settings)
    }

    #[track_caller]
    fn is_shared(&self, sizes: &[usize]) {
        self.kafka.wait_until_shared(&self.name, &self.topic, sizes, REBALANCE);
        let books = self.kafka.group(&self.name).unwrap();
        assert_eq!((books.kind.as_str(), books.assignor.as_str()), ("Classic", self.strategy));
    }

    /// Sixty more records.
    fn add(&mut self) {
        self.kafka.numbers(&self.topic, PARTITIONS).send(self.sent..self.sent + 60);
        self.sent += 60;
    }

    /// Each record was read; how many of them more than once.
    #[track_caller]
    fn all_is_read(&self, readers: &dyn Fn() -> Vec<(i32, i64)>) -> usize {
        let mut times = BTreeMap::new();
        wait::until_true("everything is read", REBALANCE, || {
            times.clear();
            for at in readers() {
                *times.entry(at).or_insert(0) += 1;
            }
            times.len() as u64 == self.sent
        });
        times.values().filter(|&&times| times > 1).count()
    }
}

fn of_ours(ours: &[&Consume]) -> Vec<(i32, i64)> {
    let each = |ours: &&Consume| -> Vec<(i32, i64)> {
        ours.seen().messages.iter().map(|m| (m.shard as i32, m.seq.parse().unwrap())).collect()
    };
    ours.iter().flat_map(each).collect()
}

fn of_others(read: Vec<(String, i32, i64, String)>) -> Vec<(i32, i64)> {
    read.into_iter().map(|(_, partition, offset, _)| (partition, offset)).collect()
}

/// The order in which they join decides who leads: the coordinator makes the first one leader.
fn together(strategy: &'static str, ours_first: bool) {
    let mut group = Group::new(strategy);
    println!("{strategy}, ours joins {}", if ours_first { "first" } else { "last" });
    let (mut ours, java, kcat);
    if ours_first {
        ours = group.ours();
        group.is_shared(&[6]);
        java = group.java();
        group.is_shared(&[3, 3]);
        kcat = group.kcat();
    } else {
        java = group.java();
        group.is_shared(&[6]);
        kcat = group.kcat();
        group.is_shared(&[3, 3]);
        ours = group.ours();
    }
    group.is_shared(&[2, 2, 2]);
    wait::until_true("each knows its own", REBALANCE, || java.held().len() == 2 && kcat.held().len() == 2);
    let (of_java, of_kcat) = (java.held(), kcat.held());
    assert!(of_java.is_disjoint(&of_kcat));
    group.add();
    let readers = || [of_ours(&[&ours]), of_others(java.state().read), of_others(kcat.read())].concat();
    assert_eq!(group.all_is_read(&readers), 0, "nothing twice");
    for message in &ours.seen().messages {
        let partition = message.shard as i32;
        assert!(!of_java.contains(&partition) && !of_kcat.contains(&partition), "it isn't ours: {message:?}");
    }
    // Ours leaves: the others have it all. It comes back.
    ours.interrupt();
    group.is_shared(&[3, 3]);
    group.add();
    let readers = || [of_ours(&[&ours]), of_others(java.state().read), of_others(kcat.read())].concat();
    group.all_is_read(&readers);
    let mut again = group.ours();
    group.is_shared(&[2, 2, 2]);
    // The others leave, one after the other.
    let java_read = of_others(java.state().read);
    java.close();
    group.is_shared(&[3, 3]);
    group.add();
    let readers = || [of_ours(&[&ours, &again]), java_read.clone(), of_others(kcat.read())].concat();
    let twice = group.all_is_read(&readers);
    println!("{strategy}: {} records, {twice} of them more than once", group.sent);
    let kcat_read = of_others(kcat.read());
    kcat.close();
    group.is_shared(&[6]);
    group.add();
    let readers = || [of_ours(&[&ours, &again]), java_read.clone(), kcat_read.clone()].concat();
    group.all_is_read(&readers);
    again.interrupt();
    let committed = group.kafka.committed_offsets(&group.name, &group.topic, PARTITIONS);
    assert_eq!(committed, [group.sent as i64 / 6; 6]);
}

#[test]
fn range_with_ours_as_the_leader() {
    together("range", true);
}

#[test]
fn range_with_a_java_leader() {
    together("range", false);
}

#[test]
fn cooperative_sticky_with_ours_as_the_leader() {
    together("cooperative-sticky", true);
}

#[test]
fn cooperative_sticky_with_a_java_leader() {
    together("cooperative-sticky", false);
}

#[test]
fn ours_and_a_java_consumer_of_the_consumer_protocol() {
    let kafka = shared();
    let (topic, name) = (kafka.topic(4), unique("group"));
    let mut ours =
        Consume::of(&kafka.url(&topic)).member(&name, "ours").args(["--protocol", "consumer"]).start();
    kafka.wait_until_shared(&name, &topic, &[4], REBALANCE);
    let java = kafka.java_consumer(&name, &[&topic], &[("group.protocol", "consumer")]);
    kafka.wait_until_shared(&name, &topic, &[2, 2], REBALANCE);
    wait::until_true("Java knows its own", REBALANCE, || java.held().len() == 2);
    kafka.numbers(&topic, 4).send(0..400);
    wait::until_true("everything is read once", REBALANCE, || ours.count() + java.state().read.len() == 400);
    java.close();
    kafka.wait_until_shared(&name, &topic, &[4], REBALANCE);
    kafka.numbers(&topic, 4).send(400..500);
    wait::until_true("everything is read once", REBALANCE, || ours.count() == 300);
    ours.interrupt();
}

#[test]
fn members_without_a_common_assignor_do_not_come_together() {
    let group = Group::new("range");
    let java = group.java();
    group.is_shared(&[6]);
    let done = tidegate_live::run(&[
        "consume",
        &group.kafka.url(&group.topic),
        "--mode",
        "load-balanced",
        "--group",
        &group.name,
        "--protocol",
        "classic",
        "--assignor",
        "roundrobin",
    ]);
    done.expect(1).says_one_of(&["assignor", "protocol"]);
    assert_eq!(done.stderr.len(), 1, "one line: {done:#?}");
    assert_eq!(java.held().len(), 6, "the others are left in peace");
}
