//! Differences that are none of the model's mistakes, each with the server's version and the
//! reason.

use super::command::Command;
use super::frame::Frame;

/// A name for the count, what it matches (the command, the server's reply, the model's), and why.
pub type Explained = (&'static str, fn(&Command, &Frame, &Frame) -> bool, &'static str);

/// All of them.
pub const EXPLAINED: &[Explained] = &[];
