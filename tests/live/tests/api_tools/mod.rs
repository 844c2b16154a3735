//! What the tests of the handle share: runtimes, patience, and futures that are polled and dropped.
#![allow(dead_code, reason = "each test executable takes what it needs")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in tests a panic with its line is the report")]

pub(crate) mod kafka;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tidegate::{
    AutoCommit, ClaimOptions, ConsumerMode, ConsumerOptions, Handle, Message, Notice, Notices, SeqNo,
};
use tidegate_live::wait;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

/// No commit by the clock: what is committed was asked for.
pub(crate) const BY_HAND: AutoCommit = AutoCommit::Disabled;

/// A runtime whose workers go on while the test blocks.
pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// A runtime of one thread.
pub(crate) fn single() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A member of the group `crew`, that commits when told.
pub(crate) fn member(name: &str) -> ConsumerOptions {
    ConsumerOptions::new(ConsumerMode::LoadBalanced).group("crew").consumer(name).auto_commit(BY_HAND)
}

/// Real-time, from the beginning of what there is.
pub(crate) fn from_the_beginning() -> ConsumerOptions {
    ConsumerOptions::new(ConsumerMode::RealTime).start(tidegate::Start::From(tidegate::Position::Beginning))
}

pub(crate) fn claims(interval_ms: u64, idle_ms: u64) -> ClaimOptions {
    ClaimOptions::Every { interval: Duration::from_millis(interval_ms), idle: Duration::from_millis(idle_ms) }
}

pub(crate) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Connects, and fails the test if it can't.
#[track_caller]
pub(crate) fn open(url: &str, options: ConsumerOptions) -> impl Future<Output = Handle> {
    let at = std::panic::Location::caller();
    let url = url.to_owned();
    async move {
        match tokio::time::timeout(wait::PATIENCE, tidegate::connect(&url, options)).await {
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) => panic!("connect to {url} ({at}): {error:?}"),
            Err(_) => panic!("connect to {url} ({at}) hangs"),
        }
    }
}

/// What the future answers, within this long.
#[track_caller]
pub(crate) fn within<F: Future>(
    what: &str,
    limit: Duration,
    future: F,
) -> impl Future<Output = F::Output> + use<F> {
    let at = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        match tokio::time::timeout(limit, future).await {
            Ok(output) => output,
            Err(_) => panic!("not within {limit:?}: {what} ({at})"),
        }
    }
}

/// Asks until the answer is yes; the runtime runs in between.
#[track_caller]
pub(crate) fn until<F, A>(what: &str, limit: Duration, mut probe: F) -> impl Future<Output = ()>
where
    F: FnMut() -> A,
    A: Future<Output = bool>,
{
    let at = std::panic::Location::caller();
    async move {
        let started = Instant::now();
        while !probe().await {
            assert!(started.elapsed() < limit, "not within {limit:?}: {what} ({at})");
            tokio::time::sleep(millis(5)).await;
        }
    }
}

/// The next message, soon.
#[track_caller]
pub(crate) fn next(consumer: &Handle) -> impl Future<Output = Message> {
    let at = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(wait::PATIENCE, consumer.next()).await {
            Ok(Ok(Some(message))) => message,
            Ok(other) => panic!("next ({at}): {other:?}"),
            Err(_) => panic!("next ({at}): nothing for {:?}; {:?}", wait::PATIENCE, consumer.stats().await),
        }
    }
}

/// As many messages as that, each soon.
#[track_caller]
pub(crate) fn take(consumer: &Handle, count: usize) -> impl Future<Output = Vec<Message>> {
    let at = std::panic::Location::caller();
    async move {
        let mut messages = Vec::with_capacity(count);
        while messages.len() < count {
            match tokio::time::timeout(wait::PATIENCE, consumer.next()).await {
                Ok(Ok(Some(message))) => messages.push(message),
                Ok(other) => panic!("message {} of {count} ({at}): {other:?}", messages.len()),
                Err(_) => panic!(
                    "message {} of {count} ({at}): nothing for {:?}; {:?}",
                    messages.len(),
                    wait::PATIENCE,
                    consumer.stats().await
                ),
            }
        }
        messages
    }
}

/// Fails if a message comes within this long.
#[track_caller]
pub(crate) fn nothing_comes(consumer: &Handle, during: Duration) -> impl Future<Output = ()> {
    let at = std::panic::Location::caller();
    async move {
        if let Ok(message) = tokio::time::timeout(during, consumer.next()).await {
            panic!("nothing was to come ({at}): {message:?}");
        }
    }
}

/// The id as Redis writes it.
pub(crate) fn id(message: &Message) -> String {
    message.seq().as_redis().to_string()
}

pub(crate) fn ids(messages: &[Message]) -> Vec<String> {
    messages.iter().map(id).collect()
}

/// The position that an id names.
pub(crate) fn seq(id: &str) -> SeqNo {
    let (millis, counter) = id.split_once('-').unwrap();
    SeqNo::redis(millis.parse().unwrap(), counter.parse().unwrap())
}

/// `entry-0`, `entry-1`, …
pub(crate) fn numbers(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|n| format!("entry-{n}"))
}

/// What was received how often.
#[derive(Debug, Default)]
pub(crate) struct Received(pub(crate) BTreeMap<String, usize>);

impl Received {
    pub(crate) fn add(&mut self, message: &Message) {
        *self.0.entry(id(message)).or_default() += 1;
    }

    /// Fails unless each of these came, and nothing else.
    #[track_caller]
    pub(crate) fn all(&self, expected: &[String]) {
        let missing: Vec<_> = expected.iter().filter(|id| !self.0.contains_key(*id)).collect();
        assert!(missing.is_empty(), "{} of {} lost: {:?}", missing.len(), expected.len(), first(&missing));
        assert_eq!(self.0.len(), expected.len(), "more than was sent");
    }

    /// Fails unless each of these came once, and nothing else.
    #[track_caller]
    pub(crate) fn each_once(&self, expected: &[String]) {
        self.all(expected);
        let twice: Vec<_> = self.0.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{} came more than once: {:?}", twice.len(), first(&twice));
    }
}

fn first<T>(some: &[T]) -> &[T] {
    &some[..some.len().min(5)]
}

/// The first notice that is looked for; fails with those that came instead.
#[track_caller]
pub(crate) fn notice<T>(
    notices: &mut Notices,
    what: &str,
    mut look: impl FnMut(&Notice) -> Option<T>,
) -> impl Future<Output = T> {
    let at = std::panic::Location::caller();
    async move {
        let mut seen = Vec::new();
        let found = tokio::time::timeout(wait::PATIENCE, async {
            while let Some(notice) = notices.recv().await {
                if let Some(found) = look(&notice) {
                    return Some(found);
                }
                seen.push(notice.to_string());
            }
            None
        });
        match found.await {
            Ok(Some(found)) => found,
            _ => panic!("no notice of {what} ({at}), but {seen:#?}"),
        }
    }
}

/// When a future that was polled is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Right after its last poll.
    AtOnce,
    /// After it was woken once more, and not polled.
    Woken,
}

/// A waker that counts.
#[derive(Default)]
struct Counter {
    wakes: AtomicUsize,
    woken: Notify,
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.woken.notify_one();
    }
}

/// Polls a future up to `times` times, each time after it was woken (or after 10 ms: a poll too
/// many does no harm), then drops it. What it answered, if it did.
pub(crate) async fn poll_and_drop<F: Future>(future: F, times: usize, dropped: Dropped) -> Option<F::Output> {
    let counter = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&counter));
    let mut future = pin!(future);
    for poll in 1..=times {
        // No borrow of the future lives over an await here, so that it is polled by nobody else.
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        if poll < times || dropped == Dropped::Woken {
            tokio::time::timeout(millis(10), counter.woken.notified()).await.ok();
        }
    }
    None
}

/// The numbers of polls, and both ways to drop.
pub(crate) fn ways_to_drop(polls: usize) -> impl Iterator<Item = (usize, Dropped)> {
    (1..=polls).flat_map(|n| [(n, Dropped::AtOnce), (n, Dropped::Woken)])
}

/// How long it took.
pub(crate) async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let started = Instant::now();
    let output = future.await;
    (output, started.elapsed())
}

/// The middle one.
pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
