//! What the applications see, and what their consumers say to them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tidegate_core::{Assignment, AutoCommit, ConsumerMode, Epoch, Instant, Stats};

use super::{MessageId, Oracle, Role, Run};
use crate::broker::{Handed, PeerId};

/// A message in the hands of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    InHand {
        since: Instant,
    },
    Acked {
        at: Instant,
    },
    /// Acked before the group was set back: it may come again.
    Past {
        at: Instant,
    },
}

impl Held {
    pub(super) fn since(&self) -> Instant {
        match self {
            Self::InHand { since } => *since,
            Self::Acked { at } | Self::Past { at } => *at,
        }
    }
}

/// What one run has seen of one shard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Read since the log was so long.
    pub(super) since: Option<usize>,
    /// Without a group: the next message must be this one, or a later one if it is gone.
    pub(super) next: Option<usize>,
    /// The last one that came as new.
    pub(super) last_new: Option<usize>,
    /// The assignment that it is read under.
    pub(super) epoch: Option<Epoch>,
}

/// A bucket that fills with what happens, and leaks: more than `SIZE` at once, or more than
/// `SIZE` a second for long, is a storm.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    level: u64,
    at: Instant,
}

impl Bucket {
    /// False: it runs over.
    fn add(&mut self, now: Instant, size: u64) -> bool {
        let leaked = now.since(self.at).as_millis() as u64 * size / 1_000;
        if leaked > 0 {
            self.level = self.level.saturating_sub(leaked);
            self.at = now;
        }
        self.level += 1;
        self.level <= size
    }
}

/// One run of a consumer.
#[derive(Debug)]
pub(super) struct Who {
    pub(super) consumer: Bytes,
    pub(super) role: usize,
    pub(super) alive: bool,
    /// It was asked to close.
    pub(super) leaving: bool,
    /// It seeked or rewound, and reads alone from then on.
    pub(super) left_group: bool,
    /// It was asked to.
    pub(super) moving: bool,
    pub(super) clock_slack: Duration,
    pub(super) held: BTreeMap<MessageId, Held>,
    pub(super) uncommitted: VecDeque<(Instant, MessageId)>,
    /// By shard: the last page of its walk, on which connection, and whether there is more.
    pub(super) walks: BTreeMap<u32, (PeerId, bool)>,
    /// It was told to read elsewhere: of this epoch, and those before, nothing comes any more.
    pub(super) fence: Option<Epoch>,
    pub(super) shards: Vec<Seen>,
    refusals: Bucket,
    connects: Bucket,
    /// Questions about where things are.
    looks: Bucket,
    /// Fetches since something was got.
    pub(super) fetches: Bucket,
    pub(super) delivered: u64,
    pub(super) again: u64,
}

impl Who {
    pub(super) fn name(&self) -> String {
        String::from_utf8_lossy(&self.consumer).into_owned()
    }

    /// As real-time as any, whatever it began as.
    fn reads_alone(&self, mode: ConsumerMode) -> bool {
        self.left_group || mode == ConsumerMode::RealTime
    }
}

/// Refused commands of one member, a second, for each of its streams.
const REFUSALS_MAX: u64 = 60;
/// Fetches of one member, a second, while nothing comes.
const FETCHES_MAX: u64 = 300;
/// Questions of one member about where things are, a second: metadata, coordinators.
const LOOKS_MAX: u64 = 20;
/// Connects of one member, a second: two connections, each at once and then slower.
const CONNECTS_MAX: u64 = 30;

/// A message as an application got it.
#[derive(Clone, Copy, Debug)]
pub struct Got {
    /// Which it is.
    pub id: MessageId,
    /// Its assignment.
    pub epoch: Epoch,
    /// As the machine counted.
    pub deliveries: u32,
}

impl Oracle {
    /// A consumer starts.
    pub fn started(&mut self, consumer: Bytes, role: usize) -> Run {
        let run = Run(self.runs.len() as u32);
        self.names.insert(consumer.clone(), run);
        self.runs.push(Who {
            consumer,
            role,
            alive: true,
            leaving: false,
            left_group: false,
            moving: false,
            clock_slack: Duration::ZERO,
            held: BTreeMap::new(),
            uncommitted: VecDeque::new(),
            walks: BTreeMap::new(),
            fence: None,
            shards: vec![Seen::default(); self.shards.len()],
            refusals: Bucket::default(),
            connects: Bucket::default(),
            looks: Bucket::default(),
            fetches: Bucket::default(),
            delivered: 0,
            again: 0,
        });
        self.handle_started();
        self.handle_stir(role);
        run
    }

    /// A consumer is gone: it was killed, has failed, or is closed.
    pub fn gone(&mut self, run: Run) {
        let acks = self.role_of(run).is_some_and(|role| role.acks);
        let Some(who) = self.runs.get_mut(run.0 as usize) else { return };
        who.alive = false;
        let role = who.role;
        self.handle_stir(role);
        let Some(who) = self.runs.get_mut(run.0 as usize) else { return };
        // What it acked may still be on its way.
        who.uncommitted.clear();
        if !acks && self.frontiers.is_none() {
            self.excuse_undelivered(run, role);
        }
    }

    /// At most once: what was on its way to this run is lost.
    fn excuse_undelivered(&mut self, run: Run, role: usize) {
        for log in &mut self.shards {
            for at in 0..log.len() {
                if let Some(mark) = log.mark_mut(role, at)
                    && mark.handed.is_some_and(|(_, to, _)| to == run)
                {
                    mark.excused = true;
                }
            }
        }
    }

    /// At most once: the connection is lost, and what was on its way with it.
    pub fn disconnected(&mut self, run: Run, peer: PeerId) {
        self.ended.insert(peer);
        let Some(role) = self.role_of(run) else { return };
        if role.acks || role.mode == ConsumerMode::RealTime || self.frontiers.is_some() {
            return;
        }
        if let Some(role) = self.runs.get(run.0 as usize).map(|who| who.role) {
            self.excuse_undelivered(run, role);
        }
    }

    pub(super) fn role_of(&self, run: Run) -> Option<&Role> {
        self.roles.get(self.runs.get(run.0 as usize)?.role)
    }

    /// Its clock is so far off.
    pub fn clock_off(&mut self, run: Run, by: Duration) {
        if let Some(who) = self.runs.get_mut(run.0 as usize) {
            who.clock_slack += by;
        }
    }

    /// It was asked to seek or rewind: what comes next may be anything.
    pub fn moves(&mut self, run: Run) {
        if let Some(who) = self.runs.get_mut(run.0 as usize) {
            who.moving = true;
            who.fence = who.fence.max(who.shards.iter().filter_map(|seen| seen.epoch).max());
            who.shards
                .iter_mut()
                .for_each(|seen| (seen.since, seen.next, seen.last_new) = (None, None, None));
        }
        self.handle_move(run);
    }

    /// It has left its group for good.
    pub fn moved(&mut self, run: Run) {
        let Some(role) = self.role_of(run) else { return };
        let (in_group, acks) = (role.mode != ConsumerMode::RealTime, role.acks);
        let number = self.runs.get(run.0 as usize).map_or(0, |who| who.role);
        if in_group && !acks && self.frontiers.is_none() {
            // What was read before the move is not handed out any more.
            self.excuse_undelivered(run, number);
        }
        if let Some(who) = self.runs.get_mut(run.0 as usize) {
            who.left_group |= in_group;
            who.uncommitted.clear();
        }
    }

    /// It was asked to close.
    pub fn closing(&mut self, run: Run) {
        if let Some(who) = self.runs.get_mut(run.0 as usize) {
            who.leaving = true;
        }
    }

    /// It says that it is closed, and that so many acks are not at the broker.
    pub fn closed(&mut self, run: Run, uncommitted: u64) {
        let Some(who) = self.runs.get(run.0 as usize) else { return };
        let truth = who.uncommitted.iter().filter(|(at, id)| self.is_uncommitted(who.role, *at, *id)).count();
        let name = who.name();
        self.sometimes.saw(if uncommitted == 0 { "closed clean" } else { "closed with acks uncommitted" });
        if truth as u64 > uncommitted {
            self.accuse("G4", || {
                format!("{name} closed with {uncommitted} acks uncommitted, as it says; {truth} are")
            });
        }
    }

    /// An ack that the broker doesn't know of.
    fn is_uncommitted(&self, role: usize, acked: Instant, id: MessageId) -> bool {
        let Some(log) = self.shards.get(id.shard as usize) else { return false };
        let mark = log.mark(role, id.at as usize);
        if self.frontiers.is_some() {
            return self.is_behind_committed(role, id);
        }
        mark.pending
            && !log.is_gone(id.at as usize)
            && mark.handed.is_some_and(|(handed, _, _)| handed <= acked)
    }

    /// A shard is read from now on; `None` if it isn't one of ours.
    pub fn assigned(&mut self, run: Run, assignment: &Assignment) {
        self.sometimes.saw("assigned");
        let key = (assignment.stream.clone(), assignment.shard);
        let Some(&shard) = self.shard_ids.get(&key) else { return };
        let len = self.shards.get(shard as usize).map_or(0, |log| log.len());
        let Some(who) = self.runs.get_mut(run.0 as usize) else { return };
        let (left, moving) = (who.left_group, who.moving);
        if let Some(seen) = who.shards.get_mut(shard as usize) {
            seen.epoch = Some(assignment.epoch);
            if !left && !moving {
                seen.since.get_or_insert(len);
            }
        }
    }

    /// A shard is no longer read.
    pub fn revoked(&mut self, run: Run, assignment: &Assignment) {
        self.sometimes.saw("revoked");
        let key = (assignment.stream.clone(), assignment.shard);
        let Some(&shard) = self.shard_ids.get(&key) else { return };
        if let Some(seen) =
            self.runs.get_mut(run.0 as usize).and_then(|who| who.shards.get_mut(shard as usize))
            && seen.epoch == Some(assignment.epoch)
        {
            seen.epoch = None;
        }
    }

    /// An application got a message.
    pub fn got(&mut self, run: Run, got: Got) {
        if self.frontiers.is_some() {
            return self.got_at_offset(run, got);
        }
        let Got { id, epoch, deliveries } = got;
        let Some(who) = self.runs.get(run.0 as usize) else { return };
        let (role, name) = (who.role, who.name());
        let Some(mode) = self.roles.get(role).map(|role| role.mode) else { return };
        let alone = who.reads_alone(mode);
        let acks = !alone && self.roles.get(role).is_some_and(|role| role.acks);
        let Some(log) = self.shards.get(id.shard as usize) else { return };
        let mark = log.mark(role, id.at as usize);
        let at = id.at as usize;
        let seen = who.shards.get(id.shard as usize).copied().unwrap_or_default();
        let delayed =
            matches!(self.roles.get(role).map(|role| role.commit), Some(AutoCommit::Delayed { .. }));
        let mut wrong = None;
        if who.fence.is_some_and(|fence| epoch <= fence) {
            wrong = Some(("G11", "read before it was told to read elsewhere".into()));
        } else if seen.epoch != Some(epoch) {
            wrong = Some(("G11", format!("under epoch {}, assigned is {:?}", epoch.0, seen.epoch)));
        }
        if alone {
            let from = seen.next.or(seen.since);
            if log.restored {
                // Whoever reads alone may have taken it for another stream.
            } else if seen.next.is_some_and(|next| at < next) {
                wrong = Some(("G11", "after one that is later".into()));
            } else if let Some(skipped) = from.and_then(|from| log.missing(from, at)) {
                wrong = Some(("G1", format!("without {} before it", log.seq(skipped).as_redis())));
            }
        } else if acks {
            match who.held.get(&id) {
                Some(Held::InHand { since }) if self.is_acked_by_delay(run, *since) => {}
                Some(Held::InHand { .. }) => wrong = Some(("R1", "though it is working on it".into())),
                // The group was set back before it was acked, and handed it out as new again.
                Some(Held::Acked { .. }) if mark.granted > 1 => {}
                // It claimed what an answer of its own brings, too, very late.
                Some(Held::Acked { .. }) if mark.claimed_again => {}
                // Acked once more, by the application, what the consumer had acked by itself.
                Some(Held::Acked { .. }) if delayed => {}
                Some(Held::Acked { .. }) => wrong = Some(("R1", "though it acked it before".into())),
                Some(Held::Past { .. }) | None => {}
            }
        } else if mark.delivered >= mark.granted {
            wrong =
                Some(("G1", "more often than it was handed out, though at most once was asked for".into()));
        }
        // What was handed out before the group was set back comes in no order with what came after.
        let is_new = !alone
            && deliveries == 1
            && mark.granted == 1
            && mark.handed.is_some_and(|(at, to, how)| {
                to == run && how == Handed::New && log.set_back.is_none_or(|set_back| at > set_back)
            });
        if is_new && seen.last_new.is_some_and(|last| at <= last) {
            wrong = Some(("G11", "after one that is later".into()));
        }
        if deliveries == 0 {
            wrong = Some(("R10", "with a delivery count of 0".into()));
        }
        if let Some((rule, text)) = wrong {
            let what = self.describe(id);
            self.accuse(rule, || format!("{name} got {what} {text}"));
        }
        let now = self.now;
        let Some(who) = self.runs.get_mut(run.0 as usize) else { return };
        who.delivered += 1;
        who.again += u64::from(mark.delivered > 0);
        if let Some(seen) = who.shards.get_mut(id.shard as usize) {
            if alone {
                seen.next = Some(at + 1);
            } else if is_new {
                seen.last_new = Some(at);
            }
        }
        if acks {
            who.held.insert(id, Held::InHand { since: now });
        }
        if !alone
            && let Some(mark) = self.shards.get_mut(id.shard as usize).and_then(|log| log.mark_mut(role, at))
        {
            mark.delivered += 1;
            mark.done |= !acks;
        }
        self.sometimes.saw(match deliveries {
            1 => "delivered for the first time",
            _ => "delivered again",
        });
    }

    /// Taken so long ago that the consumer has acked it by itself.
    pub(super) fn is_acked_by_delay(&self, run: Run, since: Instant) -> bool {
        let slack = self.runs.get(run.0 as usize).map(|who| who.clock_slack).unwrap_or_default();
        match self.role_of(run).map(|role| role.commit) {
            Some(AutoCommit::Delayed { delay }) => self.now.since(since) + slack >= delay,
            _ => false,
        }
    }

    /// An application is done with a message that it got under this assignment.
    pub fn acked(&mut self, run: Run, id: MessageId, epoch: Epoch) {
        let current = self.is_current(run, id.shard, epoch);
        let now = self.now;
        let Some(who) = self.runs.get_mut(run.0 as usize) else { return };
        let role = who.role;
        // Again, or of a hand-out that was committed before the group was set back: stale.
        if who.left_group || !matches!(who.held.get(&id), Some(Held::InHand { .. })) {
            return;
        }
        who.held.insert(id, Held::Acked { at: now });
        if current {
            who.uncommitted.push_back((now, id));
        }
        if let Some(mark) =
            self.shards.get_mut(id.shard as usize).and_then(|log| log.mark_mut(role, id.at as usize))
        {
            mark.done = true;
        }
    }

    /// A member was driven: what has a time in it.
    pub fn check_times(&mut self, run: Run) {
        while let Some(who) = self.runs.get(run.0 as usize)
            && let Some((acked, id)) = who.uncommitted.front().copied()
        {
            let role = who.role;
            if self.is_uncommitted(role, acked, id) {
                let acked = match self.frontiers {
                    Some(_) => match self.committable_since(run, id) {
                        Some(since) => since.max(acked),
                        None => return,
                    },
                    None => acked,
                };
                let Some(Role { recovery, commit_within, .. }) = self.roles.get(role) else { return };
                let within = recovery.saturating_add(*commit_within);
                let calm = self.calm_for(within) && self.settled_for(role, within);
                if calm && !who.leaving && self.now.since(acked) > *commit_within + who.clock_slack {
                    let (name, within, what) = (who.name(), *commit_within, self.describe(id));
                    self.accuse("G5", || {
                        format!("{name} acked {what} more than {within:?} ago, and it is not committed")
                    });
                }
                return;
            }
            if let Some(who) = self.runs.get_mut(run.0 as usize) {
                who.uncommitted.pop_front();
            }
        }
    }

    /// Everything is bounded.
    pub fn check_stats(&mut self, run: Run, stats: &Stats) {
        let Some(role) = self.role_of(run) else { return };
        let (queued, unacked) = (role.queued_max, role.unacked_max + role.queued_max);
        let bytes = role.rules.lane_bytes;
        if self.frontiers.is_some() && stats.queued_bytes > bytes {
            self.accuse("G6", || format!("{} bytes are queued, {bytes} is the limit", stats.queued_bytes));
        }
        if stats.queued > queued {
            self.accuse("G6", || format!("{} messages are queued, {queued} is the limit", stats.queued));
        } else if stats.in_flight > unacked {
            self.accuse("G6", || {
                format!("{} messages are un-acked, {unacked} is the limit", stats.in_flight)
            });
        }
    }

    /// It connects.
    pub fn connects(&mut self, run: Run) {
        let now = self.now;
        let Some(who) = self.runs.get_mut(run.0 as usize) else { return };
        if !who.connects.add(now, CONNECTS_MAX) {
            let name = who.name();
            self.accuse("G12", || format!("{name} connected more than {CONNECTS_MAX} times in a second"));
        }
    }

    pub(super) fn on_command(&mut self, peer: PeerId, name: &'static str, refused: Option<&'static str>) {
        let Some(Some(run)) = self.peers.get(peer.0 as usize).copied() else { return };
        let now = self.now;
        if self.frontiers.is_some() && matches!(name, "Metadata" | "FindCoordinator") {
            let who = self.runs.get_mut(run.0 as usize);
            if who.is_some_and(|who| !who.looks.add(now, LOOKS_MAX)) {
                self.accuse("G12", || format!("more than {LOOKS_MAX} requests in a second, {name} last"));
            }
        }
        if self.frontiers.is_some() && name == "Fetch" {
            let who = self.runs.get_mut(run.0 as usize);
            if who.is_some_and(|who| !who.fetches.add(now, FETCHES_MAX)) {
                self.accuse("G12", || {
                    format!("more than {FETCHES_MAX} fetches in a second, and nothing came")
                });
            }
        }
        let Some(refused) = refused else { return };
        match self.frontiers {
            Some(_) => self.sometimes.saw_refused(name, refused),
            None => self.sometimes.saw(refused),
        }
        let Some(who) = self.runs.get_mut(run.0 as usize) else { return };
        who.walks.clear();
        let most = REFUSALS_MAX * self.streams;
        if !who.refusals.add(now, most) {
            let member = who.name();
            self.accuse("G12", || {
                format!(
                    "{member} had more than {most} commands refused in a second, {name} with {refused} last"
                )
            });
        }
    }
}
