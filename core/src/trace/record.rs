//! The recorder: a machine around a machine.

use std::borrow::Cow;
use std::fmt::Write;

use bytes::BytesMut;

use super::line::{Digest, Ended, Input, Line, Output};
use super::mask::{Heard, Mask};
use super::replay::header;
use super::setup;
use crate::command::Command;
use crate::delivery::Delivery;
use crate::error::RequestError;
use crate::event::{ConnId, Event};
use crate::machine::{Machine, Setup};
use crate::message::Batch;
use crate::request::{Outcome, Request, Ticket};
use crate::stats::Stats;
use crate::time::Instant;

/// Tells what goes into a machine and what comes out, line by line, and is that machine
/// otherwise. What it records is in the [module](super)'s documentation.
///
/// `sink` gets one line at a time, with its line break, the input before the machine has seen
/// it. A line that begins with `< wait` ends a round: a good moment to flush a buffer. What a
/// sink can't write it keeps to itself: recording never stops a machine.
pub struct Recorder<M, S> {
    machine: M,
    log: Log<S>,
    known: Vec<Known>,
}

/// The connections that a machine has.
struct Known {
    conn: ConnId,
    /// Bytes of `incoming` that were told.
    read: usize,
    /// Bytes of `outgoing` that were seen and not written.
    queued: usize,
    /// Those of them that were not told, masked. Seen at once, while commands are whole: a
    /// driver may write a part of them before it asks for the command that tells them.
    untold: Vec<u8>,
    heard: Heard,
}

struct Log<S> {
    sink: S,
    buffer: String,
    mask: Mask,
}

impl<S: FnMut(&str)> Log<S> {
    fn line(&mut self, line: &Line<'_>) {
        self.buffer.clear();
        // Printing into a string can't fail.
        let _ = writeln!(self.buffer, "{line}");
        (self.sink)(&self.buffer);
    }

    fn out(&mut self, output: Output<'_>) {
        self.line(&Line::Out(output));
    }

    fn text(&self, text: impl ToString) -> Cow<'static, str> {
        Cow::Owned(self.mask.text(text.to_string()))
    }
}

impl Known {
    fn new(conn: ConnId) -> Self {
        Self { conn, read: 0, queued: 0, untold: Vec::new(), heard: Heard::default() }
    }

    /// The bytes that arrived since the last time.
    fn fresh<M: Machine>(&mut self, machine: &mut M, mask: &mut Mask) -> Vec<u8> {
        let incoming = machine.incoming(self.conn);
        let mut fresh = incoming.get(self.read..).unwrap_or_default().to_vec();
        self.read = incoming.len();
        mask.received(&mut self.heard, &mut fresh);
        fresh
    }

    /// Sees what the machine used up, and what it queued.
    fn settle<M: Machine>(&mut self, machine: &mut M, mask: &Mask) {
        self.read = machine.incoming(self.conn).len();
        let outgoing = machine.outgoing(self.conn);
        let queued = outgoing.get(self.queued..).unwrap_or_default();
        if !queued.is_empty() {
            let start = self.untold.len();
            self.untold.extend_from_slice(queued);
            mask.written(self.untold.get_mut(start..).unwrap_or_default());
        }
        self.queued = outgoing.len();
    }
}

impl<M: Machine, S: FnMut(&str)> Recorder<M, S> {
    /// Begins a trace of `machine`, which was just made from `setup`. `backend` is one word, by
    /// which a replay knows what to make: `redis`.
    pub fn new(machine: M, backend: &str, setup: &Setup, mut sink: S) -> Self {
        let mut buffer = header(backend);
        let _ = setup::print(&mut buffer, setup);
        buffer.split_inclusive('\n').for_each(&mut sink);
        let mask = Mask::new(setup.options.login.as_ref());
        Self { machine, log: Log { sink, buffer: String::new(), mask }, known: Vec::new() }
    }

    /// The machine inside.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// Ends the trace, and gives the machine back.
    pub fn into_machine(self) -> M {
        self.machine
    }

    /// Before each call: bytes that arrived, and that this call doesn't report.
    fn tell_appended(&mut self, but: Option<ConnId>) {
        for known in self.known.iter_mut().filter(|known| Some(known.conn) != but) {
            let fresh = known.fresh(&mut self.machine, &mut self.log.mask);
            if !fresh.is_empty() {
                self.log.line(&Line::Appended { conn: known.conn, bytes: fresh.into() });
            }
        }
    }

    /// After each call.
    fn settle(&mut self) {
        self.known.iter_mut().for_each(|known| known.settle(&mut self.machine, &self.log.mask));
    }

    fn forget(&mut self, conn: ConnId) {
        self.known.retain(|known| known.conn != conn);
    }

    fn find(&mut self, conn: ConnId) -> Option<&mut Known> {
        self.known.iter_mut().find(|known| known.conn == conn)
    }

    fn tell_event(&mut self, now: Instant, event: &Event) {
        let input = match event {
            Event::Tick => Input::Tick,
            Event::Opened { conn } => Input::Opened { conn: *conn },
            Event::OpenFailed { conn, cause } => {
                Input::OpenFailed { conn: *conn, cause: Cow::Borrowed(cause) }
            }
            Event::Received { conn } => {
                let known = self.known.iter_mut().find(|known| known.conn == *conn);
                let bytes = known.map(|known| known.fresh(&mut self.machine, &mut self.log.mask));
                Input::Received { conn: *conn, bytes: bytes.unwrap_or_default().into() }
            }
            Event::Wrote { conn, n } => Input::Wrote { conn: *conn, n: *n },
            Event::Closed { conn, cause } => Input::Closed { conn: *conn, cause: Cow::Borrowed(cause) },
        };
        self.log.line(&Line::At(now, input));
    }

    fn tell_command(&mut self, command: &Command) {
        let output = match command {
            Command::Open { conn, endpoint } => {
                self.known.retain(|known| known.conn.number != conn.number);
                self.known.push(Known::new(*conn));
                Output::Open { conn: *conn, endpoint: Cow::Borrowed(endpoint) }
            }
            Command::Write { conn } => {
                let known = self.known.iter_mut().find(|known| known.conn == *conn);
                let bytes = known.map(|known| std::mem::take(&mut known.untold));
                Output::Write { conn: *conn, bytes: bytes.unwrap_or_default().into() }
            }
            Command::Close { conn } => {
                self.forget(*conn);
                Output::Close { conn: *conn }
            }
            Command::Done { ticket, outcome } => {
                let ended = match outcome {
                    Outcome::Committed { messages } => Ended::Committed(*messages),
                    Outcome::Positioned => Ended::Positioned,
                    Outcome::Closed { uncommitted } => Ended::Closed(*uncommitted),
                    Outcome::Superseded => Ended::Superseded,
                    Outcome::Failed(error) => Ended::Failed(self.log.text(error)),
                };
                Output::Done { ticket: *ticket, ended }
            }
            Command::Notice(notice) => Output::Notice(self.log.text(notice)),
            Command::Wait(wake) => {
                for known in &mut self.known {
                    let bytes = std::mem::take(&mut known.untold);
                    if !bytes.is_empty() {
                        self.log.out(Output::More { conn: known.conn, bytes: bytes.into() });
                    }
                }
                Output::Wait(wake.map(|wake| (wake.at, Cow::Borrowed(wake.why))))
            }
        };
        self.log.out(output);
    }
}

impl<M: Machine, S: FnMut(&str)> Machine for Recorder<M, S> {
    fn handle(&mut self, now: Instant, event: Event) {
        let reported = if let Event::Received { conn } = event { Some(conn) } else { None };
        self.tell_appended(reported);
        self.tell_event(now, &event);
        match event {
            Event::Wrote { conn, n } => {
                if let Some(known) = self.find(conn) {
                    known.queued = known.queued.saturating_sub(n);
                }
            }
            Event::Closed { conn, .. } | Event::OpenFailed { conn, .. } => self.forget(conn),
            Event::Tick | Event::Opened { .. } | Event::Received { .. } => {}
        }
        self.machine.handle(now, event);
        self.settle();
    }

    fn request(&mut self, now: Instant, request: Request) -> Result<Option<Ticket>, RequestError> {
        self.tell_appended(None);
        self.log.line(&Line::At(now, Input::Request(Cow::Borrowed(&request))));
        let answer = self.machine.request(now, request);
        self.log.out(match &answer {
            Ok(Some(ticket)) => Output::Ticket(*ticket),
            Ok(None) => Output::Accepted,
            Err(error) => Output::Refused(self.log.text(error)),
        });
        self.settle();
        answer
    }

    fn poll_command(&mut self) -> Command {
        self.tell_appended(None);
        let command = self.machine.poll_command();
        self.settle();
        self.tell_command(&command);
        self.settle();
        command
    }

    fn poll_delivery(&mut self) -> Option<Delivery> {
        self.tell_appended(None);
        self.log.line(&Line::Take);
        let delivery = self.machine.poll_delivery();
        self.log.out(match &delivery {
            Some(Delivery::Batch(batch)) => Output::Batch(Digest::from(batch)),
            Some(Delivery::Assigned(assignment)) => Output::Assigned(Cow::Borrowed(assignment)),
            Some(Delivery::Revoked(assignment)) => Output::Revoked(Cow::Borrowed(assignment)),
            Some(Delivery::End) => Output::End,
            Some(Delivery::Failed(error)) => Output::Failed(self.log.text(error)),
            None => Output::Nothing,
        });
        self.settle();
        delivery
    }

    fn outgoing(&self, conn: ConnId) -> &[u8] {
        self.machine.outgoing(conn)
    }

    fn incoming(&mut self, conn: ConnId) -> &mut BytesMut {
        self.machine.incoming(conn)
    }

    fn wants_read(&self, conn: ConnId) -> bool {
        self.machine.wants_read(conn)
    }

    fn ack_appetite(&self) -> u64 {
        self.machine.ack_appetite()
    }

    fn stats(&self) -> Stats {
        self.machine.stats()
    }
}

impl From<&Batch> for Digest {
    fn from(batch: &Batch) -> Self {
        let mut hash = Fnv::default();
        for message in batch.iter() {
            hash.number(message.seq().high());
            hash.number(message.seq().low());
            hash.number(message.timestamp().as_millis() as u64);
            hash.number(u64::from(message.deliveries()));
            for (name, value) in message.fields() {
                hash.bytes(name);
                hash.bytes(value);
            }
        }
        let source = batch.source();
        let seq = |message: Option<crate::MessageRef<'_>>| message.map(|m| m.seq()).unwrap_or_default();
        Self {
            stream: source.stream.clone(),
            shard: source.shard,
            epoch: source.epoch,
            segment: source.segment,
            messages: batch.len(),
            first: seq(batch.iter().next()),
            last: seq(batch.iter().next_back()),
            hash: hash.0,
        }
    }
}

/// Fowler, Noll, Vo: enough to tell two batches apart, and the same everywhere.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn number(&mut self, number: u64) {
        self.plain(&number.to_le_bytes());
    }

    /// With the length, so that no two lists of values look alike.
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.plain(bytes);
    }

    fn plain(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
