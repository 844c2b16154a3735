//! What is told to the oracle.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_core::SeqNo;

use super::stream::{Group, Owner, Stream};
use crate::broker::{Fact, Gone, Handed, PeerId};

/// Facts about the shards that are watched.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) list: Vec<Fact>,
    shards: BTreeMap<Bytes, u32>,
    /// Who does what is told; `None`: the world's own hand.
    pub(crate) actor: Option<PeerId>,
    /// What is done now is told already: a replica does what its primary did.
    pub(crate) muted: bool,
}

impl Facts {
    pub(crate) fn watch(&mut self, shards: &[Bytes]) {
        self.shards = shards.iter().zip(0..).map(|(name, shard)| (name.clone(), shard)).collect();
    }

    /// Whether anybody listens.
    pub(crate) fn wanted(&self) -> bool {
        !self.shards.is_empty() && !self.muted
    }

    /// The number of a key that is watched.
    pub(crate) fn shard(&self, key: &[u8]) -> Option<u32> {
        self.shards.get(key).copied()
    }

    /// The number of a stream that something is to be told about.
    #[inline]
    pub(crate) fn about(&self, stream: &Stream) -> Option<u32> {
        stream.shard.filter(|_| !self.muted)
    }

    pub(crate) fn commanded(&mut self, name: &'static str, refused: Option<&'static str>) {
        if let Some(peer) = self.actor.filter(|_| self.wanted()) {
            self.list.push(Fact::Commanded { peer, name, refused });
        }
    }

    pub(crate) fn appended(&mut self, shard: Option<u32>, seq: SeqNo) {
        if let Some(shard) = shard {
            self.list.push(Fact::Appended { shard, seq });
        }
    }

    pub(crate) fn gone(&mut self, shard: Option<u32>, seq: SeqNo, why: Gone) {
        if let Some(shard) = shard {
            self.list.push(Fact::Gone { shard, seq, why });
        }
    }

    pub(crate) fn set_back(&mut self, shard: Option<u32>) {
        if let Some(shard) = shard {
            self.list.push(Fact::SetBack { shard });
        }
    }

    pub(crate) fn handed(
        &mut self,
        shard: Option<u32>,
        seq: SeqNo,
        group: &Group,
        to: Owner,
        from: Option<Owner>,
        how: Handed,
    ) {
        if let Some(shard) = shard {
            let member = group.name(to);
            let from = from.map(|from| group.name(from));
            // The world's hand has no peer; nobody has this one.
            let peer = self.actor.unwrap_or(PeerId(u64::MAX));
            self.list.push(Fact::Handed { shard, seq, member, from, how, peer });
        }
    }

    pub(crate) fn committed(&mut self, shard: Option<u32>, seq: SeqNo, group: &Group, owner: Owner) {
        if let Some(shard) = shard {
            let peer = self.actor.unwrap_or(PeerId(u64::MAX));
            self.list.push(Fact::Committed { shard, seq, member: group.name(owner), peer });
        }
    }

    pub(crate) fn dropped(&mut self, shard: Option<u32>, seq: SeqNo, member: Bytes) {
        if let Some(shard) = shard {
            self.list.push(Fact::Dropped { shard, seq, member, peer: self.actor });
        }
    }

    pub(crate) fn walked(&mut self, shard: Option<u32>, anew: bool, goes_on: bool) {
        if let (Some(shard), Some(peer)) = (shard, self.actor) {
            self.list.push(Fact::Walked { shard, peer, anew, goes_on });
        }
    }

    /// A group goes, and all that it knew.
    pub(crate) fn group_gone(&mut self, shard: Option<u32>, group: &Group) {
        if shard.is_some() {
            for (id, nack) in group.pending() {
                self.dropped(shard, *id, group.name(nack.owner));
            }
            self.set_back(shard);
        }
    }

    /// A stream goes, with all in it.
    pub(crate) fn stream_gone(&mut self, stream: &Stream) {
        let shard = self.about(stream);
        if shard.is_some() {
            for entry in stream.log.iter() {
                self.gone(shard, entry.id, Gone::Deleted);
            }
            for group in stream.groups.values() {
                self.group_gone(shard, group);
            }
        }
    }

    /// A stream is there, with all in it: it came under this name.
    pub(crate) fn stream_came(&mut self, stream: &Stream) {
        let shard = self.about(stream);
        if shard.is_some() {
            for entry in stream.log.iter() {
                self.appended(shard, entry.id);
            }
        }
    }
}
