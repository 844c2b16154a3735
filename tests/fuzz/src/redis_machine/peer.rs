//! The other end of one connection: what the machine asked, and what a server says to it, right
//! or wrong.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use tidegate_core::SeqNo;
use tidegate_core::redis::resp::{Bounds, Decoder, Protocol, Value, encode_value};
use tidegate_sim::Tape;

use super::setup::{PASSWORD, flip};

/// A server for one connection. It keeps no streams: each answer is made up.
pub(super) struct Peer {
    decoder: Decoder,
    buffer: BytesMut,
    /// Not answered yet.
    requests: VecDeque<Vec<Bytes>>,
    protocol: Protocol,
    /// Bytes were lost on the way here, so what comes means nothing any more.
    deaf: bool,
    /// It said what is no reply, so where the next one begins nobody can tell.
    garbled: bool,
}

/// What all connections of a run have in common.
#[derive(Default)]
pub(super) struct Store {
    /// Entries so far.
    last: u64,
}

/// What a server may refuse with.
const ERRORS: [&str; 17] = [
    "NOGROUP No such key 'orders' or consumer group 'g' in XREADGROUP with GROUP option",
    "NOGROUP the consumer group this client was blocked on no longer exists",
    "UNBLOCKED the stream key no longer exists",
    "WRONGTYPE Operation against a key holding the wrong kind of value",
    "BUSYGROUP Consumer Group name already exists",
    "LOADING Redis is loading the dataset in memory",
    "READONLY You can't write against a read only replica.",
    "NOAUTH Authentication required.",
    "WRONGPASS invalid username-password pair or user is disabled.",
    "NOPERM this user has no permissions to run the 'xreadgroup' command",
    "ERR unknown command 'HELLO', with args beginning with: '3' ",
    "ERR no such key",
    "ERR something new",
    "MOVED 3999 127.0.0.1:6381",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "NOPROTO unsupported protocol version",
];

impl Peer {
    pub(super) fn new() -> Self {
        Self {
            decoder: Decoder::new(Bounds::default()),
            buffer: BytesMut::new(),
            requests: VecDeque::new(),
            protocol: Protocol::Resp2,
            deaf: false,
            garbled: false,
        }
    }

    /// Bytes of the machine arrived. They are commands and nothing else.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.deaf {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        while let Some(request) = self.decoder.decode(&mut self.buffer).expect("no command") {
            let Value::Array(args) = request else { panic!("no command: {request:?}") };
            let arg = |arg| if let Value::Bulk(arg) = arg { arg } else { panic!("no string: {arg:?}") };
            let args: Vec<Bytes> = args.into_iter().map(arg).collect();
            assert!(!args.is_empty());
            self.requests.push_back(args);
        }
    }

    /// Some of the machine's bytes never come.
    pub(super) fn deafen(&mut self) {
        self.deaf = true;
    }

    /// What it says is not what it means.
    pub(super) fn garble(&mut self) {
        self.garbled = true;
    }

    /// Commands that were not answered.
    pub(super) fn waiting(&self) -> usize {
        self.requests.len()
    }

    /// The answer to the command that is next in turn; nothing where there is none.
    pub(super) fn answer(&mut self, tape: &mut Tape, store: &mut Store) -> Vec<u8> {
        let Some(request) = self.requests.pop_front() else { return Vec::new() };
        let reply = match tape.below(16) {
            15 => Value::Error(ERRORS[tape.below(ERRORS.len() as u64) as usize].into()),
            odd => self.reply(&request, if odd >= 12 { 1 + tape.below(4) } else { 0 }, tape, store),
        };
        let mut out = BytesMut::new();
        encode_value(&reply, self.protocol, &mut out);
        if request[0] == "HELLO" && !matches!(reply, Value::Error(_)) {
            self.protocol = Protocol::Resp3;
        }
        let mut out = out.to_vec();
        match tape.below(24) {
            21 => out.splice(..0, b">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n".iter().copied()).for_each(drop),
            22 => out.splice(..0, b"|1\r\n+ttl\r\n:3600\r\n".iter().copied()).for_each(drop),
            // The rest never comes, or what comes next is taken for it.
            23 => {
                out.truncate(tape.below(out.len() as u64) as usize);
                self.garbled = true;
            }
            _ => {}
        }
        out
    }

    /// The right kind of answer. `odd` is 0 for an ordinary one.
    fn reply(&self, request: &[Bytes], odd: u64, tape: &mut Tape, store: &mut Store) -> Value {
        let ok = Value::Simple("OK".into());
        let arg = |at: usize| request.get(at).cloned().unwrap_or_default();
        match (&request[0][..], &arg(1)[..]) {
            // Servers before 6.0 repeat what they don't understand: the password, in an error. In
            // anything else a trace doesn't look for it.
            (b"HELLO", _) if odd == 1 && !self.garbled => {
                let words: Vec<_> = request.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
                Value::Error(format!("ERR unknown command `HELLO`, with args: {}", words.join(" ")).into())
            }
            (b"HELLO", _) => Value::Map(vec![("server".into(), "redis".into())]),
            (b"AUTH", _) if odd == 1 && !self.garbled => {
                Value::Error(format!("ERR AUTH {PASSWORD} called without any password configured").into())
            }
            (b"CLIENT", b"ID") => Value::Integer(7),
            (b"CLIENT", b"UNBLOCK") => Value::Integer(1 - odd.min(1) as i64),
            (b"EXISTS", _) => {
                let plain = request.len() == 2 && !arg(1).contains(&b':');
                Value::Integer(match odd {
                    0 => plain.into(),
                    1 | 2 => (!plain).into(),
                    _ => request.len() as i64 - 1,
                })
            }
            (b"XINFO", b"STREAM") => match odd {
                0 | 1 => Value::Map(vec![("last-generated-id".into(), id(store.last - odd.min(store.last)))]),
                2 => Value::Error("ERR no such key".into()),
                _ => Value::Map(vec![("last-generated-id".into(), Value::Null)]),
            },
            (b"XINFO", _) => {
                let lag = [0, 1, i64::MAX, -1, i64::MIN][odd as usize];
                let group = vec![("name".into(), "g".into()), ("lag".into(), Value::Integer(lag))];
                Value::Array(vec![Value::Map(group)])
            }
            (b"XREADGROUP" | b"XREAD", _) => self.streams(request, odd, tape, store),
            (b"XACK", _) => Value::Integer(request.len() as i64 - 3),
            (b"XAUTOCLAIM", _) => {
                let entries = (0..tape.below(4)).map(|_| entry(odd, tape, store)).collect();
                let cursor = if odd < 3 { "0-0".into() } else { id(1 + tape.below(9)) };
                let gone = (0..tape.below(3)).map(|_| id(1 + tape.below(9))).collect();
                let mut page = vec![cursor, Value::Array(entries), Value::Array(gone)];
                // Before 7.0 there are two.
                page.truncate(if odd == 1 { 2 } else { 3 });
                Value::Array(page)
            }
            (b"XPENDING", _) => {
                let first = if odd < 3 { number(&arg(3)) } else { 1 };
                let last = number(&arg(4)).clamp(first, store.last.max(first)).min(first.saturating_add(40));
                let count = [1, 3, i64::MAX, 0, -1][odd as usize];
                let row =
                    |at| Value::Array(vec![id(at), "me".into(), Value::Integer(9), Value::Integer(count)]);
                let every = 1 + tape.below(3) as usize;
                Value::Array((first..=last).step_by(every).map(row).collect())
            }
            (b"XCLAIM", _) => Value::Array(Vec::new()),
            (b"EVAL", _) => Value::Integer(-(odd.min(1) as i64)),
            _ => ok,
        }
    }

    /// Entries of some of the streams that were asked for.
    fn streams(&self, request: &[Bytes], odd: u64, tape: &mut Tape, store: &mut Store) -> Value {
        let words = request.iter().position(|arg| arg == "STREAMS").map_or(0, |at| at + 1);
        let names = &request[words..];
        let (keys, ids) = names.split_at(names.len() / 2);
        let mut streams = Vec::new();
        for (key, from) in keys.iter().zip(ids) {
            // Own entries again: those of a group, after an id.
            let again = request[0] == "XREADGROUP" && from != ">";
            let count = if again { tape.below(3) } else { tape.below(5) };
            let count = if odd == 4 { 20 * count } else { count };
            if count == 0 && !again {
                continue;
            }
            let kept = store.last;
            if again && flip(tape) {
                store.last = number(from);
            }
            let entries = (0..count).map(|_| entry(odd, tape, store)).collect();
            store.last = store.last.max(kept);
            streams.push((Value::Bulk(key.clone()), Value::Array(entries)));
        }
        if streams.is_empty() && !flip(tape) {
            return Value::Null;
        }
        if odd == 3 {
            streams.push(("unknown".into(), Value::Array(vec![entry(0, tape, store)])));
        }
        match self.protocol {
            Protocol::Resp3 => Value::Map(streams),
            Protocol::Resp2 => {
                Value::Array(streams.into_iter().map(|(key, list)| Value::Array(vec![key, list])).collect())
            }
        }
    }
}

/// The next entry, or one that is gone, or one that came before.
fn entry(odd: u64, tape: &mut Tape, store: &mut Store) -> Value {
    let gone = match odd {
        1 => tape.below(3),
        2 => {
            store.last = tape.below(store.last.saturating_add(1));
            0
        }
        _ => 0,
    };
    store.last = store.last.saturating_add(1);
    let mut fields: Vec<Value> = Vec::new();
    for at in 0..tape.below(3) {
        fields.extend([if at == 0 { "msg".into() } else { "".into() }, "x".into()]);
    }
    match gone {
        0 => Value::Array(vec![id(store.last), Value::Array(fields)]),
        1 => Value::Array(vec![id(store.last), Value::Null]),
        _ => Value::Null,
    }
}

fn id(number: u64) -> Value {
    Value::Bulk(SeqNo::redis(number, 0).as_redis().to_string().into())
}

/// Of an id as it is asked for; the last one of all for anything else.
fn number(id: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(id);
    text.split('-').next().and_then(|millis| millis.parse().ok()).unwrap_or(u64::MAX)
}
