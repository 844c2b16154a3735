//! Hash slots: who serves which, and where a command is to go.
//!
//! **Invariant:** a slot's owner is a primary. A slot that moves has two different ends.

use std::collections::BTreeMap;

use super::config::{Condition, Config};
use super::node::{Call, Node};
use super::refusal::Refusal;
use super::table::{Spec, WRITE};

/// How many hash slots there are.
pub(crate) const SLOTS: usize = 16_384;

/// Who serves what.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    /// By slot; empty where there is no cluster.
    owners: Vec<usize>,
    /// Of each node, whose replica it is.
    roles: Vec<Option<usize>>,
    /// Slots on their way: from where, to where.
    moving: BTreeMap<usize, (usize, usize)>,
    pub(crate) epoch: u64,
}

impl Cluster {
    pub(crate) fn new(config: &Config) -> Self {
        let nodes = config.nodes.max(1);
        let primaries = (0..nodes).map(|_| None);
        let replicas = (0..nodes).map(Some).filter(|_| config.replicas);
        let owners =
            if config.cluster { (0..SLOTS).map(|slot| slot * nodes / SLOTS).collect() } else { Vec::new() };
        Self { owners, roles: primaries.chain(replicas).collect(), moving: BTreeMap::new(), epoch: 1 }
    }

    pub(crate) fn primary_of(&self, node: usize) -> Option<usize> {
        self.roles.get(node).copied().flatten()
    }

    pub(crate) fn is_replica(&self, node: usize) -> bool {
        self.primary_of(node).is_some()
    }

    pub(crate) fn replica_of(&self, node: usize) -> Option<usize> {
        self.roles.iter().position(|role| *role == Some(node))
    }

    pub(crate) fn nodes(&self) -> usize {
        self.roles.len()
    }

    pub(crate) fn owner(&self, slot: usize) -> Option<usize> {
        self.owners.get(slot).copied()
    }

    pub(crate) fn moving(&self, slot: usize) -> Option<(usize, usize)> {
        self.moving.get(&slot).copied()
    }

    /// Slots that are on their way from or to a node.
    pub(crate) fn moves_of(&self, node: usize) -> impl Iterator<Item = (usize, (usize, usize))> {
        let ends = self.moving.iter().map(|(slot, ends)| (*slot, *ends));
        ends.filter(move |(_, (from, to))| *from == node || *to == node)
    }

    pub(crate) fn set_moving(&mut self, slot: usize, to: Option<usize>) {
        match (to, self.owner(slot)) {
            (Some(to), Some(from)) if from != to && !self.is_replica(to) => {
                self.moving.insert(slot, (from, to));
            }
            _ => {
                self.moving.remove(&slot);
            }
        }
    }

    pub(crate) fn set_owner(&mut self, slot: usize, to: usize) {
        self.moving.remove(&slot);
        if !self.is_replica(to)
            && let Some(owner) = self.owners.get_mut(slot)
        {
            *owner = to;
            self.epoch += 1;
        }
    }

    /// A replica and its primary change places.
    pub(crate) fn promote(&mut self, replica: usize) {
        let Some(primary) = self.primary_of(replica) else { return };
        for owner in &mut self.owners {
            if *owner == primary {
                *owner = replica;
            }
        }
        for (node, role) in self.roles.iter_mut().enumerate() {
            if node == replica {
                *role = None;
            } else if node == primary {
                *role = Some(replica);
            }
        }
        for (from, to) in self.moving.values_mut() {
            for end in [from, to] {
                if *end == primary {
                    *end = replica;
                }
            }
        }
        self.epoch += 1;
    }

    /// Runs of slots with one owner: first, last, owner.
    pub(crate) fn runs(&self) -> Vec<(usize, usize, usize)> {
        let mut runs: Vec<(usize, usize, usize)> = Vec::new();
        for (slot, owner) in self.owners.iter().enumerate() {
            match runs.last_mut() {
                Some((_, last, before)) if before == owner => *last = slot,
                _ => runs.push((slot, slot, *owner)),
            }
        }
        runs
    }

    /// # Errors
    /// What doesn't hold.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(slot) = self.owners.iter().position(|owner| self.is_replica(*owner)) {
            return Err(format!("slot {slot} belongs to a replica"));
        }
        match self.moving.iter().find(|(slot, (from, to))| from == to || self.owner(**slot) != Some(*from)) {
            Some((slot, _)) => Err(format!("slot {slot} moves, but not from its owner to another")),
            None => Ok(()),
        }
    }
}

/// A node's name: forty hex digits.
pub(crate) fn node_id(node: usize) -> String {
    format!("{:040x}", (0x7469_6465_6761_7465_u128 << 64) | (node as u128 + 1))
}

/// Whether a command is for this node, and if not, who is to be asked.
pub(crate) fn route(call: &mut Call<'_>, spec: &'static Spec) -> Result<(), Refusal> {
    let down = call.node.condition == Condition::ClusterDown;
    if !call.common.config.cluster && !down {
        return Ok(());
    }
    let multi = call.client.multi.as_ref().filter(|_| spec.name == "EXEC");
    let mut keys: Vec<&[u8]> = Vec::new();
    let mut writes = spec.has(WRITE);
    match multi {
        Some(multi) => {
            writes |= multi.any & WRITE != 0;
            for command in &multi.queue {
                if let Ok(spec) = super::table::find(command.args()) {
                    keys.extend(spec.keys_of(command.args()));
                }
            }
        }
        None => keys.extend(spec.keys_of(call.args)),
    }
    let Some(first) = keys.first() else { return Ok(()) };
    let slot = key_slot(first);
    let (me, cluster) = (call.node.index, &call.common.cluster);
    if call.common.config.cluster && keys.iter().any(|key| key_slot(key) != slot) {
        return Err(Refusal::new("CROSSSLOT", "Keys in request don't hash to the same slot"));
    }
    if down {
        return Err(Refusal::new("CLUSTERDOWN", "The cluster is down"));
    }
    let Some(owner) = cluster.owner(slot) else { return Ok(()) };
    let several = keys.iter().any(|key| key != first);
    let unstable = Refusal::new("TRYAGAIN", "Multiple keys request during rehashing of slot");
    let db = call.node.dbs.first();
    let missing = keys.iter().filter(|key| db.is_none_or(|db| db.get(key).is_none())).count();
    match cluster.moving(slot) {
        Some((from, to)) if from == me && missing > 0 => {
            if missing < keys.len() {
                return Err(unstable);
            }
            return Err(redirect("ASK", slot, to, &call.common.config));
        }
        Some((_, to)) if to == me && call.client.asking => {
            if several && missing > 0 {
                return Err(unstable);
            }
            return Ok(());
        }
        _ => {}
    }
    if owner == me || call.client.read_only && !writes && cluster.primary_of(me) == Some(owner) {
        return Ok(());
    }
    Err(redirect("MOVED", slot, owner, &call.common.config))
}

/// MOVED or ASK.
pub(crate) fn redirect(code: &'static str, slot: usize, to: usize, config: &Config) -> Refusal {
    let text = format!("{slot} {}:{}", config.host, usize::from(config.port) + to);
    Refusal::say(code, &[text.as_bytes()])
}

/// Where a blocked client is to go, if its key isn't served here any more.
pub(crate) fn misplaced(cluster: &Cluster, node: &Node, key: &[u8], config: &Config) -> Option<Refusal> {
    let slot = key_slot(key);
    let owner = cluster.owner(slot)?;
    let imports = cluster.moving(slot).is_some_and(|(_, to)| to == node.index);
    (owner != node.index && !imports).then(|| redirect("MOVED", slot, owner, config))
}

/// The slot of a key: of what is between its first braces, if that is anything.
pub(crate) fn key_slot(key: &[u8]) -> usize {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = key.get(open + 1..)?;
        let close = rest.iter().position(|byte| *byte == b'}')?;
        rest.get(..close).filter(|tag| !tag.is_empty())
    });
    usize::from(crc16(tag.unwrap_or(key))) % SLOTS
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte) << 8,
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(key_slot(b"foo"), 12_182);
        assert_eq!(key_slot(b"{user1000}.following"), key_slot(b"user1000"));
        assert_eq!(key_slot(b"foo{}{bar}"), usize::from(crc16(b"foo{}{bar}")) % SLOTS);
        assert_eq!(key_slot(b"foo{{bar}}zap"), key_slot(b"{bar"));
    }

    #[test]
    fn equal_runs() {
        let cluster = Cluster::new(&Config { nodes: 3, cluster: true, replicas: true, ..Config::default() });
        let runs: Vec<_> =
            cluster.runs().iter().map(|(first, last, owner)| (last - first + 1, *owner)).collect();
        assert_eq!(runs, [(5462, 0), (5461, 1), (5461, 2)]);
        assert_eq!(cluster.replica_of(1), Some(4));
        assert_eq!(cluster.check(), Ok(()));
    }
}
