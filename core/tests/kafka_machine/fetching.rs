//! Sessions, leaders, replicas, throttling, pausing, prefetching.

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate_core::kafka::wire::*;
use tidegate_core::{ConsumerOptions, Limits, Notice, Request as Ask};

use crate::basics::{classic, newer, resumable};
use crate::model::{Cluster, batch, code, part};
use crate::world::{App, Fate, World, millis, secs};

fn cluster(nodes: i32, parts: i32) -> Cluster {
    let mut cluster = Cluster::new(nodes, &[("orders", parts)]);
    (0..parts).for_each(|index| cluster.produce("orders", index, 10));
    cluster
}

fn reading(options: ConsumerOptions, cluster: Cluster, messages: usize) -> World {
    let mut world = World::new(options, cluster);
    world.until(secs(10), |world| world.got.len() == messages);
    world.run(secs(2));
    world
}

fn named(fetch: &FetchRequest) -> Vec<i32> {
    fetch.topics.iter().flat_map(|topic| topic.partitions.iter().map(|part| part.partition)).collect()
}

#[test]
fn a_session_says_only_what_changed() {
    let mut world = reading(newer(), cluster(1, 4), 40);
    let first = world.all::<FetchRequest>()[0];
    assert_eq!((first.session_id, first.session_epoch), (0, 0));
    let quiet = (*world.all::<FetchRequest>().last().unwrap()).clone();
    assert_eq!((quiet.session_id, named(&quiet).len()), (1, 0), "{quiet:?}");
    let before = world.count::<FetchRequest>();
    world.produce("orders", 2, 3);
    world.run(millis(20));
    let next = world.all::<FetchRequest>()[before];
    assert_eq!((named(next), next.session_epoch), (vec![2], quiet.session_epoch + 1));
    assert_eq!(next.topics[0].partitions[0].fetch_offset, 13);
    // What isn't ours any more is forgotten.
    world.cluster.group.retarget([0, 1, 3].map(|index| part("orders", index)));
    world.until(secs(10), |world| world.owned().len() == 3);
    world.run(secs(2));
    let forgets = |fetch: &&&FetchRequest| !fetch.forgotten_topics_data.is_empty();
    let forgotten =
        world.all::<FetchRequest>().iter().find(forgets).map(|fetch| &fetch.forgotten_topics_data);
    match forgotten {
        Some(forgotten) => assert_eq!(forgotten[0].partitions, [2]),
        // A session anew is right as well.
        None => assert_eq!(world.cluster.sessions_made, 2),
    }
    let read: BTreeSet<_> =
        world.cluster.sessions.values().flat_map(|session| session.parts.keys()).cloned().collect();
    assert_eq!(read, [0, 1, 3].map(|index| part("orders", index)).into());
}

#[test]
fn a_session_that_is_lost_begins_anew_and_nothing_is_lost() {
    for error in [code::FETCH_SESSION_ID_NOT_FOUND, code::INVALID_FETCH_SESSION_EPOCH, 106] {
        let mut world = reading(classic(), cluster(1, 3), 30);
        let before = world.count::<FetchRequest>();
        match error {
            code::FETCH_SESSION_ID_NOT_FOUND => world.cluster.sessions.clear(),
            code::INVALID_FETCH_SESSION_EPOCH => {
                world.cluster.sessions.values_mut().for_each(|session| session.epoch += 7);
            }
            error_code => {
                world.instead::<FetchRequest>(1, move |_| FetchResponse { error_code, ..Default::default() });
            }
        }
        (0..3).for_each(|index| world.produce("orders", index, 2));
        world.until(secs(5), |world| world.got.len() == 36);
        world.run(secs(2));
        let full = world.all::<FetchRequest>()[before..].iter().position(|fetch| fetch.session_epoch == 0);
        let full = world.all::<FetchRequest>()[before + full.expect("a session anew")];
        let all: BTreeSet<_> = named(full).into_iter().collect();
        assert_eq!(all, [0, 1, 2].into(), "error {error}");
    }
}

#[test]
fn a_lost_or_repeated_fetch_answer_repeats_nothing_and_loses_nothing() {
    type Make = fn() -> Fate;
    let fates: [Make; 4] = [|| Fate::Cut, || Fate::Silent, || Fate::Twice, || Fate::After(secs(3))];
    for fate in fates {
        let mut world = reading(classic(), cluster(2, 2), 20);
        world.on::<FetchRequest>(3, move |_, _| fate());
        for _ in 0..5 {
            (0..2).for_each(|index| world.produce("orders", index, 1));
            world.run(secs(1));
        }
        world.until(secs(60), |world| world.got.len() == 30);
        assert_eq!(world.offsets("orders", 1), (0..15).collect::<Vec<_>>());
        world.until(secs(5), |world| world.committed("orders", 0) == Some(15));
    }
}

#[test]
fn a_wrong_correlation_id_ends_the_connection_and_nothing_else() {
    let mut world = reading(classic(), cluster(1, 1), 10);
    let reconnects = world.opened.len();
    world.on::<FetchRequest>(1, |_, _| Fate::Bytes(bytes::Bytes::from_static(b"\0\0\0\x06\x7f\0\0\0\0\0")));
    world.produce("orders", 0, 5);
    world.until(secs(5), |world| world.got.len() == 15);
    assert_eq!(world.opened.len(), reconnects + 1);
    assert!(world.notices.iter().any(|notice| matches!(notice, Notice::Reconnecting { .. })));
}

#[test]
fn a_leader_that_moved_is_followed_by_its_hint() {
    let mut world = reading(classic(), cluster(2, 2), 20);
    // Metadata says nothing of it.
    world.on::<MetadataRequest>(usize::MAX, |_, _| Fate::Silent);
    world.cluster.log("orders", 0).elect(2);
    world.produce("orders", 0, 5);
    world.until(secs(2), |world| world.got.len() == 25);
    assert_eq!(world.places::<FetchRequest>().last().unwrap().1, 2);
}

#[test]
fn a_leader_that_moved_is_found_without_a_hint() {
    for versions in [(4, 18), (4, 15), (4, 11)] {
        let mut cluster = cluster(2, 2);
        cluster.hints = false;
        cluster.versions.insert(FetchRequest::KEY, versions);
        let mut world = reading(classic(), cluster, 20);
        let before = world.count::<MetadataRequest>();
        world.cluster.log("orders", 0).elect(2);
        world.produce("orders", 0, 5);
        world.until(secs(2), |world| world.got.len() == 25);
        assert!(world.count::<MetadataRequest>() > before);
    }
}

#[test]
fn a_broker_that_dies_is_left_for_the_new_leader() {
    let mut world = reading(classic(), cluster(3, 3), 30);
    world.kill(2);
    world.cluster.log("orders", 1).elect(3);
    world.produce("orders", 1, 5);
    world.until(secs(5), |world| world.got.len() == 35);
    world.cluster.down.clear();
    world.cluster.log("orders", 1).elect(2);
    world.produce("orders", 1, 5);
    world.until(secs(10), |world| world.got.len() == 40);
}

#[test]
fn a_replica_nearby_is_read_from_and_left_again() {
    for dies in [false, true] {
        let options = classic().kafka(classic().kafka.rack("rack-2"));
        let mut cluster = cluster(2, 1);
        cluster.log("orders", 0).preferred = Some(2);
        let mut world = reading(options, cluster, 10);
        assert_eq!(world.all::<FetchRequest>()[0].rack_id, "rack-2");
        assert_eq!(world.places::<FetchRequest>().last().unwrap().1, 2);
        world.produce("orders", 0, 5);
        world.until(secs(2), |world| world.got.len() == 15);
        world.cluster.log("orders", 0).preferred = None;
        if dies {
            world.kill(2);
        }
        world.produce("orders", 0, 5);
        world.until(secs(5), |world| world.got.len() == 20);
        assert_eq!(world.places::<FetchRequest>().last().unwrap().1, 1);
    }
}

/// Otherwise the answer is thrown away, the leader names the replica again, and so on.
#[test]
fn a_replica_is_not_left_while_its_answer_is_on_the_way() {
    let kafka = classic().kafka.rack("rack-2").metadata_age(secs(1)).fetch_max_wait(millis(100));
    let options = classic().kafka(kafka);
    let mut cluster = cluster(2, 1);
    cluster.log("orders", 0).preferred = Some(2);
    let mut world = reading(options, cluster, 10);
    world.on::<FetchRequest>(usize::MAX, |_, answer| {
        let parts = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let has_records = parts.filter_map(|part| part.records.as_ref()).any(|records| !records.is_empty());
        if has_records { Fate::After(millis(1_800)) } else { Fate::Reply }
    });
    // Before, while and after what is known of the replica is over.
    for count in 1..=5 {
        world.run(millis(700));
        world.produce("orders", 0, 5);
        world.until(secs(8), |world| world.got.len() == 10 + 5 * count);
    }
}

/// What may be asked in so long: twice a second nothing, as there is nothing, and each 5 s once in vain,
/// with what follows from it.
fn fetches_at_most(within: Duration) -> usize {
    (within.as_millis() / 500 + 4 * (within.as_secs() / 5 + 1) as u128) as usize
}

/// The leader names a dead replica until the cluster knows that it is gone.
#[test]
fn a_replica_that_is_gone_is_left_for_the_leader() {
    for known_after in [millis(1), millis(700), secs(3), secs(20)] {
        let options = classic().kafka(classic().kafka.rack("rack-2"));
        let mut cluster = cluster(3, 1);
        cluster.log("orders", 0).preferred = Some(2);
        let mut world = reading(options, cluster, 10);
        assert_eq!(world.places::<FetchRequest>().last().unwrap().1, 2);
        world.kill(2);
        world.produce("orders", 0, 5);
        let before = world.count::<FetchRequest>();
        world.run(known_after);
        let fetches = world.count::<FetchRequest>() - before;
        let most = fetches_at_most(known_after);
        assert!(fetches <= most, "{fetches} fetches in {known_after:?}, at most {most} explained");
        // It doesn't wait for that.
        world.until(millis(10), |world| world.got.len() == 15);
        world.cluster.nodes.remove(&2);
        world.cluster.log("orders", 0).preferred = None;
        world.produce("orders", 0, 5);
        world.until(secs(1), |world| world.got.len() == 20);
        // It comes back.
        world.cluster.nodes.insert(2);
        world.cluster.down.clear();
        world.run(secs(10));
        world.cluster.log("orders", 0).preferred = Some(2);
        world.produce("orders", 0, 5);
        world.until(secs(1), |world| world.got.len() == 25);
        world.run(secs(2));
        assert_eq!(world.places::<FetchRequest>().last().unwrap().1, 2);
    }
}

/// Its connections stay open, and it is left before the cluster says that it is gone, or then.
#[test]
fn a_replica_that_stands_still_is_left_for_the_leader() {
    for known_after in [millis(500), secs(10)] {
        let options = classic().kafka(classic().kafka.rack("rack-2"));
        let mut cluster = cluster(3, 1);
        cluster.log("orders", 0).preferred = Some(2);
        let mut world = reading(options, cluster, 10);
        world.on::<FetchRequest>(1, |_, _| Fate::Silent);
        world.produce("orders", 0, 5);
        world.run(known_after.min(secs(1)));
        assert_eq!(world.got.len(), 10, "it answered");
        if known_after < secs(1) {
            world.cluster.nodes.remove(&2);
            world.cluster.log("orders", 0).preferred = None;
        }
        world.until(secs(3), |world| world.got.len() == 15);
        assert_eq!(world.places::<FetchRequest>().last().unwrap().1, 1);
    }
}

#[test]
fn a_replica_that_nobody_knows_is_asked_about_without_a_storm() {
    let options = classic().kafka(classic().kafka.rack("rack-9"));
    let mut world = reading(options, cluster(2, 1), 10);
    world.cluster.log("orders", 0).preferred = Some(9);
    world.produce("orders", 0, 5);
    let before = world.count::<FetchRequest>();
    world.until(secs(1), |world| world.got.len() == 15);
    world.run(secs(20));
    let fetches = world.count::<FetchRequest>() - before;
    let most = fetches_at_most(secs(21));
    assert!(fetches <= most, "{fetches} fetches, at most {most} explained");
    let named =
        world.all::<FetchRequest>()[before..].iter().filter(|fetch| !fetch.rack_id.is_empty()).count();
    assert!(named >= 3, "it asks for a replica no more: {named}");
    world.cluster.log("orders", 0).preferred = None;
    world.produce("orders", 0, 5);
    world.until(secs(1), |world| world.got.len() == 20);
}

#[test]
fn a_throttled_broker_is_left_in_peace() {
    let mut world = reading(classic(), cluster(2, 2), 20);
    world.on::<FetchRequest>(1, |_, answer| {
        answer.throttle_time_ms = 3_000;
        Fate::Reply
    });
    world.produce("orders", 0, 1);
    world.until(secs(1), |world| world.got.len() == 21);
    let (at, count) = (world.now, |world: &World| {
        world.places::<FetchRequest>().iter().filter(|(_, node)| *node == 1).count()
    });
    let before = count(&world);
    world.run(millis(2_900));
    assert_eq!(count(&world), before, "it was asked within its three seconds");
    world.produce("orders", 0, 1);
    world.until(secs(1), |world| world.got.len() == 22);
    assert!(world.now.since(at) < millis(3_200));
}

#[test]
fn pause_and_resume() {
    for options in [classic(), newer(), resumable(), ConsumerOptions::default()] {
        let mut world = World::new(options, cluster(1, 2));
        world.run(secs(3));
        let (before, lane) = (world.got.len(), world.lane.len());
        world.ask(Ask::Pause).unwrap();
        (0..2).for_each(|index| world.produce("orders", index, 5));
        world.run(secs(20));
        assert_eq!(world.got.len(), before, "a message came while it was paused");
        world.ask(Ask::Resume).unwrap();
        world.until(secs(2), |world| world.got.len() == before + 10);
        assert_eq!(world.lane.len(), lane);
    }
}

#[test]
fn what_nobody_takes_is_bounded() {
    let mut limits = Limits::default();
    limits.lane_bytes_max = 1 << 20;
    let mut cluster = Cluster::new(2, &[("orders", 50)]);
    let mut largest = 0;
    for index in 0..50 {
        for round in 0..4 {
            let offsets: Vec<i64> = (round * 1_000..(round + 1) * 1_000).collect();
            let stored = batch("orders", index, round * 1_000, &offsets, |_| {});
            largest = largest.max(stored.bytes.len());
            cluster.log("orders", index).append(stored);
        }
    }
    let mut world = World::new(classic().limits(limits), cluster);
    world.app = App::Stopped;
    world.run(secs(30));
    println!("{} bytes of records came, the largest batch has {largest}", world.record_bytes);
    assert!(world.record_bytes > 800_000, "{} bytes came: nothing was tested", world.record_bytes);
    // Two brokers may each send one batch that is larger than what was asked for.
    assert!(world.record_bytes <= (1 << 20) + 2 * largest, "{} bytes", world.record_bytes);
    // And all of it comes in the end, fair to all.
    world.app = App::Acks;
    world.until(secs(60), |world| world.got.len() == 200_000);
}

#[test]
fn who_takes_nothing_for_too_long_leaves_and_comes_back() {
    for options in [classic(), newer()] {
        let options = options.clone().kafka(options.kafka.rebalance_timeout(secs(10)));
        let mut world = World::new(options, cluster(1, 2));
        world.until(secs(5), |world| world.got.len() == 20);
        world.app = App::Stopped;
        (0..2).for_each(|index| world.produce("orders", index, 5));
        let left = |world: &World| {
            let beats = world.all::<ConsumerGroupHeartbeatRequest>();
            world.count::<LeaveGroupRequest>() == 1 || beats.last().is_some_and(|beat| beat.member_epoch < 0)
        };
        let start = world.now;
        world.until(secs(12), left);
        assert!(world.now.since(start) >= secs(9), "it left after {:?}", world.now.since(start));
        assert!(
            world.notices.iter().any(|notice| matches!(notice, Notice::Stalled { .. })),
            "{:?}",
            world.notices
        );
        // As long as nothing is taken it stays away.
        world.run(secs(60));
        assert!(left(&world));
        world.app = App::Acks;
        world.until(secs(10), |world| world.got.len() >= 30);
        world.until(secs(10), |world| world.committed("orders", 0) == Some(15));
        let revoked = world.lane.iter().filter(|line| line.starts_with("revoked")).count();
        assert_eq!((revoked, world.owned().len()), (2, 2), "{:?}", world.lane);
        assert_eq!(world.got.len(), 30, "what was committed came twice");
    }
}

#[test]
fn a_quiet_consumer_does_not_leave() {
    let options = classic().kafka(classic().kafka.rebalance_timeout(secs(10)));
    let mut world = World::new(options, cluster(1, 2));
    world.until(secs(5), |world| world.got.len() == 20);
    world.run(secs(120));
    assert_eq!((world.count::<LeaveGroupRequest>(), world.count::<JoinGroupRequest>()), (0, 2));
}
