//! `tidegate sim`.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use tidegate_sim::{Fresh, KafkaBackend, Keep, RedisBackend, Report, Seed, Summary, campaign, run, timeline};

use crate::fatal::Fatal;
use crate::say;

const EXAMPLES: &str = "\
Examples:
  A thousand worlds, each with faults of its own:
    tidegate sim
  A million (about an hour on two cores):
    tidegate sim --seeds 1000000
  One of them again, told line by line, and drawn:
    tidegate sim --seed 1:4711 --html timeline.html

stdout gets the summary, or with --seed what happened. On a failure the seed is printed, and how to
see it again; with --html the failing run is drawn.

Exit status: 0 no promise was broken, 1 one was, 2 wrong usage.
";

/// Which worlds to simulate.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Sim {
    /// Whose machine, against whose model broker.
    #[arg(long, value_enum, default_value_t = Backend::Redis)]
    backend: Backend,
    /// How many worlds.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// This world alone, as a failure printed it: 1:4711.
    #[arg(long, value_name = "SEED", conflicts_with = "seeds")]
    seed: Option<Seed>,
    /// Begin with this seed.
    #[arg(long, value_name = "SEED", default_value = "0", conflicts_with = "seed")]
    first: Seed,
    /// Draw the run of --seed, or the one that failed: who held what when, as one HTML file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Backend {
    Redis,
    Kafka,
    Stdio,
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Kafka => "kafka",
            Self::Stdio => "stdio",
        }
    }
}

pub(crate) fn run_command(args: &Sim) -> Result<(), Fatal> {
    match args.backend {
        Backend::Redis => simulate::<RedisBackend>(args),
        Backend::Kafka => simulate::<KafkaBackend>(args),
        Backend::Stdio => {
            Err(Fatal::new("stdio is not simulated yet: choose --backend redis or --backend kafka"))
        }
    }
}

fn simulate<B: Fresh>(args: &Sim) -> Result<(), Fatal> {
    match args.seed {
        Some(seed) => one::<B>(seed, args.html.as_deref()),
        None => many::<B>(args),
    }
}

/// One run, told at length.
fn one<B: Fresh>(seed: Seed, html: Option<&Path>) -> Result<(), Fatal> {
    let report = run::<B>(seed, Keep { trace: true, history: html.is_some(), ..Keep::default() });
    say::data(&report.trace)?;
    say::line(format_args!("a world of {}", report.swarm));
    if let Some(html) = html {
        draw(seed, &report, html)?;
    }
    match report.violation {
        Some(violation) => Err(Fatal::new(format_args!("seed {seed}: {violation}"))),
        None => {
            say::line(format_args!("seed {seed}: no promise was broken"));
            Ok(())
        }
    }
}

fn draw(seed: Seed, report: &Report, html: &Path) -> Result<(), Fatal> {
    let mut history = report.history.clone().unwrap_or_default();
    history.title = format!("seed {seed}: {}", history.title);
    let failed = |error: std::io::Error| Fatal::new(format_args!("{}: {error}", html.display()));
    std::fs::write(html, timeline::html(&history)).map_err(failed)?;
    say::line(format_args!("timeline: {}", html.display()));
    Ok(())
}

/// Seed after seed, on all cores, up to the first that fails.
fn many<B: Fresh>(args: &Sim) -> Result<(), Fatal> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let since = Instant::now();
    let bar =
        if std::io::stderr().is_terminal() { ProgressBar::new(args.seeds) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} seeds, {eta} left") {
        bar.set_style(style);
    }
    let first = args.first;
    let end = first.0.saturating_add(args.seeds);
    let summary = campaign::<B>(first.0..end, threads, 1, |done| bar.set_position(done));
    bar.finish_and_clear();
    tell(&summary, since.elapsed().as_secs_f64())?;
    let Some(failure) = summary.failures.first() else { return Ok(()) };
    say::line(failure);
    if let Some(html) = &args.html {
        let report = run::<B>(failure.seed, Keep { history: true, ..Keep::default() });
        draw(failure.seed, &report, html)?;
    }
    Err(Fatal::new(format_args!(
        "seed {} breaks a promise; see it with: tidegate sim --backend {} --seed {}",
        failure.seed,
        args.backend.name(),
        failure.seed
    )))
}

fn tell(summary: &Summary, took: f64) -> Result<(), Fatal> {
    let (sent, got, again) = summary.messages;
    say::data(format_args!(
        "{} seeds in {took:.1} s: {:.1} simulated hours, {} events ({} a second); {} messages sent, {} received, \
         {} of them again; {} failed\n",
        HumanCount(summary.runs),
        summary.simulated.as_secs_f64() / 3_600.0,
        HumanCount(summary.events),
        HumanCount((summary.events as f64 / took.max(0.001)) as u64),
        HumanCount(sent),
        HumanCount(got),
        HumanCount(again),
        summary.failures.len(),
    ))?;
    say::line(summary.sometimes.to_string().trim_end());
    Ok(())
}
