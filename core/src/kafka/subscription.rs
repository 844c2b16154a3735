//! Topics that come and go with the patterns that are subscribed.
//!
//! # Theory of operation
//!
//! Where a pattern is subscribed, each metadata is about all topics. One that matches, and isn't in
//! the list yet, is subscribed from then on, as if it had been named. One that is in the list and
//! not in the answer is missing: if it was named, that is what it is told as; if nothing but a
//! pattern means it, and it is missing for a while, it is gone: let go without a commit, as there is
//! nothing that could be committed, and no more subscribed. `Cluster::subscriptions` counts these
//! changes. What was told to the group carries that count, so a group of either protocol hears of
//! each change, whatever was on its way when it came.
//!
//! A member joins no group while no topic matches: there is nothing to share out, and Kafka 3
//! refuses members of the consumer protocol that read nothing.
//!
//! **Invariant:** no topic is added by a pattern to a list that has `limits.shards_max`.

use std::time::Duration;

use super::cluster::TopicState;
use super::machine::Machine;
use super::wire::{ErrorCode, MetadataResponseTopic};
use crate::delivery::{Notice, Reason};
use crate::desk::Phase;
use crate::error::Error;

impl Machine {
    /// Of all topics, one: subscribed from now on if a pattern means it.
    pub(super) fn match_topic(&mut self, topic: &MetadataResponseTopic) {
        let code = ErrorCode(topic.error_code);
        let exists = matches!(code, ErrorCode::NONE | ErrorCode::LEADER_NOT_AVAILABLE);
        let name = topic.name.as_deref().unwrap_or_default();
        if topic.is_internal || !exists {
            return;
        }
        let known = self.cluster.named(name);
        if known.is_some_and(|at| self.cluster.topic(at).is_some_and(|topic| topic.subscribed))
            || !self.cluster.patterns.matches(name)
        {
            return;
        }
        if known.is_none() && self.cluster.is_full(self.config.options.limits.shards_max) {
            return self.tell_too_many();
        }
        let at = self.cluster.add(name);
        self.cluster.subscribe(at, true);
        let listed = self.cluster.listed;
        if let Some(topic) = self.cluster.topic_mut(at)
            && listed
        {
            // It appeared while we were reading: all in it is new.
            topic.began = Some(0);
        }
    }

    /// Topics that were not in the list of all topics. Whether it has to be asked for again soon.
    pub(super) fn miss_topics(&mut self) -> bool {
        let answers = self.cluster.answers;
        let absent = self.cluster.topics().iter();
        // One that is gone may be there again, in another place.
        let absent = absent.filter(|topic| topic.answered != answers && topic.state != TopicState::Gone);
        let absent: Vec<_> = absent.map(|topic| topic.text.clone()).collect();
        let mut unsure = false;
        for name in absent {
            unsure |= self.on_topic(MetadataResponseTopic {
                error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION.0,
                name: Some(name),
                ..Default::default()
            });
            if self.is_over() {
                break;
            }
        }
        unsure
    }

    /// A topic that nothing but a pattern means isn't there. Whether it has to be asked about again
    /// soon.
    pub(super) fn miss_matched(&mut self, at: usize) -> bool {
        let Some(topic) = self.cluster.topic(at) else { return false };
        // A broker that lags behind must not make a new topic of it, whose records all are new.
        if topic.missing_since + GONE_AFTER > self.now {
            return true;
        }
        let owned = self.partitions.owned().iter().copied();
        let slots: Vec<_> = owned.filter(|slot| self.partitions.at(*slot).topic == at).collect();
        let acked = self.buffer.ledger.acked();
        for slot in slots {
            self.release(slot);
        }
        if self.phase == Phase::Closing {
            // Acked, and nothing that it could be committed for: the close must say so.
            self.lost_acks += acked - self.buffer.ledger.acked();
        }
        self.membership.target.retain(|(topic, _)| *topic != at);
        self.membership.reconciled = None;
        if self.cluster.forget(at) {
            for slot in self.partitions.vacate(at) {
                self.unacked_commits.remove(&slot);
            }
        }
        false
    }

    /// A member that has nothing to join its group for.
    pub(super) fn waits_for_topics(&self) -> bool {
        !self.cluster.patterns.is_empty() && (!self.cluster.listed || self.cluster.reads_nothing())
    }

    /// Once everything is read, if that is nothing, the operator is told; and when it is something.
    pub(super) fn tell_unmatched(&mut self, settled: bool) {
        if self.cluster.patterns.is_empty() || self.phase != Phase::Running {
            return;
        }
        let nothing = self.cluster.reads_nothing();
        if nothing == self.cluster.unmatched_said || !(nothing || settled) {
            return;
        }
        self.cluster.unmatched_said = nothing;
        if !nothing {
            return self.desk.notice(Notice::Ready);
        }
        let options = &self.config.options;
        let words = format!(
            "no topic matches {}: create one, it is found within {:?}",
            self.cluster.patterns,
            options.kafka.metadata_age.min(options.discover_interval)
        );
        let reason = Reason::Error(Error::Options(words.into()));
        self.desk.notice(Notice::Stalled { shard: None, reason });
    }
}

/// How long a topic is missing before it is gone.
const GONE_AFTER: Duration = Duration::from_secs(1);
