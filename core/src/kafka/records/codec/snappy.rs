//! Snappy: bare, as librdkafka writes it, and in the framing of snappy-java, as Kafka's own
//! producer does: a header of 16 bytes, then blocks of a length (32 bits) and bare Snappy. Streams
//! may follow each other, so the header may come again where a length would.

use super::Failure;

/// Snappy-java's magic; a version and the oldest one that can read it follow, 32 bits each.
const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const HEADER: usize = 16;
/// What is written: as snappy-java does.
const VERSION: u32 = 1;
/// Bytes of a block before compression, as Kafka's producer has it.
const BLOCK: usize = 32 << 10;
/// The most that comes out of a byte, and more: an element of three bytes copies at most 64.
const RATIO: usize = 22;

pub(super) fn decompress(input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Failure> {
    if !input.starts_with(&MAGIC) {
        let size = size_of_block(input, max)?;
        out.reserve(size);
        return block(input, size, out);
    }
    let mut size = 0;
    blocks(input, |part| {
        size += size_of_block(part, max - size)?;
        Ok(())
    })?;
    out.reserve(size);
    blocks(input, |part| {
        let size = size_of_block(part, max)?;
        block(part, size, out)
    })
}

/// Hands each framed block to `each`.
fn blocks(mut input: &[u8], mut each: impl FnMut(&[u8]) -> Result<(), Failure>) -> Result<(), Failure> {
    while !input.is_empty() {
        if input.starts_with(&MAGIC) {
            input = input.get(HEADER..).ok_or_else(|| Failure::broken("the header is cut off"))?;
            continue;
        }
        let cut = || Failure::broken("a block is cut off");
        let (length, rest) = input.split_first_chunk().ok_or_else(cut)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (part, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        each(part)?;
        input = rest;
    }
    Ok(())
}

/// What a block says it is when decompressed, if that is possible and within `max`.
fn size_of_block(part: &[u8], max: usize) -> Result<usize, Failure> {
    let size = snap::raw::decompress_len(part).map_err(Failure::broken)?;
    match size {
        size if size > part.len().saturating_mul(RATIO) => Err(Failure::broken("a block announces too much")),
        size if size > max => Err(Failure::TooLarge),
        size => Ok(size),
    }
}

fn block(part: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(), Failure> {
    let start = out.len();
    out.resize(start + size, 0);
    let room = out.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new().decompress(part, room).map(drop).map_err(Failure::broken)
}

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&VERSION.to_be_bytes());
    for part in input.chunks(BLOCK) {
        let part = snap::raw::Encoder::new().compress_vec(part).map_err(Failure::broken)?;
        out.extend_from_slice(&(part.len() as u32).to_be_bytes());
        out.extend_from_slice(&part);
    }
    Ok(())
}
