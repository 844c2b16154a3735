//! tidegate's own rows: the handle through `next_batch`, the handle through `next`, and Immediate, all with
//! default options.

use tidegate::{AutoCommit, ConsumerMode, ConsumerOptions};
use tidegate_benches::Failure;
use tidegate_benches::tally::Tally;

use crate::contender::{Contender, GROUP, Job, MEMBER};
use tidegate_benches::runtime::Runtime;

pub(crate) fn contenders() -> Vec<Box<dyn Contender>> {
    let row = |name, batches, acks, runtime| {
        Box::new(Tidegate { name, batches, acks, runtime }) as Box<dyn Contender>
    };
    vec![
        row("tidegate-batch", true, true, Runtime::Multi),
        row("tidegate-next", false, true, Runtime::Multi),
        row("tidegate-batch-current", true, true, Runtime::Current),
        row("tidegate-next-current", false, true, Runtime::Current),
        row("tidegate-immediate", true, false, Runtime::Multi),
        row("tidegate-immediate-current", true, false, Runtime::Current),
    ]
}

struct Tidegate {
    name: &'static str,
    /// Through `next_batch`, not `next`.
    batches: bool,
    acks: bool,
    runtime: Runtime,
}

impl Contender for Tidegate {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> String {
        let call = if self.batches { "next_batch" } else { "next" };
        let mode = if self.acks { "" } else { ", Immediate" };
        format!("**tidegate** `{call}`{mode}{}", self.runtime.label())
    }

    fn acks(&self) -> bool {
        self.acks
    }

    fn consume(&self, job: &Job, tally: &mut Tally) -> Result<(), Failure> {
        // As a service does: the work is a task of the runtime, not its main.
        let (job, batches, acks) = (job.clone(), self.batches, self.acks);
        let mut own = std::mem::replace(tally, Tally::start(0, false));
        *tally = self.runtime.run(async move {
            let work = async move { consume(&job, batches, acks, &mut own).await.map(|()| own) };
            tokio::spawn(work).await?
        })?;
        Ok(())
    }
}

async fn consume(job: &Job, batches: bool, acks: bool, tally: &mut Tally) -> Result<(), Failure> {
    let mut options = ConsumerOptions::new(ConsumerMode::LoadBalanced).group(GROUP).consumer(MEMBER);
    if !acks {
        options = options.auto_commit(AutoCommit::Immediate);
    }
    let consumer = tidegate::connect(&format!("{}/{}", job.url(), job.key), options).await?;
    while !tally.is_full() {
        if batches {
            let Some(messages) = consumer.next_batch().await? else { break };
            messages.iter().for_each(|message| tally.take(message.payload().unwrap_or_default()));
            consumer.ack_batch(&messages);
        } else {
            let Some(message) = consumer.next().await? else { break };
            tally.take(message.payload().unwrap_or_default());
            consumer.ack(&message);
        }
    }
    consumer.commit().await?;
    tally.finish();
    consumer.close().await?;
    Ok(())
}
