//! What a contender is, what it is asked to do, and the producer of a latency run.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidegate_benches::Failure;
use tidegate_benches::tally::{Tally, stamp};

use tidegate_benches::redis::wire::Wire;

/// The member that every contender is.
pub(crate) const MEMBER: &str = "member";
/// The group that is created afresh for each run.
pub(crate) const GROUP: &str = "group";
/// The field that carries the payload.
pub(crate) const FIELD: &str = "msg";
/// Entries that a contender asks for at once, unless its row says otherwise.
pub(crate) const COUNT: usize = 1_000;
/// Messages a second that the producer of a latency run adds.
pub(crate) const PACE: u64 = 2_000;
/// How long to wait for acks that a client sends in its own time: twice the longest poll among the peers.
const PATIENCE: Duration = Duration::from_secs(25);

/// One way to consume a stream: one row of the table.
pub(crate) trait Contender {
    /// Short name, for `--only`.
    fn name(&self) -> &'static str;

    /// What stands in the table.
    fn title(&self) -> String;

    /// False when the contender reads with NOACK; decides which floor it is compared with.
    fn acks(&self) -> bool;

    /// True for what the others are compared with.
    fn is_floor(&self) -> bool {
        false
    }

    /// Reads `job.entries` messages as the only member of the group, hands each one's payload to
    /// [`Tally::take`], acks it, and calls [`Tally::finish`] when all is taken and the acks are confirmed.
    ///
    /// A client that cannot tell when its acks arrived calls `finish` when all is taken and acked locally,
    /// stays alive for [`Job::wait_until_acked`], and then calls [`Tally::settle`].
    fn consume(&self, job: &Job, tally: &mut Tally) -> Result<(), Failure>;
}

/// What one run has to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Port of the server, on 127.0.0.1.
    pub(crate) port: u16,
    /// Key of the stream. It never holds a colon, so that a client that looks for shards finds this one.
    pub(crate) key: String,
    /// Messages to take.
    pub(crate) entries: u64,
    /// Bytes of payload in each.
    pub(crate) size: usize,
    /// A latency run: the stream is empty at first and grows by [`PACE`] messages a second, so that reads
    /// have to block.
    pub(crate) live: bool,
}

#[cfg_attr(not(feature = "peers"), allow(dead_code, reason = "the floors speak to the socket themselves"))]
impl Job {
    /// Where the server is, as a URL without the key.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Reads that may be under way at once: a blocking read holds up what follows it on its connection.
    pub(crate) fn depth(&self) -> usize {
        if self.live { 1 } else { 2 }
    }

    /// What a read says after BLOCK, in milliseconds; `None` where there is always something to read.
    pub(crate) fn block(&self) -> Option<usize> {
        self.live.then_some(1_000)
    }

    /// Waits until the broker knows every ack of this group; false if that takes more than 25 seconds.
    pub(crate) fn wait_until_acked(&self) -> Result<bool, Failure> {
        let mut wire = Wire::connect(self.port)?;
        let deadline = Instant::now() + PATIENCE;
        while wire.pending(&self.key, GROUP)? > 0 {
            if Instant::now() > deadline {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(true)
    }
}

/// Starts the producer of a latency run. It is a thread of the consuming process, because its timestamps are
/// of a clock that does not cross processes.
pub(crate) fn produce(job: &Job, origin: Instant) {
    let job = job.clone();
    std::thread::spawn(move || {
        // The consumer connects meanwhile; what it misses of the beginning is its warm-up.
        std::thread::sleep(Duration::from_millis(500));
        if let Err(failure) = add_paced(&job, origin) {
            eprintln!("the producer failed: {failure}");
        }
    });
}

fn add_paced(job: &Job, origin: Instant) -> Result<(), Failure> {
    let mut wire = Wire::connect(job.port)?;
    let first = Instant::now();
    for index in 0..job.entries {
        let due = first + Duration::from_nanos(1_000_000_000 / PACE) * u32::try_from(index)?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let payload = stamp(origin, job.size);
        wire.call(&[b"XADD", job.key.as_bytes(), b"*", FIELD.as_bytes(), &payload])?;
    }
    Ok(())
}
