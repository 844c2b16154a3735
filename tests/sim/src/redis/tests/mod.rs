//! A model Redis and a few peers, for tests: requests as words, replies as they are on the wire.

mod blocking;
mod faults;
mod slots;
mod streams;
mod told;
mod versions;

use std::time::Duration;

use bytes::Bytes;
use tidegate_core::Instant;

use super::{Config, Redis, Version};
use crate::broker::{Broker, BrokerCommand, BrokerEvent, Fact, PeerId};

struct Bed {
    redis: Redis,
    now: Instant,
    peers: u64,
    closed: Vec<u64>,
}

impl Bed {
    fn new(config: Config) -> Self {
        let mut bed = Self { redis: Redis::new(config), now: Instant::ZERO, peers: 0, closed: Vec::new() };
        bed.redis.watch(&[Bytes::from("s"), Bytes::from("t")]);
        bed
    }

    fn plain() -> Self {
        Self::new(Config::default())
    }

    fn of(version: Version) -> Self {
        Self::new(Config { version, ..Config::default() })
    }

    /// A new connection to this node.
    fn peer_at(&mut self, node: usize) -> u64 {
        self.peers += 1;
        self.handle(BrokerEvent::Accepted { peer: PeerId(self.peers), node });
        self.peers
    }

    fn peer(&mut self) -> u64 {
        self.peer_at(0)
    }

    fn handle(&mut self, event: BrokerEvent) {
        self.redis.handle(self.now, event);
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.redis.poll_command() {
                BrokerCommand::Wait(_) => break,
                BrokerCommand::Close { peer } => self.closed.push(peer.0),
                BrokerCommand::Write { .. } => {}
            }
        }
        self.redis.check().unwrap();
    }

    fn send(&mut self, peer: u64, bytes: &[u8]) {
        self.redis.incoming(PeerId(peer)).extend_from_slice(bytes);
        self.handle(BrokerEvent::Received { peer: PeerId(peer) });
    }

    /// What was written to a peer since the last time, a line each.
    fn read(&mut self, peer: u64) -> String {
        let out = self.redis.outgoing(PeerId(peer)).to_vec();
        if !out.is_empty() {
            self.handle(BrokerEvent::Wrote { peer: PeerId(peer), n: out.len() });
        }
        String::from_utf8(out).unwrap().replace("\r\n", " ").trim_end().to_owned()
    }

    /// Sends lines of words, and reads what they answer.
    fn ask(&mut self, peer: u64, lines: &str) -> String {
        for line in lines.split(';') {
            self.send(peer, format!("{}\r\n", line.trim()).as_bytes());
        }
        self.read(peer)
    }

    /// By the world's own hand.
    fn hand(&mut self, line: &str) {
        let words: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let reply = self.redis.execute(self.now, 0, &words);
        assert!(reply.as_error().is_none(), "{reply:?}");
        self.drain();
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.handle(BrokerEvent::Tick);
    }

    /// In how many milliseconds it wants to be woken.
    fn wake_ms(&mut self) -> Option<u64> {
        match self.redis.poll_command() {
            BrokerCommand::Wait(wake) => wake.map(|wake| wake.at.since(self.now).as_millis() as u64),
            other => panic!("drained, but {other:?}"),
        }
    }

    /// Facts since the last time, without the commands.
    fn facts(&mut self) -> Vec<Fact> {
        let facts = std::mem::take(self.redis.facts());
        facts.into_iter().filter(|fact| !matches!(fact, Fact::Commanded { .. })).collect()
    }
}

#[test]
fn the_same_whole_or_in_single_bytes() {
    let session = b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\nXGROUP CREATE s g 0 MKSTREAM\r\nXADD s 1-1 f \"a b\"\r\n\
                    *7\r\n$10\r\nXREADGROUP\r\n$5\r\nGROUP\r\n$1\r\ng\r\n$1\r\nc\r\n$7\r\nSTREAMS\r\n$1\r\ns\r\n$1\r\n>\r\n\
                    XINFO STREAM s FULL\r\nMULTI\r\nXACK s g 1-1\r\nEXEC\r\n*1\r\n:1\r\nPING\r\n";
    let mut results = Vec::new();
    for step in [session.len(), 1, 2, 3, 7] {
        let mut bed = Bed::plain();
        let peer = bed.peer();
        for part in session.chunks(step) {
            bed.send(peer, part);
        }
        assert_eq!(bed.closed, [peer]);
        results.push((bed.read(peer), bed.redis.facts().clone()));
    }
    assert!(results[0].0.ends_with("*1 :1 -ERR Protocol error: expected '$', got ':'"), "{}", results[0].0);
    assert!(results.iter().all(|result| *result == results[0]));
}

#[test]
fn any_bytes_close_one_peer_at_most() {
    let words: [&[u8]; 24] = [
        b"*",
        b"$",
        b"\r\n",
        b"3",
        b"10",
        b"-1",
        b"XADD",
        b"XREADGROUP GROUP g c STREAMS s >\r\n",
        b" ",
        b"\"",
        b"'",
        b"\0",
        b"XAUTOCLAIM s g c 0 0\r\n",
        b"XADD s * f v\r\n",
        b"MULTI\r\n",
        b"EXEC\r\n",
        b"CLIENT LIST\r\n",
        b"XGROUP CREATE s g $ MKSTREAM\r\n",
        b"\xff\x80",
        b"EVAL ",
        b"XREAD BLOCK 5 STREAMS s $\r\n",
        b"INFO\r\n",
        b"RESET\r\n",
        b"99999999999",
    ];
    let mut state = 1u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for _ in 0..300 {
        let mut bed = Bed::plain();
        let (good, bad) = (bed.peer(), bed.peer());
        for _ in 0..40 {
            let word = words[next(words.len())];
            bed.send(bad, word);
            if next(10) == 0 {
                bed.pass(3);
            }
        }
        assert_eq!(bed.ask(good, "PING"), "+PONG");
        assert!(bed.closed.iter().all(|peer| *peer == bad));
    }
}
