//! The group coordinator: groups, their members, and what they have committed.
//!
//! ```text
//! requests: whose turn ─► homes: is it this broker, has it loaded ─► classic · consumer ─► answers
//!                                                                  └► offsets               changes
//! ```
//!
//! Theory of operation. A group belongs to a partition of the topic that keeps groups, by its id
//! alone; the broker that leads this partition coordinates it ([`homes`]). All brokers have that
//! topic at once, so a group and its offsets survive each of them; but what was written there is the
//! last generation whose assignment was there, and not a rebalance on its way: a broker that takes
//! over goes on from that, and everybody's session begins anew.
//!
//! A group is of one protocol or the other; an empty one becomes what its next member speaks, and
//! keeps its offsets. Each is a value with the same verbs: requests, [`next_timer`], `pass_time`, and
//! changes of ownership to be drained. What it answers later is put down with the connection that
//! waits for it; a connection that is gone by then gets nothing, and its member's session ends by
//! time, as with a real broker.
//!
//! Not modelled: offsets that expire, and groups that are deleted or described.
//!
//! **Invariant:** a broker that doesn't coordinate a group changes nothing of it.
//!
//! **Invariant:** time alone changes a group only at its [`next_timer`].
//!
//! [`next_timer`]: Coordinator::next_timer

mod classic;
mod consumer;
mod homes;
mod modern;
mod offsets;
mod owners;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_core::Instant;
use tidegate_core::kafka::wire::{ErrorCode, JoinGroupResponse, SyncGroupResponse, Uuid};

use super::topics::Topics;
use super::{Config, Kafka};
use crate::broker::PeerId;
use classic::ClassicGroup;
use consumer::ConsumerGroup;
use homes::{Home, Homes};
use offsets::Offsets;
use owners::Change;

/// What was asked for earlier, for the connection that waits.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
}

/// A group of one protocol or the other.
#[derive(Clone, Debug)]
enum Group {
    Classic(ClassicGroup),
    Consumer(ConsumerGroup),
}

/// A group, and what it has committed.
#[derive(Clone, Debug)]
struct Entry {
    group: Group,
    offsets: Offsets,
}

/// What a group has at hand while it does something.
struct Scope<'a> {
    now: Instant,
    config: &'a Config,
    answers: &'a mut Vec<(PeerId, Answer)>,
    /// Member ids made so far.
    made: &'a mut u64,
}

/// All groups of a cluster.
#[derive(Debug)]
pub(super) struct Coordinator {
    homes: Homes,
    groups: BTreeMap<String, Entry>,
    answers: Vec<(PeerId, Answer)>,
    /// By group.
    changes: Vec<(String, Change)>,
    /// The same of groups of the new protocol, by topics' ids.
    moves: Vec<(String, consumer::Change)>,
    made: u64,
}

impl Kafka {
    /// Another broker coordinates this group, and all that share its partition, from now on; it loads
    /// them first, as long as [`Config::coordinator_load`] says. False if that broker isn't there.
    pub fn move_coordinator(&mut self, group: &str, node: i32) -> bool {
        let alive = self.nodes.is_alive(node);
        if alive {
            let home = Home { node: Some(node), loads_until: self.now + self.config.coordinator_load };
            self.coordinator.assign(self.now, &self.config, homes::place_of(group), home);
        }
        alive
    }

    /// The group's coordinator loads all that it has anew, and that takes this long.
    pub fn reload_coordinator(&mut self, group: &str, takes: Duration) {
        let node = self.coordinator.node_of(group);
        let home = Home { node, loads_until: self.now + takes };
        self.coordinator.assign(self.now, &self.config, homes::place_of(group), home);
    }

    /// Nobody coordinates this group, and all that share its partition, until somebody is given it, or
    /// a broker dies or comes back: as between a crash and the election after it.
    pub fn unseat_coordinator(&mut self, group: &str) {
        let home = Home { node: None, loads_until: self.now };
        self.coordinator.assign(self.now, &self.config, homes::place_of(group), home);
    }

    /// The broker that coordinates this group; `None` while no broker is there.
    pub fn coordinator(&self, group: &str) -> Option<i32> {
        self.coordinator.node_of(group)
    }

    /// What this group has committed for a partition: the offset to go on with.
    pub fn committed(&self, group: &str, name: &str, index: i32) -> Option<i64> {
        let offsets = &self.coordinator.groups.get(group)?.offsets;
        Some(offsets.get(name, index)?.offset)
    }

    /// The ids of the members that a group has, also of those that are about to join.
    pub fn members(&self, group: &str) -> Vec<String> {
        match self.coordinator.groups.get(group).map(|entry| &entry.group) {
            Some(Group::Classic(group)) => group.member_ids().cloned().collect(),
            Some(Group::Consumer(group)) => group.member_ids().cloned().collect(),
            None => Vec::new(),
        }
    }

    /// Brokers are gone, or there again.
    pub(super) fn elect_coordinators(&mut self) {
        let loads_until = self.now + self.config.coordinator_load;
        for place in self.coordinator.homes.elect(&self.nodes.alive(), loads_until) {
            self.coordinator.reload(self.now, &self.config, place);
        }
    }
}

impl Coordinator {
    pub(super) fn new(nodes: &[i32]) -> Self {
        Self {
            homes: Homes::new(nodes),
            groups: BTreeMap::new(),
            answers: Vec::new(),
            changes: Vec::new(),
            moves: Vec::new(),
            made: 0,
        }
    }

    fn node_of(&self, group: &str) -> Option<i32> {
        self.homes.of(group).node
    }

    /// Whether this broker coordinates the group and has loaded it; else why it can't answer.
    fn ready(&self, now: Instant, node: i32, group: &str) -> Result<(), ErrorCode> {
        let home = self.homes.of(group);
        match home.node {
            Some(it) if it != node => Err(ErrorCode::NOT_COORDINATOR),
            None => Err(ErrorCode::NOT_COORDINATOR),
            Some(_) if home.loads_until > now => Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
            Some(_) => Ok(()),
        }
    }

    /// A partition of groups is somebody's from now on.
    fn assign(&mut self, now: Instant, config: &Config, place: usize, home: Home) {
        self.homes.assign(place, home);
        self.reload(now, config, place);
    }

    /// Who coordinates these groups now has what was written of them.
    fn reload(&mut self, now: Instant, config: &Config, place: usize) {
        let ids = self.groups.keys().filter(|id| homes::place_of(id) == place);
        for id in ids.cloned().collect::<Vec<_>>() {
            let home = self.homes.of(&id);
            let from = home.node.map(|_| home.loads_until);
            self.with(now, config, &id, |entry, scope| match &mut entry.group {
                Group::Classic(group) => group.reload(scope, from),
                Group::Consumer(group) => group.reload(from, &scope.config.consumer_groups),
            });
        }
    }

    /// When time alone changes something next.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        self.groups.values().filter_map(Entry::next_timer).min()
    }

    fn pass_time(&mut self, now: Instant, config: &Config, topics: &Topics) {
        let due = |entry: &Entry| entry.next_timer().is_some_and(|at| at <= now);
        let ids = self.groups.iter().filter(|(_, entry)| due(entry)).map(|(id, _)| id.clone());
        for id in ids.collect::<Vec<_>>() {
            self.with(now, config, &id, |entry, scope| match &mut entry.group {
                Group::Classic(group) => group.pass_time(scope),
                Group::Consumer(group) => group.pass_time(scope.now, topics),
            });
        }
    }

    /// Does something with a group, if there is one.
    fn with<R>(
        &mut self,
        now: Instant,
        config: &Config,
        id: &str,
        act: impl FnOnce(&mut Entry, &mut Scope<'_>) -> R,
    ) -> Option<R> {
        let entry = self.groups.get_mut(id)?;
        let mut scope = Scope { now, config, answers: &mut self.answers, made: &mut self.made };
        let result = act(entry, &mut scope);
        match &mut entry.group {
            Group::Classic(group) => {
                let changes = group.owners_mut().drain().map(|change| (id.to_owned(), change));
                self.changes.extend(changes);
            }
            Group::Consumer(group) => {
                let changes = group.take_changes().into_iter().map(|change| (id.to_owned(), change));
                self.moves.extend(changes);
            }
        }
        Some(result)
    }

    /// The group, or a classic one without members that is made for it.
    fn create(&mut self, id: &str) {
        self.groups.entry(id.to_owned()).or_insert_with(|| Entry {
            group: Group::Classic(ClassicGroup::default()),
            offsets: Offsets::default(),
        });
    }

    /// A member id of the new protocol that nobody has: a UUID as Kafka writes its own.
    fn uuid(&mut self) -> String {
        self.made += 1;
        Uuid((0x4000_8000_u128 << 64 | u128::from(self.made)).to_be_bytes()).to_string()
    }

    /// Its invariants.
    pub(super) fn check(&self) -> Result<(), String> {
        for (id, entry) in &self.groups {
            match &entry.group {
                Group::Classic(group) => group.check(),
                Group::Consumer(group) => group.check(),
            }
            .map_err(|what| format!("group {id}: {what}"))?;
        }
        Ok(())
    }
}

impl Entry {
    fn next_timer(&self) -> Option<Instant> {
        match &self.group {
            Group::Classic(group) => group.next_timer(),
            Group::Consumer(group) => group.next_timer(),
        }
    }
}

impl Scope<'_> {
    /// Answers the request that this connection waits with.
    fn answer(&mut self, peer: PeerId, answer: Answer) {
        self.answers.push((peer, answer));
    }

    /// A member id that nobody has: what it begins with, and a number in the shape of a UUID.
    fn member_id(&mut self, begin: &str) -> String {
        *self.made += 1;
        format!("{begin}-00000000-0000-4000-8000-{:012x}", self.made)
    }
}
