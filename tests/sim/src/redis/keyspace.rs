//! A database: keys, when they expire, who waits for them and who watches them.
//!
//! **Invariant:** `expires` and `due` hold the same pairs, of keys that are there.
//!
//! **Invariant:** a key is in `ready` at most once, and somebody waited for it when it was put in.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidegate_core::SeqNo;

use super::config::Version;
use super::facts::Facts;
use super::refusal::{Refusal, WRONG_TYPE};
use super::stream::Stream;
use crate::broker::PeerId;

/// What a key holds.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    Stream(Box<Stream>),
    Text(Bytes),
}

impl Object {
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Stream(_) => "stream",
            Self::Text(_) => "string",
        }
    }
}

/// A peer that is blocked on a key.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) peer: PeerId,
    /// XREADGROUP: for new entries of this group.
    pub(crate) group: Option<Bytes>,
    /// XREAD: for entries later than this.
    pub(crate) after: SeqNo,
}

/// One database of one server.
#[derive(Debug, Default)]
pub(crate) struct Db {
    keys: BTreeMap<Bytes, Object>,
    expires: BTreeMap<Bytes, i64>,
    due: BTreeSet<(i64, Bytes)>,
    waiting: BTreeMap<Bytes, Vec<Waiter>>,
    ready: Vec<Bytes>,
    /// Keys of WATCH: how many watch it, and how often it was touched.
    watched: BTreeMap<Bytes, (usize, u64)>,
}

impl Db {
    /// Keys and expiries, without anybody who waits or watches.
    pub(crate) fn copy(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            expires: self.expires.clone(),
            due: self.due.clone(),
            ..Self::default()
        }
    }

    /// Takes another one's keys and expiries for its own.
    pub(crate) fn replace(&mut self, other: Self) {
        self.keys = other.keys;
        self.expires = other.expires;
        self.due = other.due;
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn expiring(&self) -> usize {
        self.expires.len()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = (&Bytes, &Object)> {
        self.keys.iter()
    }

    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Object> {
        self.keys.get(key)
    }

    /// The stream at `key`, if there is anything.
    #[inline]
    pub(crate) fn stream(&self, key: &[u8]) -> Result<Option<&Stream>, Refusal> {
        match self.keys.get(key) {
            None => Ok(None),
            Some(Object::Stream(stream)) => Ok(Some(stream)),
            Some(Object::Text(_)) => Err(WRONG_TYPE),
        }
    }

    /// As [`Db::stream`].
    #[inline]
    pub(crate) fn stream_mut(&mut self, key: &[u8]) -> Result<Option<&mut Stream>, Refusal> {
        match self.keys.get_mut(key) {
            None => Ok(None),
            Some(Object::Stream(stream)) => Ok(Some(stream)),
            Some(Object::Text(_)) => Err(WRONG_TYPE),
        }
    }

    /// Puts a new stream where nothing is.
    pub(crate) fn make_stream(&mut self, key: &[u8], facts: &Facts) {
        let stream = Stream { shard: facts.shard(key), ..Stream::default() };
        self.put(Bytes::copy_from_slice(key), Object::Stream(Box::new(stream)));
    }

    /// Puts an object where nothing is.
    pub(crate) fn put(&mut self, key: Bytes, object: Object) {
        if matches!(object, Object::Stream(_)) {
            self.signal(&key);
        }
        self.keys.insert(key, object);
    }

    /// Takes a key away, and its expiry. Nothing is told of it.
    pub(crate) fn take(&mut self, key: &[u8], version: Version) -> Option<Object> {
        self.set_expiry(key, None);
        let object = self.keys.remove(key)?;
        if matches!(object, Object::Stream(_)) {
            self.signal_gone(key, version);
        }
        Some(object)
    }

    /// Deletes a key; whether it was there.
    pub(crate) fn delete(&mut self, key: &[u8], version: Version, facts: &mut Facts) -> bool {
        match self.take(key, version) {
            None => false,
            Some(object) => {
                if let Object::Stream(stream) = object {
                    facts.stream_gone(&stream);
                }
                self.touch(key);
                true
            }
        }
    }

    /// Sets a text, whatever was there; its expiry stays if `keep_expiry`.
    pub(crate) fn set_text(
        &mut self,
        key: &[u8],
        text: &[u8],
        keep_expiry: bool,
        version: Version,
        facts: &mut Facts,
    ) {
        let expiry = self.expiry(key).filter(|_| keep_expiry);
        if let Some(Object::Stream(stream)) = self.take(key, version) {
            facts.stream_gone(&stream);
        }
        self.put(Bytes::copy_from_slice(key), Object::Text(Bytes::copy_from_slice(text)));
        self.set_expiry(key, expiry);
        self.touch(key);
    }

    /// Deletes all keys.
    pub(crate) fn clear(&mut self, version: Version, facts: &mut Facts) {
        let keys = std::mem::take(&mut self.keys);
        self.expires.clear();
        self.due.clear();
        for (key, object) in &keys {
            self.touch(key);
            if let Object::Stream(stream) = object {
                facts.stream_gone(stream);
                self.signal_gone(key, version);
            }
        }
    }

    pub(crate) fn expiry(&self, key: &[u8]) -> Option<i64> {
        self.expires.get(key).copied()
    }

    /// When a key goes, on the wall clock; it goes in the millisecond after.
    pub(crate) fn set_expiry(&mut self, key: &[u8], at_ms: Option<i64>) {
        if self.expires.is_empty() && at_ms.is_none() {
            return;
        }
        if let Some((key, before)) = self.expires.remove_entry(key) {
            self.due.remove(&(before, key));
        }
        if let (Some(at_ms), Some((key, _))) = (at_ms, self.keys.get_key_value(key)) {
            let key = key.clone();
            self.expires.insert(key.clone(), at_ms);
            self.due.insert((at_ms, key));
        }
    }

    /// The first moment, on the wall clock, at which a key is gone.
    pub(crate) fn next_expiry(&self) -> Option<i64> {
        self.due.first().map(|(at_ms, _)| at_ms.saturating_add(1))
    }

    /// A key whose time is over.
    pub(crate) fn expired(&self, now_ms: i64) -> Option<Bytes> {
        self.due.first().filter(|(at_ms, _)| *at_ms < now_ms).map(|(_, key)| key.clone())
    }

    /// A change that WATCH is to see.
    pub(crate) fn touch(&mut self, key: &[u8]) {
        if !self.watched.is_empty()
            && let Some((_, version)) = self.watched.get_mut(key)
        {
            *version += 1;
        }
    }

    /// Begins to watch a key; how often it was touched.
    pub(crate) fn watch(&mut self, key: &[u8]) -> u64 {
        let (watchers, version) = self.watched.entry(Bytes::copy_from_slice(key)).or_default();
        *watchers += 1;
        *version
    }

    /// Whether it was touched since.
    pub(crate) fn is_touched(&self, key: &[u8], since: u64) -> bool {
        self.watched.get(key).is_none_or(|(_, version)| *version != since)
    }

    /// Ends that; whether it was touched since.
    pub(crate) fn unwatch(&mut self, key: &[u8], since: u64) -> bool {
        let Some((watchers, version)) = self.watched.get_mut(key) else {
            return true;
        };
        *watchers -= 1;
        let touched = *version != since;
        if *watchers == 0 {
            self.watched.remove(key);
        }
        touched
    }

    pub(crate) fn wait(&mut self, key: &Bytes, waiter: Waiter) {
        self.waiting.entry(key.clone()).or_default().push(waiter);
    }

    pub(crate) fn stop_waiting(&mut self, key: &[u8], peer: PeerId) {
        if let Some(waiters) = self.waiting.get_mut(key) {
            waiters.retain(|waiter| waiter.peer != peer);
            if waiters.is_empty() {
                self.waiting.remove(key);
            }
        }
    }

    pub(crate) fn waiters(&self, key: &[u8]) -> &[Waiter] {
        self.waiting.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// Keys that somebody waits for.
    pub(crate) fn waited_for(&self) -> impl Iterator<Item = (&Bytes, &Vec<Waiter>)> {
        self.waiting.iter()
    }

    /// Something came for those who wait for a stream at `key`.
    pub(crate) fn signal(&mut self, key: &[u8]) {
        if !self.waiting.is_empty()
            && let Some((key, _)) = self.waiting.get_key_value(key)
            && !self.ready.contains(key)
        {
            self.ready.push(key.clone());
        }
    }

    /// The stream at `key` is going; 6.2 tells nobody.
    pub(crate) fn signal_gone(&mut self, key: &[u8], version: Version) {
        let groups_wait = || self.waiters(key).iter().any(|waiter| waiter.group.is_some());
        if version == Version::V7_0 || version > Version::V7_0 && groups_wait() {
            self.signal(key);
        }
    }

    pub(crate) fn take_ready(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.ready)
    }

    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Numbers the streams that are watched.
    pub(crate) fn number_shards(&mut self, facts: &Facts) {
        for (key, object) in &mut self.keys {
            if let Object::Stream(stream) = object {
                stream.shard = facts.shard(key);
            }
        }
    }

    /// # Errors
    /// What doesn't hold.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (key, object) in &self.keys {
            if let Object::Stream(stream) = object {
                stream.check().map_err(|what| format!("key \"{}\": {what}", key.escape_ascii()))?;
            }
        }
        if self.expires.len() != self.due.len() || self.expires.keys().any(|key| !self.keys.contains_key(key))
        {
            return Err("expiries and keys don't agree".to_owned());
        }
        if self.waiting.values().any(Vec::is_empty) {
            return Err("a key is waited for by nobody".to_owned());
        }
        Ok(())
    }
}
