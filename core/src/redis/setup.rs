//! Which keys there are, and making each of them fit to be read.
//!
//! A stream's shards are found by asking for keys, not by SCAN: `stream`, `stream:0` …
//! `stream:7`, and for each that is there one further on. So a gap of up to eight numbers does
//! no harm, and nothing walks through a keyspace that isn't ours. While running, gaps are asked
//! for again, as are the numbers further on.
//!
//! A key is looked at (XINFO STREAM), then, in a group, the group is created, whether or not it
//! is there: BUSYGROUP is success, and nobody has to find out first. The same two steps mend a
//! key that was deleted, replaced or lost its group while running.
//!
//! | the key, when looked at | real-time | group |
//! |---|---|---|
//! | first time | as [`Start`] says | group at its beginning, or as [`Start`] says |
//! | appeared while running | from its first entry | group at its first entry |
//! | as it was, the group gone | goes on | group after the last entry that came here |
//! | ends before the last entry that came, with the first entry as before: it was set back | goes on at its end | group at its end |
//! | the same with another first entry: it is another stream | from its first entry | group at its first entry |
//! | missing, `create` | waits for it | made, with the group |
//! | missing | fatal at the start; later looked for again | the same |
//! | not a stream | fatal at the start; later looked at again | the same |

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::command;
use super::fault::Fault;
use super::keys::{KeyState, shard_key};
use super::link::{Answer, error_of};
use super::machine::Machine;
use super::resp::Value;
use super::task::Task;
use crate::ack::Slot;
use crate::delivery::{Delivery, Notice, Reason};
use crate::desk::Phase;
use crate::error::Error;
use crate::mutation::{self, Mutation};
use crate::options::Start;
use crate::stream::{Position, SeqNo, ShardId};
use crate::time::Instant;
use crate::timer::Wake;

/// How far ahead of the shards that are known others are looked for.
const AHEAD: u64 = 8;
/// Gaps in the shards of a stream that are asked for at once.
const MISSING_AT_ONCE: usize = 32;
/// Shards are not looked for more often.
const DISCOVER_MIN: Duration = Duration::from_millis(10);
/// Commands of this kind that may be without an answer.
const IN_FLIGHT: usize = 128;
/// Streams asked about in one command.
const STREAMS_AT_ONCE: usize = 64;

impl Machine {
    pub(super) fn pump_setup(&mut self) {
        if !self.control.is_ready() || self.phase == Phase::Closing {
            return;
        }
        let patience = self.config.options.limits.response_timeout;
        if self.discover_at == Instant::MAX {
            for stream in 0..self.keys.streams.len() {
                self.probes.push_back((stream, None));
                self.probes.extend((0..AHEAD).map(|shard| (stream, Some(shard))));
            }
            self.discover_at = self.now + self.config.options.discover_interval.max(DISCOVER_MIN);
        } else if self.now >= self.discover_at && self.discovered {
            self.discover_at = self.now + self.config.options.discover_interval.max(DISCOVER_MIN);
            // A server that answers late, or never and yet isn't silent, gets no more to answer.
            let outgoing_max = self.config.options.limits.outgoing_bytes_max;
            if self.control.waiting() < IN_FLIGHT && self.control.outgoing().len() < outgoing_max {
                for first in (0..self.keys.streams.len()).step_by(STREAMS_AT_ONCE) {
                    self.ask_for_shards(first..(first + STREAMS_AT_ONCE).min(self.keys.streams.len()));
                }
                self.ask_for_lag();
            }
        }
        while self.control.waiting() < IN_FLIGHT {
            let Some((stream, shard)) = self.probes.pop_front() else { break };
            let name = self.probe_name(stream, shard);
            self.control.send(self.now, Task::Exists { stream, shard }, patience, |out| {
                command::exists(out, [&name[..]].into_iter());
            });
        }
        if !self.discovered && self.probes.is_empty() && !self.is_probing() {
            self.discovered = true;
            self.add_missing();
        }
        while self.control.waiting() < IN_FLIGHT
            && let Some(slot) = self.keys.next_todo()
        {
            self.keys.set(slot, KeyState::Asked);
            let (name, position) = (self.keys.at(slot).name.clone(), self.keys.at(slot).position);
            self.control.send(self.now, Task::Look { slot, position }, patience, |out| {
                command::info_stream(out, &name);
            });
        }
        if self.phase == Phase::Starting
            && self.discovered
            && self.reader.is_ready()
            && self.keys.is_settled()
            && self.keys.next_wake().is_none()
        {
            self.phase = Phase::Running;
            self.notice(Notice::Ready);
        }
    }

    pub(super) fn discover_wake(&self) -> Option<Wake> {
        let waits = self.control.is_ready() && self.discovered && self.phase != Phase::Closing;
        waits.then_some(Wake { at: self.discover_at, why: "look for shards" })
    }

    fn is_probing(&self) -> bool {
        self.control.tasks().any(|task| matches!(task, Task::Exists { .. }))
    }

    fn probe_name(&self, stream: usize, shard: Option<u64>) -> Bytes {
        let Some(stream) = self.keys.streams.get(stream) else { return Bytes::new() };
        match shard {
            None => Bytes::copy_from_slice(stream.name.as_bytes()),
            Some(shard) => shard_key(&stream.name, shard),
        }
    }

    fn wants(&self, stream: usize, shard: u64) -> bool {
        let Some(stream) = self.keys.streams.get(stream) else { return false };
        self.selected.is_empty() || self.selected.contains(&(stream.name.clone(), ShardId::new(shard)))
    }

    /// Whether any shard appeared, in one command for many streams.
    fn ask_for_shards(&mut self, streams: Range<usize>) {
        let mut names = Vec::new();
        for at in streams.clone() {
            let wanted = self.wanted_shards(at, MISSING_AT_ONCE);
            names.extend(wanted.into_iter().map(|shard| self.probe_name(at, shard)));
            if let Some(stream) = self.keys.streams.get_mut(at) {
                let next = stream.missing.range(stream.missing_next..).nth(MISSING_AT_ONCE);
                stream.missing_next = next.copied().unwrap_or(0);
            }
        }
        let patience = self.config.options.limits.response_timeout;
        self.control.send(self.now, Task::ExistsAny { streams }, patience, |out| {
            command::exists(out, names.iter().map(|name| &name[..]));
        });
    }

    pub(super) fn on_exists_any(&mut self, streams: Range<usize>, answer: &Answer) {
        if !matches!(answer, Answer::Value(value) if value.as_int().is_some_and(|found| found > 0)) {
            return;
        }
        for at in streams {
            if let Some(stream) = self.keys.streams.get_mut(at) {
                stream.missing_next = 0;
            }
            let wanted = self.wanted_shards(at, usize::MAX);
            self.probes.extend(wanted.into_iter().map(|shard| (at, shard)));
        }
    }

    /// Keys of a stream that may have appeared: itself, the next `gaps` gaps in its shards, and
    /// those further on.
    fn wanted_shards(&self, stream: usize, gaps: usize) -> Vec<Option<u64>> {
        let Some(stream) = self.keys.streams.get(stream) else { return Vec::new() };
        let itself = (!stream.plain).then_some(None);
        let gaps = stream.missing.range(stream.missing_next..).take(gaps).copied();
        let ahead = stream.next_shard..stream.next_shard + AHEAD;
        itself.into_iter().chain(gaps.chain(ahead).map(Some)).collect()
    }

    pub(super) fn on_exists(&mut self, stream: usize, shard: Option<u64>, answer: &Answer) {
        if let Some(words) = error_of(answer) {
            let fault = Fault::of(words);
            let error = fault.error("EXISTS", words, self.endpoint(), None);
            if self.phase == Phase::Starting && !matches!(fault, Fault::Unavailable) {
                return self.fail(error);
            }
            // The next round asks again; the first one has to be whole.
            if self.phase == Phase::Starting {
                self.drop_link(super::machine::CONTROL, Reason::Error(error));
                // After that: what was not answered has been put back, and would be asked twice.
                if !mutation::is(Mutation::ProbesDoubled) {
                    self.probes.clear();
                }
                self.discover_at = Instant::MAX;
            }
            return;
        }
        if matches!(answer, Answer::Value(value) if value.as_int() == Some(1)) {
            self.found(stream, shard);
        }
    }

    fn found(&mut self, stream: usize, shard: Option<u64>) {
        let name = self.probe_name(stream, shard);
        let wanted = self.wants(stream, shard.unwrap_or(0));
        let known = self.keys.find(&name);
        let Some(entry) = self.keys.streams.get_mut(stream) else { return };
        match shard {
            None => entry.plain = true,
            Some(shard) => {
                let first = entry.next_shard;
                entry.next_shard = entry.next_shard.max(shard + 1);
                entry.missing.remove(&shard);
                if !mutation::is(Mutation::ShardGapsForgotten) {
                    entry.missing.extend(first..shard);
                }
                let last = entry.next_shard;
                // A server that has every key must not keep us asking.
                if self.keys.len() < self.config.options.limits.shards_max {
                    self.probes.extend((first + AHEAD..last + AHEAD).map(|shard| (stream, Some(shard))));
                }
            }
        }
        if known.is_none() {
            self.add_key(stream, shard, wanted);
        }
    }

    fn add_key(&mut self, stream: usize, shard: Option<u64>, wanted: bool) {
        if self.keys.len() >= self.config.options.limits.shards_max {
            let reason = Error::Options("more shards than limits.shards_max: the rest is not read".into());
            return self.notice(Notice::Stalled { shard: None, reason: Reason::Error(reason) });
        }
        let name = self.probe_name(stream, shard);
        let Some(entry) = self.keys.streams.get(stream) else { return };
        let (stream, backoff) = (entry.name.clone(), self.new_backoff());
        let slot = self.keys.add(name, stream, ShardId::new(shard.unwrap_or(0)), backoff);
        self.keys.at_mut(slot).fresh = self.phase != Phase::Starting;
        if !wanted {
            self.keys.set(slot, KeyState::Left);
        }
    }

    /// All keys that are there are known. Streams without any are created, or an error.
    fn add_missing(&mut self) {
        for at in 0..self.keys.streams.len() {
            let Some(stream) = self.keys.streams.get(at) else { continue };
            if stream.plain || stream.next_shard > 0 {
                continue;
            }
            if !self.config.options.create {
                let stream = stream.name.clone();
                return self.fail(Error::StreamMissing { stream });
            }
            let wanted = self.wants(at, 0);
            self.add_key(at, None, wanted);
            if let Some(stream) = self.keys.streams.get_mut(at) {
                stream.plain = true;
            }
        }
    }

    /// The key is to be looked at again, at once or after a while.
    pub(super) fn look_again(&mut self, slot: Slot) {
        if self.keys.state(slot) == KeyState::Left {
            return;
        }
        let now = self.now;
        let at = self.keys.at_mut(slot).backoff.next(now, &mut self.random);
        let at = if mutation::is(Mutation::GroupStorm) { now } else { at };
        self.keys.set(slot, if at <= now { KeyState::Todo } else { KeyState::Waiting(at) });
    }

    /// The key can't be read now.
    fn stall(&mut self, slot: Slot, fault: Fault, error: Error) {
        if self.phase == Phase::Starting && fault != Fault::Unavailable {
            return self.fail(error);
        }
        if !std::mem::replace(&mut self.keys.at_mut(slot).stalled, true) {
            let shard = Some(self.keys.assignment(slot, self.epoch));
            self.notice(Notice::Stalled { shard, reason: Reason::Error(error) });
        }
        self.look_again(slot);
    }

    pub(super) fn on_look(&mut self, slot: Slot, position: SeqNo, answer: &Answer) {
        if self.keys.state(slot) != KeyState::Asked {
            return;
        }
        if self.keys.at(slot).position != position && !mutation::is(Mutation::LateLookApplied) {
            // A read that was on its way brought more: what this answer tells is of before.
            return self.keys.set(slot, KeyState::Todo);
        }
        let create = self.config.options.create;
        if let Some(words) = error_of(answer) {
            let fault = Fault::of(words);
            let key = self.keys.at(slot);
            let may_wait = create || key.started;
            return match fault {
                Fault::NoSuchKey if self.real_time && may_wait => {
                    // What is put there will be new, all of it.
                    let from = if key.started { None } else { start_after(self.start) };
                    let key = self.keys.at_mut(slot);
                    (key.position, key.seen) = (from.unwrap_or(SeqNo::ZERO), SeqNo::ZERO);
                    self.ready(slot);
                }
                Fault::NoSuchKey if create => {
                    self.begin_anew(slot);
                    self.create(slot, Some(SeqNo::ZERO));
                }
                _ => {
                    let error = fault.error("XINFO STREAM", words, self.endpoint(), Some(&key.stream));
                    if fault == Fault::NoSuchKey {
                        self.begin_anew(slot);
                    }
                    self.stall(slot, fault, error);
                }
            };
        }
        let last = match answer {
            Answer::Value(value) => value.field(b"last-generated-id").and_then(seq_of),
            Answer::Stream(_) => None,
        };
        let Some(last) = last else {
            let error = Error::Protocol("XINFO STREAM told no last-generated-id".into());
            return self.stall(slot, Fault::Other, error);
        };
        let start = if self.config.options.mode != crate::ConsumerMode::RealTime && !self.real_time {
            group_start(self.start)
        } else {
            self.start
        };
        self.compare(slot, last, first_entry(answer));
        let key = self.keys.at_mut(slot);
        // Where to go on: `None` is the end.
        let from = if key.started {
            Some(key.position)
        } else if key.fresh {
            Some(SeqNo::ZERO)
        } else {
            start_after(start)
        };
        key.seen = last;
        if self.real_time {
            // The end is pinned once: asked for again and again, what comes in between is lost.
            key.position = from.unwrap_or(last);
            self.ready(slot);
        } else {
            self.create(slot, from);
        }
    }

    /// The stream ends at `last`, and begins with `first`. If it went further before, it was set
    /// back (a fail-over lost its end), or it is another one. The same first entry tells: then
    /// reading goes on at its end, and does not begin anew.
    fn compare(&mut self, slot: Slot, last: SeqNo, first: Option<SeqNo>) {
        let key = self.keys.at_mut(slot);
        let known = std::mem::replace(&mut key.first, first);
        if last >= key.seen {
            return;
        }
        // Its beginning may have been trimmed meanwhile.
        let the_same =
            first.is_some_and(|first| known.is_some_and(|known| known <= first && first <= key.seen));
        if the_same && !mutation::is(Mutation::SetBackIsAnother) {
            (key.position, key.seen) = (key.position.min(last), last);
        } else {
            self.begin_anew(slot);
        }
    }

    /// The stream that was read is gone: all of the next one of this name is new.
    fn begin_anew(&mut self, slot: Slot) {
        let key = self.keys.at_mut(slot);
        if key.started {
            (key.position, key.seen) = (SeqNo::ZERO, SeqNo::ZERO);
        }
    }

    fn create(&mut self, slot: Slot, from: Option<SeqNo>) {
        let patience = self.config.options.limits.response_timeout;
        let (name, group) = (self.keys.at(slot).name.clone(), &self.config.group);
        let make = self.config.options.create;
        let at_end = mutation::is(Mutation::GroupMadeAtTheEnd) && self.keys.at(slot).started;
        let from = from.filter(|_| !at_end);
        self.control.send(self.now, Task::Create { slot }, patience, |out| {
            command::create_group(out, &name, group, from, make);
        });
    }

    pub(super) fn on_create(&mut self, slot: Slot, answer: &Answer) {
        if self.keys.state(slot) != KeyState::Asked || self.real_time {
            return;
        }
        match error_of(answer) {
            Some(words) if Fault::of(words) == Fault::BusyGroup => self.ready(slot),
            Some(words) => {
                let fault = Fault::of(words);
                let stream = self.keys.at(slot).stream.clone();
                let error = fault.error("XGROUP CREATE", words, self.endpoint(), Some(&stream));
                self.stall(slot, fault, error);
            }
            None => {
                let shard = self.keys.assignment(slot, self.epoch);
                self.notice(Notice::GroupCreated { shard });
                // Whatever was read of an earlier stream of this name, or group, is past.
                self.ready(slot);
            }
        }
    }

    fn ready(&mut self, slot: Slot) {
        let (now, acks) = (self.now, self.acks());
        self.keys.set(slot, KeyState::Ready);
        let key = self.keys.at_mut(slot);
        key.backoff.handle_success(now);
        let first = !std::mem::replace(&mut key.started, true);
        let mended = std::mem::replace(&mut key.stalled, false);
        let shard = self.keys.assignment(slot, self.epoch);
        if mended {
            self.notice(Notice::Mended { shard: shard.clone() });
        }
        if first {
            if acks {
                self.cycle.add(slot);
                if !self.config.generated {
                    // A member of this name may have left something.
                    self.keys.set_recovery(slot, Some(SeqNo::ZERO));
                } else {
                    self.keys.at_mut(slot).recovered = true;
                }
            }
            self.announce(slot);
        }
    }

    /// The shard is read from now on; told once in each assignment.
    pub(super) fn announce(&mut self, slot: Slot) {
        if std::mem::replace(&mut self.keys.at_mut(slot).announced, true) {
            return;
        }
        let shard = self.keys.assignment(slot, self.epoch);
        self.notice(Notice::Assigned(shard.clone()));
        self.lane.push_back(Delivery::Assigned(shard));
    }

    /// Some of the keys, in turn: how far the group is behind; without a group, whether the
    /// stream is still the same one. A blocked XREAD doesn't notice when it isn't.
    fn ask_for_lag(&mut self) {
        const AT_ONCE: usize = 16;
        let patience = self.config.options.limits.response_timeout;
        for _ in 0..AT_ONCE.min(self.keys.len()) {
            let slot = Slot(self.lag_next % self.keys.len() as u32);
            self.lag_next = self.lag_next.wrapping_add(1);
            if self.keys.state(slot) == KeyState::Ready {
                let name = self.keys.at(slot).name.clone();
                let real_time = self.real_time;
                let position = self.keys.at(slot).position;
                let task = if real_time { Task::Check { slot, position } } else { Task::Lag { slot } };
                self.control.send(self.now, task, patience, |out| match real_time {
                    true => command::info_stream(out, &name),
                    false => command::info_groups(out, &name),
                });
            }
        }
    }

    pub(super) fn on_check(&mut self, slot: Slot, position: SeqNo, answer: &Answer) {
        let Answer::Value(value) = answer else { return };
        let gone = error_of(answer).is_some_and(|words| Fault::of(words) == Fault::NoSuchKey);
        let last = match gone {
            true => Some(SeqNo::ZERO),
            false => value.field(b"last-generated-id").and_then(seq_of),
        };
        let Some(last) = last.filter(|_| self.real_time) else { return };
        if self.keys.at(slot).position != position && !mutation::is(Mutation::LateLookApplied) {
            // Read on meanwhile; the next round asks again.
            return;
        }
        self.compare(slot, last, first_entry(answer));
        if self.keys.at(slot).position != position {
            self.keys.renew();
        }
    }

    pub(super) fn on_lag(&mut self, slot: Slot, answer: &Answer) {
        let Answer::Value(value) = answer else { return };
        let groups = value.as_array().unwrap_or_default();
        let own = groups
            .iter()
            .find(|group| group.field(b"name").and_then(Value::as_bytes) == Some(&self.config.group[..]));
        let lag = own.and_then(|group| group.field(b"lag")).and_then(Value::as_int);
        self.keys.at_mut(slot).lag = lag.and_then(|lag| u64::try_from(lag).ok());
    }

    /// Of all keys, where the broker knows all.
    pub(super) fn lag(&self) -> Option<u64> {
        let mut lags = self.keys.ready_slots().map(|slot| self.keys.at(slot).lag).peekable();
        lags.peek()?;
        // A server may say anything.
        lags.try_fold(0, |sum: u64, lag| Some(sum.saturating_add(lag?)))
    }
}

fn group_start(start: Start) -> Start {
    match start {
        Start::Default => Start::From(Position::Beginning),
        start => start,
    }
}

/// The position after which to read; `None` is the end.
pub(super) fn start_after(start: Start) -> Option<SeqNo> {
    match start {
        Start::Default | Start::From(Position::End) => None,
        Start::From(Position::Beginning) => Some(SeqNo::ZERO),
        Start::From(Position::At(seq)) => Some(seq.previous()),
        Start::After(moment) => Some(match u64::try_from(moment.as_millis()) {
            Ok(millis) => SeqNo::redis(millis, u64::MAX),
            Err(_) => SeqNo::ZERO,
        }),
    }
}

/// The id of the first entry, as XINFO STREAM tells it.
fn first_entry(answer: &Answer) -> Option<SeqNo> {
    let Answer::Value(value) = answer else { return None };
    seq_of(value.field(b"first-entry")?.as_array()?.first()?)
}

/// An id as Redis writes it.
pub(super) fn seq_of(value: &Value) -> Option<SeqNo> {
    let text = std::str::from_utf8(value.as_bytes()?).ok()?;
    let (millis, counter) = text.split_once('-')?;
    Some(SeqNo::redis(millis.parse().ok()?, counter.parse().ok()?))
}
