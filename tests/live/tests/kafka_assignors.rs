//! Our assignors beside Apache Kafka's own, which run from its jar (java/Assignors.java).
//!
//! `TIDEGATE_ASSIGNOR_CASES` is how many random inputs range and round robin are each compared on
//! (10,000 unless set), `TIDEGATE_SEED` another sequence of them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in tests a panic with its line is the report")]

#[allow(unreachable_pub, reason = "a test executable has no outside")]
#[path = "kafka_assignors/mod.rs"]
mod rig;

use std::cmp::Reverse;
use std::time::Instant;

use tidegate_core::assign::{
    Assignor, CooperativeSticky, Member, Memory, Range, RoundRobin, Sticky, Topic, by_name,
};
use tidegate_core::kafka::sticky_data;
use tidegate_core::random::Random;

use rig::{Oracle, Shares, World, named};

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
        Err(_) => default,
    }
}

fn ours(assignor: &dyn Assignor, world: &World) -> Shares {
    let answer = assignor.assign(&world.topics, &world.members).unwrap();
    answer.iter().map(|share| (share.member().to_owned(), named(share.topics()))).collect()
}

/// Range and round robin: the same, to the last partition.
fn agrees(assignor: &dyn Assignor) {
    let mut oracle = Oracle::start();
    let (cases, seed) = (number("TIDEGATE_ASSIGNOR_CASES", 10_000), number("TIDEGATE_SEED", 1));
    let mut random = Random::new(seed);
    let (mut partitions, mut racked, mut uneven, mut fixed) = (0, 0, 0, 0);
    for case in 0..cases {
        let world = World::random(&mut random, false);
        let theirs = oracle.assign(assignor.name(), &world);
        let ours = ours(assignor, &world);
        assert_eq!(ours, theirs, "case {case} of seed {seed}, {}: {world:#?}", assignor.name());
        partitions += ours.values().flatten().map(|(_, run)| run.len()).sum::<usize>();
        racked += usize::from(world.racks_matter());
        uneven += usize::from(!world.same_subscriptions());
        fixed += usize::from(world.members.iter().any(|member| member.instance.is_some()));
    }
    println!(
        "{} as in Kafka {}: {cases} inputs, {partitions} partitions; racks made a difference in {racked}, \
         subscriptions differed in {uneven}, members were static in {fixed}",
        assignor.name(),
        oracle.version(),
    );
    let many = cases as usize / 10;
    assert!(racked >= many && uneven >= many && fixed >= many, "too few of some kind");
}

#[test]
fn range_agrees_exactly() {
    agrees(&Range);
}

#[test]
fn round_robin_agrees_exactly() {
    agrees(&RoundRobin);
}

/// What is better is less, from the left.
type Cost = (Vec<usize>, usize, usize);

/// Loads from the highest; partitions that are far from their member; partitions whose owner is
/// there and subscribes, but lost them.
fn cost(world: &World, shares: &Shares) -> Cost {
    let mut loads: Vec<usize> =
        shares.values().map(|runs| runs.iter().map(|(_, run)| run.len()).sum()).collect();
    loads.sort_unstable_by_key(|load| Reverse(*load));
    let each = || {
        let runs = shares
            .iter()
            .flat_map(|(member, runs)| runs.iter().map(move |(topic, run)| (member, topic, run)));
        runs.flat_map(|(member, topic, run)| run.iter().map(move |partition| (member, topic, *partition)))
    };
    let matter = world.racks_matter();
    let misses = each().filter(|(member, topic, partition)| matter && !world.near(member, topic, *partition));
    let owners = world.owners();
    let moves = each().filter(|(member, topic, partition)| {
        owners.get(&(topic.as_str(), *partition)).is_some_and(|owner| owner != member)
    });
    (loads, misses.count(), moves.count())
}

/// Members come and go, topics grow, subscriptions change: at each step both are asked from the
/// same past, and ours is not worse in balance; where balance is the same not in racks; and where
/// those are the same not in moves.
fn is_no_worse(assignor: &dyn Assignor, alike: bool, racks: bool) {
    let mut oracle = Oracle::start();
    let seed = number("TIDEGATE_SEED", 1);
    let mut random = Random::new(seed ^ 0x5717);
    let (mut steps, mut moves) = (0, [0, 0]);
    let (mut better_balance, mut better_racks, mut fewer_moves, mut refused, mut invalid) = (0, 0, 0, 0, 0);
    let (mut more_moves, mut more_moves_by) = (0, 0);
    for sequence in 0..150 {
        let mut world = World::random(&mut random, true);
        if alike {
            let all: Vec<String> = world.topics.iter().map(|topic| topic.name.clone()).collect();
            world.members.iter_mut().for_each(|member| member.topics = all.clone());
        }
        if !racks {
            world.members.iter_mut().for_each(|member| member.rack = None);
        }
        for step in 0..12 {
            if step > 0 {
                world.change(&mut random, alike, racks);
            }
            for member in &mut world.members {
                member.user_data = sticky_data::encode(assignor.memory(), &member.owned, member.generation);
                // And what Kafka's will read is what ours has.
                let mut read = Member { owned: Vec::new(), generation: -1, ..member.clone() };
                if assignor.memory() == Memory::Fields {
                    read.owned.clone_from(&member.owned);
                }
                sticky_data::recall(assignor.memory(), &mut read);
                assert_eq!((&read.owned, read.generation), (&member.owned, member.generation));
            }
            // Both answers whole: what is withheld is compared elsewhere.
            let ours = ours(&Sticky, &world);
            let theirs = match oracle.try_assign("sticky", &world.for_sticky()) {
                Ok(theirs) => theirs,
                Err(error) => {
                    println!("Kafka's gives up in sequence {sequence}, step {step}: {error}");
                    refused += 1;
                    break;
                }
            };
            let what = || format!("sequence {sequence}, step {step} of seed {seed}: {world:#?}");
            world.check(&ours).unwrap_or_else(|wrong| panic!("{wrong}, {}", what()));
            if let Err(wrong) = world.check(&theirs) {
                // A member that subscribes to nothing passes for one that subscribes to what the
                // others do, if the leader's hash map has it first: it gets partitions.
                let reason = world.members.iter().find(|member| member.topics.is_empty());
                assert!(reason.is_some(), "{wrong}, {}", what());
                invalid += 1;
                world.own(&ours, step + 1);
                continue;
            }
            let (mine, others) = (cost(&world, &ours), cost(&world, &theirs));
            assert!(mine <= others, "{mine:?} > {others:?}, {}", what());
            steps += 1;
            moves[0] += mine.2;
            moves[1] += others.2;
            better_balance += usize::from(mine.0 < others.0);
            better_racks += usize::from(mine.0 == others.0 && mine.1 < others.1);
            fewer_moves += usize::from((&mine.0, mine.1) == (&others.0, others.1) && mine.2 < others.2);
            if mine.2 > others.2 {
                more_moves += 1;
                more_moves_by += mine.2 - others.2;
            }
            // Either's answer is the next step's past.
            world.own(if random.below(2) == 0 { &ours } else { &theirs }, step + 1);
        }
    }
    println!(
        "sticky beside Kafka {}, subscriptions {}, racks {}: {steps} steps, {} moves of ours and {} of Kafka's; \
         ours better balanced in {better_balance} steps, else nearer in {better_racks}, else with fewer moves in \
         {fewer_moves}; for better balance or racks ours moved more in {more_moves} steps, {more_moves_by} \
         partitions together; Kafka's gave up in {refused}, and gave partitions to members that didn't \
         subscribe to them in {invalid}",
        oracle.version(),
        if alike { "alike" } else { "different" },
        if racks { "on" } else { "off" },
        moves[0],
        moves[1],
    );
    assert!(steps > 1_000 && moves[0] <= moves[1], "{moves:?}");
    assert!(better_balance == 0 || !alike, "Kafka's is as balanced as can be here: {better_balance}");
    if alike && !racks {
        assert_eq!(more_moves, 0);
    }
}

#[test]
fn sticky_is_no_worse_where_all_subscribe_to_the_same() {
    is_no_worse(&Sticky, true, false);
}

#[test]
fn sticky_is_no_worse_where_subscriptions_differ() {
    is_no_worse(&Sticky, false, false);
}

#[test]
fn sticky_is_no_worse_with_racks() {
    is_no_worse(&Sticky, true, true);
    is_no_worse(&Sticky, false, true);
}

/// Two groups, one led by ours and one by Kafka's, go through the same events, each to its end:
/// rounds until nothing is withheld.
fn moves_no_more(alike: bool) {
    let mut oracle = Oracle::start();
    let mut random = Random::new(number("TIDEGATE_SEED", 1) ^ 0xC00);
    let (mut moves, mut rounds, mut spread, mut events) = ([0; 2], [0; 2], [0; 2], 0);
    let mut endless = 0;
    'sequences: for sequence in 0..100 {
        let first = World::random(&mut random, true);
        let mut groups = [first.clone(), first];
        for event in 0..10 {
            let same = random.next_u64();
            let mut cost_of = [[0; 3]; 2];
            for (at, world) in groups.iter_mut().enumerate() {
                world.change(&mut Random::new(same), alike, false);
                let all: Vec<String> = world.topics.iter().map(|topic| topic.name.clone()).collect();
                for member in &mut world.members {
                    member.rack = None;
                    // Nobody subscribes to nothing: Kafka's sometimes takes that for everything.
                    if alike || member.topics.is_empty() {
                        member.topics.clone_from(&all);
                    }
                }
                let ask = |world: &World| match at {
                    0 => Ok(ours(&CooperativeSticky, world)),
                    _ => oracle.try_assign("cooperative-sticky", world),
                };
                match settle(world, ask) {
                    Ok(cost) => cost_of[at] = cost,
                    Err(error) => {
                        println!("Kafka's in sequence {sequence}, event {event}: {error}");
                        endless += 1;
                        continue 'sequences;
                    }
                }
            }
            events += 1;
            for (at, cost) in cost_of.into_iter().enumerate() {
                moves[at] += cost[0];
                rounds[at] += cost[1];
                spread[at] += cost[2];
            }
        }
    }
    println!(
        "cooperative-sticky, subscriptions {}: {events} events; ours: {} moves in {} rounds, loads' squares {}; \
         Kafka's: {} moves in {} rounds, {}; it doesn't end in {endless} of 100 sequences",
        if alike { "alike" } else { "different" },
        moves[0],
        rounds[0],
        spread[0],
        moves[1],
        rounds[1],
        spread[1],
    );
    assert!(moves[0] <= moves[1] && spread[0] <= spread[1]);
    // What is better balanced takes a round to get there.
    assert!(rounds[0] <= rounds[1] || !alike);
    assert!(events > 800, "{events}");
}

/// Rounds until nothing is withheld: moves, rounds, and the squares of the loads.
fn settle(
    world: &mut World,
    mut ask: impl FnMut(&World) -> Result<Shares, String>,
) -> Result<[usize; 3], String> {
    let before = world.owners_owned();
    for round in 1..100 {
        let shares = ask(world)?;
        let (is_whole, lost) = (world.is_whole(&shares), world.loses_any(&shares));
        world.own(&shares, world.generation() + 1);
        if is_whole && !lost {
            world.check(&shares).unwrap();
            let loads = cost(world, &shares).0;
            let after = world.owners_owned();
            let is_here = |id: &String| world.members.iter().any(|member| member.id == *id);
            let moved = after.iter().filter(|(partition, owner)| {
                before.get(*partition).is_some_and(|old| old != *owner && is_here(old))
            });
            return Ok([moved.count(), round, loads.iter().map(|load| load * load).sum()]);
        }
        assert!(lost, "something is withheld, and nobody lets go: {world:#?}");
    }
    Err("partitions go round and round".into())
}

#[test]
fn cooperative_moves_no_more_where_all_subscribe_to_the_same() {
    moves_no_more(true);
}

#[test]
fn cooperative_moves_no_more_where_subscriptions_differ() {
    moves_no_more(false);
}

/// What Kafka's members send, ours read; the bytes are the same where their order is not chance.
#[test]
fn user_data_is_the_same() {
    let mut oracle = Oracle::start();
    let mut random = Random::new(3);
    for case in 0..300 {
        let mut owned: Vec<(String, Vec<i32>)> = (0..random.below(4))
            .map(|topic| (format!("topic{topic}"), (0..1 + random.below(5) as i32).collect()))
            .collect();
        let generation = random.below(1_000) as i32;
        for memory in [Memory::UserData, Memory::Fields] {
            let name = if memory == Memory::UserData { "sticky" } else { "cooperative-sticky" };
            let theirs = oracle.user_data(name, &owned, generation);
            let mut member = Member::new("m", ["t"]);
            member.owned.clone_from(&owned);
            member.user_data = theirs.clone().into();
            sticky_data::recall(memory, &mut member);
            member.owned.sort();
            owned.sort();
            assert_eq!((&member.owned, member.generation), (&owned, generation), "case {case}");
            let ours = sticky_data::encode(memory, &owned, generation);
            assert_eq!(ours.len(), theirs.len(), "case {case}");
            if owned.len() < 2 || memory == Memory::Fields {
                assert_eq!(ours, theirs, "case {case}");
            }
        }
    }
    assert_eq!(oracle.user_data("sticky", &[], -1), sticky_data::encode(Memory::UserData, &[], -1));
    assert_eq!(oracle.user_data("cooperative-sticky", &[], -1), sticky_data::encode(Memory::Fields, &[], -1));
}

/// The world that java/Assignors.java makes too. A tenth of the members left and as many came,
/// where there is a past.
fn scale(topics: i32, each: i32, members: i32, racks: i32, past: bool) -> (Vec<Topic>, Vec<Member>) {
    let rack = |at: i32| -> std::sync::Arc<str> { format!("r{at}").into() };
    let names: Vec<std::sync::Arc<str>> = (0..racks).map(rack).collect();
    let topics: Vec<Topic> = (0..topics)
        .map(|topic| {
            let mut topic = Topic::new(format!("t{topic}"), each);
            if racks > 0 {
                let on =
                    |number: i32| [number % racks, (number + 1) % racks].map(|at| names[at as usize].clone());
                topic.racks = (0..each).map(|number| on(number).to_vec()).collect();
            }
            topic
        })
        .collect();
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let member = |at: i32| {
        let mut member = Member::new(format!("m{at}"), names.iter().cloned());
        member.rack = (racks > 0).then(|| format!("r{}", at % racks));
        member
    };
    let mut all: Vec<Member> = (members / 10..members + members / 10).map(member).collect();
    if past {
        let before: Vec<Member> =
            (0..members).map(|at| Member::new(format!("m{at}"), names.iter().cloned())).collect();
        for share in RoundRobin.assign(&topics, &before).unwrap() {
            if let Some(member) = all.iter_mut().find(|member| member.id == share.member()) {
                member.owned = share.topics().map(|(topic, run)| (topic.to_owned(), run.to_vec())).collect();
                member.generation = 5;
            }
        }
    }
    (topics, all)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// 1,000,000 partitions to 2,000 members, ours and Kafka's in turn, medians of three runs each. Both
/// begin with what came over the wire: user data, where a past is in it, is read by both. Sticky with
/// racks is left out, as Kafka's takes minutes: for each partition it looks through all members.
#[test]
fn a_million_partitions_to_two_thousand_members() {
    let mut oracle = Oracle::start();
    let profile = if cfg!(debug_assertions) { "without optimisation" } else { "optimised" };
    println!("1,000 topics of 1,000 partitions, 2,000 members, Kafka {}, ours {profile}:", oracle.version());
    for (name, racks, past) in [
        ("range", 0, false),
        ("range", 3, false),
        ("roundrobin", 0, false),
        ("sticky", 0, false),
        ("sticky", 0, true),
        ("cooperative-sticky", 0, true),
    ] {
        let assignor = by_name(name).unwrap();
        let (topics, mut told) = scale(1_000, 1_000, 2_000, racks, past);
        let memory = assignor.memory();
        if past && memory == Memory::UserData {
            for member in &mut told {
                member.user_data = sticky_data::encode(memory, &member.owned, member.generation);
                (member.owned, member.generation) = (Vec::new(), -1);
            }
        }
        let mut assigned = 0;
        let run = || {
            let mut members = told.clone();
            let started = Instant::now();
            members.iter_mut().for_each(|member| sticky_data::recall(memory, member));
            let answer = assignor.assign(&topics, &members).unwrap();
            assigned = answer.iter().map(|share| share.len()).sum();
            started.elapsed().as_secs_f64()
        };
        let ours = median(std::iter::repeat_with(run).take(3).collect());
        let theirs = oracle.time(name, [1_000, 1_000, 2_000, racks], past, 3);
        let theirs_assigned = theirs[0].1;
        let theirs = median(theirs.into_iter().map(|(seconds, _)| seconds).collect());
        println!(
            "  {name:<20} racks {racks} {:<11} ours {ours:>7.3} s, Kafka's {theirs:>7.3} s: {:.1} times",
            if past { "with a past" } else { "from nothing" },
            theirs / ours
        );
        assert!(theirs_assigned > 900_000 && (name != "range" || assigned == 1_000_000));
        assert!(ours < theirs, "{name}: {ours} s, where Kafka's takes {theirs} s");
    }
}
