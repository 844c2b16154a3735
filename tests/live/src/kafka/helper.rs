//! The Java process that does what takes Apache Kafka's own clients; one for each test executable.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::paths::{self, Version};

/// A request is given this long.
const PATIENCE: Duration = Duration::from_secs(180);

static HELPER: OnceLock<Helper> = OnceLock::new();

/// Asks the Java process: `op` with these fields.
pub(super) fn ask(op: &str, fields: Value) -> Result<Value, String> {
    HELPER.get_or_init(Helper::start).ask(op, fields)
}

/// Tells it that a cluster is gone, if it was ever asked anything.
pub(super) fn forget(bootstrap: &str) {
    if let Some(helper) = HELPER.get() {
        helper.ask("forget", json!({ "bootstrap": bootstrap })).ok();
    }
}

struct Helper {
    to: Mutex<(ChildStdin, u64)>,
    shared: Arc<Shared>,
    _child: Child,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    answers: HashMap<u64, Value>,
    ended: bool,
    /// The last lines of its stderr.
    said: VecDeque<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Helper {
    fn start() -> Self {
        let mut child = Command::new(paths::java())
            .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
            .arg(paths::class_path(Version::Newest))
            .arg("Helper")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot run {}: {error}; run tests/run", paths::java().to_string_lossy())
            });
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let shared = Arc::new(Shared::default());
        thread::spawn({
            let shared = Arc::clone(&shared);
            move || read_answers(&shared, stdout)
        });
        thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let mut state = shared.lock();
                    if state.said.len() == 20 {
                        state.said.pop_front();
                    }
                    state.said.push_back(line);
                }
            }
        });
        Self { to: Mutex::new((stdin, 0)), shared, _child: child }
    }

    fn ask(&self, op: &str, fields: Value) -> Result<Value, String> {
        let Value::Object(fields) = fields else { panic!("fields of a request: {fields}") };
        let id = {
            let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
            to.1 += 1;
            let id = to.1;
            let mut request = Map::new();
            request.insert("id".into(), json!(id));
            request.insert("op".into(), json!(op));
            request.extend(fields);
            let line = format!("{}\n", Value::Object(request));
            to.0.write_all(line.as_bytes()).and_then(|()| to.0.flush()).map_err(|error| {
                format!("the Java process is gone ({error}); it said: {:#?}", self.shared.lock().said)
            })?;
            id
        };
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        loop {
            if let Some(mut answer) = state.answers.remove(&id) {
                return match answer.get("error").and_then(Value::as_str) {
                    Some(error) => Err(format!("{op}: {error}; its last warnings: {:#?}", state.said)),
                    None => Ok(answer["ok"].take()),
                };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return Err(format!("{op}: no answer of the Java process; it said: {:#?}", state.said));
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn read_answers(shared: &Shared, from: impl Read) {
    for line in BufReader::new(from).lines().map_while(Result::ok) {
        let Ok(answer) = serde_json::from_str::<Value>(&line) else { continue };
        if let Some(id) = answer["id"].as_u64() {
            shared.lock().answers.insert(id, answer);
            shared.changed.notify_all();
        }
    }
    shared.lock().ended = true;
    shared.changed.notify_all();
}
