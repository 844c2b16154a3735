//! The world's hand: commands without a connection, and what befalls servers.

use std::time::Duration;

use bytes::BytesMut;
use tidegate_core::Instant;
use tidegate_core::redis::resp::{Bounds, Decoder, Value};

use super::Redis;
use super::args::OwnedArgs;
use super::cluster::{key_slot, misplaced};
use super::config::{Condition, Keep};
use super::drive::drop_client;
use super::keyspace::Db;
use super::node::Node;
use super::refusal::Refusal;
use super::serve::unblock;
use crate::broker::{BrokerCommand, PeerId};

impl Redis {
    /// Runs a command by the world's own hand, as a client of that node that never blocks and is
    /// never turned away: conditions, pauses, passwords and slots don't hold for it. It keeps its
    /// database and its transaction from one command to the next. The reply is as in RESP3; an
    /// error if there is no such node, or it is down.
    pub fn execute(&mut self, now: Instant, node: usize, args: &[&[u8]]) -> Value {
        self.advance(now);
        let reply = self.execute_raw(node, args);
        self.settle();
        reply
    }

    fn execute_raw(&mut self, node: usize, args: &[&[u8]]) -> Value {
        let Some(hand) = self.hands.get_mut(node).filter(|_| !args.is_empty()) else {
            return Value::Error("ERR no such node, or no command".into());
        };
        if self.nodes.get(node).is_none_or(|node| node.down) {
            return Value::Error("ERR the node is down".into());
        }
        let mut client = std::mem::take(hand);
        client.reply.resp3 = true;
        self.process(&mut client, OwnedArgs::new(args.iter().copied()).args());
        let mut bytes: BytesMut = client.reply.out.split();
        client.closing = false;
        if let Some(hand) = self.hands.get_mut(node) {
            *hand = client;
        }
        self.serve_ready(node);
        let most = u32::MAX;
        let bounds = Bounds { depth: 32, line: most, bulk: most, aggregate: most, total: most };
        match Decoder::new(bounds).decode(&mut bytes) {
            Ok(Some(value)) => value,
            // CLIENT REPLY OFF, by the world's own hand.
            Ok(None) => Value::Null,
            Err(error) => Value::Error(format!("ERR {error}").into()),
        }
    }

    /// The node answers so until told otherwise, or until it has loaded. Becoming
    /// [`Condition::ReadOnly`] unblocks and disconnects those that are blocked.
    pub fn set_condition(&mut self, now: Instant, node: usize, condition: Condition) {
        self.advance(now);
        if let Some(one) = self.nodes.get_mut(node) {
            one.condition = condition;
        }
        match condition {
            Condition::ReadOnly => {
                let why =
                    "force unblock from blocking operation, instance state changed (master -> replica?)";
                self.release_blocked(node, true, |_, _| Some(Refusal::new("UNBLOCKED", why)));
            }
            Condition::ClusterDown => {
                let refusal = Refusal::new("CLUSTERDOWN", "The cluster is down");
                self.release_blocked(node, false, |_, _| Some(refusal.clone()));
            }
            _ => {}
        }
        self.settle();
    }

    /// How the node answers now.
    pub fn condition(&self, node: usize) -> Condition {
        self.nodes.get(node).map(|node| node.condition).unwrap_or_default()
    }

    /// Unblocks those for whom `refusal` has an answer; of each, the first key is given to it.
    fn release_blocked(
        &mut self,
        index: usize,
        disconnect: bool,
        refusal: impl Fn(&Self, &[u8]) -> Option<Refusal>,
    ) {
        let peers: Vec<PeerId> =
            self.nodes.get(index).map(|node| node.clients.values().copied().collect()).unwrap_or_default();
        for peer in peers {
            let blocked = self.clients.get(peer).and_then(|client| client.blocked.as_ref());
            let Some((key, _)) = blocked.and_then(|blocked| blocked.keys.first()) else { continue };
            let Some(refusal) = refusal(self, key) else { continue };
            let (Some(client), Some(node)) = (self.clients.get_mut(peer), self.nodes.get_mut(index)) else {
                continue;
            };
            if let Some(blocked) = unblock(client, node) {
                client.reply.refuse(&refusal);
                client.closing |= disconnect;
                self.common.facts.actor = Some(peer);
                self.common.facts.commanded(blocked.name, Some(refusal.code));
                self.common.facts.actor = None;
            }
        }
    }

    /// Remembers what the node holds now, for [`Keep::SavePoint`].
    pub fn save_point(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.saved = Some(node.copy_data());
        }
    }

    /// The process is gone: all its connections end, and it refuses new ones. What of its data is
    /// left is told at once.
    pub fn crash(&mut self, now: Instant, node: usize, keep: Keep) {
        self.advance(now);
        self.end_connections(node);
        let Some(one) = self.nodes.get_mut(node) else { return };
        one.down = true;
        one.frozen = false;
        one.pause = None;
        one.condition = Condition::Normal;
        let left = match keep {
            Keep::All => None,
            Keep::SavePoint => Some(match &one.saved {
                Some(saved) => saved.iter().map(Db::copy).collect(),
                None => Vec::new(),
            }),
            Keep::Nothing => Some(Vec::new()),
        };
        if let Some(left) = left {
            self.replace_data(node, left);
        }
        self.settle();
    }

    /// The process is back, and answers LOADING that long. In a cluster, a node whose replica
    /// took over is a replica now.
    pub fn restart(&mut self, now: Instant, node: usize, loading: Duration) {
        self.advance(now);
        let Some(one) = self.nodes.get_mut(node).filter(|node| node.down) else { return };
        one.down = false;
        if loading > Duration::ZERO {
            one.condition = Condition::Loading { until: self.common.now + loading };
        }
        if let Some(primary) = self.common.cluster.primary_of(node) {
            self.copy_to_replica(primary, node);
        } else if let Some(replica) = self.common.cluster.replica_of(node) {
            // It follows whatever its primary came back with.
            self.copy_to_replica(node, replica);
        }
        self.settle();
    }

    /// The server stands still: it answers nothing and keeps its connections; or it goes on.
    pub fn freeze(&mut self, now: Instant, node: usize, frozen: bool) {
        self.advance(now);
        if let Some(node) = self.nodes.get_mut(node).filter(|node| !node.down) {
            node.frozen = frozen;
        }
        self.advance(now);
        self.settle();
    }

    /// The node's replica has done all that its primary did, but for the last `left` writes.
    /// Without this it falls behind by up to a thousand.
    pub fn replicate(&mut self, now: Instant, node: usize, left: usize) {
        self.advance(now);
        if let Some(replica) = self.common.cluster.replica_of(node) {
            self.catch_up(replica, left);
        }
    }

    /// The replica takes over, and the last `lost` writes are lost, with all connections to the
    /// old primary. In a cluster the replica's own address serves the slots then and the old one
    /// is down until [`Redis::restart`]; else the address is taken over too. Does nothing where
    /// there is no replica.
    pub fn fail_over(&mut self, now: Instant, node: usize, lost: usize) {
        self.advance(now);
        let Some(replica) = self.common.cluster.replica_of(node) else { return };
        self.catch_up(replica, lost);
        let Some(one) = self.nodes.get_mut(replica) else { return };
        one.behind.clear();
        let data = one.copy_data();
        self.end_connections(node);
        if self.common.config.cluster {
            self.tell_and_promote(node, replica, data);
        } else {
            self.replace_data(node, data);
            if let Some(one) = self.nodes.get_mut(node) {
                one.down = false;
                one.frozen = false;
                one.condition = Condition::Normal;
            }
        }
        self.settle();
    }

    fn tell_and_promote(&mut self, node: usize, replica: usize, data: Vec<Db>) {
        if let Some(old) = self.nodes.get_mut(node) {
            let old = std::mem::take(old);
            self.tell_lost(&old, &data);
            if let Some(place) = self.nodes.get_mut(node) {
                *place = Node { down: true, frozen: false, condition: Condition::Normal, ..old };
            }
        }
        self.common.cluster.promote(replica);
    }

    /// A node holds this from now on; what is different is told.
    fn replace_data(&mut self, node: usize, data: Vec<Db>) {
        let Some(place) = self.nodes.get_mut(node) else { return };
        let mut one = std::mem::take(place);
        self.tell_lost(&one, &data);
        one.replace_data(data);
        if let Some(place) = self.nodes.get_mut(node) {
            *place = one;
        }
    }

    fn copy_to_replica(&mut self, primary: usize, replica: usize) {
        let Some(data) = self.nodes.get(primary).map(Node::copy_data) else { return };
        if let Some(one) = self.nodes.get_mut(replica) {
            one.behind.clear();
            one.replace_data(data);
        }
    }

    fn end_connections(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let ended = self.clients.iter().filter(|(_, client)| client.node == index && client.peer.is_some());
        let ended: Vec<PeerId> = ended.map(|(peer, _)| peer).collect();
        for peer in ended {
            drop_client(&mut self.common, node, &mut self.clients, peer);
        }
        node.resumed.clear();
        if let Some(hand) = self.hands.get_mut(index) {
            hand.multi = None;
            hand.db = 0;
        }
        // What was still to be written to them is of no use.
        let gone = |command: &BrokerCommand| match command {
            BrokerCommand::Write { peer } => self.clients.get(*peer).is_some(),
            _ => true,
        };
        self.common.commands.retain(gone);
    }

    /// The node that serves a key: 0 where there is no cluster.
    pub fn node_of(&self, key: &[u8]) -> usize {
        self.common.cluster.owner(key_slot(key)).unwrap_or(0)
    }

    /// A slot begins to move from its owner to another primary: ASK and TRYAGAIN, as its keys
    /// come over one by one with [`Redis::migrate_key`]. `None`: it stays after all.
    pub fn begin_migration(&mut self, now: Instant, slot: usize, to: Option<usize>) {
        self.advance(now);
        self.common.cluster.set_moving(slot, to);
    }

    /// A key moves to where its slot is moving. Whether it did.
    pub fn migrate_key(&mut self, now: Instant, key: &[u8]) -> bool {
        self.advance(now);
        let Some((from, to)) = self.common.cluster.moving(key_slot(key)) else { return false };
        let moved = self.move_key(key, from, to);
        self.settle();
        moved
    }

    /// A slot moves at once, with all its keys; blocked clients are sent after it.
    pub fn migrate_slot(&mut self, now: Instant, slot: usize, to: usize) {
        self.advance(now);
        let Some(from) = self.common.cluster.owner(slot).filter(|from| *from != to) else { return };
        if self.common.cluster.is_replica(to) || to >= self.common.cluster.nodes() {
            return;
        }
        self.common.cluster.set_moving(slot, Some(to));
        // They are sent on first: what they wait for is there still.
        self.common.cluster.set_owner(slot, to);
        self.release_blocked(from, false, |redis, key| {
            let node = redis.nodes.get(from)?;
            misplaced(&redis.common.cluster, node, key, &redis.common.config)
        });
        let keys = self.nodes.get_mut(from).map(|node| {
            node.db(0).keys().map(|(key, _)| key.clone()).filter(|key| key_slot(key) == slot).collect()
        });
        for key in keys.unwrap_or_else(Vec::new) {
            self.move_key(&key, from, to);
        }
        self.settle();
    }

    fn move_key(&mut self, key: &[u8], from: usize, to: usize) -> bool {
        let version = self.common.config.version;
        let Some(source) = self.nodes.get_mut(from) else { return false };
        let expiry = source.db(0).expiry(key);
        let Some(object) = source.db(0).take(key, version) else { return false };
        source.db(0).touch(key);
        let copies = [Some(to), self.common.cluster.replica_of(to)];
        for node in copies.into_iter().flatten() {
            // A replica is up to date with what moves, or its place in the log would be lost.
            self.catch_up(node, 0);
            if let Some(target) = self.nodes.get_mut(node) {
                target.db(0).take(key, version);
                target.db(0).put(bytes::Bytes::copy_from_slice(key), object.clone());
                target.db(0).set_expiry(key, expiry);
            }
        }
        if let Some(replica) = self.common.cluster.replica_of(from) {
            self.catch_up(replica, 0);
            if let Some(node) = self.nodes.get_mut(replica) {
                node.db(0).take(key, version);
            }
        }
        self.serve_ready(from);
        self.serve_ready(to);
        true
    }
}
