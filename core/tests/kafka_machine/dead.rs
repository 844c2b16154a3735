//! Brokers that are dead: tried again and again, but never in a storm (G12), whatever the living say of
//! them meanwhile.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tidegate_core::kafka::wire::*;
use tidegate_core::{ConsumerOptions, Instant, Limits};

use crate::answers::host;
use crate::basics::{classic, cooperative, newer, resumable};
use crate::model::{Cluster, code};
use crate::world::{Fate, World, secs};

/// The most tries of one thing in so long: one at once, and each of the others after half a wait at
/// least, where the wait begins with `retry_min` and doubles up to `retry_max`.
fn tries_at_most(over: Duration) -> usize {
    let limits = Limits::default();
    let (mut wait, mut at, mut tries) = (limits.retry_min, Duration::ZERO, 0);
    while at <= over {
        tries += 1;
        at += wait / 2;
        wait = (wait * 2).min(limits.retry_max);
    }
    tries
}

const DEAD_FOR: Duration = secs(20);

fn reading(options: ConsumerOptions) -> World {
    let mut cluster = Cluster::new(3, &[("orders", 3)]);
    (0..3).for_each(|index| cluster.produce("orders", index, 10));
    let mut world = World::new(options, cluster);
    world.until(secs(10), |world| world.got.len() == 30);
    world.run(secs(30));
    world
}

/// Connections that were opened to a broker since then.
fn tries(world: &World, since: Instant, node: i32) -> usize {
    world.opened.iter().filter(|(at, to)| *at >= since && *to == node).count()
}

#[test]
fn dead_brokers_are_tried_with_a_back_off() {
    for options in [classic(), cooperative(), newer(), resumable()] {
        for dead in [vec![2], vec![1], vec![1, 2, 3]] {
            let mut world = reading(options.clone());
            let since = world.now;
            dead.iter().for_each(|node| world.kill(*node));
            world.run(DEAD_FOR);
            // Fetches, positions, the coordinator, the seed.
            let most = 4 * tries_at_most(DEAD_FOR);
            for node in dead {
                let tries = tries(&world, since, node);
                assert!((3..=most).contains(&tries), "{tries} tries of {node}, at most {most} explained");
            }
            world.cluster.down.clear();
            world.produce("orders", 1, 5);
            world.until(secs(20), |world| world.got.len() == 35);
        }
    }
}

/// Each answer takes a broker that is dead out of the list, or puts it in again: brokers that don't
/// agree are asked in turn.
#[test]
fn a_dead_broker_that_comes_and_goes_in_metadata_is_not_stormed() {
    for options in [classic(), newer(), resumable()] {
        let mut world = reading(options);
        let since = world.now;
        let answers = Rc::new(Cell::new(0_usize));
        let count = Rc::clone(&answers);
        world.on::<MetadataRequest>(usize::MAX, move |_, answer| {
            count.set(count.get() + 1);
            if count.get().is_multiple_of(2) {
                answer.brokers.retain(|broker| broker.node_id != 2);
            }
            Fate::Reply
        });
        world.kill(2);
        world.run(DEAD_FOR);
        // What is asked for metadata backs off as well, and each answer may free two connections of
        // their waits: that for fetches and that for positions.
        let asked = answers.get();
        let most = 4 * tries_at_most(DEAD_FOR) + asked;
        let tries = tries(&world, since, 2);
        println!("{tries} tries, {asked} answers about metadata");
        assert!(asked >= 3, "{asked} answers about metadata");
        assert!(asked <= tries_at_most(DEAD_FOR), "{asked} answers about metadata");
        assert!(tries <= most, "{tries} tries, at most {most} explained");
    }
}

/// Nobody knows where the group is: two are named in turn, of which both are dead, or one refuses.
#[test]
fn coordinators_that_are_none_are_not_stormed() {
    for (options, dead) in [classic(), cooperative(), newer()]
        .into_iter()
        .flat_map(|one| [(one.clone(), vec![2]), (one, vec![2, 3])])
    {
        let mut world = reading(options);
        let since = world.now;
        let found = Rc::new(Cell::new(0));
        let count = Rc::clone(&found);
        world.on::<FindCoordinatorRequest>(usize::MAX, move |_, answer| {
            count.set(count.get() + 1);
            let node_id = 2 + (count.get() % 2) as i32;
            for one in &mut answer.coordinators {
                (one.node_id, one.host) = (node_id, host(node_id));
            }
            Fate::Reply
        });
        let error_code = code::NOT_COORDINATOR;
        world.instead::<HeartbeatRequest>(usize::MAX, move |_| HeartbeatResponse {
            error_code,
            ..Default::default()
        });
        world.instead::<JoinGroupRequest>(usize::MAX, move |_| JoinGroupResponse {
            error_code,
            ..Default::default()
        });
        world.instead::<ConsumerGroupHeartbeatRequest>(usize::MAX, move |_| ConsumerGroupHeartbeatResponse {
            error_code,
            ..Default::default()
        });
        dead.iter().for_each(|node| world.kill(*node));
        world.run(DEAD_FOR);
        let most = tries_at_most(DEAD_FOR);
        let found = found.get();
        println!("{found} times found; tries: {:?}", [1, 2, 3].map(|node| tries(&world, since, node)));
        // Each question after a wait of its own, however often what is named turns out to be of no use.
        assert!((3..=most).contains(&found), "{found} times found, at most {most} explained");
        for node in 1..=3 {
            let tries = tries(&world, since, node);
            assert!(tries <= 4 * most, "{tries} tries of {node}, at most {} explained", 4 * most);
        }
    }
}
