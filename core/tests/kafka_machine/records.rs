//! What lies in partitions: transactions, compacted tails, codecs, damage.

use tidegate_core::kafka::records::{BatchBuilder, Compression, Marker, NewRecord};
use tidegate_core::kafka::wire::*;
use tidegate_core::{Isolation, Notice};

use crate::basics::classic;
use crate::model::{Cluster, batch, stamp_of, stored};
use crate::world::{Fate, World, secs};

fn one() -> Cluster {
    Cluster::new(1, &[("orders", 1)])
}

/// The position of the last fetch.
fn position(world: &World) -> i64 {
    let parts = world.all::<FetchRequest>().into_iter().rev().flat_map(|fetch| &fetch.topics);
    parts.flat_map(|topic| &topic.partitions).next().unwrap().fetch_offset
}

#[test]
fn a_compacted_tail_and_an_empty_batch_are_passed() {
    let mut cluster = one();
    let log = cluster.log("orders", 0);
    log.append(batch("orders", 0, 0, &[1, 4], |builder| {
        builder.last_offset(9);
    }));
    log.batches.last_mut().unwrap().last = 9;
    let mut empty = BatchBuilder::new(10);
    empty.last_offset(19);
    log.append(stored(&empty, 19, vec![]));
    let mut world = World::new(classic(), cluster);
    world.until(secs(5), |world| world.got.len() == 2);
    world.until(secs(5), |world| position(world) == 20);
    assert_eq!(world.offsets("orders", 0), [1, 4]);
    world.until(secs(5), |world| world.committed("orders", 0).is_some());
    world.produce("orders", 0, 1);
    world.until(secs(5), |world| world.committed("orders", 0) == Some(21));
}

/// Producer 7 aborts offsets 0 to 2, producer 8 commits 4 and 5, 7 has 7 and 8 open.
fn transactions() -> Cluster {
    let mut cluster = one();
    let log = cluster.log("orders", 0);
    let of = |producer| {
        move |builder: &mut BatchBuilder| {
            builder.producer(producer, 0, 0).transactional(true);
        }
    };
    log.append(batch("orders", 0, 0, &[0, 1, 2], of(7)));
    log.append(batch("orders", 0, 3, &[3], of(8)));
    log.append(stored(&BatchBuilder::marker(4, 7, 0, 0, Marker::Abort), 4, vec![]));
    log.append(batch("orders", 0, 5, &[5], of(8)));
    log.append(stored(&BatchBuilder::marker(6, 8, 0, 0, Marker::Commit), 6, vec![]));
    log.append(batch("orders", 0, 7, &[7, 8], of(7)));
    log.aborted = vec![(7, 0, 4)];
    log.stable = Some(7);
    cluster
}

#[test]
fn only_what_was_committed_is_read_committed() {
    let kafka = classic().kafka.isolation(Isolation::ReadCommitted);
    let mut world = World::new(classic().kafka(kafka), transactions());
    world.run(secs(5));
    assert_eq!(world.offsets("orders", 0), [3, 5]);
    assert_eq!(position(&world), 7);
    assert!(world.committed("orders", 0) >= Some(6), "{:?}", world.committed("orders", 0));
    // The open transaction is committed.
    let log = world.cluster.log("orders", 0);
    log.append(stored(&BatchBuilder::marker(9, 7, 0, 0, Marker::Commit), 9, vec![]));
    log.stable = None;
    world.until(secs(5), |world| world.got.len() == 4);
    world.until(secs(5), |world| world.committed("orders", 0) >= Some(9));
    world.until(secs(5), |world| position(world) == 10);
}

#[test]
fn everything_but_markers_is_read_uncommitted() {
    let mut world = World::new(classic(), transactions());
    world.run(secs(5));
    assert_eq!(world.offsets("orders", 0), [0, 1, 2, 3, 5, 7, 8]);
    assert_eq!(position(&world), 9);
}

#[test]
fn the_broker_s_time_stands_where_the_topic_says_so() {
    let mut cluster = one();
    cluster.log("orders", 0).append(batch("orders", 0, 0, &[0, 1], |builder| {
        builder.log_append_time(77);
    }));
    cluster.produce("orders", 0, 1);
    let mut world = World::new(classic(), cluster);
    world.until(secs(5), |world| world.got.len() == 3);
    let stamps: Vec<_> = world.got.iter().map(|got| got.timestamp).collect();
    assert_eq!(stamps, [77, 77, stamp_of(2)]);
}

#[test]
fn each_codec_that_is_on_is_read() {
    let codecs = [
        (Compression::None, true),
        (Compression::Gzip, cfg!(feature = "gzip")),
        (Compression::Snappy, cfg!(feature = "snappy")),
        (Compression::Lz4, cfg!(feature = "lz4")),
        (Compression::Zstd, cfg!(feature = "zstd")),
    ];
    let mut cluster = one();
    let mut expected = 0;
    for (codec, _) in codecs.iter().filter(|(_, on)| *on) {
        cluster.produce_as("orders", 0, 100, *codec);
        expected += 100;
    }
    let mut world = World::new(classic(), cluster);
    world.until(secs(5), |world| world.got.len() == expected);
    world.until(secs(5), |world| world.committed("orders", 0) == Some(expected as i64));
}

/// Changes the first byte of the last value, so that the checksum is wrong.
fn damage(answer: &mut FetchResponse, change: impl Fn(&mut Vec<u8>)) {
    for data in answer.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        let mut records = data.records.take().unwrap_or_default().to_vec();
        if !records.is_empty() {
            change(&mut records);
        }
        data.records = Some(records.into());
    }
}

#[test]
fn what_is_damaged_is_never_delivered_and_asked_for_again() {
    let mut cluster = Cluster::new(2, &[("orders", 2)]);
    (0..2).for_each(|index| cluster.produce("orders", index, 10));
    let mut world = World::new(classic(), cluster);
    world.until(secs(5), |world| world.got.len() == 20);
    // On the way, three times.
    world.on::<FetchRequest>(3, |_, answer| {
        damage(answer, |records| *records.last_mut().unwrap() ^= 1);
        Fate::Reply
    });
    world.produce("orders", 0, 5);
    world.produce("orders", 1, 5);
    world.until(secs(10), |world| world.got.len() == 30);
    // On the disk: said, tried in measure, and the other partition goes on.
    world.heal();
    world.produce("orders", 0, 5);
    let log = world.cluster.log("orders", 0);
    let mut bytes = log.batches.last().unwrap().bytes.to_vec();
    bytes[65] ^= 1;
    log.batches.last_mut().unwrap().bytes = bytes.into();
    world.produce("orders", 1, 5);
    world.until(secs(10), |world| world.got.len() == 35);
    let before = world.count::<FetchRequest>();
    world.run(secs(60));
    assert_eq!(world.offsets("orders", 0).len(), 15);
    assert!(
        world.count::<FetchRequest>() - before < 400,
        "{} fetches",
        world.count::<FetchRequest>() - before
    );
    let said = |notice: &&Notice| matches!(notice, Notice::Stalled { shard: Some(shard), .. } if shard.shard.number() == 0);
    assert!(world.notices.iter().any(|notice| said(&notice)), "{:?}", world.notices);
    assert!(!world.ended());
}

#[test]
fn a_batch_that_is_cut_off_comes_whole_the_next_time() {
    let mut cluster = one();
    (0..3).for_each(|_| cluster.produce("orders", 0, 10));
    let mut world = World::new(classic(), cluster);
    // Within the second batch, then within the first.
    for keep in [300, 100, 20, 5] {
        world.on::<FetchRequest>(1, move |_, answer| {
            damage(answer, |records| records.truncate(keep));
            Fate::Reply
        });
    }
    world.until(secs(10), |world| world.got.len() == 30);
    assert_eq!(world.offsets("orders", 0), (0..30).collect::<Vec<_>>());
}

#[test]
fn a_batch_larger_than_what_is_asked_for_is_read_all_the_same() {
    let kafka = classic().kafka.partition_bytes_max(100);
    let mut cluster = one();
    (0..3).for_each(|_| cluster.produce("orders", 0, 50));
    let mut world = World::new(classic().kafka(kafka), cluster);
    // A broker that doesn't give the first batch whole, unless all of it is asked for.
    world.on::<FetchRequest>(usize::MAX, |request, answer| {
        let room =
            request.topics.iter().flat_map(|topic| &topic.partitions).map(|part| part.partition_max_bytes);
        let room = room.max().unwrap_or(100) as usize;
        damage(answer, |records| records.truncate(room));
        Fate::Reply
    });
    world.until(secs(10), |world| world.got.len() == 150);
}

#[test]
fn null_values_keys_and_headers_come_as_they_are() {
    let mut cluster = one();
    let mut builder = BatchBuilder::new(0);
    let headers: [(&[u8], Option<&[u8]>); 2] = [(b"h", Some(b"1")), (b"h", None)];
    builder.record(NewRecord { offset: 0, key: Some(b"k"), value: None, headers: &headers, timestamp: 5 });
    cluster.log("orders", 0).append(stored(&builder, 0, vec![(0, 5)]));
    let mut world = World::new(classic(), cluster);
    world.chaos = true;
    world.until(secs(5), |world| world.got.len() == 1);
    assert_eq!(world.got[0].value, None);
    assert_eq!(world.got[0].key.as_deref(), Some(&b"k"[..]));
    assert_eq!(world.got[0].headers, [("h".to_owned(), Some("1".to_owned())), ("h".to_owned(), None)]);
}
