//! Bytes that are cut off, flipped, or made to break the format.

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_core::kafka::records::{
    BatchBuilder, Batches, Fault, NewRecord, RecordBatch, Records, RecordsError, index,
};
use tidegate_core::message::Entries;

use crate::model::{self, MAX, Plain, cases, codecs, fill, only, read};

const HEADER: usize = 61;

/// CRC-32C bit by bit, as its definition has it.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 })
    };
    !bytes.iter().fold(!0, step)
}

/// Writes length and checksum anew, so that only what was changed is wrong.
fn seal(bytes: &mut [u8]) {
    let length = bytes.len() as u32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let sum = checksum(&bytes[21..]);
    bytes[17..21].copy_from_slice(&sum.to_be_bytes());
}

/// A batch at 50 with these records' bytes, `count` of them announced, up to `last_delta`.
fn raw(count: i32, last_delta: i32, records: &[u8]) -> Bytes {
    let mut bytes = BatchBuilder::new(50).build().unwrap();
    bytes[23..27].copy_from_slice(&last_delta.to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(records);
    seal(&mut bytes);
    bytes.into()
}

fn three_batches() -> (Bytes, Vec<usize>) {
    let (mut bytes, mut ends) = (Vec::new(), vec![0]);
    for base in [0, 3, 9] {
        let mut builder = BatchBuilder::new(base);
        for offset in base..base + 3 {
            builder.record(NewRecord { offset, value: Some(b"some value"), ..NewRecord::default() });
        }
        bytes.extend(builder.build().unwrap());
        ends.push(bytes.len());
    }
    (bytes.into(), ends)
}

#[test]
fn the_checksum_is_crc_32c_at_any_length_and_place() {
    assert_eq!(checksum(b"123456789"), 0xe306_9283);
    let value: Vec<u8> = (0..3000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for len in (0..700).chain([1023, 1024, 1025, 2047, 2999]) {
        for shift in [0, 1, 7] {
            let mut builder = BatchBuilder::new(0);
            builder.record(NewRecord { value: Some(&value[..len]), ..NewRecord::default() });
            let mut bytes = vec![0; shift];
            bytes.extend(builder.build().unwrap());
            let announced = u32::from_be_bytes(bytes[shift + 17..shift + 21].try_into().unwrap());
            assert_eq!(announced, checksum(&bytes[shift + 21..]));
            assert_eq!(only(Bytes::from(bytes).slice(shift..)).unwrap().verify(), Ok(()));
        }
    }
}

#[test]
fn a_cut_at_any_byte_loses_the_cut_batch_alone() {
    let (bytes, ends) = three_batches();
    for cut in 0..=bytes.len() {
        let mut batches = Batches::new(bytes.slice(..cut));
        let whole = ends[1..].iter().filter(|end| **end <= cut).count();
        let given: Vec<_> = batches.by_ref().map(|batch| batch.unwrap().base_offset).collect();
        assert_eq!(given, [0, 3, 9][..whole], "cut at {cut}");
        assert_eq!(batches.position(), ends[whole]);
        assert_eq!(batches.is_truncated(), !ends.contains(&cut));
        let there = cut - ends[whole];
        let needed = match there {
            0 => 0,
            1..12 => 17,
            _ => ends[whole + 1] - ends[whole],
        };
        assert_eq!(batches.bytes_needed(), needed, "cut at {cut}");
        assert!(needed == 0 || needed > there);
        assert!(batches.next().is_none());
    }
}

#[test]
fn each_flipped_bit_is_seen_where_the_checksum_covers_it() {
    let (bytes, ends) = three_batches();
    let good = bytes.slice(..ends[1]);
    let before = only(good.clone()).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 0x80 >> (bit % 8);
        let mut batches = Batches::new(bytes.into());
        match (bit / 8, batches.next()) {
            // A first offset below zero.
            (0, Some(Err(RecordsError::Header { .. }))) => assert_eq!(bit, 0),
            // The first offset and the leader's epoch are the broker's to change.
            (0..8, Some(Ok(batch))) => {
                assert_eq!((batch.verify(), batch.base_offset), (Ok(()), 1 << (63 - bit)));
            }
            (12..16, Some(Ok(batch))) => {
                assert_eq!(
                    (batch.verify(), batch.leader_epoch ^ -1),
                    (Ok(()), (1_u32 << (127 - bit)) as i32)
                );
            }
            // The length: too short for a header, shorter, or longer than what is there.
            (8..12, Some(Err(RecordsError::Length { .. }))) => {}
            (8..12, Some(Ok(batch))) => assert!(batch.verify().is_err()),
            (8..12, None) => assert!(batches.is_truncated()),
            (16, Some(Err(RecordsError::Magic { magic, .. }))) => {
                assert_eq!(magic, (2_u8 ^ 0x80 >> (bit % 8)) as i8);
            }
            (17.., Some(Ok(batch))) => {
                assert!(matches!(batch.verify(), Err(RecordsError::Checksum { base_offset: 0, .. })));
            }
            // Header fields that can't be are seen even before.
            (21..HEADER, Some(Err(RecordsError::Header { .. } | RecordsError::UnknownCodec { .. }))) => {}
            (_, other) => panic!("bit {bit} of {before:?}: {other:?}"),
        }
    }
}

#[test]
fn headers_that_cannot_be_are_named_and_end_the_iteration() {
    let (good, ends) = three_batches();
    let batch = |at: usize, field: &[u8]| {
        let mut bytes = good.to_vec();
        bytes[ends[1] + at..][..field.len()].copy_from_slice(field);
        let mut batches = Batches::new(bytes.into());
        assert!(batches.next().unwrap().is_ok());
        let error = batches.next().unwrap().expect_err("the second batch");
        assert!(batches.next().is_none() && !batches.is_truncated(), "an error is the last item");
        error
    };
    let header = |field, value| RecordsError::Header { base_offset: 3, field, value };
    assert_eq!(batch(8, &(-1_i32).to_be_bytes()), RecordsError::Length { base_offset: 3, length: -1 });
    assert_eq!(batch(8, &48_i32.to_be_bytes()), RecordsError::Length { base_offset: 3, length: 48 });
    assert_eq!(batch(8, &i32::MIN.to_be_bytes()), RecordsError::Length { base_offset: 3, length: i32::MIN });
    for magic in [-1, 0, 1, 3_i8] {
        let error = batch(16, &[magic as u8]);
        assert_eq!(error, RecordsError::Magic { base_offset: 3, magic });
        assert!(error.to_string().contains(&format!("message format {magic};")), "{error}");
    }
    assert_eq!(batch(23, &(-1_i32).to_be_bytes()), header("last offset delta", -1));
    assert_eq!(batch(57, &(-1_i32).to_be_bytes()), header("record count", -1));
    assert_eq!(batch(57, &4_i32.to_be_bytes()), header("record count", 4));
    assert_eq!(batch(57, &i32::MAX.to_be_bytes()), header("record count", i32::MAX.into()));
    for codec in 5..8 {
        assert_eq!(batch(22, &[codec]), RecordsError::UnknownCodec { base_offset: 3, codec });
    }
    let at = |base: i64| {
        let mut bytes = good.slice(..ends[1]).to_vec();
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        only(bytes).map(|batch| batch.next_offset())
    };
    assert_eq!(at(-1), Err(RecordsError::Header { base_offset: -1, field: "base offset", value: -1 }));
    assert_eq!(at(i64::MAX - 3), Ok(i64::MAX));
    for base in [i64::MAX - 2, i64::MAX] {
        let error = RecordsError::Header { base_offset: base, field: "last offset delta", value: 2 };
        assert_eq!(at(base), Err(error));
    }
}

#[test]
fn unknown_attributes_are_passed_over() {
    let (good, ends) = three_batches();
    let mut bytes = good.slice(..ends[1]).to_vec();
    bytes[21..23].copy_from_slice(&0xff80_u16.to_be_bytes());
    seal(&mut bytes);
    let batch = only(bytes).unwrap();
    assert_eq!(batch.verify(), Ok(()));
    assert_eq!(read(&batch, MAX).unwrap().len(), 3);
}

/// What is wrong, one by one and by the index, which are of one mind.
fn wrong(bytes: Bytes) -> RecordsError {
    let batch = only(bytes.clone()).unwrap();
    assert_eq!(batch.verify(), Ok(()));
    let error = read(&batch, MAX).expect_err(&format!("{bytes:?}"));
    let mut into = Entries::default();
    assert_eq!(index(&batch, bytes, 0, &mut into), Err(error.clone()));
    assert!(into.index.is_empty());
    error
}

#[test]
fn records_that_break_the_format_are_named() {
    let good: &[u8] = &[12, 0, 0, 0, 1, 1, 0];
    let second: &[u8] = &[12, 0, 0, 2, 1, 1, 0];
    assert_eq!(read(&only(raw(2, 1, &[good, second].concat())).unwrap(), MAX).unwrap().len(), 2);
    let record = |record, fault| RecordsError::Record { base_offset: 50, record, fault };
    let long = [0x80_u8; 12];
    let cases: &[(&[u8], Fault)] = &[
        // Lengths: below zero, of nothing, too short, too long, of too many bytes.
        (&[11, 0, 0, 2, 1, 1, 0], Fault::Negative),
        (&[1, 0, 0, 2, 1, 1, 0], Fault::Negative),
        (&[0, 0, 0, 2, 1, 1, 0], Fault::Short),
        (&[10, 0, 0, 2, 1, 1, 0], Fault::Short),
        (&[14, 0, 0, 2, 1, 1, 0], Fault::Short),
        (&[0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 2, 1, 1, 0], Fault::Short),
        (&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 2, 1, 1, 0], Fault::Negative),
        (&long, Fault::Number),
        // Bytes behind the headers.
        (&[14, 0, 0, 2, 1, 1, 0, 0], Fault::Long),
        // Timestamps and offsets of too many bytes.
        (&[34, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 1, 1, 0, 0], Fault::Number),
        (&[22, 0, 0, 0x82, 0x80, 0x80, 0x80, 0x80, 0, 1, 1, 0], Fault::Number),
        // Offsets: the same again, before the first, behind the last.
        (&[12, 0, 0, 0, 1, 1, 0], Fault::Offset),
        (&[12, 0, 0, 1, 1, 1, 0], Fault::Offset),
        (&[12, 0, 0, 4, 1, 1, 0], Fault::Offset),
        // Keys and values: below null, too long for the record, though not for the batch.
        (&[12, 0, 0, 2, 3, 1, 0], Fault::Negative),
        (&[12, 0, 0, 2, 1, 3, 0], Fault::Negative),
        (&[12, 0, 0, 2, 8, 1, 0], Fault::Short),
        (&[12, 0, 0, 2, 1, 8, 0], Fault::Short),
        (&[12, 0, 0, 2, 4, 1, 0], Fault::Short),
        // Headers: fewer than none, more than there are, names that are null, values below null.
        (&[12, 0, 0, 2, 1, 1, 1], Fault::Negative),
        (&[12, 0, 0, 2, 1, 1, 2], Fault::Short),
        (&[20, 0, 0, 2, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f], Fault::Short),
        (&[16, 0, 0, 2, 1, 1, 2, 1, 1], Fault::Negative),
        (&[16, 0, 0, 2, 1, 1, 2, 0, 3], Fault::Negative),
        (&[16, 0, 0, 2, 1, 1, 2, 0, 2], Fault::Short),
        (&[16, 0, 0, 2, 1, 1, 2, 4, 0], Fault::Short),
        (&[16, 0, 0, 2, 1, 1, 0, 0, 0], Fault::Long),
    ];
    for (bytes, fault) in cases {
        assert_eq!(wrong(raw(2, 1, &[good, bytes].concat())), record(1, *fault), "{bytes:?}");
        // With more behind it, where the error may be another.
        let mut more = bytes.to_vec();
        more.extend([12, 0, 0, 6, 1, 1, 0].repeat(3));
        assert!(matches!(wrong(raw(4, 3, &more)), RecordsError::Record { .. }), "{bytes:?}");
    }
    // More announced than there are, and less.
    assert_eq!(wrong(raw(2, 1, good)), record(1, Fault::Short));
    assert_eq!(wrong(raw(1, 0, b"")), record(0, Fault::Short));
    let both = [good, second].concat();
    assert_eq!(wrong(raw(1, 1, &both)), RecordsError::Count { base_offset: 50, count: 1, bytes: 7 });
    assert_eq!(wrong(raw(0, 1, good)), RecordsError::Count { base_offset: 50, count: 0, bytes: 7 });
    // A count that would be an index of 64 GB.
    assert_eq!(wrong(raw(i32::MAX, i32::MAX, &both)), record(2, Fault::Short));
}

/// Both ways through a batch: the same records or the same error, in order, within the bytes.
fn both_ways(batch: &RecordBatch, data: &Bytes) -> Result<Vec<i64>, RecordsError> {
    let mut last = -1;
    let one_by_one: Result<Vec<_>, _> = Records::new(batch, data)
        .map(|record| {
            let record = record?;
            assert!((batch.base_offset..=batch.last_offset).contains(&record.offset) && record.offset > last);
            last = record.offset;
            let parts = [record.key, record.value].into_iter().flatten();
            let headers = record.headers.flat_map(|(name, value)| [Some(name), value]).flatten();
            let bytes: usize = parts.chain(headers).map(<[u8]>::len).sum();
            assert!(bytes <= data.len());
            Ok(record.offset)
        })
        .collect();
    let mut into = Entries::default();
    let report = index(batch, data.clone(), 0, &mut into);
    match &one_by_one {
        Ok(offsets) => {
            assert_eq!(report.unwrap().indexed, offsets.len());
            assert!(into.index.iter().map(|entry| entry.seq.low() as i64).eq(offsets.iter().copied()));
        }
        Err(error) => assert_eq!(report.as_ref(), Err(error)),
    }
    one_by_one
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn damage_with_a_right_checksum_is_an_error_or_other_records(
        (base, records) in model::records(2),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        count in proptest::option::weighted(0.2, 0..60_i32),
    ) {
        let records: Vec<Plain> = records.into_iter().take(6).map(|record| Plain {
            // Short, so that lengths and counts are hit.
            key: record.key.map(|key| key[..key.len() % 5].to_vec()),
            value: record.value.map(|value| value[..value.len() % 90].to_vec()),
            ..record
        }).collect();
        for codec in codecs() {
            let mut builder = BatchBuilder::new(base);
            builder.compression(codec);
            fill(&mut builder, &records);
            let mut bytes = builder.build().unwrap();
            let body = bytes.len() - 61;
            for (place, byte) in &changes {
                if body > 0 {
                    bytes[61 + place.index(body)] = *byte;
                }
            }
            if let Some(count) = count {
                bytes[57..61].copy_from_slice(&count.to_be_bytes());
            }
            seal(&mut bytes);
            let Some(Ok(batch)) = Batches::new(bytes.into()).next() else { continue };
            prop_assert_eq!(batch.verify(), Ok(()));
            if let Ok(data) = batch.decompressed(MAX) {
                let _ = both_ways(&batch, &data);
            }
        }
    }

    #[test]
    fn any_bytes_are_batches_or_an_error(
        head in proptest::collection::vec(any::<u8>(), 0..200),
        lengths in proptest::collection::vec(40..100_i32, 0..4),
    ) {
        let mut bytes = head;
        // So that something is found now and then.
        let mut at = 0;
        for length in lengths {
            if bytes.len() >= at + 61 {
                bytes[at] &= 0x7f;
                bytes[at + 8..at + 12].copy_from_slice(&length.to_be_bytes());
                bytes[at + 16] = 2;
                bytes[at + 22] &= 0xf8;
                bytes[at + 23..at + 25].copy_from_slice(&[0, 0]);
                bytes[at + 57..at + 60].copy_from_slice(&[0, 0, 0]);
            }
            at += 12 + length as usize;
        }
        let all = bytes.len();
        let mut batches = Batches::new(bytes.into());
        let mut sizes = 0;
        while let Some(batch) = batches.next() {
            let Ok(batch) = batch else {
                prop_assert!(batches.next().is_none());
                break;
            };
            sizes += batch.size();
            if let Ok(data) = batch.decompressed(1000) {
                let _ = both_ways(&batch, &data);
            }
        }
        prop_assert!(sizes <= all && batches.position() == sizes);
    }
}
