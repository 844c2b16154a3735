//! The partitions that are read, or may be: where each stands, and what it waits for.
//!
//! | stage | leaves it when |
//! |---|---|
//! | `Idle` | it is assigned |
//! | `Committed` | the group's position came: `Fetching`, or `Place` if there is none |
//! | `Place` | its leader answered ListOffsets: `Fetching` |
//! | `Check` | its new leader answered where the epoch ends: `Fetching`, perhaps further back |
//! | `Waiting` | its time has come, or a leader is named: `Fetching`, or `Check` |
//! | `Fetching` | a broker refused (`Waiting`), its leader changed (`Check`), its position is out of range (`Place`), or it was lost (`Idle`) |
//!
//! **Invariant:** a partition whose stage is not `Idle` or `Fetching` is in `unsettled`; one that
//! is `Fetching` is filed under the broker that it is read from, if that is known.
//!
//! **Invariant:** `turn` changes whenever an answer to a question that was asked before would
//! be wrong now.

use std::collections::{BTreeMap, BTreeSet};

use crate::ack::Slot;
use crate::backoff::Backoff;
use crate::delivery::{Assignment, Reason};
use crate::stream::{Epoch, ShardId, StreamKey};
use crate::time::Instant;

/// Which position to ask a leader for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    Earliest,
    Latest,
    /// The first record with this timestamp or a later one; the end of the log if there is none,
    /// found out in three steps, as one may be written between two questions: whether there is
    /// one, ...
    Time(Since),
    /// ... where the log ends, if there is none, ...
    End(Since),
    /// ... and whether there is one now.
    TimeOrEnd(Since, i64),
}

/// A moment to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since {
    /// As records are stamped.
    pub(super) millis: i64,
    /// A seek: what is older is passed over, even if it is written later. A reset loses nothing
    /// that comes from then on.
    pub(super) strict: bool,
}

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Idle,
    Committed,
    Place(Spot),
    Check,
    Waiting,
    Fetching,
}

pub(super) struct Partition {
    /// Index of its topic in the cluster's list.
    pub(super) topic: usize,
    pub(super) stream: StreamKey,
    pub(super) index: i32,
    stage: Stage,
    /// A question about it is on its way.
    pub(super) asked: bool,
    pub(super) turn: u64,
    pub(super) retry_at: Instant,
    pub(super) backoff: Backoff,
    /// The assignment under which it is read, or was.
    pub(super) epoch: Epoch,
    pub(super) announced: bool,
    /// The next offset to fetch.
    pub(super) position: i64,
    /// The leader epoch of what came last; -1 if nothing did.
    pub(super) position_epoch: i32,
    /// One past what was handed out, and the leader epoch of that.
    pub(super) handed: i64,
    pub(super) handed_epoch: i32,
    /// The furthest offset that was asked to be committed in this assignment, and its leader epoch.
    pub(super) said: (i64, i32),
    /// What the broker confirmed as committed, or told at the start; -1 unknown.
    pub(super) committed: i64,
    /// As metadata or a hint said last; the leader's epoch that goes with it.
    pub(super) leader: Option<i32>,
    pub(super) leader_epoch: i32,
    /// A replica to read from instead of the leader (KIP-392), until then.
    pub(super) replica: Option<(i32, Instant)>,
    /// It is being let go: not read any more.
    leaving: bool,
    /// Where it is filed.
    filed: Option<i32>,
    /// Most bytes asked for at once; grows where a batch doesn't fit.
    pub(super) bytes_max: usize,
    pub(super) high_watermark: i64,
    /// Timestamp of the first record that is handed out, at least; what comes before it is passed
    /// over.
    pub(super) not_before: i64,
    /// The position was lost: where it was, and why, until it is known where reading goes on.
    pub(super) lost: Option<(i64, Reason)>,
    /// The operator was told that it can't be read.
    pub(super) stalled: bool,
}

impl Partition {
    /// What lies before `end` needn't be handed out; `epoch` is that of the last batch of it. It goes
    /// with the position when that is committed: the epoch of what came before would say that the log
    /// was cut where that epoch ended (KIP-320).
    pub(super) fn hand_past(&mut self, end: i64, epoch: i32) {
        if end > self.handed {
            (self.handed, self.handed_epoch) = (end, epoch);
        }
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    pub(super) fn shard(&self) -> ShardId {
        ShardId::new(u64::try_from(self.index).unwrap_or(0))
    }

    /// The broker to read from.
    pub(super) fn source(&self) -> Option<i32> {
        self.replica.map(|(broker, _)| broker).or(self.leader)
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }

    pub(super) fn is_owned(&self) -> bool {
        self.stage != Stage::Idle
    }

    pub(super) fn assignment(&self) -> Assignment {
        Assignment { stream: self.stream.clone(), shard: self.shard(), epoch: self.epoch }
    }
}

/// See the [module](self).
#[derive(Default)]
pub(super) struct Partitions {
    list: Vec<Partition>,
    by_name: BTreeMap<(usize, i32), Slot>,
    /// Slots of topics that are gone, to be given out again.
    vacant: BTreeSet<Slot>,
    unsettled: BTreeSet<Slot>,
    owned: BTreeSet<Slot>,
    /// How often `owned` changed.
    ownings: u64,
    /// By broker: what is read from it.
    readers: BTreeMap<i32, BTreeSet<Slot>>,
    /// Changes of `readers`, for the fetch sessions: broker and slot.
    pub(super) moved: BTreeSet<(i32, Slot)>,
}

impl Partitions {
    pub(super) fn find(&self, topic: usize, index: i32) -> Option<Slot> {
        self.by_name.get(&(topic, index)).copied()
    }

    /// The partition's slot, given out now if it had none. `None` at the limit.
    pub(super) fn add(
        &mut self,
        topic: usize,
        stream: &StreamKey,
        index: i32,
        max: usize,
        backoff: Backoff,
        bytes_max: usize,
    ) -> Option<Slot> {
        if let Some(slot) = self.find(topic, index) {
            return Some(slot);
        }
        if (self.list.len() >= max && self.vacant.is_empty()) || index < 0 {
            return None;
        }
        let slot = self.vacant.pop_first().unwrap_or(Slot(self.list.len() as u32));
        // Of what had the slot before nothing is left but the turn, which goes on growing.
        let turn = self.list.get(slot.0 as usize).map_or(0, |partition| partition.turn);
        let partition = Partition {
            topic,
            stream: stream.clone(),
            index,
            stage: Stage::Idle,
            asked: false,
            turn,
            retry_at: Instant::ZERO,
            backoff,
            epoch: Epoch(0),
            announced: false,
            position: 0,
            position_epoch: -1,
            handed: -1,
            handed_epoch: -1,
            said: (-1, -1),
            committed: -1,
            leader: None,
            leader_epoch: -1,
            replica: None,
            leaving: false,
            filed: None,
            bytes_max,
            high_watermark: -1,
            not_before: i64::MIN,
            lost: None,
            stalled: false,
        };
        self.by_name.insert((topic, index), slot);
        match self.list.get_mut(slot.0 as usize) {
            Some(place) => *place = partition,
            None => self.list.push(partition),
        }
        Some(slot)
    }

    /// The topic is gone, and none of its partitions is ours: their slots are given out again.
    pub(super) fn vacate(&mut self, topic: usize) -> Vec<Slot> {
        let of_topic = self.by_name.range((topic, i32::MIN)..=(topic, i32::MAX));
        let of_topic: Vec<_> = of_topic.map(|(key, slot)| (*key, *slot)).collect();
        for (key, slot) in &of_topic {
            if !self.at(*slot).is_owned() {
                self.by_name.remove(key);
                self.vacant.insert(*slot);
            }
        }
        of_topic.into_iter().map(|(_, slot)| slot).collect()
    }

    pub(super) fn at(&self, slot: Slot) -> &Partition {
        // Proved: slots are given out by `add` alone, and partitions are replaced, but never removed.
        &self.list[slot.0 as usize]
    }

    pub(super) fn at_mut(&mut self, slot: Slot) -> &mut Partition {
        // Proved as in `at`.
        &mut self.list[slot.0 as usize]
    }

    /// Those that are ours.
    pub(super) fn owned(&self) -> &BTreeSet<Slot> {
        &self.owned
    }

    /// Those whose position isn't known yet.
    pub(super) fn unsettled(&self) -> &BTreeSet<Slot> {
        &self.unsettled
    }

    /// Differs whenever [`Partitions::owned`] does.
    pub(super) fn ownings(&self) -> u64 {
        self.ownings
    }

    pub(super) fn readers(&self) -> &BTreeMap<i32, BTreeSet<Slot>> {
        &self.readers
    }

    /// It is at this stage from now on; questions that were asked before are void.
    pub(super) fn set(&mut self, slot: Slot, stage: Stage) {
        let partition = self.at_mut(slot);
        partition.stage = stage;
        partition.asked = false;
        partition.turn += 1;
        partition.leaving &= stage != Stage::Idle;
        match stage {
            Stage::Idle => {
                self.ownings += u64::from(self.owned.remove(&slot));
                self.unsettled.remove(&slot);
            }
            Stage::Fetching => {
                self.ownings += u64::from(self.owned.insert(slot));
                self.unsettled.remove(&slot);
            }
            Stage::Committed | Stage::Place(_) | Stage::Check | Stage::Waiting => {
                self.ownings += u64::from(self.owned.insert(slot));
                if !self.at(slot).leaving {
                    self.unsettled.insert(slot);
                }
            }
        }
        self.file(slot);
    }

    /// It is on its way out: owned until its acks are committed, but not read any more.
    /// What was fetched and not handed out is withdrawn, so nothing that comes later may be handed
    /// out in this assignment: its ack would commit what is between.
    pub(super) fn leave(&mut self, slot: Slot) {
        let partition = self.at_mut(slot);
        partition.leaving = true;
        partition.turn += 1;
        self.unsettled.remove(&slot);
        self.file(slot);
    }

    /// Sees to it that the partition is filed where it is read from.
    pub(super) fn file(&mut self, slot: Slot) {
        let partition = self.at(slot);
        let wanted = match partition.stage {
            Stage::Fetching if !partition.leaving => partition.source(),
            _ => None,
        };
        let before = partition.filed;
        if let Some(broker) = before {
            self.moved.insert((broker, slot));
        }
        if before == wanted {
            return;
        }
        if let Some(broker) = before
            && let Some(slots) = self.readers.get_mut(&broker)
        {
            slots.remove(&slot);
            if slots.is_empty() {
                self.readers.remove(&broker);
            }
        }
        if let Some(broker) = wanted {
            self.readers.entry(broker).or_default().insert(slot);
            self.moved.insert((broker, slot));
        }
        self.at_mut(slot).filed = wanted;
    }
}
