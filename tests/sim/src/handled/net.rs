//! The simulated runtime: the sockets, the clock, the timers and the tasks of one member.
//!
//! A socket is two boxes of bytes. The world fills one and empties the other; a full or an empty
//! one makes a task wait until the world has come by.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use tidegate::{Runtime, Socket, Timer};
use tidegate_core::ack::SegmentId;
use tidegate_core::random::Random;
use tidegate_core::{Batch, Cause, Command, ConnId, Endpoint, Epoch, Instant, ShardId, Stats, StreamKey};

use crate::backend::Observed;

/// The name of no connection.
pub(super) const NOBODY: ConnId = ConnId { number: 0, generation: 0 };
/// Bytes that a socket holds for who reads it; then what comes is left in the network.
const INBOX: usize = 64 << 10;
/// Bytes that it takes of who writes it, drawn for each connection: then the writer waits.
const OUTBOX: [u64; 4] = [64 << 10, 64 << 10, 4_096, 100];

/// The runtime of one member. Clones are the same one.
#[derive(Clone)]
pub(super) struct SimRuntime(Arc<Mutex<Net>>);

/// What the tasks of a member and the world share.
pub(super) struct Net {
    pub(super) now: Instant,
    pub(super) random: Random,
    /// For the world, in order.
    pub(super) commands: VecDeque<Command>,
    pub(super) seen: Vec<Observed>,
    /// How the process ended, once it has.
    pub(super) ended: Option<String>,
    pub(super) spawned: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// The machine's, as of its last round.
    pub(super) stats: Stats,
    /// The consumer has said how its close ended: who acks now is too late.
    pub(super) is_closed: bool,
    /// The assignment of each shard that the world was told of.
    pub(super) epochs: BTreeMap<(StreamKey, ShardId), Epoch>,
    /// What the application took of.
    pub(super) batches: BTreeMap<SegmentId, Batch>,
    pipes: Vec<Option<Pipe>>,
    generation: u64,
    alarms: Vec<Option<Alarm>>,
}

struct Pipe {
    id: ConnId,
    state: State,
    inbox: BytesMut,
    outbox: BytesMut,
    /// Taken out of `outbox`, and not yet in the network.
    backlog: usize,
    room: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

enum State {
    Connecting,
    Open,
    Over(Cause),
}

#[derive(Default)]
struct Alarm {
    at: Option<Instant>,
    waker: Option<Waker>,
}

impl SimRuntime {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Net {
            now: Instant::ZERO,
            random: Random::new(seed),
            commands: VecDeque::new(),
            seen: Vec::new(),
            ended: None,
            spawned: Vec::new(),
            stats: Stats::default(),
            is_closed: false,
            epochs: BTreeMap::new(),
            batches: BTreeMap::new(),
            pipes: Vec::new(),
            generation: 0,
            alarms: Vec::new(),
        })))
    }

    /// Never held across an await, nor while a task runs.
    pub(super) fn net(&self) -> MutexGuard<'_, Net> {
        // Whoever panicked under it was a task, and is found.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the world.
impl Net {
    /// Time passed: whoever waits for it is woken.
    pub(super) fn pass(&mut self, now: Instant) {
        // A runtime's clock never goes backwards, whatever the member's does.
        self.now = self.now.max(now);
        for alarm in self.alarms.iter_mut().flatten() {
            if alarm.at.is_some_and(|at| at <= self.now) {
                wake(&mut alarm.waker);
            }
        }
    }

    /// When somebody waits for the time again.
    pub(super) fn next_alarm(&self) -> Option<Instant> {
        // One in the past is ready for whoever looks at it, and has woken who waited.
        self.alarms.iter().flatten().filter_map(|alarm| alarm.at).filter(|at| *at > self.now).min()
    }

    /// An attempt to connect succeeded.
    pub(super) fn opened(&mut self, conn: ConnId) {
        self.change(conn, |pipe| pipe.state = State::Open);
    }

    /// An attempt failed, or the connection ended.
    pub(super) fn closed(&mut self, conn: ConnId, cause: Cause) {
        self.change(conn, |pipe| pipe.state = State::Over(cause));
    }

    /// These bytes came; they are taken, whosesoever they are.
    pub(super) fn arrived(&mut self, conn: ConnId, bytes: &mut BytesMut) {
        self.change(conn, |pipe| pipe.inbox.extend_from_slice(bytes));
        bytes.clear();
    }

    /// So many of the bytes that were collected are in the network.
    pub(super) fn wrote(&mut self, conn: ConnId, n: usize) {
        self.change(conn, |pipe| pipe.backlog = pipe.backlog.saturating_sub(n));
    }

    /// Changes a connection, if it is still there, and wakes who waits for it.
    fn change(&mut self, conn: ConnId, change: impl FnOnce(&mut Pipe)) {
        if let Some(pipe) = self.pipe(conn) {
            change(pipe);
            wake(&mut pipe.reader);
            wake(&mut pipe.writer);
        }
    }

    /// Moves what was written into the buffer that belongs to each connection.
    pub(super) fn collect(&mut self, into: &mut Vec<(ConnId, BytesMut)>) {
        into.resize_with(self.pipes.len().max(into.len()), || (NOBODY, BytesMut::new()));
        for (pipe, (owner, buffer)) in self.pipes.iter_mut().zip(into) {
            let Some(pipe) = pipe else {
                buffer.clear();
                continue;
            };
            if *owner != pipe.id {
                (*owner, *buffer) = (pipe.id, BytesMut::new());
            }
            if !pipe.outbox.is_empty() {
                if buffer.is_empty() {
                    self.commands.push_back(Command::Write { conn: pipe.id });
                }
                buffer.extend_from_slice(&pipe.outbox);
                pipe.backlog += pipe.outbox.len();
                pipe.outbox.clear();
            }
        }
    }

    /// Whether a connection has room for what comes.
    pub(super) fn wants_read(&self, conn: ConnId) -> bool {
        let pipe = self.pipes.get(usize::from(conn.number)).and_then(Option::as_ref);
        pipe.is_none_or(|pipe| pipe.inbox.len() < INBOX)
    }

    fn pipe(&mut self, conn: ConnId) -> Option<&mut Pipe> {
        self.pipes.get_mut(usize::from(conn.number))?.as_mut().filter(|pipe| pipe.id == conn)
    }
}

/// For the tasks.
impl Net {
    fn open(&mut self, endpoint: &Endpoint) -> ConnId {
        let free = self.pipes.iter().position(Option::is_none).unwrap_or(self.pipes.len());
        self.generation += 1;
        let id = ConnId { number: free as u16, generation: self.generation };
        let at = self.random.below(OUTBOX.len() as u64) as usize;
        let pipe = Pipe {
            id,
            state: State::Connecting,
            inbox: BytesMut::new(),
            outbox: BytesMut::new(),
            backlog: 0,
            room: OUTBOX.get(at).copied().unwrap_or(1) as usize,
            reader: None,
            writer: None,
        };
        match self.pipes.get_mut(free) {
            Some(place) => *place = Some(pipe),
            None => self.pipes.push(Some(pipe)),
        }
        self.commands.push_back(Command::Open { conn: id, endpoint: endpoint.clone() });
        id
    }

    fn release(&mut self, conn: ConnId) {
        let Some(pipe) = self.pipe(conn) else { return };
        let over = matches!(pipe.state, State::Over(_));
        if let Some(place) = self.pipes.get_mut(usize::from(conn.number)) {
            *place = None;
        }
        if !over {
            self.commands.push_back(Command::Close { conn });
        }
    }

    fn set_alarm(&mut self) -> usize {
        let free = self.alarms.iter().position(Option::is_none).unwrap_or(self.alarms.len());
        match self.alarms.get_mut(free) {
            Some(place) => *place = Some(Alarm::default()),
            None => self.alarms.push(Some(Alarm::default())),
        }
        free
    }

    /// The system may move fewer bytes than it could.
    fn some_of(&mut self, n: usize) -> usize {
        match self.random.below(8) {
            0 => 1 + self.random.below(n as u64) as usize,
            _ => n,
        }
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn error(cause: &Cause) -> io::Error {
    match cause {
        Cause::Refused => io::ErrorKind::ConnectionRefused.into(),
        Cause::TimedOut => io::ErrorKind::TimedOut.into(),
        Cause::Eof => io::ErrorKind::BrokenPipe.into(),
        Cause::Reset => io::ErrorKind::ConnectionReset.into(),
        other => io::Error::other(other.to_string()),
    }
}

impl Runtime for SimRuntime {
    type Socket = SimSocket;
    type Timer = SimTimer;

    fn now(&self) -> Instant {
        self.net().now
    }

    fn timer(&self) -> SimTimer {
        let at = self.net().set_alarm();
        SimTimer { runtime: self.clone(), at }
    }

    fn connect(
        &self,
        endpoint: &Endpoint,
    ) -> impl Future<Output = Result<SimSocket, Cause>> + Send + 'static {
        let conn = self.net().open(endpoint);
        let mut socket = Some(SimSocket { runtime: self.clone(), conn });
        std::future::poll_fn(move |cx| {
            let Some(connecting) = &socket else { return Poll::Pending };
            let mut net = connecting.runtime.net();
            let result = match net.pipe(conn) {
                None => Err(Cause::Other("nobody knows the connection".into())),
                Some(pipe) => match &pipe.state {
                    State::Connecting => {
                        pipe.reader = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                    State::Open => Ok(()),
                    State::Over(cause) => Err(cause.clone()),
                },
            };
            drop(net);
            Poll::Ready(match (result, socket.take()) {
                (Ok(()), Some(socket)) => Ok(socket),
                (Ok(()), None) => return Poll::Pending,
                (Err(cause), _) => Err(cause),
            })
        })
    }

    fn spawn(&self, driver: impl Future<Output = ()> + Send + 'static) {
        self.net().spawned.push(Box::pin(driver));
    }
}

/// One end of a connection.
pub(super) struct SimSocket {
    runtime: SimRuntime,
    conn: ConnId,
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        self.runtime.net().release(self.conn);
    }
}

impl Socket for SimSocket {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut net = self.runtime.net();
        let Some(pipe) = net.pipe(self.conn) else { return Poll::Ready(Ok(0)) };
        let most = pipe.inbox.len().min(into.capacity() - into.len());
        if most == 0 {
            return match &pipe.state {
                State::Over(Cause::Eof) => Poll::Ready(Ok(0)),
                State::Over(cause) => Poll::Ready(Err(error(cause))),
                State::Connecting | State::Open => {
                    pipe.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        }
        let n = net.some_of(most);
        if let Some(pipe) = net.pipe(self.conn) {
            into.extend_from_slice(pipe.inbox.get(..n).unwrap_or_default());
            pipe.inbox.advance(n);
        }
        Poll::Ready(Ok(n))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut net = self.runtime.net();
        let Some(pipe) = net.pipe(self.conn) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if let State::Over(cause) = &pipe.state {
            return Poll::Ready(Err(error(cause)));
        }
        let room = pipe.room.saturating_sub(pipe.outbox.len() + pipe.backlog);
        if room == 0 || bytes.is_empty() {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = net.some_of(room.min(bytes.len()));
        if let Some(pipe) = net.pipe(self.conn) {
            pipe.outbox.extend_from_slice(bytes.get(..n).unwrap_or_default());
        }
        Poll::Ready(Ok(n))
    }
}

/// A timer.
pub(super) struct SimTimer {
    runtime: SimRuntime,
    at: usize,
}

impl Drop for SimTimer {
    fn drop(&mut self) {
        if let Some(place) = self.runtime.net().alarms.get_mut(self.at) {
            *place = None;
        }
    }
}

impl Timer for SimTimer {
    fn arm(&mut self, at: Instant) {
        if let Some(Some(alarm)) = self.runtime.net().alarms.get_mut(self.at) {
            alarm.at = Some(at);
        }
    }

    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut net = self.runtime.net();
        let now = net.now;
        let Some(Some(alarm)) = net.alarms.get_mut(self.at) else { return Poll::Pending };
        if alarm.at.is_some_and(|at| at <= now) {
            (alarm.at, alarm.waker) = (None, None);
            return Poll::Ready(());
        }
        alarm.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn context() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn connected(runtime: &SimRuntime) -> SimSocket {
        let mut connecting = pin!(runtime.connect(&Endpoint::tcp("redis", 1)));
        assert!(connecting.as_mut().poll(&mut context()).is_pending());
        let Some(Command::Open { conn, .. }) = runtime.net().commands.pop_front() else { panic!() };
        runtime.net().opened(conn);
        match connecting.poll(&mut context()) {
            Poll::Ready(Ok(socket)) => socket,
            _ => panic!("it is open"),
        }
    }

    #[test]
    fn a_socket_takes_what_it_has_room_for_and_gives_what_came() {
        let runtime = SimRuntime::new(1);
        let mut socket = connected(&runtime);
        let conn = socket.conn;
        let mut written = 0;
        while let Poll::Ready(n) = socket.poll_write(&mut context(), &[7; 1_000]) {
            written += n.unwrap();
        }
        let mut out = Vec::new();
        runtime.net().collect(&mut out);
        assert_eq!((out[0].0, out[0].1.len()), (conn, written));
        assert_eq!(runtime.net().commands.pop_front(), Some(Command::Write { conn }));
        // It is full until the network has taken some.
        assert!(socket.poll_write(&mut context(), b"x").is_pending());
        runtime.net().wrote(conn, 10);
        assert!(matches!(socket.poll_write(&mut context(), b"x"), Poll::Ready(Ok(1))));

        let mut into = BytesMut::with_capacity(64);
        assert!(socket.poll_read(&mut context(), &mut into).is_pending());
        runtime.net().arrived(conn, &mut BytesMut::from(&b"abc"[..]));
        runtime.net().closed(conn, Cause::Reset);
        let result = loop {
            match socket.poll_read(&mut context(), &mut into) {
                Poll::Ready(Ok(n)) if n > 0 => {}
                other => break other,
            }
        };
        assert!(matches!(result, Poll::Ready(Err(_))), "what came first is read first");
        assert_eq!(&into[..], b"abc");
        drop(socket);
        assert!(runtime.net().commands.is_empty(), "what is over needs no close");
    }

    #[test]
    fn a_dropped_socket_or_attempt_is_closed_and_its_late_events_are_nobodys() {
        let runtime = SimRuntime::new(1);
        let first = connected(&runtime);
        let conn = first.conn;
        drop(first);
        assert_eq!(runtime.net().commands.pop_front(), Some(Command::Close { conn }));
        let attempt = runtime.connect(&Endpoint::tcp("redis", 1));
        let Some(Command::Open { conn: second, .. }) = runtime.net().commands.pop_front() else { panic!() };
        assert_eq!((second.number, second.generation), (conn.number, conn.generation + 1));
        runtime.net().opened(conn);
        drop(attempt);
        assert_eq!(runtime.net().commands.pop_front(), Some(Command::Close { conn: second }));
    }

    #[test]
    fn the_next_alarm_is_the_earliest_that_is_ahead() {
        let runtime = SimRuntime::new(1);
        let (mut one, mut other) = (runtime.timer(), runtime.timer());
        one.arm(at(9));
        other.arm(at(5));
        assert_eq!(runtime.net().next_alarm(), Some(at(5)));
        runtime.net().pass(at(5));
        assert_eq!(runtime.net().next_alarm(), Some(at(9)));
        runtime.net().pass(at(3));
        assert!(other.poll_fired(&mut context()).is_ready() && other.poll_fired(&mut context()).is_pending());
        drop(one);
        assert_eq!(runtime.net().next_alarm(), None);
        assert_eq!(runtime.now(), at(5));
    }
}
