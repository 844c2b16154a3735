//! All tapes that there are, for worlds so tiny that there are few.

use crate::tape::{Choice, Tape};

/// How an exploration went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explored<T> {
    /// Runs that were made.
    pub runs: u64,
    /// Whether all tapes were tried.
    pub complete: bool,
    /// What the run found that ended it, and its choices.
    pub found: Option<(T, Vec<u64>)>,
}

/// Runs with each tape in turn: the plain choices first, then all others, as an odometer counts.
/// Ends with the first run that finds something, or after `most` runs. A range of numbers has
/// three alternatives here at most; see [`Tape::tiny`].
///
/// ```
/// use tidegate_sim::explore;
/// let all = explore(100, |tape| {
///     let (a, b) = (tape.below(3), tape.below(2));
///     (a == 2 && b == 1).then_some((a, b))
/// });
/// assert_eq!((all.runs, all.found), (6, Some(((2, 1), vec![2, 1]))));
/// ```
pub fn explore<T>(most: u64, mut run: impl FnMut(&mut Tape) -> Option<T>) -> Explored<T> {
    let mut choices: Vec<u64> = Vec::new();
    for runs in 1..=most {
        let mut tape = Tape::tiny(choices).recording();
        let found = run(&mut tape);
        let mut taken = tape.recorded().to_vec();
        if let Some(found) = found {
            let choices = taken.iter().map(|choice| choice.taken).collect();
            return Explored { runs, complete: false, found: Some((found, choices)) };
        }
        while taken.last().is_some_and(|last| last.taken + 1 >= last.of) {
            taken.pop();
        }
        let Some(Choice { taken: last, .. }) = taken.last_mut() else {
            return Explored { runs, complete: true, found: None };
        };
        *last += 1;
        choices = taken.iter().map(|choice| choice.taken).collect();
    }
    Explored { runs: most, complete: false, found: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tape_once() {
        let mut seen = Vec::new();
        let all = explore(1_000, |tape| {
            let first = tape.below(2);
            // How many choices there are may depend on those before.
            let rest: Vec<u64> = (0..first + 1).map(|_| tape.within(10, 99)).collect();
            seen.push((first, rest));
            None::<()>
        });
        assert_eq!((all.runs, all.complete), (3 + 9, true));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 12);
        assert!(!explore(5, |tape| (tape.below(6) > 9).then_some(())).complete);
    }
}
