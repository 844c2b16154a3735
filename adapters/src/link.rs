//! One connection: from the attempt to the socket, and how much to read at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tidegate_core::{Cause, ConnId, Machine};

use crate::driver::write_zero;
use crate::runtime::{Socket, cause};

/// Room for one read when little comes.
const READ_MIN: usize = 16 << 10;
/// Room for one read when much comes.
const READ_MAX: usize = 256 << 10;
/// So many small reads in a row halve the room.
const SMALL_READS: u8 = 8;

/// What a connection did.
pub(crate) enum Step {
    None,
    Opened,
    OpenFailed(Cause),
    Received,
    Wrote(usize),
    Closed(Cause),
}

pub(crate) struct Link<S> {
    pub(crate) conn: ConnId,
    state: State<S>,
    room: Room,
}

enum State<S> {
    Connecting(Pin<Box<dyn Future<Output = Result<S, Cause>> + Send>>),
    Open(S),
}

impl<S: Socket> Link<S> {
    pub(crate) fn new(
        conn: ConnId,
        connecting: Pin<Box<dyn Future<Output = Result<S, Cause>> + Send>>,
    ) -> Self {
        Self { conn, state: State::Connecting(connecting), room: Room::default() }
    }

    /// Goes on connecting, or reads once.
    pub(crate) fn read(&mut self, machine: &mut impl Machine, cx: &mut Context<'_>) -> Step {
        let socket = match &mut self.state {
            State::Connecting(connecting) => {
                return match connecting.as_mut().poll(cx) {
                    Poll::Pending => Step::None,
                    Poll::Ready(Ok(socket)) => {
                        self.state = State::Open(socket);
                        Step::Opened
                    }
                    Poll::Ready(Err(cause)) => Step::OpenFailed(cause),
                };
            }
            State::Open(socket) => socket,
        };
        if !machine.wants_read(self.conn) {
            return Step::None;
        }
        let buffer = machine.incoming(self.conn);
        self.room.make(buffer);
        let spare = buffer.capacity() - buffer.len();
        match socket.poll_read(cx, buffer) {
            Poll::Pending => {
                self.room.trim(buffer);
                Step::None
            }
            Poll::Ready(Ok(0)) => Step::Closed(Cause::Eof),
            Poll::Ready(Ok(n)) => {
                self.room.note(n, spare);
                Step::Received
            }
            Poll::Ready(Err(error)) => Step::Closed(cause(&error)),
        }
    }

    /// Writes once, if there is something.
    pub(crate) fn write(&mut self, machine: &impl Machine, cx: &mut Context<'_>) -> Step {
        let State::Open(socket) = &mut self.state else { return Step::None };
        let bytes = machine.outgoing(self.conn);
        if bytes.is_empty() {
            return Step::None;
        }
        match socket.poll_write(cx, bytes) {
            Poll::Pending => Step::None,
            Poll::Ready(Ok(0)) => Step::Closed(write_zero()),
            Poll::Ready(Ok(n)) => Step::Wrote(n),
            Poll::Ready(Err(error)) => Step::Closed(cause(&error)),
        }
    }
}

/// How much to read at once: grows while reads fill it, shrinks while they don't.
struct Room {
    size: usize,
    small: u8,
}

impl Default for Room {
    fn default() -> Self {
        Self { size: READ_MIN, small: 0 }
    }
}

impl Room {
    /// Never without room: a read into none looks like the end of the connection. Room that the
    /// machine made is for what it knows is to come: it is filled first.
    fn make(&self, buffer: &mut BytesMut) {
        if buffer.capacity() - buffer.len() < (self.size / 2).min(READ_MIN) {
            buffer.reserve(self.size);
        }
    }

    fn note(&mut self, read: usize, spare: usize) {
        if read >= spare {
            self.size = (self.size * 2).min(READ_MAX);
            self.small = 0;
        } else if read < self.size / 4 {
            self.small += 1;
            if self.small >= SMALL_READS {
                self.size = (self.size / 2).max(READ_MIN);
                self.small = 0;
            }
        } else {
            self.small = 0;
        }
    }

    /// Nothing comes now: a buffer that a busy time left is given back. Only the size of the
    /// reads says that the time is over: between two busy ones there is a pause, too.
    fn trim(&self, buffer: &mut BytesMut) {
        if buffer.is_empty() && buffer.capacity() > 2 * self.size {
            *buffer = BytesMut::with_capacity(self.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_grows_with_full_reads_and_shrinks_with_small_ones() {
        let mut room = Room::default();
        for _ in 0..10 {
            room.note(room.size, room.size);
        }
        assert_eq!(room.size, READ_MAX);
        for _ in 0..10 * usize::from(SMALL_READS) {
            room.note(1, room.size);
        }
        assert_eq!(room.size, READ_MIN);
    }

    #[test]
    fn there_is_always_room_and_an_idle_buffer_is_given_back() {
        let busy = Room { size: READ_MAX, small: 0 };
        let mut buffer = BytesMut::new();
        busy.make(&mut buffer);
        assert!(buffer.capacity() >= READ_MAX);
        busy.trim(&mut buffer);
        assert!(buffer.capacity() >= READ_MAX, "a pause is not yet idleness");
        let idle = Room::default();
        buffer.extend_from_slice(b"half a reply");
        idle.trim(&mut buffer);
        assert_eq!(&buffer[..], b"half a reply");
        buffer.clear();
        idle.trim(&mut buffer);
        idle.make(&mut buffer);
        assert!((READ_MIN..=2 * READ_MIN).contains(&buffer.capacity()));
    }
}
