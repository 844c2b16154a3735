//! Notices for whoever subscribed: bounded, the oldest go first.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};

use event_listener::{Event, EventListener};
use futures_core::Stream;
use tidegate_core::Notice;

use crate::lane::lock;

/// A subscription to what an operator wants to know at once. It keeps at most
/// [`Limits::notices_max`](tidegate_core::Limits::notices_max); what it loses for that,
/// [`lost`](Self::lost) counts. It doesn't keep the consumer alive.
///
/// Also a [`Stream`], which ends with the consumer.
#[derive(Debug)]
pub struct Notices {
    queue: Arc<Queue>,
    listener: Option<EventListener>,
}

impl Notices {
    /// The next notice; waits for it. `None` once the consumer has ended.
    ///
    /// Cancel-safe: a notice is taken only in the call that returns it.
    pub async fn recv(&mut self) -> Option<Notice> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next notice if one is there.
    pub fn try_recv(&mut self) -> Option<Notice> {
        lock(&self.queue.state).notices.pop_front()
    }

    /// How many were lost because nobody took them, since the subscription began.
    pub fn lost(&self) -> u64 {
        lock(&self.queue.state).lost
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        loop {
            let mut state = lock(&self.queue.state);
            if let Some(notice) = state.notices.pop_front() {
                return Poll::Ready(Some(notice));
            }
            if state.over {
                return Poll::Ready(None);
            }
            drop(state);
            match &mut self.listener {
                // Listen first, then look again: what comes in between is seen by one of the two.
                None => self.listener = Some(self.queue.event.listen()),
                Some(listener) => {
                    if pin!(listener).poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.listener = None;
                }
            }
        }
    }
}

impl Stream for Notices {
    type Item = Notice;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.get_mut().poll_recv(cx)
    }
}

#[derive(Debug)]
struct Queue {
    state: Mutex<QueueState>,
    event: Event,
}

#[derive(Debug, Default)]
struct QueueState {
    notices: VecDeque<Notice>,
    lost: u64,
    over: bool,
}

impl QueueState {
    fn push(&mut self, notice: Notice, max: usize) {
        if self.notices.len() >= max.max(1) {
            self.notices.pop_front();
            self.lost += 1;
        }
        self.notices.push_back(notice);
    }
}

/// All subscriptions of a consumer.
pub(crate) struct Subscribers {
    max: usize,
    /// What was said before the first subscription, which gets it.
    early: Option<QueueState>,
    queues: Vec<Weak<Queue>>,
    over: bool,
}

impl Subscribers {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, early: Some(QueueState::default()), queues: Vec::new(), over: false }
    }

    pub(crate) fn subscribe(&mut self) -> Notices {
        let mut state = self.early.take().unwrap_or_default();
        state.over = self.over;
        let queue = Arc::new(Queue { state: Mutex::new(state), event: Event::new() });
        self.queues.retain(|queue| queue.strong_count() > 0);
        self.queues.push(Arc::downgrade(&queue));
        Notices { queue, listener: None }
    }

    pub(crate) fn publish(&mut self, notice: &Notice) {
        if let Some(early) = &mut self.early {
            early.push(notice.clone(), self.max);
        }
        for queue in self.queues.iter().filter_map(Weak::upgrade) {
            lock(&queue.state).push(notice.clone(), self.max);
            queue.event.notify(usize::MAX);
        }
    }

    pub(crate) fn end(&mut self) {
        self.over = true;
        for queue in self.queues.iter().filter_map(Weak::upgrade) {
            lock(&queue.state).over = true;
            queue.event.notify(usize::MAX);
        }
    }
}
