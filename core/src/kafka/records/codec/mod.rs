//! The codecs: compressed records in, records out, within a bound.
//!
//! Each codec first finds out how much will come, at most, from the compressed bytes alone (all
//! four tell, exactly or to within a block), reserves that once, and decompresses into it. So
//! nothing grows while it is written to, and a bomb is refused before or when it passes the bound.
//!
//! What the codecs' own checksums cover, the batch's CRC-32C covers too.
//!
//! **Invariant:** no more than the bound is reserved for the output, and next to nothing beside it.

#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(feature = "zstd")]
mod zstd;

use super::Compression;

/// Why something can't be decompressed, or compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// More than the bound would come out.
    TooLarge,
    /// Not of the codec's format.
    #[allow(dead_code)] // Without any codec there is nobody to say it.
    Broken(Box<str>),
    /// The codec was left out.
    Off,
}

#[allow(dead_code)] // As above.
impl Failure {
    fn broken(cause: impl ToString) -> Self {
        Self::Broken(cause.to_string().into())
    }
}

/// Appends to `out` what `input` is, decompressed: at most `max` bytes. A failure may leave some
/// of it behind.
pub(super) fn decompress(
    codec: Compression,
    input: &[u8],
    out: &mut Vec<u8>,
    max: usize,
) -> Result<(), Failure> {
    match codec {
        Compression::None if input.len() > max => Err(Failure::TooLarge),
        Compression::None => {
            out.extend_from_slice(input);
            Ok(())
        }
        #[cfg(feature = "gzip")]
        Compression::Gzip => gzip::decompress(input, out, max),
        #[cfg(feature = "snappy")]
        Compression::Snappy => snappy::decompress(input, out, max),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => lz4::decompress(input, out, max),
        #[cfg(feature = "zstd")]
        Compression::Zstd => zstd::decompress(input, out, max),
        #[allow(unreachable_patterns)] // With all codecs on.
        _ => Err(Failure::Off),
    }
}

/// Appends to `out` what `input` is when compressed as Kafka's own producer does.
pub(super) fn compress(codec: Compression, input: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    match codec {
        Compression::None => {
            out.extend_from_slice(input);
            Ok(())
        }
        #[cfg(feature = "gzip")]
        Compression::Gzip => gzip::compress(input, out),
        #[cfg(feature = "snappy")]
        Compression::Snappy => snappy::compress(input, out),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => lz4::compress(input, out),
        #[cfg(feature = "zstd")]
        Compression::Zstd => zstd::compress(input, out),
        #[allow(unreachable_patterns)] // With all codecs on.
        _ => Err(Failure::Off),
    }
}
