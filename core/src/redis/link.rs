//! One connection: its buffers, and which reply belongs to which command.
//!
//! **Invariant:** every command that was sent is in `expected`, in order, until its reply was
//! read whole; a connection that closes hands back what was not answered, all of it. A reply is
//! never given to another command: on a time-out the connection closes.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use super::resp::{self, Bounds, Chunk, StreamDecoder, Value};
use super::task::Task;
use crate::backoff::Backoff;
use crate::error::Error;
use crate::event::ConnId;
use crate::mutation::{self, Mutation};
use crate::time::Instant;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not connected; to be tried again then.
    Down { retry_at: Instant },
    /// Being connected, until then.
    Opening { until: Instant },
    /// Connected, logging in.
    Greeting,
    /// In use.
    Ready,
    /// Not wanted any more.
    Off,
}

/// A whole reply.
pub(super) enum Answer {
    /// To a command of the control kind.
    Value(Value),
    /// To a read or a claim; its entries came as chunks.
    Stream(resp::End),
}

struct Expected {
    task: Task,
    patience: Duration,
}

pub(super) struct Link {
    number: u16,
    generation: u64,
    pub(super) state: State,
    /// Index of the endpoint that it goes to.
    pub(super) endpoint: usize,
    pub(super) incoming: BytesMut,
    /// Bytes of `incoming` that were counted.
    seen: usize,
    outgoing: BytesMut,
    write_said: bool,
    expected: VecDeque<Expected>,
    front_since: Instant,
    bounds: Bounds,
    values: resp::Decoder,
    streams: Option<StreamDecoder>,
    pub(super) backoff: Backoff,
    /// As CLIENT ID told.
    pub(super) client_id: Option<i64>,
}

impl Link {
    pub(super) fn new(number: u16, bounds: Bounds, backoff: Backoff) -> Self {
        Self {
            number,
            generation: 0,
            endpoint: 0,
            state: State::Down { retry_at: Instant::ZERO },
            incoming: BytesMut::new(),
            seen: 0,
            outgoing: BytesMut::new(),
            write_said: false,
            expected: VecDeque::new(),
            front_since: Instant::ZERO,
            bounds,
            values: resp::Decoder::new(bounds),
            streams: None,
            backoff,
            client_id: None,
        }
    }

    pub(super) fn conn(&self) -> ConnId {
        ConnId { number: self.number, generation: self.generation }
    }

    /// Whether `conn` is this connection as it is now.
    pub(super) fn is(&self, conn: ConnId) -> bool {
        conn == self.conn() && !matches!(self.state, State::Down { .. } | State::Off)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// A new attempt.
    pub(super) fn open(&mut self, until: Instant, endpoint: usize) -> ConnId {
        self.generation += 1;
        self.endpoint = endpoint;
        self.state = State::Opening { until };
        self.conn()
    }

    /// Forgets the connection; what was not answered comes back.
    pub(super) fn shut(&mut self, state: State) -> impl Iterator<Item = Task> + use<> {
        self.state = state;
        if !mutation::is(Mutation::PartialReplyKept) {
            self.incoming = BytesMut::new();
            self.values = resp::Decoder::new(self.bounds);
            self.streams = None;
        }
        self.seen = 0;
        self.outgoing = BytesMut::new();
        self.write_said = false;
        self.client_id = None;
        std::mem::take(&mut self.expected).into_iter().map(|expected| expected.task)
    }

    /// Queues a command; its reply may take `patience` once those before it are answered.
    pub(super) fn send(
        &mut self,
        now: Instant,
        task: Task,
        patience: Duration,
        encode: impl FnOnce(&mut BytesMut),
    ) {
        encode(&mut self.outgoing);
        if self.expected.is_empty() {
            self.front_since = now;
        }
        self.expected.push_back(Expected { task, patience });
    }

    pub(super) fn outgoing(&self) -> &[u8] {
        &self.outgoing
    }

    /// True once each time that there is something new to write.
    pub(super) fn says_write(&mut self) -> bool {
        let says = !self.outgoing.is_empty() && !self.write_said;
        self.write_said |= says;
        says
    }

    /// How many bytes it was: never more than there were, whatever a driver says.
    pub(super) fn handle_wrote(&mut self, n: usize) -> usize {
        let n = n.min(self.outgoing.len());
        self.outgoing.advance(n);
        if self.outgoing.is_empty() {
            self.write_said = false;
        }
        n
    }

    /// How many commands are not answered.
    pub(super) fn waiting(&self) -> usize {
        self.expected.len()
    }

    /// The commands that are not answered, the next one first.
    pub(super) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.expected.iter().map(|expected| &expected.task)
    }

    /// The patience starts anew: bytes came, or nobody was reading.
    pub(super) fn be_patient(&mut self, now: Instant) {
        self.front_since = now;
    }

    /// When the command that is next in turn must have been answered.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Opening { until } => Some(until),
            _ if mutation::is(Mutation::SilenceNeverNoticed) => None,
            _ => self.expected.front().map(|front| self.front_since + front.patience),
        }
    }

    /// The name of the command that is next in turn.
    pub(super) fn front_name(&self) -> &'static str {
        self.expected.front().map_or("connect", |front| front.task.name())
    }

    /// The command that is next in turn.
    pub(super) fn front(&self) -> Option<&Task> {
        self.expected.front().map(|front| &front.task)
    }

    /// For a [mutation](crate::mutation) only: the reply to it may still come.
    pub(super) fn forget_front(&mut self, now: Instant) -> Option<Task> {
        self.front_since = now;
        self.expected.pop_front().map(|front| front.task)
    }

    pub(super) fn front_mut(&mut self) -> Option<&mut Task> {
        self.expected.front_mut().map(|front| &mut front.task)
    }

    /// Adds what came since [`Link::remember_received`].
    pub(super) fn count_received(&mut self, bytes: &mut u64) {
        *bytes += self.incoming.len().saturating_sub(self.seen) as u64;
        self.seen = self.incoming.len();
    }

    pub(super) fn remember_received(&mut self) {
        self.seen = self.incoming.len();
    }

    /// Reads on in what was received. Entries go to `chunks` as they complete, before their
    /// reply has.
    pub(super) fn next_reply(
        &mut self,
        now: Instant,
        chunks: &mut Vec<Chunk>,
    ) -> Result<Option<(Task, Answer)>, Error> {
        if self.incoming.is_empty() {
            return Ok(None);
        }
        let answer = match self.expected.front().and_then(|front| front.task.shape()) {
            Some(shape) => {
                let decoder = self.streams.get_or_insert_with(|| StreamDecoder::new(shape, self.bounds));
                decoder.decode(&mut self.incoming, chunks).map_err(broken)?.map(Answer::Stream)
            }
            None => loop {
                match self.values.decode(&mut self.incoming).map_err(broken)? {
                    // Out of turn by design (RESP3); nothing was subscribed to.
                    Some(Value::Push(_)) => {}
                    other => break other.map(Answer::Value),
                }
            },
        };
        let Some(answer) = answer else { return Ok(None) };
        self.streams = None;
        match self.expected.pop_front() {
            Some(front) => {
                self.front_since = now;
                Ok(Some((front.task, answer)))
            }
            None => Err(Error::Protocol("a reply that nothing was asked for".into())),
        }
    }
}

fn broken(error: resp::RespError) -> Error {
    Error::Protocol(error.to_string().into())
}

/// A reply that is an error, in the server's words.
pub(super) fn error_of(answer: &Answer) -> Option<&Bytes> {
    match answer {
        Answer::Value(Value::Error(words)) => Some(words),
        Answer::Stream(resp::End { kind: resp::EndKind::Error(words), .. }) => Some(words),
        _ => None,
    }
}
