//! Model Redis: streams as the real one has them, as a value.
//!
//! ```text
//! incoming ─► request: arguments as slices ─► process: may it run? ─► commands ─► outgoing
//!                                                │                        │
//!                                        cluster: whose slot?    keyspace · stream
//!                                                                         │ keys that changed
//! outgoing ◄────────────────────────────────────────── serve: who waits? ◄┘
//! ```
//!
//! Theory of operation. One [`Redis`] is one server, or all servers of a cluster with their
//! replicas. A peer's bytes become requests (`request`), each goes through what Redis looks at
//! before it runs a command (`process`, in Redis's order, as the order shows in the errors), and
//! the command writes its reply straight into the peer's output. A command that changes a key for
//! which somebody waits marks the key; after the command (or the whole transaction) those who wait
//! are served in the order in which they came (`serve`). Each of them then goes on with what it
//! sent behind its blocked read, once the peer that woke it is done.
//!
//! Time is what events say it is. Expiry, the end of a blocked read, of a pause and of loading
//! happen at their moments (`drive`), earliest first.
//!
//! The world has a hand of its own (`world`): it runs commands without a connection, and makes
//! nodes crash, fail over, stand still, load, or refuse. A replica is the same value a number of
//! commands behind (`replica`).
//!
//! Answers are those of Redis 7.0.15, in both protocols, and of other versions where those differ
//! for streams ([`Version`]). Not modelled: Lua (but for the one script that tidegate sends), other
//! types than streams and strings, access lists beyond one password, and Redis's own memory. Where
//! a key expires, it does so at its moment and not some time after.
//!
//! **Invariant:** same events, same commands, facts and bytes.
//!
//! **Invariant:** no bytes from a peer make it panic or allocate beyond what was received; what
//! breaks the protocol is answered in Redis's words and closes that peer.
//!
//! **Invariant:** a peer's commands are answered in order, and none while it is blocked.
//!
//! **Invariant:** after each event nobody waits for what is there: what came is handed out to the
//! first who waited for it.

mod args;
mod client;
mod cluster;
mod commands;
mod config;
mod drive;
mod facts;
mod inspect;
mod keyspace;
mod node;
mod process;
mod refusal;
mod replica;
mod reply;
mod request;
mod serve;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod world;

use std::collections::VecDeque;

use bytes::BytesMut;
use tidegate_core::{Endpoint, Instant};

pub use config::{Condition, Config, Keep, Version};
pub use inspect::Pending;

use client::{Client, Clients};
use cluster::Cluster;
use facts::Facts;
use node::{Common, Node};

/// One Redis server, or several.
///
/// ```
/// use tidegate_core::Instant;
/// use tidegate_sim::redis::{Config, Redis};
///
/// let mut redis = Redis::new(Config::default());
/// let now = Instant::ZERO;
/// let id = redis.execute(now, 0, &[b"XADD", b"orders", b"5-1", b"item", b"apple"]);
/// assert_eq!(id.as_bytes(), Some(&b"5-1"[..]));
/// assert_eq!(redis.len(b"orders"), 1);
/// ```
#[derive(Debug)]
pub struct Redis {
    common: Common,
    nodes: Vec<Node>,
    clients: Clients,
    /// The world's own hand, at each node.
    hands: Vec<Client>,
    endpoints: Vec<Endpoint>,
    /// Where bytes of peers that are no more go.
    nobody: BytesMut,
}

impl Redis {
    /// Servers without any keys, at the origin of time.
    pub fn new(config: Config) -> Self {
        let cluster = Cluster::new(&config);
        let nodes = cluster.nodes();
        let primaries = config.nodes.max(1);
        let seen = if config.cluster { nodes } else { primaries };
        let port = |node: usize| config.port.wrapping_add(node as u16);
        let endpoints = (0..seen).map(|node| Endpoint::tcp(&config.host, port(node))).collect();
        let hand = |node| Client { node, never_blocks: true, authenticated: true, ..Client::default() };
        let mut common = Common {
            config,
            cluster,
            facts: Facts::default(),
            commands: VecDeque::new(),
            now: Instant::ZERO,
            now_ms: 0,
            log: Vec::new(),
            scratch: BytesMut::new(),
        };
        common.set_now(Instant::ZERO);
        Self {
            common,
            nodes: (0..nodes).map(Node::new).collect(),
            clients: Clients::default(),
            hands: (0..nodes).map(hand).collect(),
            endpoints,
            nobody: BytesMut::new(),
        }
    }
}
