//! Consumer groups of the new protocol (KIP-848), as Apache Kafka 4.2 and 4.3 keep them.
//!
//! ```text
//! heartbeat ─► whose turn ─► subscription ─► group epoch ─► target ─► reconcile ─► answer
//!                 │               │                          ▲            │
//!              refusals    patterns: resolved            assignor     timers · changes
//! ```
//!
//! Theory of operation. What the group shall look like and what it looks like are two things. A
//! change of members, subscriptions or topics raises the *group epoch*; the next heartbeat computes
//! a *target* for everybody at that epoch; and each member walks from what it has to its target in
//! its own heartbeats: first it lets go ([`State::UnrevokedPartitions`]), then it is at the epoch of
//! the target, then it gets what others have let go of ([`State::UnreleasedPartitions`]). So one
//! slow member delays what it has, and nothing else.
//!
//! A refusal changes nothing: all that can go wrong is looked at first. Patterns are resolved after
//! the answer that made it necessary, as a broker does it on another thread.
//!
//! Not modelled: members of the classic protocol in such a group (a broker is as with
//! `group.consumer.migration.policy=disabled`), racks, and authorization. Source:
//! `org.apache.kafka.coordinator.group` of Apache Kafka 4.2.2 and 4.3.1, and the same requests to
//! brokers of both.
//!
//! **Invariant:** nobody owns a partition that another one has not let go of.
//!
//! **Invariant:** no member's epoch is above the group's, nor is the target's.
//!
//! **Invariant:** a member waits for a revocation if, and only if, it has something to let go of.

mod assignor;
mod checks;
mod classic;
mod member;
mod order;
mod patterns;
mod reconcile;
mod request;
mod rules;
mod target;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate_core::Instant;
use tidegate_core::kafka::wire::{
    ConsumerGroupHeartbeatRequest as Request, ConsumerGroupHeartbeatResponse as Response, ErrorCode, Uuid,
};

use crate::broker::Lost;
use crate::kafka::topics::Topics;
use crate::kafka::{ConsumerGroups, Release};
use member::{Deadline, Member, State};
use patterns::Resolved;
pub(in crate::kafka) use request::refusal;

/// A topic's partition, by the topic's id.
pub(in crate::kafka) type Spot = (Uuid, i32);

/// The member epoch with which a member leaves.
pub(in crate::kafka) const LEAVES: i32 = -1;
/// The member epoch with which a static member leaves for a while.
pub(in crate::kafka) const LEAVES_FOR_NOW: i32 = -2;

/// A partition changed hands, as the coordinator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Change {
    pub(in crate::kafka) member: String,
    pub(in crate::kafka) spot: Spot,
    /// The member's epoch.
    pub(in crate::kafka) epoch: i32,
    /// `None`: it owns it now.
    pub(in crate::kafka) lost: Option<Lost>,
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(in crate::kafka) struct ConsumerGroup {
    release: Release,
    epoch: i32,
    target_epoch: i32,
    /// When the target was computed.
    targeted_at: Option<Instant>,
    /// By member id.
    members: BTreeMap<String, Member>,
    targets: BTreeMap<String, BTreeSet<Spot>>,
    /// Who has a partition, or has still to let go of it.
    owners: BTreeMap<Spot, String>,
    /// Member ids by the instance ids of static members.
    statics: BTreeMap<String, String>,
    patterns: BTreeMap<String, Resolved>,
    /// The subscribed topics that there are, and their partitions, when that was looked at.
    metadata: BTreeMap<String, (Uuid, usize)>,
    /// [`Topics::changes`] at that time; `None`: it is to be looked at.
    looked_at: Option<u64>,
    joins: u64,
    /// How many members there were at most: on it hangs the order of Kafka's tables.
    most: usize,
    changes: Vec<Change>,
}

impl ConsumerGroup {
    /// A group without members.
    pub(in crate::kafka) fn new(release: Release) -> Self {
        // Since 4.3 a group begins at epoch 1, whose target is empty.
        let first = match release {
            Release::V4_3 => 1,
            _ => 0,
        };
        Self {
            release,
            epoch: first,
            target_epoch: first,
            targeted_at: None,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            owners: BTreeMap::new(),
            statics: BTreeMap::new(),
            patterns: BTreeMap::new(),
            metadata: BTreeMap::new(),
            looked_at: None,
            joins: 0,
            most: 0,
            changes: Vec::new(),
        }
    }

    pub(in crate::kafka) fn member_ids(&self) -> impl Iterator<Item = &String> {
        self.members.keys()
    }

    /// Whether it has no members.
    pub(in crate::kafka) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// What changed hands since this was asked last.
    pub(in crate::kafka) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// One heartbeat: joins, keeps alive, reconciles, leaves. The request has passed [`refusal`],
    /// and carries a member id: one that the broker chose if the member had none.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `FENCED_MEMBER_EPOCH`, `FENCED_INSTANCE_ID`, `UNRELEASED_INSTANCE_ID`,
    /// `GROUP_MAX_SIZE_REACHED`, `INVALID_REGULAR_EXPRESSION`. Nothing has changed then.
    pub(in crate::kafka) fn heartbeat(
        &mut self,
        now: Instant,
        request: &Request,
        topics: &Topics,
        config: &ConsumerGroups,
    ) -> Result<Response, ErrorCode> {
        if matches!(request.member_epoch, LEAVES | LEAVES_FOR_NOW) {
            return self.leave(request, topics);
        }
        if self.members.len() >= config.max_size && !self.members.contains_key(&request.member_id) {
            return Err(ErrorCode::GROUP_MAX_SIZE_REACHED);
        }
        let before = self.subscribe(request)?;
        let mut member = before.with(request);
        let new_pattern = member.pattern != before.pattern && !member.pattern.is_empty();
        let unknown_pattern = new_pattern && self.members_with(&member.pattern) == 0;
        if unknown_pattern && patterns::compile(&member.pattern).is_none() {
            return Err(ErrorCode::INVALID_REGULAR_EXPRESSION);
        }

        // From here on nothing is refused.
        let known_kind = (self.epoch > self.target_epoch).then(|| self.kind());
        let comes = !self.members.contains_key(&member.id);
        let assignor = self.preferred(&before, &member);
        let resolution = self.last_resolution();
        let names_changed = member.names != before.names;
        let pattern_changed = member.pattern != before.pattern;
        let resolved = pattern_changed && self.patterns.contains_key(&member.pattern) && !unknown_pattern;
        // Who gives its pattern up is done with it at once; who has a new one waits for its topics.
        let pattern_settled = resolved || (pattern_changed && member.pattern.is_empty());
        self.take_place(&before, &mut member);
        let is_first = self.release < Release::V4_3 && self.epoch == 0;
        let bump = is_first || names_changed || pattern_settled;
        let looks = bump || self.looked_at != Some(topics.changes());
        if looks {
            self.look(topics, bump);
        }
        if self.target_epoch < self.epoch {
            // Kafka keeps the kind with the group, and looks again only when it looks at the topics.
            let kind = known_kind.filter(|_| !looks).unwrap_or_else(|| self.kind());
            self.aim(now, (assignor, kind), comes.then_some(&member.id), topics, config);
        }
        self.most = self.most.max(self.members.len());
        let changed = names_changed || pattern_changed;
        self.reconcile(now, &mut member, changed, request, topics);
        member.session_until = Some(now + config.session_timeout);
        let response = self.answer(&before, &member, request, config);
        self.put(member, Lost::Rebalanced);
        self.resolve_patterns(now, unknown_pattern, &resolution, topics, config);
        Ok(response)
    }

    fn answer(
        &self,
        before: &Member,
        member: &Member,
        request: &Request,
        config: &ConsumerGroups,
    ) -> Response {
        let whole = request.rebalance_timeout_ms != -1
            && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
        let tells = request.member_epoch == 0 || whole || before.assigned != member.assigned;
        Response {
            member_id: Some(member.id.clone()),
            member_epoch: member.epoch,
            heartbeat_interval_ms: millis(config.heartbeat_interval),
            assignment: tells.then(|| request::assignment(member.assigned.keys())),
            ..Response::default()
        }
    }

    /// The member as it is now, or as it comes.
    fn subscribe(&self, request: &Request) -> Result<Member, ErrorCode> {
        let joins = request.member_epoch == 0;
        let id = request.member_id.as_str();
        let Some(instance) = &request.instance_id else {
            let known = self.members.get(id);
            let member = known.cloned().or_else(|| joins.then(|| Member::new(id)));
            let member = member.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            member.accepts(request)?;
            return Ok(member);
        };
        let existing = match self.statics.get(instance) {
            None => None,
            Some(id) => Some(self.members.get(id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?),
        };
        match existing {
            None if joins => Ok(self.members.get(id).cloned().unwrap_or_else(|| Member::new(id))),
            None => Err(ErrorCode::UNKNOWN_MEMBER_ID),
            Some(member) if joins && member.epoch != LEAVES_FOR_NOW => Err(ErrorCode::UNRELEASED_INSTANCE_ID),
            Some(member) if joins => Ok(member.replaced_by(id)),
            Some(member) if member.id != id => Err(ErrorCode::FENCED_INSTANCE_ID),
            Some(member) => {
                member.accepts(request)?;
                Ok(member.clone())
            }
        }
    }

    /// The member has its place in the group, with what it wants now and what it had.
    fn take_place(&mut self, before: &Member, member: &mut Member) {
        let given_up = member.pattern != before.pattern && self.members_with(&before.pattern) == 1;
        let former = member.instance.as_ref().and_then(|instance| self.statics.get(instance)).cloned();
        if let Some(former) = former.filter(|former| *former != member.id)
            && let Some(gone) = self.members.get(&former).cloned()
        {
            let target = self.targets.remove(&former).unwrap_or_default();
            self.remove(&gone, Lost::Fenced);
            self.targets.insert(member.id.clone(), target);
        }
        if !self.members.contains_key(&member.id) {
            self.joins += 1;
            member.joined = self.joins;
        }
        self.put(member.clone(), Lost::Fenced);
        if given_up {
            self.patterns.remove(&before.pattern);
        }
    }

    /// Leaving, for good or for a while.
    fn leave(&mut self, request: &Request, topics: &Topics) -> Result<Response, ErrorCode> {
        let id = match &request.instance_id {
            None => &request.member_id,
            Some(instance) => self.statics.get(instance).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?,
        };
        let member = self.members.get(id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if member.id != request.member_id {
            return Err(ErrorCode::FENCED_INSTANCE_ID);
        }
        let mut member = member.clone();
        if request.member_epoch == LEAVES_FOR_NOW && request.instance_id.is_some() {
            member.epoch = LEAVES_FOR_NOW;
            member.pending.clear();
            // Whoever comes in its place commits with an epoch that counts from anew.
            member.assigned.values_mut().for_each(|epoch| *epoch = 0);
            self.put(member, Lost::Left);
        } else {
            self.fence(&member, Lost::Left, topics);
        }
        Ok(Response {
            member_id: Some(request.member_id.clone()),
            member_epoch: request.member_epoch,
            ..Response::default()
        })
    }

    /// A member is out, whatever it had is free, and the group is another one.
    fn fence(&mut self, member: &Member, why: Lost, topics: &Topics) {
        self.remove(member, why);
        if self.members_with(&member.pattern) == 0 {
            self.patterns.remove(&member.pattern);
        }
        self.metadata = self.metadata(topics);
        self.epoch += 1;
    }

    fn remove(&mut self, member: &Member, why: Lost) {
        self.members.remove(&member.id);
        self.targets.remove(&member.id);
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        for spot in member.owned() {
            self.owners.remove(spot);
            let (member, epoch) = (member.id.clone(), member.epoch);
            self.changes.push(Change { member, spot: *spot, epoch, lost: Some(why) });
        }
    }

    /// The member is as it is given here; what it owns follows.
    fn put(&mut self, member: Member, why: Lost) {
        let had: BTreeSet<Spot> =
            self.members.get(&member.id).map(|was| was.owned().copied().collect()).unwrap_or_default();
        let has: BTreeSet<Spot> = member.owned().copied().collect();
        let change = |spot, lost| Change { member: member.id.clone(), spot, epoch: member.epoch, lost };
        for spot in had.difference(&has) {
            self.owners.remove(spot);
            self.changes.push(change(*spot, Some(why)));
        }
        for spot in has.difference(&had) {
            self.owners.insert(*spot, member.id.clone());
            self.changes.push(change(*spot, None));
        }
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    /// When something happens by itself next.
    pub(in crate::kafka) fn next_timer(&self) -> Option<Instant> {
        self.members.values().flat_map(Member::deadlines).map(|(at, _)| at).min()
    }

    /// Members whose time is over are out.
    pub(in crate::kafka) fn pass_time(&mut self, now: Instant, topics: &Topics) {
        while let Some((at, id, what)) = self
            .members
            .values()
            .flat_map(|member| member.deadlines().map(|(at, what)| (at, member.id.clone(), what)))
            .min_by_key(|(at, ..)| *at)
            && at <= now
        {
            let Some(member) = self.members.get_mut(&id) else { return };
            // Who moved on since, or left for a while, is not out.
            if what == Deadline::Revocation
                && member.rebalance_until.is_none_or(|(_, epoch)| epoch != member.epoch)
            {
                member.rebalance_until = None;
                continue;
            }
            let member = member.clone();
            self.fence(&member, Lost::Expired, topics);
        }
    }

    /// Another coordinator has loaded the group: all was written, but for the times. From when on
    /// they count; `None`: nobody coordinates it.
    pub(in crate::kafka) fn reload(&mut self, from: Option<Instant>, config: &ConsumerGroups) {
        for member in self.members.values_mut() {
            let revokes = from.filter(|_| member.state == State::UnrevokedPartitions);
            member.session_until = from.map(|from| from + config.session_timeout);
            member.rebalance_until = revokes.map(|from| (from + member.rebalance_timeout, member.epoch));
        }
        // What it knew of the topics was not.
        self.looked_at = None;
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
