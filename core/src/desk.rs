//! What goes to the driver, and the requests that wait for an answer: the same for every
//! backend.
//!
//! **Invariant:** each ticket that was given out has exactly one [`Command::Done`].
//!
//! **Invariant:** a `commit()` speaks of the acks that came before it. Acks that come while it
//! waits are kept apart until it is done, so that a busy application can't keep it from ending.

use std::collections::VecDeque;

use crate::ack::AckRange;
use crate::command::Command;
use crate::delivery::Notice;
use crate::error::RequestError;
use crate::limits::Limits;
use crate::request::{Outcome, Ticket};

/// A `commit()` that waits; acks that came after it wait with it.
pub(crate) struct Waiter {
    pub(crate) ticket: Ticket,
    pub(crate) later: Vec<AckRange>,
    /// The counter of committed messages when it came.
    pub(crate) committed_before: u64,
}

/// See the [module](self).
pub(crate) struct Desk {
    commands: VecDeque<Command>,
    notices: VecDeque<Notice>,
    notices_max: usize,
    tickets: u64,
    open: usize,
    open_max: usize,
    pub(crate) waiters: VecDeque<Waiter>,
}

impl Desk {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            commands: VecDeque::new(),
            notices: VecDeque::new(),
            notices_max: limits.notices_max,
            tickets: 0,
            open: 0,
            open_max: limits.requests_max,
            waiters: VecDeque::new(),
        }
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

    /// A name for a request that takes a while.
    pub(crate) fn ticket(&mut self) -> Result<Ticket, RequestError> {
        match self.open < self.open_max {
            true => Ok(self.last_ticket()),
            false => Err(RequestError::TooManyRequests { max: self.open_max }),
        }
    }

    /// One for a close: there is always room for that.
    pub(crate) fn last_ticket(&mut self) -> Ticket {
        self.open += 1;
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub(crate) fn done(&mut self, ticket: Ticket, outcome: Outcome) {
        self.open = self.open.saturating_sub(1);
        self.commands.push_back(Command::Done { ticket, outcome });
    }
}
