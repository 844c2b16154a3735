//! tidegate-core: a stream consumer as a value.
#![forbid(unsafe_code)]

pub mod ack;
pub mod backoff;
pub mod claim;
pub mod command;
pub mod commit;
pub mod delivery;
pub mod error;
pub mod event;
pub mod flow;
pub mod identity;
pub mod limits;
pub mod machine;
pub mod message;
pub mod options;
pub mod random;
pub mod redis;
pub mod request;
pub mod stats;
pub mod stream;
pub mod time;
pub mod timer;

pub use ack::AckRange;
pub use claim::ClaimOptions;
pub use command::{Command, Endpoint};
pub use commit::AutoCommit;
pub use delivery::{Assignment, Delivery, Notice, Reason};
pub use error::{Error, RequestError};
pub use event::{Cause, ConnId, Event};
pub use identity::{ConsumerGroup, ConsumerId, HostId};
pub use limits::Limits;
pub use machine::{Machine, Setup};
pub use message::{Batch, Epoch, Message, MessageRef};
pub use options::{ConsumerMode, ConsumerOptions, Login, Secret, Start};
pub use request::{Outcome, Request, Ticket};
pub use stats::Stats;
pub use stream::{Position, SeqNo, ShardId, StreamKey, Timestamp};
pub use time::Instant;
pub use timer::Wake;
