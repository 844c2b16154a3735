//! The keys that are read: one a shard, found under the streams that were subscribed to.
//!
//! | state | leaves it when |
//! |---|---|
//! | `Todo` | the control connection asks for the key |
//! | `Asked` | the answers came: `Ready`, or `Waiting` if the key can't be read now |
//! | `Waiting` | its time has come: `Todo` |
//! | `Ready` | a read says that it isn't any more: `Todo` or `Waiting` |
//! | `Left` | never, but for an assignment: not wanted |
//!
//! **Invariant:** `todo`, `waiting`, `recovering` and `ready` agree with the states of the keys.
//! `version` changes whenever the set of keys that a read asks for does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::ack::Slot;
use crate::backoff::Backoff;
use crate::delivery::Assignment;
use crate::stream::{Epoch, SeqNo, ShardId, StreamKey};
use crate::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyState {
    Todo,
    Asked,
    Waiting(Instant),
    Ready,
    Left,
}

/// One key.
pub(super) struct Key {
    pub(super) name: Bytes,
    pub(super) stream: StreamKey,
    pub(super) shard: ShardId,
    state: KeyState,
    /// The last entry that came. Real-time reads go on after it.
    pub(super) position: SeqNo,
    /// The furthest entry that ever came: from there on nothing can be in the ledger.
    pub(super) high: SeqNo,
    /// The stream went at least as far: if it ends before, it is another one.
    pub(super) seen: SeqNo,
    /// Its first entry, when it was looked at last.
    pub(super) first: Option<SeqNo>,
    /// Own pending entries later than this are still to be read.
    recover: Option<SeqNo>,
    /// It was ready before: its position is true.
    pub(super) started: bool,
    /// It appeared while running, so all in it is new.
    pub(super) fresh: bool,
    /// Its first recovery is over: what is recovered from now on was lost on its way.
    pub(super) recovered: bool,
    /// The operator was told that it can't be read.
    pub(super) stalled: bool,
    /// Assigned, and not revoked since.
    pub(super) announced: bool,
    pub(super) backoff: Backoff,
    pub(super) lag: Option<u64>,
}

/// One subscribed stream.
pub(super) struct Stream {
    pub(super) name: StreamKey,
    pub(super) plain: bool,
    /// One past the last shard that was found.
    pub(super) next_shard: u64,
    /// Those before it that were not: they may come later.
    pub(super) missing: BTreeSet<u64>,
    /// Of those the next to be asked for.
    pub(super) missing_next: u64,
}

#[derive(Default)]
pub(super) struct Keys {
    list: Vec<Key>,
    by_name: BTreeMap<Bytes, u32>,
    pub(super) streams: Vec<Stream>,
    todo: VecDeque<u32>,
    waiting: BTreeSet<(Instant, u32)>,
    recovering: BTreeSet<u32>,
    ready: usize,
    unsettled: usize,
    version: u64,
    last_found: u32,
}

impl Keys {
    pub(super) fn new(streams: &[StreamKey]) -> Self {
        let mut seen = BTreeSet::new();
        let streams = streams
            .iter()
            .filter(|name| seen.insert((*name).clone()))
            .map(|name| Stream {
                name: name.clone(),
                plain: false,
                next_shard: 0,
                missing: BTreeSet::new(),
                missing_next: 0,
            })
            .collect();
        Self { streams, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.list.len() as u32).map(Slot)
    }

    pub(super) fn at(&self, slot: Slot) -> &Key {
        // Proved: slots are given out by `add` alone, and keys are never removed.
        &self.list[slot.0 as usize]
    }

    pub(super) fn at_mut(&mut self, slot: Slot) -> &mut Key {
        // Proved as in `at`.
        &mut self.list[slot.0 as usize]
    }

    pub(super) fn state(&self, slot: Slot) -> KeyState {
        self.at(slot).state
    }

    /// The key of this name. Replies come in the order of the question, mostly of one key: the
    /// last one found is looked at first.
    pub(super) fn find(&mut self, name: &[u8]) -> Option<Slot> {
        if let Some(key) = self.list.get(self.last_found as usize)
            && key.name == name
        {
            return Some(Slot(self.last_found));
        }
        self.last_found = *self.by_name.get(name)?;
        Some(Slot(self.last_found))
    }

    /// A key that was found, or is to be made.
    pub(super) fn add(&mut self, name: Bytes, stream: StreamKey, shard: ShardId, backoff: Backoff) -> Slot {
        let slot = self.list.len() as u32;
        self.by_name.insert(name.clone(), slot);
        self.list.push(Key {
            name,
            stream,
            shard,
            state: KeyState::Left,
            position: SeqNo::ZERO,
            high: SeqNo::ZERO,
            seen: SeqNo::ZERO,
            first: None,
            recover: None,
            started: false,
            fresh: false,
            recovered: false,
            stalled: false,
            announced: false,
            backoff,
            lag: None,
        });
        self.set(Slot(slot), KeyState::Todo);
        Slot(slot)
    }

    pub(super) fn set(&mut self, slot: Slot, state: KeyState) {
        let old = std::mem::replace(&mut self.at_mut(slot).state, state);
        if old == state {
            return;
        }
        match old {
            KeyState::Waiting(at) => {
                self.waiting.remove(&(at, slot.0));
            }
            KeyState::Ready => {
                self.ready -= 1;
                self.version += 1;
            }
            KeyState::Todo | KeyState::Asked => self.unsettled -= 1,
            KeyState::Left => {}
        }
        match state {
            KeyState::Waiting(at) => {
                self.waiting.insert((at, slot.0));
            }
            KeyState::Ready => {
                self.ready += 1;
                self.version += 1;
            }
            KeyState::Todo => {
                self.unsettled += 1;
                self.todo.push_back(slot.0);
            }
            KeyState::Asked => self.unsettled += 1,
            KeyState::Left => {}
        }
    }

    /// The next key to ask for.
    pub(super) fn next_todo(&mut self) -> Option<Slot> {
        while let Some(slot) = self.todo.pop_front() {
            if self.state(Slot(slot)) == KeyState::Todo {
                return Some(Slot(slot));
            }
        }
        None
    }

    /// Those that waited long enough are to be asked for again.
    pub(super) fn handle_time(&mut self, now: Instant) {
        while let Some((at, slot)) = self.waiting.first().copied() {
            if at > now {
                return;
            }
            self.set(Slot(slot), KeyState::Todo);
        }
    }

    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// No key is being asked for, or about to be.
    pub(super) fn is_settled(&self) -> bool {
        self.unsettled == 0
    }

    pub(super) fn ready(&self) -> usize {
        self.ready
    }

    /// A read that is under way asks for the wrong thing.
    pub(super) fn renew(&mut self) {
        self.version += 1;
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn ready_slots(&self) -> impl Iterator<Item = Slot> {
        self.slots().filter(|slot| self.state(*slot) == KeyState::Ready)
    }

    /// Where the recovery of own pending entries stands, if one is needed.
    pub(super) fn recovery(&self, slot: Slot) -> Option<SeqNo> {
        self.at(slot).recover
    }

    pub(super) fn set_recovery(&mut self, slot: Slot, after: Option<SeqNo>) {
        self.at_mut(slot).recover = after;
        if after.is_some() {
            self.recovering.insert(slot.0);
        } else {
            self.recovering.remove(&slot.0);
        }
    }

    /// Ready keys whose own pending entries come first.
    pub(super) fn recovering(&self) -> impl Iterator<Item = (Slot, SeqNo)> {
        self.recovering.iter().filter_map(|slot| {
            let key = self.list.get(*slot as usize)?;
            (key.state == KeyState::Ready).then_some((Slot(*slot), key.recover?))
        })
    }

    pub(super) fn assignment(&self, slot: Slot, epoch: Epoch) -> Assignment {
        let key = self.at(slot);
        Assignment { stream: key.stream.clone(), shard: key.shard, epoch }
    }
}

/// The key of a shard: `stream:N`.
pub(super) fn shard_key(stream: &StreamKey, shard: u64) -> Bytes {
    let mut name = stream.as_bytes().to_vec();
    name.push(b':');
    name.extend_from_slice(shard.to_string().as_bytes());
    name.into()
}
