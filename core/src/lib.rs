//! tidegate-core: a stream consumer as a value.
//!
//! One pure state machine per backend takes **events** in and gives **commands** out; it opens no
//! socket, reads no clock, starts no thread and draws no randomness of its own. Whoever has a
//! runtime, a simulator, or a loop of their own drives it; the `tidegate` crate does so for tokio.
//!
//! ```text
//!             Event · Request                    Command (control lane, never waits)
//! sockets, ───────────────────►  ┌─────────┐  ───────────────────► open, write, close,
//! clock,                         │ Machine │                       done, notice, wait
//! application ◄────────────────  └─────────┘  ◄─────────────────── bytes
//!             Delivery (data lane, bounded)      incoming · outgoing
//! ```
//!
//! # Driving a machine
//!
//! [`Machine`] has the contract in six steps. This is a whole driver, for one machine and
//! sockets that never wait; `examples/drive.rs` is the same with real ones.
//!
//! ```
//! use std::time::Duration;
//! use tidegate_core::{
//!     Command, ConnId, Delivery, Endpoint, Error, Event, Instant, Machine, Message, Request,
//! };
//!
//! /// What a driver brings: sockets that never wait, and a clock.
//! trait World {
//!     fn now(&self) -> Instant;
//!     fn open(&mut self, conn: ConnId, endpoint: &Endpoint);
//!     fn close(&mut self, conn: ConnId);
//!     fn write(&mut self, conn: ConnId, bytes: &[u8]) -> usize;
//!     /// Waits until this moment, or until something happened, and says what.
//!     fn wait(&mut self, until: Option<Instant>, machine: &mut impl Machine) -> Event;
//! }
//!
//! fn run(
//!     world: &mut impl World,
//!     machine: &mut impl Machine,
//!     mut work: impl FnMut(Message),
//! ) -> Result<(), Error> {
//!     let mut event = Event::Tick;
//!     loop {
//!         machine.handle(world.now(), event);
//!         // What the application takes; an ack is a request like any other.
//!         while let Some(delivery) = machine.poll_delivery() {
//!             match delivery {
//!                 Delivery::Batch(batch) => {
//!                     (0..batch.len()).filter_map(|at| batch.message(at)).for_each(&mut work);
//!                     let acks = batch.ack_range().into_iter().collect();
//!                     // Refused only by a machine that was closed.
//!                     let _ = machine.request(world.now(), Request::Ack(acks));
//!                 }
//!                 Delivery::End => return Ok(()),
//!                 Delivery::Failed(error) => return Err(error),
//!                 Delivery::Assigned(_) | Delivery::Revoked(_) => {}
//!             }
//!         }
//!         // What the machine wants; `Wait` is always the last.
//!         let until = loop {
//!             match machine.poll_command() {
//!                 Command::Open { conn, endpoint } => world.open(conn, &endpoint),
//!                 Command::Close { conn } => world.close(conn),
//!                 Command::Write { conn } => {
//!                     let n = world.write(conn, machine.outgoing(conn));
//!                     machine.handle(world.now(), Event::Wrote { conn, n });
//!                 }
//!                 Command::Done { ticket, outcome } => println!("{ticket:?}: {outcome:?}"),
//!                 Command::Notice(notice) => eprintln!("{notice}"),
//!                 Command::Wait(wake) => break wake.map(|wake| wake.at),
//!             }
//!         };
//!         event = world.wait(until, machine);
//!     }
//! }
//! ```
//!
//! # What differs from the first design, and why
//!
//! - [`Machine::request`] answers `Option<Ticket>`: acks, assignments and pauses are done at
//!   once, and a ticket for each ack would cost more than the ack.
//! - [`Machine::ack_appetite`] lets a driver gather acks without knowing the commit policy, so
//!   that an ack costs the application a push and not a wake-up of the driver.
//! - [`Request::Taken`] tells when messages were taken, which only the driver knows: what
//!   [`AutoCommit::Delayed`] counts from.
//!
//! # The rooms
//!
//! | room | what is in it |
//! |---|---|
//! | [`machine`], [`event`], [`command`], [`request`], [`delivery`], [`message`] | the contract |
//! | [`options`], [`limits`], [`error`], [`stats`], [`stream`], [`endpoint`], [`identity`] | what users name |
//! | [`ack`], [`commit`], [`claim`], [`assign`], [`flow`], [`backoff`] | policies: no bytes, shared by all backends |
//! | [`time`], [`timer`], [`random`] | time and chance as values |
//! | [`redis`] | the Redis dialect and machine |
//! | [`kafka`] | the Kafka dialect |
//!
//! **Invariant:** policy never sees bytes, and a dialect never decides policy.
//!
//! **Invariant:** same events, same commands, byte for byte: no clock, socket, thread, global,
//! randomness or hash-map order in this crate.
//!
//! **Invariant:** no bytes and no call can make it panic, and each queue has a limit in
//! [`Limits`].

#![forbid(unsafe_code)]

pub mod ack;
mod ack_buffer;
pub mod assign;
pub mod backoff;
pub mod claim;
pub mod command;
pub mod commit;
pub mod consumer;
pub mod delivery;
mod desk;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod flow;
pub mod identity;
pub mod kafka;
pub mod limits;
pub mod machine;
pub mod message;
#[cfg(not(tidegate_mutation))]
mod mutation;
#[cfg(tidegate_mutation)]
pub mod mutation;
pub mod options;
mod pattern;
pub mod random;
pub mod redis;
pub mod request;
pub mod stats;
pub mod stream;
pub mod time;
pub mod timer;
pub mod trace;

pub use ack::AckRange;
pub use assign::OwnAssignor;
pub use claim::ClaimOptions;
pub use command::Command;
pub use commit::AutoCommit;
pub use consumer::{Consumer, ConsumerError, Messages};
pub use delivery::{Assignment, Delivery, Notice, Reason};
pub use endpoint::Endpoint;
pub use error::{Error, RequestError};
pub use event::{Cause, ConnId, Event};
pub use identity::{ConsumerGroup, ConsumerId, HostId};
pub use limits::Limits;
pub use machine::{Machine, Setup};
pub use message::{Batch, Message, MessageRef};
pub use options::{
    AssignorKind, ConsumerMode, ConsumerOptions, GroupProtocol, Isolation, KafkaOptions, Login, Reset,
    Secret, Start,
};
pub use request::{Outcome, Request, Ticket};
pub use stats::Stats;
pub use stream::{Epoch, Position, SeqNo, ShardId, StreamKey, Timestamp};
pub use time::Instant;
pub use timer::Wake;
