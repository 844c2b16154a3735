//! XACK and XPENDING.

use tidegate_core::SeqNo;

use crate::redis::args::Args;
use crate::redis::node::Call;
use crate::redis::refusal::{Answer, Refusal, SYNTAX, no_key_or_group};
use crate::redis::reply::Reply;
use crate::redis::stream::{Group, Nack};

/// XACK.
pub(crate) fn ack(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let stream = call.node.db(call.client.db).stream_mut(args.get(1))?;
    let shard = stream.as_ref().and_then(|stream| call.common.facts.about(stream));
    let Some(group) = super::group_of(stream, args.get(2)) else {
        call.client.reply.int(0);
        return Ok(());
    };
    // All or nothing: a bad id refuses all of them.
    let ids = (3..args.len()).map(|at| args.id(at, 0)).collect::<Result<Vec<_>, _>>()?;
    let mut acked = 0;
    for id in ids {
        if let Some(owner) = group.drop_pending(id) {
            call.common.facts.committed(shard, id, group, owner);
            acked += 1;
        }
    }
    call.node.dirty += acked;
    call.client.reply.count(acked as usize);
    Ok(())
}

/// What XPENDING asks for, beyond the summary.
pub(crate) struct Extended<'a> {
    min_idle: i64,
    start: SeqNo,
    end: SeqNo,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Extended<'a> {
    fn read(args: Args<'a>) -> Result<Option<Self>, Refusal> {
        if args.len() == 3 {
            return Ok(None);
        }
        if !(6..=9).contains(&args.len()) {
            return Err(SYNTAX);
        }
        let (mut at, mut min_idle) = (3, 0);
        if args.is(3, "IDLE") {
            min_idle = args.int(4)?;
            if args.len() < 8 {
                return Err(SYNTAX);
            }
            at = 5;
        }
        let count = usize::try_from(args.int(at + 2)?).unwrap_or(0);
        let (start, end) = (args.start(at)?, args.end(at + 1)?);
        let consumer = (at + 3 < args.len()).then(|| args.get(at + 3));
        Ok(Some(Self { min_idle, start, end, count, consumer }))
    }
}

/// XPENDING.
pub(crate) fn pending(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let extended = Extended::read(args)?;
    let stream = call.node.db(call.client.db).stream(args.get(1))?;
    let group = stream.and_then(|stream| stream.groups.get(args.get(2)));
    let Some(group) = group else {
        return Err(no_key_or_group(args.get(1), args.get(2), ""));
    };
    match extended {
        None => summary(group, &mut call.client.reply),
        Some(extended) => {
            let rows = rows(group, &extended, call.common.now_ms);
            call.client.reply.array(rows.len());
            for (id, nack) in rows {
                let reply = &mut call.client.reply;
                reply.array(4);
                reply.seq(id);
                reply.bulk(&group.name(nack.owner));
                reply.int(call.common.now_ms.saturating_sub(nack.at_ms).max(0));
                reply.int(nack.deliveries);
            }
        }
    }
    Ok(())
}

/// What is pending and fits, with what is known of it.
fn rows(group: &Group, asked: &Extended<'_>, now_ms: i64) -> Vec<(SeqNo, Nack)> {
    if asked.start > asked.end {
        return Vec::new();
    }
    let fits = |nack: &Nack| asked.min_idle == 0 || now_ms.wrapping_sub(nack.at_ms) >= asked.min_idle;
    match asked.consumer {
        None => {
            let all = group.pending().range(asked.start..=asked.end).map(|(id, nack)| (*id, *nack));
            all.filter(|(_, nack)| fits(nack)).take(asked.count).collect()
        }
        Some(name) => {
            let consumer = group.find(name).and_then(|owner| group.consumer(owner));
            let ids = consumer.into_iter().flat_map(|one| one.pending.range(asked.start..=asked.end));
            let own = ids.filter_map(|id| Some((*id, group.nack(*id)?)));
            own.filter(|(_, nack)| fits(nack)).take(asked.count).collect()
        }
    }
}

fn summary(group: &Group, reply: &mut Reply) {
    reply.array(4);
    let pending = group.pending();
    reply.count(pending.len());
    match (pending.first_key_value(), pending.last_key_value()) {
        (Some((first, _)), Some((last, _))) => {
            reply.seq(*first);
            reply.seq(*last);
        }
        _ => {
            reply.null();
            reply.null();
            reply.null_array();
            return;
        }
    }
    let busy = || group.consumers().filter(|consumer| !consumer.pending.is_empty());
    reply.array(busy().count());
    for consumer in busy() {
        reply.array(2);
        reply.bulk(&consumer.name);
        reply.text(&consumer.pending.len().to_string());
    }
}
