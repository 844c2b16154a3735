//! The interface of a consumer: what the handle of every runtime has, and the simulator's.

use std::future::Future;

use crate::ack::AckRange;
use crate::error::{Error, RequestError};
use crate::message::{Batch, Message, MessageRef, Source};
use crate::stream::{Position, ShardId, StreamKey, Timestamp};

/// What a call on a consumer can end with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The consumer failed, or this request of it did.
    #[error(transparent)]
    Failed(#[from] Error),
    /// Misuse; nothing changed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Nobody drives the consumer any more. What was not committed will be handed out again.
    #[error("the consumer's background task is gone: it panicked, or its runtime was shut down")]
    Stopped,
}

/// Messages that were taken at once: a batch, or what [`Consumer::next`] left of one. Never
/// empty when it comes from a consumer.
#[derive(Clone, Debug)]
pub struct Messages {
    batch: Batch,
    start: u32,
}

impl Messages {
    /// The messages of `batch` from number `start` on, counted from 0.
    pub fn new(batch: Batch, start: u32) -> Self {
        Self { batch, start }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.batch.len().saturating_sub(self.start as usize)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where they come from.
    pub fn source(&self) -> &Source {
        self.batch.source()
    }

    /// The batch that they are a part of; what [`Consumer::next`] gave already is in it, too.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Message number `at` of these, counted from 0.
    pub fn message(&self, at: usize) -> Option<Message> {
        self.batch.message(at.checked_add(self.start as usize)?)
    }

    /// As views that borrow the batch: the cheapest way through it.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = MessageRef<'_>> + ExactSizeIterator {
        self.batch.iter().skip(self.start as usize)
    }

    /// All of them, as something to ack; `None` where there is nothing to ack.
    pub fn ack_range(&self) -> Option<AckRange> {
        let whole = self.batch.ack_range()?;
        (self.start < whole.end).then_some(AckRange { start: self.start, ..whole })
    }
}

/// A consumer of any backend, on any runtime, or in the simulator: an application that is
/// generic over it can be tested without a server.
///
/// Every future may be dropped at any await, and nothing is lost: a message leaves the queue
/// only in the call that returns it, and a request that was handed in (at the first poll) is
/// carried out whether or not anybody waits for it.
pub trait Consumer {
    /// The next message; waits for it. `None` when there is nothing more and never will be: the
    /// input ended, or the consumer was closed.
    ///
    /// # Errors
    /// What the consumer failed with: the same each time.
    fn next(&self) -> impl Future<Output = Result<Option<Message>, ConsumerError>> + Send;

    /// All messages of a batch at once, or what [`next`](Self::next) left of it; else as `next`.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    fn next_batch(&self) -> impl Future<Output = Result<Option<Messages>, ConsumerError>> + Send;

    /// The application is done with this message. Local and at once; the broker is told by a
    /// commit. Repeated and stale ones do no harm.
    fn ack(&self, message: &Message) {
        if let Some(range) = message.ack_range() {
            self.ack_range(range);
        }
    }

    /// The application is done with all of these.
    fn ack_batch(&self, messages: &Messages) {
        if let Some(range) = messages.ack_range() {
            self.ack_range(range);
        }
    }

    /// The application is done with these.
    fn ack_range(&self, range: AckRange);

    /// Tells the broker of all acks given so far, and waits for its answer: how many messages
    /// it was told about.
    ///
    /// # Errors
    /// The broker's refusal; a closed consumer.
    fn commit(&self) -> impl Future<Output = Result<u64, ConsumerError>> + Send;

    /// From the next seek or rewind on, reads this shard, and no other that isn't assigned.
    ///
    /// # Errors
    /// [`RequestError::StreamNotSubscribed`]; a closed consumer.
    fn assign(
        &self,
        stream: &StreamKey,
        shard: ShardId,
    ) -> impl Future<Output = Result<(), ConsumerError>> + Send;

    /// From the next seek or rewind on, doesn't read this shard.
    ///
    /// # Errors
    /// [`RequestError::ConsumerNotAssigned`], [`RequestError::StreamNotSubscribed`]; a closed
    /// consumer.
    fn unassign(
        &self,
        stream: &StreamKey,
        shard: ShardId,
    ) -> impl Future<Output = Result<(), ConsumerError>> + Send;

    /// Goes to this position, inclusive, in all assigned shards, and leaves the group: from then
    /// on real-time. When it returns, the next message is one from there.
    ///
    /// # Errors
    /// [`Error::Superseded`] by a later seek, rewind or close; [`RequestError::Unsupported`]; a
    /// closed consumer.
    fn rewind(&self, to: Position) -> impl Future<Output = Result<(), ConsumerError>> + Send;

    /// Goes to the first message later than this moment; else as [`rewind`](Self::rewind).
    ///
    /// # Errors
    /// As [`rewind`](Self::rewind).
    fn seek(&self, after: Timestamp) -> impl Future<Output = Result<(), ConsumerError>> + Send;

    /// Hands out nothing until [`resume`](Self::resume); [`next`](Self::next) waits. Acks,
    /// commits and the group's life go on.
    ///
    /// # Errors
    /// A closed consumer.
    fn pause(&self) -> impl Future<Output = Result<(), ConsumerError>> + Send;

    /// Goes on after [`pause`](Self::pause).
    ///
    /// # Errors
    /// A closed consumer.
    fn resume(&self) -> impl Future<Output = Result<(), ConsumerError>> + Send;

    /// Stops reading, commits what was acked, leaves and disconnects, within a few seconds. What
    /// was not taken will be handed out again. Asked again, the same answer.
    ///
    /// # Errors
    /// [`Error::Uncommitted`] if the broker could not be told of everything that was acked; what
    /// the consumer had failed with before.
    fn close(&self) -> impl Future<Output = Result<(), ConsumerError>> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ack::SegmentId;
    use crate::message::{Entries, Entry};
    use crate::stream::Epoch;
    use crate::stream::SeqNo;

    fn batch(len: u64) -> Batch {
        let entry =
            |at| Entry { seq: SeqNo::offset(at), timestamp: Timestamp::default(), deliveries: 1, place: 0 };
        let source =
            Source { stream: "s".into(), shard: ShardId::ZERO, epoch: Epoch(1), segment: Some(SegmentId(7)) };
        Batch::new(source, Entries { index: (0..len).map(entry).collect(), ..Entries::default() })
    }

    #[test]
    fn the_rest_of_a_batch_is_acked_where_it_lies() {
        let rest = Messages::new(batch(5), 3);
        assert_eq!((rest.len(), rest.is_empty()), (2, false));
        let seqs: Vec<_> = rest.iter().map(|message| message.seq()).collect();
        assert_eq!(seqs, [SeqNo::offset(3), SeqNo::offset(4)]);
        assert_eq!(rest.message(0).unwrap().seq(), SeqNo::offset(3));
        assert!(rest.message(2).is_none() && rest.message(usize::MAX).is_none());
        let range = rest.ack_range().unwrap();
        assert_eq!((range.start, range.end), (3, 5));
    }

    #[test]
    fn past_the_end_there_is_nothing() {
        for start in [2, 3, u32::MAX] {
            let none = Messages::new(batch(2), start);
            assert!(none.is_empty() && none.ack_range().is_none() && none.message(0).is_none());
            assert_eq!(none.iter().count(), 0);
        }
    }
}
