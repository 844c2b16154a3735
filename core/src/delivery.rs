//! What comes out: deliveries for the application, notices for the operator.

use std::fmt;
use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::event::Cause;
use crate::message::Batch;
use crate::stream::{Epoch, SeqNo, ShardId, StreamKey};

/// The data lane, in order.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Messages.
    Batch(Batch),
    /// A shard is read from now on; its batches follow.
    Assigned(Assignment),
    /// A shard is no longer read. Its batches came before this, and none of its epoch follows.
    Revoked(Assignment),
    /// There is nothing more, and never will be: the input ended, or the consumer was closed.
    End,
    /// It can't go on. The last delivery; asked again, the same answer.
    Failed(Error),
}

/// A shard in one assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Its stream.
    pub stream: StreamKey,
    /// Which part.
    pub shard: ShardId,
    /// The generation of the assignment.
    pub epoch: Epoch,
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream, self.shard)
    }
}

/// What an operator wants to know at once. Prints as one line, never with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Connected, set up, reading. Once at the start, and again after each [`Notice::Stalled`].
    Ready,
    /// A shard is read from now on.
    Assigned(Assignment),
    /// A shard is no longer read.
    Revoked(Assignment),
    /// A connection was lost, or could not be made.
    Reconnecting {
        /// Where to.
        endpoint: Endpoint,
        /// Failures in a row, counted from 1.
        attempt: u32,
        /// The next try comes after this long.
        after: Duration,
        /// What went wrong.
        cause: Reason,
    },
    /// Messages that a member had left un-acked are ours now.
    Claimed {
        /// Where.
        shard: Assignment,
        /// How many.
        messages: u64,
    },
    /// Own messages, handed out before a restart or by a reply that was lost, were read again.
    Recovered {
        /// Where.
        shard: Assignment,
        /// How many.
        messages: u64,
    },
    /// Pending messages no longer exist in the stream (trimmed or deleted): they left the
    /// pending list, and can't be delivered.
    Vanished {
        /// Where.
        shard: Assignment,
        /// How many.
        messages: u64,
    },
    /// The group didn't exist, and was created.
    GroupCreated {
        /// Where.
        shard: Assignment,
    },
    /// Nothing is consumed, from this shard or from any, and why. It will be tried again.
    Stalled {
        /// The shard, or `None` for all.
        shard: Option<Assignment>,
        /// Why.
        reason: Reason,
    },
    /// The position was lost (trimmed away, cut off with a failed leader), and reading goes on
    /// elsewhere in the same shard.
    Repositioned {
        /// Which, from now on.
        shard: Assignment,
        /// What would have come next.
        from: SeqNo,
        /// What comes next.
        to: SeqNo,
        /// Why.
        reason: Reason,
    },
    /// A shard that was stalled is read again.
    Mended {
        /// Which.
        shard: Assignment,
    },
    /// A shard was let go with acks that no commit is known to have: the membership was lost first,
    /// the coordinator didn't answer in time, or an un-acked message lies before them. Whoever has
    /// the shard next gets these messages again.
    Uncommitted {
        /// Which.
        shard: Assignment,
        /// How many.
        messages: u64,
    },
    /// An assignor of one's own gave away what can't be given: that was left out of its plan.
    LeftOut {
        /// Its name.
        assignor: Box<str>,
        /// How many partitions.
        partitions: u64,
        /// What is wrong with the first of them.
        what: Box<str>,
    },
    /// The broker refused a command; it will be tried again.
    Refused {
        /// The command's name.
        command: &'static str,
        /// The broker's words.
        error: Error,
    },
}

/// Why nothing comes, or why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The network's or operating system's cause.
    #[error("{0}")]
    Connection(#[from] Cause),
    /// The broker's, or the protocol's.
    #[error("{0}")]
    Error(#[from] Error),
    /// The application holds as many un-acked messages as `Limits::unacked_max` allows.
    #[error("{unacked} messages are un-acked, which is the limit: ack some, or raise limits.unacked_max")]
    Unacked {
        /// How many.
        unacked: u64,
    },
    /// The broker answered nothing for too long.
    #[error("no answer to {command} for {after:?}")]
    Silent {
        /// The command's name.
        command: &'static str,
        /// How long.
        after: Duration,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Assigned(shard) => write!(f, "assigned {shard}"),
            Self::Revoked(shard) => write!(f, "revoked {shard}"),
            Self::Reconnecting { endpoint, attempt, after, cause } => {
                write!(f, "reconnecting to {endpoint} in {after:?} (attempt {attempt}): {cause}")
            }
            Self::Claimed { shard, messages } => write!(f, "claimed {messages} of {shard}"),
            Self::Recovered { shard, messages } => write!(f, "recovered {messages} of {shard}"),
            Self::Vanished { shard, messages } => {
                write!(f, "{messages} pending of {shard} were trimmed or deleted: gone")
            }
            Self::GroupCreated { shard } => write!(f, "created the group on {shard}"),
            Self::Stalled { shard: Some(shard), reason } => write!(f, "stalled on {shard}: {reason}"),
            Self::Stalled { shard: None, reason } => write!(f, "stalled: {reason}"),
            Self::Repositioned { shard, from, to, reason } => {
                write!(f, "{shard} goes on at {to} instead of {from}: {reason}")
            }
            Self::Mended { shard } => write!(f, "mended {shard}"),
            Self::Uncommitted { shard, messages } => {
                write!(f, "{messages} acks of {shard} were not committed when it was let go: they come again")
            }
            Self::LeftOut { assignor, partitions, what } => {
                write!(
                    f,
                    "left out of the plan of {assignor:?}: {partitions} partitions, the first as {what}"
                )
            }
            Self::Refused { command, error } => write!(f, "{command} was refused, trying again: {error}"),
        }
    }
}
