//! The user data of the sticky assignors: what a member tells the leader of its past.
//!
//! `sticky` puts its previous assignment there, as Apache Kafka's `StickyAssignor` does:
//!
//! ```text
//! version 0: [previous_assignment: count i32 × (topic: length i16 + UTF-8, [partition: count i32 × i32])]
//! version 1: the same, then generation i32
//! ```
//!
//! `cooperative-sticky` tells what it owns in the subscription's own fields, and puts its
//! generation here (i32) for leaders that don't know the field for it. Nothing on the wire says
//! which version it is: what ends after the assignment is version 0, and what follows the
//! generation is ignored.
//!
//! **Invariant:** what can't be read is as if the member had no past, as with Apache Kafka's own:
//! it costs moves, and nothing else.
//!
//! **Invariant:** what is allocated is bounded by the bytes that are there, whatever they count.

use bytes::{BufMut, Bytes, BytesMut};

use crate::assign::{Member, Memory};

/// User data for a member that owns these partitions since this generation. Empty: none.
pub fn encode(memory: Memory, owned: &[(String, Vec<i32>)], generation: i32) -> Bytes {
    let mut bytes = BytesMut::new();
    match memory {
        Memory::None => {}
        Memory::Fields => bytes.put_i32(generation),
        // Never assigned anything, not even nothing.
        Memory::UserData if owned.is_empty() && generation < 0 => {}
        Memory::UserData => {
            // No topic has a name that doesn't fit: the broker's limit is 249.
            let fits = |entry: &&(String, Vec<i32>)| entry.0.len() <= i16::MAX as usize;
            bytes.put_i32(owned.iter().filter(fits).count() as i32);
            for (topic, partitions) in owned.iter().filter(fits) {
                bytes.put_i16(topic.len() as i16);
                bytes.put_slice(topic.as_bytes());
                bytes.put_i32(partitions.len() as i32);
                partitions.iter().for_each(|partition| bytes.put_i32(*partition));
            }
            bytes.put_i32(generation);
        }
    }
    bytes.freeze()
}

/// Completes a member, as its subscription's fields tell it, by what its user data tells the
/// assignor with this memory: what it owned, and in which generation.
pub fn recall(memory: Memory, member: &mut Member) {
    match memory {
        Memory::None => {}
        Memory::Fields => {
            if member.generation < 0 {
                member.generation = Reader(&member.user_data).i32().unwrap_or(-1);
            }
        }
        Memory::UserData => {
            // Not the fields: under the eager protocol they are empty, or tell of another one.
            let mut reader = Reader(&member.user_data);
            (member.owned, member.generation) = match reader.assignment() {
                Some(owned) => (owned, reader.i32().unwrap_or(-1)),
                None => (Vec::new(), -1),
            };
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn i16(&mut self) -> Option<i16> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i16::from_be_bytes(*number))
    }

    fn i32(&mut self) -> Option<i32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*number))
    }

    /// A count of things of at least so many bytes, which must be there.
    fn count(&mut self, bytes_each: usize) -> Option<usize> {
        let count = usize::try_from(self.i32()?).ok()?;
        (count <= self.0.len() / bytes_each).then_some(count)
    }

    fn assignment(&mut self) -> Option<Vec<(String, Vec<i32>)>> {
        let topics = self.count(6)?;
        (0..topics)
            .map(|_| {
                let length = usize::try_from(self.i16()?).ok()?;
                let (topic, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                let topic = str::from_utf8(topic).ok()?.to_owned();
                let partitions = self.count(4)?;
                Some((topic, (0..partitions).map_while(|_| self.i32()).collect()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recalled(memory: Memory, user_data: &[u8]) -> (Vec<(String, Vec<i32>)>, i32) {
        let mut member = Member::new("m", ["t"]);
        member.owned = vec![("field".into(), vec![7])];
        member.user_data = Bytes::copy_from_slice(user_data);
        recall(memory, &mut member);
        (member.owned, member.generation)
    }

    const VERSION_1: &[u8] =
        b"\0\0\0\x02\0\x02t1\0\0\0\x02\0\0\0\0\0\0\0\x03\0\x01u\0\0\0\x01\0\0\0\x05\0\0\0\x09";

    #[test]
    fn the_bytes_are_these() {
        let owned = vec![("t1".to_owned(), vec![0, 3]), ("u".to_owned(), vec![5])];
        assert_eq!(&encode(Memory::UserData, &owned, 9)[..], VERSION_1);
        assert_eq!(recalled(Memory::UserData, VERSION_1), (owned.clone(), 9));
        let version_0 = &VERSION_1[..VERSION_1.len() - 4];
        assert_eq!(recalled(Memory::UserData, version_0), (owned, -1));
        assert_eq!(&encode(Memory::Fields, &[], 258)[..], b"\0\0\x01\x02");
        assert_eq!(recalled(Memory::Fields, b"\0\0\x01\x02"), (vec![("field".into(), vec![7])], 258));
        assert!(encode(Memory::None, &[("t".into(), vec![1])], 3).is_empty());
        assert!(encode(Memory::UserData, &[], -1).is_empty());
        assert_eq!(&encode(Memory::UserData, &[], 3)[..], b"\0\0\0\0\0\0\0\x03");
    }

    #[test]
    fn a_generation_in_the_fields_is_what_counts() {
        let mut member = Member::new("m", ["t"]);
        member.generation = 4;
        member.user_data = encode(Memory::Fields, &[], 9);
        recall(Memory::Fields, &mut member);
        assert_eq!(member.generation, 4);
    }

    #[test]
    fn what_is_cut_or_counts_too_much_is_no_past() {
        let assignment = VERSION_1.len() - 4;
        for end in 0..VERSION_1.len() {
            let (owned, generation) = recalled(Memory::UserData, &VERSION_1[..end]);
            assert_eq!((owned.len(), generation), (if end < assignment { 0 } else { 2 }, -1), "{end}");
        }
        for bytes in [
            &b"\x7f\xff\xff\xff\0\x01t\0\0\0\0"[..],
            b"\xff\xff\xff\xff",
            b"\0\0\0\x01\xff\xff\0\0\0\0",
            b"\0\0\0\x01\0\x01t\x7f\xff\xff\xff\0\0\0\0",
            b"\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\0",
            b"\0\0\0\x01\0\x01\xff\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(recalled(Memory::UserData, bytes), (vec![], -1), "{bytes:?}");
        }
        assert_eq!(recalled(Memory::Fields, b"\0\0\0").1, -1);
    }

    proptest! {
        #[test]
        fn what_is_told_is_recalled(
            owned in prop::collection::vec(("[a-z]{0,9}", prop::collection::vec(any::<i32>(), 0..9)), 0..9),
            generation in 0..i32::MAX,
            more in prop::collection::vec(any::<u8>(), 0..9),
        ) {
            let mut bytes = encode(Memory::UserData, &owned, generation).to_vec();
            bytes.extend(more);
            prop_assert_eq!(recalled(Memory::UserData, &bytes), (owned, generation));
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(prop_oneof![Just(0), 0..4u8, any::<u8>()], 0..60)) {
            for memory in [Memory::None, Memory::Fields, Memory::UserData] {
                recalled(memory, &bytes);
            }
        }
    }
}
