//! rdkafka: librdkafka through its StreamConsumer, message by message on tokio, and through its BaseConsumer,
//! polled by a thread. Its defaults hold back when 100,000 messages wait, and then for a second: the settings
//! below are those that make it fast. Offsets are stored as it hands messages out, and committed at the end.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, StreamConsumer};
use rdkafka::message::Message;
use tidegate_benches::Failure;
use tidegate_benches::runtime::Runtime;
use tidegate_benches::tally::Tally;

use super::version;
use crate::contender::{Contender, Job};

/// A poll that brings nothing is repeated.
const POLL: Duration = Duration::from_millis(100);

pub(crate) fn contenders() -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(RdKafka { name: "rdkafka-stream", stream: true }),
        Box::new(RdKafka { name: "rdkafka-base", stream: false }),
    ]
}

struct RdKafka {
    name: &'static str,
    stream: bool,
}

impl Contender for RdKafka {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> String {
        let kind = if self.stream { "StreamConsumer" } else { "BaseConsumer" };
        format!("rdkafka {} {kind}, tuned", version("rdkafka"))
    }

    fn consume(&self, job: &Job, tally: &mut Tally) -> Result<(), Failure> {
        match self.stream {
            true => Runtime::Multi.run(stream(job, tally)),
            false => base(job, tally),
        }
    }
}

fn config(job: &Job) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", job.bootstrap())
        .set("group.id", &job.group)
        .set("auto.offset.reset", "earliest")
        .set("queued.min.messages", "1000000")
        .set("fetch.queue.backoff.ms", "1");
    config
}

async fn stream(job: &Job, tally: &mut Tally) -> Result<(), Failure> {
    let consumer: StreamConsumer = config(job).create()?;
    consumer.subscribe(&[&job.topic])?;
    while !tally.is_full() {
        let message = consumer.recv().await?;
        tally.take(message.payload().unwrap_or_default());
    }
    consumer.commit_consumer_state(CommitMode::Sync)?;
    tally.finish();
    Ok(())
}

fn base(job: &Job, tally: &mut Tally) -> Result<(), Failure> {
    let consumer: BaseConsumer = config(job).create()?;
    consumer.subscribe(&[&job.topic])?;
    while !tally.is_full() {
        let Some(message) = consumer.poll(POLL) else { continue };
        tally.take(message?.payload().unwrap_or_default());
    }
    consumer.commit_consumer_state(CommitMode::Sync)?;
    tally.finish();
    Ok(())
}
