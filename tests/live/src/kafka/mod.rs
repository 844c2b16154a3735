//! Apache Kafka for the tests: brokers of one's own, and Apache Kafka's own clients beside them.
//!
//! # Theory of operation
//!
//! A [`Cluster`] is one or three KRaft brokers, each a Java process with a directory and ports of its
//! own, killed, stopped and restarted by number. Most tests need no broker for themselves: [`shared`]
//! is one that all of them use, each with topics and groups of names that nobody else has
//! ([`unique`]).
//!
//! What only Apache Kafka's clients can do (transactions, groups' books, a Java member of a group) one
//! Java process does for the whole test executable: requests are lines of JSON, and [`Admin`] is its
//! face for one cluster. [`JavaConsumer`], [`Kcat`] and [`Franz`] are other people's members for groups
//! that ours must share.
//!
//! The jars come from `KAFKA_JARS` and `KAFKA_JARS_OLD`, which tests/run sets, or lie in the target
//! directory, where tests/run has put them. Those two Java programs are compiled there once, and so is
//! the Go program that is franz-go's consumer.
//!
//! **Invariant:** a Java process ends with the test executable, even if that is killed: it waits for
//! the end of its standard input.
//!
//! **Invariant:** a broker is ready when it has answered, never after a time.

mod admin;
mod broker;
mod cluster;
mod crew;
mod feed;
mod franz;
mod helper;
mod java_consumer;
mod kcat;
mod paths;
mod produce;
mod protocol;
mod repeats;
mod settings;

pub use admin::{Admin, Commit, Committed, Group, GroupMember, Partition};
pub use broker::metadata;
pub use cluster::{Cluster, ClusterOptions, shared};
pub use crew::{Crew, Excused, Report};
pub use feed::Feed;
pub use franz::Franz;
pub use java_consumer::{JavaConsumer, JavaState};
pub use kcat::{Kcat, kcat_produce};
pub use paths::{Version, jars, number};
pub use produce::{Numbers, Outcome, Produce, Record, StoredRecord};
pub use protocol::Protocol;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

/// A name for a topic or a group that no other test has, now or in an earlier run: `what-…`.
pub fn unique(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_millis());
    format!("{what}-{now:x}-{:x}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
