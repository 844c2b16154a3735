//! A server that answers what a test wants.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::port;

/// What a [`FakeServer`] does about one command.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Writes these bytes, whatever they are.
    Bytes(Vec<u8>),
    /// Writes these bytes, then closes the connection.
    Last(Vec<u8>),
    /// Says nothing, and goes on with the next command.
    Silence,
}

type Script = dyn Fn(&[String]) -> Answer + Send + Sync;

/// A listener on loopback that speaks RESP as far as taking commands apart, and answers with what the
/// test's script says. It and its connections end when dropped.
pub struct FakeServer {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    script: Box<Script>,
    stopping: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    commands: Vec<Vec<String>>,
    connections: Vec<TcpStream>,
}

impl FakeServer {
    /// Answers each command, in its words, with what `script` says.
    pub fn start(script: impl Fn(&[String]) -> Answer + Send + Sync + 'static) -> Self {
        let (port, listener) = (0..20)
            .find_map(|_| {
                let port = port::unused_port();
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
                listener.set_nonblocking(true).ok()?;
                Some((port, listener))
            })
            .expect("a port for the fake server");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            stopping: AtomicBool::new(false),
            seen: Mutex::default(),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&shared, &listener)
        });
        Self { port, shared, acceptor: Some(acceptor) }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:port/path`.
    pub fn url(&self, path: &str) -> String {
        format!("redis://127.0.0.1:{}/{path}", self.port)
    }

    /// The commands so far, the first 10,000 of them.
    pub fn commands(&self) -> Vec<Vec<String>> {
        self.shared.seen().commands.clone()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        for connection in &self.shared.seen().connections {
            connection.shutdown(Shutdown::Both).ok();
        }
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
    }
}

impl std::fmt::Debug for FakeServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeServer").field("port", &self.port).finish_non_exhaustive()
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    while !shared.stopping.load(Ordering::Acquire) {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(2));
            continue;
        };
        stream.set_nonblocking(false).ok();
        stream.set_nodelay(true).ok();
        let Ok(copy) = stream.try_clone() else { continue };
        shared.seen().connections.push(copy);
        let shared = Arc::clone(shared);
        thread::spawn(move || serve(&shared, stream));
    }
}

fn serve(shared: &Shared, mut stream: TcpStream) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..n]);
        while let Some((words, used)) = command(&bytes) {
            bytes.drain(..used);
            let answer = (shared.script)(&words);
            {
                let mut seen = shared.seen();
                if seen.commands.len() < 10_000 {
                    seen.commands.push(words);
                }
            }
            let (answer, last) = match answer {
                Answer::Bytes(bytes) => (bytes, false),
                Answer::Last(bytes) => (bytes, true),
                Answer::Silence => continue,
            };
            if stream.write_all(&answer).is_err() || last {
                stream.shutdown(Shutdown::Both).ok();
                return;
            }
        }
    }
}

/// The first command of `bytes`, an array of bulk strings, if it is complete; and its length.
fn command(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let (count, mut at) = number(bytes, 0, b'*')?;
    let mut words = Vec::new();
    for _ in 0..count {
        let (length, start) = number(bytes, at, b'$')?;
        let word = bytes.get(start..start + length)?;
        words.push(String::from_utf8_lossy(word).into_owned());
        at = start + length + 2;
    }
    (at <= bytes.len()).then_some((words, at))
}

fn number(bytes: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let line = bytes.get(at..)?;
    let end = line.windows(2).position(|two| two == b"\r\n")?;
    assert_eq!(line[0], kind, "a command is an array of bulk strings");
    let number = std::str::from_utf8(&line[1..end]).ok()?.parse().ok()?;
    Some((number, at + end + 2))
}
