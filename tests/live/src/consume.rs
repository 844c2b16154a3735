//! A running `tidegate consume`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Signal, binary, process, wait};

/// One line of `--format ndjson`, as CLI.md fixes it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The stream's key without its shard.
    pub stream: String,
    /// The shard's number.
    pub shard: u64,
    /// The Redis id, or the Kafka offset.
    pub seq: String,
    /// The id's time, or the record's, RFC 3339 in milliseconds.
    pub timestamp: String,
    /// Null on Redis; on Kafka the record's key, if it is text.
    #[serde(default)]
    pub key: Option<String>,
    /// The key in base64, if it isn't.
    #[serde(default)]
    pub key_base64: Option<String>,
    /// The payload, if it is text.
    #[serde(default)]
    pub payload: Option<String>,
    /// The payload in base64, if it isn't.
    #[serde(default)]
    pub payload_base64: Option<String>,
    /// All fields of the entry.
    #[serde(default)]
    pub fields: Map<String, Value>,
    /// Nothing on Redis; on Kafka the record's headers in their order.
    #[serde(default)]
    pub headers: Vec<HeaderLine>,
    /// How often it was handed out, from 1.
    pub deliveries: u64,
}

/// A header of a Kafka record: what isn't text is in base64 instead.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderLine {
    /// The key.
    #[serde(default)]
    pub key: Option<String>,
    /// The key in base64.
    #[serde(default)]
    pub key_base64: Option<String>,
    /// The value.
    #[serde(default)]
    pub value: Option<String>,
    /// The value in base64.
    #[serde(default)]
    pub value_base64: Option<String>,
}

/// A line of stdout or stderr.
#[derive(Debug, Clone)]
pub struct Line {
    /// When the test had read it.
    pub at: Instant,
    /// The line without its end; bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// A message in short, for tests with very many of them.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// When the test had read its line.
    pub at: Instant,
    /// The shard's number.
    pub shard: u64,
    /// The offset.
    pub offset: u64,
    /// The payload, where it is a number and nothing else.
    pub number: Option<u64>,
}

/// All that a process has said so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// stdout, line by line.
    pub lines: Vec<Line>,
    /// stdout as messages, one for each of `lines`; empty with `--format payload`.
    pub messages: Vec<Message>,
    /// stdout in short, if that was asked for; then `lines` and `messages` are empty.
    pub taken: Vec<Taken>,
    /// stderr, line by line.
    pub notices: Vec<Line>,
    /// The first line of stdout that should have been a message and is none.
    malformed: Option<String>,
    ended: bool,
}

impl Seen {
    /// The payloads that were shown, each once.
    pub fn payloads(&self) -> BTreeSet<&str> {
        self.messages.iter().filter_map(|message| message.payload.as_deref()).collect()
    }

    /// The sequences that were shown, each once.
    pub fn seqs(&self) -> BTreeSet<&str> {
        self.messages.iter().map(|message| message.seq.as_str()).collect()
    }

    /// Whether a line of stderr holds `word`, in whatever case.
    pub fn noticed(&self, word: &str) -> bool {
        self.noticed_after(0, word)
    }

    /// The same, leaving out the first `skip` lines.
    pub fn noticed_after(&self, skip: usize, word: &str) -> bool {
        let word = word.to_lowercase();
        self.notices.iter().skip(skip).any(|line| line.text.to_lowercase().contains(&word))
    }

    fn is_malformed(&mut self, error: &dyn std::fmt::Display, text: &str) {
        self.malformed.get_or_insert_with(|| format!("{error}: {text}"));
    }

    /// The end of stderr.
    pub fn stderr_tail(&self) -> String {
        let from = self.notices.len().saturating_sub(30);
        self.notices[from..].iter().map(|line| format!("  {}\n", line.text)).collect()
    }
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a [`Consume`] is started.
#[derive(Debug)]
pub struct ConsumeBuilder {
    command: Command,
    what: String,
    lines: Lines,
    nobody_reads: bool,
}

/// What is kept of a line of stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lines {
    Messages,
    Payloads,
    Short,
}

impl ConsumeBuilder {
    /// Keeps of each message only what [`Taken`] has: for a single stream of Kafka.
    pub fn in_short(mut self) -> Self {
        self.lines = Lines::Short;
        self
    }

    /// Closes the reading end of stdout at once, as `| head -0` would.
    pub fn nobody_reads(mut self) -> Self {
        self.nobody_reads = true;
        self
    }

    /// More arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        for arg in args {
            let arg = arg.as_ref();
            if arg == "payload" {
                self.lines = Lines::Payloads;
            }
            self.what.push(' ');
            self.what.push_str(arg);
            self.command.arg(arg);
        }
        self
    }

    /// `--mode load-balanced` as this member of this group.
    pub fn member(self, group: &str, consumer: &str) -> Self {
        self.args(["--mode", "load-balanced", "--group", group, "--consumer", consumer])
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts the process.
    #[track_caller]
    pub fn start(mut self) -> Consume {
        let command = &mut self.command;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.what));
        let shared = Arc::new(Shared::default());
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let mut readers = vec![thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                each_line(stderr, |text| {
                    shared.lock().notices.push(Line { at: Instant::now(), text });
                    shared.changed.notify_all();
                });
            }
        })];
        if self.nobody_reads {
            drop(stdout);
        } else {
            let shared = Arc::clone(&shared);
            let lines = self.lines;
            readers.push(thread::spawn(move || read_messages(&shared, stdout, lines)));
        }
        Consume { what: self.what, child, shared, readers }
    }
}

/// A `tidegate consume` process, killed when dropped. On a failed test it prints what it said.
#[derive(Debug)]
pub struct Consume {
    what: String,
    child: Child,
    shared: Arc<Shared>,
    readers: Vec<JoinHandle<()>>,
}

impl Consume {
    /// `tidegate consume URL`, not started yet.
    pub fn of(url: &str) -> ConsumeBuilder {
        let mut command = Command::new(binary::tidegate());
        command.args(["consume", url]).env("NO_COLOR", "1").env_remove("RUST_LOG");
        ConsumeBuilder {
            command,
            what: format!("tidegate consume {url}"),
            lines: Lines::Messages,
            nobody_reads: false,
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far; it can't say more while the answer is held.
    pub fn seen(&self) -> impl std::ops::Deref<Target = Seen> {
        self.shared.lock()
    }

    /// How many lines of stdout there are.
    pub fn count(&self) -> usize {
        self.seen().lines.len()
    }

    /// Waits until what it has said fulfils `enough`. Panics with `what` after `within`, and at once
    /// when the process has ended without fulfilling it.
    #[track_caller]
    pub fn wait_for(&self, what: &str, within: Duration, mut enough: impl FnMut(&Seen) -> bool) {
        let deadline = Instant::now() + within;
        let mut seen = self.shared.lock();
        while !enough(&seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = seen.ended;
            assert!(
                !ended && !left.is_zero(),
                "{}: {what}; {} lines of stdout; stderr:\n{}",
                if ended { "ended without" } else { "not in time" },
                seen.lines.len(),
                seen.stderr_tail()
            );
            seen = self.shared.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for this many lines of stdout.
    #[track_caller]
    pub fn wait_for_count(&self, count: usize) {
        self.wait_for(&format!("{count} messages"), wait::PATIENCE, |seen| seen.lines.len() >= count);
    }

    /// Waits until each of these payloads was shown.
    #[track_caller]
    pub fn wait_for_payloads(&self, payloads: impl IntoIterator<Item = impl Into<String>>, within: Duration) {
        let mut missing: BTreeSet<String> = payloads.into_iter().map(Into::into).collect();
        let mut read = 0;
        let what = format!("each of {} payloads", missing.len());
        let deadline = Instant::now() + within;
        let mut seen = self.shared.lock();
        loop {
            for message in &seen.messages[read..] {
                message.payload.as_ref().map(|payload| missing.remove(payload));
            }
            read = seen.messages.len();
            if missing.is_empty() {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let some: Vec<_> = missing.iter().take(5).collect();
            assert!(
                !seen.ended && !left.is_zero(),
                "{what} {}; {read} messages shown, {} missing, such as {some:?}; stderr:\n{}",
                if seen.ended { "not before its end" } else { "not in time" },
                missing.len(),
                seen.stderr_tail()
            );
            seen = self.shared.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// SIGSTOP, and returns when it stands still.
    pub fn stop(&self) {
        process::stop(self.pid());
    }

    /// SIGCONT.
    pub fn cont(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGKILL, and returns when it is gone.
    pub fn kill9(&mut self) {
        self.child.kill().expect("the process can be killed");
        self.child.wait().expect("the process can be waited for");
        self.join();
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether it ends by itself in this time.
    pub fn ends_within(&mut self, within: Duration) -> bool {
        process::wait_for_end(&mut self.child, within).is_some()
    }

    /// Waits until it ends by itself, with all that it said read.
    #[track_caller]
    pub fn end_within(&mut self, within: Duration) -> ExitStatus {
        let status = process::wait_for_end(&mut self.child, within);
        let Some(status) = status else {
            panic!("`{}` runs on after {within:?}; stderr:\n{}", self.what, self.seen().stderr_tail());
        };
        self.join();
        let malformed = self.seen().malformed.clone();
        assert_eq!(malformed, None, "a line of stdout that is no message");
        status
    }

    /// Waits until it ends by itself with exit status 0.
    #[track_caller]
    pub fn finish(&mut self) {
        let status = self.end_within(wait::PATIENCE);
        assert_eq!(status.code(), Some(0), "{status}; stderr:\n{}", self.seen().stderr_tail());
    }

    /// SIGINT, and exit status 0 within the 5 s that CLI.md promises.
    #[track_caller]
    pub fn interrupt(&mut self) {
        self.signal(Signal::INT);
        let status = self.end_within(Duration::from_secs(5));
        assert_eq!(status.code(), Some(0), "{status}; stderr:\n{}", self.seen().stderr_tail());
    }

    /// Panics if this is anywhere in what it has said so far.
    #[track_caller]
    pub fn never_said(&self, secret: &str) {
        let seen = self.seen();
        let said = seen.lines.iter().chain(&seen.notices).find(|line| line.text.contains(secret));
        assert!(said.is_none(), "said {secret}: {said:?}");
    }

    fn join(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().ok();
        }
    }
}

impl Drop for Consume {
    fn drop(&mut self) {
        process::end(&mut self.child);
        self.join();
        if thread::panicking() {
            let seen = self.shared.lock();
            let last = seen.lines.last().map(|line| line.text.as_str());
            eprintln!(
                "--- {}\n{} lines on stdout, the last {last:?}; malformed: {:?}; stderr, the end:\n{}---",
                self.what,
                seen.lines.len() + seen.taken.len(),
                seen.malformed,
                seen.stderr_tail()
            );
        }
    }
}

fn read_messages(shared: &Shared, stdout: ChildStdout, lines: Lines) {
    each_line(stdout, |text| {
        let at = Instant::now();
        let message = (lines == Lines::Messages).then(|| serde_json::from_str::<Message>(&text));
        let taken = (lines == Lines::Short).then(|| in_short(at, &text));
        let mut seen = shared.lock();
        match (message, taken) {
            (Some(Ok(message)), _) => seen.messages.push(message),
            (Some(Err(error)), _) => seen.is_malformed(&error, &text),
            (_, Some(Some(taken))) => seen.taken.push(taken),
            (_, Some(None)) => seen.is_malformed(&"no shard and offset", &text),
            (None, None) => {}
        }
        if lines != Lines::Short {
            seen.lines.push(Line { at, text });
        }
        drop(seen);
        shared.changed.notify_all();
    });
    shared.lock().ended = true;
    shared.changed.notify_all();
}

/// Shard and offset stand before anything that a producer may have written, but for a key.
fn in_short(at: Instant, text: &str) -> Option<Taken> {
    let digits = |after: &str| {
        let (_, rest) = text.split_once(after)?;
        Some(rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?))
    };
    let number = |after: &str| digits(after)?.0.parse().ok();
    let payload = digits("\"payload\":\"").filter(|(_, rest)| rest.starts_with('"'));
    Some(Taken {
        at,
        shard: number("\"shard\":")?,
        offset: number("\"seq\":\"")?,
        number: payload.and_then(|(digits, _)| digits.parse().ok()),
    })
}

pub(crate) fn each_line(from: impl Read, mut line: impl FnMut(String)) {
    let mut from = BufReader::with_capacity(64 * 1024, from);
    let mut bytes = Vec::new();
    while let Ok(1..) = from.read_until(b'\n', &mut bytes) {
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        line(String::from_utf8_lossy(&bytes).into_owned());
        bytes.clear();
    }
}
