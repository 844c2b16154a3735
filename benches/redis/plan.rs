//! The rounds: who runs when, on which stream.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_benches::Failure;
use tidegate_benches::child::{self, Measured};
use tidegate_benches::report::{machine, thousands};

use crate::contender::{Contender, GROUP, Job, PACE};
use crate::server::Server;
use crate::table::{self, Column};

/// A run that takes longer than this has hung.
const LIMIT: Duration = Duration::from_secs(300);
/// The stream of the latency runs.
const LIVE: &str = "live";
/// Payload of the latency runs, in bytes: delays depend little on the size, so one table shows them.
const LIVE_SIZE: usize = 100;

/// What to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Entries of 100 bytes.
    pub(crate) entries: u64,
    /// Rounds.
    pub(crate) runs: usize,
    /// Length of a latency run, in seconds.
    pub(crate) live_seconds: u64,
}

impl Plan {
    /// Measures, and answers the report as markdown.
    pub(crate) fn carry_out(
        &self,
        chosen: &[Box<dyn Contender>],
        stop: &AtomicBool,
    ) -> Result<String, Failure> {
        let mut server = Server::start()?;
        let broker = format!("Redis {}", server.wire.info("redis_version")?);
        let mut report = format!("## Redis, side by side\n\n{}\n", machine(&broker));
        for (size, entries) in [(LIVE_SIZE, self.entries), (1_024, (self.entries * 3 / 10).max(1))] {
            let job = Job { port: server.port, key: format!("bytes{size}"), entries, size, live: false };
            eprintln!("filling {} with {} entries", job.key, thousands(entries as f64));
            server.fill(&job.key, entries, size, stop)?;
            let columns = self.rounds(&mut server, chosen, &job, stop)?;
            let count = thousands(entries as f64);
            let title = format!("{count} entries of {size} bytes, median of {}", self.runs);
            write!(report, "\n{}", table::section(title, &columns, size == LIVE_SIZE))?;
            server.wire.call(&[b"DEL", job.key.as_bytes()])?;
        }
        Ok(report)
    }

    fn rounds<'a>(
        &self,
        server: &mut Server,
        chosen: &'a [Box<dyn Contender>],
        job: &Job,
        stop: &AtomicBool,
    ) -> Result<Vec<Column<'a>>, Failure> {
        let live = Job { key: LIVE.to_owned(), entries: PACE * self.live_seconds, live: true, ..job.clone() };
        let mut columns: Vec<Column<'_>> = chosen.iter().map(|one| Column::new(one.as_ref())).collect();
        for round in 1..=self.runs {
            for column in &mut columns {
                let measured = one_run(server, column.contender, job, stop)?;
                let rate = thousands(table::rate(&measured));
                self.tell(round, &job.key, column.contender, &format!("{rate} msgs/s"), &measured);
                column.throughput.push(measured);
            }
            for column in columns.iter_mut().filter(|_| job.size == LIVE_SIZE) {
                server.wire.call(&[b"DEL", LIVE.as_bytes()])?;
                let measured = one_run(server, column.contender, &live, stop)?;
                let delay = measured.p50.map_or("–".to_owned(), thousands);
                self.tell(round, "latency", column.contender, &format!("p50 {delay} µs"), &measured);
                column.latency.push(measured);
            }
        }
        Ok(columns)
    }

    /// Progress, on stderr.
    fn tell(&self, round: usize, what: &str, who: &dyn Contender, result: &str, measured: &Measured) {
        let failure = measured.failure.as_deref().unwrap_or_default();
        eprintln!("{what}, round {round}/{}: {:<22} {result:>18} {failure}", self.runs, who.name());
    }
}

/// A failure of the contender is part of what was measured; only an interrupt or the server ends the bench.
fn one_run(
    server: &mut Server,
    contender: &dyn Contender,
    job: &Job,
    stop: &AtomicBool,
) -> Result<Measured, Failure> {
    server.renew_group(&job.key)?;
    let arguments = ["--child", contender.name(), "--job", &serde_json::to_string(job)?].map(String::from);
    let mut measured = match child::run(&arguments, LIMIT, stop) {
        Ok(measured) => measured,
        Err(failure) if stop.load(Ordering::Relaxed) => return Err(failure),
        Err(failure) => Measured { failure: Some(failure.to_string()), ..Measured::default() },
    };
    if measured.failure.is_none() {
        measured.failure = shortfall(server, job, &measured)?;
    }
    Ok(measured)
}

/// What is missing from a run that says it is done; asked of the server, not of the contender.
fn shortfall(server: &mut Server, job: &Job, measured: &Measured) -> Result<Option<String>, Failure> {
    if measured.taken != job.entries {
        return Ok(Some(format!("took {} of {}", measured.taken, job.entries)));
    }
    if measured.bytes != job.entries * job.size as u64 {
        return Ok(Some(format!("saw {} bytes of payload", measured.bytes)));
    }
    if !server.wire.is_drained(&job.key, GROUP)? {
        return Ok(Some("was not handed the end of the stream".to_owned()));
    }
    // What a client acks in its own time it may do after a latency run as well; nobody waits for it there.
    let pending = if job.live { 0 } else { server.wire.pending(&job.key, GROUP)? };
    Ok((pending > 0).then(|| format!("left {} un-acked", thousands(pending as f64))))
}
