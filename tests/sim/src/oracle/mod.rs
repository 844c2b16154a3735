//! The oracle: knows what is true, and sees everything.
//!
//! # Theory of operation
//!
//! It has a reference log of what was appended (told by the broker's [`Fact`](crate::Fact)s, in
//! the order of the log), and for each *role* (a group, or members that read alone) a column of
//! marks beside it: handed out, pending, done with, given up for lost. The world tells it what
//! applications got and acked; the broker tells it what was handed out, committed, dropped.
//! Nothing is taken from the machine's own books but the words that it says to its application.
//!
//! After each step the promises of GUARANTEES.md that this step could have broken are checked;
//! each check costs a look-up or two. Some promises have a time in them (an ack is committed
//! within its interval, a live member's work isn't claimed). They are held against a machine
//! only while the world has been *calm* for as long as a recovery may take.
//!
//! Once faults are over, [`Oracle::pending`] names what is still to be done, in words. It must
//! become `None` in bounded time: that is liveness.
//!
//! **Invariant:** the oracle never believes the machine: a promise is checked against what the
//! broker did and what the application got.
//!
//! **Invariant:** only the first violation counts; what follows from it is noise.

mod facts;
mod frontier;
mod log;
mod member;
mod sometimes;

pub use member::Got;
pub use sometimes::Sometimes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tidegate_core::{AutoCommit, ClaimOptions, ConsumerMode, Instant, SeqNo, ShardId, StreamKey};

use crate::backend::Progress;
use crate::broker::PeerId;
use crate::swarm::Swarm;
use frontier::Frontiers;
use log::ShardLog;
use member::Who;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number in GUARANTEES.md.
    pub rule: &'static str,
    /// When, in virtual time.
    pub at: Instant,
    /// What happened.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}: {}", self.rule, self.at.since(Instant::ZERO), self.text)
    }
}

/// A message, by its place in the reference log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageId {
    /// Index of its shard.
    pub shard: u32,
    /// Its place among all messages that were ever appended to the shard.
    pub at: u32,
}

/// A run of one consumer, from its start to its end. A member that starts again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run(pub u32);

/// What the oracle has to know of a role.
#[derive(Clone, Debug)]
struct Role {
    mode: ConsumerMode,
    commit: AutoCommit,
    acks: bool,
    /// After trouble, everything works again within this time.
    recovery: Duration,
    /// The network is fast enough to show in time that long work is alive.
    keeps_alive: bool,
    /// How long nobody must have touched what is claimed.
    idle: Duration,
    /// Within this time an ack is at the broker, in calm weather.
    commit_within: Duration,
    unacked_max: u64,
    queued_max: u64,
    rules: frontier::Rules,
}

/// Knows what is true.
#[derive(Debug)]
pub struct Oracle {
    now: Instant,
    shards: Vec<ShardLog>,
    shard_ids: BTreeMap<(StreamKey, ShardId), u32>,
    streams: u64,
    roles: Vec<Role>,
    runs: Vec<Who>,
    /// By the name that the broker knows: the last run that had it.
    names: BTreeMap<Bytes, Run>,
    /// By the broker's number of the connection.
    peers: Vec<Option<Run>>,
    /// Connections of which the member's end is closed.
    ended: BTreeSet<PeerId>,
    /// Since when there is no fault; `None` while there is one.
    calm_since: Option<Instant>,
    violation: Option<Violation>,
    /// Where progress is a position in each shard.
    frontiers: Option<Frontiers>,
    /// What was seen, and how often.
    pub sometimes: Sometimes,
}

impl Oracle {
    /// For a world of this kind, with these shards, whose groups make progress in this way.
    pub fn new(swarm: &Swarm, shards: &[(StreamKey, ShardId)], progress: Progress) -> Self {
        let roles = swarm.roles.iter().map(|role| {
            let limits = &role.options.limits;
            let way = swarm.net.latency_max * 2 + swarm.sloppy.late_max * 2;
            let recovery = (limits.response_timeout + limits.block) * 2
                + limits.connect_timeout * 2
                + limits.retry_max * 3
                + role.options.discover_interval * 2
                + way * 20
                + Duration::from_secs(5);
            let interval = match role.options.auto_commit {
                AutoCommit::Rolling { interval } => interval,
                AutoCommit::Delayed { delay } => delay / 32,
                AutoCommit::Immediate | AutoCommit::Disabled => Duration::MAX / 4,
            };
            let rules = frontier::Rules::of(role, swarm);
            let recovery = match progress {
                Progress::Entries => recovery,
                Progress::Offsets => recovery + rules.recovery,
            };
            Role {
                mode: role.mode,
                commit: role.options.auto_commit,
                acks: role.acks(),
                recovery,
                keeps_alive: match role.options.claim {
                    ClaimOptions::Every { idle, .. } => idle > way * 50 && swarm.net.capacity >= 4_096,
                    ClaimOptions::Never => false,
                },
                idle: match role.options.claim {
                    ClaimOptions::Every { idle, .. } => idle,
                    ClaimOptions::Never => Duration::MAX,
                },
                commit_within: interval.saturating_add(way * 40 + Duration::from_secs(1)),
                unacked_max: limits.unacked_max as u64,
                // A read gives up to `batch` messages of each shard.
                queued_max: rules.lane_records
                    + (limits.lane_records_max + 2 * role.options.batch * shards.len()) as u64,
                rules,
            }
        });
        let roles: Vec<Role> = roles.collect();
        let frontiers = || Frontiers::new(roles.len(), shards.len());
        Self {
            frontiers: (progress == Progress::Offsets).then(frontiers),
            now: Instant::ZERO,
            shards: shards.iter().map(|(stream, shard)| ShardLog::new(stream, *shard, roles.len())).collect(),
            shard_ids: shards.iter().cloned().zip(0..).collect(),
            streams: swarm.streams.len() as u64,
            roles,
            runs: Vec::new(),
            names: BTreeMap::new(),
            peers: Vec::new(),
            ended: BTreeSet::new(),
            calm_since: Some(Instant::ZERO),
            violation: None,
            sometimes: Sometimes::default(),
        }
    }

    /// The promise that was broken first, if one was.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// A promise is broken.
    pub fn accuse(&mut self, rule: &'static str, text: impl FnOnce() -> String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { rule, at: self.now, text: text() });
        }
    }

    /// Time passed.
    pub fn pass_time(&mut self, now: Instant) {
        self.now = now;
    }

    /// A fault was put in, or is over; `calm`: and none is left.
    pub fn trouble(&mut self, calm: bool) {
        self.calm_since = calm.then_some(self.now);
    }

    /// Whether there has been no fault for so long.
    fn calm_for(&self, time: Duration) -> bool {
        self.calm_since.is_some_and(|since| self.now.since(since) >= time)
    }

    /// The place that the next message of this shard will have.
    pub fn next_of(&self, shard: u32) -> MessageId {
        MessageId { shard, at: self.shards.get(shard as usize).map_or(0, |log| log.len() as u32) }
    }

    /// How many messages were appended, to all shards.
    pub fn appended(&self) -> u64 {
        self.shards.iter().map(|log| log.len() as u64).sum()
    }

    /// How many messages applications got, and how many of those they had got before.
    pub fn delivered(&self) -> (u64, u64) {
        self.runs.iter().fold((0, 0), |(all, again), run| (all + run.delivered, again + run.again))
    }

    /// What is still to be done before everything is well; `None` when nothing is.
    pub fn pending(&self) -> Option<String> {
        for (number, role) in self.roles.iter().enumerate() {
            for log in &self.shards {
                let waits = match role.mode {
                    _ if self.has_wandered(number) => None,
                    _ if self.frontiers.is_some() => self.behind_in_shard(number, log),
                    ConsumerMode::RealTime => self.behind(number, log),
                    _ => log.undone(number).map(|seq| (seq, String::new())),
                };
                if let Some((seq, text)) = waits {
                    let message = self.text_of(log, seq);
                    return Some(format!("{message} has not reached {:?}{text}", role.mode));
                }
            }
        }
        None
    }

    /// A real-time member that has not got everything.
    fn behind(&self, role: usize, log: &ShardLog) -> Option<(SeqNo, String)> {
        let shard = *self.shard_ids.get(&log.key())?;
        self.runs.iter().filter(|run| run.alive && run.role == role).find_map(|run| {
            let seen = run.shards.get(shard as usize)?;
            let from = seen.next.or(seen.since)?;
            log.missing(from, log.len()).map(|at| (log.seq(at), format!(" (member {})", run.name())))
        })
    }

    /// Where a message is, and its position.
    pub fn seq_of(&self, id: MessageId) -> Option<(&StreamKey, ShardId, SeqNo)> {
        let log = self.shards.get(id.shard as usize)?;
        ((id.at as usize) < log.len()).then(|| (log.stream(), log.shard(), log.seq(id.at as usize)))
    }

    /// What nobody of this role has to get: the broker lost it, or somebody else gave it up.
    pub fn lost(&self, role: usize) -> Vec<MessageId> {
        let ids = self.shards.iter().zip(0..).flat_map(|(log, shard)| {
            (0..log.len()).map(move |at| (log, at, MessageId { shard, at: at as u32 }))
        });
        let lost = ids.filter(|(log, at, _)| log.is_gone(*at) || log.mark(role, *at).excused);
        lost.map(|(_, _, id)| id).collect()
    }

    /// Whether everybody of this role who lives has left the group for good.
    pub fn has_wandered(&self, role: usize) -> bool {
        let mut theirs = self.runs.iter().filter(|run| run.role == role && run.alive).peekable();
        theirs.peek().is_some() && theirs.all(|run| run.left_group)
    }

    fn find(&self, shard: u32, seq: SeqNo) -> Option<MessageId> {
        let at = self.shards.get(shard as usize)?.find(seq)?;
        Some(MessageId { shard, at: at as u32 })
    }

    /// A message as people write it.
    pub fn describe(&self, id: MessageId) -> String {
        match self.shards.get(id.shard as usize) {
            Some(log) => self.text_of(log, log.seq(id.at as usize)),
            None => format!("{id:?}"),
        }
    }

    fn text_of(&self, log: &ShardLog, seq: SeqNo) -> String {
        match self.frontiers {
            Some(_) => format!("{} {seq}", log.name()),
            None => format!("{} {}", log.name(), seq.as_redis()),
        }
    }
}
