//! One answer from the driver to one call.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::lane::lock;

/// The driver's end. Dropped without an answer, it answers `None`.
pub(crate) struct Reply<T>(Arc<Mutex<State<T>>>);

/// The caller's end; may be dropped at any time.
pub(crate) struct Answer<T>(Arc<Mutex<State<T>>>);

struct State<T> {
    value: Option<T>,
    over: bool,
    waker: Option<Waker>,
}

pub(crate) fn reply<T>() -> (Reply<T>, Answer<T>) {
    let state = Arc::new(Mutex::new(State { value: None, over: false, waker: None }));
    (Reply(state.clone()), Answer(state))
}

impl<T> Reply<T> {
    pub(crate) fn send(self, value: T) {
        lock(&self.0).value = Some(value);
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.over = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.0);
        if state.over {
            return Poll::Ready(state.value.take());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
