//! CLIENT.

use std::time::Duration;

use crate::broker::PeerId;
use crate::redis::client::{Client, Replies};
use crate::redis::config::Version;
use crate::redis::drive::{drop_client, end_pause};
use crate::redis::node::{Call, Common, Pause};
use crate::redis::process::bad_form;
use crate::redis::refusal::{Answer, Refusal, SYNTAX};
use crate::redis::serve::unblock as release;

/// CLIENT ID.
pub(crate) fn id(call: &mut Call<'_>) -> Answer {
    call.client.reply.int(call.client.id as i64);
    Ok(())
}

/// CLIENT GETNAME.
pub(crate) fn get_name(call: &mut Call<'_>) -> Answer {
    if call.client.name.is_empty() {
        call.client.reply.null();
    } else {
        call.client.reply.bulk(&call.client.name);
    }
    Ok(())
}

/// CLIENT SETNAME.
pub(crate) fn set_name(call: &mut Call<'_>) -> Answer {
    super::session::set_name(call.client, call.args.get(2))?;
    call.client.reply.ok();
    Ok(())
}

/// CLIENT SETINFO; from 7.2 on.
pub(crate) fn set_info(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    if !args.get(3).iter().all(u8::is_ascii_graphic) {
        let name = args.get(2).to_ascii_lowercase();
        return Err(Refusal::say(
            "ERR",
            &[&name, b" cannot contain spaces, newlines or special characters."],
        ));
    }
    if args.is(2, "LIB-NAME") {
        call.client.library.0 = args.bytes(3);
    } else if args.is(2, "LIB-VER") {
        call.client.library.1 = args.bytes(3);
    } else {
        return Err(Refusal::say("ERR", &[b"Unrecognized option '", args.get(2), b"'"]));
    }
    call.client.reply.ok();
    Ok(())
}

/// CLIENT GETREDIR; nothing is ever tracked here.
pub(crate) fn get_redir(call: &mut Call<'_>) -> Answer {
    call.client.reply.int(-1);
    Ok(())
}

/// CLIENT NO-EVICT.
pub(crate) fn no_evict(call: &mut Call<'_>) -> Answer {
    call.client.no_evict = on_or_off(call)?;
    call.client.reply.ok();
    Ok(())
}

/// CLIENT NO-TOUCH; from 7.2 on.
pub(crate) fn no_touch(call: &mut Call<'_>) -> Answer {
    on_or_off(call)?;
    call.client.reply.ok();
    Ok(())
}

fn on_or_off(call: &Call<'_>) -> Result<bool, Refusal> {
    match () {
        () if call.args.is(2, "ON") => Ok(true),
        () if call.args.is(2, "OFF") => Ok(false),
        () => Err(SYNTAX),
    }
}

/// CLIENT REPLY.
pub(crate) fn reply(call: &mut Call<'_>) -> Answer {
    let client = &mut *call.client;
    if call.args.is(2, "ON") {
        client.replies = Replies::On;
        client.reply.ok();
    } else if call.args.is(2, "OFF") {
        client.replies = Replies::Off;
    } else if call.args.is(2, "SKIP") {
        if client.replies != Replies::Off {
            client.replies = Replies::SkipNext;
        }
    } else {
        return Err(SYNTAX);
    }
    Ok(())
}

/// CLIENT INFO.
pub(crate) fn info(call: &mut Call<'_>) -> Answer {
    let line = describe(call.client, call.common) + "\n";
    call.client.reply.verbatim(&line);
    Ok(())
}

/// CLIENT LIST.
pub(crate) fn list(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let mut wanted = None;
    match args.len() {
        2 => {}
        4 if args.is(2, "TYPE") => kind(args.get(3))?,
        4.. if args.is(2, "ID") => {
            let ids = (3..args.len()).map(|at| args.int_or(at, "Invalid client ID"));
            wanted = Some(ids.collect::<Result<Vec<_>, _>>()?);
        }
        _ => return Err(SYNTAX),
    }
    let normal = args.len() != 4 || !args.is(2, "TYPE") || args.is(3, "NORMAL");
    let mut lines = String::new();
    let ids: Vec<i64> = match wanted {
        Some(ids) => ids,
        None if normal => call.node.clients.keys().map(|id| *id as i64).collect(),
        None => Vec::new(),
    };
    for id in ids {
        let line = match call.node.clients.get(&(id as u64)) {
            Some(peer) if call.client.peer == Some(*peer) => describe(call.client, call.common),
            Some(peer) => match call.clients.get(*peer) {
                Some(client) => describe(client, call.common),
                None => continue,
            },
            None => continue,
        };
        lines += &line;
        lines.push('\n');
    }
    call.client.reply.verbatim(&lines);
    Ok(())
}

fn kind(name: &[u8]) -> Result<(), Refusal> {
    let known = ["NORMAL", "SLAVE", "REPLICA", "PUBSUB", "MASTER"];
    if known.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name)) {
        Ok(())
    } else {
        Err(Refusal::say("ERR", &[b"Unknown client type '", name, b"'"]))
    }
}

fn describe(client: &Client, common: &Common) -> String {
    let mut flags = String::new();
    for (flag, set) in [
        ('x', client.multi.is_some()),
        ('b', client.blocked.is_some() || client.postponed),
        ('c', client.closing),
        ('r', client.read_only),
        ('e', client.no_evict),
    ] {
        flags.extend(set.then_some(flag));
    }
    if flags.is_empty() {
        flags.push('N');
    }
    let last = client.last_command.to_lowercase().replace(' ', "|");
    let name = String::from_utf8_lossy(&client.name);
    let age = common.now.since(client.born).as_secs();
    let idle = common.now.since(client.last_seen).as_secs();
    let mut line = format!(
        "id={} addr={} laddr={}:{} fd={} name={name} age={age} idle={idle} flags={flags} db={} sub=0 psub=0 \
         ssub=0 multi={} qbuf={} qbuf-free=0 argv-mem=0 multi-mem=0 rbs=16384 rbp=0 obl={} oll=0 omem=0 \
         tot-mem=0 events=r cmd={last} user=default redir=-1 resp={}",
        client.id,
        address(client),
        common.config.host,
        usize::from(common.config.port) + client.node,
        client.id + 7,
        client.db,
        client.multi.as_ref().map_or(-1, |multi| multi.queue.len() as i64),
        client.incoming.len(),
        client.reply.out.len(),
        if client.reply.resp3 { 3 } else { 2 },
    );
    if common.config.version >= Version::V7_2 {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        line += &format!(" lib-name={} lib-ver={}", text(&client.library.0), text(&client.library.1));
    }
    line
}

/// Where a connection comes from; made up from its number.
fn address(client: &Client) -> String {
    format!("127.0.0.1:{}", 10_000 + client.id % 50_000)
}

/// CLIENT KILL.
pub(crate) fn kill(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let old_form = args.len() == 3;
    let (mut by_id, mut by_address, mut skip_me, mut none) = (None, None, !old_form, false);
    if old_form {
        by_address = Some(args.get(2));
    }
    let mut at = if old_form { 3 } else { 2 };
    while at < args.len() {
        if args.more(at) == 0 {
            return Err(SYNTAX);
        }
        if args.is(at, "ID") {
            const BAD: &str = "client-id should be greater than 0";
            let id = args.int_or(at + 1, BAD)?;
            if id < 1 {
                return Err(Refusal::err(BAD));
            }
            by_id = Some(id as u64);
        } else if args.is(at, "TYPE") {
            kind(args.get(at + 1))?;
            none |= !args.is(at + 1, "NORMAL");
        } else if args.is(at, "ADDR") {
            by_address = Some(args.get(at + 1));
        } else if args.is(at, "LADDR") {
            let port = usize::from(call.common.config.port) + call.node.index;
            none |= format!("{}:{port}", call.common.config.host).as_bytes() != args.get(at + 1);
        } else if args.is(at, "USER") {
            if args.get(at + 1) != b"default" {
                return Err(Refusal::say("ERR", &[b"No such user '", args.get(at + 1), b"'"]));
            }
        } else if args.is(at, "SKIPME") && args.is(at + 1, "YES") {
            skip_me = true;
        } else if args.is(at, "SKIPME") && args.is(at + 1, "NO") {
            skip_me = false;
        } else {
            return Err(SYNTAX);
        }
        at += 2;
    }
    let fits = |client: &Client| {
        !none
            && by_id.is_none_or(|id| id == client.id)
            && by_address.is_none_or(|wanted| wanted == address(client).as_bytes())
    };
    let me = call.client.peer;
    let others: Vec<PeerId> = call.node.clients.values().copied().filter(|peer| Some(*peer) != me).collect();
    let mut killed = 0;
    for peer in others {
        if call.clients.get(peer).is_some_and(fits) {
            drop_client(call.common, call.node, call.clients, peer);
            killed += 1;
        }
    }
    if me.is_some() && !skip_me && fits(call.client) {
        call.client.closing = true;
        killed += 1;
    }
    match killed {
        0 if old_form => return Err(Refusal::err("No such client")),
        _ if old_form => call.client.reply.ok(),
        _ => call.client.reply.int(killed),
    }
    Ok(())
}

/// CLIENT UNBLOCK.
pub(crate) fn unblock(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let with_error = match args.len() {
        3 => false,
        4 if args.is(3, "TIMEOUT") => false,
        4 if args.is(3, "ERROR") => true,
        4 => return Err(Refusal::err("CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
        _ => return Err(bad_form(call, "CLIENT")),
    };
    let id = args.int(2)?;
    let peer = u64::try_from(id).ok().and_then(|id| call.node.clients.get(&id));
    let target = peer.copied().and_then(|peer| call.clients.get_mut(peer));
    let Some((blocked, target)) = target.and_then(|target| Some((release(target, call.node)?, target)))
    else {
        call.client.reply.int(0);
        return Ok(());
    };
    let refusal = Refusal::new("UNBLOCKED", "client unblocked via CLIENT UNBLOCK");
    if with_error {
        target.reply.refuse(&refusal)
    } else {
        target.reply.null_array()
    }
    let actor = std::mem::replace(&mut call.common.facts.actor, target.peer);
    call.common.facts.commanded(blocked.name, with_error.then_some("UNBLOCKED"));
    call.common.facts.actor = actor;
    call.client.reply.int(1);
    Ok(())
}

/// CLIENT PAUSE.
pub(crate) fn pause(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let writes_only = match args.len() {
        3 => false,
        4 if args.is(3, "WRITE") => true,
        4 if args.is(3, "ALL") => false,
        4 => return Err(Refusal::err("CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(bad_form(call, "CLIENT")),
    };
    let ms = args.int_or(2, "timeout is not an integer or out of range")?;
    let ms = u64::try_from(ms).map_err(|_| Refusal::err("timeout is negative"))?;
    let until = call.common.now + Duration::from_millis(ms);
    // A pause is never made shorter or weaker by another one.
    call.node.pause = Some(match call.node.pause {
        Some(before) => {
            Pause { until: before.until.max(until), writes_only: before.writes_only && writes_only }
        }
        None => Pause { until, writes_only },
    });
    call.client.reply.ok();
    Ok(())
}

/// CLIENT UNPAUSE.
pub(crate) fn unpause(call: &mut Call<'_>) -> Answer {
    end_pause(call.node, call.clients);
    call.client.reply.ok();
    Ok(())
}
