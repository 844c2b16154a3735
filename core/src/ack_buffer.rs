//! The way of an ack, the same for every backend: from the application into the
//! [ledger](crate::ack), counted by the [schedule](crate::commit), until a commit tells the broker;
//! and the `commit()`s that wait for that.
//!
//! **Invariant:** a `commit()` speaks of the acks that came before it. Acks that come while it
//! waits are kept apart until it is done, so that a busy application can't keep it from ending.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ack::{AckRange, Ledger};
use crate::commit::{AutoCommit, Schedule};
use crate::mutation::{self, Mutation};
use crate::request::Ticket;
use crate::stats::Stats;
use crate::time::Instant;

/// A `commit()` that waits; acks that came after it wait with it.
struct Waiter {
    ticket: Ticket,
    later: Vec<AckRange>,
    /// The counter of committed messages when it came.
    committed_before: u64,
}

/// See the [module](self).
pub(crate) struct AckBuffer {
    pub(crate) ledger: Ledger,
    pub(crate) schedule: Schedule,
    waiters: VecDeque<Waiter>,
}

impl AckBuffer {
    /// As [`Schedule::new`] takes them.
    pub(crate) fn new(mode: AutoCommit, batch: usize, idle: Duration) -> Self {
        Self { ledger: Ledger::new(), schedule: Schedule::new(mode, batch, idle), waiters: VecDeque::new() }
    }

    /// The application is done with these. A close waits for all of them, so it has to know of them
    /// at once.
    pub(crate) fn handle_acks(
        &mut self,
        now: Instant,
        ranges: Vec<AckRange>,
        is_closing: bool,
        stats: &mut Stats,
    ) {
        match self.waiters.back_mut() {
            Some(waiter) if !is_closing => waiter.later.extend(ranges),
            _ => ranges.into_iter().for_each(|range| self.ack(now, range, stats)),
        }
    }

    /// What was handed out in an earlier assignment is stale.
    fn ack(&mut self, now: Instant, range: AckRange, stats: &mut Stats) {
        let report = self.ledger.ack(range);
        self.schedule.handle_acked(now, report.newly);
        stats.acked += report.newly;
        stats.stale_acks += report.stale;
    }

    /// The application took these; `counts` where messages are acked at all.
    pub(crate) fn handle_taken(
        &mut self,
        now: Instant,
        ranges: &[AckRange],
        counts: bool,
        stats: &mut Stats,
    ) {
        for range in ranges {
            if mutation::is(Mutation::AckedWhenTaken) {
                self.ack(now, *range, stats);
            }
            if counts {
                self.schedule.handle_taken(now, *range);
            }
        }
    }

    /// A `commit()`.
    pub(crate) fn handle_commit(&mut self, now: Instant, ticket: Ticket, stats: &Stats) {
        if self.waiters.is_empty() {
            self.schedule.handle_request(now);
        }
        self.waiters.push_back(Waiter { ticket, later: Vec::new(), committed_before: stats.committed });
    }

    /// A close: everything counts, and what `Delayed` waits for is over.
    pub(crate) fn handle_close(&mut self, now: Instant, stats: &mut Stats) {
        for waiter in &mut self.waiters {
            for range in std::mem::take(&mut waiter.later) {
                stats.acked += self.ledger.ack(range).newly;
            }
        }
        while let Some(range) = self.schedule.drain_taken() {
            stats.acked += self.ledger.ack(range).newly;
        }
        self.schedule.handle_drain(now);
    }

    /// `Delayed`: acks what is due.
    pub(crate) fn handle_time(&mut self, now: Instant, stats: &mut Stats) {
        while let Some(range) = self.schedule.poll_due(now) {
            self.ack(now, range, stats);
        }
    }

    /// All is committed: the next `commit()` that is done by that, and how many messages it told
    /// the broker about. The acks that waited with it count from now on.
    pub(crate) fn poll_committed(&mut self, now: Instant, stats: &mut Stats) -> Option<(Ticket, u64)> {
        let waiter = self.waiters.pop_front()?;
        let messages = stats.committed - waiter.committed_before;
        waiter.later.into_iter().for_each(|range| self.ack(now, range, stats));
        if !self.waiters.is_empty() {
            self.schedule.handle_request(now);
        }
        Some((waiter.ticket, messages))
    }

    /// The end: those that still wait, as [`AckBuffer::poll_committed`] gives them.
    pub(crate) fn drain_commits(&mut self, stats: &Stats) -> impl Iterator<Item = (Ticket, u64)> + use<> {
        let committed = stats.committed;
        let waiters = std::mem::take(&mut self.waiters);
        waiters.into_iter().map(move |waiter| (waiter.ticket, committed - waiter.committed_before))
    }
}
