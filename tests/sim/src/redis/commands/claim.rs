//! XCLAIM and XAUTOCLAIM.

use tidegate_core::SeqNo;

use crate::broker::Handed;
use crate::redis::args::strict_id;
use crate::redis::config::Version;
use crate::redis::node::{Call, Common};
use crate::redis::refusal::{Answer, Refusal, SYNTAX, no_key_or_group};
use crate::redis::stream::{Group, Log, Nack, Owner};

/// Entries looked at for each one that is asked for.
const ATTEMPTS: usize = 10;

/// Who claims, and how.
struct Claim<'a> {
    shard: Option<u32>,
    consumer: &'a [u8],
    /// 0: whatever its idle time.
    min_idle: i64,
    /// What the delivery is said to be from.
    at_ms: i64,
    retries: Option<i64>,
    just_id: bool,
}

impl Claim<'_> {
    fn is_idle(&self, nack: &Nack, now_ms: i64) -> bool {
        self.min_idle == 0 || now_ms.wrapping_sub(nack.at_ms) >= self.min_idle
    }

    /// From 7.2 on whoever claims is there and was seen, whatever comes of it.
    fn arrive(&self, group: &mut Group, common: &Common) -> u64 {
        if common.config.version < Version::V7_2 {
            return 0;
        }
        let (owner, made) = group.find_or_make(self.consumer, common.now_ms);
        if let Some(consumer) = group.consumer_mut(owner) {
            consumer.seen_ms = common.now_ms;
        }
        u64::from(made)
    }

    /// Makes the claiming consumer the owner. `nack` is what was, if anything was pending.
    fn take(&self, group: &mut Group, id: SeqNo, nack: Option<Nack>, common: &mut Common) -> Owner {
        let now_ms = common.now_ms;
        let (owner, _) = group.find_or_make(self.consumer, now_ms);
        if let Some(consumer) = group.consumer_mut(owner) {
            consumer.seen_ms = now_ms;
            consumer.active_ms = Some(now_ms);
        }
        let before = nack.map_or(1, |nack| nack.deliveries);
        let deliveries = match self.retries {
            Some(retries) => retries,
            None if self.just_id => before,
            None => before.wrapping_add(1),
        };
        group.give(id, Nack { owner, at_ms: self.at_ms, deliveries });
        let idle_ms = nack.map_or(0, |nack| now_ms.saturating_sub(nack.at_ms).max(0) as u64);
        let from = nack.map(|nack| nack.owner);
        common.facts.handed(self.shard, id, group, owner, from, Handed::Claimed { idle_ms });
        owner
    }
}

/// Deleted from the log, so no longer pending.
fn forget(group: &mut Group, id: SeqNo, shard: Option<u32>, common: &mut Common) {
    if let Some(owner) = group.drop_pending(id) {
        let member = group.name(owner);
        common.facts.dropped(shard, id, member);
    }
}

/// XCLAIM.
pub(crate) fn claim(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let Call { common, node, client, .. } = call;
    let version = common.config.version;
    let now_ms = common.now_ms;
    let stream = node.db(client.db).stream_mut(args.get(1))?;
    let shard = stream.as_ref().and_then(|stream| common.facts.about(stream));
    let Some((log, group)) = stream
        .map(|stream| (&stream.log, &mut stream.groups))
        .and_then(|(log, groups)| Some((log, groups.get_mut(args.get(2))?)))
    else {
        return Err(no_key_or_group(args.get(1), args.get(2), ""));
    };
    let min_idle = args.int_or(4, "Invalid min-idle-time argument for XCLAIM")?.max(0);
    let mut at = 5;
    let mut ids = Vec::new();
    while let Some(id) = (at < args.len()).then(|| strict_id(args.get(at), 0)).flatten() {
        ids.push(id);
        at += 1;
    }
    let mut claim =
        Claim { shard, consumer: args.get(3), min_idle, at_ms: now_ms, retries: None, just_id: false };
    let (mut force, mut last_id) = (false, SeqNo::ZERO);
    while at < args.len() {
        let more = args.more(at) > 0;
        if args.is(at, "FORCE") {
            force = true;
        } else if args.is(at, "JUSTID") {
            claim.just_id = true;
        } else if args.is(at, "IDLE") && more {
            at += 1;
            let idle = args.int_or(at, "Invalid IDLE option argument for XCLAIM")?;
            claim.at_ms = now_ms.wrapping_sub(idle);
        } else if args.is(at, "TIME") && more {
            at += 1;
            claim.at_ms = args.int_or(at, "Invalid TIME option argument for XCLAIM")?;
        } else if args.is(at, "RETRYCOUNT") && more {
            at += 1;
            let retries = args.int_or(at, "Invalid RETRYCOUNT option argument for XCLAIM")?;
            claim.retries = Some(retries).filter(|retries| *retries >= 0);
        } else if args.is(at, "LASTID") && more {
            at += 1;
            last_id = args.id(at, 0)?;
        } else {
            return Err(Refusal::say("ERR", &[b"Unrecognized XCLAIM option '", args.get(at), b"'"]));
        }
        at += 1;
    }
    if !(0..=now_ms).contains(&claim.at_ms) {
        claim.at_ms = now_ms;
    }
    let mut changes = 0;
    if last_id > group.last_id {
        group.last_id = last_id;
        changes += 1;
    }
    changes += claim.arrive(group, common);
    let mut claimed = Vec::with_capacity(ids.len());
    for id in ids {
        let nack = group.nack(id);
        let found = log.find(id);
        if found.is_none() && (version >= Version::V7_0 || nack.is_none()) {
            if nack.is_some() {
                forget(group, id, shard, common);
                changes += 1;
            }
            continue;
        }
        match nack {
            None if !force => continue,
            Some(nack) if !claim.is_idle(&nack, now_ms) => continue,
            _ => {}
        }
        claim.take(group, id, nack, common);
        claimed.push(id);
        changes += 1;
    }
    node.dirty += changes;
    client.reply.array(claimed.len());
    for id in claimed {
        send(&mut client.reply, id, &claim, node.dbs.get(client.db), args.get(1));
    }
    Ok(())
}

/// XAUTOCLAIM.
pub(crate) fn auto_claim(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let Call { common, node, client, .. } = call;
    let version = common.config.version;
    let now_ms = common.now_ms;
    // The type of the key is looked at last, as in Redis.
    let min_idle = args.int_or(4, "Invalid min-idle-time argument for XAUTOCLAIM")?.max(0);
    let start = args.start(5)?;
    let (mut count, mut just_id) = (100, false);
    let mut at = 6;
    while at < args.len() {
        if args.is(at, "COUNT") && args.more(at) > 0 {
            at += 1;
            const BAD: &str = "COUNT must be > 0";
            let most = if version == Version::V6_2 { i64::MAX } else { i64::MAX / 16 };
            let given = args.int_or(at, BAD)?;
            if !(1..=most).contains(&given) {
                return Err(Refusal::err(BAD));
            }
            count = given as usize;
        } else if args.is(at, "JUSTID") {
            just_id = true;
        } else {
            return Err(SYNTAX);
        }
        at += 1;
    }
    let stream = node.db(client.db).stream_mut(args.get(1))?;
    let shard = stream.as_ref().and_then(|stream| common.facts.about(stream));
    let Some((log, group)) = stream
        .map(|stream| (&stream.log, &mut stream.groups))
        .and_then(|(log, groups)| Some((log, groups.get_mut(args.get(2))?)))
    else {
        return Err(no_key_or_group(args.get(1), args.get(2), ""));
    };
    let claim = Claim { shard, consumer: args.get(3), min_idle, at_ms: now_ms, retries: None, just_id };
    let mut changes = claim.arrive(group, common);
    let page = page(log, group, &claim, start, count, common);
    for id in &page.deleted {
        forget(group, *id, shard, common);
    }
    for id in &page.claimed {
        let nack = group.nack(*id);
        claim.take(group, *id, nack, common);
    }
    changes += (page.deleted.len() + page.claimed.len()) as u64;
    node.dirty += changes;
    common.facts.walked(shard, start == SeqNo::ZERO, page.cursor != SeqNo::ZERO);
    client.reply.array(if version == Version::V6_2 { 2 } else { 3 });
    client.reply.seq(page.cursor);
    client.reply.array(page.claimed.len());
    for id in page.claimed {
        send(&mut client.reply, id, &claim, node.dbs.get(client.db), args.get(1));
    }
    if version >= Version::V7_0 {
        client.reply.array(page.deleted.len());
        for id in page.deleted {
            client.reply.seq(id);
        }
    }
    Ok(())
}

/// What one XAUTOCLAIM comes upon.
struct Page {
    claimed: Vec<SeqNo>,
    deleted: Vec<SeqNo>,
    cursor: SeqNo,
}

fn page(log: &Log, group: &Group, claim: &Claim<'_>, start: SeqNo, count: usize, common: &Common) -> Page {
    let (mut left, mut attempts) = (count, count.saturating_mul(ATTEMPTS));
    let mut page = Page { claimed: Vec::new(), deleted: Vec::new(), cursor: SeqNo::ZERO };
    for (id, nack) in group.pending().range(start..) {
        if attempts == 0 || left == 0 {
            page.cursor = *id;
            break;
        }
        attempts -= 1;
        if common.config.version >= Version::V7_0 && log.find(*id).is_none() {
            page.deleted.push(*id);
            left -= 1;
        } else if claim.is_idle(nack, common.now_ms) {
            page.claimed.push(*id);
            left -= 1;
        }
    }
    page
}

/// An entry that was claimed; nil where 6.2 claims what is deleted.
fn send(
    reply: &mut crate::redis::reply::Reply,
    id: SeqNo,
    claim: &Claim<'_>,
    db: Option<&crate::redis::keyspace::Db>,
    key: &[u8],
) {
    let stream = db.and_then(|db| db.stream(key).ok().flatten());
    match stream.and_then(|stream| stream.log.find(id)) {
        _ if claim.just_id => reply.seq(id),
        Some(entry) => reply.entry(id, &entry.body),
        None => reply.null(),
    }
}
