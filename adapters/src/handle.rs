//! The handle: what the application holds.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use event_listener::{Event, EventListener, Listener};
use futures_core::Stream;
use tidegate_core::{
    AckRange, AutoCommit, Consumer, ConsumerError, ConsumerOptions, Error, Machine, Message, Messages,
    Outcome, Position, Request, RequestError, ShardId, Stats, StreamKey, Timestamp,
};

use crate::driver::Driver;
use crate::lane::{Ask, Attempt, Lane, Share, Taken, lock};
use crate::notices::{Notices, Subscribers};
use crate::reply::reply;
use crate::runtime::Runtime;

/// How long [`Handle::close`] may take.
pub const CLOSE_DEADLINE: Duration = Duration::from_secs(5);

/// Drives `machine` in the background of `runtime`. Returns at once; [`Handle::ready`] waits
/// until it reads. Of `options`, which should be those that the machine was made from, it looks
/// at `auto_commit` and `limits`.
///
/// `connect` does this for you. It is here for machines of your own making, and those around
/// others, such as [`Recorder`](tidegate_core::trace::Recorder).
pub fn drive<R, M>(runtime: R, machine: M, options: &ConsumerOptions) -> Handle
where
    R: Runtime,
    M: Machine + Send + 'static,
{
    let delayed = matches!(options.auto_commit, AutoCommit::Delayed { .. });
    let shared = Arc::new(Shared {
        lane: Mutex::new(Lane::new(delayed, options.limits.requests_max, Share::of(&options.limits))),
        available: Event::new(),
        state: Event::new(),
        subscribers: Mutex::new(Subscribers::new(options.limits.notices_max)),
        handles: AtomicUsize::new(1),
    });
    let handle = Handle { shared: shared.clone() };
    let mut driver = Driver::new(runtime.clone(), machine, shared);
    runtime.spawn(std::future::poll_fn(move |cx| driver.poll(cx)));
    handle
}

/// What the handles and the driver share.
pub(crate) struct Shared {
    pub(crate) lane: Mutex<Lane>,
    /// There is something to take. Notifies one; who takes it notifies the next.
    pub(crate) available: Event,
    /// Ready, closed, failed or gone. Notifies all.
    pub(crate) state: Event,
    pub(crate) subscribers: Mutex<Subscribers>,
    handles: AtomicUsize,
}

/// A consumer. Clones are handles of the same consumer: each message goes to one of them.
///
/// Every future may be dropped at any await ("cancel-safe"): a message leaves the queue only in
/// the call that returns it, and a request is handed in at the first poll and from then on
/// carried out, whether or not anybody waits for it.
///
/// Dropping the last handle never blocks: what was acked is committed in the background, within
/// a second, if the runtime lives that long. [`close`](Self::close) waits for it, and says how it
/// ended.
pub struct Handle {
    shared: Arc<Shared>,
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        self.shared.handles.fetch_add(1, Ordering::Relaxed);
        Self { shared: self.shared.clone() }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // As in an `Arc`: whatever the other handles did comes before the last one's end.
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            let waker = lock(&self.shared.lane).abandon();
            wake(waker);
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// The next message; waits for it. From any number of tasks and threads at once: each
    /// message goes to one of them. `None` when there is nothing more and never will be: the
    /// input ended, or the consumer was closed.
    ///
    /// Cancel-safe: a message that was not returned is the next one.
    ///
    /// # Errors
    /// What the consumer failed with: the same each time. [`ConsumerError::Stopped`] if its
    /// runtime was shut down.
    pub async fn next(&self) -> Result<Option<Message>, ConsumerError> {
        match self.try_message() {
            Attempt::Took(message) => Ok(Some(message)),
            Attempt::Over(end) => end.map(|()| None),
            Attempt::Wait => self.wait_for(Self::try_message).await,
        }
    }

    /// All messages of a batch at once, or what [`next`](Self::next) left of it; else as `next`.
    /// The cheapest way: one call for up to [`ConsumerOptions::batch`] messages.
    ///
    /// Cancel-safe: messages that were not returned are the next ones.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn next_batch(&self) -> Result<Option<Messages>, ConsumerError> {
        loop {
            match self.wait_for(Self::try_take).await? {
                Some(Taken::Messages(messages)) => return Ok(Some(messages)),
                Some(Taken::Assigned(_) | Taken::Revoked(_)) => {}
                None => return Ok(None),
            }
        }
    }

    /// As [`next_batch`](Self::next_batch), and says where in their order shards were gained and
    /// lost. `next` and `next_batch` pass over that; the [notices](Self::notices) tell it too,
    /// but at once.
    ///
    /// Cancel-safe: what was not returned is the next.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn take(&self) -> Result<Option<Taken>, ConsumerError> {
        self.wait_for(Self::try_take).await
    }

    /// The messages as a stream; one at a time, as it borrows this handle for itself. It ends
    /// with the consumer, or after its first error.
    ///
    /// Cancel-safe: it may be dropped and made again at any time.
    pub fn stream(&mut self) -> MessageStream<'_> {
        MessageStream { handle: self, listener: None, over: false }
    }

    /// The application is done with this message. Costs a push; the broker is told by a commit.
    /// Repeated and stale ones do no harm, nor does one where there is nothing to ack.
    #[inline]
    pub fn ack(&self, message: &Message) {
        if let Some(range) = message.ack_range() {
            self.ack_range(range);
        }
    }

    /// The application is done with all of these.
    pub fn ack_batch(&self, messages: &Messages) {
        if let Some(range) = messages.ack_range() {
            self.ack_range(range);
        }
    }

    /// The application is done with these.
    #[inline]
    pub fn ack_range(&self, range: AckRange) {
        let waker = lock(&self.shared.lane).ack(range);
        wake(waker);
    }

    /// Tells the broker of all acks given so far, and waits for its answer: how many messages it
    /// was told about.
    ///
    /// Cancel-safe: dropped after its first poll, it is still carried out.
    ///
    /// # Errors
    /// The broker's refusal; a closed or failed consumer; too many requests at once.
    pub async fn commit(&self) -> Result<u64, ConsumerError> {
        match self.request(Request::Commit).await? {
            Outcome::Committed { messages } => Ok(messages),
            _ => Ok(0),
        }
    }

    /// From the next seek or rewind on, reads this shard, and no other that isn't assigned.
    ///
    /// Cancel-safe: dropped after its first poll, it is still carried out.
    ///
    /// # Errors
    /// [`RequestError::StreamNotSubscribed`]; a closed or failed consumer.
    pub async fn assign(&self, stream: &StreamKey, shard: ShardId) -> Result<(), ConsumerError> {
        self.request(Request::Assign { stream: stream.clone(), shard }).await.map(drop)
    }

    /// From the next seek or rewind on, doesn't read this shard.
    ///
    /// Cancel-safe: dropped after its first poll, it is still carried out.
    ///
    /// # Errors
    /// [`RequestError::ConsumerNotAssigned`], [`RequestError::StreamNotSubscribed`]; a closed or
    /// failed consumer.
    pub async fn unassign(&self, stream: &StreamKey, shard: ShardId) -> Result<(), ConsumerError> {
        self.request(Request::Unassign { stream: stream.clone(), shard }).await.map(drop)
    }

    /// Goes to this position, inclusive, in all assigned shards, and leaves the group: from then
    /// on real-time. When it returns, the next message is one from there. What waited to be
    /// taken is withdrawn.
    ///
    /// Cancel-safe: dropped after its first poll, it is still carried out.
    ///
    /// # Errors
    /// [`Error::Superseded`] by a later seek, rewind or close; [`RequestError::Unsupported`]; a
    /// closed or failed consumer.
    pub async fn rewind(&self, to: Position) -> Result<(), ConsumerError> {
        self.request(Request::Rewind(to)).await.map(drop)
    }

    /// Goes to the first message later than this moment; else as [`rewind`](Self::rewind).
    ///
    /// Cancel-safe: dropped after its first poll, it is still carried out.
    ///
    /// # Errors
    /// As [`rewind`](Self::rewind).
    pub async fn seek(&self, after: Timestamp) -> Result<(), ConsumerError> {
        self.request(Request::Seek(after)).await.map(drop)
    }

    /// From the first poll on, hands out nothing until [`resume`](Self::resume);
    /// [`next`](Self::next) waits. Acks, commits and the group's life go on.
    ///
    /// Cancel-safe: dropped after its first poll, it is still carried out.
    ///
    /// # Errors
    /// A closed or failed consumer.
    pub async fn pause(&self) -> Result<(), ConsumerError> {
        lock(&self.shared.lane).pause(true);
        self.request(Request::Pause).await.map(drop)
    }

    /// Goes on after [`pause`](Self::pause).
    ///
    /// Cancel-safe: dropped after its first poll, it is still carried out.
    ///
    /// # Errors
    /// A closed or failed consumer.
    pub async fn resume(&self) -> Result<(), ConsumerError> {
        lock(&self.shared.lane).pause(false);
        self.shared.available.notify(1);
        self.request(Request::Resume).await.map(drop)
    }

    /// As [`close_within`](Self::close_within), by [`CLOSE_DEADLINE`].
    ///
    /// # Errors
    /// As there.
    pub async fn close(&self) -> Result<(), ConsumerError> {
        self.close_within(CLOSE_DEADLINE).await
    }

    /// Stops reading, commits what was acked, leaves and disconnects. What was not taken will be
    /// handed out again; what was taken may still be acked until it returns. Every
    /// [`next`](Self::next) then answers `None`. Asked again, the same answer.
    ///
    /// Cancel-safe: dropped after its first poll, it is still carried out.
    ///
    /// # Errors
    /// [`Error::Uncommitted`] if the broker could not be told of everything that was acked; what
    /// the consumer had failed with before.
    pub async fn close_within(&self, deadline: Duration) -> Result<(), ConsumerError> {
        match self.request(Request::Close { deadline }).await {
            Ok(Outcome::Closed { uncommitted: messages }) if messages > 0 => {
                Err(Error::Uncommitted { messages }.into())
            }
            Ok(_) => Ok(()),
            // Somebody else closes it, or it is over: how did that end?
            Err(ConsumerError::Failed(Error::Superseded) | ConsumerError::Request(RequestError::Closed)) => {
                self.closed().await
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until the consumer reads: connected, and set up. `connect` has waited already.
    ///
    /// Cancel-safe: it only looks.
    ///
    /// # Errors
    /// What the consumer failed with before it got there.
    pub async fn ready(&self) -> Result<(), ConsumerError> {
        self.wait_state(|lane| match lane.terminal() {
            _ if lane.ready => Some(Ok(())),
            Some(Err(error)) => Some(Err(error.clone())),
            Some(Ok(())) => Some(Err(RequestError::Closed.into())),
            None => None,
        })
        .await
    }

    /// A subscription to what an operator wants to know. The first one also gets what was said
    /// before it.
    pub fn notices(&self) -> Notices {
        lock(&self.shared.subscribers).subscribe()
    }

    /// The counters, as of now; after the end, as they were then.
    ///
    /// Cancel-safe: it only looks.
    pub async fn stats(&self) -> Stats {
        let (reply, answer) = reply();
        let asked = lock(&self.shared.lane).ask(Ask::Stats(reply));
        if let Ok(waker) = asked {
            wake(waker);
            if let Some(stats) = answer.await {
                return stats;
            }
        }
        lock(&self.shared.lane).last_stats()
    }

    fn try_message(&self) -> Attempt<Message> {
        let (attempt, waker) = lock(&self.shared.lane).take_message();
        wake(waker);
        attempt
    }

    fn try_take(&self) -> Attempt<Taken> {
        let (attempt, waker) = lock(&self.shared.lane).take();
        wake(waker);
        attempt
    }

    async fn wait_for<T>(&self, attempt: fn(&Self) -> Attempt<T>) -> Result<Option<T>, ConsumerError> {
        let mut listener = None;
        std::future::poll_fn(|cx| self.poll_for(attempt, &mut listener, cx)).await
    }

    fn poll_for<T>(
        &self,
        attempt: fn(&Self) -> Attempt<T>,
        listener: &mut Option<EventListener>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<T>, ConsumerError>> {
        loop {
            match attempt(self) {
                Attempt::Took(taken) => {
                    // Whoever had to wait passes the word on, as the driver told one of us; but
                    // not where nothing is left.
                    if let Some(listening) = listener.take() {
                        listening.discard();
                        if lock(&self.shared.lane).has_more() {
                            self.shared.available.notify(1);
                        }
                    }
                    return Poll::Ready(Ok(Some(taken)));
                }
                Attempt::Over(end) => return Poll::Ready(end.map(|()| None)),
                Attempt::Wait => {}
            }
            match listener {
                // Listen first, then look again: what comes in between is seen by one of the two.
                None => *listener = Some(self.shared.available.listen()),
                Some(listening) => {
                    if pin!(listening).poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    // A listener is good for one word. The next one is there before the look.
                    *listener = Some(self.shared.available.listen());
                }
            }
        }
    }

    async fn request(&self, request: Request) -> Result<Outcome, ConsumerError> {
        let (reply, answer) = reply();
        let waker = lock(&self.shared.lane).ask(Ask::Request(request, reply))?;
        wake(waker);
        match answer.await {
            Some(outcome) => outcome,
            None => Err(lock(&self.shared.lane).why_gone()),
        }
    }

    async fn closed(&self) -> Result<(), ConsumerError> {
        self.wait_state(Lane::closed).await
    }

    async fn wait_state<T>(&self, look: impl Fn(&Lane) -> Option<T>) -> T {
        loop {
            let listener = self.shared.state.listen();
            if let Some(found) = look(&lock(&self.shared.lane)) {
                return found;
            }
            listener.await;
        }
    }
}

impl Consumer for Handle {
    async fn next(&self) -> Result<Option<Message>, ConsumerError> {
        Self::next(self).await
    }

    async fn next_batch(&self) -> Result<Option<Messages>, ConsumerError> {
        Self::next_batch(self).await
    }

    fn ack_range(&self, range: AckRange) {
        Self::ack_range(self, range);
    }

    async fn commit(&self) -> Result<u64, ConsumerError> {
        Self::commit(self).await
    }

    async fn assign(&self, stream: &StreamKey, shard: ShardId) -> Result<(), ConsumerError> {
        Self::assign(self, stream, shard).await
    }

    async fn unassign(&self, stream: &StreamKey, shard: ShardId) -> Result<(), ConsumerError> {
        Self::unassign(self, stream, shard).await
    }

    async fn rewind(&self, to: Position) -> Result<(), ConsumerError> {
        Self::rewind(self, to).await
    }

    async fn seek(&self, after: Timestamp) -> Result<(), ConsumerError> {
        Self::seek(self, after).await
    }

    async fn pause(&self) -> Result<(), ConsumerError> {
        Self::pause(self).await
    }

    async fn resume(&self) -> Result<(), ConsumerError> {
        Self::resume(self).await
    }

    async fn close(&self) -> Result<(), ConsumerError> {
        Self::close(self).await
    }
}

/// The messages of a consumer as a [`Stream`]; see [`Handle::stream`].
#[derive(Debug)]
pub struct MessageStream<'a> {
    handle: &'a Handle,
    listener: Option<EventListener>,
    over: bool,
}

impl MessageStream<'_> {
    /// As [`Handle::ack`], while the stream has the handle.
    pub fn ack(&self, message: &Message) {
        self.handle.ack(message);
    }
}

impl Stream for MessageStream<'_> {
    type Item = Result<Message, ConsumerError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        let polled = this.handle.poll_for(Handle::try_message, &mut this.listener, cx);
        polled.map(|next| {
            this.over = !matches!(next, Ok(Some(_)));
            next.transpose()
        })
    }
}

#[inline]
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}
