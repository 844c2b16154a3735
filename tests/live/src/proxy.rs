//! A TCP proxy on loopback that does harm on demand.
//!
//! Two threads pump each connection, one in each direction. All that a test changes while the proxy
//! runs lies in one [`State`] behind a lock, which each pump asks about every chunk before it passes
//! it on; so what a test armed holds from the next byte.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::port;

/// How much of what a client sent is remembered for [`Cut::after`].
const HISTORY: usize = 64 * 1024;

/// One fault for one connection: which reply it hits, and what happens to it. It fires once.
#[derive(Debug, Clone)]
pub struct Cut {
    needle: Vec<u8>,
    only_new: bool,
    pass: usize,
    inject: Option<Vec<u8>>,
}

impl Cut {
    /// Hits the next bytes from the server on a connection whose client has sent `needle`, be it long
    /// ago (a blocked read, say). Lets nothing through, and closes both sides.
    pub fn after(needle: &str) -> Self {
        Self { needle: needle.into(), only_new: false, pass: 0, inject: None }
    }

    /// Hits only where `needle` is sent after arming: the reply to a command yet to come.
    pub fn after_next(needle: &str) -> Self {
        Self { only_new: true, ..Self::after(needle) }
    }

    /// Lets this many bytes of the reply through first.
    pub fn pass(self, bytes: usize) -> Self {
        Self { pass: bytes, ..self }
    }

    /// Instead of closing, sends these bytes to the client, and then nothing more on that connection.
    pub fn inject(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { inject: Some(bytes.into()), ..self }
    }
}

/// The proxy; it and all its connections end when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    server_port: u16,
    stopping: bool,
    refusing: bool,
    held: bool,
    delay: Duration,
    armed: Vec<Armed>,
    fired: usize,
    accepted: u64,
    bytes_down: u64,
    bytes_up: u64,
    links: Vec<Link>,
}

#[derive(Debug)]
struct Armed {
    cut: Cut,
    /// For `only_new`: links beyond this, or their history beyond what was there at arming.
    since: Vec<(u64, u64)>,
}

#[derive(Debug)]
struct Link {
    id: u64,
    client: TcpStream,
    server: TcpStream,
    held: bool,
    /// The last bytes that the client sent, and how many came before them.
    history: Vec<u8>,
    forgotten: u64,
    /// Bytes of a fired cut's reply that may still pass; then its fate.
    fate: Option<(usize, Fate)>,
}

#[derive(Debug)]
enum Fate {
    Close,
    Inject(Vec<u8>),
    Swallow,
}

impl Proxy {
    /// A proxy in front of a port on 127.0.0.1.
    pub fn to(server_port: u16) -> Self {
        let state = Mutex::new(State { server_port, ..State::default() });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let (port, listener) = (0..20)
            .find_map(|_| {
                let port = port::unused_port();
                Some((port, listen(port)?))
            })
            .expect("a port for the proxy");
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&shared, port, listener)
        });
        Self { port, shared, acceptor: Some(acceptor) }
    }

    /// The proxy's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:port/path` through the proxy.
    pub fn url(&self, path: &str) -> String {
        format!("redis://127.0.0.1:{}/{path}", self.port)
    }

    /// Arms a fault; several may wait at the same time.
    pub fn arm(&self, cut: Cut) {
        let mut state = self.shared.lock();
        let since = state.links.iter().map(|l| (l.id, l.forgotten + l.history.len() as u64)).collect();
        state.armed.push(Armed { cut, since });
    }

    /// How many armed faults have fired so far.
    pub fn fired(&self) -> usize {
        self.shared.lock().fired
    }

    /// A black hole: connections stay open, also new ones, and nothing passes.
    pub fn hold(&self) {
        self.shared.lock().held = true;
    }

    /// A black hole for the connections of this moment only; later ones work.
    pub fn hold_open_ones(&self) {
        self.shared.lock().links.iter_mut().for_each(|link| link.held = true);
    }

    /// Ends every black hole; what was held goes on.
    pub fn release(&self) {
        let mut state = self.shared.lock();
        state.held = false;
        state.links.iter_mut().for_each(|link| link.held = false);
        self.shared.changed.notify_all();
    }

    /// Passes each chunk on only after this long.
    pub fn delay(&self, delay: Duration) {
        self.shared.lock().delay = delay;
    }

    /// Whether new connections are refused, as if nothing listened on the port. Returns when it is so.
    pub fn refuse(&self, refusing: bool) {
        self.shared.lock().refusing = refusing;
        crate::wait::until_true("the proxy opens or closes its port", crate::wait::PATIENCE, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() == refusing
        });
    }

    /// Closes every connection of this moment.
    pub fn cut_all(&self) {
        self.shared.lock().links.iter().for_each(Link::close);
    }

    /// From now on another server is behind it; the connections of this moment are closed.
    pub fn switch(&self, server_port: u16) {
        self.shared.lock().server_port = server_port;
        self.cut_all();
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.shared.lock().links.len()
    }

    /// How many connections there were.
    pub fn accepted(&self) -> u64 {
        self.shared.lock().accepted
    }

    /// Bytes passed on from the server, and to the server.
    pub fn bytes(&self) -> (u64, u64) {
        let state = self.shared.lock();
        (state.bytes_down, state.bytes_up)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.stopping = true;
            state.links.iter().for_each(Link::close);
            self.shared.changed.notify_all();
        }
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as this link is held; false when it has gone.
    fn pass_gate(&self, id: u64) -> bool {
        let mut state = self.lock();
        loop {
            let Some(link) = state.links.iter().find(|link| link.id == id) else { return false };
            if state.stopping {
                return false;
            }
            if !state.held && !link.held {
                return true;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Link {
    fn close(&self) {
        self.client.shutdown(Shutdown::Both).ok();
        self.server.shutdown(Shutdown::Both).ok();
    }

    fn has_sent(&self, armed: &Armed) -> bool {
        let known = armed.since.iter().find(|(id, _)| *id == self.id).map_or(0, |(_, sent)| *sent);
        let from = if armed.cut.only_new { known.saturating_sub(self.forgotten) as usize } else { 0 };
        let recent = self.history.get(from..).unwrap_or_default();
        armed.cut.needle.is_empty() || recent.windows(armed.cut.needle.len()).any(|w| w == armed.cut.needle)
    }
}

impl State {
    fn remember(&mut self, id: u64, sent: &[u8]) {
        self.bytes_up += sent.len() as u64;
        if let Some(link) = self.links.iter_mut().find(|link| link.id == id) {
            link.history.extend_from_slice(sent);
            // Twice the size before it is cut back, so that each byte moves about once.
            if link.history.len() > 2 * HISTORY {
                let old = link.history.len() - HISTORY;
                link.history.drain(..old);
                link.forgotten += old as u64;
            }
        }
    }

    /// What of a chunk from the server may pass, what is sent in its place, and whether to close.
    fn judge(&mut self, id: u64, chunk: &mut Vec<u8>) -> bool {
        let Some(link) = self.links.iter_mut().find(|link| link.id == id) else { return true };
        if link.fate.is_none() {
            let hit = self.armed.iter().position(|armed| link.has_sent(armed));
            if let Some(hit) = hit {
                let cut = self.armed.remove(hit).cut;
                let fate = cut.inject.map_or(Fate::Close, Fate::Inject);
                link.fate = Some((cut.pass, fate));
                self.fired += 1;
            }
        }
        let mut close = false;
        if let Some((pass, fate)) = &mut link.fate {
            if chunk.len() < *pass {
                *pass -= chunk.len();
            } else {
                chunk.truncate(*pass);
                *pass = 0;
                match std::mem::replace(fate, Fate::Swallow) {
                    Fate::Close => close = true,
                    Fate::Inject(bytes) => chunk.extend(bytes),
                    Fate::Swallow => {}
                }
            }
        }
        self.bytes_down += chunk.len() as u64;
        close
    }
}

fn listen(port: u16) -> Option<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    listener.set_nonblocking(true).ok()?;
    Some(listener)
}

fn accept(shared: &Arc<Shared>, port: u16, listener: TcpListener) {
    let mut listener = Some(listener);
    loop {
        let (stopping, refusing) = {
            let state = shared.lock();
            (state.stopping, state.refusing)
        };
        if stopping {
            return;
        }
        if refusing {
            listener = None;
        } else if listener.is_none() {
            listener = listen(port);
        }
        match listener.as_ref().map(TcpListener::accept) {
            Some(Ok((client, _))) => connect(shared, client),
            _ => thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream) {
    // Where the server refuses, so does the proxy, by closing at once.
    let server_port = shared.lock().server_port;
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port)) else { return };
    for stream in [&client, &server] {
        stream.set_nonblocking(false).ok();
        stream.set_nodelay(true).ok();
    }
    let id = {
        let mut state = shared.lock();
        state.accepted += 1;
        let id = state.accepted;
        let (client, server) = (copy(&client), copy(&server));
        state.links.push(Link {
            id,
            client,
            server,
            held: false,
            history: Vec::new(),
            forgotten: 0,
            fate: None,
        });
        id
    };
    let (client_out, server_out) = (copy(&client), copy(&server));
    let up = Arc::clone(shared);
    let down = Arc::clone(shared);
    thread::spawn(move || pump(&up, id, client, server_out, false));
    thread::spawn(move || pump(&down, id, server, client_out, true));
}

fn copy(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a socket can be duplicated")
}

fn pump(shared: &Shared, id: u64, mut from: TcpStream, mut to: TcpStream, down: bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let delay = shared.lock().delay;
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        if !shared.pass_gate(id) {
            break;
        }
        let mut chunk = buffer[..n].to_vec();
        let mut close = false;
        {
            let mut state = shared.lock();
            if down {
                close = state.judge(id, &mut chunk);
            } else {
                state.remember(id, &chunk);
            }
        }
        if to.write_all(&chunk).is_err() || close {
            break;
        }
    }
    // Either end of a Redis connection is the end of both.
    let mut state = shared.lock();
    if let Some(at) = state.links.iter().position(|link| link.id == id) {
        state.links.remove(at).close();
        // Its other pump may wait at the gate.
        shared.changed.notify_all();
    }
}
