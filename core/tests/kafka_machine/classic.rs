//! The classic protocol: joining, leading, losing, leaving.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tidegate_core::kafka::wire::*;
use tidegate_core::{AutoCommit, GroupProtocol, KafkaOptions, Notice, Outcome, Request as Ask};

use crate::basics::{classic, cooperative};
use crate::model::{Cluster, code};
use crate::world::{App, Fate, World, group, millis, secs};

/// One topic of four partitions with ten messages each.
pub fn cluster(nodes: i32) -> Cluster {
    let mut cluster = Cluster::new(nodes, &[("orders", 4)]);
    (0..4).for_each(|index| cluster.produce("orders", index, 10));
    cluster
}

/// Everything that is there was delivered, acked and committed.
fn settled(world: &World) -> bool {
    (0..4).all(|index| world.committed("orders", index) == Some(10))
}

pub fn another(topics: &[&str]) -> JoinGroupResponseMember {
    let subscription = ConsumerProtocolSubscription {
        topics: topics.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let metadata = write_embedded(1, &subscription).unwrap();
    JoinGroupResponseMember { member_id: "zoe".into(), metadata, ..Default::default() }
}

/// What the leader gave to each member.
pub fn given(world: &World) -> BTreeMap<String, Vec<String>> {
    let read = |one: &SyncGroupRequestAssignment| {
        let (_, assignment) = read_embedded::<ConsumerProtocolAssignment>(one.assignment.clone()).unwrap();
        let of = |topic: &ConsumerProtocolAssignmentTopicPartition| {
            topic.partitions.iter().map(|index| format!("{}/{index}", topic.topic)).collect::<Vec<_>>()
        };
        let mut parts: Vec<_> = assignment.assigned_partitions.iter().flat_map(of).collect();
        parts.sort();
        (one.member_id.clone(), parts)
    };
    world.cluster.group.synced.iter().map(read).collect()
}

#[test]
fn joining_takes_two_steps_where_the_broker_gives_the_name() {
    let mut world = World::new(classic(), cluster(1));
    world.until(secs(5), settled);
    let joins: Vec<_> = world.all::<JoinGroupRequest>().iter().map(|join| join.member_id.clone()).collect();
    assert_eq!(joins, ["", "member-1"]);
    let join = world.all::<JoinGroupRequest>()[1];
    let protocols: Vec<_> = join.protocols.iter().map(|protocol| protocol.name.as_str()).collect();
    assert_eq!(protocols, ["range", "cooperative-sticky"]);
    assert_eq!((join.protocol_type.as_str(), join.session_timeout_ms), ("consumer", 45_000));
    assert_eq!(join.rebalance_timeout_ms, 300_000);
    let (_, subscription) =
        read_embedded::<ConsumerProtocolSubscription>(join.protocols[0].metadata.clone()).unwrap();
    assert_eq!(subscription.topics, ["orders"]);
}

#[test]
fn the_leader_assigns_what_others_want_as_well() {
    let mut cluster = cluster(1);
    cluster.create("extra", 2);
    // A topic that we don't read, and one that doesn't exist.
    cluster.group.others = vec![another(&["orders", "extra", "nowhere"])];
    let mut world = World::reading(classic(), &["orders"], cluster);
    world.until(secs(5), |world| world.owned().len() == 2);
    let expected = [
        ("member-1", vec!["orders/0", "orders/1"]),
        ("zoe", vec!["extra/0", "extra/1", "orders/2", "orders/3"]),
    ];
    let expected: BTreeMap<_, Vec<_>> = expected
        .into_iter()
        .map(|(member, parts)| (member.to_owned(), parts.into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(given(&world), expected);
    assert_eq!(world.owned(), ["orders/0", "orders/1"]);
}

#[test]
fn an_eager_member_commits_lets_go_and_joins_again() {
    let mut world = World::new(classic(), cluster(1));
    world.until(secs(5), |world| world.got.len() == 40);
    // Acked a moment ago, and not committed yet.
    assert_eq!(world.committed("orders", 0), None);
    world.cluster.group.rebalancing = true;
    world.until(secs(5), |world| world.count::<JoinGroupRequest>() == 3);
    assert!(settled(&world), "it joined before it committed: {:?}", world.cluster.group.committed);
    world.until(secs(5), |world| world.count::<SyncGroupRequest>() == 2);
    world.run(secs(1));
    let names = |verb: &str| (0..4).map(|index| format!("{verb} orders/{index}")).collect::<Vec<_>>();
    assert_eq!(world.lane, [names("assigned"), names("revoked"), names("assigned")].concat());
    // Nothing twice: it goes on from what was committed.
    assert_eq!(world.got.len(), 40);
    assert!(!world.notices.iter().any(|notice| matches!(notice, Notice::Uncommitted { .. })));
    let join = world.all::<JoinGroupRequest>()[2];
    assert_eq!(join.member_id, "member-1");
}

#[test]
fn a_commit_that_meets_a_rebalance_is_not_lost() {
    let mut world = World::new(classic(), cluster(1));
    world.on::<OffsetCommitRequest>(1, |_, answer| {
        let parts = answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        parts.for_each(|part| part.error_code = code::REBALANCE_IN_PROGRESS);
        Fate::Reply
    });
    world.cluster.group.rebalancing = false;
    world.until(secs(10), |world| world.count::<JoinGroupRequest>() == 3);
    world.until(secs(10), |world| world.count::<SyncGroupRequest>() == 2);
    world.produce("orders", 0, 1);
    world.until(secs(10), |world| world.committed("orders", 0) == Some(11));
    assert!(!world.ended());
}

#[test]
fn a_member_whose_last_commits_take_long_stays_alive_meanwhile() {
    let kafka = KafkaOptions::default().protocol(GroupProtocol::Classic).heartbeat_interval(millis(500));
    let mut world = World::new(group().kafka(kafka), cluster(1));
    world.until(secs(5), |world| world.got.len() == 40);
    // Refused for as long as it waits for them: 5 s.
    world.on::<OffsetCommitRequest>(usize::MAX, |_, answer| {
        let parts = answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        parts.for_each(|part| part.error_code = code::COORDINATOR_LOAD_IN_PROGRESS);
        Fate::Reply
    });
    let joins = world.count::<JoinGroupRequest>();
    world.cluster.group.rebalancing = true;
    world.until(secs(2), |world| world.count::<OffsetCommitRequest>() > 0);
    let before = world.count::<HeartbeatRequest>();
    world.until(secs(10), |world| world.count::<JoinGroupRequest>() > joins);
    let beats = world.count::<HeartbeatRequest>() - before;
    assert!((6..=11).contains(&beats), "{beats} heartbeats in about 5 s");
    let uncommitted = world.notices.iter().filter(|notice| matches!(notice, Notice::Uncommitted { .. }));
    assert_eq!(uncommitted.count(), 4, "{:?}", world.notices);
}

#[test]
fn what_is_lost_is_let_go_and_never_committed_afterwards() {
    for (error, name) in [(code::ILLEGAL_GENERATION, "member-1"), (code::UNKNOWN_MEMBER_ID, "")] {
        // Commits only when it is asked to, or lets go of something in order.
        let mut world = World::new(classic().auto_commit(AutoCommit::Disabled), cluster(1));
        world.app = App::Takes;
        world.until(secs(5), |world| world.got.len() == 40);
        world.ack("orders", 0, 0);
        let joins = world.count::<JoinGroupRequest>();
        world.instead::<HeartbeatRequest>(1, move |_| HeartbeatResponse {
            error_code: error,
            ..Default::default()
        });
        world.until(secs(5), |world| world.lane.len() == 12);
        assert!(world.lane[4..8].iter().all(|line| line.starts_with("revoked")), "{:?}", world.lane);
        assert_eq!(world.all::<JoinGroupRequest>()[joins].member_id, name);
        let said = world.notices.iter().filter_map(|notice| match notice {
            Notice::Uncommitted { shard, messages } => Some((shard.to_string(), *messages)),
            _ => None,
        });
        assert_eq!(said.collect::<Vec<_>>(), [("orders/0".to_owned(), 1)]);
        world.until(secs(5), |world| world.got.len() == 80);
        // What was acked under the old generation is nobody's any more.
        assert_eq!(world.outcome(Ask::Commit, secs(2)), Outcome::Committed { messages: 0 });
        assert_eq!(world.count::<OffsetCommitRequest>(), 0, "an old ack was committed");
    }
}

#[test]
fn a_fenced_instance_is_the_end() {
    let kafka = KafkaOptions::default().protocol(GroupProtocol::Classic).instance("one");
    let mut world = World::new(group().kafka(kafka), cluster(1));
    world.until(secs(5), settled);
    let join = world.all::<JoinGroupRequest>()[0];
    assert_eq!(join.group_instance_id.as_deref(), Some("one"));
    let error_code = code::FENCED_INSTANCE_ID;
    world.instead::<HeartbeatRequest>(1, move |_| HeartbeatResponse { error_code, ..Default::default() });
    world.until(secs(5), World::ended);
    assert!(world.lane.last().unwrap().contains("FENCED_INSTANCE_ID"), "{:?}", world.lane.last());
    assert_eq!(world.ask(Ask::Commit), Err(tidegate_core::RequestError::Closed));
}

#[test]
fn a_static_member_that_closes_does_not_leave() {
    let kafka = KafkaOptions::default().protocol(GroupProtocol::Classic).instance("one");
    let mut world = World::new(group().kafka(kafka), cluster(1));
    world.until(secs(5), settled);
    world.outcome(Ask::Close { deadline: secs(5) }, secs(1));
    assert_eq!(world.count::<LeaveGroupRequest>(), 0);
}

#[test]
fn a_coordinator_that_moved_is_found_whoever_says_so() {
    for (say, error_code) in [(0, 16), (1, 16), (0, 15), (1, 15), (0, 14), (1, 14)] {
        let mut world = World::new(classic(), cluster(2));
        world.until(secs(5), |world| world.got.len() == 40);
        if error_code != code::COORDINATOR_LOAD_IN_PROGRESS {
            world.cluster.coordinator = 2;
        }
        if say == 0 {
            world.instead::<HeartbeatRequest>(1, move |_| HeartbeatResponse {
                error_code,
                ..Default::default()
            });
        } else {
            world.instead::<OffsetCommitRequest>(1, move |request| refused(request, error_code));
        }
        world.until(secs(15), settled);
        let moved = move |world: &World| {
            let places = world.places::<HeartbeatRequest>();
            places.len() > 1 && places.last().is_some_and(|(_, node)| *node == world.cluster.coordinator)
        };
        world.until(secs(15), moved);
        assert_eq!(world.count::<JoinGroupRequest>(), 2, "still the same member");
        assert_eq!(world.lane.len(), 4, "nothing was revoked");
    }
}

fn refused(request: &OffsetCommitRequest, error_code: i16) -> OffsetCommitResponse {
    let part = |part: &OffsetCommitRequestPartition| OffsetCommitResponsePartition {
        partition_index: part.partition_index,
        error_code,
    };
    let topic = |topic: &OffsetCommitRequestTopic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(part).collect(),
    };
    OffsetCommitResponse { topics: request.topics.iter().map(topic).collect(), ..Default::default() }
}

#[test]
fn leaving_is_tried_again_where_the_coordinator_moved() {
    for error_code in
        [code::NOT_COORDINATOR, code::COORDINATOR_NOT_AVAILABLE, code::COORDINATOR_LOAD_IN_PROGRESS]
    {
        let mut world = World::new(classic(), cluster(2));
        world.until(secs(5), settled);
        world.cluster.coordinator = 2;
        world.instead::<LeaveGroupRequest>(1, move |_| LeaveGroupResponse {
            error_code,
            ..Default::default()
        });
        if error_code == code::COORDINATOR_LOAD_IN_PROGRESS {
            world.cluster.coordinator = 1;
        }
        let closed = world.outcome(Ask::Close { deadline: secs(5) }, secs(5));
        assert_eq!(closed, Outcome::Closed { uncommitted: 0 });
        let nodes: Vec<_> = world.places::<LeaveGroupRequest>().iter().map(|(_, node)| *node).collect();
        assert_eq!(nodes, [1, world.cluster.coordinator], "error {error_code}");
        assert!(world.cluster.group.member.is_empty(), "a ghost stays");
    }
}

#[test]
fn a_leave_whose_connection_is_lost_is_tried_again() {
    let mut world = World::new(classic(), cluster(2));
    world.until(secs(5), settled);
    world.on::<LeaveGroupRequest>(1, |_, _| Fate::Cut);
    let closed = world.outcome(Ask::Close { deadline: secs(5) }, secs(5));
    assert_eq!(closed, Outcome::Closed { uncommitted: 0 });
    assert_eq!(world.count::<LeaveGroupRequest>(), 2);
}

/// It can't join again before they are committed: to ask the coordinator more often changes nothing.
#[test]
fn a_rebalance_that_meets_partitions_on_their_way_out_is_no_storm() {
    let mut world = World::new(cooperative(), cluster(1));
    world.until(secs(5), settled);
    world.on::<OffsetCommitRequest>(usize::MAX, |_, answer| {
        let parts = answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        parts.for_each(|part| part.error_code = code::COORDINATOR_LOAD_IN_PROGRESS);
        Fate::Reply
    });
    (0..4).for_each(|index| world.produce("orders", index, 5));
    world.until(secs(5), |world| world.got.len() == 60);
    world.cluster.group.others = vec![another(&["orders"])];
    world.cluster.group.rebalancing = true;
    world.until(secs(10), |world| world.count::<SyncGroupRequest>() == 2);
    // Somebody else comes meanwhile.
    world.cluster.group.rebalancing = true;
    let before = world.count::<HeartbeatRequest>();
    world.run(secs(3));
    let beats = world.count::<HeartbeatRequest>() - before;
    assert!(beats <= 20, "{beats} heartbeats in 3 s");
    let joins = world.count::<JoinGroupRequest>();
    world.until(secs(10), |world| world.count::<JoinGroupRequest>() > joins);
}

#[test]
fn cooperative_members_keep_what_they_keep() {
    let mut world = World::new(cooperative(), cluster(1));
    world.until(secs(5), settled);
    assert_eq!(world.owned().len(), 4);
    world.cluster.group.others = vec![another(&["orders"])];
    world.cluster.group.rebalancing = true;
    // While it joins it reads on.
    let first = Rc::new(RefCell::new(Vec::new()));
    world.on::<JoinGroupRequest>(1, |_, _| Fate::After(secs(2)));
    world.until(secs(5), |world| world.count::<JoinGroupRequest>() == 3);
    world.produce("orders", 3, 5);
    world.run(secs(1));
    assert_eq!(world.offsets("orders", 3).len(), 15, "it stopped reading while it joined");
    world.until(secs(10), |world| world.count::<SyncGroupRequest>() == 2);
    first.borrow_mut().extend(given(&world)["member-1"].clone());
    assert_eq!(first.borrow().len(), 2);
    assert_eq!(given(&world)["zoe"], Vec::<String>::new(), "it is ours until we let it go");
    world.until(secs(10), |world| world.count::<SyncGroupRequest>() == 3);
    world.run(millis(500));
    assert_eq!(world.owned(), *first.borrow());
    assert_eq!(given(&world)["zoe"].len(), 2);
    let revoked = world.lane.iter().filter(|line| line.starts_with("revoked")).count();
    assert_eq!((revoked, world.lane.len()), (2, 6), "{:?}", world.lane);
    // What it says that it owns.
    let owned = |at: usize| {
        let metadata = world.all::<JoinGroupRequest>()[at].protocols[0].metadata.clone();
        let (_, subscription) = read_embedded::<ConsumerProtocolSubscription>(metadata).unwrap();
        subscription.owned_partitions.iter().map(|owned| owned.partitions.len()).sum::<usize>()
    };
    assert_eq!((owned(2), owned(3)), (4, 2));
}

#[test]
fn an_answer_that_is_lost_while_joining_is_asked_for_again() {
    for cut in [true, false] {
        let mut world = World::new(classic(), cluster(1));
        let fate = move || if cut { Fate::Cut } else { Fate::Silent };
        world.on::<SyncGroupRequest>(1, move |_, _| fate());
        world.on::<FindCoordinatorRequest>(1, move |_, _| fate());
        world.on::<JoinGroupRequest>(1, move |_, _| fate());
        // The broker may wait for other members as long as they may take.
        world.until(secs(700), settled);
        assert_eq!(world.got.len(), 40);
    }
}
