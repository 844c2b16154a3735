//! A consumer above its quota (KIP-219): the broker answers at once, without records, and says how long
//! it wants to be left in peace. What was said and asked the trace tells.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidegate::KafkaOptions;
use tidegate_core::kafka::wire::{
    ConsumerGroupHeartbeatRequest, FetchRequest, HeartbeatRequest, JoinGroupRequest, Request, read_response,
    request_header, split_frame,
};
use tidegate_core::trace::{Input, Line, Output, Trace};
use tidegate_core::{ConnId, Instant};
use tidegate_live::kafka::{Cluster, ClusterOptions, Protocol, unique};
use tidegate_live::{Consume, heavy, wait};

/// Bytes a second.
const QUOTA: usize = 500_000;

/// The broker counts over so many windows of a second, so that much may come at first as if there were
/// no quota.
const WINDOWS: usize = 3;

const RECORDS: u64 = 4_000;
const SIZE: usize = 1_000;

/// A request and its answer, as they passed the machine.
struct Talk {
    key: i16,
    version: i16,
    conn: ConnId,
    asked: Instant,
    answered: Instant,
    answer: Bytes,
}

impl Talk {
    fn read<R: Request>(&self) -> R::Response {
        read_response::<R>(self.answer.clone(), self.version).unwrap()
    }
}

/// All that was answered, in the order of the answers.
fn talks(trace: &Path) -> Vec<Talk> {
    #[derive(Default)]
    struct Conn {
        sent: BytesMut,
        came: BytesMut,
        asked: VecDeque<(i16, i16, Instant)>,
    }
    let text = std::fs::read(trace).unwrap();
    let mut conns: BTreeMap<ConnId, Conn> = BTreeMap::new();
    let mut talks = Vec::new();
    let mut now = Instant::ZERO;
    for line in Trace::parse(&text).unwrap().lines() {
        let line = line.unwrap();
        if let Line::At(at, _) = &line {
            now = *at;
        }
        match line {
            Line::At(_, Input::Received { conn, bytes }) | Line::Appended { conn, bytes } => {
                let known = conns.entry(conn).or_default();
                known.came.extend_from_slice(&bytes);
                while let Some(answer) = split_frame(&mut known.came, 1 << 30).unwrap() {
                    let (key, version, asked) = known.asked.pop_front().unwrap();
                    talks.push(Talk { key, version, conn, asked, answered: now, answer });
                }
            }
            Line::Out(Output::Write { conn, bytes } | Output::More { conn, bytes }) => {
                let known = conns.entry(conn).or_default();
                known.sent.extend_from_slice(&bytes);
                while let Some(request) = split_frame(&mut known.sent, 1 << 30).unwrap() {
                    let header = request_header(&request).unwrap();
                    known.asked.push_back((header.request_api_key, header.request_api_version, now));
                }
            }
            _ => {}
        }
    }
    talks
}

/// The broker's answers to the fetches of one connection against the quota, and the fetches against what
/// the broker asked for.
fn check_fetches(talks: &[Talk], max_wait: Duration) {
    let fetches: Vec<_> = talks.iter().filter(|talk| talk.key == FetchRequest::KEY).collect();
    let began = fetches[0].asked;
    let (mut bytes, mut largest, mut throttled, mut silence, mut empty) = (0, 0, 0, Duration::ZERO, 0);
    // By connection: until when it is to be left in peace.
    let mut peace: BTreeMap<ConnId, Instant> = BTreeMap::new();
    let mut latest = Duration::ZERO;
    for fetch in &fetches {
        let answer = fetch.read::<FetchRequest>();
        if let Some(until) = peace.insert(fetch.conn, Instant::ZERO).filter(|until| *until > Instant::ZERO) {
            assert!(
                fetch.asked >= until,
                "fetched {:?} after the beginning, {:?} before the broker wanted it",
                fetch.asked - began,
                until - fetch.asked
            );
            latest = latest.max(fetch.asked - until);
        }
        let data = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let here: usize = data.map(|data| data.records.as_ref().map_or(0, Bytes::len)).sum();
        (bytes, largest) = (bytes + here, here.max(largest));
        if answer.throttle_time_ms > 0 {
            let wait = Duration::from_millis(answer.throttle_time_ms as u64);
            peace.insert(fetch.conn, fetch.answered + wait);
            (throttled, silence) = (throttled + 1, silence + wait);
        } else if here == 0 {
            empty += 1;
        }
        // What comes before it is counted is one answer at most.
        let allowed =
            QUOTA as f64 * ((fetch.answered - began).as_secs_f64() + WINDOWS as f64) + largest as f64;
        assert!(bytes as f64 <= allowed, "{bytes} bytes {:?} after the beginning", fetch.answered - began);
    }
    let took = fetches.last().unwrap().answered - began;
    println!(
        "{bytes} bytes in {took:?} by {} fetches, of which {throttled} were throttled, by {silence:?} in all, \
         and {empty} answered with nothing; the latest one came {latest:?} after it was allowed",
        fetches.len()
    );
    assert!(throttled >= 3, "it was throttled {throttled} times");
    // Those that wait for records wait as long as they were told to.
    let most = (took.as_millis() / max_wait.as_millis()) as usize + 3;
    assert!(
        empty <= most,
        "{empty} fetches were answered with nothing in {took:?}: at most {most} explained"
    );
}

/// The member was heard of all the while, and stayed who it was.
fn check_heartbeats(talks: &[Talk], protocol: Protocol) {
    let mut times: Vec<Instant> = Vec::new();
    let mut slowest = Duration::ZERO;
    for talk in talks {
        let code = match talk.key {
            HeartbeatRequest::KEY => talk.read::<HeartbeatRequest>().error_code,
            ConsumerGroupHeartbeatRequest::KEY => talk.read::<ConsumerGroupHeartbeatRequest>().error_code,
            _ => continue,
        };
        // The first group of a new cluster waits for its coordinator.
        if times.is_empty() && [14, 15, 16].contains(&code) {
            continue;
        }
        assert_eq!(code, 0, "a heartbeat's answer");
        times.push(talk.answered);
        slowest = slowest.max(talk.answered - talk.asked);
    }
    let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    println!("{} heartbeats, the slowest answered in {slowest:?}, {gap:?} apart at most", times.len());
    assert!(gap < protocol.death(), "{gap:?} without a heartbeat");
    // A classic member joins twice: once to get its id.
    let joins = talks.iter().filter(|talk| talk.key == JoinGroupRequest::KEY).count();
    assert!(joins <= 2, "it joined {joins} times");
    assert!(times.len() >= 3, "{} heartbeats", times.len());
}

#[test]
fn a_throttled_consumer_goes_on_and_leaves_the_broker_in_peace() {
    let _turn = heavy();
    let settings = vec![("quota.window.num".into(), WINDOWS.to_string())];
    let cluster = Cluster::with(1, &ClusterOptions { settings, ..ClusterOptions::default() });
    let kafka = cluster.admin();
    let topic = kafka.topic(1);
    kafka.numbers(&topic, 1).size(SIZE).send(0..RECORDS);
    kafka.throttle("consumer_byte_rate", QUOTA as u64);
    let dir = tempfile::tempdir().unwrap();
    for protocol in [Protocol::Consumer, Protocol::Cooperative] {
        println!("{protocol:?}:");
        let (group, trace) = (unique("group"), dir.path().join(format!("{protocol:?}")));
        let args = ["--record", trace.to_str().unwrap(), "--commit-interval", "200ms"];
        let consume = Consume::of(&kafka.url(&topic)).member(&group, "one");
        let mut consumer = consume.args(protocol.args()).args(args).start();
        // Twice as long as the quota needs for all of it.
        let most = Duration::from_secs(2 * RECORDS * SIZE as u64 / QUOTA as u64) + wait::PATIENCE;
        consumer.wait_for("all records", most, |seen| seen.lines.len() as u64 >= RECORDS);
        consumer.interrupt();
        assert_eq!(consumer.count() as u64, RECORDS);
        assert_eq!(kafka.committed_offsets(&group, &topic, 1), [RECORDS as i64]);
        let talks = talks(&trace);
        check_fetches(&talks, KafkaOptions::default().fetch_max_wait);
        check_heartbeats(&talks, protocol);
    }
}
