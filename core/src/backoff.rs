//! How long to wait before the next try: at once the first time, then longer and longer, for ever.
//!
//! **Invariant:** a peer that accepts and dies at once is waited for like one that refuses: a
//! success counts only once it has lasted as long as the wait that the next failure would earn.

use std::time::Duration;

use crate::random::Random;
use crate::time::Instant;

/// The waits of one thing that is tried again and again: a connection, a discovery.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempts: u32,
    /// Since when it works.
    success: Option<Instant>,
}

impl Default for Backoff {
    /// 100 ms, doubled up to 10 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(10))
    }
}

impl Backoff {
    /// Waits from `base`, doubled with each try, up to `cap`; each is jittered down to half.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base: base.min(cap), cap, attempts: 0, success: None }
    }

    /// It failed, or is tried for the first time: when to try. `now` on the first try, and on
    /// the first after a success that lasted.
    pub fn next(&mut self, now: Instant, random: &mut Random) -> Instant {
        if let Some(since) = self.success.take()
            && now.since(since) >= self.step(self.attempts)
        {
            self.attempts = 0;
        }
        let wait = match self.attempts {
            0 => Duration::ZERO,
            attempts => random.jitter(self.step(attempts)),
        };
        self.attempts = self.attempts.saturating_add(1);
        now + wait
    }

    /// It works since now, until [`Backoff::next`] is called.
    pub fn handle_success(&mut self, now: Instant) {
        self.success.get_or_insert(now);
    }

    /// It did what it is there for: not merely alive, but of use. The next failure then counts
    /// as one of the first, so that a connection that is cut again and again, and works in
    /// between, goes on working.
    pub fn handle_progress(&mut self) {
        self.attempts = self.attempts.min(2);
    }

    /// Tries since the last success that lasted; one that lasts still counts them.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// It failed, and didn't work since then.
    pub fn is_failing(&self) -> bool {
        self.attempts > 0 && self.success.is_none()
    }

    /// The longest wait before the try after `attempts` tries.
    fn step(&self, attempts: u32) -> Duration {
        let doubled = 1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        self.base.saturating_mul(doubled).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_done_in_between_keeps_the_wait_short() {
        let mut random = Random::new(3);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let now = Instant::from_nanos(1);
        for _ in 0..20 {
            backoff.next(now, &mut random);
        }
        assert!(backoff.next(now, &mut random) - now >= Duration::from_secs(5));
        for _ in 0..20 {
            backoff.handle_success(now);
            backoff.handle_progress();
            let wait = backoff.next(now, &mut random) - now;
            assert!(wait > Duration::ZERO && wait <= Duration::from_millis(200), "{wait:?}");
        }
    }
}
