//! What kind of world a run is: swarm options, drawn from the run's own tape.
//!
//! A world in which everything happens a little finds less than many worlds in which some things
//! never happen, and others all the time (Groce et al., *Swarm Testing*, 2012). So each run
//! draws first which faults there are and how often, how slow its network and its applications
//! are, and which options its consumers have.
//!
//! **Invariant:** a swarm is a function of the tape, and prints as what it is.

use std::fmt;
use std::time::Duration;

use tidegate_core::{AutoCommit, ClaimOptions, ConsumerMode, ConsumerOptions, Limits, StreamKey};

use crate::tape::Tape;

/// The options of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Swarm {
    /// How long faults go on, in virtual time.
    pub chaos: Duration,
    /// Whose consumers there are.
    pub roles: Vec<Role>,
    /// Streams, and how many shards each has; 0 is a stream that is not sharded.
    pub streams: Vec<(StreamKey, u64)>,
    /// Messages that are produced, over all of `chaos`.
    pub messages: u64,
    /// The most that are produced at once.
    pub burst: u64,
    /// Largest payload in bytes.
    pub payload_max: u64,
    /// Messages with other fields than ours, in 10,000.
    pub foreign: u32,
    /// The network.
    pub net: Net,
    /// How often a fault is put in; `None`: never.
    pub fault_every: Option<Duration>,
    /// How likely each kind of fault is, against the others; in the order of
    /// [`FaultKind::ALL`] and then of the backend's own.
    pub weights: Vec<u32>,
    /// The longest that a fault lasts.
    pub fault_max: Duration,
    /// How sloppily machines are driven.
    pub sloppy: Sloppy,
}

/// Consumers of one kind: a group, or members that read alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Role {
    /// Group members share messages, others get all of them.
    pub mode: ConsumerMode,
    /// How many.
    pub members: usize,
    /// Members keep their names when they start again; else each start has a new name.
    pub named: bool,
    /// Their options, but for names.
    pub options: ConsumerOptions,
    /// Their application.
    pub plan: Plan,
}

/// How an application behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The longest that it works on one message.
    pub work_max: Duration,
    /// Messages in 10,000 that take `work_long` instead.
    pub long: u32,
    /// The longest that those take.
    pub work_long: Duration,
    /// How many messages it works on at once.
    pub workers: usize,
    /// How many it takes before it has to be done with some.
    pub hold_max: usize,
    /// Messages in 10,000 that it is never done with, until faults are over.
    pub never: u32,
    /// It calls `commit` after an ack, in 10,000.
    pub commit: u32,
    /// It stops taking for a while, after a message, in 10,000.
    pub rest: u32,
    /// It pauses the consumer for a while, in 10,000.
    pub pause: u32,
    /// It seeks or rewinds, in 10,000.
    pub wander: u32,
}

/// The network of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    /// The shortest way, one direction.
    pub latency_min: Duration,
    /// The longest, without faults.
    pub latency_max: Duration,
    /// Writes in 10,000 that arrive in two pieces or more.
    pub split: u32,
    /// Bytes that are on their way at most, in each direction of a connection.
    pub capacity: usize,
}

/// How sloppily machines are driven: what a driver may do, and ours doesn't.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sloppy {
    /// Events in 10,000 after which nothing is drained until the next one.
    pub lazy: u32,
    /// The most that a wake-up is late.
    pub late_max: Duration,
    /// Writes in 10,000 that are partial.
    pub partial: u32,
    /// Ticks that nobody asked for, at events, in 10,000.
    pub ticks: u32,
    /// Acks are handed in one by one, at once; else gathered as the machine allows.
    pub eager_acks: bool,
    /// Bytes are handed to machines one at a time, each with an event of its own.
    pub single_bytes: bool,
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Faults of networks, applications and clocks; those of brokers are the backend's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum FaultKind { $($(#[$doc])* $name,)* }

        impl FaultKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name in tables and traces.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

faults! {
    /// Both ends learn at once; what was on its way is lost.
    Reset = "connection reset",
    /// The connection ends at a chosen byte of what the broker sends.
    CutReply = "reply cut",
    /// The member's end closes, and the broker doesn't learn of it for a while.
    HalfOpenBroker = "half open at the broker",
    /// The broker's end closes, and the member doesn't learn of it.
    HalfOpenMember = "half open at the member",
    /// What is written in one direction vanishes.
    Hole = "black hole",
    /// Nothing of a member gets through, and connects hang.
    Partition = "partition",
    /// Connects are refused.
    Refuse = "connects refused",
    /// Connects hang.
    Hang = "connects hang",
    /// Everything takes much longer.
    Slow = "slow network",
    /// The member's process is killed; it starts again later.
    Crash = "member killed",
    /// The member's process stands still.
    Freeze = "member frozen",
    /// The member closes in order; it starts again later.
    Close = "member closes",
    /// The member's clock is set back.
    ClockBack = "clock set back",
}

impl Swarm {
    /// Draws one. `faults` is how many kinds of faults the backend has.
    pub fn draw(tape: &mut Tape, backend_faults: usize) -> Self {
        let ms = Duration::from_millis;
        let chaos = Duration::from_secs(tape.within(5, 40));
        let streams = match tape.below(5) {
            0..=1 => vec![("orders".into(), 0)],
            2 => vec![("orders".into(), tape.within(1, 3))],
            3 => vec![("orders".into(), 0), ("bills".into(), 0)],
            _ => vec![("orders".into(), tape.within(1, 2)), ("bills".into(), 0)],
        };
        let mut roles = vec![Role::draw(tape, ConsumerMode::LoadBalanced)];
        if tape.chance(2_000) {
            roles.push(Role::draw(tape, ConsumerMode::Resumable));
        }
        if tape.chance(2_500) {
            roles.push(Role::draw(tape, ConsumerMode::RealTime));
        }
        if tape.chance(1_000) {
            // Alone, without a group beside it.
            roles.remove(0);
            if roles.is_empty() {
                roles.push(Role::draw(tape, ConsumerMode::Resumable));
            }
        }
        let kinds = FaultKind::ALL.len() + backend_faults;
        let calm = tape.chance(500);
        let share = tape.within(1, 10) as u32;
        let weights = (0..kinds)
            .map(|_| if tape.chance(share * 1_000) { [1, 1, 3, 10][tape.below(4) as usize] } else { 0 })
            .collect();
        let every = [20, 100, 500, 2_000, 8_000][tape.below(5) as usize];
        let latency_min = Duration::from_micros([50, 200, 1_000, 20_000][tape.below(4) as usize]);
        Self {
            chaos,
            roles,
            streams,
            messages: tape.within(10, 120),
            burst: tape.within(1, 20),
            payload_max: [1, 20, 200, 3_000][tape.below(4) as usize],
            foreign: [0, 0, 1_000][tape.below(3) as usize],
            net: Net {
                latency_min,
                latency_max: latency_min * (1 + tape.below(5) as u32),
                split: [0, 500, 5_000][tape.below(3) as usize],
                capacity: [1 << 20, 4_096, 200][tape.below(3) as usize],
            },
            fault_every: (!calm).then(|| ms(every)),
            weights,
            fault_max: ms([200, 2_000, 15_000][tape.below(3) as usize]),
            sloppy: if tape.chance(7_000) {
                Sloppy { eager_acks: tape.chance(5_000), ..Sloppy::default() }
            } else {
                Sloppy {
                    lazy: [0, 1_000, 5_000][tape.below(3) as usize],
                    late_max: ms([0, 0, 30, 400][tape.below(4) as usize]),
                    partial: [0, 2_000][tape.below(2) as usize],
                    ticks: [0, 500][tape.below(2) as usize],
                    eager_acks: tape.chance(5_000),
                    single_bytes: tape.chance(1_000),
                }
            },
        }
    }
}

impl Role {
    fn draw(tape: &mut Tape, mode: ConsumerMode) -> Self {
        let ms = Duration::from_millis;
        let secs = Duration::from_secs;
        let named = mode == ConsumerMode::Resumable || tape.chance(5_000);
        let members = match mode {
            ConsumerMode::LoadBalanced => [1, 2, 2, 3, 4, 6][tape.below(6) as usize],
            ConsumerMode::Resumable | ConsumerMode::RealTime => 1,
        };
        let auto_commit = match tape.below(10) {
            0..=4 => AutoCommit::Rolling { interval: ms([1_000, 50, 4_000][tape.below(3) as usize]) },
            5..=6 => AutoCommit::Delayed { delay: ms([1_000, 200, 6_000][tape.below(3) as usize]) },
            7..=8 => AutoCommit::Disabled,
            _ if mode == ConsumerMode::LoadBalanced => AutoCommit::Immediate,
            _ => AutoCommit::default(),
        };
        let claim = ClaimOptions::Every {
            interval: ms([2_000, 500, 6_000][tape.below(3) as usize]),
            idle: ms([6_000, 3_000, 12_000][tape.below(3) as usize]),
        };
        let mut limits = Limits::default();
        limits.lane_records_max = [4_096, 16, 4][tape.below(3) as usize];
        limits.lane_bytes_max = [4 << 20, 10_000, 600][tape.below(3) as usize];
        limits.unacked_max = [1 << 20, 1 << 20, 40][tape.below(3) as usize];
        limits.commit_messages_max = [1_000, 10, 2][tape.below(3) as usize];
        limits.commits_in_flight_max = [16, 2, 1][tape.below(3) as usize];
        limits.claim_messages_max = [100, 5, 1][tape.below(3) as usize];
        limits.block = ms([5_000, 1_000, 100][tape.below(3) as usize]);
        limits.response_timeout = ms([10_000, 2_000, 1_000][tape.below(3) as usize]);
        limits.connect_timeout = ms([5_000, 1_000, 500][tape.below(3) as usize]);
        limits.retry_max = ms([5_000, 1_000][tape.below(2) as usize]);
        let options = ConsumerOptions::new(mode)
            .auto_commit(auto_commit)
            .claim(claim)
            .create(tape.chance(5_000))
            .batch([1_000, 10, 3, 1][tape.below(4) as usize])
            .discover_interval(secs([5, 1][tape.below(2) as usize]))
            .limits(limits);
        let plan = Plan {
            work_max: ms([0, 0, 5, 200][tape.below(4) as usize]),
            long: [0, 0, 200, 1_000][tape.below(4) as usize],
            work_long: secs([1, 8, 25][tape.below(3) as usize]),
            workers: [1, 1, 4][tape.below(3) as usize],
            hold_max: [1_000, 20, 1][tape.below(3) as usize],
            never: [0, 0, 0, 300][tape.below(4) as usize],
            commit: [0, 0, 500, 5_000][tape.below(4) as usize],
            rest: [0, 0, 200][tape.below(3) as usize],
            pause: [0, 0, 100][tape.below(3) as usize],
            wander: if tape.chance(300) { 100 } else { 0 },
        };
        // A disabled commit is the application's, so it must call it.
        let commit = if auto_commit == AutoCommit::Disabled { plan.commit.max(500) } else { plan.commit };
        Self { mode, members, named, options, plan: Plan { commit, ..plan } }
    }

    /// Messages are acked and committed.
    pub fn acks(&self) -> bool {
        self.mode != ConsumerMode::RealTime && self.options.auto_commit != AutoCommit::Immediate
    }

    /// It reads as a member of a group.
    pub fn in_group(&self) -> bool {
        self.mode != ConsumerMode::RealTime
    }
}

/// In one line, as a failed run prints it.
impl fmt::Display for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s of faults, {} messages in", self.chaos.as_secs(), self.messages)?;
        for (stream, shards) in &self.streams {
            write!(f, " {stream}({shards})")?;
        }
        for role in &self.roles {
            let Role { mode, members, named, options, plan } = role;
            let ConsumerOptions { auto_commit, claim, batch, create, limits, .. } = options;
            write!(f, "; {members} {mode:?}{}", if *named { " named" } else { "" })?;
            write!(f, " {auto_commit:?} {claim:?} batch {batch}{}", if *create { " create" } else { "" })?;
            write!(
                f,
                " lane {}/{} B unacked {} commits {}x{} claims {} block {:?} timeouts {:?} {:?} retry {:?}",
                limits.lane_records_max,
                limits.lane_bytes_max,
                limits.unacked_max,
                limits.commits_in_flight_max,
                limits.commit_messages_max,
                limits.claim_messages_max,
                limits.block,
                limits.response_timeout,
                limits.connect_timeout,
                limits.retry_max,
            )?;
            write!(f, " {plan:?}")?;
        }
        write!(f, "; {:?}; {:?}", self.net, self.sloppy)?;
        match self.fault_every {
            Some(every) => write!(f, "; a fault every {every:?} or so, up to {:?}:", self.fault_max)?,
            None => return f.write_str("; no faults"),
        }
        for (at, weight) in self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0) {
            match FaultKind::ALL.get(at) {
                Some(kind) => write!(f, " {}×{weight}", kind.name())?,
                None => write!(f, " broker-{}×{weight}", at - FaultKind::ALL.len())?,
            }
        }
        Ok(())
    }
}
