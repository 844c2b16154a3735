//! Kafka's wire protocol: bytes into messages, messages into bytes.
//!
//! Theory of operation. A frame is split off a growing buffer once it is whole ([`split_frame`]),
//! its correlation id says which request it answers ([`correlation_id`]), and the request's type
//! and version say how to read it ([`read_response`]). Each message is declared once, in the
//! notation of Kafka's own definitions (`messages/`); one macro makes of it the struct, its
//! defaults, both directions for all versions, and a description of it as data
//! ([`Message::STRUCTURE`]), which a test holds against the definitions in Kafka's jar.
//!
//! All versions that Kafka 4.3 calls valid are there. What is spoken on a connection is the
//! caller's choice by ApiVersions ([`Message::VERSIONS`]). Sources: the protocol guide
//! (<https://kafka.apache.org/protocol>), KIP-482 (flexible versions), KIP-511 (ApiVersions).
//!
//! **Invariant:** no bytes can make any of it panic, recurse deeper than the declarations are
//! nested, work more than linearly in their number, or allocate more than a constant times it;
//! an announced length or count is held against the bytes that are there first.
//!
//! **Invariant:** fields of bytes, records above all, are slices of the frame and never copied.
//!
//! **Invariant:** what was encoded is decoded to the same value, except for ignorable fields that
//! its version doesn't have.

pub mod api_key;
mod codec;
mod declare;
mod embedded;
mod error;
mod error_code;
mod frame;
mod message;
mod messages;
mod reader;
mod structure;
mod tagged;
#[cfg(test)]
mod tests;
mod uuid;
mod varint;
mod versions;

pub use embedded::{read_embedded, write_embedded};
pub use error::{Place, WireError};
pub use error_code::ErrorCode;
pub use frame::{
    correlation_id, read_request, read_response, request_header, split_frame, write_request, write_response,
};
pub use message::{Message, Request};
pub use messages::*;
pub use reader::Reader;
pub use structure::{Field, Kind, Structure};
pub use uuid::Uuid;
pub use versions::Versions;
