//! All messages, ours and the other crate's.

use std::ops::RangeInclusive;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};
use tidegate_core::kafka::wire::{Message, Reader, Structure, WireError};

use super::random::Random;

/// Bytes, or why there are none.
pub(crate) type Encoded = Result<Vec<u8>, WireError>;

/// A message, without its type.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) structure: &'static Structure,
    pub(crate) versions: RangeInclusive<i16>,
    pub(crate) flexible: i16,
    /// The versions that the other crate has.
    pub(crate) theirs: RangeInclusive<i16>,
    /// Whether we decode it; nothing is allocated but by decoding.
    pub(crate) decodes: fn(i16, &Bytes) -> bool,
    /// What we decode out of bytes and encode again.
    pub(crate) again: fn(i16, &[u8]) -> Encoded,
    /// Decoded in the first version, encoded in the second.
    pub(crate) across: fn(i16, &[u8], i16) -> Encoded,
    /// What we decode, twice, and whether it is the same.
    pub(crate) same: fn(i16, &[u8], &[u8]) -> bool,
    /// The defaults' bytes, and whether they are decoded to the defaults.
    pub(crate) default: fn(i16) -> (Encoded, bool),
    /// What the other crate decodes and encodes again.
    pub(crate) through_theirs: fn(i16, &[u8]) -> Result<Vec<u8>, String>,
}

impl Row {
    pub(crate) fn random(&self, version: i16, tape: &[u8], strange: bool) -> Vec<u8> {
        Random::new(tape, version, version >= self.flexible, strange).message(self.structure)
    }

    pub(crate) fn has_theirs(&self, version: i16) -> bool {
        self.theirs.contains(&version)
    }
}

fn decode<M: Message>(version: i16, bytes: &[u8]) -> Result<M, WireError> {
    let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
    let message = M::decode(version, &mut reader)?;
    reader.finish::<M>()?;
    Ok(message)
}

fn encode<M: Message>(version: i16, message: &M) -> Encoded {
    let mut out = BytesMut::new();
    message.encode(version, &mut out)?;
    Ok(out.to_vec())
}

fn row<O: Message, T: Encodable + Decodable + kafka_protocol::protocol::Message>() -> Row {
    Row {
        name: O::NAME,
        structure: O::STRUCTURE,
        versions: O::VERSIONS,
        flexible: O::FLEXIBLE,
        theirs: T::VERSIONS.min..=T::VERSIONS.max,
        decodes: |version, bytes| O::decode(version, &mut Reader::new(bytes.clone())).is_ok(),
        again: |version, bytes| encode(version, &decode::<O>(version, bytes)?),
        across: |from, bytes, to| encode(to, &decode::<O>(from, bytes)?),
        same: |version, one, other| decode::<O>(version, one).unwrap() == decode(version, other).unwrap(),
        default: |version| {
            let bytes = encode(version, &O::default());
            let same = bytes.as_ref().is_ok_and(|bytes| decode(version, bytes) == Ok(O::default()));
            (bytes, same)
        },
        through_theirs: |version, bytes| {
            let mut left = Bytes::copy_from_slice(bytes);
            let message = T::decode(&mut left, version).map_err(|error| format!("{error:#}"))?;
            if !left.is_empty() {
                return Err(format!("{} bytes left", left.len()));
            }
            let mut out = BytesMut::new();
            message.encode(&mut out, version).map_err(|error| format!("{error:#}"))?;
            Ok(out.to_vec())
        },
    }
}

macro_rules! rows {
    ($($name:ident)*) => {
        /// All messages.
        pub(crate) fn rows() -> Vec<Row> {
            vec![$( row::<tidegate_core::kafka::wire::$name, kafka_protocol::messages::$name>(), )*]
        }
    };
}

all_messages!(rows);
