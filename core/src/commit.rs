//! When to commit: by size, age, idleness, or because somebody asked.
//!
//! The schedule counts and times; which messages a commit holds is the
//! [ledger](crate::ack)'s matter. A trigger that fires asks for a number of messages, and
//! [`Schedule::wants_commit`] answers true until so many were sent, in as many commits as that
//! takes. Those acked meanwhile wait for the next trigger.
//!
//! | trigger | rolling | delayed | disabled |
//! |---|---|---|---|
//! | size: a commit is full | yes | yes | no |
//! | age | `interval` after the first ack | as soon as due; for the application's own acks a 64th of `delay` | no |
//! | idleness: no ack for `idle` | yes | yes | no |
//! | explicit: `commit()` | yes | yes | yes |
//! | drain: close | yes | yes | yes |
//!
//! Immediate has nothing to commit, ever.
//!
//! The order of the calls: feed `handle_*`, ack what [`Schedule::poll_due`] gives, commit while
//! [`Schedule::wants_commit`], then sleep until [`Schedule::next_wake`].
//!
//! **Invariant:** where wakes are obeyed and commits answered, no ack of rolling waits longer
//! than `interval`.
//!
//! **Invariant:** once there is nothing due and no commit wanted, the next wake lies in the
//! future: a driver never spins.
//!
//! **Invariant:** commits that fail again and again are sent at once the first time, then at
//! most every 100 ms to 1 s, for ever.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ack::AckRange;
use crate::time::Instant;
use crate::timer::Wake;

/// Who acks and who commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoCommit {
    /// The broker forgets a message as it hands it out: at most once, and nothing to ack.
    Immediate,
    /// Acked `delay` after the application took it, unless the application was earlier, and
    /// then committed. A clean close acks what was taken.
    Delayed {
        /// Usually 5 s ([`AutoCommit::DELAY`]). Up to a 64th more, as neighbours go together.
        delay: Duration,
    },
    /// Acked by the application, committed every interval.
    Rolling {
        /// Usually 1 s ([`AutoCommit::INTERVAL`]): the most that an ack waits.
        interval: Duration,
    },
    /// Acked and committed by the application. A close commits what was acked.
    Disabled,
}

impl AutoCommit {
    /// The usual delay.
    pub const DELAY: Duration = Duration::from_secs(5);
    /// The usual interval.
    pub const INTERVAL: Duration = Duration::from_secs(1);
}

impl Default for AutoCommit {
    /// Rolling, 1 s: nothing is lost, and a crash repeats a second at most.
    fn default() -> Self {
        Self::Rolling { interval: Self::INTERVAL }
    }
}

/// Messages that the application took, and when they count as acked.
#[derive(Clone, Copy, Debug)]
struct Taken {
    first_due: Instant,
    due: Instant,
    range: AckRange,
}

const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// How many of the last ranges are tried for a neighbour: tasks that take from one batch each.
const NEIGHBOURS: usize = 8;

/// When to commit. See the [module](self).
#[derive(Clone, Debug)]
pub struct Schedule {
    mode: AutoCommit,
    batch: u64,
    idle: Duration,
    taken: VecDeque<Taken>,
    /// The first ack that no trigger has asked for, and the last.
    first_ack: Option<Instant>,
    last_ack: Option<Instant>,
    /// Messages that a trigger has asked for and that weren't sent.
    wanted: u64,
    /// Everything that is acked now is asked for at the next opportunity.
    all: bool,
    draining: bool,
    failures: u32,
    last_failure: Instant,
    /// Nothing is sent before; cleared once that moment was seen.
    held_until: Option<Instant>,
    sent_since_failure: bool,
    /// The latest moment that was handed in.
    seen: Instant,
}

impl Schedule {
    /// The default of `idle`: off. Rolling promises one commit an interval; a commit at each
    /// pause of the application would make it one a message where messages come slowly.
    pub const IDLE: Duration = Duration::ZERO;

    /// Commits of `batch` messages at most (0 is taken as 1); `idle` zero is off.
    pub fn new(mode: AutoCommit, batch: usize, idle: Duration) -> Self {
        Self {
            mode,
            batch: batch.max(1) as u64,
            idle,
            taken: VecDeque::new(),
            first_ack: None,
            last_ack: None,
            wanted: 0,
            all: false,
            draining: false,
            failures: 0,
            last_failure: Instant::ZERO,
            held_until: None,
            sent_since_failure: false,
            seen: Instant::ZERO,
        }
    }

    /// The ledger took `newly` acks.
    pub fn handle_acked(&mut self, now: Instant, newly: u64) {
        if newly > 0 {
            self.first_ack.get_or_insert(now);
            self.last_ack = Some(now);
        }
    }

    /// The application took messages. Matters to `Delayed` alone.
    pub fn handle_taken(&mut self, now: Instant, range: AckRange) {
        let AutoCommit::Delayed { delay } = self.mode else { return };
        if range.start >= range.end {
            return;
        }
        let due = now + delay;
        let neighbour = self.taken.iter_mut().rev().take(NEIGHBOURS).find(|taken| {
            let before = taken.range;
            (before.segment, before.epoch, before.end) == (range.segment, range.epoch, range.start)
                && due.since(taken.first_due) <= delay / 64
        });
        match neighbour {
            // Later rather than earlier: an ack too early may lose a message, one too late not.
            Some(taken) => (taken.range.end, taken.due) = (range.end, taken.due.max(due)),
            None => self.taken.push_back(Taken { first_due: due, due, range }),
        }
    }

    /// `Delayed`: the next messages whose time is over, to be acked in the ledger. Call it until
    /// `None`.
    pub fn poll_due(&mut self, now: Instant) -> Option<AckRange> {
        self.seen = self.seen.max(now);
        if self.taken.front()?.due > now {
            return None;
        }
        // An ack that is due has waited long enough.
        self.all = true;
        self.taken.pop_front().map(|taken| taken.range)
    }

    /// `Delayed`, a clean close: what the application took, due or not. Call it until `None`.
    pub fn drain_taken(&mut self) -> Option<AckRange> {
        self.taken.pop_front().map(|taken| taken.range)
    }

    /// The application asks for a commit of what is acked.
    pub fn handle_request(&mut self, _now: Instant) {
        self.all = true;
    }

    /// Close: from now on whatever is acked is committed at once, in every mode but `Immediate`.
    pub fn handle_drain(&mut self, _now: Instant) {
        self.draining = true;
    }

    /// A commit of `ids` messages was sent.
    pub fn handle_sent(&mut self, _now: Instant, ids: u64) {
        self.wanted = self.wanted.saturating_sub(ids);
        self.sent_since_failure = true;
    }

    /// A commit was confirmed.
    pub fn handle_committed(&mut self, now: Instant) {
        // Commits to one shard may fail while others succeed: only a while without any failure
        // ends the waits.
        if now.since(self.last_failure) > self.retry_wait().max(RETRY_MIN) * 2 {
            self.failures = 0;
        }
    }

    /// Commits of `ids` messages were refused or lost; the ledger has them as acked again.
    pub fn handle_failed(&mut self, now: Instant, ids: u64) {
        self.wanted = self.wanted.saturating_add(ids);
        self.last_failure = now;
        if std::mem::take(&mut self.sent_since_failure) {
            self.failures = self.failures.saturating_add(1);
            self.held_until = Some(now + self.retry_wait());
        }
    }

    fn retry_wait(&self) -> Duration {
        match self.failures {
            0 | 1 => Duration::ZERO,
            n => RETRY_MIN.saturating_mul(1u32.checked_shl(n - 2).unwrap_or(u32::MAX)).min(RETRY_MAX),
        }
    }

    /// Whether to commit now, where `acked` messages are acked and in no commit. Ask again after
    /// each [`Schedule::handle_sent`].
    pub fn wants_commit(&mut self, now: Instant, acked: u64) -> bool {
        self.seen = self.seen.max(now);
        if acked == 0 || self.mode == AutoCommit::Immediate {
            (self.first_ack, self.last_ack, self.wanted, self.all) = (None, None, 0, false);
            return false;
        }
        let timed = [self.age_at(), self.idle_at()].into_iter().flatten().any(|at| at <= now);
        if timed || self.all || self.draining {
            self.wanted = acked;
            (self.first_ack, self.last_ack, self.all) = (None, None, false);
        } else if self.by_size() && acked - self.wanted.min(acked) >= self.batch {
            // Full commits only; the age of the rest is that of the oldest, to be safe.
            self.wanted = acked - acked % self.batch;
            if self.wanted == acked {
                (self.first_ack, self.last_ack) = (None, None);
            }
        }
        self.wanted = self.wanted.min(acked);
        self.held_until = self.held_until.filter(|until| *until > now);
        self.wanted > 0 && self.held_until.is_none()
    }

    /// When to look again; `None` if only an event can change anything. Ask after
    /// [`Schedule::poll_due`] had nothing more, and [`Schedule::wants_commit`] was false or
    /// couldn't be followed.
    pub fn next_wake(&self) -> Option<Wake> {
        let due = self.taken.front().map(|taken| Wake { at: taken.due, why: "ack taken" });
        // A deadline that was seen to pass is a matter of `wants_commit`, not of a wake: whoever
        // couldn't commit then (no connection) must not spin now.
        let ahead = |at: &Instant| *at > self.seen;
        let age = self.age_at().filter(ahead).map(|at| Wake { at, why: "commit" });
        let idle = self.idle_at().filter(ahead).map(|at| Wake { at, why: "commit when idle" });
        // What is wanted already goes out as soon as it may; a wake helps only where it is held.
        let retry = self
            .held_until
            .filter(|at| self.wanted > 0 && ahead(at))
            .map(|at| Wake { at, why: "commit again" });
        [due, age, idle, retry].into_iter().fold(None, Wake::earlier)
    }

    /// How many more acks the driver may gather before the machine must know of them, where
    /// `acked` are there already: 1 where the next one starts a timer, else as many as fill a
    /// commit. What else waits for acks (a limit on un-acked messages) is the machine's matter.
    pub fn appetite(&self, acked: u64) -> u64 {
        match self.mode {
            AutoCommit::Immediate => u64::MAX,
            _ if self.draining => 1,
            AutoCommit::Disabled => self.batch,
            _ if self.first_ack.is_none() => 1,
            _ => (self.batch - acked % self.batch).max(1),
        }
    }

    fn by_size(&self) -> bool {
        matches!(self.mode, AutoCommit::Rolling { .. } | AutoCommit::Delayed { .. })
    }

    fn age_at(&self) -> Option<Instant> {
        let age = match self.mode {
            AutoCommit::Rolling { interval } => interval,
            AutoCommit::Delayed { delay } => delay / 64,
            AutoCommit::Immediate | AutoCommit::Disabled => return None,
        };
        self.first_ack.map(|first| first + age)
    }

    fn idle_at(&self) -> Option<Instant> {
        let on = self.by_size() && self.idle > Duration::ZERO;
        self.last_ack.filter(|_| on).map(|last| last + self.idle)
    }
}
