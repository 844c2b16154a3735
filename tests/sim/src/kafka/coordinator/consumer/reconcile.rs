//! A member's way from what it has to what it shall have.
//!
//! **Invariant:** a member is at the epoch of the target only once it has let go of what the target
//! takes from it.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::Instant;
use tidegate_core::kafka::wire::{ConsumerGroupHeartbeatRequest as Request, Uuid};

use super::member::{Member, State};
use super::{ConsumerGroup, Spot};
use crate::kafka::Release;
use crate::kafka::topics::Topics;

impl ConsumerGroup {
    /// A step on the way, if there is one. `changed`: the member wants other topics than before.
    pub(super) fn reconcile(
        &mut self,
        now: Instant,
        member: &mut Member,
        changed: bool,
        request: &Request,
        topics: &Topics,
    ) {
        let before = member.clone();
        let wanted = self.wanted(member, topics);
        let at_target = member.epoch == self.target_epoch;
        match member.state {
            State::Stable if at_target && changed => self.shrink(member, &wanted, request),
            State::Stable if at_target => {}
            State::UnrevokedPartitions if still_has(request, &member.pending) => {
                if changed {
                    self.shrink(member, &wanted, request);
                }
            }
            _ => self.approach(member, &wanted, request),
        }
        if *member == before {
            return;
        }
        let until = (now + member.rebalance_timeout, member.epoch);
        member.rebalance_until = (member.state == State::UnrevokedPartitions).then_some(until);
    }

    /// The ids of the topics that the member wants and that there are.
    pub(super) fn wanted(&self, member: &Member, topics: &Topics) -> BTreeSet<Uuid> {
        let matched = self.patterns.get(&member.pattern).into_iter().flat_map(|resolved| &resolved.topics);
        let names = member.names.iter().chain(matched);
        names.map(|name| topics.id_of(name)).filter(|id| *id != Uuid::ZERO).collect()
    }

    /// Its target is as it was; but what it doesn't want any more is taken from it at once.
    fn shrink(&self, member: &mut Member, wanted: &BTreeSet<Uuid>, request: &Request) {
        let lost: Vec<Spot> =
            member.assigned.keys().filter(|(topic, _)| !wanted.contains(topic)).copied().collect();
        let gives_all = wanted.is_empty() && member.pending.is_empty();
        if lost.is_empty() && !gives_all {
            return;
        }
        let mut pending = member.pending.clone();
        for spot in lost {
            pending.extend(member.assigned.remove_entry(&spot));
        }
        if self.release == Release::V4_3 {
            member.previous_epoch = member.epoch;
        }
        if !pending.is_empty() && still_has(request, &pending) {
            (member.state, member.pending) = (State::UnrevokedPartitions, pending);
        }
    }

    fn approach(&self, member: &mut Member, wanted: &BTreeSet<Uuid>, request: &Request) {
        let target: BTreeSet<Spot> = self.targets.get(&member.id).into_iter().flatten().copied().collect();
        let target: BTreeSet<Spot> = target.into_iter().filter(|(topic, _)| wanted.contains(topic)).collect();
        let (mut kept, lost): (BTreeMap<Spot, i32>, BTreeMap<Spot, i32>) =
            std::mem::take(&mut member.assigned).into_iter().partition(|(spot, _)| target.contains(spot));
        let others = |spot: &&Spot| self.owners.get(*spot).is_some_and(|owner| *owner != member.id);
        let (unreleased, free): (Vec<&Spot>, Vec<&Spot>) =
            target.iter().filter(|spot| !kept.contains_key(spot)).partition(others);
        member.previous_epoch = member.epoch;
        if !lost.is_empty() && still_has(request, &lost) {
            (member.state, member.assigned, member.pending) = (State::UnrevokedPartitions, kept, lost);
            return;
        }
        kept.extend(free.into_iter().map(|spot| (*spot, self.target_epoch)));
        let waits = !unreleased.is_empty();
        member.state = if waits { State::UnreleasedPartitions } else { State::Stable };
        member.epoch = self.target_epoch;
        member.assigned = kept;
        member.pending.clear();
    }
}

/// Whether the member did not say that it let go of these.
fn still_has(request: &Request, spots: &BTreeMap<Spot, i32>) -> bool {
    let Some(owned) = &request.topic_partitions else { return true };
    let has = |topic: Uuid, indices: &[i32]| indices.iter().any(|index| spots.contains_key(&(topic, *index)));
    owned.iter().any(|topic| has(topic.topic_id, &topic.partitions))
}
