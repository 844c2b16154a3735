//! Differences that were found, shrunk: each of them is a mistake that the model no longer makes.

use super::command::{Arg, Command};
use super::session::Sent;

/// What it was, and the commands: a connection's number and words, `#1` for the id of connection 1,
/// `_` for a space within a word.
pub const FOUND: &[(&str, &[&str])] = &[
    ("the words for a bad id of a client", &["0 CLIENT KILL ID abc"]),
    ("spaces before an id's numbers", &["0 XADD a _5 f v", "0 XADD a 6-_7 f v", "0 XADD a _-1 f v"]),
    (
        "nothing is written to a client that killed itself in a transaction",
        &["0 MULTI", "0 CLIENT KILL ID #0 SKIPME no", "0 XADD b MINID 3-2 2-0 f v", "0 EXEC"],
    ),
    (
        "who is held back goes on in the order in which it came",
        &["0 CLIENT PAUSE 100000000 WRITE", "2 XSETID a 0-0", "1 XADD a 0-1 f v", "3 CLIENT UNPAUSE"],
    ),
    (
        "a subcommand of a later version isn't gathered by a transaction",
        &["0 MULTI", "0 CLIENT NO-TOUCH on", "0 CLIENT SETINFO LIB-NAME a", "0 EXEC"],
    ),
    (
        "a transaction that can't run any more isn't held back",
        &[
            "3 WATCH a b",
            "0 XADD b 3-0 f v",
            "3 MULTI",
            "3 XGROUP CREATE a g $ MKSTREAM",
            "0 CLIENT PAUSE 100000000 WRITE",
            "3 EXEC",
        ],
    ),
    (
        "trimming by id ends at a deleted entry",
        &[
            "0 XADD a 1-3 f v",
            "0 XADD a 2-0 f v",
            "0 XDEL a 2-0",
            "0 XSETID a 1-3",
            "0 XADD a 1-4 f v",
            "0 XADD a MINID 2-0 3-0 f v",
            "0 XRANGE a - +",
        ],
    ),
];

/// Those commands, as a session sends them.
pub fn commands(lines: &[&str]) -> Vec<Sent> {
    lines.iter().filter_map(|line| command(line)).collect()
}

fn command(line: &str) -> Option<Sent> {
    let (slot, words) = line.split_once(' ')?;
    let arg = |word: &str| match word.strip_prefix('#').map(str::parse) {
        Some(Ok(slot)) => Arg::IdOf(slot),
        _ => Arg::Text(word.replace('_', " ").into_bytes()),
    };
    Some((slot.parse().ok()?, Command { args: words.split(' ').map(arg).collect(), wait_ms: 0 }))
}
