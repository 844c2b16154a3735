//! What a member did that its machine's commands and deliveries don't show.

use tidegate_core::{AckRange, Assignment, Batch, Error, Message};

/// What happened inside of a member, where the world doesn't hand out the messages itself: see
/// [`Backend::observe`](super::Backend::observe).
#[derive(Clone, Debug)]
pub enum Observed {
    /// A shard is read from now on.
    Assigned(Assignment),
    /// The application began with a batch.
    Took(Batch),
    /// The application got a message.
    Got(Message),
    /// The application is done with messages.
    Acked {
        /// Which, as it said.
        range: AckRange,
        /// The same, as far as it had got them.
        messages: Vec<Message>,
    },
    /// The application asked for a seek or a rewind.
    Moves,
    /// A seek or a rewind has happened.
    Moved,
    /// The consumer closes.
    Closing,
    /// The application closed the consumer, and was told that so many acks are not committed.
    Closed {
        /// How many.
        uncommitted: u64,
    },
    /// The consumer can't go on.
    Failed(Error),
    /// A line for the trace.
    Note(String),
    /// The process is over, and how it ended.
    Ended(String),
    /// The application is wrong, and why: it panicked, or never waits.
    Broke(String),
}
