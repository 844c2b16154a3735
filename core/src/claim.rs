//! When to claim what dead members left: a walk through every slot's pending list, once an
//! interval.
//!
//! A *cycle* walks slot after slot, one page at a time, and follows the broker's cursor: an
//! empty page with a cursor goes on, the zero cursor ends the slot's walk. A walk that needs
//! more than `pages_max` pages leaves the cycle and goes on from its cursor in the next one, so
//! that a long list delays no other slot for ever. Where a cycle isn't over when the next one
//! is due, the slots that were done join its end.
//!
//! The first cycle comes at a random moment within the first interval, the others on the
//! interval: members that started together don't claim in one wave, and what has been idle long
//! enough is found within one interval, so claimed within two.
//!
//! A page that failed (an error, a lost connection) ends the slot's walk; it begins again, from
//! the start, in the next cycle. Not at once: an error that stays would make a storm of it. From
//! the start, because entries of a lost page may be anyone's now.
//!
//! **Invariant:** at most one page is in flight; every slot is walked in every cycle; a cycle
//! that waits for credit goes on where it was.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ack::Slot;
use crate::mutation::{self, Mutation};
use crate::random::Random;
use crate::stream::SeqNo;
use crate::time::Instant;
use crate::timer::Wake;

/// Taking over messages that a dead member left un-acked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimOptions {
    /// Never: what a dead member left stays with it.
    Never,
    /// Every `interval`, what nobody touched for `idle`.
    Every {
        /// From one walk through the pending lists to the next. Default 30 s; less than 1 ms is
        /// taken as 1 ms.
        interval: Duration,
        /// How long nobody must have touched a message. Default 60 s. Own work is touched every
        /// third of it.
        idle: Duration,
    },
}

impl Default for ClaimOptions {
    fn default() -> Self {
        Self::Every { interval: Duration::from_secs(30), idle: Duration::from_secs(60) }
    }
}

/// A page to claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Of which slot.
    pub slot: Slot,
    /// From where on; [`SeqNo::ZERO`] is the start.
    pub cursor: SeqNo,
    /// Most messages; at least 1.
    pub count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Walk {
    cursor: SeqNo,
    pages: u32,
    /// Its place in the queue of this cycle.
    turn: Option<u64>,
}

/// The claims of one consumer over its slots.
#[derive(Clone, Debug)]
pub struct Cycle {
    options: Option<(Duration, Duration)>,
    page: usize,
    pages_max: u32,
    /// From the first poll to the first cycle.
    first: Duration,
    /// Not before the first poll.
    next_at: Option<Instant>,
    /// The first poll counts from here at the earliest.
    start: Instant,
    walks: BTreeMap<Slot, Walk>,
    /// Slots still to be walked in this cycle, each once, by turn.
    queue: BTreeMap<u64, Slot>,
    next_turn: u64,
    asked: Option<Slot>,
}

impl Cycle {
    /// Most pages of one slot in one cycle, unless told otherwise: of 100 messages each Redis
    /// looks through up to 1,000.
    pub const PAGES_MAX: u32 = 256;

    /// Claims in pages of up to `page` messages, `pages_max` pages a slot and cycle (0 is taken
    /// as 1 for both), from a random moment on within the first interval after the first poll,
    /// or after `now` if that is later.
    pub fn new(
        options: ClaimOptions,
        page: usize,
        pages_max: u32,
        now: Instant,
        random: &mut Random,
    ) -> Self {
        let options = match options {
            ClaimOptions::Never => None,
            ClaimOptions::Every { interval, idle } => Some((interval.max(Duration::from_millis(1)), idle)),
        };
        let first = options.map_or(0, |(interval, _)| u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX));
        Self {
            options,
            page: page.max(1),
            pages_max: pages_max.max(1),
            first: Duration::from_nanos(random.below(first).saturating_add(1)),
            next_at: None,
            start: now,
            walks: BTreeMap::new(),
            queue: BTreeMap::new(),
            next_turn: 0,
            asked: None,
        }
    }

    /// Walks this slot from the next cycle on.
    pub fn add(&mut self, slot: Slot) {
        self.walks.entry(slot).or_default();
    }

    /// Walks it no more; an answer that is still to come is ignored.
    pub fn remove(&mut self, slot: Slot) {
        self.leave(slot);
        self.walks.remove(&slot);
        if self.asked == Some(slot) {
            self.asked = None;
        }
    }

    /// The next page, if one is due, none is in flight, and `credit` messages may be taken.
    pub fn poll(&mut self, now: Instant, credit: usize) -> Option<Step> {
        let (interval, _) = self.options?;
        let due = self.next_at.unwrap_or(now.max(self.start) + self.first);
        self.next_at = Some(due);
        if now >= due {
            let next = due + interval;
            self.next_at = Some(if next > now { next } else { now + interval });
            for (&slot, walk) in &mut self.walks {
                if walk.turn.is_none() {
                    walk.turn = Some(self.next_turn);
                    walk.pages = 0;
                    self.queue.insert(self.next_turn, slot);
                    self.next_turn += 1;
                }
            }
        }
        if self.asked.is_some() || credit == 0 {
            return None;
        }
        let (_, &slot) = self.queue.first_key_value()?;
        let cursor = self.walks.get(&slot)?.cursor;
        self.asked = Some(slot);
        Some(Step { slot, cursor, count: self.page.min(credit) })
    }

    /// A page came, and the broker's cursor with it; zero is the end. How many messages it
    /// brought makes no difference.
    pub fn handle_page(&mut self, slot: Slot, next_cursor: SeqNo) {
        if self.asked != Some(slot) {
            return;
        }
        self.asked = None;
        let next_cursor = if mutation::is(Mutation::ClaimCursorDropped) { SeqNo::ZERO } else { next_cursor };
        let Some(walk) = self.walks.get_mut(&slot) else { return };
        walk.cursor = next_cursor;
        walk.pages += 1;
        if next_cursor == SeqNo::ZERO || walk.pages >= self.pages_max {
            self.leave(slot);
        }
    }

    /// The page failed, or its connection is lost: the slot is walked again from its start in
    /// the next cycle.
    pub fn handle_failed(&mut self, slot: Slot) {
        if self.asked != Some(slot) {
            return;
        }
        self.asked = None;
        if let Some(walk) = self.walks.get_mut(&slot) {
            walk.cursor = SeqNo::ZERO;
            self.leave(slot);
        }
    }

    /// The slot is done for this cycle.
    fn leave(&mut self, slot: Slot) {
        if let Some(turn) = self.walks.get_mut(&slot).and_then(|walk| walk.turn.take()) {
            self.queue.remove(&turn);
        }
    }

    /// When the next cycle begins; `None` before the first poll, and without slots. A page that is due already needs no wake: [`Cycle::poll`]
    /// gives it as soon as there is credit and the one before is answered.
    pub fn next_wake(&self) -> Option<Wake> {
        self.next_at.filter(|_| !self.walks.is_empty()).map(|at| Wake { at, why: "claim" })
    }

    /// Whether slots of this cycle are still to be walked.
    pub fn is_walking(&self) -> bool {
        !self.queue.is_empty()
    }

    /// How long nobody must have touched what is claimed; `None` for never.
    pub fn idle(&self) -> Option<Duration> {
        self.options.map(|(_, idle)| idle)
    }

    /// How often to touch own work that takes long, so that nobody claims it: a third of the
    /// idle time. `None` for never: others may claim even so, if their options say so.
    pub fn touch_after(&self) -> Option<Duration> {
        self.idle().map(|idle| idle / 3)
    }
}
