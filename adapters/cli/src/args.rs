//! The command line, as clap reads it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidegate::Backend;
use tidegate_core::{AutoCommit, ClaimOptions, ConsumerMode, Position, SeqNo, ShardId, Start, Timestamp};

use crate::kafka::Kafka;
use crate::output::Format;

/// Reads streams and never loses a message.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  tidegate consume redis://localhost/orders
  tidegate consume redis://localhost/orders --mode load-balanced --group billing
  tidegate consume kafka://localhost/orders --mode load-balanced --group billing
  tidegate consume --help
";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write messages to stdout, one line each, and ack what was written.
    Consume(Box<Consume>),
    /// Do a recorded trace again, and fail at the first line that comes out differently.
    Replay(Replay),
    /// A model broker at a loopback port, for anyone's tests.
    Serve(crate::serve::Serve),
    /// Run the simulator: the machine under a year of faults, seed after seed.
    Sim(crate::sim::Sim),
}

const CONSUME_EXAMPLES: &str = "\
Examples:
  What comes from now on:
    tidegate consume redis://localhost/orders
  The first ten messages of two streams:
    tidegate consume redis://localhost/orders,returns --from beginning --count 10
  As one of several members that share the work:
    tidegate consume redis://user:password@host:6380/orders --mode load-balanced --group billing
  Payloads only, until nothing came for two seconds:
    tidegate consume redis://localhost/orders --from 2026-01-01T00:00:00Z --format payload \\
      --exit-idle 2s
  With a trace for `tidegate replay`:
    tidegate consume redis://localhost/orders --record orders.trace
  As a member of a Kafka group, of the classic protocol, reading committed transactions only:
    tidegate consume kafka://one:9092,two:9092/orders --mode load-balanced --group billing \\
      --protocol classic --assignor cooperative-sticky --isolation read-committed
  Partition 3 of a topic from offset 42 on:
    tidegate consume kafka://localhost/orders --shard orders:3 --from 42
  All topics that begin so, those that appear later as well:
    tidegate consume 'kafka://localhost/^orders-.*'

Lines of Redis:
  {\"stream\":\"orders\",\"shard\":0,\"seq\":\"1700000000000-0\",\"timestamp\":\"2023-11-14T22:13:20.000Z\",
   \"key\":null,\"payload\":\"…\",\"fields\":{…},\"headers\":[],\"deliveries\":1}
  payload is the field `msg` if there is one, else the only field, else null. Where it is not UTF-8
  there is `payload_base64` instead. In fields, a value that is not UTF-8 is {\"base64\":\"…\"}, a name
  that is not (or that begins so itself) is `base64:…`, and a name that comes more than once has an
  array of its values. timestamp is null where an id is no moment of the years 0 to 9999.

Lines of Kafka:
  {\"stream\":\"orders\",\"shard\":3,\"seq\":\"42\",\"timestamp\":\"2023-11-14T22:13:20.000Z\",
   \"key\":\"…\",\"payload\":\"…\",\"headers\":[{\"key\":\"…\",\"value\":\"…\"}],\"deliveries\":1}
  seq is the offset. Headers stand in their order, those of the same key as well. key, payload and
  value are null where they are in the record; where they are not UTF-8 there is `key_base64`,
  `payload_base64` or `value_base64` instead. timestamp is null where the producer gave none.

Acks:
  A message is acked once its line was written, and written again after a crash before that. (With
  --commit delayed it is acked --commit-delay after it was taken.) --commit disabled commits once,
  at the end. SIGINT and SIGTERM end the command in order, within 5 s; a second one at once.

Exit status: 0 done, 1 a fatal error, 2 wrong usage.
";

#[derive(Args, Debug)]
#[command(after_help = CONSUME_EXAMPLES)]
pub(crate) struct Consume {
    /// redis://[user:password@]host[:port][,host…]/stream[,stream…], or
    /// kafka://[user:password@]host[:port][,host…]/topic[,topic…]; a topic that begins with ^ is a
    /// regular expression, in which a comma is %2C and a question mark %3F.
    #[arg(value_name = "URL")]
    pub(crate) url: String,

    /// Who gets which messages: everyone all from now on, this host where it stopped, or each
    /// message one member of the group.
    #[arg(long, value_enum, default_value_t = Mode::RealTime)]
    pub(crate) mode: Mode,

    /// The group; resumable is named after the host if it is left out.
    #[arg(long, value_name = "NAME", required_if_eq("mode", "load-balanced"))]
    pub(crate) group: Option<String>,

    /// The member's name [default: one that nobody else has].
    #[arg(long, value_name = "ID")]
    pub(crate) consumer: Option<String>,

    /// beginning, end, an RFC 3339 time (what is later), or a sequence (it and what follows): an id
    /// such as 1700000000000-0 of Redis, an offset of Kafka. Beginning and end are for groups that don't exist yet; a time or a
    /// sequence reads without the group.
    #[arg(long, value_name = "WHERE", value_parser = from)]
    pub(crate) from: Option<From>,

    /// Read this shard and no others; may be given several times.
    #[arg(long = "shard", value_name = "STREAM:N", value_parser = shard)]
    pub(crate) shards: Vec<Shard>,

    /// When the broker is told of what was written.
    #[arg(long, value_enum, default_value_t = Commit::Rolling)]
    pub(crate) commit: Commit,

    /// For delayed: how long after a message was taken it is acked.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) commit_delay: Duration,

    /// For rolling: how often what was acked is committed.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub(crate) commit_interval: Duration,

    /// Redis: how often what dead members left is taken over, or never. (A Kafka group does that
    /// itself.)
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration_or_never)]
    pub(crate) claim_interval: Interval,

    /// Redis: how long a message must have been untouched to be taken over.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) claim_idle: Duration,

    /// Create a missing stream or topic.
    #[arg(long)]
    pub(crate) create: bool,

    /// Most messages asked for at once [default: 1000].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: Option<u32>,

    /// Stop after N messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,

    /// Stop when nothing came for so long.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) exit_idle: Option<Duration>,

    /// Pause this long on each message before its line is written, as a slow application would.
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = duration)]
    pub(crate) work: Duration,

    /// How a message is written.
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    pub(crate) format: Format,

    /// Write the trace, every event and command, for `tidegate replay`. It holds the messages, and
    /// no password.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// Show a bar on stderr, or a line a second where that is not a terminal: rate, bytes, lag,
    /// un-acked, the last notice.
    #[arg(long)]
    pub(crate) progress: bool,

    /// The runtime to run on; this build has tokio.
    #[arg(long, value_enum, default_value_t = Runtime::Tokio)]
    pub(crate) runtime: Runtime,

    #[command(flatten)]
    pub(crate) kafka: Kafka,
}

const REPLAY_EXAMPLES: &str = "\
Examples:
  tidegate consume redis://localhost/orders --record orders.trace --count 100
  tidegate replay orders.trace

The machine that was recorded is made anew from the trace, gets the same events and requests, and has
to answer with the same commands, bytes and messages. No server is contacted. The last line of a trace
that was cut off (its writer was killed) is left out.

Exit status: 0 all as recorded, 1 the first line that differs or is corrupt, 2 wrong usage.
";

#[derive(Args, Debug)]
#[command(after_help = REPLAY_EXAMPLES)]
pub(crate) struct Replay {
    /// A trace, as `tidegate consume --record FILE` writes it.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Draw it as well: who held what when, as one HTML file.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    RealTime,
    Resumable,
    LoadBalanced,
}

impl Mode {
    pub(crate) fn mode(self) -> ConsumerMode {
        match self {
            Self::RealTime => ConsumerMode::RealTime,
            Self::Resumable => ConsumerMode::Resumable,
            Self::LoadBalanced => ConsumerMode::LoadBalanced,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Commit {
    /// As it is handed out: at most once.
    Immediate,
    /// A set time after it was taken.
    Delayed,
    /// Every interval, what was written.
    Rolling,
    /// Once, at the end.
    Disabled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    Tokio,
    AsyncStd,
    Smol,
}

/// Where to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// What means the same everywhere.
    Start(Start),
    /// A number alone: an id without its counter, or an offset.
    Number(u64),
    /// A number, a dash and a number.
    Id(u64, u64),
}

impl From {
    /// What it means there.
    pub(crate) fn start(self, backend: Backend) -> Result<Start, String> {
        let at = |seq| Ok(Start::From(Position::At(seq)));
        match (self, backend) {
            (Self::Start(start), _) => Ok(start),
            (Self::Number(offset), Backend::Kafka) if i64::try_from(offset).is_ok() => {
                at(SeqNo::offset(offset))
            }
            (Self::Number(_), Backend::Kafka) => Err(format!("--from: an offset is at most {}", i64::MAX)),
            (Self::Id(high, low), Backend::Kafka) => Err(format!(
                "--from {high}-{low}: that is an id of Redis; with a kafka:// URL it is an offset, such as 42"
            )),
            (Self::Number(millis), _) => at(SeqNo::redis(millis, 0)),
            (Self::Id(millis, counter), _) => at(SeqNo::redis(millis, counter)),
        }
    }
}

/// Every so often, or `None` for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval(Option<Duration>);

/// One part of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) stream: String,
    pub(crate) shard: ShardId,
}

impl Consume {
    pub(crate) fn auto_commit(&self) -> AutoCommit {
        match self.commit {
            Commit::Immediate => AutoCommit::Immediate,
            Commit::Delayed => AutoCommit::Delayed { delay: self.commit_delay },
            Commit::Rolling => AutoCommit::Rolling { interval: self.commit_interval },
            Commit::Disabled => AutoCommit::Disabled,
        }
    }

    pub(crate) fn claim(&self) -> ClaimOptions {
        match self.claim_interval.0 {
            None => ClaimOptions::Never,
            Some(interval) => ClaimOptions::Every { interval, idle: self.claim_idle },
        }
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "a duration is written as 500ms, 5s or 2m".into())
}

fn duration_or_never(text: &str) -> Result<Interval, String> {
    match text {
        "never" => Ok(Interval(None)),
        text => match duration(text) {
            Ok(interval) => Ok(Interval(Some(interval))),
            Err(wrong) => Err(format!("{wrong}, or never")),
        },
    }
}

fn from(text: &str) -> Result<From, String> {
    let id = || {
        let (high, low) = text.split_once('-')?;
        Some(From::Id(digits(high)?, digits(low)?))
    };
    Ok(match text {
        "beginning" => From::Start(Start::From(Position::Beginning)),
        "end" => From::Start(Start::From(Position::End)),
        _ => match (digits(text).map(From::Number).or_else(id), text.parse::<jiff::Timestamp>()) {
            (Some(sequence), _) => sequence,
            (None, Ok(time)) => {
                // Streams count in milliseconds: what is later than the part is later than the whole.
                let millis = time.as_nanosecond().div_euclid(1_000_000) as i64;
                From::Start(Start::After(Timestamp::from_millis(millis)))
            }
            (None, Err(_)) => {
                return Err("it is beginning, end, a time as 2026-01-01T00:00:00Z, or a sequence: an id as \
                            1700000000000-0 of Redis, an offset as 42 of Kafka"
                    .into());
            }
        },
    })
}

fn digits(text: &str) -> Option<u64> {
    // No sign, which `parse` would allow.
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn shard(text: &str) -> Result<Shard, String> {
    let parts = text.rsplit_once(':').filter(|(stream, _)| !stream.is_empty());
    let shard = parts.and_then(|(stream, number)| {
        Some(Shard { stream: stream.to_owned(), shard: ShardId::new(digits(number)?) })
    });
    shard.ok_or_else(|| "a shard is written as STREAM:N, for example orders:0".into())
}

/// Reads the command line; ends the process where it is wrong, or asks for help.
pub(crate) fn read() -> Cli {
    let words: Vec<OsString> = std::env::args_os().collect();
    Cli::try_parse_from(&words).unwrap_or_else(|_| {
        // The same again without passwords: what is wrong with the words is quoted.
        let words = words.iter().map(|word| match word.to_str() {
            Some(word) => crate::address::without_password(word).into(),
            None => word.clone(),
        });
        Cli::parse_from(words)
    })
}

/// Says what is wrong with the usage, as clap would, and ends the process with status 2.
pub(crate) fn refuse(command: &str, what: impl std::fmt::Display) -> ! {
    use clap::CommandFactory as _;
    let mut cli = Cli::command();
    cli.build();
    match cli.find_subcommand_mut(command) {
        Some(command) => command.error(clap::error::ErrorKind::ValueValidation, what).exit(),
        None => std::process::exit(2),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn consume(words: &[&str]) -> Result<Box<Consume>, clap::Error> {
        let words = ["tidegate", "consume", "redis://h/s"].iter().chain(words);
        match Cli::try_parse_from(words)?.command {
            Command::Consume(consume) => Ok(consume),
            _ => panic!("another command"),
        }
    }

    #[test]
    fn clap_finds_no_fault_in_it() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_interface() {
        let consume = consume(&[]).unwrap();
        assert_eq!(consume.mode, Mode::RealTime);
        assert_eq!(consume.auto_commit(), AutoCommit::Rolling { interval: Duration::from_secs(1) });
        assert_eq!(consume.claim(), ClaimOptions::default());
        assert_eq!((consume.work, consume.format), (Duration::ZERO, Format::Ndjson));
        assert_eq!((consume.count, consume.exit_idle, consume.batch), (None, None, None));
        assert!(consume.kafka.given().is_empty());
    }

    #[test]
    fn all_options_are_read() {
        let words = "--mode load-balanced --group g --consumer c --from end --shard a:1 --shard b:c:2 \
            --commit delayed --commit-delay 2m --commit-interval 500ms --claim-interval 10s --claim-idle 1s \
            --create --batch 7 --count 3 --exit-idle 2s --work 10ms --format payload --record f --progress \
            --runtime smol --protocol share --assignor cooperative-sticky --isolation read-committed \
            --reset none --session-timeout 45s";
        let words: Vec<_> = words.split_whitespace().collect();
        let consume = consume(&words).unwrap();
        assert_eq!(consume.mode.mode(), ConsumerMode::LoadBalanced);
        assert_eq!(consume.from, Some(From::Start(Start::From(Position::End))));
        assert_eq!(consume.auto_commit(), AutoCommit::Delayed { delay: Duration::from_secs(120) });
        let (interval, idle) = (Duration::from_secs(10), Duration::from_secs(1));
        assert_eq!(consume.claim(), ClaimOptions::Every { interval, idle });
        let shards: Vec<_> = consume.shards.iter().map(|s| (s.stream.as_str(), s.shard.number())).collect();
        assert_eq!(shards, [("a", 1), ("b:c", 2)]);
        assert_eq!(consume.kafka.given().len(), 5);
        assert!(consume.create && consume.progress);
    }

    #[test]
    fn wrong_values_are_refused_and_named() {
        for (option, value) in [
            ("--mode", "sideways"),
            ("--from", "yesterday"),
            ("--from", "5-"),
            ("--from", "+5"),
            ("--from", "2026-01-01"),
            ("--shard", "orders"),
            ("--shard", ":1"),
            ("--shard", "orders:x"),
            ("--commit-interval", "5"),
            ("--claim-interval", "soon"),
            ("--reset", "yesterday"),
            ("--reset", "2"),
            ("--batch", "0"),
            ("--count", "0"),
            ("--count", "-1"),
        ] {
            let error = consume(&[option, value]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{option} {value}");
            assert!(error.to_string().contains(value), "{error}");
        }
        let error = consume(&["--mode", "load-balanced"]).unwrap_err();
        assert!(error.to_string().contains("--group"), "{error}");
        assert_eq!(consume(&["--claim-interval", "never"]).unwrap().claim(), ClaimOptions::Never);
    }

    #[test]
    fn places_to_start_from() {
        let start = |text: &str| from(text).unwrap().start(Backend::Redis).unwrap();
        assert_eq!(start("beginning"), Start::From(Position::Beginning));
        assert_eq!(start("1700000000000"), Start::From(Position::At(SeqNo::redis(1_700_000_000_000, 0))));
        assert_eq!(start("1700000000000-7"), Start::From(Position::At(SeqNo::redis(1_700_000_000_000, 7))));
        let after = |millis| Start::After(Timestamp::from_millis(millis));
        assert_eq!(start("2023-11-14T22:13:20Z"), after(1_700_000_000_000));
        assert_eq!(start("2023-11-14T23:13:20.001+01:00"), after(1_700_000_000_001));
        assert_eq!(start("1969-12-31T23:59:59.9995Z"), after(-1));

        let start = |text: &str| from(text).unwrap().start(Backend::Kafka);
        let at = |offset| Ok(Start::From(Position::At(SeqNo::offset(offset))));
        assert_eq!(start("end"), Ok(Start::From(Position::End)));
        assert_eq!(start("2023-11-14T22:13:20Z"), Ok(after(1_700_000_000_000)));
        assert_eq!((start("0"), start("9223372036854775807")), (at(0), at(i64::MAX as u64)));
        for wrong in ["9223372036854775808", "5-0"] {
            let said = start(wrong).unwrap_err();
            assert!(said.starts_with("--from") && said.contains("offset"), "{said}");
        }
    }
}
