//! What a machine wants done.

use crate::delivery::Notice;
use crate::endpoint::Endpoint;
use crate::event::ConnId;
use crate::request::{Outcome, Ticket};
use crate::timer::Wake;

/// What a machine wants its driver to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Connect, and answer with [`Event::Opened`](crate::Event::Opened) or
    /// [`Event::OpenFailed`](crate::Event::OpenFailed).
    Open {
        /// The name that the connection has from now on.
        conn: ConnId,
        /// Where to.
        endpoint: Endpoint,
    },
    /// There is something to write in [`Machine::outgoing`](crate::Machine::outgoing). Said
    /// once when it becomes non-empty; go on until it is empty.
    Write {
        /// Whose bytes.
        conn: ConnId,
    },
    /// Close it, whatever is still unsent. No event has to follow.
    Close {
        /// Which one.
        conn: ConnId,
    },
    /// A request is finished.
    Done {
        /// As [`Machine::request`](crate::Machine::request) answered.
        ticket: Ticket,
        /// How it ended.
        outcome: Outcome,
    },
    /// What an operator wants to know at once.
    Notice(Notice),
    /// Nothing more to do until an event, or until this moment. The last command of a round,
    /// and only ever given when nothing else is queued. `None`: only an event can change
    /// anything.
    Wait(Option<Wake>),
}
