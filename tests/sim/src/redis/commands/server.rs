//! Commands about the server: what it is, what it knows.

use crate::redis::keyspace::Db;
use crate::redis::node::{Call, DATABASES};
use crate::redis::process::wrong_arity;
use crate::redis::refusal::{Answer, Refusal, SYNTAX};
use crate::redis::reply::Reply;
use crate::redis::table::{self, Keys, Spec, TABLE};

/// A container without a subcommand.
pub(crate) fn container(call: &mut Call<'_>) -> Answer {
    Err(table::named(call.args.get(0)).map_or(SYNTAX, wrong_arity))
}

/// For what changes nothing here.
pub(crate) fn ok(call: &mut Call<'_>) -> Answer {
    call.client.reply.ok();
    Ok(())
}

/// TIME.
pub(crate) fn time(call: &mut Call<'_>) -> Answer {
    let nanos = call.common.now.as_nanos();
    let micros = call.common.config.unix_ms_at_origin.saturating_mul(1000).saturating_add(nanos / 1000);
    call.client.reply.array(2);
    call.client.reply.text(&(micros / 1_000_000).to_string());
    call.client.reply.text(&(micros % 1_000_000).to_string());
    Ok(())
}

/// ROLE.
pub(crate) fn role(call: &mut Call<'_>) -> Answer {
    let common = &*call.common;
    let reply = &mut call.client.reply;
    match common.cluster.primary_of(call.node.index) {
        Some(primary) => {
            reply.array(5);
            reply.text("slave");
            reply.text(&common.config.host);
            reply.int(i64::from(common.config.port) + primary as i64);
            reply.text("connected");
            reply.int(0);
        }
        None => {
            reply.array(3);
            reply.text("master");
            reply.int(0);
            reply.array(0);
        }
    }
    Ok(())
}

/// INFO: what clients look at.
pub(crate) fn info(call: &mut Call<'_>) -> Answer {
    let wanted = |section: &str| {
        let asked = call.args.from(1);
        asked.len() == 0
            || asked.iter().any(|word| {
                let all = ["all", "default", "everything"];
                word.eq_ignore_ascii_case(section.as_bytes())
                    || all.iter().any(|all| word.eq_ignore_ascii_case(all.as_bytes()))
            })
    };
    let common = &*call.common;
    let (config, node) = (&common.config, &*call.node);
    let mode = if config.cluster { "cluster" } else { "standalone" };
    let role = if common.cluster.is_replica(node.index) { "slave" } else { "master" };
    let blocked = call.clients.iter().filter(|(_, one)| one.node == node.index && one.blocked.is_some());
    let loading = u8::from(matches!(node.condition, crate::redis::Condition::Loading { .. }));
    let sections = [
        (
            "Server",
            format!(
                "redis_version:{}\r\nredis_mode:{mode}\r\ntcp_port:{}\r\nuptime_in_seconds:{}\r\n",
                config.version.number(),
                usize::from(config.port) + node.index,
                common.now.as_nanos() / 1_000_000_000
            ),
        ),
        (
            "Clients",
            format!(
                "connected_clients:{}\r\nmaxclients:{}\r\nblocked_clients:{}\r\n",
                node.clients.len(),
                config.maxclients,
                blocked.count()
            ),
        ),
        ("Persistence", format!("loading:{loading}\r\n")),
        ("Replication", format!("role:{role}\r\nconnected_slaves:{}\r\n", u8::from(config.replicas))),
        ("Cluster", format!("cluster_enabled:{}\r\n", u8::from(config.cluster))),
        ("Keyspace", node.dbs.iter().enumerate().map(|(index, db)| keyspace(index, db)).collect()),
    ];
    let shown = sections.iter().filter(|(name, _)| wanted(name));
    let text: Vec<String> = shown.map(|(name, lines)| format!("# {name}\r\n{lines}")).collect();
    call.client.reply.verbatim(&text.join("\r\n"));
    Ok(())
}

fn keyspace(index: usize, db: &Db) -> String {
    match db.len() {
        0 => String::new(),
        keys => format!("db{index}:keys={keys},expires={},avg_ttl=0\r\n", db.expiring()),
    }
}

/// CONFIG GET: a few that clients ask for, by their whole names.
pub(crate) fn config_get(call: &mut Call<'_>) -> Answer {
    let config = &call.common.config;
    let known = [
        ("appendonly", "no".to_owned()),
        ("databases", DATABASES.to_string()),
        ("maxclients", config.maxclients.to_string()),
        ("maxmemory", "0".to_owned()),
        ("proto-max-bulk-len", (512 << 20).to_string()),
        ("save", String::new()),
        ("stream-node-max-bytes", "4096".to_owned()),
        ("stream-node-max-entries", "100".to_owned()),
        ("timeout", "0".to_owned()),
    ];
    let asked = |name: &str| {
        call.args.from(2).iter().any(|word| word == b"*" || word.eq_ignore_ascii_case(name.as_bytes()))
    };
    let found: Vec<_> = known.iter().filter(|(name, _)| asked(name)).collect();
    call.client.reply.map(found.len());
    for (name, value) in found {
        call.client.reply.text(name);
        call.client.reply.text(value);
    }
    Ok(())
}

/// CONFIG SET: refused, as nothing can be set.
pub(crate) fn config_set(_: &mut Call<'_>) -> Answer {
    Err(Refusal::err("this model server has no settings that can be changed"))
}

/// COMMAND.
pub(crate) fn command(call: &mut Call<'_>) -> Answer {
    call.client.reply.array(TABLE.len());
    TABLE.iter().for_each(|spec| describe(&mut call.client.reply, spec));
    Ok(())
}

/// COMMAND COUNT.
pub(crate) fn command_count(call: &mut Call<'_>) -> Answer {
    call.client.reply.count(TABLE.len());
    Ok(())
}

/// COMMAND LIST.
pub(crate) fn command_list(call: &mut Call<'_>) -> Answer {
    call.client.reply.array(TABLE.len());
    TABLE.iter().for_each(|spec| call.client.reply.text(&spec.full_name()));
    Ok(())
}

/// COMMAND INFO.
pub(crate) fn command_info(call: &mut Call<'_>) -> Answer {
    if call.args.len() == 2 {
        return command(call);
    }
    call.client.reply.array(call.args.len() - 2);
    for word in call.args.from(2).iter() {
        match table::named(word) {
            Some(spec) => describe(&mut call.client.reply, spec),
            None => call.client.reply.null_array(),
        }
    }
    Ok(())
}

/// COMMAND DOCS: there are none.
pub(crate) fn command_docs(call: &mut Call<'_>) -> Answer {
    call.client.reply.map(0);
    Ok(())
}

fn describe(reply: &mut Reply, spec: &Spec) {
    let (first, last, step) = match spec.keys {
        Keys::At(first, last) => (first as i64, last as i64, 1),
        Keys::None | Keys::Streams | Keys::Counted => (0, 0, 0),
    };
    reply.array(10);
    reply.text(&spec.full_name());
    reply.int(spec.arity as i64);
    reply.set(spec.flag_names().count());
    spec.flag_names().for_each(|flag| reply.simple(flag));
    reply.int(first);
    reply.int(last);
    reply.int(step);
    // Categories, tips and key specifications are left out.
    reply.set(0);
    reply.array(0);
    reply.array(0);
    reply.array(spec.subs.len());
    spec.subs.iter().for_each(|sub| describe(reply, sub));
}
