//! How much each member should have: the best balance there is.
//!
//! Where members subscribe to different topics, not all can have the same. The best that can be
//! is one order of loads that beats all others at every place: the highest load is as low as can
//! be, then the next highest, and so on (*decreasingly minimal*: Frank and Murota 2021; it has the
//! least sum of squares, and of differences between pairs, too).
//!
//! All assignments of that balance have one shape. Members fall into groups, each with a load
//! `high`, and each of its members has `high` or `high - 1`. A topic is read by the group with
//! the lowest load among those of its subscribers, and by no other. So each group can be settled
//! alone ([`moves`](super::moves)), and any assignment within its two loads is as good as the
//! best.
//!
//! Which members need more than `k` is seen by letting partitions flow to subscriptions with room
//! for `k` each: they are those where what is left over would get to. Splitting at one `k` after
//! another finds the groups.
//!
//! Proved, for indexing: see [`World`]. In the network of a split the group's topics come first,
//! then its subscriptions, in their order.

use super::network::{ENDLESS, Network, Patience};
use super::world::World;

/// Members that can share alike, and what they share.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Topics, ascending.
    pub(super) topics: Vec<u32>,
    /// Subscriptions, ascending: all members of each.
    pub(super) sets: Vec<u32>,
    /// Each member gets so many at least, and so many at most. They differ by 1, unless finding
    /// out took too long.
    pub(super) low: u32,
    pub(super) high: u32,
}

/// The groups, and the group of each topic and subscription (or the count of groups, if nobody
/// subscribes to it, or it is to nothing).
pub(super) struct Groups {
    pub(super) all: Vec<Group>,
    pub(super) of_topic: Vec<u32>,
    pub(super) of_set: Vec<u32>,
}

impl Groups {
    pub(super) fn new(world: &World<'_>, patience: &mut Patience) -> Self {
        let topics = (0..world.topics.len()).filter(|topic| !world.sets_with[*topic].is_empty());
        let sets = (0..world.sets.len()).filter(|set| !world.sets[*set].is_empty());
        let whole = Group {
            topics: topics.map(|topic| topic as u32).collect(),
            sets: sets.map(|set| set as u32).collect(),
            low: 0,
            high: world.partition_count() as u32,
        };
        let mut splitter = Splitter::new(world);
        let mut todo = vec![(whole, 0)];
        let mut all = Vec::new();
        while let Some((group, depth)) = todo.pop() {
            if group.sets.is_empty() {
                continue;
            }
            match splitter.split(&group, depth, patience) {
                Split::Done(group) => all.push(group),
                Split::Narrower(group) => todo.push((group, depth + 1)),
                Split::Two(upper, lower) => todo.extend([(upper, depth + 1), (lower, depth + 1)]),
            }
        }
        let none = all.len() as u32;
        let mut groups =
            Self { all, of_topic: vec![none; world.topics.len()], of_set: vec![none; world.sets.len()] };
        for (at, group) in groups.all.iter().enumerate() {
            group.topics.iter().for_each(|topic| groups.of_topic[*topic as usize] = at as u32);
            group.sets.iter().for_each(|set| groups.of_set[*set as usize] = at as u32);
        }
        groups
    }
}

enum Split {
    Done(Group),
    Narrower(Group),
    Two(Group, Group),
}

struct Splitter<'w, 'a> {
    world: &'w World<'a>,
    /// Each topic's node in the network of one split, if it is the topic's.
    nodes: Vec<u32>,
    stamps: Vec<u32>,
    splits: u32,
}

impl<'w, 'a> Splitter<'w, 'a> {
    fn new(world: &'w World<'a>) -> Self {
        let topics = world.topics.len();
        Self { world, nodes: vec![0; topics], stamps: vec![0; topics], splits: 0 }
    }

    /// Finds out which members of a group need more than some load between its two.
    fn split(&mut self, group: &Group, depth: u32, patience: &mut Patience) -> Split {
        let world = self.world;
        let size = |set: &u32| world.members_of[*set as usize].len() as u64;
        let members: u64 = group.sets.iter().map(size).sum::<u64>().max(1);
        let partitions: u64 =
            group.topics.iter().map(|topic| world.partitions(*topic as usize).len() as u64).sum();
        let average = partitions.div_ceil(members) as u32;
        if let [_] = group.sets.as_slice() {
            let low = (partitions / members) as u32;
            return Split::Done(Group { low, high: average, ..group.clone() });
        }
        if group.high - group.low <= 1 {
            return Split::Done(group.clone());
        }
        // The average mostly ends it at once; the middle ends it always.
        let wanted = if depth.is_multiple_of(2) { average } else { group.low + (group.high - group.low) / 2 };
        let level = wanted.clamp(group.low + 1, group.high - 1);

        self.splits += 1;
        let mut network = Network::new(group.topics.len() + group.sets.len());
        for (node, topic) in group.topics.iter().enumerate() {
            let topic = *topic as usize;
            (self.nodes[topic], self.stamps[topic]) = (node as u32, self.splits);
            network.supply(node, world.partitions(topic).len() as u32);
        }
        for (at, set) in group.sets.iter().enumerate() {
            let node = group.topics.len() + at;
            network.widen(node, (size(set) * u64::from(level)).min(partitions) as u32);
            for topic in &world.sets[*set as usize] {
                if self.stamps[*topic as usize] == self.splits {
                    network.add(self.nodes[*topic as usize] as usize, node, ENDLESS, 0);
                }
            }
        }
        if !network.run(patience) {
            return Split::Done(group.clone());
        }
        let sets_at = group.topics.len();
        let part = |is_upper: bool, low, high| {
            let of = |all: &[u32], first: usize| {
                let all = all.iter().enumerate();
                let these = all.filter(|(at, _)| network.reached(first + at) == is_upper);
                these.map(|(_, number)| *number).collect::<Vec<u32>>()
            };
            Group { topics: of(&group.topics, 0), sets: of(&group.sets, sets_at), low, high }
        };
        let (upper, lower) = (part(true, level, group.high), part(false, group.low, level));
        match (upper.sets.is_empty(), lower.sets.is_empty()) {
            (true, _) => Split::Narrower(lower),
            (_, true) => Split::Narrower(upper),
            _ => Split::Two(upper, lower),
        }
    }
}
