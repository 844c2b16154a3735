//! Signals by process id.

use rustix::process::{Pid, kill_process};
use std::process::Child;
use std::time::Duration;

pub use rustix::process::Signal;

use crate::wait;

/// Sends a signal to one process. Panics if there is no such process.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("a process id is above zero");
    kill_process(pid, signal).unwrap_or_else(|error| panic!("signal {signal:?} to {pid:?}: {error}"));
}

/// Stops a process and returns when the kernel says that it stands still.
pub(crate) fn stop(pid: u32) {
    signal(pid, Signal::STOP);
    wait::until_true("the process is stopped", wait::PATIENCE, || state(pid) == Some('T'));
}

/// Ends a child whatever state it is in, and collects it.
pub(crate) fn end(child: &mut Child) {
    if matches!(child.try_wait(), Ok(None)) {
        child.kill().ok();
        child.wait().ok();
    }
}

/// The child's exit code, if it ends in time; a signal gives `None` in the status.
pub(crate) fn wait_for_end(child: &mut Child, within: Duration) -> Option<std::process::ExitStatus> {
    let started = std::time::Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if started.elapsed() > within {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The letter of /proc/PID/stat, as ps shows it.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// The most memory that a process has had resident so far, in KiB; `None` when it has ended.
pub fn peak_memory_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
