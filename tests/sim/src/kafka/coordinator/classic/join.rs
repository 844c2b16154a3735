//! JoinGroup: who asks, and whether the group rebalances for it.

use std::time::Duration;

use tidegate_core::kafka::wire::{
    ErrorCode, JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember, SyncGroupResponse,
};

use super::member::{Member, millis};
use super::{Answer, ClassicGroup, Scope, State};
use crate::broker::{Lost, PeerId};
use crate::kafka::coordinator::requests::Join;

/// How long a new member may wait for its first generation: it can't send heartbeats, and a broker
/// doesn't see that a connection that waits is closed (`classicGroupNewMemberJoinTimeoutMs`).
const NEW_MEMBER: Duration = Duration::from_secs(5 * 60);
/// The first version in which a member must know its id before it joins (KIP-394).
const ID_REQUIRED: i16 = 4;
/// The first version in which a leader can be told not to plan (KIP-814).
const SKIP_ASSIGNMENT: i16 = 9;

impl ClassicGroup {
    pub(in crate::kafka::coordinator) fn join(&mut self, scope: &mut Scope<'_>, join: Join) {
        let Join { peer, client, version, request } = join;
        let id = request.member_id.as_str();
        if !self.has_room_for(scope, id) {
            self.remove(id, Lost::Fenced);
            return refuse(scope, peer, "", ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        if !self.can_work_with(&request) {
            return refuse(scope, peer, id, ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
        }
        if !id.is_empty() {
            return self.join_known(scope, peer, &request);
        }
        let new_id = scope.member_id(request.group_instance_id.as_deref().unwrap_or(&client));
        match &request.group_instance_id {
            Some(instance) => match self.statics.get(instance).cloned() {
                Some(old) => self.replace(scope, peer, version, &old, new_id, &request),
                None => self.add(scope, peer, new_id, &request),
            },
            None if version >= ID_REQUIRED => {
                self.reserved.insert(new_id.clone(), scope.now + millis(request.session_timeout_ms));
                refuse(scope, peer, &new_id, ErrorCode::MEMBER_ID_REQUIRED);
            }
            None => self.add(scope, peer, new_id, &request),
        }
    }

    /// Known members always have room, but for those who join last when too many do.
    fn has_room_for(&self, scope: &Scope<'_>, id: &str) -> bool {
        let most = scope.config.group_max_size;
        let known = self.members.get(id);
        match self.state {
            State::Empty => true,
            State::Preparing => {
                let waiting = self.members.values().filter(|member| member.joining.is_some()).count();
                known.is_some_and(|member| member.joining.is_some()) || waiting < most
            }
            State::Completing | State::Stable => known.is_some() || self.members.len() < most,
        }
    }

    /// Whether one of its protocols is everybody's.
    fn can_work_with(&self, request: &JoinGroupRequest) -> bool {
        if self.state == State::Empty {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(&request.protocol_type)
            && request.protocols.iter().any(|one| self.supporters(&one.name) == self.members.len())
    }

    fn join_known(&mut self, scope: &mut Scope<'_>, peer: PeerId, request: &JoinGroupRequest) {
        let id = request.member_id.as_str();
        if self.reserved.contains_key(id) {
            return self.add(scope, peer, id.to_owned(), request);
        }
        if let Err(error) = self.validate(id, request.group_instance_id.as_deref()) {
            return refuse(scope, peer, id, error);
        }
        let same = self.members.get(id).is_some_and(|member| member.matches(request));
        match self.state {
            // Its answer was lost: here is the generation again.
            State::Completing if same => self.tell_generation(scope, peer, id, false),
            // A leader that joins wants a plan, for topics have changed.
            State::Stable if same && !self.is_leader(id) => self.tell_generation(scope, peer, id, false),
            State::Empty => refuse(scope, peer, id, ErrorCode::UNKNOWN_MEMBER_ID),
            _ => {
                if let Some(member) = self.members.get_mut(id) {
                    member.update(peer, request);
                }
                self.rebalance(scope);
            }
        }
    }

    fn add(&mut self, scope: &mut Scope<'_>, peer: PeerId, id: String, request: &JoinGroupRequest) {
        let mut member = Member::new(peer, request);
        member.expires = Some(scope.now + NEW_MEMBER);
        self.newcomer |= self.state == State::Preparing && self.initial;
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.reserved.remove(&id);
        self.leader.get_or_insert_with(|| id.clone());
        self.members.insert(id, member);
        self.rebalance(scope);
    }

    /// A static member is back under a new id, and whoever has the old one is fenced.
    fn replace(
        &mut self,
        scope: &mut Scope<'_>,
        peer: PeerId,
        version: i16,
        old: &str,
        id: String,
        request: &JoinGroupRequest,
    ) {
        let Some(mut member) = self.members.remove(old) else { return };
        if let Some(other) = member.joining.take() {
            refuse(scope, other, old, ErrorCode::FENCED_INSTANCE_ID);
        }
        if let Some(other) = member.syncing.take() {
            let error_code = ErrorCode::FENCED_INSTANCE_ID.0;
            scope.answer(other, Answer::Sync(SyncGroupResponse { error_code, ..Default::default() }));
        }
        // The session is still the one that it had.
        member.expires = Some(scope.now + member.session_timeout);
        member.new = false;
        member.update(peer, request);
        let leader = self.leader.clone();
        if self.is_leader(old) {
            self.leader = Some(id.clone());
        }
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), id.clone());
        }
        self.members.insert(id.clone(), member);
        self.owners.replace(old, &id);
        match self.state {
            State::Stable if self.select_protocol() == self.protocol => {
                self.save();
                if let Some(member) = self.members.get_mut(&id) {
                    member.joining = None;
                }
                if version >= SKIP_ASSIGNMENT {
                    return self.tell_generation(scope, peer, &id, true);
                }
                // It is told that its old self leads, so that it doesn't plan.
                let told = self.generation_for(&id, false);
                let told =
                    JoinGroupResponse { leader: leader.unwrap_or_default(), members: Vec::new(), ..told };
                scope.answer(peer, Answer::Join(told));
            }
            State::Stable => self.rebalance(scope),
            // The plan on its way has the old id.
            State::Completing => self.prepare(scope),
            State::Preparing => self.try_complete(scope),
            State::Empty => {}
        }
    }

    /// Answers with the generation as it is. `skip`: a leader need not plan.
    pub(super) fn tell_generation(&self, scope: &mut Scope<'_>, peer: PeerId, id: &str, skip: bool) {
        scope.answer(peer, Answer::Join(self.generation_for(id, skip)));
    }

    /// The generation, as a member is told it; a leader with everybody's metadata.
    fn generation_for(&self, id: &str, skip: bool) -> JoinGroupResponse {
        let leads = self.is_leader(id);
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.iter().filter(|_| leads).map(|(id, member)| JoinGroupResponseMember {
            member_id: id.clone(),
            group_instance_id: member.instance.clone(),
            metadata: member.metadata_of(protocol).cloned().unwrap_or_default(),
        });
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: skip && leads,
            member_id: id.to_owned(),
            members: members.collect(),
            ..Default::default()
        }
    }

    /// Refuses a member that waits to join.
    pub(super) fn refuse_join(&mut self, scope: &mut Scope<'_>, id: &str, told: &str, error: ErrorCode) {
        if let Some(peer) = self.members.get_mut(id).and_then(|member| member.joining.take()) {
            refuse(scope, peer, told, error);
        }
    }
}

fn refuse(scope: &mut Scope<'_>, peer: PeerId, id: &str, error: ErrorCode) {
    let (member_id, error_code) = (id.to_owned(), error.0);
    scope.answer(peer, Answer::Join(JoinGroupResponse { member_id, error_code, ..Default::default() }));
}
