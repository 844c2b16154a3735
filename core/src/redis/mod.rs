//! The Redis dialect and its machine.
//!
//! ```text
//! bytes ─► link: which reply is it? ─► resp: decode ─► task: what was it for?
//!                                                        │
//!              links · setup · reads · claims · commits · moves   (one room a concern)
//!                                                        │
//!                         ack · commit · claim · flow    (policies, shared by all backends)
//!                                                        │
//! bytes ◄─ link: queue ◄─ command: encode ◄──────────────┘
//! ```
//!
//! Two connections. The *reader* does nothing but XREADGROUP (or XREAD), which blocks at the
//! server while the streams are quiet. *Control* does the rest: it looks at keys and creates
//! groups, sends XACK, claims, keeps long work alive, and breaks off a blocked read with CLIENT
//! UNBLOCK when a request needs it. So nothing ever waits behind a blocked read.
//!
//! Each command that is sent leaves a task on its connection; the reply comes back with it. A
//! connection that is lost hands its tasks back, and each is put where it came from: acks go to
//! the ledger, keys are looked at again, and where a reply may have carried entries, own pending
//! entries are read again before new ones.
//!
//! `pump` does all that can be done now; it is called after everything that could have changed
//! anything, and does nothing the second time.
//!
//! **Invariant:** a reply is given to the command that was sent for it, on the connection on
//! which it was sent, or to none.
//!
//! **Invariant:** an entry that the server handed to this consumer is in the ledger, or will be
//! read again as own pending, or is another member's to claim.
//!
//! **Invariant:** the next wake-up lies in the future, or something was done.

mod audit;
mod claims;
mod command;
mod commits;
mod fault;
mod keys;
mod link;
mod links;
mod machine;
mod moves;
mod reads;
pub mod resp;
mod setup;
mod task;

pub use machine::Machine;
