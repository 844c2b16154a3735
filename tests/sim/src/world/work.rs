//! What a model application does with what it took: works, acks, and asks for things.

use std::time::Duration;

use tidegate_core::{AutoCommit, Machine, Position, Request, Timestamp};

use super::app::Job;
use super::member::{Asked, Life};
use super::{Happening, World};
use crate::backend::Backend;
use crate::oracle::Run;

impl<B: Backend> World<B> {
    /// At the wake-up everything is handed in, whatever the appetite.
    pub(super) fn on_look(&mut self, at: usize) {
        if self.members.get(at).is_some_and(|member| member.life == Life::Running && member.machine.is_some())
        {
            if let Some(member) = self.members.get_mut(at) {
                member.app.looked_at = None;
                member.wakes_in_a_row = 0;
            }
            // The application works beside its driver, which looks only if there is a reason.
            self.work(at);
            let Some(member) = self.members.get(at) else { return };
            let appetite = member.machine.as_ref().map_or(0, Machine::ack_appetite);
            let gathers = !self.swarm.sloppy.eager_acks
                && member.app.acked < appetite
                && !member.app.acks.is_empty()
                && member.tickets.is_empty()
                && !member.closing
                && !member.app.wants(self.now);
            if gathers {
                let wake = member.wake;
                return self.sleep_until(at, wake);
            }
            self.hand_in_all(at);
            self.drive(at);
        }
    }

    /// What the application works on, and is done with.
    pub(super) fn work(&mut self, at: usize) -> bool {
        let mut progress = false;
        let mut done = Vec::new();
        loop {
            let Some(member) = self.members.get_mut(at) else { return progress };
            member.app.finish(self.now, &mut done);
            for job in done.drain(..) {
                progress = true;
                self.finish(at, &job);
            }
            let Some(member) = self.members.get_mut(at) else { return progress };
            let Some((batch, number)) = member.app.next() else { return progress };
            progress = true;
            let plan = member.app.plan.clone();
            let Some(message) = batch.message(number) else { continue };
            let never = self.tape.chance(plan.never);
            let long = self.tape.chance(plan.long);
            let most = if long { plan.work_long } else { plan.work_max };
            let work = if most.is_zero() { 0 } else { self.tape.within(0, most.as_nanos() as u64) };
            let rests = self.tape.chance(plan.rest);
            let rest = if rests { self.tape.within(1, 10_000) } else { 0 };
            let id = self.recognise(&message.view()).ok();
            let job = Job {
                id,
                epoch: batch.source().epoch,
                range: message.ack_range(),
                until: (!never).then(|| self.now + Duration::from_nanos(work)),
            };
            if rests && let Some(member) = self.members.get_mut(at) {
                member.app.rests_until = self.now + Duration::from_millis(rest);
            }
            match job.until {
                Some(until) if until <= self.now => self.finish(at, &job),
                _ => {
                    if let Some(member) = self.members.get_mut(at) {
                        member.app.working.push(job);
                    }
                }
            }
        }
    }

    /// The application is done with a message.
    pub(super) fn finish(&mut self, at: usize, job: &Job) {
        let Some(member) = self.members.get_mut(at) else { return };
        let plan = &member.app.plan;
        let (commit, pause, wander) = (plan.commit, plan.pause, plan.wander);
        let (run, role) = (member.run, member.role);
        let delayed = matches!(
            self.swarm.roles.get(role).map(|role| role.options.auto_commit),
            Some(AutoCommit::Delayed { .. })
        );
        // With `Delayed` the application needn't, and mostly doesn't.
        if let (Some(range), Some(id)) = (job.range, job.id)
            && (!delayed || self.tape.chance(1_000))
        {
            self.events += 1;
            if let Some(member) = self.members.get_mut(at) {
                member.app.ack(range);
            }
            self.oracle.acked(run, id, job.epoch);
            self.trace(at, |world| format!("acks {}", world.oracle.describe(id)));
            self.picture.acked(self.now, at, range);
        }
        let commits = self.tape.chance(commit);
        let pauses = self.tape.chance(pause);
        let wanders = self.tape.chance(wander);
        if commits {
            self.hand_in_all(at);
            self.ask(at, Request::Commit, Asked::Commit);
        }
        if pauses {
            self.pause(at);
        }
        if wanders {
            self.wander(at);
        }
    }

    /// An application whose commits are its own makes one now and then.
    pub(super) fn commit_by_hand(&mut self, at: usize) {
        let Some(member) = self.members.get(at) else { return };
        let own = self.swarm.roles.get(member.role).map(|role| role.options.auto_commit);
        if own == Some(AutoCommit::Disabled) && member.life == Life::Running && member.tickets.is_empty() {
            self.hand_in_all(at);
            self.ask(at, Request::Commit, Asked::Commit);
            self.drive(at);
        }
    }

    pub(super) fn pause(&mut self, at: usize) {
        let until = self.now + Duration::from_millis(self.tape.within(1, 8_000));
        let now = self.clock_of(at);
        if let Some(member) = self.members.get_mut(at)
            && let Some(machine) = &mut member.machine
            && !std::mem::replace(&mut member.paused, true)
        {
            let _ = machine.request(now, Request::Pause);
            let run = member.run;
            self.queue.push(until, Happening::Resume { member: at, run });
        }
    }

    pub(super) fn on_resume(&mut self, at: usize, run: Run) {
        let now = self.clock_of(at);
        if let Some(member) = self.members.get_mut(at)
            && member.run == run
            && let Some(machine) = &mut member.machine
        {
            member.paused = false;
            let _ = machine.request(now, Request::Resume);
            if member.life == Life::Running {
                self.drive(at);
            }
        }
    }

    pub(super) fn wander(&mut self, at: usize) {
        let request = match self.tape.below(4) {
            0 => Request::Rewind(Position::Beginning),
            1 => Request::Rewind(Position::End),
            2 => Request::Seek(Timestamp::from_millis(self.tape.within(0, 1 << 41) as i64)),
            _ => Request::Rewind(Position::At(B::position(self.tape.within(0, 1 << 41)))),
        };
        self.hand_in_all(at);
        if let Some(run) = self.members.get(at).map(|member| member.run)
            && self.ask(at, request, Asked::Move)
        {
            self.oracle.moves(run);
        }
    }

    /// Asks for something that takes a while. Whether it was taken.
    pub(super) fn ask(&mut self, at: usize, request: Request, asked: Asked) -> bool {
        let now = self.clock_of(at);
        self.events += 1;
        let Some(member) = self.members.get_mut(at) else { return false };
        let Some(machine) = &mut member.machine else { return false };
        match machine.request(now, request) {
            Ok(Some(ticket)) => {
                member.tickets.push((ticket, asked, self.now));
                true
            }
            Ok(None) => true,
            Err(_) => false,
        }
    }
}
