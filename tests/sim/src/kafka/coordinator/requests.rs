//! Each request about groups to the group that it is about.

use bytes::Bytes;
use tidegate_core::kafka::wire::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, ErrorCode, FindCoordinatorRequest,
    FindCoordinatorResponse, FindCoordinatorResponseCoordinator, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupRequestMemberIdentity,
    LeaveGroupResponse, LeaveGroupResponseMemberResponse, OffsetCommitRequest, OffsetFetchRequest, Request,
    SyncGroupRequest, SyncGroupResponse, read_request,
};

use super::{Answer, ClassicGroup, Coordinator, Group};
use crate::broker::{Fact, PeerId};
use crate::kafka::peer::{Head, Parked};
use crate::kafka::topics::Topics;
use crate::kafka::{Config, Kafka};
use tidegate_core::Instant;

impl Kafka {
    /// Answers a request about a group, or parks it. False: it is none.
    pub(in crate::kafka) fn serve_group(
        &mut self,
        peer: PeerId,
        node: i32,
        key: i16,
        head: Head,
        frame: Bytes,
    ) -> bool {
        let version = head.version;
        let understood = match key {
            FindCoordinatorRequest::KEY => {
                self.answer::<FindCoordinatorRequest>(peer, head, frame, |kafka, request| {
                    kafka.find_coordinator(request, version)
                })
            }
            OffsetCommitRequest::KEY => {
                self.answer::<OffsetCommitRequest>(peer, head, frame, |kafka, request| {
                    kafka.commit(peer, node, &request, version)
                })
            }
            OffsetFetchRequest::KEY => {
                self.answer::<OffsetFetchRequest>(peer, head, frame, |kafka, request| {
                    kafka.fetch_offsets(node, request, version)
                })
            }
            HeartbeatRequest::KEY => self.answer::<HeartbeatRequest>(peer, head, frame, |kafka, request| {
                let error = kafka.coordinator.heartbeat(kafka.now, &kafka.config, node, &request);
                HeartbeatResponse { error_code: error.0, ..Default::default() }
            }),
            LeaveGroupRequest::KEY => {
                self.answer::<LeaveGroupRequest>(peer, head, frame, |kafka, request| {
                    let (now, config) = (kafka.now, &kafka.config);
                    kafka.coordinator.leave(now, config, node, &kafka.topics, request, version)
                })
            }
            ConsumerGroupHeartbeatRequest::KEY => {
                self.answer::<ConsumerGroupHeartbeatRequest>(peer, head, frame, |kafka, request| {
                    kafka.meet(peer, &request.group_id, &request.member_id);
                    kafka.consumer_heartbeat(node, request, version).unwrap_or_else(|error| {
                        let error_code = error.0;
                        ConsumerGroupHeartbeatResponse { error_code, ..Default::default() }
                    })
                })
            }
            JoinGroupRequest::KEY => self.on_join(peer, node, head, frame),
            SyncGroupRequest::KEY => self.on_sync(peer, node, head, frame),
            _ => false,
        };
        self.carry_out();
        understood
    }

    fn on_join(&mut self, peer: PeerId, node: i32, head: Head, frame: Bytes) -> bool {
        let Ok((header, mut request)) = read_request::<JoinGroupRequest>(frame) else { return false };
        if head.version == 0 {
            request.rebalance_timeout_ms = request.session_timeout_ms;
        }
        self.park(peer, head);
        let client = header.client_id.unwrap_or_default();
        let join = Join { peer, client, version: head.version, request };
        if let Err((member_id, error)) = self.coordinator.join(self.now, &self.config, node, join) {
            let refused = JoinGroupResponse { member_id, error_code: error.0, ..Default::default() };
            self.coordinator.answers.push((peer, Answer::Join(refused)));
        }
        true
    }

    fn on_sync(&mut self, peer: PeerId, node: i32, head: Head, frame: Bytes) -> bool {
        let Ok((_, request)) = read_request::<SyncGroupRequest>(frame) else { return false };
        self.park(peer, head);
        self.meet(peer, &request.group_id, &request.member_id);
        let named = request.protocol_type.is_some() && request.protocol_name.is_some();
        let synced = match head.version {
            5.. if !named => Err(ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
            _ => self.coordinator.sync(self.now, &self.config, node, peer, request),
        };
        if let Err(error) = synced {
            let refused = SyncGroupResponse { error_code: error.0, ..Default::default() };
            self.coordinator.answers.push((peer, Answer::Sync(refused)));
        }
        true
    }

    fn meet(&mut self, peer: PeerId, group: &str, member: &str) {
        let (group, member) = (group.to_owned().into(), member.to_owned().into());
        self.facts.push(Fact::Met { group, member, peer });
    }

    fn park(&mut self, peer: PeerId, head: Head) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.parked = Some(Parked::Member { head });
        }
    }

    /// Groups whose time has come.
    pub(in crate::kafka) fn pass_group_time(&mut self) {
        self.coordinator.pass_time(self.now, &self.config, &self.topics);
        self.carry_out();
    }

    /// What groups answered and what changed in them.
    fn carry_out(&mut self) {
        for (id, answer) in std::mem::take(&mut self.coordinator.answers) {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            let Some(Parked::Member { head }) = peer.parked.take_if(|one| one.until().is_none()) else {
                continue;
            };
            self.restless.insert(id);
            match answer {
                Answer::Join(mut response) => {
                    // No name is an empty one in versions that have no null.
                    response.protocol_name =
                        response.protocol_name.filter(|name| head.version < 7 || !name.is_empty());
                    if head.version < 7 {
                        response.protocol_name.get_or_insert_default();
                    }
                    self.reply::<JoinGroupRequest>(id, head, &response);
                }
                Answer::Sync(response) => self.reply::<SyncGroupRequest>(id, head, &response),
            }
        }
        self.name_moves();
        for (group, change) in std::mem::take(&mut self.coordinator.changes) {
            let (name, index) = &change.place;
            let Some(shard) = self.shard_of(name, *index) else { continue };
            let (group, member, epoch) = (group.into(), change.member.into(), change.epoch);
            self.facts.push(match change.lost {
                None => Fact::Owned { shard, group, member, epoch },
                Some(why) => Fact::Disowned { shard, group, member, epoch, why },
            });
        }
    }

    fn find_coordinator(&self, request: FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
        let find = |key: String| {
            let nobody = FindCoordinatorResponseCoordinator { node_id: -1, port: -1, ..Default::default() };
            if request.key_type != GROUP {
                let error_code = ErrorCode::INVALID_REQUEST.0;
                return FindCoordinatorResponseCoordinator { key, error_code, ..nobody };
            }
            let node = self.coordinator.node_of(&key);
            let Some((node_id, (host, port))) = node.and_then(|id| Some((id, self.nodes.address(id)?)))
            else {
                let error_code = ErrorCode::COORDINATOR_NOT_AVAILABLE.0;
                return FindCoordinatorResponseCoordinator { key, error_code, ..nobody };
            };
            FindCoordinatorResponseCoordinator { key, node_id, host, port, ..Default::default() }
        };
        if version >= 4 {
            let coordinators = request.coordinator_keys.into_iter().map(find).collect();
            return FindCoordinatorResponse { coordinators, ..Default::default() };
        }
        let one = find(request.key);
        let error = ErrorCode(one.error_code);
        FindCoordinatorResponse {
            error_code: error.0,
            // Kafka says so of no error as well.
            error_message: Some(error.to_string()),
            node_id: one.node_id,
            host: one.host,
            port: one.port,
            ..Default::default()
        }
    }
}

/// A JoinGroup with whose it is.
pub(super) struct Join {
    pub(super) peer: PeerId,
    pub(super) client: String,
    pub(super) version: i16,
    pub(super) request: JoinGroupRequest,
}

impl Coordinator {
    /// `Err`: refused at once, with the member id that the answer has.
    fn join(
        &mut self,
        now: Instant,
        config: &Config,
        node: i32,
        join: Join,
    ) -> Result<(), (String, ErrorCode)> {
        let (id, member) = (join.request.group_id.clone(), join.request.member_id.clone());
        let refuse = |error| Err((member.clone(), error));
        let session = join.request.session_timeout_ms;
        if id.is_empty() {
            return refuse(ErrorCode::INVALID_GROUP_ID);
        }
        if !session_is_allowed(session, config) {
            return refuse(ErrorCode::INVALID_SESSION_TIMEOUT);
        }
        if let Err(error) = self.ready(now, node, &id) {
            return Err((String::new(), error));
        }
        let known = self.groups.get_mut(&id);
        if let Some(entry) = known
            && let Group::Consumer(group) = &entry.group
        {
            if !group.is_empty() {
                return Err((String::new(), ErrorCode::INCONSISTENT_GROUP_PROTOCOL));
            }
            entry.group = Group::Classic(ClassicGroup::default());
        }
        if member.is_empty() {
            self.create(&id);
        }
        let joined = self.with(now, config, &id, |entry, scope| match &mut entry.group {
            Group::Classic(group) => group.join(scope, join),
            Group::Consumer(_) => {}
        });
        joined.map_or(refuse(ErrorCode::UNKNOWN_MEMBER_ID), Ok)
    }

    fn sync(
        &mut self,
        now: Instant,
        config: &Config,
        node: i32,
        peer: PeerId,
        request: SyncGroupRequest,
    ) -> Result<(), ErrorCode> {
        let id = group_id(&request.group_id)?;
        self.ready(now, node, &id)?;
        self.with(now, config, &id, |entry, scope| match &mut entry.group {
            Group::Classic(group) => group.sync(scope, peer, request),
            Group::Consumer(group) => {
                Err(group.refuse_classic(&request.member_id, request.group_instance_id.as_deref()))
            }
        })
        .unwrap_or(Err(ErrorCode::UNKNOWN_MEMBER_ID))
    }

    fn heartbeat(
        &mut self,
        now: Instant,
        config: &Config,
        node: i32,
        request: &HeartbeatRequest,
    ) -> ErrorCode {
        let mut answer = || {
            let id = group_id(&request.group_id)?;
            self.ready(now, node, &id)?;
            let (member, generation) = (&request.member_id, request.generation_id);
            let instance = request.group_instance_id.as_deref();
            self.with(now, config, &id, |entry, scope| match &mut entry.group {
                Group::Classic(group) => group.heartbeat(scope, member, instance, generation),
                Group::Consumer(group) => Err(group.refuse_classic(member, instance)),
            })
            .unwrap_or(Err(ErrorCode::UNKNOWN_MEMBER_ID))
        };
        match answer() {
            // Who loads takes every member for alive.
            Ok(()) | Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS) => ErrorCode::NONE,
            Err(error) => error,
        }
    }

    fn leave(
        &mut self,
        now: Instant,
        config: &Config,
        node: i32,
        topics: &Topics,
        request: LeaveGroupRequest,
        version: i16,
    ) -> LeaveGroupResponse {
        let mut members = request.members;
        if version < 3 {
            let member_id = request.member_id;
            members = vec![LeaveGroupRequestMemberIdentity { member_id, ..Default::default() }];
        }
        let ready = group_id(&request.group_id).and_then(|id| self.ready(now, node, &id));
        if let Err(error) = ready {
            return LeaveGroupResponse { error_code: error.0, ..Default::default() };
        }
        let left = self.with(now, config, &request.group_id, |entry, scope| match &mut entry.group {
            Group::Classic(group) => group.leave(scope, &members),
            Group::Consumer(group) => group.leave_classic(&members, topics),
        });
        let errors = left.unwrap_or_else(|| vec![ErrorCode::UNKNOWN_MEMBER_ID; members.len()]);
        if version < 3 {
            let error_code = errors.first().map_or(0, |error| error.0);
            return LeaveGroupResponse { error_code, ..Default::default() };
        }
        let members =
            members.into_iter().zip(errors).map(|(member, error)| LeaveGroupResponseMemberResponse {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                error_code: error.0,
            });
        LeaveGroupResponse { members: members.collect(), ..Default::default() }
    }
}

fn group_id(id: &str) -> Result<String, ErrorCode> {
    if id.is_empty() { Err(ErrorCode::INVALID_GROUP_ID) } else { Ok(id.to_owned()) }
}

fn session_is_allowed(millis: i32, config: &Config) -> bool {
    let allowed = config.session_timeout_min.as_millis()..=config.session_timeout_max.as_millis();
    u128::try_from(millis).is_ok_and(|millis| allowed.contains(&millis))
}

/// The kind of key that is a group.
const GROUP: i8 = 0;
