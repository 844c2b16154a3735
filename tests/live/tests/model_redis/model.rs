//! The model Redis behind a few connections, on a clock that follows the real one.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_core::Instant;
use tidegate_sim::redis::{Config, Redis};
use tidegate_sim::{Broker, BrokerCommand, BrokerEvent, PeerId};

use super::command::Command;
use super::frame::split;
use super::side::{Batch, Seen, Side};

/// The model and the connections of a session.
pub struct Model {
    redis: Redis,
    /// Since 1970, in whole milliseconds. What the server takes for the time is the wall clock, so
    /// the model's clock is no other: it has no offset to it, and drifts with it.
    origin: Duration,
    wires: Vec<Wire>,
    ids: Vec<u64>,
    peers: u64,
    /// What peers were sent, until it is looked at.
    arrived: BTreeMap<PeerId, Vec<u8>>,
    closed: Vec<PeerId>,
}

struct Wire {
    peer: PeerId,
    buffer: Vec<u8>,
    owed: usize,
}

impl Model {
    /// A model with nothing in it.
    pub fn new() -> Self {
        let origin = Duration::from_millis(since_1970().as_millis() as u64);
        Self {
            redis: Redis::new(Config { unix_ms_at_origin: origin.as_millis() as u64, ..Config::default() }),
            origin,
            wires: Vec::new(),
            ids: Vec::new(),
            peers: 0,
            arrived: BTreeMap::new(),
            closed: Vec::new(),
        }
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(since_1970().saturating_sub(self.origin).as_nanos() as u64)
    }

    /// An event, and all that the model then wants done.
    fn event(&mut self, event: BrokerEvent) {
        let now = self.now();
        self.redis.handle(now, event);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.redis.poll_command() {
                BrokerCommand::Write { peer } => self.take(peer),
                BrokerCommand::Close { peer } => {
                    self.take(peer);
                    self.closed.push(peer);
                }
                BrokerCommand::Wait(_) => break,
            }
        }
        self.redis.facts().clear();
    }

    fn take(&mut self, peer: PeerId) {
        loop {
            let bytes = self.redis.outgoing(peer).to_vec();
            if bytes.is_empty() {
                return;
            }
            let n = bytes.len();
            self.arrived.entry(peer).or_default().extend(bytes);
            let now = self.now();
            self.redis.handle(now, BrokerEvent::Wrote { peer, n });
        }
    }

    /// Lets time pass until a connection has all its answers, if they come at all.
    fn wait_for(&mut self, slot: usize) {
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_secs(2) {
            let arrived = self.arrived.get(&self.wires[slot].peer).cloned().unwrap_or_default();
            if split(&mut [self.wires[slot].buffer.clone(), arrived].concat()).len() >= self.wires[slot].owed
            {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
            self.event(BrokerEvent::Tick);
        }
    }

    fn connect(&mut self) -> (Wire, u64) {
        self.peers += 1;
        let peer = PeerId(self.peers);
        self.event(BrokerEvent::Accepted { peer, node: 0 });
        let mut bytes = Vec::new();
        Command::of(["CLIENT", "ID"]).encode(&[], &mut bytes);
        self.redis.incoming(peer).extend_from_slice(&bytes);
        self.event(BrokerEvent::Received { peer });
        let answer = self.arrived.remove(&peer).unwrap_or_default();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let id = answer.trim().trim_start_matches(':').parse();
        (Wire { peer, buffer: Vec::new(), owed: 0 }, id.unwrap_or_else(|_| panic!("CLIENT ID said {answer}")))
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970")
}

impl Side for Model {
    fn name(&self) -> String {
        "the model".to_owned()
    }

    fn reset(&mut self, slots: usize) {
        *self = Self::new();
        for _ in 0..slots {
            let (wire, id) = self.connect();
            self.wires.push(wire);
            self.ids.push(id);
        }
    }

    fn ids(&self) -> &[u64] {
        &self.ids
    }

    fn run(&mut self, batch: Batch<'_>) -> Vec<Seen> {
        let peer = self.wires[batch.slot].peer;
        self.wires[batch.slot].owed += batch.commands;
        self.event(BrokerEvent::Tick);
        // In two pieces: it has to keep what isn't complete. Nothing is written in between, as the
        // real server writes nothing before it has done all that it was sent at once.
        let (one, other) = batch.bytes.split_at(batch.bytes.len() / 3);
        for piece in [one, other] {
            self.redis.incoming(peer).extend_from_slice(piece);
            let now = self.now();
            self.redis.handle(now, BrokerEvent::Received { peer });
        }
        self.drain();
        if batch.short_wait {
            self.wait_for(batch.slot);
        }
        self.event(BrokerEvent::Tick);
        self.redis.check().unwrap_or_else(|error| panic!("the model's own invariants: {error}"));
        let mut seen = Vec::new();
        for wire in &mut self.wires {
            wire.buffer.extend(self.arrived.remove(&wire.peer).unwrap_or_default());
            let replies = split(&mut wire.buffer);
            wire.owed -= replies.len().min(wire.owed);
            let closed = self.closed.contains(&wire.peer);
            let rest = if closed { wire.buffer.clone() } else { Vec::new() };
            seen.push(Seen { replies, rest, closed, waits: wire.owed > 0 && !closed });
        }
        seen
    }

    fn reconnect(&mut self, slot: usize) {
        let peer = self.wires[slot].peer;
        if !self.closed.contains(&peer) {
            self.event(BrokerEvent::Closed { peer });
        }
        let (wire, id) = self.connect();
        self.wires[slot] = wire;
        self.ids[slot] = id;
    }
}
