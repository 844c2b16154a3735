//! The contract of a machine.

use bytes::BytesMut;

use crate::command::Command;
use crate::delivery::Delivery;
use crate::endpoint::Endpoint;
use crate::error::RequestError;
use crate::event::{ConnId, Event};
use crate::identity::{ConsumerId, HostId};
use crate::options::ConsumerOptions;
use crate::request::{Request, Ticket};
use crate::stats::Stats;
use crate::stream::{StreamKey, Timestamp};
use crate::time::Instant;

/// What a machine is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Servers to try, in this order; at least one.
    pub endpoints: Vec<Endpoint>,
    /// Streams to read; at least one. Of Kafka, a name that begins with `^` is a pattern
    /// ([`kafka::Pattern`](crate::kafka::Pattern)): all topics that match, those that appear later
    /// as well.
    pub streams: Vec<StreamKey>,
    /// The options.
    pub options: ConsumerOptions,
    /// This host's identity, if there is one; resumable needs it.
    pub host: Option<HostId>,
    /// A member's name that nobody else has, for when the options name none.
    pub generated_consumer: ConsumerId,
    /// Of all randomness: jitter and nothing else.
    pub seed: u64,
    /// What the wall clock showed at the driver's [`Instant::ZERO`], within a second or so; what it
    /// shows later is this and the driver's time since. `None`: unknown, and what needs it is
    /// refused ([`Reset::ByDuration`](crate::Reset::ByDuration)).
    pub wall_clock: Option<Timestamp>,
}

/// A backend's consumer as a pure value: events in, commands and deliveries out.
///
/// > Whoever drives a machine calls nothing but these methods, in any order, and can't break it.
/// > Driven sloppily it is right, only later.
///
/// 1. Report what happened with [`handle`](Self::handle), what the application asks with
///    [`request`](Self::request).
/// 2. Then take commands until one is [`Command::Wait`], and carry each out.
/// 3. Take deliveries when the application wants them, and go on with 2: room in the data lane
///    may be a reason to ask the broker for more.
/// 4. For each connection, write what [`outgoing`](Self::outgoing) has, and read into
///    [`incoming`](Self::incoming) while [`wants_read`](Self::wants_read).
/// 5. Wait for a socket, the application, or the moment that `Wait` named; then from 1.
/// 6. After [`Delivery::End`] or [`Delivery::Failed`], and once every ticket is done, it may be
///    dropped.
pub trait Machine {
    /// Something happened. Total: no event can make it fail or panic; one for a connection that
    /// is no more is ignored.
    fn handle(&mut self, now: Instant, event: Event);

    /// The application asks for something. A ticket, if the answer takes a while: it is then
    /// the ticket of exactly one [`Command::Done`].
    ///
    /// # Errors
    /// Misuse by the caller; nothing changed.
    fn request(&mut self, now: Instant, request: Request) -> Result<Option<Ticket>, RequestError>;

    /// Control lane: drain after every [`handle`](Self::handle), [`request`](Self::request) and
    /// [`poll_delivery`](Self::poll_delivery) until it answers [`Command::Wait`]. Nothing in it
    /// ever waits for the application.
    fn poll_command(&mut self) -> Command;

    /// Data lane: taken at the application's own pace; bounded.
    fn poll_delivery(&mut self) -> Option<Delivery>;

    /// Bytes to write on `conn`; report progress with [`Event::Wrote`]. Empty for a connection
    /// that is no more.
    fn outgoing(&self, conn: ConnId) -> &[u8];

    /// Where bytes read from `conn` go: append, then report with [`Event::Received`]. What is in
    /// it already is a reply half read: leave it.
    fn incoming(&mut self, conn: ConnId) -> &mut BytesMut;

    /// False is backpressure: leave what arrives in the kernel.
    fn wants_read(&self, conn: ConnId) -> bool;

    /// How many more acks the driver may gather before it has to hand them in with
    /// [`Request::Ack`] (or [`Request::Taken`]); at the wake-up of `Wait`, and at any event, it
    /// hands in what it has anyway, before it reports that. At least 1.
    fn ack_appetite(&self) -> u64;

    /// The counters.
    fn stats(&self) -> Stats;
}
