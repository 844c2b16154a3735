//! The codecs: compressed records in, records out, within a bound.
//!
//! Each codec first finds out how much will come, at most, from the compressed bytes alone (all
//! four tell, exactly or to within a block), reserves that once, and decompresses into it. So
//! nothing grows while it is written to, and a bomb is refused before or when it passes the bound.
//! What the codecs' own checksums cover, the batch's CRC-32C covers too.
//!
//! Chosen by measurement, on batches from 2 kB to 1 MB: `zlib-rs` is 1.3 to 1.8 times as fast as
//! `miniz_oxide`; `zstd`, in C, is four times as fast as `ruzstd`. `lz4_flex` would be twice as
//! fast with unsafe code, which is not worth it on bytes that strangers wrote.
//!
//! **Invariant:** for an empty buffer no more than the bound is reserved, and next to nothing beside
//! it.

#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(feature = "zstd")]
mod zstd;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::{Compression, RecordBatch, RecordsError};

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

/// What decompression keeps from one batch to the next: Zstandard's context, a hundred thousand
/// bytes that take longer to set up than a small batch takes to decompress.
#[derive(Default)]
pub struct Decompressor {
    #[cfg(feature = "zstd")]
    zstd: Option<zstd::Context<'static>>,
}

impl Decompressor {
    /// [`RecordBatch::decompressed`](super::RecordBatch::decompressed), several times as fast for
    /// small batches of Zstandard.
    ///
    /// # Errors
    /// As there.
    pub fn decompressed(&mut self, batch: &RecordBatch, max: usize) -> Result<Bytes, RecordsError> {
        if batch.compression == Compression::None && batch.body().len() <= max {
            return Ok(batch.shared_body());
        }
        let mut out = Vec::new();
        self.decompress_into(batch, &mut out, max)?;
        // What is reserved for the last block may be much for a small batch, which may be kept.
        if out.capacity() - out.len() > out.len() / 4 {
            out.shrink_to_fit();
        }
        Ok(out.into())
    }

    /// [`RecordBatch::decompress_into`](super::RecordBatch::decompress_into), several times as fast
    /// for small batches of Zstandard.
    ///
    /// # Errors
    /// As there.
    pub fn decompress_into(
        &mut self,
        batch: &RecordBatch,
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<Range<usize>, RecordsError> {
        let RecordBatch { base_offset, compression: codec, .. } = *batch;
        let start = out.len();
        if batch.count == 0 && batch.body().is_empty() {
            // Nothing at all, which no codec would write so.
            return Ok(start..start);
        }
        self.decompress(codec, batch.body(), out, max).map(|()| start..out.len()).map_err(|failure| {
            out.truncate(start);
            match failure {
                Failure::TooLarge => RecordsError::TooLarge { base_offset, max },
                Failure::Broken(cause) => RecordsError::Decompress { base_offset, codec, cause },
                Failure::Off => RecordsError::CodecOff { codec },
            }
        })
    }

    /// Appends to `out` what `input` is, decompressed: at most `max` bytes. A failure may leave
    /// some of it behind.
    fn decompress(
        &mut self,
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
            Compression::Zstd => zstd::decompress(self.zstd.get_or_insert_default(), input, out, max),
            #[allow(unreachable_patterns)] // With all codecs on.
            _ => Err(Failure::Off),
        }
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decompressor")
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
