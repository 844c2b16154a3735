//! A stream: entries in order, and the groups that read them.
//!
//! **Invariant:** ids in the log only grow, and none is later than `last_id`.
//!
//! **Invariant:** what is pending in a group is pending for exactly one of its consumers. It may
//! be gone from the log.

mod group;
mod log;
mod packs;

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_core::SeqNo;

pub(crate) use group::{Group, Nack, Owner};
pub(crate) use log::{Log, Trim};

use super::config::Version;

/// The value of one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    /// The number under which facts about it are told.
    pub(crate) shard: Option<u32>,
    pub(crate) log: Log,
    pub(crate) groups: BTreeMap<Bytes, Group>,
}

impl Log {
    /// Whether a deleted entry may stand at `from` or later.
    pub(crate) fn has_tombstones(&self, from: SeqNo, version: Version) -> bool {
        if self.len() == 0 || self.max_deleted == SeqNo::ZERO {
            return false;
        }
        if version < Version::V8_0 && self.first_id() > self.max_deleted {
            return false;
        }
        from <= self.max_deleted
    }

    /// How many entries there ever were up to `id`, as far as that can be known.
    pub(crate) fn distance(&self, id: SeqNo, version: Version) -> Option<i64> {
        if self.added == 0 {
            return Some(0);
        }
        if self.len() == 0 && id <= self.last_id {
            return Some(self.added);
        }
        if version >= Version::V8_0 && id != SeqNo::ZERO && id < self.max_deleted {
            return None;
        }
        if id == self.last_id {
            return Some(self.added);
        }
        if id > self.last_id {
            return None;
        }
        let before = self.added.wrapping_sub(self.len() as i64);
        if self.max_deleted == SeqNo::ZERO || self.max_deleted < self.first_id() {
            return match id.cmp(&self.first_id()) {
                std::cmp::Ordering::Less => Some(before),
                std::cmp::Ordering::Equal => Some(before.wrapping_add(1)),
                std::cmp::Ordering::Greater => None,
            };
        }
        None
    }

    /// How many entries a group has yet to read, as far as that can be known.
    pub(crate) fn lag(&self, group: &Group, version: Version) -> Option<i64> {
        if self.added == 0 {
            return Some(0);
        }
        if version >= Version::V8_0 {
            if self.len() == 0 {
                return Some(0);
            }
            if group.last_id < self.first_id() && self.max_deleted < self.first_id() {
                return Some(self.len() as i64);
            }
        }
        match group.read {
            Some(read) if !self.has_tombstones(group.last_id, version) => Some(self.added.wrapping_sub(read)),
            _ => self.distance(group.last_id, version).map(|read| self.added.wrapping_sub(read)),
        }
    }
}

impl Group {
    /// The entry `id` of `log` is read for the first time: the group's place and count move on.
    pub(crate) fn advance(&mut self, log: &Log, id: SeqNo, version: Version) {
        if id <= self.last_id {
            return;
        }
        let from = if version >= Version::V8_0 { self.last_id } else { id };
        match self.read {
            Some(read) if !log.has_tombstones(from, version) => self.read = Some(read.wrapping_add(1)),
            _ if log.added != 0 => self.read = log.distance(id, version),
            _ => {}
        }
        self.last_id = id;
    }
}

impl Stream {
    /// # Errors
    /// What doesn't hold.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut before = None;
        for entry in self.log.iter() {
            if before.is_some_and(|before| before >= entry.id) {
                return Err(format!("{} is not later than the entry before it", entry.id.as_redis()));
            }
            before = Some(entry.id);
        }
        if before.is_some_and(|last| last > self.log.last_id) {
            return Err(format!("the last id {} is before the last entry", self.log.last_id.as_redis()));
        }
        if self.log.packs.live() != self.log.len() as u64 {
            return Err(format!("{} entries in nodes, {} in all", self.log.packs.live(), self.log.len()));
        }
        if (self.log.added as u64) < self.log.len() as u64 {
            return Err(format!("{} entries, of {} ever added", self.log.len(), self.log.added));
        }
        self.groups.iter().try_for_each(|(name, group)| {
            group.check().map_err(|what| format!("group {:?}: {what}", name.escape_ascii().to_string()))
        })
    }
}
