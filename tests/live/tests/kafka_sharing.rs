//! Who gets which partitions: as many members as partitions, more, fewer; one dies, one leaves.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tidegate_live::kafka::{Admin, Protocol, shared, unique};
use tidegate_live::{Consume, wait};

/// A rebalance among the living takes a few round trips and heartbeats, no session time-out.
const REBALANCE: Duration = Duration::from_secs(10);

struct Group {
    kafka: &'static Admin,
    topic: String,
    name: String,
    protocol: Protocol,
}

impl Group {
    fn new(partitions: usize, protocol: Protocol) -> Self {
        let kafka = shared();
        println!("{protocol:?}, {partitions} partitions");
        Self { kafka, topic: kafka.topic(partitions), name: unique("group"), protocol }
    }

    fn join(&self, member: &str) -> Consume {
        let args = ["--commit-interval", "100ms"];
        Consume::of(&self.kafka.url(&self.topic))
            .member(&self.name, member)
            .args(self.protocol.args())
            .args(args)
            .start()
    }

    #[track_caller]
    fn is_shared(&self, sizes: &[usize], within: Duration) {
        self.kafka.wait_until_shared(&self.name, &self.topic, sizes, within);
        assert_eq!(self.kafka.group(&self.name).unwrap().kind, self.protocol.kind());
    }

    /// One more record for a partition; its payload.
    fn add(&self, partition: i32) -> String {
        let value = unique("record");
        self.kafka.produce(&self.topic).values(partition, [&value]).send();
        value
    }
}

/// Which of these has shown the payload, once one of them has.
#[track_caller]
fn who_shows(payload: &str, members: &[&Consume]) -> usize {
    wait::until(&format!("somebody shows {payload}"), REBALANCE, || {
        members.iter().position(|member| member.seen().payloads().contains(payload))
    })
}

/// The shards of what was shown.
fn shards(member: &Consume) -> BTreeSet<u64> {
    member.seen().messages.iter().map(|message| message.shard).collect()
}

#[test]
fn two_members_and_two_partitions_have_one_each() {
    for protocol in Protocol::ALL {
        let group = Group::new(2, protocol);
        let (mut a, mut b) = (group.join("a"), group.join("b"));
        group.is_shared(&[1, 1], REBALANCE * 2);
        let sent: Vec<_> = (0..40).map(|n| group.add(n % 2)).collect();
        for (n, payload) in sent.iter().enumerate() {
            let first = who_shows(&sent[n % 2], &[&a, &b]);
            assert_eq!(who_shows(payload, &[&a, &b]), first, "a partition stays with its member");
        }
        assert_ne!(who_shows(&sent[0], &[&a, &b]), who_shows(&sent[1], &[&a, &b]));
        a.interrupt();
        b.interrupt();
        assert_eq!(a.count() + b.count(), 40, "nothing twice");
        assert_eq!(group.kafka.committed_offsets(&group.name, &group.topic, 2), [20, 20]);
    }
}

#[test]
fn two_members_and_three_partitions_have_two_and_one() {
    for protocol in Protocol::ALL {
        let group = Group::new(3, protocol);
        let mut a = group.join("a");
        group.is_shared(&[3], REBALANCE * 2);
        let before: Vec<_> = (0..3).map(|partition| group.add(partition)).collect();
        a.wait_for_payloads(before, REBALANCE);
        let mut b = group.join("b");
        group.is_shared(&[1, 2], REBALANCE * 2);
        let known = a.count();
        let sent: Vec<_> = (0..30).map(|n| group.add(n % 3)).collect();
        for payload in &sent {
            who_shows(payload, &[&a, &b]);
        }
        let of_a: BTreeSet<u64> = a.seen().messages[known..].iter().map(|message| message.shard).collect();
        let of_b = shards(&b);
        assert!(of_a.is_disjoint(&of_b), "{of_a:?} and {of_b:?}");
        assert_eq!(of_a.len() + of_b.len(), 3);
        a.interrupt();
        // Who leaves says so: the other one has it all, long before anybody would be missed.
        let left = Instant::now();
        group.is_shared(&[3], REBALANCE);
        println!("{protocol:?}: taken over {:?} after a farewell", left.elapsed());
        let payload = group.add(0);
        b.wait_for_payloads([payload], REBALANCE);
        b.interrupt();
        assert_eq!(a.count() + b.count(), 34, "nothing twice");
    }
}

#[test]
fn three_members_and_one_partition_and_a_stand_by_takes_over_from_a_killed_owner() {
    for protocol in Protocol::ALL {
        let group = Group::new(1, protocol);
        let mut members = vec![group.join("a"), group.join("b"), group.join("c")];
        group.is_shared(&[0, 0, 1], REBALANCE * 2);
        let payload = group.add(0);
        let owner = who_shows(&payload, &members.iter().collect::<Vec<_>>());
        wait::until_true("it is committed", REBALANCE, || {
            group.kafka.committed_offsets(&group.name, &group.topic, 1) == [1]
        });
        let mut dead = members.remove(owner);
        assert!(members.iter().all(|member| member.count() == 0), "those who stand by show nothing");
        dead.kill9();
        let killed = Instant::now();
        let payload = group.add(0);
        let heir = wait::until("a stand-by takes over", protocol.death() + REBALANCE, || {
            members.iter().position(|member| member.seen().payloads().contains(payload.as_str()))
        });
        println!("{protocol:?}: taken over {:?} after SIGKILL", killed.elapsed());
        let heir = members.remove(heir);
        let mut third = members.remove(0);
        group.is_shared(&[0, 1], REBALANCE);
        assert_eq!(heir.count(), 1, "what was committed isn't repeated");
        assert_eq!(third.count(), 0);
        // And the last one, though its owner only stands still.
        heir.stop();
        let payload = group.add(0);
        third.wait_for_payloads([payload], protocol.death() + REBALANCE);
        heir.cont();
        group.is_shared(&[0, 1], protocol.death() + REBALANCE);
        third.interrupt();
        let payload = group.add(0);
        heir.wait_for_payloads([payload], REBALANCE);
    }
}

#[test]
fn who_leaves_is_gone_from_the_books_at_once() {
    for protocol in Protocol::ALL {
        let group = Group::new(2, protocol);
        let mut member = group.join("a");
        group.is_shared(&[2], REBALANCE * 2);
        member.interrupt();
        let books = group.kafka.group(&group.name).unwrap();
        assert_eq!(books.members, [], "no ghost: {books:?}");
    }
}

#[test]
fn what_was_read_is_committed_before_it_is_given_away() {
    for protocol in Protocol::ALL {
        let group = Group::new(4, protocol);
        group.kafka.numbers(&group.topic, 4).send(0..400);
        // Nothing is committed by the clock: what the other one doesn't repeat was committed when the
        // partitions were taken away.
        let slow = ["--commit-interval", "60s"];
        let join = |member: &str| {
            let url = group.kafka.url(&group.topic);
            Consume::of(&url).member(&group.name, member).args(protocol.args()).args(slow).start()
        };
        let mut a = join("a");
        a.wait_for_count(400);
        let mut b = join("b");
        group.is_shared(&[2, 2], REBALANCE * 2);
        group.kafka.numbers(&group.topic, 4).send(400..800);
        wait::until_true("all are shown", REBALANCE, || a.count() + b.count() >= 800);
        a.interrupt();
        b.interrupt();
        assert_eq!((a.count(), b.count()), (600, 200), "nothing twice");
        assert_eq!(group.kafka.committed_offsets(&group.name, &group.topic, 4), [200; 4]);
    }
}

#[test]
fn the_protocol_and_the_assignor_are_those_that_were_asked_for() {
    let kafka = shared();
    for (args, kind, assignor) in [
        (&[][..], "Consumer", "uniform"),
        (&["--protocol", "consumer"], "Consumer", "uniform"),
        (&["--protocol", "classic", "--assignor", "range"], "Classic", "range"),
        (&["--protocol", "classic", "--assignor", "roundrobin"], "Classic", "roundrobin"),
        (&["--protocol", "classic", "--assignor", "sticky"], "Classic", "sticky"),
        (&["--protocol", "classic", "--assignor", "cooperative-sticky"], "Classic", "cooperative-sticky"),
    ] {
        let (topic, name) = (kafka.topic(3), unique("group"));
        let join = |member: &str| Consume::of(&kafka.url(&topic)).member(&name, member).args(args).start();
        let (mut a, mut b) = (join("a"), join("b"));
        kafka.wait_until_shared(&name, &topic, &[1, 2], REBALANCE * 2);
        let books = kafka.group(&name).unwrap();
        assert_eq!((books.kind.as_str(), books.assignor.as_str()), (kind, assignor), "{args:?}");
        a.interrupt();
        b.interrupt();
    }
}

#[test]
fn a_member_of_the_other_protocol_joins_where_the_broker_can_mix_them() {
    // KIP-848: a group moves from one protocol to the other while it works.
    let kafka = shared();
    let (topic, name) = (kafka.topic(4), unique("group"));
    let join = |member: &str, protocol: Protocol| {
        Consume::of(&kafka.url(&topic)).member(&name, member).args(protocol.args()).start()
    };
    let mut old = join("old", Protocol::Cooperative);
    kafka.wait_until_shared(&name, &topic, &[4], REBALANCE * 2);
    let mut new = join("new", Protocol::Consumer);
    kafka.wait_until_shared(&name, &topic, &[2, 2], REBALANCE * 2);
    kafka.numbers(&topic, 4).send(0..400);
    wait::until_true("all are shown", REBALANCE, || old.count() + new.count() >= 400);
    old.interrupt();
    kafka.wait_until_shared(&name, &topic, &[4], REBALANCE);
    kafka.numbers(&topic, 4).send(400..800);
    wait::until_true("all are shown", REBALANCE, || old.count() + new.count() >= 800);
    new.interrupt();
    assert_eq!(old.count() + new.count(), 800, "nothing twice");
}
