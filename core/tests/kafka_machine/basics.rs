//! Each mode and each protocol from start to close.

use tidegate_core::kafka::wire::MetadataRequest;
use tidegate_core::{ConsumerOptions, Outcome, Request as Ask};

use crate::model::Cluster;
pub use crate::modes::{classic, cooperative, newer, resumable};
use crate::world::{Fate, World, group, secs};

#[test]
fn what_is_there_and_what_comes_is_delivered_committed_and_closed() {
    for options in [classic(), cooperative(), newer(), group(), resumable()] {
        let mut cluster = Cluster::new(2, &[("orders", 3), ("bills", 1)]);
        cluster.produce("orders", 0, 5);
        cluster.produce("bills", 0, 3);
        let mut world = World::new(options.clone(), cluster);
        world.until(secs(10), |world| world.got.len() == 8);
        assert_eq!(world.owned(), ["bills/0", "orders/0", "orders/1", "orders/2"]);
        world.produce("orders", 2, 4);
        world.until(secs(2), |world| world.got.len() == 12);
        assert_eq!(world.offsets("orders", 2), [0, 1, 2, 3]);
        let closed = world.outcome(Ask::Close { deadline: secs(5) }, secs(1));
        assert_eq!(closed, Outcome::Closed { uncommitted: 0 }, "{options:?}");
        assert!(world.ended());
        assert_eq!(world.lane.last().unwrap(), "end");
        let committed =
            [("orders", 0), ("bills", 0), ("orders", 2)].map(|(t, i)| world.committed(t, i).unwrap());
        assert_eq!(committed, [5, 3, 4], "{options:?}");
        assert!(world.conns().is_empty(), "connections stay open");
    }
}

#[test]
fn real_time_begins_at_the_end_and_commits_nothing() {
    let mut cluster = Cluster::new(1, &[("orders", 2)]);
    cluster.produce("orders", 0, 5);
    let mut world = World::new(ConsumerOptions::default(), cluster);
    world.run(secs(2));
    assert!(world.got.is_empty());
    world.produce("orders", 0, 2);
    world.until(secs(2), |world| world.got.len() == 2);
    assert_eq!(world.offsets("orders", 0), [5, 6]);
    assert!(world.cluster.group.commits.is_empty());
    assert_eq!(world.outcome(Ask::Close { deadline: secs(5) }, secs(1)), Outcome::Closed { uncommitted: 0 });
}

#[test]
fn metadata_may_name_partitions_in_any_order() {
    let mut cluster = Cluster::new(2, &[("orders", 5)]);
    (0..5).for_each(|index| cluster.produce("orders", index, 1));
    let mut world = World::new(newer(), cluster);
    world.on::<MetadataRequest>(usize::MAX, |_, answer| {
        answer.topics.iter_mut().for_each(|topic| topic.partitions.reverse());
        Fate::Reply
    });
    world.until(secs(2), |world| world.got.len() == 5);
}
