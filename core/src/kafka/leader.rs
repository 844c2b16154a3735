//! The leader of a classic group: what all members want, in, and who reads what, out.
//!
//! **Invariant:** each member has an answer, if only that it reads nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cluster::TopicState;
use super::machine::Machine;
use super::sticky_data;
use super::wire::{
    self, ConsumerProtocolAssignment, ConsumerProtocolAssignmentTopicPartition, ConsumerProtocolSubscription,
    JoinGroupResponseMember, SyncGroupRequestAssignment,
};
use crate::assign::{self, Member, Memory};
use crate::delivery::Notice;
use crate::error::Error;

impl Machine {
    /// The leader decides, once all topics that members want are known.
    pub(super) fn assign_as_leader(&mut self) {
        let chosen = &self.membership.classic.chosen;
        let offered = self.membership.classic.offered.iter().find(|one| *one.name == **chosen).cloned();
        let Some(offered) = offered else {
            let error = Error::Protocol(
                format!("the group chose the assignor {chosen}, which we didn't offer").into(),
            );
            return self.fail(error);
        };
        let members = std::mem::take(&mut self.membership.classic.members);
        let memory = offered.assignor.memory();
        let mut wanted = BTreeSet::new();
        let parsed: Vec<Member> = members
            .iter()
            .map(|member| {
                let mut parsed = member_of(member, memory);
                parsed.topics.truncate(self.config.options.limits.shards_max);
                // One that is gone since we joined: another join, without it, follows.
                let is_read = |name: &String| {
                    let known = self.cluster.named(name).and_then(|at| self.cluster.topic(at));
                    known.is_some_and(|topic| topic.subscribed)
                };
                if member.member_id == self.membership.member_id {
                    parsed.topics.retain(is_read);
                }
                wanted.extend(parsed.topics.iter().cloned());
                parsed
            })
            .collect();
        let mut added = false;
        let mut topics = Vec::new();
        // Those that aren't there have none, and are noticed when they appear.
        let mut counts = BTreeMap::new();
        let mut unknown = false;
        let unwanted = self.cluster.foreign().filter(|(_, topic)| !wanted.contains(&topic.text));
        let unwanted: Vec<_> = unwanted.map(|(at, _)| at).collect();
        for at in unwanted {
            self.cluster.forget(at);
        }
        for name in wanted.into_iter().take(self.config.options.limits.shards_max) {
            added |= self.cluster.named(&name).is_none();
            let at = self.cluster.add(&name);
            let Some(topic) = self.cluster.topic(at) else { continue };
            unknown |= topic.state == TopicState::Unknown;
            let racks = topic.leaders.iter().map(|leader| self.racks_of(&leader.replicas)).collect();
            let partitions = i32::try_from(topic.leaders.len()).unwrap_or(i32::MAX);
            counts.insert(name.clone(), 0);
            if topic.state == TopicState::Present {
                counts.insert(name.clone(), topic.leaders.len());
                topics.push(assign::Topic { name, partitions, racks });
            }
        }
        if unknown {
            if added {
                self.refresh_soon();
            }
            self.membership.classic.members = members;
            return;
        }
        self.membership.classic.counts = counts;
        let plan = match offered.assignor.assign(&topics, &parsed) {
            // Somebody else's answer is believed as far as it can be carried out.
            Ok(plan) if offered.own => assign::vetted(&plan, offered.assignor.protocol(), &topics, &parsed),
            plan => plan.map(|plan| (plan, assign::LeftOut::default())),
        };
        let (assignments, left_out) = match plan {
            Ok(plan) => plan,
            Err(error) => return self.fail(Error::Options(error.to_string().into())),
        };
        if let Some(what) = left_out.first {
            let (assignor, partitions) = ((&*offered.name).into(), left_out.partitions);
            self.desk.notice(Notice::LeftOut { assignor, partitions, what });
        }
        let assignments = assignments
            .into_iter()
            .map(|one| {
                let assigned_partitions = one
                    .topics()
                    .map(|(topic, partitions)| ConsumerProtocolAssignmentTopicPartition {
                        topic: topic.to_owned(),
                        partitions: partitions.to_vec(),
                    })
                    .collect();
                let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
                SyncGroupRequestAssignment {
                    member_id: one.member().to_owned(),
                    assignment: wire::write_embedded(1, &assignment).unwrap_or_default(),
                }
            })
            .collect();
        self.send_sync(assignments);
    }

    fn racks_of(&self, replicas: &[i32]) -> Vec<Arc<str>> {
        let rack = |broker| self.cluster.brokers.get(broker)?.rack.as_deref().map(Arc::from);
        replicas.iter().filter_map(rack).collect()
    }
}

/// A member as its subscription tells, whoever's client it is. One that can't be read wants
/// nothing.
fn member_of(member: &JoinGroupResponseMember, memory: Memory) -> Member {
    let mut parsed = Member::new(member.member_id.clone(), Vec::<String>::new());
    parsed.instance = member.group_instance_id.clone();
    let Ok((_, subscription)) = wire::read_embedded::<ConsumerProtocolSubscription>(member.metadata.clone())
    else {
        return parsed;
    };
    parsed.topics = subscription.topics;
    parsed.rack = subscription.rack_id;
    parsed.user_data = subscription.user_data.unwrap_or_default();
    parsed.generation = subscription.generation_id;
    parsed.owned =
        subscription.owned_partitions.into_iter().map(|owned| (owned.topic, owned.partitions)).collect();
    sticky_data::recall(memory, &mut parsed);
    parsed
}
