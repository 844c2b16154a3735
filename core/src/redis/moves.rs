//! Requests: where to read, and the end.
//!
//! A seek or rewind leaves the group, as a group has one position for all its members: what was
//! acked is committed, what was not stays pending for the others, and reading goes on without
//! the group. A close stops reading, commits, hands what is still un-acked to the other members
//! (if nobody will come back under this name), and leaves.
//!
//! **Invariant:** after a seek, a rewind or a close was asked for, nothing that was read before
//! is handed out any more.

use std::time::Duration;

use super::command;
use super::keys::KeyState;
use super::link::State;
use super::machine::Machine;
use super::setup::start_after;
use super::task::Task;
use crate::ack::Slot;
use crate::command::Command;
use crate::delivery::{Delivery, Notice};
use crate::desk::{Asked, Close, Move, Phase};
use crate::error::RequestError;
use crate::mutation::{self, Mutation};
use crate::options::Start;
use crate::request::{Outcome, Request, Ticket};
use crate::stream::SeqNo;

impl Machine {
    pub(super) fn on_request(&mut self, request: Request) -> Result<Option<Ticket>, RequestError> {
        if self.is_over() {
            return Err(RequestError::Closed);
        }
        let acks = self.acks();
        let Self { now, desk, closing, buffer, stats, .. } = self;
        match desk.handle(*now, request, closing.as_mut(), acks, buffer, stats)? {
            Asked::Nothing(ticket) => Ok(ticket),
            Asked::Move(ticket, to) => {
                self.on_move(ticket, to);
                Ok(Some(ticket))
            }
            Asked::Close(ticket, deadline) => {
                self.on_close(ticket, deadline);
                Ok(Some(ticket))
            }
        }
    }

    fn on_move(&mut self, ticket: Ticket, to: Start) {
        if let Some(earlier) = self.moving.take() {
            self.done(earlier.ticket, Outcome::Superseded);
        }
        if !mutation::is(Mutation::BufferedAfterRevoked) {
            self.withdraw();
        }
        for slot in self.keys.slots() {
            self.revoke(slot);
        }
        self.epoch = self.epoch.next();
        self.moving = Some(Move { ticket, to, placed: false });
    }

    /// The shard is no longer read, if it was.
    fn revoke(&mut self, slot: Slot) {
        if std::mem::replace(&mut self.keys.at_mut(slot).announced, false) {
            let shard = self.keys.assignment(slot, self.epoch);
            self.notice(Notice::Revoked(shard.clone()));
            self.lane.push_back(Delivery::Revoked(shard));
        }
    }

    /// What waits in the data lane is not handed out.
    fn withdraw(&mut self) {
        let lane = std::mem::take(&mut self.lane);
        for delivery in lane {
            match delivery {
                Delivery::Batch(batch) => {
                    self.flow.handle_taken(batch.len(), batch.bytes());
                    if let Some(range) = batch.ack_range() {
                        if mutation::is(Mutation::PrefetchedAckedAtClose) {
                            self.buffer.ledger.ack(range);
                        }
                        self.buffer.ledger.withdraw(range);
                    }
                }
                other => self.lane.push_back(other),
            }
        }
    }

    pub(super) fn pump_move(&mut self) {
        let Some(moving) = &self.moving else { return };
        if moving.placed {
            if self.keys.is_settled()
                && self.probes.is_empty()
                && let Some(moving) = self.moving.take()
            {
                self.done(moving.ticket, Outcome::Positioned);
            }
            return;
        }
        // A read that is under way is let go first; a lost connection has none.
        if self.phase != Phase::Running || self.reader.waiting() > 0 || !self.is_committed() {
            if !self.is_committed() {
                self.buffer.schedule.handle_request(self.now);
                self.pump_commits();
            }
            return;
        }
        let to = moving.to;
        if !mutation::is(Mutation::OldEpochAcked) {
            self.buffer.ledger.revoke_all();
        }
        for slot in self.keys.slots() {
            self.cycle.remove(slot);
            self.keys.set_recovery(slot, None);
        }
        self.real_time = true;
        self.start = to;
        self.reads.full = false;
        self.selected = self.desk.assigned.clone();
        for slot in self.keys.slots() {
            let key = self.keys.at(slot);
            let name = (key.stream.clone(), key.shard);
            let selected = self.selected.is_empty() || self.selected.contains(&name);
            let state = self.keys.state(slot);
            match (selected, start_after(to)) {
                (false, _) => {
                    // Found on the way here.
                    self.revoke(slot);
                    self.keys.set(slot, KeyState::Left);
                }
                // The end is wherever the server says.
                (true, None) => {
                    self.keys.at_mut(slot).started = false;
                    self.keys.at_mut(slot).fresh = false;
                    self.keys.set(slot, KeyState::Todo);
                }
                (true, Some(after)) => {
                    self.keys.at_mut(slot).position = after;
                    match state {
                        KeyState::Ready => self.announce(slot),
                        // Looked at on the way here; its position stands, and the look only
                        // has to find it there.
                        _ => {
                            self.keys.at_mut(slot).started = false;
                            self.keys.at_mut(slot).fresh = false;
                            self.keys.set(slot, KeyState::Todo);
                        }
                    }
                }
            }
        }
        if let Some(moving) = &mut self.moving {
            moving.placed = true;
        }
        self.pump_setup();
        self.pump_move();
    }

    fn on_close(&mut self, ticket: Ticket, deadline: Duration) {
        let until = self.now + deadline;
        if let Some(earlier) = self.moving.take() {
            self.done(earlier.ticket, Outcome::Superseded);
        }
        if mutation::is(Mutation::AcksDroppedAtClose) {
            self.buffer.ledger.revoke_all();
        }
        self.withdraw();
        self.buffer.handle_close(self.now, &mut self.stats);
        self.phase = Phase::Closing;
        self.closing = Some(Close { ticket, until, leaving: false });
    }

    pub(super) fn pump_close(&mut self) {
        let Some(closing) = &self.closing else { return };
        let (until, leaving) = (closing.until, closing.leaving);
        let nothing_to_do = !self.acks() || self.buffer.ledger.is_empty() && !self.config.generated;
        let finished = leaving && self.control.waiting() == 0;
        if self.now >= until || nothing_to_do || finished {
            return self.finish(Phase::Ended);
        }
        if leaving || !self.control.is_ready() || self.reader.waiting() > 0 || !self.is_committed() {
            // Without a connection, and with nothing that the broker must know, there is
            // nothing to wait for.
            if !self.control.is_ready() && self.is_committed() {
                self.finish(Phase::Ended);
            }
            return;
        }
        if let Some(closing) = &mut self.closing {
            closing.leaving = true;
        }
        if self.config.generated {
            let patience = self.config.options.limits.response_timeout;
            let ready: Vec<_> = self.keys.ready_slots().collect();
            for slot in ready {
                if self.cycle.idle().is_some() {
                    self.hand_back(slot, SeqNo::ZERO);
                }
                let (name, config) = (&self.keys.at(slot).name, &self.config);
                self.control.send(self.now, Task::Depart, patience, |out| {
                    command::depart(out, name, &config.group, &config.consumer);
                });
            }
        }
        self.pump_close();
    }

    /// The end, whatever is still open.
    pub(super) fn finish(&mut self, phase: Phase) {
        let uncommitted = self.buffer.ledger.acked() + self.buffer.ledger.committing();
        self.withdraw();
        for link in [&mut self.reader, &mut self.control] {
            if !matches!(link.state, State::Down { .. } | State::Off) {
                self.desk.command(Command::Close { conn: link.conn() });
            }
            drop(link.shut(State::Off));
        }
        let commits = self.buffer.drain_commits(&self.stats);
        self.desk.end(&phase, uncommitted, commits, self.moving.take(), self.closing.take());
        self.phase = phase;
    }
}
