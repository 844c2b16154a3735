//! Users' own handlers under the simulator's faults, on production's handle and driver.
//!
//! ```text
//!  world ── events, bytes ──► driven ──► net: sockets, timers ◄── tidegate::drive ── machine
//!    ▲                           │                                     │
//!    └── commands, what was seen ┘        the handler ── consumer ── Handle
//! ```
//!
//! Theory of operation. The world drives a member by the contract of a machine, and knows nothing
//! else of it. [`driven`] is such a machine around a whole process: production's driver on a
//! simulated runtime ([`net`]), the real machine in it, and the handler, as tasks that are polled
//! when they were woken. What a driver asks of its runtime becomes commands (connect is `Open`, a
//! timer is `Wait`, a dropped socket is `Close`), and the world's events wake tasks.
//!
//! What the oracle has to know is told on the side: the handler's consumer ([`consumer`]) says
//! what was taken and acked, and a tap on the machine ([`tap`]) what was assigned, asked, moved
//! and closed, all in one order.
//!
//! A run of many seeds, the end check, the shrinking and the report are [`simulation`]'s.
//!
//! **Invariant:** a process is a function of its seed and its events: the order of its tasks, the
//! sizes of its sockets and its dice come from one generator.
//!
//! **Invariant:** nothing of a process runs outside of a call of the world, so a member that was
//! killed has done nothing that the world was not told of before.

mod backend;
mod consumer;
mod driven;
mod faults;
mod finding;
mod net;
mod panics;
mod sim;
mod simulation;
mod tap;

pub use backend::Sent;
pub use consumer::SimConsumer;
pub use faults::Faults;
pub use finding::Finding;
pub use sim::Sim;
pub use simulation::{Ended, Simulation};
