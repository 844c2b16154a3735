//! Sessions, releases, throttling, racks.

use tidegate_core::kafka::wire::{FetchRequestForgottenTopic, MetadataRequest};

use super::*;

impl Client {
    /// Connects to another broker.
    fn move_to(&mut self, node: usize) {
        self.peer = PeerId(self.peer.0 + 1);
        self.kafka.handle(self.now, BrokerEvent::Accepted { peer: self.peer, node });
    }
}

fn everything() -> MetadataRequest {
    MetadataRequest { topics: None, ..MetadataRequest::default() }
}

/// A fetch in a session that goes on, of what it has already.
fn go_on(session_id: i32, session_epoch: i32) -> FetchRequest {
    FetchRequest { session_id, session_epoch, max_wait_ms: 0, ..FetchRequest::default() }
}

#[test]
fn a_session_goes_on_in_turn_and_tells_what_changed() {
    let mut client = Client::new(Config::default());
    client.kafka.create_topic("orders", 1);
    let id = client.ask(18, &FetchRequest { max_wait_ms: 0, ..fetch(&client.kafka, 0) }).session_id;
    assert_eq!(client.ask(18, &go_on(id, 1)).responses, vec![]);
    let out_of_turn = client.ask(18, &go_on(id, 1));
    assert_eq!(out_of_turn.error_code, ErrorCode::INVALID_FETCH_SESSION_EPOCH.0);
    let by_name = client.ask(12, &go_on(id, 2));
    assert_eq!(by_name.error_code, ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR.0);
    client.kafka.produce(NOW, "orders", 0, &[b"a"]).unwrap();
    let answer = client.ask(18, &go_on(id, 2));
    assert_eq!((answer.session_id, read(&answer)), (id, (0, vec![0])));
    // Retention is told even to who has read all.
    let mut on = fetch(&client.kafka, 1);
    on = FetchRequest { topics: on.topics, ..go_on(id, 3) };
    client.ask(18, &on);
    client.kafka.trim("orders", 0, 1);
    let told = client.ask(18, &go_on(id, 4));
    assert_eq!(told.responses[0].partitions[0].log_start_offset, 1);
    // An error is told until it is over, and then the partition once more.
    client.kafka.lose("orders", 0, 0);
    on = FetchRequest { topics: fetch(&client.kafka, 9).topics, ..go_on(id, 5) };
    assert_eq!(read(&client.ask(18, &on)).0, ErrorCode::OFFSET_OUT_OF_RANGE.0);
    on = FetchRequest { topics: fetch(&client.kafka, 1).topics, ..go_on(id, 6) };
    assert_eq!(read(&client.ask(18, &on)), (0, vec![]));
    assert_eq!(client.ask(18, &go_on(id, 7)).responses, vec![]);
    // Without partitions it ends.
    let mut last = go_on(id, 8);
    last.forgotten_topics_data = vec![FetchRequestForgottenTopic {
        topic_id: client.kafka.topics.id_of("orders"),
        partitions: vec![0],
        ..Default::default()
    }];
    assert_eq!(client.ask(18, &last).session_id, 0);
    assert_eq!(client.ask(18, &go_on(id, 9)).error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0);
}

#[test]
fn a_session_takes_the_place_of_one_that_is_worth_less() {
    let mut client = Client::new(Config { sessions: 1, ..Config::default() });
    client.kafka.create_topic("orders", 2);
    client.kafka.produce(NOW, "orders", 0, &[b"a"]).unwrap();
    let small = FetchRequest { max_wait_ms: 0, ..fetch(&client.kafka, 0) };
    let mut large = small.clone();
    large.topics[0].partitions.push(FetchRequestPartition { partition: 1, ..Default::default() });
    let first = client.ask(18, &small).session_id;
    assert_eq!(read(&client.ask(18, &small)), (0, vec![0]), "an answer all the same");
    assert_eq!(client.ask(18, &large).session_id, 0, "the first one is young");
    client.pass(120_001);
    assert!(client.ask(18, &go_on(first, 1)).error_code == 0, "and now old, but used");
    assert_eq!(client.ask(18, &small).session_id, 0, "an equal one doesn't count for more");
    let second = client.ask(18, &large).session_id;
    assert!(second > first);
    assert_eq!(client.ask(18, &go_on(first, 2)).error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0);
    client.pass(120_001);
    let third = client.ask(18, &small).session_id;
    assert!(third > second, "nobody used the second for long");
    // Who opens another one gives its own back first.
    let fourth = client.ask(18, &FetchRequest { session_id: third, ..small.clone() }).session_id;
    assert!(fourth > third);
    client.kafka.forget_sessions(1);
    assert_eq!(client.ask(18, &go_on(fourth, 1)).error_code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0);
    assert!(client.ask(18, &small).session_id > fourth);
}

#[test]
fn a_held_up_client_is_told_and_muted() {
    let mut client = Client::new(Config::default());
    client.kafka.create_topic("orders", 1);
    client.kafka.produce(NOW, "orders", 0, &[b"a"]).unwrap();
    client.kafka.throttle(NOW, 1, Duration::from_millis(300), Duration::from_millis(1_000));
    let answer = client.ask(13, &everything());
    assert_eq!(answer.throttle_time_ms, 300);
    let request = FetchRequest { max_wait_ms: 0, ..fetch(&client.kafka, 0) };
    client.send(18, &request);
    assert!(!client.kafka.wants_read(client.peer));
    client.pass(299);
    assert_eq!(client.answer::<FetchRequest>(18), None);
    client.pass(1);
    let answer = client.answer::<FetchRequest>(18).unwrap();
    assert_eq!((answer.throttle_time_ms, answer.session_id, answer.responses.len()), (300, 0, 0));
    client.pass(300);
    assert!(client.kafka.wants_read(client.peer));
    // It is over, or is ended.
    client.pass(400);
    let answer = client.ask(18, &request);
    assert_eq!((answer.throttle_time_ms, read(&answer)), (0, (0, vec![0])));
    client.kafka.throttle(client.now, 1, Duration::from_millis(300), Duration::from_secs(9));
    client.kafka.throttle(client.now, 1, Duration::ZERO, Duration::ZERO);
    assert_eq!(client.ask(18, &go_on(answer.session_id, 1)).throttle_time_ms, 0);
}

#[test]
fn a_session_goes_on_after_it_was_held_up() {
    let mut client = Client::new(Config::default());
    client.kafka.create_topic("orders", 1);
    let id = client.ask(18, &FetchRequest { max_wait_ms: 0, ..fetch(&client.kafka, 0) }).session_id;
    client.kafka.produce(NOW, "orders", 0, &[b"a"]).unwrap();
    client.kafka.throttle(NOW, 1, Duration::from_millis(300), Duration::from_millis(300));
    let held_up = client.ask(18, &go_on(id, 1));
    assert_eq!((held_up.session_id, held_up.error_code, held_up.responses.len()), (id, 0, 0));
    client.pass(300);
    assert_eq!(read(&client.ask(18, &go_on(id, 2))), (0, vec![0]));
}

#[test]
fn brokers_of_other_releases_say_so() {
    let mut client = Client::new(Config { release: Release::V2_8, ..Config::default() });
    client.kafka.create_topic("orders", 1);
    let last = |client: &mut Client, key: i16| {
        let answer = client.ask(3, &ApiVersionsRequest::default());
        answer.api_keys.iter().find(|api| api.api_key == key).map(|api| api.max_version)
    };
    assert_eq!(last(&mut client, FetchRequest::KEY), Some(12));
    // What it hasn't is told in version 0, with nothing but what it has of this.
    client.send(4, &ApiVersionsRequest::default());
    let answer = client.answer::<ApiVersionsRequest>(0).unwrap();
    assert_eq!(answer.error_code, ErrorCode::UNSUPPORTED_VERSION.0);
    let all: Vec<_> = answer.api_keys.iter().map(|api| (api.api_key, api.max_version)).collect();
    assert_eq!(all, [(ApiVersionsRequest::KEY, 3)]);
    // Anything else ends the connection.
    let request = fetch(&client.kafka, 0);
    client.send(13, &request);
    assert_eq!(client.commands().last(), Some(&BrokerCommand::Close { peer: client.peer }));
    // It is upgraded while it is away.
    client.kafka.set_release(1, Release::V4_3);
    assert_eq!(client.kafka.release(1), Release::V2_8);
    client.kafka.crash(1);
    client.kafka.restart(1);
    assert_eq!(client.kafka.release(1), Release::V4_3);
    client.move_to(0);
    assert_eq!(last(&mut client, FetchRequest::KEY), Some(18));
}

/// Brokers 1 and 2 in racks `a` and `b`; broker 1 leads `orders-0`, which has two records.
fn racks() -> Client {
    let racks = vec!["a".into(), "b".into()];
    let mut client = Client::new(Config { nodes: 2, replicas: 2, racks, ..Config::default() });
    client.kafka.create_topic("orders", 1);
    client.kafka.produce(NOW, "orders", 0, &[b"a"]).unwrap();
    client.kafka.produce(NOW, "orders", 0, &[b"b"]).unwrap();
    client
}

fn fetch_in(client: &Client, rack: &str, from: i64) -> FetchRequest {
    FetchRequest { rack_id: rack.into(), max_wait_ms: 0, ..fetch(&client.kafka, from) }
}

#[test]
fn a_reader_is_sent_to_the_replica_in_its_rack() {
    let mut client = racks();
    let metadata = client.ask(13, &everything());
    let racks: Vec<_> = metadata.brokers.iter().map(|broker| broker.rack.as_deref()).collect();
    assert_eq!(racks, [Some("a"), Some("b")]);
    let ask = |client: &mut Client, rack: &str, from| {
        let answer = client.ask(18, &fetch_in(client, rack, from));
        (answer.responses[0].partitions[0].preferred_read_replica, read(&answer))
    };
    for rack in ["", "a", "c"] {
        assert_eq!(ask(&mut client, rack, 0), (-1, (0, vec![0, 1])), "{rack}");
    }
    assert_eq!(ask(&mut client, "b", 0), (2, (0, vec![])));
    assert_eq!(ask(&mut client, "b", 3).1.0, ErrorCode::OFFSET_OUT_OF_RANGE.0, "no replica has it");
    client.kafka.hold_follower("orders", 0, 2, Some(1));
    assert_eq!(ask(&mut client, "b", 0), (-1, (0, vec![0, 1])), "it isn't in sync");
    let metadata = client.ask(13, &everything());
    assert_eq!(metadata.topics[0].partitions[0].isr_nodes, [1]);
    client.kafka.hold_follower("orders", 0, 2, None);
    client.kafka.crash(2);
    assert_eq!(ask(&mut client, "b", 0), (-1, (0, vec![0, 1])), "it isn't there");
}

#[test]
fn a_follower_answers_with_what_it_has() {
    let mut client = racks();
    client.move_to(1);
    let ask = |client: &mut Client, version, from| {
        let mut request = fetch_in(client, "b", from);
        request.topics[0].topic = "orders".into();
        let answer = client.ask(version, &request);
        (read(&answer), answer.responses[0].partitions[0].high_watermark)
    };
    assert_eq!(ask(&mut client, 18, 0), ((0, vec![0, 1]), 2));
    let leads = ErrorCode::NOT_LEADER_OR_FOLLOWER.0;
    assert_eq!(ask(&mut client, 10, 0).0.0, leads, "before KIP-392");
    // It has all, and doesn't know yet that all is committed.
    client.kafka.hold_watermark("orders", 0, 2, Some(1));
    assert_eq!(ask(&mut client, 18, 0), ((0, vec![0]), 1));
    assert_eq!(ask(&mut client, 18, 2), ((0, vec![]), 1));
    // It hasn't all.
    client.kafka.hold_follower("orders", 0, 2, Some(1));
    assert_eq!(ask(&mut client, 18, 2), ((ErrorCode::OFFSET_OUT_OF_RANGE.0, vec![]), -1));
    // So it doesn't lead, until it has caught up.
    client.kafka.crash(1);
    assert_eq!(client.kafka.produce(NOW, "orders", 0, &[b"c"]), None);
    client.kafka.hold_follower("orders", 0, 2, None);
    client.kafka.hold_watermark("orders", 0, 2, None);
    assert_eq!(ask(&mut client, 18, 0), ((0, vec![0, 1]), 2));
    // A former leader knows the newer epoch.
    client.kafka.restart(1);
    client.move_to(0);
    let mut request = fetch_in(&client, "", 0);
    request.topics[0].partitions[0].current_leader_epoch = 0;
    let answer = client.ask(18, &request);
    assert_eq!(read(&answer).0, ErrorCode::FENCED_LEADER_EPOCH.0);
    let hint = &answer.responses[0].partitions[0].current_leader;
    assert_eq!(hint.leader_id, 2);
    assert_eq!(answer.node_endpoints[0].rack.as_deref(), Some("b"));
    assert_eq!(client.kafka.check(), Ok(()));
}

#[test]
fn a_new_leader_that_does_not_know_what_is_committed_has_no_latest_offset() {
    let mut client = racks();
    client.kafka.hold_watermark("orders", 0, 2, Some(1));
    client.kafka.crash(1);
    client.move_to(1);
    let ask = |client: &mut Client, version, timestamp| {
        let partition = ListOffsetsRequestPartition { timestamp, ..Default::default() };
        let topic = ListOffsetsRequestTopic { name: "orders".into(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let answer = client.ask(version, &request).topics[0].partitions[0].clone();
        (ErrorCode(answer.error_code), answer.offset)
    };
    assert_eq!(ask(&mut client, 10, -1), (ErrorCode::OFFSET_NOT_AVAILABLE, -1));
    assert_eq!(ask(&mut client, 4, -1), (ErrorCode::LEADER_NOT_AVAILABLE, -1));
    assert_eq!(ask(&mut client, 10, i64::MAX), (ErrorCode::OFFSET_NOT_AVAILABLE, -1));
    assert_eq!(ask(&mut client, 10, -2), (ErrorCode::NONE, 0));
    assert_eq!(ask(&mut client, 10, 0), (ErrorCode::NONE, 0), "it is committed");
    client.kafka.hold_watermark("orders", 0, 2, None);
    assert_eq!(ask(&mut client, 10, -1), (ErrorCode::NONE, 2));
    // Afterwards what isn't committed yet isn't there for readers.
    client.kafka.hold_watermark("orders", 0, 2, Some(2));
    client.kafka.produce(NOW, "orders", 0, &[b"c"]).unwrap();
    assert_eq!(ask(&mut client, 10, -1), (ErrorCode::NONE, 2));
    assert_eq!(read(&client.ask(18, &fetch_in(&client, "", 0))), (0, vec![0, 1]));
}
