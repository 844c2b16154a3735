//! Replication: what a primary did, done again by its replica, later or never.
//!
//! A replica runs the very commands that changed something, in their order and at their times;
//! both being pure, it comes to the same. What only changes how often an entry was delivered (own
//! pending entries, read again) is not told to it, as in Redis.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidegate_core::SeqNo;

use super::Redis;
use super::client::Client;
use super::keyspace::{Db, Object};
use super::node::{Call, Node, Write};
use super::process::run;
use super::stream::Stream;
use super::table;
use crate::broker::{Fact, Gone};

/// Writes that a replica may be behind before it catches up by itself, to half of that.
const BEHIND: usize = 1024;

impl Redis {
    /// What was done since the last call is told to the replica.
    pub(super) fn hand_on(&mut self, node: usize) {
        if self.common.log.is_empty() {
            return;
        }
        let commands = std::mem::take(&mut self.common.log);
        let Some(replica) = self.common.cluster.replica_of(node) else { return };
        let write = Write { at: self.common.now, commands };
        if let Some(node) = self.nodes.get_mut(replica) {
            node.behind.push_back(write);
            if node.behind.len() > BEHIND {
                self.catch_up(replica, BEHIND / 2);
            }
        }
    }

    /// A replica does what its primary did, all but the last `left` writes.
    pub(super) fn catch_up(&mut self, replica: usize, left: usize) {
        let Some(node) = self.nodes.get_mut(replica) else { return };
        let (now, now_ms) = (self.common.now, self.common.now_ms);
        let muted = std::mem::replace(&mut self.common.facts.muted, true);
        let mut client =
            Client { node: replica, never_blocks: true, authenticated: true, ..Client::default() };
        while node.behind.len() > left {
            let Some(write) = node.behind.pop_front() else { break };
            self.common.now = write.at;
            self.common.now_ms =
                (self.common.config.unix_ms_at_origin + write.at.as_nanos() / 1_000_000) as i64;
            for (db, args) in &write.commands {
                client.db = *db;
                if let Ok(spec) = table::find(args.args()) {
                    let mut call = Call {
                        common: &mut self.common,
                        node: &mut *node,
                        clients: &mut self.clients,
                        client: &mut client,
                        args: args.args(),
                    };
                    run(&mut call, spec);
                }
                client.reply.out.clear();
            }
        }
        (self.common.now, self.common.now_ms) = (now, now_ms);
        self.common.facts.muted = muted;
    }

    /// Tells what is different in `after`, where it takes the place of `before`: what is lost,
    /// what is back, and that groups were set back.
    pub(super) fn tell_lost(&mut self, before: &Node, after: &[Db]) {
        let none = Db::default();
        let dbs = before.dbs.len().max(after.len());
        for index in 0..dbs {
            let (old, new) = (before.dbs.get(index).unwrap_or(&none), after.get(index).unwrap_or(&none));
            let keys: BTreeSet<&Bytes> = old.keys().chain(new.keys()).map(|(key, _)| key).collect();
            for key in keys {
                let Some(shard) = self.common.facts.shard(key) else { continue };
                let stream = |db: &Db| match db.get(key) {
                    Some(Object::Stream(stream)) => Some(stream.clone()),
                    _ => None,
                };
                let (old, new) = (stream(old).unwrap_or_default(), stream(new).unwrap_or_default());
                let facts = &mut self.common.facts.list;
                for entry in old.log.iter().filter(|entry| new.log.find(entry.id).is_none()) {
                    facts.push(Fact::Gone { shard, seq: entry.id, why: Gone::Lost });
                }
                for entry in new.log.iter().filter(|entry| old.log.find(entry.id).is_none()) {
                    facts.push(Fact::Appended { shard, seq: entry.id });
                }
                if known(&old) != known(&new) {
                    facts.push(Fact::SetBack { shard });
                }
            }
        }
    }
}

/// What the groups of a stream know: how far they are, and what is pending for whom.
fn known(stream: &Stream) -> BTreeMap<Bytes, (SeqNo, Vec<(SeqNo, Bytes)>)> {
    let groups = stream.groups.iter();
    groups
        .map(|(name, group)| {
            let pending = group.pending().iter().map(|(id, nack)| (*id, group.name(nack.owner)));
            (name.clone(), (group.last_id, pending.collect()))
        })
        .collect()
}
