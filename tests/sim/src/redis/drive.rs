//! The contract of a broker: events in, commands out.

use bytes::{Buf, BytesMut};
use tidegate_core::timer::Wake;
use tidegate_core::{Endpoint, Instant};

use super::Redis;
use super::args::OwnedArgs;
use super::client::{Client, Clients, UNREAD, UNSERVED};
use super::config::Condition;
use super::node::{Common, Node};
use super::process::discard;
use super::refusal::Refusal;
use super::request::Next;
use super::serve::{block, unblock};
use crate::broker::{Broker, BrokerCommand, BrokerEvent, Fact, PeerId};

/// What time does to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alarm {
    /// A key expires, in this database.
    Expiry(usize),
    /// A blocked read ends without an answer.
    Timeout,
    Unpaused,
    Loaded,
}

impl Alarm {
    fn why(self) -> &'static str {
        match self {
            Self::Expiry(_) => "key expires",
            Self::Timeout => "blocked read ends",
            Self::Unpaused => "pause ends",
            Self::Loaded => "loaded",
        }
    }
}

/// Ends a connection at once, as CLIENT KILL or a crash does.
pub(crate) fn drop_client(common: &mut Common, node: &mut Node, clients: &mut Clients, peer: PeerId) {
    if let Some(mut client) = clients.remove(peer) {
        forget(&mut client, node);
        common.commands.push_back(BrokerCommand::Close { peer });
    }
}

/// CLIENT PAUSE is over: those that had to wait go on when there is time.
pub(crate) fn end_pause(node: &mut Node, clients: &mut Clients) {
    node.pause = None;
    for peer in std::mem::take(&mut node.postponed) {
        if let Some(client) = clients.get_mut(peer)
            && std::mem::take(&mut client.postponed)
        {
            node.resumed.push_back(peer);
        }
    }
}

/// A node no longer knows a client.
fn forget(client: &mut Client, node: &mut Node) {
    unblock(client, node);
    discard(client, node);
    node.clients.remove(&client.id);
}

impl Redis {
    /// Time comes to `now`, and what it brings about happens in its order.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some((at, node, alarm)) = self.next_alarm().filter(|(at, _, _)| *at <= now) {
            self.common.set_now(at);
            self.ring(node, alarm);
            self.serve_ready(node);
            self.settle();
        }
        self.common.set_now(now);
    }

    fn next_alarm(&self) -> Option<(Instant, usize, Alarm)> {
        let mut next: Option<(Instant, usize, Alarm)> = None;
        let mut offer = |at: Instant, node, alarm| {
            if next.is_none_or(|(before, _, _)| at < before) {
                next = Some((at, node, alarm));
            }
        };
        for (index, node) in self.nodes.iter().enumerate() {
            if node.frozen || node.down {
                continue;
            }
            if let Some((at, _)) = node.timeouts.first() {
                offer(*at, index, Alarm::Timeout);
            }
            if let Some(pause) = node.pause {
                offer(pause.until, index, Alarm::Unpaused);
            }
            if let Condition::Loading { until } = node.condition {
                offer(until, index, Alarm::Loaded);
            }
            // A replica is told by its primary what has expired.
            if !self.common.cluster.is_replica(index) {
                for (db, keys) in node.dbs.iter().enumerate() {
                    if let Some(at_ms) = keys.next_expiry() {
                        offer(self.common.instant_of(at_ms), index, Alarm::Expiry(db));
                    }
                }
            }
        }
        next
    }

    fn ring(&mut self, index: usize, alarm: Alarm) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        match alarm {
            Alarm::Expiry(db) => {
                let now_ms = self.common.now_ms;
                if let Some(key) = node.db(db).expired(now_ms) {
                    node.db(db).delete(&key, self.common.config.version, &mut self.common.facts);
                    node.dirty += 1;
                    if self.common.config.replicas {
                        let deletes = OwnedArgs::new([b"DEL", &key[..]].into_iter());
                        self.common.log.push((db, deletes));
                    }
                }
                self.hand_on(index);
            }
            Alarm::Timeout => {
                let Some((_, peer)) = node.timeouts.pop_first() else { return };
                if let Some(client) = self.clients.get_mut(peer)
                    && let Some(blocked) = unblock(client, node)
                {
                    client.reply.null_array();
                    self.common.facts.actor = Some(peer);
                    self.common.facts.commanded(blocked.name, None);
                    self.common.facts.actor = None;
                }
            }
            Alarm::Unpaused => {
                end_pause(node, &mut self.clients);
            }
            Alarm::Loaded => node.condition = Condition::Normal,
        }
    }

    /// Clients that were unblocked go on, in that order.
    pub(super) fn settle(&mut self) {
        for index in 0..self.nodes.len() {
            while let Some(peer) = self
                .nodes
                .get_mut(index)
                .and_then(|node| if node.frozen || node.down { None } else { node.resumed.pop_front() })
            {
                self.pump(peer);
            }
        }
    }

    /// Carries out what a peer sent, as far as that can be done now.
    fn pump(&mut self, peer: PeerId) {
        // It is taken out, so that what it does can touch all the others.
        let Some(mut client) = self.clients.take(peer) else { return };
        let mut parser = std::mem::take(&mut client.parser);
        let mut input = std::mem::take(&mut client.incoming);
        client.last_seen = self.common.now;
        let index = client.node;
        let mut used = 0;
        while client.is_served() {
            let rest = input.get(used..).unwrap_or_default();
            match parser.next(rest, client.authenticated) {
                Next::More => break,
                Next::TooLong => client.closing = true,
                Next::Broken(refusal) => {
                    client.reply.refuse(&refusal);
                    client.closing = true;
                }
                Next::Request(len) => {
                    let args = parser.args(rest);
                    if args.len() > 0 && !self.process(&mut client, args) {
                        client.postponed = true;
                        if let Some(node) = self.nodes.get_mut(index) {
                            node.postponed.push(peer);
                        }
                        parser.reset();
                        break;
                    }
                    parser.reset();
                    used += len;
                    if let Some(node) = self.nodes.get_mut(index) {
                        block(&client, node);
                        if node.is_ready() {
                            self.serve_ready(index);
                        }
                    }
                }
            }
        }
        input.advance(used.min(input.len()));
        client.parser = parser;
        client.incoming = input;
        self.put_back(peer, client);
    }

    fn put_back(&mut self, peer: PeerId, mut client: Box<Client>) {
        if client.closing
            && let Some(node) = self.nodes.get_mut(client.node)
        {
            forget(&mut client, node);
            client.incoming.clear();
        }
        let closing = client.closing && !client.ended;
        client.ended |= client.closing;
        let empty = client.reply.out.is_empty();
        if !empty && !client.announced {
            client.announced = true;
            self.common.commands.push_back(BrokerCommand::Write { peer });
        }
        if closing {
            self.common.commands.push_back(BrokerCommand::Close { peer });
        }
        if client.closing && empty {
            self.clients.remove(peer);
        } else {
            self.clients.put(peer, client);
        }
    }

    /// What a peer sent is carried out when there is time: at once, unless its node stands still.
    fn resume(&mut self, peer: PeerId) {
        let node = self.clients.get(peer).map(|client| client.node);
        if let Some(node) = node.and_then(|node| self.nodes.get_mut(node)) {
            node.resumed.push_back(peer);
        }
    }

    fn accept(&mut self, peer: PeerId, index: usize) {
        let now = self.common.now;
        let Some(node) = self.nodes.get_mut(index).filter(|node| !node.down) else {
            self.common.commands.push_back(BrokerCommand::Close { peer });
            return;
        };
        let mut client =
            Client { peer: Some(peer), node: index, born: now, last_seen: now, ..Client::default() };
        if node.clients.len() >= self.common.config.maxclients {
            client.reply.refuse(&Refusal::err("max number of clients reached"));
            client.closing = true;
        } else {
            node.last_client += 1;
            client.id = node.last_client;
            client.authenticated = self.common.config.password.is_none();
            node.clients.insert(client.id, peer);
        }
        self.put_back(peer, Box::new(client));
    }
}

impl Broker for Redis {
    fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    fn accepts(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| !node.down)
    }

    fn handle(&mut self, now: Instant, event: BrokerEvent) {
        self.advance(now);
        match event {
            BrokerEvent::Tick => {}
            BrokerEvent::Accepted { peer, node } => self.accept(peer, node),
            BrokerEvent::Received { peer } => self.resume(peer),
            BrokerEvent::Wrote { peer, n } => {
                if let Some(client) = self.clients.get_mut(peer) {
                    let was_full = client.reply.out.len() > UNREAD;
                    client.reply.wrote(n);
                    if client.reply.out.is_empty() {
                        client.announced = false;
                        if client.closing {
                            self.clients.remove(peer);
                        }
                    }
                    if was_full {
                        self.resume(peer);
                    }
                }
            }
            BrokerEvent::Closed { peer } => {
                if let Some(mut client) = self.clients.remove(peer)
                    && let Some(node) = self.nodes.get_mut(client.node)
                {
                    forget(&mut client, node);
                }
            }
        }
        self.settle();
    }

    fn poll_command(&mut self) -> BrokerCommand {
        self.common.commands.pop_front().unwrap_or_else(|| {
            BrokerCommand::Wait(self.next_alarm().map(|(at, _, alarm)| Wake { at, why: alarm.why() }))
        })
    }

    fn outgoing(&self, peer: PeerId) -> &[u8] {
        self.clients.get(peer).map(|client| &client.reply.out[..]).unwrap_or_default()
    }

    fn incoming(&mut self, peer: PeerId) -> &mut BytesMut {
        match self.clients.get_mut(peer) {
            Some(client) => &mut client.incoming,
            None => {
                self.nobody.clear();
                &mut self.nobody
            }
        }
    }

    fn wants_read(&self, peer: PeerId) -> bool {
        self.clients.get(peer).is_some_and(|client| {
            let frozen = self.nodes.get(client.node).is_some_and(|node| node.frozen);
            client.wants_read() && !(frozen && client.incoming.len() > UNSERVED)
        })
    }

    fn watch(&mut self, shards: &[bytes::Bytes]) {
        self.common.facts.watch(shards);
        for node in &mut self.nodes {
            for db in &mut node.dbs {
                db.number_shards(&self.common.facts);
            }
        }
    }

    fn facts(&mut self) -> &mut Vec<Fact> {
        &mut self.common.facts.list
    }

    fn check(&self) -> Result<(), String> {
        self.common.cluster.check()?;
        for (index, node) in self.nodes.iter().enumerate() {
            for (number, db) in node.dbs.iter().enumerate() {
                db.check().map_err(|what| format!("node {index}, database {number}: {what}"))?;
                for (key, waiters) in db.waited_for() {
                    let blocked = |peer: &PeerId| {
                        self.clients.get(*peer).is_some_and(|client| client.blocked.is_some())
                    };
                    if !waiters.iter().all(|waiter| blocked(&waiter.peer)) {
                        let key = key.escape_ascii();
                        return Err(format!("node {index}: somebody waits for \"{key}\" and isn't blocked"));
                    }
                }
            }
            if !node.frozen && node.is_ready() {
                return Err(format!("node {index}: a key is ready, and nobody was served"));
            }
        }
        Ok(())
    }
}
