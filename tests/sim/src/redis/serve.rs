//! Who is blocked, and how that ends.
//!
//! Up to 7.0 a key that changed serves those who wait for it, one stream each, in the order in
//! which they came. From 7.2 on each of them runs its command again.

use bytes::Bytes;

use super::Redis;
use super::args::OwnedArgs;
use super::client::{Blocked, Client};
use super::commands::read::{Read, hand_out, send_later};
use super::config::Version;
use super::keyspace::{Object, Waiter};
use super::node::Node;
use super::refusal::Refusal;
use crate::broker::PeerId;

/// A client that has something to wait for now waits for it.
pub(super) fn block(client: &Client, node: &mut Node) {
    let (Some(blocked), Some(peer)) = (&client.blocked, client.peer) else {
        return;
    };
    let group = blocked.group.as_ref().map(|(group, _)| group);
    for (key, after) in &blocked.keys {
        node.db(blocked.db).wait(key, Waiter { peer, group: group.cloned(), after: *after });
    }
    if let Some(deadline) = blocked.deadline {
        node.timeouts.insert((deadline, peer));
    }
}

/// A client no longer waits; its further requests are carried out when there is time.
pub(super) fn unblock(client: &mut Client, node: &mut Node) -> Option<Box<Blocked>> {
    let (blocked, peer) = (client.blocked.take()?, client.peer?);
    for (key, _) in &blocked.keys {
        node.db(blocked.db).stop_waiting(key, peer);
    }
    if let Some(deadline) = blocked.deadline {
        node.timeouts.remove(&(deadline, peer));
    }
    node.resumed.push_back(peer);
    Some(blocked)
}

impl Redis {
    /// Serves those who wait for keys that changed.
    pub(super) fn serve_ready(&mut self, node: usize) {
        while self.nodes.get(node).is_some_and(Node::is_ready) {
            let dbs = self.nodes.get(node).map_or(0, |node| node.dbs.len());
            for db in 0..dbs {
                let ready = self.nodes.get_mut(node).map(|node| node.db(db).take_ready());
                for key in ready.unwrap_or_default() {
                    if self.common.config.version >= Version::V7_2 {
                        self.run_again(node, db, &key);
                    } else {
                        self.serve_key(node, db, &key);
                    }
                }
            }
        }
        self.common.facts.actor = None;
        self.hand_on(node);
    }

    fn serve_key(&mut self, index: usize, db: usize, key: &Bytes) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        // Of those who wait for the same group only the first ones find anything new.
        let mut read_out: Option<Bytes> = None;
        let mut at = 0;
        loop {
            let waiters = node.db(db).waiters(key).get(at..).unwrap_or_default();
            let skip = |waiter: &&Waiter| waiter.group.is_some() && waiter.group == read_out;
            at += waiters.iter().take_while(skip).count();
            let Some(waiter) = node.db(db).waiters(key).get(at) else { break };
            let (peer, group, after) = (waiter.peer, waiter.group.clone(), waiter.after);
            let refusal = match (node.db(db).get(key), &group) {
                (Some(Object::Stream(stream)), None) if stream.log.last_id > after => None,
                (Some(Object::Stream(stream)), Some(group)) => match stream.groups.get(group) {
                    Some(group) if stream.log.last_id > group.last_id => None,
                    Some(_) => {
                        read_out = Some(group.clone());
                        continue;
                    }
                    None => Some(Refusal::new(
                        "NOGROUP",
                        "the consumer group this client was blocked on no longer exists",
                    )),
                },
                (None | Some(Object::Text(_)), Some(_)) if self.common.config.version == Version::V7_0 => {
                    Some(Refusal::new("UNBLOCKED", "the stream key no longer exists"))
                }
                _ => {
                    at += 1;
                    continue;
                }
            };
            let Some(client) = self.clients.get_mut(peer) else { return };
            let Some(blocked) = unblock(client, node) else { return };
            self.common.facts.actor = Some(peer);
            if let Some(refusal) = &refusal {
                client.reply.refuse(refusal);
            } else {
                client.reply.streams(1);
                client.reply.stream(key);
                if let Ok(Some(stream)) = node.db(db).stream_mut(key) {
                    let changes = match &blocked.group {
                        Some((group, consumer)) => {
                            let read = Read { group, consumer, count: blocked.count, no_ack: blocked.no_ack };
                            hand_out(&mut self.common, &mut client.reply, stream, read)
                        }
                        None => {
                            send_later(&mut client.reply, stream, after, blocked.count);
                            0
                        }
                    };
                    node.dirty += changes;
                    if changes > 0 && self.common.config.replicas {
                        self.common.log.push((db, as_read(key, &blocked)));
                    }
                }
            }
            self.common.facts.commanded(blocked.name, refusal.map(|refusal| refusal.code));
        }
    }

    /// 7.2: each of those who wait for the key runs its command again, if that can matter to it.
    fn run_again(&mut self, index: usize, db: usize, key: &Bytes) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let peers: Vec<(PeerId, bool)> =
            node.db(db).waiters(key).iter().map(|waiter| (waiter.peer, waiter.group.is_some())).collect();
        for (peer, grouped) in peers {
            let Some(node) = self.nodes.get_mut(index) else { return };
            if !grouped && !matches!(node.db(db).get(key), Some(Object::Stream(_))) {
                continue;
            }
            let Some(mut client) = self.clients.take(peer) else { continue };
            let Some(blocked) = unblock(&mut client, node) else {
                self.clients.put(peer, client);
                continue;
            };
            node.resumed.pop_back();
            self.process(&mut client, blocked.again.args());
            let Some(node) = self.nodes.get_mut(index) else { return };
            match &mut client.blocked {
                Some(still) => {
                    if self.common.config.version >= Version::V8_0 {
                        still.deadline = blocked.deadline;
                    }
                    block(&client, node);
                }
                None => node.resumed.push_back(peer),
            }
            self.clients.put(peer, client);
        }
    }
}

/// What a read that was served is for the replica.
fn as_read(key: &[u8], blocked: &Blocked) -> OwnedArgs {
    let (group, consumer) = blocked.group.clone().unwrap_or_default();
    let count = blocked.count.to_string();
    let mut args: Vec<&[u8]> = vec![b"XREADGROUP", b"GROUP", &group, &consumer, b"COUNT", count.as_bytes()];
    if blocked.no_ack {
        args.push(b"NOACK");
    }
    args.extend([&b"STREAMS"[..], key, b">"]);
    OwnedArgs::new(args.into_iter())
}
