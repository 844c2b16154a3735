//! XRANGE, XREVRANGE, XLEN, XDEL.

use crate::broker::Gone;
use crate::redis::node::Call;
use crate::redis::refusal::{Answer, SYNTAX};

/// XRANGE.
pub(crate) fn range(call: &mut Call<'_>) -> Answer {
    either_range(call, false)
}

/// XREVRANGE.
pub(crate) fn rev_range(call: &mut Call<'_>) -> Answer {
    either_range(call, true)
}

fn either_range(call: &mut Call<'_>, reversed: bool) -> Answer {
    let args = call.args;
    let (start_at, end_at) = if reversed { (3, 2) } else { (2, 3) };
    let (start, end) = (args.start(start_at)?, args.end(end_at)?);
    let mut count = None;
    let mut at = 4;
    while at < args.len() {
        if !args.is(at, "COUNT") || args.more(at) == 0 {
            return Err(SYNTAX);
        }
        let given = args.int(at + 1)?;
        // Exactly -1 can't be asked for: all below zero is zero.
        count = Some(usize::try_from(given).unwrap_or(0));
        at += 2;
    }
    let reply = &mut call.client.reply;
    let Some(stream) = call.node.db(call.client.db).stream(args.get(1))? else {
        reply.array(0);
        return Ok(());
    };
    if count == Some(0) {
        reply.null_array();
        return Ok(());
    }
    let mut places = if start <= end { stream.log.range(start, end) } else { 0..0 };
    let most = count.unwrap_or(usize::MAX).min(places.len());
    if reversed {
        places.start = places.end - most;
    } else {
        places.end = places.start + most;
    }
    reply.array(most);
    let entries = stream.log.entries(places);
    if reversed {
        entries.rev().for_each(|entry| reply.entry(entry.id, &entry.body));
    } else {
        entries.for_each(|entry| reply.entry(entry.id, &entry.body));
    }
    Ok(())
}

/// XLEN.
pub(crate) fn len(call: &mut Call<'_>) -> Answer {
    let len = call.node.db(call.client.db).stream(call.args.get(1))?.map_or(0, |stream| stream.log.len());
    call.client.reply.count(len);
    Ok(())
}

/// XDEL.
pub(crate) fn del(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let key = args.get(1);
    let db = call.node.db(call.client.db);
    let Some(stream) = db.stream_mut(key)? else {
        call.client.reply.int(0);
        return Ok(());
    };
    let ids = (2..args.len()).map(|at| args.id(at, 0)).collect::<Result<Vec<_>, _>>()?;
    let shard = call.common.facts.about(stream);
    let mut deleted = 0;
    for id in ids {
        if stream.log.delete(id) {
            call.common.facts.gone(shard, id, Gone::Deleted);
            deleted += 1;
        }
    }
    if deleted > 0 {
        db.touch(key);
        call.node.dirty += deleted;
    }
    call.client.reply.count(deleted as usize);
    Ok(())
}
