//! What happened outside.

use std::fmt;

/// One connection of a machine. The number says which of its connections, the generation which
/// attempt: an event for an earlier generation is late, and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// Which of the machine's connections; small and dense.
    pub number: u16,
    /// Which attempt, counted from 1.
    pub generation: u64,
}

/// As in traces: `c0.7`.
impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}.{}", self.number, self.generation)
    }
}

/// Something that happened outside a machine. What the application asks for is a
/// [`Request`](crate::Request).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed. Send one when the last [`Wake`](crate::Wake) is reached; more do no harm.
    Tick,
    /// The connection is established.
    Opened {
        /// As [`Command::Open`](crate::Command::Open) named it.
        conn: ConnId,
    },
    /// The connection could not be established.
    OpenFailed {
        /// As [`Command::Open`](crate::Command::Open) named it.
        conn: ConnId,
        /// What the operating system said.
        cause: Cause,
    },
    /// Bytes were appended to [`Machine::incoming`](crate::Machine::incoming).
    Received {
        /// Whose bytes.
        conn: ConnId,
    },
    /// The first `n` bytes of [`Machine::outgoing`](crate::Machine::outgoing) were written.
    Wrote {
        /// Whose bytes.
        conn: ConnId,
        /// How many; a partial write is normal.
        n: usize,
    },
    /// The connection ended, by the peer or by a fault.
    Closed {
        /// Which one.
        conn: ConnId,
        /// Why, as far as is known.
        cause: Cause,
    },
}

/// Why a connection failed or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The peer closed it in order.
    #[error("closed by the server")]
    Eof,
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// It was reset.
    #[error("connection reset")]
    Reset,
    /// It took longer than allowed: see [`Limits`](crate::Limits).
    #[error("timed out")]
    TimedOut,
    /// The host's name has no address.
    #[error("host name not found")]
    Unresolved,
    /// Anything else, in the words of the operating system or the runtime.
    #[error("{0}")]
    Other(Box<str>),
}
