//! tidegate-sim: consumers of tidegate under a simulated year of faults.
//!
//! Servers crash, connections break in the middle of a reply, members are killed between a write
//! and an ack, groups are set back. This crate lets all of it happen to your own code, in virtual
//! time, without a server and without a network, and each run again from its seed.
//!
//! # Your handler in the simulator
//!
//! Write it for any [`Consumer`](tidegate_core::Consumer), as production runs it with
//! `tidegate::Handle`:
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::{Arc, Mutex};
//! use tidegate_core::{Consumer, ConsumerError, ConsumerMode, ConsumerOptions, SeqNo};
//! use tidegate_sim::{Faults, Simulation};
//!
//! /// Stands for your database.
//! type Orders = Arc<Mutex<BTreeMap<SeqNo, Vec<u8>>>>;
//!
//! /// The code under test.
//! async fn store(orders: Orders, consumer: impl Consumer) -> Result<(), ConsumerError> {
//!     while let Some(message) = consumer.next().await? {
//!         let order = message.payload().unwrap_or_default().to_vec();
//!         orders.lock().unwrap().insert(message.seq(), order);
//!         consumer.ack(&message);
//!     }
//!     Ok(())
//! }
//!
//! let verdict = Simulation::redis()
//!     .members(3)
//!     .messages(50)
//!     .options(ConsumerOptions::new(ConsumerMode::LoadBalanced).group("orders"))
//!     .payload(|number| format!("order {number}").into_bytes())
//!     .faults(Faults::all())
//!     .check(
//!         0..20,
//!         Orders::default,
//!         |orders, _sim, consumer| store(orders, consumer),
//!         |orders, sent| {
//!             let orders = orders.lock().unwrap();
//!             match sent.iter().find(|sent| orders.get(&sent.seq).map(Vec::as_slice) != Some(&sent.payload)) {
//!                 Some(sent) => Err(format!("order {} is missing or wrong", sent.number)),
//!                 None => Ok(()),
//!             }
//!         },
//!     );
//! assert!(verdict.is_ok(), "{}", verdict.unwrap_err());
//! ```
//!
//! [`check`](Simulation::check) takes four things:
//!
//! | | what | how long it lives |
//! |---|---|---|
//! | `0..20` | the seeds; each is another world | |
//! | state | what outlives a process: your database, other services | one run; shared by all members |
//! | handler | a member's process, from its `main` on | until it returns, or is killed at an await; then it starts again |
//! | end check | whether the state is right, given what was sent | once faults are over and everything is acked |
//!
//! Inside, between your handler and the model server, are production's handle, driver and state
//! machine. While a run goes on an [`oracle`] checks tidegate's own promises; one that breaks is
//! a finding, too, and ours to mend.
//!
//! # What a handler may do
//!
//! Anything that is a function of its messages and of what [`Sim`] gives. A real clock, a real
//! socket, a thread or a random number from elsewhere make a run that nobody can repeat. To wait,
//! take [`Sim::sleep`]; code that must not know of the simulator takes its timer as a parameter:
//!
//! ```
//! use std::future::Future;
//! use std::time::Duration;
//! use tidegate_core::{Consumer, ConsumerError};
//! use tidegate_sim::Simulation;
//!
//! async fn slow<W: Future<Output = ()>>(
//!     consumer: impl Consumer,
//!     wait: impl Fn(Duration) -> W,
//! ) -> Result<(), ConsumerError> {
//!     while let Some(message) = consumer.next().await? {
//!         wait(Duration::from_secs(20)).await; // with tokio: tokio::time::sleep
//!         consumer.ack(&message);
//!     }
//!     Ok(())
//! }
//!
//! let verdict = Simulation::new().messages(10).work(Duration::from_secs(20)).check(
//!     0..5,
//!     || (),
//!     |(), sim, consumer| slow(consumer, move |time| sim.sleep(time)),
//!     |(), _| Ok(()),
//! );
//! assert!(verdict.is_ok());
//! ```
//!
//! A handler that returns, or returns an error, is a process that ended, and is started again. One
//! that panics, or never waits, is a finding. [`Sim::spawn`] runs more tasks in the process,
//! [`Sim::cancel`] drops a future somewhere, to see whether what you have built is cancel-safe.
//!
//! # A seed that fails
//!
//! Here acks come before the work is done. What is lost is lost only if the process dies in
//! between, which a test by hand rarely meets:
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//! use tidegate_core::Consumer;
//! use tidegate_sim::{Faults, Simulation};
//!
//! let verdict = Simulation::new().messages(20).faults(Faults::members()).check(
//!     0..500,
//!     || Arc::new(Mutex::new(Vec::new())),
//!     |done, sim, consumer| async move {
//!         while let Ok(Some(message)) = consumer.next().await {
//!             consumer.ack(&message);
//!             sim.sleep(Duration::from_millis(100)).await; // the work
//!             done.lock().unwrap().push((message.shard(), message.seq()));
//!         }
//!     },
//!     |done, sent| {
//!         let done = done.lock().unwrap();
//!         match sent.iter().find(|sent| !done.contains(&(sent.shard, sent.seq))) {
//!             Some(sent) => Err(format!("number {} was lost", sent.number)),
//!             None => Ok(()),
//!         }
//!     },
//! );
//! let finding = verdict.unwrap_err();
//! assert!(finding.violation.text.ends_with("was lost"));
//! println!("{finding}");
//! ```
//!
//! The [`Finding`] has the smallest seed that fails, and a run with fewer choices that fails in
//! the same way: its trace, line by line, and its [`history`], which [`timeline`] draws. With
//! `TIDEGATE_SEED=1:7` in the environment the same test runs that seed alone, and prints its whole
//! trace; [`Sim::note`] puts your own lines into it.
//!
//! A seed is good for the version of this crate that printed it; another one says so.
//!
//! # Which faults
//!
//! [`Faults::all`] are those that a handler can survive: each message is handed out at least once.
//! After [`Faults::losses`] some are gone; [`Sent::lost`] says which, so that an end check can let
//! them pass. [`Faults::only`] takes one kind by its name.
//!
//! The complete example `examples/handler.rs` finds what is wrong with a billing handler, and
//! shows that its second version is right.

#![forbid(unsafe_code)]

pub mod backend;
pub mod broker;
pub mod campaign;
mod explore;
mod handled;
pub mod history;
pub mod kafka;
pub mod oracle;
pub mod redis;
mod seed;
#[cfg(feature = "serve")]
pub mod serve;
mod shrink;
pub mod swarm;
pub mod tape;
pub mod timeline;
pub mod world;

pub use backend::{Backend, Fresh, KafkaBackend, Observed, Progress, RedisBackend};
pub use broker::{Broker, BrokerCommand, BrokerEvent, Fact, Lost, PeerId};
pub use campaign::{Failure, Summary, campaign, choices, run};
pub use explore::{Explored, explore};
pub use handled::{Ended, Faults, Finding, Sent, Sim, SimConsumer, Simulation};
pub use history::History;
pub use seed::{Seed, SeedError, VERSION, parse_tape, print_tape};
pub use shrink::shrink;
pub use swarm::Swarm;
pub use tape::Tape;
pub use world::{Keep, Report, World};
