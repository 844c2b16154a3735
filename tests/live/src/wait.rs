//! Conditions instead of sleeps.

use std::thread;
use std::time::{Duration, Instant};

/// How often a question is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// Long enough for anything that has no bound of its own: a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks `probe` until it answers `Some`, and returns that. Panics with `what` after `within`.
#[track_caller]
pub fn until<T>(what: &str, within: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(started.elapsed() < within, "not within {within:?}: {what}");
        thread::sleep(PAUSE);
    }
}

/// As [`until`], for a question with yes or no.
#[track_caller]
pub fn until_true(what: &str, within: Duration, mut probe: impl FnMut() -> bool) {
    until(what, within, || probe().then_some(()));
}

/// Watches for the whole of `during` that `holds` never answers no.
#[track_caller]
pub fn always(what: &str, during: Duration, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while started.elapsed() < during {
        assert!(holds(), "no longer true after {:?}: {what}", started.elapsed());
        thread::sleep(PAUSE);
    }
}
