//! All small worlds, or all of a kind: what the assignors answer is what the documentation says, is
//! valid, balanced, near and moves as little as can be, whoever comes first.

use std::collections::BTreeMap;

use tidegate_core::assign::{Assignor, CooperativeSticky, Member, Range, RoundRobin, Sticky, Topic};

use super::specification::{self, Given};
use super::world::{self, Plan, World};

/// All numbers of so many digits.
fn digits(count: usize, base: usize) -> impl Iterator<Item = Vec<usize>> {
    let all = base.pow(count as u32);
    (0..all).map(move |number| (0..count).map(|at| number / base.pow(at as u32) % base).collect())
}

fn members(subscriptions: &[usize], racks: &[usize]) -> Vec<Member> {
    let each = subscriptions.iter().zip(racks).enumerate();
    each.map(|(at, (bits, rack))| {
        let topics = (0..2).filter(|topic| bits >> topic & 1 == 1).map(|topic| format!("t{topic}"));
        let mut member = Member::new(format!("m{at}"), topics);
        member.rack = [None, Some("a"), Some("b")][*rack].map(str::to_owned);
        member
    })
    .collect()
}

/// In all orders that up to three can have.
fn orders(members: &[Member]) -> Vec<Vec<Member>> {
    let mut all = Vec::new();
    for order in digits(members.len(), members.len()) {
        if (0..members.len()).all(|at| order.contains(&at)) {
            all.push(order.iter().map(|at| members[*at].clone()).collect());
        }
    }
    all
}

fn given<'a>(plan: &Plan<'a>) -> Given<'a> {
    plan.owners().into_iter().map(|(member, partition)| (partition, member)).collect()
}

fn as_documented(world: &World<'_>) {
    let range = Plan::of(&Range.assign(world.topics, world.members).unwrap());
    assert_eq!(given(&range), specification::range(world), "{world:#?}");
    let round_robin = Plan::of(&RoundRobin.assign(world.topics, world.members).unwrap());
    assert_eq!(given(&round_robin), specification::round_robin(world), "{world:#?}");
    for plan in [&range, &round_robin] {
        world.valid(plan);
    }
    // Of each topic a subscriber has as many as another, or one more.
    let mut loads: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for member in world.members {
        for topic in member.topics.iter().filter(|name| world.topics.iter().any(|one| one.name == **name)) {
            loads.entry(topic).or_default().insert(&member.id, 0);
        }
    }
    for ((topic, _), member) in given(&range) {
        *loads.get_mut(topic).unwrap().get_mut(member).unwrap() += 1;
    }
    let even = |loads: Vec<usize>| loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0) <= 1;
    assert!(loads.into_values().all(|loads| even(loads.into_values().collect())), "{world:#?}");
    assert!(!world.same_subscriptions() || even(world.balance(&round_robin)), "{world:#?}");
}

/// Every world of up to 3 members, 2 topics, 3 partitions a topic, with all subscriptions.
#[test]
fn range_and_round_robin_are_as_documented_in_all_small_worlds() {
    let mut worlds = 0;
    for count in 1..=3 {
        for counts in digits(2, 4) {
            let topics = [0, 1].map(|at| Topic::new(format!("t{at}"), counts[at] as i32));
            for subscriptions in digits(count, 4) {
                let members = members(&subscriptions, &[0; 3]);
                for members in orders(&members) {
                    as_documented(&World { topics: &topics, members: &members });
                    worlds += 1;
                }
            }
        }
    }
    assert_eq!(worlds, 16 * (4 + 2 * 16 + 6 * 64));
}

/// Each replica on one rack of two, or on both; each member on one of them, or none.
fn racked(counts: &[usize], replicas: &[usize]) -> Vec<Topic> {
    let mut replicas = replicas.iter();
    let each = counts.iter().enumerate().map(|(at, count)| {
        let mut topic = Topic::new(format!("t{at}"), *count as i32);
        let racks = replicas.by_ref().take(*count).map(|kind| {
            let names = [&["a"][..], &["b"], &["a", "b"]][*kind];
            names.iter().map(|name| (*name).into()).collect()
        });
        topic.racks = racks.collect();
        topic
    });
    each.collect()
}

#[test]
fn range_is_as_documented_with_racks() {
    let mut worlds = 0;
    for counts in [vec![1], vec![2], vec![3], vec![1, 1], vec![2, 1], vec![1, 2], vec![2, 2]] {
        for replicas in digits(counts.iter().sum(), 3) {
            let topics = racked(&counts, &replicas);
            for count in 1..=3 {
                for racks in digits(count, 3) {
                    // All of both; or the last one of one topic only.
                    for last in 1..=3 {
                        let mut subscriptions = vec![3; count];
                        subscriptions[count - 1] = last;
                        let members = members(&subscriptions, &racks);
                        as_documented(&World { topics: &topics, members: &members });
                        worlds += 1;
                    }
                }
            }
        }
    }
    println!("{worlds} worlds");
}

/// All racks, all previous owners: balance, then racks, then moves, against all answers.
#[test]
fn sticky_is_near_and_moves_little_in_all_small_worlds_with_racks() {
    for count in 1..=2 {
        for (replicas, racks) in
            digits(3, 3).flat_map(|one| digits(count, 3).map(move |two| (one.clone(), two)))
        {
            let topics = racked(&[3], &replicas);
            for owners in digits(3, count + 1) {
                let mut members = members(&[1; 3], &racks);
                for (partition, owner) in owners.iter().enumerate() {
                    if let Some(member) = members.get_mut(*owner) {
                        member.owned.push(("t0".into(), vec![partition as i32]));
                    }
                }
                as_good_as_any(&World { topics: &topics, members: &members });
            }
        }
    }
}

fn as_good_as_any(world: &World<'_>) {
    let plan = Plan::of(&Sticky.assign(world.topics, world.members).unwrap());
    world.valid(&plan);
    let best = world::best_by_balance(world);
    assert_eq!(world.balance(&plan), best.balance, "{world:#?} {plan:#?}");
    let racks_matter = world.racks_matter();
    let cost = |owners: &world::Owners<'_>| {
        let far = owners.iter().filter(|(member, partition)| racks_matter && !world.near(member, *partition));
        let kept = owners.iter().filter(|(member, partition)| world.owner(*partition) == Some(*member));
        (far.count(), owners.len() - kept.count())
    };
    let least = best.owners.iter().map(cost).min().unwrap();
    assert_eq!(cost(&plan.owners()), least, "{world:#?} {plan:#?}");
}

/// Members that claim what they like, all of it: what others claim too, partitions that there are
/// not, in generations that there were not, of a topic that they name twice.
#[test]
fn whatever_members_claim_the_answer_is_as_good_as_any() {
    const GENERATIONS: [i32; 3] = [-1, 3, i32::MAX];
    let topics = [Topic::new("t0", 2)];
    let claims: Vec<(usize, i32)> = (0..8).flat_map(|bits| GENERATIONS.map(|one| (bits, one))).collect();
    for choice in digits(3, claims.len()) {
        // In which order they are listed is of no account; so each set of claims once.
        if !choice.is_sorted() {
            continue;
        }
        let mut members: Vec<Member> = Vec::new();
        for (at, one) in choice.iter().enumerate() {
            let (bits, generation) = claims[*one];
            let mut member = Member::new(format!("m{at}"), ["t0", "t0", "none"]);
            let owned = [0, 1, i32::MAX].into_iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
            member.owned = vec![("t0".into(), owned.map(|(_, partition)| partition).collect())];
            member.owned.push(("none".into(), vec![0, i32::MIN, -1]));
            member.generation = generation;
            members.push(member);
        }
        let world = World { topics: &topics, members: &members };
        as_good_as_any(&world);
        let held = Plan::of(&CooperativeSticky.assign(&topics, &members).unwrap());
        world.valid_but_withheld(&held);
        let answer = Sticky.assign(&topics, &members).unwrap();
        for other in orders(&members) {
            assert_eq!(Sticky.assign(&topics, &other).unwrap(), answer, "{world:#?}");
        }
    }
}
