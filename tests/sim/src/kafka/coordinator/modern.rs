//! Where groups of the new protocol (KIP-848) meet the coordinator.

use tidegate_core::kafka::wire::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, ErrorCode};

use super::consumer::{self, ConsumerGroup};
use super::offsets::Offsets;
use super::owners::Change;
use super::{Entry, Group};
use crate::kafka::Kafka;

impl Kafka {
    /// ConsumerGroupHeartbeat. Who comes to an empty classic group makes it one of the new protocol.
    /// A group is not made for who is refused.
    pub(super) fn consumer_heartbeat(
        &mut self,
        node: i32,
        mut request: ConsumerGroupHeartbeatRequest,
        version: i16,
    ) -> Result<ConsumerGroupHeartbeatResponse, ErrorCode> {
        consumer::refusal(&request, version)?;
        let id = request.group_id.clone();
        let (now, config, topics) = (self.now, &self.config, &self.topics);
        let coordinator = &mut self.coordinator;
        coordinator.ready(now, node, &id)?;
        if request.member_id.is_empty() {
            request.member_id = coordinator.uuid();
        }
        let anew = match coordinator.groups.get(&id).map(|entry| &entry.group) {
            None => request.member_epoch == 0,
            Some(Group::Classic(group)) => request.member_epoch == 0 && group.is_empty(),
            Some(Group::Consumer(_)) => false,
        };
        if anew {
            let mut group = ConsumerGroup::new(config.release);
            let response = group.heartbeat(now, &request, topics, &config.consumer_groups)?;
            let former = coordinator.groups.remove(&id);
            let offsets = former.map_or_else(Offsets::default, |entry| entry.offsets);
            coordinator.groups.insert(id.clone(), Entry { group: Group::Consumer(group), offsets });
            coordinator.with(now, config, &id, |_, _| ());
            return Ok(response);
        }
        let answer = coordinator.with(now, config, &id, |entry, scope| match &mut entry.group {
            Group::Classic(_) => Err(ErrorCode::GROUP_ID_NOT_FOUND),
            Group::Consumer(group) => group.heartbeat(now, &request, topics, &scope.config.consumer_groups),
        });
        answer.unwrap_or(Err(ErrorCode::GROUP_ID_NOT_FOUND))
    }

    /// Changes in such groups, by the names of the topics; of a topic that is gone there is nothing
    /// to tell.
    pub(super) fn name_moves(&mut self) {
        for (group, change) in std::mem::take(&mut self.coordinator.moves) {
            let (topic, index) = change.spot;
            if let Some(name) = self.topics.name_of(topic, "") {
                let (place, epoch) = ((name.to_owned(), index), change.epoch);
                let change = Change { member: change.member, place, epoch, lost: change.lost };
                self.coordinator.changes.push((group, change));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

    use tidegate_core::kafka::wire::{
        HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol, LeaveGroupRequest,
        LeaveGroupRequestMemberIdentity,
    };

    use super::super::tests::{Bed, commit, committed};
    use super::*;
    use crate::broker::{Fact, Lost};
    use crate::kafka::Config;

    fn beat(bed: &mut Bed, member: &str, epoch: i32) -> ConsumerGroupHeartbeatResponse {
        let joins = epoch == 0;
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "billing".into(),
            member_id: member.into(),
            member_epoch: epoch,
            rebalance_timeout_ms: if joins { 60_000 } else { -1 },
            subscribed_topic_names: joins.then(|| vec!["orders".into()]),
            topic_partitions: joins.then(Vec::new),
            ..Default::default()
        };
        bed.ask(1, i16::from(!member.is_empty()), &request)
    }

    fn join() -> JoinGroupRequest {
        JoinGroupRequest {
            group_id: "billing".into(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol { name: "range".into(), ..Default::default() }],
            ..Default::default()
        }
    }

    #[test]
    fn a_member_joins_commits_and_leaves_and_all_of_it_is_told() {
        let mut bed = Bed::new(Config::default());
        bed.connect(1, 1);
        assert_eq!(beat(&mut bed, "m", 3).error_code, ErrorCode::GROUP_ID_NOT_FOUND.0);
        let joined = beat(&mut bed, "m", 0);
        assert_eq!((joined.error_code, joined.member_epoch, joined.heartbeat_interval_ms), (0, 2, 5_000));
        assert_eq!(joined.assignment.unwrap().topic_partitions[0].partitions, [0, 1, 2, 3]);
        let owned = |shard| Fact::Owned { shard, group: "billing".into(), member: "m".into(), epoch: 2 };
        assert_eq!(bed.facts(), [owned(0), owned(1)]);
        assert_eq!(committed(&mut bed, 1, &commit("billing", "m", 1)), ErrorCode::STALE_MEMBER_EPOCH);
        assert_eq!(committed(&mut bed, 1, &commit("billing", "m", 2)), ErrorCode::NONE);
        assert_eq!(bed.kafka.committed("billing", "orders", 0), Some(5));
        assert!(matches!(bed.facts()[..], [Fact::CommittedTo { .. }]));
        assert_eq!(beat(&mut bed, "m", -1).error_code, 0);
        let lost = bed.facts().into_iter().map(|fact| matches!(fact, Fact::Disowned { why: Lost::Left, .. }));
        assert_eq!(lost.collect::<Vec<_>>(), [true, true]);
        // In the first version the broker makes the member's id.
        let named = beat(&mut bed, "", 0);
        assert_eq!(named.member_id.unwrap().len(), 36);
    }

    #[test]
    fn sessions_end_by_themselves_and_begin_anew_with_another_coordinator() {
        let mut bed = Bed::new(Config { nodes: 2, ..Config::default() });
        let node = bed.kafka.coordinator("billing").unwrap();
        bed.connect(1, usize::try_from(node).unwrap());
        beat(&mut bed, "m", 0);
        bed.facts();
        bed.pass(44_000);
        bed.kafka.reload_coordinator("billing", std::time::Duration::ZERO);
        bed.pass(44_000);
        assert_eq!(bed.facts(), []);
        bed.pass(1_000);
        assert_eq!(bed.facts().len(), 2);
        assert_eq!(beat(&mut bed, "m", 2).error_code, ErrorCode::UNKNOWN_MEMBER_ID.0);
    }

    #[test]
    fn an_empty_group_becomes_what_its_next_member_speaks() {
        let mut bed = Bed::new(Config::default());
        bed.connect(1, 1);
        committed(&mut bed, 1, &commit("billing", "", -1));
        assert_eq!(beat(&mut bed, "m", 0).error_code, 0);
        // As long as it has members, the other kind is refused.
        assert_eq!(bed.ask(1, 9, &join()).error_code, ErrorCode::INCONSISTENT_GROUP_PROTOCOL.0);
        let classic =
            HeartbeatRequest { group_id: "billing".into(), member_id: "m".into(), ..Default::default() };
        assert_eq!(bed.ask(1, 4, &classic).error_code, ErrorCode::UNKNOWN_MEMBER_ID.0);
        let identity = LeaveGroupRequestMemberIdentity { member_id: "m".into(), ..Default::default() };
        let leave =
            LeaveGroupRequest { group_id: "billing".into(), members: vec![identity], ..Default::default() };
        assert_eq!(bed.ask(1, 5, &leave).members[0].error_code, 0);
        let asked = bed.ask(1, 9, &join());
        assert_eq!(asked.error_code, ErrorCode::MEMBER_ID_REQUIRED.0);
        let joined = bed.ask(1, 9, &JoinGroupRequest { member_id: asked.member_id, ..join() });
        assert_eq!((joined.error_code, joined.generation_id), (0, 1));
        assert_eq!(beat(&mut bed, "m", 0).error_code, ErrorCode::GROUP_ID_NOT_FOUND.0);
        assert_eq!(bed.kafka.committed("billing", "orders", 0), Some(5));
    }
}
