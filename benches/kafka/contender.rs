//! What a contender is, what it is asked to do, and the producer of a latency run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tidegate_benches::Failure;
use tidegate_benches::kafka::produce::Producer;
use tidegate_benches::kafka::records;
use tidegate_benches::tally::{Tally, stamp};
use tidegate_core::kafka::records::Compression;

/// Messages a second that the producer of a latency run adds.
pub(crate) const PACE: u64 = 2_000;
/// How long the producer waits for its consumer.
const PATIENCE: Duration = Duration::from_secs(30);

/// One way to consume a topic: one row of the table.
pub(crate) trait Contender {
    /// Short name, for `--only`.
    fn name(&self) -> &'static str;

    /// What stands in the table.
    fn title(&self) -> String;

    /// True for what the others are compared with. It looks at no record unless the run is live.
    fn is_floor(&self) -> bool {
        false
    }

    /// Whether it is a member of a group and commits.
    fn commits(&self) -> bool {
        true
    }

    /// Reads `job.records` messages from the beginning, hands each one's payload to [`Tally::take`], acks it,
    /// and calls [`Tally::finish`] when all is taken and committed.
    fn consume(&self, job: &Job, tally: &mut Tally) -> Result<(), Failure>;
}

/// What one run has to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Port of the broker, on 127.0.0.1.
    pub(crate) port: u16,
    /// The topic.
    pub(crate) topic: String,
    /// A group that nobody has used.
    pub(crate) group: String,
    /// Messages to take.
    pub(crate) records: u64,
    /// Bytes of payload in each.
    pub(crate) size: usize,
    /// Partitions of the topic.
    pub(crate) partitions: usize,
    /// A latency run: the topic is empty at first and grows by [`PACE`] messages a second.
    pub(crate) live: bool,
}

#[cfg_attr(not(feature = "peers"), allow(dead_code, reason = "for the peers"))]
impl Job {
    /// Where the broker is.
    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Starts the producer of a latency run. It is a thread of the consuming process, because its timestamps are
/// of a clock that does not cross processes.
pub(crate) fn produce(job: &Job, tally: &Tally) {
    let (job, origin, started) = (job.clone(), tally.origin(), tally.started());
    std::thread::spawn(move || {
        if let Err(failure) = add_paced(&job, origin, &started) {
            eprintln!("the producer failed: {failure}");
        }
    });
}

/// One message at once; the others once the consumer has that one, however long it takes to join its group.
fn add_paced(job: &Job, origin: Instant, started: &Arc<AtomicBool>) -> Result<(), Failure> {
    let mut producer = Producer::connect(job.port, &job.topic)?;
    let mut add = || {
        let payload = stamp(origin, job.size);
        let batch = records::batch(0, [payload.as_slice()], Compression::None, now_millis())?;
        producer.send(0, &batch)?;
        producer.flush()
    };
    add()?;
    let deadline = Instant::now() + PATIENCE;
    while !started.load(Ordering::Acquire) {
        if Instant::now() > deadline {
            return Err("nobody reads".into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let first = Instant::now();
    for index in 0..job.records - 1 {
        let due = first + Duration::from_nanos(1_000_000_000 / PACE) * u32::try_from(index)?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        add()?;
    }
    Ok(())
}

pub(crate) fn now_millis() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
