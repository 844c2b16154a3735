//! XREAD and XREADGROUP.

use std::time::Duration;

use bytes::Bytes;
use tidegate_core::SeqNo;

use crate::broker::Handed;
use crate::redis::args::{Args, OwnedArgs};
use crate::redis::client::Blocked;
use crate::redis::config::Version;
use crate::redis::node::{Call, Common};
use crate::redis::refusal::{Answer, Refusal, SYNTAX, no_key_or_group};
use crate::redis::reply::Reply;
use crate::redis::stream::{Nack, Stream};

/// The most that a blocked read gives when it says nothing of it.
const BLOCKED_COUNT: usize = 1000;

/// What a member asks of a group.
#[derive(Clone, Copy)]
pub(crate) struct Read<'a> {
    pub(crate) group: &'a [u8],
    pub(crate) consumer: &'a [u8],
    /// 0: all.
    pub(crate) count: usize,
    pub(crate) no_ack: bool,
}

/// XREAD.
pub(crate) fn read(call: &mut Call<'_>) -> Answer {
    let version = call.common.config.version;
    let options = options(call.args, false, version)?;
    let mut after = Vec::with_capacity(options.keys);
    for (key, id_at) in options.pairs(call.args) {
        let stream = call.node.db(call.client.db).stream(key)?;
        after.push(match call.args.get(id_at) {
            b"$" => stream.map_or(SeqNo::ZERO, |stream| stream.log.last_id),
            b"+" if version >= Version::V8_0 => {
                stream.map_or(SeqNo::ZERO, |stream| stream.log.last_id.previous())
            }
            b">" => {
                return Err(Refusal::err(
                    "The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
                     <consumer> option.",
                ));
            }
            _ => call.args.id(id_at, 0)?,
        });
    }
    let start = call.client.reply.out.len();
    let mut served = 0;
    for ((key, _), after) in options.pairs(call.args).zip(&after) {
        if let Some(stream) = call.node.db(call.client.db).stream(key)?
            && stream.log.last().is_some_and(|last| last.id > *after)
        {
            if served == 0 {
                call.client.reply.streams(0);
            }
            served += 1;
            call.client.reply.stream(key);
            send_later(&mut call.client.reply, stream, *after, options.count);
        }
    }
    finish(call, &options, start, served, &after, "XREAD")
}

/// XREADGROUP.
pub(crate) fn read_group(call: &mut Call<'_>) -> Answer {
    let version = call.common.config.version;
    let options = options(call.args, true, version)?;
    let Some(group_at) = options.group_at else {
        return Err(Refusal::err("Missing GROUP option for XREADGROUP"));
    };
    let read = Read {
        group: call.args.get(group_at),
        consumer: call.args.get(group_at + 1),
        count: options.count,
        no_ack: options.no_ack,
    };
    let mut after = Vec::with_capacity(options.keys);
    for (key, id_at) in options.pairs(call.args) {
        let stream = call.node.db(call.client.db).stream(key)?;
        if stream.is_none_or(|stream| !stream.groups.contains_key(read.group)) {
            return Err(no_key_or_group(key, read.group, " in XREADGROUP with GROUP option"));
        }
        // As in Redis: the last id of all stands for new entries.
        after.push(match call.args.get(id_at) {
            b"$" => return Err(meaningless("$")),
            b"+" if version >= Version::V8_0 => return Err(meaningless("+")),
            b">" => SeqNo::MAX,
            _ => call.args.id(id_at, 0)?,
        });
    }
    let start = call.client.reply.out.len();
    let mut served = 0;
    for ((key, _), after) in options.pairs(call.args).zip(&after) {
        let Call { common, node, client, .. } = call;
        let node = &mut **node;
        let Some(stream) = node.db(client.db).stream_mut(key)? else { continue };
        let now_ms = common.now_ms;
        let Some(group) = stream.groups.get_mut(read.group) else { continue };
        let history = *after != SeqNo::MAX;
        let serves = history || stream.log.last().is_some_and(|last| last.id > group.last_id);
        let mut changes = 0;
        if version >= Version::V7_2 {
            let (owner, made) = group.find_or_make(read.consumer, now_ms);
            changes += u64::from(made);
            if let Some(consumer) = group.consumer_mut(owner) {
                consumer.seen_ms = now_ms;
            }
        }
        if serves {
            if served == 0 {
                client.reply.streams(0);
            }
            served += 1;
            client.reply.stream(key);
            changes += if history {
                send_own(common, &mut client.reply, stream, read, *after)
            } else {
                hand_out(common, &mut client.reply, stream, read)
            };
        }
        node.dirty += changes;
    }
    finish(call, &options, start, served, &after, "XREADGROUP")
}

fn meaningless(id: &str) -> Refusal {
    let text = format!(
        "The {id} ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer \
         by specifying a proper ID, or use the > ID to get new messages. The {id} ID would just return an empty \
         result set."
    );
    Refusal::say("ERR", &[text.as_bytes()])
}

/// Gives a member what nobody of its group was given yet; how many changes that makes.
pub(crate) fn hand_out(common: &mut Common, reply: &mut Reply, stream: &mut Stream, read: Read<'_>) -> u64 {
    let (version, now_ms) = (common.config.version, common.now_ms);
    let shard = common.facts.about(stream);
    let Stream { log, groups, .. } = stream;
    let Some(group) = groups.get_mut(read.group) else {
        reply.array(0);
        return 0;
    };
    let (owner, made) = group.find_or_make(read.consumer, now_ms);
    let mut places = match group.last_id {
        SeqNo::MAX => 0..0,
        last => log.range(last.next(), SeqNo::MAX),
    };
    if read.count > 0 {
        places.end = places.end.min(places.start.saturating_add(read.count));
    }
    let given = places.len();
    reply.array(given);
    for entry in log.entries(places) {
        group.advance(log, entry.id, version);
        reply.entry(entry.id, &entry.body);
        let nack = Nack { owner, at_ms: now_ms, deliveries: 1 };
        let before = if read.no_ack { None } else { group.give(entry.id, nack) };
        common.facts.handed(shard, entry.id, group, owner, before, Handed::New);
    }
    if let Some(consumer) = group.consumer_mut(owner) {
        consumer.seen_ms = now_ms;
        if given > 0 && !read.no_ack {
            consumer.active_ms = Some(now_ms);
        }
    }
    given as u64 + u64::from(made)
}

/// Gives a member again what is pending for it, later than `after`. A replica isn't told how
/// often that was done.
fn send_own(
    common: &mut Common,
    reply: &mut Reply,
    stream: &mut Stream,
    read: Read<'_>,
    after: SeqNo,
) -> u64 {
    let now_ms = common.now_ms;
    let shard = common.facts.about(stream);
    let Stream { log, groups, .. } = stream;
    let Some(group) = groups.get_mut(read.group) else {
        reply.array(0);
        return 0;
    };
    let (owner, made) = group.find_or_make(read.consumer, now_ms);
    let most = if read.count == 0 { usize::MAX } else { read.count };
    let mut ids = Vec::new();
    if let Some(consumer) = group.consumer_mut(owner) {
        consumer.seen_ms = now_ms;
        ids.extend(consumer.pending.range(after.next()..).take(most).copied());
    }
    reply.array(ids.len());
    for id in ids {
        match log.find(id) {
            Some(entry) => {
                reply.entry(id, &entry.body);
                if let Some(nack) = group.nack_mut(id) {
                    nack.at_ms = now_ms;
                    nack.deliveries = nack.deliveries.wrapping_add(1);
                }
            }
            None => {
                reply.array(2);
                reply.seq(id);
                reply.null_array();
            }
        }
        common.facts.handed(shard, id, group, owner, None, Handed::Own);
    }
    u64::from(made)
}

/// Entries later than `after`, at most `count` unless that is 0.
pub(crate) fn send_later(reply: &mut Reply, stream: &Stream, after: SeqNo, count: usize) {
    let mut places = match after {
        SeqNo::MAX => 0..0,
        after => stream.log.range(after.next(), SeqNo::MAX),
    };
    if count > 0 {
        places.end = places.end.min(places.start.saturating_add(count));
    }
    reply.array(places.len());
    for entry in stream.log.entries(places) {
        reply.entry(entry.id, &entry.body);
    }
}

/// The reply is complete, or it is time to wait.
fn finish(
    call: &mut Call<'_>,
    options: &Options,
    start: usize,
    served: usize,
    after: &[SeqNo],
    name: &'static str,
) -> Answer {
    if served > 0 {
        call.client.reply.fix_streams(start, served);
        return Ok(());
    }
    let Some(block_ms) = options.block_ms.filter(|_| !call.client.never_blocks) else {
        call.client.reply.null_array();
        return Ok(());
    };
    let mut keys: Vec<(Bytes, SeqNo)> = Vec::with_capacity(options.keys);
    for ((key, _), after) in options.pairs(call.args).zip(after) {
        if !keys.iter().any(|(other, _)| other == key) {
            keys.push((Bytes::copy_from_slice(key), *after));
        }
    }
    let again = call.common.config.version >= Version::V7_2;
    call.client.blocked = Some(Box::new(Blocked {
        db: call.client.db,
        keys,
        group: options.group_at.map(|at| (call.args.bytes(at), call.args.bytes(at + 1))),
        count: if options.count == 0 { BLOCKED_COUNT } else { options.count },
        no_ack: options.no_ack,
        deadline: (block_ms > 0).then(|| call.common.now + Duration::from_millis(block_ms)),
        name,
        again: if again { pinned(call.args, options, after) } else { OwnedArgs::default() },
    }));
    Ok(())
}

/// The command as it runs again: `$` is where the stream ended when it came.
fn pinned(args: Args<'_>, options: &Options, after: &[SeqNo]) -> OwnedArgs {
    let first_id = options.streams_at + options.keys;
    let ids: Vec<String> = after.iter().map(|id| id.as_redis().to_string()).collect();
    OwnedArgs::new((0..args.len()).map(|at| match (args.get(at), at.checked_sub(first_id)) {
        (b"$", Some(place)) => ids.get(place).map_or(&b"$"[..], |id| id.as_bytes()),
        (arg, _) => arg,
    }))
}

struct Options {
    block_ms: Option<u64>,
    count: usize,
    no_ack: bool,
    group_at: Option<usize>,
    streams_at: usize,
    keys: usize,
}

impl Options {
    /// The keys, and where their ids are.
    fn pairs<'a>(&self, args: Args<'a>) -> impl ExactSizeIterator<Item = (&'a [u8], usize)> + use<'a> {
        let (at, keys) = (self.streams_at, self.keys);
        (at..at + keys).map(move |at| (args.get(at), at + keys))
    }
}

fn options(args: Args<'_>, grouped: bool, version: Version) -> Result<Options, Refusal> {
    let mut options =
        Options { block_ms: None, count: 0, no_ack: false, group_at: None, streams_at: 0, keys: 0 };
    let mut at = 1;
    while at < args.len() {
        let more = args.more(at);
        if args.is(at, "BLOCK") && more > 0 {
            at += 1;
            let block = args.int_or(at, "timeout is not an integer or out of range")?;
            options.block_ms = Some(u64::try_from(block).map_err(|_| Refusal::err("timeout is negative"))?);
        } else if args.is(at, "COUNT") && more > 0 {
            at += 1;
            options.count = usize::try_from(args.int(at)?).unwrap_or(0);
        } else if args.is(at, "STREAMS") && more > 0 {
            options.streams_at = at + 1;
            options.keys = more / 2;
            if !more.is_multiple_of(2) {
                return Err(unbalanced(grouped, version));
            }
            break;
        } else if args.is(at, "GROUP") && more >= 2 {
            if !grouped {
                return Err(Refusal::err(
                    "The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
                ));
            }
            options.group_at = Some(at + 1);
            at += 2;
        } else if args.is(at, "NOACK") {
            if !grouped {
                return Err(Refusal::err(
                    "The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
                ));
            }
            options.no_ack = true;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    if options.streams_at == 0 { Err(SYNTAX) } else { Ok(options) }
}

fn unbalanced(grouped: bool, version: Version) -> Refusal {
    let name = if grouped { "xreadgroup" } else { "xread" };
    let (list, id) = match version {
        Version::V6_2 | Version::V7_0 => ("XREAD".to_owned(), "ID or '$'"),
        Version::V7_2 => (format!("'{name}'"), if grouped { "ID or '>'" } else { "ID or '$'" }),
        Version::V8_0 => (format!("'{name}'"), if grouped { "ID or '>'" } else { "ID, '+', or '$'" }),
    };
    let text = format!("Unbalanced {list} list of streams: for each stream key an {id} must be specified.");
    Refusal::say("ERR", &[text.as_bytes()])
}
