//! XINFO.

use tidegate_core::SeqNo;

use crate::redis::config::Version;
use crate::redis::node::Call;
use crate::redis::process::bad_form;
use crate::redis::refusal::{Answer, NO_SUCH_KEY, no_group_for_key};
use crate::redis::reply::Reply;
use crate::redis::stream::{Group, Nack, Stream};

/// Entries that FULL shows when it says nothing of it.
const FULL: usize = 10;

/// XINFO CONSUMERS.
pub(crate) fn consumers(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let inactive = call.common.config.version >= Version::V7_2;
    let now_ms = call.common.now_ms;
    let stream = call.node.db(call.client.db).stream(args.get(2))?.ok_or(NO_SUCH_KEY)?;
    let Some(group) = stream.groups.get(args.get(3)) else {
        return Err(no_group_for_key(args.get(2), args.get(3)));
    };
    let reply = &mut call.client.reply;
    reply.array(group.consumer_count());
    for consumer in group.consumers() {
        reply.map(if inactive { 4 } else { 3 });
        reply.text("name");
        reply.bulk(&consumer.name);
        reply.text("pending");
        reply.count(consumer.pending.len());
        reply.text("idle");
        reply.int(now_ms.saturating_sub(consumer.seen_ms).max(0));
        if inactive {
            reply.text("inactive");
            reply.int(consumer.active_ms.map_or(-1, |active_ms| now_ms.saturating_sub(active_ms)));
        }
    }
    Ok(())
}

/// XINFO GROUPS.
pub(crate) fn groups(call: &mut Call<'_>) -> Answer {
    let version = call.common.config.version;
    let stream = call.node.db(call.client.db).stream(call.args.get(2))?.ok_or(NO_SUCH_KEY)?;
    let reply = &mut call.client.reply;
    reply.array(stream.groups.len());
    for (name, group) in &stream.groups {
        reply.map(if version == Version::V6_2 { 4 } else { 6 });
        reply.text("name");
        reply.bulk(name);
        reply.text("consumers");
        reply.count(group.consumer_count());
        reply.text("pending");
        reply.count(group.pending().len());
        reply.text("last-delivered-id");
        reply.seq(group.last_id);
        progress(reply, stream, group, version);
    }
    Ok(())
}

/// How far a group is; unknown to 6.2.
fn progress(reply: &mut Reply, stream: &Stream, group: &Group, version: Version) {
    if version == Version::V6_2 {
        return;
    }
    for (name, value) in [("entries-read", group.read), ("lag", stream.log.lag(group, version))] {
        reply.text(name);
        match value {
            Some(value) => reply.int(value),
            None => reply.null(),
        }
    }
}

/// XINFO STREAM.
pub(crate) fn stream(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let version = call.common.config.version;
    let found = call.node.db(call.client.db).stream(args.get(2))?.is_some();
    if !found {
        return Err(NO_SUCH_KEY);
    }
    let full = match args.len() {
        3 => None,
        4 if args.is(3, "FULL") => Some(FULL),
        6 if args.is(3, "FULL") && args.is(4, "COUNT") => Some(usize::try_from(args.int(5)?).unwrap_or(FULL)),
        _ => return Err(bad_form(call, "XINFO")),
    };
    let Some(stream) = call.node.db(call.client.db).stream(args.get(2))? else { return Err(NO_SUCH_KEY) };
    let reply = &mut call.client.reply;
    let old = version == Version::V6_2;
    reply.map(if full.is_some() { 9 } else { 10 } - if old { 3 } else { 0 });
    reply.text("length");
    reply.count(stream.log.len());
    reply.text("radix-tree-keys");
    reply.count(stream.log.packs.len());
    reply.text("radix-tree-nodes");
    reply.count(stream.log.packs.tree_nodes());
    reply.text("last-generated-id");
    reply.seq(stream.log.last_id);
    if !old {
        reply.text("max-deleted-entry-id");
        reply.seq(stream.log.max_deleted);
        reply.text("entries-added");
        reply.int(stream.log.added);
        reply.text("recorded-first-entry-id");
        reply.seq(stream.log.first_id());
    }
    match full {
        None => {
            reply.text("groups");
            reply.count(stream.groups.len());
            for (name, entry) in [("first-entry", stream.log.first()), ("last-entry", stream.log.last())] {
                reply.text(name);
                match entry {
                    Some(entry) => reply.entry(entry.id, &entry.body),
                    None => reply.null(),
                }
            }
        }
        Some(count) => all(reply, stream, if count == 0 { usize::MAX } else { count }, version),
    }
    Ok(())
}

/// What FULL shows on top: entries and groups, at most `count` of each list.
fn all(reply: &mut Reply, stream: &Stream, count: usize, version: Version) {
    reply.text("entries");
    reply.array(stream.log.len().min(count));
    for entry in stream.log.iter().take(count) {
        reply.entry(entry.id, &entry.body);
    }
    reply.text("groups");
    reply.array(stream.groups.len());
    for (name, group) in &stream.groups {
        reply.map(if version == Version::V6_2 { 5 } else { 7 });
        reply.text("name");
        reply.bulk(name);
        reply.text("last-delivered-id");
        reply.seq(group.last_id);
        progress(reply, stream, group, version);
        reply.text("pel-count");
        reply.count(group.pending().len());
        reply.text("pending");
        reply.array(group.pending().len().min(count));
        for (id, nack) in group.pending().iter().take(count) {
            reply.array(4);
            reply.seq(*id);
            reply.bulk(&group.name(nack.owner));
            delivery(reply, nack);
        }
        reply.text("consumers");
        reply.array(group.consumer_count());
        for consumer in group.consumers() {
            let active = version >= Version::V7_2;
            reply.map(if active { 5 } else { 4 });
            reply.text("name");
            reply.bulk(&consumer.name);
            reply.text("seen-time");
            reply.int(consumer.seen_ms);
            if active {
                reply.text("active-time");
                reply.int(consumer.active_ms.unwrap_or(-1));
            }
            reply.text("pel-count");
            reply.count(consumer.pending.len());
            reply.text("pending");
            reply.array(consumer.pending.len().min(count));
            let own = |id: &SeqNo| Some((*id, group.nack(*id)?));
            for (id, nack) in consumer.pending.iter().take(count).filter_map(own) {
                reply.array(3);
                reply.seq(id);
                delivery(reply, &nack);
            }
        }
    }
}

fn delivery(reply: &mut Reply, nack: &Nack) {
    reply.int(nack.at_ms);
    reply.int(nack.deliveries);
}

/// XINFO HELP.
pub(crate) fn help(call: &mut Call<'_>) -> Answer {
    super::help(
        &mut call.client.reply,
        "XINFO",
        &[
            "CONSUMERS <key> <groupname>",
            "    Show consumers of <groupname>.",
            "GROUPS <key>",
            "    Show the stream consumer groups.",
            "STREAM <key> [FULL [COUNT <count>]",
            "    Show information about the stream.",
        ],
    )
}
