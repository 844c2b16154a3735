//! The codecs: framings, bounds, and what is not of the format.

use bytes::Bytes;
use tidegate_core::kafka::records::{
    BatchBuilder, Batches, Compression, Decompressor, NewRecord, RecordBatch, RecordsError,
};

use crate::model::{ALL, MAX, codecs, is_on, only};

/// A batch of `count` records whose values are `value`.
fn batch(codec: Compression, count: i64, value: &[u8]) -> Result<RecordBatch, RecordsError> {
    let mut builder = BatchBuilder::new(0);
    builder.compression(codec);
    for offset in 0..count {
        builder.record(NewRecord { offset, value: Some(value), ..NewRecord::default() });
    }
    only(builder.build()?)
}

/// A batch whose records are `body`, which is of this codec already. Its checksum is wrong.
fn with_body(codec: Compression, body: &[u8]) -> RecordBatch {
    let mut bytes = BatchBuilder::new(0).build().unwrap();
    bytes.extend_from_slice(body);
    let length = bytes.len() as u32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[22] = codec as u8;
    // One record is announced, so that the body isn't passed over.
    bytes[60] = 1;
    only(bytes).unwrap()
}

#[cfg(any(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd"))]
fn decompressed(codec: Compression, body: &[u8]) -> Result<Bytes, RecordsError> {
    with_body(codec, body).decompressed(MAX)
}

#[test]
fn a_codec_that_is_off_says_how_to_turn_it_on() {
    for codec in ALL.into_iter().filter(|codec| !is_on(*codec)) {
        let error = RecordsError::CodecOff { codec };
        assert_eq!(batch(codec, 1, b"a").unwrap_err(), error);
        assert_eq!(with_body(codec, b"a").decompressed(MAX), Err(error.clone()));
        let words = error.to_string();
        assert!(words.contains(&format!("cargo feature `{codec}`")), "{words}");
    }
}

#[test]
fn what_comes_out_is_bounded() {
    for codec in codecs() {
        // 3 MB that compress to next to nothing.
        let bomb = batch(codec, 30, &vec![0; 100_000]).unwrap();
        let size = bomb.decompressed(usize::MAX).unwrap().len();
        assert!(size > 3_000_000);
        assert_eq!(bomb.decompressed(size).unwrap().len(), size, "{codec}");
        for max in [0, 1, 1000, 65_536, 1 << 20, size - 1] {
            let error = RecordsError::TooLarge { base_offset: 0, max };
            assert_eq!(bomb.decompressed(max), Err(error.clone()), "{codec}");
            let mut out = b"before".to_vec();
            assert_eq!(bomb.decompress_into(&mut out, max), Err(error));
            assert_eq!(out, b"before");
        }
        let mut out = b"before".to_vec();
        assert_eq!(bomb.decompress_into(&mut out, size), Ok(6..6 + size));
        assert_eq!((&out[..6], &out[6..]), (&b"before"[..], &bomb.decompressed(size).unwrap()[..]));
    }
}

#[test]
fn one_decompressor_goes_on_after_a_failure() {
    let mut decompressor = Decompressor::default();
    for codec in codecs() {
        let good = batch(codec, 10, b"value").unwrap();
        let expected = good.decompressed(MAX).unwrap();
        let size = good.body().len();
        for _ in 0..2 {
            assert_eq!(decompressor.decompressed(&good, MAX), Ok(expected.clone()));
            assert!(decompressor.decompressed(&good, 10).is_err());
            if codec != Compression::None {
                let cut = with_body(codec, &good.body()[..size - 1]);
                let wrong = decompressor.decompressed(&cut, MAX);
                assert!(matches!(wrong, Err(RecordsError::Decompress { .. })), "{codec}: {wrong:?}");
            }
        }
    }
}

#[test]
fn uncompressed_records_are_not_copied() {
    let batch = batch(Compression::None, 10, b"value").unwrap();
    let data = batch.decompressed(MAX).unwrap();
    assert_eq!((data.as_ptr(), data.len()), (batch.body().as_ptr(), batch.body().len()));
}

#[test]
fn a_batch_without_records_has_nothing_to_decompress() {
    for codec in ALL {
        let mut bytes = BatchBuilder::new(7).build().unwrap();
        bytes[22] = codec as u8;
        let batch = only(bytes).unwrap();
        assert_eq!((batch.count, batch.next_offset()), (0, 8));
        assert_eq!(batch.decompressed(0), Ok(Bytes::new()));
    }
}

#[test]
fn every_cut_and_any_bytes_are_an_error() {
    for codec in codecs().into_iter().filter(|codec| *codec != Compression::None) {
        let whole = batch(codec, 200, &b"0123456789".repeat(50)).unwrap();
        let body = whole.body();
        let expected = whole.decompressed(MAX).unwrap();
        for cut in 0..body.len() {
            match with_body(codec, &body[..cut]).decompressed(MAX) {
                Err(RecordsError::Decompress { codec: named, cause, .. }) => {
                    assert_eq!(named, codec);
                    assert!(!cause.is_empty());
                }
                // Snappy's framing has no end: where a block ends, the records are seen to be short.
                Ok(part) if codec == Compression::Snappy => {
                    assert!(part.len() < expected.len() && expected.starts_with(&part));
                }
                other => panic!("{codec} cut at {cut}: {other:?}"),
            }
        }
        let mut noise = 1_u32;
        for len in 0..200 {
            let mut bytes: Vec<u8> = (0..len)
                .map(|_| {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (noise >> 24) as u8
                })
                .collect();
            let at = len.min(20);
            bytes[..at].copy_from_slice(&body[..at]);
            let out = with_body(codec, &bytes).decompressed(MAX);
            assert!(out.is_err() || codec == Compression::Snappy, "{codec}: {out:?}");
        }
    }
}

#[cfg(feature = "snappy")]
mod snappy {
    use super::*;

    const HEADER: &[u8] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

    fn bare(bytes: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(bytes).unwrap()
    }

    fn framed(bytes: &[u8]) -> Vec<u8> {
        let block = bare(bytes);
        [&(block.len() as u32).to_be_bytes()[..], &block].concat()
    }

    #[test]
    fn bare_and_framed_in_any_number_of_streams() {
        let (one, two) = (b"one ".repeat(100), b"two ".repeat(100));
        let read = |parts: &[&[u8]]| decompressed(Compression::Snappy, &parts.concat());
        let both = Bytes::from([one.clone(), two.clone()].concat());
        assert_eq!(read(&[&bare(&both)]), Ok(both.clone()));
        assert_eq!(read(&[HEADER, &framed(&one), &framed(&two)]), Ok(both.clone()));
        assert_eq!(read(&[HEADER, &framed(&one), HEADER, &framed(&two)]), Ok(both));
        assert_eq!(read(&[HEADER]), Ok(Bytes::new()));
        assert_eq!(read(&[&bare(b"")]), Ok(Bytes::new()));
        for broken in [&HEADER[..15], &[HEADER, &[0, 0, 0]].concat(), &[HEADER, &[0, 0, 0, 9, 1]].concat()] {
            assert!(matches!(read(&[broken]), Err(RecordsError::Decompress { .. })), "{broken:?}");
        }
    }

    #[test]
    fn what_is_written_is_framed() {
        let batch = batch(Compression::Snappy, 3, b"value").unwrap();
        assert!(batch.body().starts_with(HEADER));
    }

    #[test]
    fn an_announced_size_that_the_bytes_cannot_have_is_no_size() {
        // 2 GiB of a few bytes.
        let announced = [0x80, 0x80, 0x80, 0x80, 0x08, 0, 0];
        let error = with_body(Compression::Snappy, &announced).decompressed(usize::MAX).unwrap_err();
        assert!(error.to_string().contains("announces too much"), "{error}");
    }
}

#[cfg(feature = "gzip")]
mod gzip {
    use std::io::Write;

    use super::*;

    fn member(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn several_members_are_one_stream() {
        let body = [member(&[b'a'; 5000]), member(b""), member(&[b'b'; 10])].concat();
        let expected = Bytes::from([vec![b'a'; 5000], vec![b'b'; 10]].concat());
        assert_eq!(decompressed(Compression::Gzip, &body), Ok(expected.clone()));
        let batch = with_body(Compression::Gzip, &body);
        assert_eq!(batch.decompressed(5010), Ok(expected));
        assert_eq!(batch.decompressed(5009), Err(RecordsError::TooLarge { base_offset: 0, max: 5009 }));
        let mut out = vec![1, 2, 3];
        assert_eq!(batch.decompress_into(&mut out, 5010), Ok(3..5013));
    }

    #[test]
    fn an_announced_size_is_not_believed() {
        for (size, announced) in [(5000_u32, 0_u32), (5000, 4999), (5000, u32::MAX), (5, 5000)] {
            let mut body = member(&vec![b'a'; size as usize]);
            let at = body.len() - 4;
            body[at..].copy_from_slice(&announced.to_le_bytes());
            assert!(matches!(decompressed(Compression::Gzip, &body), Err(RecordsError::Decompress { .. })));
        }
    }
}

#[cfg(feature = "lz4")]
mod lz4 {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

    use super::*;

    #[test]
    fn all_kinds_of_frames() {
        let text: Vec<u8> = (0..40_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let noise: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut kinds = 0;
        for data in [&text, &noise, &vec![0; 300_000], &Vec::new(), &b"short".to_vec()] {
            for mode in [BlockMode::Independent, BlockMode::Linked] {
                for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
                    for checked in [false, true] {
                        let info = FrameInfo::new()
                            .block_mode(mode)
                            .block_size(size)
                            .block_checksums(checked)
                            .content_checksum(checked)
                            .content_size(checked.then_some(data.len() as u64));
                        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                        // In pieces, so that linked blocks come about.
                        data.chunks(9999).for_each(|part| encoder.write_all(part).unwrap());
                        let body = encoder.finish().unwrap();
                        let out = decompressed(Compression::Lz4, &body).unwrap();
                        assert!(out == data, "{mode:?} {size:?} {checked}");
                        let batch = with_body(Compression::Lz4, &body);
                        let mut before = b"before".repeat(20_000);
                        assert!(batch.decompress_into(&mut before, data.len()).is_ok());
                        assert!(before.ends_with(data), "{mode:?} {size:?} {checked}");
                        kinds += 1;
                    }
                }
            }
        }
        println!("{kinds} frames");
    }

    #[test]
    fn a_block_does_not_reach_behind_its_frame() {
        // A linked block that copies from 4 bytes before itself, where another batch may lie.
        let block = [0x00, 4, 0, 0x50, b'e', b'n', b'd', b'e', b'd'];
        let mut body = vec![0x04, 0x22, 0x4d, 0x18, 0x40, 0x40, 0xc0, block.len() as u8, 0, 0, 0];
        body.extend_from_slice(&block);
        body.extend_from_slice(&[0; 4]);
        let mut out = b"other batch".to_vec();
        let error = with_body(Compression::Lz4, &body).decompress_into(&mut out, MAX);
        assert!(matches!(error, Err(RecordsError::Decompress { .. })), "{error:?}: {out:?}");
    }

    #[test]
    fn foreign_frames_are_refused() {
        let good = batch(Compression::Lz4, 3, b"value").unwrap();
        // Magic, version, dictionary, block size.
        for (at, byte) in [(0, 5), (4, 0xa0), (4, 0x61), (5, 0x30)] {
            let mut body = good.body().to_vec();
            body[at] = byte;
            let error = decompressed(Compression::Lz4, &body);
            assert!(matches!(error, Err(RecordsError::Decompress { .. })), "{error:?}");
        }
    }
}

#[cfg(feature = "zstd")]
mod zstd_frames {
    use std::io::Write;

    use super::*;

    #[test]
    fn frames_of_unknown_size_and_several_of_them() {
        let data: Vec<u8> = (0..60_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        data.chunks(777).for_each(|part| encoder.write_all(part).unwrap());
        let stream = encoder.finish().unwrap();
        assert!(decompressed(Compression::Zstd, &stream).unwrap() == data);
        let two = [&stream[..], &zstd::bulk::compress(&data, 3).unwrap()].concat();
        let batch = with_body(Compression::Zstd, &two);
        assert!(batch.decompressed(2 * data.len()).unwrap() == [&data[..], &data].concat());
        let max = 2 * data.len() - 1;
        assert_eq!(batch.decompressed(max), Err(RecordsError::TooLarge { base_offset: 0, max }));
    }
}

#[test]
fn several_batches_share_a_buffer() {
    for codec in codecs() {
        let mut bytes = Vec::new();
        for base in [0, 10, 20] {
            let mut builder = BatchBuilder::new(base);
            builder.compression(codec);
            builder.record(NewRecord { offset: base, value: Some(b"value"), ..NewRecord::default() });
            bytes.extend(builder.build().unwrap());
        }
        let (mut out, mut parts) = (Vec::new(), Vec::new());
        for batch in Batches::new(bytes.into()) {
            let batch = batch.unwrap();
            let part = batch.decompress_into(&mut out, MAX).unwrap();
            parts.push((part, batch.decompressed(MAX).unwrap()));
        }
        assert_eq!(parts.len(), 3);
        for (part, alone) in parts {
            assert_eq!(out[part], alone);
        }
    }
}
