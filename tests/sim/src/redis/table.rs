//! The commands: names, arity, flags, where their keys are.

use super::args::{Args, parse_int};
use super::commands::{
    claim, client, cluster, generic, group, info, pending, range, read, script, server, session, trim,
};
use super::node::Call;
use super::refusal::Answer;

/// It changes something.
pub(crate) const WRITE: u32 = 1;
/// It takes memory.
pub(crate) const DENY_OOM: u32 = 1 << 1;
/// It only reads.
pub(crate) const READ: u32 = 1 << 2;
/// It runs while the server loads.
pub(crate) const LOADING: u32 = 1 << 3;
/// It runs on a replica without a primary.
pub(crate) const STALE: u32 = 1 << 4;
/// It runs without a password.
pub(crate) const NO_AUTH: u32 = 1 << 5;
/// It runs while a script runs too long.
pub(crate) const BUSY: u32 = 1 << 6;
/// It runs at once in MULTI.
pub(crate) const AT_ONCE: u32 = 1 << 7;
const FAST: u32 = 1 << 8;
const ADMIN: u32 = 1 << 9;
const NO_SCRIPT: u32 = 1 << 10;
const BLOCKING: u32 = 1 << 11;
const MOVABLE: u32 = 1 << 12;
/// It may change something.
pub(crate) const MAY_WRITE: u32 = 1 << 13;

const FLAG_NAMES: [(u32, &str); 12] = [
    (WRITE, "write"),
    (DENY_OOM, "denyoom"),
    (READ, "readonly"),
    (ADMIN, "admin"),
    (NO_SCRIPT, "noscript"),
    (BLOCKING, "blocking"),
    (LOADING, "loading"),
    (STALE, "stale"),
    (FAST, "fast"),
    (NO_AUTH, "no_auth"),
    (BUSY, "allow_busy"),
    (MOVABLE, "movablekeys"),
];

/// Where a command's keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    None,
    /// From the first to the last place; below zero it is counted from the end.
    At(usize, isize),
    /// The first half of what follows STREAMS.
    Streams,
    /// As many as the third word says.
    Counted,
}

/// One command, or one subcommand.
pub(crate) struct Spec {
    /// Its last word.
    pub(crate) word: &'static str,
    /// All of it.
    pub(crate) name: &'static str,
    /// Words it takes; below zero, at least so many.
    pub(crate) arity: isize,
    pub(crate) flags: u32,
    pub(crate) keys: Keys,
    pub(crate) run: fn(&mut Call<'_>) -> Answer,
    pub(crate) subs: &'static [Spec],
}

impl Spec {
    pub(crate) fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }

    /// As Redis prints it.
    pub(crate) fn full_name(&self) -> String {
        self.name.to_lowercase().replace(' ', "|")
    }

    pub(crate) fn fits(&self, args: usize) -> bool {
        let least = self.arity.unsigned_abs();
        if self.arity > 0 { args == least } else { args >= least }
    }

    pub(crate) fn flag_names(&self) -> impl Iterator<Item = &'static str> + Clone {
        FLAG_NAMES.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name)
    }

    /// The keys of a command that is called so.
    pub(crate) fn keys_of<'a>(&self, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (from, to) = match self.keys {
            Keys::None => (0, 0),
            Keys::At(first, last) => (
                first,
                if last < 0 { args.len().saturating_sub(last.unsigned_abs() - 1) } else { last as usize + 1 },
            ),
            Keys::Streams => match (1..args.len()).find(|at| args.is(*at, "STREAMS")) {
                Some(at) => (at + 1, at + 1 + (args.len() - at - 1) / 2),
                None => (0, 0),
            },
            Keys::Counted => {
                let count = parse_int(args.get(2)).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
                (3, 3usize.saturating_add(count))
            }
        };
        (from..to.min(args.len())).map(move |at| args.get(at))
    }
}

/// The command that these words call, or the container whose subcommand they don't name.
pub(crate) fn find(args: Args<'_>) -> Result<&'static Spec, Option<&'static Spec>> {
    let spec = search(TABLE, args.get(0)).ok_or(None)?;
    if spec.subs.is_empty() || args.len() == 1 {
        return Ok(spec);
    }
    spec.subs.iter().find(|sub| sub.word.as_bytes().eq_ignore_ascii_case(args.get(1))).ok_or(Some(spec))
}

fn search(list: &'static [Spec], word: &[u8]) -> Option<&'static Spec> {
    let at =
        list.binary_search_by(|spec| spec.word.bytes().cmp(word.iter().map(u8::to_ascii_uppercase))).ok()?;
    list.get(at)
}

/// The command of this name; for COMMAND INFO.
pub(crate) fn named(word: &[u8]) -> Option<&'static Spec> {
    search(TABLE, word)
}

const ONE: Keys = Keys::At(1, 1);
const TWO: Keys = Keys::At(2, 2);
const ALL: Keys = Keys::At(1, -1);
/// Of a command about the connection itself.
const SESSION: u32 = NO_SCRIPT | LOADING | STALE;

macro_rules! spec {
    ($word:literal, $arity:literal, $flags:expr, $keys:expr, $run:path) => {
        Spec { word: $word, name: $word, arity: $arity, flags: $flags, keys: $keys, run: $run, subs: &[] }
    };
    ($word:literal, [$($sub:literal, $name:literal, $arity:literal, $flags:expr, $keys:expr, $run:path;)*]) => {
        Spec {
            word: $word, name: $word, arity: -2, flags: 0, keys: Keys::None, run: server::container,
            subs: &[$(Spec {
                word: $sub, name: $name, arity: $arity, flags: $flags, keys: $keys, run: $run, subs: &[],
            }),*],
        }
    };
}

/// All commands, in the order of their names.
pub(crate) static TABLE: &[Spec] = &[
    spec!("ASKING", 1, FAST, Keys::None, cluster::asking),
    spec!("AUTH", -2, SESSION | FAST | NO_AUTH | BUSY, Keys::None, session::auth),
    spec!("CLIENT", [
        "GETNAME", "CLIENT GETNAME", 2, SESSION, Keys::None, client::get_name;
        "GETREDIR", "CLIENT GETREDIR", 2, SESSION, Keys::None, client::get_redir;
        "ID", "CLIENT ID", 2, SESSION, Keys::None, client::id;
        "INFO", "CLIENT INFO", 2, SESSION, Keys::None, client::info;
        "KILL", "CLIENT KILL", -3, ADMIN | SESSION, Keys::None, client::kill;
        "LIST", "CLIENT LIST", -2, ADMIN | SESSION, Keys::None, client::list;
        "NO-EVICT", "CLIENT NO-EVICT", 3, ADMIN | SESSION, Keys::None, client::no_evict;
        "NO-TOUCH", "CLIENT NO-TOUCH", 3, SESSION, Keys::None, client::no_touch;
        "PAUSE", "CLIENT PAUSE", -3, ADMIN | SESSION, Keys::None, client::pause;
        "REPLY", "CLIENT REPLY", 3, SESSION, Keys::None, client::reply;
        "SETINFO", "CLIENT SETINFO", 4, SESSION, Keys::None, client::set_info;
        "SETNAME", "CLIENT SETNAME", 3, SESSION, Keys::None, client::set_name;
        "UNBLOCK", "CLIENT UNBLOCK", -3, ADMIN | SESSION, Keys::None, client::unblock;
        "UNPAUSE", "CLIENT UNPAUSE", 2, ADMIN | SESSION, Keys::None, client::unpause;
    ]),
    spec!("CLUSTER", [
        "COUNTKEYSINSLOT", "CLUSTER COUNTKEYSINSLOT", 3, STALE, Keys::None, cluster::count_keys_in_slot;
        "GETKEYSINSLOT", "CLUSTER GETKEYSINSLOT", 4, STALE, Keys::None, cluster::get_keys_in_slot;
        "INFO", "CLUSTER INFO", 2, STALE, Keys::None, cluster::info;
        "KEYSLOT", "CLUSTER KEYSLOT", 3, STALE, Keys::None, cluster::key_slot_of;
        "MYID", "CLUSTER MYID", 2, STALE, Keys::None, cluster::my_id;
        "NODES", "CLUSTER NODES", 2, STALE, Keys::None, cluster::nodes;
        "SHARDS", "CLUSTER SHARDS", 2, LOADING | STALE, Keys::None, cluster::shards;
        "SLOTS", "CLUSTER SLOTS", 2, STALE, Keys::None, cluster::slots;
    ]),
    Spec {
        word: "COMMAND",
        name: "COMMAND",
        arity: -1,
        flags: LOADING | STALE,
        keys: Keys::None,
        run: server::command,
        subs: &[
            Spec {
                word: "COUNT",
                name: "COMMAND COUNT",
                arity: 2,
                flags: LOADING | STALE,
                keys: Keys::None,
                run: server::command_count,
                subs: &[],
            },
            Spec {
                word: "DOCS",
                name: "COMMAND DOCS",
                arity: -2,
                flags: LOADING | STALE,
                keys: Keys::None,
                run: server::command_docs,
                subs: &[],
            },
            Spec {
                word: "INFO",
                name: "COMMAND INFO",
                arity: -2,
                flags: LOADING | STALE,
                keys: Keys::None,
                run: server::command_info,
                subs: &[],
            },
            Spec {
                word: "LIST",
                name: "COMMAND LIST",
                arity: -2,
                flags: LOADING | STALE,
                keys: Keys::None,
                run: server::command_list,
                subs: &[],
            },
        ],
    },
    spec!("CONFIG", [
        "GET", "CONFIG GET", -3, ADMIN | SESSION, Keys::None, server::config_get;
        "RESETSTAT", "CONFIG RESETSTAT", 2, ADMIN | SESSION, Keys::None, server::ok;
        "SET", "CONFIG SET", -4, ADMIN | SESSION, Keys::None, server::config_set;
    ]),
    spec!("DBSIZE", 1, READ | FAST, Keys::None, generic::db_size),
    spec!("DEL", -2, WRITE, ALL, generic::del),
    spec!("DISCARD", 1, SESSION | FAST | BUSY | AT_ONCE, Keys::None, session::discard),
    spec!("ECHO", 2, LOADING | STALE | FAST, Keys::None, session::echo),
    spec!("EVAL", -3, NO_SCRIPT | STALE | MOVABLE | MAY_WRITE, Keys::Counted, script::eval),
    spec!("EVALSHA", -3, NO_SCRIPT | STALE | MOVABLE | MAY_WRITE, Keys::Counted, script::eval_sha),
    spec!("EXEC", 1, SESSION | AT_ONCE, Keys::None, session::exec),
    spec!("EXISTS", -2, READ | FAST, ALL, generic::exists),
    spec!("EXPIRE", -3, WRITE | FAST, ONE, generic::expire),
    spec!("EXPIREAT", -3, WRITE | FAST, ONE, generic::expire_at),
    spec!("FLUSHALL", -1, WRITE, Keys::None, generic::flush_all),
    spec!("FLUSHDB", -1, WRITE, Keys::None, generic::flush_db),
    spec!("GET", 2, READ | FAST, ONE, generic::get),
    spec!("HELLO", -1, SESSION | FAST | NO_AUTH | BUSY, Keys::None, session::hello),
    spec!("INFO", -1, LOADING | STALE, Keys::None, server::info),
    spec!("KEYS", 2, READ, Keys::None, generic::keys),
    spec!("MULTI", 1, SESSION | FAST | BUSY | AT_ONCE, Keys::None, session::multi),
    spec!("PERSIST", 2, WRITE | FAST, ONE, generic::persist),
    spec!("PEXPIRE", -3, WRITE | FAST, ONE, generic::pexpire),
    spec!("PEXPIREAT", -3, WRITE | FAST, ONE, generic::pexpire_at),
    spec!("PING", -1, FAST, Keys::None, session::ping),
    spec!("PTTL", 2, READ | FAST, ONE, generic::pttl),
    spec!("QUIT", -1, SESSION | FAST | NO_AUTH | BUSY | AT_ONCE, Keys::None, session::quit),
    spec!("READONLY", 1, LOADING | STALE | FAST, Keys::None, cluster::read_only),
    spec!("READWRITE", 1, LOADING | STALE | FAST, Keys::None, cluster::read_write),
    spec!("RENAME", 3, WRITE, Keys::At(1, 2), generic::rename),
    spec!("RENAMENX", 3, WRITE | FAST, Keys::At(1, 2), generic::rename_nx),
    spec!("RESET", 1, SESSION | FAST | NO_AUTH | BUSY | AT_ONCE, Keys::None, session::reset),
    spec!("ROLE", 1, SESSION | FAST, Keys::None, server::role),
    spec!("SCAN", -2, READ, Keys::None, generic::scan),
    spec!("SELECT", 2, LOADING | STALE | FAST, Keys::None, session::select),
    spec!("SET", -3, WRITE | DENY_OOM, ONE, generic::set),
    spec!("TIME", 1, LOADING | STALE | FAST, Keys::None, server::time),
    spec!("TTL", 2, READ | FAST, ONE, generic::ttl),
    spec!("TYPE", 2, READ | FAST, ONE, generic::type_of),
    spec!("UNLINK", -2, WRITE | FAST, ALL, generic::del),
    spec!("UNWATCH", 1, SESSION | FAST | BUSY, Keys::None, session::unwatch),
    spec!("WATCH", -2, SESSION | FAST | BUSY | AT_ONCE, ALL, session::watch),
    spec!("XACK", -4, WRITE | FAST, ONE, pending::ack),
    spec!("XADD", -5, WRITE | DENY_OOM | FAST, ONE, trim::add),
    spec!("XAUTOCLAIM", -6, WRITE | FAST, ONE, claim::auto_claim),
    spec!("XCLAIM", -6, WRITE | FAST, ONE, claim::claim),
    spec!("XDEL", -3, WRITE | FAST, ONE, range::del),
    spec!("XGROUP", [
        "CREATE", "XGROUP CREATE", -5, WRITE | DENY_OOM, TWO, group::create;
        "CREATECONSUMER", "XGROUP CREATECONSUMER", 5, WRITE | DENY_OOM, TWO, group::create_consumer;
        "DELCONSUMER", "XGROUP DELCONSUMER", 5, WRITE, TWO, group::del_consumer;
        "DESTROY", "XGROUP DESTROY", 4, WRITE, TWO, group::destroy;
        "HELP", "XGROUP HELP", 2, LOADING | STALE, Keys::None, group::help;
        "SETID", "XGROUP SETID", -5, WRITE, TWO, group::set_id;
    ]),
    spec!("XINFO", [
        "CONSUMERS", "XINFO CONSUMERS", 4, READ, TWO, info::consumers;
        "GROUPS", "XINFO GROUPS", 3, READ, TWO, info::groups;
        "HELP", "XINFO HELP", 2, LOADING | STALE, Keys::None, info::help;
        "STREAM", "XINFO STREAM", -3, READ, TWO, info::stream;
    ]),
    spec!("XLEN", 2, READ | FAST, ONE, range::len),
    spec!("XPENDING", -3, READ, ONE, pending::pending),
    spec!("XRANGE", -4, READ, ONE, range::range),
    spec!("XREAD", -4, READ | BLOCKING | MOVABLE, Keys::Streams, read::read),
    spec!("XREADGROUP", -7, WRITE | BLOCKING | MOVABLE, Keys::Streams, read::read_group),
    spec!("XREVRANGE", -4, READ, ONE, range::rev_range),
    spec!("XSETID", -3, WRITE | DENY_OOM | FAST, ONE, trim::set_id),
    spec!("XTRIM", -4, WRITE, ONE, trim::trim),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_order_of_the_search() {
        assert!(TABLE.is_sorted_by(|one, other| one.word < other.word));
        for spec in TABLE.iter().flat_map(|spec| std::iter::once(spec).chain(spec.subs)) {
            assert!(spec.name.ends_with(spec.word));
            assert_eq!(spec.name, spec.name.to_uppercase());
        }
        assert_eq!(named(b"xReadGroup").unwrap().name, "XREADGROUP");
        assert!(named(b"XREADGROU").is_none());
    }
}
