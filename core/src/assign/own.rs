//! Assignors that somebody else wrote, and what is believed of their answers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::share::{NOBODY, collect};
use super::sticky::withhold;
use super::world::{Finder, World};
use super::{AssignError, Assignor, Member, MemberAssignment, RebalanceProtocol, Topic};

/// An assignor of one's own, for [`KafkaOptions::own_assignors`](crate::KafkaOptions::own_assignors).
///
/// Two are equal if their names are: it is the name that a group agrees on.
///
/// ```
/// use tidegate_core::assign::{AssignError, Assignor, Member, MemberAssignment, OwnAssignor, Topic};
/// use tidegate_core::{AssignorKind, ConsumerMode, ConsumerOptions, GroupProtocol, KafkaOptions};
///
/// /// The first member, by its id, reads everything.
/// #[derive(Debug)]
/// struct FirstTakesAll;
///
/// impl Assignor for FirstTakesAll {
///     fn name(&self) -> &str {
///         "first-takes-all"
///     }
///
///     fn assign<'a>(
///         &self,
///         topics: &'a [Topic],
///         members: &'a [Member],
///     ) -> Result<Vec<MemberAssignment<'a>>, AssignError> {
///         let Some(first) = members.iter().min_by_key(|member| &member.id) else { return Ok(vec![]) };
///         let mut all = MemberAssignment::new(&first.id);
///         for topic in topics.iter().filter(|topic| first.topics.contains(&topic.name)) {
///             (0..topic.partitions).for_each(|partition| all.push(&topic.name, partition));
///         }
///         Ok(vec![all])
///     }
/// }
///
/// let kafka = KafkaOptions::default()
///     .protocol(GroupProtocol::Classic)
///     .own_assignors([OwnAssignor::new(FirstTakesAll)])
///     // Where a member without it is in the group: what all can do.
///     .assignors([AssignorKind::Range]);
/// let options = ConsumerOptions::new(ConsumerMode::LoadBalanced).group("billing").kafka(kafka);
/// assert!(options.check().is_ok());
/// ```
#[derive(Clone)]
pub struct OwnAssignor {
    name: Arc<str>,
    /// `None`: a trace tells of it.
    assignor: Option<Arc<dyn Assignor>>,
}

impl OwnAssignor {
    /// This assignor, by the name that it has now.
    pub fn new(assignor: impl Assignor + 'static) -> Self {
        Self::from(Arc::new(assignor) as Arc<dyn Assignor>)
    }

    /// What a trace knows of one.
    pub(crate) fn absent(name: &str) -> Self {
        Self { name: name.into(), assignor: None }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `None` where only the name is known: options that were read from a trace. They are refused
    /// until the assignor itself is put in its place.
    pub fn assignor(&self) -> Option<&Arc<dyn Assignor>> {
        self.assignor.as_ref()
    }
}

impl From<Arc<dyn Assignor>> for OwnAssignor {
    fn from(assignor: Arc<dyn Assignor>) -> Self {
        Self { name: assignor.name().into(), assignor: Some(assignor) }
    }
}

impl fmt::Debug for OwnAssignor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnAssignor").field(&self.name).finish()
    }
}

impl PartialEq for OwnAssignor {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for OwnAssignor {}

/// What was left out of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// How many partitions.
    pub(crate) partitions: u64,
    /// The first of them, and what is wrong with it.
    pub(crate) first: Option<Box<str>>,
}

impl LeftOut {
    fn add(&mut self, partitions: usize, what: impl FnOnce() -> String) {
        if partitions > 0 {
            self.partitions += partitions as u64;
            self.first.get_or_insert_with(|| what().into());
        }
    }
}

/// The plan, as far as it can be carried out: one answer a member, in which each partition that
/// there is is at most once, and with a subscriber. For the cooperative protocol (KIP-429) what
/// somebody else still owns is nobody's in this round, as with
/// [`CooperativeSticky`](super::CooperativeSticky).
pub(crate) fn vetted<'a>(
    plan: &[MemberAssignment<'_>],
    protocol: RebalanceProtocol,
    topics: &'a [Topic],
    members: &'a [Member],
) -> Result<(Vec<MemberAssignment<'a>>, LeftOut), AssignError> {
    let world = World::new(topics, members)?;
    let places = world.members.iter().zip(0u32..).map(|(member, place)| (member.id.as_str(), place));
    let places: BTreeMap<&str, u32> = places.collect();
    let mut owners = vec![NOBODY; world.partition_count()];
    let mut left_out = LeftOut::default();
    for one in plan {
        let Some(&member) = places.get(one.member()) else {
            left_out.add(one.len(), || format!("{:?} is no member", one.member()));
            continue;
        };
        // Proved: a member's place, and its set's; see `world`.
        let subscribed = &world.sets[world.set_of[member as usize] as usize];
        let mut finder = Finder::new(&world.topics);
        for (name, partitions) in one.topics() {
            let topic = finder.find(name).filter(|topic| subscribed.binary_search(topic).is_ok());
            let Some(topic) = topic else {
                let what =
                    || format!("{:?} doesn't subscribe to a topic {name:?} that there is", one.member());
                left_out.add(partitions.len(), what);
                continue;
            };
            let range = world.partitions(topic as usize);
            // Proved: the numbers of a topic's partitions; see `world`.
            let owners = &mut owners[range];
            for partition in partitions {
                match usize::try_from(*partition).ok().and_then(|number| owners.get_mut(number)) {
                    Some(owner) if *owner == NOBODY => *owner = member,
                    Some(_) => left_out.add(1, || format!("{name}/{partition} was assigned already")),
                    None => left_out.add(1, || format!("{name} has no partition {partition}")),
                }
            }
        }
    }
    if protocol == RebalanceProtocol::Cooperative {
        withhold(&world, &mut owners);
    }
    Ok((collect(&world, &owners), left_out))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 4] = ["a", "b", "c", "d"];

    fn name() -> impl Strategy<Value = &'static str> {
        prop::sample::select(&NAMES[..])
    }

    proptest! {
        #[test]
        fn whatever_the_plan_each_partition_is_at_most_once_and_with_a_subscriber(
            topics in vec((name(), -1..5), 0..4),
            members in vec((name(), vec(name(), 0..3), vec((name(), vec(-1..6, 0..4)), 0..2)), 0..4),
            plan in vec((name(), vec((name(), prop_oneof![5 => -1..6, 1 => any::<i32>()]), 0..8)), 0..5),
            cooperative in any::<bool>(),
        ) {
            let topics: Vec<Topic> = topics.into_iter().map(|(name, count)| Topic::new(name, count)).collect();
            let members: Vec<Member> = members
                .into_iter()
                .map(|(id, topics, owned)| Member {
                    owned: owned.into_iter().map(|(topic, parts)| (topic.to_owned(), parts)).collect(),
                    ..Member::new(id, topics)
                })
                .collect();
            let plan: Vec<_> = plan
                .iter()
                .map(|(member, partitions)| {
                    let mut one = MemberAssignment::new(member);
                    partitions.iter().for_each(|(topic, partition)| one.push(topic, *partition));
                    one
                })
                .collect();
            let protocol =
                if cooperative { RebalanceProtocol::Cooperative } else { RebalanceProtocol::Eager };
            let (vetted, left_out) = vetted(&plan, protocol, &topics, &members).unwrap();
            let mut ids: Vec<_> = members.iter().map(|member| member.id.as_str()).collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!(vetted.iter().map(MemberAssignment::member).collect::<Vec<_>>(), ids);
            let mut seen = std::collections::BTreeSet::new();
            for one in &vetted {
                for (topic, partitions) in one.topics() {
                    let count = topics.iter().filter(|known| known.name == topic).map(|known| known.partitions);
                    let count = count.max().unwrap_or(0);
                    prop_assert!(members.iter().any(|member| member.id == one.member()
                        && member.topics.iter().any(|name| name == topic)));
                    for partition in partitions {
                        prop_assert!((0..count).contains(partition) && seen.insert((topic, *partition)));
                    }
                }
            }
            let planned: usize = plan.iter().map(MemberAssignment::len).sum();
            if !cooperative {
                prop_assert_eq!(planned, seen.len() + left_out.partitions as usize);
            }
            prop_assert_eq!(left_out.first.is_some(), left_out.partitions > 0);
        }
    }

    #[test]
    fn what_is_right_is_as_it_was_planned_and_of_what_is_wrong_the_first_is_named() {
        let topics = [Topic::new("t", 2), Topic::new("u", 1)];
        let members = [Member::new("m", ["t"]), Member::new("n", ["t", "u"])];
        let plan = |parts: &[(&'static str, &'static str, i32)]| -> Vec<MemberAssignment<'static>> {
            let one = |(member, topic, partition): &(&'static str, &'static str, i32)| {
                let mut one = MemberAssignment::new(member);
                one.push(topic, *partition);
                one
            };
            parts.iter().map(one).collect()
        };
        let vet = |parts: &[(&'static str, &'static str, i32)], protocol, members: &[Member]| {
            let (vetted, left_out) = vetted(&plan(parts), protocol, &topics, members).unwrap();
            let parts = |one: &MemberAssignment<'_>| {
                let of = |(topic, parts): (&str, &[i32])| {
                    parts.iter().map(|n| format!("{topic}{n}")).collect::<Vec<_>>()
                };
                format!("{}={}", one.member(), one.topics().flat_map(of).collect::<Vec<_>>().join(","))
            };
            (vetted.iter().map(parts).collect::<Vec<_>>().join(" "), left_out)
        };
        let eager = RebalanceProtocol::Eager;
        let right = [("n", "u", 0), ("n", "t", 0), ("m", "t", 1)];
        assert_eq!(vet(&right, eager, &members), ("m=t1 n=t0,u0".into(), LeftOut::default()));
        for (wrong, said) in [
            (("m", "t", 0), "t/0 was assigned already"),
            (("m", "t", 2), "t has no partition 2"),
            (("m", "t", i32::MIN), "t has no partition -2147483648"),
            (("m", "u", 0), "\"m\" doesn't subscribe to a topic \"u\" that there is"),
            (("m", "no\nwhere", 0), "\"m\" doesn't subscribe to a topic \"no\\nwhere\" that there is"),
            (("o", "t", 0), "\"o\" is no member"),
        ] {
            let (parts, left_out) = vet(&[&right[..], &[wrong, wrong]].concat(), eager, &members);
            assert_eq!(parts, "m=t1 n=t0,u0");
            assert_eq!(left_out, LeftOut { partitions: 2, first: Some(said.into()) });
        }
        // Whoever still owns it has to let it go first.
        let mut members = members;
        members[0].owned = vec![("t".into(), vec![0, 1])];
        let cooperative = RebalanceProtocol::Cooperative;
        assert_eq!(vet(&right, cooperative, &members), ("m=t1 n=u0".into(), LeftOut::default()));
        assert_eq!(vet(&right, eager, &members).0, "m=t1 n=t0,u0");
    }
}
