//! The model Kafka's coordinator against reality: the same dialogues, the same answers, whole and in
//! all versions. What chance decides is left out by rule: ids are compared by the order in which they
//! came, and lists that a broker keeps in a hash table are sorted.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod serve_tools;

use std::fmt::Debug;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serve_tools::Served;
use tidegate_core::kafka::wire::{
    ConsumerProtocolSubscription, FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest,
    JoinGroupRequestProtocol, JoinGroupResponse, LeaveGroupRequest, LeaveGroupRequestMemberIdentity,
    MetadataRequest, MetadataRequestTopic, OffsetCommitRequest, OffsetCommitRequestPartition,
    OffsetCommitRequestTopic, OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic,
    OffsetFetchRequestTopics, Request, SyncGroupRequest, SyncGroupRequestAssignment, Uuid, read_response,
    split_frame, write_embedded, write_request,
};
use tidegate_live::kafka::{Admin, shared, unique};
use tidegate_live::wait;

const NO_MEMBER: &str = "none-00000000-0000-4000-8000-ffffffffffff";

/// A broker, real or not, with three connections, and what it has answered.
struct Side {
    address: String,
    connections: Vec<Connection>,
    topic: String,
    topic_id: Uuid,
    group: String,
    /// What has another name on each side, and what it is called here.
    names: Vec<(String, String)>,
    said: Vec<String>,
}

struct Connection {
    socket: TcpStream,
    correlation: i32,
    incoming: BytesMut,
}

impl Side {
    fn new(admin: &Admin) -> Self {
        let address = admin.bootstrap().split(',').next().unwrap().to_owned();
        let connections = (0..3).map(|_| Connection::to(&address)).collect();
        let (topic, group) = (admin.topic(4), unique("dialogue"));
        let names = vec![(topic.clone(), "<topic>".into()), (group.clone(), "<group>".into())];
        let mut side =
            Self { address, connections, topic, topic_id: Uuid::ZERO, group, names, said: Vec::new() };
        let topic = MetadataRequestTopic { name: Some(side.topic.clone()), ..Default::default() };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        side.topic_id = side.ask(0, 12, &request).topics[0].topic_id;
        side.names.push((format!("{:?}", side.topic_id), "<id>".into()));
        // Before the first group a real cluster has no coordinator.
        wait::until_true("a coordinator", wait::PATIENCE, || {
            let find = FindCoordinatorRequest { key: side.group.clone(), ..Default::default() };
            side.ask(0, 2, &find).error_code == 0 && side.ask(0, 5, &side.fetch(1, None)).error_code == 0
        });
        side
    }

    fn send<R: Request>(&mut self, connection: usize, version: i16, request: &R) {
        let connection = &mut self.connections[connection];
        connection.correlation += 1;
        let mut bytes = BytesMut::new();
        write_request(&mut bytes, connection.correlation, "client", version, request).unwrap();
        connection.socket.write_all(&bytes).unwrap();
    }

    fn receive<R: Request>(&mut self, connection: usize, version: i16) -> R::Response {
        let connection = &mut self.connections[connection];
        loop {
            if let Some(frame) = split_frame(&mut connection.incoming, 1 << 20).unwrap() {
                return read_response::<R>(frame, version).unwrap();
            }
            let mut bytes = [0; 4096];
            let n = connection.socket.read(&mut bytes).unwrap_or(0);
            assert_ne!(n, 0, "{} doesn't answer; it said:\n{}", self.address, self.said.join("\n"));
            connection.incoming.extend_from_slice(&bytes[..n]);
        }
    }

    fn ask<R: Request>(&mut self, connection: usize, version: i16, request: &R) -> R::Response {
        self.send(connection, version, request);
        self.receive::<R>(connection, version)
    }

    /// Asks, and notes what is answered.
    fn note<R: Request>(&mut self, what: &str, version: i16, request: &R) -> R::Response {
        self.note_on(0, what, version, request)
    }

    fn note_on<R: Request>(&mut self, at: usize, what: &str, version: i16, request: &R) -> R::Response {
        let answer = self.ask(at, version, request);
        self.say(what, version, &answer);
        answer
    }

    fn say(&mut self, what: &str, version: i16, answer: &dyn Debug) {
        self.said.push(format!("{what}, version {version}: {answer:?}"));
    }

    /// A JoinGroup's answer: members by their metadata.
    fn say_joined(&mut self, what: &str, version: i16, mut answer: JoinGroupResponse) -> String {
        answer.members.sort_by(|one, next| one.metadata.cmp(&next.metadata));
        let id = answer.member_id.clone();
        if !id.is_empty() && id != NO_MEMBER && !self.names.iter().any(|(known, _)| *known == id) {
            self.names.push((id.clone(), format!("<member {}>", self.names.len())));
        }
        self.say(what, version, &answer);
        id
    }

    fn join(&mut self, at: usize, what: &str, version: i16, request: &JoinGroupRequest) -> String {
        let answer = self.ask(at, version, request);
        self.say_joined(what, version, answer)
    }

    fn joined(&mut self, at: usize, what: &str, version: i16) -> String {
        let answer = self.receive::<JoinGroupRequest>(at, version);
        self.say_joined(what, version, answer)
    }

    fn synced(&mut self, at: usize, what: &str, version: i16) {
        let answer = self.receive::<SyncGroupRequest>(at, version);
        self.say(what, version, &answer);
    }

    /// All that was said, with what differs by chance called by its name here.
    fn all(mut self) -> Vec<String> {
        let host = self.address.rsplit_once(':').unwrap().1.to_owned();
        self.names.push((host, "<port>".into()));
        let named = |line: &String| {
            self.names.iter().fold(line.clone(), |line, (theirs, ours)| line.replace(theirs, ours))
        };
        self.said.iter().map(named).collect()
    }

    // Requests.

    /// Offsets of two partitions of the topic, and of one that isn't there.
    fn commit(&self, version: i16, member: &str, generation: i32) -> OffsetCommitRequest {
        let partition =
            |partition_index, committed_offset, metadata: Option<&str>| OffsetCommitRequestPartition {
                partition_index,
                committed_offset,
                committed_leader_epoch: if version < 6 { -1 } else { 0 },
                committed_metadata: metadata.map(str::to_owned),
            };
        let partitions = vec![partition(0, 5, Some("here")), partition(1, 7, None), partition(9, 1, None)];
        let topic = |name: &str, topic_id| OffsetCommitRequestTopic {
            name: if version < 10 { name.into() } else { String::new() },
            topic_id: if version < 10 { Uuid::ZERO } else { topic_id },
            partitions: partitions.clone(),
        };
        OffsetCommitRequest {
            group_id: self.group.clone(),
            generation_id_or_member_epoch: generation,
            member_id: member.into(),
            topics: vec![topic(&self.topic, self.topic_id), topic("missing", Uuid([7; 16]))],
            ..Default::default()
        }
    }

    fn fetch(&self, version: i16, partitions: Option<&[i32]>) -> OffsetFetchRequest {
        let names = [(self.topic.as_str(), self.topic_id), ("missing", Uuid([7; 16]))];
        if version < 8 {
            let partitions = partitions.unwrap_or(&[]);
            let topic = |(name, _): &(&str, Uuid)| OffsetFetchRequestTopic {
                name: (*name).into(),
                partition_indexes: partitions.to_vec(),
            };
            let topics = Some(names.iter().map(topic).collect());
            return OffsetFetchRequest { group_id: self.group.clone(), topics, ..Default::default() };
        }
        let topic = |(name, id): &(&str, Uuid)| OffsetFetchRequestTopics {
            name: if version < 10 { (*name).into() } else { String::new() },
            topic_id: if version < 10 { Uuid::ZERO } else { *id },
            partition_indexes: partitions.unwrap_or(&[]).to_vec(),
        };
        let group = |id: &str, all: bool| OffsetFetchRequestGroup {
            group_id: id.into(),
            topics: (!all).then(|| names.iter().map(topic).collect()),
            ..Default::default()
        };
        let groups = vec![group(&self.group, false), group("nobody", false), group("nobody", true)];
        OffsetFetchRequest { groups, ..Default::default() }
    }

    fn joins(&self, member: &str, instance: Option<&str>, data: &'static str) -> JoinGroupRequest {
        // A real broker looks into it, and stumbles over what is none.
        let subscription =
            ConsumerProtocolSubscription { user_data: Some(data.into()), ..Default::default() };
        let metadata = write_embedded(3, &subscription).unwrap();
        let protocol =
            |name: &str| JoinGroupRequestProtocol { name: name.into(), metadata: metadata.clone() };
        JoinGroupRequest {
            group_id: self.group.clone(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            member_id: member.into(),
            group_instance_id: instance.map(str::to_owned),
            protocol_type: "consumer".into(),
            protocols: vec![protocol("range"), protocol("roundrobin")],
            ..Default::default()
        }
    }

    fn syncs(
        &self,
        generation: i32,
        member: &str,
        instance: Option<&str>,
        plan: &[&str],
    ) -> SyncGroupRequest {
        let assignment = |member: &&str| SyncGroupRequestAssignment {
            member_id: (*member).into(),
            assignment: Bytes::from_static(b"what it gets"),
        };
        SyncGroupRequest {
            group_id: self.group.clone(),
            generation_id: generation,
            member_id: member.into(),
            group_instance_id: instance.map(str::to_owned),
            protocol_type: Some("consumer".into()),
            protocol_name: Some("range".into()),
            assignments: plan.iter().map(assignment).collect(),
        }
    }

    fn beats(&self, generation: i32, member: &str, instance: Option<&str>) -> HeartbeatRequest {
        HeartbeatRequest {
            group_id: self.group.clone(),
            generation_id: generation,
            member_id: member.into(),
            group_instance_id: instance.map(str::to_owned),
        }
    }

    fn leaves(&self, version: i16, members: &[(&str, Option<&str>)]) -> LeaveGroupRequest {
        let member = |(id, instance): &(&str, Option<&str>)| LeaveGroupRequestMemberIdentity {
            member_id: (*id).into(),
            group_instance_id: instance.map(str::to_owned),
            ..Default::default()
        };
        let group_id = self.group.clone();
        if version < 3 {
            return LeaveGroupRequest { group_id, member_id: members[0].0.into(), ..Default::default() };
        }
        let members = members.iter().map(member).collect();
        LeaveGroupRequest { group_id, members, ..Default::default() }
    }
}

impl Connection {
    fn to(address: &str) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self { socket, correlation: 0, incoming: BytesMut::new() }
    }
}

/// Both sides say the same, line by line.
#[track_caller]
fn compare(dialogue: fn(&mut Side)) {
    let served = Served::kafka(&["--partitions", "4"]);
    let model = Admin::of(&format!("127.0.0.1:{}", served.port()));
    let [real, model] = [shared(), &model].map(|admin| {
        let mut side = Side::new(admin);
        dialogue(&mut side);
        side.all()
    });
    let differ = real.iter().zip(&model).filter(|(real, model)| real != model);
    let differ: Vec<String> = differ.map(|(real, model)| format!("real  {real}\nmodel {model}\n")).collect();
    assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), real.len(), differ.join("\n"));
    assert_eq!(real.len(), model.len());
    println!("{} answers", real.len());
}

#[test]
fn offsets_from_outside_of_groups() {
    compare(|side| {
        for version in 2..=10 {
            side.note("commit", version, &side.commit(version, "", -1));
            side.note("of a member", version, &side.commit(version, NO_MEMBER, -1));
            side.note("of a generation", version, &side.commit(version, NO_MEMBER, 3));
            let mut long = side.commit(version, "", -1);
            long.topics[0].partitions[0].committed_metadata = Some("é".repeat(4_096));
            long.topics[0].partitions[1].committed_metadata = Some("é".repeat(4_097));
            side.note("with metadata", version, &long);
            let mut other = side.commit(version, NO_MEMBER, 3);
            other.group_id.push_str("-other");
            side.note("of no group", version, &other);
            other.topics.remove(0);
            side.note("of nothing", version, &other);
        }
        for version in 1..=10 {
            let request = side.fetch(version, Some(&[0, 1, 2, 9]));
            side.note("fetch", version, &request);
            let stable = OffsetFetchRequest { require_stable: version >= 7, ..request };
            side.note("fetch what is stable", version, &stable);
        }
        for version in 2..=7 {
            let all = OffsetFetchRequest { topics: None, ..side.fetch(version, None) };
            let mut answer = side.ask(0, version, &all);
            answer.topics[0].partitions.sort_by_key(|one| one.partition_index);
            side.say("fetch all", version, &answer);
        }
        for version in 8..=10 {
            let mut all = side.fetch(version, None);
            all.groups.truncate(1);
            all.groups[0].topics = None;
            let mut answer = side.ask(0, version, &all);
            answer.groups[0].topics[0].partitions.sort_by_key(|one| one.partition_index);
            side.say("fetch all", version, &answer);
        }
    });
}

#[test]
fn groups_that_are_not_there() {
    compare(|side| {
        for version in 0..=6 {
            let request = match version {
                ..4 => FindCoordinatorRequest { key: side.group.clone(), ..Default::default() },
                _ => FindCoordinatorRequest {
                    coordinator_keys: vec![side.group.clone(), String::new()],
                    ..Default::default()
                },
            };
            side.note("find", version, &request);
        }
        for group in [format!("{}-other", side.group), String::new()] {
            for version in 0..=4 {
                let instance = (version >= 3).then_some("me");
                let request = side.beats(1, NO_MEMBER, instance);
                side.note("heartbeat", version, &HeartbeatRequest { group_id: group.clone(), ..request });
            }
            for version in 0..=5 {
                let request = side.leaves(version, &[(NO_MEMBER, None), ("", Some("me"))]);
                let request = LeaveGroupRequest { group_id: group.clone(), ..request };
                // Where there is no group's name, older versions have no way to say so.
                if version >= 3 || !group.is_empty() {
                    side.note("leave", version, &request);
                }
                let request = side.syncs(1, NO_MEMBER, None, &[NO_MEMBER]);
                let request = SyncGroupRequest { group_id: group.clone(), ..request };
                side.note("sync", version, &request);
                side.note(
                    "sync with no protocol",
                    version,
                    &SyncGroupRequest { protocol_name: None, ..request },
                );
            }
            for version in 0..=9 {
                let request = side.joins(NO_MEMBER, None, "m");
                side.join(0, "join", version, &JoinGroupRequest { group_id: group.clone(), ..request });
            }
        }
        for version in 0..=9 {
            let request = JoinGroupRequest { session_timeout_ms: 1, ..side.joins(NO_MEMBER, None, "m") };
            side.join(0, "join for too short", version, &request);
            let request = JoinGroupRequest { protocols: Vec::new(), ..side.joins("", None, "m") };
            side.join(0, "join without protocols", version, &request);
        }
    });
}

#[test]
fn two_members_in_each_version() {
    compare(|side| {
        let group = side.group.clone();
        for version in 0..=9 {
            side.group = format!("{group}-{version}");
            let (sync, beat, leave) = (version.min(5), version.min(4), version.min(5));
            let enter = |side: &mut Side, at: usize, metadata| {
                let request = side.joins("", None, metadata);
                let id =
                    if version < 4 { String::new() } else { side.join(at, "first step", version, &request) };
                let request = side.joins(&id, None, metadata);
                side.send(at, version, &request);
                id
            };
            enter(side, 0, "one");
            let one = side.joined(0, "one alone", version);
            side.note("commit before the plan", 7, &side.commit(7, &one, 1));
            side.note("heartbeat before the plan", beat, &side.beats(1, &one, None));
            side.join(0, "the same again", version, &side.joins(&one, None, "one"));
            let wrong =
                SyncGroupRequest { protocol_name: Some("x".into()), ..side.syncs(1, &one, None, &[&one]) };
            if sync == 5 {
                side.note("sync of another protocol", sync, &wrong);
            }
            side.note("sync of the future", sync, &side.syncs(2, &one, None, &[]));
            side.note("sync", sync, &side.syncs(1, &one, None, &[&one]));
            for at in 2..=10 {
                side.note("commit", at, &side.commit(at, &one, 1));
            }
            side.note("commit of the past", 7, &side.commit(7, &one, 0));
            side.note("commit of somebody", 7, &side.commit(7, NO_MEMBER, 1));
            side.note("commit from outside", 7, &side.commit(7, "", -1));
            let other = JoinGroupRequest { protocol_type: "other".into(), ..side.joins("", None, "x") };
            side.join(1, "another type", version, &other);
            let mut two = enter(side, 1, "two");
            wait::until_true("the other one is waited for", wait::PATIENCE, || {
                side.ask(0, beat, &side.beats(1, &one, None)).error_code != 0
            });
            side.note("heartbeat meanwhile", beat, &side.beats(1, &one, None));
            side.note("commit meanwhile", 7, &side.commit(7, &one, 1));
            side.note("sync meanwhile", sync, &side.syncs(1, &one, None, &[]));
            side.join(0, "one leads two", version, &side.joins(&one, None, "one"));
            let joined = side.joined(1, "two follows", version);
            two = if two.is_empty() { joined } else { two };
            side.send(1, sync, &side.syncs(2, &two, None, &[]));
            std::thread::sleep(Duration::from_millis(100));
            side.note("the plan for one only", sync, &side.syncs(2, &one, None, &[&one]));
            side.synced(1, "nothing for two", sync);
            side.join(1, "two again", version, &side.joins(&two, None, "two"));
            side.send(1, version, &side.joins(&two, None, "changed"));
            wait::until_true("it is to join again", wait::PATIENCE, || {
                side.ask(0, beat, &side.beats(2, &one, None)).error_code != 0
            });
            side.join(0, "one joins again", version, &side.joins(&one, None, "one"));
            side.joined(1, "two has changed", version);
            side.send(1, sync, &side.syncs(3, &two, None, &[]));
            std::thread::sleep(Duration::from_millis(100));
            side.note_on(2, "one leaves", leave, &side.leaves(leave, &[(&one, None), (NO_MEMBER, None)]));
            side.synced(1, "two's plan is withdrawn", sync);
            side.join(1, "two alone", version, &side.joins(&two, None, "two"));
            side.note_on(1, "two leaves", leave, &side.leaves(leave, &[(&two, None)]));
            side.note_on(1, "two is gone", beat, &side.beats(4, &two, None));
            side.join(1, "two was there", version, &side.joins(&two, None, "two"));
            side.note("commit from outside", 7, &side.commit(7, "", -1));
        }
    });
}

#[test]
fn static_members_in_each_version() {
    compare(|side| {
        let group = side.group.clone();
        for version in 5..=9 {
            side.group = format!("{group}-{version}");
            let (sync, beat, me) = (version.min(5), version.min(4), Some("me"));
            let old = side.join(0, "it comes", version, &side.joins("", me, "one"));
            side.note("sync", sync, &side.syncs(1, &old, me, &[&old]));
            let new = side.join(1, "it comes back", version, &side.joins("", me, "two"));
            side.note("old heartbeat", beat, &side.beats(1, &old, me));
            side.note("old heartbeat without its name", beat, &side.beats(1, &old, None));
            side.note("old sync", sync, &side.syncs(1, &old, me, &[]));
            side.join(0, "old join", version, &side.joins(&old, me, "one"));
            let old_commit = side.commit(9, &old, 1);
            side.note(
                "old commit",
                9,
                &OffsetCommitRequest { group_instance_id: Some("me".into()), ..old_commit },
            );
            side.join(0, "of another name", version, &side.joins(&new, Some("you"), "one"));
            side.note_on(1, "new sync", sync, &side.syncs(1, &new, me, &[]));
            // A second one waits, and comes once more.
            side.send(0, version, &side.joins("", Some("you"), "you"));
            wait::until_true("the other one is waited for", wait::PATIENCE, || {
                side.ask(1, beat, &side.beats(1, &new, me)).error_code != 0
            });
            side.send(2, version, &side.joins("", Some("you"), "you again"));
            side.joined(0, "it was replaced", version);
            side.join(1, "both", version, &side.joins(&new, me, "two"));
            side.joined(2, "the second", version);
            let all = [(old.as_str(), me), ("", Some("nobody")), ("", me), ("", Some("you"))];
            side.note("leave", version.min(5), &side.leaves(5, &all));
        }
    });
}
