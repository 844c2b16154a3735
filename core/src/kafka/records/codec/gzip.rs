//! Gzip, RFC 1952.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::Failure;

/// No more than this comes out of a byte of deflate.
const RATIO: usize = 1032;

pub(super) fn decompress(input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Failure> {
    let start = out.len();
    // A member ends with its size; where there is one member, that is all of it.
    let size = input.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize);
    let room = size.min(input.len().saturating_mul(RATIO)).min(max);
    if read(input, out, room)? {
        return Ok(());
    }
    // There is more: several members, or a size that isn't one. Count before making room, and give
    // back what is too small.
    out.truncate(start);
    if start == 0 {
        *out = Vec::new();
    }
    let mut rest = MultiGzDecoder::new(input).take((max as u64).saturating_add(1));
    let size = io::copy(&mut rest, &mut io::sink()).map_err(Failure::broken)?;
    match usize::try_from(size) {
        Ok(size) if size <= max && read(input, out, size)? => Ok(()),
        _ => Err(Failure::TooLarge),
    }
}

/// Decompresses `room` bytes at most; false if there are more.
fn read(input: &[u8], out: &mut Vec<u8>, room: usize) -> Result<bool, Failure> {
    out.reserve(room);
    let mut decoder = MultiGzDecoder::new(input);
    decoder.by_ref().take(room as u64).read_to_end(out).map_err(Failure::broken)?;
    // Whether that was all, and the checksum behind it.
    decoder.read(&mut [0]).map(|more| more == 0).map_err(Failure::broken)
}

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    let mut encoder = GzEncoder::new(out, Compression::default());
    encoder.write_all(input).and_then(|()| encoder.finish()).map(drop).map_err(Failure::broken)
}
