//! Against Apache Kafka's own code: `Batches.java` wrote `batches.txt`, with version 4.3.1.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_core::kafka::records::{Batches, Compression, Marker, RecordBatch, RecordsError, TimestampType};

use crate::model::{ALL, MAX, Plain, is_on, only, read};

const TIME: i64 = 1_700_000_000_000;

/// The sample's lines by name.
fn samples() -> BTreeMap<&'static str, Bytes> {
    let lines = include_str!("batches.txt").lines();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    lines
        .map(|line| {
            let (name, hex) = line.split_once(' ').unwrap();
            (name, hex.as_bytes().chunks(2).map(byte).collect())
        })
        .collect()
}

fn sample(name: &str) -> RecordBatch {
    let batch = only(samples().remove(name).unwrap()).unwrap();
    assert_eq!(batch.verify(), Ok(()), "{name}");
    batch
}

/// What `Batches.java` puts at an offset.
fn record(offset: i64) -> Plain {
    let trace =
        || vec![(b"trace".to_vec(), Some(format!("t{offset}").into_bytes())), (b"trace".to_vec(), None)];
    Plain {
        offset,
        timestamp: TIME + offset * 7,
        key: (offset % 2 == 1).then(|| format!("key-{offset}").into_bytes()),
        value: (offset % 5 != 0)
            .then(|| ("value ".repeat(offset as usize % 20) + &offset.to_string()).into_bytes()),
        headers: if offset % 3 == 0 { trace() } else { vec![] },
    }
}

fn offsets(records: &[Plain]) -> Vec<i64> {
    records.iter().map(|record| record.offset).collect()
}

#[test]
fn each_codec_is_read_as_kafka_writes_it() {
    for codec in ALL {
        let batch = sample(&codec.to_string());
        assert_eq!((batch.compression, batch.count, batch.leader_epoch), (codec, 40, 9));
        assert_eq!((batch.base_offset, batch.last_offset, batch.next_offset()), (100, 139, 140));
        assert_eq!((batch.producer_id, batch.producer_epoch, batch.base_sequence), (-1, -1, -1));
        assert_eq!((batch.base_timestamp, batch.max_timestamp), (TIME + 700, TIME + 973));
        if !is_on(codec) {
            assert_eq!(read(&batch, MAX), Err(RecordsError::CodecOff { codec }));
            continue;
        }
        let expected: Vec<_> = (100..140).map(record).collect();
        assert_eq!(read(&batch, MAX).unwrap(), expected, "{codec}");
        if codec != Compression::None {
            let large = read(&sample(&format!("{codec}-large")), MAX).unwrap();
            assert_eq!(offsets(&large), (1000..1400).collect::<Vec<_>>());
            for record in large {
                let value = "x".repeat(200) + &record.offset.to_string();
                assert_eq!((record.timestamp, record.value), (TIME, Some(value.into_bytes())));
            }
        }
    }
}

#[test]
fn log_append_time_is_one_time_for_all() {
    let batch = sample("log-append-time");
    assert_eq!((batch.timestamp_type, batch.max_timestamp), (TimestampType::LogAppend, TIME + 1_000_000));
    let stamped = |offset| Plain { timestamp: TIME + 1_000_000, ..record(offset) };
    assert_eq!(read(&batch, MAX).unwrap(), [stamped(200), stamped(201), stamped(202)]);
}

#[test]
fn transactions_and_their_markers() {
    let batch = sample("transactional");
    assert!(batch.transactional && !batch.control);
    assert_eq!((batch.producer_id, batch.producer_epoch, batch.base_sequence), (77, 3, 11));
    assert_eq!(Marker::of(&batch), None);
    assert_eq!(offsets(&read(&batch, MAX).unwrap()), [300, 301, 302]);
    for (name, marker) in [("abort", Marker::Abort), ("commit", Marker::Commit)] {
        let batch = sample(name);
        assert!(batch.transactional && batch.control);
        assert_eq!((batch.producer_id, batch.base_offset, batch.next_offset()), (77, 303, 304));
        assert_eq!(Marker::of(&batch), Some(marker));
    }
}

#[test]
fn compaction_leaves_gaps_tails_and_empty_batches() {
    let batches: Vec<_> = Batches::new(samples()["compacted"].clone()).map(Result::unwrap).collect();
    let [odd, empty] = &batches[..] else { panic!("{batches:?}") };
    // Null values are left of some of them, so there is a time until which they stay.
    assert!(odd.delete_horizon && !empty.delete_horizon);
    assert_eq!((odd.verify(), empty.verify()), (Ok(()), Ok(())));
    assert_eq!((odd.base_offset, odd.next_offset(), odd.count), (400, 410, 4));
    assert_eq!(read(odd, MAX).unwrap(), [401, 403, 405, 407].map(record));
    assert_eq!((empty.base_offset, empty.next_offset(), empty.count), (410, 420, 0));
    assert_eq!((empty.producer_id, empty.size()), (78, 61));
    assert_eq!(read(empty, MAX).unwrap(), []);
}
