//! Random worlds, as a group may meet them.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::assign::{Member, Topic};
use tidegate_core::random::Random;

use super::Shares;

#[derive(Clone, Debug, Default)]
pub struct World {
    pub topics: Vec<Topic>,
    pub members: Vec<Member>,
    born: u64,
}

/// Names that compare otherwise in Java than as bytes, among them.
const ENDS: [&str; 8] = ["", "", "", "-b", "\u{e9}", "\u{ffee}", "\u{1f600}", "\u{fb01}x"];

impl World {
    /// Up to 12 topics and members. `plain`: all names are ASCII, as sequences are long.
    pub fn random(random: &mut Random, plain: bool) -> Self {
        let racks = if random.below(2) == 0 { 0 } else { 1 + random.below(4) };
        let mut world = Self::default();
        // Many of one size, as that is what co-partitioning is about.
        let usual = random.below(9) as i32;
        for at in 0..1 + random.below(12) {
            let partitions = if random.below(2) == 0 { usual } else { random.below(16) as i32 };
            let mut topic = Topic::new(format!("t{at}"), partitions);
            if racks > 0 {
                let replicas = 1 + random.below(3);
                // One place after the other, as brokers do, or anywhere.
                let shift = random.below(3);
                topic.racks = (0..partitions as u64)
                    .map(|number| {
                        let rack = |replica| if shift > 0 { number + replica } else { random.below(racks) };
                        (0..replicas).map(rack).map(|at| format!("r{}", at % racks).into()).collect()
                    })
                    .collect();
            }
            world.topics.push(topic);
        }
        let alike = random.below(3) == 0;
        let kinds = 1 + random.below(3);
        for _ in 0..1 + random.below(12) {
            let end = if plain { "" } else { ENDS[random.below(ENDS.len() as u64) as usize] };
            let mut member = world.member(random, racks, end);
            if alike {
                member.topics = world.topics.iter().map(|topic| topic.name.clone()).collect();
            } else if random.below(2) == 0 {
                // Every other one has one of few subscriptions.
                let kind = random.below(kinds);
                let topics = world.topics.iter().enumerate().filter(|(at, _)| *at as u64 % 3 <= kind);
                member.topics = topics.map(|(_, topic)| topic.name.clone()).collect();
            }
            world.members.push(member);
        }
        world
    }

    fn member(&mut self, random: &mut Random, racks: u64, end: &str) -> Member {
        self.born += 1;
        // Ids in any order, and none twice.
        let id = format!("m{}{end}-{}", random.below(100), self.born);
        let mut member = Member::new(id, Vec::<String>::new());
        let some = random.below(4);
        for topic in &self.topics {
            if random.below(4) <= some {
                member.topics.push(topic.name.clone());
            }
        }
        if random.below(8) == 0 {
            member.topics.push("absent".into());
        }
        if random.below(3) == 0 {
            member.instance = Some(format!("i{}{end}-{}", random.below(100), self.born));
        }
        if racks > 0 && random.below(5) > 0 {
            member.rack = Some(format!("r{}", random.below(racks + 1)));
        }
        member
    }

    /// Somebody comes or goes, a topic grows, a subscription changes.
    pub fn change(&mut self, random: &mut Random, alike: bool, racks: bool) {
        match random.below(8) {
            0..=2 if self.members.len() > 1 => {
                self.members.remove(random.below(self.members.len() as u64) as usize);
            }
            3 => {
                let at = random.below(self.topics.len() as u64) as usize;
                let topic = &mut self.topics[at];
                topic.partitions += 1 + random.below(3) as i32;
                while !topic.racks.is_empty() && topic.racks.len() < topic.partitions as usize {
                    topic.racks.push(topic.racks[0].clone());
                }
            }
            4 if !alike => {
                let at = random.below(self.members.len() as u64) as usize;
                let topic = self.topics[random.below(self.topics.len() as u64) as usize].name.clone();
                let topics = &mut self.members[at].topics;
                match topics.iter().position(|name| *name == topic) {
                    Some(at) => {
                        topics.remove(at);
                    }
                    None => topics.push(topic),
                }
            }
            _ => {
                let mut member = self.member(random, if racks { 3 } else { 0 }, "");
                if alike {
                    member.topics = self.topics.iter().map(|topic| topic.name.clone()).collect();
                }
                self.members.push(member);
            }
        }
    }

    /// What was assigned is what is owned from now on.
    pub fn own(&mut self, shares: &Shares, generation: i32) {
        for member in &mut self.members {
            member.owned.clone_from(&shares[&member.id]);
            member.generation = generation;
        }
    }

    /// The latest generation that anybody knows.
    pub fn generation(&self) -> i32 {
        self.members.iter().map(|member| member.generation).max().unwrap_or(-1)
    }

    /// As members of the eager protocol tell it: in the user data alone.
    pub fn for_sticky(&self) -> Self {
        let mut world = self.clone();
        for member in &mut world.members {
            let (owned, generation) = (&member.owned, member.generation);
            member.user_data = tidegate_core::kafka::sticky_data::encode(
                tidegate_core::assign::Memory::UserData,
                owned,
                generation,
            );
            (member.owned, member.generation) = (Vec::new(), -1);
        }
        world
    }

    fn partitions(&self) -> BTreeSet<(&str, i32)> {
        let subscribed: BTreeSet<&str> =
            self.members.iter().flat_map(|member| member.topics.iter().map(String::as_str)).collect();
        let topics = self.topics.iter().filter(|topic| subscribed.contains(topic.name.as_str()));
        topics
            .flat_map(|topic| (0..topic.partitions).map(|partition| (topic.name.as_str(), partition)))
            .collect()
    }

    /// Who owns what; nobody owns anything twice in these worlds.
    pub fn owners(&self) -> BTreeMap<(&str, i32), &str> {
        let each = self.members.iter().flat_map(|member| {
            let runs = member.owned.iter();
            let all =
                runs.flat_map(|(topic, run)| run.iter().map(move |partition| (topic.as_str(), *partition)));
            // A topic that it left was not taken from it.
            let all = all.filter(|(topic, _)| member.topics.iter().any(|name| name == topic));
            all.map(|partition| (partition, member.id.as_str()))
        });
        each.collect()
    }

    pub fn owners_owned(&self) -> BTreeMap<(String, i32), String> {
        let owners = self.owners().into_iter();
        owners.map(|((topic, partition), owner)| ((topic.to_owned(), partition), owner.to_owned())).collect()
    }

    /// Whether all that somebody subscribes to is assigned.
    pub fn is_whole(&self, shares: &Shares) -> bool {
        shares.values().flatten().map(|(_, run)| run.len()).sum::<usize>() == self.partitions().len()
    }

    /// Whether some member owns what it isn't assigned any more.
    pub fn loses_any(&self, shares: &Shares) -> bool {
        self.members.iter().any(|member| {
            let assigned = &shares[&member.id];
            let has = |topic: &String, partition: &i32| {
                assigned.iter().any(|(name, run)| name == topic && run.contains(partition))
            };
            member.owned.iter().any(|(topic, run)| run.iter().any(|partition| !has(topic, partition)))
        })
    }

    /// Each partition once, by a subscriber; or what is wrong.
    pub fn check(&self, shares: &Shares) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for (id, runs) in shares {
            let member = self.members.iter().find(|member| member.id == *id).expect("a member of the world");
            for (topic, run) in runs {
                if !member.topics.contains(topic) {
                    return Err(format!("{id} doesn't subscribe to {topic}"));
                }
                if !run.iter().all(|partition| seen.insert((topic.as_str(), *partition))) {
                    return Err(format!("twice: {topic}"));
                }
            }
        }
        if seen == self.partitions() { Ok(()) } else { Err("not all is assigned".into()) }
    }

    pub fn same_subscriptions(&self) -> bool {
        let set = |member: &Member| member.topics.iter().cloned().collect::<BTreeSet<_>>();
        self.members.windows(2).all(|pair| set(&pair[0]) == set(&pair[1]))
    }

    fn racks(&self, topic: &str, partition: i32) -> BTreeSet<&str> {
        let topic = self.topics.iter().find(|known| known.name == topic).expect("a topic of the world");
        topic.racks.get(partition as usize).into_iter().flatten().map(|rack| &**rack).collect()
    }

    pub fn near(&self, member: &str, topic: &str, partition: i32) -> bool {
        let member = self.members.iter().find(|known| known.id == member).expect("a member of the world");
        member.rack.as_deref().is_none_or(|rack| self.racks(topic, partition).contains(rack))
    }

    /// KIP-881: some partition is on some member's rack, and not all are on all.
    pub fn racks_matter(&self) -> bool {
        let sets: BTreeSet<_> =
            self.partitions().into_iter().map(|(topic, partition)| self.racks(topic, partition)).collect();
        let union: BTreeSet<&str> = sets.iter().flatten().copied().collect();
        let is_there = |member: &Member| member.rack.as_deref().is_some_and(|rack| union.contains(rack));
        self.members.iter().any(is_there) && sets.len() > 1
    }
}
