//! franz-go as a member of a group: a Go program that is compiled once.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use super::kcat::{listen, lock, record};
use super::paths::target_dir;
use crate::{Signal, process, wait};

const SOURCES: [(&str, &str); 3] = [
    ("go.mod", include_str!("../../go/go.mod")),
    ("go.sum", include_str!("../../go/go.sum")),
    ("main.go", include_str!("../../go/main.go")),
];

/// franz-go's consumer, killed when dropped.
#[derive(Debug)]
pub struct Franz {
    child: Child,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    held: BTreeSet<i32>,
    read: Vec<(String, i32, i64, String)>,
    said: Vec<String>,
}

impl Franz {
    /// A member of this group that reads a topic from the earliest offset on, with the balancer of this
    /// name (`range`, `roundrobin`, `sticky`, `cooperative-sticky`).
    #[track_caller]
    pub fn member(bootstrap: &str, group: &str, topic: &str, balancer: &str) -> Self {
        let mut child = Command::new(program())
            .args([bootstrap, group, topic, balancer])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a program that was just compiled");
        let read = |seen: &mut Seen, line: String| seen.read.extend(record(&line));
        let seen = listen(&mut child, read, Seen::hear);
        Self { child, seen }
    }

    /// The partitions that it holds, by number.
    pub fn held(&self) -> BTreeSet<i32> {
        lock(&self.seen).held.clone()
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
        assert!(ended.is_some_and(|status| status.success()), "it said: {:#?}", lock(&self.seen).said);
    }
}

impl Drop for Franz {
    fn drop(&mut self) {
        process::end(&mut self.child);
        if thread::panicking() {
            eprintln!("--- franz-go said: {:#?}", lock(&self.seen).said);
        }
    }
}

impl Seen {
    /// `assigned 0 3`, `revoked 3`, `lost 0`.
    fn hear(&mut self, line: String) {
        let mut words = line.split(' ');
        let what = words.next().unwrap_or_default();
        for partition in words.filter_map(|word| word.parse::<i32>().ok()) {
            match what {
                "assigned" => drop(self.held.insert(partition)),
                "revoked" | "lost" => drop(self.held.remove(&partition)),
                _ => {}
            }
        }
        self.said.push(line);
    }
}

/// The program, compiled into the target directory unless it is there.
#[track_caller]
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match PROGRAM.get_or_init(compile) {
        Ok(program) => program,
        Err(error) => panic!("{error}"),
    }
}

fn compile() -> Result<PathBuf, String> {
    let mut hasher = DefaultHasher::new();
    SOURCES.hash(&mut hasher);
    let program = target_dir().join("kafka").join(format!("franz-go-{:016x}", hasher.finish()));
    if program.is_file() {
        return Ok(program);
    }
    // Other test executables may do the same at this moment: each under a name of its own.
    let own = program.with_extension(std::process::id().to_string());
    let go = std::env::var_os("GO").unwrap_or_else(|| "go".into());
    let done = Command::new(&go)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/go"))
        .args(["build", "-mod=readonly", "-o"])
        .arg(&own)
        .arg(".")
        .output()
        .map_err(|error| {
            format!("cannot run {}: {error}; install golang-go, or run tests/run", go.to_string_lossy())
        })?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        return Err(format!("the Go program of the tests does not compile (Go 1.19 or later?):\n{said}"));
    }
    std::fs::rename(&own, &program).map_err(|error| format!("the Go program of the tests: {error}"))?;
    Ok(program)
}
