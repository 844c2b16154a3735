//! What goes to the driver, and what the application asks: the same for every backend.
//!
//! A request that can be done on the spot is done here; what a backend has to do is handed on as
//! [`Asked`].
//!
//! **Invariant:** each ticket that was given out has exactly one [`Command::Done`].

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::ack_buffer::AckBuffer;
use crate::command::Command;
use crate::delivery::Notice;
use crate::error::{Error, RequestError};
use crate::limits::Limits;
use crate::mutation::{self, Mutation};
use crate::options::Start;
use crate::pattern::{Pattern, Patterns};
use crate::request::{Outcome, Request, Ticket};
use crate::stats::Stats;
use crate::stream::{ShardId, StreamKey};
use crate::time::Instant;

/// How far the consumer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Errors that an operator could mend are fatal: the caller waits for an answer.
    Starting,
    Running,
    /// Nothing is read any more.
    Closing,
    /// Nothing happens any more; what the data lane ends with.
    Ended,
    Failed(Error),
}

/// A seek or rewind under way.
pub(crate) struct Move {
    pub(crate) ticket: Ticket,
    pub(crate) to: Start,
    /// The shards have their positions, or are being asked for them.
    pub(crate) placed: bool,
}

/// A close under way.
pub(crate) struct Close {
    pub(crate) ticket: Ticket,
    pub(crate) until: Instant,
    /// All is committed that can be; the broker is told that we go.
    pub(crate) leaving: bool,
}

/// What is left of a request for the backend to do.
pub(crate) enum Asked {
    Nothing(Option<Ticket>),
    Move(Ticket, Start),
    Close(Ticket, Duration),
}

/// See the [module](self).
pub(crate) struct Desk {
    commands: VecDeque<Command>,
    notices: VecDeque<Notice>,
    notices_max: usize,
    tickets: u64,
    open: usize,
    open_max: usize,
    streams: BTreeSet<StreamKey>,
    /// Of Kafka: what else is subscribed.
    patterns: Patterns,
    pub(crate) paused: bool,
    /// In force from the next seek or rewind on; empty is all.
    pub(crate) assigned: BTreeSet<(StreamKey, ShardId)>,
}

impl Desk {
    pub(crate) fn new(
        limits: &Limits,
        streams: &[StreamKey],
        assigned: BTreeSet<(StreamKey, ShardId)>,
    ) -> Self {
        Self {
            commands: VecDeque::new(),
            notices: VecDeque::new(),
            notices_max: limits.notices_max,
            tickets: 0,
            open: 0,
            open_max: limits.requests_max,
            streams: streams.iter().cloned().collect(),
            patterns: Patterns::default(),
            paused: false,
            assigned,
        }
    }

    /// The streams that a pattern means are subscribed as well, there or not; the pattern's own text
    /// is none.
    #[must_use]
    pub(crate) fn with_patterns(mut self, patterns: Patterns) -> Self {
        if !patterns.is_empty() {
            self.streams.retain(|stream| !Pattern::is_one(stream));
        }
        self.patterns = patterns;
        self
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.commands.push_back(command);
    }

    /// For the operator; the oldest goes first when nobody takes them.
    pub(crate) fn notice(&mut self, notice: Notice) {
        if self.notices.len() >= self.notices_max {
            self.notices.pop_front();
        }
        self.notices.push_back(notice);
    }

    /// What the driver takes next; notices go first.
    pub(crate) fn poll(&mut self) -> Option<Command> {
        self.notices.pop_front().map(Command::Notice).or_else(|| self.commands.pop_front())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.notices.is_empty()
    }

    /// Does what can be done on the spot, for a consumer that isn't over. `closing`: a close that is
    /// under way; `acks`: whether messages are acked at all.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        request: Request,
        closing: Option<&mut Close>,
        acks: bool,
        buffer: &mut AckBuffer,
        stats: &mut Stats,
    ) -> Result<Asked, RequestError> {
        let is_closing = closing.is_some();
        if let Some(closing) = closing {
            match request {
                // What was taken may be acked until the close is over.
                Request::Ack(_) | Request::Taken(_) if !mutation::is(Mutation::AcksRefusedAtClose) => {}
                // A second close only brings the deadline nearer.
                Request::Close { deadline } => {
                    closing.until = closing.until.min(now + deadline);
                    return Err(RequestError::Closed);
                }
                _ => return Err(RequestError::Closed),
            }
        }
        match request {
            Request::Ack(ranges) => buffer.handle_acks(now, ranges, is_closing, stats),
            Request::Taken(ranges) => buffer.handle_taken(now, &ranges, acks, stats),
            Request::Pause => self.paused = true,
            Request::Resume => self.paused = false,
            Request::Assign { stream, shard } => {
                self.check_subscribed(&stream)?;
                self.assigned.insert((stream, shard));
            }
            Request::Unassign { stream, shard } => {
                self.check_subscribed(&stream)?;
                let named = (stream, shard);
                if !self.assigned.remove(&named) {
                    let (stream, shard) = named;
                    return Err(RequestError::ConsumerNotAssigned { stream, shard });
                }
            }
            Request::Commit => {
                let ticket = self.ticket()?;
                buffer.handle_commit(now, ticket, stats);
                return Ok(Asked::Nothing(Some(ticket)));
            }
            Request::Seek(moment) => return Ok(Asked::Move(self.ticket()?, Start::After(moment))),
            Request::Rewind(position) => return Ok(Asked::Move(self.ticket()?, Start::From(position))),
            // There is always room for that.
            Request::Close { deadline } => return Ok(Asked::Close(self.next_ticket(), deadline)),
        }
        Ok(Asked::Nothing(None))
    }

    fn check_subscribed(&self, stream: &StreamKey) -> Result<(), RequestError> {
        match self.is_subscribed(stream) {
            true => Ok(()),
            false => Err(RequestError::StreamNotSubscribed { stream: stream.clone() }),
        }
    }

    pub(crate) fn is_subscribed(&self, stream: &StreamKey) -> bool {
        let matches = || self.patterns.matches(std::str::from_utf8(stream.as_bytes()).unwrap_or_default());
        self.streams.contains(stream) || (!self.patterns.is_empty() && matches())
    }

    /// A name for a request that takes a while.
    fn ticket(&mut self) -> Result<Ticket, RequestError> {
        match self.open < self.open_max {
            true => Ok(self.next_ticket()),
            false => Err(RequestError::TooManyRequests { max: self.open_max }),
        }
    }

    fn next_ticket(&mut self) -> Ticket {
        self.open += 1;
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(crate) fn done(&mut self, ticket: Ticket, outcome: Outcome) {
        self.open = self.open.saturating_sub(1);
        self.commands.push_back(Command::Done { ticket, outcome });
    }

    /// The consumer is over: whoever waits gets an answer. `commits`: the tickets, each with the
    /// messages that were committed since.
    pub(crate) fn end(
        &mut self,
        phase: &Phase,
        uncommitted: u64,
        commits: impl Iterator<Item = (Ticket, u64)>,
        moving: Option<Move>,
        closing: Option<Close>,
    ) {
        let error = match phase {
            Phase::Failed(error) => error.clone(),
            _ => Error::Closed,
        };
        let clean = uncommitted == 0 && *phase == Phase::Ended;
        for (ticket, messages) in commits {
            let outcome = match clean {
                true => Outcome::Committed { messages },
                false => Outcome::Failed(error.clone()),
            };
            self.done(ticket, outcome);
        }
        if let Some(moving) = moving {
            self.done(moving.ticket, Outcome::Failed(error));
        }
        if let Some(closing) = closing {
            self.done(closing.ticket, Outcome::Closed { uncommitted });
        }
    }
}
