//! The contract of a broker: events in, commands out.

use bytes::{Buf, Bytes, BytesMut};
use tidegate_core::timer::Wake;
use tidegate_core::{Endpoint, Instant};

use super::Kafka;
use super::peer::{Parked, Peer};
use crate::broker::{Broker, BrokerCommand, BrokerEvent, Fact, PeerId};

/// Bytes that a peer has not read yet, above which no request of it is looked at.
const UNREAD: usize = 8 << 20;

impl Kafka {
    /// Answers what can be answered.
    fn settle(&mut self) {
        loop {
            self.pass_group_time();
            let Some(id) = self.restless.pop_first() else { break };
            self.hold_up(id);
            self.look_after(id);
            while let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.outgoing.len() <= UNREAD) {
                let node = peer.node;
                peer.mute(self.now);
                let Some(frame) = peer.next_frame(self.now) else { break };
                if !self.serve(id, node, frame)
                    && let Some(peer) = self.peers.get_mut(&id)
                {
                    peer.broken = true;
                }
                self.look_after(id);
            }
            self.say(id);
        }
    }

    /// Tells a peer for how long its answers are held up.
    fn hold_up(&mut self, id: PeerId) {
        if let Some(node) = self.peers.get(&id).map(|peer| peer.node) {
            let long = self.held_up(node);
            self.peers.entry(id).and_modify(|peer| peer.held_up = long);
        }
    }

    /// The commands for what became of a peer.
    fn say(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if !peer.outgoing.is_empty() && !peer.write_said {
            peer.write_said = true;
            self.commands.push_back(BrokerCommand::Write { peer: id });
        }
        if peer.broken {
            self.commands.push_back(BrokerCommand::Close { peer: id });
        }
    }

    fn next_wake(&self) -> Option<Wake> {
        let fetches = self.peers.values().filter_map(|peer| peer.parked.as_ref()?.until());
        let fetches = fetches.map(|at| (at, "fetch ends"));
        let muted = self.peers.values().map(|peer| (peer.muted, "muted")).filter(|(at, _)| *at > self.now);
        let group = self.coordinator.next_timer().map(|at| (at, "group's time"));
        let (at, why) = fetches.chain(muted).chain(group).min()?;
        Some(Wake { at, why })
    }
}

impl Broker for Kafka {
    fn endpoints(&self) -> &[Endpoint] {
        self.nodes.endpoints()
    }

    fn accepts(&self, node: usize) -> bool {
        i32::try_from(node).is_ok_and(|node| self.nodes.is_alive(node + 1))
    }

    fn handle(&mut self, now: Instant, event: BrokerEvent) {
        self.now = self.now.max(now);
        let due = self.peers.iter().filter(|(_, peer)| {
            let heard = peer.muted > Instant::ZERO && peer.muted <= self.now;
            heard || peer.parked.as_ref().and_then(Parked::until).is_some_and(|at| at <= self.now)
        });
        let due: Vec<PeerId> = due.map(|(id, _)| *id).collect();
        self.restless.extend(due);
        match event {
            BrokerEvent::Tick => {}
            BrokerEvent::Accepted { peer, node } => {
                let id = i32::try_from(node).unwrap_or(i32::MAX - 1) + 1;
                if self.nodes.is_alive(id) {
                    self.peers.insert(peer, Peer::new(id));
                } else {
                    self.commands.push_back(BrokerCommand::Close { peer });
                }
            }
            BrokerEvent::Received { peer } => drop(self.restless.insert(peer)),
            BrokerEvent::Wrote { peer: id, n } => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.outgoing.advance(n.min(peer.outgoing.len()));
                    peer.write_said = !peer.outgoing.is_empty();
                    self.restless.insert(id);
                }
            }
            BrokerEvent::Closed { peer } => drop(self.peers.remove(&peer)),
        }
        self.settle();
    }

    fn poll_command(&mut self) -> BrokerCommand {
        self.settle();
        self.commands.pop_front().unwrap_or_else(|| BrokerCommand::Wait(self.next_wake()))
    }

    fn outgoing(&self, peer: PeerId) -> &[u8] {
        self.peers.get(&peer).map_or(&[], |peer| &peer.outgoing)
    }

    fn incoming(&mut self, peer: PeerId) -> &mut BytesMut {
        match self.peers.get_mut(&peer) {
            Some(peer) => &mut peer.incoming,
            None => {
                self.nowhere.clear();
                &mut self.nowhere
            }
        }
    }

    fn wants_read(&self, peer: PeerId) -> bool {
        let open = |peer: &Peer| !peer.broken && peer.muted <= self.now && peer.outgoing.len() <= UNREAD;
        self.peers.get(&peer).is_some_and(open)
    }

    fn watch(&mut self, shards: &[Bytes]) {
        self.watched.clear();
        for (shard, name) in (0..).zip(shards) {
            let name = String::from_utf8_lossy(name);
            let (topic, index) = name.rsplit_once(':').unwrap_or((&name, "0"));
            let partitions = self.watched.entry(topic.to_owned()).or_default();
            partitions.insert(index.parse().unwrap_or(0), shard);
        }
    }

    fn facts(&mut self) -> &mut Vec<Fact> {
        &mut self.facts
    }

    fn check(&self) -> Result<(), String> {
        self.topics.check()?;
        self.coordinator.check()
    }
}
