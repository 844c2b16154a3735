//! Numbers of variable length: seven bits a byte from the lowest, the high bit says "more"
//! (Protocol Buffers' encoding, used by KIP-482 for lengths, tags and counts).

use bytes::{BufMut, BytesMut};

/// What is at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Number { number: u32, len: usize },
    Truncated,
    TooLong,
}

/// An unsigned number of one to five bytes. Needlessly long ones are taken, as Kafka does; bits
/// beyond the 32nd are not.
#[inline]
pub(super) fn unsigned(bytes: &[u8]) -> Read {
    let mut number = 0;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        if at == 4 && *byte > 0x0f {
            return Read::TooLong;
        }
        number |= u32::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            return Read::Number { number, len: at + 1 };
        }
    }
    Read::Truncated
}

/// Appends a number in as few bytes as it needs.
#[inline]
pub(super) fn put_unsigned(mut number: u32, to: &mut BytesMut) {
    while number >= 0x80 {
        to.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    to.put_u8(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(number: u32) -> BytesMut {
        let mut bytes = BytesMut::new();
        put_unsigned(number, &mut bytes);
        bytes
    }

    #[test]
    fn numbers_come_back_in_as_few_bytes_as_they_need() {
        let edges = (0..32).flat_map(|bit| [(1u32 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for number in edges.chain([300, u32::MAX]) {
            let bytes = written(number);
            let len = bytes.len();
            assert_eq!(unsigned(&bytes), Read::Number { number, len });
            assert_eq!(len, (38 - number.leading_zeros() as usize).max(7) / 7, "{number}");
            for cut in 0..len {
                assert_eq!(unsigned(&bytes[..cut]), Read::Truncated, "{number} cut to {cut}");
            }
        }
        assert_eq!(written(300)[..], [0xac, 0x02]);
        assert_eq!(written(u32::MAX)[..], [0xff, 0xff, 0xff, 0xff, 0x0f]);
    }

    #[test]
    fn more_bits_than_32_are_no_number() {
        assert_eq!(unsigned(&[0xff, 0xff, 0xff, 0xff, 0x10]), Read::TooLong);
        assert_eq!(unsigned(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Read::TooLong);
        assert_eq!(unsigned(&[0x80, 0x80, 0x80, 0x80, 0x00]), Read::Number { number: 0, len: 5 });
    }
}
