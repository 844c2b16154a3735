//! The decision tape: every choice of a run, in order.
//!
//! A run is a pure function of its tape. Where the choices come from is the tape's matter alone:
//! a seed, the bytes of a fuzzer, a recording that is being shrunk, or the next of all tapes
//! that there are.
//!
//! **Invariant:** choice 0 is the plainest one (no fault, the shortest wait, the first in line).
//! So a tape that ends means "and then nothing special", and a smaller tape is a simpler run.

use tidegate_core::random::Random;

/// Where a run takes its choices from.
#[derive(Clone, Debug)]
pub struct Tape {
    source: Source,
    taken: u64,
    /// What was chosen, where it is to be known.
    record: Option<Vec<u64>>,
}

#[derive(Clone, Debug)]
enum Source {
    Seed(Random),
    Bytes { bytes: Vec<u8>, at: usize },
    Choices { choices: Vec<u64>, at: usize },
}

impl Tape {
    /// Choices drawn from a seed: the same for the same seed, everywhere.
    pub fn from_seed(seed: u64) -> Self {
        Self { source: Source::Seed(Random::new(seed)), taken: 0, record: None }
    }

    /// Choices read from bytes, as a fuzzer makes them; 0 where they end.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self { source: Source::Bytes { bytes: bytes.to_vec(), at: 0 }, taken: 0, record: None }
    }

    /// Choices as they were recorded; 0 where they end.
    pub fn from_choices(choices: Vec<u64>) -> Self {
        Self { source: Source::Choices { choices, at: 0 }, taken: 0, record: None }
    }

    /// Records what is chosen from now on; see [`Tape::recorded`].
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.record = Some(Vec::new());
        self
    }

    /// What was chosen since [`Tape::recording`].
    pub fn recorded(&self) -> &[u64] {
        self.record.as_deref().unwrap_or_default()
    }

    /// How many choices were made.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether it has come to its end, so that all further choices are 0. Never for a seed.
    pub fn is_over(&self) -> bool {
        match &self.source {
            Source::Seed(_) => false,
            Source::Bytes { bytes, at } => *at >= bytes.len(),
            Source::Choices { choices, at } => *at >= choices.len(),
        }
    }

    /// A number below `bound`; 0 if `bound` is 0 or 1, and then nothing is taken from the tape.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        self.taken += 1;
        let choice = match &mut self.source {
            Source::Seed(random) => random.below(bound),
            Source::Bytes { bytes, at } => {
                let mut number = 0;
                let mut left = bound - 1;
                while left > 0 {
                    number = number << 8 | u64::from(bytes.get(*at).copied().unwrap_or(0));
                    *at += 1;
                    left >>= 8;
                }
                number % bound
            }
            Source::Choices { choices, at } => {
                let number = choices.get(*at).copied().unwrap_or(0);
                *at += 1;
                number.min(bound - 1)
            }
        };
        if let Some(record) = &mut self.record {
            record.push(choice);
        }
        choice
    }

    /// True `parts` times in 10,000. False is the plain choice.
    pub fn chance(&mut self, parts: u32) -> bool {
        // The highest numbers are the hits, so that 0 is none.
        parts > 0 && self.below(10_000) >= 10_000 - u64::from(parts.min(10_000))
    }

    /// A number from `low` to `high`, both included; `low` is the plain choice.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// One of these; the first is the plain choice. `None` of none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u64) as usize)
    }
}
