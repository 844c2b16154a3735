//! The runtime for tokio.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tidegate_core::{Cause, Endpoint, Error, Instant};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{self, Sleep};

use crate::runtime::{Runtime, Socket, Timer, cause};

/// The tokio runtime, which must have its I/O and time drivers enabled, as `#[tokio::main]` has.
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
    origin: time::Instant,
}

impl Tokio {
    /// The runtime that the caller is in.
    ///
    /// # Errors
    /// [`Error::Options`] outside of any.
    pub fn current() -> Result<Self, Error> {
        match Handle::try_current() {
            Ok(handle) => Ok(Self { handle, origin: time::Instant::now() }),
            Err(_) => {
                Err(Error::Options("no tokio runtime here: connect within one (#[tokio::main])".into()))
            }
        }
    }
}

impl Runtime for Tokio {
    type Socket = TcpStream;
    type Timer = TokioTimer;

    fn now(&self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    fn timer(&self) -> TokioTimer {
        TokioTimer { origin: self.origin, sleep: Box::pin(time::sleep(Duration::MAX)), armed: false }
    }

    fn connect(
        &self,
        endpoint: &Endpoint,
    ) -> impl Future<Output = Result<TcpStream, Cause>> + Send + 'static {
        let Endpoint { host, port, tls } = endpoint.clone();
        async move {
            if tls {
                return Err(Cause::Other("TLS is not supported yet".into()));
            }
            if let Ok(address) = host.parse::<IpAddr>() {
                return open((address, port)).await;
            }
            let addresses = tokio::net::lookup_host((&*host, port)).await.map_err(|_| Cause::Unresolved)?;
            let mut last = Cause::Unresolved;
            for address in addresses {
                match open((address.ip(), port)).await {
                    Ok(socket) => return Ok(socket),
                    Err(cause) => last = cause,
                }
            }
            Err(last)
        }
    }

    fn spawn(&self, driver: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(driver));
    }
}

async fn open(address: (IpAddr, u16)) -> Result<TcpStream, Cause> {
    let socket = TcpStream::connect(address).await.map_err(|error| cause(&error))?;
    // Without it the connection is slower, and works.
    let _ = socket.set_nodelay(true);
    Ok(socket)
}

impl Socket for TcpStream {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>> {
        // The future has no state of its own: dropping it while it waits loses nothing.
        pin!(self.read_buf(into)).poll(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(self), cx, bytes)
    }
}

/// tokio's timer.
#[derive(Debug)]
pub struct TokioTimer {
    origin: time::Instant,
    sleep: Pin<Box<Sleep>>,
    armed: bool,
}

impl Timer for TokioTimer {
    fn arm(&mut self, at: Instant) {
        // Past what tokio can count is as good as never.
        let at = self.origin.checked_add(at.since(Instant::ZERO));
        self.armed = at.is_some();
        if let Some(at) = at {
            self.sleep.as_mut().reset(at);
        }
    }

    fn poll_fired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.armed { self.sleep.as_mut().poll(cx) } else { Poll::Pending }
    }
}
