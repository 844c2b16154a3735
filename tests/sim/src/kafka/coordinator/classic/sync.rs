//! SyncGroup: the leader's plan to everybody.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_core::kafka::wire::{
    ConsumerProtocolAssignment, ErrorCode, SyncGroupRequest, SyncGroupResponse, read_embedded,
};

use super::{Answer, ClassicGroup, Scope, State};
use crate::broker::{Lost, PeerId};
use crate::kafka::coordinator::owners::Held;

impl ClassicGroup {
    /// `Err`: refused at once. Else it is answered, now or later.
    pub(in crate::kafka::coordinator) fn sync(
        &mut self,
        scope: &mut Scope<'_>,
        peer: PeerId,
        request: SyncGroupRequest,
    ) -> Result<(), ErrorCode> {
        let id = request.member_id;
        self.validate(&id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        let differs = |said: &Option<String>, known: &Option<String>| {
            said.is_some() && known.is_some() && said != known
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            return Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if self.state == State::Preparing {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        self.unsynced.remove(&id);
        if self.unsynced.is_empty() {
            self.sync_timer = None;
        }
        match self.state {
            State::Completing => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.syncing = Some(peer);
                }
                if self.is_leader(&id) {
                    let plan = request.assignments.into_iter().map(|one| (one.member_id, one.assignment));
                    self.carry_out(scope, plan.collect());
                }
            }
            _ => {
                let assignment = self.members.get(&id).map(|member| member.assignment.clone());
                scope.answer(peer, Answer::Sync(self.assigned(assignment.unwrap_or_default())));
            }
        }
        Ok(())
    }

    /// Everybody gets its assignment; who has none in the plan, an empty one.
    fn carry_out(&mut self, scope: &mut Scope<'_>, mut plan: BTreeMap<String, Bytes>) {
        for (id, member) in &mut self.members {
            member.assignment = plan.remove(id).unwrap_or_default();
        }
        self.state = State::Stable;
        self.settle_owners();
        self.save();
        for (peer, assignment) in self.end_sync(scope) {
            scope.answer(peer, Answer::Sync(self.assigned(assignment)));
        }
    }

    /// The plan is waited for no longer: there is another rebalance.
    pub(super) fn withdraw_plan(&mut self, scope: &mut Scope<'_>) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        for (peer, _) in self.end_sync(scope) {
            let error_code = ErrorCode::REBALANCE_IN_PROGRESS.0;
            scope.answer(peer, Answer::Sync(SyncGroupResponse { error_code, ..Default::default() }));
        }
    }

    /// Who waits in SyncGroup waits no longer; its session begins anew.
    fn end_sync(&mut self, scope: &Scope<'_>) -> Vec<(PeerId, Bytes)> {
        let mut waiting = Vec::new();
        for member in self.members.values_mut() {
            if let Some(peer) = member.syncing.take() {
                member.expires = Some(scope.now + member.session_timeout);
                waiting.push((peer, member.assignment.clone()));
            }
        }
        waiting
    }

    fn assigned(&self, assignment: Bytes) -> SyncGroupResponse {
        let (protocol_type, protocol_name) = (self.protocol_type.clone(), self.protocol.clone());
        SyncGroupResponse { protocol_type, protocol_name, assignment, ..Default::default() }
    }

    /// Who owns what is what the members' assignments say; they are opaque to a broker, and one that
    /// can't be read gives nothing.
    pub(super) fn settle_owners(&mut self) {
        let mut held = Held::new();
        if self.protocol_type.as_deref() == Some("consumer") {
            for (id, member) in &self.members {
                let read = read_embedded::<ConsumerProtocolAssignment>(member.assignment.clone());
                let topics = read.map(|(_, plan)| plan.assigned_partitions).unwrap_or_default();
                for topic in topics {
                    let places = topic.partitions.iter().map(|index| (topic.topic.clone(), *index));
                    held.extend(places.map(|place| ((id.clone(), place), self.generation)));
                }
            }
        }
        self.owners.set(held, Lost::Rebalanced);
    }
}
