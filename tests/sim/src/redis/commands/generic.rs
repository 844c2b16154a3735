//! Commands about keys of any type.

use crate::redis::args::parse_int;
use crate::redis::keyspace::Object;
use crate::redis::node::Call;
use crate::redis::refusal::{Answer, NO_SUCH_KEY, Refusal, SYNTAX, WRONG_TYPE};

/// DEL and UNLINK.
pub(crate) fn del(call: &mut Call<'_>) -> Answer {
    let version = call.common.config.version;
    let db = call.node.db(call.client.db);
    let keys = call.args.from(1).iter();
    let deleted = keys.filter(|key| db.delete(key, version, &mut call.common.facts)).count();
    call.node.dirty += deleted as u64;
    call.client.reply.count(deleted);
    Ok(())
}

/// EXISTS.
pub(crate) fn exists(call: &mut Call<'_>) -> Answer {
    let db = call.node.db(call.client.db);
    let found = call.args.from(1).iter().filter(|key| db.get(key).is_some()).count();
    call.client.reply.count(found);
    Ok(())
}

/// TYPE.
pub(crate) fn type_of(call: &mut Call<'_>) -> Answer {
    let object = call.node.db(call.client.db).get(call.args.get(1));
    call.client.reply.simple(object.map_or("none", Object::type_name));
    Ok(())
}

/// KEYS; here in the order of their names.
pub(crate) fn keys(call: &mut Call<'_>) -> Answer {
    let pattern = call.args.get(1);
    let db = call.node.db(call.client.db);
    let keys: Vec<_> = db.keys().map(|(key, _)| key).filter(|key| matches(pattern, key)).collect();
    call.client.reply.array(keys.len());
    keys.into_iter().for_each(|key| call.client.reply.bulk(key));
    Ok(())
}

/// SCAN; all keys at once, in the order of their names.
pub(crate) fn scan(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    if parse_int(args.get(1)).is_none_or(|cursor| cursor < 0) {
        return Err(Refusal::err("invalid cursor"));
    }
    let (mut pattern, mut kind) = (&b"*"[..], None);
    for at in (2..args.len()).step_by(2) {
        if args.more(at) == 0 {
            return Err(SYNTAX);
        } else if args.is(at, "COUNT") {
            if args.int(at + 1)? < 1 {
                return Err(SYNTAX);
            }
        } else if args.is(at, "MATCH") {
            pattern = args.get(at + 1);
        } else if args.is(at, "TYPE") {
            kind = Some(args.get(at + 1));
        } else {
            return Err(SYNTAX);
        }
    }
    let db = call.node.db(call.client.db);
    let fits =
        |object: &Object| kind.is_none_or(|kind| kind.eq_ignore_ascii_case(object.type_name().as_bytes()));
    let keys: Vec<_> =
        db.keys().filter(|(key, object)| matches(pattern, key) && fits(object)).map(|(key, _)| key).collect();
    call.client.reply.array(2);
    call.client.reply.text("0");
    call.client.reply.array(keys.len());
    keys.into_iter().for_each(|key| call.client.reply.bulk(key));
    Ok(())
}

/// DBSIZE.
pub(crate) fn db_size(call: &mut Call<'_>) -> Answer {
    let len = call.node.db(call.client.db).len();
    call.client.reply.count(len);
    Ok(())
}

/// FLUSHALL.
pub(crate) fn flush_all(call: &mut Call<'_>) -> Answer {
    flush(call, true)
}

/// FLUSHDB.
pub(crate) fn flush_db(call: &mut Call<'_>) -> Answer {
    flush(call, false)
}

fn flush(call: &mut Call<'_>, all: bool) -> Answer {
    let args = call.args;
    if args.len() > 2 || args.len() == 2 && !args.is(1, "SYNC") && !args.is(1, "ASYNC") {
        return Err(SYNTAX);
    }
    let version = call.common.config.version;
    let dbs = if all { 0..call.node.dbs.len() } else { call.client.db..call.client.db + 1 };
    for db in dbs {
        call.node.db(db).clear(version, &mut call.common.facts);
    }
    call.node.dirty += 1;
    call.client.reply.ok();
    Ok(())
}

/// RENAME.
pub(crate) fn rename(call: &mut Call<'_>) -> Answer {
    move_to(call, false)
}

/// RENAMENX.
pub(crate) fn rename_nx(call: &mut Call<'_>) -> Answer {
    move_to(call, true)
}

fn move_to(call: &mut Call<'_>, only_new: bool) -> Answer {
    let (from, to) = (call.args.get(1), call.args.get(2));
    let version = call.common.config.version;
    let facts = &mut call.common.facts;
    let reply = &mut call.client.reply;
    let db = call.node.db(call.client.db);
    if db.get(from).is_none() {
        return Err(NO_SUCH_KEY);
    }
    if only_new && db.get(to).is_some() {
        reply.int(0);
        return Ok(());
    }
    if from != to {
        db.delete(to, version, facts);
        let expiry = db.expiry(from);
        // Whoever waits for both is served from the new key.
        if matches!(db.get(from), Some(Object::Stream(_))) {
            db.signal(to);
        }
        if let Some(mut object) = db.take(from, version) {
            if let Object::Stream(stream) = &mut object {
                facts.stream_gone(stream);
                stream.shard = facts.shard(to);
                facts.stream_came(stream);
            }
            db.put(call.args.bytes(2), object);
        }
        db.set_expiry(to, expiry);
        db.touch(from);
        db.touch(to);
        call.node.dirty += 1;
    }
    if only_new {
        reply.int(1)
    } else {
        reply.ok()
    }
    Ok(())
}

/// GET.
pub(crate) fn get(call: &mut Call<'_>) -> Answer {
    match call.node.db(call.client.db).get(call.args.get(1)) {
        None => call.client.reply.null(),
        Some(Object::Text(text)) => call.client.reply.bulk(text),
        Some(Object::Stream(_)) => return Err(WRONG_TYPE),
    }
    Ok(())
}

/// SET.
pub(crate) fn set(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let now_ms = call.common.now_ms;
    let (mut only_new, mut only_old, mut gets, mut keep) = (false, false, false, false);
    let mut expiry: Option<(usize, i64, bool)> = None;
    let mut at = 3;
    while at < args.len() {
        let unit = [("EX", 1000, true), ("PX", 1, true), ("EXAT", 1000, false), ("PXAT", 1, false)]
            .into_iter()
            .find(|(word, _, _)| args.is(at, word));
        if args.is(at, "NX") && !only_old {
            only_new = true;
        } else if args.is(at, "XX") && !only_new {
            only_old = true;
        } else if args.is(at, "GET") {
            gets = true;
        } else if args.is(at, "KEEPTTL") && expiry.is_none() {
            keep = true;
        } else if let Some((_, factor, relative)) = unit
            && expiry.is_none()
            && !keep
            && args.more(at) > 0
        {
            at += 1;
            expiry = Some((at, factor, relative));
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    let bad_time = Refusal::err("invalid expire time in 'set' command");
    let expiry = match expiry {
        None => None,
        Some((at, factor, relative)) => {
            let given = args.int(at)?;
            let ms = given.checked_mul(factor).filter(|_| given > 0);
            let ms = ms.and_then(|ms| ms.checked_add(if relative { now_ms } else { 0 }));
            Some(ms.ok_or(bad_time)?)
        }
    };
    let version = call.common.config.version;
    let facts = &mut call.common.facts;
    let reply = &mut call.client.reply;
    let db = call.node.db(call.client.db);
    let key = args.get(1);
    let before = db.get(key);
    if gets {
        match before {
            None => reply.null(),
            Some(Object::Text(text)) => reply.bulk(text),
            Some(Object::Stream(_)) => return Err(WRONG_TYPE),
        }
    }
    if only_new && before.is_some() || only_old && before.is_none() {
        if !gets {
            reply.null();
        }
        return Ok(());
    }
    db.set_text(key, args.get(2), keep, version, facts);
    if expiry.is_some() {
        db.set_expiry(key, expiry);
    }
    call.node.dirty += 1;
    if !gets {
        reply.ok();
    }
    Ok(())
}

/// EXPIRE.
pub(crate) fn expire(call: &mut Call<'_>) -> Answer {
    let now_ms = call.common.now_ms;
    expire_at_ms(call, now_ms, 1000, "expire")
}

/// PEXPIRE.
pub(crate) fn pexpire(call: &mut Call<'_>) -> Answer {
    let now_ms = call.common.now_ms;
    expire_at_ms(call, now_ms, 1, "pexpire")
}

/// EXPIREAT.
pub(crate) fn expire_at(call: &mut Call<'_>) -> Answer {
    expire_at_ms(call, 0, 1000, "expireat")
}

/// PEXPIREAT.
pub(crate) fn pexpire_at(call: &mut Call<'_>) -> Answer {
    expire_at_ms(call, 0, 1, "pexpireat")
}

fn expire_at_ms(call: &mut Call<'_>, base_ms: i64, factor: i64, name: &str) -> Answer {
    let args = call.args;
    let (mut only_none, mut only_some, mut later, mut earlier) = (false, false, false, false);
    for at in 3..args.len() {
        match () {
            () if args.is(at, "NX") => only_none = true,
            () if args.is(at, "XX") => only_some = true,
            () if args.is(at, "GT") => later = true,
            () if args.is(at, "LT") => earlier = true,
            () => return Err(Refusal::say("ERR", &[b"Unsupported option ", args.get(at)])),
        }
    }
    if only_none && (only_some || later || earlier) {
        return Err(Refusal::err("NX and XX, GT or LT options at the same time are not compatible"));
    }
    if later && earlier {
        return Err(Refusal::err("GT and LT options at the same time are not compatible"));
    }
    let at_ms = args.int(2)?.checked_mul(factor).and_then(|ms| ms.checked_add(base_ms));
    let bad_time = || Refusal::say("ERR", &[b"invalid expire time in '", name.as_bytes(), b"' command"]);
    let at_ms = at_ms.ok_or_else(bad_time)?;
    let key = args.get(1);
    let db = call.node.db(call.client.db);
    let before = db.expiry(key);
    let fits = db.get(key).is_some()
        && !(only_none && before.is_some())
        && !(only_some && before.is_none())
        && !(later && before.is_none_or(|before| at_ms <= before))
        && !(earlier && before.is_some_and(|before| at_ms >= before));
    if fits {
        if at_ms <= call.common.now_ms {
            db.delete(key, call.common.config.version, &mut call.common.facts);
        } else {
            db.set_expiry(key, Some(at_ms));
            db.touch(key);
        }
        call.node.dirty += 1;
    }
    call.client.reply.int(fits.into());
    Ok(())
}

/// PERSIST.
pub(crate) fn persist(call: &mut Call<'_>) -> Answer {
    let key = call.args.get(1);
    let db = call.node.db(call.client.db);
    let had = db.expiry(key).is_some();
    if had {
        db.set_expiry(key, None);
        db.touch(key);
        call.node.dirty += 1;
    }
    call.client.reply.int(had.into());
    Ok(())
}

/// TTL.
pub(crate) fn ttl(call: &mut Call<'_>) -> Answer {
    time_left(call, |ms| ms.saturating_add(500) / 1000)
}

/// PTTL.
pub(crate) fn pttl(call: &mut Call<'_>) -> Answer {
    time_left(call, |ms| ms)
}

fn time_left(call: &mut Call<'_>, shown: fn(i64) -> i64) -> Answer {
    let key = call.args.get(1);
    let db = call.node.db(call.client.db);
    let left = match (db.get(key), db.expiry(key)) {
        (None, _) => -2,
        (Some(_), None) => -1,
        (Some(_), Some(at_ms)) => shown(at_ms.saturating_sub(call.common.now_ms).max(0)),
    };
    call.client.reply.int(left);
    Ok(())
}

/// Whether a name fits a pattern of `*`, `?`, `[a-z]`, `[^a]` and `\`. Work is at most the
/// product of both lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut to) = (0, 0);
    // The last `*`, and up to where in the name it stands for.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), name.get(to)) {
            (Some(b'*'), _) => {
                star = Some((at + 1, to));
                at += 1;
                continue;
            }
            (None, None) => return true,
            (Some(_), Some(byte)) => {
                if let Some(next) = matches_one(pattern.get(at..).unwrap_or_default(), *byte) {
                    at += next;
                    to += 1;
                    continue;
                }
            }
            (Some(_), None) => return false,
            (None, Some(_)) => {}
        }
        match &mut star {
            Some((after, until)) => {
                *until += 1;
                (at, to) = (*after, *until);
            }
            None => return false,
        }
    }
}

/// Whether the front of a pattern fits one byte; how long that front is.
fn matches_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] => {
            let negated = rest.first() == Some(&b'^');
            let mut at = usize::from(negated);
            let mut found = false;
            loop {
                match rest.get(at..).unwrap_or_default() {
                    [] => break,
                    [b']', ..] => {
                        at += 1;
                        break;
                    }
                    [b'\\', escaped, ..] => {
                        found |= *escaped == byte;
                        at += 2;
                    }
                    [low, b'-', high, ..] => {
                        found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                        at += 3;
                    }
                    [one, ..] => {
                        found |= *one == byte;
                        at += 1;
                    }
                }
            }
            (found != negated).then_some(1 + at)
        }
        [one, ..] => (*one == byte).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abb", false),
            ("a?c", "abc", true),
            ("a[b-d]e", "ace", true),
            ("a[^b-d]e", "ace", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("*a*b", "xaxbxb", true),
            ("[", "x", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }
}
