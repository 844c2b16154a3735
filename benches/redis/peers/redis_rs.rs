//! redis-rs: a multiplexed connection that reads, and another that acks, because its documentation wants
//! blocking commands on a connection of their own. Reads and acks are tasks, so that two reads are under way
//! and replies are converted on whichever thread is free.

use std::collections::VecDeque;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, AsyncConnectionConfig, Client, IntoConnectionInfo, RedisResult, Value};
use tidegate_benches::Failure;
use tidegate_benches::tally::Tally;
use tokio::task::JoinHandle;

use super::version;
use crate::contender::{COUNT, Contender, FIELD, GROUP, Job, MEMBER};
use tidegate_benches::runtime::Runtime;

/// XACKs that may be under way at once.
const ACKS: usize = 4;

pub(crate) fn contenders() -> Vec<Box<dyn Contender>> {
    vec![
        Box::new(RedisRs { name: "redis-rs", runtime: Runtime::Multi, form: Form::Typed }),
        Box::new(RedisRs { name: "redis-rs-current", runtime: Runtime::Current, form: Form::Typed }),
        Box::new(RedisRs { name: "redis-rs-value", runtime: Runtime::Multi, form: Form::Value }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// `StreamReadReply`, as documented.
    Typed,
    /// `redis::Value`, walked by hand: no maps.
    Value,
}

struct RedisRs {
    name: &'static str,
    runtime: Runtime,
    form: Form,
}

impl Contender for RedisRs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> String {
        let form = if self.form == Form::Value { ", bare `Value`" } else { "" };
        format!("redis-rs {}{form}{}", version("redis"), self.runtime.label())
    }

    fn acks(&self) -> bool {
        true
    }

    fn consume(&self, job: &Job, tally: &mut Tally) -> Result<(), Failure> {
        self.runtime.run(consume(job, self.form, tally))
    }
}

async fn consume(job: &Job, form: Form, tally: &mut Tally) -> Result<(), Failure> {
    let info = job.url().into_connection_info()?.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let client = Client::open(info)?;
    // Its default gives up on a reply after half a second, which no blocking read bears.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let reader = client.get_multiplexed_async_connection_with_config(&config).await?;
    let acker = client.get_multiplexed_async_connection_with_config(&config).await?;
    let mut options = StreamReadOptions::default().group(GROUP, MEMBER).count(COUNT);
    if let Some(block) = job.block() {
        options = options.block(block);
    }
    let options = Arc::new(options);
    match form {
        Form::Typed => {
            let read = || typed_read(reader.clone(), job.key.clone(), Arc::clone(&options));
            drain(job, tally, acker, read, |reply: StreamReadReply, tally| {
                let mut ids = Vec::with_capacity(COUNT);
                for entry in reply.keys.into_iter().flat_map(|key| key.ids) {
                    if let Some(Value::BulkString(payload)) = entry.map.get(FIELD) {
                        tally.take(payload);
                    }
                    ids.push(entry.id.into_bytes());
                }
                ids
            })
            .await
        }
        Form::Value => {
            let read = || value_read(reader.clone(), job.key.clone(), Arc::clone(&options));
            drain(job, tally, acker, read, take_values).await
        }
    }
}

fn typed_read(
    mut reader: MultiplexedConnection,
    key: String,
    options: Arc<StreamReadOptions>,
) -> JoinHandle<RedisResult<Option<StreamReadReply>>> {
    tokio::spawn(async move { reader.xread_options(&[key], &[">"], &options).await })
}

fn value_read(
    mut reader: MultiplexedConnection,
    key: String,
    options: Arc<StreamReadOptions>,
) -> JoinHandle<RedisResult<Option<Value>>> {
    tokio::spawn(async move {
        let mut command = redis::cmd("XREADGROUP");
        command.arg(&*options).arg("STREAMS").arg(key).arg(">");
        command.query_async(&mut reader).await
    })
}

/// Keeps reads and acks under way until all is taken and acked. `take` hands on the payloads of a reply and
/// answers the ids to ack.
async fn drain<T>(
    job: &Job,
    tally: &mut Tally,
    acker: MultiplexedConnection,
    read: impl Fn() -> JoinHandle<RedisResult<Option<T>>>,
    take: impl Fn(T, &mut Tally) -> Vec<Vec<u8>>,
) -> Result<(), Failure> {
    let mut reads: VecDeque<_> = (0..job.depth()).map(|_| read()).collect();
    let mut acks: VecDeque<JoinHandle<RedisResult<u64>>> = VecDeque::new();
    let mut acked = 0;
    while !tally.is_full() {
        let Some(next) = reads.pop_front() else { break };
        let reply = next.await??;
        reads.push_back(read());
        let Some(reply) = reply else { continue };
        let ids = take(reply, tally);
        let (key, mut acker) = (job.key.clone(), acker.clone());
        acks.push_back(tokio::spawn(async move { acker.xack(key, GROUP, &ids).await }));
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

/// `[[key, [[id, [field, value, …]], …]]]`
fn take_values(reply: Value, tally: &mut Tally) -> Vec<Vec<u8>> {
    let list = |value: Value| if let Value::Array(items) = value { items } else { Vec::new() };
    let mut ids = Vec::with_capacity(COUNT);
    for stream in list(reply) {
        for entry in list(stream).into_iter().nth(1).map(list).unwrap_or_default() {
            let mut parts = list(entry).into_iter();
            if let (Some(Value::BulkString(id)), Some(Value::Array(fields))) = (parts.next(), parts.next()) {
                if let Some(Value::BulkString(payload)) = fields.get(1) {
                    tally.take(payload);
                }
                ids.push(id);
            }
        }
    }
    ids
}
