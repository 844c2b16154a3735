//! A member: what it wants, what it has, and where it stands on its way to its target.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate_core::Instant;
use tidegate_core::kafka::wire::{ConsumerGroupHeartbeatRequest as Request, ErrorCode};

use super::Spot;

/// Where a member stands (`MemberState` in Apache Kafka).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has what it may have.
    Stable,
    /// It has still to let go of something.
    UnrevokedPartitions,
    /// Others have still to let go of something that it shall have.
    UnreleasedPartitions,
}

/// What a member has to do in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    /// A heartbeat.
    Session,
    /// To let go of what it was told.
    Revocation,
}

/// See the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) id: String,
    pub(super) epoch: i32,
    /// The epoch before, as the answer with the new one may be lost.
    pub(super) previous_epoch: i32,
    pub(super) state: State,
    pub(super) instance: Option<String>,
    pub(super) rebalance_timeout: Duration,
    pub(super) names: BTreeSet<String>,
    /// A regular expression; empty for none.
    pub(super) pattern: String,
    pub(super) assignor: Option<String>,
    /// What it owns, and the member epoch at which it got that.
    pub(super) assigned: BTreeMap<Spot, i32>,
    /// What it has still to let go of.
    pub(super) pending: BTreeMap<Spot, i32>,
    pub(super) session_until: Option<Instant>,
    /// Until when it has to let go, and the epoch at which it was told.
    pub(super) rebalance_until: Option<(Instant, i32)>,
    /// How many had joined when it did.
    pub(super) joined: u64,
}

impl Member {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            epoch: 0,
            previous_epoch: -1,
            state: State::Stable,
            instance: None,
            rebalance_timeout: Duration::ZERO,
            names: BTreeSet::new(),
            pattern: String::new(),
            assignor: None,
            assigned: BTreeMap::new(),
            pending: BTreeMap::new(),
            session_until: None,
            rebalance_until: None,
            joined: 0,
        }
    }

    /// With what the request says anew; what it doesn't say stays.
    pub(super) fn with(&self, request: &Request) -> Self {
        let mut member = self.clone();
        if let Some(instance) = &request.instance_id {
            member.instance = Some(instance.clone());
        }
        if request.rebalance_timeout_ms != -1 {
            let millis = u64::try_from(request.rebalance_timeout_ms).unwrap_or(0);
            member.rebalance_timeout = Duration::from_millis(millis);
        }
        if let Some(assignor) = &request.server_assignor {
            member.assignor = Some(assignor.clone());
        }
        if let Some(names) = &request.subscribed_topic_names {
            member.names = names.iter().cloned().collect();
        }
        if let Some(pattern) = &request.subscribed_topic_regex {
            member.pattern.clone_from(pattern);
        }
        member
    }

    /// The one that comes in the place of a static member: it has what that one had, and its own id.
    pub(super) fn replaced_by(&self, id: &str) -> Self {
        Self { id: id.to_owned(), epoch: 0, previous_epoch: 0, rebalance_until: None, ..self.clone() }
    }

    /// Whether the request's epoch is right. One that is one step behind is, if the member still
    /// has nothing that it should not have: it did not get the answer with the new one.
    pub(super) fn accepts(&self, request: &Request) -> Result<(), ErrorCode> {
        let told = request.member_epoch;
        let missed = || told == self.previous_epoch && self.has_no_more_than_assigned(request);
        let right = told == 0 || told == self.epoch || (told < self.epoch && missed());
        if right { Ok(()) } else { Err(ErrorCode::FENCED_MEMBER_EPOCH) }
    }

    fn has_no_more_than_assigned(&self, request: &Request) -> bool {
        let Some(owned) = &request.topic_partitions else { return false };
        owned.iter().all(|topic| {
            // A topic without partitions counts as well.
            self.assigned.keys().any(|(id, _)| *id == topic.topic_id)
                && topic.partitions.iter().all(|index| self.assigned.contains_key(&(topic.topic_id, *index)))
        })
    }

    /// All that nobody else may have.
    pub(super) fn owned(&self) -> impl Iterator<Item = &Spot> {
        self.assigned.keys().chain(self.pending.keys())
    }

    /// When it is out unless it does something, and what for.
    pub(super) fn deadlines(&self) -> impl Iterator<Item = (Instant, Deadline)> {
        let session = self.session_until.map(|at| (at, Deadline::Session));
        session.into_iter().chain(self.rebalance_until.map(|(at, _)| (at, Deadline::Revocation)))
    }
}
