//! What was asked, and how it was answered.

use std::collections::BTreeMap;
use std::fmt;

use tidegate_core::kafka::wire::ErrorCode;

use super::ask::Answer;

/// Counts of a whole run.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Dialogues, each with topics and groups of its own.
    pub dialogues: u64,
    /// Answers that were compared.
    pub answers: u64,
    /// Requests that had to wait for others.
    pub waited: u64,
    /// Answers by request and version.
    pub by_request: BTreeMap<(&'static str, i16), u64>,
    /// Error codes by request, each counted once an answer.
    pub by_error: BTreeMap<(&'static str, &'static str), u64>,
}

impl Tally {
    /// An answer was the same on both sides.
    pub fn answered(&mut self, title: (&'static str, i16), answer: &Answer) {
        self.answers += 1;
        *self.by_request.entry(title).or_default() += 1;
        for code in codes(answer) {
            *self.by_error.entry((title.0, ErrorCode(code).name())).or_default() += 1;
        }
    }

    /// Those of these errors that no answer had.
    pub fn missing(&self, expected: &[(&'static str, ErrorCode)]) -> Vec<String> {
        let missing =
            expected.iter().filter(|(name, code)| !self.by_error.contains_key(&(name, code.name())));
        missing.map(|(name, code)| format!("{name} {code}")).collect()
    }
}

/// The error codes of an answer, each once.
pub fn codes(answer: &Answer) -> Vec<i16> {
    // Whatever the answer's shape, codes are in fields of this name.
    let text = format!("{answer:?}");
    let after = text.split("error_code: ").skip(1);
    let number = |rest: &str| rest.split(|c: char| c != '-' && !c.is_ascii_digit()).next()?.parse().ok();
    let mut codes: Vec<i16> = after.filter_map(number).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} dialogues, {} answers, {} waited", self.dialogues, self.answers, self.waited)?;
        let mut names: Vec<&str> = self.by_request.keys().map(|(name, _)| *name).collect();
        names.dedup();
        for name in names {
            let versions = self.by_request.iter().filter(|((one, _), _)| *one == name);
            let versions: Vec<String> =
                versions.map(|((_, version), count)| format!("v{version} {count}")).collect();
            writeln!(f, "{name}: {}", versions.join(", "))?;
            let errors = self.by_error.iter().filter(|((one, _), _)| *one == name);
            let errors: Vec<String> = errors.map(|((_, code), count)| format!("{code} {count}")).collect();
            writeln!(f, "    {}", errors.join(", "))?;
        }
        Ok(())
    }
}
