//! Topics by pattern: which match, those that come later, those that go, in each mode and protocol.

use std::time::Duration;

use tidegate_core::kafka::Machine;
use tidegate_core::kafka::wire::*;
use tidegate_core::{
    ConsumerMode, ConsumerOptions, Error, Limits, Notice, Outcome, Position, Request as Ask, RequestError,
    ShardId,
};

use crate::basics::{classic, cooperative, newer, resumable};
use crate::model::Cluster;
use crate::world::{Fate, World, millis, secs, setup};

/// All modes and protocols, that look for topics twice a second.
fn all() -> [ConsumerOptions; 5] {
    [classic(), cooperative(), newer(), resumable(), ConsumerOptions::default()].map(often)
}

fn often(options: ConsumerOptions) -> ConsumerOptions {
    let kafka = options.kafka.clone().metadata_age(millis(500));
    options.kafka(kafka)
}

/// Two topics of orders, and others.
fn cluster() -> Cluster {
    let topics = [("orders-eu", 2), ("orders-us", 1), ("my-orders-eu", 1), ("orders", 1), ("returns", 2)];
    let mut cluster = Cluster::new(2, &topics);
    cluster.create("__consumer_offsets", 3);
    cluster.create("__transaction_state", 3);
    cluster.group.follows = true;
    cluster
}

fn world(options: &ConsumerOptions, names: &[&str]) -> World {
    World::reading(options.clone(), names, cluster())
}

fn is_real_time(options: &ConsumerOptions) -> bool {
    options.mode == ConsumerMode::RealTime
}

/// It is ready, and owns these.
fn owns(world: &mut World, parts: &[&str], within: Duration) {
    world.until(within, |world| world.owned() == parts && world.notices.contains(&Notice::Ready));
}

fn said(world: &World) -> Vec<String> {
    world.notices.iter().map(ToString::to_string).collect()
}

fn says(world: &World, words: &str) -> usize {
    said(world).iter().filter(|line| line.contains(words)).count()
}

/// What the group was told last that this member subscribes to, if there is a group.
fn told(world: &World) -> Option<Vec<String>> {
    let join = world.all::<JoinGroupRequest>().last().map(|join| {
        let metadata = join.protocols[0].metadata.clone();
        read_embedded::<ConsumerProtocolSubscription>(metadata).unwrap().1.topics
    });
    let beats = world.all::<ConsumerGroupHeartbeatRequest>();
    let beat = beats.iter().rev().find_map(|beat| beat.subscribed_topic_names.clone());
    let mut topics = join.or(beat)?;
    topics.sort();
    Some(topics)
}

fn is_told(world: &World, topics: &[&str]) {
    if let Some(told) = told(world) {
        assert_eq!(told, topics);
    }
}

#[test]
fn what_matches_is_read_and_nothing_else() {
    for options in all() {
        let mut world = world(&options, &["^orders-.*", "returns"]);
        owns(&mut world, &["orders-eu/0", "orders-eu/1", "orders-us/0", "returns/0", "returns/1"], secs(10));
        is_told(&world, &["orders-eu", "orders-us", "returns"]);
        for (topic, index) in [("orders-eu", 1), ("orders-us", 0), ("returns", 1), ("my-orders-eu", 0)] {
            world.produce(topic, index, 2);
        }
        world.until(secs(5), |world| world.got.len() == 6);
        assert!(world.all::<MetadataRequest>().iter().all(|request| request.topics.is_none()));
        let joins = world.count::<JoinGroupRequest>();
        world.run(secs(20));
        assert_eq!(world.count::<JoinGroupRequest>(), joins, "it joins for nothing");
        let closed = world.outcome(Ask::Close { deadline: secs(5) }, secs(1));
        assert_eq!(closed, Outcome::Closed { uncommitted: 0 });
        if !is_real_time(&options) {
            assert_eq!(world.committed("orders-us", 0), Some(2));
        }
    }
}

#[test]
fn names_alone_are_asked_for_by_name() {
    let mut world = world(&newer(), &["orders", "returns"]);
    owns(&mut world, &["orders/0", "returns/0", "returns/1"], secs(10));
    let names = |request: &MetadataRequest| request.topics.as_ref().map(Vec::len);
    assert!(world.all::<MetadataRequest>().into_iter().all(|request| names(request) == Some(2)));
}

#[test]
fn kafkas_own_topics_match_nothing_whether_or_not_the_broker_says_so() {
    for version in [0, 13] {
        for options in all() {
            let mut cluster = cluster();
            cluster.versions.insert(MetadataRequest::KEY, (0, version));
            let mut world = World::reading(options, &["^.*"], cluster);
            let parts = ["my-orders-eu/0", "orders/0", "orders-eu/0", "orders-eu/1", "orders-us/0"];
            if version == 0 && world.cluster.group.follows {
                // Without ids the newer protocol can't be; auto would not choose it.
                world.cluster.versions.remove(&ConsumerGroupHeartbeatRequest::KEY);
            }
            world.run(secs(10));
            let owned: Vec<_> =
                world.owned().into_iter().filter(|part| !part.starts_with("returns")).collect();
            assert!(owned == parts || world.ended(), "{owned:?} {:?}", world.lane);
            assert!(world.lane.iter().all(|line| !line.contains("__")), "{:?}", world.lane);
        }
    }
}

#[test]
fn a_topic_that_appears_is_found_and_read_from_its_beginning() {
    for options in all() {
        let mut world = world(&options, &["^orders-.*"]);
        owns(&mut world, &["orders-eu/0", "orders-eu/1", "orders-us/0"], secs(10));
        world.cluster.create("orders-asia", 2);
        world.cluster.create("asia-orders", 2);
        world.produce("orders-asia", 1, 3);
        let parts = ["orders-asia/0", "orders-asia/1", "orders-eu/0", "orders-eu/1", "orders-us/0"];
        owns(&mut world, &parts, secs(5));
        world.until(secs(5), |world| world.offsets("orders-asia", 1) == [0, 1, 2]);
        is_told(&world, &["orders-asia", "orders-eu", "orders-us"]);
        // Only an eager group lets everything go for it.
        let revoked = world.lane.iter().filter(|line| line.starts_with("revoked")).count();
        assert_eq!(revoked, if options == often(classic()) { 3 } else { 0 }, "{:?}", world.lane);
        assert_eq!(world.notices.iter().filter(|notice| **notice == Notice::Ready).count(), 1);
        world.produce("orders-eu", 0, 1);
        world.until(secs(5), |world| world.got.len() == 4);
        world.outcome(Ask::Close { deadline: secs(5) }, secs(1));
        assert!(is_real_time(&options) || world.committed("orders-asia", 1) == Some(3));
    }
}

#[test]
fn a_topic_that_is_deleted_is_let_go_and_one_of_its_name_is_new() {
    for options in all() {
        let mut world = world(&options, &["^orders-.*"]);
        owns(&mut world, &["orders-eu/0", "orders-eu/1", "orders-us/0"], secs(10));
        world.produce("orders-us", 0, 2);
        world.until(secs(5), |world| world.got.len() == 2);
        world.cluster.delete("orders-us");
        owns(&mut world, &["orders-eu/0", "orders-eu/1"], secs(5));
        world.until(secs(5), |world| told(world).is_none_or(|told| told == ["orders-eu"]));
        world.run(secs(1));
        let before = world.count::<MetadataRequest>();
        world.run(secs(20));
        let asked = world.count::<MetadataRequest>() - before;
        assert!(asked <= 45, "{asked} times in 20 s: it goes on looking for what is gone");
        assert_eq!(world.owned(), ["orders-eu/0", "orders-eu/1"]);

        world.cluster.create("orders-us", 2);
        world.produce("orders-us", 0, 3);
        owns(&mut world, &["orders-eu/0", "orders-eu/1", "orders-us/0", "orders-us/1"], secs(5));
        world.until(secs(5), |world| world.offsets("orders-us", 0) == [0, 1, 0, 1, 2]);
        is_told(&world, &["orders-eu", "orders-us"]);
        let closed = world.outcome(Ask::Close { deadline: secs(5) }, secs(1));
        assert_eq!(closed, Outcome::Closed { uncommitted: 0 });
    }
}

#[test]
fn a_broker_that_lags_behind_takes_no_topic_away() {
    for options in all() {
        for empty in [true, false] {
            let mut world = world(&options, &["^orders-.*"]);
            owns(&mut world, &["orders-eu/0", "orders-eu/1", "orders-us/0"], secs(10));
            let lines = world.lane.len();
            world.on::<MetadataRequest>(3, move |_, answer| {
                answer.topics.retain(|topic| !empty && topic.name.as_deref() != Some("orders-us"));
                if empty {
                    answer.brokers.clear();
                }
                Fate::Reply
            });
            world.run(secs(5));
            world.produce("orders-us", 0, 1);
            world.until(secs(5), |world| world.got.len() == 1);
            assert_eq!(world.lane.len(), lines, "{:?}", world.lane);
        }
    }
}

#[test]
fn a_name_that_is_missing_beside_a_pattern_is_told_as_ever() {
    for options in all() {
        let mut world = world(&options, &["^orders-.*", "nowhere"]);
        world.until(secs(20), World::ended);
        let last = world.lane.last().unwrap();
        assert!(last.starts_with("failed") && last.contains("nowhere does not exist"), "{last}");
        // Waited for, where it may be created.
        let mut world = World::reading(options.clone().create(true), &["^orders-.*", "nowhere"], cluster());
        owns(&mut world, &["orders-eu/0", "orders-eu/1", "orders-us/0"], secs(10));
        world.cluster.create("nowhere", 1);
        world.produce("nowhere", 0, 2);
        world.until(secs(10), |world| world.offsets("nowhere", 0) == [0, 1]);
        // And missed, but not let go, when it is deleted: it was named.
        world.cluster.delete("nowhere");
        world.until(secs(10), |world| says(world, "nowhere does not exist") == 1);
        world.run(secs(10));
        // (A group may give it to nobody.)
        match told(&world) {
            Some(told) => assert!(told.contains(&"nowhere".into()), "{told:?}"),
            None => assert!(world.owned().contains(&"nowhere/0".into()), "{:?}", world.lane),
        }
        // What a pattern had found is never created.
        world.cluster.delete("orders-us");
        world.until(secs(10), |world| world.lane.contains(&"revoked orders-us/0".into()));
    }
}

#[test]
fn where_nothing_matches_yet_it_is_ready_and_says_so_until_something_does() {
    for options in all() {
        let mut world = world(&options, &["^bills-.*", "^bi(ll)?$"]);
        world.until(secs(5), |world| says(world, "no topic matches ^bills-.*, ^bi(ll)?$") == 1);
        assert_eq!(world.notices[0], Notice::Ready, "{:?}", world.notices);
        world.run(secs(30));
        assert_eq!(world.notices.len(), 2, "{:?}", world.notices);
        assert_eq!(told(&world), None, "it joins its group to read nothing");
        world.cluster.create("bills-1", 1);
        world.produce("bills-1", 0, 3);
        world.until(secs(10), |world| world.offsets("bills-1", 0) == [0, 1, 2]);
        world.until(secs(5), |world| world.notices.last() == Some(&Notice::Ready));
        is_told(&world, &["bills-1"]);
        // All that matched is deleted.
        world.cluster.delete("bills-1");
        world.until(secs(10), |world| says(world, "no topic matches") == 2);
        world.until(secs(10), |world| told(world).is_none_or(|told| told.is_empty()));
        world.run(secs(30));
        assert_eq!(says(&world, "no topic matches"), 2, "{:?}", said(&world));
        world.cluster.create("bill", 1);
        world.produce("bill", 0, 1);
        world.until(secs(10), |world| world.offsets("bill", 0) == [0]);
        let closed = world.outcome(Ask::Close { deadline: secs(5) }, secs(1));
        assert_eq!(closed, Outcome::Closed { uncommitted: 0 });
    }
}

#[test]
fn a_close_while_nothing_matches_is_at_once() {
    for options in all() {
        let mut world = world(&options, &["^bills"]);
        world.run(secs(3));
        let closed = world.outcome(Ask::Close { deadline: secs(5) }, secs(1));
        assert_eq!(closed, Outcome::Closed { uncommitted: 0 });
        assert!(world.ended());
    }
}

#[test]
fn a_topic_that_appears_while_the_group_is_joined_is_told_afterwards() {
    for options in [classic(), cooperative(), newer()].map(often) {
        for key in [JoinGroupRequest::KEY, SyncGroupRequest::KEY, ConsumerGroupHeartbeatRequest::KEY] {
            let mut world = world(&options, &["^orders-.*"]);
            let late = Fate::After;
            match key {
                JoinGroupRequest::KEY => world.on::<JoinGroupRequest>(2, move |_, _| late(secs(2))),
                SyncGroupRequest::KEY => world.on::<SyncGroupRequest>(1, move |_, _| late(secs(2))),
                _ => world.on::<ConsumerGroupHeartbeatRequest>(2, move |_, _| late(secs(2))),
            }
            world.run(millis(500));
            world.cluster.create("orders-asia", 1);
            world.produce("orders-asia", 0, 2);
            world.until(secs(20), |world| world.offsets("orders-asia", 0) == [0, 1]);
            is_told(&world, &["orders-asia", "orders-eu", "orders-us"]);
        }
    }
}

#[test]
fn a_leader_knows_what_others_read_and_reads_none_of_it() {
    let subscription = ConsumerProtocolSubscription {
        topics: ["orders-eu", "returns", "nowhere"].map(str::to_owned).to_vec(),
        ..Default::default()
    };
    let metadata = write_embedded(1, &subscription).unwrap();
    let mut cluster = cluster();
    cluster.group.others =
        vec![JoinGroupResponseMember { member_id: "zoe".into(), metadata, ..Default::default() }];
    let mut world = World::reading(often(classic()), &["^orders-.*"], cluster);
    owns(&mut world, &["orders-eu/0", "orders-us/0"], secs(10));
    let given = |world: &World, member: &str| {
        let one = world.cluster.group.synced.iter().find(|one| one.member_id == member).unwrap();
        let assignment = one.assignment.clone();
        let (_, assignment) = read_embedded::<ConsumerProtocolAssignment>(assignment).unwrap();
        let parts = assignment.assigned_partitions.into_iter();
        parts.map(|topic| (topic.topic, topic.partitions)).collect::<Vec<_>>()
    };
    assert_eq!(given(&world, "zoe"), [("orders-eu".to_owned(), vec![1]), ("returns".to_owned(), vec![0, 1])]);
    is_told(&world, &["orders-eu", "orders-us"]);
    // Theirs grows: the leader sees to it.
    let joins = world.count::<JoinGroupRequest>();
    world.cluster.create("nowhere", 1);
    world.until(secs(10), |world| world.count::<JoinGroupRequest>() > joins);
    world.until(secs(5), |world| given(world, "zoe").iter().any(|(topic, _)| topic == "nowhere"));
}

#[test]
fn a_member_that_does_not_lead_tells_its_leader() {
    for options in [classic(), cooperative()].map(often) {
        let mut cluster = cluster();
        let topic =
            ConsumerProtocolAssignmentTopicPartition { topic: "orders-us".into(), partitions: vec![0] };
        let given = ConsumerProtocolAssignment { assigned_partitions: vec![topic], user_data: None };
        cluster.group.given = Some(given);
        let mut world = World::reading(options, &["^orders-.*"], cluster);
        owns(&mut world, &["orders-us/0"], secs(10));
        world.cluster.create("orders-asia", 1);
        let topics = ["orders-asia", "orders-eu", "orders-us"].map(str::to_owned);
        world.until(secs(5), |world| told(world).is_some_and(|told| told == topics));
        world.cluster.delete("orders-eu");
        let topics = ["orders-asia", "orders-us"].map(str::to_owned);
        world.until(secs(10), |world| told(world).is_some_and(|told| told == topics));
        owns(&mut world, &["orders-us/0"], secs(5));
    }
}

#[test]
fn assignments_and_moves_are_about_what_matches() {
    let first = |topic: &str| Ask::Assign { stream: topic.into(), shard: ShardId::ZERO };
    for options in all() {
        let mut world = world(&options, &["^orders-.*"]);
        owns(&mut world, &["orders-eu/0", "orders-eu/1", "orders-us/0"], secs(10));
        for topic in ["returns", "^orders-.*", "__consumer_offsets"] {
            let refused = RequestError::StreamNotSubscribed { stream: topic.into() };
            assert_eq!(world.ask(first(topic)), Err(refused));
        }
        // Without an assignment: the first shard of each, of those to come as well.
        world.produce("orders-eu", 0, 2);
        world.produce("orders-eu", 1, 2);
        assert_eq!(world.outcome(Ask::Rewind(Position::Beginning), secs(5)), Outcome::Positioned);
        owns(&mut world, &["orders-eu/0", "orders-us/0"], secs(5));
        world.cluster.create("orders-asia", 2);
        owns(&mut world, &["orders-asia/0", "orders-eu/0", "orders-us/0"], secs(5));
        // One that isn't there yet may be assigned: it is when it appears.
        for topic in ["orders-us", "orders-new"] {
            assert_eq!(world.ask(first(topic)), Ok(None));
        }
        let gone = Ask::Unassign { stream: "orders-us".into(), shard: ShardId::ZERO };
        assert_eq!(world.ask(gone.clone()), Ok(None));
        assert!(matches!(world.ask(gone), Err(RequestError::ConsumerNotAssigned { .. })));
        assert_eq!(world.ask(first("orders-us")), Ok(None));
        assert_eq!(world.outcome(Ask::Rewind(Position::Beginning), secs(5)), Outcome::Positioned);
        owns(&mut world, &["orders-us/0"], secs(5));
        world.cluster.create("orders-new", 2);
        world.produce("orders-new", 0, 2);
        owns(&mut world, &["orders-new/0", "orders-us/0"], secs(5));
        world.until(secs(5), |world| world.offsets("orders-new", 0) == [0, 1]);
    }
}

#[test]
fn shards_to_start_with_may_be_of_what_matches() {
    let options = often(ConsumerOptions::default());
    let shard = |stream: &str| options.clone().shard(stream, ShardId::new(1));
    let mut world = World::reading(shard("orders-eu"), &["^orders-.*"], cluster());
    owns(&mut world, &["orders-eu/1"], secs(5));
    let refused = Machine::new(setup(shard("returns"), &["^orders-.*"], 1)).err().unwrap().to_string();
    assert!(refused.contains("not subscribed"), "{refused}");
}

#[test]
fn a_pattern_that_is_none_is_refused_at_once() {
    for (pattern, says) in [
        ("^orders-(", "^orders-( is no regular expression"),
        ("^((a{100}){100}){100}", "KiB"),
        (&format!("^{}", "x".repeat(5_000)), "longer than"),
    ] {
        let refused = Machine::new(setup(newer(), &["orders", pattern], 1)).err().unwrap();
        let Error::Options(words) = &refused else { panic!("{refused:?}") };
        assert!(words.contains(says) && !words.contains('\n') && words.len() < 200, "{words}");
    }
}

#[test]
fn no_more_topics_than_the_limit_are_taken_up() {
    for options in all() {
        let mut limits = Limits::default();
        limits.shards_max = 3;
        let topics = ["a", "b", "c", "d", "e"].map(|name| (name, 1));
        let mut cluster = Cluster::new(1, &topics);
        cluster.group.follows = true;
        let mut world = World::reading(options.limits(limits), &["^.*"], cluster);
        owns(&mut world, &["a/0", "b/0", "c/0"], secs(10));
        is_told(&world, &["a", "b", "c"]);
        world.run(secs(10));
        assert_eq!(says(&world, "limits.shards_max"), 1, "{:?}", said(&world));
        // One goes, and makes room.
        world.cluster.delete("b");
        owns(&mut world, &["a/0", "c/0", "d/0"], secs(10));
        is_told(&world, &["a", "c", "d"]);
    }
}

#[test]
fn topics_that_come_and_go_leave_nothing_behind() {
    for options in all() {
        let mut limits = Limits::default();
        limits.shards_max = 4;
        let mut cluster = Cluster::new(1, &[("job-0", 2)]);
        cluster.group.follows = true;
        let mut world = World::reading(options.limits(limits), &["^job-.*"], cluster);
        world.quiet = true;
        owns(&mut world, &["job-0/0", "job-0/1"], secs(10));
        for number in 1..12 {
            let (old, new) = (format!("job-{}", number - 1), format!("job-{number}"));
            world.cluster.delete(&old);
            world.cluster.create(&new, 2);
            world.produce(&new, 1, number);
            let offsets: Vec<i64> = (0..number).collect();
            world.until(secs(20), |world| world.offsets(&new, 1) == offsets);
            owns(&mut world, &[&format!("{new}/0"), &format!("{new}/1")], secs(10));
        }
        assert_eq!(says(&world, "limits.shards_max"), 0, "{:?}", said(&world));
        let closed = world.outcome(Ask::Close { deadline: secs(5) }, secs(1));
        assert_eq!(closed, Outcome::Closed { uncommitted: 0 });
    }
}
