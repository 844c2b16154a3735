//! The one loop that drives a machine, whatever the runtime.
//!
//! # Theory of operation
//!
//! The driver owns the machine, so nobody ever waits for it. One poll of it is a few rounds, and
//! a round is: exchange with the lane, hand in what was gathered, let time and sockets report,
//! carry out commands, write, move deliveries. A round in which nothing happened is the last:
//! everything that could happen next has the waker by then.
//!
//! **Invariant:** a round without progress comes after an exchange that published what the
//! machine wants; so there is no appetite or room that the handles don't know of.
//!
//! **Invariant:** however the driver ends, by a close, a panic, or with its runtime, its lane gets
//! an end and every call an answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_core::{
    Cause, Command, ConsumerError, Delivery, Event, Instant, Machine, Notice, Outcome, Request, RequestError,
    Ticket,
};

use crate::handle::Shared;
use crate::lane::{Ask, Gathered, Room, lock};
use crate::link::{Link, Step};
use crate::reply::Reply;
use crate::runtime::{Runtime, Timer};
use crate::trace;

/// After so many rounds the other tasks of the runtime have their turn.
const ROUNDS: usize = 16;
/// How long a consumer that everybody dropped may take to commit and leave.
const ABANDONED: Duration = Duration::from_secs(1);

pub(crate) struct Driver<R: Runtime, M: Machine> {
    // The first field, so that the end is known before the replies are dropped.
    end: End,
    runtime: R,
    machine: M,
    span: trace::Span,
    /// Made within a task of the runtime, so not before the first round.
    timer: Option<R::Timer>,
    /// What the timer is set to, and hasn't fired yet; at or before what is wanted.
    armed: Option<Instant>,
    /// By the connection's number.
    links: Vec<Option<Link<R::Socket>>>,
    tickets: BTreeMap<Ticket, Waiter>,
    moved: Vec<Delivery>,
    more: bool,
    appetite: u64,
    /// The data lane has its end. Acks may still come, so it goes on until it is closed.
    ended: bool,
    /// Closed or failed: it may go once all tickets are done.
    over: bool,
}

struct Waiter {
    /// `None` where the driver asked by itself.
    reply: Option<Reply<Result<Outcome, ConsumerError>>>,
    is_close: bool,
}

/// Marks the lane when the driver is gone.
struct End {
    shared: Arc<Shared>,
}

impl Drop for End {
    fn drop(&mut self) {
        let left = lock(&self.shared.lane).leave();
        drop(left);
        lock(&self.shared.subscribers).end();
        self.shared.available.notify(usize::MAX);
        self.shared.state.notify(usize::MAX);
    }
}

impl<R: Runtime, M: Machine> Drop for Driver<R, M> {
    fn drop(&mut self) {
        // A machine that panicked is asked nothing more.
        if !std::thread::panicking() {
            lock(&self.end.shared.lane).keep_stats(self.machine.stats());
        }
    }
}

impl<R: Runtime, M: Machine> Driver<R, M> {
    pub(crate) fn new(runtime: R, machine: M, shared: Arc<Shared>) -> Self {
        Self {
            end: End { shared },
            runtime,
            machine,
            span: trace::span(),
            timer: None,
            armed: None,
            links: Vec::new(),
            tickets: BTreeMap::new(),
            moved: Vec::new(),
            more: true,
            appetite: 1,
            ended: false,
            over: false,
        }
    }

    /// Ready once the machine may be dropped.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let span = self.span.clone();
        span.in_scope(|| {
            for _ in 0..ROUNDS {
                let progress = self.round(cx);
                if self.over && self.tickets.is_empty() && self.moved.is_empty() {
                    let mut lane = lock(&self.end.shared.lane);
                    lane.keep_stats(self.machine.stats());
                    drop(lane.leave());
                    return Poll::Ready(());
                }
                if !progress {
                    return Poll::Pending;
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }

    fn round(&mut self, cx: &mut Context<'_>) -> bool {
        let (gathered, mut room) = self.exchange(cx);
        let mut progress = !gathered.is_empty();
        // Before time passes: what is committed at this wake-up includes what was acked before it.
        self.hand_in(gathered);
        progress |= self.tick(cx);
        progress |= self.read(cx);
        // What came goes to the application before anything is written: it works meanwhile.
        progress |= self.take_deliveries(&mut room);
        self.publish();
        let (commanded, wake) = self.carry_out();
        progress |= commanded;
        progress |= self.write(cx);
        progress |= self.take_deliveries(&mut room);
        let appetite = self.machine.ack_appetite().max(1);
        progress |= std::mem::replace(&mut self.appetite, appetite) != appetite;
        // With progress there is another round, and a later word on when to wake.
        if !progress {
            progress = self.arm(wake, cx);
        }
        progress
    }

    fn exchange(&mut self, cx: &mut Context<'_>) -> (Gathered, Room) {
        let shared = &self.end.shared;
        let news = !self.moved.is_empty();
        let mut lane = lock(&shared.lane);
        let gathered = lane.exchange(&mut self.moved, self.more, self.appetite, cx.waker());
        let room = lane.room();
        self.ended = lane.terminal().is_some();
        self.over |= matches!(lane.terminal(), Some(Err(_)));
        drop(lane);
        if news {
            self.tell();
        }
        (gathered, room)
    }

    /// Acks first: a commit that is due, or asked for, is about all acks that came before it.
    fn hand_in(&mut self, gathered: Gathered) {
        let now = self.runtime.now();
        for (ranges, request) in [
            (gathered.acks, Request::Ack as fn(Vec<_>) -> Request),
            (gathered.taken, Request::Taken as fn(Vec<_>) -> Request),
        ] {
            if !ranges.is_empty() {
                // Refused by a consumer that is over: its close has said what is uncommitted.
                let _ = self.machine.request(now, request(ranges));
            }
        }
        for ask in gathered.asks {
            match ask {
                Ask::Request(request, reply) => self.request(now, request, Some(reply)),
                Ask::Stats(reply) => {
                    let mut stats = self.machine.stats();
                    let waiting = lock(&self.end.shared.lane).waiting();
                    stats.queued += waiting;
                    stats.in_flight = stats.in_flight.saturating_sub(waiting);
                    reply.send(stats);
                }
            }
        }
        if gathered.abandoned {
            self.request(now, Request::Close { deadline: ABANDONED }, None);
        }
    }

    fn request(
        &mut self,
        now: Instant,
        request: Request,
        reply: Option<Reply<Result<Outcome, ConsumerError>>>,
    ) {
        let is_close = matches!(request, Request::Close { .. });
        let moves = is_close || matches!(request, Request::Seek(_) | Request::Rewind(_));
        match self.machine.request(now, request) {
            Ok(ticket) => {
                if moves {
                    // The machine has withdrawn what it still held; this is the rest of it.
                    lock(&self.end.shared.lane).withdraw();
                }
                match (ticket, reply) {
                    (Some(ticket), reply) => {
                        self.tickets.insert(ticket, Waiter { reply, is_close });
                    }
                    // Done already; nobody looks at the outcome.
                    (None, Some(reply)) => reply.send(Ok(Outcome::Positioned)),
                    (None, None) => {}
                }
            }
            Err(error) => {
                if is_close && error == RequestError::Closed {
                    self.find_end();
                }
                if let Some(reply) = reply {
                    reply.send(Err(error.into()));
                }
            }
        }
    }

    /// The machine is over, and nobody will take what it had before its end.
    fn find_end(&mut self) {
        let mut end = Delivery::End;
        while let Some(delivery) = self.machine.poll_delivery() {
            if matches!(delivery, Delivery::End | Delivery::Failed(_)) {
                end = delivery;
                break;
            }
        }
        let mut lane = lock(&self.end.shared.lane);
        lane.withdraw();
        lane.put(end);
        drop(lane);
        self.finish();
    }

    fn finish(&mut self) {
        (self.ended, self.over) = (true, true);
        self.end.shared.available.notify(usize::MAX);
        self.end.shared.state.notify(usize::MAX);
    }

    fn tick(&mut self, cx: &mut Context<'_>) -> bool {
        if self.timer.is_none() {
            self.timer = Some(self.runtime.timer());
            // The machine learns what time it is, and begins.
            self.machine.handle(self.runtime.now(), Event::Tick);
            return true;
        }
        let fired =
            self.armed.is_some() && self.timer.as_mut().is_some_and(|timer| timer.poll_fired(cx).is_ready());
        if fired {
            self.armed = None;
            self.machine.handle(self.runtime.now(), Event::Tick);
        }
        fired
    }

    /// Connects, and one read of each connection.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        for place in &mut self.links {
            let Some(link) = place else { continue };
            let step = link.read(&mut self.machine, cx);
            progress |= settle(step, place, &mut self.machine, &self.runtime);
        }
        progress
    }

    /// Writes until nothing is left or the connection is full.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        for place in &mut self.links {
            while let Some(link) = place {
                let step = link.write(&self.machine, cx);
                if !settle(step, place, &mut self.machine, &self.runtime) {
                    break;
                }
                progress = true;
            }
        }
        progress
    }

    fn carry_out(&mut self) -> (bool, Option<Instant>) {
        let mut progress = false;
        loop {
            let command = self.machine.poll_command();
            trace::command(&command);
            match command {
                Command::Open { conn, endpoint } => {
                    let number = usize::from(conn.number);
                    if self.links.len() <= number {
                        self.links.resize_with(number + 1, || None);
                    }
                    let connecting = Box::pin(self.runtime.connect(&endpoint));
                    if let Some(place) = self.links.get_mut(number) {
                        *place = Some(Link::new(conn, connecting));
                    }
                }
                Command::Close { conn } => {
                    if let Some(place) = self.links.get_mut(usize::from(conn.number))
                        && place.as_ref().is_some_and(|link| link.conn == conn)
                    {
                        *place = None;
                    }
                }
                // All connections are looked at in every round.
                Command::Write { .. } => {}
                Command::Done { ticket, outcome } => self.done(ticket, outcome),
                Command::Notice(notice) => self.notice(&notice),
                Command::Wait(wake) => return (progress, wake.map(|wake| wake.at)),
            }
            progress = true;
        }
    }

    fn done(&mut self, ticket: Ticket, outcome: Outcome) {
        let Some(Waiter { reply, is_close }) = self.tickets.remove(&ticket) else { return };
        let outcome = match outcome {
            Outcome::Closed { uncommitted } => {
                let uncommitted = lock(&self.end.shared.lane).close(uncommitted);
                self.finish();
                Ok(Outcome::Closed { uncommitted })
            }
            Outcome::Superseded => Err(tidegate_core::Error::Superseded.into()),
            Outcome::Failed(error) => {
                if is_close {
                    self.find_end();
                }
                Err(error.into())
            }
            outcome => Ok(outcome),
        };
        if let Some(reply) = reply {
            reply.send(outcome);
        }
    }

    fn notice(&mut self, notice: &Notice) {
        trace::notice(notice);
        let shared = &self.end.shared;
        lock(&shared.subscribers).publish(notice);
        if *notice == Notice::Ready && !std::mem::replace(&mut lock(&shared.lane).ready, true) {
            shared.state.notify(usize::MAX);
        }
    }

    /// Deliveries into the lane, and the word to who waits for them.
    fn publish(&mut self) {
        if self.moved.is_empty() {
            return;
        }
        let mut lane = lock(&self.end.shared.lane);
        self.moved.drain(..).for_each(|delivery| lane.put(delivery));
        self.ended = lane.terminal().is_some();
        self.over |= matches!(lane.terminal(), Some(Err(_)));
        drop(lane);
        self.tell();
    }

    fn tell(&self) {
        let shared = &self.end.shared;
        // Each waiter that takes something wakes the next while there is more.
        shared.available.notify(if self.ended { usize::MAX } else { 1 });
        if self.ended {
            shared.state.notify(usize::MAX);
        }
    }

    /// As much as the lane has room for. It gets them when they are published, or at the next
    /// exchange.
    fn take_deliveries(&mut self, room: &mut Room) -> bool {
        let before = (self.more, self.moved.len());
        self.more = true;
        while !self.ended && room.is_left() {
            let Some(delivery) = self.machine.poll_delivery() else {
                self.more = false;
                break;
            };
            if let Delivery::Batch(batch) = &delivery {
                room.handle_moved(batch);
            }
            let last = matches!(delivery, Delivery::End | Delivery::Failed(_));
            self.moved.push(delivery);
            if last {
                break;
            }
        }
        before != (self.more, self.moved.len())
    }

    /// Sees to it that the timer fires no later than this; earlier does no harm. True if it
    /// fired at once.
    fn arm(&mut self, wake: Option<Instant>, cx: &mut Context<'_>) -> bool {
        let Some(at) = wake else { return false };
        if self.armed.is_some_and(|armed| armed <= at) {
            return false;
        }
        let Some(timer) = &mut self.timer else { return false };
        timer.arm(at);
        self.armed = Some(at);
        self.tick(cx)
    }
}

/// Reports a step to the machine. Whether there was one.
fn settle<R: Runtime, M: Machine>(
    step: Step,
    place: &mut Option<Link<R::Socket>>,
    machine: &mut M,
    runtime: &R,
) -> bool {
    let Some(link) = place else { return false };
    let conn = link.conn;
    let (event, over) = match step {
        Step::None => return false,
        Step::Opened => (Event::Opened { conn }, false),
        Step::OpenFailed(cause) => (Event::OpenFailed { conn, cause }, true),
        Step::Received => (Event::Received { conn }, false),
        Step::Wrote(n) => (Event::Wrote { conn, n }, false),
        Step::Closed(cause) => (Event::Closed { conn, cause }, true),
    };
    if over {
        *place = None;
    }
    machine.handle(runtime.now(), event);
    true
}

/// As an error of a connection that takes no more bytes.
pub(crate) fn write_zero() -> Cause {
    Cause::Other("the connection takes no more bytes".into())
}
