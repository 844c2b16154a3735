//! Names and positions: which stream, which part of it, which message.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// The name of a stream: a Redis key, a Kafka topic. Any bytes; clones are cheap.
///
/// ```
/// # use tidegate_core::StreamKey;
/// let orders = StreamKey::from("orders");
/// assert_eq!(orders.as_bytes(), b"orders");
/// assert_eq!(orders.to_string(), "orders");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey(Bytes);

impl StreamKey {
    /// The name as the broker has it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for StreamKey {
    fn from(name: &str) -> Self {
        Self(Bytes::copy_from_slice(name.as_bytes()))
    }
}

impl From<Bytes> for StreamKey {
    fn from(name: Bytes) -> Self {
        Self(name)
    }
}

/// Text as it is; what isn't UTF-8 shows as `\xNN`.
impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(&self.0) {
            Ok(text) => f.write_str(text),
            Err(_) => write!(f, "{}", self.0.escape_ascii()),
        }
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// A part of a stream that is ordered in itself: a Kafka partition, the `N` of a Redis key
/// `stream:N`. A stream without parts has the one shard [`ShardId::ZERO`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(u64);

impl ShardId {
    /// The shard of a stream that isn't sharded, and the first of one that is.
    pub const ZERO: Self = Self(0);

    /// Shard number `number`.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The position of one message in its shard; 128 bits, so that a whole Redis id fits.
///
/// On Redis `high` is the id's milliseconds and `low` its counter; on Kafka and stdio `high` is
/// 0 and `low` the offset. Ordered as the broker orders.
///
/// ```
/// # use tidegate_core::SeqNo;
/// assert!(SeqNo::redis(5, 9) < SeqNo::redis(6, 0));
/// assert_eq!(SeqNo::redis(5, 9).as_redis().to_string(), "5-9");
/// assert_eq!(SeqNo::offset(42).to_string(), "42");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqNo {
    high: u64,
    low: u64,
}

impl SeqNo {
    /// Before every message: Redis's `0-0`, Kafka's offset 0.
    pub const ZERO: Self = Self { high: 0, low: 0 };
    /// Not before any message.
    pub const MAX: Self = Self { high: u64::MAX, low: u64::MAX };

    /// The Redis id `millis-counter`.
    pub const fn redis(millis: u64, counter: u64) -> Self {
        Self { high: millis, low: counter }
    }

    /// The Kafka offset, or stdio line number, `offset`.
    pub const fn offset(offset: u64) -> Self {
        Self { high: 0, low: offset }
    }

    /// The upper half: a Redis id's milliseconds.
    pub const fn high(self) -> u64 {
        self.high
    }

    /// The lower half: a Redis id's counter, a Kafka offset.
    pub const fn low(self) -> u64 {
        self.low
    }

    /// The position right after this one; [`SeqNo::MAX`] stays.
    pub const fn next(self) -> Self {
        match (self.high, self.low) {
            (u64::MAX, u64::MAX) => Self::MAX,
            (high, u64::MAX) => Self { high: high + 1, low: 0 },
            (high, low) => Self { high, low: low + 1 },
        }
    }

    /// The position right before this one; [`SeqNo::ZERO`] stays.
    pub const fn previous(self) -> Self {
        match (self.high, self.low) {
            (0, 0) => Self::ZERO,
            (high, 0) => Self { high: high - 1, low: u64::MAX },
            (high, low) => Self { high, low: low - 1 },
        }
    }

    /// Prints as a Redis id, `high-low`, whatever the halves are.
    pub fn as_redis(self) -> impl fmt::Display {
        struct RedisId(SeqNo);
        impl fmt::Display for RedisId {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}-{}", self.0.high, self.0.low)
            }
        }
        RedisId(self)
    }
}

/// A plain number where the upper half is 0, else `high-low`.
impl fmt::Display for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.high {
            0 => self.low.fmt(f),
            high => write!(f, "{high}-{}", self.low),
        }
    }
}

/// The generation of an assignment or of a connection: what carries an old one is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The one after this.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Where to read from: a seek's or rewind's aim, or where a new group starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The oldest message that the broker still has.
    Beginning,
    /// After the newest one.
    End,
    /// This message and what comes after it.
    At(SeqNo),
}

/// Wall-clock time as brokers stamp it: since the Unix epoch, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// This many milliseconds after 1970-01-01T00:00:00Z; negative is before.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment, `by` later; saturates.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment, `by` earlier; saturates.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_carry_between_the_halves() {
        assert_eq!(SeqNo::redis(5, u64::MAX).next(), SeqNo::redis(6, 0));
        assert_eq!(SeqNo::redis(6, 0).previous(), SeqNo::redis(5, u64::MAX));
        assert_eq!(SeqNo::MAX.next(), SeqNo::MAX);
        assert_eq!(SeqNo::ZERO.previous(), SeqNo::ZERO);
    }

    #[test]
    fn names_print_without_breaking_a_line() {
        let odd = StreamKey::from(Bytes::from_static(b"a\n\xff"));
        assert_eq!(odd.to_string(), "a\\n\\xff");
        assert_eq!(format!("{odd:?}"), "\"a\\n\\xff\"");
    }
}
