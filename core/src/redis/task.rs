//! What a command was sent for: what its reply is for, and what has to be done again if the
//! reply never comes.

use std::ops::Range;

use super::resp::Shape;
use crate::ack::{CommitId, Slot};
use crate::message::Entries;
use crate::stream::{Epoch, SeqNo};

/// A command without an answer yet.
#[derive(Debug)]
pub(super) enum Task {
    Hello,
    Auth,
    Select,
    Name,
    ClientId,
    /// XREAD or XREADGROUP.
    Read(Read),
    /// Is this key there: the stream itself, or one of its shards?
    Exists {
        stream: usize,
        shard: Option<u64>,
    },
    /// Is any of the shards there that these streams could have got?
    ExistsAny {
        streams: Range<usize>,
    },
    /// XINFO STREAM.
    Look {
        slot: Slot,
        /// How far the key was read when this was asked.
        position: SeqNo,
    },
    /// XGROUP CREATE.
    Create {
        slot: Slot,
    },
    /// XACK.
    Commit {
        id: CommitId,
        slot: Slot,
        messages: u64,
        /// Its ids are remembered until own pending entries have been read.
        tracked: bool,
    },
    /// XACK of entries that no longer exist.
    Forget {
        slot: Slot,
        messages: u64,
    },
    /// XAUTOCLAIM.
    Claim(Claim),
    /// XPENDING: how often the held entries were handed out.
    Count(Held),
    /// XPENDING: which of these are still ours.
    Owned {
        slot: Slot,
        ids: Vec<SeqNo>,
    },
    /// XPENDING: what is ours at the end.
    Left {
        slot: Slot,
    },
    /// XPENDING: is anything pending that was committed?
    Audit {
        slot: Slot,
        from: SeqNo,
    },
    /// XCLAIM … JUSTID.
    Touch,
    /// CLIENT UNBLOCK.
    Unblock,
    /// XGROUP DELCONSUMER, if nothing is pending.
    Depart,
    /// XINFO STREAM: is it still the same stream?
    Check {
        slot: Slot,
        /// How far the key was read when this was asked.
        position: SeqNo,
    },
    /// XINFO GROUPS.
    Lag {
        slot: Slot,
    },
}

/// A read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// Own pending entries instead of new ones.
    pub(super) recovery: bool,
    /// Whether it may wait at the server.
    pub(super) blocks: bool,
    /// Entries asked for, as the flow counts them.
    pub(super) asked: usize,
    /// Most entries of one key.
    pub(super) count: usize,
    /// Of the set of keys that it asks for.
    pub(super) version: u64,
    /// The assignment under which it was sent.
    pub(super) epoch: Epoch,
    /// Entries that came already.
    pub(super) came: usize,
    /// Keys that gave entries.
    pub(super) busy: usize,
}

/// One page of a claim.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) slot: Slot,
    pub(super) cursor: SeqNo,
    pub(super) asked: usize,
    pub(super) epoch: Epoch,
    pub(super) entries: Vec<Entries>,
}

/// Entries that are ours, and wait for their delivery counts.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) slot: Slot,
    pub(super) entries: Vec<Entries>,
    pub(super) origin: Origin,
    /// The first and the last.
    pub(super) between: (SeqNo, SeqNo),
    pub(super) epoch: Epoch,
}

impl Held {
    /// Entries, the oldest first.
    pub(super) fn new(slot: Slot, entries: Vec<Entries>, origin: Origin, epoch: Epoch) -> Self {
        let ids = || entries.iter().flat_map(|part| part.index.iter().map(|entry| entry.seq));
        let between = (ids().next().unwrap_or(SeqNo::ZERO), ids().last().unwrap_or(SeqNo::MAX));
        Self { slot, entries, origin, between, epoch }
    }

    /// Positions of all of them.
    pub(super) fn ids(&self) -> impl Iterator<Item = SeqNo> + '_ {
        self.entries.iter().flat_map(|part| part.index.iter().map(|entry| entry.seq))
    }

    /// Messages and bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        self.entries
            .iter()
            .fold((0, 0), |(records, bytes), part| (records + part.index.len(), bytes + part.data.len()))
    }
}

/// How entries that were handed out before came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Left by another member.
    Claimed,
    /// Own, from before this process.
    Restarted,
    /// Own, of a reply that was lost: it never reached the application, so it doesn't count.
    Reconnected,
}

impl Task {
    /// The command's name, for people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Hello => "HELLO",
            Self::Auth => "AUTH",
            Self::Select => "SELECT",
            Self::Name => "CLIENT SETNAME",
            Self::ClientId => "CLIENT ID",
            Self::Read(_) => "XREADGROUP",
            Self::Exists { .. } | Self::ExistsAny { .. } => "EXISTS",
            Self::Look { .. } | Self::Check { .. } => "XINFO STREAM",
            Self::Create { .. } => "XGROUP CREATE",
            Self::Commit { .. } | Self::Forget { .. } => "XACK",
            Self::Claim(_) => "XAUTOCLAIM",
            Self::Count(_) | Self::Owned { .. } | Self::Left { .. } | Self::Audit { .. } => "XPENDING",
            Self::Touch => "XCLAIM",
            Self::Unblock => "CLIENT UNBLOCK",
            Self::Depart => "EVAL",
            Self::Lag { .. } => "XINFO GROUPS",
        }
    }

    /// What its reply looks like, where it has entries.
    pub(super) fn shape(&self) -> Option<Shape> {
        match self {
            Self::Read(_) => Some(Shape::Read),
            Self::Claim(_) => Some(Shape::AutoClaim),
            _ => None,
        }
    }
}
