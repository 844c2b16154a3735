//! `tidegate serve`: the model broker alone, for anyone's tests.

use std::io;
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use rustix::process::{Resource, getrlimit, setrlimit};
use tidegate_sim::broker::Broker as Model;
use tidegate_sim::kafka::{self, Kafka};
use tidegate_sim::redis::{self, Redis, Version};
use tidegate_sim::serve::{Options, Server, StartError};

use crate::args;
use crate::fatal::Fatal;
use crate::say;
use crate::stop::Stop;

const EXAMPLES: &str = "\
Examples:
  A Redis for a test, at a port that is free:
    tidegate serve redis
  At a port of your choice, with the answers of another version:
    tidegate serve redis --port 6379 --version 7.2
  A cluster of three, at the ports 7000 to 7002:
    tidegate serve redis --nodes 3 --port 7000
  A Kafka of three brokers, whose topics come with six partitions when they are written to:
    tidegate serve kafka --nodes 3 --partitions 6
  In a script:
    tidegate serve redis >url & until [ -s url ]; do sleep 0.1; done
    tidegate consume \"$(head -1 url)/orders\" --create

Redis: streams and what goes with them (SET, DEL, EXPIRE, MULTI, CLIENT …), in RESP2 and RESP3, with
blocking reads; what it doesn't know it answers with Redis's own error. Kafka: topics, records
and positions as Apache Kafka 4.3 has them; no groups yet. All is kept in memory,
without a limit, and gone when it ends, which it does at SIGINT or SIGTERM. It listens on
127.0.0.1 alone. A client is disconnected that sends half a command of more than 64 MiB, or
leaves as much unread.

stdout gets one line for each node, redis://127.0.0.1:PORT or kafka://127.0.0.1:PORT, as soon as it takes connections.

Exit status: 0 ended by a signal, 1 a fatal error (the port is in use), 2 wrong usage.
";

/// What is served, and where.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// Whose model.
    #[arg(value_enum, value_name = "BROKER")]
    broker: Broker,

    /// Listen here on 127.0.0.1; a cluster's other nodes at the ports that follow [default: any
    /// that are free].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,

    /// Answer as this version of Redis does, where versions differ [default: 7.0].
    #[arg(long, value_enum)]
    version: Option<Answers>,

    /// How many partitions a topic of Kafka has that comes by itself [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    partitions: Option<u16>,

    /// How many nodes share the hash slots, or brokers the topics; one Redis is a server without a
    /// cluster.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    nodes: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Broker {
    Redis,
    Kafka,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Answers {
    #[value(name = "6.2")]
    V6_2,
    #[value(name = "7.0")]
    V7_0,
    #[value(name = "7.2")]
    V7_2,
    #[value(name = "8.0")]
    V8_0,
}

impl Answers {
    fn version(self) -> Version {
        match self {
            Self::V6_2 => Version::V6_2,
            Self::V7_0 => Version::V7_0,
            Self::V7_2 => Version::V7_2,
            Self::V8_0 => Version::V8_0,
        }
    }
}

pub(crate) fn run(serve: &Serve) -> Result<(), Fatal> {
    let nodes = usize::from(serve.nodes);
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    match serve.broker {
        Broker::Redis if serve.partitions.is_some() => {
            args::refuse("serve", "--partitions is for Kafka: leave it out")
        }
        Broker::Redis => {
            let version = serve.version.unwrap_or(Answers::V7_0).version();
            let config = redis::Config {
                version,
                nodes,
                cluster: nodes > 1,
                unix_ms_at_origin: u64::try_from(unix.as_millis()).unwrap_or_default(),
                ..redis::Config::default()
            };
            let server = start(serve, |port| Redis::new(redis::Config { port, ..config }))?;
            carry_on(&server, "redis", &format!("Redis {}", version.number()))
        }
        Broker::Kafka if serve.version.is_some() => {
            args::refuse("serve", "--version is for Redis: the model Kafka answers as 4.3; leave it out")
        }
        Broker::Kafka => {
            let config = kafka::Config {
                nodes,
                partitions: serve.partitions.unwrap_or(1).into(),
                unix_ms_at_origin: i64::try_from(unix.as_millis()).unwrap_or_default(),
                ..kafka::Config::default()
            };
            let server = start(serve, |port| Kafka::new(kafka::Config { port, ..config }))?;
            carry_on(&server, "kafka", "Apache Kafka 4.3")
        }
    }
}

fn carry_on<B: Model + Send + 'static>(server: &Server<B>, scheme: &str, whose: &str) -> Result<(), Fatal> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fatal::new(format_args!("can't start the runtime: {error}")))?;
    runtime.block_on(until_signal(server, scheme, whose))
}

async fn until_signal<B: Model + Send + 'static>(
    server: &Server<B>,
    scheme: &str,
    whose: &str,
) -> Result<(), Fatal> {
    // Before the first line: who has read it may end this.
    let stop =
        Stop::on_signals().map_err(|error| Fatal::new(format_args!("can't listen to signals: {error}")))?;
    // One URL a line, a node each, for scripts.
    say::data(server.addrs().iter().map(|addr| format!("{scheme}://{addr}\n")).collect::<String>())?;
    say::line(format_args!("serving: a model of {whose}; all that it holds is gone at its end"));
    loop {
        tokio::select! {
            () = stop.wait() => return Ok(()),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        if !server.is_running() {
            return Err(Fatal::new(
                "the model broke, as said above: please report it with what was sent to it",
            ));
        }
    }
}

fn start<B: Model + Send + 'static>(serve: &Serve, make: impl FnOnce(u16) -> B) -> Result<Server<B>, Fatal> {
    let options = Options::default();
    allow_files(options.connections);
    let started = Server::start_with(serve.nodes.into(), serve.port.unwrap_or(0), options, make);
    started.map_err(|error| match error {
        StartError::Bind { at, cause } if cause.kind() == io::ErrorKind::AddrInUse => {
            Fatal::new(format_args!(
                "port {} is in use: choose another with --port, or leave it out for one that is free",
                at.port()
            ))
        }
        StartError::Bind { at, cause } if cause.kind() == io::ErrorKind::PermissionDenied => {
            Fatal::new(format_args!("port {} is not for you ({cause}): choose one above 1023", at.port()))
        }
        other => Fatal::new(other),
    })
}

/// Each connection is an open file, and many systems allow 1024 at first.
fn allow_files(connections: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = connections as u64 + 100;
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
        // Where it is refused there will be fewer connections, and the others wait.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}
