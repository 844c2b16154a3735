//! kcat: librdkafka as a producer, and as a member of a group.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::admin::Admin;
use crate::consume::each_line;
use crate::{Signal, process, wait};

/// Not in a value that a test writes.
const END: &str = "\x1f";

fn program() -> OsString {
    std::env::var_os("KCAT").unwrap_or_else(|| "kcat".into())
}

fn missing(error: &std::io::Error) -> String {
    format!("cannot run {}: {error}; install kafkacat, or run tests/run", program().to_string_lossy())
}

/// Writes values to a partition with kcat, as `key:value` where there is a key. More arguments as on
/// its command line: `-z lz4`, `-H name=value`, `-Z` (an empty value is null).
#[track_caller]
pub fn kcat_produce(admin: &Admin, topic: &str, partition: i32, values: &[&str], args: &[&str]) {
    let mut child = Command::new(program())
        .args(["-P", "-b", admin.bootstrap(), "-t", topic, "-p", &partition.to_string(), "-D", END])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}", missing(&error)));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(values.join(END).as_bytes()).expect("kcat reads its input");
    drop(stdin);
    let done = child.wait_with_output().expect("kcat can be waited for");
    assert!(done.status.success(), "kcat {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A kcat that is a member of a group, killed when dropped.
#[derive(Debug)]
pub struct Kcat {
    child: Child,
    seen: Arc<Mutex<KcatSeen>>,
}

#[derive(Debug, Default)]
struct KcatSeen {
    held: BTreeSet<(String, i32)>,
    read: Vec<(String, i32, i64, String)>,
    said: Vec<String>,
}

impl Kcat {
    /// A member of this group that reads these topics from the earliest offset on, with settings of
    /// librdkafka (`partition.assignment.strategy`).
    #[track_caller]
    pub fn member(admin: &Admin, group: &str, topics: &[&str], configs: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program());
        command.args(["-b", admin.bootstrap(), "-u", "-f", "%t\x1f%p\x1f%o\x1f%s\n"]);
        command.args(["-X", "auto.offset.reset=earliest", "-X", "auto.commit.interval.ms=200"]);
        for (name, value) in configs {
            command.args(["-X", &format!("{name}={value}")]);
        }
        command.args(["-G", group]).args(topics);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}", missing(&error)));
        let read = |seen: &mut KcatSeen, line: String| seen.read.extend(record(&line));
        let seen = listen(&mut child, read, KcatSeen::hear);
        Self { child, seen }
    }

    /// The partitions that it holds, by number.
    pub fn held(&self) -> BTreeSet<i32> {
        lock(&self.seen).held.iter().map(|(_, partition)| *partition).collect()
    }

    /// What it has read: topic, partition, offset, value.
    pub fn read(&self) -> Vec<(String, i32, i64, String)> {
        lock(&self.seen).read.clone()
    }

    /// SIGTERM, on which it leaves the group; returns when it has ended.
    #[track_caller]
    pub fn close(mut self) {
        process::signal(self.child.id(), Signal::TERM);
        let ended = process::wait_for_end(&mut self.child, wait::PATIENCE);
        assert!(ended.is_some(), "kcat runs on; it said: {:#?}", lock(&self.seen).said);
    }

    /// SIGKILL.
    pub fn kill9(mut self) {
        process::end(&mut self.child);
    }
}

impl Drop for Kcat {
    fn drop(&mut self) {
        process::end(&mut self.child);
        if thread::panicking() {
            eprintln!("--- kcat said: {:#?}", lock(&self.seen).said);
        }
    }
}

impl KcatSeen {
    /// `% Group NAME rebalanced (memberid ID): assigned: topic [0], topic [1]`, or, cooperatively,
    /// `% Group NAME rebalanced: incremental assignment of 2 partition(s) (memberid …): topic [0] …`.
    fn hear(&mut self, line: String) {
        if let Some((_, what)) = line.split_once(" rebalanced")
            && let Some((how, list)) = what.rsplit_once(": ")
        {
            if how.contains("revoke") || how.contains("unassign") {
                for partition in partitions(list) {
                    self.held.remove(&partition);
                }
            } else {
                self.held.extend(partitions(list));
            }
        }
        self.said.push(line);
    }
}

fn partitions(text: &str) -> impl Iterator<Item = (String, i32)> {
    text.split(", ").filter_map(|one| {
        let (topic, number) = one.trim().strip_suffix(']')?.split_once(" [")?;
        Some((topic.to_owned(), number.parse().ok()?))
    })
}

/// What a member says, line by line: what it read on stdout, what it holds on stderr.
pub(super) fn listen<S: Default + Send + 'static>(
    child: &mut Child,
    read: fn(&mut S, String),
    hear: fn(&mut S, String),
) -> Arc<Mutex<S>> {
    let seen = Arc::new(Mutex::new(S::default()));
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    thread::spawn({
        let seen = Arc::clone(&seen);
        move || each_line(stdout, |line| read(&mut lock(&seen), line))
    });
    thread::spawn({
        let seen = Arc::clone(&seen);
        move || each_line(stderr, |line| hear(&mut lock(&seen), line))
    });
    seen
}

/// A line of topic, partition, offset and value.
pub(super) fn record(line: &str) -> Option<(String, i32, i64, String)> {
    let mut parts = line.splitn(4, END);
    let topic = parts.next()?.to_owned();
    Some((topic, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.to_owned()))
}

pub(super) fn lock<S>(seen: &Mutex<S>) -> MutexGuard<'_, S> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
