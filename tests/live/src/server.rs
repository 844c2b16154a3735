//! A redis-server of one's own.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::client::Client;
use crate::{Signal, port, process, wait};

/// How a [`RedisServer`] is started. The default keeps everything in memory.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Write every command to the append-only file, and sync it before answering: nothing that was
    /// answered is lost by [`RedisServer::kill9`].
    pub durable: bool,
    /// What a client must show (`--requirepass`).
    pub password: Option<String>,
    /// More arguments, as on redis-server's command line.
    pub args: Vec<String>,
}

/// A redis-server on a loopback port, killed when dropped. On a failed test it prints its books.
#[derive(Debug)]
pub struct RedisServer {
    options: Options,
    port: u16,
    dir: TempDir,
    child: Child,
}

impl RedisServer {
    /// A server with default options, ready to answer.
    pub fn start() -> Self {
        Self::with(Options::default())
    }

    /// A server whose files survive [`kill9`](Self::kill9).
    pub fn durable() -> Self {
        Self::with(Options { durable: true, ..Options::default() })
    }

    /// A server, ready to answer.
    pub fn with(options: Options) -> Self {
        let dir =
            tempfile::Builder::new().prefix("tidegate-redis-").tempdir().expect("a temporary directory");
        // Between choosing a port and using it another process may come first: then choose again.
        for _ in 0..20 {
            let port = port::unused_port();
            let mut child = spawn(&options, port, dir.path());
            if ready(&mut child, &options, port, dir.path()) {
                return Self { options, port, dir, child };
            }
        }
        panic!("redis-server does not start; its log:\n{}", tail(dir.path()));
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:port/path`, with the password if there is one.
    pub fn url(&self, path: &str) -> String {
        url(&self.options, self.port, path)
    }

    /// A client of its own. Panics where the server does not answer.
    pub fn client(&self) -> Client {
        Client::connect(&self.url("")).unwrap_or_else(|error| panic!("the test's own client: {error}"))
    }

    /// SIGKILL: the server is gone without a farewell, and its files are as they are.
    pub fn kill9(&mut self) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server can be waited for");
    }

    /// Starts the server again after [`kill9`](Self::kill9), on the same port with the same files.
    pub fn restart(&mut self) {
        process::end(&mut self.child);
        self.child = spawn(&self.options, self.port, self.dir.path());
        let up = ready(&mut self.child, &self.options, self.port, self.dir.path());
        assert!(up, "redis-server does not start again; its log:\n{}", tail(self.dir.path()));
    }

    /// SIGSTOP: connections stay open, nothing is answered.
    pub fn stop(&self) {
        process::stop(self.child.id());
    }

    /// SIGCONT: goes on after [`stop`](Self::stop).
    pub fn cont(&self) {
        process::signal(self.child.id(), Signal::CONT);
    }

    /// What a failed test wants to know: each stream's length, groups and pending lists, the log.
    fn report(&mut self) -> String {
        let mut report = format!("--- redis-server on port {}\n", self.port);
        if let Ok(None) = self.child.try_wait() {
            self.cont();
            match Client::connect(&self.url("")) {
                Ok(mut client) => report.push_str(&client.books()),
                Err(error) => report.push_str(&format!("does not answer: {error}\n")),
            }
        } else {
            report.push_str("is not running\n");
        }
        report.push_str(&format!("log, the end:\n{}---", tail(self.dir.path())));
        report
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.report());
        }
        process::end(&mut self.child);
    }
}

fn url(options: &Options, port: u16, path: &str) -> String {
    match &options.password {
        Some(password) => format!("redis://:{password}@127.0.0.1:{port}/{path}"),
        None => format!("redis://127.0.0.1:{port}/{path}"),
    }
}

fn program() -> OsString {
    std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

fn spawn(options: &Options, port: u16, dir: &Path) -> Child {
    let yes_or_no = if options.durable { "yes" } else { "no" };
    let mut command = Command::new(program());
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"])
        .args(["--appendonly", yes_or_no, "--appendfsync", "always", "--logfile", "redis.log", "--dir"])
        .arg(dir);
    if let Some(password) = &options.password {
        command.args(["--requirepass", password]);
    }
    command
        .args(&options.args)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!(
                "cannot run {}: {error}; install redis-server, or run tests/run",
                program().to_string_lossy()
            )
        })
}

/// Waits until this very child answers (not another server that took the port first). False when it
/// ended instead.
fn ready(child: &mut Child, options: &Options, port: u16, dir: &Path) -> bool {
    let up = wait::until("redis-server is ready", wait::PATIENCE, || {
        if child.try_wait().expect("a child can be waited for").is_some() {
            return Some(false);
        }
        let mut client = Client::connect(&url(options, port, "")).ok()?;
        let info: String = client.query(&["INFO", "server"]).ok()?;
        let pid = info.lines().find_map(|line| line.strip_prefix("process_id:"))?;
        // It answers this while it still reads its files.
        let files: String = client.query(&["INFO", "persistence"]).ok()?;
        if !files.lines().any(|line| line.trim() == "loading:0") {
            return None;
        }
        (pid.trim() == child.id().to_string()).then_some(true)
    });
    if !up {
        eprintln!("redis-server ended at once on port {port}:\n{}", tail(dir));
    }
    up
}

fn tail(dir: &Path) -> String {
    let log = std::fs::read(dir.join("redis.log")).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(15)..].iter().map(|line| format!("{line}\n")).collect()
}

/// How long a client of the tests waits for an answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(20);
