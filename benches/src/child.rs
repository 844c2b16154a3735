//! One run in one process: started, waited for, and measured from inside.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::stats::quantile;
use crate::tally::Tally;

/// What a child tells its parent: one line of JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Messages taken.
    pub taken: u64,
    /// Bytes of payload taken.
    pub bytes: u64,
    /// From before the connection was opened until all was taken and acked, in seconds.
    pub seconds: f64,
    /// Of these, until the first message was taken.
    #[serde(default)]
    pub first: Option<f64>,
    /// From the end of `seconds` until the broker had every ack, in seconds, where the client cannot tell by itself.
    pub tail: Option<f64>,
    /// User and system time of the child during the run, in seconds.
    pub cpu: f64,
    /// Peak resident memory, in MiB.
    pub peak: f64,
    /// Median delay in microseconds, of a latency run.
    pub p50: Option<f64>,
    /// 99th percentile of the delay in microseconds, of a latency run.
    pub p99: Option<f64>,
    /// What went wrong, if anything did.
    pub failure: Option<String>,
}

/// Measures `consume` inside the child.
pub fn measure(want: u64, live: bool, consume: impl FnOnce(&mut Tally) -> Result<(), Failure>) -> Measured {
    let before = cpu_seconds();
    let mut tally = Tally::start(want, live);
    let failure = consume(&mut tally).err().map(|failure| failure.to_string());
    tally.finish();
    let seconds = tally.finished().unwrap_or_default().as_secs_f64();
    let first = tally.first().map(|first| first.as_secs_f64());
    let tail = tally.tail().map(|tail| tail.as_secs_f64());
    let (taken, bytes) = (tally.taken(), tally.bytes());
    let cpu = cpu_seconds() - before;
    let delays = tally.into_delays();
    let micros = |q| quantile(&delays, q).map(|nanos| nanos as f64 / 1e3);
    Measured {
        taken,
        bytes,
        seconds,
        first,
        tail,
        cpu,
        peak: peak_mib(),
        p50: micros(0.5),
        p99: micros(0.99),
        failure,
    }
}

/// Starts this program again with `arguments` and answers what it printed. A child that outlives `limit`, or
/// the moment in which `stop` becomes true, is killed.
pub fn run(arguments: &[String], limit: Duration, stop: &AtomicBool) -> Result<Measured, Failure> {
    let program = std::env::current_exe()?;
    let mut child =
        Guard(Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let deadline = Instant::now() + limit;
    // One short line: it fits into the pipe, so the child never waits for its reader.
    let status = loop {
        if let Some(status) = child.0.try_wait()? {
            break status;
        }
        if stop.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
        if Instant::now() > deadline {
            return Err(format!("not done after {} s", limit.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut printed = String::new();
    if let Some(mut stdout) = child.0.stdout.take() {
        stdout.read_to_string(&mut printed)?;
    }
    if !status.success() {
        return Err(format!("died: {status}").into());
    }
    Ok(serde_json::from_str(&printed)?)
}

/// Ends this process when its parent is gone, killed outright even: the parent holds the other end of stdin
/// and writes nothing. A client under measurement might otherwise reconnect for ever.
pub fn die_with_parent() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
}

/// A process that ends with its owner, whichever way that goes.
#[derive(Debug)]
pub struct Guard(
    /// The process.
    pub Child,
);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only where the process is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// User and system time of all threads of this process so far, in seconds.
fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// VmHWM rather than `ru_maxrss`: the latter is inherited from the parent across `exec`.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_work_time_and_failure() {
        let measured = measure(3, false, |tally| {
            let until = Instant::now() + Duration::from_millis(20);
            while Instant::now() < until {
                tally.take(b"x");
            }
            tally.finish();
            std::thread::sleep(Duration::from_millis(20));
            tally.settle();
            Err("half way".into())
        });
        assert!(measured.taken > 3 && measured.bytes == measured.taken);
        assert!(measured.seconds >= 0.02);
        assert!(measured.tail.unwrap() >= 0.02);
        assert!(measured.cpu > 0.0 && measured.peak > 0.1);
        assert_eq!((measured.p50, measured.failure.as_deref()), (None, Some("half way")));
        let line = serde_json::to_string(&measured).unwrap();
        assert_eq!(serde_json::from_str::<Measured>(&line).unwrap().taken, measured.taken);
    }

    #[test]
    fn a_guard_ends_its_process() {
        let guard = Guard(Command::new("sleep").arg("60").spawn().unwrap());
        let status = format!("/proc/{}/status", guard.0.id());
        assert!(std::fs::exists(&status).unwrap());
        drop(guard);
        assert!(!std::fs::exists(&status).unwrap());
    }
}
