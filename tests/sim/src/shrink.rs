//! A smaller tape that fails in the same way.
//!
//! Choice 0 is the plain one and a tape that ends is followed by zeros, so smaller means simpler:
//! shorter first, then more zeros, then smaller numbers. Passes over ever smaller pieces are
//! repeated until none of them helps, or the budget of runs is used up. (The method is that of
//! Hypothesis: MacIver and Donaldson, *Test-Case Reduction via Test-Case Generation*, 2020.)

/// Shrinks `choices` as long as `fails` says that a run by them still fails, with at most
/// `budget` runs. What it gives fails.
pub fn shrink(choices: Vec<u64>, budget: usize, mut fails: impl FnMut(&[u64]) -> bool) -> Vec<u64> {
    let mut best = Shrinking { best: choices, left: budget };
    best.shorten(&mut fails);
    loop {
        let before = best.best.clone();
        let mut size = (best.best.len() / 2).max(1);
        loop {
            best.pieces(size, &mut fails, |tape, from, to| drop(tape.drain(from..to)));
            best.pieces(size, &mut fails, |tape, from, to| {
                tape.iter_mut().take(to).skip(from).for_each(|choice| *choice = 0);
            });
            if size == 1 {
                break;
            }
            size /= 2;
        }
        best.lower(&mut fails);
        best.shorten(&mut fails);
        if best.left == 0 || best.best == before {
            return best.best;
        }
    }
}

struct Shrinking {
    best: Vec<u64>,
    left: usize,
}

impl Shrinking {
    fn attempt(&mut self, tape: Vec<u64>, fails: &mut impl FnMut(&[u64]) -> bool) -> bool {
        if self.left == 0 || tape == self.best {
            return false;
        }
        self.left -= 1;
        let worked = fails(&tape);
        if worked {
            self.best = tape;
        }
        worked
    }

    /// The shortest beginning that fails, by halving.
    fn shorten(&mut self, fails: &mut impl FnMut(&[u64]) -> bool) {
        while self.best.last() == Some(&0) {
            // The same run.
            self.best.pop();
        }
        let (mut low, mut high) = (0, self.best.len());
        while low < high {
            let middle = (low + high) / 2;
            match self.attempt(self.best.iter().take(middle).copied().collect(), fails) {
                true => high = middle,
                false => low = middle + 1,
            }
        }
    }

    /// Changes each piece of this size in turn.
    fn pieces(
        &mut self,
        size: usize,
        fails: &mut impl FnMut(&[u64]) -> bool,
        change: impl Fn(&mut Vec<u64>, usize, usize),
    ) {
        let mut from = 0;
        while from < self.best.len() && self.left > 0 {
            let to = (from + size).min(self.best.len());
            let mut tape = self.best.clone();
            change(&mut tape, from, to);
            let shorter = tape.len() < self.best.len();
            if !(self.attempt(tape, fails) && shorter) {
                from = to;
            }
        }
    }

    /// Makes each number as small as it gets by halving.
    fn lower(&mut self, fails: &mut impl FnMut(&[u64]) -> bool) {
        for at in 0..self.best.len() {
            let Some(&number) = self.best.get(at) else { return };
            let mut low = 0;
            let mut high = number;
            while low < high && self.left > 0 {
                let middle = low + (high - low) / 2;
                let mut tape = self.best.clone();
                if let Some(choice) = tape.get_mut(at) {
                    *choice = middle;
                }
                match self.attempt(tape, fails) {
                    true => high = middle,
                    false => low = middle + 1,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_smallest_of_simple_failures() {
        let noise: Vec<u64> = (0..200).map(|at| at * 7_919 % 97).collect();
        let shrunk = shrink(noise.clone(), 10_000, |tape| tape.iter().any(|choice| *choice >= 50));
        assert_eq!(shrunk, [50]);
        let two = shrink(noise, 10_000, |tape| {
            tape.iter().position(|choice| *choice == 13).is_some_and(|at| tape[at..].contains(&90))
        });
        assert_eq!(two, [13, 90]);
    }

    #[test]
    fn keeps_to_its_budget() {
        let mut runs = 0;
        let kept = shrink((0..1_000).collect(), 37, |tape| {
            runs += 1;
            tape.iter().filter(|choice| **choice > 0).count() >= 900
        });
        assert!(runs <= 37 && kept.len() >= 900, "{runs} {}", kept.len());
    }
}
