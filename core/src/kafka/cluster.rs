//! What is known of the cluster: brokers, topics, who leads what.
//!
//! Asked for by name, again after `metadata_age`, and soon after anything that shows that it is
//! out of date. A leader is believed only if its epoch is not older than the one that is known
//! (KIP-320): an answer from a broker that lags behind takes nothing back.
//!
//! **Invariant:** topics are never removed from the list, so an index stays what it is.

use std::collections::BTreeMap;

use super::wire::Uuid;
use crate::backoff::Backoff;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::stream::StreamKey;
use crate::time::Instant;

/// A broker as the cluster names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broker {
    pub(super) endpoint: Endpoint,
    pub(super) rack: Option<String>,
}

/// Who leads a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leader {
    /// `None` while there is none.
    pub(super) broker: Option<i32>,
    pub(super) epoch: i32,
    /// Brokers with a replica.
    pub(super) replicas: Vec<i32>,
}

/// What is known of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TopicState {
    /// Not asked for yet, or the broker couldn't say.
    Unknown,
    Present,
    Missing,
    Refused(Error),
}

#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) name: StreamKey,
    pub(super) text: String,
    /// Zero before brokers have topic ids (2.8).
    pub(super) id: Uuid,
    pub(super) state: TopicState,
    pub(super) leaders: Vec<Leader>,
    /// Read here; others are known because a group's leader assigns them to others.
    pub(super) subscribed: bool,
    /// How many partitions it had when it was found; those that come later are new. 0 for one that
    /// was missing at first.
    pub(super) began: Option<usize>,
    /// CreateTopics was sent for it.
    pub(super) created: bool,
}

/// See the [module](self).
pub(super) struct Cluster {
    pub(super) brokers: BTreeMap<i32, Broker>,
    topics: Vec<Topic>,
    by_name: BTreeMap<String, usize>,
    by_id: BTreeMap<Uuid, usize>,
    /// When to ask again.
    pub(super) refresh_at: Instant,
    pub(super) asked: bool,
    /// It was asked for anew while an answer was on its way.
    pub(super) again: bool,
    pub(super) backoff: Backoff,
    /// Answers so far.
    pub(super) answers: u64,
}

impl Cluster {
    /// Nothing is known but the names.
    pub(super) fn new(streams: &[StreamKey], backoff: Backoff) -> Self {
        let mut cluster = Self {
            brokers: BTreeMap::new(),
            topics: Vec::new(),
            by_name: BTreeMap::new(),
            by_id: BTreeMap::new(),
            refresh_at: Instant::ZERO,
            asked: false,
            again: false,
            backoff,
            answers: 0,
        };
        for stream in streams {
            let at = cluster.add(&stream.to_string());
            if let Some(topic) = cluster.topics.get_mut(at) {
                topic.subscribed = true;
            }
        }
        cluster
    }

    /// The index of this topic, which is asked for from now on.
    pub(super) fn add(&mut self, name: &str) -> usize {
        if let Some(&at) = self.by_name.get(name) {
            return at;
        }
        let at = self.topics.len();
        self.by_name.insert(name.to_owned(), at);
        self.topics.push(Topic {
            name: StreamKey::from(name),
            text: name.to_owned(),
            id: Uuid::ZERO,
            state: TopicState::Unknown,
            leaders: Vec::new(),
            subscribed: false,
            began: None,
            created: false,
        });
        at
    }

    pub(super) fn topics(&self) -> &[Topic] {
        &self.topics
    }

    pub(super) fn topic(&self, at: usize) -> Option<&Topic> {
        self.topics.get(at)
    }

    pub(super) fn topic_mut(&mut self, at: usize) -> Option<&mut Topic> {
        self.topics.get_mut(at)
    }

    pub(super) fn named(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(super) fn with_id(&self, id: Uuid) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// A topic by its id where it has one, else by its name.
    pub(super) fn find(&self, id: Uuid, name: &str) -> Option<usize> {
        match id {
            Uuid::ZERO => self.named(name),
            id => self.with_id(id),
        }
    }

    /// All topics that are read have ids.
    pub(super) fn has_ids(&self) -> bool {
        let has_id = |topic: &Topic| !topic.subscribed || topic.leaders.is_empty() || topic.id != Uuid::ZERO;
        self.topics.iter().all(has_id)
    }

    /// A topic has this id from now on; tells whether it had another one before, so that it is
    /// another topic of the same name.
    pub(super) fn set_id(&mut self, at: usize, id: Uuid) -> bool {
        let Some(topic) = self.topics.get_mut(at) else { return false };
        let before = std::mem::replace(&mut topic.id, id);
        if before == id {
            return false;
        }
        self.by_id.remove(&before);
        if id != Uuid::ZERO {
            self.by_id.insert(id, at);
        }
        before != Uuid::ZERO
    }

    /// What leads a partition, as far as is known.
    pub(super) fn leader(&self, at: usize, partition: i32) -> Option<&Leader> {
        self.topics.get(at)?.leaders.get(usize::try_from(partition).ok()?)
    }

    /// All that was subscribed to is there, or may be `awaited`.
    pub(super) fn is_known(&self, awaited: bool) -> bool {
        let known = |topic: &Topic| match topic.state {
            TopicState::Present => true,
            TopicState::Missing => awaited,
            TopicState::Unknown | TopicState::Refused(_) => false,
        };
        self.topics.iter().filter(|topic| topic.subscribed).all(known)
    }
}
