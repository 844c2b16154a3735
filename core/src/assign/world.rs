//! Topics and members in canonical order, names as numbers.
//!
//! Partitions are numbered through: topic by topic in the order of their names.
//!
//! Proved, for indexing here and in the assignors: places of topics, members and subscriptions and
//! the numbers of partitions are given out by [`World::new`] alone, and an array by one of them is
//! made with the length that the world has of it.

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use super::{AssignError, Member, PARTITIONS_MAX, Topic};

/// What there is, sorted. Members and topics are spoken of by their places here.
pub(super) struct World<'a> {
    /// Those that have partitions, by name.
    pub(super) topics: Vec<TopicView<'a>>,
    /// Each id once: those with an instance id first, by that; then by member id.
    pub(super) members: Vec<&'a Member>,
    /// The different subscriptions: topics that exist, ascending, each once. May be empty.
    pub(super) sets: Vec<Vec<u32>>,
    /// Each member's subscription.
    pub(super) set_of: Vec<u32>,
    /// The members of each subscription, ascending.
    pub(super) members_of: Vec<Vec<u32>>,
    /// The subscriptions that each topic is in, ascending.
    pub(super) sets_with: Vec<Vec<u32>>,
}

pub(super) struct TopicView<'a> {
    pub(super) name: &'a str,
    pub(super) racks: &'a [Vec<std::sync::Arc<str>>],
    /// The number of its first partition, and one past that of its last.
    start: u32,
    end: u32,
}

impl<'a> World<'a> {
    pub(super) fn new(topics: &'a [Topic], members: &'a [Member]) -> Result<Self, AssignError> {
        let topics = sorted_topics(topics)?;
        let members = sorted_members(members);
        let mut sets = Vec::new();
        let mut set_of = Vec::with_capacity(members.len());
        // Members mostly subscribe to the same list: each different one is looked up once.
        let mut lists: BTreeMap<&[String], u32> = BTreeMap::new();
        let mut known: BTreeMap<Vec<u32>, u32> = BTreeMap::new();
        for member in &members {
            let set = *lists.entry(&member.topics).or_insert_with(|| {
                let mut finder = Finder::new(&topics);
                let mut set: Vec<u32> = member.topics.iter().filter_map(|name| finder.find(name)).collect();
                set.sort_unstable();
                set.dedup();
                *known.entry(set).or_insert_with_key(|set| {
                    sets.push(set.clone());
                    sets.len() as u32 - 1
                })
            });
            set_of.push(set);
        }
        let mut members_of = vec![Vec::new(); sets.len()];
        for (member, set) in set_of.iter().enumerate() {
            members_of[*set as usize].push(member as u32);
        }
        let mut sets_with = vec![Vec::new(); topics.len()];
        for (set, topics) in sets.iter().enumerate() {
            for topic in topics {
                sets_with[*topic as usize].push(set as u32);
            }
        }
        Ok(Self { topics, members, sets, set_of, members_of, sets_with })
    }

    /// How many partitions all topics have.
    pub(super) fn partition_count(&self) -> usize {
        self.topics.last().map_or(0, |topic| topic.end as usize)
    }

    /// The numbers of a topic's partitions. `topic` is a place in `topics`.
    pub(super) fn partitions(&self, topic: usize) -> std::ops::Range<usize> {
        let view = &self.topics[topic];
        view.start as usize..view.end as usize
    }

    /// Those who subscribe to a topic, ascending. `topic` is a place in `topics`.
    pub(super) fn subscribers(&self, topic: usize) -> Cow<'_, [u32]> {
        match self.sets_with[topic].as_slice() {
            [] => Cow::Borrowed(&[]),
            [set] => Cow::Borrowed(&self.members_of[*set as usize]),
            sets => {
                let each = sets.iter().flat_map(|set| &self.members_of[*set as usize]);
                let mut all: Vec<u32> = each.copied().collect();
                all.sort_unstable();
                Cow::Owned(all)
            }
        }
    }
}

/// Finds topics by name; fastest where names come in their order.
pub(super) struct Finder<'w, 'a> {
    topics: &'w [TopicView<'a>],
    next: usize,
}

impl<'w, 'a> Finder<'w, 'a> {
    pub(super) fn new(topics: &'w [TopicView<'a>]) -> Self {
        Self { topics, next: 0 }
    }

    /// The topic's place.
    pub(super) fn find(&mut self, name: &str) -> Option<u32> {
        let at = match self.topics.get(self.next) {
            Some(topic) if topic.name == name => self.next,
            _ => self.topics.binary_search_by(|topic| java_order(topic.name, name)).ok()?,
        };
        self.next = at + 1;
        Some(at as u32)
    }
}

fn sorted_topics(topics: &[Topic]) -> Result<Vec<TopicView<'_>>, AssignError> {
    let mut sorted: Vec<&Topic> = topics.iter().filter(|topic| topic.partitions > 0).collect();
    sorted.sort_unstable_by(|one, other| java_order(&one.name, &other.name).then_with(|| other.cmp(one)));
    sorted.dedup_by(|one, other| one.name == other.name);
    let partitions: u64 = sorted.iter().map(|topic| topic.partitions as u64).sum();
    if partitions > PARTITIONS_MAX as u64 {
        return Err(AssignError::TooManyPartitions { partitions });
    }
    let mut views = Vec::with_capacity(sorted.len());
    let mut start = 0;
    for topic in sorted {
        // Proved: above 0, and the sum is within PARTITIONS_MAX.
        let end = start + topic.partitions as u32;
        views.push(TopicView { name: &topic.name, racks: &topic.racks, start, end });
        start = end;
    }
    Ok(views)
}

fn sorted_members(members: &[Member]) -> Vec<&Member> {
    let mut sorted: Vec<&Member> = members.iter().collect();
    // The first of one id stays; which, doesn't depend on the order that they came in.
    sorted.sort_unstable_by(|one, other| {
        let newest = Reverse(one.generation).cmp(&Reverse(other.generation));
        one.id.cmp(&other.id).then(newest).then_with(|| one.cmp(other))
    });
    sorted.dedup_by(|one, other| one.id == other.id);
    sorted.sort_unstable_by(|one, other| {
        let by_id = || java_order(&one.id, &other.id);
        match (&one.instance, &other.instance) {
            // No coordinator has one instance id twice.
            (Some(one), Some(other)) => java_order(one, other).then_with(by_id),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => by_id(),
        }
    });
    sorted
}

/// Strings as Java compares them, by UTF-16 units: as their bytes, but that what needs two units
/// (four bytes) comes before U+E000 and later.
pub(super) fn java_order(one: &str, other: &str) -> Ordering {
    let unit = |byte: u8| if (0xEE..0xF0).contains(&byte) { byte + 0x10 } else { byte };
    let (one, other) = (one.as_bytes(), other.as_bytes());
    match one.iter().zip(other).find(|(one, other)| one != other) {
        Some((one, other)) => unit(*one).cmp(&unit(*other)),
        None => one.len().cmp(&other.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_compare_as_in_java() {
        let samples = [
            "",
            "a",
            "ab",
            "b",
            "é",
            "\u{7ff}",
            "\u{800}",
            "\u{d7ff}",
            "\u{e000}",
            "\u{efff}",
            "\u{f000}",
            "\u{ffff}",
            "\u{10000}",
            "\u{10ffff}",
            "a\u{ffff}",
            "a\u{10000}",
            "a\u{10000}b",
            "\u{e001}",
        ];
        for one in samples {
            for other in samples {
                let units = one.encode_utf16().cmp(other.encode_utf16());
                assert_eq!(java_order(one, other), units, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn what_is_there_twice_counts_once_whatever_the_order() {
        let topics = [Topic::new("t", 1), Topic::new("t", 3), Topic::new("u", 0), Topic::new("v", -1)];
        let mut old = Member::new("m", ["t"]);
        old.generation = 3;
        let mut new = Member::new("m", ["u"]);
        new.generation = 4;
        for members in [[old.clone(), new.clone()], [new.clone(), old.clone()]] {
            let world = World::new(&topics, &members).unwrap();
            assert_eq!(world.members, [&new]);
            assert_eq!(world.topics.len(), 1);
            assert_eq!(world.partition_count(), 3);
        }
    }
}
