//! Leaders of older epochs: not believed, until nothing else is told for long.

use tidegate_core::kafka::wire::*;
use tidegate_core::{ConsumerOptions, Instant};

use crate::basics::{classic, newer, resumable};
use crate::model::Cluster;
use crate::world::{Fate, World, secs};

/// Reads `orders/0`, led by broker 2 since epoch 1, and asks for metadata each second.
fn reading(options: &ConsumerOptions) -> World {
    let mut cluster = Cluster::new(3, &[("orders", 1)]);
    cluster.log("orders", 0).elect(2);
    cluster.produce("orders", 0, 5);
    let kafka = options.kafka.clone().metadata_age(secs(1));
    let mut world = World::new(options.clone().kafka(kafka), cluster);
    world.until(secs(10), |world| world.got.len() == 5);
    world
}

/// From now on metadata says that a broker leads in this epoch.
fn said(world: &mut World, times: usize, leader_id: i32, leader_epoch: i32) {
    world.on::<MetadataRequest>(times, move |_, answer| {
        for part in answer.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            (part.leader_id, part.leader_epoch) = (leader_id, leader_epoch);
        }
        Fate::Reply
    });
}

fn fetches(world: &World, node: i32, since: Instant) -> usize {
    world.places::<FetchRequest>().iter().filter(|(at, to)| *to == node && *at > since).count()
}

#[test]
fn an_epoch_that_never_was_is_got_over() {
    // Right but for its epoch; of a broker that doesn't lead; of one that isn't there.
    for leader in [2, 1, 77] {
        for options in [classic(), newer(), resumable()] {
            let mut world = reading(&options);
            said(&mut world, 1, leader, i32::MAX - 1);
            world.run(secs(3));
            world.produce("orders", 0, 3);
            world.until(secs(30), |world| world.got.len() == 8);
        }
    }
}

#[test]
fn a_broker_that_lags_behind_takes_nothing_back_while_the_leader_answers() {
    for options in [classic(), newer(), resumable()] {
        let mut world = reading(&options);
        said(&mut world, usize::MAX, 1, 0);
        let since = world.now;
        for round in 1..=60 {
            world.run(secs(1));
            if round % 20 == 0 {
                world.produce("orders", 0, 1);
            }
        }
        world.run(secs(1));
        assert_eq!((world.got.len(), fetches(&world, 1, since)), (8, 0));
    }
}

#[test]
fn a_broker_that_lags_behind_wins_for_no_longer_than_it_is_alone() {
    let mut world = reading(&newer());
    said(&mut world, usize::MAX, 1, 0);
    world.kill(2);
    let since = world.now;
    world.run(secs(10));
    assert_eq!(fetches(&world, 1, since), 0, "not at once");
    world.run(secs(30));
    assert!(fetches(&world, 1, since) > 0);
    world.heal();
    world.cluster.down.clear();
    world.produce("orders", 0, 1);
    world.until(secs(3), |world| world.got.len() == 6);
}
