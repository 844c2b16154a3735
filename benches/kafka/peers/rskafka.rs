//! rskafka: no groups, no commits; one task a partition fetches 1 MiB at a time, as the floor does, and hands
//! over what came while the next answer is on its way.

use std::sync::Arc;

use rskafka::client::ClientBuilder;
use rskafka::client::partition::{PartitionClient, UnknownTopicHandling};
use rskafka::record::RecordAndOffset;
use tidegate_benches::Failure;
use tidegate_benches::runtime::Runtime;
use tidegate_benches::tally::Tally;
use tokio::sync::mpsc;

use super::version;
use crate::contender::{Contender, Job};

/// Bytes of one answer.
const FETCH_BYTES: i32 = 1 << 20;
/// How long the broker waits for a record, in milliseconds.
const WAIT: i32 = 500;
/// Answers that wait for the application.
const QUEUE: usize = 2;

pub(crate) fn contenders() -> Vec<Box<dyn Contender>> {
    vec![Box::new(RsKafka)]
}

struct RsKafka;

impl Contender for RsKafka {
    fn name(&self) -> &'static str {
        "rskafka"
    }

    fn title(&self) -> String {
        format!("rskafka {}", version("rskafka"))
    }

    fn commits(&self) -> bool {
        false
    }

    fn consume(&self, job: &Job, tally: &mut Tally) -> Result<(), Failure> {
        Runtime::Multi.run(consume(job, tally))
    }
}

async fn consume(job: &Job, tally: &mut Tally) -> Result<(), Failure> {
    let client = ClientBuilder::new(vec![job.bootstrap()]).build().await?;
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    for partition in 0..i32::try_from(job.partitions)? {
        let client = client.partition_client(&job.topic, partition, UnknownTopicHandling::Retry).await?;
        tokio::spawn(fetch(Arc::new(client), sender.clone()));
    }
    while !tally.is_full() {
        let records = receiver.recv().await.ok_or("no partition is read any more")??;
        for record in &records {
            tally.take(record.record.value.as_deref().unwrap_or_default());
        }
    }
    tally.finish();
    Ok(())
}

type Answer = Result<Vec<RecordAndOffset>, rskafka::client::error::Error>;

async fn fetch(client: Arc<PartitionClient>, sender: mpsc::Sender<Answer>) {
    let mut offset = 0;
    loop {
        let answer = client.fetch_records(offset, 1..FETCH_BYTES, WAIT).await.map(|(records, _)| records);
        let over = answer.is_err();
        if let Ok(records) = &answer {
            offset = records.last().map_or(offset, |last| last.offset + 1);
        }
        if sender.send(answer).await.is_err() || over {
            return;
        }
    }
}
