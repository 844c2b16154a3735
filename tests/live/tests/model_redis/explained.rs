//! Differences that are none of the model's mistakes, each with the server's version and the
//! reason.

use super::command::Command;
use super::frame::Frame;

/// A name for the count, what it matches (the command, the server's reply, the model's), and why.
pub type Explained = (&'static str, fn(&Command, &Frame, &Frame) -> bool, &'static str);

/// All of them.
pub const EXPLAINED: &[Explained] = &[];

/// A difference in what is no whole reply: its name and the reason.
pub const CUT_SHORT: (&str, &str) = (
    "a transaction in which its client kills itself",
    "redis-server 7.0.15 goes on and writes no more to the client, but for the lengths of arrays that it \
     learns late (XRANGE): `*2` without two elements; the model writes nothing at all",
);

/// What is never sent, and why.
pub const NOT_SENT: &[(&str, &str)] = &[(
    "CLIENT UNBLOCK of a client that CLIENT PAUSE holds back",
    "redis-server 7.0.15 ends in an assertion (\"Unknown btype\"), or with ERROR answers the held-back \
     command twice; the model says :0",
)];
