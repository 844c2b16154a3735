//! What was sent, and how it was answered.

use std::collections::BTreeMap;
use std::fmt;

use super::command::Command;
use super::explained::{CUT_SHORT, EXPLAINED, NOT_SENT};
use super::frame::Frame;

/// Counts of a whole run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Sessions, each from an empty server.
    pub sessions: u64,
    /// Commands whose answers were compared.
    pub commands: u64,
    /// Answers to connections that speak RESP3.
    pub resp3: u64,
    /// Answers that were errors.
    pub errors: u64,
    /// Times that a client began to wait.
    pub blocked: u64,
    /// Connections that the server closed.
    pub closed: u64,
    /// Connections that their client closed.
    pub hung_up: u64,
    /// Answers by the command's name.
    pub by_name: BTreeMap<String, u64>,
    /// Answers other than errors, by name and option: see [`OPTIONS`].
    pub options: BTreeMap<(String, &'static str), u64>,
    /// How clients that waited were answered, and by whose command.
    pub woken: BTreeMap<(String, String), u64>,
    /// Error messages, numbers and quoted words aside.
    pub messages: BTreeMap<String, u64>,
    /// Differences that are explained, by name.
    pub explained: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// A command has its answer.
    pub fn answered(&mut self, command: &Command, reply: &Frame) {
        self.commands += 1;
        let name = title(command);
        if let Frame::Leaf(leaf) = reply
            && leaf.first() == Some(&b'-')
        {
            self.errors += 1;
            *self.messages.entry(plain(&leaf[1..])).or_default() += 1;
        } else {
            let all = OPTIONS.iter().find(|(title, _)| *title == name).map_or(&[][..], |(_, all)| all);
            for option in all.iter().filter(|option| command.has(option)) {
                *self.options.entry((name.clone(), option)).or_default() += 1;
            }
            *self.options.entry((name.clone(), "")).or_default() += 1;
        }
        *self.by_name.entry(name).or_default() += 1;
    }

    /// A client that waited has its answer because of somebody else's command.
    pub fn woken(&mut self, by: &Command, reply: &Frame) {
        *self.woken.entry((title(by), reply.kind())).or_default() += 1;
    }

    /// What should have happened at least once and has not.
    pub fn missing(&self) -> Vec<String> {
        let options = OPTIONS.iter().flat_map(|(name, all)| {
            all.iter()
                .chain(&[""])
                .filter(|option| !self.options.contains_key(&((*name).to_owned(), **option)))
                .map(move |option| format!("{name} {option} without an error"))
        });
        let woken = WOKEN
            .iter()
            .filter(|(by, kind)| !self.woken.contains_key(&((*by).to_owned(), (*kind).to_owned())))
            .map(|(by, kind)| format!("a waiting client answered by {by} with {kind}"));
        options.chain(woken).collect()
    }
}

/// Every command, and those of its options that are to be seen in one that succeeds.
pub const OPTIONS: &[(&str, &[&str])] = &[
    ("XADD", &["NOMKSTREAM", "MAXLEN", "MINID", "~", "=", "LIMIT", "*"]),
    ("XTRIM", &["MAXLEN", "MINID", "~", "=", "LIMIT"]),
    ("XDEL", &[]),
    ("XLEN", &[]),
    ("XRANGE", &["COUNT", "-", "+"]),
    ("XREVRANGE", &["COUNT", "-", "+"]),
    ("XREAD", &["COUNT", "BLOCK", "$"]),
    ("XREADGROUP", &["COUNT", "BLOCK", "NOACK", ">"]),
    ("XACK", &[]),
    ("XPENDING", &["IDLE", "-", "+"]),
    ("XCLAIM", &["IDLE", "TIME", "RETRYCOUNT", "FORCE", "JUSTID", "LASTID"]),
    ("XAUTOCLAIM", &["COUNT", "JUSTID"]),
    ("XGROUP CREATE", &["MKSTREAM", "ENTRIESREAD", "$"]),
    ("XGROUP SETID", &["ENTRIESREAD", "$"]),
    ("XGROUP DESTROY", &[]),
    ("XGROUP CREATECONSUMER", &[]),
    ("XGROUP DELCONSUMER", &[]),
    ("XINFO STREAM", &["FULL", "COUNT"]),
    ("XINFO GROUPS", &[]),
    ("XINFO CONSUMERS", &[]),
    ("XSETID", &["ENTRIESADDED", "MAXDELETEDID"]),
    ("DEL", &[]),
    ("UNLINK", &[]),
    ("EXISTS", &[]),
    ("TYPE", &[]),
    ("SET", &["NX", "XX", "GET", "KEEPTTL", "EX", "PX"]),
    ("GET", &[]),
    ("RENAME", &[]),
    ("RENAMENX", &[]),
    ("WATCH", &[]),
    ("UNWATCH", &[]),
    ("EXPIRE", &["NX", "XX", "GT", "LT"]),
    ("PEXPIRE", &["NX", "XX", "GT", "LT"]),
    ("EXPIREAT", &[]),
    ("PEXPIREAT", &[]),
    ("TTL", &[]),
    ("PTTL", &[]),
    ("PERSIST", &[]),
    ("FLUSHALL", &[]),
    ("FLUSHDB", &[]),
    ("SELECT", &[]),
    ("MULTI", &[]),
    ("EXEC", &[]),
    ("DISCARD", &[]),
    ("PING", &[]),
    ("ECHO", &[]),
    ("AUTH", &[]),
    ("HELLO", &["AUTH", "SETNAME", "2", "3"]),
    ("CLIENT ID", &[]),
    ("CLIENT SETNAME", &[]),
    ("CLIENT GETNAME", &[]),
    ("CLIENT UNBLOCK", &["TIMEOUT", "ERROR"]),
    ("CLIENT KILL", &["ID", "SKIPME"]),
    ("CLIENT PAUSE", &["WRITE"]),
    ("CLIENT UNPAUSE", &[]),
    ("QUIT", &[]),
];

/// Ways for a waiting client to be answered.
const WOKEN: &[(&str, &str)] = &[
    ("XADD", "entries"),
    ("EXEC", "entries"),
    ("RENAME", "entries"),
    ("DEL", "UNBLOCKED"),
    ("FLUSHALL", "UNBLOCKED"),
    ("SET", "UNBLOCKED"),
    ("EXPIRE", "UNBLOCKED"),
    ("RENAME", "UNBLOCKED"),
    ("XGROUP DESTROY", "NOGROUP"),
    ("CLIENT UNBLOCK", "null"),
    ("CLIENT UNBLOCK", "UNBLOCKED"),
    ("CLIENT UNPAUSE", "value"),
];

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} commands in {} sessions, {} to RESP3, {} answered by an error ({} different messages)",
            self.commands,
            self.sessions,
            self.resp3,
            self.errors,
            self.messages.len()
        )?;
        writeln!(
            f,
            "{} clients waited; {} connections closed by the server, {} by their client",
            self.blocked, self.closed, self.hung_up
        )?;
        let names: Vec<String> = self
            .by_name
            .iter()
            .filter(|(name, _)| OPTIONS.iter().any(|(known, _)| known == name))
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        writeln!(f, "by name: {}", names.join(", "))?;
        let woken: Vec<String> =
            self.woken.iter().map(|((by, kind), count)| format!("{by} → {kind} {count}")).collect();
        writeln!(f, "waiting clients answered: {}", woken.join(", "))?;
        writeln!(f, "differences that are explained: {}", self.explained.values().sum::<u64>())?;
        let all = EXPLAINED.iter().map(|(name, _, reason)| (*name, *reason)).chain([CUT_SHORT]);
        for (name, reason) in all {
            writeln!(f, "  {name}: {} ({reason})", self.explained.get(name).copied().unwrap_or(0))?;
        }
        for (name, reason) in NOT_SENT {
            writeln!(f, "not sent: {name} ({reason})")?;
        }
        Ok(())
    }
}

/// A command's name, with its subcommand where it has one.
fn title(command: &Command) -> String {
    let name = command.word(0);
    match name.as_str() {
        "XGROUP" | "XINFO" | "CLIENT" => format!("{name} {}", command.word(1)),
        _ => name,
    }
}

/// A message without what varies in it.
fn plain(message: &[u8]) -> String {
    let message = String::from_utf8_lossy(message);
    let mut quoted = false;
    message
        .chars()
        .filter(|c| {
            quoted ^= *c == '\'';
            !quoted && !c.is_ascii_digit()
        })
        .take(60)
        .collect()
}
