//! What the live tests stand on: real servers that can be killed, stopped and restarted, a proxy
//! that cuts a connection at a chosen byte, and the `tidegate` command as a process whose every
//! line is kept.
//!
//! # Theory of operation
//!
//! A live test is an outsider: it sees what an operator sees (lines on stdout and stderr, an exit
//! status, the server's own books such as XPENDING) and nothing of the inside. So it can only wait
//! for conditions, never for internals, and each of the tools here offers its conditions:
//! [`wait::until`] polls a question, [`Consume::wait_for`] sleeps until a line arrives.
//!
//! - [`RedisServer`]: a redis-server on a free loopback port with a directory of its own.
//! - [`Client`]: a second opinion about the server's state, through redis-rs.
//! - [`Proxy`]: a TCP proxy on loopback with faults that a test arms while it runs.
//! - [`FakeServer`]: something on a port that answers commands as a test likes.
//! - [`Monitor`]: every command that a server carries out.
//! - [`Network`]: namespaces of its own, in which links are cut, one way too, slowed down and lossy.
//! - [`kafka`]: Apache Kafka's brokers, and its own clients as a second opinion.
//! - [`Consume`]: a running `tidegate consume`; [`run()`]: any `tidegate` command to its end.
//!
//! **Invariant:** whatever a test starts ends with the test, by its own process id, however the
//! test ends.
//!
//! **Invariant:** nothing waits for ever, and a wait that fails says what was seen instead: the tail
//! of stderr, XPENDING, XINFO, the server's log.
//!
//! **Invariant:** only loopback addresses, or those of a [`Network`] that leads nowhere else, and ports outside the range that the kernel gives to
//! outgoing connections, so that a port keeps free while its server is down.
//!
//! Panics are the report of a test; so these tools panic where a library would return an error.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in tests a panic with its line is the report")]

mod binary;
mod client;
mod consume;
mod fake;
pub mod kafka;
mod monitor;
mod netns;
mod port;
mod process;
mod proxy;
mod run;
mod server;
pub mod wait;

pub use binary::tidegate;
pub use client::{Client, ClientInfo, Pending};
pub use consume::{Consume, ConsumeBuilder, HeaderLine, Line, Message, Seen, Taken};
pub use fake::{Answer, FakeServer};
pub use monitor::Monitor;
pub use netns::{Namespace, Network, Trouble, again_as_root};
pub use port::unused_port;
pub use process::{Signal, peak_memory_kib, signal};
pub use proxy::{Cut, Proxy};
pub use run::{Finished, is_fatal, is_refused, run, run_with};
pub use server::{Options, RedisServer};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The turn of a test that needs a core for itself: one at a time in each test executable.
pub fn heavy() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed in its turn has said so already.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
