//! Redis in the simulated world: the model server, what is produced, and what operators and
//! fate do to it.
//!
//! **Invariant:** the ids of one key only grow, also over its deletion, as the clock's do at a
//! real server: the reference log relies on it.

use std::time::Duration;

use bytes::Bytes;
use tidegate_core::{Error, Instant, SeqNo, Setup, ShardId, StreamKey};

use super::{Backend, Fresh, Heal, Outage, Produced, UNIX_MS_AT_ORIGIN};
use crate::redis::{Condition, Config, Keep, Redis, Version};
use crate::swarm::Swarm;
use crate::tape::Tape;

/// A model Redis and the keys that are of interest in it.
#[derive(Debug)]
pub struct RedisBackend {
    redis: Redis,
    keys: Vec<Bytes>,
    last: Vec<SeqNo>,
    foreign: u64,
    heals: Vec<Undo>,
}

/// What ends a fault.
#[derive(Clone, Debug)]
enum Undo {
    Condition,
    Restart { loading: Duration },
    Thaw,
    Unpause,
    Delete { key: Bytes },
}

const NODE: usize = 0;

impl RedisBackend {
    fn execute(&mut self, now: Instant, args: &[&[u8]]) -> bool {
        self.redis.execute(now, NODE, args).as_error().is_none()
    }

    fn later(&mut self, undo: Undo, text: String) -> Option<Outage> {
        self.heals.push(undo);
        Some(Outage { heal: Some(Heal(self.heals.len() as u64 - 1)), text })
    }

    fn undo(&mut self, now: Instant, undo: &Undo) {
        match undo {
            Undo::Condition => self.redis.set_condition(now, NODE, Condition::Normal),
            Undo::Restart { loading } => self.redis.restart(now, NODE, *loading),
            Undo::Thaw => self.redis.freeze(now, NODE, false),
            Undo::Unpause => {
                self.execute(now, &[b"CLIENT", b"UNPAUSE"]);
            }
            Undo::Delete { key } => {
                if self.redis.execute(now, NODE, &[b"TYPE", &key[..]]).as_bytes() == Some(b"string") {
                    self.execute(now, &[b"DEL", key]);
                }
            }
        }
    }

    /// Appends a message of these fields to a shard; its position, if the server took it.
    pub(crate) fn append(&mut self, now: Instant, shard: usize, fields: &[&[u8]]) -> Option<SeqNo> {
        let (key, last) = (self.keys.get(shard)?.clone(), self.last.get(shard)?);
        let millis = UNIX_MS_AT_ORIGIN + now.as_nanos() / 1_000_000;
        let seq = SeqNo::redis(millis, 0).max(last.next());
        let id = seq.as_redis().to_string();
        let mut add: Vec<&[u8]> = vec![b"XADD", &key, id.as_bytes()];
        add.extend(fields);
        let done = self.execute(now, &add);
        self.last.get_mut(shard).filter(|_| done).map(|last| *last = seq)?;
        Some(seq)
    }

    /// Entries of a key, by their ids.
    fn ids(&mut self, now: Instant, key: &[u8]) -> Vec<Bytes> {
        let reply = self.redis.execute(now, NODE, &[b"XRANGE", key, b"-", b"+"]);
        let entries = reply.into_array().unwrap_or_default();
        entries.into_iter().filter_map(|entry| entry.into_array()?.into_iter().next()?.into_bytes()).collect()
    }
}

impl Fresh for RedisBackend {
    fn new(swarm: &Swarm, shards: &[(StreamKey, ShardId)], tape: &mut Tape) -> Self {
        let versions = [Version::V7_0, Version::V7_0, Version::V6_2, Version::V7_2, Version::V8_0];
        let version = tape.pick(&versions).copied().unwrap_or_default();
        let redis = Redis::new(Config {
            version,
            replicas: true,
            unix_ms_at_origin: UNIX_MS_AT_ORIGIN,
            ..Config::default()
        });
        let name = |(stream, shard): &(StreamKey, ShardId)| {
            let sharded = swarm.streams.iter().any(|(name, count)| name == stream && *count > 0);
            Self::shard_name(stream, *shard, sharded)
        };
        let keys: Vec<Bytes> = shards.iter().map(name).collect();
        Self { redis, last: vec![SeqNo::ZERO; keys.len()], keys, foreign: 0, heals: Vec::new() }
    }
}

impl Backend for RedisBackend {
    type Machine = tidegate_core::redis::Machine;
    type Broker = Redis;

    const FAULTS: &'static [&'static str] = &[
        "DEL",
        "FLUSHALL",
        "SET over a stream",
        "RENAME away",
        "XGROUP DESTROY",
        "XGROUP SETID back",
        "XGROUP DELCONSUMER by hand",
        "XTRIM",
        "XDEL",
        "XDEL of what is pending",
        "XCLAIM by hand",
        "CLIENT KILL",
        "CLIENT PAUSE",
        "EXPIRE",
        "LOADING",
        "READONLY",
        "OOM",
        "BUSY",
        "MASTERDOWN",
        "MISCONF",
        "server crash, all kept",
        "server crash, back to the save point",
        "fail-over that loses a suffix",
        "server stands still",
    ];

    fn shard_name(stream: &StreamKey, shard: ShardId, sharded: bool) -> Bytes {
        let mut name = stream.as_bytes().to_vec();
        if sharded {
            name.extend_from_slice(format!(":{shard}").as_bytes());
        }
        name.into()
    }

    fn machine(&mut self, setup: Setup) -> Result<Self::Machine, Error> {
        tidegate_core::redis::Machine::new(setup)
    }

    fn broker(&mut self) -> &mut Redis {
        &mut self.redis
    }

    fn produce(&mut self, now: Instant, message: &Produced<'_>) -> bool {
        let payload = message.payload;
        let done = match (message.foreign, self.foreign % 4) {
            (false, _) => self.append(now, message.shard, &[b"msg", payload]),
            (true, 0) => self.append(now, message.shard, &[b"other", payload]),
            (true, 1) => self.append(now, message.shard, &[b"", payload, b"", b""]),
            (true, 2) => self.append(now, message.shard, &[b"x", payload, b"x", payload, b"y", b"1"]),
            (true, _) => self.append(now, message.shard, &[b"\r\n", payload, b"msg", b"not this"]),
        };
        self.foreign += u64::from(message.foreign);
        done.is_some()
    }

    fn disturb(&mut self, now: Instant, which: usize, tape: &mut Tape) -> Option<Outage> {
        let key = tape.pick(&self.keys)?.clone();
        let name = String::from_utf8_lossy(&key).into_owned();
        let groups: Vec<Bytes> = self.redis.groups(&key).collect();
        let group = tape.pick(&groups).cloned();
        let at_once = |text: String| Some(Outage { heal: None, text });
        let done = |done: bool, text: String| done.then_some(Outage { heal: None, text });
        match *Self::FAULTS.get(which)? {
            "DEL" => done(self.execute(now, &[b"DEL", &key]), format!("DEL {name}")),
            "FLUSHALL" => done(self.execute(now, &[b"FLUSHALL"]), "FLUSHALL".into()),
            "SET over a stream" => {
                self.execute(now, &[b"SET", &key, b"no stream"]);
                self.later(Undo::Delete { key }, format!("SET {name}"))
            }
            "RENAME away" => {
                done(self.execute(now, &[b"RENAME", &key, b"elsewhere"]), format!("RENAME {name}"))
            }
            "XGROUP DESTROY" => {
                let group = group?;
                done(
                    self.execute(now, &[b"XGROUP", b"DESTROY", &key, &group]),
                    format!("XGROUP DESTROY {name}"),
                )
            }
            "XGROUP SETID back" => {
                let group = group?;
                let back = self.execute(now, &[b"XGROUP", b"SETID", &key, &group, b"0"]);
                done(back, format!("XGROUP SETID {name} 0"))
            }
            "XGROUP DELCONSUMER by hand" => {
                let group = group?;
                let pending: Vec<_> = self.redis.pending(now, &key, &group).collect();
                let owner = tape.pick(&pending)?.owner.clone();
                let gone = self.execute(now, &[b"XGROUP", b"DELCONSUMER", &key, &group, &owner]);
                done(gone, format!("XGROUP DELCONSUMER {name} {}", String::from_utf8_lossy(&owner)))
            }
            "XTRIM" => {
                let keep = tape.within(0, 20).to_string();
                done(
                    self.execute(now, &[b"XTRIM", &key, b"MAXLEN", keep.as_bytes()]),
                    format!("XTRIM {name} {keep}"),
                )
            }
            "XDEL" => {
                let ids = self.ids(now, &key);
                let id = tape.pick(&ids)?.clone();
                done(self.execute(now, &[b"XDEL", &key, &id]), format!("XDEL {name}"))
            }
            "XDEL of what is pending" => {
                let group = group?;
                let pending: Vec<_> = self.redis.pending(now, &key, &group).collect();
                let id = tape.pick(&pending)?.seq.as_redis().to_string();
                done(self.execute(now, &[b"XDEL", &key, id.as_bytes()]), format!("XDEL {name} {id}"))
            }
            "XCLAIM by hand" => {
                // Of a group that claims: what a resumable one loses so, it can't get back.
                let group = group.filter(|group| group.starts_with(b"group-"))?;
                let pending: Vec<_> = self.redis.pending(now, &key, &group).collect();
                let id = tape.pick(&pending)?.seq.as_redis().to_string();
                let claim: [&[u8]; 6] = [b"XCLAIM", &key, &group, b"somebody", b"0", id.as_bytes()];
                done(self.execute(now, &claim), format!("XCLAIM {name} {id}"))
            }
            "CLIENT KILL" => {
                done(self.execute(now, &[b"CLIENT", b"KILL", b"TYPE", b"normal"]), "CLIENT KILL".into())
            }
            "CLIENT PAUSE" => {
                self.execute(now, &[b"CLIENT", b"PAUSE", b"100000", b"ALL"]);
                self.later(Undo::Unpause, "CLIENT PAUSE".into())
            }
            "EXPIRE" => {
                let millis = tape.within(1, 5_000).to_string();
                done(
                    self.execute(now, &[b"PEXPIRE", &key, millis.as_bytes()]),
                    format!("PEXPIRE {name} {millis}"),
                )
            }
            "LOADING" => self.condition(now, Condition::Loading { until: Instant::MAX }, "LOADING"),
            "READONLY" => self.condition(now, Condition::ReadOnly, "READONLY"),
            "OOM" => self.condition(now, Condition::Oom, "OOM"),
            "BUSY" => self.condition(now, Condition::Busy, "BUSY"),
            "MASTERDOWN" => self.condition(now, Condition::MasterDown, "MASTERDOWN"),
            "MISCONF" => self.condition(now, Condition::Misconf, "MISCONF"),
            "server crash, all kept" => {
                self.redis.crash(now, NODE, Keep::All);
                let loading = Duration::from_millis(tape.within(0, 300));
                self.later(Undo::Restart { loading }, "the server crashes".into())
            }
            "server crash, back to the save point" => {
                if tape.chance(5_000) {
                    self.redis.save_point(NODE);
                    return at_once("a save point".into());
                }
                self.redis.crash(now, NODE, Keep::SavePoint);
                self.later(
                    Undo::Restart { loading: Duration::ZERO },
                    "the server crashes, and forgets".into(),
                )
            }
            "fail-over that loses a suffix" => {
                let lost = tape.within(0, 12) as usize;
                self.redis.fail_over(now, NODE, lost);
                at_once(format!("fail-over, {lost} writes lost"))
            }
            "server stands still" => {
                self.redis.freeze(now, NODE, true);
                self.later(Undo::Thaw, "the server stands still".into())
            }
            _ => None,
        }
    }

    fn heal(&mut self, now: Instant, heal: Heal) {
        if let Some(undo) = self.heals.get(heal.0 as usize).cloned() {
            self.undo(now, &undo);
        }
    }

    fn calm(&mut self, now: Instant) {
        for undo in std::mem::take(&mut self.heals) {
            self.undo(now, &undo);
        }
        for key in self.keys.clone() {
            // A crash may have brought it back.
            self.undo(now, &Undo::Delete { key: key.clone() });
            self.execute(now, &[b"PERSIST", &key]);
        }
    }

    fn unfinished(&mut self, now: Instant, group: &Bytes) -> Option<String> {
        for key in &self.keys {
            if let Some(entry) = self.redis.pending(now, key, group).next() {
                return Some(format!(
                    "{} {} is pending with {}, idle for {} ms",
                    String::from_utf8_lossy(key),
                    entry.seq.as_redis(),
                    String::from_utf8_lossy(&entry.owner),
                    entry.idle_ms
                ));
            }
        }
        None
    }
}

impl RedisBackend {
    fn condition(&mut self, now: Instant, condition: Condition, name: &str) -> Option<Outage> {
        self.redis.set_condition(now, NODE, condition);
        self.later(Undo::Condition, format!("the server says {name}"))
    }
}
