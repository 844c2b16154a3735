//! One server, and what all of them share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::BytesMut;
use tidegate_core::Instant;

use super::args::{Args, OwnedArgs};
use super::client::{Client, Clients};
use super::cluster::Cluster;
use super::config::{Condition, Config};
use super::facts::Facts;
use super::keyspace::Db;
use crate::broker::{BrokerCommand, PeerId};

/// How many databases SELECT knows.
pub(crate) const DATABASES: usize = 16;

/// One server.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) index: usize,
    /// As many as were asked for so far, at least one.
    pub(crate) dbs: Vec<Db>,
    pub(crate) condition: Condition,
    pub(crate) down: bool,
    pub(crate) frozen: bool,
    pub(crate) pause: Option<Pause>,
    /// Who waits until it is no longer paused, in the order in which they go on then.
    pub(crate) postponed: Vec<PeerId>,
    pub(crate) last_client: u64,
    pub(crate) clients: BTreeMap<u64, PeerId>,
    /// Changes so far, as Redis counts them.
    pub(crate) dirty: u64,
    /// When blocked reads end without an answer.
    pub(crate) timeouts: BTreeSet<(Instant, PeerId)>,
    /// Clients whose input goes on when there is time.
    pub(crate) resumed: VecDeque<PeerId>,
    /// Of a replica: what its primary did and it hasn't.
    pub(crate) behind: VecDeque<Write>,
    /// The last save point.
    pub(crate) saved: Option<Vec<Db>>,
}

/// CLIENT PAUSE.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    pub(crate) until: Instant,
    pub(crate) writes_only: bool,
}

/// Something that a primary did: one command, or all of a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) at: Instant,
    /// Each in its database.
    pub(crate) commands: Vec<(usize, OwnedArgs)>,
}

impl Node {
    pub(crate) fn new(index: usize) -> Self {
        Self { index, dbs: vec![Db::default()], ..Self::default() }
    }

    pub(crate) fn db(&mut self, index: usize) -> &mut Db {
        while self.dbs.len() <= index {
            self.dbs.push(Db::default());
        }
        // Proved: they were made.
        &mut self.dbs[index]
    }

    pub(crate) fn copy_data(&self) -> Vec<Db> {
        self.dbs.iter().map(Db::copy).collect()
    }

    /// Takes these keys for its own; who waits and watches stays.
    pub(crate) fn replace_data(&mut self, data: Vec<Db>) {
        for db in &mut self.dbs {
            db.replace(Db::default());
        }
        for (index, db) in data.into_iter().enumerate() {
            self.db(index).replace(db);
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.dbs.iter().any(Db::is_ready)
    }
}

/// What all nodes share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) config: Config,
    pub(crate) cluster: Cluster,
    pub(crate) facts: Facts,
    pub(crate) commands: VecDeque<BrokerCommand>,
    pub(crate) now: Instant,
    /// The wall clock.
    pub(crate) now_ms: i64,
    /// What was changed since the last [`Write`], each in its database; kept where there are replicas.
    pub(crate) log: Vec<(usize, OwnedArgs)>,
    /// Room for the body of an entry.
    pub(crate) scratch: BytesMut,
}

impl Common {
    pub(crate) fn set_now(&mut self, now: Instant) {
        if now > self.now || self.now_ms == 0 {
            self.now = self.now.max(now);
            let passed = self.now.as_nanos() / 1_000_000;
            self.now_ms = self.config.unix_ms_at_origin.saturating_add(passed) as i64;
        }
    }

    /// Whether what changes is kept for a replica.
    pub(crate) fn keeps_log(&self) -> bool {
        self.config.replicas && !self.facts.muted
    }

    /// The moment at which the wall clock shows this.
    pub(crate) fn instant_of(&self, ms: i64) -> Instant {
        let passed = u64::try_from(ms).unwrap_or(0).saturating_sub(self.config.unix_ms_at_origin);
        Instant::from_nanos(passed.saturating_mul(1_000_000))
    }
}

/// A command that runs, and all that it may touch.
pub(crate) struct Call<'a> {
    pub(crate) common: &'a mut Common,
    pub(crate) node: &'a mut Node,
    /// All but the one that runs it.
    pub(crate) clients: &'a mut Clients,
    pub(crate) client: &'a mut Client,
    pub(crate) args: Args<'a>,
}
