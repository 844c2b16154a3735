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
