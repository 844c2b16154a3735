#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::time::Duration;

use bytes::Bytes;
use tidegate_core::kafka::wire::{
    ConsumerProtocolAssignment, ConsumerProtocolAssignmentTopicPartition, ErrorCode, HeartbeatRequest,
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupRequestMemberIdentity, SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
    write_embedded,
};

use crate::broker::{Fact, Lost, PeerId};
use crate::kafka::Config;
use crate::kafka::coordinator::tests::{Bed, commit, committed};

const JOIN: i16 = 9;
const SYNC: i16 = 5;
const NONE: ErrorCode = ErrorCode::NONE;

/// Session 10 s, rebalance 30 s, one assignor.
fn joins(member: &str) -> JoinGroupRequest {
    let protocol = |name: &str| JoinGroupRequestProtocol { name: name.into(), metadata: Bytes::from("m") };
    JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 30_000,
        member_id: member.into(),
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range")],
        ..Default::default()
    }
}

fn of(names: &[&str], request: JoinGroupRequest) -> JoinGroupRequest {
    let protocol =
        |name: &&str| JoinGroupRequestProtocol { name: (*name).into(), metadata: Bytes::from("m") };
    JoinGroupRequest { protocols: names.iter().map(protocol).collect(), ..request }
}

fn named(instance: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest { group_instance_id: Some(instance.into()), ..joins(member) }
}

/// Each member with its partitions of `orders`.
fn plan(generation: i32, member: &str, plan: &[(&str, &[i32])]) -> SyncGroupRequest {
    let assignment = |(member, partitions): &(&str, &[i32])| {
        let topic = "orders".into();
        let assigned = ConsumerProtocolAssignmentTopicPartition { topic, partitions: partitions.to_vec() };
        let message =
            ConsumerProtocolAssignment { assigned_partitions: vec![assigned], ..Default::default() };
        let assignment = write_embedded(3, &message).unwrap();
        SyncGroupRequestAssignment { member_id: (*member).into(), assignment }
    };
    SyncGroupRequest {
        group_id: "g".into(),
        generation_id: generation,
        member_id: member.into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: plan.iter().map(assignment).collect(),
        ..Default::default()
    }
}

/// A classic group's members, each on a connection of its own.
struct Club {
    bed: Bed,
}

impl Club {
    fn new(config: Config) -> Self {
        let mut bed = Bed::new(config);
        (1..=4).for_each(|peer| bed.connect(peer, 1));
        Self { bed }
    }

    /// The id that a broker makes for who has none.
    fn id(&mut self, peer: u64) -> String {
        let answer = self.bed.ask(peer, JOIN, &joins(""));
        assert_eq!(ErrorCode(answer.error_code), ErrorCode::MEMBER_ID_REQUIRED);
        answer.member_id
    }

    fn joined(&mut self, peer: u64) -> Option<JoinGroupResponse> {
        self.bed.answer::<JoinGroupRequest>(peer, JOIN)
    }

    fn synced(&mut self, peer: u64) -> Option<SyncGroupResponse> {
        self.bed.answer::<SyncGroupRequest>(peer, SYNC)
    }

    fn join(&mut self, peer: u64, request: &JoinGroupRequest) -> JoinGroupResponse {
        self.bed.ask(peer, JOIN, request)
    }

    fn beat(&mut self, peer: u64, generation_id: i32, member: &str) -> ErrorCode {
        let request = HeartbeatRequest {
            group_id: "g".into(),
            generation_id,
            member_id: member.into(),
            ..Default::default()
        };
        ErrorCode(self.bed.ask(peer, 4, &request).error_code)
    }

    fn leave(&mut self, peer: u64, members: &[(&str, Option<&str>)]) -> Vec<ErrorCode> {
        let member = |(id, instance): &(&str, Option<&str>)| LeaveGroupRequestMemberIdentity {
            member_id: (*id).into(),
            group_instance_id: instance.map(str::to_owned),
            ..Default::default()
        };
        let members = members.iter().map(member).collect();
        let request = LeaveGroupRequest { group_id: "g".into(), members, ..Default::default() };
        self.bed.ask(peer, 5, &request).members.iter().map(|one| ErrorCode(one.error_code)).collect()
    }

    /// One member alone, in generation 1, with partitions 0 and 1.
    fn one(&mut self) -> String {
        let id = self.id(1);
        let answer = self.join(1, &joins(&id));
        assert_eq!((answer.error_code, answer.generation_id, answer.members.len()), (0, 1, 1));
        assert_eq!(self.bed.ask(1, SYNC, &plan(1, &id, &[(&id, &[0, 1])])).error_code, 0);
        id
    }

    /// Two members, in generation 2: the first leads and has partition 0, the other one has 1.
    fn two(&mut self) -> (String, String) {
        let (first, second) = (self.one(), self.id(2));
        self.bed.send(2, JOIN, &joins(&second));
        assert_eq!(self.beat(1, 1, &first), ErrorCode::REBALANCE_IN_PROGRESS);
        assert_eq!(self.joined(2), None);
        assert_eq!(self.join(1, &joins(&first)).members.len(), 2);
        assert_eq!(self.joined(2).unwrap().leader, first);
        self.bed.send(2, SYNC, &plan(2, &second, &[]));
        assert_eq!(self.synced(2), None);
        let all: &[(&str, &[i32])] = &[(&first, &[0]), (&second, &[1])];
        self.bed.send(1, SYNC, &plan(2, &first, all));
        assert!(self.synced(1).is_some_and(|answer| !answer.assignment.is_empty()));
        assert!(self.synced(2).is_some_and(|answer| !answer.assignment.is_empty()));
        (first, second)
    }
}

fn owned(shard: u32, member: &str, epoch: i32) -> Fact {
    Fact::Owned { shard, group: "g".into(), member: member.to_owned().into(), epoch }
}

fn disowned(shard: u32, member: &str, epoch: i32, why: Lost) -> Fact {
    Fact::Disowned { shard, group: "g".into(), member: member.to_owned().into(), epoch, why }
}

#[test]
fn a_member_joins_in_two_steps_and_later_ones_in_the_next_generation() {
    let mut club = Club::new(Config::default());
    let (first, second) = club.two();
    assert_eq!(
        club.bed.facts(),
        [
            owned(0, &first, 1),
            owned(1, &first, 1),
            disowned(1, &first, 1, Lost::Rebalanced),
            owned(0, &first, 2),
            owned(1, &second, 2),
        ]
    );
    assert_eq!([club.beat(1, 2, &first), club.beat(2, 2, &second)], [NONE, NONE]);
    assert_eq!(club.beat(2, 1, &second), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(club.beat(2, 2, "none"), ErrorCode::UNKNOWN_MEMBER_ID);
    // Its generation and assignment again, as often as it asks.
    let again = club.join(2, &joins(&second));
    assert_eq!((again.generation_id, again.members.len()), (2, 0));
    assert!(!club.bed.ask(2, SYNC, &plan(2, &second, &[])).assignment.is_empty());
}

#[test]
fn before_version_4_nobody_is_told_an_id_first() {
    for version in 0..=3 {
        let mut club = Club::new(Config::default());
        let request = JoinGroupRequest { group_instance_id: None, ..joins("") };
        let answer = club.bed.ask(1, version, &request);
        assert_eq!((answer.error_code, answer.generation_id), (0, 1), "version {version}");
        assert_eq!(answer.protocol_name.as_deref(), Some("range"));
        let sync = plan(1, &answer.member_id, &[(&answer.member_id, &[0])]);
        assert_eq!(club.bed.ask(1, 0, &sync).error_code, 0);
    }
}

#[test]
fn commits_are_fenced_by_member_and_generation() {
    let mut club = Club::new(Config::default());
    let (first, second) = club.two();
    club.bed.facts();
    let bed = &mut club.bed;
    assert_eq!(committed(bed, 1, &commit("g", &first, 2)), NONE);
    let told = bed.facts();
    let [Fact::CommittedTo { shard: 0, member, epoch: 2, peer: PeerId(1), .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(member, first.as_bytes());
    assert_eq!(committed(bed, 1, &commit("g", &first, 1)), ErrorCode::ILLEGAL_GENERATION);
    assert_eq!(committed(bed, 1, &commit("g", "none", 2)), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(committed(bed, 1, &commit("g", "", -1)), ErrorCode::UNKNOWN_MEMBER_ID);
    // While members are waited for, those of the old generation still commit.
    club.bed.send(1, JOIN, &joins(&first));
    assert_eq!(committed(&mut club.bed, 2, &commit("g", &second, 2)), NONE);
    // Then, until the plan is there, nobody does.
    club.join(2, &joins(&second));
    assert!(club.joined(1).is_some());
    let bed = &mut club.bed;
    assert_eq!(committed(bed, 2, &commit("g", &second, 3)), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(committed(bed, 2, &commit("g", &second, 2)), ErrorCode::ILLEGAL_GENERATION);
    // Nobody is left: whoever is outside may.
    assert_eq!(club.leave(1, &[(&first, None), (&second, None)]), [NONE, NONE]);
    assert_eq!(committed(&mut club.bed, 1, &commit("g", "", -1)), NONE);
}

#[test]
fn who_leaves_makes_the_others_rebalance() {
    let mut club = Club::new(Config::default());
    let (first, second) = club.two();
    club.bed.facts();
    assert_eq!(club.leave(2, &[(&second, None), ("none", None)]), [NONE, ErrorCode::UNKNOWN_MEMBER_ID]);
    assert_eq!(club.bed.facts(), [disowned(1, &second, 2, Lost::Left)]);
    assert_eq!(club.beat(1, 2, &first), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(club.join(1, &joins(&first)).generation_id, 3);
    // An id that is only reserved is given back; a rebalance waits for it no longer.
    let third = club.id(3);
    club.bed.send(1, SYNC, &plan(3, &first, &[]));
    assert!(club.synced(1).is_some());
    club.bed.send(1, JOIN, &joins(&first));
    assert_eq!(club.joined(1), None);
    assert_eq!(club.leave(3, &[(&third, None)]), [NONE]);
    assert_eq!(club.joined(1).unwrap().generation_id, 4);
    let old = LeaveGroupRequest { group_id: "g".into(), member_id: first, ..Default::default() };
    assert_eq!(club.bed.ask(1, 2, &old).error_code, 0);
    assert_eq!(ErrorCode(club.bed.ask(1, 2, &old).error_code), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn who_is_silent_is_out_when_its_session_ends() {
    let mut club = Club::new(Config::default());
    let (first, second) = club.two();
    club.bed.facts();
    club.bed.pass(6_000);
    assert_eq!(club.beat(1, 2, &first), NONE);
    // A commit keeps alive as well.
    club.bed.pass(3_000);
    assert_eq!(committed(&mut club.bed, 1, &commit("g", &first, 2)), NONE);
    club.bed.facts();
    club.bed.pass(999);
    assert_eq!(club.bed.facts(), []);
    club.bed.pass(1);
    assert_eq!(club.bed.facts(), [disowned(1, &second, 2, Lost::Expired)]);
    assert_eq!(club.beat(2, 2, &second), ErrorCode::UNKNOWN_MEMBER_ID);
    assert_eq!(club.join(2, &joins(&second)).error_code, ErrorCode::UNKNOWN_MEMBER_ID.0);
    assert_eq!(club.beat(1, 2, &first), ErrorCode::REBALANCE_IN_PROGRESS);
    // Who waits to join is not silent, however long it takes.
    let third = club.id(3);
    club.bed.send(3, JOIN, &joins(&third));
    club.bed.pass(9_000);
    assert_eq!(club.beat(1, 2, &first), ErrorCode::REBALANCE_IN_PROGRESS);
    club.bed.pass(9_000);
    assert_eq!(club.beat(1, 2, &first), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(club.joined(3), None);
    // But a member that does not join again is out when the rebalance has taken its time.
    club.bed.pass(9_000);
    assert_eq!(club.beat(1, 2, &first), ErrorCode::REBALANCE_IN_PROGRESS);
    club.bed.pass(3_000);
    let joined = club.joined(3).unwrap();
    assert_eq!((joined.generation_id, joined.members.len(), &joined.leader), (3, 1, &third));
}

#[test]
fn who_does_not_fetch_its_assignment_is_out() {
    let mut club = Club::new(Config::default());
    let (first, second) = club.two();
    for peer in [1, 2] {
        let id = if peer == 1 { &first } else { &second };
        club.bed.send(peer, JOIN, &joins(id));
    }
    assert!(club.joined(1).is_some() && club.joined(2).is_some());
    club.bed.send(2, SYNC, &plan(3, &second, &[]));
    club.bed.facts();
    // The leader lives and never brings its plan.
    for _ in 0..4 {
        club.bed.pass(6_000);
        assert_eq!(club.synced(2), None);
        club.beat(1, 3, &first);
    }
    club.bed.pass(6_000);
    let told = club.synced(2).unwrap();
    assert_eq!(ErrorCode(told.error_code), ErrorCode::REBALANCE_IN_PROGRESS);
    assert_eq!(club.bed.facts(), [disowned(0, &first, 2, Lost::Expired)]);
    let joined = club.join(2, &joins(&second));
    assert_eq!((joined.generation_id, joined.leader), (4, second));
}

#[test]
fn an_empty_group_s_first_generation_is_put_off_while_members_come() {
    let delay = Duration::from_secs(3);
    let mut club = Club::new(Config { initial_rebalance_delay: delay, ..Config::default() });
    for (peer, waits) in [(1, &[2_000][..]), (2, &[1_000, 1_000]), (3, &[2_000, 2_999])] {
        let id = club.id(peer);
        club.bed.send(peer, JOIN, &joins(&id));
        waits.iter().for_each(|wait| club.bed.pass(*wait));
    }
    // One more came in the first three seconds, and one in the next.
    assert_eq!(club.joined(1), None);
    club.bed.pass(1);
    let sizes = [1, 2, 3].map(|peer| club.joined(peer).unwrap().members.len());
    assert_eq!(sizes.iter().sum::<usize>(), 3, "one of them leads");
}

#[test]
fn the_protocol_is_everybody_s_and_the_most_liked() {
    let mut club = Club::new(Config::default());
    let first = club.id(1);
    let answer = club.join(1, &of(&["own", "sticky", "range"], joins(&first)));
    assert_eq!(answer.protocol_name.as_deref(), Some("own"));
    let second = club.id(2);
    let refused = club.join(2, &of(&["round"], joins(&second)));
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    let other = JoinGroupRequest { protocol_type: "connect".into(), ..joins(&second) };
    let refused = club.join(2, &other);
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    club.bed.send(2, JOIN, &of(&["range", "sticky"], joins(&second)));
    let third = club.id(3);
    club.bed.send(3, JOIN, &of(&["range", "sticky"], joins(&third)));
    let answer = club.join(1, &of(&["own", "sticky", "range"], joins(&first)));
    assert_eq!(answer.protocol_name.as_deref(), Some("range"));
    let wrong = SyncGroupRequest { protocol_name: Some("sticky".into()), ..plan(2, &first, &[]) };
    let refused = club.bed.ask(1, SYNC, &wrong);
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    // From version 5 on it must say what it thinks.
    let silent = SyncGroupRequest { protocol_name: None, ..plan(2, &first, &[]) };
    let refused = club.bed.ask(1, SYNC, &silent);
    assert_eq!(ErrorCode(refused.error_code), ErrorCode::INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(club.bed.ask(1, 4, &silent).error_code, 0);
}

#[test]
fn a_static_member_that_comes_back_gets_its_place_under_a_new_id() {
    let mut club = Club::new(Config::default());
    let old = club.join(1, &named("one", "")).member_id;
    assert!(old.starts_with("one-"), "{old}");
    assert_eq!(club.bed.ask(1, SYNC, &plan(1, &old, &[(&old, &[0])])).error_code, 0);
    club.bed.facts();
    let back = club.join(2, &named("one", ""));
    let new = back.member_id.clone();
    assert_eq!((back.error_code, back.generation_id, back.skip_assignment), (0, 1, true));
    assert_eq!((&back.leader, back.members.len()), (&new, 1));
    assert_eq!(club.bed.facts(), [disowned(0, &old, 1, Lost::Fenced), owned(0, &new, 1)]);
    assert!(!club.bed.ask(2, SYNC, &plan(1, &new, &[])).assignment.is_empty());
    let fenced = ErrorCode::FENCED_INSTANCE_ID;
    let beat = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: 1,
        member_id: old.clone(),
        group_instance_id: Some("one".into()),
    };
    assert_eq!(ErrorCode(club.bed.ask(1, 4, &beat).error_code), fenced);
    let mut request = commit("g", &old, 1);
    request.group_instance_id = Some("one".into());
    assert_eq!(committed(&mut club.bed, 1, &request), fenced);
    assert_eq!(ErrorCode(club.join(1, &named("one", &old)).error_code), fenced);
    assert_eq!(club.leave(1, &[(&old, Some("one"))]), [fenced]);
    // A version that can't tell it not to plan is told that its old self leads.
    let back = club.bed.ask(3, 8, &named("one", ""));
    assert_eq!((back.leader, back.members.len()), (new, 0));
    // By its name alone it is taken out.
    assert_eq!(club.leave(1, &[("", Some("two"))]), [ErrorCode::UNKNOWN_MEMBER_ID]);
    assert_eq!(club.leave(1, &[("", Some("one"))]), [NONE]);
}

#[test]
fn a_static_member_keeps_its_place_in_a_rebalance_and_while_it_waits_is_fenced() {
    let mut club = Club::new(Config::default());
    let first = club.join(1, &named("one", "")).member_id;
    assert_eq!(club.bed.ask(1, SYNC, &plan(1, &first, &[(&first, &[0])])).error_code, 0);
    club.bed.send(2, JOIN, &named("two", ""));
    // The other one comes once more before its answer is there.
    club.bed.send(3, JOIN, &named("two", ""));
    let fenced = club.joined(2).unwrap();
    assert_eq!((ErrorCode(fenced.error_code), fenced.protocol_name), (ErrorCode::FENCED_INSTANCE_ID, None));
    // The first one lives, and doesn't join: its place is kept.
    for _ in 0..5 {
        club.bed.pass(6_000);
        club.beat(1, 1, &first);
    }
    let joined = club.joined(3).unwrap();
    assert_eq!((joined.generation_id, joined.members.len()), (2, 2));
    assert_eq!(joined.leader, joined.member_id, "who has joined leads");
}

#[test]
fn groups_and_sessions_have_limits() {
    let mut club = Club::new(Config { group_max_size: 1, ..Config::default() });
    club.one();
    let full = club.join(2, &joins(""));
    assert_eq!(ErrorCode(full.error_code), ErrorCode::GROUP_MAX_SIZE_REACHED);
    for session_timeout_ms in [5_999, 1_800_001, -1] {
        let answer = club.join(2, &JoinGroupRequest { session_timeout_ms, ..joins("me") });
        assert_eq!(ErrorCode(answer.error_code), ErrorCode::INVALID_SESSION_TIMEOUT);
        assert_eq!(answer.member_id, "me");
    }
    let nameless = club.join(2, &JoinGroupRequest { group_id: String::new(), ..joins("") });
    assert_eq!(ErrorCode(nameless.error_code), ErrorCode::INVALID_GROUP_ID);
    let unknown = club.join(2, &JoinGroupRequest { group_id: "none".into(), ..joins("me") });
    assert_eq!(ErrorCode(unknown.error_code), ErrorCode::UNKNOWN_MEMBER_ID);
}

#[test]
fn who_takes_over_goes_on_from_the_last_plan() {
    let mut club = Club::new(Config { nodes: 2, ..Config::default() });
    assert_eq!(club.bed.kafka.coordinator("g"), Some(2));
    assert!(club.bed.kafka.move_coordinator("g", 1));
    let (first, second) = club.two();
    // A third one is about to come in, and the second one has left.
    let third = club.id(3);
    club.bed.send(3, JOIN, &joins(&third));
    assert_eq!(club.leave(2, &[(&second, None)]), [NONE]);
    club.bed.facts();
    assert!(club.bed.kafka.move_coordinator("g", 2));
    club.bed.settle();
    let told = club.joined(3).unwrap();
    assert_eq!(ErrorCode(told.error_code), ErrorCode::NOT_COORDINATOR);
    assert_eq!(club.bed.facts(), [owned(1, &second, 2)], "that it left was not written");
    assert_eq!(club.beat(1, 2, &first), ErrorCode::NOT_COORDINATOR);
    club.bed.connect(11, 2);
    club.bed.pass(9_000);
    assert_eq!([club.beat(11, 2, &first), club.beat(11, 2, &third)], [NONE, ErrorCode::UNKNOWN_MEMBER_ID]);
    club.bed.pass(1_000);
    assert_eq!(club.bed.facts(), [disowned(1, &second, 2, Lost::Expired)]);
    // While it loads, it takes everybody for alive, and knows nothing else.
    club.bed.kafka.reload_coordinator("g", Duration::from_secs(5));
    assert_eq!(club.beat(11, 77, "anybody"), NONE);
    let answer = club.bed.ask(11, JOIN, &joins(&first));
    assert_eq!(ErrorCode(answer.error_code), ErrorCode::COORDINATOR_LOAD_IN_PROGRESS);
    // With the last broker all stand still.
    club.bed.kafka.crash(1);
    club.bed.kafka.crash(2);
    club.bed.facts();
    club.bed.pass(600_000);
    club.bed.kafka.restart(1);
    club.bed.connect(12, 1);
    club.bed.pass(9_999);
    assert_eq!(club.beat(12, 2, &second), NONE);
    assert_eq!(club.bed.facts(), []);
}
