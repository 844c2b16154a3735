//! The classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup; one member, the leader,
//! decides who reads what.
//!
//! Eager: everything is let go before joining. Cooperative (KIP-429), if all assignors of this
//! member can: what is owned is read on while joining, what the new assignment lacks is let go
//! after it, and then the group is joined once more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::fetch::millis;
use super::links::read;
use super::machine::Machine;
use super::membership::{Protocol, State};
use super::sticky_data;
use super::task::Task;
use super::wire::{
    self, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
    ConsumerProtocolSubscriptionTopicPartition, ErrorCode, HeartbeatRequest, JoinGroupRequest,
    JoinGroupRequestProtocol, JoinGroupResponseMember, LeaveGroupRequest, LeaveGroupRequestMemberIdentity,
    SyncGroupRequest, SyncGroupRequestAssignment,
};
use crate::assign::{self, Assignor, Memory, RebalanceProtocol};
use crate::desk::Phase;
use crate::error::Error;
use crate::mutation::{self, Mutation};
use crate::options::ConsumerOptions;

use super::cluster::TopicState;

/// The version of the subscription that is sent: owned partitions, generation and rack.
const SUBSCRIPTION: i16 = 3;

/// An assignor that this member can, the favourite first.
#[derive(Clone)]
pub(super) struct Offered {
    pub(super) name: Arc<str>,
    pub(super) assignor: Arc<dyn Assignor>,
    /// Somebody else wrote it.
    pub(super) own: bool,
}

/// What only the classic protocol has.
pub(super) struct Classic {
    pub(super) offered: Vec<Offered>,
    cooperative: bool,
    /// Joining again is due.
    rejoin: bool,
    /// The name of the assignor that the group chose.
    pub(super) chosen: String,
    leader: bool,
    /// As JoinGroup told the leader.
    pub(super) members: Vec<JoinGroupResponseMember>,
    /// The leader's: partitions of each topic when it assigned last.
    pub(super) counts: BTreeMap<String, usize>,
    metadata_came: bool,
    /// The count of subscriptions of which the group was told.
    told_topics: u64,
    /// What was owned before everything was let go, for the sticky assignor.
    memory: (i32, Vec<(String, Vec<i32>)>),
}

impl Classic {
    pub(super) fn new(options: &ConsumerOptions) -> Self {
        let own = options.kafka.own_assignors.iter().filter_map(|own| {
            let assignor = own.assignor()?.clone();
            Some(Offered { name: own.name().into(), assignor, own: true })
        });
        let built_in = options.kafka.assignors.iter().filter_map(|kind| {
            let assignor = assign::by_name(kind.name())?;
            Some(Offered { name: kind.name().into(), assignor, own: false })
        });
        let offered: Vec<_> = own.chain(built_in).collect();
        let cooperative = !offered.is_empty()
            && offered.iter().all(|one| one.assignor.protocol() == RebalanceProtocol::Cooperative);
        Self {
            offered,
            cooperative,
            rejoin: false,
            chosen: String::new(),
            leader: false,
            members: Vec::new(),
            counts: BTreeMap::new(),
            metadata_came: false,
            told_topics: 0,
            memory: (-1, Vec::new()),
        }
    }

    pub(super) fn handle_metadata(&mut self) {
        self.metadata_came = true;
    }

    /// The membership is lost. The id is given by the coordinator; one that it doesn't know is of
    /// no use.
    pub(super) fn begin_anew(&mut self, code: ErrorCode, member_id: &mut String) {
        if code == ErrorCode::UNKNOWN_MEMBER_ID {
            member_id.clear();
        }
        self.rejoin = false;
        self.leader = false;
        self.members.clear();
    }
}

impl Machine {
    /// The group is to be joined again, once what is on its way out is let go; heartbeats go on at
    /// their pace until then. Where it is being joined, that will do.
    pub(super) fn rejoin(&mut self) {
        self.membership.classic.rejoin |= self.membership.state() == State::Stable;
    }

    /// A join that came to nothing begins anew.
    pub(super) fn restart_join(&mut self) {
        if matches!(self.membership.state(), State::Joining | State::Assigning | State::Syncing) {
            if mutation::is(Mutation::JoinWithoutMemberId) && self.membership.protocol == Protocol::Classic {
                self.membership.member_id.clear();
            }
            self.membership.go(State::Unjoined);
            self.membership.heartbeat_at = self.now;
        }
    }

    pub(super) fn pump_classic(&mut self) {
        let due = self.membership.heartbeat_at <= self.now && !self.membership.in_flight;
        if self.phase == Phase::Closing || self.membership.state() == State::Leaving {
            if due && self.membership.state() == State::Leaving {
                self.send_leave();
            }
            return;
        }
        if std::mem::take(&mut self.membership.classic.metadata_came) {
            self.watch_partitions();
        }
        match self.membership.state() {
            State::Unjoined if due => self.prepare_join(),
            // Its answer must not be taken for that of the join.
            State::Preparing if self.membership.revoking.is_none() && !self.membership.in_flight => {
                self.send_join();
            }
            // The last commits may take longer than a session.
            State::Preparing if due && self.membership.revoking.is_some() => self.send_heartbeat(),
            State::Assigning => self.assign_as_leader(),
            State::Stable => {
                if self.membership.classic.told_topics != self.cluster.subscriptions {
                    self.rejoin();
                }
                self.reconcile();
                if self.membership.classic.rejoin && self.membership.revoking.is_none() {
                    if !self.membership.in_flight {
                        self.prepare_join();
                    }
                } else if due {
                    self.send_heartbeat();
                }
            }
            _ => {}
        }
    }

    /// Eager: what is owned is let go first.
    fn prepare_join(&mut self) {
        self.membership.classic.rejoin = false;
        let owned: Vec<_> = self.partitions.owned().iter().copied().collect();
        if self.membership.classic.cooperative || owned.is_empty() {
            return self.send_join();
        }
        self.remember_owned();
        self.membership.go(State::Preparing);
        self.membership.heartbeat_at = self.now + self.config.options.kafka.heartbeat_interval;
        self.membership.target.clear();
        self.membership.reconciled = None;
        self.revoke(owned);
    }

    /// Cooperative: what was let go is free for others once everybody joined again.
    pub(super) fn on_revoked_classic(&mut self) {
        if self.membership.state() == State::Stable {
            self.rejoin();
        }
    }

    fn owned_by_topic(&self) -> BTreeMap<String, Vec<i32>> {
        let mut owned: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for &slot in self.partitions.owned() {
            let partition = self.partitions.at(slot);
            if !partition.is_leaving() {
                owned.entry(partition.stream.to_string()).or_default().push(partition.index);
            }
        }
        owned
    }

    fn remember_owned(&mut self) {
        let owned = self.owned_by_topic().into_iter().collect();
        self.membership.classic.memory = (self.membership.generation, owned);
    }

    fn subscription(&self, assignor: &dyn Assignor) -> Bytes {
        let classic = &self.membership.classic;
        let topics: Vec<String> = self
            .cluster
            .topics()
            .iter()
            .filter(|topic| topic.subscribed)
            .map(|topic| topic.text.clone())
            .collect();
        let generation = self.membership.generation;
        let memory = assignor.memory();
        let owned: Vec<_> = match memory {
            // Eager: everything was let go by now.
            Memory::UserData if !classic.cooperative => classic.memory.1.clone(),
            _ => self.owned_by_topic().into_iter().collect(),
        };
        let user_data = match memory {
            Memory::None => assignor.user_data(&topics),
            Memory::UserData if !classic.cooperative => sticky_data::encode(memory, &owned, classic.memory.0),
            _ => sticky_data::encode(memory, &owned, generation),
        };
        let owned = if memory == Memory::UserData { Vec::new() } else { owned };
        let subscription = ConsumerProtocolSubscription {
            topics,
            user_data: (!user_data.is_empty()).then_some(user_data),
            owned_partitions: owned
                .into_iter()
                .map(|(topic, partitions)| ConsumerProtocolSubscriptionTopicPartition { topic, partitions })
                .collect(),
            generation_id: generation,
            rack_id: self.config.options.kafka.rack.clone(),
        };
        // Fails for nothing that can be in there: names and counts come from options and metadata
        // within the wire's lengths. An empty subscription is refused by the leader.
        wire::write_embedded(SUBSCRIPTION, &subscription).unwrap_or_default()
    }

    fn send_join(&mut self) {
        let now = self.now;
        let kafka = &self.config.options.kafka;
        let client_id = kafka.client_id.clone();
        let (session, rebalance) = (kafka.session_timeout, kafka.rebalance_timeout);
        // Others may take as long as the rebalance to join; but the first of two steps, which only
        // brings a member id, waits for nobody (KIP-394).
        let first = self.membership.member_id.is_empty() && self.membership.instance.is_none();
        let patience = self.response_timeout() + if first { Duration::ZERO } else { rebalance };
        let protocols: Vec<_> = self
            .membership
            .classic
            .offered
            .iter()
            .map(|one| JoinGroupRequestProtocol {
                name: one.name.to_string(),
                metadata: self.subscription(one.assignor.as_ref()),
            })
            .collect();
        let (group_id, member_id) = (self.config.group.clone(), self.membership.member_id.clone());
        let instance = self.membership.instance.clone();
        let Some(link) = self.coordinator_link() else { return };
        let number = link.conn().number;
        let Some(version) = link.version::<JoinGroupRequest>() else {
            return self.too_old(number, "JoinGroup");
        };
        let request = JoinGroupRequest {
            group_id,
            session_timeout_ms: millis(session),
            rebalance_timeout_ms: millis(rebalance),
            member_id,
            group_instance_id: instance.filter(|_| version >= 5),
            protocol_type: "consumer".into(),
            protocols,
            reason: None,
        };
        link.send(now, &client_id, version, &request, Task::JoinGroup, patience);
        self.membership.classic.told_topics = self.cluster.subscriptions;
        self.membership.in_flight = true;
        self.membership.go(State::Joining);
    }

    pub(super) fn on_joined(&mut self, version: i16, frame: Bytes) -> Result<(), Error> {
        let response = read::<JoinGroupRequest>(frame, version)?;
        self.membership.handle_answer();
        if self.membership.state() != State::Joining {
            return Ok(());
        }
        match ErrorCode(response.error_code) {
            ErrorCode::NONE => {}
            // The first of two steps, so that a join that is lost leaves no ghost (KIP-394).
            ErrorCode::MEMBER_ID_REQUIRED => {
                self.membership.member_id = response.member_id;
                self.membership.go(State::Unjoined);
                self.membership.heartbeat_at = self.now;
                return Ok(());
            }
            code => {
                self.membership.go(State::Unjoined);
                self.membership.heartbeat_at = self.now;
                return self.on_group_error(code, "JoinGroup");
            }
        }
        self.group_works();
        let membership = &mut self.membership;
        membership.generation = response.generation_id;
        membership.classic.leader = response.leader == response.member_id;
        membership.member_id = response.member_id;
        membership.classic.chosen = response.protocol_name.unwrap_or_default();
        membership.classic.members = Vec::new();
        if membership.classic.leader && !response.skip_assignment {
            membership.classic.members = response.members;
            membership.go(State::Assigning);
            self.assign_as_leader();
        } else {
            self.send_sync(Vec::new());
        }
        Ok(())
    }

    pub(super) fn send_sync(&mut self, assignments: Vec<SyncGroupRequestAssignment>) {
        let now = self.now;
        let client_id = self.config.options.kafka.client_id.clone();
        // The leader may need as long as its session lasts; without it everybody joins again.
        let patience = self.response_timeout() + self.config.options.kafka.session_timeout;
        let (group_id, member_id) = (self.config.group.clone(), self.membership.member_id.clone());
        let (instance, chosen) = (self.membership.instance.clone(), self.membership.classic.chosen.clone());
        let generation_id = self.membership.generation;
        let Some(link) = self.coordinator_link() else { return self.restart_join() };
        let number = link.conn().number;
        let Some(version) = link.version::<SyncGroupRequest>() else {
            return self.too_old(number, "SyncGroup");
        };
        let request = SyncGroupRequest {
            group_id,
            generation_id,
            member_id,
            group_instance_id: instance.filter(|_| version >= 3),
            protocol_type: Some("consumer".into()),
            protocol_name: Some(chosen),
            assignments,
        };
        link.send(now, &client_id, version, &request, Task::SyncGroup, patience);
        self.membership.in_flight = true;
        self.membership.go(State::Syncing);
    }

    pub(super) fn on_synced(&mut self, version: i16, frame: Bytes) -> Result<(), Error> {
        let response = read::<SyncGroupRequest>(frame, version)?;
        self.membership.handle_answer();
        if self.membership.state() != State::Syncing {
            return Ok(());
        }
        if response.error_code != 0 {
            self.membership.go(State::Unjoined);
            self.membership.heartbeat_at = self.now;
            return self.on_group_error(ErrorCode(response.error_code), "SyncGroup");
        }
        self.group_works();
        let mut target = BTreeSet::new();
        if !response.assignment.is_empty() {
            let (_, assignment) = wire::read_embedded::<ConsumerProtocolAssignment>(response.assignment)
                .map_err(super::link::broken)?;
            for topic in assignment.assigned_partitions {
                // The leader may know of a topic before we do; but not one that we didn't want.
                let Some(at) = self.cluster.named(&topic.topic) else { continue };
                if self.cluster.topic(at).is_some_and(|topic| topic.subscribed) {
                    target.extend(
                        topic.partitions.into_iter().filter(|index| *index >= 0).map(|index| (at, index)),
                    );
                }
            }
        }
        self.membership.target = target;
        self.membership.reconciled = None;
        self.membership.go(State::Stable);
        self.membership.heartbeat_at = self.now + self.config.options.kafka.heartbeat_interval;
        self.reconcile();
        Ok(())
    }

    /// The leader sees to it that partitions that were added are assigned.
    fn watch_partitions(&mut self) {
        if !self.membership.classic.leader || self.membership.state() != State::Stable {
            return;
        }
        let counts = &self.membership.classic.counts;
        let changed = self.cluster.topics().iter().any(|topic| {
            topic.state == TopicState::Present
                && counts.get(&topic.text).is_none_or(|count| *count != topic.leaders.len())
                && (topic.subscribed || counts.contains_key(&topic.text))
        });
        if changed {
            self.rejoin();
        }
    }

    fn send_heartbeat(&mut self) {
        let (now, patience) = (self.now, self.coordinator_timeout());
        let client_id = self.config.options.kafka.client_id.clone();
        let (group_id, member_id) = (self.config.group.clone(), self.membership.member_id.clone());
        let (instance, generation_id) = (self.membership.instance.clone(), self.membership.generation);
        let Some(link) = self.coordinator_link() else { return };
        let number = link.conn().number;
        let Some(version) = link.version::<HeartbeatRequest>() else {
            return self.too_old(number, "Heartbeat");
        };
        let group_instance_id = instance.filter(|_| version >= 3);
        let request = HeartbeatRequest { group_id, generation_id, member_id, group_instance_id };
        link.send(now, &client_id, version, &request, Task::Heartbeat, patience);
        self.membership.in_flight = true;
        self.membership.heartbeat_at = now + self.config.options.kafka.heartbeat_interval;
    }

    pub(super) fn on_heartbeat(&mut self, version: i16, frame: Bytes) -> Result<(), Error> {
        let response = read::<HeartbeatRequest>(frame, version)?;
        self.membership.handle_answer();
        if !matches!(self.membership.state(), State::Stable | State::Preparing) {
            return Ok(());
        }
        match ErrorCode(response.error_code) {
            ErrorCode::NONE => {
                self.group_works();
                Ok(())
            }
            // It is about to join.
            ErrorCode::REBALANCE_IN_PROGRESS if self.membership.state() == State::Preparing => Ok(()),
            code => self.on_group_error(code, "Heartbeat"),
        }
    }

    fn send_leave(&mut self) {
        let (now, patience) = (self.now, self.response_timeout());
        let client_id = self.config.options.kafka.client_id.clone();
        let (group_id, member_id) = (self.config.group.clone(), self.membership.member_id.clone());
        let Some(link) = self.coordinator_link() else { return };
        let Some(version) = link.version::<LeaveGroupRequest>() else {
            return self.membership.go(State::Left);
        };
        let request = match version {
            ..3 => LeaveGroupRequest { group_id, member_id, members: Vec::new() },
            _ => {
                let member =
                    LeaveGroupRequestMemberIdentity { member_id, group_instance_id: None, reason: None };
                LeaveGroupRequest { group_id, member_id: String::new(), members: vec![member] }
            }
        };
        link.send(now, &client_id, version, &request, Task::LeaveGroup, patience);
        self.membership.in_flight = true;
    }

    pub(super) fn on_left(&mut self, version: i16, frame: Bytes) -> Result<(), Error> {
        let response = read::<LeaveGroupRequest>(frame, version)?;
        self.on_leave_answer(ErrorCode(response.error_code));
        Ok(())
    }

    /// Sent again where it didn't reach the coordinator (K6); anything else means that we are out.
    pub(super) fn on_leave_answer(&mut self, code: ErrorCode) {
        if self.membership.state() != State::Leaving {
            return;
        }
        self.membership.in_flight = false;
        match code {
            ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => self.lose_coordinator(),
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS => self.wait_a_while(),
            _ => self.membership.go(State::Left),
        }
    }
}
