//! `tidegate serve` as a process, and the clients that are no crates.
#![allow(dead_code, reason = "each test executable uses a part of it")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tidegate_live::{Client, peak_memory_kib, tidegate};

/// A running `tidegate serve`, killed when dropped.
pub(crate) struct Served {
    child: Child,
    url: String,
}

impl Served {
    /// At a free port; returns when its URL is there.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// The same with more arguments.
    pub(crate) fn with(args: &[&str]) -> Self {
        let mut command = Command::new(tidegate());
        command.args(["serve", "redis"]).args(args);
        Self::from(command)
    }

    /// A Kafka.
    pub(crate) fn kafka(args: &[&str]) -> Self {
        let mut command = Command::new(tidegate());
        command.args(["serve", "kafka"]).args(args);
        Self::from(command)
    }

    /// By a command that becomes `tidegate serve`.
    pub(crate) fn from(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let url = url.trim_end().to_owned();
        assert!(url.contains("://127.0.0.1:"), "{url}");
        Self { child, url }
    }

    pub(crate) fn port(&self) -> u16 {
        self.url.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// `redis://127.0.0.1:port/path`
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.url("")).unwrap()
    }

    pub(crate) fn connect(&self) -> std::net::TcpStream {
        let socket = std::net::TcpStream::connect(("127.0.0.1", self.port())).unwrap();
        socket.set_read_timeout(Some(tidegate_live::wait::PATIENCE)).unwrap();
        socket.set_write_timeout(Some(tidegate_live::wait::PATIENCE)).unwrap();
        socket
    }

    /// The most memory that it had so far, in MiB. Panics if it has ended.
    pub(crate) fn peak_mib(&self) -> u64 {
        peak_memory_kib(self.child.id()).unwrap() / 1024
    }

    /// Panics unless it still serves others.
    #[track_caller]
    pub(crate) fn serves_others(&self) {
        let mut client = self.client();
        let pong: String = client.run(&["PING"]);
        assert_eq!(pong, "PONG");
        let id: String = client.run(&["XADD", "others", "*", "msg", "a"]);
        let length: u64 = client.run(&["XLEN", "others"]);
        assert!(length >= 1, "{id}");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            // It says little: all of it is still in the pipe.
            let mut said = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut said).ok();
            eprintln!("--- tidegate serve redis\n{said}---");
        }
    }
}

/// redis-cli against a port, not run yet.
pub(crate) fn redis_cli(port: u16, args: &[&str]) -> Command {
    let mut command = Command::new("redis-cli");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// What redis-cli prints, lines apart by `|`.
#[track_caller]
pub(crate) fn cli(port: u16, line: &str) -> String {
    let args: Vec<&str> = line.split_whitespace().collect();
    let output = redis_cli(port, &args).output().unwrap_or_else(|error| {
        panic!("cannot run redis-cli: {error}; install redis-tools, or run tests/run")
    });
    assert!(output.status.success(), "{line}: {output:?}");
    joined(&String::from_utf8(output.stdout).unwrap())
}

/// What a redis-cli that was started before prints until it ends.
pub(crate) fn rest(mut child: Child) -> String {
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    joined(&text)
}

fn joined(text: &str) -> String {
    text.trim_end().replace('\n', "|")
}

/// The Python that has redis-py. Panics with the command to run where there is none.
pub(crate) fn redis_py() -> PathBuf {
    let python = std::env::var_os("REDIS_PY").map_or_else(
        || {
            // target/<profile>/deps/<test>
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(3).unwrap().join("redis-py/bin/python")
        },
        PathBuf::from,
    );
    assert!(
        python.is_file(),
        "redis-py is missing: {} is not there; run tests/run live, which installs it, or let REDIS_PY name a \
         Python that has it",
        python.display()
    );
    python
}
