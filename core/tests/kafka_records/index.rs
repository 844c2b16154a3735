//! Records as messages.

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_core::ack::SegmentId;
use tidegate_core::kafka::records::{
    BatchBuilder, Batches, IndexReport, NewRecord, RecordBatch, RecordsError, index, index_at,
};
use tidegate_core::message::{Batch, Entries, Entry, Layout, Message, Source, Span};
use tidegate_core::{Epoch, SeqNo, ShardId, Timestamp};

use crate::model::{self, MAX, Plain, cases, codecs, fill, only, read};

fn batch_of(entries: Entries) -> Batch {
    let source = Source {
        stream: "topic".into(),
        shard: ShardId::new(3),
        epoch: Epoch(1),
        segment: Some(SegmentId(1)),
    };
    Batch::new(source, entries)
}

fn plain(message: &Message) -> Plain {
    assert_eq!(message.fields().count(), 0);
    assert_eq!(message.field(b"msg"), None);
    assert_eq!(message.deliveries(), 1);
    assert_eq!(message.seq().high(), 0);
    Plain {
        offset: message.seq().low() as i64,
        timestamp: message.timestamp().as_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect(),
    }
}

fn messages(entries: Entries) -> Vec<Plain> {
    let batch = batch_of(entries);
    (0..batch.len()).map(|at| plain(&batch.message(at).unwrap())).collect()
}

fn three(codec: tidegate_core::kafka::records::Compression) -> (Bytes, Vec<RecordBatch>) {
    let mut bytes = Vec::new();
    for base in [0, 10, 20] {
        let mut builder = BatchBuilder::new(base);
        builder.compression(codec).last_offset(base + 9);
        for offset in base..base + 5 {
            let value = offset.to_string();
            builder.record(NewRecord { offset, value: Some(value.as_bytes()), ..NewRecord::default() });
        }
        bytes.extend(builder.build().unwrap());
    }
    let bytes = Bytes::from(bytes);
    let batches = Batches::new(bytes.clone()).map(Result::unwrap).collect();
    (bytes, batches)
}

fn offsets(entries: &Entries) -> Vec<u64> {
    entries.index.iter().map(|entry| entry.seq.low()).collect()
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn everything_comes_back(
        (base, records) in model::records(1000),
        tail in 0..100_i64,
        log_append in proptest::option::weighted(0.3, any::<i64>()),
        delete_horizon in proptest::option::weighted(0.3, 0..i64::MAX / 4),
        from in -2..8000_i64,
    ) {
        let next = records.last().map_or(base + 1, |record| record.offset + 1) + tail;
        for codec in codecs() {
            let mut builder = BatchBuilder::new(base);
            builder.compression(codec).last_offset(next - 1).leader_epoch(4).producer(5, 6, 7).transactional(true);
            if let Some(time) = log_append {
                builder.log_append_time(time);
            }
            if let Some(time) = delete_horizon {
                builder.delete_horizon(time);
            }
            fill(&mut builder, &records);
            let bytes = Bytes::from(builder.build().unwrap());
            let batch = only(bytes.clone()).unwrap();
            prop_assert_eq!(batch.verify(), Ok(()));
            prop_assert_eq!((batch.next_offset(), batch.count as usize), (next, records.len()));
            prop_assert_eq!(batch.delete_horizon, delete_horizon.is_some());
            prop_assert!(delete_horizon.is_none_or(|time| batch.base_timestamp == time));

            let mut expected = records.clone();
            if let Some(time) = log_append {
                expected.iter_mut().for_each(|record| record.timestamp = time);
            }
            prop_assert_eq!(&read(&batch, MAX).unwrap(), &expected);

            let from = base + from;
            expected.retain(|record| record.offset >= from);
            let data = batch.decompressed(MAX).unwrap();
            let mut into = Entries::default();
            let report = index(&batch, data.clone(), from, &mut into).unwrap();
            prop_assert_eq!(report.indexed, expected.len());
            prop_assert_eq!(report.skipped, records.len() - expected.len());
            prop_assert_eq!(report.next_offset, next);
            prop_assert!(report.bytes <= data.len() && (report.skipped > 0 || report.bytes == data.len()));
            prop_assert!(into.spans.is_empty());
            prop_assert_eq!(&messages(into), &expected);
        }
    }

    #[test]
    fn a_wrong_place_gives_nothing_and_no_panic(
        data in proptest::collection::vec(any::<u8>(), 0..40),
        places in proptest::collection::vec(prop_oneof![0..60_u32, any::<u32>()], 1..5),
        record in any::<bool>(),
    ) {
        let entry = |place: &u32| Entry {
            seq: SeqNo::ZERO,
            timestamp: Timestamp::default(),
            deliveries: 1,
            place: *place,
        };
        let entries = Entries {
            data: data.into(),
            index: places.iter().map(entry).collect(),
            spans: vec![Span { start: 3, len: u32::MAX }, Span { start: u32::MAX, len: u32::MAX }],
            layout: if record { Layout::Record } else { Layout::Fields },
        };
        let batch = batch_of(entries);
        for message in batch.iter() {
            let _ = (message.key(), message.payload(), message.fields().count(), message.headers().count());
        }
    }
}

#[test]
fn batches_of_one_buffer_share_an_index() {
    let (bytes, batches) = three(tidegate_core::kafka::records::Compression::None);
    let mut into = Entries::default();
    for batch in &batches {
        let report = index(batch, bytes.clone(), 12, &mut into).unwrap();
        assert_eq!(report.next_offset, batch.base_offset + 10);
    }
    assert_eq!(offsets(&into), [12, 13, 14, 20, 21, 22, 23, 24]);
    assert_eq!((into.layout, into.data.as_ptr()), (Layout::Record, bytes.as_ptr()));
    let values: Vec<_> = messages(into).into_iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(values.concat(), b"1213142021222324");
}

#[test]
fn decompressed_batches_share_an_index_too() {
    for codec in codecs() {
        let (_, batches) = three(codec);
        let mut buffer = b"before".to_vec();
        let parts: Vec<_> =
            batches.iter().map(|batch| batch.decompress_into(&mut buffer, MAX).unwrap()).collect();
        let data = Bytes::from(buffer);
        let mut into = Entries::default();
        for (batch, part) in batches.iter().zip(parts) {
            index_at(batch, data.clone(), part, 0, &mut into).unwrap();
        }
        let values: Vec<_> = messages(into).into_iter().map(|record| record.value.unwrap()).collect();
        assert_eq!(
            values.concat(),
            b"012341011121314 2021222324".iter().filter(|b| **b != b' ').copied().collect::<Vec<_>>()
        );
    }
}

#[test]
fn another_buffer_is_refused_and_nothing_is_changed() {
    let (bytes, batches) = three(tidegate_core::kafka::records::Compression::None);
    let copy = Bytes::copy_from_slice(&bytes);
    let mut into = Entries::default();
    index(&batches[0], bytes.clone(), 0, &mut into).unwrap();
    let before = into.clone();
    let refused = Err(RecordsError::Buffer);
    // Where the batch isn't; over another buffer than the index, or a part of it.
    assert_eq!(index(&batches[1], copy.clone(), 0, &mut into), refused);
    assert_eq!(index(&batches[1], bytes.slice(..bytes.len() - 1), 0, &mut into), refused);
    assert_eq!(index_at(&batches[1], copy.clone(), 0..10, 0, &mut into), refused);
    // Not a part at all.
    let end = bytes.len();
    assert_eq!(index_at(&batches[1], bytes.clone(), end - 1..end + 1, 0, &mut into), refused);
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = 9..3;
    assert_eq!(index_at(&batches[1], bytes.clone(), reversed, 0, &mut into), refused);
    assert_eq!(into, before);
    // An index of fields.
    let mut fields = Entries { layout: Layout::Fields, ..before.clone() };
    assert_eq!(index(&batches[1], bytes.clone(), 0, &mut fields), refused);
    // An empty one takes any.
    let mut empty = Entries { data: copy, spans: vec![Span::default()], ..Entries::default() };
    let report = index(&batches[1], bytes, 0, &mut empty).unwrap();
    assert_eq!((report.indexed, empty.spans.len()), (5, 0));
}

#[test]
fn an_error_leaves_the_index_as_it_was() {
    let (bytes, ends) = {
        let (bytes, batches) = three(tidegate_core::kafka::records::Compression::None);
        (bytes, batches.iter().map(RecordBatch::size).collect::<Vec<_>>())
    };
    let mut bytes = bytes.to_vec();
    // The last record of the second batch.
    let at = ends[0] + ends[1] - 1;
    bytes[at] = 1;
    let bytes = Bytes::from(bytes);
    let batches: Vec<_> = Batches::new(bytes.clone()).map(Result::unwrap).collect();
    let mut into = Entries::default();
    index(&batches[0], bytes.clone(), 0, &mut into).unwrap();
    let before = into.clone();
    assert!(matches!(index(&batches[1], bytes.clone(), 0, &mut into), Err(RecordsError::Record { .. })));
    assert_eq!(into, before);
    index(&batches[2], bytes, 0, &mut into).unwrap();
    assert_eq!(offsets(&into), [0, 1, 2, 3, 4, 20, 21, 22, 23, 24]);
}

#[test]
fn what_is_retained_is_read_right() {
    let (bytes, batches) = three(tidegate_core::kafka::records::Compression::None);
    let mut into = Entries::default();
    for batch in &batches {
        index(batch, bytes.clone(), 0, &mut into).unwrap();
    }
    into.retain(|entry| entry.seq.low() % 2 == 0);
    let values: Vec<_> = messages(into).into_iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(values.concat(), b"024101214202224");
}

#[test]
fn reports_add_up() {
    let (bytes, batches) = three(tidegate_core::kafka::records::Compression::None);
    let batch = &batches[1];
    let mut sizes = Vec::new();
    for from in [0, 10, 11, 14, 15, 19, i64::MAX] {
        let mut into = Entries::default();
        let report = index(batch, bytes.clone(), from, &mut into).unwrap();
        let IndexReport { indexed, skipped, bytes, next_offset, .. } = report;
        assert_eq!((indexed + skipped, indexed, next_offset), (5, into.index.len(), 20));
        sizes.push(bytes);
    }
    // Nine bytes a record.
    assert_eq!(sizes, [45, 45, 36, 9, 0, 0, 0]);
}
