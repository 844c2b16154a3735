//! One connection to a broker: its buffers, what its broker understands, and which response
//! belongs to which request.
//!
//! **Invariant:** every request that was sent is in `expected`, in order, until its response was
//! read whole; a connection that closes hands back what was not answered, all of it. A response
//! whose correlation id isn't that of the request in turn closes the connection: it is never
//! given to another one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use super::task::Task;
use super::wire::{self, Request};
use crate::backoff::Backoff;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::event::ConnId;
use crate::time::Instant;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not connected; may be tried again from then on.
    Down { retry_at: Instant },
    /// Being connected, until then.
    Opening { until: Instant },
    /// Connected: versions are asked for, then the login.
    Greeting,
    /// In use.
    Ready,
}

struct Expected {
    task: Task,
    correlation: i32,
    version: i16,
    patience: Duration,
}

/// A whole response.
pub(super) struct Response {
    pub(super) task: Task,
    pub(super) version: i16,
    pub(super) frame: Bytes,
}

pub(super) struct Link {
    number: u16,
    generation: u64,
    pub(super) state: State,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) incoming: BytesMut,
    /// Bytes of `incoming` that were counted.
    seen: usize,
    outgoing: BytesMut,
    write_said: bool,
    expected: VecDeque<Expected>,
    correlation: i32,
    front_since: Instant,
    /// By API key: the versions that the broker understands.
    versions: BTreeMap<i16, (i16, i16)>,
    pub(super) backoff: Backoff,
    /// Somebody asked for it in the last round: it is opened again when it is lost.
    pub(super) wanted: bool,
    /// The broker asked for silence until then (KIP-219).
    pub(super) throttled_until: Instant,
}

impl Link {
    pub(super) fn new(number: u16, backoff: Backoff) -> Self {
        Self {
            number,
            generation: 0,
            state: State::Down { retry_at: Instant::ZERO },
            endpoint: None,
            incoming: BytesMut::new(),
            seen: 0,
            outgoing: BytesMut::new(),
            write_said: false,
            expected: VecDeque::new(),
            correlation: 0,
            front_since: Instant::ZERO,
            versions: BTreeMap::new(),
            backoff,
            wanted: false,
            throttled_until: Instant::ZERO,
        }
    }

    pub(super) fn conn(&self) -> ConnId {
        ConnId { number: self.number, generation: self.generation }
    }

    /// Whether `conn` is this connection as it is now.
    pub(super) fn is(&self, conn: ConnId) -> bool {
        conn == self.conn() && !self.is_down()
    }

    pub(super) fn is_down(&self) -> bool {
        matches!(self.state, State::Down { .. })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// A new attempt.
    pub(super) fn open(&mut self, until: Instant, endpoint: Endpoint) -> ConnId {
        self.generation += 1;
        self.endpoint = Some(endpoint);
        self.state = State::Opening { until };
        self.conn()
    }

    /// Forgets the connection; what was not answered comes back.
    pub(super) fn shut(&mut self, retry_at: Instant) -> Vec<Task> {
        self.state = State::Down { retry_at };
        self.incoming = BytesMut::new();
        self.seen = 0;
        self.outgoing = BytesMut::new();
        self.write_said = false;
        self.versions.clear();
        self.throttled_until = Instant::ZERO;
        std::mem::take(&mut self.expected).into_iter().map(|expected| expected.task).collect()
    }

    /// As ApiVersions told (KIP-35).
    pub(super) fn set_versions(&mut self, versions: BTreeMap<i16, (i16, i16)>) {
        self.versions = versions;
    }

    /// The newest version of a request that both sides understand; before the versions are known
    /// none but that of ApiVersions itself.
    pub(super) fn version<R: Request>(&self) -> Option<i16> {
        self.version_up_to::<R>(i16::MAX)
    }

    /// As [`Link::version`], and not above `most`.
    pub(super) fn version_up_to<R: Request>(&self, most: i16) -> Option<i16> {
        let &(oldest, newest) = self.versions.get(&R::KEY)?;
        let version = newest.min(*R::VERSIONS.end()).min(most);
        (version >= oldest && version >= *R::VERSIONS.start()).then_some(version)
    }

    /// Queues a request; its response may take `patience` once those before it are answered.
    pub(super) fn send<R: Request>(
        &mut self,
        now: Instant,
        client_id: &str,
        version: i16,
        request: &R,
        task: Task,
        patience: Duration,
    ) {
        let before = self.outgoing.len();
        if wire::write_request(&mut self.outgoing, self.correlation, client_id, version, request).is_err() {
            // Proved unreachable by the tests of the wire (each request that is made here fits
            // the version that was negotiated); half a frame must not stay in any case. The
            // request counts as sent, and its time runs out.
            self.outgoing.truncate(before);
        }
        if self.expected.is_empty() {
            self.front_since = now;
        }
        self.expected.push_back(Expected { task, correlation: self.correlation, version, patience });
        self.correlation = self.correlation.wrapping_add(1) & i32::MAX;
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

    /// The patience starts anew: bytes came, or nobody was reading.
    pub(super) fn be_patient(&mut self, now: Instant) {
        self.front_since = now;
    }

    /// Since when the request that is next in turn is waited for, or bytes came last.
    pub(super) fn waiting_since(&self) -> Instant {
        self.front_since
    }

    /// When the request that is next in turn must have been answered.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Opening { until } => Some(until),
            _ => self.expected.front().map(|front| self.front_since + front.patience),
        }
    }

    /// How long its answer may take.
    pub(super) fn front_patience(&self) -> Duration {
        self.expected.front().map_or(Duration::ZERO, |front| front.patience)
    }

    /// The name of the request that is next in turn.
    pub(super) fn front_name(&self) -> &'static str {
        self.expected.front().map_or("connect", |front| front.task.name())
    }

    /// Adds what came since [`Link::remember_received`].
    pub(super) fn count_received(&mut self, bytes: &mut u64) {
        *bytes += self.incoming.len().saturating_sub(self.seen) as u64;
        self.seen = self.incoming.len();
    }

    pub(super) fn remember_received(&mut self) {
        self.seen = self.incoming.len();
    }

    /// Room for the rest of a response of which the beginning is there, so that what came of it isn't
    /// moved to a larger buffer again and again. However long it says that it is, not much at once.
    fn make_room(&mut self) {
        if let Some(prefix) = self.incoming.first_chunk() {
            let length = usize::try_from(i32::from_be_bytes(*prefix)).unwrap_or(0);
            let missing = length.saturating_add(prefix.len()).saturating_sub(self.incoming.len());
            // And a little more: a driver makes room by itself where there is hardly any left, which
            // would move all of it just before its end.
            self.incoming.reserve(missing.min(ROOM_MAX) + HEAD);
        }
    }

    /// What follows a large response would keep its whole buffer from being freed, and be moved out of
    /// it once it is known how long it is: so it begins in a small one.
    fn begin_anew_after(&mut self, frame: &Bytes) {
        if self.incoming.is_empty() && frame.len() > HEAD {
            self.incoming = BytesMut::with_capacity(HEAD);
        }
    }

    /// The next whole response, if there is one.
    pub(super) fn next_response(&mut self, now: Instant, max: usize) -> Result<Option<Response>, Error> {
        let Some(frame) = wire::split_frame(&mut self.incoming, max).map_err(broken)? else {
            self.make_room();
            return Ok(None);
        };
        let came = wire::correlation_id(&frame).map_err(broken)?;
        // The same words whatever is asked meanwhile: that depends on how the bytes were cut.
        let next = self.expected.front().is_some_and(|front| front.correlation == came);
        let Some(front) = next.then(|| self.expected.pop_front()).flatten() else {
            let text = format!("a response to request {came}, which is not the next that was asked");
            return Err(Error::Protocol(text.into()));
        };
        self.front_since = now;
        self.begin_anew_after(&frame);
        Ok(Some(Response { task: front.task, version: front.version, frame }))
    }
}

/// Bytes that are reserved for the rest of a response at once.
const ROOM_MAX: usize = 2 << 20;
/// Bytes of room for the beginning of a response; as much as a driver wants to have at least.
const HEAD: usize = 16 << 10;

/// The bytes are not what the protocol says.
pub(super) fn broken(error: wire::WireError) -> Error {
    Error::Protocol(error.to_string().into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kafka::wire::HeartbeatRequest;

    #[test]
    fn a_large_response_has_a_buffer_of_its_size_and_leaves_none_behind() {
        let now = Instant::ZERO;
        let mut link = Link::new(0, Backoff::new(Duration::from_millis(1), Duration::from_secs(1)));
        let request = HeartbeatRequest::default();
        link.send(now, "test", 0, &request, Task::CreateTopics, Duration::from_secs(1));
        let length = 1 << 20;
        let mut frame = BytesMut::new();
        frame.extend_from_slice(&i32::try_from(length).unwrap().to_be_bytes());
        frame.resize(4 + length, 0);
        // As a socket gives them: into the room that there is, and a driver makes some where there
        // is little.
        let mut response = None;
        while !frame.is_empty() {
            if link.incoming.capacity() - link.incoming.len() < HEAD {
                link.incoming.reserve(HEAD);
            }
            let room = link.incoming.capacity() - link.incoming.len();
            link.incoming.extend_from_slice(&frame.split_to(room.min(frame.len())));
            assert!(link.incoming.capacity() <= 4 + length + 2 * HEAD, "{}", link.incoming.capacity());
            response = link.next_response(now, usize::MAX).unwrap();
        }
        assert_eq!(response.unwrap().frame.len(), length);
        assert!(link.incoming.capacity() <= HEAD, "{}", link.incoming.capacity());
    }
}
