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
