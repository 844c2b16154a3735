//! A model application: takes messages, works on them, acks them, in its own way.

use std::collections::VecDeque;

use tidegate_core::{AckRange, Batch, Epoch, Instant};

use crate::oracle::MessageId;
use crate::swarm::Plan;

/// A message in the application's hands.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: Option<MessageId>,
    pub(super) range: Option<AckRange>,
    /// The assignment that it came under.
    pub(super) epoch: Epoch,
    /// When the work is over; `None`: never, while there are faults.
    pub(super) until: Option<Instant>,
}

/// What one application has in hand.
#[derive(Debug)]
pub(super) struct App {
    pub(super) plan: Plan,
    /// Taken, and nobody has begun with them: a batch, and the next of it.
    inbox: VecDeque<(Batch, usize)>,
    waiting: usize,
    pub(super) working: Vec<Job>,
    /// Done, and not handed in yet.
    pub(super) acks: Vec<AckRange>,
    pub(super) acked: u64,
    pub(super) taken: Vec<AckRange>,
    /// Takes nothing before.
    pub(super) rests_until: Instant,
    /// When its driver is to look at it again.
    pub(super) looked_at: Option<Instant>,
}

impl App {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            inbox: VecDeque::new(),
            waiting: 0,
            working: Vec::new(),
            acks: Vec::new(),
            acked: 0,
            taken: Vec::new(),
            rests_until: Instant::ZERO,
            looked_at: None,
        }
    }

    /// Whether it would take another batch.
    pub(super) fn wants(&self, now: Instant) -> bool {
        now >= self.rests_until && self.waiting + self.working.len() < self.plan.hold_max
    }

    pub(super) fn put(&mut self, batch: Batch) {
        self.taken.extend(batch.ack_range());
        self.waiting += batch.len();
        self.inbox.push_back((batch, 0));
    }

    /// The next message, if somebody is free to work on it.
    pub(super) fn next(&mut self) -> Option<(Batch, usize)> {
        // What is never done is put aside: it keeps nobody busy.
        let busy = self.working.iter().filter(|job| job.until.is_some()).count();
        if busy >= self.plan.workers {
            return None;
        }
        let (batch, at) = self.inbox.front_mut()?;
        let next = (batch.clone(), *at);
        *at += 1;
        self.waiting -= 1;
        if *at >= batch.len() {
            self.inbox.pop_front();
        }
        Some(next)
    }

    /// When the next work is over.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        let work = self.working.iter().filter_map(|job| job.until).min();
        let rest = Some(self.rests_until).filter(|at| *at > now);
        match (work, rest) {
            (Some(work), Some(rest)) => Some(work.min(rest)),
            (work, rest) => work.or(rest),
        }
    }

    /// Takes what is over now out of the work.
    pub(super) fn finish(&mut self, now: Instant, done: &mut Vec<Job>) {
        let mut at = 0;
        while let Some(job) = self.working.get(at) {
            if job.until.is_some_and(|until| until <= now) {
                done.push(self.working.remove(at));
            } else {
                at += 1;
            }
        }
    }

    pub(super) fn ack(&mut self, range: AckRange) {
        self.acked += u64::from(range.end - range.start);
        self.acks.push(range);
    }

    /// From now on it works like everybody.
    pub(super) fn reform(&mut self, now: Instant) {
        let plan = &mut self.plan;
        (plan.never, plan.rest, plan.pause, plan.wander, plan.long) = (0, 0, 0, 0, 0);
        plan.commit = plan.commit.max(1_000);
        self.rests_until = self.rests_until.min(now);
        for job in &mut self.working {
            job.until = Some(job.until.map_or(now, |until| until.min(now + plan.work_max)));
        }
    }
}
