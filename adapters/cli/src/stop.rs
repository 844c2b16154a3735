//! Signals: the first one stops the command in order, the second one at once.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// How long the close after a signal may take.
pub(crate) const CLOSE_WITHIN: Duration = Duration::from_millis(4_500);
/// When the command ends in any case: nobody may be reading stdout.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// Whether to stop.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    asked: AtomicBool,
    notify: Notify,
}

impl Stop {
    /// A flag that the first signal sets, from now on.
    pub(crate) fn on_signals() -> io::Result<Arc<Self>> {
        let stop = Arc::new(Self::default());
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        tokio::spawn(listen(stop.clone(), interrupt, terminate));
        Ok(stop)
    }

    /// Whether it is time.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Returns when it is time.
    pub(crate) async fn wait(&self) {
        let mut notified = std::pin::pin!(self.notify.notified());
        // Listen first, then look: what comes in between is seen by one of the two.
        notified.as_mut().enable();
        if !self.is_asked() {
            notified.await;
        }
    }

    fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.notify.notify_waiters();
    }
}

async fn listen(stop: Arc<Stop>, mut interrupt: Signal, mut terminate: Signal) {
    either(&mut interrupt, &mut terminate).await;
    stop.ask();
    // Not left to the main thread: it may hang in a write that nobody reads.
    tokio::select! {
        code = either(&mut interrupt, &mut terminate) => process::exit(code),
        () = tokio::time::sleep(GIVE_UP_AFTER) => {
            crate::say::line(format_args!(
                "error: could not close within {GIVE_UP_AFTER:?}: what was not committed will be handed out again"
            ));
            process::exit(1);
        }
    }
}

/// The exit status that a shell gives to a process that the signal ended.
async fn either(interrupt: &mut Signal, terminate: &mut Signal) -> i32 {
    tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_waiters_wake_and_late_ones_do_not_wait() {
        let stop = Arc::new(Stop::default());
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let stop = stop.clone();
                tokio::spawn(async move { stop.wait().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(!stop.is_asked());
        stop.ask();
        for waiter in waiters {
            waiter.await.unwrap();
        }
        stop.wait().await;
        assert!(stop.is_asked());
    }
}
