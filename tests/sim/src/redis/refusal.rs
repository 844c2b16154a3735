//! Errors, as they answer a command.

use std::borrow::Cow;

use super::args::c_string;

/// An error that answers a command. The text follows its first word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) text: Cow<'static, [u8]>,
}

impl Refusal {
    pub(crate) const fn err(text: &'static str) -> Self {
        Self::new("ERR", text)
    }

    pub(crate) const fn new(code: &'static str, text: &'static str) -> Self {
        Self { code, text: Cow::Borrowed(text.as_bytes()) }
    }

    /// An error whose text has a peer's words in it; those are cut at a zero byte, as in C.
    pub(crate) fn say(code: &'static str, parts: &[&[u8]]) -> Self {
        let mut text = Vec::new();
        for part in parts {
            text.extend_from_slice(c_string(part));
        }
        Self { code, text: Cow::Owned(text) }
    }
}

pub(crate) const SYNTAX: Refusal = Refusal::err("syntax error");
pub(crate) const NO_SUCH_KEY: Refusal = Refusal::err("no such key");
pub(crate) const WRONG_TYPE: Refusal =
    Refusal::new("WRONGTYPE", "Operation against a key holding the wrong kind of value");

/// NOGROUP in the words that most commands have for it.
pub(crate) fn no_key_or_group(key: &[u8], group: &[u8], end: &str) -> Refusal {
    Refusal::say("NOGROUP", &[b"No such key '", key, b"' or consumer group '", group, b"'", end.as_bytes()])
}

/// NOGROUP in the words of XGROUP and XINFO.
pub(crate) fn no_group_for_key(key: &[u8], group: &[u8]) -> Refusal {
    Refusal::say("NOGROUP", &[b"No such consumer group '", group, b"' for key name '", key, b"'"])
}

/// For a container's subcommand with arguments that fit none.
pub(crate) fn bad_subcommand(command: &str, sub: &[u8]) -> Refusal {
    let sub = sub.get(..128).unwrap_or(sub);
    Refusal::say(
        "ERR",
        &[
            b"unknown subcommand or wrong number of arguments for '",
            sub,
            b"'. Try ",
            command.as_bytes(),
            b" HELP.",
        ],
    )
}

/// What a command comes to: its reply is written, or this is.
pub(crate) type Answer = Result<(), Refusal>;
