//! What a simulation found, for people.

use std::fmt;

use crate::history::History;
use crate::oracle::Violation;
use crate::seed::Seed;
use crate::swarm::Swarm;

/// A seed with which a handler, or tidegate itself, does what it must not.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The seed. `TIDEGATE_SEED` in the environment replays it.
    pub seed: Seed,
    /// What was wrong with it. Its rule is `check` for the words of the end check, `handler` for
    /// a handler that panicked or never waits, and else the promise of tidegate that was broken.
    pub violation: Violation,
    /// What kind of world it was.
    pub swarm: Swarm,
    /// How many choices that run took.
    pub choices: usize,
    /// A smaller run that fails in the same way: its tape.
    pub shrunk: Vec<u64>,
    /// What was wrong with that one.
    pub shrunk_violation: Violation,
    /// What happened in it, line by line.
    pub trace: String,
    /// The same, for [`timeline`](crate::timeline).
    pub history: History,
}

/// Lines of the trace that a finding prints.
const LINES: usize = 30;

impl Finding {
    /// The last `lines` lines of the trace.
    pub fn last_lines(&self, lines: usize) -> impl Iterator<Item = &str> {
        let all: Vec<&str> = self.trace.lines().collect();
        let from = all.len().saturating_sub(lines);
        all.into_iter().skip(from)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.violation)?;
        writeln!(f, "  in a world of {}", self.swarm)?;
        writeln!(
            f,
            "shrunk from {} choices to {}: {}",
            self.choices,
            self.shrunk.len(),
            self.shrunk_violation
        )?;
        let lines = self.trace.lines().count();
        if lines > LINES {
            writeln!(f, "  … {} lines before these", lines - LINES)?;
        }
        self.last_lines(LINES).try_for_each(|line| writeln!(f, "  {line}"))?;
        write!(f, "replay it, with its whole trace: TIDEGATE_SEED={} cargo test …", self.seed)
    }
}

impl std::error::Error for Finding {}
