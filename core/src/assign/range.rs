//! Range: topic by topic, runs of neighbours.
//!
//! A topic of `p` partitions and `n` subscribers gives each `p / n`, and one more to the first
//! `p % n` that can take it. Where racks are in play (KIP-881) there is a round before, in which
//! members take only what has a replica on their rack, within the same quota; what is left is
//! dealt without looking at racks.
//!
//! Topics with the same subscribers and the same number of partitions are *co-partitioned*:
//! partition 0 of all of them goes to one member, and so on. They keep that in the first round
//! too: all their partitions of one number are taken together or not at all.
//!
//! Proved, for indexing: see [`World`]; a quota's places are those of its subscribers.

use std::collections::BTreeMap;

use super::racks::{ANY, Racks};
use super::share::{NOBODY, collect};
use super::world::World;
use super::{AssignError, Assignor, Member, MemberAssignment, Topic};

/// Topic by topic, runs of neighbours; topics of one size side by side; racks (KIP-881). As
/// Apache Kafka's `RangeAssignor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range;

impl Range {
    /// Its name.
    pub const NAME: &'static str = "range";
}

impl Assignor for Range {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn assign<'a>(
        &self,
        topics: &'a [Topic],
        members: &'a [Member],
    ) -> Result<Vec<MemberAssignment<'a>>, AssignError> {
        let world = World::new(topics, members)?;
        let mut owners = vec![NOBODY; world.partition_count()];
        let racks = Racks::new(&world);
        let in_play = racks.as_ref().filter(|racks| {
            (0..world.topics.len()).any(|topic| matter(racks, &world, topic, &world.subscribers(topic)))
        });
        match in_play {
            Some(racks) => with_racks(&world, racks, &mut owners),
            None => {
                for topic in 0..world.topics.len() {
                    let subscribers = world.subscribers(topic);
                    let partitions = &mut owners[world.partitions(topic)];
                    Quota::new(&subscribers, partitions.len()).fill(partitions);
                }
            }
        }
        Ok(collect(&world, &owners))
    }
}

fn matter(racks: &Racks, world: &World<'_>, topic: usize, subscribers: &[u32]) -> bool {
    racks.matter([world.partitions(topic)], subscribers)
}

/// Topics in groups that are alike: one set of subscribers, one number of partitions.
fn with_racks(world: &World<'_>, racks: &Racks, owners: &mut [u32]) {
    let mut alike: BTreeMap<(&[u32], usize), Vec<usize>> = BTreeMap::new();
    for topic in 0..world.topics.len() {
        let key = (world.sets_with[topic].as_slice(), world.partitions(topic).len());
        alike.entry(key).or_default().push(topic);
    }
    for ((_, partitions), topics) in alike {
        // Proved: an entry is made with its first topic.
        let subscribers = world.subscribers(topics[0]);
        let mut quota = Quota::new(&subscribers, partitions);
        let together = topics.len() > 1 && racks.any_of(&subscribers);
        if together {
            match_together(world, racks, &mut quota, &topics, owners);
        } else if matter(racks, world, topics[0], &subscribers) {
            match_alone(world, racks, &mut quota, topics[0], owners);
        }
        // All of them are in the same state: whatever one got, the others got.
        for topic in topics {
            quota.clone().fill(&mut owners[world.partitions(topic)]);
        }
    }
}

/// The first round for one topic: each member in turn takes the first partitions on its rack.
fn match_alone(world: &World<'_>, racks: &Racks, quota: &mut Quota<'_>, topic: usize, owners: &mut [u32]) {
    let range = world.partitions(topic);
    // The partitions on each rack. What lies before the place where a rack's last member
    // stopped is taken, so each list is walked once.
    let mut on_rack: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for partition in range.clone() {
        for rack in racks.of_partition(partition) {
            on_rack.entry(*rack).or_default().push(partition);
        }
    }
    on_rack.insert(ANY, range.collect());
    let mut left: BTreeMap<u32, std::vec::IntoIter<usize>> =
        on_rack.into_iter().map(|(rack, partitions)| (rack, partitions.into_iter())).collect();
    for at in 0..quota.members.len() {
        let member = quota.members[at];
        let Some(partitions) = left.get_mut(&racks.of_member(member)) else { continue };
        let free = quota.free(at);
        let mut taken = 0;
        while taken < free {
            let Some(partition) = partitions.next() else { break };
            if owners[partition] == NOBODY {
                owners[partition] = member;
                taken += 1;
            }
        }
        quota.take(at, taken);
    }
}

/// The first round for topics that are co-partitioned: the first member with room whose rack has
/// a replica of that partition of all of them.
fn match_together(
    world: &World<'_>,
    racks: &Racks,
    quota: &mut Quota<'_>,
    topics: &[usize],
    owners: &mut [u32],
) {
    // Members with room on each rack, in order. A member without any now has none later.
    let mut on_rack: BTreeMap<u32, std::collections::VecDeque<usize>> = BTreeMap::new();
    for (at, member) in quota.members.iter().enumerate() {
        on_rack.entry(racks.of_member(*member)).or_default().push_back(at);
    }
    for number in 0..quota.partitions {
        let mut of_each = topics.iter().map(|topic| {
            // Proved: co-partitioned topics have that many partitions each.
            racks.of_partition(world.partitions(*topic).start + number)
        });
        let mut common: Vec<u32> = of_each.next().unwrap_or_default().to_vec();
        for other in of_each {
            if common.is_empty() {
                break;
            }
            common.retain(|rack| other.binary_search(rack).is_ok());
        }
        let mut first: Option<usize> = None;
        for rack in common.iter().chain(&[ANY]) {
            let Some(waiting) = on_rack.get_mut(rack) else { continue };
            while waiting.front().is_some_and(|at| quota.free(*at) == 0) {
                waiting.pop_front();
            }
            first = [first, waiting.front().copied()].into_iter().flatten().min();
        }
        let Some(at) = first else { continue };
        for topic in topics {
            owners[world.partitions(*topic).start + number] = quota.members[at];
        }
        quota.take(at, 1);
    }
}

/// How much of one topic each subscriber may take.
#[derive(Clone)]
struct Quota<'s> {
    members: &'s [u32],
    partitions: usize,
    each: usize,
    /// How many may still have one more than `each`.
    more: usize,
    taken: Vec<usize>,
}

impl<'s> Quota<'s> {
    fn new(members: &'s [u32], partitions: usize) -> Self {
        let n = members.len().max(1);
        Self {
            members,
            partitions,
            each: partitions / n,
            more: partitions % n,
            taken: vec![0; members.len()],
        }
    }

    /// How many more the member at this place may take. `at` is a place in `members`.
    fn free(&self, at: usize) -> usize {
        (self.each + usize::from(self.more > 0)).saturating_sub(self.taken[at])
    }

    /// It took so many of what [`Quota::free`] said.
    fn take(&mut self, at: usize, count: usize) {
        if count > 0 {
            self.taken[at] += count;
            self.more = self.more.saturating_sub(usize::from(self.taken[at] > self.each));
        }
    }

    /// The round without racks: each in turn takes the first that are free.
    fn fill(mut self, owners: &mut [u32]) {
        let mut free = owners.iter_mut().filter(|owner| **owner == NOBODY);
        for (at, member) in self.members.iter().enumerate() {
            let room = self.free(at);
            let mut taken = 0;
            for owner in free.by_ref().take(room) {
                *owner = *member;
                taken += 1;
            }
            if taken < room {
                break;
            }
            self.take(at, taken);
        }
    }
}
