//! Racks as numbers (KIP-881).
//!
//! Proved, for indexing: see [`World`]. Racks and sets of racks are numbered as they are first seen.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::world::World;

/// The rack of a member that has none: every partition is near.
pub(super) const ANY: u32 = u32::MAX;

/// Where members and partitions are.
pub(super) struct Racks {
    count: usize,
    /// Each member's rack, or [`ANY`].
    members: Vec<u32>,
    /// The different sets of racks that replicas are on, each ascending.
    sets: Vec<Vec<u32>>,
    /// Each partition's.
    partitions: Vec<u32>,
}

impl Racks {
    /// `None` if no member has a rack.
    pub(super) fn new<'a>(world: &World<'a>) -> Option<Self> {
        let mut names: BTreeMap<&'a str, u32> = BTreeMap::new();
        let mut number = |name: &'a str| {
            let next = names.len() as u32;
            *names.entry(name).or_insert(next)
        };
        let each = world.members.iter().map(|member| member.rack.as_deref().filter(|rack| !rack.is_empty()));
        let members: Vec<u32> = each.map(|rack| rack.map_or(ANY, &mut number)).collect();
        if members.iter().all(|rack| *rack == ANY) {
            return None;
        }
        let mut sets: Vec<Vec<u32>> = Vec::new();
        let mut known: BTreeMap<Vec<u32>, u32> = BTreeMap::new();
        let mut partitions = Vec::with_capacity(world.partition_count());
        let mut racks: Vec<u32> = Vec::new();
        for (topic, view) in world.topics.iter().enumerate() {
            for at in 0..world.partitions(topic).len() {
                let named = view.racks.get(at).map_or(&[][..], Vec::as_slice);
                racks.clear();
                racks.extend(named.iter().map(|name| number(name)));
                racks.sort_unstable();
                racks.dedup();
                let set = match known.get(&racks) {
                    Some(set) => *set,
                    None => {
                        let set = sets.len() as u32;
                        sets.push(racks.clone());
                        known.insert(racks.clone(), set);
                        set
                    }
                };
                partitions.push(set);
            }
        }
        Some(Self { count: names.len(), members, sets, partitions })
    }

    /// A member's rack, or [`ANY`]. `member` is a place in the world's members.
    pub(super) fn of_member(&self, member: u32) -> u32 {
        self.members[member as usize]
    }

    /// Whether any of these members has a rack.
    pub(super) fn any_of(&self, members: &[u32]) -> bool {
        members.iter().any(|member| self.of_member(*member) != ANY)
    }

    /// The racks that a partition's replicas are on, ascending. `partition` is one of the world's.
    pub(super) fn of_partition(&self, partition: usize) -> &[u32] {
        &self.sets[self.set_of(partition) as usize]
    }

    /// The same as a number: equal for partitions on equal racks.
    pub(super) fn set_of(&self, partition: usize) -> u32 {
        self.partitions[partition]
    }

    /// Whether a partition is near a member.
    pub(super) fn near(&self, partition: usize, member: u32) -> bool {
        let rack = self.of_member(member);
        rack == ANY || self.of_partition(partition).binary_search(&rack).is_ok()
    }

    /// Whether looking at racks makes any difference: some partition is on some member's rack,
    /// and not all are on all racks.
    pub(super) fn matter<'m>(
        &self,
        partitions: impl IntoIterator<Item = Range<usize>>,
        members: impl IntoIterator<Item = &'m u32>,
    ) -> bool {
        let mut sets = BTreeSet::new();
        for range in partitions {
            let mut last = None;
            for set in &self.partitions[range] {
                if last != Some(set) {
                    sets.insert(*set);
                    last = Some(set);
                }
            }
        }
        // One set: all partitions are on all the racks that there are.
        if sets.len() <= 1 {
            return false;
        }
        let mut ours = vec![false; self.count];
        for member in members {
            if let Some(is) = ours.get_mut(self.of_member(*member) as usize) {
                *is = true;
            }
        }
        let mut racks = sets.iter().flat_map(|set| &self.sets[*set as usize]);
        racks.any(|rack| ours[*rack as usize])
    }
}
