//! The order of Java's hash maps.
//!
//! Who of several members gets the odd partition depends, in Apache Kafka, on the order in which its
//! hash maps happen to have them. That is no chance: the order follows from the strings. So the
//! model has the same, and its assignments can be held against a real broker's.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::kafka::wire::Uuid;

use super::Spot;
use super::member::Member;

/// `java.util.HashMap` begins with 16 slots, and doubles them when three quarters are in use.
const SLOTS: usize = 16;

/// Members, as a `HashMap` has them that is filled from the group's own table, and then with who
/// comes.
pub(super) fn members<'a>(
    members: &'a BTreeMap<String, Member>,
    most: usize,
    comes: Option<&String>,
) -> Vec<&'a Member> {
    let mut all: Vec<&Member> = members.values().collect();
    let table = timeline_slots(most);
    let comes = |member: &Member| comes == Some(&member.id);
    all.sort_by_key(|one| (comes(one), timeline_slot(string_hash(&one.id), table), one.joined));
    by_slot(all, |member| string_hash(&member.id))
}

/// Topics, as a `HashSet` has them.
pub(super) fn topics(ids: BTreeSet<Uuid>) -> Vec<Uuid> {
    by_slot(ids.into_iter().collect(), |id| uuid_hash(*id))
}

/// Partitions by topic, as a `HashMap` of `HashSet`s has them.
pub(super) fn spots(spots: &BTreeSet<Spot>) -> Vec<(Uuid, Vec<i32>)> {
    let ids = topics(spots.iter().map(|(topic, _)| *topic).collect());
    let of = |id: Uuid| spots.iter().filter(move |(topic, _)| *topic == id).map(|(_, index)| *index);
    ids.into_iter().map(|id| (id, by_slot(of(id).collect(), |index| *index))).collect()
}

/// Strings, as a `HashMap` has them.
pub(super) fn strings<const N: usize>(strings: [&'static str; N]) -> Vec<&'static str> {
    by_slot(strings.to_vec(), |text| string_hash(text))
}

/// Sorted by slot; those of one slot stay as they were.
fn by_slot<T>(mut all: Vec<T>, hash: impl Fn(&T) -> i32) -> Vec<T> {
    let mut slots = SLOTS;
    while all.len() * 4 > slots * 3 {
        slots *= 2;
    }
    all.sort_by_key(|one| {
        let hash = hash(one).cast_unsigned();
        (hash ^ (hash >> 16)) as usize & (slots - 1)
    });
    all
}

/// `String.hashCode`.
fn string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// `org.apache.kafka.common.Uuid.hashCode`.
fn uuid_hash(id: Uuid) -> i32 {
    let bits = u128::from_be_bytes(id.0);
    let mixed = (bits >> 64) as u64 ^ bits as u64;
    ((mixed >> 32) as u32 ^ mixed as u32).cast_signed()
}

/// Slots of `org.apache.kafka.timeline.BaseHashTable`, which begins with two, and grows with each
/// write that finds three quarters of them too few for one more.
fn timeline_slots(most: usize) -> usize {
    let mut slots = 2;
    while (most + 1) * 3 > slots * 4 {
        slots *= 2;
    }
    slots
}

/// Where that table has it: the upper bits of the hash, multiplied by a constant of its own.
fn timeline_slot(hash: i32, slots: usize) -> u64 {
    let mixed = i64::from(hash).wrapping_mul(-7_046_029_254_386_353_131).cast_unsigned();
    mixed >> (64 - slots.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_as_java_has_them() {
        // `"uniform".hashCode()` and so on, in jshell.
        assert_eq!(string_hash("uniform"), -286_926_412);
        assert_eq!(string_hash("range"), 108_280_125);
        assert_eq!(string_hash(""), 0);
        assert_eq!(uuid_hash(Uuid::ZERO), 0);
    }
}
