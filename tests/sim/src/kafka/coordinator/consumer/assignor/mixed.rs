//! `uniform`, where members want different topics: what is free goes to those who have least, and
//! then partitions move from those who have most until no topic's members differ by more than one.

use std::collections::BTreeMap;

use tidegate_core::kafka::wire::Uuid;

use super::{Spec, Targets};

/// Rounds after which the balance is good enough.
const ROUNDS: usize = 16;

pub(super) fn assign(spec: &Spec) -> Targets {
    let mut plan = Plan::new(spec);
    let wanted: Vec<Uuid> = plan.sorted(plan.subscribers.keys().copied().collect());
    plan.give_free(&wanted);
    let shared = |topic: &Uuid| plan.subscribers.get(topic).is_some_and(|members| members.len() >= 2);
    let shared: Vec<Uuid> = wanted.into_iter().filter(shared).collect();
    plan.balance(&shared);
    plan.targets()
}

/// Members are numbers here: their places in the broker's order.
struct Plan<'a> {
    spec: &'a Spec,
    subscribers: BTreeMap<Uuid, Vec<usize>>,
    owners: BTreeMap<Uuid, Vec<Option<usize>>>,
    sizes: Vec<usize>,
}

impl<'a> Plan<'a> {
    fn new(spec: &'a Spec) -> Self {
        let mut subscribers: BTreeMap<Uuid, Vec<usize>> = BTreeMap::new();
        let mut owners: BTreeMap<Uuid, Vec<Option<usize>>> = BTreeMap::new();
        for (member, subscriber) in spec.subscribers.iter().enumerate() {
            for topic in &subscriber.topics {
                subscribers.entry(*topic).or_default().push(member);
                let count = usize::try_from(spec.count(*topic)).unwrap_or(0);
                owners.entry(*topic).or_insert_with(|| vec![None; count]);
            }
        }
        let mut sizes = vec![0; spec.subscribers.len()];
        for (member, subscriber) in spec.subscribers.iter().enumerate() {
            for (topic, index) in &subscriber.target {
                let index = usize::try_from(*index).unwrap_or(usize::MAX);
                let place = owners.get_mut(topic).and_then(|owners| owners.get_mut(index));
                if let Some(place) = place.filter(|_| subscriber.topics.contains(topic)) {
                    *place = Some(member);
                    sizes[member] += 1;
                }
            }
        }
        Self { spec, subscribers, owners, sizes }
    }

    /// Those first of which a member gets most; then those that fewest want.
    fn sorted(&self, mut topics: Vec<Uuid>) -> Vec<Uuid> {
        let counts = |topic: &Uuid| {
            let wanted = self.subscribers.get(topic).map_or(1, Vec::len).max(1);
            (i64::from(self.spec.count(*topic)), i64::try_from(wanted).unwrap_or(i64::MAX))
        };
        topics.sort_by(|a, b| {
            let ((a_parts, a_members), (b_parts, b_members)) = (counts(a), counts(b));
            // Kafka compares ids as two signed numbers.
            let signed = |id: &Uuid| {
                let bits = u128::from_be_bytes(id.0);
                ((bits >> 64) as i64, bits as i64)
            };
            (b_parts * a_members)
                .cmp(&(a_parts * b_members))
                .then(a_members.cmp(&b_members))
                .then_with(|| signed(a).cmp(&signed(b)))
        });
        topics
    }

    /// Those who want the topic, who has least first.
    fn by_size(&self, topic: Uuid) -> Vec<usize> {
        let mut members = self.subscribers.get(&topic).cloned().unwrap_or_default();
        members.sort_by_key(|member| (self.sizes[*member], *member));
        members
    }

    fn give(&mut self, topic: Uuid, index: usize, member: usize) {
        let Some(place) = self.owners.get_mut(&topic).and_then(|owners| owners.get_mut(index)) else {
            return;
        };
        if let Some(former) = place.replace(member) {
            self.sizes[former] -= 1;
        }
        self.sizes[member] += 1;
    }

    fn give_free(&mut self, topics: &[Uuid]) {
        for topic in topics {
            let members = self.by_size(*topic);
            let owners = self.owners.get(topic).cloned().unwrap_or_default();
            for (index, _) in owners.iter().enumerate().filter(|(_, owner)| owner.is_none()) {
                // The first of those that have least.
                let least = members.iter().copied().min_by_key(|member| self.sizes[*member]);
                if let Some(member) = least {
                    self.give(*topic, index, member);
                }
            }
        }
    }

    fn balance(&mut self, topics: &[Uuid]) {
        let mut last_changed = None;
        for _ in 0..ROUNDS {
            for (at, topic) in topics.iter().enumerate() {
                if last_changed == Some(at) {
                    return;
                }
                if self.balance_topic(*topic) || last_changed.is_none() {
                    last_changed = Some(at);
                }
            }
        }
    }

    /// Whether something moved.
    fn balance_topic(&mut self, topic: Uuid) -> bool {
        let members = self.by_size(topic);
        let size = |member: Option<&usize>| member.map_or(0, |member| self.sizes[*member]);
        if size(members.last()) - size(members.first()) <= 1 {
            return false;
        }
        // What each has of this topic; the last goes first.
        let mut theirs: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, owner) in self.owners.get(&topic).into_iter().flatten().enumerate() {
            if let Some(owner) = owner {
                theirs.entry(*owner).or_default().push(index);
            }
        }
        let mut ends = Ends::new(members, &self.sizes);
        let mut moved = false;
        while !ends.is_balanced() {
            let most = loop {
                let Some(member) = ends.next_most(&self.sizes) else { break None };
                match theirs.get_mut(&member).and_then(Vec::pop) {
                    Some(index) => break Some(index),
                    None => ends.exclude_most(),
                }
            };
            let Some(index) = most else { break };
            let least = ends.next_least(&self.sizes);
            if ends.is_balanced() {
                break;
            }
            self.give(topic, index, least);
            moved = true;
        }
        moved
    }

    fn targets(&self) -> Targets {
        let mut targets: Targets =
            self.spec.subscribers.iter().map(|member| (member.id.clone(), Default::default())).collect();
        for (topic, owners) in &self.owners {
            for (index, owner) in (0..).zip(owners) {
                let id = owner.and_then(|owner| self.spec.subscribers.get(owner)).map(|member| &member.id);
                if let Some(target) = id.and_then(|id| targets.get_mut(id)) {
                    target.insert((*topic, index));
                }
            }
        }
        targets
    }
}

/// Walks a topic's members from both ends: those with most, level by level, and those with least.
/// Members lie in the order of their sizes; a level is a run of them.
struct Ends {
    members: Vec<usize>,
    least_level: usize,
    least_end: usize,
    least_next: usize,
    most_level: usize,
    most_start: usize,
    most_end: usize,
    /// One past the one that comes next.
    most_next: usize,
}

impl Ends {
    fn new(members: Vec<usize>, sizes: &[usize]) -> Self {
        let size = |member: Option<&usize>| member.map_or(0, |member| sizes[*member]);
        let count = members.len();
        Self {
            // One outside of all, as nobody was asked for yet; so sizes are counted from 1 here.
            least_level: size(members.first()),
            least_end: 0,
            least_next: 0,
            most_level: size(members.last()) + 2,
            most_start: count,
            most_end: count,
            most_next: count,
            members,
        }
    }

    fn is_at(&self, place: usize, level: usize, sizes: &[usize]) -> bool {
        self.members.get(place).is_some_and(|member| sizes[*member] + 1 == level)
    }

    /// The next of those who have least, who is about to get one more.
    fn next_least(&mut self, sizes: &[usize]) -> usize {
        if self.least_next >= self.least_end {
            self.least_level += 1;
            while self.is_at(self.least_end, self.least_level, sizes) {
                self.least_end += 1;
            }
            self.least_next = 0;
        }
        self.least_next += 1;
        self.members.get(self.least_next - 1).copied().unwrap_or(0)
    }

    /// The next of those who have most, who is about to lose one.
    fn next_most(&mut self, sizes: &[usize]) -> Option<usize> {
        if self.most_next <= self.most_start {
            self.most_level = match self.members.get(self.most_start.wrapping_sub(1)) {
                Some(member) if self.most_end <= self.most_start => sizes[*member] + 1,
                _ => self.most_level.saturating_sub(1),
            };
            while self.most_start > 0 && self.is_at(self.most_start - 1, self.most_level, sizes) {
                self.most_start -= 1;
            }
            self.most_next = self.most_end;
        }
        self.most_next = self.most_next.checked_sub(1)?;
        self.members.get(self.most_next).copied()
    }

    /// The one that came last has nothing to give.
    fn exclude_most(&mut self) {
        self.most_end = self.most_end.saturating_sub(1);
        if self.most_next < self.members.len() && self.most_end < self.members.len() {
            self.members.swap(self.most_next, self.most_end);
        }
    }

    fn is_balanced(&self) -> bool {
        self.most_level.saturating_sub(self.least_level) <= 1
    }
}
