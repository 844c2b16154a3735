//! RESP2 and RESP3: bytes into replies, commands into bytes.
//!
//! Theory of operation. A [`Tokenizer`] turns the front of a growing buffer into framing tokens
//! and remembers where it stopped, so that a reply is never parsed twice. Above it there are two
//! readers. [`Decoder`] waits for a whole reply and gives a tree, [`Value`]: for everything that
//! is small. [`StreamDecoder`] knows the shapes in which entries come (XREADGROUP, XCLAIM,
//! XAUTOCLAIM …) and hands entries out as they complete, as indexes over the bytes that were
//! read: no tree, no copy, no allocation per entry. Which of the two reads next is known from the
//! command that is answered. [`Command`] writes commands; [`encode_value`] writes replies, for
//! model servers.
//!
//! Both protocols are read at any time: types tell themselves apart, and a map may stand where
//! RESP2 has a flat array. The source is <https://redis.io/docs/latest/develop/reference/protocol-spec/>.
//!
//! **Invariant:** what a reader gives, value or error, depends on the bytes and never on how they
//! were split.
//!
//! **Invariant:** work is linear in the bytes received, memory is at most linear in them, and an
//! announced length or count allocates nothing.
//!
//! **Invariant:** no bytes can make any of it panic; what breaks a rule or a bound is a
//! [`RespError`], after which that connection is over.

mod bounds;
mod encode;
mod error;
mod nesting;
mod number;
mod stream;
mod token;
mod value;

pub use bounds::Bounds;
pub use encode::{Command, Protocol, encode_value};
pub use error::RespError;
pub use stream::{Chunk, End, EndKind, Shape, StreamDecoder};
pub use token::{Token, Tokenizer};
pub use value::{Decoder, Value};
