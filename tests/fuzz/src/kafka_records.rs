//! Record batches against any bytes, and as values.
//!
//! **Input:** a choice. 0: the records of an answer, as they came. 1: a batch whose header fits: codec,
//! attributes, counts, then its compressed records. 2: a tape, a batch as a value.

use bytes::Bytes;
use tidegate_core::kafka::records::{
    Aborted, BatchBuilder, Batches, Compression, Decompressor, Marker, NewRecord, RecordBatch, Records,
    RecordsError, TimestampType, index, index_at,
};
use tidegate_core::message::{Batch, Entries, Source};
use tidegate_core::{Epoch, ShardId};
use tidegate_sim::Tape;

use crate::source::{bytes, number};

/// Bytes of a batch, decompressed, at most.
const MAX: usize = 1 << 16;
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// No panic; what comes out of a codec keeps its bound; records come one by one as they do by an
/// index, in growing offsets, or with the same error; and what was built comes back.
pub fn kafka_records(data: &[u8]) {
    match data.split_first() {
        Some((choice, rest)) if choice % 3 == 0 => any(Bytes::copy_from_slice(rest)),
        Some((choice, rest)) if choice % 3 == 1 => sealed(rest),
        Some((_, rest)) => built(&mut Tape::from_bytes(rest)),
        None => {}
    }
}

fn any(records: Bytes) {
    let all = records.len();
    let mut batches = Batches::new(records);
    let mut sizes = 0;
    let mut aborted = Aborted::new([(1, 0), (-1, i64::MAX), (2, 5)]);
    while let Some(batch) = batches.next() {
        let Ok(batch) = batch else {
            assert!(batches.next().is_none(), "an error is the last item");
            break;
        };
        sizes += batch.size();
        assert!(batch.base_offset <= batch.last_offset && batch.next_offset() > batch.last_offset);
        let _ = (batch.verify(), Marker::of(&batch), aborted.keeps(&batch));
        read(&batch);
    }
    assert_eq!(batches.position(), sizes);
    assert!(sizes <= all && (!batches.is_truncated() || batches.bytes_needed() > 0));
}

/// A header that fits around `body`, which is compressed as it says.
fn sealed(data: &[u8]) {
    let Some(([codec, flags, count, last], body)) = data.split_first_chunk() else { return };
    let mut frame = BatchBuilder::new(7).last_offset(7 + i64::from(*last)).build().unwrap();
    frame.extend_from_slice(body);
    let length = i32::try_from(frame.len() - 12).unwrap();
    frame[8..12].copy_from_slice(&length.to_be_bytes());
    // Codecs that there are not, too; the flags are those of bits 3 to 6.
    frame[22] = codec % 8 | flags << 3;
    let count = if count >> 7 == 1 { i32::MAX } else { (*count).into() };
    frame[57..61].copy_from_slice(&count.to_be_bytes());
    let Some(Ok(batch)) = Batches::new(frame.into()).next() else { return };
    read(&batch);
}

/// Both ways through a batch; its records' offsets.
fn read(batch: &RecordBatch) -> Option<Vec<i64>> {
    let data = match batch.decompressed(MAX) {
        Ok(data) => data,
        Err(RecordsError::Record { .. } | RecordsError::Count { .. } | RecordsError::CodecOff { .. }) => {
            panic!("what is inside isn't looked at, and all codecs are there")
        }
        Err(_) => return None,
    };
    assert!(data.len() <= MAX.max(batch.size()), "{} bytes", data.len());
    // The bound is met exactly, and one less is too little.
    if batch.compression != Compression::None && !data.is_empty() {
        assert_eq!(batch.decompressed(data.len()).as_ref(), Ok(&data));
        assert!(matches!(batch.decompressed(data.len() - 1), Err(RecordsError::TooLarge { .. })));
    }
    let (mut shared, mut out) = (Decompressor::default(), vec![1, 2, 3]);
    let range = shared.decompress_into(batch, &mut out, MAX).unwrap();
    assert_eq!((&out[..3], &out[range.clone()]), (&[1, 2, 3][..], &data[..]));

    let mut last = -1;
    let one_by_one: Result<Vec<i64>, RecordsError> = Records::new(batch, &data)
        .map(|record| {
            let record = record?;
            assert!(record.offset > last && (batch.base_offset..=batch.last_offset).contains(&record.offset));
            last = record.offset;
            let parts = [record.key, record.value].into_iter().flatten();
            let headers = record.headers.flat_map(|(name, value)| [Some(name), value]).flatten();
            let bytes: usize = parts.chain(headers).map(<[u8]>::len).sum();
            assert!(bytes <= data.len());
            Ok(record.offset)
        })
        .collect();
    let whole = match batch.compression {
        // Uncompressed ones lie in what came.
        Compression::None => data.clone(),
        _ => Bytes::from(out),
    };
    let at = if batch.compression == Compression::None { 0..whole.len() } else { range };
    let mut entries = Entries::default();
    let report = index_at(batch, whole, at, i64::MIN, &mut entries);
    let offsets: Vec<i64> = entries.index.iter().map(|entry| entry.seq.low() as i64).collect();
    match &one_by_one {
        Ok(expected) => {
            assert_eq!((report.unwrap().indexed, &offsets), (expected.len(), expected));
        }
        Err(error) => assert_eq!((report.as_ref(), offsets.len()), (Err(error), 0)),
    }
    let source = Source { stream: "t".into(), shard: ShardId::ZERO, epoch: Epoch(1), segment: None };
    let messages = Batch::new(source, entries);
    for message in messages.iter() {
        let _ = (message.key(), message.payload(), message.headers().count(), message.fields().count());
    }
    one_by_one.ok()
}

/// A record as a value.
struct Plain {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn some(tape: &mut Tape) -> Option<Vec<u8>> {
    match tape.below(4) {
        0 => None,
        // What compresses well.
        1 => Some(vec![tape.below(256) as u8; tape.below(300) as usize]),
        _ => Some(bytes(tape)),
    }
}

fn built(tape: &mut Tape) {
    let codec = CODECS[tape.below(5) as usize];
    let base = if tape.below(2) == 0 { 0 } else { (number(tape) >> 2) as i64 };
    let mut builder = BatchBuilder::new(base);
    builder.compression(codec).transactional(tape.below(2) == 1);
    let producer = (number(tape) as i64, tape.below(9) as i16, tape.below(9) as i32);
    builder.producer(producer.0, producer.1, producer.2);
    let stamp = (tape.below(3) == 2).then(|| number(tape) as i64);
    if let Some(stamp) = stamp {
        builder.log_append_time(stamp);
    }
    let mut records: Vec<Plain> = Vec::new();
    let mut next = base;
    for _ in 0..tape.below(12) {
        let offset = next + tape.below(3) as i64;
        next = offset + 1;
        let headers = (0..tape.below(3)).map(|_| (bytes(tape), some(tape))).collect();
        // Deltas of timestamps are of 64 bits.
        let timestamp = (number(tape) >> 1) as i64;
        records.push(Plain { offset, timestamp, key: some(tape), value: some(tape), headers });
    }
    for Plain { offset, timestamp, key, value, headers } in &records {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
        let (key, value) = (key.as_deref(), value.as_deref());
        builder.record(NewRecord { offset: *offset, timestamp: *timestamp, key, value, headers: &headers });
    }
    let gap = tape.below(5) as i64;
    let last = (next - 1).max(base) + gap;
    builder.last_offset(last);
    let frame: Bytes = builder.build().unwrap().into();
    let batch = Batches::new(frame.clone()).next().unwrap().unwrap();
    assert_eq!(batch.verify(), Ok(()));
    assert_eq!((batch.base_offset, batch.last_offset, batch.compression), (base, last, codec));
    assert_eq!((batch.producer_id, batch.producer_epoch, batch.base_sequence), producer);
    assert_eq!(batch.timestamp_type == TimestampType::LogAppend, stamp.is_some());
    let data = batch.decompressed(1 << 20).unwrap();
    let read: Vec<_> = Records::new(&batch, &data).map(Result::unwrap).collect();
    assert_eq!(read.len(), records.len());
    for (read, record) in read.iter().zip(&records) {
        assert_eq!((read.offset, read.timestamp), (record.offset, stamp.unwrap_or(record.timestamp)));
        assert_eq!((read.key, read.value), (record.key.as_deref(), record.value.as_deref()));
        let headers: Vec<_> =
            record.headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
        assert_eq!(read.headers.clone().collect::<Vec<_>>(), headers);
    }
    let from = base + tape.below(16) as i64;
    let mut entries = Entries::default();
    let over = if codec == Compression::None { frame.clone() } else { data };
    let report = index(&batch, over, from, &mut entries).unwrap();
    let skipped = records.iter().filter(|record| record.offset < from).count();
    assert_eq!((report.skipped, report.indexed), (skipped, records.len() - skipped));
    // One byte is wrong, or is missing.
    let at = tape.below(frame.len() as u64) as usize;
    let mut damaged = frame.to_vec();
    damaged[at] ^= 1 << tape.below(8);
    if at >= 17 {
        let wrong = Batches::new(damaged.into()).next();
        let noticed =
            wrong.is_none_or(|batch| batch.is_err() || batch.is_ok_and(|batch| batch.verify().is_err()));
        assert!(noticed, "byte {at}");
    }
    let mut cut = Batches::new(frame.slice(..at));
    assert!(cut.next().is_none() && (cut.is_truncated() || at == 0));
}
