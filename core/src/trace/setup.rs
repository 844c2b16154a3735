//! What a machine is made from, as lines `= name value`. What isn't there has its default, so that a
//! trace stays readable when options are added.

use std::fmt::{self, Write};

use bytes::Bytes;

use super::kafka;
use super::mask::MASK;
use super::text::{Place, Quoted, Shard, Span, What, Words, wrong};
use crate::claim::ClaimOptions;
use crate::commit::AutoCommit;
use crate::endpoint::Endpoint;
use crate::identity::{ConsumerGroup, ConsumerId, HostFacts, HostId};
use crate::limits::Limits;
use crate::machine::Setup;
use crate::options::{ConsumerMode, ConsumerOptions, Login, Secret, Start};
use crate::stream::{StreamKey, Timestamp};

/// All limits by name, in one place: a new one that is missing here doesn't compile.
macro_rules! limits {
    (numbers: $($number:ident)*; spans: $($span:ident)*) => {
        fn print_limits(to: &mut String, limits: &Limits) -> fmt::Result {
            let Limits { $($number,)* $($span,)* } = limits;
            $(writeln!(to, concat!("= limit ", stringify!($number), " {}"), $number)?;)*
            $(writeln!(to, concat!("= limit ", stringify!($span), " {}"), Span(*$span))?;)*
            Ok(())
        }

        fn limit(limits: &mut Limits, words: &mut Words<'_>) -> Result<(), What> {
            match words.word()? {
                $(stringify!($number) => limits.$number = words.value("number")?,)*
                $(stringify!($span) => limits.$span = words.span()?,)*
                word => return Err(wrong(word, "limit")),
            }
            Ok(())
        }
    };
}

limits! {
    numbers: lane_records_max lane_bytes_max unacked_max requests_max notices_max shards_max connections_max
        commit_messages_max commits_in_flight_max outgoing_bytes_max claim_messages_max
        reply_depth_max reply_line_max reply_bulk_max reply_elements_max reply_bytes_max;
    spans: connect_timeout response_timeout block retry_min retry_max
}

/// Lines with their ends, `= end` included.
pub(super) fn print(to: &mut String, setup: &Setup) -> fmt::Result {
    let Setup { endpoints, streams, options, host, generated_consumer, seed, wall_clock } = setup;
    for Endpoint { host, port, tls } in endpoints {
        writeln!(to, "= endpoint {} {} {port}", if *tls { "tls" } else { "tcp" }, Quoted(host.as_bytes()))?;
    }
    for stream in streams {
        writeln!(to, "= stream {}", Quoted(stream.as_bytes()))?;
    }
    let ConsumerOptions {
        mode,
        group,
        consumer,
        auto_commit,
        claim,
        start,
        create,
        shards,
        batch,
        discover_interval,
        login,
        database,
        kafka,
        limits,
    } = options;
    let mode = match mode {
        ConsumerMode::RealTime => "real-time",
        ConsumerMode::Resumable => "resumable",
        ConsumerMode::LoadBalanced => "load-balanced",
    };
    writeln!(to, "= mode {mode}")?;
    if let Some(group) = group {
        writeln!(to, "= group {}", Quoted(group.as_bytes()))?;
    }
    if let Some(consumer) = consumer {
        writeln!(to, "= consumer {}", Quoted(consumer.as_bytes()))?;
    }
    match auto_commit {
        AutoCommit::Immediate => writeln!(to, "= commit immediate")?,
        AutoCommit::Delayed { delay } => writeln!(to, "= commit delayed {}", Span(*delay))?,
        AutoCommit::Rolling { interval } => writeln!(to, "= commit rolling {}", Span(*interval))?,
        AutoCommit::Disabled => writeln!(to, "= commit disabled")?,
    }
    match claim {
        ClaimOptions::Never => writeln!(to, "= claim never")?,
        ClaimOptions::Every { interval, idle } => {
            writeln!(to, "= claim every {} idle {}", Span(*interval), Span(*idle))?;
        }
    }
    match start {
        Start::Default => writeln!(to, "= start default")?,
        Start::From(position) => writeln!(to, "= start from {}", Place(*position))?,
        Start::After(moment) => writeln!(to, "= start after {}", moment.as_millis())?,
    }
    writeln!(to, "= create {create}")?;
    for (stream, shard) in shards {
        writeln!(to, "= shard {}", Shard(stream, *shard))?;
    }
    writeln!(to, "= batch {batch}")?;
    writeln!(to, "= discover {}", Span(*discover_interval))?;
    if let Some(Login { user, password }) = login {
        if let Some(user) = user {
            writeln!(to, "= user {}", Quoted(user.as_bytes()))?;
        }
        writeln!(to, "= password-length {}", password.reveal().len())?;
    }
    writeln!(to, "= database {database}")?;
    kafka::print(to, kafka)?;
    print_limits(to, limits)?;
    if let Some(host) = host {
        writeln!(to, "= host {}", Quoted(host.as_str().as_bytes()))?;
    }
    writeln!(to, "= generated-consumer {}", Quoted(generated_consumer.as_bytes()))?;
    writeln!(to, "= seed {seed}")?;
    if let Some(at_zero) = wall_clock {
        writeln!(to, "= wall-clock {}", at_zero.as_millis())?;
    }
    writeln!(to, "= end")
}

/// Reads such lines, one at a time.
pub(super) struct Reader {
    setup: Setup,
    user: Option<String>,
}

/// Longest password that is believed: the length is all that a trace has of it.
const PASSWORD_BYTES_MAX: usize = 1 << 16;

impl Reader {
    pub(super) fn new() -> Self {
        let setup = Setup {
            endpoints: Vec::new(),
            streams: Vec::new(),
            options: ConsumerOptions::default(),
            host: None,
            generated_consumer: ConsumerId::from(""),
            seed: 0,
            wall_clock: None,
        };
        Self { setup, user: None }
    }

    /// True after the last line.
    pub(super) fn read(&mut self, line: &str) -> Result<bool, What> {
        let mut words = Words(line);
        words.literal("=")?;
        let name = words.word()?;
        let Setup { endpoints, streams, options, host, generated_consumer, seed, wall_clock } =
            &mut self.setup;
        match name {
            "endpoint" => {
                let tls = match words.word()? {
                    "tcp" => false,
                    "tls" => true,
                    word => return Err(wrong(word, "transport")),
                };
                endpoints.push(Endpoint { host: words.text()?.into(), port: words.value("port")?, tls });
            }
            "stream" => streams.push(StreamKey::from(Bytes::from(words.bytes()?))),
            "mode" => {
                options.mode = match words.word()? {
                    "real-time" => ConsumerMode::RealTime,
                    "resumable" => ConsumerMode::Resumable,
                    "load-balanced" => ConsumerMode::LoadBalanced,
                    word => return Err(wrong(word, "mode")),
                }
            }
            "group" => options.group = Some(ConsumerGroup::from(Bytes::from(words.bytes()?))),
            "consumer" => options.consumer = Some(ConsumerId::from(Bytes::from(words.bytes()?))),
            "commit" => {
                options.auto_commit = match words.word()? {
                    "immediate" => AutoCommit::Immediate,
                    "delayed" => AutoCommit::Delayed { delay: words.span()? },
                    "rolling" => AutoCommit::Rolling { interval: words.span()? },
                    "disabled" => AutoCommit::Disabled,
                    word => return Err(wrong(word, "commit")),
                }
            }
            "claim" => {
                options.claim = match words.word()? {
                    "never" => ClaimOptions::Never,
                    "every" => {
                        let interval = words.span()?;
                        words.literal("idle")?;
                        ClaimOptions::Every { interval, idle: words.span()? }
                    }
                    word => return Err(wrong(word, "claim")),
                }
            }
            "start" => {
                options.start = match words.word()? {
                    "default" => Start::Default,
                    "from" => Start::From(words.place()?),
                    "after" => Start::After(Timestamp::from_millis(words.value("moment")?)),
                    word => return Err(wrong(word, "start")),
                }
            }
            "create" => options.create = words.value("yes or no")?,
            "shard" => options.shards.push(words.shard()?),
            "batch" => options.batch = words.value("number")?,
            "discover" => options.discover_interval = words.span()?,
            "user" => self.user = Some(words.text()?.into()),
            "password-length" => {
                let length: usize = words.value("number")?;
                if length > PASSWORD_BYTES_MAX {
                    return Err(format!("no password has {length} bytes"));
                }
                let password = Secret::new(String::from(char::from(MASK)).repeat(length));
                options.login = Some(Login { user: self.user.take(), password });
            }
            "database" => options.database = words.value("number")?,
            "kafka" => kafka::read(&mut options.kafka, &mut words)?,
            "limit" => limit(&mut options.limits, &mut words)?,
            "host" => {
                let facts = HostFacts { override_: Some(words.text()?.into()), ..HostFacts::default() };
                *host = Some(HostId::resolve(&facts).map_err(|_| "an empty host")?);
            }
            "generated-consumer" => *generated_consumer = ConsumerId::from(Bytes::from(words.bytes()?)),
            "seed" => *seed = words.value("number")?,
            "wall-clock" => *wall_clock = Some(Timestamp::from_millis(words.value("moment")?)),
            "end" => {}
            name => return Err(wrong(name, "option")),
        }
        words.end()?;
        Ok(name == "end")
    }

    pub(super) fn finish(self) -> Setup {
        self.setup
    }
}
