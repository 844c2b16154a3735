//! What the code under test gets from the simulated world beside its consumer.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tidegate::{Runtime, Timer};
use tidegate_core::Instant;

use super::net::{SimRuntime, SimTimer};
use crate::backend::Observed;

/// The world of one member's process: its clock, its timers, its tasks, its dice. Clones are the
/// same one.
///
/// Code that waits by it waits in virtual time: an hour costs nothing. Everything that it gives
/// is a function of the seed.
#[derive(Clone)]
pub struct Sim {
    runtime: SimRuntime,
    member: Arc<str>,
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("member", &self.member).finish_non_exhaustive()
    }
}

impl Sim {
    pub(super) fn new(runtime: SimRuntime, member: Arc<str>) -> Self {
        Self { runtime, member }
    }

    /// The name of this member, as its broker knows it.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.runtime.now()
    }

    /// Waits so long, in virtual time; with zero, until the other tasks have had their turn.
    pub fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + use<> {
        let runtime = self.runtime.clone();
        let until = self.now() + time;
        let (mut timer, mut yielded): (Option<SimTimer>, bool) = (None, !time.is_zero());
        std::future::poll_fn(move |cx| {
            if !std::mem::replace(&mut yielded, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let timer = timer.get_or_insert_with(|| {
                let mut timer = runtime.timer();
                timer.arm(until);
                timer
            });
            timer.poll_fired(cx)
        })
    }

    /// What `future` gives, or `None` if it takes longer: it is then dropped.
    pub async fn timeout<F: Future>(&self, time: Duration, future: F) -> Option<F::Output> {
        let mut sleep = pin!(self.sleep(time));
        let mut future = pin!(future);
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
        })
        .await
    }

    /// What `future` gives, or `None`: every third one is dropped at an await, in half of the
    /// cases when it was woken already and has not looked yet. So code that is said to be
    /// cancel-safe can prove it.
    pub async fn cancel<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut waits = self.chance(33).then(|| 1 + self.below(2));
        let at_once = self.chance(50);
        let mut future = pin!(future);
        std::future::poll_fn(move |cx| {
            if waits == Some(0) {
                return Poll::Ready(None);
            }
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if let Some(left) = &mut waits {
                *left -= 1;
                if *left == 0 && at_once {
                    cx.waker().wake_by_ref();
                }
            }
            Poll::Pending
        })
        .await
    }

    /// True in so many of a hundred cases.
    pub fn chance(&self, percent: u32) -> bool {
        self.below(100) < u64::from(percent)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        self.runtime.net().random.below(bound)
    }

    /// Runs another task in this process. It ends with the process, at the latest.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Writes a line into the trace of the run, as the process would into its log.
    pub fn note(&self, text: impl Into<String>) {
        self.runtime.net().seen.push(Observed::Note(text.into()));
    }
}
