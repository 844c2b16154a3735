//! What is committed, when, and what never.

use tidegate_core::kafka::records::{BatchBuilder, Marker};
use tidegate_core::kafka::wire::*;
use tidegate_core::{AutoCommit, Limits, Outcome, Request as Ask};

use crate::basics::{classic, newer, resumable};
use crate::model::{Cluster, code, stored};
use crate::world::{App, Fate, World, millis, secs};

fn cluster() -> Cluster {
    let mut cluster = Cluster::new(1, &[("orders", 2)]);
    (0..2).for_each(|index| cluster.produce("orders", index, 10));
    cluster
}

fn commits(world: &World) -> Vec<(i32, i64)> {
    let topics = world.all::<OffsetCommitRequest>().into_iter().flat_map(|commit| &commit.topics);
    topics
        .flat_map(|topic| &topic.partitions)
        .map(|part| (part.partition_index, part.committed_offset))
        .collect()
}

#[test]
fn acks_in_any_order_commit_up_to_the_first_gap() {
    for options in [classic(), newer(), resumable()] {
        let mut world = World::new(options.auto_commit(AutoCommit::Disabled), cluster());
        world.app = App::Takes;
        world.until(secs(5), |world| world.got.len() == 20);
        for (acks, expected) in [
            (vec![3, 1], None),
            (vec![0], Some(2)),
            (vec![9, 8], Some(2)),
            (vec![2], Some(4)),
            (vec![4, 5, 6, 7], Some(10)),
        ] {
            acks.iter().for_each(|offset| world.ack("orders", 0, *offset));
            let outcome = world.outcome(Ask::Commit, secs(1));
            assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
            assert_eq!(world.committed("orders", 0), expected, "after {acks:?}");
        }
        assert_eq!(world.committed("orders", 1), None);
        assert_eq!(commits(&world), [(0, 2), (0, 4), (0, 10)], "what didn't move was committed again");
    }
}

#[test]
fn a_commit_of_more_partitions_than_one_request_takes_is_done() {
    let mut limits = Limits::default();
    limits.commit_messages_max = 1;
    for options in [classic(), newer(), resumable()] {
        let options = options.auto_commit(AutoCommit::Disabled).limits(limits.clone());
        let mut world = World::new(options, cluster());
        world.app = App::Takes;
        world.until(secs(5), |world| world.got.len() == 20);
        for index in 0..2 {
            world.ack("orders", index, 0);
        }
        let outcome = world.outcome(Ask::Commit, secs(1));
        assert_eq!(outcome, Outcome::Committed { messages: 2 });
        assert_eq!([0, 1].map(|index| world.committed("orders", index)), [Some(1), Some(1)]);
    }
}

#[test]
fn what_lies_behind_a_marker_is_committed_with_the_marker_s_epoch() {
    let mut cluster = Cluster::new(2, &[("orders", 1)]);
    cluster.produce("orders", 0, 10);
    let log = cluster.log("orders", 0);
    log.elect(2);
    let mut marker = BatchBuilder::marker(10, 7, 0, 1_000_200, Marker::Commit);
    marker.leader_epoch(log.epoch);
    let epoch = log.epoch;
    log.append(stored(&marker, 10, Vec::new()));
    let mut world = World::new(resumable(), cluster);
    world.until(secs(5), |world| world.committed("orders", 0) == Some(11));
    let last = world.all::<OffsetCommitRequest>().into_iter().last();
    let said = last.map(|commit| commit.topics[0].partitions[0].committed_leader_epoch);
    // That of the records before would say that the log was cut where the marker is (KIP-320).
    assert_eq!(said, Some(epoch));
}

#[test]
fn rolling_commits_within_its_interval_and_one_at_a_time() {
    let mut world = World::new(classic(), cluster());
    world.until(secs(5), |world| world.got.len() == 20);
    let start = world.now;
    // The answer takes its time; meanwhile more is acked.
    world.on::<OffsetCommitRequest>(1, |_, _| Fate::After(secs(4)));
    world.until(secs(2), |world| world.count::<OffsetCommitRequest>() == 1);
    assert!(world.now.since(start) <= millis(1_010), "{:?}", world.now.since(start));
    world.produce("orders", 0, 5);
    world.run(secs(3));
    assert_eq!(world.count::<OffsetCommitRequest>(), 1, "two commits at a time");
    world.until(secs(3), |world| world.committed("orders", 0) == Some(15));
}

#[test]
fn a_commit_whose_answer_is_lost_is_sent_again() {
    for cut in [true, false] {
        let mut world = World::new(classic(), cluster());
        world.on::<OffsetCommitRequest>(2, move |_, _| if cut { Fate::Cut } else { Fate::Silent });
        world.until(secs(60), |world| world.count::<OffsetCommitRequest>() == 3);
        world.produce("orders", 0, 1);
        world.until(secs(60), |world| world.committed("orders", 0) == Some(11));
        let closed = world.outcome(Ask::Close { deadline: secs(5) }, secs(5));
        assert_eq!(closed, Outcome::Closed { uncommitted: 0 });
    }
}

#[test]
fn errors_of_one_partition_do_not_hold_the_others_up() {
    let mut world = World::new(classic(), cluster());
    world.on::<OffsetCommitRequest>(1, |_, answer| {
        let parts = answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        parts.filter(|part| part.partition_index == 0).for_each(|part| part.error_code = 7);
        Fate::Reply
    });
    world.until(secs(5), |world| world.count::<OffsetCommitRequest>() >= 2);
    let again = world.all::<OffsetCommitRequest>()[1].topics[0].partitions.clone();
    assert_eq!(again.iter().map(|part| part.partition_index).collect::<Vec<_>>(), [0]);
    world.run(secs(1));
    assert_eq!(world.outcome(Ask::Commit, secs(2)), Outcome::Committed { messages: 0 });
}

#[test]
fn the_metadata_is_committed_with_each_offset() {
    let options = classic();
    let kafka = options.kafka.clone().commit_metadata("by unit 7");
    let mut world = World::new(options.kafka(kafka), cluster());
    world.until(secs(5), |world| world.committed("orders", 0) == Some(10));
    let committed = world.cluster.group.committed.values().map(|(_, text)| text.clone());
    assert!(committed.into_iter().all(|text| text.as_deref() == Some("by unit 7")));
}

#[test]
fn immediate_commits_before_it_hands_out() {
    for options in [classic(), newer(), resumable()] {
        let mut world = World::new(options.auto_commit(AutoCommit::Immediate), cluster());
        world.settle();
        for _ in 0..5_000 {
            if world.got.len() == 20 {
                break;
            }
            let end = world.now + secs(1);
            world.step(end);
            for index in 0..2 {
                let got = world.offsets("orders", index).last().copied();
                let committed = world.committed("orders", index);
                assert!(
                    got.is_none_or(|got| Some(got) < committed),
                    "{got:?} was handed out, {committed:?} committed"
                );
            }
        }
        assert_eq!(world.got.len(), 20);
        assert!(world.got.iter().all(|got| got.range.is_none()));
        // A commit that fails holds back what it is for.
        world.instead::<OffsetCommitRequest>(2, |request| OffsetCommitResponse {
            topics: request
                .topics
                .iter()
                .map(|topic| OffsetCommitResponseTopic {
                    name: topic.name.clone(),
                    topic_id: topic.topic_id,
                    partitions: topic
                        .partitions
                        .iter()
                        .map(|part| OffsetCommitResponsePartition {
                            partition_index: part.partition_index,
                            error_code: code::COORDINATOR_LOAD_IN_PROGRESS,
                        })
                        .collect(),
                })
                .collect(),
            ..Default::default()
        });
        world.produce("orders", 0, 5);
        world.until(secs(20), |world| world.got.len() == 25);
        assert_eq!(world.committed("orders", 0), Some(15));
    }
}

#[test]
fn delayed_acks_what_was_taken_when_its_time_comes() {
    let mut world = World::new(classic().auto_commit(AutoCommit::Delayed { delay: secs(2) }), cluster());
    world.app = App::Takes;
    world.until(secs(5), |world| world.got.len() == 20);
    let ranges: Vec<_> = world.got.iter().filter_map(|got| got.range).collect();
    world.relax();
    world.ask(Ask::Taken(ranges)).unwrap();
    world.run(millis(1_900));
    assert_eq!(world.committed("orders", 0), None);
    world.run(millis(300));
    assert_eq!([0, 1].map(|index| world.committed("orders", index)), [Some(10); 2]);
}

#[test]
fn a_close_tells_truthfully_what_could_not_be_committed() {
    for options in [classic(), newer(), resumable()] {
        let mut world = World::new(options.auto_commit(AutoCommit::Disabled), cluster());
        world.until(secs(5), |world| world.got.len() == 20);
        world.freeze();
        let start = world.now;
        let closed = world.outcome(Ask::Close { deadline: secs(3) }, secs(4));
        assert_eq!(closed, Outcome::Closed { uncommitted: 20 });
        assert!(world.now.since(start) <= secs(3), "{:?}", world.now.since(start));
        world.settle();
        assert!(world.ended() && world.conns().is_empty());
    }
}

#[test]
fn a_close_with_all_brokers_gone_ends_at_its_deadline() {
    let mut world = World::new(classic().auto_commit(AutoCommit::Disabled), cluster());
    world.until(secs(5), |world| world.got.len() == 20);
    world.kill(1);
    world.run(secs(2));
    let start = world.now;
    let closed = world.outcome(Ask::Close { deadline: secs(3) }, secs(4));
    assert_eq!(closed, Outcome::Closed { uncommitted: 20 });
    assert!(world.now.since(start) <= secs(3));
}

#[test]
fn a_restart_goes_on_at_exactly_the_next_message() {
    for options in [classic(), newer(), resumable()] {
        let mut world = World::new(options.clone(), cluster());
        world.until(secs(5), |world| world.got.len() == 20);
        world.outcome(Ask::Close { deadline: secs(5) }, secs(1));
        let mut cluster = std::mem::replace(&mut world.cluster, Cluster::new(1, &[]));
        cluster.produce("orders", 0, 2);
        let mut world = World::new(options, cluster);
        world.run(secs(5));
        assert_eq!(
            world.got.iter().map(|got| (got.part.1, got.offset)).collect::<Vec<_>>(),
            [(0, 10), (0, 11)]
        );
    }
}
