//! Positions: where it begins, resets, truncation, seek, rewind, assign, unassign; and limits.

use std::time::Duration;

use tidegate_core::kafka::Machine;
use tidegate_core::kafka::wire::*;
use tidegate_core::{
    AutoCommit, Command, ConsumerOptions, Event, GroupProtocol, Instant, KafkaOptions, Limits, Machine as _,
    Notice, Outcome, Position, Request as Ask, RequestError, Reset, SeqNo, Setup, ShardId, Start, StreamKey,
    Timestamp,
};

use crate::basics::{classic, newer, resumable};
use crate::model::{Cluster, batch, part, stamp_of};
use crate::world::{App, Fate, WALL, World, group, secs, setup};

fn cluster() -> Cluster {
    let mut cluster = Cluster::new(2, &[("orders", 2)]);
    (0..2).for_each(|index| (0..3).for_each(|_| cluster.produce("orders", index, 10)));
    cluster
}

fn with_reset(reset: Reset) -> ConsumerOptions {
    let options = classic();
    let kafka = options.kafka.clone().reset(reset);
    options.kafka(kafka)
}

#[test]
fn an_error_of_offset_fetch_never_resets() {
    for options in [classic(), newer(), resumable()] {
        for error in [-1, 3, 7, 14, 15, 16, 22, 25, 27, 88, 100, 110, 113, 1_234] {
            for whole in [true, false] {
                let mut cluster = cluster();
                for index in 0..2 {
                    cluster.group.committed.insert(part("orders", index), (25, None));
                }
                let mut world = World::new(options.clone(), cluster);
                world.on::<OffsetFetchRequest>(3, move |_, answer| {
                    for group in &mut answer.groups {
                        if whole {
                            group.error_code = error;
                            continue;
                        }
                        for part in group.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
                            (part.error_code, part.committed_offset) = (error, -1);
                        }
                    }
                    Fate::Reply
                });
                world.run(secs(60));
                assert_eq!(world.count::<ListOffsetsRequest>(), 0, "error {error} led to the reset policy");
                assert!(world.got.iter().all(|got| got.offset >= 25), "error {error}");
                if world.got.len() != 10 && !world.ended() {
                    world.report();
                    panic!("error {error}: {} messages", world.got.len());
                }
            }
        }
    }
}

#[test]
fn a_position_out_of_range_follows_the_policy() {
    for (reset, expected) in
        [(Reset::Earliest, Some((20..30).collect())), (Reset::Latest, Some(vec![])), (Reset::None, None)]
    {
        let mut cluster = cluster();
        cluster.group.committed =
            [0, 1].map(|index| (part("orders", index), (if index == 0 { 5 } else { 30 }, None))).into();
        let log = cluster.log("orders", 0);
        log.start = 20;
        log.batches.retain(|batch| batch.last >= 20);
        let mut world = World::new(with_reset(reset), cluster);
        world.run(secs(5));
        match expected {
            Some(expected) => {
                assert_eq!(world.offsets("orders", 0), expected);
                let to = expected.first().copied().unwrap_or(30) as u64;
                let said = world.notices.iter().any(|notice| {
                    matches!(notice, Notice::Repositioned { from, to: there, .. }
                        if *from == SeqNo::offset(5) && *there == SeqNo::offset(to))
                });
                let said_so = world.notices.iter().map(ToString::to_string).collect::<Vec<_>>();
                assert!(said, "{reset:?}: {said_so:?}");
                world.produce("orders", 0, 1);
                world.until(secs(3), |world| world.offsets("orders", 0).last() == Some(&30));
            }
            None => assert!(world.lane.last().unwrap().contains("failed"), "{:?}", world.lane),
        }
    }
}

#[test]
fn no_committed_offset_follows_the_policy() {
    for (reset, count) in [(Reset::Earliest, 60), (Reset::Latest, 0)] {
        let mut world = World::new(with_reset(reset), cluster());
        world.run(secs(5));
        assert_eq!(world.got.len(), count);
    }
    let mut world = World::new(with_reset(Reset::None), cluster());
    world.run(secs(5));
    assert!(world.lane.last().is_some_and(|line| line.starts_with("failed")), "{:?}", world.lane);
}

fn within_the_last(age: Duration) -> ConsumerOptions {
    with_reset(Reset::ByDuration(age))
}

/// How old the record of this offset was at the origin of time.
fn age_of(offset: i64) -> Duration {
    Duration::from_millis((WALL - stamp_of(offset)) as u64)
}

fn millis_of(at: Instant) -> i64 {
    at.as_nanos() as i64 / 1_000_000
}

/// The timestamps that were asked for, by partition, and what the wall clock showed.
fn asked(world: &World) -> Vec<(i32, i64, i64)> {
    let places = world.places::<ListOffsetsRequest>();
    let of = |(request, (at, _)): (&ListOffsetsRequest, &(Instant, i32))| {
        let at = WALL + millis_of(*at);
        let parts = request.topics.iter().flat_map(|topic| &topic.partitions);
        parts.map(|part| (part.partition_index, part.timestamp, at)).collect::<Vec<_>>()
    };
    world.all::<ListOffsetsRequest>().into_iter().zip(&places).flat_map(of).collect()
}

#[test]
fn by_duration_a_group_begins_at_what_is_no_older_and_it_is_committed_there() {
    for options in [within_the_last(age_of(15)), {
        let kafka = KafkaOptions::default().reset(Reset::ByDuration(age_of(15)));
        resumable().kafka(kafka)
    }] {
        let mut world = World::new(options.auto_commit(AutoCommit::Disabled), cluster());
        world.app = App::Takes;
        world.until(secs(5), |world| world.got.len() > 20);
        world.run(secs(1));
        let asked = asked(&world);
        assert_eq!(asked.len(), 2, "one question a partition: {asked:?}");
        for (index, timestamp, at) in asked {
            // Counted from when it turned out that there is no position.
            let late = at - age_of(15).as_millis() as i64 - timestamp;
            assert!((0..=20).contains(&late), "{timestamp} at {at}");
            let first = (0..30).find(|offset| stamp_of(*offset) >= timestamp).unwrap();
            assert_eq!(world.offsets("orders", index), (first..30).collect::<Vec<_>>());
            // Nothing was acked; but a little later "two hours ago" is somewhere else.
            assert_eq!(world.committed("orders", index), Some(first));
        }
        assert!(world.cluster.group.commits.iter().all(|(_, offset)| *offset < 30));
    }
}

#[test]
fn by_duration_where_nothing_is_that_late_it_is_the_end_and_all_that_comes_counts() {
    let mut world = World::new(within_the_last(secs(60)), cluster());
    world.run(secs(2));
    assert!(world.got.is_empty());
    let timestamps: Vec<_> =
        asked(&world).iter().filter(|(index, ..)| *index == 0).map(|(_, timestamp, _)| *timestamp).collect();
    let moment = timestamps[0];
    assert_eq!(timestamps, [moment, -1, moment], "whether there is one, the end, and whether there is now");
    assert_eq!(world.committed("orders", 0), Some(30));
    // Stamped long before: a producer that copies old records. Java's consumer takes them too.
    world.produce("orders", 0, 2);
    world.until(secs(3), |world| world.offsets("orders", 0) == [30, 31]);
}

#[test]
fn by_duration_a_lost_position_is_looked_for_by_the_clock_of_that_moment() {
    for with_commit in [true, false] {
        let mut world = World::new(within_the_last(age_of(15)).auto_commit(AutoCommit::Disabled), cluster());
        world.app = App::Takes;
        world.until(secs(5), |world| world.got.len() > 20);
        world.run(secs(600));
        let before = world.count::<ListOffsetsRequest>();
        if with_commit {
            world.ack("orders", 0, world.offsets("orders", 0)[0]);
            world.outcome(Ask::Commit, secs(1));
        }
        let log = world.cluster.log("orders", 0);
        (log.start, log.end) = (50, 50);
        log.batches.clear();
        let late = stamp_of(60) + 600_000;
        let mut builder = tidegate_core::kafka::records::BatchBuilder::new(50);
        for offset in 50..70 {
            let value = crate::model::value_of("orders", 0, offset);
            builder.record(tidegate_core::kafka::records::NewRecord {
                offset,
                timestamp: stamp_of(offset) + 600_000,
                key: None,
                value: Some(value.as_bytes()),
                headers: &[],
            });
        }
        let stamps = (50..70).map(|offset| (offset, stamp_of(offset) + 600_000)).collect();
        world.cluster.log("orders", 0).append(crate::model::stored(&builder, 69, stamps));
        world.until(secs(5), |world| world.offsets("orders", 0).last() == Some(&69));
        let asked = asked(&world)[before..].to_vec();
        let [(0, timestamp, at)] = asked[..] else { panic!("{asked:?}") };
        let age = age_of(15).as_millis() as i64;
        assert!((0..=20).contains(&(at - age - timestamp)), "{timestamp} at {at}");
        assert!(timestamp < late && at > WALL + 600_000);
        let first = (50..70).find(|offset| stamp_of(*offset) + 600_000 >= timestamp).unwrap();
        let read = world.offsets("orders", 0);
        let read: Vec<_> = read.into_iter().filter(|offset| *offset >= 50).collect();
        assert_eq!(read, (first..70).collect::<Vec<_>>());
        let said = |notice: &Notice| matches!(notice, Notice::Repositioned { to, .. } if *to == SeqNo::offset(first as u64));
        assert!(world.notices.iter().any(said), "{:?}", world.notices);
        world.until(secs(1), |world| world.committed("orders", 0) == Some(first));
    }
}

#[test]
fn by_duration_before_the_epoch_is_the_epoch_and_without_a_clock_it_is_refused() {
    for age in [Duration::MAX, Duration::from_millis(2 * WALL as u64)] {
        let mut world = World::new(within_the_last(age), cluster());
        world.until(secs(5), |world| world.got.len() == 60);
        assert!(asked(&world).iter().all(|(_, timestamp, _)| *timestamp == 0), "{:?}", asked(&world));
    }
    let with = |reset| Setup { wall_clock: None, ..setup(with_reset(reset), &["orders"], 1) };
    let said = Machine::new(with(Reset::ByDuration(secs(1)))).err().map(|error| error.to_string());
    let said = said.unwrap_or_default();
    assert!(said.contains("wall_clock") && said.contains("earliest") && !said.contains('\n'), "{said}");
    assert!(Machine::new(with(Reset::Earliest)).is_ok());
}

#[test]
fn a_log_that_was_cut_off_is_read_from_where_it_parts() {
    for with_epochs in [true, false] {
        let mut cluster = cluster();
        if !with_epochs {
            // Before Fetch 12 the leader is asked by OffsetForLeaderEpoch.
            cluster.versions.insert(FetchRequest::KEY, (4, 11));
            cluster.hints = false;
        }
        let mut world = World::new(classic(), cluster);
        world.until(secs(5), |world| world.got.len() == 60);
        world.run(secs(2));
        // The records have to know their epoch for that.
        world.cluster.log("orders", 0).elect(2);
        world.produce("orders", 0, 10);
        world.until(secs(5), |world| world.got.len() == 70);
        world.run(secs(2));
        world.cluster.log("orders", 0).truncate(30, 1);
        world.produce("orders", 0, 3);
        world.until(secs(15), |world| world.got.len() == 73);
        let offsets = world.offsets("orders", 0);
        assert_eq!(offsets[40..], [30, 31, 32]);
        let said = |notice: &Notice| matches!(notice, Notice::Repositioned { from, to, .. } if *from == SeqNo::offset(40) && *to == SeqNo::offset(30));
        assert!(world.notices.iter().any(said), "{:?}", world.notices);
        // In an epoch of its own, as positions went back.
        assert_ne!(world.got.last().unwrap().epoch, world.got[0].epoch);
        world.until(secs(5), |world| world.committed("orders", 0) == Some(33));
    }
}

#[test]
fn a_log_that_is_cut_before_anything_was_read_is_read_from_where_it_parts() {
    let latest = KafkaOptions::default().protocol(GroupProtocol::Classic).reset(Reset::Latest);
    for options in [ConsumerOptions::default(), group().kafka(latest)] {
        let mut cluster = Cluster::new(2, &[("orders", 1)]);
        cluster.produce("orders", 0, 10);
        cluster.log("orders", 0).elect(1);
        let mut world = World::new(options, cluster);
        // At the end, with nothing that was read there to know the epoch by.
        world.run(secs(2));
        assert_eq!(world.got.len(), 0);
        world.cluster.log("orders", 0).truncate(8, 1);
        world.produce("orders", 0, 4);
        world.until(secs(15), |world| world.got.len() == 4);
        assert_eq!(world.offsets("orders", 0), [8, 9, 10, 11]);
    }
}

#[test]
fn a_cut_log_hands_out_again_what_the_application_has_in_hand() {
    for options in [classic(), newer(), resumable()] {
        let mut cluster = Cluster::new(2, &[("orders", 1)]);
        (0..3).for_each(|_| cluster.produce("orders", 0, 10));
        let mut world = World::new(options.auto_commit(AutoCommit::Disabled), cluster);
        world.app = App::Takes;
        world.until(secs(5), |world| world.got.len() == 30);
        world.cluster.log("orders", 0).elect(2);
        world.produce("orders", 0, 10);
        world.until(secs(5), |world| world.got.len() == 40);
        (0..6).for_each(|offset| world.ack("orders", 0, offset));
        world.cluster.log("orders", 0).truncate(30, 1);
        world.produce("orders", 0, 3);
        // A commit of what follows would pass those that are un-acked.
        world.until(secs(15), |world| world.got.len() == 67);
        assert_eq!(world.offsets("orders", 0)[40..], (6..33).collect::<Vec<_>>());
    }
}

#[test]
fn seek_goes_to_what_is_strictly_later_in_all_shards() {
    for options in [classic(), newer(), resumable(), ConsumerOptions::default()] {
        let mut world = World::new(options, cluster());
        world.run(secs(3));
        world.got.clear();
        world.app = App::Stopped;
        let sought = world.outcome(Ask::Seek(Timestamp::from_millis(stamp_of(20))), secs(3));
        assert_eq!(sought, Outcome::Positioned);
        world.app = App::Takes;
        world.run(secs(3));
        for index in 0..2 {
            assert_eq!(world.offsets("orders", index), (21..30).collect::<Vec<_>>());
        }
        // From now on real-time: nothing to ack, nothing committed.
        assert!(world.got.iter().all(|got| got.range.is_none()));
        // Later than everything that is there: what comes, once it is later.
        for (moment, produced, expected) in [(29, 1, vec![30]), (31, 3, vec![32, 33])] {
            world.got.clear();
            let sought = world.outcome(Ask::Seek(Timestamp::from_millis(stamp_of(moment))), secs(3));
            assert_eq!(sought, Outcome::Positioned);
            world.produce("orders", 0, produced);
            world.run(secs(3));
            assert_eq!(world.offsets("orders", 0), expected, "later than {moment}");
        }
        world.got.clear();
        assert_eq!(world.outcome(Ask::Seek(Timestamp::from_millis(i64::MAX)), secs(3)), Outcome::Positioned);
        world.produce("orders", 0, 1);
        world.run(secs(3));
        assert_eq!(world.got.len(), 0, "nothing is later than that");
    }
}

#[test]
fn a_seek_from_a_group_leaves_it() {
    for options in [classic(), newer()] {
        let mut world = World::new(options, cluster());
        world.until(secs(5), |world| world.got.len() == 60);
        world.outcome(Ask::Seek(Timestamp::from_millis(0)), secs(3));
        world.run(secs(2));
        assert!(world.cluster.group.member.is_empty(), "it stayed in the group");
        assert_eq!(world.committed("orders", 0), Some(30), "what was acked before is committed");
    }
}

#[test]
fn rewind_is_inclusive_and_goes_to_shard_zero_if_none_is_assigned() {
    let mut world = World::new(classic(), cluster());
    world.until(secs(5), |world| world.got.len() == 60);
    world.got.clear();
    let to = |offset| Ask::Rewind(Position::At(SeqNo::offset(offset)));
    assert_eq!(world.outcome(to(25), secs(3)), Outcome::Positioned);
    world.run(secs(2));
    assert_eq!(world.offsets("orders", 0), [25, 26, 27, 28, 29]);
    assert!(world.offsets("orders", 1).is_empty());
    // The other one, by name.
    world.ask(Ask::Assign { stream: "orders".into(), shard: ShardId::new(1) }).unwrap();
    world.got.clear();
    assert_eq!(world.outcome(to(28), secs(3)), Outcome::Positioned);
    world.run(secs(2));
    assert_eq!((world.offsets("orders", 0), world.offsets("orders", 1)), (vec![], vec![28, 29]));
    world.ask(Ask::Unassign { stream: "orders".into(), shard: ShardId::new(1) }).unwrap();
    let (stream, shard) = (StreamKey::from("orders"), ShardId::new(1));
    let again = world.ask(Ask::Unassign { stream: stream.clone(), shard });
    assert_eq!(again, Err(RequestError::ConsumerNotAssigned { stream, shard }));
    let unknown = StreamKey::from("unknown");
    let wrong = world.ask(Ask::Assign { stream: unknown.clone(), shard });
    assert_eq!(wrong, Err(RequestError::StreamNotSubscribed { stream: unknown }));
}

#[test]
fn of_two_seeks_the_first_is_superseded() {
    let mut world = World::new(classic(), cluster());
    world.until(secs(5), |world| world.got.len() == 60);
    world.on::<ListOffsetsRequest>(1, |_, _| Fate::After(secs(2)));
    let first = world.ask(Ask::Seek(Timestamp::from_millis(0))).unwrap().unwrap();
    let second = world.ask(Ask::Rewind(Position::End)).unwrap().unwrap();
    world.until(secs(8), |world| world.done.contains_key(&second));
    assert_eq!((&world.done[&first], &world.done[&second]), (&Outcome::Superseded, &Outcome::Positioned));
    let third = world.ask(Ask::Seek(Timestamp::from_millis(0))).unwrap().unwrap();
    world.outcome(Ask::Close { deadline: secs(1) }, secs(2));
    assert!(world.done.contains_key(&third));
}

#[test]
fn it_starts_where_the_options_say() {
    for (start, count) in [
        (Start::From(Position::Beginning), 60),
        (Start::From(Position::End), 0),
        (Start::After(Timestamp::from_millis(stamp_of(27))), 4),
        (Start::Default, 0),
    ] {
        let mut world = World::new(ConsumerOptions::default().start(start), cluster());
        world.run(secs(3));
        assert_eq!(world.got.len(), count, "{start:?}");
    }
}

#[test]
fn requests_and_connections_are_bounded() {
    let mut limits = Limits::default();
    limits.requests_max = 2;
    limits.connections_max = 2;
    let mut world = World::new(classic().limits(limits), cluster());
    let seek = || Ask::Seek(Timestamp::from_millis(1));
    world.ask(seek()).unwrap();
    world.until(secs(1), |world| !world.seen.is_empty());
    let open = world.conns().len();
    assert!(open <= 2);
    world.run(secs(30));
    assert!(world.conns().len() <= 2, "{:?}", world.conns());
    let mut limits = Limits::default();
    limits.requests_max = 1;
    let mut machine = Machine::new(setup(classic().limits(limits), &["orders"], 1)).unwrap();
    assert!(machine.request(Instant::ZERO, seek()).is_ok());
    assert_eq!(machine.request(Instant::ZERO, Ask::Commit), Err(RequestError::TooManyRequests { max: 1 }));
}

#[test]
fn notices_that_nobody_takes_are_bounded() {
    let mut limits = Limits::default();
    limits.notices_max = 3;
    let mut world = World::new(classic().limits(limits), cluster());
    world.until(secs(5), |world| world.got.len() == 60);
    let mut conns = world.conns();
    for round in 0..50 {
        let now = world.now + secs(20 * (round + 1));
        world.machine.handle(now, Event::Tick);
        for conn in &mut conns {
            world.machine.handle(now, Event::Closed { conn: *conn, cause: tidegate_core::Cause::Reset });
            conn.generation += 1;
        }
    }
    let mut notices = 0;
    loop {
        match world.machine.poll_command() {
            Command::Notice(_) => notices += 1,
            Command::Wait(_) => break,
            _ => {}
        }
    }
    assert!((1..=3).contains(&notices), "{notices} notices");
}

#[test]
fn what_is_held_unacked_is_bounded() {
    let mut limits = Limits::default();
    limits.unacked_max = 25;
    let mut cluster = Cluster::new(1, &[("orders", 1)]);
    for base in 0..40 {
        let stored = batch("orders", 0, base * 10, &(base * 10..base * 10 + 10).collect::<Vec<_>>(), |_| {});
        cluster.log("orders", 0).append(stored);
    }
    let options = classic().limits(limits);
    let kafka = options.kafka.clone().partition_bytes_max(400);
    let mut world = World::new(options.kafka(kafka), cluster);
    world.app = App::Takes;
    world.run(secs(20));
    let held = world.got.len();
    assert!((25..=60).contains(&held), "{held} messages are un-acked");
    let said = world.notices.iter().any(|notice| matches!(notice, Notice::Stalled { shard: None, .. }));
    assert!(said, "{:?}", world.notices);
    world.app = App::Acks;
    for offset in 0..held as i64 {
        world.ack("orders", 0, offset);
    }
    world.until(secs(60), |world| world.got.len() == 400);
}

#[test]
fn shards_are_bounded_and_what_is_left_out_is_said() {
    let mut limits = Limits::default();
    limits.shards_max = 3;
    let mut world = World::new(resumable().limits(limits), Cluster::new(1, &[("orders", 5)]));
    world.run(secs(5));
    assert_eq!(world.owned().len(), 3);
    assert!(
        world.notices.iter().any(|notice| notice.to_string().contains("shards_max")),
        "{:?}",
        world.notices
    );
    let streams = ["a", "b", "c", "d"];
    let mut limits = Limits::default();
    limits.shards_max = 3;
    let refused = Machine::new(setup(classic().limits(limits), &streams, 1));
    assert!(refused.is_err());
}

#[test]
fn topics_that_are_missing_are_named() {
    let mut world = World::reading(classic(), &["orders", "bills"], cluster());
    world.until(secs(20), World::ended);
    assert!(world.lane.last().unwrap().contains("bills"), "{:?}", world.lane);
}
