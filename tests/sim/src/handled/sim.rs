//! What the code under test gets from the simulated world beside its consumer.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
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
    pub fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send + 'static {
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

    /// What `future` gives, or `None`: at every third call it is dropped at an await, at the
    /// first, second or third time that it would have to wait. So code that is said to be
    /// cancel-safe can prove it.
    pub async fn cancel<F: Future>(&self, future: F) -> Option<F::Output> {
        let left = if self.chance(33) { self.below(3) } else { u64::MAX };
        let mut future = pin!(future);
        Countdown { left, woken: false }.over(future.as_mut()).await
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

/// Counts the times that a future had to wait.
struct Countdown {
    left: u64,
    woken: bool,
}

impl Countdown {
    async fn over<F: Future>(mut self, mut future: Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(move |cx| self.poll(future.as_mut(), cx)).await
    }

    fn poll<F: Future>(&mut self, future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        if let Poll::Ready(output) = future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if self.left == 0 {
            // Not in the very poll that would wait: others do something in between.
            if std::mem::replace(&mut self.woken, true) {
                return Poll::Ready(None);
            }
            cx.waker().wake_by_ref();
        } else {
            self.left -= 1;
        }
        Poll::Pending
    }
}
