//! Redis, side by side: `cargo bench -p tidegate-benches --features peers --bench redis -- --quick`.
//!
//! Theory of operation. The parent starts a redis-server of its own, fills one stream per payload size, and
//! then goes round: in each round every contender reads the whole stream once, as the only member of a group
//! created afresh, in a process of its own. Ratios are taken against the wire floor of the same round, so that
//! what disturbs the machine for a while disturbs both.
//!
//! **Invariant:** the parent, not the contender, asks Redis what is still pending after a run.

mod alone;
mod contender;
mod cost;
mod floor;
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

/// Measures tidegate and its peers against one redis-server, started for the occasion.
#[derive(Debug, Parser)]
struct Arguments {
    /// Entries of 100 bytes; of 1 KiB there are three tenths as many [default: 1,000,000; quick: 100,000]
    #[arg(long)]
    entries: Option<u64>,
    /// Rounds; the table shows medians [default: 3; quick: 1]
    #[arg(long)]
    runs: Option<usize>,
    /// Only these contenders, by name; the wire floors always run
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// A look, not a measurement: fewer entries, one round
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
    let measured = child::measure(job.entries, job.live, |tally| {
        if job.live {
            contender::produce(&job, tally.origin());
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
    let (entries, runs) = if arguments.quick { (100_000, 1) } else { (1_000_000, 3) };
    let plan = Plan {
        entries: arguments.entries.unwrap_or(entries).max(1),
        runs: arguments.runs.unwrap_or(runs).max(1),
        live_seconds: if arguments.quick { 2 } else { 5 },
    };
    let report = plan.carry_out(&chosen, &stop)?;
    println!("{report}");
    println!("{}", table::alone(plan.runs, if arguments.quick { 300 } else { 3_000 })?);
    println!("{}", table::cost_by_size(plan.runs));
    Ok(())
}
