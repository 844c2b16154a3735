//! What is known of the cluster: brokers, topics, who leads what.
//!
//! Asked for by name, or whole where a pattern is subscribed ([`super::subscription`]); again after
//! `metadata_age`, and soon after anything that shows that it is out of date. A leader is believed
//! only if its epoch is not older than the one that is known (KIP-320): an answer from a broker that
//! lags behind takes nothing back, unless nothing else is told for long ([`super::doubt`]).
//!
//! **Invariant:** an index stays what it is while anything of the topic is read, wanted or on its
//! way out: the place of a topic that is gone is given away only when nothing refers to it.

use std::collections::{BTreeMap, BTreeSet};

use super::wire::Uuid;
use crate::backoff::Backoff;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::pattern::{Pattern, Patterns};
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
    /// It was deleted, and nothing but a pattern had meant it: only its place is left.
    Gone,
}

#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) name: StreamKey,
    pub(super) text: String,
    /// Zero before brokers have topic ids (2.8).
    pub(super) id: Uuid,
    pub(super) state: TopicState,
    pub(super) leaders: Vec<Leader>,
    /// Partitions of which an older leader was told, and nothing else since then.
    pub(super) doubts: BTreeMap<usize, Instant>,
    /// Read here; others are known because a group's leader assigns them to others.
    pub(super) subscribed: bool,
    /// Subscribed as long as it exists, as a pattern means it and no name does.
    pub(super) matched: bool,
    /// The count of answers at which it was in one.
    pub(super) answered: u64,
    /// When it was found to be missing, if it is.
    pub(super) missing_since: Instant,
    /// How many partitions it had when it was found; those that come later are new. 0 for one that
    /// was missing at first.
    pub(super) began: Option<usize>,
    /// CreateTopics was sent for it.
    pub(super) created: bool,
}

impl Topic {
    /// Subscribed by its name, there or not.
    pub(super) fn is_named(&self) -> bool {
        self.subscribed && !self.matched
    }
}

/// See the [module](self).
pub(super) struct Cluster {
    pub(super) brokers: BTreeMap<i32, Broker>,
    topics: Vec<Topic>,
    by_name: BTreeMap<String, usize>,
    by_id: BTreeMap<Uuid, usize>,
    /// Places of topics that are gone, to be given away.
    vacant: BTreeSet<usize>,
    pub(super) patterns: Patterns,
    /// The first list of all topics came: what comes later is new.
    pub(super) listed: bool,
    /// Topics that are subscribed.
    reads: usize,
    /// How often what is subscribed changed.
    pub(super) subscriptions: u64,
    /// The operator was told that no topic matches.
    pub(super) unmatched_said: bool,
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
    /// Nothing is known but the names; those of `streams` that are patterns are left to `patterns`.
    pub(super) fn new(streams: &[StreamKey], patterns: Patterns, backoff: Backoff) -> Self {
        let mut cluster = Self {
            brokers: BTreeMap::new(),
            topics: Vec::new(),
            by_name: BTreeMap::new(),
            by_id: BTreeMap::new(),
            vacant: BTreeSet::new(),
            patterns,
            listed: false,
            reads: 0,
            subscriptions: 0,
            unmatched_said: false,
            refresh_at: Instant::ZERO,
            asked: false,
            again: false,
            backoff,
            answers: 0,
        };
        for stream in streams.iter().filter(|stream| !Pattern::is_one(stream)) {
            let at = cluster.add(&stream.to_string());
            cluster.subscribe(at, false);
        }
        cluster
    }

    /// It is read from now on; `matched`: as a pattern means it.
    pub(super) fn subscribe(&mut self, at: usize, matched: bool) {
        let Some(topic) = self.topics.get_mut(at).filter(|topic| !topic.subscribed) else { return };
        (topic.subscribed, topic.matched) = (true, matched);
        self.reads += 1;
        self.subscriptions += 1;
    }

    /// Nothing means this topic any more: a pattern's that was deleted, or one that other members had
    /// wanted. Whether its place is given away: not where something could take another topic for it.
    pub(super) fn forget(&mut self, at: usize) -> bool {
        let Some(topic) = self.topics.get_mut(at).filter(|topic| !topic.is_named()) else { return false };
        let was_read = std::mem::replace(&mut topic.subscribed, false);
        // A fetch session without ids (before Kafka 2.8) may have the place under its old name.
        let reusable = topic.id != Uuid::ZERO || !was_read;
        if reusable {
            self.vacant.insert(at);
        }
        self.by_name.remove(&topic.text);
        self.by_id.remove(&topic.id);
        (topic.matched, topic.state) = (false, TopicState::Gone);
        topic.leaders.clear();
        topic.doubts.clear();
        self.reads -= usize::from(was_read);
        self.subscriptions += u64::from(was_read);
        reusable
    }

    /// Topics that are known for others' sake alone.
    pub(super) fn foreign(&self) -> impl Iterator<Item = (usize, &Topic)> {
        let is_foreign = |topic: &Topic| !topic.subscribed && topic.state != TopicState::Gone;
        self.topics.iter().enumerate().filter(move |(_, topic)| is_foreign(topic))
    }

    /// Nothing is subscribed, as no topic matches.
    pub(super) fn reads_nothing(&self) -> bool {
        self.reads == 0
    }

    /// Places that topics have, or had.
    pub(super) fn is_full(&self, max: usize) -> bool {
        self.topics.len() >= max && self.vacant.is_empty()
    }

    /// The index of this topic, which is asked for from now on.
    pub(super) fn add(&mut self, name: &str) -> usize {
        if let Some(&at) = self.by_name.get(name) {
            return at;
        }
        let topic = Topic {
            name: StreamKey::from(name),
            text: name.to_owned(),
            id: Uuid::ZERO,
            state: TopicState::Unknown,
            leaders: Vec::new(),
            doubts: BTreeMap::new(),
            subscribed: false,
            matched: false,
            answered: 0,
            missing_since: Instant::ZERO,
            began: None,
            created: false,
        };
        let vacant = self.vacant.pop_first();
        let at = vacant.unwrap_or(self.topics.len());
        match self.topics.get_mut(at) {
            Some(place) => *place = topic,
            None => self.topics.push(topic),
        }
        self.by_name.insert(name.to_owned(), at);
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
            TopicState::Present | TopicState::Gone => true,
            TopicState::Missing => awaited || topic.matched,
            TopicState::Unknown | TopicState::Refused(_) => false,
        };
        if !self.patterns.is_empty() && !self.listed {
            return false;
        }
        self.topics.iter().filter(|topic| topic.subscribed).all(known)
    }
}
