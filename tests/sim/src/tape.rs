//! The decision tape: every choice of a run, in order.
//!
//! A run is a pure function of its tape. Where the choices come from is the tape's matter alone:
//! a seed, the bytes of a fuzzer, a recording that is being shrunk, or, one after the other, all
//! tapes that there are.
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
    record: Option<Vec<Choice>>,
}

/// One choice of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Which alternative, counted from 0.
    pub taken: u64,
    /// How many alternatives there were; at least 2.
    pub of: u64,
}

#[derive(Clone, Debug)]
enum Source {
    Seed(Random),
    Bytes {
        bytes: Vec<u8>,
        at: usize,
    },
    Choices {
        choices: Vec<u64>,
        at: usize,
    },
    /// As `Choices`, with few alternatives to each choice, so that all can be tried.
    Tiny {
        choices: Vec<u64>,
        at: usize,
    },
}

impl Tape {
    /// Choices drawn from a seed: the same for the same seed, everywhere.
    pub fn from_seed(seed: u64) -> Self {
        Self::of(Source::Seed(Random::new(seed)))
    }

    /// Choices read from bytes, as a fuzzer makes them; 0 where they end.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self::of(Source::Bytes { bytes: bytes.to_vec(), at: 0 })
    }

    /// Choices as they were recorded; 0 where they end.
    pub fn from_choices(choices: Vec<u64>) -> Self {
        Self::of(Source::Choices { choices, at: 0 })
    }

    /// Choices for [`explore`](crate::explore): as [`Tape::from_choices`], but a range of numbers
    /// has three alternatives at most: its ends and its middle.
    pub fn tiny(choices: Vec<u64>) -> Self {
        Self::of(Source::Tiny { choices, at: 0 })
    }

    fn of(source: Source) -> Self {
        Self { source, taken: 0, record: None }
    }

    /// Records what is chosen from now on; see [`Tape::recorded`].
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.record = Some(Vec::new());
        self
    }

    /// What was chosen since [`Tape::recording`].
    pub fn recorded(&self) -> &[Choice] {
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
            Source::Choices { choices, at } | Source::Tiny { choices, at } => *at >= choices.len(),
        }
    }

    /// A number below `bound`; 0 if `bound` is 0 or 1, and then nothing is taken from the tape.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        let taken = match &mut self.source {
            Source::Seed(random) => random.below(bound),
            Source::Bytes { bytes, at } => {
                let mut number: u64 = 0;
                let mut left = bound - 1;
                while left > 0 {
                    number = number << 8 | u64::from(bytes.get(*at).copied().unwrap_or(0));
                    *at += 1;
                    left >>= 8;
                }
                number % bound
            }
            Source::Choices { choices, at } | Source::Tiny { choices, at } => {
                let number = choices.get(*at).copied().unwrap_or(0);
                *at += 1;
                number.min(bound - 1)
            }
        };
        self.note(taken, bound)
    }

    fn note(&mut self, taken: u64, of: u64) -> u64 {
        self.taken += 1;
        if let Some(record) = &mut self.record {
            record.push(Choice { taken, of });
        }
        taken
    }

    /// True `parts` times in 10,000; one of two alternatives, of which false is the plain one.
    pub fn chance(&mut self, parts: u32) -> bool {
        match &mut self.source {
            _ if parts == 0 => false,
            Source::Seed(random) => {
                let hit = random.below(10_000) < u64::from(parts);
                self.note(hit.into(), 2) == 1
            }
            Source::Bytes { .. } => {
                // The high numbers are the hits, so that 0 is none.
                let of = if parts < 100 { 10_000 } else { 250 };
                let record = self.record.take();
                let hit = self.below(of) >= of - (of * u64::from(parts.min(10_000)) / 10_000).max(1);
                self.record = record;
                self.taken -= 1;
                self.note(hit.into(), 2) == 1
            }
            Source::Choices { .. } | Source::Tiny { .. } => self.below(2) == 1,
        }
    }

    /// A number from `low` to `high`, both included; `low` is the plain choice.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        let span = high.saturating_sub(low);
        if let Source::Tiny { .. } = self.source {
            return match self.below(span.saturating_add(1).min(3)) {
                0 => low,
                1 => high,
                _ => low + span / 2,
            };
        }
        low + self.below(span.saturating_add(1))
    }

    /// One of these; the first is the plain choice. `None` of none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len() as u64) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(tape: &mut Tape) -> Vec<u64> {
        let mut all = vec![tape.below(1), tape.below(7), tape.within(5, 9), tape.chance(5_000).into()];
        all.push(*tape.pick(&[10, 20, 30]).unwrap());
        all.push(tape.within(0, u64::MAX));
        all.push(tape.chance(0).into());
        all
    }

    #[test]
    fn a_recording_replays_whatever_it_was_made_from() {
        let bytes: Vec<u8> = (0..40u8).map(|at| at.wrapping_mul(7)).collect();
        for source in [Tape::from_seed(3), Tape::from_bytes(&bytes), Tape::from_choices(vec![6, 4, 1, 2, 99])]
        {
            let mut first = source.recording();
            let chosen = some(&mut first);
            let choices = first.recorded().iter().map(|choice| choice.taken).collect();
            assert_eq!(some(&mut Tape::from_choices(choices)), chosen);
            assert_eq!(first.taken(), first.recorded().len() as u64);
        }
    }

    #[test]
    fn the_end_of_a_tape_is_the_plain_choice() {
        for mut tape in [Tape::from_bytes(&[]), Tape::from_choices(Vec::new()), Tape::tiny(Vec::new())] {
            assert!(tape.is_over());
            assert_eq!(some(&mut tape), [0, 0, 5, 0, 10, 0, 0]);
        }
    }

    #[test]
    fn chances_are_about_what_they_say() {
        let mut tape = Tape::from_seed(1);
        let hits = (0..10_000).filter(|_| tape.chance(1_000)).count();
        assert!((900..1_100).contains(&hits), "{hits}");
        assert_eq!((0..100).filter(|_| tape.chance(10_000)).count(), 100);
    }
}
