//! CLUSTER, ASKING, READONLY, READWRITE.

use crate::redis::cluster::{SLOTS, key_slot, node_id};
use crate::redis::node::{Call, Common};
use crate::redis::refusal::{Answer, Refusal};

const DISABLED: Refusal = Refusal::err("This instance has cluster support disabled");

fn enabled(call: &Call<'_>) -> Answer {
    if call.common.config.cluster { Ok(()) } else { Err(DISABLED) }
}

/// ASKING.
pub(crate) fn asking(call: &mut Call<'_>) -> Answer {
    enabled(call)?;
    call.client.asking = true;
    call.client.reply.ok();
    Ok(())
}

/// READONLY.
pub(crate) fn read_only(call: &mut Call<'_>) -> Answer {
    enabled(call)?;
    call.client.read_only = true;
    call.client.reply.ok();
    Ok(())
}

/// READWRITE.
pub(crate) fn read_write(call: &mut Call<'_>) -> Answer {
    enabled(call)?;
    call.client.read_only = false;
    call.client.reply.ok();
    Ok(())
}

/// CLUSTER KEYSLOT.
pub(crate) fn key_slot_of(call: &mut Call<'_>) -> Answer {
    enabled(call)?;
    call.client.reply.count(key_slot(call.args.get(2)));
    Ok(())
}

fn slot(call: &Call<'_>) -> Result<usize, Refusal> {
    enabled(call)?;
    let slot = usize::try_from(call.args.int(2)?).ok().filter(|slot| *slot < SLOTS);
    slot.ok_or(Refusal::err("Invalid slot"))
}

/// CLUSTER COUNTKEYSINSLOT.
pub(crate) fn count_keys_in_slot(call: &mut Call<'_>) -> Answer {
    let slot = slot(call)?;
    let count = call.node.db(0).keys().filter(|(key, _)| key_slot(key) == slot).count();
    call.client.reply.count(count);
    Ok(())
}

/// CLUSTER GETKEYSINSLOT.
pub(crate) fn get_keys_in_slot(call: &mut Call<'_>) -> Answer {
    let slot = slot(call)?;
    let most =
        usize::try_from(call.args.int(3)?).map_err(|_| Refusal::err("Invalid slot or number of keys"))?;
    let keys = call.node.db(0).keys().map(|(key, _)| key).filter(|key| key_slot(key) == slot);
    let keys: Vec<_> = keys.take(most).collect();
    call.client.reply.array(keys.len());
    keys.into_iter().for_each(|key| call.client.reply.bulk(key));
    Ok(())
}

/// CLUSTER MYID.
pub(crate) fn my_id(call: &mut Call<'_>) -> Answer {
    enabled(call)?;
    call.client.reply.text(&node_id(call.node.index));
    Ok(())
}

/// CLUSTER INFO.
pub(crate) fn info(call: &mut Call<'_>) -> Answer {
    enabled(call)?;
    let cluster = &call.common.cluster;
    let down = call.node.condition == crate::redis::Condition::ClusterDown;
    let primaries = (0..cluster.nodes()).filter(|node| !cluster.is_replica(*node)).count();
    let text = format!(
        "cluster_state:{}\r\ncluster_slots_assigned:{SLOTS}\r\ncluster_slots_ok:{SLOTS}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{}\r\ncluster_size:{primaries}\r\n\
         cluster_current_epoch:{}\r\ncluster_my_epoch:{}\r\n",
        if down { "fail" } else { "ok" },
        cluster.nodes(),
        cluster.epoch,
        cluster.epoch,
    );
    call.client.reply.verbatim(&text);
    Ok(())
}

fn port(common: &Common, node: usize) -> i64 {
    i64::from(common.config.port) + node as i64
}

/// CLUSTER SLOTS.
pub(crate) fn slots(call: &mut Call<'_>) -> Answer {
    enabled(call)?;
    let common = &*call.common;
    let reply = &mut call.client.reply;
    let runs = common.cluster.runs();
    reply.array(runs.len());
    for (first, last, owner) in runs {
        let replica = common.cluster.replica_of(owner);
        reply.array(3 + usize::from(replica.is_some()));
        reply.count(first);
        reply.count(last);
        for node in std::iter::once(owner).chain(replica) {
            reply.array(4);
            reply.text(&common.config.host);
            reply.int(port(common, node));
            reply.text(&node_id(node));
            reply.map(0);
        }
    }
    Ok(())
}

/// CLUSTER SHARDS.
pub(crate) fn shards(call: &mut Call<'_>) -> Answer {
    enabled(call)?;
    let common = &*call.common;
    let reply = &mut call.client.reply;
    let runs = common.cluster.runs();
    let primaries: Vec<usize> =
        (0..common.cluster.nodes()).filter(|node| !common.cluster.is_replica(*node)).collect();
    reply.array(primaries.len());
    for primary in primaries {
        reply.map(2);
        reply.text("slots");
        let own = || runs.iter().filter(move |(_, _, owner)| *owner == primary);
        reply.array(2 * own().count());
        for (first, last, _) in own() {
            reply.count(*first);
            reply.count(*last);
        }
        reply.text("nodes");
        let replica = common.cluster.replica_of(primary);
        reply.array(1 + usize::from(replica.is_some()));
        for node in std::iter::once(primary).chain(replica) {
            reply.map(7);
            reply.text("id");
            reply.text(&node_id(node));
            reply.text("port");
            reply.int(port(common, node));
            reply.text("ip");
            reply.text(&common.config.host);
            reply.text("endpoint");
            reply.text(&common.config.host);
            reply.text("role");
            reply.text(if node == primary { "master" } else { "replica" });
            reply.text("replication-offset");
            reply.int(0);
            reply.text("health");
            reply.text("online");
        }
    }
    Ok(())
}

/// CLUSTER NODES.
pub(crate) fn nodes(call: &mut Call<'_>) -> Answer {
    enabled(call)?;
    let common = &*call.common;
    let cluster = &common.cluster;
    let me = call.node.index;
    let runs = cluster.runs();
    let mut text = String::new();
    for node in 0..cluster.nodes() {
        let port = port(common, node);
        let myself = if node == me { "myself," } else { "" };
        let (role, of) = match cluster.primary_of(node) {
            Some(primary) => ("slave", node_id(primary)),
            None => ("master", "-".to_owned()),
        };
        let id = node_id(node);
        let host = &common.config.host;
        text += &format!(
            "{id} {host}:{port}@{} {myself}{role} {of} 0 0 {} connected",
            port + 10_000,
            cluster.epoch
        );
        for (first, last, _) in runs.iter().filter(|(_, _, owner)| *owner == node) {
            text += &if first == last { format!(" {first}") } else { format!(" {first}-{last}") };
        }
        for (slot, (from, to)) in cluster.moves_of(me).filter(|_| node == me) {
            text += &if from == me {
                format!(" [{slot}->-{}]", node_id(to))
            } else {
                format!(" [{slot}-<-{}]", node_id(from))
            };
        }
        text.push('\n');
    }
    call.client.reply.verbatim(&text);
    Ok(())
}
