//! fred: one client that reads and one that acks, because a blocking read holds up its connection. Replies
//! become `Str` and `Bytes`, which share the receive buffer. Reads and acks are tasks, as with redis-rs.

use std::collections::VecDeque;

use fred::bytes::Bytes;
use fred::bytes_utils::Str;
use fred::prelude::{Builder, Client, ClientLike, Config, FredResult, StreamsInterface, TcpConfig};
use fred::types::streams::XReadResponse;
use tidegate_benches::Failure;
use tidegate_benches::tally::Tally;
use tokio::task::JoinHandle;

use super::version;
use crate::contender::{COUNT, Contender, FIELD, GROUP, Job, MEMBER};
use tidegate_benches::runtime::Runtime;

/// XACKs that may be under way at once.
const ACKS: usize = 4;

type Reply = XReadResponse<Str, Str, Str, Bytes>;

pub(crate) fn contenders() -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(Fred { name: "fred", runtime: Runtime::Multi }),
        Box::new(Fred { name: "fred-current", runtime: Runtime::Current }),
    ]
}

struct Fred {
    name: &'static str,
    runtime: Runtime,
}

impl Contender for Fred {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> String {
        format!("fred {}{}", version("fred"), self.runtime.label())
    }

    fn acks(&self) -> bool {
        true
    }

    fn consume(&self, job: &Job, tally: &mut Tally) -> Result<(), Failure> {
        self.runtime.run(consume(job, tally))
    }
}

async fn connect(job: &Job) -> Result<Client, Failure> {
    let mut builder = Builder::from_config(Config::from_url(&job.url())?);
    builder.with_connection_config(|config| {
        config.tcp = TcpConfig { nodelay: Some(true), ..TcpConfig::default() };
    });
    let client = builder.build()?;
    client.init().await?;
    Ok(client)
}

async fn consume(job: &Job, tally: &mut Tally) -> Result<(), Failure> {
    let (reader, acker) = (connect(job).await?, connect(job).await?);
    let read = || {
        let (reader, key, block) = (reader.clone(), job.key.clone(), job.block().map(|millis| millis as u64));
        tokio::spawn(async move {
            reader.xreadgroup_map(GROUP, MEMBER, Some(COUNT as u64), block, false, key, ">").await
        })
    };
    let mut reads: VecDeque<JoinHandle<FredResult<Reply>>> = (0..job.depth()).map(|_| read()).collect();
    let mut acks: VecDeque<JoinHandle<FredResult<u64>>> = VecDeque::new();
    let mut acked = 0;
    while !tally.is_full() {
        let Some(next) = reads.pop_front() else { break };
        let reply = next.await??;
        reads.push_back(read());
        let mut ids = Vec::with_capacity(COUNT);
        for (id, fields) in reply.into_values().flatten() {
            if let Some(payload) = fields.get(FIELD) {
                tally.take(payload);
            }
            ids.push(id);
        }
        if ids.is_empty() {
            continue;
        }
        let (key, acker) = (job.key.clone(), acker.clone());
        acks.push_back(tokio::spawn(async move { acker.xack(key, GROUP, ids).await }));
        if acks.len() > ACKS
            && let Some(oldest) = acks.pop_front()
        {
            acked += oldest.await??;
        }
    }
    for ack in acks {
        acked += ack.await??;
    }
    tally.finish();
    if acked == job.entries { Ok(()) } else { Err(format!("{acked} acks were confirmed").into()) }
}
