//! A member as the world sees one, a machine; inside are production's driver and the handler.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tidegate::{Handle, Runtime, Timer};
use tidegate_core::timer::Wake as WakeAt;
use tidegate_core::{
    Command, ConnId, ConsumerError, ConsumerOptions, Delivery, Error, Event, Instant, Machine, Outcome,
    Request, RequestError, Stats, Ticket,
};

use super::consumer::SimConsumer;
use super::net::{NOBODY, SimRuntime};
use super::panics::caught;
use super::sim::Sim;
use super::tap::Tap;
use crate::backend::Observed;

/// The code under test: what a member's process runs. It says how it ended.
pub(super) type Handler<'a> =
    Rc<dyn Fn(Sim, SimConsumer) -> Pin<Box<dyn Future<Output = Result<(), String>> + 'a>> + 'a>;

/// Polls at one moment of virtual time; a process that needs more never waits.
const POLLS_MAX: u32 = 100_000;
/// A handler that has not returned so long after a close from outside is killed.
const GRACE: Duration = Duration::from_secs(30);

/// A member's process: the real machine, production's driver and handle, and a handler.
pub(super) struct Driven<'a> {
    tasks: Vec<Task<'a>>,
    /// The process has ended by itself: nothing runs any more.
    over: bool,
    handle: Handle,
    runtime: SimRuntime,
    /// What came, before the socket has it, and whose it is.
    incoming: (ConnId, BytesMut),
    /// By the number of the connection: what the sockets took, and its owner.
    outgoing: Vec<(ConnId, BytesMut)>,
    tickets: u64,
}

struct Task<'a> {
    /// `None`: it has ended.
    future: Option<Pin<Box<dyn Future<Output = ()> + 'a>>>,
    woken: Arc<Flag>,
    waker: Waker,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'a> Task<'a> {
    fn new(future: Pin<Box<dyn Future<Output = ()> + 'a>>) -> Self {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        Self { future: Some(future), waker: Waker::from(woken.clone()), woken }
    }

    fn is_woken(&self) -> bool {
        self.future.is_some() && self.woken.0.load(Ordering::Relaxed)
    }

    /// What it panicked with, if it did.
    fn poll(&mut self) -> Result<(), String> {
        self.woken.0.store(false, Ordering::Relaxed);
        let Some(future) = &mut self.future else { return Ok(()) };
        let polled = caught(|| future.as_mut().poll(&mut Context::from_waker(&self.waker)));
        if !matches!(polled, Ok(Poll::Pending)) {
            self.future = None;
        }
        polled.map(drop)
    }
}

impl<'a> Driven<'a> {
    /// The process of `member`: drives `machine`, made from `options`, and runs `handler` once
    /// it is ready, as `tidegate::connect` returns then. All randomness is drawn from `seed`.
    pub(super) fn new(
        machine: impl Machine + Send + 'static,
        options: &ConsumerOptions,
        member: &str,
        seed: u64,
        handler: Handler<'a>,
    ) -> Self {
        let runtime = SimRuntime::new(seed);
        let handle = tidegate::drive(runtime.clone(), Tap::new(machine, runtime.clone()), options);
        let main = {
            let (runtime, handle) = (runtime.clone(), handle.clone());
            let member: Arc<str> = member.into();
            Box::pin(async move {
                let ended = match handle.ready().await {
                    Ok(()) => {
                        let consumer = SimConsumer::new(handle, runtime.clone());
                        handler(Sim::new(runtime.clone(), member), consumer).await
                    }
                    Err(error) => Err(format!("it could not start: {error}")),
                };
                let how =
                    ended.map_or_else(|error| format!("its process ends: {error}"), |()| "returns".into());
                runtime.net().ended.get_or_insert(how);
            })
        };
        Self {
            tasks: vec![Task::new(main)],
            over: false,
            handle,
            runtime,
            incoming: (NOBODY, BytesMut::new()),
            outgoing: Vec::new(),
            tickets: 0,
        }
    }

    /// What the world hasn't been told yet, in order. That the process has ended comes last, and
    /// only when all its commands were carried out.
    pub(super) fn observed(&mut self) -> Vec<Observed> {
        let mut net = self.runtime.net();
        let mut seen = std::mem::take(&mut net.seen);
        if net.commands.is_empty()
            && let Some(how) = net.ended.take()
        {
            seen.push(Observed::Ended(how));
        }
        seen
    }

    /// Runs whoever was woken, in an order that is drawn, until nobody is.
    fn run(&mut self) {
        for _ in 0..POLLS_MAX {
            let mut net = self.runtime.net();
            if self.over {
                break;
            }
            self.tasks.extend(net.spawned.drain(..).map(|future| Task::new(future)));
            let woken = self.tasks.iter().filter(|task| task.is_woken()).count();
            let which = net.random.below(woken as u64) as usize;
            drop(net);
            let Some(task) = self.tasks.iter_mut().filter(|task| task.is_woken()).nth(which) else { break };
            if let Err(text) = task.poll() {
                self.over = true;
                self.runtime.net().seen.push(Observed::Broke(text));
            } else if task.future.is_none() {
                self.tasks.retain(|task| task.future.is_some());
            }
        }
        if self.tasks.iter().any(Task::is_woken) && !self.over {
            self.over = true;
            let text = format!("its tasks were polled {POLLS_MAX} times at one moment, and still don't wait");
            self.runtime.net().seen.push(Observed::Broke(text));
        }
        let mut net = self.runtime.net();
        // Whoever was woken at the same moment had its turn; no other moment comes.
        self.over |= net.ended.is_some();
        net.collect(&mut self.outgoing);
    }

    /// As an operator's word to stop: whoever doesn't end for it is killed.
    async fn close(runtime: SimRuntime, handle: Handle, ticket: Ticket, deadline: Duration) {
        let outcome = match handle.close_within(deadline).await {
            Ok(()) => Outcome::Closed { uncommitted: 0 },
            Err(ConsumerError::Failed(Error::Uncommitted { messages })) => {
                Outcome::Closed { uncommitted: messages }
            }
            Err(ConsumerError::Failed(error)) => Outcome::Failed(error),
            Err(_) => Outcome::Failed(Error::Closed),
        };
        runtime.net().commands.push_back(Command::Done { ticket, outcome });
        let mut timer = runtime.timer();
        timer.arm(runtime.now() + GRACE);
        std::future::poll_fn(|cx| timer.poll_fired(cx)).await;
        runtime.net().ended.get_or_insert_with(|| format!("killed: {GRACE:?} after the close it still runs"));
    }
}

impl Machine for Driven<'_> {
    fn handle(&mut self, now: Instant, event: Event) {
        let mut net = self.runtime.net();
        net.pass(now);
        match event {
            Event::Received { conn } if conn == self.incoming.0 => net.arrived(conn, &mut self.incoming.1),
            Event::Wrote { conn, n } => {
                let sent =
                    self.outgoing.get_mut(usize::from(conn.number)).filter(|(owner, _)| *owner == conn);
                if let Some((_, buffer)) = sent {
                    buffer.advance(n.min(buffer.len()));
                    net.wrote(conn, n);
                }
            }
            Event::Opened { conn } => net.opened(conn),
            Event::OpenFailed { conn, cause } | Event::Closed { conn, cause } => net.closed(conn, cause),
            Event::Tick | Event::Received { .. } => {}
        }
        drop(net);
        self.run();
    }

    fn request(&mut self, now: Instant, request: Request) -> Result<Option<Ticket>, RequestError> {
        // Everything else is the handler's to ask.
        let Request::Close { deadline } = request else { return Ok(None) };
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.runtime.net().pass(now);
        let closing = Self::close(self.runtime.clone(), self.handle.clone(), ticket, deadline);
        self.tasks.push(Task::new(Box::pin(closing)));
        self.run();
        Ok(Some(ticket))
    }

    fn poll_command(&mut self) -> Command {
        let mut net = self.runtime.net();
        let next = net.commands.pop_front();
        next.unwrap_or_else(|| {
            Command::Wait(net.next_alarm().filter(|_| !self.over).map(|at| WakeAt { at, why: "a timer" }))
        })
    }

    /// The handler takes them.
    fn poll_delivery(&mut self) -> Option<Delivery> {
        None
    }

    fn outgoing(&self, conn: ConnId) -> &[u8] {
        let owned = self.outgoing.get(usize::from(conn.number)).filter(|(owner, _)| *owner == conn);
        owned.map_or(&[], |(_, buffer)| buffer)
    }

    fn incoming(&mut self, conn: ConnId) -> &mut BytesMut {
        let (owner, bytes) = &mut self.incoming;
        if *owner != conn {
            // What another connection's event has not told of yet goes the way of what has.
            self.runtime.net().arrived(*owner, bytes);
            *owner = conn;
        }
        bytes
    }

    fn wants_read(&self, conn: ConnId) -> bool {
        self.runtime.net().wants_read(conn)
    }

    fn ack_appetite(&self) -> u64 {
        u64::MAX
    }

    fn stats(&self) -> Stats {
        self.runtime.net().stats
    }
}
