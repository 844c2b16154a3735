//! XGROUP.

use tidegate_core::SeqNo;

use crate::redis::config::Version;
use crate::redis::node::Call;
use crate::redis::process::bad_form;
use crate::redis::refusal::{Answer, Refusal, no_group_for_key};
use crate::redis::stream::{Group, Stream};

const NO_KEY: Refusal = Refusal::err(
    "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
     option to create an empty stream automatically.",
);

struct Options {
    make: bool,
    read: Option<i64>,
}

fn options(call: &Call<'_>, creates: bool) -> Result<Options, Refusal> {
    let args = call.args;
    let old = call.common.config.version == Version::V6_2;
    let mut options = Options { make: false, read: None };
    let mut at = 5;
    while at < args.len() {
        if creates && args.is(at, "MKSTREAM") {
            options.make = true;
            at += 1;
        } else if !old && args.is(at, "ENTRIESREAD") && args.more(at) > 0 {
            let read = args.int(at + 1)?;
            if read < -1 {
                return Err(Refusal::err("value for ENTRIESREAD must be positive or -1"));
            }
            options.read = Some(read).filter(|read| *read >= 0);
            at += 2;
        } else {
            return Err(bad_form(call, "XGROUP"));
        }
    }
    Ok(options)
}

/// XGROUP CREATE.
pub(crate) fn create(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let options = options(call, true)?;
    let (key, name) = (args.get(2), args.get(3));
    let stream = call.node.db(call.client.db).stream(key)?;
    if stream.is_none() && !options.make {
        return Err(NO_KEY);
    }
    let most = if call.common.config.version == Version::V6_2 { 6 } else { 8 };
    if args.len() > most {
        return Err(bad_form(call, "XGROUP"));
    }
    let id = match args.get(4) {
        b"$" => stream.map_or(SeqNo::ZERO, |stream| stream.log.last_id),
        _ => args.id(4, 0)?,
    };
    let db = call.node.db(call.client.db);
    if db.get(key).is_none() {
        db.make_stream(key, &call.common.facts);
        db.touch(key);
    }
    let Some(stream) = db.stream_mut(key)? else { return Err(NO_KEY) };
    if stream.groups.contains_key(name) {
        return Err(Refusal::new("BUSYGROUP", "Consumer Group name already exists"));
    }
    stream.groups.insert(args.bytes(3), Group::new(id, options.read));
    call.node.dirty += 1;
    call.client.reply.ok();
    Ok(())
}

/// XGROUP SETID.
pub(crate) fn set_id(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let options = options(call, false)?;
    if !matches!(args.len(), 5 | 7) {
        // The key and the group are looked at first.
        find(call)?;
        return Err(bad_form(call, "XGROUP"));
    }
    let last_id = find(call)?.log.last_id;
    let id = match args.get(4) {
        b"$" => last_id,
        b"+" => SeqNo::MAX,
        b"-" => SeqNo::ZERO,
        _ => args.id(4, 0)?,
    };
    let Some(stream) = call.node.db(call.client.db).stream_mut(args.get(2))? else { return Err(NO_KEY) };
    let shard = call.common.facts.about(stream);
    if let Some(group) = stream.groups.get_mut(args.get(3)) {
        if id < group.last_id {
            call.common.facts.set_back(shard);
        }
        group.last_id = id;
        group.read = options.read;
    }
    call.node.dirty += 1;
    call.client.reply.ok();
    Ok(())
}

/// XGROUP DESTROY.
pub(crate) fn destroy(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let db = call.node.db(call.client.db);
    let stream = db.stream_mut(args.get(2))?.ok_or(NO_KEY)?;
    let shard = call.common.facts.about(stream);
    let Some(group) = stream.groups.remove(args.get(3)) else {
        call.client.reply.int(0);
        return Ok(());
    };
    call.common.facts.group_gone(shard, &group);
    db.signal(args.get(2));
    call.node.dirty += 1;
    call.client.reply.int(1);
    Ok(())
}

/// XGROUP CREATECONSUMER.
pub(crate) fn create_consumer(call: &mut Call<'_>) -> Answer {
    let now_ms = call.common.now_ms;
    let name = call.args.get(4);
    let (_, made) = find_group(call)?.find_or_make(name, now_ms);
    call.node.dirty += u64::from(made);
    call.client.reply.int(made.into());
    Ok(())
}

/// XGROUP DELCONSUMER.
pub(crate) fn del_consumer(call: &mut Call<'_>) -> Answer {
    let name = call.args.get(4);
    let shard = find(call)?.shard.filter(|_| !call.common.facts.muted);
    let group = find_group(call)?;
    let removed = group.find(name).and_then(|owner| group.remove_consumer(owner));
    if let Some(consumer) = &removed {
        for id in &consumer.pending {
            call.common.facts.dropped(shard, *id, consumer.name.clone());
        }
        call.node.dirty += 1;
    }
    call.client.reply.count(removed.map_or(0, |consumer| consumer.pending.len()));
    Ok(())
}

/// XGROUP HELP.
pub(crate) fn help(call: &mut Call<'_>) -> Answer {
    super::help(
        &mut call.client.reply,
        "XGROUP",
        &[
            "CREATE <key> <groupname> <id|$> [option]",
            "    Create a new consumer group. Options are:",
            "    * MKSTREAM",
            "      Create the empty stream if it does not exist.",
            "    * ENTRIESREAD entries_read",
            "      Set the group's entries_read counter (internal use).",
            "CREATECONSUMER <key> <groupname> <consumer>",
            "    Create a new consumer in the specified group.",
            "DELCONSUMER <key> <groupname> <consumer>",
            "    Remove the specified consumer.",
            "DESTROY <key> <groupname>",
            "    Remove the specified group.",
            "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            "    Set the current group ID and entries_read counter.",
        ],
    )
}

/// The stream, if it and the group are there.
fn find<'a>(call: &'a mut Call<'_>) -> Result<&'a Stream, Refusal> {
    let (key, name) = (call.args.get(2), call.args.get(3));
    let stream = call.node.db(call.client.db).stream(key)?.ok_or(NO_KEY)?;
    if stream.groups.contains_key(name) { Ok(stream) } else { Err(no_group_for_key(key, name)) }
}

fn find_group<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Group, Refusal> {
    let (key, name) = (call.args.get(2), call.args.get(3));
    let stream = call.node.db(call.client.db).stream_mut(key)?.ok_or(NO_KEY)?;
    stream.groups.get_mut(name).ok_or_else(|| no_group_for_key(key, name))
}
