//! The poll loop: who is ready gets a turn, and the broker gets what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use tidegate_core::Instant;

use super::connection::{Connection, Moved, Stage};
use super::listener::Listener;
use super::{Options, Shared};
use crate::broker::{Broker, BrokerCommand, BrokerEvent, PeerId};

/// Says that the owner did something.
pub(super) const WAKER: Token = Token(usize::MAX);

/// How much is read in one turn.
const READ: usize = 64 << 10;
/// How many are accepted at one node in one round.
const ACCEPT: usize = 64;
/// For how long a closed connection's last bytes are written.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// For how long a peer may go on sending after that.
const SHUT_WITHIN: Duration = Duration::from_secs(1);
/// When to try again what the operating system refused: a file too many, an address in use.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Nodes have the tokens from the upper end downwards, peers theirs from 0 upwards.
pub(super) fn node_token(node: usize) -> Token {
    Token(usize::MAX - 1 - node)
}

/// The state of the thread.
pub(super) struct Rounds<B> {
    shared: Arc<Shared<B>>,
    poll: Poll,
    options: Options,
    listeners: Vec<Listener>,
    connections: BTreeMap<PeerId, Connection>,
    next_peer: u64,
    /// Who perhaps can move.
    ready: BTreeSet<PeerId>,
    /// Whose bytes the broker didn't want when they were there.
    unwanted: BTreeSet<PeerId>,
    /// Who is on the way out.
    closing: BTreeSet<PeerId>,
    /// Sum of [`Connection::held`].
    held: usize,
    /// When the broker wants to be woken.
    wake: Option<Instant>,
    /// When to try again what was refused.
    retry: Option<Instant>,
    room: Vec<u8>,
}

impl<B: Broker> Rounds<B> {
    pub(super) fn new(
        poll: Poll,
        listeners: Vec<Listener>,
        options: Options,
        shared: Arc<Shared<B>>,
    ) -> Self {
        Self {
            shared,
            poll,
            options,
            listeners,
            connections: BTreeMap::new(),
            next_peer: 0,
            ready: BTreeSet::new(),
            unwanted: BTreeSet::new(),
            closing: BTreeSet::new(),
            held: 0,
            // At once: the first round asks the broker what it wants.
            wake: Some(Instant::ZERO),
            retry: None,
            room: vec![0; READ],
        }
    }

    /// Until the owner says stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let shared = self.shared.clone();
        while !shared.stop.load(Ordering::Acquire) {
            match self.poll.poll(&mut events, self.patience()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Only for a poll that isn't one: there is nothing to go on with.
                Err(_) => return,
            }
            for event in &events {
                self.note(event);
            }
            self.round(&mut shared.lock());
        }
    }

    /// How long there is nothing to do; `None`: until an event.
    fn patience(&self) -> Option<Duration> {
        let accepts = self.retry.is_none() && self.listeners.iter().any(|listener| listener.ready);
        if accepts || !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let closing = self.closing.iter().filter_map(|peer| self.connections.get(peer)?.until());
        let next = closing.chain(self.wake).chain(self.retry).min()?;
        Some(next.since(self.shared.now()))
    }

    fn note(&mut self, event: &Event) {
        let Token(token) = event.token();
        if event.token() == WAKER {
            return; // Every round looks at the broker.
        }
        if let Some(listener) = (usize::MAX - 1).checked_sub(token).and_then(|n| self.listeners.get_mut(n)) {
            listener.ready = true;
            return;
        }
        let peer = PeerId(token as u64);
        if let Some(connection) = self.connections.get_mut(&peer) {
            let over = event.is_error();
            connection.readable |= event.is_readable() || event.is_read_closed() || over;
            connection.writable |= event.is_writable() || event.is_write_closed() || over;
            connection.ended |= event.is_read_closed() || over;
            self.ready.insert(peer);
        }
    }

    fn round(&mut self, broker: &mut B) {
        let now = self.shared.now();
        if self.wake.is_some_and(|at| at <= now) {
            self.tell(broker, BrokerEvent::Tick);
        } else {
            self.obey(broker); // A hand may have been at it.
        }
        if self.retry.is_some_and(|at| at <= now) {
            self.retry = None;
        }
        for node in 0..self.listeners.len() {
            self.listen(broker, node);
        }
        for peer in mem::take(&mut self.ready) {
            self.turn(broker, peer);
            self.weigh(broker, peer);
        }
        for peer in self.closing.clone() {
            let until = self.connections.get(&peer).and_then(Connection::until);
            if until.is_none_or(|until| until <= now) {
                self.lose(broker, peer);
            }
        }
        self.unwanted.retain(|peer| {
            let wanted = broker.wants_read(*peer) || !self.connections.contains_key(peer);
            if wanted {
                self.ready.insert(*peer);
            }
            !wanted
        });
    }

    fn tell(&mut self, broker: &mut B, event: BrokerEvent) {
        broker.handle(self.shared.now(), event);
        self.obey(broker);
    }

    /// Carries out what the broker says.
    fn obey(&mut self, broker: &mut B) {
        loop {
            match broker.poll_command() {
                BrokerCommand::Write { peer } => {
                    self.ready.insert(peer);
                }
                BrokerCommand::Close { peer } => {
                    let until = self.shared.now() + CLOSE_WITHIN;
                    if let Some(connection) = self.connections.get_mut(&peer) {
                        if connection.stage == Stage::Open {
                            connection.stage = Stage::Closing(until);
                            self.closing.insert(peer);
                        }
                        self.ready.insert(peer);
                    }
                }
                BrokerCommand::Wait(wake) => {
                    self.wake = wake.map(|wake| wake.at);
                    return;
                }
            }
        }
    }

    /// Lets in who waits at a node.
    fn listen(&mut self, broker: &mut B, node: usize) {
        let Some(listener) = self.listeners.get_mut(node).filter(|_| self.retry.is_none()) else { return };
        let mut refused =
            listener.open(broker.accepts(node), self.poll.registry(), node_token(node)).is_err();
        for _ in 0..ACCEPT {
            let Some(listener) = self.listeners.get_mut(node) else { return };
            let mut socket = match listener.accept() {
                Ok(Some(socket)) => socket,
                Ok(None) => break,
                Err(_) => {
                    refused = true;
                    break;
                }
            };
            if self.connections.len() >= self.options.connections {
                continue; // One too many: closed as it is dropped.
            }
            let peer = PeerId(self.next_peer);
            self.next_peer += 1;
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut socket, Token(peer.0 as usize), interest).is_err() {
                refused = true;
                break;
            }
            self.connections.insert(peer, Connection::new(socket));
            self.ready.insert(peer);
            self.tell(broker, BrokerEvent::Accepted { peer, node });
        }
        if refused {
            self.retry = Some(self.shared.now() + RETRY_AFTER);
        }
    }

    /// One write and one read, as far as they are possible.
    fn turn(&mut self, broker: &mut B, peer: PeerId) {
        let Some(connection) = self.connections.get_mut(&peer) else { return };
        if let Stage::Shut(_) = connection.stage {
            match connection.read(&mut self.room) {
                Moved::Bytes(_) => _ = self.ready.insert(peer),
                Moved::Later => {}
                Moved::Over => self.forget(peer),
            }
            return;
        }
        let outgoing = broker.outgoing(peer);
        if connection.writable && !outgoing.is_empty() {
            match connection.write(outgoing) {
                Moved::Bytes(n) => self.tell(broker, BrokerEvent::Wrote { peer, n }),
                Moved::Later => {}
                Moved::Over => return self.lose(broker, peer),
            }
        }
        self.read(broker, peer);
        let Some(connection) = self.connections.get_mut(&peer) else { return };
        let waiting = broker.outgoing(peer).len();
        let more = match connection.stage {
            Stage::Open => {
                let read =
                    connection.readable && self.options.reads_from(waiting) && !self.unwanted.contains(&peer);
                read || connection.writable && waiting > 0
            }
            Stage::Closing(_) if waiting > 0 => connection.writable,
            Stage::Closing(_) => {
                connection.shut(self.shared.now() + SHUT_WITHIN);
                true
            }
            Stage::Shut(_) => false,
        };
        if more {
            self.ready.insert(peer);
        }
    }

    fn read(&mut self, broker: &mut B, peer: PeerId) {
        let wants = self.options.reads_from(broker.outgoing(peer).len());
        let Some(connection) = self.connections.get_mut(&peer) else { return };
        if connection.stage != Stage::Open || !connection.readable || !wants {
            return;
        }
        if !broker.wants_read(peer) {
            // A peer that ended, and whose last bytes nobody wants, would be held for ever.
            if connection.ended {
                return self.lose(broker, peer);
            }
            self.unwanted.insert(peer);
            return;
        }
        match connection.read(&mut self.room) {
            Moved::Bytes(n) => {
                broker.incoming(peer).extend_from_slice(self.room.get(..n).unwrap_or_default());
                self.tell(broker, BrokerEvent::Received { peer });
            }
            Moved::Later => {}
            Moved::Over => self.lose(broker, peer),
        }
    }

    /// Counts what is held for a peer, and closes who is past a limit.
    fn weigh(&mut self, broker: &mut B, peer: PeerId) {
        let Some(connection) = self.connections.get_mut(&peer) else { return };
        let (incoming, outgoing) = (broker.incoming(peer).len(), broker.outgoing(peer).len());
        self.held = self.held - connection.held + incoming + outgoing;
        connection.held = incoming + outgoing;
        if incoming > self.options.incoming || outgoing > self.options.outgoing {
            self.lose(broker, peer);
        }
        while self.held > self.options.total {
            let most = self.connections.iter().max_by_key(|(_, connection)| connection.held);
            let Some(peer) = most.map(|(peer, _)| *peer) else { return };
            self.lose(broker, peer);
        }
    }

    /// The connection is no more, and the broker gets to know it.
    fn lose(&mut self, broker: &mut B, peer: PeerId) {
        let shut =
            self.connections.get(&peer).is_some_and(|connection| matches!(connection.stage, Stage::Shut(_)));
        self.forget(peer);
        // One whose last bytes were written after a Close is none of the broker's any more.
        if !shut {
            self.tell(broker, BrokerEvent::Closed { peer });
        }
    }

    fn forget(&mut self, peer: PeerId) {
        if let Some(connection) = self.connections.remove(&peer) {
            self.held -= connection.held;
        }
        self.closing.remove(&peer);
        self.ready.remove(&peer);
        self.unwanted.remove(&peer);
    }
}
