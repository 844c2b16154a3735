//! What the application asks of a machine.

use std::time::Duration;

use crate::ack::AckRange;
use crate::error::Error;
use crate::stream::{Position, ShardId, StreamKey, Timestamp};

/// Names a request that takes a while; [`Command::Done`](crate::Command::Done) carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the application asks. Those marked *at once* are done when
/// [`Machine::request`](crate::Machine::request) returns, and answer no ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The application is done with these messages. At once; unknown, repeated and stale ones
    /// are counted and do no harm.
    Ack(Vec<AckRange>),
    /// The application took these messages: what [`AutoCommit::Delayed`] counts from. At once.
    ///
    /// [`AutoCommit::Delayed`]: crate::AutoCommit::Delayed
    Taken(Vec<AckRange>),
    /// Tell the broker all acks given so far. Done when it answered:
    /// [`Outcome::Committed`].
    Commit,
    /// Go to the first message later than this moment, in all assigned shards; leaves the
    /// group: from then on real-time. [`Outcome::Positioned`].
    Seek(Timestamp),
    /// Go to this position, inclusive, in all assigned shards; leaves the group as `Seek` does.
    /// [`Outcome::Positioned`].
    Rewind(Position),
    /// From the next seek or rewind on, read this shard (and no other that isn't assigned).
    /// At once.
    Assign {
        /// A subscribed stream.
        stream: StreamKey,
        /// One of its shards.
        shard: ShardId,
    },
    /// From the next seek or rewind on, don't read this shard. At once.
    Unassign {
        /// A subscribed stream.
        stream: StreamKey,
        /// An assigned shard of it.
        shard: ShardId,
    },
    /// Hand out nothing and ask for nothing until `Resume`. Acks, commits, keep-alives and the
    /// group's life go on. At once.
    Pause,
    /// Go on after `Pause`. At once.
    Resume,
    /// Stop reading, commit what was acked, leave, close the connections.
    /// [`Outcome::Closed`] by the deadline at the latest.
    Close {
        /// How long it may take.
        deadline: Duration,
    },
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The broker knows of this many acks more since the last commit.
    Committed {
        /// Messages that this commit told the broker about.
        messages: u64,
    },
    /// The next delivery of a batch is at the new position.
    Positioned,
    /// The consumer is closed.
    Closed {
        /// Acked messages that the broker could not be told about by the deadline: they will
        /// be handed out again. 0 for a clean close.
        uncommitted: u64,
    },
    /// A later seek, rewind or close took its place.
    Superseded,
    /// It could not be done.
    Failed(Error),
}
