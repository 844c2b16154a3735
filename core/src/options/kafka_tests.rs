//! What is refused, and that it says what to change.

use super::*;
use crate::assign::{AssignError, Assignor, Member, MemberAssignment, Topic};

fn kafka() -> KafkaOptions {
    KafkaOptions::default()
}

#[track_caller]
fn refused(options: &KafkaOptions, words: &[&str]) {
    let said = options.check().map_err(|error| error.to_string());
    assert!(said.is_err(), "{options:?}");
    let said = said.err().unwrap_or_default();
    assert!(said.starts_with("kafka.") && !said.contains('\n'), "{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
}

#[test]
fn defaults_fit_together_for_each_protocol() {
    for protocol in
        [GroupProtocol::Auto, GroupProtocol::Classic, GroupProtocol::Consumer, GroupProtocol::Share]
    {
        assert_eq!(kafka().protocol(protocol).check(), Ok(()));
    }
    let edges = kafka()
        .session_timeout(MILLIS_MAX)
        .rebalance_timeout(Duration::from_millis(1))
        .fetch_max_wait(Duration::ZERO)
        .fetch_min_bytes(0)
        .fetch_bytes_max(BYTES_MAX)
        .partition_bytes_max(BYTES_MAX)
        .client_id("")
        .rack("r".repeat(TEXT_MAX));
    assert_eq!(edges.check(), Ok(()));
}

#[test]
fn a_short_session_takes_the_heartbeat_with_it() {
    let short = kafka().session_timeout(Duration::from_secs(6));
    assert_eq!(short.heartbeat_interval, Duration::from_secs(2));
    assert_eq!(short.check(), Ok(()));
    assert_eq!(kafka().session_timeout(Duration::from_secs(60)).heartbeat_interval, Duration::from_secs(3));
    refused(
        &short.heartbeat_interval(Duration::from_millis(2_001)),
        &["heartbeat_interval", "2.001s", "session_timeout", "shorten"],
    );
}

#[test]
fn a_reset_that_is_unset_goes_by_the_mode() {
    assert_eq!(kafka().reset_in(ConsumerMode::RealTime), Reset::Latest);
    assert_eq!(kafka().reset_in(ConsumerMode::Resumable), Reset::Earliest);
    assert_eq!(kafka().reset_in(ConsumerMode::LoadBalanced), Reset::Earliest);
    assert_eq!(kafka().reset(Reset::None).reset_in(ConsumerMode::RealTime), Reset::None);
}

#[test]
fn contradictions_are_refused_with_what_to_change() {
    let range = AssignorKind::Range;
    refused(&kafka().assignors([]), &["assignors", "empty", "range"]);
    refused(&kafka().assignors([]).protocol(GroupProtocol::Classic), &["assignors"]);
    assert_eq!(kafka().assignors([]).protocol(GroupProtocol::Consumer).check(), Ok(()));
    refused(&kafka().assignors([range, AssignorKind::Sticky, range]), &["range twice", "once"]);
    let share = || kafka().protocol(GroupProtocol::Share);
    refused(&share().instance("a"), &["instance", "share groups"]);
    refused(&share().reset(Reset::Latest), &["reset", "share.auto.offset.reset"]);
    refused(&share().isolation(Isolation::ReadCommitted), &["isolation", "share.isolation.level"]);
    refused(&share().commit_metadata("m"), &["commit_metadata", "leave it out"]);
    refused(&kafka().instance(""), &["instance", "empty"]);
    refused(&kafka().partition_bytes_max(9 << 20), &["partition_bytes_max", "fetch_bytes_max", "lower"]);
    refused(&kafka().fetch_min_bytes(9 << 20), &["fetch_min_bytes", "fetch_bytes_max"]);
}

#[derive(Debug)]
struct Named(String);

impl Assignor for Named {
    fn name(&self) -> &str {
        &self.0
    }

    fn assign<'a>(&self, _: &'a [Topic], _: &'a [Member]) -> Result<Vec<MemberAssignment<'a>>, AssignError> {
        Ok(Vec::new())
    }
}

#[test]
fn assignors_of_one_s_own_need_a_name_of_their_own_and_a_classic_group() {
    let own = |name: &str| OwnAssignor::new(Named(name.into()));
    let with =
        |assignors: Vec<OwnAssignor>| kafka().protocol(GroupProtocol::Classic).own_assignors(assignors);
    assert_eq!(with(vec![own("a"), own("b")]).check(), Ok(()));
    assert_eq!(with(vec![own("a")]).assignors([]).check(), Ok(()));
    assert_eq!(with(vec![own(&"x".repeat(TEXT_MAX))]).check(), Ok(()));
    for protocol in [GroupProtocol::Auto, GroupProtocol::Consumer, GroupProtocol::Share] {
        refused(&with(vec![own("a")]).protocol(protocol), &["own_assignors", "\"a\"", "classic"]);
    }
    refused(&with(vec![own("a"), own("")]), &["own_assignors", "name"]);
    refused(&with(vec![own("\n"), own("b"), own("\n")]), &["own_assignors", "\\n", "twice"]);
    refused(&with(vec![own(&"x".repeat(TEXT_MAX + 1))]), &["own_assignors", "32767"]);
    for kind in ["range", "roundrobin", "sticky", "cooperative-sticky"] {
        refused(&with(vec![own(kind)]).assignors([]), &["own_assignors", kind, "another name"]);
    }
    refused(&with(vec![OwnAssignor::absent("mine")]), &["own_assignors", "\"mine\"", "trace", "replay"]);
    assert_eq!(OwnAssignor::absent("mine"), own("mine"), "by name");
}

#[test]
fn what_does_not_fit_the_wire_is_refused_by_name() {
    let long = Duration::from_secs(25 * 24 * 3_600);
    refused(&kafka().session_timeout(long), &["session_timeout", "24 days"]);
    refused(&kafka().session_timeout(Duration::ZERO), &["session_timeout", "1 ms"]);
    refused(&kafka().heartbeat_interval(Duration::ZERO), &["heartbeat_interval", "1 ms"]);
    refused(&kafka().rebalance_timeout(long), &["rebalance_timeout"]);
    refused(&kafka().rebalance_timeout(Duration::from_micros(999)), &["rebalance_timeout"]);
    refused(&kafka().metadata_age(Duration::ZERO), &["metadata_age"]);
    refused(&kafka().fetch_max_wait(long), &["fetch_max_wait"]);
    refused(&kafka().fetch_bytes_max(0), &["fetch_bytes_max"]);
    refused(&kafka().fetch_bytes_max(1 << 31), &["fetch_bytes_max", "2147483647"]);
    refused(&kafka().partition_bytes_max(0), &["partition_bytes_max"]);
    let text = || "x".repeat(TEXT_MAX + 1);
    refused(&kafka().client_id(text()), &["client_id", "32767"]);
    refused(&kafka().rack(text()), &["rack"]);
    refused(&kafka().instance(text()), &["instance"]);
    refused(&kafka().commit_metadata(text()), &["commit_metadata"]);
}
