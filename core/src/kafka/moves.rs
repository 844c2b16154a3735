//! Requests: where to read, and the end.
//!
//! A seek or rewind leaves the group, as a group has one position for all its members: what was
//! acked is committed, and reading goes on without the group. A close stops reading, commits, and
//! leaves.
//!
//! **Invariant:** after a seek, a rewind or a close was asked for, nothing that was read before
//! is handed out any more.

use std::collections::BTreeSet;
use std::time::Duration;

use super::links::Role;
use super::machine::{Close, Machine, Move, Phase};
use super::membership::State;
use crate::command::Command;
use crate::error::{Error, RequestError};
use crate::options::Start;
use crate::request::{Outcome, Request, Ticket};
use crate::stream::{ShardId, StreamKey};

impl Machine {
    pub(super) fn on_request(&mut self, request: Request) -> Result<Option<Ticket>, RequestError> {
        // What was taken may be acked until the close is over.
        let late = matches!(request, Request::Close { .. } | Request::Ack(_) | Request::Taken(_));
        if self.is_over() || (self.closing.is_some() && !late) {
            return Err(RequestError::Closed);
        }
        match request {
            Request::Ack(ranges) => self.on_acks(ranges),
            Request::Taken(ranges) => self.on_taken(&ranges),
            Request::Pause => self.paused = true,
            Request::Resume => self.paused = false,
            Request::Assign { stream, shard } => {
                self.check_subscribed(&stream)?;
                self.assigned.insert((stream, shard));
            }
            Request::Unassign { stream, shard } => {
                self.check_subscribed(&stream)?;
                if !self.assigned.remove(&(stream.clone(), shard)) {
                    return Err(RequestError::ConsumerNotAssigned { stream, shard });
                }
            }
            Request::Commit => {
                let ticket = self.desk.ticket()?;
                self.on_commit_request(ticket);
                return Ok(Some(ticket));
            }
            Request::Seek(moment) => return self.on_move(Start::After(moment)).map(Some),
            Request::Rewind(position) => return self.on_move(Start::From(position)).map(Some),
            Request::Close { deadline } => return self.on_close(deadline).map(Some),
        }
        Ok(None)
    }

    fn check_subscribed(&self, stream: &StreamKey) -> Result<(), RequestError> {
        match self.cluster.topics().iter().any(|topic| topic.subscribed && topic.name == *stream) {
            true => Ok(()),
            false => Err(RequestError::StreamNotSubscribed { stream: stream.clone() }),
        }
    }

    fn on_move(&mut self, to: Start) -> Result<Ticket, RequestError> {
        let ticket = self.desk.ticket()?;
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
        Ok(ticket)
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
            self.schedule.handle_request(self.now);
            return self.pump_commits();
        }
        let to = moving.to;
        let owned: Vec<_> = self.partitions.owned().iter().copied().collect();
        owned.into_iter().for_each(|slot| self.release(slot));
        self.membership.revoking = None;
        self.ledger.revoke_all();
        self.unacked_commits.clear();
        if self.is_member() {
            self.leave();
        }
        self.detached = true;
        self.start = to;
        self.selected = match (to, self.assigned.is_empty()) {
            // Without an assignment a rewind is about the first shard.
            (Start::From(_), true) => self.first_shards(),
            _ => self.assigned.clone(),
        };
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

    fn first_shards(&self) -> BTreeSet<(StreamKey, ShardId)> {
        let subscribed = self.cluster.topics().iter().filter(|topic| topic.subscribed);
        subscribed.map(|topic| (topic.name.clone(), ShardId::ZERO)).collect()
    }

    fn on_close(&mut self, deadline: Duration) -> Result<Ticket, RequestError> {
        let until = self.now + deadline;
        if let Some(closing) = &mut self.closing {
            // A second close only brings the deadline nearer.
            closing.until = closing.until.min(until);
            return Err(RequestError::Closed);
        }
        let ticket = self.desk.last_ticket();
        if let Some(earlier) = self.moving.take() {
            self.desk.done(earlier.ticket, Outcome::Superseded);
        }
        self.lane.withdraw_all();
        self.drain_acks();
        if self.config.no_ack {
            // What was not handed out is somebody else's.
            self.unacked_commits.clear();
        }
        self.phase = Phase::Closing;
        self.closing = Some(Close { ticket, until, leaving: false });
        Ok(ticket)
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
        let uncommitted = self.ledger.acked() + self.lost_acks;
        let error = match &phase {
            Phase::Failed(error) => error.clone(),
            _ => Error::Closed,
        };
        self.lane.withdraw_all();
        // First, so that what the connections hand back starts nothing.
        self.phase = phase;
        for link in &mut self.links {
            if !link.is_down() {
                self.desk.command(Command::Close { conn: link.conn() });
            }
            drop(link.shut(self.now));
        }
        let clean = uncommitted == 0 && self.phase == Phase::Ended;
        while let Some(waiter) = self.desk.waiters.pop_front() {
            let messages = self.stats.committed - waiter.committed_before;
            let outcome = match clean {
                true => Outcome::Committed { messages },
                false => Outcome::Failed(error.clone()),
            };
            self.desk.done(waiter.ticket, outcome);
        }
        if let Some(moving) = self.moving.take() {
            self.desk.done(moving.ticket, Outcome::Failed(error));
        }
        if let Some(closing) = self.closing.take() {
            self.desk.done(closing.ticket, Outcome::Closed { uncommitted });
        }
    }
}
