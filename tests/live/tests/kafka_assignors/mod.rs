//! The oracle, and worlds to ask it about.

mod oracle;
mod world;

pub use oracle::Oracle;
pub use world::World;

use std::collections::BTreeMap;

/// What each member is to read: topics and partitions, by topic.
pub type Shares = BTreeMap<String, Vec<(String, Vec<i32>)>>;

/// Runs of partitions with the topic's name owned, in the order of the names' bytes.
pub fn named<'a>(runs: impl Iterator<Item = (&'a str, &'a [i32])>) -> Vec<(String, Vec<i32>)> {
    let mut runs: Vec<_> = runs.map(|(topic, run)| (topic.to_owned(), run.to_vec())).collect();
    runs.sort();
    runs
}
