//! One member: its machine, its connections, its application, and its life.
//!
//! | a member is | until |
//! |---|---|
//! | down | it starts |
//! | running | it is killed, frozen, has closed, or has failed |
//! | frozen | it goes on; what came meanwhile waits |
//! | dead | the end |

use std::time::Duration;

use tidegate_core::{Event, Instant, Request, Ticket};

use super::app::App;
use super::{Happening, World};
use crate::backend::Backend;
use crate::oracle::Run;

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
    pub(super) wakes_in_a_row: u32,
    /// When its timer fired last.
    pub(super) woken_at: Option<Instant>,
    pub(super) ready: bool,
    pub(super) paused: bool,
    pub(super) closing: bool,
    pub(super) close_by: Option<Instant>,
    /// Acks that came when the machine was over already, and the moment.
    pub(super) late_acks: (Instant, u64),
    /// How far its clock is behind ours.
    pub(super) behind: Duration,
    /// Something happened, and nobody drained the machine.
    pub(super) dirty: bool,
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
            late_acks: (Instant::ZERO, 0),
            behind: Duration::ZERO,
            dirty: false,
            progressed_at: Instant::ZERO,
        }
    }
}

/// How long a close may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

impl<B: Backend> World<B> {
    /// The machine is over.
    pub(super) fn ended(&mut self, at: usize, error: Option<tidegate_core::Error>) {
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
}

fn member_conns<M>(members: &[Member<M>], at: usize) -> Vec<usize> {
    members.get(at).map(|member| member.conns.iter().copied().flatten().collect()).unwrap_or_default()
}
