//! What can be wrong with bytes, or with a message that is to become bytes.

use std::fmt;

/// A field of a message, for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place {
    /// The message or the structure in it, as the Rust type is named.
    pub message: &'static str,
    /// The field.
    pub field: &'static str,
}

/// `Message.field`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.message, self.field)
    }
}

/// A peer broke the protocol or went over a bound, or a message can't be said in a version.
///
/// When it comes from decoding, the connection is lost: frames may still be told apart, but a
/// peer that is wrong once is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("{place} needs {needed} bytes, and {left} are left")]
    Truncated {
        /// Where.
        place: Place,
        /// Bytes that the field has or announces.
        needed: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// An array announces more elements than the bytes that are left can hold.
    #[error("{place} announces {count} elements, and {left} bytes are left")]
    TooManyElements {
        /// Where.
        place: Place,
        /// What was announced.
        count: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// A length or count below zero that isn't a null either.
    #[error("{place} announces a length of {length}")]
    NegativeLength {
        /// Where.
        place: Place,
        /// What was announced.
        length: i64,
    },
    /// A null where this version has none; from decoding and from encoding.
    #[error("{place} is null, and version {version} has no null there")]
    Null {
        /// Where.
        place: Place,
        /// The message's version.
        version: i16,
    },
    /// A string that is not UTF-8.
    #[error("{place} is not utf-8")]
    Utf8 {
        /// Where.
        place: Place,
    },
    /// A number of variable length with more bytes or bits than its type has.
    #[error("{place} has a variable-length number that is too long")]
    Varint {
        /// Where.
        place: Place,
    },
    /// Tagged fields that aren't in strictly ascending order (KIP-482), a repeated one included.
    #[error("{message} has the tagged field {tag} twice or out of order")]
    TagOrder {
        /// Message or structure.
        message: &'static str,
        /// The tag that may not stand where it does.
        tag: u32,
    },
    /// A tagged field that doesn't fill the bytes that it announces.
    #[error("{place} leaves {left} bytes of its tagged section")]
    TagLength {
        /// Where.
        place: Place,
        /// Bytes behind its end.
        left: usize,
    },
    /// Bytes behind the end of a message.
    #[error("{left} bytes behind the end of {message}")]
    TrailingBytes {
        /// The message.
        message: &'static str,
        /// How many.
        left: usize,
    },
    /// A frame announces a length below zero, or one that is too short for its header.
    #[error("a frame announces {length} bytes")]
    FrameLength {
        /// What was announced.
        length: i32,
    },
    /// A frame is longer than the caller's bound, or than the protocol can say.
    #[error("a frame of {length} bytes is longer than the bound of {bound}")]
    FrameTooLong {
        /// Bytes of the frame without its length prefix.
        length: usize,
        /// The bound that it passed.
        bound: usize,
    },
    /// A request with another API key than was asked for.
    #[error("expected a request with API key {expected}, found {found}")]
    ApiKey {
        /// The key of the request that was to be read.
        expected: i16,
        /// The key in the header.
        found: i16,
    },
    /// A version that is not in [`Message::VERSIONS`](super::Message::VERSIONS).
    #[error("{message} has no version {version}")]
    UnsupportedVersion {
        /// The message.
        message: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// From encoding: a field that this version doesn't have holds something, and leaving it out
    /// would change what is said. Leave it at its default, or take a later version.
    #[error("version {version} has no {place}, and it is not at its default")]
    NotInVersion {
        /// Where.
        place: Place,
        /// The version that was asked for.
        version: i16,
    },
    /// From encoding: longer than the protocol can say in this version.
    #[error("{place} is too long for version {version}: {length}")]
    TooLong {
        /// Where.
        place: Place,
        /// The version that was asked for.
        version: i16,
        /// Its length: bytes, or elements.
        length: usize,
    },
}
