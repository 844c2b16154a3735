//! Kafka's messages through their public interface: against the `kafka-protocol` crate, against
//! a second writer, and against bytes that are no message.
#![allow(clippy::unwrap_used)] // a panic with its line is the report, in helpers too

#[macro_use]
#[path = "kafka_wire/list.rs"]
mod list;
#[path = "kafka_wire/random.rs"]
mod random;
#[path = "kafka_wire/rows.rs"]
#[allow(dead_code)] // each test uses a part
mod rows;

use proptest::collection::vec;
use proptest::prelude::*;
use rows::rows;
use tidegate_core::kafka::wire::WireError;

fn tape() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_decoded_is_encoded_to_the_same_bytes(tape in tape()) {
        for row in rows() {
            for version in row.versions.clone() {
                let bytes = row.random(version, &tape, false);
                prop_assert_eq!((row.again)(version, &bytes), Ok(bytes), "{} {}", row.name, version);
            }
        }
    }

    #[test]
    fn both_crates_read_and_write_the_same(tape in tape()) {
        for row in rows() {
            for version in row.versions.clone().filter(|version| row.has_theirs(*version)) {
                let ours = (row.again)(version, &row.random(version, &tape, false)).unwrap();
                let theirs = (row.through_theirs)(version, &ours);
                prop_assert_eq!(theirs.as_ref(), Ok(&ours), "{} {}", row.name, version);
                prop_assert!((row.same)(version, &theirs.unwrap(), &ours), "{} {}", row.name, version);
            }
        }
    }

    #[test]
    fn tagged_fields_that_nobody_knows_are_skipped(tape in tape()) {
        for row in rows() {
            for version in row.versions.clone().filter(|version| *version >= row.flexible) {
                let plain = row.random(version, &tape, false);
                let strange = row.random(version, &tape, true);
                prop_assert!(strange.len() > plain.len());
                prop_assert!((row.same)(version, &plain, &strange), "{} {}", row.name, version);
            }
        }
    }

    #[test]
    fn other_versions_refuse_what_they_cannot_say(tape in tape()) {
        for row in rows() {
            for from in row.versions.clone() {
                let bytes = row.random(from, &tape, false);
                for to in row.versions.clone() {
                    match (row.across)(from, &bytes, to) {
                        Ok(bytes) => prop_assert_eq!((row.again)(to, &bytes), Ok(bytes)),
                        Err(WireError::NotInVersion { .. } | WireError::Null { .. }) => {
                            prop_assert_ne!(from, to);
                        }
                        Err(error) => prop_assert!(false, "{} {from} to {to}: {error}", row.name),
                    }
                }
            }
        }
    }

    #[test]
    fn a_truncated_message_is_an_error(tape in vec(any::<u8>(), 0..40)) {
        for row in rows() {
            for version in row.versions.clone() {
                let bytes = row.random(version, &tape, false);
                // Long strings and records are all alike inside.
                for cut in (0..bytes.len()).filter(|cut| *cut < 300 || bytes.len() - cut < 300) {
                    let error = (row.again)(version, &bytes[..cut]).unwrap_err();
                    prop_assert!(
                        matches!(error, WireError::Truncated { .. } | WireError::TooManyElements { .. }),
                        "{} {version} cut to {cut}: {error}", row.name
                    );
                }
                let longer = [&bytes[..], &[0]].concat();
                let trailing = WireError::TrailingBytes { message: row.name, left: 1 };
                prop_assert_eq!((row.again)(version, &longer), Err(trailing));
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        for row in rows() {
            for version in row.versions.clone() {
                // What happens to be valid has to come back, if not to the same bytes.
                if let Ok(again) = (row.again)(version, &bytes) {
                    prop_assert!((row.same)(version, &bytes, &again), "{} {}", row.name, version);
                }
            }
        }
    }

    #[test]
    fn no_damaged_message_makes_it_panic(
        tape in tape(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        for row in rows() {
            for version in row.versions.clone() {
                let mut bytes = row.random(version, &tape, false);
                for (at, byte) in &damage {
                    if !bytes.is_empty() {
                        let at = at.index(bytes.len());
                        bytes[at] = *byte;
                    }
                }
                if let Ok(again) = (row.again)(version, &bytes) {
                    prop_assert!((row.same)(version, &bytes, &again), "{} {}", row.name, version);
                }
            }
        }
    }
}

#[test]
fn defaults_can_be_said_in_every_version() {
    for row in rows() {
        for version in row.versions.clone() {
            let (bytes, same) = (row.default)(version);
            assert!(same, "{} {version}: {bytes:?}", row.name);
        }
    }
}

#[test]
fn versions_outside_of_the_range_are_refused() {
    for row in rows() {
        for version in [row.versions.start() - 1, row.versions.end() + 1, i16::MIN, i16::MAX] {
            let refused = Err(WireError::UnsupportedVersion { message: row.name, version });
            assert_eq!((row.again)(version, &[0; 100]), refused);
            let (encoded, _) = (row.default)(version);
            assert_eq!(encoded, refused);
        }
    }
}
