//! The connections between members and the broker.
//!
//! | a connection's end | learns of the other end's close |
//! |---|---|
//! | in order | after the bytes before it |
//! | by a reset | at once, and what is on its way is lost |
//! | half open | not at all, or much later |

use std::time::Duration;

use bytes::BytesMut;
use tidegate_core::{Cause, ConnId, Endpoint, Event, Instant, Machine};

use super::lane::Lane;
use super::member::Life;
use super::{Happening, Lasting, World};
use crate::backend::Backend;
use crate::broker::{Broker, BrokerCommand, BrokerEvent, PeerId};

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Not established, or no more.
    None,
    Open,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) member: usize,
    pub(super) id: ConnId,
    node: usize,
    /// From the member to the broker, and back.
    pub(super) up: Lane,
    pub(super) down: Lane,
    pub(super) at_member: Side,
    pub(super) at_broker: Side,
    /// The broker's end stays open after the member's has closed.
    pub(super) half_open: bool,
}

impl<B: Backend> World<B> {
    /// How long one way takes now.
    fn way(&mut self) -> Duration {
        let net = &self.swarm.net;
        let (min, max) = (net.latency_min.as_nanos() as u64, net.latency_max.as_nanos() as u64);
        let way = self.tape.within(min, max);
        let slow = self.lasting.contains(&Lasting::Slow);
        Duration::from_nanos(if slow { way.saturating_mul(50).max(40_000_000) } else { way })
    }

    fn is_cut_off(&self, member: usize) -> bool {
        self.lasting.contains(&Lasting::Partition { member })
    }

    /// The machine connects.
    pub(super) fn open(&mut self, at: usize, id: ConnId, endpoint: &Endpoint) {
        let node = self.endpoints.iter().position(|known| known == endpoint).unwrap_or(usize::MAX);
        let conn = self.conns.len();
        let capacity = self.swarm.net.capacity;
        self.conns.push(Conn {
            member: at,
            id,
            node,
            up: Lane::new(capacity),
            down: Lane::new(capacity),
            at_member: Side::None,
            at_broker: Side::None,
            half_open: false,
        });
        let Some(member) = self.members.get_mut(at) else { return };
        let number = usize::from(id.number);
        if member.conns.len() <= number {
            member.conns.resize(number + 1, None);
        }
        let run = member.run;
        if let Some(place) = member.conns.get_mut(number) {
            *place = Some(conn);
        }
        self.oracle.connects(run);
        self.oracle.connected(PeerId(conn as u64), run);
        self.trace(at, |_| format!("connects {id}"));
        if self.lasting.contains(&Lasting::Hang) || self.is_cut_off(at) {
            return;
        }
        let refused = self.lasting.contains(&Lasting::Refuse) || !self.backend.broker().accepts(node);
        let way = self.way();
        self.queue.push(self.now + way, Happening::Connect { conn, ok: !refused });
    }

    pub(super) fn on_connect(&mut self, at: usize, ok: bool) {
        let Some(conn) = self.conns.get_mut(at) else { return };
        let (member, id, node) = (conn.member, conn.id, conn.node);
        if !self.is_current(at) {
            return;
        }
        if self.members.get(member).is_some_and(|member| member.life == Life::Frozen) {
            // Its kernel answers; it learns of it later.
            self.queue.push(self.now + Duration::from_millis(100), Happening::Connect { conn: at, ok });
            return;
        }
        let ok = ok && self.backend.broker().accepts(node);
        if !ok {
            if let Some(place) =
                self.members.get_mut(member).and_then(|m| m.conns.get_mut(usize::from(id.number)))
            {
                *place = None;
            }
            self.oracle.sometimes.saw("connect failed");
            return self.tell(member, Event::OpenFailed { conn: id, cause: Cause::Refused });
        }
        if let Some(conn) = self.conns.get_mut(at) {
            (conn.at_member, conn.at_broker) = (Side::Open, Side::Open);
        }
        self.picture.connected(self.now, member, true);
        self.tell_broker(BrokerEvent::Accepted { peer: PeerId(at as u64), node });
        self.tell(member, Event::Opened { conn: id });
    }

    /// Whether it is the connection that its member knows.
    fn is_current(&self, at: usize) -> bool {
        self.conns.get(at).is_some_and(|conn| {
            let member = self.members.get(conn.member);
            member.and_then(|member| member.conns.get(usize::from(conn.id.number))).copied().flatten()
                == Some(at)
        })
    }

    /// Writes what the member's connections take. Whether anything was written.
    pub(super) fn flush_member(&mut self, at: usize) -> bool {
        let mut progress = false;
        let count = self.members.get(at).map_or(0, |member| member.conns.len());
        for number in 0..count {
            loop {
                let Some(member) = self.members.get_mut(at) else { return progress };
                let Some(conn) = member.conns.get(number).copied().flatten() else { break };
                let Some(machine) = &mut member.machine else { return progress };
                let Some(known) = self.conns.get_mut(conn) else { break };
                let waiting = machine.outgoing(known.id).len();
                let mut n = waiting.min(known.up.room());
                if known.at_member != Side::Open || n == 0 {
                    break;
                }
                if n > 1 && self.tape.chance(self.swarm.sloppy.partial) {
                    n = self.tape.within(1, n as u64 - 1) as usize;
                }
                let split = self.split(n);
                let (now, id) = (self.clock_of(at), self.conns.get(conn).map(|conn| conn.id));
                let (Some(id), Some(machine)) = (id, self.members.get(at).and_then(|m| m.machine.as_ref()))
                else {
                    break;
                };
                let bytes = machine.outgoing(id);
                let (first, second) = bytes.get(..n).unwrap_or_default().split_at(split);
                let mut arrivals = [None, None];
                if let Some(known) = self.conns.get_mut(conn) {
                    for (piece, (arrival, way)) in
                        [first, second].into_iter().zip(arrivals.iter_mut().zip(self.ways))
                    {
                        if !piece.is_empty() {
                            *arrival = known.up.write(piece, self.now + way);
                        }
                    }
                }
                for arrival in arrivals.into_iter().flatten() {
                    self.queue.push(arrival, Happening::ToBroker { conn });
                }
                progress = true;
                self.events += 1;
                if let Some(machine) = self.members.get_mut(at).and_then(|m| m.machine.as_mut()) {
                    machine.handle(now, Event::Wrote { conn: id, n });
                }
            }
        }
        progress
    }

    /// Where a write of `n` bytes is split, and how long its pieces take (in `ways`).
    fn split(&mut self, n: usize) -> usize {
        let way = self.way();
        self.ways = [way, way];
        if n > 1 && self.tape.chance(self.swarm.net.split) {
            let at = self.tape.within(1, n as u64 - 1) as usize;
            self.ways = [way, way + self.way()];
            return at;
        }
        n
    }

    /// What has arrived at the broker.
    pub(super) fn deliver_to_broker(&mut self, at: usize) {
        let peer = PeerId(at as u64);
        loop {
            let Some(conn) = self.conns.get_mut(at) else { return };
            if conn.at_broker != Side::Open {
                return conn.up.lose();
            }
            if !conn.up.has_arrived(self.now) || !self.backend.broker().wants_read(peer) {
                break;
            }
            let Some(n) = conn.up.take(self.now, self.backend.broker().incoming(peer)) else { break };
            self.mix(n as u64);
            self.tell_broker(BrokerEvent::Received { peer });
        }
        // There may be room again.
        let member = self.conns.get(at).map(|conn| conn.member);
        if let Some(member) = member.filter(|member| self.has_backlog(*member)) {
            self.drive_running(member);
        }
    }

    fn has_backlog(&self, at: usize) -> bool {
        self.members.get(at).is_some_and(|member| {
            member.machine.as_ref().is_some_and(|machine| {
                let mut conns = member.conns.iter().flatten().filter_map(|conn| self.conns.get(*conn));
                conns.any(|conn| conn.at_member == Side::Open && !machine.outgoing(conn.id).is_empty())
            })
        })
    }

    fn drive_running(&mut self, at: usize) {
        if self.members.get(at).is_some_and(|member| member.life == Life::Running) {
            self.drive(at);
        }
    }

    /// What has arrived at the member.
    pub(super) fn deliver_to_member(&mut self, at: usize) {
        loop {
            let Some(conn) = self.conns.get_mut(at) else { return };
            let (member, id) = (conn.member, conn.id);
            if conn.at_member != Side::Open {
                return conn.down.lose();
            }
            if !conn.down.has_arrived(self.now) {
                break;
            }
            let Some(place) = self.members.get_mut(member).filter(|member| member.life == Life::Running)
            else {
                return;
            };
            let Some(machine) = &mut place.machine else { return };
            if !machine.wants_read(id) {
                // Left in the kernel; looked at again when the application has taken something.
                let soon = self.now + Duration::from_millis(5);
                self.queue.push(soon, Happening::ToMember { conn: at });
                self.oracle.sometimes.saw("backpressure");
                return;
            }
            let taken = match self.swarm.sloppy.single_bytes {
                false => conn.down.take(self.now, machine.incoming(id)),
                true => {
                    let mut piece = BytesMut::new();
                    let taken = conn.down.take(self.now, &mut piece);
                    let now = Instant::from_nanos(
                        self.now.as_nanos().saturating_sub(place.behind.as_nanos() as u64),
                    );
                    for byte in piece {
                        machine.incoming(id).extend_from_slice(&[byte]);
                        machine.handle(now, Event::Received { conn: id });
                    }
                    taken
                }
            };
            let Some(n) = taken else { break };
            self.mix(n as u64);
            if self.conns.get(at).is_some_and(|conn| conn.down.is_broken() && conn.down.is_empty()) {
                // The last byte that gets through, and then the end.
                self.queue.push(self.now, Happening::MemberEnd { conn: at });
            }
            self.tell(member, Event::Received { conn: id });
        }
        self.flush_broker(PeerId(at as u64));
    }

    pub(super) fn tell_broker(&mut self, event: BrokerEvent) {
        self.events += 1;
        self.backend.broker().handle(self.now, event);
        self.drain_broker();
    }

    pub(super) fn on_broker_wake(&mut self, set_for: Instant) {
        if self.broker_wake == Some(set_for) {
            self.broker_wake = None;
            self.tell_broker(BrokerEvent::Tick);
        }
    }

    /// After everything that was done to the broker.
    pub(super) fn drain_broker(&mut self) {
        loop {
            match self.backend.broker().poll_command() {
                BrokerCommand::Write { peer } => self.flush_broker(peer),
                BrokerCommand::Close { peer } => self.end_by_broker(peer),
                BrokerCommand::Wait(wake) => {
                    let at = wake.map(|wake| wake.at.max(self.now));
                    if let Some(at) = at.filter(|at| self.broker_wake != Some(*at)) {
                        self.queue.push(at, Happening::BrokerWake { set_for: at });
                    }
                    self.broker_wake = at;
                    break;
                }
            }
        }
        let mut facts = std::mem::take(self.backend.broker().facts());
        for fact in &facts {
            if self.log.is_some() && !matches!(fact, crate::Fact::Commanded { .. } | crate::Fact::Met { .. })
            {
                self.note(|| format!("broker: {fact:?}"));
            }
            self.oracle.fact(fact);
        }
        facts.clear();
        *self.backend.broker().facts() = facts;
        if let Err(what) = self.backend.broker().check() {
            self.oracle.accuse("model", || what);
        }
    }

    fn flush_broker(&mut self, peer: PeerId) {
        let at = peer.0 as usize;
        loop {
            let n = self.backend.broker().outgoing(peer).len();
            let Some(conn) = self.conns.get(at) else { return };
            let n = n.min(conn.down.room());
            if n == 0 {
                return;
            }
            let split = self.split(n);
            let bytes = self.backend.broker().outgoing(peer);
            let (first, second) = bytes.get(..n).unwrap_or_default().split_at(split);
            let Some(conn) = self.conns.get_mut(at) else { return };
            for (piece, way) in [first, second].into_iter().zip(self.ways) {
                if !piece.is_empty()
                    && let Some(arrival) = conn.down.write(piece, self.now + way)
                {
                    self.queue.push(arrival, Happening::ToMember { conn: at });
                }
            }
            if conn.down.is_broken() && conn.down.is_empty() {
                self.queue.push(self.now, Happening::MemberEnd { conn: at });
            }
            self.backend.broker().handle(self.now, BrokerEvent::Wrote { peer, n });
        }
    }

    /// The machine closes.
    pub(super) fn close_by_member(&mut self, at: usize, id: ConnId) {
        let Some(member) = self.members.get_mut(at) else { return };
        let Some(place) = member.conns.get_mut(usize::from(id.number)) else { return };
        let Some(conn) = *place else { return };
        if self.conns.get(conn).is_some_and(|known| known.id == id) {
            *place = None;
            self.trace(at, |_| format!("closes {id}"));
            self.end_by_member(conn);
        }
    }

    /// The member's end of a connection is closed, by the machine or with its process.
    pub(super) fn end_by_member(&mut self, at: usize) {
        let Some(conn) = self.conns.get_mut(at) else { return };
        conn.at_member = Side::None;
        conn.down.lose();
        if conn.at_broker == Side::Open && !conn.half_open {
            let arrived = conn.up.all_arrived_at().max(self.now);
            self.queue.push(arrived, Happening::BrokerEnd { conn: at });
        }
        let (run, member) = (self.members.get(conn.member).map(|member| member.run), conn.member);
        if let Some(run) = run {
            self.oracle.disconnected(run, PeerId(at as u64));
        }
        self.picture.connected(self.now, member, false);
    }

    fn end_by_broker(&mut self, peer: PeerId) {
        let at = peer.0 as usize;
        let rest = self.backend.broker().outgoing(peer).to_vec();
        let way = self.way();
        let Some(conn) = self.conns.get_mut(at) else { return };
        if !rest.is_empty() {
            conn.down.write(&rest, self.now + way);
        }
        conn.at_broker = Side::None;
        conn.up.lose();
        if conn.at_member == Side::Open {
            let arrived = conn.down.all_arrived_at().max(self.now + way);
            self.queue.push(arrived, Happening::ToMember { conn: at });
            self.queue.push(arrived, Happening::MemberEnd { conn: at });
        }
    }

    pub(super) fn on_broker_end(&mut self, at: usize) {
        self.deliver_to_broker(at);
        let Some(conn) = self.conns.get_mut(at) else { return };
        if conn.at_broker == Side::Open {
            conn.at_broker = Side::None;
            conn.up.lose();
            self.tell_broker(BrokerEvent::Closed { peer: PeerId(at as u64) });
        }
    }

    pub(super) fn on_member_end(&mut self, at: usize) {
        let Some(conn) = self.conns.get(at) else { return };
        let member = conn.member;
        if conn.at_member != Side::Open {
            return;
        }
        let holds_back = self.members.get(member).is_none_or(|member| member.life != Life::Running);
        if holds_back || !conn.down.is_empty() {
            self.queue.push(self.now + Duration::from_millis(20), Happening::MemberEnd { conn: at });
            return;
        }
        let broken = conn.down.is_broken();
        if let Some(conn) = self.conns.get_mut(at) {
            conn.at_member = Side::None;
        }
        if broken {
            self.queue.push(self.now, Happening::BrokerEnd { conn: at });
        }
        self.picture.connected(self.now, member, false);
        self.tell_closed(at, if broken { Cause::Reset } else { Cause::Eof });
    }

    /// Both ends learn at once, and what is on its way is lost.
    pub(super) fn reset(&mut self, at: usize) {
        let Some(conn) = self.conns.get_mut(at) else { return };
        conn.up.lose();
        conn.down.lose();
        let (member, was) = (conn.member, conn.at_member);
        conn.at_member = Side::None;
        if std::mem::replace(&mut conn.at_broker, Side::None) == Side::Open {
            self.tell_broker(BrokerEvent::Closed { peer: PeerId(at as u64) });
        }
        if was == Side::Open {
            self.picture.connected(self.now, member, false);
            self.tell_closed(at, Cause::Reset);
        }
    }
}
