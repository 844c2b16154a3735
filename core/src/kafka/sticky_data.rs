//! What the sticky assignors say in a subscription's user data: the bytes of Kafka's own
//! `StickyAssignor` (what was owned before everything was let go, and in which generation) and
//! `CooperativeStickyAssignor` (the generation alone).
//!
//! Here and not with the assignors, as policy never sees bytes. What can't be read is nothing:
//! a member without a past is assigned like a new one.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// An unknown generation.
const NONE: i32 = -1;

/// As `StickyAssignor` writes it since Kafka 2.4 (its schema V1).
pub(super) fn write(owned: &BTreeMap<String, Vec<i32>>, generation: i32) -> Bytes {
    let mut out = BytesMut::new();
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    out.put_i32(count(owned.len()));
    for (topic, partitions) in owned {
        // Proved: Kafka's names of topics are at most 249 bytes long.
        out.put_i16(i16::try_from(topic.len()).unwrap_or(i16::MAX));
        out.put_slice(topic.as_bytes());
        out.put_i32(count(partitions.len()));
        partitions.iter().for_each(|partition| out.put_i32(*partition));
    }
    out.put_i32(generation);
    out.freeze()
}

/// What a `StickyAssignor` of any version wrote: what was owned, and the generation.
pub(super) fn read(data: &Bytes) -> (Vec<(String, Vec<i32>)>, i32) {
    let mut rest = &data[..];
    match owned_in(&mut rest) {
        // Before 2.4 there was no generation.
        Some(owned) => (owned, rest.try_get_i32().unwrap_or(NONE)),
        None => (Vec::new(), NONE),
    }
}

fn owned_in(rest: &mut &[u8]) -> Option<Vec<(String, Vec<i32>)>> {
    let topics = rest.try_get_i32().ok()?;
    let mut owned = Vec::new();
    for _ in 0..topics.max(0) {
        let length = usize::try_from(rest.try_get_i16().ok()?).ok()?;
        let name = rest.get(..length)?;
        let name = std::str::from_utf8(name).ok()?.to_owned();
        rest.advance(length);
        let count = usize::try_from(rest.try_get_i32().ok()?).ok()?;
        // What is announced is held against what is there before anything is kept.
        if count > rest.len() / 4 {
            return None;
        }
        let partitions = (0..count).map(|_| rest.try_get_i32().ok()).collect::<Option<_>>()?;
        owned.push((name, partitions));
    }
    Some(owned)
}

/// As `CooperativeStickyAssignor` writes it.
pub(super) fn write_generation(generation: i32) -> Bytes {
    Bytes::copy_from_slice(&generation.to_be_bytes())
}

/// What a `CooperativeStickyAssignor` wrote.
pub(super) fn read_generation(data: &Bytes) -> i32 {
    (&data[..]).try_get_i32().unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let owned = BTreeMap::from([("a".to_owned(), vec![0, 7]), ("orders".to_owned(), vec![])]);
        let expected: Vec<_> = owned.clone().into_iter().collect();
        let bytes = write(&owned, 5);
        assert_eq!(read(&bytes), (expected.clone(), 5));
        // Without a generation, as before Kafka 2.4.
        assert_eq!(read(&bytes.slice(..bytes.len() - 4)), (expected, -1));
        assert_eq!(read_generation(&write_generation(9)), 9);
    }

    #[test]
    fn what_cant_be_read_is_nothing() {
        let bytes = write(&BTreeMap::from([("orders".to_owned(), vec![1, 2, 3])]), 5);
        for length in 0..bytes.len() - 4 {
            let (owned, generation) = read(&bytes.slice(..length));
            assert!(owned.is_empty() && generation == -1, "{length}: {owned:?}");
        }
        let huge = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0x7f, 0xff, 0xff, 0xff]);
        assert_eq!(read(&huge), (Vec::new(), -1));
        assert_eq!(read_generation(&Bytes::from_static(&[1, 2])), -1);
    }
}
