//! A connection: its bytes, and the request that it waits for.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidegate_core::Instant;
use tidegate_core::kafka::wire::{Request, split_frame, write_response};

use super::sessions::Pending;
use super::throttle::HeldUp;

/// What was asked, and how to answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) correlation: i32,
    pub(super) version: i16,
}

/// A request that waits for its answer. Meanwhile nothing else of its connection is looked at: a
/// broker answers in order.
#[derive(Debug)]
pub(super) enum Parked {
    /// A fetch, for records.
    Fetch { head: Head, pending: Pending, until: Instant },
    /// JoinGroup or SyncGroup, for what the coordinator says ([`super::coordinator::Answer`]).
    Member { head: Head },
}

impl Parked {
    /// When it waits no longer, if time alone can end it.
    pub(super) fn until(&self) -> Option<Instant> {
        match self {
            Self::Fetch { until, .. } => Some(*until),
            Self::Member { .. } => None,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Peer {
    /// The id of the broker that it is with.
    pub(super) node: i32,
    pub(super) incoming: BytesMut,
    pub(super) outgoing: BytesMut,
    pub(super) parked: Option<Parked>,
    /// It said what is not the protocol: it is closed once it has its answers.
    pub(super) broken: bool,
    /// The command to write was given.
    pub(super) write_said: bool,
    /// For how long answers are held up now.
    pub(super) held_up: Duration,
    /// An answer was held up for so long, and the connection isn't muted for it yet.
    pub(super) owed: Duration,
    /// Until when nothing of it is read; the origin: it isn't muted.
    pub(super) muted: Instant,
}

impl Peer {
    pub(super) fn new(node: i32) -> Self {
        Self {
            node,
            incoming: BytesMut::new(),
            outgoing: BytesMut::new(),
            parked: None,
            broken: false,
            write_said: false,
            held_up: Duration::ZERO,
            owed: Duration::ZERO,
            muted: Instant::ZERO,
        }
    }

    /// Queues an answer. One that its version can't say ends the connection, as it does a broker's.
    pub(super) fn answer<R: Request>(&mut self, head: Head, response: &R::Response)
    where
        R::Response: HeldUp,
    {
        if self.held_up > Duration::ZERO {
            let mut response = response.clone();
            response.say_held_up(i32::try_from(self.held_up.as_millis()).unwrap_or(i32::MAX));
            self.owed = self.owed.max(self.held_up);
            return self.write::<R>(head, &response);
        }
        self.write::<R>(head, response);
    }

    fn write<R: Request>(&mut self, head: Head, response: &R::Response) {
        let before = self.outgoing.len();
        if write_response::<R>(&mut self.outgoing, head.correlation, head.version, response).is_err() {
            self.outgoing.truncate(before);
            self.broken = true;
        }
    }

    /// Mutes the connection for what was held up, or ends that.
    pub(super) fn mute(&mut self, now: Instant) {
        if self.muted <= now {
            self.muted = Instant::ZERO;
        }
        if self.owed > Duration::ZERO {
            self.muted = self.muted.max(now + std::mem::take(&mut self.owed));
        }
    }

    /// The next whole request, if it may be looked at now.
    pub(super) fn next_frame(&mut self, now: Instant) -> Option<Bytes> {
        if self.broken || self.parked.is_some() || self.muted > now {
            return None;
        }
        let frame = split_frame(&mut self.incoming, FRAME_MAX);
        self.broken |= frame.is_err();
        frame.ok().flatten()
    }
}

/// `socket.request.max.bytes`.
const FRAME_MAX: usize = 100 << 20;
