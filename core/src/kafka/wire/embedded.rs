//! Messages inside a bytes field, with their version before them: how members of a classic group
//! tell the leader what they want, and the leader them what they got.

use bytes::{BufMut, Bytes, BytesMut};

use super::Message;
use super::error::{Place, WireError};
use super::reader::Reader;

/// A message with its version before it, as JoinGroup and SyncGroup carry
/// [`ConsumerProtocolSubscription`](super::ConsumerProtocolSubscription) and
/// [`ConsumerProtocolAssignment`](super::ConsumerProtocolAssignment).
///
/// # Errors
///
/// Those of [`Message::encode`].
///
/// ```
/// use tidegate_core::kafka::wire::{ConsumerProtocolSubscription, read_embedded, write_embedded};
///
/// let subscription =
///     ConsumerProtocolSubscription { topics: vec!["orders".into()], ..Default::default() };
/// let bytes = write_embedded(3, &subscription)?;
/// assert_eq!(read_embedded(bytes)?, (3, subscription));
/// # Ok::<(), tidegate_core::kafka::wire::WireError>(())
/// ```
pub fn write_embedded<M: Message>(version: i16, message: &M) -> Result<Bytes, WireError> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    message.encode(version, &mut bytes)?;
    Ok(bytes.freeze())
}

/// The version that is written, and the message.
///
/// As other members read it: a later version than is known is read as the latest known one, and
/// bytes behind the message are left alone, because that is how this protocol grows.
///
/// # Errors
///
/// Those of [`Message::decode`]; a version below the first is
/// [`WireError::UnsupportedVersion`].
pub fn read_embedded<M: Message>(bytes: Bytes) -> Result<(i16, M), WireError> {
    let mut reader = Reader::new(bytes);
    let place = Place { message: M::NAME, field: "version" };
    let version = i16::from_be_bytes(reader.array(place)?);
    let message = M::decode(version.min(*M::VERSIONS.end()), &mut reader)?;
    Ok((version, message))
}
