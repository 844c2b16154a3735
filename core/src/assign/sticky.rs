//! Sticky: balanced, near, and then as few moves as can be.
//!
//! Who owned a partition is whoever claims it in the highest generation. Claimed twice in that
//! generation, nobody's claim counts, as one of them must be wrong and none can be trusted to
//! have let go.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::levels::Groups;
use super::moves::{Kept, Mover};
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
        for (owner, claim) in owners.iter_mut().zip(claims) {
            if claim != NOBODY && claim != *owner {
                *owner = NOBODY;
            }
        }
        Ok(collect(&world, &owners))
    }
}

/// Claimed by several in the same generation.
const DISPUTED: u32 = NOBODY - 1;

/// Who claims each partition: a member's place, [`DISPUTED`] or [`NOBODY`]; and who shall own it.
fn assign(world: &World<'_>) -> (Vec<u32>, Vec<u32>) {
    let claims = claims(world);
    let groups = Groups::new(world);
    let racks = Racks::new(world).filter(|racks| {
        let subscribed = (0..world.topics.len()).filter(|topic| !world.sets_with[*topic].is_empty());
        let members: Vec<u32> = (0..world.members.len() as u32).collect();
        racks.matter(subscribed.map(|topic| world.partitions(topic)), &members)
    });
    let kept = Kept::new(&keepers(world, &groups, &claims), world.members.len());
    let mut owners = vec![NOBODY; world.partition_count()];
    let mut mover = Mover::new(world, racks.as_ref(), &kept, &groups.of_topic);
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
