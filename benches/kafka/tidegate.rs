//! tidegate's own rows: the handle through `next_batch` and through `next`, in a group of either protocol, all
//! with default options.

use tidegate::{ConsumerMode, ConsumerOptions, GroupProtocol, KafkaOptions};
use tidegate_benches::Failure;
use tidegate_benches::runtime::Runtime;
use tidegate_benches::tally::Tally;

use crate::contender::{Contender, Job};

pub(crate) fn contenders() -> Vec<Box<dyn Contender>> {
    let row = |name, batches, protocol, runtime| {
        Box::new(Tidegate { name, batches, protocol, runtime }) as Box<dyn Contender>
    };
    use GroupProtocol::{Auto, Classic};
    use Runtime::{Current, Multi};
    vec![
        row("tidegate-batch", true, Auto, Multi),
        row("tidegate-next", false, Auto, Multi),
        row("tidegate-batch-current", true, Auto, Current),
        row("tidegate-batch-classic", true, Classic, Multi),
    ]
}

struct Tidegate {
    name: &'static str,
    /// Through `next_batch`, not `next`.
    batches: bool,
    protocol: GroupProtocol,
    runtime: Runtime,
}

impl Contender for Tidegate {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> String {
        let call = if self.batches { "next_batch" } else { "next" };
        let protocol = if self.protocol == GroupProtocol::Classic { ", classic group" } else { "" };
        format!("**tidegate** `{call}`{protocol}{}", self.runtime.label())
    }

    fn consume(&self, job: &Job, tally: &mut Tally) -> Result<(), Failure> {
        // As a service does: the work is a task of the runtime, not its main.
        let (job, batches, protocol) = (job.clone(), self.batches, self.protocol);
        let mut own = std::mem::replace(tally, Tally::start(0, false));
        *tally = self.runtime.run(async move {
            let work = async move { consume(&job, batches, protocol, &mut own).await.map(|()| own) };
            tokio::spawn(work).await?
        })?;
        Ok(())
    }
}

async fn consume(
    job: &Job,
    batches: bool,
    protocol: GroupProtocol,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let options = ConsumerOptions::new(ConsumerMode::LoadBalanced)
        .group(job.group.as_str())
        .kafka(KafkaOptions::default().protocol(protocol));
    let consumer = tidegate::connect(&format!("kafka://{}/{}", job.bootstrap(), job.topic), options).await?;
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
