//! Range and round robin as Apache Kafka's documentation tells them: the javadoc of `RangeAssignor`
//! and `RoundRobinAssignor`, and KIP-881 for racks. Slow and short.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::assign::Member;

use super::world::{Partition, World};

/// Each partition's member.
pub type Given<'a> = BTreeMap<Partition<'a>, &'a str>;

impl<'a> World<'a> {
    /// Who subscribes to a topic, in lexicographic order: static members by their instance ids, and
    /// before the others.
    fn subscribers(&self, topic: &str) -> Vec<&'a Member> {
        let mut all: Vec<&Member> =
            self.members.iter().filter(|member| member.topics.iter().any(|name| name == topic)).collect();
        all.sort_by_key(|member| (member.instance.is_none(), member.instance.clone(), member.id.clone()));
        all
    }

    fn all(&self) -> Vec<Partition<'a>> {
        let mut all = self.partitions();
        all.sort_unstable();
        all
    }
}

/// "Lays out all the available partitions and all the available consumers, then proceeds to do a
/// round robin assignment from partition to consumer", and "skips over each consumer that is not
/// subscribed to the topic".
pub fn round_robin<'a>(world: &World<'a>) -> Given<'a> {
    let mut members: Vec<&Member> = world.members.iter().collect();
    members.sort_by_key(|member| (member.instance.is_none(), member.instance.clone(), member.id.clone()));
    let mut circle = members.into_iter().cycle();
    let mut given = Given::new();
    for partition in world.all() {
        let subscribed = |member: &&Member| member.topics.iter().any(|topic| topic == partition.0);
        let taker = circle.find(subscribed).expect("somebody subscribes to it");
        given.insert(partition, taker.id.as_str());
    }
    given
}

/// "For each topic, we lay out the available partitions in numeric order and the consumers in
/// lexicographic order. We then divide the number of partitions by the total number of consumers. If
/// it does not evenly divide, then the first few consumers will have one extra partition."
pub fn range<'a>(world: &World<'a>) -> Given<'a> {
    if world.topics.iter().any(|topic| racks_count(world, &topic.name)) {
        return with_racks(world);
    }
    let mut given = Given::new();
    for topic in world.topics {
        let subscribers = world.subscribers(&topic.name);
        let (count, consumers) = (topic.partitions.max(0) as usize, subscribers.len().max(1));
        for (at, member) in subscribers.iter().enumerate() {
            let start = |at: usize| at * (count / consumers) + at.min(count % consumers);
            for partition in start(at)..start(at + 1) {
                given.insert((topic.name.as_str(), partition as i32), member.id.as_str());
            }
        }
    }
    given
}

/// KIP-881: "if both consumer and partition racks are available and some partitions have replicas
/// only on a subset of racks", for the subscribers of this topic.
fn racks_count(world: &World<'_>, topic: &str) -> bool {
    let partitions = world.all().into_iter().filter(|partition| partition.0 == topic);
    let sets: BTreeSet<BTreeSet<&str>> = partitions.map(|partition| world.racks(partition)).collect();
    let union: BTreeSet<&str> = sets.iter().flatten().copied().collect();
    let near = |member: &&Member| world.rack(member).is_some_and(|rack| union.contains(rack));
    world.subscribers(topic).iter().any(near) && sets.iter().any(|set| *set != union)
}

/// What a topic's members may still take.
struct Quota {
    each: usize,
    /// Members that may take one more.
    extras: usize,
    taken: BTreeMap<String, usize>,
}

impl Quota {
    fn left(&self, member: &str) -> usize {
        let most = self.each + usize::from(self.extras > 0);
        most.saturating_sub(self.taken.get(member).copied().unwrap_or(0))
    }

    fn take(&mut self, member: &str) {
        let taken = self.taken.entry(member.to_owned()).or_default();
        *taken += 1;
        self.extras -= usize::from(*taken > self.each);
    }
}

/// First what is on a member's rack, then the rest; topics "with equal partition count and same set
/// of subscribers" together, "prioritizing co-partitioning over rack alignment".
fn with_racks<'a>(world: &World<'a>) -> Given<'a> {
    let mut given = Given::new();
    let mut quotas: BTreeMap<&str, Quota> = BTreeMap::new();
    let mut together: BTreeMap<(Vec<&str>, i32), Vec<&str>> = BTreeMap::new();
    let topics = world.topics.iter().filter(|topic| topic.partitions > 0);
    for topic in topics {
        let subscribers = world.subscribers(&topic.name);
        if subscribers.is_empty() {
            continue;
        }
        let (count, consumers) = (topic.partitions as usize, subscribers.len());
        let (each, extras) = (count / consumers, count % consumers);
        quotas.insert(&topic.name, Quota { each, extras, taken: BTreeMap::new() });
        let ids = subscribers.iter().map(|member| member.id.as_str()).collect();
        together.entry((ids, topic.partitions)).or_default().push(&topic.name);
    }
    for ((ids, count), topics) in together {
        if let [topic] = topics[..] {
            let quota = quotas.get_mut(topic).expect("it has one");
            let near = |member: &str, index| world.near(member, (topic, index));
            if racks_count(world, topic) {
                deal(quota, topic, count, &ids, near, &mut given);
            }
            continue;
        }
        for index in 0..count {
            let fits = |member: &&&str| {
                topics
                    .iter()
                    .all(|topic| world.near(member, (topic, index)) && quotas[topic].left(member) > 0)
            };
            if let Some(member) = ids.iter().find(fits) {
                for topic in &topics {
                    given.insert((*topic, index), *member);
                    quotas.get_mut(topic).expect("it has one").take(member);
                }
            }
        }
    }
    for (topic, quota) in &mut quotas {
        let subscribers = world.subscribers(topic);
        let ids: Vec<&str> = subscribers.iter().map(|member| member.id.as_str()).collect();
        let count = world.all().iter().filter(|partition| partition.0 == *topic).count() as i32;
        deal(quota, topic, count, &ids, |_, _| true, &mut given);
    }
    given
}

/// Each member in turn takes, in numeric order, what is left and fits, as far as its quota goes.
fn deal<'a>(
    quota: &mut Quota,
    topic: &'a str,
    count: i32,
    ids: &[&'a str],
    fits: impl Fn(&str, i32) -> bool,
    given: &mut Given<'a>,
) {
    for member in ids {
        let most = quota.left(member);
        let free = (0..count).filter(|index| !given.contains_key(&(topic, *index)) && fits(member, *index));
        for index in free.take(most).collect::<Vec<_>>() {
            given.insert((topic, index), *member);
            quota.take(member);
        }
    }
}
