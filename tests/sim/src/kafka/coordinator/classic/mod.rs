//! A classic group: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.
//!
//! ```text
//!            a member joins                all joined, or time is up
//!   Empty ──────────────────► Preparing ───────────────────────────► Completing
//!     ▲                        │  ▲  ▲                                  │   │
//!     └── nobody is left ──────┘  │  └─ a member joins, leaves, is gone ┘   │ the leader's plan
//!                                 └──── a member joins, leaves, is gone ── Stable ◄┘
//! ```
//!
//! Theory of operation. Members that want the next generation wait for its JoinGroup answer until all
//! known members have asked, or the longest of their rebalance time-outs is over; who has not asked by
//! then is out, but for static members (KIP-345), whose place is kept until their session ends. The
//! leader gets everybody's metadata; all wait in SyncGroup for its plan. A member's session is set
//! back by what it sends, and doesn't end while it waits for an answer; unless it is new, because
//! then nothing else would ever end it.
//!
//! A member that joins without an id is told one first, and joins again with it (KIP-394, version 4);
//! until then the id is only reserved. A static member is known by its own name: when it comes back
//! without its id, it gets a new one, and the old one is fenced. If it comes back to a stable group,
//! the group stays as it is, and a leader is told not to plan anew (KIP-814).
//!
//! What survives the coordinator is a [`Saved`] group: that of the last plan.
//!
//! **Invariant:** in Completing and Stable, each member can work with the protocol that was chosen.
//!
//! **Invariant:** a member's connection is answered once for each request; but one that asks again on
//! another connection leaves the first one without an answer, as it does a real broker's.
//!
//! **Invariant:** the generation never goes back, but for a coordinator that takes over.

mod join;
mod member;
mod rebalance;
mod saved;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::Instant;
use tidegate_core::kafka::wire::{ErrorCode, LeaveGroupRequestMemberIdentity};

use super::owners::Owners;
use super::{Answer, Scope};
use crate::broker::Lost;
use member::Member;
use rebalance::JoinTimer;
use saved::Saved;

/// What the group is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No members.
    #[default]
    Empty,
    /// Members are waited for.
    Preparing,
    /// The leader's plan is waited for.
    Completing,
    /// Each member has its assignment.
    Stable,
}

/// A classic group.
#[derive(Clone, Debug, Default)]
pub(super) struct ClassicGroup {
    state: State,
    /// It prepares its first generation since it was empty.
    initial: bool,
    /// Somebody came since that began, or since it was last put off.
    newcomer: bool,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Member ids by the names of static members.
    statics: BTreeMap<String, String>,
    /// Ids that were told and not yet joined with, until then.
    reserved: BTreeMap<String, Instant>,
    /// Who has not yet asked for its assignment in this generation.
    unsynced: BTreeSet<String>,
    join_timer: Option<JoinTimer>,
    sync_timer: Option<Instant>,
    owners: Owners,
    saved: Saved,
}

impl ClassicGroup {
    pub(super) fn member_ids(&self) -> impl Iterator<Item = &String> {
        self.members.keys()
    }

    /// Whether it has no members, nor waits for any.
    pub(super) fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    pub(super) fn owners_mut(&mut self) -> &mut Owners {
        &mut self.owners
    }

    /// Heartbeat: whether the member belongs to the generation.
    pub(super) fn heartbeat(
        &mut self,
        scope: &Scope<'_>,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.validate(member, instance)?;
        if generation != self.generation {
            return Err(ErrorCode::ILLEGAL_GENERATION);
        }
        self.keep_alive(scope.now, member);
        match self.state {
            State::Preparing => Err(ErrorCode::REBALANCE_IN_PROGRESS),
            _ => Ok(()),
        }
    }

    /// LeaveGroup: what becomes of each.
    pub(super) fn leave(
        &mut self,
        scope: &mut Scope<'_>,
        members: &[LeaveGroupRequestMemberIdentity],
    ) -> Vec<ErrorCode> {
        let errors: Vec<ErrorCode> =
            members.iter().map(|member| self.leave_one(scope, member).err().unwrap_or_default()).collect();
        if errors.contains(&ErrorCode::NONE) {
            match self.state {
                State::Stable | State::Completing => self.prepare(scope),
                State::Preparing => self.try_complete(scope),
                State::Empty => {}
            }
        }
        errors
    }

    fn leave_one(
        &mut self,
        scope: &mut Scope<'_>,
        member: &LeaveGroupRequestMemberIdentity,
    ) -> Result<(), ErrorCode> {
        let (mut id, instance) = (member.member_id.clone(), member.group_instance_id.as_deref());
        if id.is_empty() {
            // An administrator knows a static member by its name only.
            let known = instance.and_then(|instance| self.statics.get(instance));
            id = known.ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?.clone();
        } else if self.reserved.remove(&id).is_some() {
            return Ok(());
        } else {
            self.validate(&id, instance)?;
        }
        self.refuse_join(scope, &id, "", ErrorCode::UNKNOWN_MEMBER_ID);
        self.remove(&id, Lost::Left);
        Ok(())
    }

    /// OffsetCommit: whether it may be kept. It sets a member's session back, as a heartbeat does.
    pub(super) fn may_commit(
        &mut self,
        scope: &Scope<'_>,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation >= 0 || !member.is_empty() || instance.is_some() {
            self.validate(member, instance)?;
            if generation != self.generation {
                return Err(ErrorCode::ILLEGAL_GENERATION);
            }
        } else {
            // From outside, while there are members.
            return Err(ErrorCode::UNKNOWN_MEMBER_ID);
        }
        if self.state == State::Completing {
            return Err(ErrorCode::REBALANCE_IN_PROGRESS);
        }
        self.keep_alive(scope.now, member);
        Ok(())
    }

    /// Whether there is this member, and no other one of its static name.
    fn validate(&self, member: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            let known = self.statics.get(instance).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
            if known != member {
                return Err(ErrorCode::FENCED_INSTANCE_ID);
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(ErrorCode::UNKNOWN_MEMBER_ID) }
    }

    fn keep_alive(&mut self, now: Instant, member: &str) {
        if let Some(member) = self.members.get_mut(member) {
            member.expires = Some(now + member.session_timeout);
        }
    }

    /// Takes a member out, or the id that is reserved for it. Another one leads if it did.
    fn remove(&mut self, id: &str, why: Lost) {
        if let Some(member) = self.members.remove(id)
            && let Some(instance) = member.instance
        {
            self.statics.remove(&instance);
        }
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.reserved.remove(id);
        self.unsynced.remove(id);
        self.owners.remove(id, why);
    }

    fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// How many can work with a protocol.
    fn supporters(&self, protocol: &str) -> usize {
        self.members.values().filter(|member| member.metadata_of(protocol).is_some()).count()
    }

    /// Its invariants.
    pub(super) fn check(&self) -> Result<(), String> {
        let settled = matches!(self.state, State::Completing | State::Stable);
        if (self.state == State::Empty || settled) && self.members.is_empty() != (self.state == State::Empty)
        {
            return Err(format!("{:?} with {} members", self.state, self.members.len()));
        }
        if self.leader.as_ref().is_some_and(|id| !self.members.contains_key(id)) {
            return Err(format!("{:?} leads, and is no member", self.leader));
        }
        for (instance, id) in &self.statics {
            if self.members.get(id).and_then(|member| member.instance.as_ref()) != Some(instance) {
                return Err(format!("{instance} is {id}, who doesn't know"));
            }
        }
        let protocol = self.protocol.as_deref().filter(|_| settled);
        match protocol {
            Some(protocol) if self.supporters(protocol) < self.members.len() => {
                Err(format!("not everybody knows {protocol}"))
            }
            None if settled => Err(format!("{:?} without a protocol", self.state)),
            _ => Ok(()),
        }
    }
}
