//! What a machine wants done.

use std::fmt;
use std::sync::Arc;

use crate::delivery::Notice;
use crate::event::ConnId;
use crate::request::{Outcome, Ticket};
use crate::timer::Wake;

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// A host name or address, as the user or the broker named it; an IPv6 address without
    /// brackets.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// Whether the bytes go through TLS. Never turned off by what a broker answers.
    pub tls: bool,
}

impl Endpoint {
    /// A plain-text endpoint.
    pub fn tcp(host: &str, port: u16) -> Self {
        Self { host: host.into(), port, tls: false }
    }
}

/// `host:port`, brackets around an IPv6 address.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

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
