//! Topic ids and other 128-bit ids.

use std::fmt;

/// 128 bits that name a topic (KIP-516), a log directory or a cluster.
///
/// ```
/// use tidegate_core::kafka::wire::Uuid;
/// assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(
    /// Big-endian, as on the wire.
    pub [u8; 16],
);

impl Uuid {
    /// "None": what a field of this type holds when it isn't used.
    pub const ZERO: Self = Self([0; 16]);
}

/// As Kafka writes ids: base64 with `-` and `_`, without padding, 22 characters.
impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits = u128::from_be_bytes(self.0);
        for digit in 0..22 {
            // Six bits a digit from the top; the last digit has only two, and zeros below them.
            let six = if digit < 21 { bits >> (122 - 6 * digit) } else { bits << 4 } & 63;
            // Proved: six is below 64.
            write!(f, "{}", char::from(DIGITS[six as usize]))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_as_kafka_does() {
        let bytes = std::array::from_fn(|at| at as u8);
        assert_eq!(Uuid(bytes).to_string(), "AAECAwQFBgcICQoLDA0ODw");
        assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
        assert_eq!(Uuid([0xfb; 16]).to_string(), "-_v7-_v7-_v7-_v7-_v7-w");
    }
}
