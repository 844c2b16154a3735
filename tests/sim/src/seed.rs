//! Seeds and tapes as text: what a failed run prints, and what replays it.
//!
//! A seed means a run only together with the simulator that draws from it. So both carry the
//! version of that drawing, and another one is refused, not misread.

use std::fmt;
use std::str::FromStr;

use crate::tape::{Choice, Tape};

/// The version of what seeds and tapes mean. It changes with each change of what is drawn.
pub const VERSION: u32 = 1;

/// A seed, printed as `1:12345`: the version, and the number. A number alone is of this version.
///
/// ```
/// use tidegate_sim::Seed;
/// let seed: Seed = "12345".parse()?;
/// assert_eq!(seed.to_string(), "1:12345");
/// assert_eq!("1:12345".parse::<Seed>()?, seed);
/// let error = "9:12345".parse::<Seed>().unwrap_err();
/// assert_eq!(error.to_string(), "the seed 9:12345 is of version 9 of the simulator, and this is version 1: \
///     check out the commit that printed it");
/// # Ok::<_, tidegate_sim::SeedError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seed(pub u64);

/// Why a text is no seed, or no tape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// It isn't a number.
    #[error("{text:?} is no seed: it is a number, or {VERSION}:number as a failed run prints it")]
    NotANumber {
        /// What was given.
        text: String,
    },
    /// It was made by another version.
    #[error(
        "the {what} {text} is of version {version} of the simulator, and this is version {VERSION}: check out the commit that printed it"
    )]
    OtherVersion {
        /// `seed` or `tape`.
        what: &'static str,
        /// What was given, its beginning.
        text: String,
        /// Its version.
        version: u32,
    },
    /// It doesn't begin as a tape does.
    #[error("this is no tape: its first line is not `tidegate-tape {VERSION}`")]
    NotATape,
    /// It has something else than numbers.
    #[error("line {line} of the tape: {word:?} is no choice")]
    BadChoice {
        /// Counted from 1.
        line: usize,
        /// What stands there.
        word: String,
    },
    /// It was cut off.
    #[error(
        "the tape ends after {found} choices, before its last line says how many there are: it was cut off"
    )]
    Cut {
        /// How many there are.
        found: usize,
    },
    /// It says another number of choices than it has.
    #[error("the tape has {found} choices, and says that it has {said}: it was cut off, or edited")]
    WrongCount {
        /// How many there are.
        found: usize,
        /// How many it says.
        said: usize,
    },
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}:{}", self.0)
    }
}

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Self, SeedError> {
        let wrong = || SeedError::NotANumber { text: text.into() };
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u64>().ok().filter(|_| plain).ok_or_else(wrong)
        };
        let (version, seed) = match text.split_once(':') {
            Some((version, seed)) => (number(version)?, number(seed)?),
            None => (VERSION.into(), number(text)?),
        };
        match u32::try_from(version) {
            Ok(VERSION) => Ok(Self(seed)),
            version => Err(SeedError::OtherVersion {
                what: "seed",
                text: text.into(),
                version: version.unwrap_or(u32::MAX),
            }),
        }
    }
}

/// A tape as text: its choices, ten a line, and how many there are.
///
/// ```
/// # use tidegate_sim::{Tape, print_tape, parse_tape};
/// let mut tape = Tape::from_seed(7).recording();
/// let chosen: Vec<u64> = (0..30).map(|_| tape.below(100)).collect();
/// assert_eq!(parse_tape(&print_tape(tape.recorded()))?, chosen);
/// # Ok::<_, tidegate_sim::SeedError>(())
/// ```
pub fn print_tape(choices: &[Choice]) -> String {
    let mut text = format!("tidegate-tape {VERSION}\n");
    for line in choices.chunks(10) {
        let words: Vec<String> = line.iter().map(|choice| choice.taken.to_string()).collect();
        text.push_str(&words.join(" "));
        text.push('\n');
    }
    text.push_str(&format!("end {}\n", choices.len()));
    text
}

/// Reads what [`print_tape`] wrote.
///
/// # Errors
/// In one line what is wrong with it.
pub fn parse_tape(text: &str) -> Result<Vec<u64>, SeedError> {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let version = first.strip_prefix("tidegate-tape ").and_then(|version| version.trim().parse().ok());
    match version {
        Some(VERSION) => {}
        Some(version) => {
            return Err(SeedError::OtherVersion { what: "tape", text: first.into(), version });
        }
        None => return Err(SeedError::NotATape),
    }
    let mut choices = Vec::new();
    for (number, line) in lines.enumerate() {
        if let Some(said) = line.strip_prefix("end ") {
            let said = said.trim().parse().unwrap_or(usize::MAX);
            return match said == choices.len() {
                true => Ok(choices),
                false => Err(SeedError::WrongCount { found: choices.len(), said }),
            };
        }
        for word in line.split_whitespace() {
            let choice = word.parse();
            choices.push(choice.map_err(|_| SeedError::BadChoice { line: number + 2, word: word.into() })?);
        }
    }
    Err(SeedError::Cut { found: choices.len() })
}

/// The tape of a seed.
impl From<Seed> for Tape {
    fn from(seed: Seed) -> Self {
        Self::from_seed(seed.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_seed_is_refused_in_one_line() {
        for text in ["", "x", "-1", "+1", "1:", ":1", "1:2:3", "99999999999999999999", "0x10"] {
            let error = text.parse::<Seed>().unwrap_err();
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        assert!(matches!("0:5".parse::<Seed>(), Err(SeedError::OtherVersion { version: 0, .. })));
        assert_eq!(format!("{VERSION}:{}", u64::MAX).parse(), Ok(Seed(u64::MAX)));
    }

    #[test]
    fn a_tape_that_was_cut_or_changed_is_refused() {
        let mut tape = Tape::from_seed(1).recording();
        (0..25).for_each(|_| assert!(tape.below(9) < 9));
        let text = print_tape(tape.recorded());
        for cut in 0..text.len() {
            let said = parse_tape(&text[..cut]);
            // Only the last line's end may be missing.
            assert!(said.is_err() || cut + 1 == text.len(), "{cut}: {said:?}");
        }
        assert_eq!(
            parse_tape("tidegate-tape 9\nend 0"),
            Err(SeedError::OtherVersion { what: "tape", text: "tidegate-tape 9".into(), version: 9 })
        );
        assert_eq!(parse_tape("tidegate-trace 1"), Err(SeedError::NotATape));
        let changed = text.replacen("end 25", "end 24", 1);
        assert_eq!(parse_tape(&changed), Err(SeedError::WrongCount { found: 25, said: 24 }));
        let word = SeedError::BadChoice { line: 2, word: "x".into() };
        assert_eq!(parse_tape("tidegate-tape 1\n1 x\nend 2"), Err(word));
    }
}
