//! Traces: everything that went into a machine and came out of it, as lines of text, and the
//! replay that finds the first line where a machine does something else.
//!
//! # Theory of operation
//!
//! A [`Recorder`] is a machine around a machine. It tells each call that is made, and what comes
//! of it, as one [`Line`]. The bytes are there too: those that arrived at the event that reports
//! them, those that were queued at the command that announces them. Bytes that moved without
//! being told (read, but something else was called first; queued behind bytes that were not
//! written yet) have lines of their own, so that no way of driving a machine is lost.
//!
//! [`replay()`] reads a trace from its start. An input line is done to the machine again, an
//! output line is asked for with `poll_command`; and since the machine is wrapped in a recorder
//! here too, all that has to be compared is text with text.
//!
//! ```text
//! tidegate-trace 1 redis
//! = endpoint tcp "127.0.0.1" 6379        what the machine is made from
//! …
//! = end
//! 0 > tick                               nanoseconds, an event or a request
//! < open c0.1 tcp "127.0.0.1" 6379       a command
//! < wait 5000000000 "connect"
//! 81250 > opened c0.1
//! < write c0.1 "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n"
//! < wait 10000081250 "reply"
//! 90110 > wrote c0.1 23
//! > take                                 poll_delivery was called
//! < batch "orders"/0 epoch 1 segment 0 messages 3 5-1..7-2 hash 0123456789abcdef
//! ```
//!
//! **Invariant:** no password is in a trace. It is replaced by as many asterisks as it has bytes,
//! in the login that is written and in errors that quote it; replay logs in with the asterisks.
//! As the lengths are the same, partial writes and their counts mean the same in both. (So the
//! length of a password is all that a trace tells of it.)
//!
//! **Invariant:** a line is printable ASCII, whatever bytes it tells of, and reads back as what it
//! was printed from. Recording, reading and replaying are linear in the bytes.
//!
//! **Invariant:** a trace that was cut off anywhere (kill -9, a full disk) replays up to there.

mod kafka;
mod line;
mod mask;
mod record;
mod replay;
mod setup;
mod text;

pub use line::{Digest, Ended, Input, Line, Output};
pub use record::Recorder;
pub use replay::{Replayed, Trace, TraceError, TraceLines, replay};
