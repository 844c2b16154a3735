//! What topics are filled with.

use tidegate_core::kafka::records::{BatchBuilder, Compression, NewRecord};

use crate::Failure;

/// Bytes of records in a batch before compression, as `batch.size` has it.
pub const BATCH_BYTES: usize = 64 << 10;

const WORDS: [&str; 16] = [
    "order",
    "placed",
    "shipped",
    "customer",
    "returned",
    "invoice",
    "pending",
    "express",
    "standard",
    "refund",
    "address",
    "confirmed",
    "warehouse",
    "delivery",
    "cancelled",
    "signature",
];

/// A value of `size` bytes that no other index has: text like that of a service's events, which lz4 makes
/// about half as long.
pub fn value(index: u64, size: usize, into: &mut Vec<u8>) {
    into.clear();
    // SplitMix64: as good as random, and the same in each run.
    let mut state = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb)
    };
    into.extend_from_slice(format!("{{\"id\":\"{index:08x}{:08x}\",\"text\":\"", next() as u32).as_bytes());
    while into.len() < size {
        let random = next();
        for word in 0..4 {
            into.extend_from_slice(WORDS[(random >> (8 * word)) as usize % WORDS.len()].as_bytes());
            into.push(b' ');
        }
    }
    into.truncate(size);
}

/// How many records of this size a batch has.
pub fn records_of_a_batch(size: usize) -> u64 {
    // A length, attributes, two deltas, two more lengths and no headers: about ten bytes.
    (BATCH_BYTES / (size + 10)).max(1) as u64
}

/// The batch with these values, at `offset`.
///
/// # Errors
/// The codec's.
pub fn batch<'a>(
    offset: u64,
    values: impl IntoIterator<Item = &'a [u8]>,
    compression: Compression,
    timestamp: i64,
) -> Result<Vec<u8>, Failure> {
    let offset = i64::try_from(offset)?;
    let mut builder = BatchBuilder::new(offset);
    builder.compression(compression);
    for (value, offset) in values.into_iter().zip(offset..) {
        builder.record(NewRecord { offset, timestamp, value: Some(value), ..NewRecord::default() });
    }
    Ok(builder.build()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_core::kafka::records::{Batches, Records};

    #[test]
    fn values_have_their_size_and_differ() {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for size in [40, 100, 1_024] {
            value(7, size, &mut one);
            value(8, size, &mut other);
            assert_eq!((one.len(), other.len()), (size, size));
            assert_ne!(one, other);
            value(7, size, &mut other);
            assert_eq!(one, other);
        }
    }

    #[test]
    fn batches_hold_what_was_put_in_and_lz4_halves_them() {
        let count = records_of_a_batch(100);
        let values: Vec<Vec<u8>> = (0..count)
            .map(|index| {
                let mut into = Vec::new();
                value(index, 100, &mut into);
                into
            })
            .collect();
        let build = |compression| batch(50, values.iter().map(Vec::as_slice), compression, 5).unwrap();
        let (plain, small) = (build(Compression::None), build(Compression::Lz4));
        assert!((BATCH_BYTES * 9 / 10..=BATCH_BYTES + 100).contains(&plain.len()), "{}", plain.len());
        assert!(small.len() < plain.len() * 2 / 3, "{} of {}", small.len(), plain.len());
        let read = Batches::new(small.into()).next().unwrap().unwrap();
        let data = read.decompressed(1 << 20).unwrap();
        let found: Vec<_> = Records::new(&read, &data).map(|record| record.unwrap().value.unwrap()).collect();
        assert_eq!(found, values);
        assert_eq!(read.next_offset(), 50 + count as i64);
    }
}
