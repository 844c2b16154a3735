//! What can be wrong with a reply.

/// A peer broke the protocol, or went over a bound. The connection is lost: where the next
/// reply would begin can't be known, so a decoder that said this once says it for ever.
///
/// Which error it is depends on the bytes alone, never on how they were split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RespError {
    /// No type begins with this byte.
    #[error("no type of reply begins with the byte {byte:#04x}")]
    UnknownType {
        /// The byte.
        byte: u8,
    },
    /// A line holds a CR without LF, or a LF without CR.
    #[error("a line does not end in exactly CR LF")]
    LineEnding,
    /// The bytes behind a bulk string are not CR LF.
    #[error("a bulk string of {len} bytes is not followed by CR LF")]
    BulkEnding {
        /// Its announced length.
        len: u32,
    },
    /// Not a decimal number of 64 bits without `+`, leading zeros or `-0`.
    #[error("not a strict decimal number of 64 bits")]
    Number,
    /// A length or count below zero that isn't a null either.
    #[error("the length or count {announced} is below zero")]
    Negative {
        /// What was announced.
        announced: i64,
    },
    /// A length or count of `?`: RESP3's streamed types, which Redis never sends.
    #[error("streamed strings and aggregates are not supported")]
    Streamed,
    /// A `,` line that isn't a number, `inf`, `-inf` or `nan`.
    #[error("not a double")]
    Double,
    /// A `#` line other than `t` and `f`.
    #[error("not a boolean")]
    Boolean,
    /// A `(` line other than a sign and digits.
    #[error("not a big number")]
    BigNumber,
    /// A `_` line that isn't empty.
    #[error("a null with content")]
    Null,
    /// A `=` string that doesn't begin with three bytes of format and a colon.
    #[error("a verbatim string without a format")]
    Verbatim,
    /// [`Bounds::line`](super::Bounds::line).
    #[error("a line is longer than the bound of {bound} bytes")]
    LineTooLong {
        /// The bound that it passed.
        bound: u32,
    },
    /// [`Bounds::bulk`](super::Bounds::bulk).
    #[error("a bulk string of {len} bytes is longer than the bound of {bound}")]
    BulkTooLong {
        /// Its announced length.
        len: u64,
        /// The bound that it passed.
        bound: u32,
    },
    /// [`Bounds::aggregate`](super::Bounds::aggregate).
    #[error("an aggregate of {count} elements is longer than the bound of {bound}")]
    AggregateTooLong {
        /// Elements announced; a pair counts twice.
        count: u64,
        /// The bound that it passed.
        bound: u32,
    },
    /// [`Bounds`](super::Bounds)'s `depth`.
    #[error("aggregates are nested deeper than the bound of {bound}")]
    TooDeep {
        /// The bound that it passed.
        bound: u32,
    },
    /// [`Bounds::total`](super::Bounds::total).
    #[error("a reply of at least {bytes} bytes is longer than the bound of {bound}")]
    ReplyTooLong {
        /// Bytes up to the end of what was announced last.
        bytes: u64,
        /// The bound that it passed.
        bound: u32,
    },
    /// A well-formed reply, but not of the shape that this command answers with.
    #[error("expected {expected}, found {found}")]
    Shape {
        /// What should have come.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// An entry's list of names and values has no value for its last name.
    #[error("an entry with {count} names and values together, an odd number")]
    OddFields {
        /// The announced count.
        count: u32,
    },
    /// Not two strict decimal numbers of 64 bits with a dash between.
    #[error("not an entry id")]
    EntryId,
}
