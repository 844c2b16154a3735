//! What is true where a group's progress is one position in each shard.
//!
//! # Theory of operation
//!
//! Beside the reference log each group has a *column* for each shard: the positions that were
//! committed, one after the other, and who owns the shard as the coordinator sees it. Each run has
//! a *reading* of each shard: under which assignment it reads, and what it got last.
//!
//! | what happens | what is held against it |
//! |---|---|
//! | the first message of an assignment | what was committed while the run looked for its position; the reset policy only where nothing was, or where that is out of range |
//! | the next message | the one before it: nothing that counts may lie between |
//! | a commit | who owns the shard, what was committed before, and whether applications are done with all that it passes |
//! | a position that was given up | whether the log was trimmed or cut there |
//!
//! A message counts for a group unless it is gone, was given up, or was aborted and the group reads
//! what is committed.
//!
//! **Invariant:** what a run was assigned is known by its notices, as applications take their
//! deliveries late; what it may do with it is known by the broker's facts.

mod begin;
mod commit;
mod facts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tidegate_core::{ConsumerMode, Epoch, GroupProtocol, Instant, Isolation, Notice, Reset, SeqNo};

use super::log::ShardLog;
use super::member::{Got, Held};
use super::{MessageId, Oracle, Run};
use crate::swarm::{Role, Swarm};
use begin::Begin;

/// What the options of a role promise.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// It reads what was committed, and nothing of an open transaction.
    read_committed: bool,
    /// Without a position it begins with the oldest message.
    earliest: bool,
    /// Without a position it begins at the end.
    latest: bool,
    /// Out of range it goes on somewhere else than with the oldest message.
    jumps: bool,
    /// The coordinator says who owns what.
    member: bool,
    /// A leader that comes back as a static member of a classic group is told to assign nothing
    /// (KIP-814), and doesn't know whether there were more partitions when it did so last: those stay
    /// without an owner until the next rebalance, as with Kafka's own consumer.
    leader_may_miss: bool,
    /// How much longer everything takes to work again than the limits say.
    pub(super) recovery: Duration,
    /// Records that the lane's bytes may hold, beside what the limits say: batches are small, and
    /// may be compressed.
    pub(super) lane_records: u64,
    /// Bytes that may wait in the lane: each broker may send a batch more than it was asked for
    /// (KIP-74).
    pub(super) lane_bytes: u64,
    /// How long a member may not know that it is none any more, in calm weather.
    unaware: Duration,
}

impl Rules {
    pub(super) fn of(role: &Role, swarm: &Swarm) -> Self {
        let kafka = &role.options.kafka;
        let default = if role.in_group() { Reset::Earliest } else { Reset::Latest };
        let way = swarm.net.latency_max * 2 + swarm.sloppy.late_max * 2;
        Self {
            read_committed: kafka.isolation == Isolation::ReadCommitted,
            earliest: kafka.reset.unwrap_or(default) == Reset::Earliest,
            latest: kafka.reset.unwrap_or(default) == Reset::Latest,
            jumps: kafka.reset.is_some_and(|reset| reset != Reset::Earliest),
            member: role.mode == ConsumerMode::LoadBalanced,
            leader_may_miss: kafka.instance.is_some() && kafka.protocol == GroupProtocol::Classic,
            recovery: kafka.session_timeout.max(SESSION_MAX) * 2
                + kafka.rebalance_timeout.min(REBALANCE_MAX) * 2
                + kafka.fetch_max_wait * 2,
            lane_records: (role.options.limits.lane_bytes_max / BATCH_MIN + 1).min(1_000) as u64
                * BATCH_RECORDS,
            lane_bytes: role.options.limits.lane_bytes_max as u64
                + BROKERS * BATCH_RECORDS * (swarm.payload_max + RECORD_MAX),
            unaware: kafka.heartbeat_interval.max(HEARTBEAT_MAX) * 2 + way * 20 + Duration::from_secs(1),
        }
    }
}

/// Bytes of a batch at least, and the most records that the world's producers put into one.
const BATCH_MIN: usize = 61;
const BATCH_RECORDS: u64 = 20;
/// Bytes of a record beside its filler, with its share of the batch; and brokers of one world, at most.
const RECORD_MAX: u64 = 200;
const BROKERS: u64 = 3;
/// The longest session and heartbeat interval that a simulated broker prescribes (KIP-848).
const SESSION_MAX: Duration = Duration::from_secs(12);
const HEARTBEAT_MAX: Duration = Duration::from_secs(3);
/// Members are back long before a rebalance is over.
const REBALANCE_MAX: Duration = Duration::from_secs(15);

/// A group's progress in one shard.
#[derive(Clone, Debug)]
struct Column {
    /// What was committed, one after the other. The first is nothing.
    history: Vec<Option<u64>>,
    /// Where in it is what was committed last; what follows is as far as that is true.
    said: usize,
    /// Nothing is committed, or what is, is out of range: the reset policy may decide.
    adrift: bool,
    /// Something was committed, and went out of range.
    was_adrift: bool,
    /// Who owns it, as the coordinator sees it, in which epoch, and since when.
    owners: BTreeMap<Bytes, (i32, Instant)>,
    /// Who owned it last.
    owner_before: Option<Bytes>,
}

impl Column {
    fn committed(&self) -> Option<u64> {
        self.history.last().copied().flatten()
    }
}

/// What one run sees of one shard.
#[derive(Clone, Debug, Default)]
struct Reading {
    /// Assignments that it was told of, and has got nothing under.
    begins: BTreeMap<Epoch, Begin>,
    /// The assignment that is in force, by its notices.
    current: Option<Epoch>,
    /// The last message that the application got, and under which assignment.
    last: Option<(usize, Epoch)>,
    /// In the assignment in force its position was given up for another one.
    went_back: bool,
    /// Without a group: it has to get everything from this place on.
    need: Option<usize>,
}

/// What is known of one shard.
#[derive(Clone, Debug, Default)]
struct Place {
    /// Of transactions that are open.
    undecided: BTreeSet<usize>,
    aborted: BTreeSet<usize>,
    /// The first position that may be there.
    start: u64,
    /// How often its end was lost.
    cuts: u32,
    /// Where it was cut last.
    cut_at: u64,
    /// The place of what came next, each time.
    cut_places: Vec<usize>,
    /// It was not there at first, or readers may not see all of it: what the end is hangs on whom
    /// one asks.
    end_is_vague: bool,
    /// It was not there at first.
    grown: bool,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Frontiers {
    /// By role and by shard.
    columns: Vec<Vec<Column>>,
    /// By run and by shard.
    readings: Vec<Vec<Reading>>,
    places: Vec<Place>,
    /// By role: when its members, or who owns what, changed last.
    stirred: Vec<Instant>,
    /// By their ids at the coordinator.
    members: BTreeMap<Bytes, Run>,
}

impl Frontiers {
    pub(super) fn new(roles: usize, shards: usize) -> Self {
        let column = Column {
            history: vec![None],
            said: 0,
            adrift: true,
            was_adrift: false,
            owners: BTreeMap::new(),
            owner_before: None,
        };
        Self {
            columns: vec![vec![column; shards]; roles],
            readings: Vec::new(),
            places: vec![Place::default(); shards],
            stirred: vec![Instant::ZERO; roles],
            members: BTreeMap::new(),
        }
    }

    fn column(&self, role: usize, shard: u32) -> Option<&Column> {
        self.columns.get(role)?.get(shard as usize)
    }

    fn column_mut(&mut self, role: usize, shard: u32) -> Option<&mut Column> {
        self.columns.get_mut(role)?.get_mut(shard as usize)
    }

    fn reading(&self, run: Run, shard: u32) -> Option<&Reading> {
        self.readings.get(run.0 as usize)?.get(shard as usize)
    }

    fn reading_mut(&mut self, run: Run, shard: u32) -> Option<&mut Reading> {
        self.readings.get_mut(run.0 as usize)?.get_mut(shard as usize)
    }
}

impl Oracle {
    pub(super) fn handle_started(&mut self) {
        if let Some(frontiers) = &mut self.frontiers {
            frontiers.readings.push(vec![Reading::default(); frontiers.places.len()]);
        }
    }

    /// The members of a role, or who owns what, changed.
    pub(super) fn handle_stir(&mut self, role: usize) {
        let now = self.now;
        let stirred = self.frontiers.as_mut().and_then(|all| all.stirred.get_mut(role));
        stirred.into_iter().for_each(|stirred| *stirred = now);
    }

    /// Whether no rebalance can have been under way for so long.
    pub(super) fn settled_for(&self, role: usize, time: Duration) -> bool {
        let stirred = self.frontiers.as_ref().and_then(|all| all.stirred.get(role));
        stirred.is_none_or(|stirred| self.now.since(*stirred) >= time)
    }

    /// It was asked to read elsewhere: what comes next may be anything.
    pub(super) fn handle_move(&mut self, run: Run) {
        let Some(frontiers) = &mut self.frontiers else { return };
        for reading in frontiers.readings.get_mut(run.0 as usize).into_iter().flatten() {
            (reading.last, reading.need) = (None, None);
            reading.begins.clear();
        }
    }

    /// What a consumer tells its operator.
    pub fn noticed(&mut self, run: Run, notice: &Notice) {
        if self.frontiers.is_none() {
            return;
        }
        match notice {
            Notice::Ready => self.on_ready(run),
            Notice::Assigned(shard) => self.on_begin(run, shard),
            Notice::Revoked(shard) => {
                let Some(at) = self.shard_ids.get(&(shard.stream.clone(), shard.shard)).copied() else {
                    return;
                };
                let Some(frontiers) = &mut self.frontiers else { return };
                if let Some(reading) = frontiers.reading_mut(run, at)
                    && reading.current == Some(shard.epoch)
                {
                    reading.current = None;
                }
                if let Some(who) = self.runs.get_mut(run.0 as usize) {
                    // Stale from now on.
                    who.uncommitted.retain(|(_, id)| id.shard != at);
                }
            }
            Notice::Repositioned { shard, from, .. } => self.on_repositioned(run, shard, *from),
            _ => {}
        }
    }

    /// Everything that is there is read.
    fn on_ready(&mut self, run: Run) {
        let lens: Vec<usize> = self.shards.iter().map(ShardLog::len).collect();
        let Some(frontiers) = &mut self.frontiers else { return };
        for (reading, len) in frontiers.readings.get_mut(run.0 as usize).into_iter().flatten().zip(lens) {
            if reading.current.is_some() {
                reading.need.get_or_insert(len);
            }
        }
    }

    /// Whether this assignment is the one in force.
    pub(super) fn is_current(&self, run: Run, shard: u32, epoch: Epoch) -> bool {
        let Some(frontiers) = &self.frontiers else { return true };
        frontiers.reading(run, shard).is_some_and(|reading| reading.current == Some(epoch))
    }

    /// It is there, and this role has to get it.
    fn counts(&self, role: usize, shard: u32, at: usize) -> bool {
        let (Some(log), Some(frontiers)) = (self.shards.get(shard as usize), &self.frontiers) else {
            return false;
        };
        let committed = self.roles.get(role).is_some_and(|role| role.rules.read_committed);
        let aborted = frontiers.places.get(shard as usize).is_some_and(|place| place.aborted.contains(&at));
        let needless = log.is_gone(at) || log.mark(role, at).excused || (committed && aborted);
        !needless
    }

    /// The first message that counts, from one place up to another.
    fn first_that_counts(&self, role: usize, shard: u32, from: usize, to: usize) -> Option<usize> {
        (from..to).find(|at| self.counts(role, shard, *at))
    }

    fn place_from(&self, shard: u32, offset: u64) -> usize {
        self.shards.get(shard as usize).map_or(0, |log| log.place_from(SeqNo::offset(offset)))
    }

    /// An application got a message.
    pub(super) fn got_at_offset(&mut self, run: Run, got: Got) {
        let Got { id, epoch, .. } = got;
        let at = id.at as usize;
        let Some(who) = self.runs.get(run.0 as usize) else { return };
        let (role, name, left) = (who.role, who.name(), who.left_group || who.moving);
        let Some(mode) = self.roles.get(role).map(|role| role.mode) else { return };
        let alone = left || mode == ConsumerMode::RealTime;
        let acks = !alone && self.roles.get(role).is_some_and(|role| role.acks);
        let taken = who.shards.get(id.shard as usize).and_then(|seen| seen.epoch);
        let fenced = who.fence.is_some_and(|fence| epoch <= fence);
        let Some(reading) = self.frontiers.as_ref().and_then(|all| all.reading(run, id.shard)) else {
            return;
        };
        let (last, begin) = (reading.last, reading.begins.get(&epoch).cloned());
        let wrong = if fenced {
            Some(("G11", "read before it was told to read elsewhere".into()))
        } else if taken != Some(epoch) {
            Some(("G11", format!("under epoch {}, assigned is {taken:?}", epoch.0)))
        } else if let Some(text) = self.not_stable(role, id) {
            Some(("K9", text))
        } else if let Some((before, _)) = last.filter(|(_, of)| *of == epoch) {
            let skipped = self.first_that_counts(role, id.shard, before + 1, at);
            match skipped {
                _ if at <= before => Some(("G11", "after one that is later".into())),
                Some(skipped) => {
                    Some(("G1", format!("without {} before it", self.name_of(id.shard, skipped))))
                }
                None => None,
            }
        } else if left {
            None
        } else {
            self.begins_wrong(run, id, begin.as_ref())
        };
        let wrong = wrong.or_else(|| self.not_owned(run, id)).or_else(|| self.not_once(run, id));
        if let Some((rule, text)) = wrong {
            let what = self.describe(id);
            self.accuse(rule, || format!("{name} got {what} {text}"));
        }
        self.note_got(run, id, epoch, (alone, acks));
    }

    fn note_got(&mut self, run: Run, id: MessageId, epoch: Epoch, (alone, acks): (bool, bool)) {
        let (now, at) = (self.now, id.at as usize);
        if let Some(reading) = self.frontiers.as_mut().and_then(|all| all.reading_mut(run, id.shard)) {
            reading.begins.retain(|known, _| *known > epoch);
            reading.last = Some((at, epoch));
            if alone {
                reading.need = Some(at + 1);
            }
        }
        let Some(who) = self.runs.get_mut(run.0 as usize) else { return };
        let role = who.role;
        who.delivered += 1;
        who.fetches = Default::default();
        if acks {
            who.held.insert(id, Held::InHand { since: now });
        }
        let Some(mark) = self.shards.get_mut(id.shard as usize).and_then(|log| log.mark_mut(role, at)) else {
            return;
        };
        let again = mark.delivered > 0;
        mark.delivered += u32::from(!alone);
        if let Some(who) = self.runs.get_mut(run.0 as usize) {
            who.again += u64::from(again);
        }
        self.sometimes.saw(match again {
            false => "delivered for the first time",
            true => "delivered again",
        });
    }

    /// What a transaction makes of it, for who reads what is committed.
    fn not_stable(&self, role: usize, id: MessageId) -> Option<String> {
        let place = self.frontiers.as_ref()?.places.get(id.shard as usize)?;
        let at = id.at as usize;
        if !self.roles.get(role)?.rules.read_committed {
            return None;
        }
        if place.aborted.contains(&at) {
            return Some("though it was aborted".into());
        }
        let open = place.undecided.first().filter(|open| **open <= at)?;
        Some(format!("while the transaction of {} is open", self.name_of(id.shard, *open)))
    }

    /// At most once: the broker knows of it first, and it comes once.
    fn not_once(&self, run: Run, id: MessageId) -> Option<(&'static str, String)> {
        let who = self.runs.get(run.0 as usize)?;
        let role = self.roles.get(who.role)?;
        if role.acks || role.mode == ConsumerMode::RealTime || who.left_group {
            return None;
        }
        let column = self.frontiers.as_ref()?.column(who.role, id.shard)?;
        let log = self.shards.get(id.shard as usize)?;
        let offset = log.seq(id.at as usize).low();
        if column.was_adrift {
            return None;
        }
        match column.committed() {
            Some(next) if next > offset => {}
            _ => return Some(("G1", "before the broker knew, though at most once was asked for".into())),
        }
        let again = log.mark(who.role, id.at as usize).delivered > 0;
        again.then(|| ("G1", "again, though at most once was asked for".into()))
    }

    /// A role that has not got everything, and why.
    pub(super) fn behind_in_shard(&self, role: usize, log: &ShardLog) -> Option<(SeqNo, String)> {
        let shard = *self.shard_ids.get(&log.key())?;
        let frontiers = self.frontiers.as_ref()?;
        if self.roles.get(role)?.mode == ConsumerMode::RealTime {
            return self.runs.iter().zip(0..).filter(|(who, _)| who.alive && who.role == role).find_map(
                |(who, run)| {
                    let need = frontiers.reading(Run(run), shard)?.need?;
                    let at = self.first_that_counts(role, shard, need, log.len())?;
                    Some((log.seq(at), format!(" (member {})", who.name())))
                },
            );
        }
        let column = frontiers.column(role, shard)?;
        if column.adrift && !self.roles.get(role)?.rules.earliest {
            // Whatever is there may be passed over.
            return None;
        }
        let grown = frontiers.places.get(shard as usize).is_some_and(|place| place.grown);
        if grown && column.owners.is_empty() && self.roles.get(role)?.rules.leader_may_miss {
            return None;
        }
        let from = self.place_from(shard, column.committed().unwrap_or(0));
        let at = self.first_that_counts(role, shard, from, log.len())?;
        let owners: Vec<_> = column.owners.keys().collect();
        let text = format!(": {:?} is committed, owned by {owners:?}", column.committed());
        Some((log.seq(at), text))
    }

    /// K6: who is a member and should not be, or should be and isn't.
    pub fn not_members(&self, role: usize, members: &[Bytes]) -> Option<String> {
        let frontiers =
            self.frontiers.as_ref().filter(|_| self.roles.get(role).is_some_and(|r| r.rules.member))?;
        let runs: Vec<_> = members.iter().map(|member| frontiers.members.get(member)).collect();
        for (member, run) in members.iter().zip(&runs) {
            let who = run.and_then(|run| self.runs.get(run.0 as usize));
            if !who.is_some_and(|who| who.alive && !who.left_group) {
                return Some(format!("{member:?} is a ghost in the group"));
            }
        }
        let missing = (0..).zip(&self.runs).find(|(run, who)| {
            who.role == role && who.alive && !who.left_group && !runs.contains(&Some(&Run(*run)))
        });
        missing.map(|(_, who)| format!("{} is no member of its group", who.name()))
    }

    fn name_of(&self, shard: u32, at: usize) -> String {
        self.describe(MessageId { shard, at: at as u32 })
    }
}
