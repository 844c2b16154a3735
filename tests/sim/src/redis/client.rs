//! One connection, as a server keeps it.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use tidegate_core::{Instant, SeqNo};

use super::args::OwnedArgs;
use super::reply::Reply;
use super::request::Parser;
use crate::broker::PeerId;

/// Unread replies of a peer, above which nothing more of it is carried out until it reads.
pub(crate) const UNREAD: usize = 4 << 20;
/// Unread requests of a peer that isn't served now, above which they are left in the pipe.
pub(crate) const UNSERVED: usize = 1 << 20;

/// One connection.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// `None`: the world's own hand.
    pub(crate) peer: Option<PeerId>,
    pub(crate) node: usize,
    /// As CLIENT ID tells it.
    pub(crate) id: u64,
    pub(crate) name: Bytes,
    pub(crate) library: (Bytes, Bytes),
    pub(crate) db: usize,
    pub(crate) authenticated: bool,
    pub(crate) reply: Reply,
    pub(crate) incoming: BytesMut,
    pub(crate) parser: Parser,
    /// What MULTI gathers.
    pub(crate) multi: Option<Multi>,
    /// Keys of WATCH, and how often they had been touched.
    pub(crate) watched: Vec<(usize, Bytes, u64)>,
    pub(crate) blocked: Option<Box<Blocked>>,
    /// Its next request waits until the server is no longer paused.
    pub(crate) postponed: bool,
    /// It never blocks: EXEC runs, or it is the world's own hand.
    pub(crate) never_blocks: bool,
    /// Nothing more of it is carried out; it ends when all is written.
    pub(crate) closing: bool,
    /// That it ends is said.
    pub(crate) ended: bool,
    /// That there is something to write is said.
    pub(crate) announced: bool,
    pub(crate) asking: bool,
    pub(crate) read_only: bool,
    pub(crate) replies: Replies,
    pub(crate) no_evict: bool,
    pub(crate) born: Instant,
    pub(crate) last_seen: Instant,
    pub(crate) last_command: &'static str,
}

/// All connections to all nodes. One that runs a command is taken out, so that the command can
/// touch all the others; its place stays.
#[derive(Debug, Default)]
pub(crate) struct Clients(BTreeMap<PeerId, Option<Box<Client>>>);

impl Clients {
    pub(crate) fn get(&self, peer: PeerId) -> Option<&Client> {
        self.0.get(&peer)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, peer: PeerId) -> Option<&mut Client> {
        self.0.get_mut(&peer)?.as_deref_mut()
    }

    pub(crate) fn take(&mut self, peer: PeerId) -> Option<Box<Client>> {
        self.0.get_mut(&peer)?.take()
    }

    pub(crate) fn put(&mut self, peer: PeerId, client: Box<Client>) {
        match self.0.get_mut(&peer) {
            Some(place) => *place = Some(client),
            None => {
                self.0.insert(peer, Some(client));
            }
        }
    }

    pub(crate) fn remove(&mut self, peer: PeerId) -> Option<Box<Client>> {
        self.0.remove(&peer)?
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Client)> {
        self.0.iter().filter_map(|(peer, client)| Some((*peer, client.as_deref()?)))
    }
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Replies {
    #[default]
    On,
    Off,
    /// Not to the next one.
    SkipNext,
    /// Not to this one.
    Skip,
}

/// What MULTI gathers.
#[derive(Debug, Default)]
pub(crate) struct Multi {
    pub(crate) queue: Vec<OwnedArgs>,
    /// One was refused, so none will run.
    pub(crate) aborted: bool,
    /// The flags of all queued commands.
    pub(crate) any: u32,
    /// The flags that all of them have.
    pub(crate) all: u32,
}

/// What a blocked read waits for.
#[derive(Debug)]
pub(crate) struct Blocked {
    pub(crate) db: usize,
    /// Each once.
    pub(crate) keys: Vec<(Bytes, SeqNo)>,
    /// Group and consumer of XREADGROUP.
    pub(crate) group: Option<(Bytes, Bytes)>,
    pub(crate) count: usize,
    pub(crate) no_ack: bool,
    pub(crate) deadline: Option<Instant>,
    pub(crate) name: &'static str,
    /// 7.2: the command, to run again.
    pub(crate) again: OwnedArgs,
}

impl Client {
    /// Whether the next request can be carried out.
    pub(crate) fn is_served(&self) -> bool {
        self.blocked.is_none() && !self.postponed && !self.closing && self.reply.out.len() <= UNREAD
    }

    pub(crate) fn wants_read(&self) -> bool {
        !self.closing && (self.incoming.len() <= UNSERVED || self.is_served())
    }
}
