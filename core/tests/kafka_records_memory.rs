//! What record batches allocate, counted: one test, so that nothing else allocates at the same
//! time.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod counting;

use bytes::Bytes;
use counting::measured;
use tidegate_core::kafka::records::{
    Aborted, BatchBuilder, Batches, Compression, Decompressor, NewRecord, RecordBatch, Records, RecordsError,
    index, index_at,
};
use tidegate_core::message::{Batch, Entries, Entry, Source};
use tidegate_core::{Epoch, ShardId};

/// What a codec has beside its output. Zstandard's own context is of another allocator.
const CONSTANT: usize = 64 << 10;

const ALL: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn batch(codec: Compression, base: i64, count: i64, value: &[u8]) -> Result<Bytes, RecordsError> {
    let mut builder = BatchBuilder::new(base);
    builder.compression(codec);
    for offset in base..base + count {
        let headers: [(&[u8], _); 1] = [(b"trace", Some(&b"abc"[..]))];
        let headers = if offset % 10 == 0 { &headers[..] } else { &[] };
        builder.record(NewRecord { offset, timestamp: offset, key: None, value: Some(value), headers });
    }
    Ok(builder.build()?.into())
}

fn only(bytes: &Bytes) -> RecordBatch {
    Batches::new(bytes.clone()).next().unwrap().unwrap()
}

fn source() -> Source {
    Source { stream: "topic".into(), shard: ShardId::ZERO, epoch: Epoch(1), segment: None }
}

/// An uncompressed batch with this body, whatever it is, and this count.
fn announced(codec: u8, count: i32, body: &[u8]) -> RecordBatch {
    let mut bytes = BatchBuilder::new(0).last_offset(i32::MAX.into()).build().unwrap();
    bytes.extend_from_slice(body);
    let length = bytes.len() as u32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[22] = codec;
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    only(&bytes.into())
}

#[test]
fn memory_is_bounded_by_the_bytes_and_the_callers_bound() {
    // Ten thousand records: one index, whatever their number; to read them, nothing.
    let records = batch(Compression::None, 0, 10_000, &[b'x'; 100]).unwrap();
    let (entries, peak, calls) = measured(|| {
        let mut entries = Entries::default();
        for batch in Batches::new(records.clone()) {
            let batch = batch.unwrap();
            batch.verify().unwrap();
            assert!(Aborted::default().keeps(&batch));
            index(&batch, records.clone(), 0, &mut entries).unwrap();
        }
        entries
    });
    assert_eq!(entries.index.len(), 10_000);
    println!("10,000 records: {calls} allocations, {peak} bytes");
    // The index, and what makes the buffer shareable.
    assert!(calls <= 2, "{calls} allocations");
    assert!(peak <= 10_000 * size_of::<Entry>() + 256, "{peak} bytes");
    let source = source();
    let (messages, _, calls) = measured(|| Batch::new(source, entries));
    assert_eq!(calls, 1);
    let (bytes, peak, calls) = measured(|| {
        let one = |message: tidegate_core::MessageRef<'_>| {
            message.payload().unwrap().len()
                + message.headers().count()
                + message.key().map_or(0, <[u8]>::len)
        };
        messages.iter().map(one).sum::<usize>()
    });
    assert_eq!((bytes, peak, calls), (1_001_000, 0, 0));
    let one = only(&records);
    let data = one.decompressed(usize::MAX).unwrap();
    let (bytes, peak, calls) = measured(|| {
        Records::new(&one, &data).map(|record| record.unwrap().value.unwrap().len()).sum::<usize>()
    });
    assert_eq!((bytes, peak, calls), (1_000_000, 0, 0));

    // A thousand small batches of one buffer: the index doubles, and no more.
    let many: Vec<u8> = (0..1000)
        .flat_map(|at| batch(Compression::None, at * 10, 10, &[b'x'; 100]).unwrap().to_vec())
        .collect();
    let many = Bytes::from(many);
    let (entries, _, calls) = measured(|| {
        let mut entries = Entries::default();
        for batch in Batches::new(many.clone()) {
            index(&batch.unwrap(), many.clone(), 0, &mut entries).unwrap();
        }
        entries
    });
    assert_eq!(entries.index.len(), 10_000);
    println!("1,000 batches of 10: {calls} allocations");
    assert!(calls < 16, "{calls} allocations");

    // Each codec: a buffer, an index, and some for the codec.
    for codec in ALL {
        let Ok(records) = batch(codec, 0, 10_000, &[b'x'; 100]) else { continue };
        let one = only(&records);
        let ((data, entries), _, calls) = measured(|| {
            let data = one.decompressed(2 << 20).unwrap();
            let mut entries = Entries::default();
            let all = 0..data.len();
            index_at(&one, data.clone(), all, 0, &mut entries).unwrap();
            (data, entries)
        });
        assert_eq!(entries.index.len(), 10_000);
        println!("10,000 records, {codec}: {calls} allocations");
        assert!(calls < 12, "{codec}: {calls} allocations");
        assert!(data.len() > 1_000_000);
    }

    // Bombs, at any bound: 20 MB that compress to some kB.
    for codec in ALL {
        let Ok(records) = batch(codec, 0, 20, &vec![0; 1 << 20]) else { continue };
        let one = only(&records);
        let mut decompressor = Decompressor::default();
        for max in [0, 1, 1000, 1 << 16, 100_000, 1 << 20, 3_000_000, 20 << 20] {
            let (result, peak, _) = measured(|| decompressor.decompressed(&one, max).map(|data| data.len()));
            assert_eq!(result, Err(RecordsError::TooLarge { base_offset: 0, max }), "{codec}");
            assert!(peak <= max + CONSTANT, "{codec}: {peak} bytes with a bound of {max}");
            println!("bomb of {codec}, {} bytes, at {max}: {peak} bytes", one.size());
        }
        let (result, peak, _) = measured(|| one.decompressed(21 << 20).map(|data| data.len()));
        let size = result.unwrap();
        assert!(peak <= size + size / 4 + CONSTANT, "{codec}: {peak} bytes for {size}");
    }

    // What is announced allocates nothing: counts of records and of headers, lengths, sizes.
    let counts: [&[u8]; 4] = [
        &[12, 0, 0, 0, 1, 1, 0],
        &[20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f],
        &[0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 1, 1, 0],
        &[20, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f, 1, 0],
    ];
    for body in counts {
        let one = announced(0, i32::MAX, body);
        let data = one.decompressed(1 << 20).unwrap();
        let (result, peak, _) = measured(|| index(&one, data.clone(), 0, &mut Entries::default()));
        assert!(matches!(result, Err(RecordsError::Record { .. })), "{result:?}");
        assert!(peak < 1024, "{peak} bytes for {body:?}");
        let (_, peak, calls) = measured(|| Records::new(&one, &data).filter(|record| record.is_ok()).count());
        assert_eq!((peak, calls), (0, 0));
    }
    // Snappy: 2 GiB of seven bytes, bare and framed. Gzip: 4 GiB, at its end. LZ4: blocks of 4 MiB.
    let sizes: [(u8, &[u8]); 4] = [
        (2, &[0x80, 0x80, 0x80, 0x80, 0x08, 0, 0]),
        (2, b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x06\x80\x80\x80\x80\x08\0"),
        (1, &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        (3, &[0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0, 2, 0, 0, 0, 0x10, b'a', 0, 0, 0, 0]),
    ];
    for (codec, body) in sizes {
        let one = announced(codec, 1, body);
        let (_, peak, _) = measured(|| one.decompressed(1 << 30));
        // Deflate's best: no more could come out.
        assert!(peak < CONSTANT + 1032 * body.len(), "{peak} bytes for {body:?}");
    }
}
