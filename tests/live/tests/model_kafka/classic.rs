//! Requests of classic members.

use bytes::Bytes;
use tidegate_core::kafka::wire::{
    ErrorCode, HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol, LeaveGroupRequest,
    LeaveGroupRequestMemberIdentity, SyncGroupRequest, SyncGroupRequestAssignment,
};

use super::ask::{Answer, Ask};
use super::generate::{CLASSIC, Generator};

/// A classic member, on a connection of its own.
#[derive(Clone, Debug)]
pub struct ClassicMember {
    connection: usize,
    /// Empty until the broker gives it one.
    pub id: String,
    pub instance: Option<String>,
    /// -1: in none.
    pub generation: i32,
    /// The members that it has to plan for, if it leads.
    plans_for: Vec<String>,
    leader: String,
    protocol: Option<String>,
    syncs: bool,
    metadata: u64,
}

impl ClassicMember {
    pub fn new(connection: usize) -> Self {
        Self {
            connection,
            id: String::new(),
            instance: None,
            generation: -1,
            plans_for: Vec::new(),
            leader: String::new(),
            protocol: None,
            syncs: false,
            metadata: 0,
        }
    }
}

impl Generator {
    pub(super) fn classic_ask(&mut self, busy: &[bool], free: usize) -> (usize, Ask) {
        let at = self.index(CLASSIC);
        let connection = self.classic[at].connection;
        let group = self.classic_group_or_other();
        let member = self.classic[at].clone();
        let waits = busy[connection];
        let choice = self.tape.below(20);
        if !waits && (member.generation < 0 || choice < 3) {
            return (connection, self.join(at, group));
        }
        if !waits && (member.syncs && choice < 16 || choice == 4) {
            return (connection, self.sync(&member, group));
        }
        // Whom a broker makes the leader after one that leaves hangs on ids that it made up.
        let others = |one: &ClassicMember| {
            one.connection != connection && (!one.id.is_empty() || busy[one.connection])
        };
        let stays = self.leads(&member.id) && self.classic.iter().any(others);
        match choice {
            17 | 18 if !stays => (free, self.leave(at, group)),
            _ => (free, self.heartbeat(&member, group)),
        }
    }

    /// Whether anybody was told that it leads.
    fn leads(&self, id: &str) -> bool {
        !id.is_empty() && self.classic.iter().any(|one| one.leader == id)
    }

    /// Its own group, or, rarely, the other kind's.
    fn classic_group_or_other(&mut self) -> String {
        if self.one_in(25) { self.consumer_group() } else { self.classic_group() }
    }

    fn join(&mut self, at: usize, group_id: String) -> Ask {
        // Static members join for the first time with a name; later they keep it.
        if self.classic[at].id.is_empty() && self.classic[at].instance.is_none() && self.one_in(4) {
            self.classic[at].instance = Some(format!("i{}", self.tape.below(2)));
        }
        if self.one_in(6) {
            self.classic[at].metadata += 1;
        }
        let member = self.classic[at].clone();
        let version = self.version(if member.instance.is_some() { 5 } else { 0 }, 9);
        let metadata = Bytes::from(format!("{at}.{}", member.metadata));
        let names: &[&str] = match self.tape.below(30) {
            0 => &["roundrobin"],
            1 => &["sticky"],
            2 => &["roundrobin", "range"],
            3 if self.one_in(3) => &[],
            _ => &["range", "roundrobin"],
        };
        let protocol =
            |name: &&str| JoinGroupRequestProtocol { name: (*name).into(), metadata: metadata.clone() };
        let member_id = match self.tape.below(30) {
            0 => "nobody".into(),
            // It comes back and has forgotten its id.
            1 | 2 if member.instance.is_some() => String::new(),
            _ => member.id,
        };
        let request = JoinGroupRequest {
            group_id,
            session_timeout_ms: if self.one_in(40) { 5 } else { 45_000 },
            rebalance_timeout_ms: 60_000,
            member_id,
            group_instance_id: member.instance,
            protocol_type: if self.one_in(30) { "connect".into() } else { "consumer".into() },
            protocols: names.iter().map(protocol).collect(),
            reason: None,
        };
        Ask::JoinGroup(version, request)
    }

    fn sync(&mut self, member: &ClassicMember, group_id: String) -> Ask {
        let version = self.version(if member.instance.is_some() { 3 } else { 0 }, 5);
        let assignment = |id: &String| SyncGroupRequestAssignment {
            member_id: id.clone(),
            assignment: Bytes::from(format!("for {id}")),
        };
        let mut request = SyncGroupRequest {
            group_id,
            generation_id: self.maybe_wrong(member.generation),
            member_id: member.id.clone(),
            group_instance_id: member.instance.clone(),
            protocol_type: Some("consumer".into()),
            protocol_name: member.protocol.clone(),
            assignments: member.plans_for.iter().map(assignment).collect(),
        };
        match self.tape.below(30) {
            0 => request.protocol_name = Some("other".into()),
            1 => request.protocol_type = Some("other".into()),
            2 => request.protocol_name = None,
            _ => {}
        }
        Ask::SyncGroup(version, request)
    }

    fn heartbeat(&mut self, member: &ClassicMember, group_id: String) -> Ask {
        let version = self.version(if member.instance.is_some() { 3 } else { 0 }, 4);
        let request = HeartbeatRequest {
            group_id,
            generation_id: self.maybe_wrong(member.generation),
            member_id: if self.one_in(20) { "nobody".into() } else { member.id.clone() },
            group_instance_id: member.instance.clone(),
        };
        Ask::Heartbeat(version, request)
    }

    fn leave(&mut self, at: usize, group_id: String) -> Ask {
        let member = self.classic[at].clone();
        let version = self.version(0, 5);
        let mut request = LeaveGroupRequest { group_id, ..Default::default() };
        if version < 3 {
            request.member_id = member.id;
            return Ask::LeaveGroup(version, request);
        }
        let identity = |id: &str, instance: &Option<String>| LeaveGroupRequestMemberIdentity {
            member_id: id.into(),
            group_instance_id: instance.clone(),
            reason: None,
        };
        request.members = match self.tape.below(6) {
            // By an administrator.
            0 if !self.leads(&member.id) => vec![identity("", &member.instance), identity("nobody", &None)],
            1 => {
                let others = self.classic.iter().filter(|one| !self.leads(&one.id));
                others.map(|one| identity(&one.id, &one.instance)).collect()
            }
            _ => vec![identity(&member.id, &member.instance)],
        };
        Ask::LeaveGroup(version, request)
    }

    /// Mostly as it is.
    pub(super) fn maybe_wrong(&mut self, number: i32) -> i32 {
        match self.tape.below(16) {
            0 => number - 1,
            1 => number + 1,
            _ => number,
        }
    }

    pub(super) fn classic_answered(&mut self, connection: usize, ask: &Ask, answer: &Answer) {
        match (ask, answer) {
            (Ask::JoinGroup(..), Answer::JoinGroup(answer)) => {
                let Some(member) = self.classic.iter_mut().find(|one| one.connection == connection) else {
                    return;
                };
                match ErrorCode(answer.error_code) {
                    ErrorCode::NONE => {
                        member.id.clone_from(&answer.member_id);
                        member.generation = answer.generation_id;
                        member.protocol.clone_from(&answer.protocol_name);
                        member.plans_for = answer.members.iter().map(|one| one.member_id.clone()).collect();
                        member.leader.clone_from(&answer.leader);
                        member.syncs = true;
                    }
                    ErrorCode::MEMBER_ID_REQUIRED => member.id.clone_from(&answer.member_id),
                    ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_INSTANCE_ID => {
                        *member =
                            ClassicMember { metadata: member.metadata, ..ClassicMember::new(connection) };
                    }
                    _ => member.generation = -1,
                }
            }
            (Ask::SyncGroup(..), Answer::SyncGroup(answer)) => {
                let Some(member) = self.classic.iter_mut().find(|one| one.connection == connection) else {
                    return;
                };
                match ErrorCode(answer.error_code) {
                    ErrorCode::NONE => member.syncs = false,
                    ErrorCode::REBALANCE_IN_PROGRESS => member.generation = -1,
                    _ => {}
                }
            }
            (Ask::LeaveGroup(version, request), Answer::LeaveGroup(answer)) => {
                let left = answer.members.iter().filter(|one| one.error_code == 0);
                let mut gone: Vec<&String> = left.map(|one| &one.member_id).collect();
                if *version < 3 && answer.error_code == 0 {
                    gone.push(&request.member_id);
                }
                for member in &mut self.classic {
                    if gone.contains(&&member.id) {
                        let metadata = member.metadata;
                        *member = ClassicMember { metadata, ..ClassicMember::new(member.connection) };
                    }
                }
            }
            _ => {}
        }
    }
}
