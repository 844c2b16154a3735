//! Who keeps what, and who gets the rest: the fewest moves within the best balance.
//!
//! In a group whose members share alike ([`levels`](super::levels)) this is a flow from
//! partitions to members at least cost. Partitions of one topic (and, where racks matter, on the
//! same racks) are alike but for their owners, and so are members with one subscription (and
//! rack), so the network has nodes for kinds of partitions, for kinds of members, and members:
//!
//! ```text
//!                 kept by its owner: free, as many as it owned
//!              ┌──────────────────────────────────────────────┐
//! kind of      │                                              ▼
//! partition ───┴─► kind of member: a move ──────────────────► member ─► room: high
//!                  (on another rack: a miss, worse than
//!                   any number of moves)
//! ```
//!
//! Proved, for indexing here, beside what the world proves: kinds and hubs are numbered as they are
//! pushed to their lists, and members of the group by their place in it; in the network the three
//! follow each other in this order.
//!
//! Members are filled up to `low` first, then to `high`. As in Apache Kafka's own, being near
//! comes before staying: an owner on another rack loses to one that is near, if balance lets it.

use std::collections::BTreeMap;

use super::levels::Group;
use super::network::{ENDLESS, Network, Patience};
use super::racks::{ANY, Racks};
use super::share::NOBODY;
use super::world::World;

/// A partition that changes its owner.
const MOVE: i64 = 1;
/// A partition whose owner is on another rack: more than all moves together.
const MISS: i64 = 1 << 32;

/// What each member owns and may keep, as far as its group reads it.
pub(super) struct Kept {
    /// The partitions of member `m` are `partitions[first[m]..first[m + 1]]`, ascending.
    partitions: Vec<u32>,
    first: Vec<usize>,
}

impl Kept {
    /// From the partition's keeper, or [`NOBODY`].
    pub(super) fn new(keepers: &[u32], members: usize) -> Self {
        let mut first = vec![0; members + 1];
        for keeper in keepers.iter().filter(|keeper| **keeper != NOBODY) {
            first[*keeper as usize + 1] += 1;
        }
        for member in 0..members {
            first[member + 1] += first[member];
        }
        let mut next = first.clone();
        let mut partitions = vec![0; first[members]];
        for (partition, keeper) in keepers.iter().enumerate() {
            if *keeper != NOBODY {
                let at = &mut next[*keeper as usize];
                partitions[*at] = partition as u32;
                *at += 1;
            }
        }
        Self { partitions, first }
    }

    fn of(&self, member: u32) -> &[u32] {
        &self.partitions[self.first[member as usize]..self.first[member as usize + 1]]
    }
}

/// What settling groups needs, and room to work in.
pub(super) struct Mover<'w, 'a> {
    world: &'w World<'a>,
    /// `None` where racks make no difference.
    racks: Option<&'w Racks>,
    kept: &'w Kept,
    /// The group of each topic.
    of_topic: &'w [u32],
    patience: &'w mut Patience,
    /// The kind of each partition, within the group that was settled last.
    kind_of: Vec<u32>,
}

impl<'w, 'a> Mover<'w, 'a> {
    pub(super) fn new(
        world: &'w World<'a>,
        racks: Option<&'w Racks>,
        kept: &'w Kept,
        of_topic: &'w [u32],
        patience: &'w mut Patience,
    ) -> Self {
        Self { world, racks, kept, of_topic, patience, kind_of: Vec::new() }
    }

    /// Gives all partitions of one group's topics their owners, which are [`NOBODY`] before.
    /// `number` is the group's. Some may stay so if there were too many steps.
    pub(super) fn settle(&mut self, number: u32, group: &Group, owners: &mut [u32]) {
        match (group.sets.as_slice(), self.racks) {
            ([set], None) => self.share_alike(*set, group, owners),
            _ => self.flow(number, group, owners),
        }
    }

    /// All members subscribe to the same, and racks make no difference: no search is needed.
    fn share_alike(&self, set: u32, group: &Group, owners: &mut [u32]) {
        let members = &self.world.members_of[set as usize];
        let partitions: usize =
            group.topics.iter().map(|topic| self.world.partitions(*topic as usize).len()).sum();
        // So many get one more than `low`: who owns more, before others.
        let mut more = partitions - group.low as usize * members.len();
        let mut targets = vec![group.low as usize; members.len()];
        for owns_more in [true, false] {
            for (target, member) in targets.iter_mut().zip(members) {
                if more > 0 && (self.kept.of(*member).len() > group.low as usize) == owns_more {
                    *target += 1;
                    more -= 1;
                }
            }
        }
        let mut wanting = Vec::new();
        for (member, target) in members.iter().zip(targets) {
            let kept = self.kept.of(*member);
            if kept.len() > target {
                for partition in self.spread(kept).into_iter().take(target) {
                    owners[partition as usize] = *member;
                }
            } else {
                kept.iter().for_each(|partition| owners[*partition as usize] = *member);
                wanting.push((*member, target - kept.len()));
            }
        }
        let all = group.topics.iter().flat_map(|topic| self.world.partitions(*topic as usize));
        let free: Vec<usize> = all.filter(|partition| owners[*partition] == NOBODY).collect();
        deal(&free, wanting, owners);
    }

    /// Partitions in the order of their numbers within their topics, so that whoever keeps the
    /// first of them keeps some of each topic.
    fn spread(&self, partitions: &[u32]) -> Vec<u32> {
        let mut topic = 0;
        let mut keyed: Vec<(usize, u32)> = Vec::with_capacity(partitions.len());
        for partition in partitions {
            while self.world.partitions(topic).end <= *partition as usize {
                topic += 1;
            }
            keyed.push((*partition as usize - self.world.partitions(topic).start, *partition));
        }
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, partition)| partition).collect()
    }

    fn flow(&mut self, number: u32, group: &Group, owners: &mut [u32]) {
        self.kind_of.resize(owners.len(), NOBODY);
        let kinds = Kinds::new(self.world, self.racks, group, &mut self.kind_of);
        let hubs = Hubs::new(self.world, self.racks, group);
        let members: Vec<u32> =
            group.sets.iter().flat_map(|set| &self.world.members_of[*set as usize]).copied().collect();
        let members_at = kinds.all.len() + hubs.members.len();
        let mut network = Network::new(members_at + members.len());
        for (kind, (count, _)) in kinds.all.iter().enumerate() {
            network.supply(kind, *count);
        }

        // What may be kept: (kind, how many, the arc), by member.
        let mut keeps: Vec<(u32, u32, usize)> = Vec::new();
        let mut keeps_of = Vec::with_capacity(members.len());
        let mut place = BTreeMap::new();
        for (at, member) in members.iter().enumerate() {
            place.insert(*member, at);
            let first = keeps.len();
            let mut owned: Vec<u32> =
                self.kept.of(*member).iter().map(|partition| kinds.of(*partition as usize)).collect();
            owned.sort_unstable();
            for same in owned.chunk_by(|one, other| one == other) {
                // Proved: chunks are not empty.
                let kind = same[0];
                let near = self.racks.is_none_or(|racks| racks.near(kinds.sample(kind), *member));
                let cost = if near { 0 } else { MISS };
                let arc = network.add(kind as usize, members_at + at, same.len() as u32, cost);
                keeps.push((kind, same.len() as u32, arc));
            }
            keeps_of.push(first..keeps.len());
        }

        // What may be given, and to whom.
        let mut gives: Vec<Vec<(usize, usize)>> = vec![Vec::new(); kinds.all.len()];
        for set in &group.sets {
            for topic in &self.world.sets[*set as usize] {
                if self.of_topic[*topic as usize] != number {
                    continue;
                }
                for kind in kinds.of_topic(*topic) {
                    hubs.each(*set, self.racks, kinds.sample(kind as u32), |hub, cost| {
                        let arc = network.add(kind, kinds.all.len() + hub, ENDLESS, cost);
                        gives[kind].push((hub, arc));
                    });
                }
            }
        }
        let mut takes: Vec<Vec<(u32, usize)>> = vec![Vec::new(); hubs.members.len()];
        for (hub, of_hub) in hubs.members.iter().enumerate() {
            for member in of_hub {
                let Some(at) = place.get(member) else { continue };
                let arc = network.add(kinds.all.len() + hub, members_at + at, ENDLESS, 0);
                takes[hub].push((*member, arc));
            }
        }

        for room in [group.low, group.high - group.low] {
            (0..members.len()).for_each(|at| network.widen(members_at + at, room));
            network.run(self.patience);
        }

        for (member, keeps_of) in members.iter().zip(keeps_of) {
            let mut left: Vec<(u32, u32)> =
                keeps[keeps_of].iter().map(|(kind, _, arc)| (*kind, network.flow(*arc))).collect();
            for partition in self.kept.of(*member) {
                let kind = kinds.of(*partition as usize);
                if let Ok(at) = left.binary_search_by_key(&kind, |(kind, _)| *kind)
                    && left[at].1 > 0
                {
                    left[at].1 -= 1;
                    owners[*partition as usize] = *member;
                }
            }
        }
        let mut pools: Vec<Vec<usize>> = vec![Vec::new(); hubs.members.len()];
        let mut given: Vec<_> = gives
            .into_iter()
            .map(|arcs| {
                let flows = arcs.into_iter().map(|(hub, arc)| (hub, network.flow(arc)));
                flows.filter(|(_, flow)| *flow > 0).collect::<Vec<_>>()
            })
            .collect();
        for topic in &group.topics {
            for partition in self.world.partitions(*topic as usize) {
                if owners[partition] == NOBODY
                    && let Some((hub, left)) = given[kinds.of(partition) as usize].last_mut()
                {
                    pools[*hub].push(partition);
                    *left -= 1;
                    if *left == 0 {
                        given[kinds.of(partition) as usize].pop();
                    }
                }
            }
        }
        for (pool, takes) in pools.iter().zip(takes) {
            let wanting = takes.into_iter().map(|(member, arc)| (member, network.flow(arc) as usize));
            deal(pool, wanting.collect(), owners);
        }
    }
}

/// Gives the partitions to the members in turn, as many to each as it wants.
fn deal(partitions: &[usize], mut wanting: Vec<(u32, usize)>, owners: &mut [u32]) {
    let mut partitions = partitions.iter();
    loop {
        wanting.retain(|(_, wants)| *wants > 0);
        if wanting.is_empty() {
            return;
        }
        for (member, wants) in &mut wanting {
            let Some(partition) = partitions.next() else { return };
            owners[*partition] = *member;
            *wants -= 1;
        }
    }
}

/// Kinds of partitions: one a topic, or one for each set of racks in a topic.
struct Kinds<'k> {
    /// How many partitions, and one of them.
    all: Vec<(u32, usize)>,
    /// Each partition's, where the group reads it.
    of: &'k [u32],
    /// Each topic's kinds.
    topics: BTreeMap<u32, std::ops::Range<usize>>,
}

impl<'k> Kinds<'k> {
    fn new(world: &World<'_>, racks: Option<&Racks>, group: &Group, of: &'k mut [u32]) -> Self {
        let mut all: Vec<(u32, usize)> = Vec::new();
        let mut topics = BTreeMap::new();
        for topic in &group.topics {
            let first = all.len();
            let mut known: BTreeMap<u32, u32> = BTreeMap::new();
            for partition in world.partitions(*topic as usize) {
                let racks = racks.map_or(0, |racks| racks.set_of(partition));
                let kind = *known.entry(racks).or_insert_with(|| {
                    all.push((0, partition));
                    all.len() as u32 - 1
                });
                all[kind as usize].0 += 1;
                of[partition] = kind;
            }
            topics.insert(*topic, first..all.len());
        }
        Self { all, of, topics }
    }

    fn of(&self, partition: usize) -> u32 {
        self.of[partition]
    }

    fn of_topic(&self, topic: u32) -> std::ops::Range<usize> {
        self.topics.get(&topic).cloned().unwrap_or_default()
    }

    fn sample(&self, kind: u32) -> usize {
        self.all[kind as usize].1
    }
}

/// Kinds of members: one a subscription. Where racks matter: one for each rack, one for members
/// that have none, and one for all that have any, for what is on none of their racks.
struct Hubs {
    members: Vec<Vec<u32>>,
    /// By subscription and rack.
    near: BTreeMap<(u32, u32), usize>,
    far: BTreeMap<u32, usize>,
}

impl Hubs {
    fn new(world: &World<'_>, racks: Option<&Racks>, group: &Group) -> Self {
        let mut hubs = Self { members: Vec::new(), near: BTreeMap::new(), far: BTreeMap::new() };
        for set in &group.sets {
            let mut far = Vec::new();
            for member in &world.members_of[*set as usize] {
                let rack = racks.map_or(ANY, |racks| racks.of_member(*member));
                let hub = *hubs.near.entry((*set, rack)).or_insert_with(|| {
                    hubs.members.push(Vec::new());
                    hubs.members.len() - 1
                });
                hubs.members[hub].push(*member);
                if rack != ANY {
                    far.push(*member);
                }
            }
            if !far.is_empty() {
                hubs.far.insert(*set, hubs.members.len());
                hubs.members.push(far);
            }
        }
        hubs
    }

    /// Where a partition may go within a subscription, and what it costs.
    fn each(&self, set: u32, racks: Option<&Racks>, partition: usize, mut each: impl FnMut(usize, i64)) {
        let on = racks.map_or(&[][..], |racks| racks.of_partition(partition));
        for rack in on.iter().chain(&[ANY]) {
            if let Some(hub) = self.near.get(&(set, *rack)) {
                each(*hub, MOVE);
            }
        }
        if let Some(hub) = self.far.get(&set) {
            each(*hub, MISS + MOVE);
        }
    }
}
