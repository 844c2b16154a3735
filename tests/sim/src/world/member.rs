//! One member: its machine, its connections, its application, and the loop that drives them.
//!
//! The loop is what any driver does by the machine's contract, and, where the swarm says so,
//! does it as badly as the contract allows.

use std::time::Duration;

use tidegate_core::{
    AutoCommit, Cause, Command, Delivery, Event, Instant, Machine, Notice, Outcome, Position, Request,
    Ticket, Timestamp,
};

use super::app::{App, Job};
use super::{Happening, World, payload};
use crate::backend::Backend;
use crate::oracle::{Got, MessageId, Run};

/// What was asked of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Commit,
    Move,
    Close,
}

/// Whether a member runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Down,
    Running,
    Frozen,
    /// For ever.
    Dead,
}

pub(super) struct Member<M> {
    pub(super) role: usize,
    pub(super) number: usize,
    pub(super) starts: u32,
    pub(super) life: Life,
    pub(super) machine: Option<M>,
    pub(super) run: Run,
    pub(super) app: App,
    /// By the number of the machine's connection: index of ours.
    pub(super) conns: Vec<Option<usize>>,
    pub(super) tickets: Vec<(Ticket, Asked, Instant)>,
    /// When it is to be woken; what is in the queue for another moment is stale.
    pub(super) wake: Option<Instant>,
    wakes_in_a_row: u32,
    /// When its timer fired last.
    woken_at: Option<Instant>,
    pub(super) ready: bool,
    paused: bool,
    pub(super) closing: bool,
    pub(super) close_by: Option<Instant>,
    /// How far its clock is behind ours.
    pub(super) behind: Duration,
    /// Something happened, and nobody drained the machine.
    dirty: bool,
    pub(super) progressed_at: Instant,
}

impl<M> Member<M> {
    pub(super) fn new(role: usize, number: usize, app: App) -> Self {
        Self {
            role,
            number,
            starts: 0,
            life: Life::Down,
            machine: None,
            run: Run(u32::MAX),
            app,
            conns: Vec::new(),
            tickets: Vec::new(),
            wake: None,
            wakes_in_a_row: 0,
            woken_at: None,
            ready: false,
            paused: false,
            closing: false,
            close_by: None,
            behind: Duration::ZERO,
            dirty: false,
            progressed_at: Instant::ZERO,
        }
    }
}

/// Rounds of one drive; a machine that needs more is going round in circles.
const ROUNDS_MAX: u32 = 10_000;
/// Wake-ups in a row that all come at the same moment.
const WAKES_MAX: u32 = 50;
/// How long a close may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

impl<B: Backend> World<B> {
    pub(super) fn clock_of(&self, member: usize) -> Instant {
        let behind = self.members.get(member).map_or(Duration::ZERO, |member| member.behind);
        Instant::from_nanos(self.now.as_nanos().saturating_sub(behind.as_nanos() as u64))
    }

    /// Hands an event to a member's machine; the rest follows, at once or later.
    pub(super) fn tell(&mut self, at: usize, event: Event) {
        // What was gathered is handed in first, whatever the appetite.
        self.hand_in_all(at);
        let now = self.clock_of(at);
        self.events += 1;
        let ticks = self.tape.chance(self.swarm.sloppy.ticks);
        let Some(member) = self.members.get_mut(at) else { return };
        let Some(machine) = &mut member.machine else { return };
        if !matches!(event, Event::Tick) {
            member.wakes_in_a_row = 0;
        }
        machine.handle(now, event);
        if ticks {
            machine.handle(now, Event::Tick);
        }
        member.dirty = true;
        self.observe(at);
        if self.tape.chance(self.swarm.sloppy.lazy) {
            // Nobody looks before the next event, or a little later.
            let later = self.now + Duration::from_micros(self.tape.within(1, 20_000));
            self.queue.push(later, Happening::Drain { member: at });
        } else {
            self.drive(at);
        }
    }

    pub(super) fn on_drain(&mut self, at: usize) {
        if self.members.get(at).is_some_and(|member| member.dirty && member.life == Life::Running) {
            self.drive(at);
        }
    }

    pub(super) fn on_wake(&mut self, at: usize, set_for: Instant) {
        let Some(member) = self.members.get_mut(at) else { return };
        if member.wake != Some(set_for) || member.life != Life::Running {
            return;
        }
        member.wake = None;
        let again = member.woken_at.replace(self.now) == Some(self.now);
        member.wakes_in_a_row = if again { member.wakes_in_a_row + 1 } else { 0 };
        self.tell(at, Event::Tick);
    }

    /// Everything that a driver does until the machine only waits.
    pub(super) fn drive(&mut self, at: usize) {
        // What was gathered is handed in first, whatever the appetite.
        self.hand_in_all(at);
        if let Some(member) = self.members.get_mut(at) {
            member.dirty = false;
        }
        for round in 0.. {
            let Some(waits) = self.carry_out(at) else { return };
            let mut progress = self.flush_member(at);
            progress |= self.take(at);
            progress |= self.work(at);
            progress |= self.hand_in(at);
            progress |= self.observe(at);
            if !progress {
                self.sleep_until(at, waits);
                return self.check_member(at);
            }
            if round > ROUNDS_MAX {
                return self.oracle.accuse("G12", || "a machine that never comes to its Wait".into());
            }
        }
    }

    /// The machine's commands, up to its `Wait`. `None` if there is no machine any more.
    fn carry_out(&mut self, at: usize) -> Option<Option<Instant>> {
        loop {
            let member = self.members.get_mut(at)?;
            let behind = member.behind;
            let command = member.machine.as_mut()?.poll_command();
            match command {
                Command::Open { conn, endpoint } => self.open(at, conn, &endpoint),
                // All connections are looked at in each round.
                Command::Write { .. } => {}
                Command::Close { conn } => self.close_by_member(at, conn),
                Command::Done { ticket, outcome } => self.on_done(at, ticket, &outcome),
                Command::Notice(notice) => self.on_notice(at, &notice),
                Command::Wait(wake) => return Some(wake.map(|wake| wake.at + behind)),
            }
        }
    }

    fn sleep_until(&mut self, at: usize, wake: Option<Instant>) {
        let late = self.swarm.sloppy.late_max;
        let late = match wake {
            Some(_) if !late.is_zero() => Duration::from_nanos(self.tape.within(0, late.as_nanos() as u64)),
            _ => Duration::ZERO,
        };
        let Some(member) = self.members.get_mut(at) else { return };
        match wake {
            Some(wake) if member.wake != Some(wake.max(self.now) + late) => {
                let wake = wake.max(self.now) + late;
                // Later than it is set already: the earlier one does no harm, and costs less.
                member.wake = Some(wake);
                self.queue.push(wake, Happening::Wake { member: at, set_for: wake });
            }
            Some(_) => {}
            None => member.wake = None,
        }
        if let Some(next) = member.app.next_at(self.now)
            && member.app.looked_at != Some(next)
        {
            member.app.looked_at = Some(next);
            self.queue.push(next, Happening::Look { member: at });
        }
        if member.wakes_in_a_row > WAKES_MAX {
            self.oracle.accuse("G12", || format!("woken {WAKES_MAX} times at the same moment: it spins"));
        }
    }

    fn check_member(&mut self, at: usize) {
        let Some(member) = self.members.get(at) else { return };
        let Some(machine) = &member.machine else { return };
        let (run, stats) = (member.run, machine.stats());
        if let Some(by) = member.close_by
            && self.now > by
        {
            self.oracle.accuse("G4", || "a close that took longer than its deadline".into());
        }
        self.oracle.check_times(run);
        self.oracle.check_stats(run, &stats);
    }

    /// What the application takes.
    fn take(&mut self, at: usize) -> bool {
        let mut progress = false;
        loop {
            let Some(member) = self.members.get_mut(at) else { return progress };
            if !member.app.wants(self.now) {
                return progress;
            }
            let Some(machine) = &mut member.machine else { return progress };
            let run = member.run;
            match machine.poll_delivery() {
                None => return progress,
                Some(Delivery::Batch(batch)) => {
                    for message in batch.iter() {
                        self.events += 1;
                        match self.recognise(&message) {
                            Ok(id) => {
                                self.got.iter_mut().for_each(|got| got.push((run, id)));
                                let epoch = batch.source().epoch;
                                self.oracle.got(run, Got { id, epoch, deliveries: message.deliveries() });
                            }
                            Err(what) => self.oracle.accuse("G3", || what),
                        }
                    }
                    self.trace(at, |_| format!("got {batch:?}"));
                    self.picture.took(self.now, at, &batch);
                    if let Some(member) = self.members.get_mut(at) {
                        member.progressed_at = self.now;
                        member.app.put(batch);
                    }
                }
                Some(Delivery::Assigned(shard)) => {
                    self.trace(at, |_| format!("assigned {shard}"));
                    self.oracle.assigned(run, &shard);
                }
                Some(Delivery::Revoked(shard)) => {
                    self.trace(at, |_| format!("revoked {shard}"));
                    self.oracle.revoked(run, &shard);
                }
                Some(Delivery::End) => {
                    // The outcomes of its requests are there by now.
                    self.carry_out(at);
                    self.ended(at, None);
                    return false;
                }
                Some(Delivery::Failed(error)) => {
                    self.carry_out(at);
                    self.ended(at, Some(error));
                    return false;
                }
            }
            progress = true;
        }
    }

    /// The machine is over.
    fn ended(&mut self, at: usize, error: Option<tidegate_core::Error>) {
        let Some(member) = self.members.get(at) else { return };
        let (ready, closing) = (member.ready, member.closing);
        if !member.tickets.is_empty() {
            let open = member.tickets.len();
            self.oracle.accuse("G5", || format!("{open} requests without an outcome at the end"));
        }
        match &error {
            None if !closing => self.oracle.accuse("G7", || "an end that nobody asked for".into()),
            Some(error) if ready => self.oracle.accuse("G7", || format!("failed while running: {error}")),
            _ => {}
        }
        self.oracle.sometimes.saw(if error.is_some() { "failed at the start" } else { "ended" });
        let text = error.map_or("closed".into(), |error| format!("failed: {error}"));
        self.trace(at, |_| text);
        self.picture.closed(self.now, at);
        self.stop_member(at, false);
    }

    /// What the application works on, and is done with.
    fn work(&mut self, at: usize) -> bool {
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
    fn finish(&mut self, at: usize, job: &Job) {
        let Some(member) = self.members.get_mut(at) else { return };
        let plan = &member.app.plan;
        let (commit, pause, wander) = (plan.commit, plan.pause, plan.wander);
        let (run, role, closing) = (member.run, member.role, member.closing);
        let delayed = matches!(
            self.swarm.roles.get(role).map(|role| role.options.auto_commit),
            Some(AutoCommit::Delayed { .. })
        );
        // With `Delayed` the application needn't, and mostly doesn't.
        // A consumer that is being closed takes no acks any more, and says so.
        if let (Some(range), Some(id)) = (job.range, job.id)
            && !closing
            && (!delayed || self.tape.chance(1_000))
        {
            self.events += 1;
            if let Some(member) = self.members.get_mut(at) {
                member.app.ack(range);
            }
            self.oracle.acked(run, id);
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

    fn pause(&mut self, at: usize) {
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

    fn wander(&mut self, at: usize) {
        let request = match self.tape.below(4) {
            0 => Request::Rewind(Position::Beginning),
            1 => Request::Rewind(Position::End),
            2 => Request::Seek(Timestamp::from_millis(self.tape.within(0, 1 << 41) as i64)),
            _ => Request::Rewind(Position::At(tidegate_core::SeqNo::redis(self.tape.within(0, 1 << 41), 0))),
        };
        self.hand_in_all(at);
        if let Some(run) = self.members.get(at).map(|member| member.run)
            && self.ask(at, request, Asked::Move)
        {
            self.oracle.moves(run);
        }
    }

    /// Asks for something that takes a while. Whether it was taken.
    fn ask(&mut self, at: usize, request: Request, asked: Asked) -> bool {
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

    /// Closes in order.
    pub(super) fn close_member(&mut self, at: usize) {
        self.hand_in_all(at);
        let within = Duration::from_millis(
            self.tape.within(CLOSE_WITHIN.as_millis() as u64 / 5, CLOSE_WITHIN.as_millis() as u64),
        );
        let slack = self.swarm.sloppy.late_max * 2 + Duration::from_millis(30);
        let Some(member) = self.members.get_mut(at) else { return };
        // A clock that was set back stands still until it has caught up.
        (member.closing, member.close_by) = (true, Some(self.now + within + slack + member.behind));
        let run = member.run;
        self.oracle.closing(run);
        self.trace(at, |_| format!("closes within {within:?}"));
        self.ask(at, Request::Close { deadline: within }, Asked::Close);
        // Nothing is taken but the end from now on.
        if let Some(member) = self.members.get_mut(at) {
            member.app.rests_until = Instant::ZERO;
            member.app.plan.hold_max = usize::MAX;
        }
        self.drive(at);
    }

    /// Hands in what was gathered, as far as a driver has to.
    fn hand_in(&mut self, at: usize) -> bool {
        let eager = self.swarm.sloppy.eager_acks;
        let Some(member) = self.members.get_mut(at) else { return false };
        let Some(machine) = &member.machine else { return false };
        let must = member.app.acked >= machine.ack_appetite()
            || member.app.taken.len() as u64 >= machine.ack_appetite()
            || (member.wake.is_none() && !(member.app.acks.is_empty() && member.app.taken.is_empty()));
        if !(eager || must) || (member.app.acks.is_empty() && member.app.taken.is_empty()) {
            return false;
        }
        self.hand_in_all(at)
    }

    fn hand_in_all(&mut self, at: usize) -> bool {
        let now = self.clock_of(at);
        let Some(member) = self.members.get_mut(at) else { return false };
        let Some(machine) = &mut member.machine else { return false };
        let (acks, taken) = (std::mem::take(&mut member.app.acks), std::mem::take(&mut member.app.taken));
        member.app.acked = 0;
        let any = !acks.is_empty() || !taken.is_empty();
        // Acks first: a commit that is due holds them all.
        if !acks.is_empty() {
            self.events += 1;
            let _ = machine.request(now, Request::Ack(acks));
        }
        if !taken.is_empty() {
            let _ = machine.request(now, Request::Taken(taken));
        }
        any
    }

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

    fn on_done(&mut self, at: usize, ticket: Ticket, outcome: &Outcome) {
        let Some(member) = self.members.get_mut(at) else { return };
        let run = member.run;
        let Some(place) = member.tickets.iter().position(|(known, _, _)| *known == ticket) else {
            return self.oracle.accuse("G3", || format!("an outcome for {ticket:?}, which nobody waits for"));
        };
        let (_, asked, _) = member.tickets.remove(place);
        self.trace(at, |_| format!("{asked:?}: {outcome:?}"));
        match (asked, outcome) {
            (Asked::Commit, Outcome::Committed { .. }) => self.oracle.sometimes.saw("commit answered"),
            (Asked::Move, Outcome::Positioned) => {
                self.oracle.sometimes.saw("moved");
                self.oracle.moved(run);
            }
            (Asked::Close, Outcome::Closed { uncommitted }) => {
                self.oracle.closed(run, *uncommitted);
                if let Some(member) = self.members.get_mut(at) {
                    member.close_by = None;
                }
            }
            (_, Outcome::Superseded) => self.oracle.sometimes.saw("superseded"),
            (_, Outcome::Failed(_)) => self.oracle.sometimes.saw("request failed"),
            (asked, outcome) => {
                self.oracle.accuse("G3", || format!("{outcome:?} for {asked:?}"));
            }
        }
    }

    fn on_notice(&mut self, at: usize, notice: &Notice) {
        self.trace(at, |_| format!("notice: {notice}"));
        self.picture.notice(self.now, at, notice);
        self.oracle.sometimes.saw(match notice {
            Notice::Ready => {
                if let Some(member) = self.members.get_mut(at) {
                    member.ready = true;
                }
                "notice: ready"
            }
            Notice::Assigned(_) => "notice: assigned",
            Notice::Revoked(_) => "notice: revoked",
            Notice::Reconnecting { .. } => "notice: reconnecting",
            Notice::Claimed { .. } => "notice: claimed",
            Notice::Recovered { .. } => "notice: recovered",
            Notice::Vanished { .. } => "notice: vanished",
            Notice::GroupCreated { .. } => "notice: group created",
            Notice::Stalled { .. } => "notice: stalled",
            Notice::Mended { .. } => "notice: mended",
            Notice::Refused { .. } => "notice: refused",
            _ => "notice: another",
        });
    }

    /// Starts a member's process.
    pub(super) fn start_member(&mut self, at: usize) {
        let Some(member) = self.members.get_mut(at) else { return };
        if member.life != Life::Down || member.machine.is_some() {
            return;
        }
        let Some(role) = self.swarm.roles.get(member.role) else { return };
        member.starts += 1;
        let plan = role.plan.clone();
        let (role, number, starts) = (member.role, member.number, member.starts);
        let setup = self.setup(role, number, starts);
        let consumer = setup.2;
        let machine = match self.backend.machine(setup.0) {
            Ok(machine) => machine,
            Err(error) => {
                return self.oracle.accuse("model", || format!("a machine that can't be made: {error}"));
            }
        };
        let run = self.oracle.started(consumer, role);
        let mut app = App::new(plan);
        if self.calm {
            app.reform(self.now);
        }
        let named = setup.1;
        let Some(member) = self.members.get_mut(at) else { return };
        *member = Member {
            starts,
            life: Life::Running,
            machine: Some(machine),
            run,
            ..Member::new(role, number, app)
        };
        self.trace(at, |_| format!("starts as {named}"));
        self.picture.started(self.now, at);
        self.tell(at, Event::Tick);
    }

    /// The member is gone, in whatever way.
    pub(super) fn stop_member(&mut self, at: usize, killed: bool) {
        let Some(member) = self.members.get_mut(at) else { return };
        if member.machine.take().is_none() {
            return;
        }
        let (run, dead) = (member.run, member.life == Life::Dead);
        let conns: Vec<usize> = member.conns.drain(..).flatten().collect();
        member.tickets.clear();
        member.wake = None;
        if !dead {
            member.life = Life::Down;
        }
        for conn in conns {
            self.end_by_member(conn);
        }
        self.oracle.gone(run);
        self.picture.stopped(self.now, at, killed);
        if !dead {
            let down = Duration::from_millis(self.tape.within(1, if self.calm { 500 } else { 5_000 }));
            self.queue.push(self.now + down, Happening::Start { member: at });
        }
    }

    pub(super) fn freeze(&mut self, at: usize, until: Instant) {
        let Some(member) = self.members.get_mut(at) else { return };
        member.life = Life::Frozen;
        let run = member.run;
        self.picture.frozen(self.now, at, true);
        self.queue.push(until, Happening::Thaw { member: at, run });
    }

    pub(super) fn on_thaw(&mut self, at: usize, run: Run) {
        let Some(member) = self.members.get_mut(at) else { return };
        if member.life != Life::Frozen || member.run != run {
            return;
        }
        member.life = Life::Running;
        // Its close may be late, as it stood still.
        member.close_by = None;
        self.picture.frozen(self.now, at, false);
        self.trace(at, |_| "goes on".into());
        let conns: Vec<usize> = member_conns(&self.members, at);
        // What came meanwhile waits in the kernel; the timer has fired long ago.
        self.tell(at, Event::Tick);
        for conn in conns {
            self.deliver_to_member(conn);
        }
        if let Some(member) = self.members.get_mut(at) {
            member.wake = None;
        }
        self.drive_if_running(at);
    }

    fn drive_if_running(&mut self, at: usize) {
        if self.members.get(at).is_some_and(|member| member.life == Life::Running && member.machine.is_some())
        {
            self.drive(at);
        }
    }

    /// Which message this is, if it is one at all, and whole.
    pub(super) fn recognise(&self, message: &tidegate_core::MessageRef<'_>) -> Result<MessageId, String> {
        let name = || format!("{}/{} {}", message.stream(), message.shard(), message.seq().as_redis());
        let tag = message.field(payload::TAG);
        let Some(value) = tag.or_else(|| message.fields().next().map(|(_, value)| value)) else {
            return Err(format!("{} has no fields", name()));
        };
        let Some(id) = self.payloads.read(value) else {
            return Err(format!("{} says {:?}", name(), value.escape_ascii().to_string()));
        };
        match self.oracle.seq_of(id) {
            Some((stream, shard, seq))
                if seq == message.seq() && *stream == *message.stream() && shard == message.shard() =>
            {
                Ok(id)
            }
            known => Err(format!("{} carries the message of {known:?}", name())),
        }
    }

    /// The connection is no more, and the member learns of it.
    pub(super) fn tell_closed(&mut self, conn: usize, cause: Cause) {
        let Some(known) = self.conns.get(conn) else { return };
        let (member, id) = (known.member, known.id);
        let Some(run) = self.members.get(member).map(|member| member.run) else { return };
        self.oracle.disconnected(run, crate::PeerId(conn as u64));
        if let Some(place) =
            self.members.get_mut(member).and_then(|m| m.conns.get_mut(usize::from(id.number)))
            && *place == Some(conn)
        {
            *place = None;
        }
        self.tell(member, Event::Closed { conn: id, cause });
    }
}

fn member_conns<M>(members: &[Member<M>], at: usize) -> Vec<usize> {
    members.get(at).map(|member| member.conns.iter().copied().flatten().collect()).unwrap_or_default()
}
