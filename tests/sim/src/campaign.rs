//! Many seeds, on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::backend::Fresh;
use crate::oracle::{Sometimes, Violation};
use crate::seed::Seed;
use crate::swarm::Swarm;
use crate::tape::{Choice, Tape};
use crate::world::{Keep, Report, World};

/// What many runs added up to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Runs that ended.
    pub runs: u64,
    /// Virtual time of all of them.
    pub simulated: Duration,
    /// See [`Report::events`].
    pub events: u64,
    /// Messages appended, got, and got again.
    pub messages: (u64, u64, u64),
    /// What was seen.
    pub sometimes: Sometimes,
    /// The runs that failed, the smallest seed first.
    pub failures: Vec<Failure>,
}

/// A run that broke a promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: Seed,
    /// The promise.
    pub violation: Violation,
    /// What kind of world it was.
    pub swarm: Swarm,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}: {}\n  in a world of {}", self.seed, self.violation, self.swarm)
    }
}

impl Summary {
    pub(crate) fn add(&mut self, seed: Seed, report: Report) {
        self.runs += 1;
        self.simulated += report.simulated;
        self.events += report.events;
        let (sent, got, again) = report.messages;
        self.messages = (self.messages.0 + sent, self.messages.1 + got, self.messages.2 + again);
        self.sometimes.add(&report.sometimes);
        if let Some(violation) = report.violation {
            self.failures.push(Failure { seed, violation, swarm: report.swarm });
        }
    }

    fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.simulated += other.simulated;
        self.events += other.events;
        let (sent, got, again) = other.messages;
        self.messages = (self.messages.0 + sent, self.messages.1 + got, self.messages.2 + again);
        self.sometimes.add(&other.sometimes);
        self.failures.extend(other.failures);
    }
}

/// One run.
pub fn run<B: Fresh>(tape: impl Into<Tape>, keep: Keep) -> Report {
    World::<B>::draw(tape.into(), keep).run()
}

/// The choices of a seed's run: a tape that is the same run, and can be shrunk.
pub fn choices<B: Fresh>(seed: Seed) -> Vec<Choice> {
    run::<B>(Tape::from(seed).recording(), Keep::default()).tape.recorded().to_vec()
}

/// Runs these seeds on `threads` threads until `failures` of them have failed; tells `progress`
/// now and then how many are done.
pub fn campaign<B: Fresh>(
    seeds: std::ops::Range<u64>,
    threads: usize,
    failures: usize,
    progress: impl Fn(u64) + Sync,
) -> Summary {
    let next = AtomicU64::new(seeds.start);
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let total = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut own = Summary::default();
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    own.add(Seed(seed), run::<B>(Seed(seed), Keep::default()));
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(100) {
                        progress(done);
                    }
                    if own.failures.len() >= failures {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
                if let Ok(mut total) = total.lock() {
                    total.merge(own);
                }
            });
        }
    });
    let mut summary = total.into_inner().unwrap_or_default();
    summary.failures.sort_by_key(|failure| failure.seed);
    summary
}
