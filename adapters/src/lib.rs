//! tidegate: a stream consumer for Redis Streams that never loses a message.
//!
//! ```no_run
//! use tidegate::{ConsumerMode, ConsumerOptions};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), tidegate::ConsumerError> {
//!     let options = ConsumerOptions::new(ConsumerMode::LoadBalanced).group("billing");
//!     let consumer = tidegate::connect("redis://localhost/orders", options).await?;
//!     while let Some(message) = consumer.next().await? {
//!         println!("{}: {:?}", message.seq(), message.payload());
//!         consumer.ack(&message);
//!     }
//!     consumer.close().await
//! }
//! ```
//!
//! # Which mode
//!
//! | [`ConsumerMode`] | who gets a message | after a restart |
//! |---|---|---|
//! | `RealTime` | every consumer | goes on with what is new |
//! | `Resumable` | this host | goes on where it stopped |
//! | `LoadBalanced` | one member of the group | goes on; what a dead member left is claimed |
//!
//! # Acks and commits
//!
//! [`ack`](Handle::ack) says that the application is done with a message; it is local, and costs
//! a push. A *commit* tells the broker. [`AutoCommit`] says who does which:
//!
//! - `Rolling` (the default): you ack, and every second is committed. A crash repeats up to a
//!   second of messages; none is lost.
//! - `Disabled`: you ack, and call [`commit`](Handle::commit).
//! - `Delayed`: each message is acked some time after you took it.
//! - `Immediate`: the broker forgets a message as it hands it out: at most once.
//!
//! What was not acked is handed out again, to this consumer after a restart or to another that
//! claims it. So ack when the work is done, and not before.
//!
//! # Many tasks
//!
//! A [`Handle`] is cheap to clone, and all its methods take `&self`: any number of tasks and
//! threads may call [`next`](Handle::next), and each message goes to one of them. Messages are
//! acked in any order, by any task. Every future may be dropped at any await (in `select!`, in a
//! time-out), and nothing is lost by it. [`next_batch`](Handle::next_batch) costs a call for many
//! messages; [`stream`](Handle::stream) is for stream combinators.
//!
//! Code that is generic over [`Consumer`] runs with every runtime's handle, and without a server:
//!
//! ```
//! use tidegate::{Consumer, ConsumerError};
//!
//! async fn count(consumer: &impl Consumer) -> Result<u64, ConsumerError> {
//!     let mut messages = 0;
//!     while let Some(message) = consumer.next().await? {
//!         messages += 1;
//!         consumer.ack(&message);
//!     }
//!     Ok(messages)
//! }
//! ```
//!
//! # The end
//!
//! [`close`](Handle::close) commits what was acked, leaves the group and returns within five
//! seconds, even if the server is gone; it is `Ok` only if everything acked was committed.
//! Dropping the last handle does the same in the background, and tells nobody how it ended.
//!
//! # When things go wrong
//!
//! After `connect` has returned, lost connections, fail-overs and refusals are waited out, for
//! ever. [`notices`](Handle::notices) tell of each, with its reason; with the feature `tracing`
//! they are events too, at debug level. Only what nothing can repair ends the consumer, and
//! [`next`](Handle::next) then returns it each time.
//!
//! # Features
//!
//! - `tokio` (default): [`connect`], [`Tokio`].
//! - `tracing`: a span for each consumer; events for notices, connections and requests.
//!
//! Another runtime takes one small [`Runtime`] and [`drive`].

mod any;
#[cfg(feature = "tokio")]
mod connect;
mod driver;
mod handle;
pub mod host;
mod lane;
mod link;
mod notices;
mod reply;
mod runtime;
#[cfg(feature = "tokio")]
mod tokio;
mod trace;
mod url;

pub use tidegate_core::{
    AckRange, Assignment, AssignorKind, AutoCommit, Batch, Cause, ClaimOptions, Consumer, ConsumerError,
    ConsumerGroup, ConsumerId, ConsumerMode, ConsumerOptions, Endpoint, Error, GroupProtocol, HostId,
    Isolation, KafkaOptions, Limits, Message, MessageRef, Messages, Notice, OwnAssignor, Position, Reason,
    RequestError, Reset, SeqNo, ShardId, Start, Stats, StreamKey, Timestamp, assign,
};

pub use any::{AnyMachine, Backend, setup};
#[cfg(feature = "tokio")]
pub use connect::{connect, connect_with};
pub use handle::{CLOSE_DEADLINE, Handle, MessageStream, drive};
pub use lane::Taken;
pub use notices::Notices;
pub use runtime::{Runtime, Socket, Timer, cause};
#[cfg(feature = "tokio")]
pub use tokio::{Tokio, TokioTimer};
pub use url::{StreamUrl, UrlError};
