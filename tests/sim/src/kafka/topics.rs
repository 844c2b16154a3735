//! Topics, their partitions, and who leads them.

use std::collections::BTreeMap;

use tidegate_core::kafka::wire::{ErrorCode, Uuid};

use super::log::Log;
use super::racks::Held;

/// A topic's partition, by name.
pub(super) type Place = (String, i32);

/// A partition.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    pub(super) log: Log,
    pub(super) replicas: Vec<i32>,
    /// `None` while none of the replicas is there.
    pub(super) leader: Option<i32>,
    pub(super) epoch: i32,
    /// The log's end when its leader was elected.
    pub(super) epoch_start: i64,
    /// Replicas that are held back.
    pub(super) held: BTreeMap<i32, Held>,
}

impl Partition {
    /// Whoever leads now does so in a new epoch.
    pub(super) fn begin_epoch(&mut self) {
        (self.epoch, self.epoch_start) = (self.epoch + 1, self.log.end());
    }

    /// An empty one; they are led in turn by those who are there.
    fn new(index: usize, replicas: usize, nodes: &[i32]) -> Self {
        let replicas = replicas.clamp(1, nodes.len().max(1));
        let first = index % nodes.len().max(1);
        let replicas: Vec<i32> = nodes.iter().cycle().skip(first).take(replicas).copied().collect();
        let leader = replicas.first().copied();
        let (epoch, epoch_start, held) = (0, 0, BTreeMap::new());
        Self { log: Log::default(), leader, replicas, epoch, epoch_start, held }
    }
}

/// A topic.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) id: Uuid,
    pub(super) partitions: Vec<Partition>,
    /// Its batches are stamped when they are appended (`message.timestamp.type`).
    pub(super) stamped: bool,
}

/// All topics.
#[derive(Clone, Debug, Default)]
pub(super) struct Topics {
    by_name: BTreeMap<String, Topic>,
    by_id: BTreeMap<Uuid, String>,
    made: u64,
    changes: u64,
}

impl Topics {
    /// False if there is one of this name. Partitions are led in turn by those who are there.
    pub(super) fn create(&mut self, name: &str, partitions: i32, replicas: usize, nodes: &[i32]) -> bool {
        let mut id = [0; 16];
        // As version 4 of RFC 9562 looks; none that was given before.
        let number = self.made + 1;
        id[..8].copy_from_slice(&(0x7469_6465_0000_4000_u64 | number >> 48).to_be_bytes());
        id[8..].copy_from_slice(&(0x8000_0000_0000_0000 | number).to_be_bytes());
        self.create_as(name, Uuid(id), partitions, replicas, nodes)
    }

    /// The same with an id of one's own; false if that is in use.
    pub(super) fn create_as(
        &mut self,
        name: &str,
        id: Uuid,
        partitions: i32,
        replicas: usize,
        nodes: &[i32],
    ) -> bool {
        if self.by_name.contains_key(name) || self.by_id.contains_key(&id) || nodes.is_empty() {
            return false;
        }
        self.made += 1;
        self.changes += 1;
        let count = usize::try_from(partitions).unwrap_or(1).max(1);
        let partitions = (0..count).map(|index| Partition::new(index, replicas, nodes)).collect();
        let topic = Topic { id, partitions, stamped: false };
        self.by_id.insert(topic.id, name.to_owned());
        self.by_name.insert(name.to_owned(), topic);
        true
    }

    /// More partitions for a topic, up to `partitions`; false if it has as many, or is not there.
    pub(super) fn grow(&mut self, name: &str, partitions: i32, replicas: usize, nodes: &[i32]) -> bool {
        let count = usize::try_from(partitions).unwrap_or(0);
        let Some(topic) = self.by_name.get_mut(name) else { return false };
        if topic.partitions.len() >= count || nodes.is_empty() {
            return false;
        }
        let more = topic.partitions.len()..count;
        topic.partitions.extend(more.map(|index| Partition::new(index, replicas, nodes)));
        self.changes += 1;
        true
    }

    /// How many topics were made so far.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// Grows with each topic that is made or deleted, or that grows.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn delete(&mut self, name: &str) -> bool {
        self.changes += 1;
        let gone = self.by_name.remove(name);
        gone.is_some_and(|topic| self.by_id.remove(&topic.id).is_some())
    }

    /// False: there is none of this name.
    pub(super) fn set_stamped(&mut self, name: &str, stamped: bool) -> bool {
        let topic = self.by_name.get_mut(name);
        topic.map(|topic| topic.stamped = stamped).is_some()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.by_name.keys()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Topic> {
        self.by_name.get(name)
    }

    /// By id where there is one, else by name.
    pub(super) fn name_of(&self, id: Uuid, name: &str) -> Option<&str> {
        match id {
            Uuid::ZERO => self.by_name.get_key_value(name).map(|(name, _)| name.as_str()),
            id => self.by_id.get(&id).map(String::as_str),
        }
    }

    pub(super) fn id_of(&self, name: &str) -> Uuid {
        self.by_name.get(name).map_or(Uuid::ZERO, |topic| topic.id)
    }

    pub(super) fn partition(&self, name: &str, index: i32) -> Option<&Partition> {
        self.by_name.get(name)?.partitions.get(usize::try_from(index).ok()?)
    }

    pub(super) fn partition_mut(&mut self, name: &str, index: i32) -> Option<&mut Partition> {
        self.by_name.get_mut(name)?.partitions.get_mut(usize::try_from(index).ok()?)
    }

    /// The partition, if this node leads it in this epoch (-1: whichever).
    pub(super) fn led(&self, node: i32, name: &str, index: i32, epoch: i32) -> Result<&Partition, ErrorCode> {
        let partition = self.hosted(node, name, index, epoch)?;
        let leads = partition.leader == Some(node);
        leads.then_some(partition).ok_or(ErrorCode::NOT_LEADER_OR_FOLLOWER)
    }

    /// The partition, if this node has a replica of it, in this epoch (-1: whichever). A broker looks
    /// at the epoch before it looks at who leads.
    pub(super) fn hosted(
        &self,
        node: i32,
        name: &str,
        index: i32,
        epoch: i32,
    ) -> Result<&Partition, ErrorCode> {
        let partition = self.partition(name, index).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?;
        match epoch {
            _ if !partition.replicas.contains(&node) => Err(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            0.. if epoch < partition.epoch => Err(ErrorCode::FENCED_LEADER_EPOCH),
            0.. if epoch > partition.epoch => Err(ErrorCode::UNKNOWN_LEADER_EPOCH),
            _ => Ok(partition),
        }
    }

    /// A node is gone, or there again: who is left and has all of it leads. The places whose leader changed.
    pub(super) fn elect(&mut self, alive: &[i32]) -> Vec<Place> {
        let mut moved = Vec::new();
        for (name, topic) in &mut self.by_name {
            for (index, partition) in (0..).zip(&mut topic.partitions) {
                if partition.leader.is_some_and(|leader| alive.contains(&leader)) {
                    continue;
                }
                let fit = |replica: &i32| alive.contains(replica) && partition.is_in_sync(*replica);
                let leader = partition.replicas.iter().copied().find(fit);
                if leader == partition.leader {
                    continue;
                }
                partition.leader = leader;
                partition.begin_epoch();
                moved.push((name.clone(), index));
            }
        }
        moved
    }

    /// The invariants of all logs.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, topic) in &self.by_name {
            for (index, partition) in topic.partitions.iter().enumerate() {
                partition.log.check().map_err(|what| format!("{name}-{index}: {what}"))?;
            }
        }
        Ok(())
    }
}
