//! What a request was sent for: it comes back with its response, or with its connection's loss.

use crate::ack::{Frontier, Slot};
use crate::stream::Epoch;

/// What a response, or the loss of its connection, concerns.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// The greeting (KIP-35, KIP-43).
    Versions,
    Handshake,
    Authenticate,
    /// Brokers, topics, leaders.
    Metadata,
    CreateTopics,
    FindCoordinator,
    /// Records of what one broker leads.
    Fetch(Fetch),
    /// Positions of these partitions at a moment, or at an end of their logs.
    ListOffsets(Vec<Asked>),
    /// Where the epochs of these partitions' positions end (KIP-320).
    EpochEnds(Vec<Asked>),
    /// The group's positions.
    OffsetFetch(Vec<Asked>),
    /// Frontiers of the acks.
    Commit(Commit),
    /// The classic protocol.
    JoinGroup,
    SyncGroup,
    Heartbeat,
    LeaveGroup,
    /// KIP-848.
    GroupHeartbeat,
    GroupLeave,
}

/// A partition that a question is about, and when it was asked: an answer to an older question
/// is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) slot: Slot,
    /// As [`Partition::turn`](super::partitions::Partition::turn) was.
    pub(super) turn: u64,
}

/// A fetch under way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fetch {
    pub(super) broker: i32,
    /// Bytes of the prefetch's credit that were asked for.
    pub(super) bytes: usize,
}

/// A commit under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Commit {
    /// Each with the offset that was sent for it.
    pub(super) frontiers: Vec<(Frontier, i64)>,
    /// Positions that no ack stands behind, each with its assignment.
    pub(super) positions: Vec<(Slot, Epoch, i64)>,
    /// The member epoch, or generation, that it was sent under.
    pub(super) generation: i32,
}

impl Task {
    /// The request's name, as the protocol has it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Versions => "ApiVersions",
            Self::Handshake => "SaslHandshake",
            Self::Authenticate => "SaslAuthenticate",
            Self::Metadata => "Metadata",
            Self::CreateTopics => "CreateTopics",
            Self::FindCoordinator => "FindCoordinator",
            Self::Fetch(_) => "Fetch",
            Self::ListOffsets(_) => "ListOffsets",
            Self::EpochEnds(_) => "OffsetForLeaderEpoch",
            Self::OffsetFetch(_) => "OffsetFetch",
            Self::Commit(_) => "OffsetCommit",
            Self::JoinGroup => "JoinGroup",
            Self::SyncGroup => "SyncGroup",
            Self::Heartbeat => "Heartbeat",
            Self::LeaveGroup => "LeaveGroup",
            Self::GroupHeartbeat | Self::GroupLeave => "ConsumerGroupHeartbeat",
        }
    }
}
