//! Worlds to assign, and plain checks of what was assigned.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::assign::{Member, MemberAssignment, Topic};
use tidegate_core::random::Random;

pub type Partition<'a> = (&'a str, i32);
/// Each partition with the member that has it.
pub type Owners<'a> = Vec<(&'a str, Partition<'a>)>;

/// Topics and members of which no two share a name.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    pub topics: &'a [Topic],
    pub members: &'a [Member],
}

/// An answer, flat.
#[derive(Debug)]
pub struct Plan<'a> {
    pub by_member: BTreeMap<&'a str, Vec<Partition<'a>>>,
    by_partition: BTreeMap<Partition<'a>, Vec<&'a str>>,
}

impl<'a> Plan<'a> {
    pub fn of(answer: &[MemberAssignment<'a>]) -> Self {
        let mut plan = Self { by_member: BTreeMap::new(), by_partition: BTreeMap::new() };
        for share in answer {
            let runs: Vec<_> = share.topics().collect();
            assert!(runs.is_sorted_by(|one, other| one.0 < other.0 || !one.0.is_ascii()), "{runs:?}");
            assert!(runs.iter().all(|(_, run)| run.is_sorted_by(|one, other| one < other)), "{runs:?}");
            let each =
                runs.iter().flat_map(|(topic, run)| run.iter().map(move |partition| (*topic, *partition)));
            let each: Vec<Partition<'a>> = each.collect();
            assert_eq!(each.len(), share.len());
            for partition in &each {
                plan.by_partition.entry(*partition).or_default().push(share.member());
            }
            assert!(plan.by_member.insert(share.member(), each).is_none(), "{} twice", share.member());
        }
        plan
    }

    pub fn owners(&self) -> Owners<'a> {
        let each = self.by_member.iter();
        each.flat_map(|(member, all)| all.iter().map(|partition| (*member, *partition))).collect()
    }

    pub fn owner(&self, partition: Partition<'_>) -> Option<&'a str> {
        self.by_partition.get(&partition).and_then(|owners| owners.first()).copied()
    }
}

pub fn text(share: &MemberAssignment<'_>) -> String {
    share.topics().map(|(topic, partitions)| format!(" {topic}{partitions:?}")).collect()
}

impl<'a> World<'a> {
    /// Partitions that somebody subscribes to.
    pub fn partitions(&self) -> Vec<Partition<'a>> {
        let subscribed: BTreeSet<&str> =
            self.members.iter().flat_map(|member| member.topics.iter().map(String::as_str)).collect();
        let topics = self.topics.iter().filter(|topic| subscribed.contains(topic.name.as_str()));
        topics
            .flat_map(|topic| (0..topic.partitions).map(|partition| (topic.name.as_str(), partition)))
            .collect()
    }

    fn member(&self, id: &str) -> &'a Member {
        self.members.iter().find(|member| member.id == id).expect("a member of the world")
    }

    /// Each partition once, by a subscriber.
    pub fn valid(&self, plan: &Plan<'_>) {
        for partition in self.partitions() {
            let owners = plan.by_partition.get(&partition).map_or(0, Vec::len);
            assert_eq!(owners, 1, "{partition:?} of {self:#?}\n{plan:#?}");
        }
        self.valid_but_withheld(plan);
    }

    /// No partition twice, each by a subscriber.
    pub fn valid_but_withheld(&self, plan: &Plan<'_>) {
        let all: BTreeSet<_> = self.partitions().into_iter().collect();
        for (partition, owners) in &plan.by_partition {
            assert_eq!(owners.len(), 1, "{partition:?} of {self:#?}\n{plan:#?}");
            assert!(all.contains(partition), "{partition:?} of {self:#?}\n{plan:#?}");
            let topics = &self.member(owners[0]).topics;
            assert!(topics.iter().any(|topic| topic == partition.0), "{partition:?} of {self:#?}\n{plan:#?}");
        }
    }

    fn claims(&self, partition: Partition<'_>) -> impl Iterator<Item = &'a Member> {
        let (topic, number) = partition;
        self.members.iter().filter(move |member| {
            member.owned.iter().any(|(name, partitions)| name == topic && partitions.contains(&number))
        })
    }

    pub fn claimed(&self, partition: Partition<'_>) -> bool {
        self.claims(partition).next().is_some()
    }

    /// Who owned it: the one that claims it in the latest generation.
    pub fn owner(&self, partition: Partition<'_>) -> Option<&'a str> {
        let latest = self.claims(partition).map(|member| member.generation).max()?;
        let mut latest = self.claims(partition).filter(|member| member.generation == latest);
        let owner = latest.next()?;
        latest.next().is_none().then_some(owner.id.as_str())
    }

    pub fn owned_by(&self, id: &str) -> usize {
        self.partitions().into_iter().filter(|partition| self.owner(*partition) == Some(id)).count()
    }

    pub fn kept(&self, plan: &Plan<'_>) -> usize {
        plan.owners().iter().filter(|(member, partition)| self.owner(*partition) == Some(*member)).count()
    }

    /// Loads, from the highest.
    pub fn balance(&self, plan: &Plan<'_>) -> Vec<usize> {
        let mut loads: Vec<usize> = plan.by_member.values().map(Vec::len).collect();
        loads.sort_unstable_by_key(|load| Reverse(*load));
        loads
    }

    pub fn same_subscriptions(&self) -> bool {
        let set = |member: &'a Member| member.topics.iter().collect::<BTreeSet<_>>();
        self.members.windows(2).all(|pair| set(&pair[0]) == set(&pair[1]))
    }

    pub fn racks(&self, partition: Partition<'_>) -> BTreeSet<&'a str> {
        let topic = self.topics.iter().find(|topic| topic.name == partition.0).expect("a topic of the world");
        topic.racks.get(partition.1 as usize).into_iter().flatten().map(|rack| &**rack).collect()
    }

    pub fn rack(&self, member: &'a Member) -> Option<&'a str> {
        member.rack.as_deref().filter(|rack| !rack.is_empty())
    }

    pub fn near(&self, member: &str, partition: Partition<'_>) -> bool {
        self.rack(self.member(member)).is_none_or(|rack| self.racks(partition).contains(rack))
    }

    /// KIP-881: some partition is on some member's rack, and not all are on all.
    pub fn racks_matter(&self) -> bool {
        let sets: BTreeSet<_> =
            self.partitions().into_iter().map(|partition| self.racks(partition)).collect();
        let union: BTreeSet<&str> = sets.iter().flatten().copied().collect();
        self.members.iter().any(|member| self.rack(member).is_some_and(|rack| union.contains(rack)))
            && sets.len() > 1
    }

    /// No chain of hand-overs leads from a member to one that has at least two less.
    pub fn no_better_balance(&self, plan: &Plan<'_>) {
        for (start, share) in &plan.by_member {
            let mut reached = BTreeSet::from([*start]);
            let mut todo = vec![*start];
            while let Some(member) = todo.pop() {
                let topics: BTreeSet<&str> = plan.by_member[member].iter().map(|(topic, _)| *topic).collect();
                for other in self.members {
                    if other.topics.iter().any(|topic| topics.contains(topic.as_str())) {
                        let (other, _) =
                            plan.by_member.get_key_value(other.id.as_str()).expect("in the plan");
                        let load = plan.by_member[other].len();
                        assert!(
                            load + 2 > share.len(),
                            "{start} could hand over to {other}: {self:#?} {plan:#?}"
                        );
                        if reached.insert(other) {
                            todo.push(other);
                        }
                    }
                }
            }
        }
    }
}

/// All answers whose balance is the best.
pub struct Best<'a> {
    pub balance: Vec<usize>,
    pub owners: Vec<Owners<'a>>,
}

/// Tries all that there are.
pub fn best_by_balance<'a>(world: &World<'a>) -> Best<'a> {
    let partitions = world.partitions();
    let takers: Vec<Vec<&str>> = partitions
        .iter()
        .map(|(topic, _)| {
            let subscribed =
                world.members.iter().filter(|member| member.topics.iter().any(|name| name == topic));
            subscribed.map(|member| member.id.as_str()).collect()
        })
        .collect();
    let mut best: Option<Best<'a>> = None;
    let mut choice = vec![0; partitions.len()];
    loop {
        let owners: Owners<'a> = choice
            .iter()
            .zip(&takers)
            .map(|(at, takers)| takers[*at])
            .zip(partitions.iter().copied())
            .collect();
        let mut loads: BTreeMap<&str, usize> =
            world.members.iter().map(|member| (member.id.as_str(), 0)).collect();
        owners.iter().for_each(|(member, _)| *loads.get_mut(member).expect("a member") += 1);
        let mut balance: Vec<usize> = loads.into_values().collect();
        balance.sort_unstable_by_key(|load| Reverse(*load));
        match &mut best {
            Some(best) if best.balance < balance => {}
            Some(best) if best.balance == balance => best.owners.push(owners),
            _ => best = Some(Best { balance, owners: vec![owners] }),
        }
        let Some(at) = (0..choice.len()).find(|at| choice[*at] + 1 < takers[*at].len()) else {
            return best.expect("at least one answer");
        };
        choice[at] += 1;
        choice[..at].fill(0);
    }
}

/// A world of its own.
#[derive(Clone, Debug)]
pub struct Made {
    pub topics: Vec<Topic>,
    pub members: Vec<Member>,
}

impl Made {
    pub fn partitions(&self) -> Vec<Partition<'_>> {
        World { topics: &self.topics, members: &self.members }.partitions()
    }
}

/// The most of each.
pub struct Size {
    pub members: u64,
    pub topics: u64,
    pub partitions: u64,
    pub racks: u64,
}

/// Anything from all alike to all different, from no past to claims that contradict each other.
pub fn random(random: &mut Random, size: &Size) -> Made {
    let racks = if random.below(2) == 0 { 0 } else { 1 + random.below(size.racks) };
    let known = 1 + random.below(3);
    let topics: Vec<Topic> = (0..1 + random.below(size.topics))
        .map(|at| {
            let mut topic = Topic::new(format!("t{at}"), random.below(size.partitions + 1) as i32);
            if racks > 0 {
                let replicas = 1 + random.below(racks);
                let each = (0..topic.partitions).map(|_| {
                    (0..replicas).map(|_| format!("r{}", random.below(racks)).into()).collect::<Vec<_>>()
                });
                topic.racks = each.collect();
                topic.racks.truncate(if random.below(8) == 0 { 1 } else { usize::MAX });
            }
            topic
        })
        .collect();
    let alike = random.below(3) == 0;
    let claims = random.below(4);
    let mut members: Vec<Member> = Vec::new();
    for at in 0..1 + random.below(size.members) {
        let mut names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        if !alike {
            names.retain(|_| random.below(4) < known);
        }
        let mut member = Member::new(format!("m{at}"), names);
        if racks > 0 && random.below(5) > 0 {
            member.rack = Some(format!("r{}", random.below(racks + 1)));
        }
        if random.below(4) == 0 {
            member.instance = Some(format!("i{}", 100 - at));
        }
        member.generation = 5 - random.below(5).saturating_sub(3) as i32;
        members.push(member);
    }
    for topic in &topics {
        for partition in 0..topic.partitions {
            let owners = if claims == 0 || random.below(8) == 0 { 0 } else { 1 + random.below(12) / 11 };
            for _ in 0..owners {
                // Some have most of it.
                let at = random.below(members.len() as u64).min(random.below(members.len() as u64 * claims));
                let owned = &mut members[at as usize].owned;
                match owned.last_mut() {
                    Some((name, partitions)) if *name == topic.name => partitions.push(partition),
                    _ => owned.push((topic.name.clone(), vec![partition])),
                }
            }
        }
    }
    Made { topics, members }
}

pub fn shuffle<T>(random: &mut Random, items: &mut [T]) {
    for at in (1..items.len()).rev() {
        items.swap(at, random.below(at as u64 + 1) as usize);
    }
}
