//! A consumer group: what was handed to whom, and not acked.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidegate_core::SeqNo;

/// A consumer's place in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner(u32);

/// An entry that was handed out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nack {
    pub(crate) owner: Owner,
    /// When, on the wall clock.
    pub(crate) at_ms: i64,
    pub(crate) deliveries: i64,
}

/// One consumer.
#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    pub(crate) name: Bytes,
    pub(crate) seen_ms: i64,
    /// 7.2: when it last got anything.
    pub(crate) active_ms: Option<i64>,
    pub(crate) pending: BTreeSet<SeqNo>,
}

/// One group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Group {
    pub(crate) last_id: SeqNo,
    /// Entries read so far; `None` if it can't be known.
    pub(crate) read: Option<i64>,
    pending: BTreeMap<SeqNo, Nack>,
    consumers: Vec<Option<Consumer>>,
    names: BTreeMap<Bytes, u32>,
}

impl Group {
    pub(crate) fn new(last_id: SeqNo, read: Option<i64>) -> Self {
        Self { last_id, read, ..Self::default() }
    }

    pub(crate) fn find(&self, name: &[u8]) -> Option<Owner> {
        self.names.get(name).copied().map(Owner)
    }

    /// The consumer of this name, and whether it was made.
    pub(crate) fn find_or_make(&mut self, name: &[u8], now_ms: i64) -> (Owner, bool) {
        if let Some(owner) = self.find(name) {
            return (owner, false);
        }
        let name = Bytes::copy_from_slice(name);
        let consumer =
            Consumer { name: name.clone(), seen_ms: now_ms, active_ms: None, pending: BTreeSet::new() };
        let at = match self.consumers.iter_mut().enumerate().find(|(_, place)| place.is_none()) {
            Some((at, place)) => {
                *place = Some(consumer);
                at
            }
            None => {
                self.consumers.push(Some(consumer));
                self.consumers.len() - 1
            }
        };
        self.names.insert(name, at as u32);
        (Owner(at as u32), true)
    }

    pub(crate) fn consumer(&self, owner: Owner) -> Option<&Consumer> {
        self.consumers.get(owner.0 as usize)?.as_ref()
    }

    pub(crate) fn consumer_mut(&mut self, owner: Owner) -> Option<&mut Consumer> {
        self.consumers.get_mut(owner.0 as usize)?.as_mut()
    }

    pub(crate) fn name(&self, owner: Owner) -> Bytes {
        self.consumer(owner).map(|consumer| consumer.name.clone()).unwrap_or_default()
    }

    /// By name.
    pub(crate) fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.names.values().filter_map(|at| self.consumer(Owner(*at)))
    }

    pub(crate) fn consumer_count(&self) -> usize {
        self.names.len()
    }

    /// Removes a consumer; the entries that were pending for it.
    pub(crate) fn remove_consumer(&mut self, owner: Owner) -> Option<Consumer> {
        let consumer = self.consumers.get_mut(owner.0 as usize)?.take()?;
        self.names.remove(&consumer.name);
        for id in &consumer.pending {
            self.pending.remove(id);
        }
        Some(consumer)
    }

    pub(crate) fn pending(&self) -> &BTreeMap<SeqNo, Nack> {
        &self.pending
    }

    pub(crate) fn nack(&self, id: SeqNo) -> Option<Nack> {
        self.pending.get(&id).copied()
    }

    /// For what is pending already: everything but the owner.
    pub(crate) fn nack_mut(&mut self, id: SeqNo) -> Option<&mut Nack> {
        self.pending.get_mut(&id)
    }

    /// Makes an entry pending as `nack` says; whose it was before.
    pub(crate) fn give(&mut self, id: SeqNo, nack: Nack) -> Option<Owner> {
        let before = self.pending.insert(id, nack).map(|nack| nack.owner);
        match before {
            Some(owner) if owner == nack.owner => {}
            _ => {
                if let Some(consumer) = before.and_then(|owner| self.consumer_mut(owner)) {
                    consumer.pending.remove(&id);
                }
                if let Some(consumer) = self.consumer_mut(nack.owner) {
                    consumer.pending.insert(id);
                }
            }
        }
        before
    }

    /// No longer pending; whose it was.
    pub(crate) fn drop_pending(&mut self, id: SeqNo) -> Option<Owner> {
        let owner = self.pending.remove(&id)?.owner;
        if let Some(consumer) = self.consumer_mut(owner) {
            consumer.pending.remove(&id);
        }
        Some(owner)
    }

    /// # Errors
    /// What doesn't hold.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (name, at) in &self.names {
            let there = self
                .consumers
                .get(*at as usize)
                .is_some_and(|consumer| consumer.as_ref().is_some_and(|consumer| consumer.name == name));
            if !there {
                return Err(format!(
                    "the consumer {:?} is not where its name leads",
                    name.escape_ascii().to_string()
                ));
            }
        }
        let named = self.consumers.iter().flatten().count();
        if named != self.names.len() {
            return Err(format!("{named} consumers with {} names", self.names.len()));
        }
        let owned: usize = self.consumers.iter().flatten().map(|consumer| consumer.pending.len()).sum();
        if owned != self.pending.len() {
            return Err(format!("{owned} pending for consumers, {} for the group", self.pending.len()));
        }
        for (id, nack) in &self.pending {
            if !self.consumer(nack.owner).is_some_and(|consumer| consumer.pending.contains(id)) {
                return Err(format!("{} is pending, but not for its owner", id.as_redis()));
            }
        }
        Ok(())
    }
}
