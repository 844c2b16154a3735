//! The Kafka dialect and its machine.
//!
//! ```text
//! bytes ─► link: whose response? ─► wire: decode ─► task: what was it for?
//!                                                     │
//!    links · metadata · positions · fetch · membership (classic, leader, consumer) · commits · moves
//!                                                     │
//!                 ack · commit · assign (policies, shared by all backends)
//!                                                     │
//! bytes ◄─ link: queue ◄─ wire: encode ◄──────────────┘
//! ```
//!
//! # Theory of operation
//!
//! Connections by what may wait on them. The *seed* asks for metadata and finds the group's
//! coordinator. The *coordinator*'s carries the group's life and the commits. Each broker that
//! leads something has a *data* connection, on which one Fetch at a time waits for records, and,
//! when there is something to ask, a *query* connection for positions. So nothing that the
//! application waits for stands behind a fetch.
//!
//! Records are not looked at when they come. The batches' headers say how far they go, so the
//! next Fetch leaves at once; checksum, decompression and index are done as the application
//! takes them, piece by piece. What is not taken yet is bytes, counted and bounded, and a seek or
//! a rebalance forgets it without a trace.
//!
//! A subscription may be a pattern ([`Pattern`]): then metadata is about all topics, and those that
//! match are taken up and let go as they come and go.
//!
//! Each request that is sent leaves a task on its connection; the response comes back with it,
//! and the loss of the connection, too. A partition has a *turn* that grows with every change of
//! mind about it: an answer to an earlier turn is ignored.
//!
//! `pump` does all that can be done now; it is called after everything that could have changed
//! anything, and does nothing the second time.
//!
//! **Invariant:** a response is given to the request that was sent for it, or to none.
//!
//! **Invariant:** an offset is committed only while its partition is owned, never past a message
//! that is un-acked, and never behind one that was committed in the same assignment.
//!
//! **Invariant:** nothing but the answer "no committed offset" leads a group's partition to the
//! reset policy; an error never does.
//!
//! **Invariant:** the next wake-up lies in the future, or something was done.

mod classic;
mod cluster;
mod commits;
mod consumer;
mod coordinator;
mod doubt;
mod fault;
mod fetch;
mod lane;
mod leader;
mod link;
mod links;
mod machine;
mod membership;
mod metadata;
mod moves;
mod ownership;
mod partitions;
mod positions;
pub mod records;
pub mod sticky_data;
mod subscription;
mod task;
pub mod wire;

pub use crate::pattern::{Pattern, is_topic_name};
pub use machine::Machine;
