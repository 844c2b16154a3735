//! Drives a machine as its contract allows, and checks each command and delivery.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{
    AckRange, Assignment, Cause, Command, ConnId, Delivery, Event, Instant, Limits, Machine, Request,
    RequestError, Ticket,
};
use tidegate_sim::Tape;

use super::peer::{Peer, Store};

/// Commands of one round: far more than the limits allow, far less than for ever.
const COMMANDS_MAX: usize = 10_000;
/// How often in a row a wake-up may be due at once.
const WAKES_MAX: usize = 10;
/// Commands without an answer on one connection.
const WAITING_MAX: usize = 512;
/// What may wait to be written past its limit: commands of the life of keys and groups, of which
/// there are few.
const OUTGOING_MORE: usize = 32 << 10;

/// A connection that the machine believes in.
pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) opened: bool,
    /// It was told to write, and has not come to the end.
    writing: bool,
    pub(super) peer: Peer,
}

/// A machine and what is around it.
pub(super) struct Driver<M> {
    machine: M,
    pub(super) now: Instant,
    pub(super) wake: Option<Instant>,
    pub(super) conns: BTreeMap<u16, Conn>,
    pub(super) store: Store,
    limits: Limits,
    tickets: BTreeSet<Ticket>,
    /// Taken and not acked.
    pub(super) held: Vec<AckRange>,
    /// How often: `orders` and `orders:0` are two keys, and both of them shard 0.
    assigned: BTreeMap<(String, u64), u32>,
    ended: bool,
}

impl<M: Machine> Driver<M> {
    pub(super) fn new(machine: M, limits: Limits) -> Self {
        Self {
            machine,
            now: Instant::from_nanos(1),
            wake: None,
            conns: BTreeMap::new(),
            store: Store::default(),
            limits,
            tickets: BTreeSet::new(),
            held: Vec::new(),
            assigned: BTreeMap::new(),
            ended: false,
        }
    }

    /// One of the connections, if there is any.
    pub(super) fn pick(&self, tape: &mut Tape) -> Option<u16> {
        let numbers: Vec<u16> = self.conns.keys().copied().collect();
        tape.pick(&numbers).copied()
    }

    pub(super) fn id(&self, number: u16) -> ConnId {
        self.conns[&number].id
    }

    pub(super) fn handle(&mut self, event: Event) {
        self.machine.handle(self.now, event);
    }

    /// An event that comes with the time of a moment ago.
    pub(super) fn handle_late(&mut self, event: Event, ago: u64) {
        let then = Instant::from_nanos(self.now.as_nanos().saturating_sub(ago));
        self.machine.handle(then, event);
    }

    pub(super) fn opened(&mut self, number: u16) {
        let Some(conn) = self.conns.get_mut(&number) else { return };
        conn.opened = true;
        let conn = conn.id;
        self.handle(Event::Opened { conn });
    }

    /// The connection ends, from the other side.
    pub(super) fn lost(&mut self, number: u16, cause: Cause) {
        let Some(Conn { id: conn, opened, .. }) = self.conns.remove(&number) else { return };
        self.handle(if opened { Event::Closed { conn, cause } } else { Event::OpenFailed { conn, cause } });
        assert_eq!(self.machine.outgoing(conn), b"");
        assert!(!self.machine.wants_read(conn));
    }

    /// Up to `n` bytes reach the other side.
    pub(super) fn write(&mut self, number: u16, n: usize) {
        let Some(conn) = self.conns.get_mut(&number).filter(|conn| conn.opened) else { return };
        let outgoing = self.machine.outgoing(conn.id);
        let n = n.min(outgoing.len());
        conn.peer.feed(&outgoing[..n]);
        assert!(conn.peer.waiting() <= WAITING_MAX, "{} commands without an answer", conn.peer.waiting());
        conn.writing &= n < outgoing.len();
        let conn = conn.id;
        self.handle(Event::Wrote { conn, n });
    }

    /// More is reported as written than was there to write.
    pub(super) fn write_too_much(&mut self, number: u16, n: usize) {
        let Some(conn) = self.conns.get_mut(&number) else { return };
        conn.peer.deafen();
        conn.writing &= n < self.machine.outgoing(conn.id).len();
        let conn = conn.id;
        self.handle(Event::Wrote { conn, n });
    }

    /// Bytes come from the other side, in pieces; `tell`: and are reported.
    pub(super) fn read(&mut self, number: u16, bytes: &[u8], piece: usize, tell: bool) {
        let Some(conn) = self.conns.get(&number).map(|conn| conn.id) else { return };
        for piece in bytes.chunks(piece.max(1)) {
            self.machine.incoming(conn).extend_from_slice(piece);
            if tell {
                self.handle(Event::Received { conn });
            }
        }
    }

    /// Bytes come that are no answer to anything.
    pub(super) fn read_noise(&mut self, number: u16, bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(&number) else { return };
        conn.peer.garble();
        self.read(number, bytes, usize::MAX, true);
    }

    /// False is backpressure.
    pub(super) fn wants_read(&self, number: u16) -> bool {
        self.conns.get(&number).is_some_and(|conn| self.machine.wants_read(conn.id))
    }

    /// The next answer of the other side.
    pub(super) fn answer(&mut self, number: u16, tape: &mut Tape) -> Vec<u8> {
        let Some(conn) = self.conns.get_mut(&number) else { return Vec::new() };
        conn.peer.answer(tape, &mut self.store)
    }

    pub(super) fn request(&mut self, request: Request) {
        let before = self.tickets.len();
        let refused_all = self.ended;
        match self.machine.request(self.now, request) {
            Ok(Some(ticket)) => assert!(self.tickets.insert(ticket), "{ticket:?} twice"),
            Ok(None) => {}
            Err(RequestError::TooManyRequests { max }) => assert!(before >= max, "{before} of {max}"),
            Err(RequestError::Closed) => return,
            Err(_) => {}
        }
        assert!(!refused_all, "a request to a machine that ended was taken");
        // A close is always taken.
        assert!(self.tickets.len() <= self.limits.requests_max.saturating_add(1));
    }

    /// Some commands, not necessarily all.
    pub(super) fn poll_some(&mut self, commands: usize) {
        for _ in 0..commands {
            let command = self.machine.poll_command();
            if self.carry_out(command) {
                break;
            }
        }
    }

    /// All commands until `Wait`, and until the wake-up lies ahead.
    pub(super) fn settle(&mut self) {
        for wakes in 0.. {
            let mut commands = 0;
            loop {
                let command = self.machine.poll_command();
                if self.carry_out(command) {
                    break;
                }
                commands += 1;
                assert!(commands < COMMANDS_MAX, "no Wait after {commands} commands");
            }
            self.check_rest();
            if self.wake.is_none_or(|at| at > self.now) {
                return;
            }
            assert!(wakes < WAKES_MAX, "it spins");
            self.handle(Event::Tick);
        }
    }

    /// True for `Wait`.
    fn carry_out(&mut self, command: Command) -> bool {
        match command {
            Command::Open { conn, .. } => {
                let new = Conn { id: conn, opened: false, writing: false, peer: Peer::new() };
                let old = self.conns.insert(conn.number, new);
                assert!(old.is_none(), "{conn} is opened while it is open");
            }
            Command::Write { conn } => {
                let known = self.conns.get_mut(&conn.number).filter(|known| known.id == conn);
                // One that ended in between is no longer known here.
                if let Some(known) = known {
                    assert!(known.opened, "{conn} is written to before it is open");
                    known.writing = true;
                }
            }
            Command::Close { conn } => {
                if self.conns.get(&conn.number).is_some_and(|known| known.id == conn) {
                    self.conns.remove(&conn.number);
                    assert_eq!(self.machine.outgoing(conn), b"", "{conn} is written to after its end");
                }
            }
            Command::Done { ticket, .. } => {
                assert!(self.tickets.remove(&ticket), "{ticket:?} is done, and nobody asked, or twice");
            }
            Command::Notice(notice) => assert!(!notice.to_string().contains(super::setup::PASSWORD)),
            Command::Wait(wake) => {
                self.wake = wake.map(|wake| wake.at);
                if wake.is_none() {
                    // Only an event can change anything, and there is none that must come.
                    while self.take() {}
                    assert!(self.ended, "it is silent for ever");
                }
                return true;
            }
        }
        false
    }

    /// What has to hold whenever nothing is left to do.
    fn check_rest(&mut self) {
        for conn in self.conns.values() {
            let outgoing = self.machine.outgoing(conn.id).len();
            assert!(outgoing == 0 || conn.writing, "nobody was told to write to {}", conn.id);
            let max = self.limits.outgoing_bytes_max.saturating_add(OUTGOING_MORE);
            assert!(outgoing <= max, "{outgoing} bytes wait to be written");
        }
        assert!(self.machine.ack_appetite() >= 1);
        let stats = self.machine.stats();
        assert!(stats.shards as usize <= self.limits.shards_max);
        if self.ended {
            assert!(self.conns.is_empty(), "connections are left open");
            assert!(self.tickets.is_empty(), "{:?} are never done", self.tickets);
        }
    }

    /// It said that there will be nothing more.
    pub(super) fn is_over(&self) -> bool {
        self.ended
    }

    /// Messages in the data lane.
    pub(super) fn queued(&self) -> usize {
        self.machine.stats().queued as usize
    }

    /// One delivery; false where there is none, or none but the last.
    pub(super) fn take(&mut self) -> bool {
        let delivery = self.machine.poll_delivery();
        let last = matches!(delivery, Some(Delivery::End | Delivery::Failed(_)));
        assert!(!self.ended || last, "{delivery:?} after the end");
        let key = |Assignment { stream, shard, epoch }: &Assignment| (format!("{stream}/{shard}"), epoch.0);
        match delivery {
            None => return false,
            Some(Delivery::End) => self.ended = true,
            Some(Delivery::Failed(error)) => {
                assert!(!format!("{error} {error:?}").contains(super::setup::PASSWORD));
                self.ended = true;
            }
            Some(Delivery::Assigned(shard)) => {
                let times = self.assigned.entry(key(&shard)).or_default();
                *times += 1;
                let keys = if shard.shard.number() == 0 { 2 } else { 1 };
                assert!(*times <= keys, "{shard} is assigned {times} times");
            }
            Some(Delivery::Revoked(shard)) => {
                let times = self.assigned.entry(key(&shard)).or_default();
                assert!(*times > 0, "{shard} is revoked, and was not assigned");
                *times -= 1;
            }
            Some(Delivery::Batch(batch)) => {
                assert!(!batch.is_empty());
                let source = batch.source();
                let shard = (format!("{}/{}", source.stream, source.shard), source.epoch.0);
                assert!(
                    self.assigned.get(&shard).is_some_and(|times| *times > 0),
                    "messages of {shard:?}, which is not assigned"
                );
                for message in batch.iter() {
                    assert!(message.deliveries() >= 1);
                    let _ = (message.fields().count(), message.payload());
                }
                self.held.extend(batch.ack_range());
            }
        }
        !last
    }

    /// It is closed, if it isn't yet; whatever the other side does, that takes no longer than it may.
    pub(super) fn close(mut self, deadline: std::time::Duration) -> M {
        self.request(Request::Close { deadline });
        self.settle();
        self.now = self.now + deadline;
        self.handle(Event::Tick);
        self.settle();
        while self.take() {}
        assert!(self.ended, "a close that takes longer than it may");
        self.settle();
        // Nothing brings it back.
        self.request(Request::Commit);
        self.handle(Event::Received { conn: ConnId { number: 0, generation: 1 } });
        self.handle(Event::Tick);
        self.settle();
        assert!(!self.take() && self.wake.is_none());
        self.machine
    }
}
