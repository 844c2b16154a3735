//! LZ4 in its frame format: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>.
//!
//! The frame is read here and only the blocks by `lz4_flex`: so that each block is decompressed
//! to where it stays, and no announced block size of 4 MiB is allocated for a few bytes, which for a
//! small batch takes twenty times as long. Checksums of the frame are passed over; message formats before 2, the only ones with the wrong header
//! checksum that old Kafka clients wrote, are not read anyway.

use std::io::Write;

use lz4_flex::block::{DecompressError, decompress_into, decompress_into_with_dict};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::Failure;

const MAGIC: u32 = 0x184D_2204;
/// No more than this comes out of a byte.
const RATIO: usize = 255;
/// How far back a block that isn't independent may reach.
const WINDOW: usize = 64 << 10;
/// Of a block's length: it isn't compressed.
const PLAIN: u32 = 1 << 31;

/// The frame's descriptor.
struct Frame<'a> {
    independent: bool,
    block_checksums: bool,
    /// No block is longer when decompressed.
    block_max: usize,
    blocks: &'a [u8],
}

enum Block<'a> {
    Plain(&'a [u8]),
    Compressed(&'a [u8]),
}

impl<'a> Frame<'a> {
    fn read(input: &'a [u8]) -> Option<Self> {
        let (magic, rest) = input.split_first_chunk()?;
        let ([flags, sizes], rest) = rest.split_first_chunk()?;
        let block_max = match sizes >> 4 & 0b111 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            _ => return None,
        };
        // Version 1, and no dictionary.
        if u32::from_le_bytes(*magic) != MAGIC || flags >> 6 != 1 || flags & 1 != 0 {
            return None;
        }
        let content_size = if flags & 1 << 3 != 0 { 8 } else { 0 };
        Some(Self {
            independent: flags & 1 << 5 != 0,
            block_checksums: flags & 1 << 4 != 0,
            block_max,
            // One byte of checksum.
            blocks: rest.get(content_size + 1..)?,
        })
    }

    /// Hands each block to `each`.
    fn blocks(&self, mut each: impl FnMut(Block<'a>) -> Result<(), Failure>) -> Result<(), Failure> {
        let cut = || Failure::broken("the frame is cut off");
        let mut rest = self.blocks;
        loop {
            let (length, behind) = rest.split_first_chunk().ok_or_else(cut)?;
            let length = u32::from_le_bytes(*length);
            if length == 0 {
                return Ok(());
            }
            let (block, behind) = behind.split_at_checked((length & !PLAIN) as usize).ok_or_else(cut)?;
            each(if length & PLAIN != 0 { Block::Plain(block) } else { Block::Compressed(block) })?;
            rest = behind.get(if self.block_checksums { 4 } else { 0 }..).ok_or_else(cut)?;
        }
    }

    /// What a block of `length` bytes is at most when decompressed.
    fn room(&self, length: usize) -> usize {
        length.saturating_mul(RATIO).min(self.block_max)
    }
}

pub(super) fn decompress(input: &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), Failure> {
    let frame = Frame::read(input).ok_or_else(|| Failure::broken("not a frame, or of an unknown kind"))?;
    let mut most = 0_usize;
    frame.blocks(|block| {
        most = most.saturating_add(match block {
            Block::Plain(bytes) => bytes.len(),
            Block::Compressed(bytes) => frame.room(bytes.len()),
        });
        Ok(())
    })?;
    out.reserve(most.min(max));
    let start = out.len();
    frame.blocks(|block| {
        let left = max - (out.len() - start);
        match block {
            Block::Plain(bytes) if bytes.len() > left => return Err(Failure::TooLarge),
            Block::Plain(bytes) => out.extend_from_slice(bytes),
            Block::Compressed(bytes) => {
                let (before, room) = (out.len(), frame.room(bytes.len()));
                out.resize(before + room.min(left), 0);
                let (done, to) = out.split_at_mut(before);
                let window = done.get(start.max(before.saturating_sub(WINDOW))..).unwrap_or_default();
                let written = match frame.independent {
                    true => decompress_into(bytes, to),
                    false => decompress_into_with_dict(bytes, to, window),
                };
                match written {
                    Ok(written) => out.truncate(before + written),
                    Err(DecompressError::OutputTooSmall { .. }) if room > left => {
                        return Err(Failure::TooLarge);
                    }
                    Err(error) => return Err(Failure::broken(error)),
                }
            }
        }
        Ok(())
    })
}

pub(super) fn compress(input: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, out);
    encoder.write_all(input).map_err(Failure::broken)?;
    encoder.finish().map(drop).map_err(Failure::broken)
}
