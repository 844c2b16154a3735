//! Kafka's messages as values: written, read, and written again.
//!
//! **Input:** which message, which version, whether with tagged fields that nobody knows; then a tape
//! of its fields.

use crate::kafka::{chosen, settled};

/// What a second writer makes of the description is read and written as the same bytes, by us and by
/// the other crate; tagged fields that nobody knows change nothing; other versions say the same, or
/// refuse what they can't say.
pub fn kafka_encode(data: &[u8]) {
    let Some((row, version, rest)) = chosen(data) else { return };
    let Some((strange, tape)) = rest.split_first() else { return };
    let plain = row.random(version, tape, false);
    settled(&row, version, &plain);
    if strange % 2 == 1 && version >= row.flexible {
        let strange = row.random(version, tape, true);
        assert!(
            strange.len() > plain.len() && (row.same)(version, &plain, &strange),
            "{} {version}",
            row.name
        );
    }
    let (bytes, same) = (row.default)(version);
    assert!(same, "{} {version}: {bytes:?}", row.name);
}
