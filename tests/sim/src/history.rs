//! What happened, for people to look at: who held what when.
//!
//! A history is collected from a simulated run or from a recorded trace, and drawn by
//! [`timeline`](crate::timeline).

use tidegate_core::{Instant, SeqNo};

/// A run, or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// What it is called: the seed and the options, or the name of a trace.
    pub title: String,
    /// One row each, in this order.
    pub members: Vec<String>,
    /// Messages in the hands of applications.
    pub holds: Vec<Hold>,
    /// What took a while: faults, outages, standing still.
    pub spans: Vec<Span>,
    /// What took a moment.
    pub marks: Vec<Mark>,
    /// Counts for the summary, in this order: `("sent", 1000)`.
    pub totals: Vec<(String, u64)>,
}

/// Messages that one application took together, and held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Index into [`History::members`].
    pub member: usize,
    /// As people write it: `orders/0`.
    pub shard: String,
    /// The first one's position.
    pub first: SeqNo,
    /// The last one's.
    pub last: SeqNo,
    /// How many.
    pub messages: u64,
    /// When they were taken.
    pub from: Instant,
    /// When the last of them was acked, or the member gone; `None` if neither ever was.
    pub until: Option<Instant>,
    /// How they came here.
    pub origin: Origin,
    /// How it ended.
    pub end: HoldEnd,
}

/// How messages came to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// For the first time to anyone.
    New,
    /// Again to the member that had them.
    Recovered,
    /// From another member that had left them.
    Claimed,
}

/// How a hold ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HoldEnd {
    /// All of it was acked.
    Acked,
    /// The member was gone first.
    Abandoned,
    /// It goes on to the end of the history.
    Open,
}

/// What took a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Whom it concerns; `None`: the broker, or all.
    pub member: Option<usize>,
    /// What.
    pub kind: SpanKind,
    /// Since when.
    pub from: Instant,
    /// Until when; `None`: to the end.
    pub until: Option<Instant>,
    /// In a few words.
    pub text: String,
}

/// Kinds of what took a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpanKind {
    /// The member runs.
    Alive,
    /// The member stands still (SIGSTOP).
    Frozen,
    /// No connection between the member and the broker, or none that works.
    Disconnected,
    /// The broker is down, loading, full, or read-only.
    Outage,
}

/// What took a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whom it concerns; `None`: the broker, or all.
    pub member: Option<usize>,
    /// What.
    pub kind: MarkKind,
    /// When.
    pub at: Instant,
    /// In a few words.
    pub text: String,
}

/// Kinds of what took a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
    /// A member started.
    Started,
    /// A member was killed.
    Killed,
    /// A member closed in order.
    Closed,
    /// The broker was told of acks.
    Committed,
    /// A member took over what another had left.
    Claimed,
    /// A shard was assigned.
    Assigned,
    /// A shard was revoked.
    Revoked,
    /// A fault was put in.
    Fault,
    /// Anything else worth a line: a notice.
    Notice,
    /// A promise was broken here.
    Violation,
}
