//! The machine that a URL asks for.

use bytes::BytesMut;
use tidegate_core::{
    Command, ConnId, ConsumerOptions, Delivery, Error, Event, HostId, Instant, Machine, Request,
    RequestError, Setup, Stats, Ticket,
};
use tidegate_core::{kafka, redis};

use crate::host;
use crate::url::StreamUrl;

/// Whose streams are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// Redis Streams.
    Redis,
    /// Apache Kafka.
    Kafka,
}

impl Backend {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Redis, Self::Kafka];

    /// Its name: the scheme of its URLs, and what its traces begin with.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Kafka => "kafka",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The machine of any backend.
pub struct AnyMachine(Kind);

enum Kind {
    Redis(Box<redis::Machine>),
    Kafka(Box<kafka::Machine>),
}

impl AnyMachine {
    /// The machine for `url`, made from `setup`.
    ///
    /// # Errors
    /// [`Error::Options`] and [`Error::Identity`]: what to change in the setup.
    pub fn new(url: &StreamUrl, setup: Setup) -> Result<Self, Error> {
        Self::of(url.backend(), setup)
    }

    /// The machine of `backend`, made from `setup`: for a trace that is done again.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of(backend: Backend, setup: Setup) -> Result<Self, Error> {
        match backend {
            Backend::Redis => Ok(Self(Kind::Redis(Box::new(redis::Machine::new(setup)?)))),
            Backend::Kafka => Ok(Self(Kind::Kafka(Box::new(kafka::Machine::new(setup)?)))),
        }
    }
}

impl std::fmt::Debug for AnyMachine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Kind::Redis(_) => "AnyMachine(redis)",
            Kind::Kafka(_) => "AnyMachine(kafka)",
        })
    }
}

/// What a machine for `url` is made from: what the URL says takes the place of what `options`
/// say, and the rest is found out about this host. `now` is what the clock shows by which the machine
/// will be driven ([`Runtime::now`](crate::Runtime::now)).
///
/// # Errors
/// [`Error::Identity`] if the mode is resumable and the host has no identity.
pub fn setup(url: &StreamUrl, options: ConsumerOptions, now: Instant) -> Result<Setup, Error> {
    let host = HostId::resolve(&host::facts());
    let resumable = options.mode == tidegate_core::ConsumerMode::Resumable;
    let named = options.group.is_some() && options.consumer.is_some();
    let host = match host {
        Ok(host) => Some(host),
        Err(error) if resumable && !named => return Err(error.into()),
        Err(_) => None,
    };
    Ok(Setup {
        endpoints: url.endpoints().to_vec(),
        streams: url.streams().to_vec(),
        options: url.apply(options),
        generated_consumer: host::generated_consumer(host.as_ref()),
        host,
        seed: host::seed(),
        wall_clock: Some(host::wall_clock(now)),
    })
}

macro_rules! each {
    ($any:expr, $machine:ident => $call:expr) => {
        match $any {
            Kind::Redis($machine) => $call,
            Kind::Kafka($machine) => $call,
        }
    };
}

impl Machine for AnyMachine {
    fn handle(&mut self, now: Instant, event: Event) {
        each!(&mut self.0, machine => machine.handle(now, event));
    }

    fn request(&mut self, now: Instant, request: Request) -> Result<Option<Ticket>, RequestError> {
        each!(&mut self.0, machine => machine.request(now, request))
    }

    fn poll_command(&mut self) -> Command {
        each!(&mut self.0, machine => machine.poll_command())
    }

    fn poll_delivery(&mut self) -> Option<Delivery> {
        each!(&mut self.0, machine => machine.poll_delivery())
    }

    fn outgoing(&self, conn: ConnId) -> &[u8] {
        each!(&self.0, machine => machine.outgoing(conn))
    }

    fn incoming(&mut self, conn: ConnId) -> &mut BytesMut {
        each!(&mut self.0, machine => machine.incoming(conn))
    }

    fn wants_read(&self, conn: ConnId) -> bool {
        each!(&self.0, machine => machine.wants_read(conn))
    }

    fn ack_appetite(&self) -> u64 {
        each!(&self.0, machine => machine.ack_appetite())
    }

    fn stats(&self) -> Stats {
        each!(&self.0, machine => machine.stats())
    }
}
