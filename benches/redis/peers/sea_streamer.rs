//! sea-streamer: `next()` in a loop, and `ack()` where the mode wants it. Its rolling and delayed commits are
//! sent when its reader gets round to it, which on a stream at its end is after a blocking read of 10 s; so the
//! clock stops when the application has acked everything, and what follows is shown as a remark.

use sea_streamer_redis::{AutoCommit, AutoStreamReset, RedisConsumerOptions, RedisStreamer};
use sea_streamer_types::{
    Buffer, Consumer, ConsumerGroup, ConsumerId, ConsumerMode, ConsumerOptions, Message, StreamKey, Streamer,
    StreamerUri,
};
use tidegate_benches::Failure;
use tidegate_benches::tally::Tally;

use super::version;
use crate::contender::{COUNT, Contender, GROUP, Job, MEMBER};
use tidegate_benches::runtime::Runtime;

pub(crate) fn contenders() -> Vec<Box<dyn Contender>> {
    let row = |name, setup, runtime| Box::new(SeaStreamer { name, setup, runtime }) as Box<dyn Contender>;
    vec![
        row("sea-rolling", Setup::Rolling, Runtime::Multi),
        row("sea-rolling-current", Setup::Rolling, Runtime::Current),
        row("sea-defaults", Setup::Defaults, Runtime::Multi),
        row("sea-defaults-current", Setup::Defaults, Runtime::Current),
        row("sea-immediate", Setup::Immediate, Runtime::Multi),
        row("sea-immediate-current", Setup::Immediate, Runtime::Current),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Setup {
    /// Acked by the application; 1,000 entries a read.
    Rolling,
    /// Acked by the client after 5 s; 10 entries a read, the default of a load-balanced consumer.
    Defaults,
    /// NOACK; 1,000 entries a read.
    Immediate,
}

struct SeaStreamer {
    name: &'static str,
    setup: Setup,
    runtime: Runtime,
}

impl Contender for SeaStreamer {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> String {
        let setup = match self.setup {
            Setup::Rolling => "rolling, batch 1,000",
            Setup::Defaults => "defaults (delayed, batch 10)",
            Setup::Immediate => "Immediate, batch 1,000",
        };
        format!("sea-streamer {}, {setup}{}", version("sea-streamer-redis"), self.runtime.label())
    }

    fn acks(&self) -> bool {
        self.setup != Setup::Immediate
    }

    fn consume(&self, job: &Job, tally: &mut Tally) -> Result<(), Failure> {
        self.runtime.run(consume(job, self.setup, tally))
    }
}

async fn consume(job: &Job, setup: Setup, tally: &mut Tally) -> Result<(), Failure> {
    let uri: StreamerUri = job.url().parse()?;
    let streamer = RedisStreamer::connect(uri, Default::default()).await?;
    let mut options = RedisConsumerOptions::new(ConsumerMode::LoadBalanced);
    options.set_consumer_group(ConsumerGroup::new(GROUP))?;
    options.set_consumer_id(ConsumerId::new(MEMBER));
    options.set_auto_stream_reset(AutoStreamReset::Earliest);
    match setup {
        Setup::Rolling => options.set_auto_commit(AutoCommit::Rolling).set_batch_size(COUNT),
        Setup::Defaults => &mut options,
        Setup::Immediate => options.set_auto_commit(AutoCommit::Immediate).set_batch_size(COUNT),
    };
    let consumer = streamer.create_consumer(&[StreamKey::new(job.key.as_str())?], options).await?;
    while !tally.is_full() {
        let message = consumer.next().await?;
        tally.take(message.message().as_bytes());
        if setup == Setup::Rolling {
            consumer.ack(&message)?;
        }
    }
    tally.finish();
    if setup != Setup::Immediate && !job.live {
        let job = job.clone();
        if tokio::task::spawn_blocking(move || job.wait_until_acked()).await?? {
            tally.settle();
        }
    }
    drop(consumer);
    Ok(())
}
