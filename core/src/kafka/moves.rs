//! Requests: where to read, and the end.
//!
//! A seek or rewind leaves the group, as a group has one position for all its members: what was
//! acked is committed, and reading goes on without the group. A close stops reading, commits, and
//! leaves.
//!
//! **Invariant:** after a seek, a rewind or a close was asked for, nothing that was read before
//! is handed out any more.

use std::time::Duration;

use super::links::Role;
use super::machine::Machine;
use super::membership::State;
use crate::command::Command;
use crate::desk::{Asked, Close, Move, Phase};
use crate::error::RequestError;
use crate::options::Start;
use crate::request::{Outcome, Request, Ticket};

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
            self.desk.done(earlier.ticket, Outcome::Superseded);
        }
        self.lane.withdraw_all();
        // A fetch that waits at a broker would keep the new position waiting; its connection is
        // for nothing else.
        let brokers: Vec<_> = self.readers.keys().copied().collect();
        for broker in brokers {
            self.shut_link(Role::Data(broker));
        }
        self.readers.clear();
        self.moving = Some(Move { ticket, to, placed: false });
    }

    pub(super) fn pump_move(&mut self) {
        let Some(moving) = &self.moving else { return };
        if moving.placed {
            if self.partitions.unsettled().is_empty()
                && let Some(moving) = self.moving.take()
            {
                self.desk.done(moving.ticket, Outcome::Positioned);
            }
            return;
        }
        if self.phase == Phase::Starting && self.cluster.answers == 0 {
            return;
        }
        if !self.is_committed() && self.has_group() {
            self.buffer.schedule.handle_request(self.now);
            return self.pump_commits();
        }
        let to = moving.to;
        let owned: Vec<_> = self.partitions.owned().iter().copied().collect();
        owned.into_iter().for_each(|slot| self.release(slot));
        self.membership.revoking = None;
        self.buffer.ledger.revoke_all();
        self.unacked_commits.clear();
        if self.is_member() {
            self.leave();
        }
        self.detached = true;
        self.start = to;
        self.selected = self.desk.assigned.clone();
        // Without an assignment a rewind is about the first shard.
        self.first_only = matches!(to, Start::From(_)) && self.selected.is_empty();
        if let Some(moving) = &mut self.moving {
            moving.placed = true;
        }
        if self.phase == Phase::Starting {
            self.phase = Phase::Running;
        }
        self.acquire_selected();
        self.pump_positions();
        self.pump_move();
    }

    fn on_close(&mut self, ticket: Ticket, deadline: Duration) {
        let until = self.now + deadline;
        if let Some(earlier) = self.moving.take() {
            self.desk.done(earlier.ticket, Outcome::Superseded);
        }
        self.lane.withdraw_all();
        self.buffer.handle_close(self.now, &mut self.stats);
        if self.config.no_ack {
            // What was not handed out is somebody else's.
            self.unacked_commits.clear();
        }
        self.phase = Phase::Closing;
        self.closing = Some(Close { ticket, until, leaving: false });
    }

    pub(super) fn pump_close(&mut self) {
        let Some(closing) = &self.closing else { return };
        let (until, leaving) = (closing.until, closing.leaving);
        if self.now >= until || (leaving && self.has_left()) {
            return self.finish(Phase::Ended);
        }
        if leaving {
            return;
        }
        if self.has_group() && !self.is_committed() {
            // Nobody who could commit, and nobody to become: nothing to wait for.
            if self.membership.state() == State::Left {
                self.finish(Phase::Ended);
            }
            return;
        }
        self.leave();
        if let Some(closing) = &mut self.closing {
            closing.leaving = true;
        }
        if self.has_left() {
            self.finish(Phase::Ended);
        }
    }

    /// The end, whatever is still open.
    pub(super) fn finish(&mut self, phase: Phase) {
        let uncommitted = self.buffer.ledger.acked() + self.lost_acks;
        self.lane.withdraw_all();
        // First, so that what the connections hand back starts nothing.
        self.phase = phase;
        for link in &mut self.links {
            if !link.is_down() {
                self.desk.command(Command::Close { conn: link.conn() });
            }
            drop(link.shut(self.now));
        }
        let commits = self.buffer.drain_commits(&self.stats);
        self.desk.end(&self.phase, uncommitted, commits, self.moving.take(), self.closing.take());
    }
}
