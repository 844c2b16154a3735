//! One peer's socket, and what the kernel said of it.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;

use mio::net::TcpStream;
use tidegate_core::Instant;

/// How much is written in one turn.
const WRITE: usize = 256 << 10;

/// A socket. The kernel says once that it can be read or written; it is remembered here until it
/// says the contrary.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The peer has said that it sends no more, perhaps after bytes that are not read yet.
    pub(super) ended: bool,
    /// Bytes that the broker holds for it, as last counted.
    pub(super) held: usize,
    pub(super) stage: Stage,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// The broker closed it: what is there is still written, until then.
    Closing(Instant),
    /// All is written and our side is shut. What the peer still sends is thrown away, until it
    /// ends or this moment: a socket that is closed with unread bytes in it makes the kernel
    /// reset the connection, and the last reply would be lost with it.
    Shut(Instant),
}

/// What came of a read or a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// So many bytes, more than none.
    Bytes(usize),
    /// The kernel will say when.
    Later,
    /// The connection is at its end.
    Over,
}

impl Connection {
    pub(super) fn new(socket: TcpStream) -> Self {
        // Without it small replies wait for the peer's acknowledgement; it is only a loss of speed.
        let _ = socket.set_nodelay(true);
        // A new socket may have bytes, and can be written: the first try tells.
        Self { socket, readable: true, writable: true, ended: false, held: 0, stage: Stage::Open }
    }

    /// Writes a part of these bytes, which are not none.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Moved {
        let bytes = bytes.get(..WRITE).unwrap_or(bytes);
        let written = retried(|| self.socket.write(bytes));
        if written == Moved::Later {
            self.writable = false;
        }
        written
    }

    /// Reads into this room, which is not empty.
    pub(super) fn read(&mut self, room: &mut [u8]) -> Moved {
        let read = retried(|| self.socket.read(room));
        if read == Moved::Later {
            self.readable = false;
        }
        read
    }

    /// Tells the peer that nothing more will come.
    pub(super) fn shut(&mut self, until: Instant) {
        // It fails where the peer is gone, and the next read tells that.
        let _ = self.socket.shutdown(Shutdown::Write);
        self.stage = Stage::Shut(until);
    }

    /// When a connection that is closing is given up.
    pub(super) fn until(&self) -> Option<Instant> {
        match self.stage {
            Stage::Open => None,
            Stage::Closing(until) | Stage::Shut(until) => Some(until),
        }
    }
}

fn retried(mut once: impl FnMut() -> io::Result<usize>) -> Moved {
    loop {
        match once() {
            Ok(0) => return Moved::Over,
            Ok(n) => return Moved::Bytes(n),
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return Moved::Later,
                _ => return Moved::Over,
            },
        }
    }
}
