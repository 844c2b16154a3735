//! KIP-848: the broker decides.

use std::time::Duration;

use tidegate_core::kafka::wire::*;
use tidegate_core::{GroupProtocol, KafkaOptions, Outcome, Request as Ask};

use crate::basics::newer;
use crate::model::{Cluster, code, part};
use crate::world::{App, Fate, World, group, secs};

fn cluster() -> Cluster {
    let mut cluster = Cluster::new(2, &[("orders", 4)]);
    (0..4).for_each(|index| cluster.produce("orders", index, 10));
    cluster
}

fn settled(world: &World) -> bool {
    (0..4).all(|index| world.committed("orders", index) == Some(10))
}

type Beat = ConsumerGroupHeartbeatRequest;
type Answer = ConsumerGroupHeartbeatResponse;

/// It says everything there is to say.
fn is_full(beat: &Beat) -> bool {
    beat.subscribed_topic_names.as_deref() == Some(&["orders".to_owned()][..])
        && beat.topic_partitions.is_some()
        && beat.rebalance_timeout_ms == 300_000
}

fn refused(error_code: i16) -> Answer {
    Answer { error_code, ..Default::default() }
}

#[test]
fn a_member_joins_with_everything_and_then_says_only_what_changed() {
    let mut world = World::new(newer(), cluster());
    world.until(secs(5), settled);
    world.run(secs(30));
    let beats = world.all::<Beat>();
    assert_eq!((beats[0].member_epoch, is_full(beats[0])), (0, true), "{:?}", beats[0]);
    assert_eq!(beats[0].topic_partitions.as_deref(), Some(&[][..]), "a new member owns nothing");
    assert!(!beats[0].member_id.is_empty(), "from version 1 on the member names itself");
    let owned = beats[1].topic_partitions.as_ref().unwrap();
    assert_eq!(owned.iter().map(|topic| topic.partitions.len()).sum::<usize>(), 4);
    let quiet = beats.last().unwrap();
    assert_eq!(
        (quiet.member_epoch, &quiet.subscribed_topic_names, &quiet.topic_partitions),
        (1, &None, &None)
    );
    // The interval is the broker's.
    let times: Vec<_> = world.places::<Beat>().iter().map(|(at, _)| *at).collect();
    let apart: Vec<Duration> = times.windows(2).skip(2).map(|two| two[1].since(two[0])).collect();
    assert!(apart.iter().all(|apart| (4_900..5_100).contains(&apart.as_millis())), "{apart:?}");
    world.outcome(Ask::Close { deadline: secs(5) }, secs(1));
    assert_eq!(world.all::<Beat>().last().unwrap().member_epoch, -1);
}

#[test]
fn an_assignment_of_a_topic_that_is_not_known_yet_waits_for_it() {
    let mut world = World::new(newer(), cluster());
    // The topic was made anew, and the first brokers asked don't know yet.
    world.on::<MetadataRequest>(2, |_, answer| {
        answer.topics.iter_mut().for_each(|topic| topic.topic_id = Uuid([99; 16]));
        Fate::Reply
    });
    world.until(secs(10), settled);
    assert_eq!(world.got.len(), 40);
    assert!(world.count::<MetadataRequest>() >= 3);
    // It is not told to own what it couldn't read.
    let first = world.all::<Beat>().into_iter().find(|beat| beat.member_epoch > 0);
    let owned = first.and_then(|beat| beat.topic_partitions.clone()).unwrap_or_default();
    assert!(owned.iter().all(|topic| topic.topic_id != Uuid([99; 16])));
}

#[test]
fn what_is_taken_away_is_committed_let_go_and_said() {
    let mut world = World::new(newer(), cluster());
    world.until(secs(5), settled);
    world.produce("orders", 2, 3);
    world.produce("orders", 3, 3);
    world.until(secs(5), |world| world.got.len() == 46);
    world.cluster.group.retarget([part("orders", 0), part("orders", 1)]);
    let before = world.count::<Beat>();
    world.until(secs(10), |world| world.lane.len() == 6);
    assert_eq!(world.lane[4..], ["revoked orders/2", "revoked orders/3"]);
    assert_eq!([2, 3].map(|index| world.committed("orders", index)), [Some(13); 2]);
    world.until(secs(2), |world| world.cluster.group.member_epoch == 2);
    let told = world.all::<Beat>()[before..].iter().rev().find_map(|beat| beat.topic_partitions.clone());
    let told = told.expect("what it owns is said");
    assert_eq!(told.iter().flat_map(|topic| topic.partitions.clone()).collect::<Vec<_>>(), [0, 1]);
    // And given again.
    world.cluster.group.retarget((0..4).map(|index| part("orders", index)));
    world.until(secs(10), |world| world.owned().len() == 4);
    world.produce("orders", 3, 1);
    world.until(secs(5), |world| world.committed("orders", 3) == Some(14));
    assert_eq!(world.got.len(), 47);
}

#[test]
fn fenced_members_let_go_at_once_and_join_anew() {
    for error in [code::FENCED_MEMBER_EPOCH, code::UNKNOWN_MEMBER_ID] {
        let mut world = World::new(newer(), cluster());
        world.app = App::Takes;
        world.until(secs(5), |world| world.got.len() == 40);
        world.run(secs(2));
        world.instead::<Beat>(1, move |_| refused(error));
        let before = world.count::<Beat>();
        world.until(secs(10), |world| world.count::<Beat>() > before);
        world.ack("orders", 0, 0);
        world.until(secs(10), |world| world.lane.len() == 12);
        let (revoked, assigned) = (&world.lane[4..8], &world.lane[8..]);
        assert!(revoked.iter().all(|line| line.starts_with("revoked")), "{:?}", world.lane);
        assert!(assigned.iter().all(|line| line.starts_with("assigned")), "{:?}", world.lane);
        let again = world.all::<Beat>().into_iter().skip(before + 1).find(|beat| beat.member_epoch == 0);
        let again = again.expect("it joins with epoch 0");
        assert!(is_full(again) && again.topic_partitions.as_deref() == Some(&[][..]), "{again:?}");
        world.run(secs(3));
        assert_eq!(world.count::<OffsetCommitRequest>(), 0, "an old ack was committed");
        assert_eq!(world.got.len(), 80, "what was lost is read again");
    }
}

#[test]
fn a_commit_with_a_stale_epoch_is_sent_again() {
    let mut world = World::new(newer(), cluster());
    world.until(secs(5), |world| world.got.len() == 40);
    // The epoch moves on while the commit is on its way.
    world.on::<OffsetCommitRequest>(2, |_, answer| {
        let parts = answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        parts.for_each(|part| part.error_code = code::STALE_MEMBER_EPOCH);
        Fate::Reply
    });
    world.cluster.group.retarget((0..4).map(|index| part("orders", index)));
    world.produce("orders", 1, 1);
    world.until(secs(15), |world| world.committed("orders", 1) == Some(11));
    world.run(secs(5));
    assert!(world.count::<OffsetCommitRequest>() >= 3);
    assert_eq!(world.all::<OffsetCommitRequest>().last().unwrap().generation_id_or_member_epoch, 2);
    assert_eq!(world.lane.len(), 4, "nothing was revoked: {:?}", world.lane);
    let closed = world.outcome(Ask::Close { deadline: secs(5) }, secs(1));
    assert_eq!(closed, Outcome::Closed { uncommitted: 0 });
}

#[test]
fn a_close_while_the_epoch_moves_on_commits_in_the_new_one() {
    let mut world = World::new(newer(), cluster());
    world.until(secs(5), settled);
    world.produce("orders", 0, 1);
    world.until(secs(5), |world| world.got.len() == 41);
    // The broker is one epoch ahead: the answer that says so is the next one.
    let group = &mut world.cluster.group;
    (group.previous_epoch, group.epoch) = (group.member_epoch, group.epoch + 1);
    group.member_epoch = group.epoch;
    let closed = world.outcome(Ask::Close { deadline: secs(5) }, secs(6));
    assert_eq!(closed, Outcome::Closed { uncommitted: 0 });
    assert_eq!(world.committed("orders", 0), Some(11));
}

#[test]
fn after_a_lost_answer_everything_is_said_again() {
    for silent in [false, true] {
        for nth in 0..4 {
            let mut world = World::new(newer(), cluster());
            let mut at = 0;
            world.on::<Beat>(nth + 1, move |_, _| {
                at += 1;
                match (at > nth, silent) {
                    (false, _) => Fate::Reply,
                    (true, true) => Fate::Silent,
                    (true, false) => Fate::Cut,
                }
            });
            world.until(secs(60), |world| world.count::<Beat>() > nth + 1);
            let beat = world.all::<Beat>()[nth + 1].clone();
            assert!(is_full(&beat), "beat {nth} was lost, and then: {beat:?}");
            world.until(secs(60), settled);
            assert_eq!(world.got.len(), 40);
            assert_eq!(world.owned().len(), 4);
        }
    }
}

#[test]
fn without_the_newer_protocol_auto_takes_the_classic_one_and_consumer_fails() {
    for by_error in [false, true] {
        for protocol in [GroupProtocol::Auto, GroupProtocol::Consumer] {
            let mut cluster = cluster();
            if !by_error {
                cluster.versions.remove(&ConsumerGroupHeartbeatRequest::KEY);
            }
            let options = group().kafka(KafkaOptions::default().protocol(protocol));
            let mut world = World::new(options, cluster);
            if by_error {
                world.instead::<Beat>(9, |_| refused(code::UNSUPPORTED_VERSION));
            }
            if protocol == GroupProtocol::Auto {
                world.until(secs(10), settled);
                assert_eq!(world.count::<SyncGroupRequest>(), 1);
            } else {
                world.until(secs(10), World::ended);
                assert!(world.lane.last().unwrap().starts_with("failed"), "{:?}", world.lane);
            }
        }
    }
}

#[test]
fn a_coordinator_that_moved_is_found() {
    let errors = [code::NOT_COORDINATOR, code::COORDINATOR_NOT_AVAILABLE, code::COORDINATOR_LOAD_IN_PROGRESS];
    for error in errors {
        let mut world = World::new(newer(), cluster());
        world.until(secs(5), settled);
        if error != code::COORDINATOR_LOAD_IN_PROGRESS {
            world.cluster.coordinator = 2;
        }
        world.instead::<Beat>(1, move |_| refused(error));
        let before = world.count::<Beat>();
        world.until(secs(15), |world| world.count::<Beat>() > before + 1);
        assert_eq!(world.places::<Beat>()[before + 1].1, world.cluster.coordinator);
        world.produce("orders", 0, 1);
        world.until(secs(5), |world| world.committed("orders", 0) == Some(11));
        assert_eq!(world.lane.len(), 4, "nothing was revoked");
        // And at the end, too.
        world.cluster.coordinator = 3 - world.cluster.coordinator;
        if error == code::COORDINATOR_LOAD_IN_PROGRESS {
            world.cluster.coordinator = 1;
        }
        world.instead::<Beat>(1, move |_| refused(error));
        let closed = world.outcome(Ask::Close { deadline: secs(5) }, secs(5));
        assert_eq!(closed, Outcome::Closed { uncommitted: 0 });
        assert!(world.cluster.group.member.is_empty(), "a ghost stays");
    }
}

#[test]
fn a_static_member_leaves_for_a_while() {
    let kafka = KafkaOptions::default().protocol(GroupProtocol::Consumer).instance("one");
    let mut world = World::new(group().kafka(kafka), cluster());
    world.until(secs(5), settled);
    world.outcome(Ask::Close { deadline: secs(5) }, secs(1));
    let last = world.all::<Beat>().last().copied().unwrap().clone();
    assert_eq!((last.member_epoch, last.instance_id.as_deref()), (-2, Some("one")));
}

#[test]
fn errors_that_nothing_can_repair_are_the_end() {
    let codes = [code::GROUP_AUTHORIZATION_FAILED, 24, 42, 81, 111, 112, code::FENCED_INSTANCE_ID];
    for error in codes {
        let mut world = World::new(newer(), cluster());
        world.until(secs(5), settled);
        world.instead::<Beat>(usize::MAX, move |_| Answer {
            error_code: error,
            error_message: Some("in the broker's own words".into()),
            ..Default::default()
        });
        world.run(secs(60));
        let notices: Vec<_> = world.notices.iter().map(ToString::to_string).collect();
        // Failed with words, or stalled with a reason, and retried in measure.
        let said = world.lane.last().unwrap().starts_with("failed")
            || notices.iter().any(|notice| notice.contains(&ErrorCode(error).to_string()));
        assert!(said, "error {error}: {:?} {notices:?}", world.lane.last());
        assert!(world.count::<Beat>() < 60, "error {error}: {} heartbeats", world.count::<Beat>());
    }
}

#[test]
fn an_assignment_of_a_topic_that_is_not_there_is_asked_for_again() {
    let mut world = World::new(newer(), cluster());
    // Twice: the first one is answered by what is owned then, and with it comes the right one.
    world.on::<ConsumerGroupHeartbeatRequest>(2, |_, answer| {
        let unknown =
            ConsumerGroupHeartbeatResponseTopicPartitions { topic_id: Uuid([9; 16]), partitions: vec![0] };
        let topic_partitions = vec![unknown];
        answer.assignment = Some(ConsumerGroupHeartbeatResponseAssignment { topic_partitions });
        Fate::Reply
    });
    world.until(secs(15), |world| !world.owned().is_empty());
}
