//! What messages have in common.

use std::fmt::Debug;
use std::ops::RangeInclusive;

use bytes::BytesMut;

use super::codec::{Codec, Context};
use super::error::{Place, WireError};
use super::reader::Reader;
use super::structure::Structure;

/// A request, a response, or what is embedded in one.
///
/// Fields are those of all versions together. One that a version doesn't have keeps its default
/// when that version is decoded; when it is encoded it has to be at its default, or be one that
/// the definitions call ignorable. `Default` is the definitions' own.
///
/// ```
/// use bytes::BytesMut;
/// use tidegate_core::kafka::wire::{HeartbeatRequest, Message, Reader};
///
/// let heartbeat = HeartbeatRequest { group_id: "g".into(), generation_id: 7, ..Default::default() };
/// let mut bytes = BytesMut::new();
/// heartbeat.encode(4, &mut bytes)?;
/// let mut reader = Reader::new(bytes.freeze());
/// assert_eq!(HeartbeatRequest::decode(4, &mut reader)?, heartbeat);
/// # Ok::<(), tidegate_core::kafka::wire::WireError>(())
/// ```
pub trait Message: Sized + Default + Clone + Debug + PartialEq {
    /// As in Kafka's definitions: `MetadataRequest`.
    const NAME: &'static str;
    /// The versions that can be encoded and decoded: all that Kafka 4.3 calls valid.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields (KIP-482); [`i16::MAX`] for none.
    const FLEXIBLE: i16;
    /// Its fields, from the declaration that the code is made of.
    const STRUCTURE: &'static Structure;

    /// Appends the message's own bytes: no length, no header. After an error, `to` may have a
    /// part of them.
    ///
    /// # Errors
    ///
    /// [`WireError::UnsupportedVersion`], [`WireError::NotInVersion`], [`WireError::Null`] and
    /// [`WireError::TooLong`].
    fn encode(&self, version: i16, to: &mut BytesMut) -> Result<(), WireError>;

    /// Reads the message from the front. Tagged fields that aren't known are skipped.
    ///
    /// Allocates at most a constant times the bytes that are there, whatever they announce.
    /// Fields of bytes are slices of the reader's frame.
    ///
    /// # Errors
    ///
    /// All of [`WireError`] that can be wrong with bytes; not that something is left behind the
    /// message ([`Reader::finish`]).
    fn decode(version: i16, from: &mut Reader) -> Result<Self, WireError>;
}

/// A message that a broker answers.
pub trait Request: Message {
    /// Its API key, one of [`api_key`](super::api_key).
    const KEY: i16;
    /// The answer, which has the request's version.
    type Response: Message;
}

/// [`Message::encode`], for all.
pub(super) fn encode<M: Message + Codec>(
    message: &M,
    version: i16,
    to: &mut BytesMut,
) -> Result<(), WireError> {
    Codec::encode(message, &context::<M>(version)?, to)
}

/// [`Message::decode`], for all.
pub(super) fn decode<M: Message + Codec>(version: i16, from: &mut Reader) -> Result<M, WireError> {
    Codec::decode(&context::<M>(version)?, from)
}

fn context<M: Message>(version: i16) -> Result<Context, WireError> {
    if !M::VERSIONS.contains(&version) {
        return Err(WireError::UnsupportedVersion { message: M::NAME, version });
    }
    Ok(Context {
        version,
        flexible: version >= M::FLEXIBLE,
        nullable: false,
        place: Place { message: M::NAME, field: "" },
    })
}
