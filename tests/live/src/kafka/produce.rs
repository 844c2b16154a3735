//! Records to write, and as they were read back.

use std::ops::Range;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

use super::admin::Admin;

/// A record to produce. What is left out the producer chooses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The partition.
    pub partition: Option<i32>,
    /// Milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// `None` is null.
    #[serde(serialize_with = "encode")]
    pub key: Option<Vec<u8>>,
    /// `None` is null.
    #[serde(serialize_with = "encode")]
    pub value: Option<Vec<u8>>,
    /// In order; a key may come twice, a value may be null.
    pub headers: Vec<Header>,
}

/// A header's key and value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header(
    /// The key.
    pub String,
    /// The value, or null.
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub Option<Vec<u8>>,
);

impl Record {
    /// A value without a key, for this partition.
    pub fn new(partition: i32, value: impl AsRef<[u8]>) -> Self {
        Self { partition: Some(partition), value: Some(value.as_ref().into()), ..Self::default() }
    }

    /// With a key.
    pub fn key(self, key: impl AsRef<[u8]>) -> Self {
        Self { key: Some(key.as_ref().into()), ..self }
    }

    /// With one more header.
    pub fn header(mut self, key: &str, value: Option<&[u8]>) -> Self {
        self.headers.push(Header(key.into(), value.map(Into::into)));
        self
    }

    /// With this time, in milliseconds since 1970.
    pub fn at(self, timestamp: i64) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }
}

/// A record as the Java consumer read it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StoredRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// `CreateTime` or `LogAppendTime`.
    pub timestamp_type: String,
    /// `None` is null.
    #[serde(deserialize_with = "decode")]
    pub key: Option<Vec<u8>>,
    /// `None` is null.
    #[serde(deserialize_with = "decode")]
    pub value: Option<Vec<u8>>,
    /// In order.
    pub headers: Vec<Header>,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its records are there for everybody.
    Commit,
    /// Its records are skipped by readers of committed ones.
    Abort,
    /// Not yet: [`Produce::goes_on`] ends it.
    Open,
}

/// Records for one topic, written in one go.
#[derive(Debug, Clone)]
pub struct Produce {
    admin: Admin,
    topic: String,
    configs: Vec<(String, String)>,
    records: Vec<Record>,
    outcome: Option<Outcome>,
    goes_on: bool,
}

impl Produce {
    pub(super) fn new(admin: Admin, topic: &str) -> Self {
        let (configs, records) = (Vec::new(), Vec::new());
        Self { admin, topic: topic.into(), configs, records, outcome: None, goes_on: false }
    }

    /// A setting of the producer.
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }

    /// Compressed by `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub fn codec(self, codec: &str) -> Self {
        self.config("compression.type", codec)
    }

    /// One more record.
    pub fn record(mut self, record: Record) -> Self {
        self.records.push(record);
        self
    }

    /// A record for each value.
    pub fn values(mut self, partition: i32, values: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.records.extend(values.into_iter().map(|value| Record::new(partition, value.as_ref())));
        self
    }

    /// All of it in one transaction of this transactional id.
    pub fn transaction(self, id: &str, outcome: Outcome) -> Self {
        Self { outcome: Some(outcome), ..self.config("transactional.id", id) }
    }

    /// It goes on with what was left [`Outcome::Open`] with the same settings.
    pub fn goes_on(self) -> Self {
        Self { goes_on: true, ..self }
    }

    /// Writes them, and returns their offsets when all are acknowledged by all replicas in sync.
    #[track_caller]
    pub fn send(self) -> Vec<i64> {
        self.try_send().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same. After an error, which is the producer's, some may be written all the same.
    pub fn try_send(self) -> Result<Vec<i64>, String> {
        let outcome = self.outcome.map(|outcome| match outcome {
            Outcome::Commit => "commit",
            Outcome::Abort => "abort",
            Outcome::Open => "open",
        });
        let fields = json!({
            "topic": self.topic,
            "configs": self.configs,
            "records": self.records,
            "outcome": outcome.unwrap_or_default(),
            "goes_on": self.goes_on,
        });
        let answer = self.admin.try_ask("produce", fields)?;
        serde_json::from_value(answer).map_err(|error| format!("the answer to produce: {error}"))
    }
}

/// Many records `PREFIX-N`, the number N in partition N modulo their count.
#[derive(Debug, Clone)]
pub struct Numbers {
    admin: Admin,
    topic: String,
    partitions: usize,
    prefix: String,
    size: usize,
    rate: u64,
    configs: Vec<(String, String)>,
}

impl Numbers {
    pub(super) fn new(admin: Admin, topic: &str, partitions: usize) -> Self {
        let configs = Vec::new();
        Self { admin, topic: topic.into(), partitions, prefix: "n".into(), size: 0, rate: 0, configs }
    }

    /// Something else than `n` before the number.
    pub fn prefix(self, prefix: &str) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Each value is filled up with dots to this many bytes.
    pub fn size(self, size: usize) -> Self {
        Self { size, ..self }
    }

    /// This many a second, instead of as fast as it goes.
    pub fn rate(self, rate: u64) -> Self {
        Self { rate, ..self }
    }

    /// A setting of the producer.
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.configs.push((name.into(), value.into()));
        self
    }

    /// Writes these numbers, and returns how long it took when all are acknowledged by all replicas in
    /// sync.
    #[track_caller]
    pub fn send(&self, numbers: Range<u64>) -> Duration {
        let fields = json!({
            "topic": self.topic, "partitions": self.partitions, "prefix": self.prefix, "size": self.size,
            "rate": self.rate, "from": numbers.start, "to": numbers.end, "configs": self.configs,
        });
        Duration::from_millis(self.admin.ask("produce_numbers", fields))
    }
}

fn encode<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| STANDARD.encode(bytes)).serialize(serializer)
}

fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| STANDARD.decode(text).map_err(serde::de::Error::custom)).transpose()
}
