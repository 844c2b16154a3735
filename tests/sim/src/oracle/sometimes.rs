//! What was seen, and how often: what never happened was not tested.

use std::collections::BTreeMap;
use std::fmt;

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sometimes {
    counts: BTreeMap<&'static str, u64>,
    /// By request and by error.
    refused: BTreeMap<(&'static str, &'static str), u64>,
}

impl Sometimes {
    /// It happened.
    pub fn saw(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// A request was answered with an error.
    pub fn saw_refused(&mut self, request: &'static str, error: &'static str) {
        *self.refused.entry((request, error)).or_default() += 1;
    }

    /// How often this request was answered with this error.
    pub fn refused(&self, request: &str, error: &str) -> u64 {
        let of = self.refused.iter().find(|((one, other), _)| *one == request && *other == error);
        of.map_or(0, |(_, count)| *count)
    }

    /// Another run's counts.
    pub fn add(&mut self, other: &Self) {
        other.counts.iter().for_each(|(what, count)| *self.counts.entry(what).or_default() += count);
        other.refused.iter().for_each(|(what, count)| *self.refused.entry(*what).or_default() += count);
    }

    /// How often it happened.
    pub fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// All counts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(what, count)| (*what, *count))
    }
}

/// A table, one line each.
impl fmt::Display for Sometimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts.iter().try_for_each(|(what, count)| writeln!(f, "{count:>12}  {what}"))?;
        self.refused
            .iter()
            .try_for_each(|((request, error), count)| writeln!(f, "{count:>12}  {request}: {error}"))
    }
}
