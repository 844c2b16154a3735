//! Batches as plain values, written and read back.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_core::kafka::records::{
    BatchBuilder, Batches, Compression, NewRecord, RecordBatch, Records, RecordsError,
};

/// More than any batch here has.
pub(crate) const MAX: usize = 1 << 20;

/// So many cases, and no file of those that failed.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

/// All codecs of Kafka.
pub(crate) const ALL: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// Whether this build has it.
pub(crate) const fn is_on(codec: Compression) -> bool {
    match codec {
        Compression::None => true,
        Compression::Gzip => cfg!(feature = "gzip"),
        Compression::Snappy => cfg!(feature = "snappy"),
        Compression::Lz4 => cfg!(feature = "lz4"),
        Compression::Zstd => cfg!(feature = "zstd"),
    }
}

/// Those that this build has.
pub(crate) fn codecs() -> Vec<Compression> {
    ALL.into_iter().filter(|codec| is_on(*codec)).collect()
}

/// A record, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Adds records to a builder.
pub(crate) fn fill(builder: &mut BatchBuilder, records: &[Plain]) {
    for record in records {
        let headers: Vec<_> =
            record.headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
        builder.record(NewRecord {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        });
    }
}

/// The only batch in these bytes.
pub(crate) fn only(bytes: impl Into<Bytes>) -> Result<RecordBatch, RecordsError> {
    let mut batches = Batches::new(bytes.into());
    let batch = batches.next().expect("a batch");
    assert!(batch.is_err() || batches.next().is_none() && !batches.is_truncated());
    batch
}

/// Its records, one by one.
pub(crate) fn read(batch: &RecordBatch, max: usize) -> Result<Vec<Plain>, RecordsError> {
    let data = batch.decompressed(max)?;
    let mut records = Records::new(batch, &data);
    let mut all = Vec::new();
    for record in records.by_ref() {
        let record = record?;
        all.push(Plain {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec))).collect(),
        });
    }
    assert!(records.next().is_none(), "the end is for ever");
    Ok(all)
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    // Text that compresses and bytes that don't, and lengths on both sides of 64.
    prop_oneof![
        vec(any::<u8>(), 0..max),
        (0..max).prop_map(|len| b"abcdefgh".repeat(len / 8 + 1)[..len].to_vec())
    ]
}

fn record() -> impl Strategy<Value = Plain> {
    let name = "[a-c]{0,3}".prop_map(String::into_bytes);
    let timestamp = prop_oneof![3 => 0..100_000_i64, 1 => any::<i64>().prop_map(|time| time / 4)];
    (timestamp, option(bytes(70)), option(bytes(9000)), vec((name, option(bytes(20))), 0..4))
        .prop_map(|(timestamp, key, value, headers)| Plain { offset: 0, timestamp, key, value, headers })
}

fn option(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::weighted(0.8, bytes)
}

/// Records from an offset on, with gaps between them where `gap` allows them.
pub(crate) fn records(gap: i64) -> impl Strategy<Value = (i64, Vec<Plain>)> {
    let base = prop_oneof![0..1000_i64, (i64::MAX / 2)..(i64::MAX / 2 + 10)];
    (base, vec((record(), 0..=gap), 0..30)).prop_map(|(base, list)| {
        let mut next = base;
        let stamp = |(record, gap): (Plain, i64)| {
            let offset = next + gap;
            next = offset + 1;
            Plain { offset, ..record }
        };
        (base, list.into_iter().map(stamp).collect())
    })
}
