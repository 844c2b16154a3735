//! The only randomness of a machine: jitter and ids, from one seed.
//!
//! **Invariant:** same seed, same numbers, on every platform and in every version of this crate
//! that reads the same trace version.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood, 2014): one word of state, good enough for jitter and names,
/// not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that gives the same numbers for the same seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of a 128-bit product: no division, a bias of at most bound / 2^64.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Between half of `base` and all of it: what a retry waits, so that a crowd of clients
    /// doesn't come back in one wave.
    pub fn jitter(&mut self, base: Duration) -> Duration {
        let nanos = u64::try_from(base.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(nanos / 2 + self.below(nanos - nanos / 2 + 1).min(nanos - nanos / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_numbers() {
        // The first outputs of the published algorithm for seed 1234567.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn stays_within_its_bounds() {
        let mut random = Random::new(7);
        for bound in [0, 1, 2, 3, 1000, u64::MAX] {
            for _ in 0..100 {
                assert!(random.below(bound) < bound.max(1));
            }
        }
        for nanos in [0, 1, 2, 1_000_000] {
            let base = Duration::from_nanos(nanos);
            for _ in 0..100 {
                let wait = random.jitter(base);
                assert!(wait >= base / 2 && wait <= base, "{wait:?} of {base:?}");
            }
        }
    }
}
