//! The rounds: who runs when, on which topic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tidegate_benches::Failure;
use tidegate_benches::child::{self, Measured};
use tidegate_benches::report::{machine, thousands};
use tidegate_core::kafka::records::Compression;

use crate::alone;
use crate::contender::{Contender, Job, PACE};
use crate::server::Server;
use crate::table::{self, Column};

/// A run that takes longer than this has hung.
const LIMIT: Duration = Duration::from_secs(120);
/// Answers to fetches of 1 MiB that the machine alone gets.
const CAPTURED: usize = 32;
/// Payload of the latency runs, in bytes.
const LIVE_SIZE: usize = 100;

/// What to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Records of 100 bytes.
    pub(crate) records: u64,
    /// Rounds.
    pub(crate) runs: usize,
    /// Length of a latency run, in seconds.
    pub(crate) live_seconds: u64,
    /// Only these; empty is all.
    pub(crate) topics: Vec<String>,
}

/// A topic that is filled, read by everybody, and left.
#[derive(Clone, Debug)]
struct Filled {
    name: String,
    size: usize,
    compression: Compression,
    partitions: usize,
    records: u64,
}

impl Plan {
    /// Measures, and prints the report as markdown, section by section.
    pub(crate) fn carry_out(&self, chosen: &[Box<dyn Contender>], stop: &AtomicBool) -> Result<(), Failure> {
        let topics = self.filled();
        let live = self.wants("latency");
        if topics.is_empty() && !live {
            return Err("no such topic: name 100-none-1, 1024-lz4-6, and the like, or latency".into());
        }
        let mut server = Server::start()?;
        let broker = format!("Apache Kafka {}", tidegate_live::kafka::number());
        println!("## Kafka, side by side\n\n{}\n", machine(&broker));
        let mut alone = Vec::new();
        for topic in topics {
            let Filled { name, size, compression, partitions, records } = &topic;
            let count = thousands(*records as f64);
            eprintln!("filling {name} with {count} records");
            server.fill(name, *partitions, *records, *size, *compression, stop)?;
            let columns = self.rounds(&mut server, chosen, &topic, stop)?;
            if *partitions == 1 {
                let captured = alone::capture(server.port, name, CAPTURED)?;
                let runs =
                    (0..3 * self.runs).map(|_| alone::run(&captured)).collect::<Result<Vec<_>, _>>()?;
                alone.push((format!("{size} B, {compression}"), runs));
            }
            let codec = if *compression == Compression::None { "uncompressed" } else { "lz4" };
            let several =
                if *partitions == 1 { "1 partition".into() } else { format!("{partitions} partitions") };
            let title =
                format!("{count} records of {size} bytes, {codec}, {several}, median of {}", self.runs);
            println!("{}", table::throughput(title, &columns));
        }
        println!("{}", table::alone(&alone));
        if live {
            let columns = self.live_rounds(&mut server, chosen, stop)?;
            println!("{}", table::latency(&columns, self.runs));
        }
        Ok(())
    }

    fn wants(&self, topic: &str) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|wanted| wanted == topic)
    }

    fn filled(&self) -> Vec<Filled> {
        let mut all = Vec::new();
        for (size, records) in [(100, self.records), (1_024, (self.records / 4).max(1))] {
            for compression in [Compression::None, Compression::Lz4] {
                for partitions in [1, 6] {
                    let name = format!("{size}-{compression}-{partitions}");
                    all.push(Filled { name, size, compression, partitions, records });
                }
            }
        }
        all.retain(|topic| self.wants(&topic.name));
        all
    }

    fn rounds<'a>(
        &self,
        server: &mut Server,
        chosen: &'a [Box<dyn Contender>],
        topic: &Filled,
        stop: &AtomicBool,
    ) -> Result<Vec<Column<'a>>, Failure> {
        let mut columns: Vec<Column<'_>> = chosen.iter().map(|one| Column::new(one.as_ref())).collect();
        for round in 1..=self.runs {
            for column in &mut columns {
                let job = Job {
                    port: server.port,
                    topic: topic.name.clone(),
                    group: format!("{}-{}-{round}", topic.name, column.contender.name()),
                    records: topic.records,
                    size: topic.size,
                    partitions: topic.partitions,
                    live: false,
                };
                let measured = one_run(server, column.contender, &job, stop)?;
                let rate = thousands(table::rate(&measured));
                self.tell(round, &job.topic, column.contender, &format!("{rate} msgs/s"), &measured);
                column.runs.push(measured);
            }
        }
        Ok(columns)
    }

    fn live_rounds<'a>(
        &self,
        server: &mut Server,
        chosen: &'a [Box<dyn Contender>],
        stop: &AtomicBool,
    ) -> Result<Vec<Column<'a>>, Failure> {
        let mut columns: Vec<Column<'_>> = chosen.iter().map(|one| Column::new(one.as_ref())).collect();
        for round in 1..=self.runs {
            for column in &mut columns {
                let topic = format!("latency-{}-{round}", column.contender.name());
                server.wire.create_topic(&topic, 1)?;
                let job = Job {
                    port: server.port,
                    group: topic.clone(),
                    topic,
                    records: PACE * self.live_seconds,
                    size: LIVE_SIZE,
                    partitions: 1,
                    live: true,
                };
                let measured = one_run(server, column.contender, &job, stop)?;
                let delay = measured.p50.map_or("–".to_owned(), thousands);
                self.tell(round, "latency", column.contender, &format!("p50 {delay} µs"), &measured);
                column.runs.push(measured);
            }
        }
        Ok(columns)
    }

    /// Progress, on stderr.
    fn tell(&self, round: usize, what: &str, who: &dyn Contender, result: &str, measured: &Measured) {
        let failure = measured.failure.as_deref().unwrap_or_default();
        let cost = table::cost(measured);
        eprintln!(
            "{what}, round {round}/{}: {:<22} {result:>18} {cost:.3} s/M {:.1} MiB {failure}",
            self.runs,
            who.name(),
            measured.peak
        );
    }
}

/// A failure of the contender is part of what was measured; only an interrupt or the broker ends the bench.
fn one_run(
    server: &mut Server,
    contender: &dyn Contender,
    job: &Job,
    stop: &AtomicBool,
) -> Result<Measured, Failure> {
    let arguments = ["--child", contender.name(), "--job", &serde_json::to_string(job)?].map(String::from);
    let mut measured = match child::run(&arguments, LIMIT, stop) {
        Ok(measured) => measured,
        Err(failure) if stop.load(Ordering::Relaxed) => return Err(failure),
        Err(failure) => Measured { failure: Some(failure.to_string()), ..Measured::default() },
    };
    if measured.failure.is_none() {
        measured.failure = shortfall(server, contender, job, &measured)?;
    }
    Ok(measured)
}

/// What is missing from a run that says it is done; what was committed the broker tells, not the contender.
fn shortfall(
    server: &mut Server,
    contender: &dyn Contender,
    job: &Job,
    measured: &Measured,
) -> Result<Option<String>, Failure> {
    if measured.taken != job.records {
        return Ok(Some(format!("took {} of {}", measured.taken, job.records)));
    }
    if (job.live || !contender.is_floor()) && measured.bytes != job.records * job.size as u64 {
        return Ok(Some(format!("saw {} bytes of payload", measured.bytes)));
    }
    if !contender.commits() {
        return Ok(None);
    }
    let committed = server.wire.committed(&job.group)?;
    Ok((committed != job.records).then(|| format!("{} of {} committed", committed, job.records)))
}
