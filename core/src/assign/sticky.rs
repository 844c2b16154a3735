//! Sticky: balanced, near, and then as few moves as can be.
//!
//! Who owned a partition is whoever claims it in the highest generation. Claimed twice in that
//! generation, nobody's claim counts, as one of them must be wrong and none can be trusted to
//! have let go.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::levels::Groups;
use super::moves::{Kept, Mover};
use super::network::Patience;
use super::racks::Racks;
use super::share::{NOBODY, collect};
use super::world::{Finder, World};
use super::{AssignError, Assignor, Member, MemberAssignment, Memory, RebalanceProtocol, Topic};

/// As balanced as can be; then, where racks make a difference, as many partitions as can be on
/// their member's rack (KIP-881); then as few moves as can be. For the eager protocol
/// (KIP-54): what members owned is in their user data.
///
/// Balanced: no assignment has a lower highest load, then a lower second highest, and so on.
/// Where all members subscribe to the same topics their loads differ by one at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sticky;

/// As [`Sticky`], for the cooperative protocol (KIP-429): a partition that somebody else still
/// claims is nobody's in this round. Its owner sees that it lost it, lets go and joins again;
/// the next round, in which nothing else moves, gives it to its new owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CooperativeSticky;

impl Sticky {
    /// Its name.
    pub const NAME: &'static str = "sticky";
}

impl CooperativeSticky {
    /// Its name.
    pub const NAME: &'static str = "cooperative-sticky";
}

impl Assignor for Sticky {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn memory(&self) -> Memory {
        Memory::UserData
    }

    fn assign<'a>(
        &self,
        topics: &'a [Topic],
        members: &'a [Member],
    ) -> Result<Vec<MemberAssignment<'a>>, AssignError> {
        let world = World::new(topics, members)?;
        let (_, owners) = assign(&world);
        Ok(collect(&world, &owners))
    }
}

impl Assignor for CooperativeSticky {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Cooperative
    }

    fn memory(&self) -> Memory {
        Memory::Fields
    }

    fn assign<'a>(
        &self,
        topics: &'a [Topic],
        members: &'a [Member],
    ) -> Result<Vec<MemberAssignment<'a>>, AssignError> {
        let world = World::new(topics, members)?;
        let (claims, mut owners) = assign(&world);
        withhold_claimed(&claims, &mut owners);
        Ok(collect(&world, &owners))
    }
}

/// What somebody claims who shall not own it any more is nobody's until it was let go.
pub(super) fn withhold(world: &World<'_>, owners: &mut [u32]) {
    withhold_claimed(&claims(world), owners);
}

fn withhold_claimed(claims: &[u32], owners: &mut [u32]) {
    for (owner, claim) in owners.iter_mut().zip(claims) {
        if *claim != NOBODY && claim != owner {
            *owner = NOBODY;
        }
    }
}

/// Claimed by several in the same generation.
const DISPUTED: u32 = NOBODY - 1;

/// Who claims each partition: a member's place, [`DISPUTED`] or [`NOBODY`]; and who shall own it.
fn assign(world: &World<'_>) -> (Vec<u32>, Vec<u32>) {
    let subscriptions: usize = world.sets.iter().map(Vec::len).sum();
    let size = subscriptions + world.members.len() + world.partition_count();
    assign_within(world, &mut Patience::new(size))
}

fn assign_within(world: &World<'_>, patience: &mut Patience) -> (Vec<u32>, Vec<u32>) {
    let claims = claims(world);
    let groups = Groups::new(world, patience);
    let racks = Racks::new(world).filter(|racks| {
        let subscribed = (0..world.topics.len()).filter(|topic| !world.sets_with[*topic].is_empty());
        let members: Vec<u32> = (0..world.members.len() as u32).collect();
        racks.matter(subscribed.map(|topic| world.partitions(topic)), &members)
    });
    let kept = Kept::new(&keepers(world, &groups, &claims), world.members.len());
    let mut owners = vec![NOBODY; world.partition_count()];
    let mut mover = Mover::new(world, racks.as_ref(), &kept, &groups.of_topic, patience);
    for (number, group) in groups.all.iter().enumerate() {
        mover.settle(number as u32, group, &mut owners);
    }
    hand_out_rest(world, &mut owners);
    (claims, owners)
}

fn claims(world: &World<'_>) -> Vec<u32> {
    let mut claims = vec![NOBODY; world.partition_count()];
    let mut disputed = vec![false; claims.len()];
    for (at, member) in world.members.iter().enumerate() {
        let mut finder = Finder::new(&world.topics);
        for (name, partitions) in &member.owned {
            let Some(topic) = finder.find(name) else { continue };
            let range = world.partitions(topic as usize);
            for partition in partitions {
                let Some(number) = usize::try_from(*partition).ok().filter(|number| *number < range.len())
                else {
                    continue;
                };
                let number = range.start + number;
                let claim = &mut claims[number];
                if *claim == NOBODY {
                    *claim = at as u32;
                } else if *claim != at as u32 {
                    // Proved: a claim that isn't nobody's is a member's place until all are in.
                    let other = world.members[*claim as usize].generation;
                    if member.generation > other {
                        *claim = at as u32;
                        disputed[number] = false;
                    } else if member.generation == other {
                        disputed[number] = true;
                    }
                }
            }
        }
    }
    for (claim, disputed) in claims.iter_mut().zip(disputed) {
        if disputed {
            *claim = DISPUTED;
        }
    }
    claims
}

/// The claims of members that may have the partition: subscribed, and in the group that reads it.
fn keepers(world: &World<'_>, groups: &Groups, claims: &[u32]) -> Vec<u32> {
    let mut keepers = claims.to_vec();
    // The last topic that each subscription was seen to read.
    let mut reads = vec![usize::MAX; world.sets.len()];
    for topic in 0..world.topics.len() {
        for set in &world.sets_with[topic] {
            if groups.of_set[*set as usize] == groups.of_topic[topic] {
                reads[*set as usize] = topic;
            }
        }
        for keeper in &mut keepers[world.partitions(topic)] {
            let set = world.set_of.get(*keeper as usize);
            if set.is_none_or(|set| reads[*set as usize] != topic) {
                *keeper = NOBODY;
            }
        }
    }
    keepers
}

/// Where finding the best took too long: what is left goes to whoever has least.
fn hand_out_rest(world: &World<'_>, owners: &mut [u32]) {
    let left = |topic: &usize, owners: &[u32]| {
        !world.sets_with[*topic].is_empty() && owners[world.partitions(*topic)].contains(&NOBODY)
    };
    let topics: Vec<usize> = (0..world.topics.len()).filter(|topic| left(topic, owners)).collect();
    if topics.is_empty() {
        return;
    }
    let mut loads = vec![0u32; world.members.len()];
    for owner in &*owners {
        if let Some(load) = loads.get_mut(*owner as usize) {
            *load += 1;
        }
    }
    for topic in topics {
        let subscribers = world.subscribers(topic);
        let by_load = subscribers.iter().map(|member| Reverse((loads[*member as usize], *member)));
        let mut by_load: BinaryHeap<_> = by_load.collect();
        for owner in &mut owners[world.partitions(topic)] {
            if *owner == NOBODY
                && let Some(Reverse((load, member))) = by_load.pop()
            {
                *owner = member;
                loads[member as usize] = load + 1;
                by_load.push(Reverse((load + 1, member)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Whatever the step at which it ends: all is assigned, to subscribers.
    #[test]
    fn impatience_costs_balance_and_nothing_else() {
        let mut random = Random::new(5);
        let (mut cut_short, mut whole) = (0, 0);
        for case in 0..400 {
            let topics: Vec<Topic> = (0..6)
                .map(|at| {
                    let mut topic = Topic::new(format!("t{at}"), random.below(9) as i32);
                    let rack = |_| vec![format!("r{}", random.below(3)).into()];
                    topic.racks = (0..topic.partitions).map(rack).collect();
                    topic
                })
                .collect();
            let members: Vec<Member> = (0..7)
                .map(|at| {
                    let these = topics.iter().filter(|_| random.below(2) == 0);
                    let mut member = Member::new(format!("m{at}"), these.map(|topic| topic.name.clone()));
                    member.rack = (case % 2 == 0).then(|| format!("r{}", at % 3));
                    member.owned = vec![(format!("t{}", at % 6), vec![0, 1, 2, 3])];
                    member
                })
                .collect();
            let world = World::new(&topics, &members).unwrap();
            let (_, best) = assign(&world);
            let (_, owners) = assign_within(&world, &mut Patience::of(random.below(4_000)));
            for topic in 0..world.topics.len() {
                let subscribers = world.subscribers(topic);
                for owner in &owners[world.partitions(topic)] {
                    assert!(subscribers.contains(owner) || (subscribers.is_empty() && *owner == NOBODY));
                }
            }
            if best == owners {
                whole += 1;
            } else {
                cut_short += 1;
            }
        }
        assert!(cut_short > 50 && whole > 50, "{cut_short} cut short, {whole} whole");
    }

    /// A surplus at one end of a chain of members, each of whom lacks one and shares a topic with
    /// the next: as many different costs as members. Slow, but done long before patience ends.
    #[test]
    fn a_long_chain_is_settled() {
        const LINKS: i32 = 200;
        let link = |at: i32| format!("link{at:04}");
        let own = |at: i32| format!("own{at:04}");
        let mut topics: Vec<Topic> = (0..LINKS).map(|at| Topic::new(link(at), LINKS)).collect();
        topics.extend((0..=LINKS).map(|at| {
            let all = match at {
                0 => LINKS * 2,
                LINKS => LINKS * 2 - 1,
                _ => LINKS - 1,
            };
            Topic::new(own(at), all)
        }));
        let all = || (0..LINKS * 2).collect();
        let members: Vec<Member> = (0..=LINKS)
            .map(|at| {
                let mut member = Member::new(format!("m{at:04}"), [link(at - 1), link(at), own(at)]);
                member.owned = vec![(link(at), all()), (own(at), all())];
                member
            })
            .collect();
        let world = World::new(&topics, &members).unwrap();
        let mut patience = Patience::new(0);
        let (claims, owners) = assign_within(&world, &mut patience);
        let mut loads = vec![0; members.len()];
        owners.iter().for_each(|owner| loads[*owner as usize] += 1);
        assert_eq!(loads, vec![LINKS * 2; members.len()]);
        let moves = claims.iter().zip(&owners).filter(|(claim, owner)| claim != owner).count();
        assert_eq!(moves as i32, LINKS * (LINKS + 1) / 2);
        let steps = 100_000_000 - patience.left();
        let arcs = world.sets.iter().map(Vec::len).sum::<usize>() * 2;
        println!("{steps} steps for {arcs} arcs");
        assert!(steps < 20_000_000);
    }

    /// Twice as much of everything takes about twice as many steps.
    #[test]
    fn steps_grow_with_the_input() {
        let steps = |times: usize| {
            let mut random = Random::new(9);
            let topics: Vec<Topic> =
                (0..30).map(|at| Topic::new(format!("t{at}"), 100 * times as i32)).collect();
            let mut members: Vec<Member> = (0..100 * times)
                .map(|at| {
                    let these = topics.iter().filter(|_| random.below(3) == 0);
                    Member::new(format!("m{at}"), these.map(|topic| topic.name.clone()))
                })
                .collect();
            for topic in &topics {
                for partition in 0..topic.partitions {
                    let at = random.below(members.len() as u64) as usize;
                    members[at].owned.push((topic.name.clone(), vec![partition]));
                }
            }
            let world = World::new(&topics, &members).unwrap();
            let mut patience = Patience::new(0);
            assign_within(&world, &mut patience);
            100_000_000 - patience.left()
        };
        let (one, two, four) = (steps(1), steps(2), steps(4));
        println!("{one}, {two}, {four} steps");
        assert!(four < 7 * one && two < 3 * one);
    }
}
