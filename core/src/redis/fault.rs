//! Every error that a Redis server answers, and what it means for a consumer.
//!
//! | the server says | reaction |
//! |---|---|
//! | `NOGROUP`, `UNBLOCKED`, `WRONGTYPE`, no such key | set up the keys of that read again: look at the key, create the group; wait and look again if that can't be done |
//! | `BUSYGROUP` | success: another member was faster |
//! | `LOADING`, `TRYAGAIN`, `CLUSTERDOWN`, `MASTERDOWN`, `OOM`, `MISCONF`, `BUSY`, `MOVED`, `ASK`, anything unknown | the same again, later, on the same connection |
//! | `READONLY`, `NOAUTH` | another connection: the server changed its part, or forgot us |
//! | `WRONGPASS`, `NOPERM` | at the start fatal; later the same again, later: an operator may mend it |

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::stream::StreamKey;

/// An error reply by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NoGroup,
    Unblocked,
    WrongType,
    NoSuchKey,
    BusyGroup,
    Unavailable,
    Redirected,
    ReadOnly,
    NoAuth,
    Login,
    Permission,
    UnknownCommand,
    Other,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Look at the keys concerned, and make the group again.
    SetUp,
    /// The same again, later.
    Later,
    /// On another connection, later.
    Reconnect,
}

impl Fault {
    /// By the first word, as clients are meant to; the words after it only where one code has
    /// several meanings.
    pub(super) fn of(words: &[u8]) -> Self {
        let code = words.split(|byte| *byte == b' ').next().unwrap_or_default();
        match code {
            b"NOGROUP" => Self::NoGroup,
            b"UNBLOCKED" => Self::Unblocked,
            b"WRONGTYPE" => Self::WrongType,
            b"BUSYGROUP" => Self::BusyGroup,
            b"LOADING" | b"TRYAGAIN" | b"CLUSTERDOWN" | b"MASTERDOWN" | b"OOM" | b"MISCONF" | b"BUSY" => {
                Self::Unavailable
            }
            b"MOVED" | b"ASK" => Self::Redirected,
            b"READONLY" => Self::ReadOnly,
            b"NOAUTH" => Self::NoAuth,
            b"WRONGPASS" => Self::Login,
            b"NOPERM" => Self::Permission,
            b"ERR" if contains(words, b"no such key") || contains(words, b"requires the key to exist") => {
                Self::NoSuchKey
            }
            // AUTH where no password is set: "ERR AUTH <password> called without any password
            // configured for the default user. Are you sure your configuration is correct?"
            b"ERR" if contains(words, b"without any password configured") => Self::Login,
            b"ERR" if contains(words, b"unknown command") || contains(words, b"unknown subcommand") => {
                Self::UnknownCommand
            }
            b"NOPROTO" => Self::UnknownCommand,
            _ => Self::Other,
        }
    }

    pub(super) fn reaction(self) -> Reaction {
        match self {
            Self::NoGroup | Self::Unblocked | Self::WrongType | Self::NoSuchKey => Reaction::SetUp,
            Self::ReadOnly | Self::NoAuth => Reaction::Reconnect,
            Self::BusyGroup
            | Self::Unavailable
            | Self::Redirected
            | Self::Login
            | Self::Permission
            | Self::UnknownCommand
            | Self::Other => Reaction::Later,
        }
    }

    /// The same as a value for the application and the operator.
    pub(super) fn error(
        self,
        command: &'static str,
        words: &[u8],
        endpoint: &Endpoint,
        stream: Option<&StreamKey>,
    ) -> Error {
        let message: Box<str> = String::from_utf8_lossy(words).into();
        match (self, stream) {
            (Self::WrongType, Some(stream)) => Error::WrongType { stream: stream.clone() },
            (Self::NoSuchKey, Some(stream)) => Error::StreamMissing { stream: stream.clone() },
            (Self::Unavailable | Self::ReadOnly, _) => Error::Unavailable { message },
            (Self::Redirected, _) => Error::Redirected { message },
            (Self::NoAuth | Self::Login, _) => Error::Login { endpoint: endpoint.clone(), message },
            (Self::Permission, _) => Error::Permission { command, message },
            _ => Error::Broker { command, message },
        }
    }
}

/// `-NOGROUP No such key 'orders' or consumer group 'g' in …`: the key, where it is named.
pub(super) fn named_key(words: &[u8]) -> Option<&[u8]> {
    let start = words.iter().position(|byte| *byte == b'\'')? + 1;
    let rest = words.get(start..)?;
    let len = rest.windows(END.len()).position(|window| window == END)?;
    rest.get(..len)
}

const END: &[u8] = b"' or consumer group";

fn contains(words: &[u8], part: &[u8]) -> bool {
    words.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_real_servers() {
        // As redis-server 7.0.15 prints them.
        for (words, fault, reaction) in [
            (
                "NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option",
                Fault::NoGroup,
                Reaction::SetUp,
            ),
            (
                "NOGROUP the consumer group this client was blocked on no longer exists",
                Fault::NoGroup,
                Reaction::SetUp,
            ),
            ("UNBLOCKED the stream key no longer exists", Fault::Unblocked, Reaction::SetUp),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                Fault::WrongType,
                Reaction::SetUp,
            ),
            ("ERR no such key", Fault::NoSuchKey, Reaction::SetUp),
            (
                "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
                Fault::NoSuchKey,
                Reaction::SetUp,
            ),
            ("BUSYGROUP Consumer Group name already exists", Fault::BusyGroup, Reaction::Later),
            ("LOADING Redis is loading the dataset in memory", Fault::Unavailable, Reaction::Later),
            ("READONLY You can't write against a read only replica.", Fault::ReadOnly, Reaction::Reconnect),
            ("MOVED 3999 127.0.0.1:6381", Fault::Redirected, Reaction::Later),
            ("ASK 3999 127.0.0.1:6381", Fault::Redirected, Reaction::Later),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Fault::Unavailable, Reaction::Later),
            ("CLUSTERDOWN The cluster is down", Fault::Unavailable, Reaction::Later),
            (
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
                Fault::Unavailable,
                Reaction::Later,
            ),
            ("OOM command not allowed when used memory > 'maxmemory'.", Fault::Unavailable, Reaction::Later),
            ("NOAUTH Authentication required.", Fault::NoAuth, Reaction::Reconnect),
            (
                "NOAUTH HELLO must be called with the client already authenticated",
                Fault::NoAuth,
                Reaction::Reconnect,
            ),
            ("WRONGPASS invalid username-password pair or user is disabled.", Fault::Login, Reaction::Later),
            (
                "NOPERM this user has no permissions to run the 'xreadgroup' command",
                Fault::Permission,
                Reaction::Later,
            ),
            (
                "ERR unknown command 'HELLO', with args beginning with: '3' ",
                Fault::UnknownCommand,
                Reaction::Later,
            ),
            ("NOPROTO unsupported protocol version", Fault::UnknownCommand, Reaction::Later),
            ("ERR something new", Fault::Other, Reaction::Later),
            ("", Fault::Other, Reaction::Later),
        ] {
            assert_eq!(Fault::of(words.as_bytes()), fault, "{words}");
            assert_eq!(fault.reaction(), reaction, "{words}");
        }
    }

    #[test]
    fn the_key_of_a_missing_group_is_found() {
        let words = b"NOGROUP No such key 'it's' or consumer group 'g' in XREADGROUP with GROUP option";
        assert_eq!(named_key(words), Some(&b"it's"[..]));
        assert_eq!(
            named_key(b"NOGROUP the consumer group this client was blocked on no longer exists"),
            None
        );
        assert_eq!(named_key(b"NOGROUP '"), None);
    }
}
