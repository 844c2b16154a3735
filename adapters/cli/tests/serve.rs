//! `tidegate serve`: where it says that it is, how it ends, and what it refuses.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

fn tidegate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("serve").args(args).env("NO_COLOR", "1").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Killed when dropped.
struct Served {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Served {
    fn start(args: &[&str]) -> Self {
        let mut child = tidegate(args).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    fn addr(&mut self) -> SocketAddr {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.strip_prefix("redis://").and_then(|addr| addr.strip_suffix('\n')).unwrap().parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
    }

    /// The exit status, which has to come soon.
    fn end(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(started.elapsed() < Duration::from_secs(5), "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[track_caller]
fn asks(addr: SocketAddr, words: &str, answer: &str) {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(words.as_bytes()).unwrap();
    let mut got = vec![0; answer.len()];
    socket.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), answer);
}

#[test]
fn the_first_line_is_where_it_is_and_both_signals_end_it() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut served = Served::start(&["redis"]);
        let addr = served.addr();
        assert!(addr.ip().is_loopback());
        asks(addr, "XADD s 1-1 a b\r\nXLEN s\r\n", "$3\r\n1-1\r\n:1\r\n");
        // One that is blocked doesn't hold it up.
        let mut blocked = TcpStream::connect(addr).unwrap();
        blocked.write_all(b"XREAD BLOCK 0 STREAMS s $\r\n").unwrap();
        served.signal(signal);
        assert_eq!(served.end(), Some(0));
        let mut more = String::new();
        served.stdout.read_to_string(&mut more).unwrap();
        assert_eq!(more, "", "one line and no more");
        assert!(TcpStream::connect(addr).is_err());
    }
}

#[test]
fn it_takes_the_port_it_is_given_and_says_when_somebody_has_it() {
    let mut served = Served::start(&["redis"]);
    let port = served.addr().port().to_string();
    let output = tidegate(&["redis", "--port", &port]).output().unwrap();
    let said = stderr(&output);
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(
        said.starts_with(&format!("error: port {port} is in use: ")) && said.contains("--port"),
        "{said}"
    );
    assert!(output.stdout.is_empty());
    served.signal(Signal::TERM);
    assert_eq!(served.end(), Some(0));
    let mut again = Served::start(&["redis", "--port", &port]);
    let addr = again.addr();
    assert_eq!(addr.port().to_string(), port);
    asks(addr, "XLEN s\r\n", ":0\r\n");
}

#[test]
fn a_reader_may_have_enough_of_the_first_line() {
    let mut served = Served::start(&["redis", "--nodes", "3"]);
    let first = served.addr();
    let (second, third) = (served.addr(), served.addr());
    assert_eq!((second.port(), third.port()), (first.port() + 1, first.port() + 2));
    asks(third, "XLEN a\r\nXLEN b\r\n", &format!(":0\r\n-MOVED 3300 {first}\r\n"));

    let mut command = tidegate(&["redis", "--nodes", "3"]);
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("serving: "), "{said}");
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn it_answers_as_the_version_that_is_asked_for() {
    for (version, number) in [("6.2", "6.2."), ("7.0", "7.0."), ("7.2", "7.2."), ("8.0", "8.0.")] {
        let mut served = Served::start(&["redis", "--version", version]);
        let mut socket = TcpStream::connect(served.addr()).unwrap();
        socket.write_all(b"HELLO\r\nQUIT\r\n").unwrap();
        let mut said = String::new();
        socket.read_to_string(&mut said).unwrap();
        assert!(said.contains("$7\r\nversion\r\n") && said.contains(&format!("\r\n{number}")), "{said}");
    }
}

#[test]
fn what_it_can_not_do_is_one_line() {
    let output = tidegate(&["redis", "--port", "65535", "--nodes", "2"]).output().unwrap();
    let said = stderr(&output);
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("begin lower"), "{said}");
}

#[test]
fn wrong_usage_is_status_2_and_named() {
    for (args, word) in [
        (&[][..], "BROKER"),
        (&["rabbit"], "rabbit"),
        (&["redis", "--port", "65536"], "65536"),
        (&["redis", "--port", "0"], "0"),
        (&["redis", "--version", "5.0"], "5.0"),
        (&["redis", "--nodes", "0"], "0"),
        (&["redis", "--nodes", "1001"], "1001"),
        (&["redis", "--nonsense"], "--nonsense"),
        (&["redis", "more"], "more"),
    ] {
        let output = tidegate(args).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains(word), "{args:?}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn help_has_examples() {
    let output = tidegate(&["--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("Examples:\n") && text.contains("tidegate serve redis --nodes 3"), "{text}");
}
