//! Where a node listens, or will again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use super::StartError;

/// One node's address. A node that takes no connections has no socket, so that the kernel refuses
/// for it.
#[derive(Debug)]
pub(super) struct Listener {
    addr: SocketAddr,
    socket: Option<TcpListener>,
    /// Whether somebody may be waiting: the kernel says so once.
    pub(super) ready: bool,
}

impl Listener {
    pub(super) fn bind(at: SocketAddr) -> Result<Self, StartError> {
        let bound = TcpListener::bind(at).and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (addr, socket) = bound.map_err(|cause| StartError::Bind { at, cause })?;
        Ok(Self { addr, socket: Some(socket), ready: false })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            Some(socket) => registry.register(socket, token, Interest::READABLE),
            None => Ok(()),
        }
    }

    /// Listens, or not. An error means that it has to be tried again: somebody else may have the
    /// address for a while.
    pub(super) fn open(&mut self, open: bool, registry: &Registry, token: Token) -> io::Result<()> {
        match (open, &self.socket) {
            (false, _) => {
                self.socket = None;
                self.ready = false;
            }
            (true, Some(_)) => {}
            (true, None) => {
                self.socket = Some(TcpListener::bind(self.addr)?);
                // The kernel may have told it before anyone listened to the kernel.
                self.ready = true;
                if let Err(error) = self.register(registry, token) {
                    self.socket = None;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Who waits. `Ok(None)`: nobody any more.
    pub(super) fn accept(&mut self) -> io::Result<Option<TcpStream>> {
        let Some(socket) = self.socket.as_ref().filter(|_| self.ready) else { return Ok(None) };
        loop {
            match socket.accept() {
                Ok((stream, _)) => return Ok(Some(stream)),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.ready = false;
                        return Ok(None);
                    }
                    // Gone before its turn, or a signal.
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => return Err(error),
                },
            }
        }
    }
}

/// Ports of 127.0.0.1, one after the other.
pub(super) fn bind_from(first: u16, nodes: usize) -> Result<Vec<Listener>, StartError> {
    let ports = (first..=u16::MAX).take(nodes);
    if ports.clone().count() < nodes {
        return Err(StartError::Ports { first, nodes });
    }
    ports.map(|port| Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))).collect()
}

/// The same where so many are free, below the ports that the kernel gives to outgoing connections
/// (from 32768 on Linux): a client that knocks while a node is down could else be given that very
/// port, talk to itself, and keep the node from coming back.
pub(super) fn bind_any(nodes: usize) -> Result<Vec<Listener>, StartError> {
    const FIRST: u16 = 10_240;
    const COUNT: u32 = 22_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes that start side by side begin at different places.
    let start = std::process::id().wrapping_mul(7919);
    let mut tried = 0;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        // The remainder is below 22,000.
        let first = FIRST + (start.wrapping_add(step) % COUNT) as u16;
        match bind_from(first, nodes) {
            Err(StartError::Bind { cause, .. })
                if cause.kind() == io::ErrorKind::AddrInUse && tried < COUNT =>
            {
                tried += 1;
            }
            other => return other,
        }
    }
}
