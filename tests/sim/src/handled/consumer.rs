//! The consumer that the code under test gets: production's handle, and the world looks on.

use std::fmt;

use tidegate::Handle;
use tidegate_core::{
    AckRange, Assignment, Batch, Consumer, ConsumerError, Error, Message, Messages, Position, ShardId,
    StreamKey, Timestamp,
};

use super::net::{Net, SimRuntime};
use crate::backend::Observed;

/// A consumer in the simulated world, and production's [`Handle`] inside: clones are handles of
/// the same consumer, futures may be dropped at any await. Use it by [`Consumer`], as the
/// application under test does.
///
/// It lives as long as its member's process: when the handler returns, the process is over, and
/// what was acked but not committed is handed out again. So close it first.
#[derive(Clone)]
pub struct SimConsumer {
    handle: Handle,
    runtime: SimRuntime,
}

impl fmt::Debug for SimConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimConsumer").finish_non_exhaustive()
    }
}

impl SimConsumer {
    pub(super) fn new(handle: Handle, runtime: SimRuntime) -> Self {
        Self { handle, runtime }
    }
}

impl Consumer for SimConsumer {
    async fn next(&self) -> Result<Option<Message>, ConsumerError> {
        let message = self.handle.next().await?;
        if let Some(message) = &message {
            self.runtime.net().got(message);
        }
        Ok(message)
    }

    async fn next_batch(&self) -> Result<Option<Messages>, ConsumerError> {
        let messages = self.handle.next_batch().await?;
        if let Some(messages) = &messages {
            let mut net = self.runtime.net();
            (0..messages.len()).filter_map(|at| messages.message(at)).for_each(|message| net.got(&message));
        }
        Ok(messages)
    }

    fn ack_range(&self, range: AckRange) {
        self.runtime.net().acked(range);
        self.handle.ack_range(range);
    }

    async fn commit(&self) -> Result<u64, ConsumerError> {
        self.handle.commit().await
    }

    async fn assign(&self, stream: &StreamKey, shard: ShardId) -> Result<(), ConsumerError> {
        self.handle.assign(stream, shard).await
    }

    async fn unassign(&self, stream: &StreamKey, shard: ShardId) -> Result<(), ConsumerError> {
        self.handle.unassign(stream, shard).await
    }

    async fn rewind(&self, to: Position) -> Result<(), ConsumerError> {
        self.handle.rewind(to).await
    }

    async fn seek(&self, after: Timestamp) -> Result<(), ConsumerError> {
        self.handle.seek(after).await
    }

    async fn pause(&self) -> Result<(), ConsumerError> {
        self.handle.pause().await
    }

    async fn resume(&self) -> Result<(), ConsumerError> {
        self.handle.resume().await
    }

    async fn close(&self) -> Result<(), ConsumerError> {
        let closed = self.handle.close().await;
        let uncommitted = match &closed {
            Ok(()) => Some(0),
            Err(ConsumerError::Failed(Error::Uncommitted { messages })) => Some(*messages),
            Err(_) => None,
        };
        if let Some(uncommitted) = uncommitted {
            self.runtime.net().seen.push(Observed::Closed { uncommitted });
        }
        closed
    }
}

/// What the world is told of it.
impl Net {
    fn got(&mut self, message: &Message) {
        let source = message.batch().source();
        let key = (source.stream.clone(), source.shard);
        // An earlier one than the world knows is a fault of the consumer: it is not told, so that
        // the message is one of an assignment that is over.
        if self.epochs.get(&key).is_none_or(|known| *known < source.epoch) {
            let Assignment { stream, shard, epoch } =
                Assignment { stream: key.0.clone(), shard: key.1, epoch: source.epoch };
            self.epochs.insert(key, epoch);
            self.seen.push(Observed::Assigned(Assignment { stream, shard, epoch }));
        }
        if is_first(message) {
            self.seen.push(Observed::Took(message.batch().clone()));
        }
        if let Some(segment) = source.segment {
            self.batches.entry(segment).or_insert_with(|| message.batch().clone());
        }
        self.seen.push(Observed::Got(message.clone()));
    }

    fn acked(&mut self, range: AckRange) {
        if self.is_closed {
            // Nobody hears it: whoever closed the consumer knows how many acks were too late.
            return;
        }
        let batch: Option<&Batch> =
            self.batches.get(&range.segment).filter(|batch| batch.source().epoch == range.epoch);
        let messages = batch.map(|batch| {
            (range.start..range.end.min(batch.len() as u32))
                .filter_map(|at| batch.message(at as usize))
                .collect()
        });
        self.seen.push(Observed::Acked { range, messages: messages.unwrap_or_default() });
    }
}

fn is_first(message: &Message) -> bool {
    message.batch().iter().next().is_some_and(|first| first.seq() == message.seq())
}
