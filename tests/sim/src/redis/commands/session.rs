//! Commands about the connection itself: who it is, what it speaks, its transaction.

use crate::redis::client::{Client, Multi, Replies};
use crate::redis::node::{Call, DATABASES};
use crate::redis::process::{discard as drop_transaction, run, unwatch as drop_watch, wrong_arity};
use crate::redis::refusal::{Answer, Refusal, SYNTAX};
use crate::redis::table;

const WRONG_PASSWORD: Refusal =
    Refusal::new("WRONGPASS", "invalid username-password pair or user is disabled.");

fn log_in(call: &mut Call<'_>, user: &[u8], password: &[u8]) -> Answer {
    let wanted = call.common.config.password.as_deref();
    if user != b"default" || wanted.is_some_and(|wanted| wanted.as_bytes() != password) {
        return Err(WRONG_PASSWORD);
    }
    call.client.authenticated = true;
    Ok(())
}

/// AUTH.
pub(crate) fn auth(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    match args.len() {
        2 if call.common.config.password.is_none() => {
            return Err(Refusal::err(
                "AUTH <password> called without any password configured for the default user. Are you sure your \
                 configuration is correct?",
            ));
        }
        2 => log_in(call, b"default", args.get(1))?,
        3 => log_in(call, args.get(1), args.get(2))?,
        _ => return Err(SYNTAX),
    }
    call.client.reply.ok();
    Ok(())
}

/// HELLO.
pub(crate) fn hello(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let mut protocol = None;
    if args.len() > 1 {
        let version = args.int_or(1, "Protocol version is not an integer or out of range")?;
        if !matches!(version, 2 | 3) {
            return Err(Refusal::new("NOPROTO", "unsupported protocol version"));
        }
        protocol = Some(version == 3);
    }
    let mut at = 2;
    while at < args.len() {
        if args.is(at, "AUTH") && args.more(at) >= 2 {
            log_in(call, args.get(at + 1), args.get(at + 2))?;
            at += 3;
        } else if args.is(at, "SETNAME") && args.more(at) >= 1 {
            set_name(call.client, args.get(at + 1))?;
            at += 2;
        } else {
            return Err(Refusal::say("ERR", &[b"Syntax error in HELLO option '", args.get(at), b"'"]));
        }
    }
    if !call.client.authenticated {
        return Err(Refusal::new(
            "NOAUTH",
            "HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> \
             option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    let reply = &mut call.client.reply;
    if let Some(resp3) = protocol {
        reply.resp3 = resp3;
    }
    reply.map(7);
    reply.text("server");
    reply.text("redis");
    reply.text("version");
    reply.text(call.common.config.version.number());
    reply.text("proto");
    reply.int(if reply.resp3 { 3 } else { 2 });
    reply.text("id");
    reply.int(call.client.id as i64);
    reply.text("mode");
    reply.text(if call.common.config.cluster { "cluster" } else { "standalone" });
    reply.text("role");
    reply.text(if call.common.cluster.is_replica(call.node.index) { "replica" } else { "master" });
    reply.text("modules");
    reply.array(0);
    Ok(())
}

/// Names a connection.
pub(crate) fn set_name(client: &mut Client, name: &[u8]) -> Answer {
    if !name.iter().all(u8::is_ascii_graphic) {
        return Err(Refusal::err("Client names cannot contain spaces, newlines or special characters."));
    }
    client.name = bytes::Bytes::copy_from_slice(name);
    Ok(())
}

/// PING.
pub(crate) fn ping(call: &mut Call<'_>) -> Answer {
    match call.args.len() {
        1 => call.client.reply.simple("PONG"),
        2 => call.client.reply.bulk(call.args.get(1)),
        _ => return Err(table::named(b"PING").map_or(SYNTAX, wrong_arity)),
    }
    Ok(())
}

/// ECHO.
pub(crate) fn echo(call: &mut Call<'_>) -> Answer {
    call.client.reply.bulk(call.args.get(1));
    Ok(())
}

/// QUIT.
pub(crate) fn quit(call: &mut Call<'_>) -> Answer {
    call.client.reply.ok();
    call.client.closing = true;
    Ok(())
}

/// SELECT.
pub(crate) fn select(call: &mut Call<'_>) -> Answer {
    let db = call.args.int(1)?;
    if i32::try_from(db).is_err() {
        return Err(Refusal::err("value is out of range, value must between -2147483648 and 2147483647"));
    }
    if call.common.config.cluster && db != 0 {
        return Err(Refusal::err("SELECT is not allowed in cluster mode"));
    }
    match usize::try_from(db).ok().filter(|db| *db < DATABASES) {
        Some(db) => call.client.db = db,
        None => return Err(Refusal::err("DB index is out of range")),
    }
    call.client.reply.ok();
    Ok(())
}

/// RESET.
pub(crate) fn reset(call: &mut Call<'_>) -> Answer {
    drop_transaction(call.client, call.node);
    let client = &mut *call.client;
    client.db = 0;
    client.reply.resp3 = false;
    client.authenticated = call.common.config.password.is_none();
    client.asking = false;
    client.read_only = false;
    client.no_evict = false;
    client.replies = Replies::On;
    client.name.clear();
    client.reply.simple("RESET");
    Ok(())
}

/// MULTI.
pub(crate) fn multi(call: &mut Call<'_>) -> Answer {
    if call.client.multi.is_some() {
        return Err(Refusal::err("MULTI calls can not be nested"));
    }
    call.client.multi = Some(Multi { all: u32::MAX, ..Multi::default() });
    call.client.reply.ok();
    Ok(())
}

/// DISCARD.
pub(crate) fn discard(call: &mut Call<'_>) -> Answer {
    if call.client.multi.is_none() {
        return Err(Refusal::err("DISCARD without MULTI"));
    }
    drop_transaction(call.client, call.node);
    call.client.reply.ok();
    Ok(())
}

/// EXEC.
pub(crate) fn exec(call: &mut Call<'_>) -> Answer {
    let Some(multi) = call.client.multi.take() else {
        return Err(Refusal::err("EXEC without MULTI"));
    };
    let touched = drop_watch(call.client, call.node);
    if multi.aborted {
        return Err(Refusal::new("EXECABORT", "Transaction discarded because of previous errors."));
    }
    if touched {
        call.client.reply.null_array();
        return Ok(());
    }
    let blocks = std::mem::replace(&mut call.client.never_blocks, true);
    call.client.reply.array(multi.queue.len());
    for command in &multi.queue {
        let mut call = Call {
            common: call.common,
            node: call.node,
            clients: call.clients,
            client: call.client,
            args: command.args(),
        };
        // Proved: what isn't a command was refused, and not gathered.
        if let Ok(spec) = table::find(command.args()) {
            let (closing, start) = (call.client.closing, call.client.reply.out.len());
            run(&mut call, spec);
            // Once a client has killed itself nothing more is written to it.
            if closing {
                call.client.reply.out.truncate(start);
            }
        }
    }
    call.client.never_blocks = blocks;
    Ok(())
}

/// WATCH.
pub(crate) fn watch(call: &mut Call<'_>) -> Answer {
    if call.client.multi.is_some() {
        return Err(Refusal::err("WATCH inside MULTI is not allowed"));
    }
    let db = call.client.db;
    for key in call.args.from(1).iter() {
        if !call.client.watched.iter().any(|(at, watched, _)| *at == db && watched == key) {
            let since = call.node.db(db).watch(key);
            call.client.watched.push((db, bytes::Bytes::copy_from_slice(key), since));
        }
    }
    call.client.reply.ok();
    Ok(())
}

/// UNWATCH.
pub(crate) fn unwatch(call: &mut Call<'_>) -> Answer {
    drop_watch(call.client, call.node);
    call.client.reply.ok();
    Ok(())
}
