//! The loop that drives a member's machine.
//!
//! It does what any driver does by the machine's contract, and, where the swarm says so, does it
//! as badly as the contract allows.

use std::time::Duration;

use tidegate_core::{Cause, Command, Delivery, Event, Instant, Machine, Notice, Outcome, Request, Ticket};

use super::member::{Asked, Life};
use super::{Happening, World, payload};
use crate::backend::Backend;
use crate::oracle::{Got, MessageId};

/// Rounds of one drive; a machine that needs more is going round in circles.
const ROUNDS_MAX: u32 = 10_000;
/// Wake-ups in a row that all come at the same moment.
const WAKES_MAX: u32 = 50;
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

    pub(super) fn drive_if_running(&mut self, at: usize) {
        if self.members.get(at).is_some_and(|member| member.life == Life::Running && member.machine.is_some())
        {
            self.drive(at);
        }
    }

    /// The machine's commands, up to its `Wait`. `None` if there is no machine any more.
    pub(super) fn carry_out(&mut self, at: usize) -> Option<Option<Instant>> {
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

    pub(super) fn sleep_until(&mut self, at: usize, wake: Option<Instant>) {
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

    pub(super) fn check_member(&mut self, at: usize) {
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
    pub(super) fn take(&mut self, at: usize) -> bool {
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

    /// Which message this is, if it is one at all, and whole.
    pub(super) fn recognise(&self, message: &tidegate_core::MessageRef<'_>) -> Result<MessageId, String> {
        let name = || format!("{}/{} {}", message.stream(), message.shard(), message.seq().as_redis());
        let tag = message.field(payload::TAG);
        let first = tag.or_else(|| message.fields().next().map(|(_, value)| value));
        // A tombstone has a key alone.
        let Some(value) = first.or_else(|| message.payload()).or_else(|| message.key()) else {
            return Err(format!("{} has nothing in it", name()));
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

    /// Hands in what was gathered, as far as a driver has to.
    pub(super) fn hand_in(&mut self, at: usize) -> bool {
        let eager = self.swarm.sloppy.eager_acks;
        let Some(member) = self.members.get_mut(at) else { return false };
        let Some(machine) = &member.machine else { return false };
        let must = member.closing
            || member.app.acked >= machine.ack_appetite()
            || member.app.taken.len() as u64 >= machine.ack_appetite()
            || (member.wake.is_none() && !(member.app.acks.is_empty() && member.app.taken.is_empty()));
        if !(eager || must) || (member.app.acks.is_empty() && member.app.taken.is_empty()) {
            return false;
        }
        self.hand_in_all(at)
    }

    pub(super) fn hand_in_all(&mut self, at: usize) -> bool {
        let now = self.clock_of(at);
        let Some(member) = self.members.get_mut(at) else { return false };
        let Some(machine) = &mut member.machine else { return false };
        let (acks, taken) = (std::mem::take(&mut member.app.acks), std::mem::take(&mut member.app.taken));
        let acked = std::mem::take(&mut member.app.acked);
        let any = !acks.is_empty() || !taken.is_empty();
        // Acks first: a commit that is due holds them all.
        if !acks.is_empty() {
            self.events += 1;
            if machine.request(now, Request::Ack(acks)).is_err() {
                // It was over by then; its driver adds them to what the close says.
                let before = if member.late_acks.0 == self.now { member.late_acks.1 } else { 0 };
                member.late_acks = (self.now, before + acked);
            }
        }
        if !taken.is_empty() {
            let _ = machine.request(now, Request::Taken(taken));
        }
        any
    }

    pub(super) fn on_done(&mut self, at: usize, ticket: Ticket, outcome: &Outcome) {
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
                let Some(member) = self.members.get_mut(at) else { return };
                member.close_by = None;
                // Those of this moment only: a close that was under way takes acks.
                let late = if member.late_acks.0 == self.now { member.late_acks.1 } else { 0 };
                let late = late + member.app.acked;
                self.oracle.closed(run, uncommitted + late);
            }
            (_, Outcome::Superseded) => self.oracle.sometimes.saw("superseded"),
            (_, Outcome::Failed(_)) => self.oracle.sometimes.saw("request failed"),
            (asked, outcome) => {
                self.oracle.accuse("G3", || format!("{outcome:?} for {asked:?}"));
            }
        }
    }

    pub(super) fn on_notice(&mut self, at: usize, notice: &Notice) {
        self.trace(at, |_| format!("notice: {notice}"));
        self.picture.notice(self.now, at, notice);
        if let Some(run) = self.members.get(at).map(|member| member.run) {
            self.oracle.noticed(run, notice);
        }
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
            Notice::Repositioned { .. } => "notice: repositioned",
            Notice::Uncommitted { .. } => "notice: uncommitted",
            Notice::Refused { .. } => "notice: refused",
            _ => "notice: another",
        });
    }
}
