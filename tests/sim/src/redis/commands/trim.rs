//! XADD, XTRIM, XSETID: what moves the ends of a stream.

use bytes::{Bytes, BytesMut};
use tidegate_core::SeqNo;

use crate::broker::Gone;
use crate::redis::args::{Args, BAD_ID, add_id};
use crate::redis::config::Version;
use crate::redis::facts::Facts;
use crate::redis::node::Call;
use crate::redis::process::wrong_arity;
use crate::redis::refusal::{Answer, NO_SUCH_KEY, Refusal, SYNTAX};
use crate::redis::stream::{Stream, Trim};
use crate::redis::table;

/// The most that trimming with `~` removes when it says nothing of it: Redis's own.
const ROUGH_LIMIT: u64 = 10_000;

/// How to trim.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    trim: Option<Trim>,
    roughly: bool,
    limit: u64,
    no_make: bool,
    /// Where XADD's id is.
    id_at: usize,
    /// `None`: to be made; its counter alone, where there are milliseconds.
    id: Option<(u64, Option<u64>)>,
}

/// XADD.
pub(crate) fn add(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let version = call.common.config.version;
    let options = options(args, true, version)?;
    let fields = args.from(options.id_at + 1);
    if fields.len() < 2 || !fields.len().is_multiple_of(2) {
        if version == Version::V6_2 {
            return Err(Refusal::err("wrong number of arguments for XADD"));
        }
        return Err(table::named(b"XADD").map_or(SYNTAX, wrong_arity));
    }
    if options.id == Some((0, Some(0))) {
        return Err(Refusal::err("The ID specified in XADD must be greater than 0-0"));
    }
    let key = args.get(1);
    let db = call.node.db(call.client.db);
    let stream = match db.stream_mut(key)? {
        Some(stream) => stream,
        None if options.no_make => {
            call.client.reply.null();
            return Ok(());
        }
        None => {
            db.make_stream(key, &call.common.facts);
            let Some(stream) = db.stream_mut(key)? else { return Ok(()) };
            stream
        }
    };
    let last = stream.log.last_id;
    if last == SeqNo::MAX {
        return Err(Refusal::err("The stream has exhausted the last possible ID, unable to add more items"));
    }
    let id = match options.id {
        None => {
            let now = SeqNo::redis(call.common.now_ms as u64, 0);
            if now.high() > last.high() { now } else { last.next() }
        }
        Some((millis, Some(counter))) => SeqNo::redis(millis, counter),
        Some((millis, None)) if millis == last.high() => match last.low().checked_add(1) {
            Some(counter) => SeqNo::redis(millis, counter),
            // 7.0 looks at an error number that nobody set.
            None if version == Version::V7_0 => {
                return Err(Refusal::err("Elements are too large to be stored"));
            }
            None => last,
        },
        Some((millis, None)) => SeqNo::redis(millis, 0),
    };
    if id <= last {
        return Err(Refusal::err(
            "The ID specified in XADD is equal or smaller than the target stream top item",
        ));
    }
    let body = body(fields, &mut call.common.scratch);
    stream.log.append(id, fields.iter(), body);
    let shard = call.common.facts.about(stream);
    call.common.facts.appended(shard, id);
    call.client.reply.seq(id);
    if let Some(trim) = options.trim {
        cut(stream, trim, &options, &mut call.common.facts);
    }
    db.touch(key);
    db.signal(key);
    call.node.dirty += 1;
    Ok(())
}

/// XTRIM.
pub(crate) fn trim(call: &mut Call<'_>) -> Answer {
    let options = options(call.args, false, call.common.config.version)?;
    let key = call.args.get(1);
    let db = call.node.db(call.client.db);
    let (Some(stream), Some(trim)) = (db.stream_mut(key)?, options.trim) else {
        call.client.reply.int(0);
        return Ok(());
    };
    let gone = cut(stream, trim, &options, &mut call.common.facts);
    call.client.reply.count(gone as usize);
    if gone > 0 {
        db.touch(key);
        call.node.dirty += gone;
    }
    Ok(())
}

/// XSETID.
pub(crate) fn set_id(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let version = call.common.config.version;
    let id = args.id(2, 0)?;
    let (mut added, mut max_deleted) = (None, SeqNo::ZERO);
    let mut at = 3;
    while at < args.len() {
        if version == Version::V6_2 {
            return Err(table::named(b"XSETID").map_or(SYNTAX, wrong_arity));
        }
        if args.is(at, "ENTRIESADDED") && args.more(at) > 0 {
            let value = args.int(at + 1)?;
            if value < 0 {
                return Err(Refusal::err("entries_added must be positive"));
            }
            added = Some(value);
        } else if args.is(at, "MAXDELETEDID") && args.more(at) > 0 {
            max_deleted = args.id(at + 1, 0)?;
            if id < max_deleted {
                return Err(Refusal::err(
                    "The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
        } else {
            return Err(SYNTAX);
        }
        at += 2;
    }
    let stream = call.node.db(call.client.db).stream_mut(args.get(1))?.ok_or(NO_SUCH_KEY)?;
    if version >= Version::V7_2 && id < stream.log.max_deleted {
        return Err(Refusal::err("The ID specified in XSETID is smaller than current max_deleted_entry_id"));
    }
    if let Some(last) = stream.log.last() {
        if id < last.id {
            return Err(Refusal::err(
                "The ID specified in XSETID is smaller than the target stream top item",
            ));
        }
        if added.is_some_and(|added| (added as u64) < stream.log.len() as u64) {
            return Err(Refusal::err(
                "The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
    }
    stream.log.last_id = id;
    if let Some(added) = added {
        stream.log.added = added;
    }
    if max_deleted != SeqNo::ZERO {
        stream.log.max_deleted = max_deleted;
    }
    call.node.dirty += 1;
    call.client.reply.ok();
    Ok(())
}

fn cut(stream: &mut Stream, trim: Trim, options: &Options, facts: &mut Facts) -> u64 {
    let shard = facts.about(stream);
    stream.log.trim(trim, options.roughly, options.limit, |id| facts.gone(shard, id, Gone::Deleted))
}

/// An entry's names and values as they stand in a reply.
fn body(fields: Args<'_>, scratch: &mut BytesMut) -> Bytes {
    scratch.clear();
    let mut reply = crate::redis::reply::Reply { out: std::mem::take(scratch), resp3: false };
    reply.array(fields.len());
    for field in fields.iter() {
        reply.bulk(field);
    }
    let body = Bytes::copy_from_slice(&reply.out);
    *scratch = reply.out;
    body
}

fn options(args: Args<'_>, adds: bool, version: Version) -> Result<Options, Refusal> {
    let mut options = Options::default();
    let mut limit = None;
    let mut at = 2;
    while at < args.len() {
        let more = args.more(at);
        let max_len = args.is(at, "MAXLEN");
        if adds && args.get(at) == b"*" {
            break;
        } else if (max_len || args.is(at, "MINID")) && more > 0 {
            if options.trim.is_some() {
                return Err(Refusal::err(
                    "syntax error, MAXLEN and MINID options at the same time are not compatible",
                ));
            }
            options.roughly = false;
            if more >= 2 && matches!(args.get(at + 1), b"~" | b"=") {
                options.roughly = args.get(at + 1) == b"~";
                at += 1;
            }
            at += 1;
            options.trim = Some(if max_len {
                let len = args.int(at)?;
                Trim::MaxLen(
                    u64::try_from(len).map_err(|_| Refusal::err("The MAXLEN argument must be >= 0."))?,
                )
            } else {
                Trim::MinId(args.id(at, 0)?)
            });
        } else if args.is(at, "LIMIT") && more > 0 {
            at += 1;
            let value = args.int(at)?;
            limit = Some(u64::try_from(value).map_err(|_| Refusal::err("The LIMIT argument must be >= 0."))?);
        } else if adds && args.is(at, "NOMKSTREAM") {
            options.no_make = true;
        } else if adds {
            let id = add_id(args.get(at)).ok_or(BAD_ID)?;
            // 6.2 makes no counter alone.
            if version == Version::V6_2 && id.1.is_none() {
                return Err(BAD_ID);
            }
            options.id = Some(id);
            break;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    options.id_at = at;
    if limit.is_some_and(|limit| limit > 0) && options.trim.is_none() {
        return Err(Refusal::err(
            "syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ));
    }
    if !adds && options.trim.is_none() {
        return Err(Refusal::err("syntax error, XTRIM must be called with a trimming strategy"));
    }
    options.limit = match limit {
        Some(_) if !options.roughly => {
            return Err(Refusal::err("syntax error, LIMIT cannot be used without the special ~ option"));
        }
        Some(limit) => limit,
        None if options.roughly => ROUGH_LIMIT,
        None => 0,
    };
    Ok(options)
}
