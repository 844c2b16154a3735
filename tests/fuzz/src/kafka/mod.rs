//! Kafka's messages for the targets: what the tests of `core` know of them, once more.
//!
//! A [`Row`] is a message without its type: what we decode and encode of it, and what the
//! `kafka-protocol` crate does. A [`Random`](random::Random) writes valid bytes of any message out of
//! its description; it shares nothing with our encoder but the declarations.
//!
//! **Invariant:** the other crate is asked only about bytes that our own decoder accepted: it
//! allocates what a message announces.

#[macro_use]
#[path = "../../../../core/tests/kafka_wire/list.rs"]
mod list;
#[path = "../../../../core/tests/kafka_wire/random.rs"]
mod random;
#[path = "../../../../core/tests/kafka_wire/rows.rs"]
mod rows;

use tidegate_core::kafka::wire::WireError;

pub(crate) use rows::{Row, rows};

/// The message and the version that the first two bytes choose, and the bytes behind them.
pub(crate) fn chosen(data: &[u8]) -> Option<(Row, i16, &[u8])> {
    let ([message, version], rest) = data.split_first_chunk()?;
    let mut rows = rows();
    let row = rows.swap_remove(usize::from(*message) % rows.len());
    let count = row.versions.clone().count().max(1);
    let version = row.versions.clone().nth(usize::from(*version) % count)?;
    Some((row, version, rest))
}

/// Bytes that this encoder wrote: they come back as they are, the other crate reads and writes the
/// same, and so does each version that can say it.
pub(crate) fn settled(row: &Row, version: i16, bytes: &[u8]) {
    assert_eq!((row.again)(version, bytes).as_deref(), Ok(bytes), "{} {version}", row.name);
    if row.has_theirs(version) {
        let theirs = (row.through_theirs)(version, bytes);
        assert_eq!(theirs.as_deref(), Ok(bytes), "{} {version}", row.name);
    }
    for to in row.versions.clone() {
        match (row.across)(version, bytes, to) {
            Ok(bytes) => assert_eq!((row.again)(to, &bytes), Ok(bytes), "{} {version} as {to}", row.name),
            Err(WireError::NotInVersion { .. } | WireError::Null { .. }) => assert_ne!(to, version),
            Err(error) => panic!("{} {version} as {to}: {error}", row.name),
        }
    }
}
