//! The runtime: nothing runs unless the test runs it, so every schedule can be had, and again.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::BytesMut;
use tidegate::{Cause, Endpoint, Handle, Runtime, Socket, Timer};
use tidegate_core::{Instant, Machine};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
pub struct Flag(AtomicBool, AtomicU64);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

impl Flag {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    pub fn count(&self) -> u64 {
        self.1.load(Ordering::SeqCst)
    }
}

#[derive(Clone, Default)]
pub struct Manual(Arc<Mutex<World>>);

#[derive(Default)]
pub struct World {
    now: Instant,
    spawned: Option<Task>,
    pub armed: Option<Instant>,
    pub arms: u64,
    timer_waker: Option<Waker>,
    /// What `connect` to a host answers; `None`, or nobody of the name, never does.
    pub hosts: BTreeMap<String, Option<Result<Pipe, Cause>>>,
    pub connecting: i64,
}

impl Manual {
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn advance(&self, by: Duration) {
        let mut world = self.world();
        world.now = world.now + by;
        let due = world.armed.is_some_and(|at| at <= world.now);
        let waker = world.timer_waker.take_if(|_| due);
        drop(world);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub fn listen(&self, host: &str, answer: Result<Pipe, Cause>) {
        self.world().hosts.insert(host.into(), Some(answer));
    }

    /// A consumer of `machine`, whose driver has not run yet.
    pub fn start(machine: impl Machine + Send + 'static) -> (Handle, Driver) {
        Self::default().start_with(machine, &tidegate::ConsumerOptions::default())
    }

    pub fn start_with(
        self,
        machine: impl Machine + Send + 'static,
        options: &tidegate::ConsumerOptions,
    ) -> (Handle, Driver) {
        let handle = tidegate::drive(self.clone(), machine, options);
        let task = self.world().spawned.take();
        let flag = Arc::new(Flag::default());
        flag.clone().wake();
        (handle, Driver { task, flag })
    }
}

/// The driver's task.
pub struct Driver {
    task: Option<Task>,
    pub flag: Arc<Flag>,
}

impl Driver {
    /// Polls it once if it was woken. Whether it was.
    pub fn poll(&mut self) -> bool {
        let woken = self.flag.take();
        let waker = Waker::from(self.flag.clone());
        self.task.take_if(|task| woken && task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        woken
    }

    /// Until nothing wakes it.
    pub fn run(&mut self) {
        for _ in 0..1000 {
            if !self.poll() {
                return;
            }
        }
        panic!("the driver spins");
    }

    pub fn is_over(&self) -> bool {
        self.task.is_none()
    }

    /// As a runtime does that is shut down, or whose task panicked.
    pub fn kill(&mut self) {
        self.task = None;
    }
}

/// Polls once, with a waker that does nothing.
pub fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs the driver and `future` in turn until it is ready.
pub fn finish<F: Future>(driver: &mut Driver, future: F) -> F::Output {
    let mut future = Box::pin(future);
    for _ in 0..1000 {
        if let Poll::Ready(output) = poll_once(future.as_mut()) {
            return output;
        }
        if !driver.poll() {
            if let Poll::Ready(output) = poll_once(future.as_mut()) {
                return output;
            }
            panic!("it waits, and nobody is going to wake it");
        }
    }
    panic!("it goes on for ever");
}

/// Whether `future` still waits when the driver has nothing to do.
pub fn waits<F: Future>(driver: &mut Driver, future: Pin<&mut F>) -> bool {
    driver.run();
    poll_once(future).is_pending()
}

impl Runtime for Manual {
    type Socket = Pipe;
    type Timer = ManualTimer;

    fn now(&self) -> Instant {
        self.world().now
    }

    fn timer(&self) -> ManualTimer {
        ManualTimer(self.clone())
    }

    fn connect(&self, endpoint: &Endpoint) -> impl Future<Output = Result<Pipe, Cause>> + Send + 'static {
        let (runtime, host) = (self.clone(), endpoint.host.to_string());
        let guard = Connecting(self.clone());
        self.world().connecting += 1;
        std::future::poll_fn(move |_| {
            let _ = &guard;
            match runtime.world().hosts.get_mut(&host).and_then(Option::take) {
                Some(answer) => Poll::Ready(answer),
                None => Poll::Pending,
            }
        })
    }

    fn spawn(&self, driver: impl Future<Output = ()> + Send + 'static) {
        self.world().spawned = Some(Box::pin(driver));
    }
}

struct Connecting(Manual);

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.world().connecting -= 1;
    }
}

pub struct ManualTimer(Manual);

impl Timer for ManualTimer {
    fn arm(&mut self, at: Instant) {
        let mut world = self.0.world();
        world.armed = Some(at);
        world.arms += 1;
    }

    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut world = self.0.world();
        if world.armed.is_some_and(|at| at <= world.now) {
            world.armed = None;
            return Poll::Ready(());
        }
        world.timer_waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// One end of a connection; the test holds a clone.
#[derive(Clone, Default)]
pub struct Pipe(Arc<Mutex<PipeState>>);

#[derive(Default)]
pub struct PipeState {
    pub to_read: VecDeque<u8>,
    pub eof: bool,
    pub error: Option<io::ErrorKind>,
    pub written: Vec<u8>,
    /// Most bytes that the next writes take, one after the other; then it is full.
    pub takes: VecDeque<usize>,
    pub reads: u64,
    pub waker: Option<Waker>,
}

impl Pipe {
    pub fn state(&self) -> MutexGuard<'_, PipeState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes it, and wakes who waits.
    pub fn change(&self, change: impl FnOnce(&mut PipeState)) {
        let mut state = self.state();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// How many hold it.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl Socket for Pipe {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        state.reads += 1;
        if let Some(error) = state.error {
            return Poll::Ready(Err(error.into()));
        }
        let n = state.to_read.len().min(into.capacity() - into.len());
        if n == 0 && !state.eof {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        into.extend(state.to_read.drain(..n));
        Poll::Ready(Ok(n))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state();
        if let Some(error) = state.error {
            return Poll::Ready(Err(error.into()));
        }
        match state.takes.pop_front() {
            Some(n) => {
                let n = n.min(bytes.len());
                state.written.extend_from_slice(&bytes[..n]);
                Poll::Ready(Ok(n))
            }
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
