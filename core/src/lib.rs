//! tidegate-core: a stream consumer as a value.
#![forbid(unsafe_code)]

pub mod ack;
pub mod message;
pub mod random;
pub mod redis;
pub mod stream;
pub mod time;

pub use message::{Batch, Epoch, Message, MessageRef};
pub use stream::{Position, SeqNo, ShardId, StreamKey, Timestamp};
pub use time::Instant;
