//! What a runtime brings: sockets, a clock, a timer, a place to run. Nothing about protocols.

use std::future::Future;
use std::io;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tidegate_core::{Cause, Endpoint, Instant};

/// A runtime that can drive consumers. Clones are the same runtime, with the same clock.
pub trait Runtime: Clone + Send + 'static {
    /// A connection.
    type Socket: Socket;
    /// A timer.
    type Timer: Timer;

    /// The time, from a clock that never goes backwards.
    fn now(&self) -> Instant;

    /// A timer that isn't armed. Called within a task of the runtime.
    fn timer(&self) -> Self::Timer;

    /// Connects, trying all addresses of the host's name. Unbounded in time: the machine gives
    /// up by [`Limits::connect_timeout`](tidegate_core::Limits::connect_timeout), and the future
    /// is dropped. Small writes must not be held back (`TCP_NODELAY`). Called within a task of
    /// the runtime.
    fn connect(
        &self,
        endpoint: &Endpoint,
    ) -> impl Future<Output = Result<Self::Socket, Cause>> + Send + 'static;

    /// Runs the driver in the background.
    fn spawn(&self, driver: impl Future<Output = ()> + Send + 'static);
}

/// A connection. Dropping it closes it.
pub trait Socket: Send + Unpin + 'static {
    /// Appends what has arrived to `into`, at most as much as its spare capacity, without
    /// zeroing it or going through another buffer. 0 is the end.
    ///
    /// # Errors
    /// The operating system's; the connection is then given up.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Writes some of `bytes`, which aren't empty, and says how many.
    ///
    /// # Errors
    /// The operating system's; the connection is then given up.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
}

/// A timer that is armed again and again.
pub trait Timer: Send + Unpin + 'static {
    /// Fires at this moment, and no more at an earlier one.
    fn arm(&mut self, at: Instant);

    /// Ready once the moment of the last [`arm`](Self::arm) has come.
    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The cause in the machines' words.
pub fn cause(error: &io::Error) -> Cause {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Cause::Refused,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            Cause::Reset
        }
        io::ErrorKind::TimedOut => Cause::TimedOut,
        io::ErrorKind::UnexpectedEof => Cause::Eof,
        _ => Cause::Other(error.to_string().into()),
    }
}
