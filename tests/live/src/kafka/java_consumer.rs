//! Apache Kafka's own consumer as a member of a group.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::admin::Admin;
use super::unique;

/// More records than any test reads: the answer has none.
const NOTHING_READ: usize = i32::MAX as usize;

/// A Java consumer that reads from the earliest offset on, and commits each batch that it has read;
/// closed when dropped.
#[derive(Debug)]
pub struct JavaConsumer {
    admin: Admin,
    name: String,
}

/// What a [`JavaConsumer`] is at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct JavaState {
    /// The partitions that it holds, as `topic-partition`.
    pub held: BTreeSet<String>,
    /// What it has read: topic, partition, offset, value.
    pub read: Vec<(String, i32, i64, String)>,
    /// What ended it against its will.
    pub failure: Option<String>,
    /// How often partitions were assigned to it, be it none.
    pub rebalances: u64,
}

impl JavaConsumer {
    #[track_caller]
    pub(super) fn start(admin: Admin, group: &str, topics: &[&str], configs: &[(&str, &str)]) -> Self {
        let name = unique("java");
        let mut all = vec![("group.id", group), ("client.id", &name)];
        all.extend(configs);
        admin.tell("consumer_start", json!({ "name": name, "topics": topics, "configs": all }));
        Self { admin, name }
    }

    /// What it is at, leaving out the first `skip` records. Panics if it has failed.
    #[track_caller]
    pub fn state_after(&self, skip: usize) -> JavaState {
        let state = self.ask(skip);
        assert_eq!(state.failure, None, "the Java consumer has failed");
        state
    }

    /// What ended it against its will.
    #[track_caller]
    pub fn failure(&self) -> Option<String> {
        self.ask(NOTHING_READ).failure
    }

    /// What it is at.
    #[track_caller]
    pub fn state(&self) -> JavaState {
        self.state_after(0)
    }

    /// The partitions that it holds, by number.
    #[track_caller]
    pub fn held(&self) -> BTreeSet<i32> {
        let numbers = self.state_after(NOTHING_READ).held.into_iter();
        numbers
            .map(|name| {
                name.rsplit_once('-').and_then(|(_, number)| number.parse().ok()).expect("topic-number")
            })
            .collect()
    }

    /// Leaves the group, and returns when it has.
    #[track_caller]
    pub fn close(self) {
        self.stop(false);
    }

    /// Is gone without leaving the group, as after a crash.
    #[track_caller]
    pub fn vanish(self) {
        self.stop(true);
    }

    #[track_caller]
    fn ask(&self, skip: usize) -> JavaState {
        self.admin.ask("consumer_state", json!({ "name": self.name, "skip": skip }))
    }

    fn stop(&self, stay: bool) {
        let _: Result<Value, String> =
            self.admin.try_ask("consumer_stop", json!({ "name": self.name, "stay": stay }));
    }
}

impl Drop for JavaConsumer {
    fn drop(&mut self) {
        // A second stop of the same name does nothing.
        self.stop(false);
    }
}
