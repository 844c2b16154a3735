//! Assignors against plain checks and, where worlds are small, against all answers that there are.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in tests a panic with its line is the report")]

#[path = "policies_assign/exhaustive.rs"]
mod exhaustive;
#[allow(unreachable_pub, reason = "a test executable has no outside")]
#[path = "policies_assign/specification.rs"]
mod specification;
#[allow(unreachable_pub, reason = "a test executable has no outside")]
#[path = "policies_assign/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidegate_core::assign::{
    AssignError, Assignor, CooperativeSticky, Member, MemberAssignment, Memory, PARTITIONS_MAX, Range,
    RebalanceProtocol, RoundRobin, Sticky, Topic, by_name,
};
use tidegate_core::random::Random;

use world::{Plan, World};

fn all() -> [&'static dyn Assignor; 4] {
    [&Range, &RoundRobin, &Sticky, &CooperativeSticky]
}

#[test]
fn each_is_found_by_its_name() {
    for assignor in all() {
        let found = by_name(assignor.name()).unwrap();
        assert_eq!(found.name(), assignor.name());
        assert_eq!(format!("{found:?}"), format!("{assignor:?}"));
        assert!(assignor.user_data(&["t".into()]).is_empty());
    }
    assert!(by_name("uniform").is_none());
    assert_eq!(
        all().map(|assignor| assignor.name()),
        ["range", "roundrobin", "sticky", "cooperative-sticky"]
    );
    assert_eq!(
        all().map(|assignor| assignor.memory()),
        [Memory::None, Memory::None, Memory::UserData, Memory::Fields]
    );
    assert_eq!(CooperativeSticky.protocol(), RebalanceProtocol::Cooperative);
    assert_eq!(Sticky.protocol(), RebalanceProtocol::Eager);
}

#[test]
fn an_assignment_lists_runs() {
    let mut share = MemberAssignment::new("m");
    assert!(share.is_empty() && share.topics().len() == 0);
    for (topic, partition) in [("a", 3), ("a", 1), ("b", 0), ("a", 2)] {
        share.push(topic, partition);
    }
    let runs: Vec<_> = share.topics().collect();
    assert_eq!(runs, [("a", &[3, 1][..]), ("b", &[0]), ("a", &[2])]);
    assert_eq!((share.member(), share.len(), share.is_empty()), ("m", 4, false));
}

/// The examples of Apache Kafka's own documentation.
#[test]
fn the_documented_examples() {
    let topics = [Topic::new("t0", 3), Topic::new("t1", 3)];
    let members = [Member::new("c0", ["t0", "t1"]), Member::new("c1", ["t0", "t1"])];
    let said = |assignor: &dyn Assignor, topics: &[Topic], members: &[Member]| {
        let answer = assignor.assign(topics, members).unwrap();
        answer.iter().map(|share| format!("{}:{}", share.member(), world::text(share))).collect::<Vec<_>>()
    };
    assert_eq!(said(&Range, &topics, &members), ["c0: t0[0, 1] t1[0, 1]", "c1: t0[2] t1[2]"]);
    assert_eq!(said(&RoundRobin, &topics, &members), ["c0: t0[0, 2] t1[1]", "c1: t0[1] t1[0, 2]"]);

    // KIP-54, example 2: c0 leaves; round robin would move nearly all.
    let topics = [Topic::new("t0", 1), Topic::new("t1", 2), Topic::new("t2", 3)];
    let mut one = Member::new("c1", ["t0", "t1"]);
    one.owned = vec![("t1".into(), vec![0])];
    let mut two = Member::new("c2", ["t0", "t1", "t2"]);
    two.owned = vec![("t1".into(), vec![1]), ("t2".into(), vec![0, 1, 2])];
    assert_eq!(said(&Sticky, &topics, &[one, two]), ["c1: t0[0] t1[0, 1]", "c2: t2[0, 1, 2]"]);
}

#[test]
fn static_members_keep_their_place_under_a_new_id() {
    let topics = [Topic::new("t", 3)];
    let mut one = Member::new("z", ["t"]);
    one.instance = Some("i0".into());
    let mut two = Member::new("a", ["t"]);
    two.instance = Some("i1".into());
    let three = Member::new("A", ["t"]);
    let members = [three, two, one];
    for assignor in [&Range as &dyn Assignor, &RoundRobin] {
        let plan = Plan::of(&assignor.assign(&topics, &members).unwrap());
        let at = |member: &str| plan.by_member[member].clone();
        assert_eq!((at("z"), at("a"), at("A")), (vec![("t", 0)], vec![("t", 1)], vec![("t", 2)]));
    }
}

#[test]
fn too_much_is_an_error() {
    let topics = [Topic::new("t", i32::MAX), Topic::new("u", i32::MAX), Topic::new("t", 5)];
    for assignor in all() {
        let error = assignor.assign(&topics, &[Member::new("m", ["t"])]).unwrap_err();
        let partitions = 2 * i32::MAX as u64;
        assert_eq!(error, AssignError::TooManyPartitions { partitions });
        assert!(error.to_string().contains(&PARTITIONS_MAX.to_string()), "{error}");
    }
}

#[test]
fn nothing_to_assign_is_fine() {
    for assignor in all() {
        assert!(assignor.assign(&[], &[]).unwrap().is_empty());
        assert!(assignor.assign(&[Topic::new("t", 3)], &[]).unwrap().is_empty());
        let members = [Member::new("", ["", "t"]), Member::new("n", Vec::<String>::new())];
        let answer = assignor.assign(&[], &members).unwrap();
        assert_eq!(
            answer.iter().map(|share| (share.member(), share.len())).collect::<Vec<_>>(),
            [("", 0), ("n", 0)]
        );
    }
}

/// Every world of up to 3 members, 2 topics and 3 partitions a topic, with all subscriptions and
/// all that members can have owned: as balanced as any answer, and of those with the fewest moves.
#[test]
fn small_worlds_one_and_two_members() {
    let tally: u64 = (1..=2).map(|members| exhaust(members, |_| true)).sum();
    println!("{tally} worlds");
    assert_eq!(tally, 4 * 15 * 15 + 16 * 40 * 40);
}

#[test]
fn small_worlds_three_members_few_partitions() {
    println!("{} worlds", exhaust(3, |partitions| partitions <= 5));
}

#[test]
fn small_worlds_three_members_most_partitions() {
    println!("{} worlds", exhaust(3, |partitions| partitions == 6));
}

fn exhaust(members: usize, wanted: impl Fn(i32) -> bool) -> u64 {
    let mut tally = 0;
    for (first, second) in (0..=3).flat_map(|first| (0..=3).map(move |second| (first, second))) {
        if !wanted(first + second) {
            continue;
        }
        let topics = [Topic::new("t0", first), Topic::new("t1", second)];
        for subscriptions in 0..4u32.pow(members as u32) {
            let named =
                |member: usize| (0..2).filter(move |topic| subscriptions >> (2 * member + topic) & 1 == 1);
            let subscribed = |member: usize| named(member).map(|topic| format!("t{topic}"));
            let all: Vec<Member> =
                (0..members).map(|at| Member::new(format!("m{at}"), subscribed(at))).collect();
            let world = World { topics: &topics, members: &all };
            tally += exhaust_owners(&world);
            for assignor in [&Range as &dyn Assignor, &RoundRobin] {
                world.valid(&Plan::of(&assignor.assign(&topics, &all).unwrap()));
            }
        }
    }
    tally
}

/// All that members can have owned. Members are numbers here, as there are many to try.
fn exhaust_owners(world: &World<'_>) -> u64 {
    let best = world::best_by_balance(world);
    let number = |id: &str| world.members.iter().position(|member| member.id == id).unwrap();
    let answers: Vec<Vec<usize>> =
        best.owners.iter().map(|owners| owners.iter().map(|(member, _)| number(member)).collect()).collect();
    let subscribed = world.partitions();
    let all: Vec<(&str, i32)> = world
        .topics
        .iter()
        .flat_map(|topic| (0..topic.partitions).map(|partition| (topic.name.as_str(), partition)))
        .collect();
    let mut members = world.members.to_vec();
    let mut owners = vec![0; all.len()];
    for tally in 1.. {
        members.iter_mut().for_each(|member| member.owned.clear());
        for ((topic, partition), owner) in all.iter().zip(&owners) {
            if let Some(member) = members.get_mut(*owner) {
                member.owned.push((topic.to_string(), vec![*partition]));
            }
        }
        let answer = Sticky.assign(world.topics, &members).unwrap();
        let mut given = vec![usize::MAX; all.len()];
        for (member, share) in answer.iter().enumerate() {
            for (topic, partitions) in share.topics() {
                assert!(members[member].topics.iter().any(|name| name == topic), "{members:?} {answer:?}");
                for partition in partitions {
                    let at = all.iter().position(|other| *other == (topic, *partition)).unwrap();
                    assert_eq!(given[at], usize::MAX, "{members:?} {answer:?}");
                    given[at] = member;
                }
            }
        }
        let mut balance: Vec<usize> = answer.iter().map(MemberAssignment::len).collect();
        balance.sort_unstable_by_key(|load| std::cmp::Reverse(*load));
        assert_eq!(balance, best.balance, "{members:?} {answer:?}");

        let these = |values: &[usize]| -> Vec<usize> {
            let all = all.iter().zip(values).filter(|(partition, _)| subscribed.contains(partition));
            all.map(|(_, value)| *value).collect()
        };
        let (given, owned) = (these(&given), these(&owners));
        assert!(!given.contains(&usize::MAX), "{members:?} {answer:?}");
        let kept = |given: &[usize]| given.iter().zip(&owned).filter(|(given, owned)| given == owned).count();
        let most = answers.iter().map(|answer| kept(answer)).max().unwrap();
        assert_eq!(kept(&given), most, "{members:?} {answer:?}");

        let Some(at) = owners.iter().position(|owner| *owner < members.len()) else { return tally };
        owners[at] += 1;
        owners[..at].fill(0);
    }
    unreachable!("the last owners end it")
}

/// Random small worlds with racks, generations and disputes, against all answers: balance, then
/// misses, then moves.
#[test]
fn small_worlds_with_racks() {
    let mut random = Random::new(7);
    let (mut racked, mut missed) = (0, 0);
    for case in 0..20_000 {
        let world =
            world::random(&mut random, &world::Size { members: 4, topics: 3, partitions: 3, racks: 3 });
        if world.partitions().len() > 6 {
            continue;
        }
        let world = World { topics: &world.topics, members: &world.members };
        let best = world::best_by_balance(&world);
        let plan = Plan::of(&Sticky.assign(world.topics, world.members).unwrap());
        world.valid(&plan);
        assert_eq!(world.balance(&plan), best.balance, "case {case}: {world:#?} {plan:#?}");
        let is_racked = world.racks_matter();
        let cost = |owners: &Vec<(&str, (&str, i32))>| {
            let misses =
                owners.iter().filter(|(member, partition)| is_racked && !world.near(member, *partition));
            let kept = owners.iter().filter(|(member, partition)| world.owner(*partition) == Some(*member));
            (misses.count(), owners.len() - kept.count())
        };
        let least = best.owners.iter().map(cost).min().unwrap();
        assert_eq!(cost(&plan.owners()), least, "case {case}: {world:#?} {plan:#?}");
        racked += usize::from(is_racked);
        missed += usize::from(least.0 > 0);
    }
    println!("racks made a difference in {racked} worlds, and could not all be had in {missed}");
    assert!(racked > 2_000 && missed > 200);
}

/// Larger worlds: balance is the best that there is if no chain of hand-overs, from member to
/// member, leads from one that has more to one that has two less.
#[test]
fn large_worlds() {
    let mut random = Random::new(11);
    let mut uneven = 0;
    for case in 0..300 {
        let size = world::Size { members: 40, topics: 20, partitions: 40, racks: 4 };
        let world = world::random(&mut random, &size);
        let world = World { topics: &world.topics, members: &world.members };
        for assignor in [&Range as &dyn Assignor, &RoundRobin] {
            world.valid(&Plan::of(&assignor.assign(world.topics, world.members).unwrap()));
        }
        let plan = Plan::of(&Sticky.assign(world.topics, world.members).unwrap());
        world.valid(&plan);
        world.no_better_balance(&plan);
        let balance = world.balance(&plan);
        uneven += usize::from(balance.first().unwrap_or(&0) - balance.last().unwrap_or(&0) > 1);

        if world.same_subscriptions() && !world.racks_matter() {
            let owned = world.members.iter().map(|member| world.owned_by(&member.id));
            let (members, partitions) = (world.members.len(), plan.owners().len());
            let (low, more) = (partitions / members, partitions % members);
            let owned: Vec<usize> = owned.collect();
            let keeps = owned.iter().map(|owned| (*owned).min(low)).sum::<usize>()
                + owned.iter().filter(|owned| **owned > low).count().min(more);
            assert_eq!(world.kept(&plan), keeps, "case {case}");
        }
    }
    println!("{uneven} of 300 worlds could not be even");
    assert!(uneven > 50);
}

/// What is withheld, and that it takes one more round.
#[test]
fn cooperative_takes_two_rounds() {
    let mut random = Random::new(13);
    let (mut withheld, mut disputed) = (0, 0);
    for case in 0..4_000 {
        let size = if case % 2 == 0 {
            world::Size { members: 4, topics: 3, partitions: 4, racks: 2 }
        } else {
            world::Size { members: 12, topics: 6, partitions: 12, racks: 3 }
        };
        let made = world::random(&mut random, &size);
        let world = World { topics: &made.topics, members: &made.members };
        let target = Plan::of(&Sticky.assign(world.topics, world.members).unwrap());
        let first = Plan::of(&CooperativeSticky.assign(world.topics, world.members).unwrap());
        for (member, partition) in target.owners() {
            let is_withheld = world.claimed(partition) && world.owner(partition) != Some(member);
            let now = first.owner(partition);
            assert_eq!(now, (!is_withheld).then_some(member), "case {case}: {partition:?} {world:#?}");
            withheld += usize::from(is_withheld);
            disputed += usize::from(is_withheld && world.owner(partition).is_none());
        }
        // Everybody lets go what it lost, and joins again with what it has.
        let mut members = made.members.clone();
        for member in &mut members {
            let share = &first.by_member[member.id.as_str()];
            member.owned =
                share.iter().map(|(topic, partition)| (topic.to_string(), vec![*partition])).collect();
            member.generation = 100;
        }
        let again = World { topics: &made.topics, members: &members };
        let second = Plan::of(&CooperativeSticky.assign(again.topics, again.members).unwrap());
        again.valid(&second);
        assert_eq!(again.balance(&second), world.balance(&target), "case {case}");
        assert_eq!(again.kept(&second), first.owners().len(), "case {case}: something moved again");
    }
    println!("{withheld} partitions withheld, {disputed} of them as their owner is in dispute");
    assert!(withheld > 2_000 && disputed > 200);
}

/// A member leaves, another comes, a topic grows: nobody who needn't loses anything.
#[test]
fn sticky_keeps_what_it_can() {
    let mut random = Random::new(17);
    let mut topics = vec![Topic::new("a", 20), Topic::new("b", 7)];
    let mut members: Vec<Member> = (0..5).map(|at| Member::new(format!("m{at}"), ["a", "b"])).collect();
    for round in 0..300 {
        match random.below(3) {
            0 if members.len() > 1 => {
                members.remove(random.below(members.len() as u64) as usize);
            }
            1 => topics[random.below(2) as usize].partitions += 1,
            _ => members.push(Member::new(format!("n{round}"), ["b", "a"])),
        }
        let before: Vec<Member> = members.clone();
        let world = World { topics: &topics, members: &before };
        let plan = Plan::of(&Sticky.assign(&topics, &before).unwrap());
        world.valid(&plan);
        let (low, more) = (plan.owners().len() / before.len(), plan.owners().len() % before.len());
        for member in &mut members {
            let share = &plan.by_member[member.id.as_str()];
            let had = world.owned_by(&member.id);
            let kept = share.iter().filter(|partition| world.owner(**partition) == Some(&member.id)).count();
            assert!(kept == had || share.len() == kept, "{} lost some and got others", member.id);
            assert!((low..=low + usize::from(more > 0)).contains(&share.len()), "{share:?}");
            member.owned =
                share.iter().map(|(topic, partition)| (topic.to_string(), vec![*partition])).collect();
            member.generation = round;
        }
    }
}

#[test]
fn the_order_of_the_input_makes_no_difference() {
    let mut random = Random::new(19);
    for case in 0..600 {
        let size = world::Size { members: 8, topics: 6, partitions: 6, racks: 3 };
        let mut made = world::random(&mut random, &size);
        // Twice the same, and twice what differs.
        if case % 3 == 0 {
            let again = made.members[random.below(made.members.len() as u64) as usize].clone();
            made.members.push(Member {
                generation: again.generation + case % 2,
                topics: vec!["t1".into()],
                ..again
            });
            made.topics.push(Topic::new("t2", 5));
        }
        let mut other = made.clone();
        world::shuffle(&mut random, &mut other.topics);
        world::shuffle(&mut random, &mut other.members);
        for member in &mut other.members {
            world::shuffle(&mut random, &mut member.topics);
            world::shuffle(&mut random, &mut member.owned);
            member.owned.iter_mut().for_each(|(_, partitions)| world::shuffle(&mut random, partitions));
        }
        if case % 3 == 0 {
            // Of members with one id one counts by all it says, so that must be the same.
            other.members = made.members.clone();
            world::shuffle(&mut random, &mut other.members);
        }
        for assignor in all() {
            let one = assignor.assign(&made.topics, &made.members).unwrap();
            assert_eq!(
                one,
                assignor.assign(&other.topics, &other.members).unwrap(),
                "case {case} {assignor:?}"
            );
            assert!(one.is_sorted_by_key(MemberAssignment::member));
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[ab]{0,2}", 1 => any::<String>().prop_map(|text| text.chars().take(3).collect())]
}

fn partition() -> impl Strategy<Value = i32> {
    prop_oneof![6 => -1..6i32, 1 => any::<i32>()]
}

fn hostile_member() -> impl Strategy<Value = Member> {
    let owned = prop::collection::vec((name(), prop::collection::vec(partition(), 0..12)), 0..6);
    let generation = prop_oneof![4 => -1..3i32, 1 => any::<i32>()];
    let rack = || prop::option::of("[xyz]?");
    (name(), prop::option::of(name()), rack(), prop::collection::vec(name(), 0..8), owned, generation)
        .prop_map(|(id, instance, rack, topics, owned, generation)| Member {
            instance,
            rack,
            owned,
            generation,
            ..Member::new(id, topics)
        })
}

fn odd_topic() -> impl Strategy<Value = Topic> {
    let racks = prop::collection::vec(prop::collection::vec("[xyz]?".prop_map(Into::into), 0..4), 0..8);
    (name(), prop_oneof![6 => 0..7i32, 1 => i32::MIN..1], racks)
        .prop_map(|(name, partitions, racks)| Topic { racks, ..Topic::new(name, partitions) })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_members_say_the_answer_is_valid(
        topics in prop::collection::vec(odd_topic(), 0..8),
        members in prop::collection::vec(hostile_member(), 0..10),
    ) {
        // What counts of what is there twice.
        let mut kept: BTreeMap<&str, &Member> = BTreeMap::new();
        for member in &members {
            let old = kept.entry(&member.id).or_insert(member);
            if member.generation > old.generation || (member.generation == old.generation && member < *old) {
                *old = member;
            }
        }
        let distinct: Vec<Member> = kept.into_values().cloned().collect();
        let mut largest: BTreeMap<&str, &Topic> = BTreeMap::new();
        for topic in &topics {
            let old = largest.entry(&topic.name).or_insert(topic);
            *old = (*old).max(topic);
        }
        let largest: Vec<Topic> = largest.into_values().cloned().collect();
        let world = World { topics: &largest, members: &distinct };
        for assignor in all() {
            let answer = assignor.assign(&topics, &members).unwrap();
            let ids: Vec<&str> = answer.iter().map(MemberAssignment::member).collect();
            prop_assert_eq!(&ids, &distinct.iter().map(|member| member.id.as_str()).collect::<Vec<_>>());
            let plan = Plan::of(&answer);
            if assignor.protocol() == RebalanceProtocol::Eager {
                world.valid(&plan);
            } else {
                world.valid_but_withheld(&plan);
            }
            prop_assert_eq!(&answer, &assignor.assign(&largest, &distinct).unwrap());
        }
        world.no_better_balance(&Plan::of(&Sticky.assign(&topics, &members).unwrap()));
    }
}

/// Thousands of topics that don't exist, of claims on what doesn't exist, and of members that
/// say the same: it ends, and soon.
#[test]
fn a_flood_of_nonsense_ends() {
    let topics: Vec<Topic> = (0..50).map(|at| Topic::new(format!("t{at}"), 20)).collect();
    let nonsense: Vec<String> = (0..5_000).map(|at| format!("none{at}")).collect();
    let members: Vec<Member> = (0..60)
        .map(|at| {
            let mut member = Member::new(format!("m{}", at % 50), nonsense.clone());
            member.topics.extend(
                (0..50).filter(|topic| (at >> (topic % 6)) & 1 == 1).map(|topic| format!("t{topic}")),
            );
            member.owned =
                nonsense.iter().map(|name| (name.clone(), vec![i32::MIN, -1, 0, i32::MAX])).collect();
            member.owned.push((format!("t{}", at % 50), vec![3; 20_000]));
            member.generation = at % 3;
            member
        })
        .collect();
    for assignor in all() {
        let answer = assignor.assign(&topics, &members).unwrap();
        assert_eq!(answer.len(), 50);
        let plan = Plan::of(&answer);
        let distinct: BTreeSet<_> = plan.owners().into_iter().map(|(_, partition)| partition).collect();
        assert_eq!(distinct.len(), plan.owners().len(), "owned twice");
    }
}
