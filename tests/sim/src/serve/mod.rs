//! A model broker on real loopback sockets, for any client.
//!
//! # Theory of operation
//!
//! One thread, one poll loop. A round waits for the kernel or for the broker's wake-up, accepts
//! who came, gives each peer that can move its turn (one write, one read), and carries out what
//! the broker says. The broker stays the value that it is in the simulator: between two rounds it
//! lies behind a lock, where [`Server::with`] disturbs it by hand.
//!
//! The loop stands on `mio`: it is in everyone's dependency tree already (through tokio), and its
//! safe calls are enough. `polling`, the other choice, marks its `add` as unsafe.
//!
//! Back-pressure goes both ways. What a peer does not read stays in [`Broker::outgoing`]; while
//! much of it is there, nothing more is read from that peer, and the kernel holds it back. So
//! does a broker that doesn't want to read.
//!
//! **Invariant:** a turn costs a bounded time, so that no peer starves another.
//!
//! **Invariant:** what is held for one peer, and for all peers together, is bounded by
//! [`Options`] to within one turn. Who goes past it is closed; of all together, the one with most.
//!
//! **Invariant:** no bytes and no behaviour of a peer end the thread.

mod connection;
mod listener;
mod rounds;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time;

use mio::{Poll, Waker};
use tidegate_core::{Endpoint, Instant};

use crate::broker::Broker;
use listener::Listener;
use rounds::Rounds;

/// Limits of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Connections at a time, to all nodes together. Who comes after that is closed at once,
    /// without a word; a broker with a limit of its own, and lower, says its word. Default 10,000.
    pub connections: usize,
    /// Bytes of one peer that the broker has not taken yet (half a command), above which the
    /// peer is closed. Default 64 MiB.
    pub incoming: usize,
    /// Bytes for one peer that it has not read yet, above which it is closed. From an eighth of
    /// this on nothing is read from it. Default 64 MiB.
    pub outgoing: usize,
    /// Both, of all peers together; above it the peer with most is closed. Default 256 MiB.
    pub total: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 10_000, incoming: 64 << 20, outgoing: 64 << 20, total: 256 << 20 }
    }
}

impl Options {
    /// Whether more is read from a peer that has so much yet to read itself.
    fn reads_from(&self, outgoing: usize) -> bool {
        outgoing <= self.outgoing / 8
    }
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The broker listens nowhere.
    #[error("the broker has no node")]
    NoNode,
    /// Only loopback addresses are served.
    #[error("a node listens at {0}, which is no loopback address: name one, or use Server::start_with")]
    NotLoopback(Endpoint),
    /// The broker that was made listens elsewhere than it was told.
    #[error("the broker listens at {made}, and the sockets at {bound}")]
    Elsewhere {
        /// Where it says that its nodes listen.
        made: String,
        /// What was bound.
        bound: String,
    },
    /// Ports end at 65535.
    #[error("{nodes} ports from {first} on are too many, as 65535 is the last: begin lower")]
    Ports {
        /// The first of them.
        first: u16,
        /// How many there were to be.
        nodes: usize,
    },
    /// The address can't be had.
    #[error("can't listen at {at}: {cause}")]
    Bind {
        /// Which one.
        at: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// The operating system refused something else.
    #[error("can't serve: {0}")]
    Io(#[from] io::Error),
}

/// A model broker that serves loopback sockets until this is dropped.
#[derive(Debug)]
pub struct Server<B> {
    shared: Arc<Shared<B>>,
    addrs: Vec<SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and its owner have in common.
#[derive(Debug)]
struct Shared<B> {
    broker: Mutex<B>,
    /// Taken before the broker and given back once one has it. A lock alone is not fair: under
    /// load the thread would take the broker again and again before anyone else.
    next: Mutex<()>,
    waker: Waker,
    stop: AtomicBool,
    started: time::Instant,
}

impl<B> Shared<B> {
    fn lock(&self) -> MutexGuard<'_, B> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // Who panicked with the broker in hand has said so; the broker is total, and goes on.
        let broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        drop(next);
        broker
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.started.elapsed()
    }

    fn wake(&self) {
        // It can only fail where the poll is gone, and then nobody is to be woken.
        let _ = self.waker.wake();
    }
}

impl<B: Broker + Send + 'static> Server<B> {
    /// Serves a broker where it says that its nodes listen, on loopback addresses. A port of 0
    /// is any free one, which the broker doesn't get to know: see [`Server::start_with`].
    ///
    /// # Errors
    /// If a node's address is no loopback address, or is in use.
    pub fn start(broker: B, options: Options) -> Result<Self, StartError> {
        let bind = |endpoint: &Endpoint| match endpoint.host.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() => Listener::bind(SocketAddr::new(ip, endpoint.port)),
            _ => Err(StartError::NotLoopback(endpoint.clone())),
        };
        let listeners = broker.endpoints().iter().map(bind).collect::<Result<_, _>>()?;
        Self::run(listeners, options, broker)
    }

    /// Binds ports of 127.0.0.1 for so many nodes, one after the other from `first` on (0: where
    /// so many are free), and then makes the broker with the first port that came of it, so that
    /// a cluster can name its nodes in its answers.
    ///
    /// # Errors
    /// If a port is in use or there is none, or the broker listens elsewhere.
    pub fn start_with(
        nodes: usize,
        first: u16,
        options: Options,
        make: impl FnOnce(u16) -> B,
    ) -> Result<Self, StartError> {
        let listeners =
            if first == 0 { listener::bind_any(nodes)? } else { listener::bind_from(first, nodes)? };
        let bound: Vec<_> = listeners.iter().map(|listener| listener.addr().to_string()).collect();
        let broker = make(listeners.first().map_or(0, |listener| listener.addr().port()));
        let made: Vec<_> = broker.endpoints().iter().map(Endpoint::to_string).collect();
        if made != bound {
            return Err(StartError::Elsewhere { made: made.join(", "), bound: bound.join(", ") });
        }
        Self::run(listeners, options, broker)
    }

    fn run(mut listeners: Vec<Listener>, options: Options, broker: B) -> Result<Self, StartError> {
        if listeners.is_empty() {
            return Err(StartError::NoNode);
        }
        let poll = Poll::new()?;
        for (node, listener) in listeners.iter_mut().enumerate() {
            listener.register(poll.registry(), rounds::node_token(node))?;
        }
        let addrs = listeners.iter().map(Listener::addr).collect();
        let shared = Arc::new(Shared {
            broker: Mutex::new(broker),
            next: Mutex::new(()),
            waker: Waker::new(poll.registry(), rounds::WAKER)?,
            stop: AtomicBool::new(false),
            started: time::Instant::now(),
        });
        let rounds = Rounds::new(poll, listeners, options, shared.clone());
        let thread = thread::Builder::new().name("tidegate-serve".into()).spawn(move || rounds.run())?;
        Ok(Self { shared, addrs, thread: Some(thread) })
    }

    /// Uses the broker by hand, between two rounds. What it wants done comes right after.
    pub fn with<R>(&self, hand: impl FnOnce(&mut B) -> R) -> R {
        let done = hand(&mut self.shared.lock());
        self.shared.wake();
        done
    }
}

impl<B> Server<B> {
    /// Where a node listens; `None` if there is no such node.
    pub fn addr(&self, node: usize) -> Option<SocketAddr> {
        self.addrs.get(node).copied()
    }

    /// Where all nodes listen, by index.
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// The time as the broker is told it: since the start. Inside of [`Server::with`] it is never
    /// earlier than what the broker was told.
    pub fn now(&self) -> Instant {
        self.shared.now()
    }

    /// False once the thread has ended, which it does before the end of this only if the broker
    /// panicked.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }
}

/// Closes all connections and waits for the thread's end, which comes at once.
impl<B> Drop for Server<B> {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // A panic in it was printed when it happened.
            let _ = thread.join();
        }
    }
}
