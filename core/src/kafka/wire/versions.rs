//! Ranges of versions, in the notation of Kafka's message definitions.

use std::fmt;

/// A range of versions: `3+`, `0-12`, `5`, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Versions {
    /// The first version.
    pub first: i16,
    /// The last version; [`i16::MAX`] when it is open, and below `first` when there is none.
    pub last: i16,
}

impl Versions {
    /// No version.
    pub const NONE: Self = Self { first: i16::MAX, last: -1 };

    /// Whether a version is among them.
    #[inline]
    pub const fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }

    /// What a notation says. Panics on anything else, which is an error of the compiler, as all
    /// callers are constants.
    pub(super) const fn of(notation: &str) -> Self {
        let text = notation.as_bytes();
        if text.len() == 4 && text[0] == b'n' {
            return Self::NONE;
        }
        let (first, at) = number(text, 0);
        match text.len() - at {
            0 => Self { first, last: first },
            1 if text[at] == b'+' => Self { first, last: i16::MAX },
            _ => {
                assert!(text[at] == b'-', "versions are written 3+, 0-12, 5 or none");
                let (last, end) = number(text, at + 1);
                assert!(end == text.len() && first <= last, "versions are written 3+, 0-12, 5 or none");
                Self { first, last }
            }
        }
    }
}

/// The digits at `at`, and where they end.
const fn number(text: &[u8], mut at: usize) -> (i16, usize) {
    let start = at;
    let mut number = 0;
    while at < text.len() && text[at].is_ascii_digit() {
        number = number * 10 + (text[at] - b'0') as i16;
        at += 1;
    }
    assert!(at > start, "versions are written 3+, 0-12, 5 or none");
    (number, at)
}

/// The notation again.
impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { first, last } if first > last => f.write_str("none"),
            Self { first, last: i16::MAX } => write!(f, "{first}+"),
            Self { first, last } if first == last => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notations_are_read_and_written() {
        for notation in ["0+", "3+", "0-12", "10-11", "5", "none"] {
            assert_eq!(Versions::of(notation).to_string(), notation);
        }
        assert!(Versions::of("3+").contains(3) && Versions::of("3+").contains(i16::MAX));
        assert!(!Versions::of("3+").contains(2) && !Versions::of("0-12").contains(13));
        assert!(!Versions::NONE.contains(0) && !Versions::NONE.contains(i16::MAX));
    }
}
