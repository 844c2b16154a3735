//! From a request to a command that runs: what Redis looks at first, in its order.

use super::Redis;
use super::args::Args;
use super::client::{Client, Replies};
use super::cluster;
use super::config::{Condition, Version};
use super::node::{Call, Node};
use super::refusal::{Refusal, bad_subcommand};
use super::table::{self, AT_ONCE, BUSY, DENY_OOM, LOADING, MAY_WRITE, NO_AUTH, STALE, Spec, WRITE};

const DISK: &str = "Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
                    Commands that may modify the data set are disabled, because this instance is configured to \
                    report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). \
                    Please check the Redis logs for details about the RDB error.";

impl Redis {
    /// Carries out one request of a client that was taken out of the list. False: it has to wait
    /// until the server is no longer paused.
    pub(super) fn process(&mut self, client: &mut Client, args: Args<'_>) -> bool {
        let Some(node) = self.nodes.get_mut(client.node) else {
            return true;
        };
        if args.is(0, "POST") || args.is(0, "HOST:") {
            // A browser that was led here: not even what was answered before is sent.
            client.closing = true;
            client.reply.out.clear();
            return true;
        }
        let start = client.reply.out.len();
        self.common.facts.actor = client.peer;
        let mut call = Call { common: &mut self.common, node, clients: &mut self.clients, client, args };
        let done = dispatch(&mut call);
        self.common.facts.actor = None;
        match client.replies {
            Replies::Off => client.reply.out.truncate(start),
            Replies::Skip => {
                client.reply.out.truncate(start);
                client.replies = Replies::On;
            }
            Replies::SkipNext => client.replies = Replies::Skip,
            Replies::On => {}
        }
        if client.asking && client.multi.is_none() && !args.is(0, "ASKING") {
            client.asking = false;
        }
        self.hand_on(client.node);
        done
    }
}

fn dispatch(call: &mut Call<'_>) -> bool {
    let args = call.args;
    let version = call.common.config.version;
    let known = table::find(args).and_then(|spec| match spec.name {
        "CLIENT NO-TOUCH" | "CLIENT SETINFO" if version < Version::V7_2 => Err(table::named(b"CLIENT")),
        _ => Ok(spec),
    });
    let spec = match known {
        Ok(spec) => spec,
        Err(container) => {
            let refusal = unknown(args, container, version);
            reject(call, None, refusal);
            return true;
        }
    };
    call.client.last_command = spec.name;
    if let Err(refusal) = admit(call, spec) {
        reject(call, Some(spec), refusal);
        return true;
    }
    if is_paused(call, spec) {
        return false;
    }
    match &mut call.client.multi {
        Some(multi) if !spec.has(AT_ONCE) => {
            // What can't run any more isn't kept, and so isn't one of the writes that a pause holds back.
            let mut watched = call.client.watched.iter();
            let touched = watched.any(|(db, key, since)| call.node.db(*db).is_touched(key, *since));
            if !multi.aborted && !touched {
                multi.queue.push(args.to_owned());
                multi.any |= spec.flags;
                multi.all &= spec.flags;
            }
            call.client.reply.simple("QUEUED");
        }
        _ => run(call, spec),
    }
    true
}

/// Runs a command. What it says, or that it was refused, is in its client's output then, unless
/// it blocks.
pub(crate) fn run(call: &mut Call<'_>, spec: &'static Spec) {
    let (dirty, db) = (call.node.dirty, call.client.db);
    let answer = (spec.run)(call);
    if let Err(refusal) = &answer {
        call.client.reply.refuse(refusal);
    }
    if call.node.dirty != dirty && spec.name != "EXEC" && call.common.keeps_log() {
        call.common.log.push((db, call.args.to_owned()));
    }
    if call.client.blocked.is_none() {
        call.common.facts.commanded(spec.name, answer.err().map(|refusal| refusal.code));
    }
}

/// Refuses a command before it runs: a transaction that gathers it will not run either.
fn reject(call: &mut Call<'_>, spec: Option<&'static Spec>, refusal: Refusal) {
    let name = spec.map_or("UNKNOWN", |spec| spec.name);
    let mut refusal = refusal;
    if name == "EXEC" {
        discard(call.client, call.node);
        // Where it is to go instead is told as it is.
        let elsewhere = matches!(refusal.code, "MOVED" | "ASK" | "TRYAGAIN" | "CROSSSLOT" | "CLUSTERDOWN");
        let code = if refusal.code == "ERR" { "" } else { refusal.code };
        let space = if code.is_empty() { "" } else { " " };
        let why = [b"Transaction discarded because of: ", code.as_bytes(), space.as_bytes(), &refusal.text];
        if !elsewhere {
            refusal = Refusal::say("EXECABORT", &why);
        }
    } else if let Some(multi) = &mut call.client.multi {
        multi.aborted = true;
    }
    call.client.reply.refuse(&refusal);
    call.common.facts.commanded(name, Some(refusal.code));
}

/// Forgets a transaction, and what was watched for it; whether any of that was touched.
pub(crate) fn discard(client: &mut Client, node: &mut Node) -> bool {
    client.multi = None;
    unwatch(client, node)
}

/// Forgets what is watched; whether any of it was touched.
pub(crate) fn unwatch(client: &mut Client, node: &mut Node) -> bool {
    let mut touched = false;
    for (db, key, since) in client.watched.drain(..) {
        touched |= node.db(db).unwatch(&key, since);
    }
    touched
}

/// Whether a command may run now.
fn admit(call: &mut Call<'_>, spec: &'static Spec) -> Result<(), Refusal> {
    if !spec.fits(call.args.len()) {
        if call.common.config.version == Version::V6_2
            && let Some((container, sub)) = spec.name.split_once(' ')
        {
            return Err(old_subcommand(container, sub.as_bytes()));
        }
        return Err(wrong_arity(spec));
    }
    // The world's own hand is never turned away.
    if call.client.peer.is_none() {
        return Ok(());
    }
    if !call.client.authenticated && !spec.has(NO_AUTH) {
        return Err(Refusal::new("NOAUTH", "Authentication required."));
    }
    cluster::route(call, spec)?;
    let exec = (spec.name == "EXEC").then_some(call.client.multi.as_ref()).flatten();
    let any = |flags: u32| spec.has(flags) || exec.is_some_and(|multi| multi.any & flags != 0);
    let all = |flags: u32| spec.has(flags) && exec.is_none_or(|multi| multi.all & flags != 0);
    let gathers = call.client.multi.is_some() && !matches!(spec.name, "EXEC" | "DISCARD" | "QUIT" | "RESET");
    let refusal = match call.node.condition {
        Condition::Oom if any(DENY_OOM) || gathers => {
            Refusal::new("OOM", "command not allowed when used memory > 'maxmemory'.")
        }
        Condition::Misconf if any(WRITE) || spec.name == "PING" => Refusal::new("MISCONF", DISK),
        Condition::ReadOnly if any(WRITE) => {
            Refusal::new("READONLY", "You can't write against a read only replica.")
        }
        Condition::MasterDown if !all(STALE) => Refusal::new(
            "MASTERDOWN",
            "Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        ),
        Condition::Loading { .. } if !all(LOADING) => {
            Refusal::new("LOADING", "Redis is loading the dataset in memory")
        }
        Condition::Busy if !spec.has(BUSY) => Refusal::new(
            "BUSY",
            "Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        ),
        _ => return Ok(()),
    };
    Err(refusal)
}

fn is_paused(call: &Call<'_>, spec: &Spec) -> bool {
    let Some(pause) = call.node.pause.filter(|_| call.client.peer.is_some()) else {
        return false;
    };
    let gathered = call.client.multi.as_ref().filter(|_| spec.name == "EXEC").map_or(0, |multi| multi.any);
    !pause.writes_only || (spec.flags | gathered) & (WRITE | MAY_WRITE) != 0
}

pub(crate) fn wrong_arity(spec: &Spec) -> Refusal {
    let name = spec.full_name();
    Refusal::say("ERR", &[b"wrong number of arguments for '", name.as_bytes(), b"' command"])
}

/// 6.2 has no subcommands of their own: what doesn't fit is told in one way.
pub(crate) fn old_subcommand(container: &str, sub: &[u8]) -> Refusal {
    Refusal::say(
        "ERR",
        &[
            b"Unknown subcommand or wrong number of arguments for '",
            sub,
            b"'. Try ",
            container.as_bytes(),
            b" HELP.",
        ],
    )
}

fn unknown(args: Args<'_>, container: Option<&'static Spec>, version: Version) -> Refusal {
    let cut = |text| super::args::c_string(text).get(..128).unwrap_or(super::args::c_string(text));
    if let Some(container) = container {
        if version == Version::V6_2 {
            return old_subcommand(container.name, args.get(1));
        }
        return Refusal::say(
            "ERR",
            &[b"unknown subcommand '", cut(args.get(1)), b"'. Try ", container.name.as_bytes(), b" HELP."],
        );
    }
    let (open, close) = if version == Version::V6_2 { ("`", "`, ") } else { ("'", "' ") };
    let mut words = Vec::new();
    for word in args.from(1).iter() {
        if words.len() >= 128 {
            break;
        }
        let room = 128 - words.len();
        let word = super::args::c_string(word);
        words.extend_from_slice(open.as_bytes());
        words.extend_from_slice(word.get(..room).unwrap_or(word));
        words.extend_from_slice(close.as_bytes());
    }
    if version == Version::V6_2 {
        return Refusal::say(
            "ERR",
            &[b"unknown command `", args.get(0), b"`, with args beginning with: ", &words],
        );
    }
    Refusal::say("ERR", &[b"unknown command '", cut(args.get(0)), b"', with args beginning with: ", &words])
}

/// For a subcommand whose words fit none of its forms.
pub(crate) fn bad_form(call: &Call<'_>, container: &str) -> Refusal {
    let sub = call.args.get(1);
    if call.common.config.version == Version::V6_2 {
        old_subcommand(container, sub)
    } else {
        bad_subcommand(container, sub)
    }
}
