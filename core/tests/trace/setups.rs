//! Any setup reads back as what it was printed from, and an older one with the defaults of what it
//! doesn't know.

use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_core::assign::{AssignError, Assignor, Member, MemberAssignment, Topic};
use tidegate_core::trace::{Recorder, Trace, TraceError};
use tidegate_core::*;

use super::Toy;
use super::lines::{duration, endpoint, position, shard, stream};

/// An assignor of one's own, of which a trace has the name.
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

prop_compose! {
    fn kafka()(
        protocol in prop_oneof![
            Just(GroupProtocol::Auto), Just(GroupProtocol::Classic), Just(GroupProtocol::Consumer),
            Just(GroupProtocol::Share),
        ],
        assignors in vec(prop_oneof![
            Just(AssignorKind::Range), Just(AssignorKind::RoundRobin), Just(AssignorKind::Sticky),
            Just(AssignorKind::CooperativeSticky),
        ], 0..5),
        own_assignors in vec(any::<String>().prop_map(|name| OwnAssignor::new(Named(name))), 0..3),
        isolation in prop_oneof![Just(Isolation::ReadUncommitted), Just(Isolation::ReadCommitted)],
        reset in proptest::option::of(prop_oneof![
            Just(Reset::Earliest), Just(Reset::Latest), Just(Reset::None), duration().prop_map(Reset::ByDuration),
        ]),
        spans in vec(duration(), 5),
        sizes in vec(any::<u32>(), 3),
        check_crc in any::<bool>(),
        client_id in any::<String>(),
        texts in vec(proptest::option::of(any::<String>()), 3),
    ) -> KafkaOptions {
        let mut kafka = KafkaOptions::default();
        kafka.protocol = protocol;
        kafka.assignors = assignors;
        kafka.own_assignors = own_assignors;
        kafka.isolation = isolation;
        kafka.reset = reset;
        for (place, span) in [
            &mut kafka.session_timeout, &mut kafka.heartbeat_interval, &mut kafka.rebalance_timeout,
            &mut kafka.metadata_age, &mut kafka.fetch_max_wait,
        ].into_iter().zip(spans) {
            *place = span;
        }
        for (place, size) in [
            &mut kafka.fetch_min_bytes, &mut kafka.fetch_bytes_max, &mut kafka.partition_bytes_max,
        ].into_iter().zip(sizes) {
            *place = size;
        }
        kafka.check_crc = check_crc;
        kafka.client_id = client_id;
        for (place, text) in [
            &mut kafka.rack, &mut kafka.instance, &mut kafka.commit_metadata,
        ].into_iter().zip(texts) {
            *place = text;
        }
        kafka
    }
}

prop_compose! {
    fn options()(
        mode in prop_oneof![Just(ConsumerMode::RealTime), Just(ConsumerMode::Resumable), Just(ConsumerMode::LoadBalanced)],
        names in (proptest::option::of(vec(any::<u8>(), 0..9)), proptest::option::of(vec(any::<u8>(), 0..9))),
        auto_commit in prop_oneof![
            Just(AutoCommit::Immediate),
            duration().prop_map(|delay| AutoCommit::Delayed { delay }),
            duration().prop_map(|interval| AutoCommit::Rolling { interval }),
            Just(AutoCommit::Disabled),
        ],
        claim in prop_oneof![
            Just(ClaimOptions::Never),
            (duration(), duration()).prop_map(|(interval, idle)| ClaimOptions::Every { interval, idle }),
        ],
        start in prop_oneof![
            Just(Start::Default),
            position().prop_map(Start::From),
            any::<i64>().prop_map(|millis| Start::After(Timestamp::from_millis(millis))),
        ],
        create in any::<bool>(),
        shards in vec(shard(), 0..3),
        batch in any::<usize>(),
        discover_interval in duration(),
        login in proptest::option::of((proptest::option::of(any::<String>()), "\\*{0,40}")),
        database in any::<u32>(),
        kafka in kafka(),
        limits in (vec(any::<usize>(), 15), vec(duration(), 5)),
    ) -> ConsumerOptions {
        let mut options = ConsumerOptions::default();
        options.mode = mode;
        options.group = names.0.map(|name| ConsumerGroup::from(bytes::Bytes::from(name)));
        options.consumer = names.1.map(|name| ConsumerId::from(bytes::Bytes::from(name)));
        options.auto_commit = auto_commit;
        options.claim = claim;
        options.start = start;
        options.create = create;
        options.shards = shards;
        options.batch = batch;
        options.discover_interval = discover_interval;
        options.login = login.map(|(user, password)| Login { user, password: Secret::new(password) });
        options.database = database;
        options.kafka = kafka;
        let (numbers, spans) = limits;
        let to = &mut options.limits;
        for (place, number) in [
            &mut to.lane_records_max, &mut to.lane_bytes_max, &mut to.unacked_max, &mut to.requests_max,
            &mut to.notices_max, &mut to.shards_max, &mut to.commit_messages_max, &mut to.commits_in_flight_max,
            &mut to.outgoing_bytes_max, &mut to.claim_messages_max, &mut to.reply_depth_max, &mut to.reply_line_max,
            &mut to.reply_bulk_max, &mut to.reply_elements_max, &mut to.reply_bytes_max,
        ].into_iter().zip(numbers) {
            *place = number;
        }
        for (place, span) in [
            &mut to.connect_timeout, &mut to.response_timeout, &mut to.block, &mut to.retry_min, &mut to.retry_max,
        ].into_iter().zip(spans) {
            *place = span;
        }
        options
    }
}

proptest! {
    #[test]
    fn a_setup_reads_back_as_what_it_was_printed_from(
        endpoints in vec(endpoint(), 0..3), streams in vec(stream(), 0..3), options in options(),
        host in proptest::option::of("[a-z ]*[a-z][\\x00-\\xff]*"), name in any::<String>(), seed in any::<u64>(),
        wall_clock in proptest::option::of(any::<i64>().prop_map(Timestamp::from_millis)),
    ) {
        let facts = |id| identity::HostFacts { override_: Some(id), ..Default::default() };
        let host = host.map(|id| HostId::resolve(&facts(id)).unwrap());
        let setup = Setup { endpoints, streams, options, host, generated_consumer: name.as_str().into(), seed, wall_clock };
        let mut recorded = String::new();
        drop(Recorder::new(Toy::new(&setup), "toy", &setup, |line| recorded.push_str(line)));
        prop_assert!(recorded.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')));
        let trace = Trace::parse(recorded.as_bytes()).unwrap();
        prop_assert_eq!(trace.backend, "toy");
        prop_assert_eq!(trace.setup, setup);
    }
}

#[test]
fn what_is_not_in_a_trace_has_its_default() {
    let setup = Setup {
        endpoints: vec![Endpoint::tcp("h", 1)],
        streams: vec!["s".into()],
        options: ConsumerOptions::default(),
        host: None,
        generated_consumer: "g".into(),
        seed: 1,
        wall_clock: None,
    };
    let mut recorded = String::new();
    drop(Recorder::new(Toy::new(&setup), "toy", &setup, |line| recorded.push_str(line)));
    assert!(!recorded.contains("wall-clock"), "it isn't known, and nothing is said of it");
    // As it was written before there was Kafka.
    let older: String = recorded.split_inclusive('\n').filter(|line| !line.starts_with("= kafka ")).collect();
    assert_ne!(older, recorded);
    assert_eq!(Trace::parse(older.as_bytes()).unwrap().setup, setup);
    for (line, wrong) in [
        ("protocol auto", "protocol newest"),
        ("assignors range", "assignors strange"),
        ("isolation read-uncommitted", "isolation yes"),
        ("session_timeout 45s", "session_timeout long"),
        ("check_crc true", "check_crc 1"),
        ("client_id", "client"),
        ("assignors range", &format!("assignors {}", "range ".repeat(1_000))),
    ] {
        let changed = recorded.replacen(&format!("= kafka {line}"), &format!("= kafka {wrong}"), 1);
        assert_ne!(changed, recorded, "{line}");
        assert!(matches!(Trace::parse(changed.as_bytes()), Err(TraceError::Corrupt { .. })), "{wrong}");
    }
}
