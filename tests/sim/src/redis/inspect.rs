//! Looking into a model Redis, for an oracle: cheap, and without any effect.

use bytes::Bytes;
use tidegate_core::{Instant, SeqNo};

use super::Redis;
use super::stream::{Group, Stream};

/// An entry that was handed to a member and not acked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its position.
    pub seq: SeqNo,
    /// Who has it.
    pub owner: Bytes,
    /// How long ago it was delivered, in milliseconds.
    pub idle_ms: u64,
    /// How often it was delivered.
    pub deliveries: u64,
    /// Whether it is still in the log.
    pub exists: bool,
}

impl Redis {
    fn stream(&self, key: &[u8]) -> Option<&Stream> {
        let node = self.nodes.get(self.node_of(key))?;
        node.dbs.iter().find_map(|db| db.stream(key).ok().flatten())
    }

    fn group(&self, key: &[u8], group: &[u8]) -> Option<&Group> {
        self.stream(key)?.groups.get(group)
    }

    /// What is pending in a group, in the order of the log; nothing if there is no such group.
    /// Keys are looked for on the node that serves them, in its first database that has them.
    pub fn pending(&self, now: Instant, key: &[u8], group: &[u8]) -> impl Iterator<Item = Pending> {
        let now_ms = (self.common.config.unix_ms_at_origin + now.as_nanos() / 1_000_000) as i64;
        let found = self.stream(key).and_then(|stream| Some((stream, stream.groups.get(group)?)));
        found.into_iter().flat_map(move |(stream, group)| {
            group.pending().iter().map(move |(id, nack)| Pending {
                seq: *id,
                owner: group.name(nack.owner),
                idle_ms: u64::try_from(now_ms.saturating_sub(nack.at_ms)).unwrap_or(0),
                deliveries: u64::try_from(nack.deliveries).unwrap_or(0),
                exists: stream.log.find(*id).is_some(),
            })
        })
    }

    /// How many are pending in a group.
    pub fn pending_count(&self, key: &[u8], group: &[u8]) -> usize {
        self.group(key, group).map_or(0, |group| group.pending().len())
    }

    /// The names of a stream's groups.
    pub fn groups(&self, key: &[u8]) -> impl Iterator<Item = Bytes> {
        self.stream(key).into_iter().flat_map(|stream| stream.groups.keys().cloned())
    }

    /// The names of a group's members.
    pub fn members(&self, key: &[u8], group: &[u8]) -> impl Iterator<Item = Bytes> {
        self.group(key, group).into_iter().flat_map(|group| group.consumers().map(|one| one.name.clone()))
    }

    /// How far a group was read.
    pub fn last_delivered(&self, key: &[u8], group: &[u8]) -> Option<SeqNo> {
        self.group(key, group).map(|group| group.last_id)
    }

    /// How many entries a stream holds; 0 if there is none.
    pub fn len(&self, key: &[u8]) -> usize {
        self.stream(key).map_or(0, |stream| stream.log.len())
    }

    /// The id that a stream gave last.
    pub fn last_id(&self, key: &[u8]) -> Option<SeqNo> {
        self.stream(key).map(|stream| stream.log.last_id)
    }

    /// Whether an entry is in the log.
    pub fn has_entry(&self, key: &[u8], seq: SeqNo) -> bool {
        self.stream(key).is_some_and(|stream| stream.log.find(seq).is_some())
    }
}
