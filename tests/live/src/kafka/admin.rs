//! What an administrator sees and does, through Apache Kafka's own client.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::helper;
use super::java_consumer::JavaConsumer;
use super::produce::{Numbers, Produce, StoredRecord};
use super::unique;

/// One cluster's topics, groups and offsets. Its methods panic with the broker's words where the
/// broker refuses.
#[derive(Debug, Clone)]
pub struct Admin {
    bootstrap: String,
}

/// One partition of a topic, as the brokers describe it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Partition {
    /// The leader's number; -1 where there is none.
    pub leader: i32,
    /// All brokers that should have it; the first is the preferred leader.
    pub replicas: Vec<i32>,
    /// Those that have all of it.
    pub in_sync: Vec<i32>,
}

/// What a group has committed for one partition.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Committed {
    /// The next offset to read.
    pub offset: i64,
    /// -1 where none was given.
    pub leader_epoch: i32,
    /// Whatever text was committed with it.
    pub metadata: String,
}

/// A commit that was made at some time, as the coordinator's log has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Commit {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// When the coordinator wrote it, in milliseconds since 1970.
    pub at: i64,
}

/// A group, as its coordinator describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Group {
    /// Such as `Stable`, `Empty`, `PreparingRebalance`, `Dead`.
    pub state: String,
    /// `Classic` or `Consumer`.
    pub kind: String,
    /// The assignor's name.
    pub assignor: String,
    /// The number of the broker that coordinates it.
    pub coordinator: i32,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// One member of a [`Group`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GroupMember {
    /// What the broker calls it.
    pub id: String,
    /// What it calls itself.
    pub client_id: String,
    /// Its static name, or nothing.
    pub instance: String,
    /// Its epoch (KIP-848), or -1.
    pub epoch: i32,
    /// The partitions that it holds.
    pub partitions: Vec<(String, i32)>,
}

impl Admin {
    /// The cluster behind this list of addresses.
    pub fn of(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.into() }
    }

    /// `127.0.0.1:port,127.0.0.1:port…`
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// `kafka://127.0.0.1:port,…/path`
    pub fn url(&self, path: &str) -> String {
        format!("kafka://{}/{path}", self.bootstrap)
    }

    /// A new topic of a name that nobody else has, on one broker.
    #[track_caller]
    pub fn topic(&self, partitions: usize) -> String {
        let name = unique("topic");
        self.create_topic(&name, partitions, 1, &[]);
        name
    }

    /// A new topic with these settings (`cleanup.policy` and the like). It is there when this returns.
    #[track_caller]
    pub fn create_topic(&self, topic: &str, partitions: usize, replicas: usize, configs: &[(&str, &str)]) {
        let fields = json!({
            "topic": topic, "partitions": partitions, "replication": replicas, "configs": configs,
        });
        self.tell("create_topic", fields);
    }

    /// Deletes a topic.
    #[track_caller]
    pub fn delete_topic(&self, topic: &str) {
        self.tell("delete_topic", json!({ "topic": topic }));
    }

    /// More partitions, up to this many.
    #[track_caller]
    pub fn add_partitions(&self, topic: &str, total: usize) {
        self.tell("add_partitions", json!({ "topic": topic, "total": total }));
    }

    /// Changes settings of a topic.
    #[track_caller]
    pub fn alter_topic(&self, topic: &str, configs: &[(&str, &str)]) {
        self.tell("alter_topic", json!({ "topic": topic, "configs": configs }));
    }

    /// Deletes the records before this offset: the log starts there.
    #[track_caller]
    pub fn delete_records(&self, topic: &str, partition: usize, before: i64) {
        self.tell("delete_records", json!({ "topic": topic, "partition": partition, "before": before }));
    }

    /// Where the log of each partition starts.
    #[track_caller]
    pub fn starts(&self, topic: &str) -> Vec<i64> {
        self.ask("offsets", json!({ "topic": topic, "which": "start" }))
    }

    /// Where the log of each partition ends: the next offset.
    #[track_caller]
    pub fn ends(&self, topic: &str) -> Vec<i64> {
        self.ask("offsets", json!({ "topic": topic, "which": "end" }))
    }

    /// The partitions of a topic.
    #[track_caller]
    pub fn partitions(&self, topic: &str) -> Vec<Partition> {
        self.ask("partitions", json!({ "topic": topic }))
    }

    /// Whether there is such a topic.
    pub fn has_topic(&self, topic: &str) -> bool {
        self.try_ask("partitions", json!({ "topic": topic })).is_ok()
    }

    /// Makes a broker the leader of a partition.
    #[track_caller]
    pub fn move_leader(&self, topic: &str, partition: usize, to: usize) {
        self.tell("move_leader", json!({ "topic": topic, "partition": partition, "to": to }));
    }

    /// Lets a user of a guarded cluster do something (`Read`, `Describe`) with a `Topic` or a `Group`.
    #[track_caller]
    pub fn allow(&self, user: &str, operation: &str, kind: &str, name: &str) {
        self.tell("allow", json!({ "user": user, "operation": operation, "kind": kind, "name": name }));
    }

    /// Sets a quota of all clients, such as `consumer_byte_rate` in bytes a second.
    #[track_caller]
    pub fn throttle(&self, quota: &str, to: u64) {
        self.tell("throttle", json!({ "quota": quota, "to": to }));
    }

    /// A group; `None` where the broker knows none of that name.
    pub fn group(&self, group: &str) -> Option<Group> {
        let answer = self.try_ask("group", json!({ "group": group })).ok()?;
        serde_json::from_value(answer).ok()
    }

    /// What a group has committed, by topic and partition.
    #[track_caller]
    pub fn committed(&self, group: &str) -> BTreeMap<(String, i32), Committed> {
        #[derive(Deserialize)]
        struct Row {
            topic: String,
            partition: i32,
            #[serde(flatten)]
            committed: Committed,
        }
        let rows: Vec<Row> = self.ask("committed", json!({ "group": group }));
        rows.into_iter().map(|row| ((row.topic, row.partition), row.committed)).collect()
    }

    /// The committed offsets of one topic, by partition; -1 where there is none.
    #[track_caller]
    pub fn committed_offsets(&self, group: &str, topic: &str, partitions: usize) -> Vec<i64> {
        let committed = self.committed(group);
        (0..partitions as i32)
            .map(|partition| committed.get(&(topic.to_owned(), partition)).map_or(-1, |at| at.offset))
            .collect()
    }

    /// All commits that a group has ever made, in their order, from the coordinator's log.
    #[track_caller]
    pub fn commits(&self, group: &str) -> Vec<Commit> {
        self.ask("commits", json!({ "group": group }))
    }

    /// Waits until the group is stable, each of the topic's partitions is held once, and its members
    /// hold this many each, sorted.
    #[track_caller]
    pub fn wait_until_shared(&self, group: &str, topic: &str, sizes: &[usize], within: Duration) {
        let all: Vec<(String, i32)> =
            (0..sizes.iter().sum::<usize>() as i32).map(|partition| (topic.to_owned(), partition)).collect();
        let mut last = None;
        let began = Instant::now();
        while began.elapsed() < within {
            last = self.group(group);
            if let Some(books) = last.as_ref().filter(|books| books.state == "Stable") {
                let mut held: Vec<_> = books.members.iter().map(|member| member.partitions.len()).collect();
                let mut partitions: Vec<_> =
                    books.members.iter().flat_map(|member| member.partitions.clone()).collect();
                held.sort_unstable();
                partitions.sort();
                if held == sizes && partitions == all {
                    return;
                }
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        panic!("not shared as {sizes:?} within {within:?}, but {last:#?}");
    }

    /// Commits for a group that has no members.
    #[track_caller]
    pub fn commit(&self, group: &str, topic: &str, partition: usize, offset: i64) {
        let fields = json!({ "group": group, "topic": topic, "partition": partition, "offset": offset });
        self.tell("commit", fields);
    }

    /// Deletes a group that has no members.
    #[track_caller]
    pub fn delete_group(&self, group: &str) {
        self.tell("delete_group", json!({ "group": group }));
    }

    /// Records for a topic, by the Java producer.
    pub fn produce(&self, topic: &str) -> Produce {
        Produce::new(self.clone(), topic)
    }

    /// Values for partition 0, one record each, by the Java producer.
    #[track_caller]
    pub fn add(&self, topic: &str, values: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<i64> {
        self.produce(topic).values(0, values).send()
    }

    /// Many records, numbered and spread over the partitions.
    pub fn numbers(&self, topic: &str, partitions: usize) -> Numbers {
        Numbers::new(self.clone(), topic, partitions)
    }

    /// All records of a topic that a reader of this isolation (`read_committed`, `read_uncommitted`)
    /// finds now, by partition and offset, as the Java consumer reads them.
    #[track_caller]
    pub fn read(&self, topic: &str, isolation: &str) -> Vec<StoredRecord> {
        self.ask("read", json!({ "topic": topic, "configs": [["isolation.level", isolation]] }))
    }

    /// A Java consumer as a member of a group, with these settings.
    #[track_caller]
    pub fn java_consumer(&self, group: &str, topics: &[&str], configs: &[(&str, &str)]) -> JavaConsumer {
        JavaConsumer::start(self.clone(), group, topics, configs)
    }

    pub(super) fn try_ask(&self, op: &str, mut fields: Value) -> Result<Value, String> {
        fields["bootstrap"] = json!(self.bootstrap);
        helper::ask(op, fields)
    }

    #[track_caller]
    pub(super) fn ask<T: DeserializeOwned>(&self, op: &str, fields: Value) -> T {
        let answer = self.try_ask(op, fields).unwrap_or_else(|error| panic!("{error}"));
        serde_json::from_value(answer).unwrap_or_else(|error| panic!("the answer to {op}: {error}"))
    }

    #[track_caller]
    pub(super) fn tell(&self, op: &str, fields: Value) {
        self.ask::<Value>(op, fields);
    }
}
