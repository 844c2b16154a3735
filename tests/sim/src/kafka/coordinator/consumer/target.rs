//! The target: who shall have what, computed for the whole group at once.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::Instant;
use tidegate_core::kafka::wire::Uuid;

use super::ConsumerGroup;
use super::assignor::{Assignor, Spec, Subscriber};
use super::order;
use crate::kafka::topics::Topics;
use crate::kafka::{ConsumerGroups, Release};

/// Whether all members want the same topics (`SubscriptionType` in Apache Kafka).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Homogeneous,
    Heterogeneous,
}

impl ConsumerGroup {
    /// Whether all members want the same, as far as their names and patterns say.
    pub(super) fn kind(&self) -> Kind {
        let all = self.members.len();
        let mut by_name: BTreeMap<&String, usize> = BTreeMap::new();
        let mut with_pattern: BTreeMap<&String, usize> = BTreeMap::new();
        for member in self.members.values() {
            for name in &member.names {
                *by_name.entry(name).or_default() += 1;
            }
            if !member.pattern.is_empty() {
                *with_pattern.entry(&member.pattern).or_default() += 1;
            }
        }
        let same = match with_pattern.values().next() {
            None => by_name.values().all(|count| *count == all),
            Some(count) => *count == all && by_name.is_empty(),
        };
        if same { Kind::Homogeneous } else { Kind::Heterogeneous }
    }

    /// Looks at the topics that somebody wants: were any made, deleted, or do they have more
    /// partitions? Then the group is at a new epoch, as with `bump`.
    pub(super) fn look(&mut self, topics: &Topics, bump: bool) {
        let metadata = self.metadata(topics);
        if bump || metadata != self.metadata {
            self.epoch += 1;
        }
        self.metadata = metadata;
        self.looked_at = Some(topics.changes());
    }

    /// Those of the topics that somebody wants that there are (Kafka keeps a hash of it).
    pub(super) fn metadata(&self, topics: &Topics) -> BTreeMap<String, (Uuid, usize)> {
        let known = self.subscribed().filter_map(|name| Some((name, topics.get(name)?)));
        known.map(|(name, topic)| (name.clone(), (topic.id, topic.partitions.len()))).collect()
    }

    fn subscribed(&self) -> impl Iterator<Item = &String> {
        let names = self.members.values().flat_map(|member| &member.names);
        names.chain(self.patterns.values().flat_map(|resolved| &resolved.topics))
    }

    /// Computes the target, if there is a newer epoch and it is time (since 4.3 not more often than
    /// `group.consumer.assignment.interval.ms` says).
    /// `comes`: who was no member before.
    pub(super) fn aim(
        &mut self,
        now: Instant,
        kind: Kind,
        comes: Option<&String>,
        topics: &Topics,
        config: &ConsumerGroups,
    ) {
        let too_early = self.release == Release::V4_3
            && self.targeted_at.is_some_and(|at| now < at + config.assignment_interval);
        if self.target_epoch >= self.epoch || too_early {
            return;
        }
        let members = order::members(&self.members, self.most, comes);
        let subscribers = members.iter().map(|member| Subscriber {
            id: member.id.clone(),
            instance: member.instance.clone(),
            topics: order::topics(self.wanted(member, topics)),
            target: self.targets.get(&member.id).cloned().unwrap_or_default(),
        });
        let count = |(id, count): (Uuid, usize)| (id, i32::try_from(count).unwrap_or(i32::MAX));
        let partitions = self.metadata(topics).into_values().map(count).collect();
        let assigned: BTreeSet<_> = self.targets.values().flatten().copied().collect();
        let spec = Spec { subscribers: subscribers.collect(), partitions, assigned };
        self.targets = self.assignor().assign(&spec, kind);
        self.target_epoch = self.epoch;
        self.targeted_at = Some(now);
    }

    /// The one that most members ask for; the broker's default is its first.
    fn assignor(&self) -> Assignor {
        let count = |assignor: Assignor| {
            let asks = |member: &&super::Member| member.assignor.as_deref() == Some(assignor.name());
            self.members.values().filter(asks).count()
        };
        let (uniform, range) = (count(Assignor::Uniform), count(Assignor::Range));
        // Of two that are asked for alike, the one that Java's hash map has first.
        let first = order::strings([Assignor::Uniform.name(), Assignor::Range.name()])[0];
        match (uniform, range) {
            (0, 0) => Assignor::Uniform,
            _ if uniform == range => Assignor::named(first).unwrap_or(Assignor::Uniform),
            _ if uniform > range => Assignor::Uniform,
            _ => Assignor::Range,
        }
    }
}
