//! Groups of everybody's members at `tidegate serve kafka`: ours, Apache Kafka's Java consumer,
//! librdkafka's (kcat) and franz-go's, side by side. No client knows that it is a model.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod serve_tools;

use std::collections::{BTreeMap, BTreeSet};

use serve_tools::Served;
use tidegate_live::kafka::{Admin, Franz, JavaConsumer, Kcat, kcat_produce, unique};
use tidegate_live::{Consume, wait};

const PARTITIONS: i32 = 6;
/// A served Kafka, and what was written to it.
struct Party {
    served: Served,
    admin: Admin,
    group: String,
    sent: u64,
}

impl Party {
    fn new(nodes: u8) -> Self {
        let served = Served::kafka(&["--nodes", &nodes.to_string(), "--partitions", "6"]);
        let admin = Admin::of(&format!("127.0.0.1:{}", served.port()));
        admin.create_topic("orders", PARTITIONS as usize, 1, &[]);
        Self { served, admin, group: unique("group"), sent: 0 }
    }

    /// Ten more records for each partition, by kcat.
    fn add(&mut self) {
        for partition in 0..PARTITIONS {
            let values: Vec<String> = (self.sent..self.sent + 10).map(|number| number.to_string()).collect();
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            kcat_produce(&self.admin, "orders", partition, &values, &[]);
            self.sent += 10;
        }
    }

    fn ours(&self, name: &str, args: &[&str]) -> Consume {
        Consume::of(&self.served.url("orders"))
            .member(&self.group, name)
            .args(["--commit-interval", "100ms", "--from", "beginning"])
            .args(args)
            .start()
    }

    fn java(&self, configs: &[(&str, &str)]) -> JavaConsumer {
        self.admin.java_consumer(&self.group, &["orders"], configs)
    }

    fn kcat(&self, strategy: &str) -> Kcat {
        let configs = [
            ("partition.assignment.strategy", strategy),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "300"),
        ];
        Kcat::member(&self.admin, &self.group, &["orders"], &configs)
    }

    fn franz(&self, balancer: &str) -> Franz {
        Franz::member(self.admin.bootstrap(), &self.group, "orders", balancer)
    }

    /// Each record was read; returns how many of them more than once.
    #[track_caller]
    fn all_is_read(&self, readers: &dyn Fn() -> Vec<(i32, i64)>) -> usize {
        let mut times = BTreeMap::new();
        wait::until_true("everything is read", wait::PATIENCE, || {
            times.clear();
            for at in readers() {
                *times.entry(at).or_insert(0) += 1;
            }
            times.len() as u64 == self.sent
        });
        times.values().filter(|&&times| times > 1).count()
    }
}

fn of_ours(ours: &Consume) -> Vec<(i32, i64)> {
    ours.seen().messages.iter().map(|one| (one.shard as i32, one.seq.parse().unwrap())).collect()
}

/// The partitions that ours holds, by what it says: `notice: assigned orders/3`.
fn held(ours: &Consume) -> BTreeSet<i32> {
    let mut held = BTreeSet::new();
    for line in &ours.seen().notices {
        let Some((what, number)) = line.text.split_once(" orders/") else { continue };
        let number =
            number.split(|c: char| !c.is_ascii_digit()).next().and_then(|number| number.parse().ok());
        match (what, number) {
            ("notice: assigned", Some(number)) => drop(held.insert(number)),
            ("notice: revoked" | "notice: lost", Some(number)) => drop(held.remove(&number)),
            _ => {}
        }
    }
    held
}

fn of_others(read: Vec<(String, i32, i64, String)>) -> Vec<(i32, i64)> {
    read.into_iter().map(|(_, partition, offset, _)| (partition, offset)).collect()
}

/// Java's name for it.
fn assignor(strategy: &str) -> &'static str {
    match strategy {
        "range" => "org.apache.kafka.clients.consumer.RangeAssignor",
        _ => "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
    }
}

fn together(strategy: &str) {
    let mut party = Party::new(3);
    let java = party.java(&[
        ("partition.assignment.strategy", assignor(strategy)),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "300"),
    ]);
    wait::until_true("Java has it all", wait::PATIENCE, || java.held().len() == 6);
    let kcat = party.kcat(strategy);
    wait::until_true("two share", wait::PATIENCE, || java.held().len() == 3 && kcat.held().len() == 3);
    let franz = party.franz(strategy);
    wait::until_true("three share", wait::PATIENCE, || {
        java.held().len() == 2 && kcat.held().len() == 2 && franz.held().len() == 2
    });
    let classic = ["--protocol", "classic", "--assignor", strategy, "--session-timeout", "6s"];
    let mut ours = party.ours("ours", &classic);
    let others = || [java.held(), kcat.held(), franz.held()];
    wait::until_true("four share", wait::PATIENCE, || {
        let all = [others().to_vec(), vec![held(&ours)]].concat();
        let whole: BTreeSet<i32> = all.iter().flatten().copied().collect();
        all.iter().all(|held| (1..=2).contains(&held.len()))
            && all.iter().map(BTreeSet::len).sum::<usize>() == 6
            && whole.len() == 6
    });
    let readers = || {
        let others = [of_others(java.state().read), of_others(kcat.read()), of_others(franz.read())];
        [of_ours(&ours), others.concat()].concat()
    };
    let of_others_now: BTreeSet<i32> = others().into_iter().flatten().collect();
    party.add();
    let twice = party.all_is_read(&readers);
    assert_eq!(twice, 0, "nothing is read twice while everybody hands on what it has done");
    let seen = of_ours(&ours);
    assert!(seen.iter().all(|(partition, _)| !of_others_now.contains(partition)), "{seen:?}");
    // One after the other leaves, and the others go on where it was.
    ours.interrupt();
    let ours_read = of_ours(&ours);
    wait::until_true("three share it", wait::PATIENCE, || others().iter().all(|held| held.len() == 2));
    party.add();
    let readers = || {
        let others = [of_others(java.state().read), of_others(kcat.read()), of_others(franz.read())];
        [ours_read.clone(), others.concat()].concat()
    };
    assert_eq!(party.all_is_read(&readers), 0);
    let java_read = of_others(java.state().read);
    java.close();
    wait::until_true("two share it", wait::PATIENCE, || kcat.held().len() == 3 && franz.held().len() == 3);
    party.add();
    let readers = || {
        let others = [java_read.clone(), of_others(kcat.read()), of_others(franz.read())];
        [ours_read.clone(), others.concat()].concat()
    };
    party.all_is_read(&readers);
    let kcat_read = of_others(kcat.read());
    kcat.close();
    wait::until_true("one has it all", wait::PATIENCE, || franz.held().len() == 6);
    party.add();
    let readers =
        || [ours_read.clone(), java_read.clone(), kcat_read.clone(), of_others(franz.read())].concat();
    party.all_is_read(&readers);
    franz.close();
    // All of it is committed: who comes next finds nothing but what is new.
    let last = party.ours("last", &classic);
    wait::until_true("it reads", wait::PATIENCE, || last.seen().noticed("ready"));
    party.add();
    wait::until_true("it reads what is new", wait::PATIENCE, || last.count() >= 60);
    assert_eq!(last.count(), 60);
}

#[test]
fn range_of_four_clients() {
    together("range");
}

#[test]
fn cooperative_sticky_of_four_clients() {
    together("cooperative-sticky");
}

#[test]
fn java_s_producer_as_it_comes() {
    let party = Party::new(1);
    // It asks for a producer id, as it is to write each batch once.
    party.admin.add("orders", (0..500).map(|number| format!("java {number}")));
    let read = party.admin.read("orders", "read_committed");
    let of_java =
        read.iter().filter(|one| one.value.as_ref().is_some_and(|value| value.starts_with(b"java ")));
    assert_eq!((read.len(), of_java.count()), (500, 500));
}

#[test]
fn the_consumer_protocol_of_ours_and_java() {
    let mut party = Party::new(3);
    let java = party.java(&[("group.protocol", "consumer")]);
    wait::until_true("Java has it all", wait::PATIENCE, || java.held().len() == 6);
    let mut ours = party.ours("ours", &["--protocol", "consumer"]);
    wait::until_true("two share", wait::PATIENCE, || java.held().len() == 3 && held(&ours).len() == 3);
    let of_java = java.held();
    party.add();
    let readers = || [of_ours(&ours), of_others(java.state().read)].concat();
    assert_eq!(party.all_is_read(&readers), 0, "nothing is read twice");
    let seen = of_ours(&ours);
    assert!(seen.len() == 30 && seen.iter().all(|(partition, _)| !of_java.contains(partition)), "{seen:?}");
    let java_read = of_others(java.state().read);
    java.close();
    party.add();
    let readers = || [of_ours(&ours), java_read.clone()].concat();
    assert_eq!(party.all_is_read(&readers), 0, "what Java has committed isn't read again");
    ours.interrupt();
    let ours_read = of_ours(&ours);
    let again = party.java(&[("group.protocol", "consumer")]);
    wait::until_true("Java has it all", wait::PATIENCE, || again.held().len() == 6);
    party.add();
    let readers = || [ours_read.clone(), java_read.clone(), of_others(again.state().read)].concat();
    assert_eq!(party.all_is_read(&readers), 0);
}
