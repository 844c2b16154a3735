//! Kafka, side by side: `cargo bench -p tidegate-benches --features peers --bench kafka -- --quick`.
//!
//! Theory of operation. The parent starts a broker of its own, fills one topic for each size, codec and number
//! of partitions, and then goes round: in each round every contender reads the whole topic once, as the only
//! member of a group that nobody has used, in a process of its own. Ratios are taken against the wire floor of
//! the same round, so that what disturbs the machine for a while disturbs both.
//!
//! **Invariant:** the parent, not the contender, asks the broker what was committed.

mod alone;
mod contender;
mod floor;
mod model;
mod plan;
mod server;
mod table;
mod tidegate;

#[cfg(feature = "peers")]
mod peers;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use tidegate_benches::allocations::Counting;
use tidegate_benches::{Failure, child};

use crate::contender::{Contender, Job};
use crate::plan::Plan;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Measures tidegate and its peers against one Apache Kafka broker, started for the occasion.
#[derive(Debug, Parser)]
struct Arguments {
    /// Records of 100 bytes; of 1 KiB there are a quarter as many [default: 5,000,000; quick: 200,000]
    #[arg(long)]
    records: Option<u64>,
    /// Rounds; the table shows medians [default: 3; quick: 1]
    #[arg(long)]
    runs: Option<usize>,
    /// Only these contenders, by name; the wire floor always runs
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these topics: 100-none-1 to 1024-lz4-6, and latency
    #[arg(long, value_delimiter = ',')]
    topics: Vec<String>,
    /// A look, not a measurement: fewer records, one round
    #[arg(long)]
    quick: bool,
    /// What cargo bench passes, and cargo test does not
    #[arg(long, hide = true)]
    bench: bool,
    /// Be the child that runs this contender
    #[arg(long, hide = true, requires = "job")]
    child: Option<String>,
    /// What the child has to do, in JSON
    #[arg(long, hide = true)]
    job: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (&arguments.child, &arguments.job) {
        (Some(name), Some(job)) => be_child(name, job),
        _ if !arguments.bench => {
            eprintln!("nothing measured: run this with cargo bench");
            Ok(())
        }
        _ => compare(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that can be compared, in the order of a round and of the tables.
fn contenders() -> Vec<Box<dyn Contender>> {
    let mut all = floor::contenders();
    all.extend(tidegate::contenders());
    #[cfg(feature = "peers")]
    all.extend(peers::contenders());
    all
}

fn be_child(name: &str, job: &str) -> Result<(), Failure> {
    child::die_with_parent();
    let job: Job = serde_json::from_str(job)?;
    let all = contenders();
    let contender = all.iter().find(|one| one.name() == name).ok_or("no such contender")?;
    let measured = child::measure(job.records, job.live, |tally| {
        if job.live {
            contender::produce(&job, tally);
        }
        contender.consume(&job, tally)
    });
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

fn compare(arguments: &Arguments) -> Result<(), Failure> {
    let mut chosen = contenders();
    let names: Vec<&str> = chosen.iter().map(|one| one.name()).collect();
    if let Some(stray) = arguments.only.iter().find(|only| !names.contains(&only.as_str())) {
        return Err(format!("no contender is called {stray}; there are: {}", names.join(", ")).into());
    }
    chosen.retain(|one| {
        one.is_floor() || arguments.only.is_empty() || arguments.only.iter().any(|only| only == one.name())
    });

    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let (records, runs) = if arguments.quick { (200_000, 1) } else { (5_000_000, 3) };
    let plan = Plan {
        records: arguments.records.unwrap_or(records).max(1),
        runs: arguments.runs.unwrap_or(runs).max(1),
        live_seconds: if arguments.quick { 2 } else { 5 },
        topics: arguments.topics.clone(),
    };
    plan.carry_out(&chosen, &stop)
}
