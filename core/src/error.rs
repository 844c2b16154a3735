//! What can go wrong, as values: comparable, printable in one line, never with a password.

use crate::endpoint::Endpoint;
use crate::event::Cause;
use crate::identity::IdentityError;
use crate::stream::{ShardId, StreamKey};

/// Misuse by the caller; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The shard is not assigned, so it can't be unassigned.
    #[error("{stream}/{shard} is not assigned")]
    ConsumerNotAssigned {
        /// The stream that was named.
        stream: StreamKey,
        /// The shard that was named.
        shard: ShardId,
    },
    /// The stream is not one of those that the consumer was made for.
    #[error("{stream} is not subscribed: name it when the consumer is made")]
    StreamNotSubscribed {
        /// The stream that was named.
        stream: StreamKey,
    },
    /// The backend can't do this.
    #[error("{what} is not supported here: {instead}")]
    Unsupported {
        /// What was asked.
        what: &'static str,
        /// What to do instead.
        instead: &'static str,
    },
    /// The consumer was closed, or has failed.
    #[error("the consumer is closed")]
    Closed,
    /// More requests are unanswered than `Limits::requests_max` allows.
    #[error("{max} requests are waiting already: await some of them first")]
    TooManyRequests {
        /// The limit.
        max: usize,
    },
}

/// What ended a consumer, made a request fail, or stalled a shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The options contradict each other.
    #[error("{0}")]
    Options(Box<str>),
    /// No identity for this host.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The first connection could not be made.
    #[error("can't connect to {endpoint}: {cause}; is the server running there?")]
    Connect {
        /// Where to.
        endpoint: Endpoint,
        /// What the operating system said.
        cause: Cause,
    },
    /// User or password are wrong, or missing.
    #[error("{endpoint} refused the login: {message}; check user and password")]
    Login {
        /// Who refused.
        endpoint: Endpoint,
        /// The broker's words.
        message: Box<str>,
    },
    /// The user may not do this.
    #[error("no permission for {command}: {message}")]
    Permission {
        /// The command's name.
        command: &'static str,
        /// The broker's words.
        message: Box<str>,
    },
    /// The stream doesn't exist.
    #[error("the stream {stream} does not exist: create it, or let the consumer do so (create)")]
    StreamMissing {
        /// Which.
        stream: StreamKey,
    },
    /// The key holds something else than a stream.
    #[error("the key {stream} is not a stream: delete or rename it, or name another stream")]
    WrongType {
        /// Which.
        stream: StreamKey,
    },
    /// The broker can't serve now, and said so: it starts, fails over, is full.
    #[error("the server can't serve now: {message}")]
    Unavailable {
        /// The broker's words.
        message: Box<str>,
    },
    /// The server is part of a cluster, and the key lives elsewhere.
    #[error(
        "the key lives on another node of a cluster ({message}): connect to that node, clusters are not followed yet"
    )]
    Redirected {
        /// The broker's words.
        message: Box<str>,
    },
    /// The broker answered with an error that has no name here.
    #[error("{command} failed: {message}")]
    Broker {
        /// The command's name.
        command: &'static str,
        /// The broker's words.
        message: Box<str>,
    },
    /// The broker broke the protocol; the connection was closed.
    #[error("not the protocol that was expected: {0}")]
    Protocol(Box<str>),
    /// The broker didn't answer within `Limits::response_timeout`.
    #[error("no answer to {command} in time")]
    TimedOut {
        /// The command's name.
        command: &'static str,
    },
    /// The consumer closed at its deadline, and the broker doesn't know of these acks: the
    /// messages will be handed out again.
    #[error("closed, but {messages} acked messages could not be committed: they will be handed out again")]
    Uncommitted {
        /// How many.
        messages: u64,
    },
    /// A later seek, rewind or close took the place of this request.
    #[error("a later request took its place")]
    Superseded,
    /// The consumer was closed while the request waited.
    #[error("the consumer is closed")]
    Closed,
}
