//! Subscriptions by regular expression, which the broker resolves (KIP-848, version 1).
//!
//! Every member's patterns are resolved together, at most every ten seconds, and when a topic was
//! made; so a second new pattern may have to wait.

use std::collections::BTreeSet;
use std::time::Duration;

use regex_lite::Regex;
use tidegate_core::Instant;

use super::ConsumerGroup;
use crate::kafka::config::ConsumerGroups;
use crate::kafka::topics::Topics;

/// `REGEX_BATCH_REFRESH_MIN_INTERVAL_MS` in Apache Kafka.
const SOONEST: Duration = Duration::from_secs(10);

/// What a pattern matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) topics: BTreeSet<String>,
    /// How many topics had been made by then.
    made: u64,
    at: Instant,
}

/// The pattern, which has to match a whole name; `None` if it is none.
pub(super) fn compile(pattern: &str) -> Option<Regex> {
    // On its own first: what is closed too early must not close what stands around it.
    Regex::new(pattern).ok()?;
    Regex::new(&format!("^(?:{pattern})$")).ok()
}

impl ConsumerGroup {
    /// How many members have this pattern.
    pub(super) fn members_with(&self, pattern: &str) -> usize {
        if pattern.is_empty() {
            return 0;
        }
        self.members.values().filter(|member| member.pattern == pattern).count()
    }

    /// Resolves what has to be. `new`: a pattern came that was not there.
    pub(super) fn resolve_patterns(
        &mut self,
        now: Instant,
        new: bool,
        topics: &Topics,
        config: &ConsumerGroups,
    ) {
        let last = self.patterns.values().next();
        if last.is_some_and(|last| now <= last.at + SOONEST) {
            return;
        }
        let wanted: BTreeSet<String> = self.members.values().map(|member| member.pattern.clone()).collect();
        let wanted: BTreeSet<String> = wanted.into_iter().filter(|pattern| !pattern.is_empty()).collect();
        let old = last
            .is_none_or(|last| last.made < topics.made() || now > last.at + config.regex_refresh_interval);
        if wanted.is_empty() || !(new || old || wanted.len() != self.patterns.len()) {
            return;
        }
        let mut bump = false;
        for pattern in wanted {
            let matched = compile(&pattern).map(|regex| {
                let names = topics.names().filter(|name| regex.is_match(name));
                names.cloned().collect()
            });
            let resolved = Resolved { topics: matched.unwrap_or_default(), made: topics.made(), at: now };
            let known = self.patterns.get(&pattern).map(|known| &known.topics);
            bump |= known.map_or(!resolved.topics.is_empty(), |known| *known != resolved.topics);
            self.patterns.insert(pattern, resolved);
        }
        self.look(topics, bump);
    }
}
