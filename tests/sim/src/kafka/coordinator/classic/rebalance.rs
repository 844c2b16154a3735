//! From one generation to the next, and what time does.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_core::Instant;
use tidegate_core::kafka::wire::ErrorCode;

use super::{ClassicGroup, Scope, State};
use crate::broker::Lost;

/// When members are waited for no longer.
#[derive(Clone, Copy, Debug)]
pub(super) struct JoinTimer {
    at: Instant,
    /// Of an empty group's first generation.
    initial: Option<Initial>,
}

/// An empty group's first generation is put off while members come.
#[derive(Clone, Copy, Debug)]
struct Initial {
    delay: Duration,
    remaining: Duration,
}

impl ClassicGroup {
    /// Begins a rebalance, or goes on with the one that there is.
    pub(super) fn rebalance(&mut self, scope: &mut Scope<'_>) {
        match self.state {
            State::Preparing => self.try_complete(scope),
            _ => self.prepare(scope),
        }
    }

    pub(super) fn prepare(&mut self, scope: &mut Scope<'_>) {
        if self.state == State::Completing {
            self.withdraw_plan(scope);
        }
        self.unsynced.clear();
        self.sync_timer = None;
        self.initial = self.state == State::Empty;
        self.state = State::Preparing;
        if self.initial {
            let delay = scope.config.initial_rebalance_delay;
            let remaining = self.rebalance_timeout().saturating_sub(delay);
            let initial = Some(Initial { delay, remaining });
            self.join_timer = Some(JoinTimer { at: scope.now + delay, initial });
        } else if self.all_joined() {
            self.complete(scope);
        } else {
            self.wait_for_members(scope);
        }
    }

    /// Completes the rebalance if everybody is there; an empty group's first one only by time.
    pub(super) fn try_complete(&mut self, scope: &mut Scope<'_>) {
        if self.state == State::Preparing && !self.initial && self.all_joined() {
            self.complete(scope);
        }
    }

    fn all_joined(&self) -> bool {
        self.reserved.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    /// The longest that any member may take.
    fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    fn wait_for_members(&mut self, scope: &Scope<'_>) {
        // Not without end at one moment, where members gave themselves no time.
        let timeout = self.rebalance_timeout().max(Duration::from_millis(1));
        self.join_timer = Some(JoinTimer { at: scope.now + timeout, initial: None });
    }

    /// The next generation, of those who are there.
    fn complete(&mut self, scope: &mut Scope<'_>) {
        self.join_timer = None;
        let late = |member: &super::Member| member.joining.is_none() && member.instance.is_none();
        let late = self.members.iter().filter(|(_, member)| late(member)).map(|(id, _)| id.clone());
        for id in late.collect::<Vec<_>>() {
            self.remove(&id, Lost::Expired);
        }
        if !self.members.is_empty() && !self.elect() {
            // Only static members, and none came: they are waited for until their sessions end.
            return self.wait_for_members(scope);
        }
        self.generation = self.generation.wrapping_add(1).max(0);
        self.initial = false;
        self.unsynced.clear();
        if self.members.is_empty() {
            (self.state, self.protocol) = (State::Empty, None);
            return self.save();
        }
        (self.state, self.protocol) = (State::Completing, self.select_protocol());
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            if let Some(peer) = self.members.get_mut(&id).and_then(|member| member.joining.take()) {
                self.tell_generation(scope, peer, &id, false);
            }
            if let Some(member) = self.members.get_mut(&id) {
                member.new = false;
            }
            self.keep_alive(scope.now, &id);
            self.unsynced.insert(id);
        }
        self.sync_timer = Some(scope.now + self.rebalance_timeout());
    }

    /// The leader stays if it is there; else another one that is. False if nobody is.
    fn elect(&mut self) -> bool {
        let joined = |id: &String| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let next = self.members.keys().find(|id| joined(id)).cloned();
        let found = next.is_some();
        if found {
            self.leader = next;
        }
        found
    }

    /// The protocol that most members like best of those that all know. Where two have as many
    /// votes, Kafka takes any; here the first in the order of names.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let names = member.protocols.iter().map(|(name, _)| name.as_str());
            let mut common = names.filter(|name| self.supporters(name) == self.members.len());
            if let Some(vote) = common.next() {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let most = votes.values().max().copied()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.to_owned())
    }

    pub(in crate::kafka::coordinator) fn next_timer(&self) -> Option<Instant> {
        let sessions = self.members.values().filter_map(|member| member.expires);
        let join = self.join_timer.map(|timer| timer.at);
        sessions.chain(self.reserved.values().copied()).chain(join).chain(self.sync_timer).min()
    }

    pub(in crate::kafka::coordinator) fn pass_time(&mut self, scope: &mut Scope<'_>) {
        while let Some(at) = self.next_timer().filter(|at| *at <= scope.now) {
            if self.join_timer.is_some_and(|timer| timer.at == at) {
                self.on_join_timer(scope);
            } else if self.sync_timer == Some(at) {
                self.sync_timer = None;
                self.on_sync_timer(scope);
            } else {
                self.on_session_end(scope, at);
            }
        }
    }

    fn on_join_timer(&mut self, scope: &mut Scope<'_>) {
        let Some(timer) = self.join_timer.take() else { return };
        match timer.initial {
            Some(Initial { delay, remaining }) if self.newcomer && !remaining.is_zero() => {
                self.newcomer = false;
                let next = scope.config.initial_rebalance_delay.min(remaining);
                let initial = Some(Initial { delay: next, remaining: remaining.saturating_sub(delay) });
                self.join_timer = Some(JoinTimer { at: scope.now + next, initial });
            }
            _ => self.complete(scope),
        }
    }

    /// Who has not asked for its assignment in time is out.
    fn on_sync_timer(&mut self, scope: &mut Scope<'_>) {
        let late = std::mem::take(&mut self.unsynced);
        if late.is_empty() || !matches!(self.state, State::Completing | State::Stable) {
            return;
        }
        for id in late {
            self.remove(&id, Lost::Expired);
        }
        self.prepare(scope);
    }

    fn on_session_end(&mut self, scope: &mut Scope<'_>, at: Instant) {
        let reserved = self.reserved.iter().find(|(_, until)| **until == at).map(|(id, _)| id.clone());
        if let Some(id) = reserved {
            self.reserved.remove(&id);
            if self.state == State::Preparing && self.all_joined() {
                self.complete(scope);
            }
            return;
        }
        let silent = self.members.iter_mut().find(|(_, member)| member.expires == Some(at));
        let Some((id, member)) = silent else { return };
        member.expires = None;
        if member.waits() {
            return;
        }
        let id = id.clone();
        self.refuse_join(scope, &id, "", ErrorCode::UNKNOWN_MEMBER_ID);
        self.remove(&id, Lost::Expired);
        match self.state {
            State::Stable | State::Completing => self.prepare(scope),
            State::Preparing if self.all_joined() => self.complete(scope),
            _ => {}
        }
    }
}
