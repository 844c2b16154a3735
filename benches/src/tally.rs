//! What a contender counts into while it consumes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Messages at the start of a latency run that are not counted: connections and caches are still cold.
const WARM_UP: u64 = 200;
/// Digits of a timestamp at the start of a payload.
const STAMP: usize = 20;

/// Counts messages and, in a latency run, how long each was under way.
///
/// The timestamps are nanoseconds since [`Tally::origin`] on the monotonic clock, so the producer must be a
/// thread of the same process.
#[derive(Debug)]
pub struct Tally {
    origin: Instant,
    want: u64,
    taken: u64,
    bytes: u64,
    live: bool,
    delays: Vec<u64>,
    first: Option<Duration>,
    started: Arc<AtomicBool>,
    finished: Option<Duration>,
    settled: Option<Duration>,
}

impl Tally {
    /// Starts the clock. `want` messages make a run; `live` when payloads begin with a [`stamp`].
    pub fn start(want: u64, live: bool) -> Self {
        let delays = Vec::with_capacity(if live { want as usize } else { 0 });
        let origin = Instant::now();
        let started = Arc::default();
        Self {
            origin,
            want,
            taken: 0,
            bytes: 0,
            live,
            delays,
            first: None,
            started,
            finished: None,
            settled: None,
        }
    }

    /// When the run started; what [`stamp`] counts from.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// Becomes true with the first message: for a producer that waits until somebody reads.
    pub fn started(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.started)
    }

    /// When the first message was taken.
    pub fn first(&self) -> Option<Duration> {
        self.first
    }

    /// Messages go by that nobody looks at: for a floor.
    pub fn pass(&mut self, messages: u64) {
        self.begin();
        self.taken += messages;
    }

    #[inline]
    fn begin(&mut self) {
        if self.first.is_none() {
            self.first = Some(self.origin.elapsed());
            self.started.store(true, Ordering::Release);
        }
    }

    /// The application takes one message.
    #[inline]
    pub fn take(&mut self, payload: &[u8]) {
        self.begin();
        self.taken += 1;
        self.bytes += payload.len() as u64;
        if self.live {
            self.note_delay(payload);
        }
    }

    /// True once every message was taken.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.taken >= self.want
    }

    /// Messages taken so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Bytes of payload taken so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Stops the clock: all is taken and, if this client can know, the broker has confirmed every ack.
    /// Only the first call counts.
    pub fn finish(&mut self) {
        let elapsed = self.origin.elapsed();
        self.finished.get_or_insert(elapsed);
    }

    /// For a client that cannot know when its acks arrived: the broker has them all now.
    pub fn settle(&mut self) {
        let elapsed = self.origin.elapsed();
        self.settled.get_or_insert(elapsed);
    }

    /// How long the run took, up to [`Tally::finish`].
    pub fn finished(&self) -> Option<Duration> {
        self.finished
    }

    /// How much later than [`Tally::finish`] the last ack arrived; `None` where the two are the same.
    pub fn tail(&self) -> Option<Duration> {
        Some(self.settled?.saturating_sub(self.finished?))
    }

    /// Delays in nanoseconds, ascending; empty unless the run is live.
    pub fn into_delays(mut self) -> Vec<u64> {
        self.delays.sort_unstable();
        self.delays
    }

    fn note_delay(&mut self, payload: &[u8]) {
        let sent =
            payload.get(..STAMP).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
        if let (Some(sent), true) = (sent, self.taken > WARM_UP) {
            self.delays.push((self.origin.elapsed().as_nanos() as u64).saturating_sub(sent));
        }
    }
}

/// A payload of `size` bytes (at least the stamp's 20) that says when it was made: nanoseconds since `origin`
/// in decimal digits, then padding.
pub fn stamp(origin: Instant, size: usize) -> Vec<u8> {
    let mut payload = format!("{:0STAMP$}", origin.elapsed().as_nanos() as u64).into_bytes();
    payload.resize(size.max(STAMP), b'x');
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_up_to_what_is_wanted() {
        let mut tally = Tally::start(2, false);
        tally.take(b"abc");
        assert!(!tally.is_full());
        tally.take(b"de");
        assert!(tally.is_full());
        assert_eq!((tally.taken(), tally.bytes()), (2, 5));
        assert!(tally.into_delays().is_empty());
    }

    #[test]
    fn the_first_message_starts_it() {
        let mut tally = Tally::start(5, false);
        let started = tally.started();
        assert!(tally.first().is_none() && !started.load(Ordering::Acquire));
        tally.pass(4);
        let first = tally.first();
        assert!(first.is_some() && started.load(Ordering::Acquire) && !tally.is_full());
        std::thread::sleep(Duration::from_millis(2));
        tally.take(b"abc");
        assert_eq!((tally.first(), tally.taken(), tally.bytes()), (first, 5, 3));
    }

    #[test]
    fn only_the_first_finish_counts_and_the_tail_follows_it() {
        let mut tally = Tally::start(0, false);
        assert_eq!((tally.finished(), tally.tail()), (None, None));
        tally.finish();
        let first = tally.finished();
        std::thread::sleep(Duration::from_millis(2));
        tally.finish();
        assert_eq!(tally.finished(), first);
        tally.settle();
        assert!(tally.tail().unwrap() >= Duration::from_millis(2));
    }

    #[test]
    fn delays_come_from_the_stamp_after_the_warm_up() {
        let mut tally = Tally::start(WARM_UP + 2, true);
        for _ in 0..WARM_UP {
            tally.take(&stamp(tally.origin(), 100));
        }
        let old = stamp(tally.origin(), 1);
        assert_eq!(old.len(), STAMP);
        std::thread::sleep(Duration::from_millis(2));
        tally.take(&old);
        tally.take(b"no stamp");
        let delays = tally.into_delays();
        assert_eq!(delays.len(), 1);
        assert!(delays[0] >= 2_000_000);
    }
}
