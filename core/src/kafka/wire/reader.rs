//! Bytes that are read from the front, within bounds.

use bytes::Bytes;

use super::error::{Place, WireError};
use super::{Message, varint};

/// What is left of a frame.
///
/// Byte fields are slices of the frame, which stays in memory as long as one of them does.
#[derive(Clone, Debug)]
pub struct Reader {
    frame: Bytes,
    /// **Invariant:** `at <= end <= frame.len()`.
    at: usize,
    /// Where the frame ends, or the section of a tagged field.
    end: usize,
}

impl Reader {
    /// Everything in `frame`.
    pub fn new(frame: Bytes) -> Self {
        Self { at: 0, end: frame.len(), frame }
    }

    /// Bytes that are left.
    #[inline]
    pub fn left(&self) -> usize {
        self.end - self.at
    }

    /// That nothing is left behind a message.
    ///
    /// # Errors
    ///
    /// [`WireError::TrailingBytes`].
    pub fn finish<M: Message>(&self) -> Result<(), WireError> {
        match self.left() {
            0 => Ok(()),
            left => Err(WireError::TrailingBytes { message: M::NAME, left }),
        }
    }

    /// The next `N` bytes.
    #[inline]
    pub(super) fn array<const N: usize>(&mut self, place: Place) -> Result<[u8; N], WireError> {
        match self.frame[self.at..self.end].first_chunk() {
            // Proved: by the invariant.
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => Err(self.truncated(place, N)),
        }
    }

    /// The next `len` bytes, as they lie in the frame.
    #[inline]
    pub(super) fn bytes(&mut self, len: usize, place: Place) -> Result<Bytes, WireError> {
        let from = self.skip(len, place)?;
        Ok(self.frame.slice(from..self.at)) // Proved: skip looked that they are there.
    }

    /// The next `len` bytes as text.
    #[inline]
    pub(super) fn text(&mut self, len: usize, place: Place) -> Result<String, WireError> {
        let from = self.skip(len, place)?;
        // Proved: skip looked that they are there.
        match std::str::from_utf8(&self.frame[from..self.at]) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(WireError::Utf8 { place }),
        }
    }

    /// Leaves out `len` bytes, and says where they began.
    #[inline]
    pub(super) fn skip(&mut self, len: usize, place: Place) -> Result<usize, WireError> {
        if len > self.left() {
            return Err(self.truncated(place, len));
        }
        let from = self.at;
        self.at += len;
        Ok(from)
    }

    /// An unsigned number of one to five bytes.
    #[inline]
    pub(super) fn unsigned(&mut self, place: Place) -> Result<u32, WireError> {
        // Proved: by the invariant.
        match varint::unsigned(&self.frame[self.at..self.end]) {
            varint::Read::Number { number, len } => {
                self.at += len;
                Ok(number)
            }
            varint::Read::Truncated => Err(self.truncated(place, self.left() + 1)),
            varint::Read::TooLong => Err(WireError::Varint { place }),
        }
    }

    /// Makes the next `len` bytes all that is left; [`Reader::widen`] takes the answer back.
    pub(super) fn narrow(&mut self, len: usize, place: Place) -> Result<usize, WireError> {
        if len > self.left() {
            return Err(self.truncated(place, len));
        }
        Ok(std::mem::replace(&mut self.end, self.at + len))
    }

    /// Back to the bounds before [`Reader::narrow`]; the narrow section has to be used up.
    pub(super) fn widen(&mut self, end: usize, place: Place) -> Result<(), WireError> {
        match self.left() {
            0 => {
                self.end = end;
                Ok(())
            }
            left => Err(WireError::TagLength { place, left }),
        }
    }

    #[cold]
    fn truncated(&self, place: Place, needed: usize) -> WireError {
        WireError::Truncated { place, needed, left: self.left() }
    }
}
