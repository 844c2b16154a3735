//! The rig that gives the same dialogues to the model Kafka and to a real broker.
//!
//! ```text
//! seed ─► generate ─► ask ─┬─► names ─► model ─► normal ─┬─► alike? ─► tally
//!            ▲             └─► names ─► real  ─► normal ─┘
//!            └──────────────── answers ─────────────────┘
//! ```
//!
//! Theory of operation. A dialogue is a sequence of requests on several connections, with topics and
//! groups of its own, so that one broker serves thousands. What comes next depends on the answers so
//! far, which are the same on both sides. Ids that a broker makes up (members, fetch sessions) are
//! numbered as they appear, on each side by itself ([`names`]): requests carry these numbers, and
//! answers are compared with them.
//!
//! What is timing or chance is left out by one rule for all answers ([`normal`]), and never for a
//! single case. A request that is answered later (JoinGroup, SyncGroup) has to wait on both sides, and
//! is answered on both by the same later request.
//!
//! **Invariant:** the same seed gives the same requests, as long as the answers are the same.

mod ask;
mod classic;
mod consumer;
mod dialogue;
mod generate;
mod model;
mod names;
mod normal;
mod offsets;
mod real;
mod records;
mod tally;

pub use dialogue::{Dialogue, Sides};
pub use generate::Generator;
pub use model::Model;
pub use real::Real;
pub use tally::Tally;
