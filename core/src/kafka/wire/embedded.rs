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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::wire::ConsumerProtocolSubscription;

    #[test]
    fn later_versions_and_what_they_add_are_left_alone() {
        let subscription =
            ConsumerProtocolSubscription { topics: vec!["t".into()], generation_id: 4, ..Default::default() };
        let mut bytes = write_embedded(3, &subscription).unwrap().to_vec();
        assert_eq!(bytes[..2], [0, 3]);
        bytes[1] = 9;
        bytes.extend(b"more");
        let read = read_embedded::<ConsumerProtocolSubscription>(bytes.clone().into());
        assert_eq!(read, Ok((9, subscription)));
        bytes[0] = 0xff;
        let read = read_embedded::<ConsumerProtocolSubscription>(bytes.into());
        assert!(matches!(read, Err(WireError::UnsupportedVersion { version: -247, .. })), "{read:?}");
        for short in [&b""[..], b"\0", b"\0\x03\0"] {
            let read = read_embedded::<ConsumerProtocolSubscription>(Bytes::from_static(short));
            assert!(matches!(read, Err(WireError::Truncated { .. })), "{read:?}");
        }
    }
}
