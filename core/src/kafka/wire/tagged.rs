//! Tagged fields (KIP-482): behind the other fields of a structure, in flexible versions.
//!
//! Each has a number and a length, so that a reader can skip what it doesn't know.

use bytes::BytesMut;

use super::codec::{Codec, Context};
use super::error::{Place, WireError};
use super::reader::Reader;
use super::varint;

/// Reads the tagged fields of one structure.
///
/// Numbers have to ascend strictly, as KIP-482 says, so no field comes twice. Those that this
/// version doesn't know are skipped, and lost. Each takes at least two bytes, so an announced
/// count can't make more work than the bytes that are there.
pub(super) struct TaggedReader {
    place: Place,
    left: u32,
    next: u64,
}

/// A tagged field whose bytes are all that the reader has left.
pub(super) struct Section {
    pub(super) tag: u32,
    end: usize,
}

impl TaggedReader {
    pub(super) fn new(message: &'static str, from: &mut Reader) -> Result<Self, WireError> {
        let place = Place { message, field: "tagged fields" };
        Ok(Self { place, left: from.unsigned(place)?, next: 0 })
    }

    pub(super) fn next(&mut self, from: &mut Reader) -> Result<Option<Section>, WireError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let tag = from.unsigned(self.place)?;
        if u64::from(tag) < self.next {
            return Err(WireError::TagOrder { message: self.place.message, tag });
        }
        self.next = u64::from(tag) + 1;
        let len = from.unsigned(self.place)? as usize;
        Ok(Some(Section { tag, end: from.narrow(len, self.place)? }))
    }

    pub(super) fn skip(&self, section: &Section, from: &mut Reader) -> Result<(), WireError> {
        from.skip(from.left(), self.place)?;
        from.widen(section.end, self.place)
    }
}

impl Section {
    pub(super) fn decode<T: Codec>(&self, context: &Context, from: &mut Reader) -> Result<T, WireError> {
        let value = T::decode(context, from)?;
        from.widen(self.end, context.place)?;
        Ok(value)
    }
}

/// Appends one tagged field.
pub(super) fn encode<T: Codec>(
    tag: u32,
    value: &T,
    context: &Context,
    to: &mut BytesMut,
) -> Result<(), WireError> {
    varint::put_unsigned(tag, to);
    let mut section = BytesMut::new();
    value.encode(context, &mut section)?;
    let len = u32::try_from(section.len());
    let len = len.ok().filter(|len| *len <= i32::MAX as u32);
    let len = len.ok_or(WireError::TooLong {
        place: context.place,
        version: context.version,
        length: section.len(),
    })?;
    varint::put_unsigned(len, to);
    to.extend_from_slice(&section);
    Ok(())
}
