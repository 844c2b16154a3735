//! The course of a run: the beginning, the faults, the calm, the end.

use std::time::Duration;

use tidegate_core::ClaimOptions;

use super::member::Life;
use super::{Happening, START, World, payload};
use crate::backend::{Backend, Produced};
use crate::broker::Broker;

/// How often the end is looked for.
const LOOK: Duration = Duration::from_millis(500);

impl<B: Backend> World<B> {
    pub(super) fn begin(&mut self) {
        let names: Vec<_> =
            self.shards.iter().map(|(stream, shard)| self.backend_name(stream, *shard)).collect();
        self.backend.broker().watch(&names);
        // Half of the worlds begin with something in the streams.
        for _ in 0..self.tape.below(4) {
            self.produce_some();
        }
        for member in 0..self.members.len() {
            let at = Duration::from_micros(self.tape.within(0, 3_000_000));
            self.queue.push(self.now + at, Happening::Start { member });
        }
        self.queue.push(self.now, Happening::Produce);
        if self.swarm.fault_every.is_some() && self.swarm.weights.iter().any(|weight| *weight > 0) {
            self.queue.push(self.now, Happening::Fault);
        }
        self.queue.push(self.now + self.swarm.chaos, Happening::Calm);
    }

    pub(super) fn on_produce(&mut self) {
        if self.calm {
            return;
        }
        self.produce_some();
        let left = self.swarm.messages.saturating_sub(self.produced).max(1);
        let time = (START + self.swarm.chaos).since(self.now);
        let mean = time.as_micros() as u64 * self.swarm.burst.div_ceil(2) / left;
        let next = Duration::from_micros(self.tape.within(1, (mean * 2).max(2)));
        if self.produced < self.swarm.messages {
            self.queue.push(self.now + next, Happening::Produce);
        }
    }

    fn produce_some(&mut self) {
        let count = self.tape.within(1, self.swarm.burst);
        let shard = self.tape.below(self.shards.len() as u64) as usize;
        for _ in 0..count {
            self.produce(shard);
        }
        self.drain_broker();
    }

    fn produce(&mut self, shard: usize) {
        let filler = self.tape.within(0, self.swarm.payload_max);
        let foreign = self.tape.chance(self.swarm.foreign);
        let id = self.oracle.next_of(shard as u32);
        let mut bytes = Vec::new();
        payload::payload(id, filler, &mut bytes);
        self.produced += 1;
        self.events += 1;
        if self.backend.produce(self.now, &Produced { shard, payload: &bytes, foreign }) {
            // The place of the next message depends on it.
            self.drain_broker();
        }
    }

    /// Faults are over. Some members stay dead for ever; everybody else works.
    pub(super) fn on_calm(&mut self) {
        self.calm = true;
        self.calm_since = self.now;
        self.note(|| "CALM".into());
        self.bury_some();
        self.lasting.clear();
        self.outages = 0;
        self.backend.calm(self.now);
        self.drain_broker();
        for at in 0..self.members.len() {
            let now = self.now;
            let Some(member) = self.members.get_mut(at) else { continue };
            member.app.reform(now);
            member.behind = Duration::ZERO;
            let run = member.run;
            if member.life == Life::Frozen {
                self.on_thaw(at, run);
            }
            self.on_resume(at, run);
            self.on_look(at);
        }
        // Each shard gets one message more: it is there again, and still read.
        for shard in 0..self.shards.len() {
            self.produce(shard);
        }
        self.drain_broker();
        self.tell_trouble();
        self.queue.push(self.now + LOOK, Happening::Look4Calm);
    }

    /// A minority of a group, if others may take over what it leaves.
    fn bury_some(&mut self) {
        for role in 0..self.swarm.roles.len() {
            let Some(kind) = self.swarm.roles.get(role) else { continue };
            let inherits = !matches!(kind.options.claim, ClaimOptions::Never) || !kind.acks();
            let most = kind.members.saturating_sub(1) / 2;
            if !inherits || most == 0 || !kind.in_group() {
                continue;
            }
            let count = self.tape.within(0, most as u64) as usize;
            let theirs: Vec<usize> = (0..self.members.len())
                .filter(|at| self.members.get(*at).is_some_and(|member| member.role == role))
                .collect();
            for at in theirs.into_iter().take(count) {
                if let Some(member) = self.members.get_mut(at) {
                    member.life = Life::Dead;
                }
                self.oracle.sometimes.saw("member dead for ever");
                self.trace(at, |_| "is dead for ever".into());
                self.stop_member(at, true);
            }
        }
    }

    /// How long everything may take once faults are over.
    fn patience(&self) -> Duration {
        let roles = self.swarm.roles.iter().map(|role| {
            let limits = &role.options.limits;
            let (interval, idle) = match role.options.claim {
                ClaimOptions::Every { interval, idle } => (interval, idle),
                ClaimOptions::Never => (Duration::ZERO, Duration::ZERO),
            };
            let work = role.plan.work_max * (self.produced as u32 * 3 + 10);
            // A page of claims an interval in the worst case, and each message may be one.
            let pages = (self.produced as u32).div_ceil(limits.claim_messages_max as u32) + 10;
            (limits.response_timeout + limits.block + limits.connect_timeout + limits.retry_max) * 8
                + (idle + interval) * 4
                + interval * pages
                + work
                + B::patience(&role.options)
                + Duration::from_secs(120)
        });
        roles.max().unwrap_or_default()
    }

    pub(super) fn look_for_the_end(&mut self) {
        for at in 0..self.members.len() {
            self.commit_by_hand(at);
        }
        let waits = self.waits_for();
        match waits {
            None => {
                self.over = true;
                self.note(|| "everything is well".into());
            }
            Some(what) if self.now.since(self.calm_since) > self.patience() => {
                let patience = self.patience();
                self.oracle.accuse("G1", || format!("{patience:?} after the last fault: {what}"));
            }
            Some(_) => self.queue.push(self.now + LOOK, Happening::Look4Calm),
        }
    }

    /// What is still to be done, in words.
    fn waits_for(&mut self) -> Option<String> {
        if let Some(what) = self.oracle.pending() {
            return Some(what);
        }
        for role in 0..self.swarm.roles.len() {
            let acks = self.swarm.roles.get(role).is_some_and(|role| role.acks());
            if let Some(group) = self.group_of(role) {
                let members = self.backend.members(&group);
                if let Some(what) = self.oracle.not_members(role, &members) {
                    return Some(what);
                }
            }
            // Who has left the group commits no more, and nobody else is there to do it.
            if acks
                && !self.oracle.has_wandered(role)
                && let Some(group) = self.group_of(role)
                && let Some(what) = self.backend.unfinished(self.now, &group)
            {
                return Some(what);
            }
        }
        let waiting = self.members.iter().find(|member| !member.tickets.is_empty());
        waiting.map(|member| {
            let asked = member.tickets.first().map(|(_, asked, since)| (*asked, self.now.since(*since)));
            format!("a request of {}: {asked:?}", super::member_name(member.role, member.number))
        })
    }

    fn backend_name(&self, stream: &tidegate_core::StreamKey, shard: tidegate_core::ShardId) -> bytes::Bytes {
        let sharded = self.swarm.streams.iter().any(|(name, shards)| name == stream && *shards > 0);
        B::shard_name(stream, shard, sharded)
    }
}
