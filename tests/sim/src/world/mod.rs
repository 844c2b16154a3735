//! The world: machines, a broker, the pipes between them, applications, and a clock that jumps
//! to whatever happens next.
//!
//! # Theory of operation
//!
//! One queue holds what will happen: bytes arrive, a wake-up is due, work is done, a fault comes
//! or goes. The clock jumps from one to the next, so an idle hour costs nothing. Members run the
//! real machine, byte for byte what production runs, driven by the contract; the broker is a
//! model behind the same kind of contract; and between them each direction of a connection is a
//! lane of bytes.
//!
//! A run has two halves. In the first, faults come as the [swarm](crate::swarm) says. Then they
//! stop, but for members that stay dead for ever, applications work like everybody's, and the
//! [oracle](crate::oracle) says what is still to be done, until nothing is: bounded liveness.
//!
//! **Invariant:** a run is a function of its tape: the same choices, the same run, to the byte.
//!
//! **Invariant:** the world knows no protocol, and a broker or a machine only by its contract.

mod app;
mod drive;
mod lane;
mod member;
mod network;
mod observe;
pub(crate) mod payload;
mod phases;
mod picture;
mod queue;
mod trouble;
mod work;

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use tidegate_core::{
    ConsumerMode, Endpoint, HostId, Instant, Setup, ShardId, StreamKey, Timestamp, identity::HostFacts,
};

use crate::backend::{Backend, Fresh, Heal, UNIX_MS_AT_ORIGIN};
use crate::broker::Broker;
use crate::history::History;
use crate::oracle::{MessageId, Oracle, Run, Sometimes, Violation};
use crate::swarm::Swarm;
use crate::tape::Tape;
use app::App;
use member::Member;
use network::Conn;
use picture::Picture;
use queue::Queue;

/// What will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happening {
    Wake { member: usize, set_for: Instant },
    Drain { member: usize },
    Look { member: usize },
    Resume { member: usize, run: Run },
    Start { member: usize },
    Thaw { member: usize, run: Run },
    Connect { conn: usize, ok: bool },
    ToBroker { conn: usize },
    ToMember { conn: usize },
    BrokerEnd { conn: usize },
    MemberEnd { conn: usize },
    BrokerWake { set_for: Instant },
    Produce,
    Fault,
    Heal { heal: Heal },
    Mend { what: Lasting },
    Calm,
    Look4Calm,
}

/// A fault of the network that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    Partition { member: usize },
    Refuse,
    Hang,
    Slow,
    Other,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// What kind of world it was.
    pub swarm: Swarm,
    /// The promise that was broken, if one was.
    pub violation: Option<Violation>,
    /// What was seen.
    pub sometimes: Sometimes,
    /// Virtual time that passed.
    pub simulated: Duration,
    /// Everything that was handed to a machine, to the broker or to an application: events,
    /// requests, pieces of bytes, messages.
    pub events: u64,
    /// Messages that were appended, that applications got, and that they got again.
    pub messages: (u64, u64, u64),
    /// The tape as it was left: with what was chosen, if it recorded.
    pub tape: Tape,
    /// A hash over all that happened: the same for the same tape.
    pub hash: u64,
    /// What happened, line by line, where it was asked for.
    pub trace: String,
    /// What each consumer got, in its order, where it was asked for.
    pub got: Vec<(Run, MessageId)>,
    /// The same as a picture, where it was asked for.
    pub history: Option<History>,
}

/// What of a run is kept for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// [`Report::trace`].
    pub trace: bool,
    /// [`Report::history`].
    pub history: bool,
    /// [`Report::got`].
    pub got: bool,
}

/// Where a run is.
pub struct World<B: Backend> {
    now: Instant,
    tape: Tape,
    swarm: Swarm,
    backend: B,
    queue: Queue<Happening>,
    members: Vec<Member<B::Machine>>,
    conns: Vec<Conn>,
    oracle: Oracle,
    payloads: Payloads,
    endpoints: Vec<Endpoint>,
    shards: Vec<(StreamKey, ShardId)>,
    broker_wake: Option<Instant>,
    /// How long the pieces of the write at hand take.
    ways: [Duration; 2],
    produced: u64,
    /// Faults that go on.
    lasting: Vec<Lasting>,
    outages: usize,
    calm: bool,
    calm_since: Instant,
    events: u64,
    hash: u64,
    log: Option<String>,
    picture: Picture,
    got: Option<Vec<(Run, MessageId)>>,
    over: bool,
}

/// Which payload is which message.
#[derive(Clone, Copy, Debug)]
struct Payloads;

impl Payloads {
    fn read(self, payload: &[u8]) -> Option<MessageId> {
        payload::read(payload)
    }
}

/// Virtual time at the start: not the origin, so that "a while ago" is a moment, too.
const START: Instant = Instant::from_nanos(1_000_000_000_000);

impl<B: Fresh> World<B> {
    /// A world of the kind that the tape says.
    pub fn draw(mut tape: Tape, keep: Keep) -> Self {
        let mut swarm = Swarm::draw(&mut tape, B::FAULTS.len());
        B::refine(&mut swarm, &mut tape);
        Self::new(swarm, tape, keep)
    }

    /// A world of this kind.
    pub fn new(swarm: Swarm, tape: Tape, keep: Keep) -> Self {
        Self::around(swarm, tape, keep, B::new)
    }
}

impl<B: Backend> World<B> {
    /// A world of this kind, around the backend that is made for it.
    pub(crate) fn around(
        swarm: Swarm,
        mut tape: Tape,
        keep: Keep,
        make: impl FnOnce(&Swarm, &[(StreamKey, ShardId)], &mut Tape) -> B,
    ) -> Self {
        let mut shards = Vec::new();
        for (stream, count) in &swarm.streams {
            match count {
                0 => shards.push((stream.clone(), ShardId::ZERO)),
                count => shards.extend((0..*count).map(|shard| (stream.clone(), ShardId::new(shard)))),
            }
        }
        let backend = make(&swarm, &shards, &mut tape);
        let oracle = Oracle::new(&swarm, &shards, B::PROGRESS);
        let mut members = Vec::new();
        for (role, options) in swarm.roles.iter().enumerate() {
            members.extend(
                (0..options.members).map(|number| Member::new(role, number, App::new(options.plan.clone()))),
            );
        }
        let names = members.iter().map(|member| member_name(member.role, member.number)).collect();
        let mut world = Self {
            now: START,
            tape,
            backend,
            queue: Queue::default(),
            members,
            conns: Vec::new(),
            oracle,
            payloads: Payloads,
            endpoints: Vec::new(),
            shards,
            broker_wake: None,
            ways: [Duration::ZERO; 2],
            produced: 0,
            lasting: Vec::new(),
            outages: 0,
            calm: false,
            calm_since: START,
            events: 0,
            hash: 0xcbf2_9ce4_8422_2325,
            log: keep.trace.then(String::new),
            picture: Picture::new(keep.history, names),
            got: keep.got.then(Vec::new),
            over: false,
            swarm,
        };
        world.endpoints = world.backend.broker().endpoints().to_vec();
        world.oracle.pass_time(START);
        world.begin();
        world
    }

    /// Runs to the end: to the first broken promise, or until everything is well.
    pub fn run(mut self) -> Report {
        while !self.over && self.step() {}
        self.report()
    }

    /// As [`World::run`], and `more` after everything is well: what goes on then may come to its
    /// end. With what nobody has to get any more.
    pub(crate) fn run_on(mut self, more: Duration) -> (Report, Vec<MessageId>) {
        while !self.over && self.step() {}
        let until = self.now + more;
        while self.queue.next_at().is_some_and(|at| at <= until) && self.step() {}
        let lost = self.oracle.lost(0);
        (self.report(), lost)
    }

    /// One thing happens, if there is one and all is well.
    fn step(&mut self) -> bool {
        if self.oracle.violation().is_some() {
            return false;
        }
        let Some((at, what)) = self.queue.pop() else { return false };
        self.now = self.now.max(at);
        self.oracle.pass_time(self.now);
        self.events += 1;
        self.happen(what);
        self.mix(self.events ^ self.now.as_nanos().rotate_left(17));
        true
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Wake { member, set_for } => self.on_wake(member, set_for),
            Happening::Drain { member } => self.on_drain(member),
            Happening::Look { member } => self.on_look(member),
            Happening::Resume { member, run } => self.on_resume(member, run),
            Happening::Start { member } => self.start_member(member),
            Happening::Thaw { member, run } => self.on_thaw(member, run),
            Happening::Connect { conn, ok } => self.on_connect(conn, ok),
            Happening::ToBroker { conn } => self.deliver_to_broker(conn),
            Happening::ToMember { conn } => self.deliver_to_member(conn),
            Happening::BrokerEnd { conn } => self.on_broker_end(conn),
            Happening::MemberEnd { conn } => self.on_member_end(conn),
            Happening::BrokerWake { set_for } => self.on_broker_wake(set_for),
            Happening::Produce => self.on_produce(),
            Happening::Fault => self.on_fault(),
            Happening::Heal { heal } => self.on_heal(heal),
            Happening::Mend { what } => self.on_mend(what),
            Happening::Calm => self.on_calm(),
            Happening::Look4Calm => self.look_for_the_end(),
        }
    }

    fn report(mut self) -> Report {
        if let Some(violation) = self.oracle.violation() {
            let text = violation.to_string();
            self.picture.violation(self.now, &text);
            self.note(|| format!("VIOLATION {text}"));
        }
        let (got, again) = self.oracle.delivered();
        let messages = (self.oracle.appended(), got, again);
        Report {
            violation: self.oracle.violation().cloned(),
            sometimes: std::mem::take(&mut self.oracle.sometimes),
            simulated: self.now.since(START),
            events: self.events,
            messages,
            hash: self.hash,
            tape: self.tape,
            trace: self.log.take().unwrap_or_default(),
            got: self.got.take().unwrap_or_default(),
            history: self.picture.history(self.now, messages, self.oracle.pending().is_some()),
            swarm: self.swarm,
        }
    }

    /// What a member is made from, how it is called, and what the broker calls it.
    fn setup(&self, role: usize, number: usize, starts: u32) -> (Setup, String, Bytes) {
        let name = member_name(role, number);
        let generated = format!("{name}-{starts}");
        let kind = self.swarm.roles.get(role);
        let mut options = kind.map(|role| role.options.clone()).unwrap_or_default();
        let named = kind.is_some_and(|role| role.named);
        let mut host = None;
        match options.mode {
            ConsumerMode::LoadBalanced => {
                options.group.get_or_insert_with(|| group_name(role).as_str().into());
                if named {
                    options = options.consumer(name.as_str());
                }
            }
            ConsumerMode::Resumable => {
                let facts = HostFacts { override_: Some(name.clone()), ..HostFacts::default() };
                host = HostId::resolve(&facts).ok();
            }
            ConsumerMode::RealTime => {}
        }
        let called = if named { name } else { generated.clone() };
        let consumer = Bytes::from(called.clone().into_bytes());
        let setup = Setup {
            endpoints: self.endpoints.clone(),
            streams: self.swarm.streams.iter().map(|(stream, _)| stream.clone()).collect(),
            options,
            host,
            generated_consumer: generated.into(),
            seed: self.hash ^ u64::from(starts),
            wall_clock: Some(Timestamp::from_millis(UNIX_MS_AT_ORIGIN as i64)),
        };
        (setup, called, consumer)
    }

    /// What a role's group is called at the broker.
    fn group_of(&self, role: usize) -> Option<Bytes> {
        match self.swarm.roles.get(role)?.mode {
            ConsumerMode::LoadBalanced => {
                let named = self.swarm.roles.get(role)?.options.group.as_ref();
                let group = named.map(|group| Bytes::copy_from_slice(group.as_bytes()));
                Some(group.unwrap_or_else(|| group_name(role).into_bytes().into()))
            }
            ConsumerMode::Resumable => Some(member_name(role, 0).into_bytes().into()),
            ConsumerMode::RealTime => None,
        }
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3);
    }

    /// A line of the trace about a member.
    fn trace(&mut self, member: usize, text: impl FnOnce(&Self) -> String) {
        if self.log.is_some() {
            let (role, number) =
                self.members.get(member).map(|member| (member.role, member.number)).unwrap_or_default();
            let line = format!("{} {}", member_name(role, number), text(self));
            self.note(|| line);
        }
    }

    /// A line of the trace.
    fn note(&mut self, text: impl FnOnce() -> String) {
        let at = self.now.since(START);
        if let Some(log) = &mut self.log {
            // Printing into a string can't fail.
            let _ = writeln!(log, "{:>12.6} {}", at.as_secs_f64(), text());
        }
    }
}

/// As in traces and pictures.
fn member_name(role: usize, number: usize) -> String {
    format!("{}{}", ["m", "n", "o"].get(role).copied().unwrap_or("p"), number)
}

fn group_name(role: usize) -> String {
    format!("group-{role}")
}
