//! What the handles and the driver share: the data lane one way, acks and requests the other.
//!
//! # Theory of operation
//!
//! One mutex, held for a few instructions at a time and never across a call into a machine. The
//! driver comes by once a round ([`Lane::exchange`]): it leaves deliveries, and takes what the
//! handles gathered. It is woken only for a reason:
//!
//! - a request, or the last handle dropped: at once;
//! - acks: when as many were gathered as the machine has appetite for;
//! - room: when the last batch was begun, or few messages wait, and the machine holds more.
//!
//! **Invariant:** the driver's waker is put down in the very exchange that takes what was
//! gathered, so nothing can fall between the two.
//!
//! **Invariant:** the lane holds its [`Share`] of the limits and one batch at most; the machine
//! holds the rest, where a seek or a rebalance can withdraw it.
//!
//! **Invariant:** once `terminal` is set nothing is put in any more.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tidegate_core::{
    AckRange, Assignment, Batch, ConsumerError, Delivery, Limits, Message, Messages, Outcome, Request,
    RequestError, Stats,
};

use crate::reply::Reply;

/// How much waits here, of all that may wait for the application: enough that the driver isn't
/// woken for each small batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    messages: usize,
    bytes: usize,
}

impl Share {
    pub(crate) fn of(limits: &Limits) -> Self {
        Self { messages: limits.lane_records_max / 4, bytes: limits.lane_bytes_max / 8 }
    }
}

/// What the driver may move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    messages: usize,
    bytes: usize,
    /// Nothing is queued: one batch in any case.
    empty: bool,
}

impl Room {
    pub(crate) fn is_left(self) -> bool {
        self.empty || (self.messages > 0 && self.bytes > 0)
    }

    pub(crate) fn handle_moved(&mut self, batch: &Batch) {
        self.empty = false;
        self.messages = self.messages.saturating_sub(batch.len());
        self.bytes = self.bytes.saturating_sub(batch.bytes());
    }
}

/// A poisoned lock is taken all the same: what panicked under it was not the lane.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the application takes, in order.
#[derive(Clone, Debug)]
pub enum Taken {
    /// Messages of one shard.
    Messages(Messages),
    /// A shard is read from now on.
    Assigned(Assignment),
    /// A shard is no longer read; its messages came before this.
    Revoked(Assignment),
}

/// What a handle asks of the driver.
pub(crate) enum Ask {
    Request(Request, Reply<Result<Outcome, ConsumerError>>),
    Stats(Reply<Stats>),
}

/// What the driver takes along from an exchange.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) acks: Vec<AckRange>,
    pub(crate) taken: Vec<AckRange>,
    pub(crate) asks: VecDeque<Ask>,
    pub(crate) abandoned: bool,
}

impl Gathered {
    pub(crate) fn is_empty(&self) -> bool {
        self.acks.is_empty() && self.taken.is_empty() && self.asks.is_empty() && !self.abandoned
    }
}

/// The answer to an attempt to take something.
pub(crate) enum Attempt<T> {
    Took(T),
    Wait,
    Over(Result<(), ConsumerError>),
}

pub(crate) struct Lane {
    current: Option<Batch>,
    /// The next message of `current`.
    at: u32,
    queue: VecDeque<Delivery>,
    queued_batches: usize,
    queued_messages: usize,
    queued_bytes: usize,
    share: Share,
    acks: Vec<AckRange>,
    taken: Vec<AckRange>,
    /// Messages in `acks` and `taken`.
    gathered: u64,
    appetite: u64,
    /// Whether the machine counts what was taken.
    delayed: bool,
    /// Whether the machine may hold deliveries.
    more: bool,
    paused: bool,
    asks: VecDeque<Ask>,
    asks_max: usize,
    abandoned: bool,
    waker: Option<Waker>,
    pub(crate) ready: bool,
    /// What `next` answers when everything before it was taken.
    terminal: Option<Result<(), ConsumerError>>,
    /// How a close ended.
    closed: Option<Result<(), ConsumerError>>,
    /// Nobody takes requests any more.
    gone: bool,
    last_stats: Stats,
}

/// For the application.
impl Lane {
    pub(crate) fn new(delayed: bool, asks_max: usize, share: Share) -> Self {
        Self {
            current: None,
            at: 0,
            queue: VecDeque::new(),
            queued_batches: 0,
            queued_messages: 0,
            queued_bytes: 0,
            share,
            acks: Vec::new(),
            taken: Vec::new(),
            gathered: 0,
            appetite: 1,
            delayed,
            more: true,
            paused: false,
            asks: VecDeque::new(),
            asks_max,
            abandoned: false,
            waker: None,
            ready: false,
            terminal: None,
            closed: None,
            gone: false,
            last_stats: Stats::default(),
        }
    }

    /// The next message, and whom to wake once the lock is free.
    #[inline]
    pub(crate) fn take_message(&mut self) -> (Attempt<Message>, Option<Waker>) {
        if self.paused && !self.gone {
            return (Attempt::Wait, None);
        }
        let mut wake = None;
        loop {
            if let Some(batch) = &self.current {
                if let Some(message) = batch.message(self.at as usize) {
                    self.at += 1;
                    if self.at as usize >= batch.len() {
                        // From now on the buffer lives as long as the application's messages.
                        self.current = None;
                    }
                    let second = self.note_taken(message.ack_range());
                    return (Attempt::Took(message), wake.or(second));
                }
                self.current = None;
            }
            match self.queue.pop_front() {
                Some(Delivery::Batch(batch)) => wake = wake.or(self.start(batch)),
                Some(_) => {}
                None => return (self.nothing(), wake),
            }
        }
    }

    /// All that is left of a batch, or what lies between batches.
    pub(crate) fn take(&mut self) -> (Attempt<Taken>, Option<Waker>) {
        if self.paused && !self.gone {
            return (Attempt::Wait, None);
        }
        let mut wake = None;
        loop {
            if let Some(batch) = self.current.take() {
                let messages = Messages::new(batch, self.at);
                if !messages.is_empty() {
                    let second = self.note_taken(messages.ack_range());
                    return (Attempt::Took(Taken::Messages(messages)), wake.or(second));
                }
            }
            match self.queue.pop_front() {
                Some(Delivery::Batch(batch)) => wake = wake.or(self.start(batch)),
                Some(Delivery::Assigned(shard)) => return (Attempt::Took(Taken::Assigned(shard)), wake),
                Some(Delivery::Revoked(shard)) => return (Attempt::Took(Taken::Revoked(shard)), wake),
                Some(Delivery::End | Delivery::Failed(_)) => {}
                None => return (self.nothing(), wake),
            }
        }
    }

    /// Whether something is left for another waiter.
    pub(crate) fn has_more(&self) -> bool {
        (self.current.is_some() || !self.queue.is_empty() || self.terminal.is_some())
            && (!self.paused || self.gone)
    }

    #[inline]
    pub(crate) fn ack(&mut self, range: AckRange) -> Option<Waker> {
        if self.gone || range.start >= range.end {
            return None;
        }
        push(&mut self.acks, range);
        self.gather(range)
    }

    pub(crate) fn ask(&mut self, ask: Ask) -> Result<Option<Waker>, ConsumerError> {
        if self.gone {
            return Err(self.why_gone());
        }
        if self.asks.len() >= self.asks_max {
            return Err(RequestError::TooManyRequests { max: self.asks_max }.into());
        }
        self.asks.push_back(ask);
        Ok(self.waker.take())
    }

    pub(crate) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(crate) fn abandon(&mut self) -> Option<Waker> {
        self.abandoned = true;
        self.waker.take()
    }

    pub(crate) fn terminal(&self) -> Option<&Result<(), ConsumerError>> {
        self.terminal.as_ref()
    }

    pub(crate) fn closed(&self) -> Option<Result<(), ConsumerError>> {
        let failed = || self.terminal.clone().filter(|_| self.gone);
        self.closed.clone().or_else(failed)
    }

    /// What a request gets that nobody answers.
    pub(crate) fn why_gone(&self) -> ConsumerError {
        match &self.terminal {
            Some(Err(error)) => error.clone(),
            _ => RequestError::Closed.into(),
        }
    }

    pub(crate) fn last_stats(&self) -> Stats {
        self.last_stats
    }

    fn nothing<T>(&self) -> Attempt<T> {
        match &self.terminal {
            Some(end) => Attempt::Over(end.clone()),
            None => Attempt::Wait,
        }
    }

    fn start(&mut self, batch: Batch) -> Option<Waker> {
        self.queued_batches -= 1;
        self.queued_messages -= batch.len();
        self.queued_bytes -= batch.bytes();
        self.current = Some(batch);
        self.at = 0;
        if self.wants_refill() { self.waker.take() } else { None }
    }

    fn wants_refill(&self) -> bool {
        let half =
            self.queued_messages <= self.share.messages / 2 && self.queued_bytes <= self.share.bytes / 2;
        self.more && (half || self.queued_batches == 0)
    }

    #[inline]
    fn note_taken(&mut self, range: Option<AckRange>) -> Option<Waker> {
        let range = range.filter(|_| self.delayed)?;
        push(&mut self.taken, range);
        self.gather(range)
    }

    #[inline]
    fn gather(&mut self, range: AckRange) -> Option<Waker> {
        self.gathered += u64::from(range.end - range.start);
        if self.gathered >= self.appetite { self.waker.take() } else { None }
    }
}

/// For the driver.
impl Lane {
    /// Puts `moved` in, says what the machine wants, and takes what was gathered. Whoever
    /// gathers anything after this wakes `waker`, if there is a reason.
    pub(crate) fn exchange(
        &mut self,
        moved: &mut Vec<Delivery>,
        more: bool,
        appetite: u64,
        waker: &Waker,
    ) -> Gathered {
        for delivery in moved.drain(..) {
            self.put(delivery);
        }
        self.more = more;
        self.appetite = appetite.max(1);
        self.gathered = 0;
        if !self.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
        Gathered {
            acks: std::mem::take(&mut self.acks),
            taken: std::mem::take(&mut self.taken),
            asks: std::mem::take(&mut self.asks),
            abandoned: std::mem::take(&mut self.abandoned),
        }
    }

    pub(crate) fn room(&self) -> Room {
        if self.terminal.is_some() {
            return Room { messages: 0, bytes: 0, empty: false };
        }
        let messages = usize::try_from(self.waiting()).unwrap_or(usize::MAX);
        let bytes = self.queued_bytes + self.current.as_ref().map_or(0, Batch::bytes);
        Room {
            messages: self.share.messages.saturating_sub(messages),
            bytes: self.share.bytes.saturating_sub(bytes),
            empty: self.queued_batches == 0,
        }
    }

    pub(crate) fn put(&mut self, delivery: Delivery) {
        if self.terminal.is_some() {
            return;
        }
        match delivery {
            Delivery::Batch(batch) if batch.is_empty() => {}
            Delivery::Batch(batch) => {
                self.queued_batches += 1;
                self.queued_messages += batch.len();
                self.queued_bytes += batch.bytes();
                self.queue.push_back(Delivery::Batch(batch));
            }
            Delivery::End => self.terminal = Some(Ok(())),
            Delivery::Failed(error) => self.terminal = Some(Err(error.into())),
            Delivery::Revoked(shard) => {
                // Whoever has it now reads it again: here it would only be read twice.
                self.withdraw_shard(&shard);
                self.queue.push_back(Delivery::Revoked(shard));
            }
            between => self.queue.push_back(between),
        }
    }

    /// What waits here of one assignment is not handed out any more.
    fn withdraw_shard(&mut self, shard: &Assignment) {
        let of_it = |batch: &Batch| {
            let source = batch.source();
            (source.shard, source.epoch) == (shard.shard, shard.epoch) && source.stream == shard.stream
        };
        if self.current.as_ref().is_some_and(of_it) {
            self.current = None;
        }
        let (batches, messages, bytes) =
            (&mut self.queued_batches, &mut self.queued_messages, &mut self.queued_bytes);
        self.queue.retain(|delivery| match delivery {
            Delivery::Batch(batch) if of_it(batch) => {
                *batches -= 1;
                *messages -= batch.len();
                *bytes -= batch.bytes();
                false
            }
            _ => true,
        });
    }

    /// Messages that wait here.
    pub(crate) fn waiting(&self) -> u64 {
        let current = self.current.as_ref().map_or(0, |batch| batch.len() - self.at as usize);
        (self.queued_messages + current) as u64
    }

    /// What is here is of the past: positions have moved.
    pub(crate) fn withdraw(&mut self) {
        self.current = None;
        self.queue.retain(|delivery| !matches!(delivery, Delivery::Batch(_)));
        self.queued_batches = 0;
        self.queued_messages = 0;
        self.queued_bytes = 0;
    }

    /// Closed, as far as the application is concerned. How many acks came too late.
    pub(crate) fn close(&mut self, uncommitted: u64) -> u64 {
        self.withdraw();
        let late: u64 = self.acks.drain(..).map(|range| u64::from(range.end - range.start)).sum();
        let messages = uncommitted.saturating_add(late);
        self.terminal.get_or_insert(Ok(()));
        self.closed = Some(match messages {
            0 => Ok(()),
            messages => Err(tidegate_core::Error::Uncommitted { messages }.into()),
        });
        messages
    }

    /// The last word, in case the driver goes without another.
    pub(crate) fn keep_stats(&mut self, stats: Stats) {
        self.last_stats = stats;
    }

    /// The driver is gone. What still waits for it is answered by being dropped, unlocked.
    pub(crate) fn leave(&mut self) -> VecDeque<Ask> {
        self.terminal.get_or_insert(Err(ConsumerError::Stopped));
        self.gone = true;
        self.waker = None;
        std::mem::take(&mut self.asks)
    }
}

#[inline]
fn push(ranges: &mut Vec<AckRange>, range: AckRange) {
    match ranges.last_mut() {
        Some(last)
            if last.end == range.start && last.segment == range.segment && last.epoch == range.epoch =>
        {
            last.end = range.end;
        }
        _ => ranges.push(range),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::message::{Entries, Entry, Source};
    use tidegate_core::{Epoch, SeqNo, ShardId, Timestamp};

    use super::*;

    fn batch(shard: u64, epoch: u64, len: u64) -> Delivery {
        let entry =
            |at| Entry { seq: SeqNo::offset(at), timestamp: Timestamp::default(), deliveries: 1, place: 0 };
        let source =
            Source { stream: "s".into(), shard: ShardId::new(shard), epoch: Epoch(epoch), segment: None };
        let index = (0..len).map(entry).collect();
        Delivery::Batch(Batch::new(source, Entries { index, ..Entries::default() }))
    }

    #[test]
    fn what_waits_of_a_shard_that_is_revoked_is_not_handed_out() {
        let mut lane = Lane::new(false, 1, Share { messages: 100, bytes: 100 });
        for (shard, epoch, len) in [(0, 1, 3), (1, 1, 2), (0, 1, 4), (0, 2, 5)] {
            lane.put(batch(shard, epoch, len));
        }
        // One of them was begun.
        assert!(matches!(lane.take_message().0, Attempt::Took(_)));
        let revoked = Assignment { stream: "s".into(), shard: ShardId::ZERO, epoch: Epoch(1) };
        lane.put(Delivery::Revoked(revoked));
        assert_eq!(lane.waiting(), 2 + 5);
        let mut left = Vec::new();
        while let (Attempt::Took(message), _) = lane.take_message() {
            left.push((message.shard().number(), message.batch().source().epoch.0));
        }
        assert_eq!(left, [[(1, 1); 2].as_slice(), [(0, 2); 5].as_slice()].concat());
        assert!(lane.room().is_left());
    }
}
