//! What the tests of the handle on Kafka share, beside `api_tools`.
#![allow(dead_code, reason = "each test executable takes what it needs")]
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate::{
    AnyMachine, ConsumerMode, ConsumerOptions, Handle, HostId, KafkaOptions, Message, Position, Runtime as _,
    SeqNo, StreamUrl, Timestamp, Tokio,
};
use tidegate_core::identity::HostFacts;
use tidegate_live::kafka::{Admin, Record};
use tidegate_live::wait;

use crate::api_tools::{BY_HAND, take, within};

/// How long a broker of these consumers waits for records: an answer that had to wait for it is told
/// from a round trip without a tight limit.
pub(crate) const LONG_POLL: Duration = Duration::from_secs(5);

/// Far below [`LONG_POLL`], far above a round trip on a busy machine.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(1_500);

/// Real-time, from now on.
pub(crate) fn real_time() -> ConsumerOptions {
    ConsumerOptions::new(ConsumerMode::RealTime)
}

/// A member of this group, that commits when told.
pub(crate) fn member_of(group: &str) -> ConsumerOptions {
    ConsumerOptions::new(ConsumerMode::LoadBalanced).group(group).auto_commit(BY_HAND)
}

/// Whose fetches wait long at an idle broker.
pub(crate) fn patient(options: ConsumerOptions) -> ConsumerOptions {
    options.kafka(KafkaOptions::default().fetch_max_wait(LONG_POLL))
}

/// A resumable consumer of a host of this name, as `HOST_ID` would have it.
pub(crate) async fn resumable(url: &str, host: &str) -> Handle {
    let url: StreamUrl = url.parse().unwrap();
    let facts = HostFacts { override_: Some(host.into()), ..HostFacts::default() };
    let options = ConsumerOptions::new(ConsumerMode::Resumable).auto_commit(BY_HAND);
    // This machine's own host id, if it has one, gives way to the one that is wanted here.
    let named = options.clone().group("any").consumer("any");
    let runtime = Tokio::current().unwrap();
    let mut setup = tidegate::setup(&url, named, runtime.now()).unwrap();
    setup.options = url.apply(options);
    setup.host = Some(HostId::resolve(&facts).unwrap());
    let machine = AnyMachine::new(&url, setup.clone()).unwrap();
    let handle = tidegate::drive(runtime, machine, &setup.options);
    within("ready", wait::PATIENCE, handle.ready()).await.unwrap();
    handle
}

/// One record for each time, in milliseconds since 1970, with its place as value.
#[track_caller]
pub(crate) fn add_at(kafka: &Admin, topic: &str, partition: i32, times: &[i64]) {
    let mut produce = kafka.produce(topic);
    for (at, time) in times.iter().enumerate() {
        produce = produce.record(Record::new(partition, at.to_string()).at(*time));
    }
    produce.send();
}

pub(crate) fn offset(message: &Message) -> u64 {
    message.seq().low()
}

pub(crate) fn offsets(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(offset).collect()
}

pub(crate) fn text(message: &Message) -> String {
    String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned()
}

pub(crate) fn at(offset: u64) -> Position {
    Position::At(SeqNo::offset(offset))
}

pub(crate) fn after(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// What comes next in each shard, so many messages in all: `topic/shard offset`, sorted.
pub(crate) async fn shown(consumer: &Handle, count: usize) -> Vec<String> {
    let shown = |m: &Message| format!("{}/{} {}", m.stream(), m.shard(), offset(m));
    let mut all: Vec<_> = take(consumer, count).await.iter().map(shown).collect();
    all.sort();
    all
}

/// How often each offset of each shard came.
#[derive(Debug, Default)]
pub(crate) struct Tally(pub(crate) BTreeMap<(String, u64, u64), usize>);

impl Tally {
    pub(crate) fn add(&mut self, message: &Message) {
        let place = (message.stream().to_string(), message.shard().number(), offset(message));
        *self.0.entry(place).or_default() += 1;
    }

    /// Fails unless all offsets from 0 to these ends came, by shard, and each of them once.
    #[track_caller]
    pub(crate) fn each_once(&self, topic: &str, ends: &[i64]) {
        self.all(topic, ends);
        let twice: Vec<_> = self.0.iter().filter(|(_, times)| **times > 1).take(5).collect();
        assert!(twice.is_empty(), "more than once: {twice:?}");
    }

    /// Fails unless all offsets from 0 to these ends came, by shard.
    #[track_caller]
    pub(crate) fn all(&self, topic: &str, ends: &[i64]) {
        for (shard, end) in (0..).zip(ends) {
            let missing: Vec<_> = (0..*end as u64)
                .filter(|offset| !self.0.contains_key(&(topic.to_owned(), shard, *offset)))
                .collect();
            assert!(
                missing.is_empty(),
                "{} of {end} of {topic}/{shard} lost, the first {:?}",
                missing.len(),
                &missing[..missing.len().min(5)]
            );
        }
    }
}

/// A blocking question, asked where it holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(ask).await.unwrap()
}
