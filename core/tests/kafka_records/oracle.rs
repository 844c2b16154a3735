//! Against `kafka-protocol`, where it is right: it drops the last offset delta, takes the first
//! timestamp for LogAppendTime, and keeps one header of each name.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use kafka_protocol::records as theirs;
use proptest::prelude::*;
use tidegate_core::kafka::records::{BatchBuilder, Compression, TimestampType};

use crate::model::{self, MAX, Plain, cases, codecs, fill, only, read};

fn their_codec(codec: Compression) -> theirs::Compression {
    match codec {
        Compression::None => theirs::Compression::None,
        Compression::Gzip => theirs::Compression::Gzip,
        Compression::Snappy => theirs::Compression::Snappy,
        Compression::Lz4 => theirs::Compression::Lz4,
        Compression::Zstd => theirs::Compression::Zstd,
    }
}

/// Keeps the first header of each name.
fn named_once(records: &mut [Plain]) {
    for record in records {
        let mut seen = BTreeSet::new();
        record.headers.retain(|(name, _)| seen.insert(name.clone()));
    }
}

#[derive(Clone, Copy, Debug)]
struct Producer {
    id: i64,
    epoch: i16,
    sequence: i32,
    transactional: bool,
    leader_epoch: i32,
}

fn producer() -> impl Strategy<Value = Producer> {
    (0..i64::MAX, 0..i16::MAX, 0..1000, any::<bool>(), -1..100).prop_map(
        |(id, epoch, sequence, transactional, leader_epoch)| Producer {
            id,
            epoch,
            sequence,
            transactional,
            leader_epoch,
        },
    )
}

fn to_theirs(base: i64, record: &Plain, producer: Producer) -> theirs::Record {
    theirs::Record {
        transactional: producer.transactional,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: producer.leader_epoch,
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        timestamp_type: theirs::TimestampType::Creation,
        offset: record.offset,
        // All in one batch.
        sequence: producer.sequence.wrapping_add((record.offset - base) as i32),
        timestamp: record.timestamp,
        key: record.key.clone().map(Bytes::from),
        value: record.value.clone().map(Bytes::from),
        headers: record
            .headers
            .iter()
            .map(|(name, value)| {
                (String::from_utf8(name.clone()).unwrap().into(), value.clone().map(Bytes::from))
            })
            .collect(),
    }
}

fn from_theirs(record: theirs::Record) -> Plain {
    Plain {
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.map(|bytes| bytes.to_vec()),
        value: record.value.map(|bytes| bytes.to_vec()),
        headers: record
            .headers
            .into_iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.map(|bytes| bytes.to_vec())))
            .collect(),
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn we_read_what_kafka_protocol_writes((_, mut records) in model::records(3), producer in producer()) {
        named_once(&mut records);
        prop_assume!(!records.is_empty());
        let base = records[0].offset;
        for codec in codecs() {
            let all: Vec<_> = records.iter().map(|record| to_theirs(base, record, producer)).collect();
            let options = theirs::RecordEncodeOptions { version: 2, compression: their_codec(codec) };
            let mut bytes = BytesMut::new();
            theirs::RecordBatchEncoder::encode(&mut bytes, &all, &options).unwrap();
            let batch = only(bytes.freeze()).unwrap();
            prop_assert_eq!(batch.verify(), Ok(()));
            prop_assert_eq!(batch.base_offset, base);
            prop_assert_eq!(batch.last_offset, records.last().unwrap().offset);
            prop_assert_eq!(batch.count as usize, records.len());
            prop_assert_eq!(batch.compression, codec);
            prop_assert_eq!(batch.timestamp_type, TimestampType::Create);
            prop_assert_eq!(batch.leader_epoch, producer.leader_epoch);
            prop_assert_eq!(batch.transactional, producer.transactional);
            prop_assert!(!batch.control);
            prop_assert_eq!((batch.producer_id, batch.producer_epoch), (producer.id, producer.epoch));
            prop_assert_eq!(batch.base_sequence, producer.sequence);
            prop_assert_eq!(batch.max_timestamp, records.iter().map(|record| record.timestamp).max().unwrap());
            prop_assert_eq!(&read(&batch, MAX).unwrap(), &records);
        }
    }

    #[test]
    fn kafka_protocol_reads_what_we_write((base, mut records) in model::records(3), producer in producer()) {
        named_once(&mut records);
        for codec in codecs() {
            let mut builder = BatchBuilder::new(base);
            builder
                .compression(codec)
                .leader_epoch(producer.leader_epoch)
                .producer(producer.id, producer.epoch, producer.sequence)
                .transactional(producer.transactional);
            fill(&mut builder, &records);
            let mut bytes = Bytes::from(builder.build().unwrap());
            let set = theirs::RecordBatchDecoder::decode(&mut bytes).unwrap();
            prop_assert!(bytes.is_empty());
            prop_assert_eq!(set.compression, their_codec(codec));
            for record in &set.records {
                prop_assert_eq!(record.transactional, producer.transactional);
                prop_assert_eq!((record.producer_id, record.producer_epoch), (producer.id, producer.epoch));
                prop_assert_eq!(record.partition_leader_epoch, producer.leader_epoch);
                prop_assert_eq!(record.sequence, producer.sequence.wrapping_add((record.offset - base) as i32));
            }
            let read: Vec<_> = set.records.into_iter().map(from_theirs).collect();
            prop_assert_eq!(&read, &records);
        }
    }
}
