//! Many seeds of a handler under faults, and what is made of one that fails.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_core::{ClaimOptions, ConsumerMode, ConsumerOptions, Instant, StreamKey};

use super::backend::{HandledBackend, Sent};
use super::consumer::SimConsumer;
use super::faults::Faults;
use super::finding::Finding;
use super::panics::caught;
use super::sim::Sim;
use crate::backend::{Backend, Fresh, RedisBackend};
use crate::campaign::Summary;
use crate::oracle::{MessageId, Violation};
use crate::seed::Seed;
use crate::shrink::shrink;
use crate::swarm::{Plan, Role, Swarm};
use crate::tape::Tape;
use crate::world::{Keep, Report, World};

/// Runs that a failing one may cost to be shrunk.
const SHRINK_RUNS: usize = 500;
/// How long the world goes on once everything was acked, before the end check looks.
const SETTLE: Duration = Duration::from_secs(5);

/// How a handler's process ended. Whoever ends is started again, as by a supervisor; what it
/// returns is a line of the trace. Only a panic is wrong in itself.
pub trait Ended {
    /// In words, if it ended by an error.
    fn ended(self) -> Result<(), String>;
}

impl Ended for () {
    fn ended(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: fmt::Display> Ended for Result<(), E> {
    fn ended(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// A world in which members run your handler.
///
/// See the [crate's documentation](crate) for a guide. A handler that counts, and is right:
///
/// ```
/// use std::collections::BTreeSet;
/// use std::sync::{Arc, Mutex};
/// use tidegate_core::Consumer;
/// use tidegate_sim::{Faults, Simulation};
///
/// let summary = Simulation::new().members(2).messages(20).faults(Faults::all()).check(
///     0..5,
///     || Arc::new(Mutex::new(BTreeSet::new())),
///     |seen, _, consumer| async move {
///         while let Some(message) = consumer.next().await? {
///             seen.lock().unwrap().insert((message.stream().clone(), message.shard(), message.seq()));
///             consumer.ack(&message);
///         }
///         Ok::<_, tidegate_core::ConsumerError>(())
///     },
///     |seen, sent| match seen.lock().unwrap().len() {
///         count if count == sent.len() => Ok(()),
///         count => Err(format!("{count} of {} messages were counted", sent.len())),
///     },
/// );
/// assert_eq!(summary.unwrap().runs, 5);
/// ```
#[derive(Clone)]
pub struct Simulation {
    members: usize,
    messages: u64,
    options: ConsumerOptions,
    streams: Vec<(StreamKey, u64)>,
    payload: Arc<dyn Fn(u64) -> Vec<u8> + Send + Sync>,
    faults: Faults,
    work: Duration,
    threads: Option<usize>,
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("members", &self.members)
            .field("messages", &self.messages)
            .field("options", &self.options)
            .field("streams", &self.streams)
            .field("faults", &self.faults)
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}

impl Default for Simulation {
    fn default() -> Self {
        Self {
            members: 3,
            messages: 100,
            options: ConsumerOptions::new(ConsumerMode::LoadBalanced).group("simulated"),
            streams: vec![("orders".into(), 0)],
            payload: Arc::new(|number| number.to_string().into_bytes()),
            faults: Faults::all(),
            work: Duration::from_secs(1),
            threads: None,
        }
    }
}

/// What kind of world.
impl Simulation {
    /// A world around a Redis server, with the defaults that each method names.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, by its name.
    pub fn redis() -> Self {
        Self::default()
    }

    /// So many members, each a process of its own that runs the handler. Default 3; resumable is
    /// always one.
    #[must_use]
    pub fn members(mut self, members: usize) -> Self {
        self.members = members.max(1);
        self
    }

    /// About so many messages. Default 100.
    #[must_use]
    pub fn messages(mut self, messages: u64) -> Self {
        self.messages = messages;
        self
    }

    /// The consumers' options, as production has them. The members' names are the simulator's.
    /// Default load-balanced.
    #[must_use]
    pub fn options(mut self, options: ConsumerOptions) -> Self {
        self.options = options;
        self
    }

    /// A stream more, with so many shards `name:0`, `name:1`, …; 0: it isn't sharded. Default,
    /// if none is named: `orders`, not sharded.
    #[must_use]
    pub fn stream(mut self, name: impl Into<StreamKey>, shards: u64) -> Self {
        if self.streams == Self::default().streams {
            self.streams.clear();
        }
        self.streams.push((name.into(), shards));
        self
    }

    /// The payload of message number `n`, counted from 0: field `msg` of its entry, and what
    /// [`Message::payload`](tidegate_core::Message::payload) gives. Default: the number.
    #[must_use]
    pub fn payload(mut self, payload: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static) -> Self {
        self.payload = Arc::new(payload);
        self
    }

    /// Which faults there may be. Default [`Faults::all`].
    #[must_use]
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// No faults.
    #[must_use]
    pub fn calm(self) -> Self {
        self.faults(Faults::none())
    }

    /// The longest that the handler works on one message, in virtual time. If it takes longer,
    /// the simulator may lose patience, and say that a message was never done. Default 1 s.
    #[must_use]
    pub fn work(mut self, longest: Duration) -> Self {
        self.work = longest;
        self
    }

    /// How many seeds run at once. Default: as many as there are processors.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// The kind of world that a tape says, as far as it is not said here.
    fn swarm(&self, tape: &mut Tape) -> Swarm {
        let mut swarm = Swarm::draw(tape, RedisBackend::FAULTS.len());
        let mode = self.options.mode;
        // Who comes back under another name, where nobody claims, would leave its own behind.
        let comes_back = mode == ConsumerMode::Resumable || self.options.claim == ClaimOptions::Never;
        let named = comes_back || tape.chance(5_000);
        swarm.roles = vec![Role {
            mode,
            members: if mode == ConsumerMode::Resumable { 1 } else { self.members },
            named,
            options: self.options.clone(),
            plan: Plan {
                work_max: self.work,
                long: 0,
                work_long: Duration::ZERO,
                workers: 1,
                hold_max: usize::MAX,
                never: 0,
                commit: 0,
                rest: 0,
                pause: 0,
                wander: 0,
            },
        }];
        swarm.streams.clone_from(&self.streams);
        // Nearly always all of them; a run that is shrunk has few.
        let all = tape.chance(9_500);
        swarm.messages = if all { self.messages } else { tape.within(1, self.messages.max(1)) };
        swarm.foreign = 0;
        self.faults.mask(&mut swarm.weights);
        if self.faults == Faults::none() {
            swarm.fault_every = None;
        }
        swarm
    }
}

/// One run, and what is to be kept of it.
struct Outcome {
    report: Report,
    /// Of the world, or of the end check.
    violation: Option<Violation>,
}

impl Simulation {
    /// Runs these seeds, and says what the first of them is that fails, if one does.
    ///
    /// Each run begins with `state`: what outlives the processes, as a database does. Each member
    /// runs `handler` with a clone of it, once its consumer is connected, and again after each
    /// end of its process, whether it returned or was killed. A killed one is dropped at an
    /// await. When faults are over and everything is acked, `verify` looks at the state, and at
    /// what was sent, and says in words what is wrong with it; it may panic instead.
    ///
    /// With a seed in the environment's `TIDEGATE_SEED` it runs just that one, and prints the
    /// trace.
    ///
    /// # Errors
    /// The failing seed, shrunk, with its trace.
    ///
    /// # Panics
    /// If `TIDEGATE_SEED` is no seed, or of another version of the simulator.
    pub fn check<S, F>(
        &self,
        seeds: Range<u64>,
        state: impl Fn() -> S + Sync,
        handler: impl Fn(S, Sim, SimConsumer) -> F + Sync,
        verify: impl Fn(&S, &[Sent]) -> Result<(), String> + Sync,
    ) -> Result<Summary, Box<Finding>>
    where
        S: Clone,
        F: Future<Output: Ended>,
    {
        let play = |tape: Tape, keep: Keep| self.play(tape, keep, &state, &handler, &verify);
        match std::env::var("TIDEGATE_SEED") {
            Ok(text) => {
                let seed: Seed = text.parse().unwrap_or_else(|error| panic!("TIDEGATE_SEED: {error}"));
                replay(seed, play)
            }
            Err(_) => many(seeds, self.threads, play),
        }
    }

    fn play<S, F>(
        &self,
        tape: Tape,
        keep: Keep,
        state: &(impl Fn() -> S + Sync),
        handler: &(impl Fn(S, Sim, SimConsumer) -> F + Sync),
        verify: &(impl Fn(&S, &[Sent]) -> Result<(), String> + Sync),
    ) -> Outcome
    where
        S: Clone,
        F: Future<Output: Ended>,
    {
        let mut tape = tape;
        let swarm = self.swarm(&mut tape);
        let state = state();
        let sent = Rc::new(RefCell::new(Vec::new()));
        let make = |swarm: &Swarm, shards: &[_], tape: &mut Tape| {
            let state = state.clone();
            HandledBackend {
                redis: RedisBackend::new(swarm, shards, tape),
                shards: shards.to_vec(),
                handler: Rc::new(move |sim, consumer| {
                    let running = handler(state.clone(), sim, consumer);
                    Box::pin(async move { running.await.ended() })
                }),
                payload: Rc::new(|number| (self.payload)(number)),
                sent: sent.clone(),
            }
        };
        let (report, lost) = World::around(swarm, tape, keep, make).run_on(SETTLE);
        let mut violation = report.violation.clone();
        if violation.is_none() {
            let mark = |(id, sent): (MessageId, Sent)| Sent { lost: lost.binary_search(&id).is_ok(), ..sent };
            let sent: Vec<Sent> = sent.take().into_iter().map(mark).collect();
            let verdict = caught(|| verify(&state, &sent));
            let at = Instant::ZERO + report.simulated;
            violation = match verdict {
                Ok(Ok(())) => None,
                Ok(Err(text)) | Err(text) => Some(Violation { rule: "check", at, text }),
            };
        }
        Outcome { report, violation }
    }
}

fn many(
    seeds: Range<u64>,
    threads: Option<usize>,
    play: impl Fn(Tape, Keep) -> Outcome + Sync,
) -> Result<Summary, Box<Finding>> {
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Summary::default());
    let failed = AtomicU64::new(u64::MAX);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    // All smaller ones were begun before this: the smallest that fails is found.
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || seed > failed.load(Ordering::Relaxed) {
                        break;
                    }
                    let outcome = play(Seed(seed).into(), Keep::default());
                    if outcome.violation.is_some() {
                        failed.fetch_min(seed, Ordering::Relaxed);
                    }
                    total.lock().unwrap_or_else(PoisonError::into_inner).add(Seed(seed), outcome.report);
                }
            });
        }
    });
    match failed.into_inner() {
        u64::MAX => Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner)),
        seed => Err(found(Seed(seed), &play)),
    }
}

fn replay(seed: Seed, play: impl Fn(Tape, Keep) -> Outcome + Sync) -> Result<Summary, Box<Finding>> {
    let outcome = play(seed.into(), Keep { trace: true, ..Keep::default() });
    println!("{}\na world of {}\n", outcome.report.trace, outcome.report.swarm);
    match outcome.violation {
        Some(violation) => {
            println!("seed {seed}: {violation}");
            Err(found(seed, &play))
        }
        None => {
            println!("seed {seed}: nothing is wrong with it");
            let mut summary = Summary::default();
            summary.add(seed, outcome.report);
            Ok(summary)
        }
    }
}

/// Runs the failing seed again, shrinks it, and runs what is left for its trace.
fn found(seed: Seed, play: &impl Fn(Tape, Keep) -> Outcome) -> Box<Finding> {
    let Outcome { report, violation } = play(Tape::from(seed).recording(), Keep::default());
    let unsteady = || Violation {
        rule: "handler",
        at: Instant::ZERO,
        text: "the same seed failed, and did not fail again: it depends on more than the simulator gives"
            .into(),
    };
    let violation = violation.unwrap_or_else(unsteady);
    let choices: Vec<u64> = report.tape.recorded().iter().map(|choice| choice.taken).collect();
    let fails = |tape: &[u64]| {
        let outcome = play(Tape::from_choices(tape.to_vec()), Keep::default());
        outcome.violation.is_some_and(|other| other.rule == violation.rule)
    };
    let shrunk = shrink(choices.clone(), SHRINK_RUNS, fails);
    let keep = Keep { trace: true, history: true, ..Keep::default() };
    let small = play(Tape::from_choices(shrunk.clone()), keep);
    Box::new(Finding {
        seed,
        swarm: report.swarm,
        choices: choices.len(),
        shrunk,
        shrunk_violation: small.violation.unwrap_or_else(unsteady),
        violation,
        trace: small.report.trace,
        history: small.report.history.unwrap_or_default(),
    })
}
