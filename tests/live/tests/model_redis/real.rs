//! A real redis-server behind a few connections.
//!
//! Whether a client waits is never guessed from silence: a control connection asks CLIENT LIST,
//! whose flags say so. One thread serves all connections of the server, so what CLIENT LIST says
//! holds until the rig sends something.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tidegate_live::RedisServer;

use super::frame::split;
use super::side::{Batch, Seen, Side};

/// How long an answer that must come may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
struct Wire {
    stream: TcpStream,
    id: u64,
    buffer: Vec<u8>,
    /// Commands that have not been answered.
    owed: usize,
    closed: bool,
}

/// A server, its control connection, and the connections of a session.
pub struct Real {
    server: RedisServer,
    control: Wire,
    wires: Vec<Wire>,
    ids: Vec<u64>,
    version: String,
}

impl Real {
    /// Starts a server.
    pub fn start() -> Self {
        let server = RedisServer::start();
        let mut control = Wire::connect(server.port());
        let info = control.ask("INFO server\r\n");
        let version = info
            .lines()
            .find_map(|line| line.strip_prefix("redis_version:"))
            .unwrap_or("of an unknown version")
            .to_owned();
        Self { server, control, wires: Vec::new(), ids: Vec::new(), version }
    }

    /// What INFO says.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Of each connection that the server has: whether it waits.
    fn clients(&mut self) -> BTreeMap<u64, bool> {
        let list = self.control.ask("CLIENT LIST\r\n");
        let field = |line: &str, name: &str| {
            line.split(' ').find_map(|word| word.strip_prefix(name).map(str::to_owned))
        };
        list.lines()
            .filter_map(|line| {
                let id = field(line, "id=")?.parse().ok()?;
                Some((id, field(line, "flags=")?.contains('b')))
            })
            .collect()
    }
}

impl Side for Real {
    fn name(&self) -> String {
        format!("redis-server {}", self.version)
    }

    fn reset(&mut self, slots: usize) {
        self.control.ask("CLIENT UNPAUSE\r\n");
        self.wires.retain(|wire| wire.owed == 0 && !wire.closed);
        self.wires.truncate(slots);
        // RESET leaves nothing of a connection's past but its id, and costs no port.
        for wire in &mut self.wires {
            wire.ask("RESET\r\n");
        }
        while self.wires.len() < slots {
            self.wires.push(Wire::connect(self.server.port()));
        }
        // Those left behind may not linger: they could still wait for a key.
        let port = self.server.port();
        let known: Vec<u64> = self.wires.iter().map(|wire| wire.id).chain([self.control.id]).collect();
        let started = Instant::now();
        while self.clients().keys().any(|id| !known.contains(id)) {
            assert!(started.elapsed() < PATIENCE, "port {port} keeps a connection that was closed");
        }
        self.control.ask("FLUSHALL\r\n");
        self.ids = self.wires.iter().map(|wire| wire.id).collect();
    }

    fn ids(&self) -> &[u64] {
        &self.ids
    }

    fn run(&mut self, batch: Batch<'_>) -> Vec<Seen> {
        let mut seen = vec![Seen::default(); self.wires.len()];
        let wire = &mut self.wires[batch.slot];
        // It may have been closed by what it said before; then the end is read below.
        let _ = wire.stream.write_all(batch.bytes);
        wire.owed += batch.commands;
        let replies = &mut seen[batch.slot].replies;
        wire.read(replies, batch.certain, PATIENCE);
        let mut clients = loop {
            let clients = self.clients();
            let wire = &mut self.wires[batch.slot];
            let waits = clients.get(&wire.id).copied();
            if wire.owed == 0 || waits != Some(false) {
                break clients;
            }
            wire.read(replies, batch.commands, Duration::from_millis(1));
        };
        let wire = &mut self.wires[batch.slot];
        if batch.short_wait && wire.owed > 0 {
            wire.read(replies, batch.commands, PATIENCE);
            clients = self.clients();
        }
        for (wire, seen) in self.wires.iter_mut().zip(&mut seen) {
            match clients.get(&wire.id) {
                Some(true) if wire.owed > 0 => {}
                Some(_) => {
                    let all = seen.replies.len() + wire.owed;
                    wire.read(&mut seen.replies, all, PATIENCE);
                }
                // To the end of the stream.
                None => wire.read(&mut seen.replies, usize::MAX, PATIENCE),
            }
            seen.closed = wire.closed;
            seen.rest = if wire.closed { wire.buffer.clone() } else { Vec::new() };
            seen.waits = wire.owed > 0 && !wire.closed;
        }
        seen
    }

    fn reconnect(&mut self, slot: usize) {
        let old = std::mem::replace(&mut self.wires[slot], Wire::connect(self.server.port()));
        self.ids[slot] = self.wires[slot].id;
        let gone = old.id;
        drop(old);
        let started = Instant::now();
        while self.clients().contains_key(&gone) {
            assert!(started.elapsed() < PATIENCE, "the server keeps a connection that was closed");
        }
    }
}

impl Wire {
    fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server accepts");
        stream.set_nodelay(true).expect("a socket");
        let mut wire = Self { stream, id: 0, buffer: Vec::new(), owed: 0, closed: false };
        let id = wire.ask("CLIENT ID\r\n");
        wire.id = id.trim().trim_start_matches(':').parse().unwrap_or_else(|_| panic!("CLIENT ID said {id}"));
        wire
    }

    /// A command in one line, and its answer.
    fn ask(&mut self, line: &str) -> String {
        self.stream.write_all(line.as_bytes()).expect("a connection of the rig's own");
        self.owed += 1;
        let mut replies = Vec::new();
        self.read(&mut replies, 1, PATIENCE);
        String::from_utf8_lossy(&replies.pop().unwrap_or_else(|| panic!("no answer to {line}"))).into_owned()
    }

    /// Reads until there are this many replies, or the end of the stream, or time is over.
    fn read(&mut self, replies: &mut Vec<Vec<u8>>, until: usize, patience: Duration) {
        let started = Instant::now();
        let mut room = [0; 16 << 10];
        self.stream.set_read_timeout(Some(patience)).expect("a socket");
        while replies.len() < until && !self.closed && started.elapsed() < patience {
            match self.stream.read(&mut room) {
                Ok(0) => self.closed = true,
                Ok(n) => {
                    self.buffer.extend_from_slice(&room[..n]);
                    let new = split(&mut self.buffer);
                    self.owed -= new.len().min(self.owed);
                    replies.extend(new);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.closed = true,
            }
        }
    }
}
