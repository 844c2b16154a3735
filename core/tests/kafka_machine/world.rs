//! A driver, an application and a cluster around one machine, in virtual time.
//!
//! What holds always is checked here, whatever a test does: order and epochs of deliveries (G11),
//! contents, commits that pass nothing un-acked and never go back (K2), no spinning (G12).

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tidegate_core::identity::{HostFacts, HostId};
use tidegate_core::kafka::Machine;
use tidegate_core::kafka::wire::*;
use tidegate_core::{
    AckRange, Cause, Command, ConnId, ConsumerMode, ConsumerOptions, Endpoint, Epoch, Event, Instant,
    Machine as _, Notice, Outcome, Request as Ask, RequestError, Setup, Ticket, Timestamp, Wake,
};

use super::fetching_model::Taken;
use super::model::{Cluster, Part, part, stamp_of};

/// What becomes of an answer.
pub enum Fate {
    Reply,
    /// The broker acted, and nothing of this connection is answered any more.
    Silent,
    /// The broker acted, and the connection ends before the answer.
    Cut,
    After(Duration),
    Twice,
    /// Other bytes in its place.
    Bytes(Bytes),
}

type Edit = Box<dyn FnMut(&dyn Any, Option<&mut dyn Any>) -> (Option<Box<dyn Any>>, Fate)>;

struct Rule {
    key: i16,
    left: usize,
    /// The broker doesn't act.
    instead: bool,
    edit: Edit,
}

/// A request as it came.
#[derive(Clone)]
pub struct Seen {
    pub at: Instant,
    pub node: i32,
    key: i16,
    body: Rc<dyn Any>,
}

/// A message as the application got it.
#[derive(Clone, Debug)]
pub struct Got {
    pub part: Part,
    pub offset: i64,
    pub epoch: Epoch,
    pub timestamp: i64,
    pub range: Option<AckRange>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<String>)>,
}

/// How the application behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum App {
    /// It takes nothing.
    Stopped,
    /// It takes everything and acks nothing.
    Takes,
    /// It takes and acks everything.
    Acks,
}

struct Conn {
    node: i32,
    open: bool,
    mute: bool,
    read: BytesMut,
    /// Answers leave in order.
    last: Instant,
}

enum Due {
    Opened(ConnId),
    Refused(ConnId),
    Bytes(ConnId, Bytes),
    Cut(ConnId),
}

struct Parked {
    conn: ConnId,
    header: RequestHeader,
    request: FetchRequest,
    taken: Taken,
    until: Instant,
}

pub struct World {
    pub machine: Machine,
    pub now: Instant,
    pub cluster: Cluster,
    pub app: App,
    pub latency: Duration,
    /// Bytes reach the machine one at a time.
    pub single: bool,
    pub seen: Vec<Seen>,
    pub got: Vec<Got>,
    /// The data lane without its batches: assignments and ends, in order.
    pub lane: Vec<String>,
    pub notices: Vec<Notice>,
    pub done: BTreeMap<Ticket, Outcome>,
    pub opened: Vec<(Instant, i32)>,
    /// Bytes of records that were sent.
    pub record_bytes: usize,
    pub taken_bytes: usize,
    pub wake: Option<Wake>,
    /// Commands, bytes and deliveries, as text.
    pub transcript: Vec<String>,
    /// Nothing is written down: much faster.
    pub quiet: bool,
    /// Answers may be nonsense, so what comes of them isn't checked against the logs.
    pub chaos: bool,
    rules: Vec<Rule>,
    conns: BTreeMap<ConnId, Conn>,
    due: BTreeMap<(Instant, u64), Due>,
    count: u64,
    parked: Vec<Parked>,
    unacked: BTreeMap<Part, BTreeSet<i64>>,
    assigned: BTreeMap<Part, (Epoch, i64)>,
    committed: BTreeMap<(Part, Epoch), i64>,
    to_ack: VecDeque<AckRange>,
    acking: bool,
    at_one_moment: u32,
    ended: bool,
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// What the wall clock shows at the origin of time: an hour after the record at offset 0.
pub const WALL: i64 = stamp_of(0) + 3_600_000;

pub fn group() -> ConsumerOptions {
    ConsumerOptions::new(ConsumerMode::LoadBalanced).group("g")
}

pub fn setup(options: ConsumerOptions, topics: &[&str], brokers: i32) -> Setup {
    let facts = HostFacts { override_: Some("host".into()), ..Default::default() };
    Setup {
        endpoints: (1..=brokers).map(|node| Endpoint::tcp(&format!("b{node}"), 9092)).collect(),
        streams: topics.iter().map(|topic| (*topic).into()).collect(),
        options,
        host: HostId::resolve(&facts).ok(),
        generated_consumer: "member".into(),
        seed: 7,
        wall_clock: Some(Timestamp::from_millis(WALL)),
    }
}

impl World {
    /// The consumer reads all topics of the cluster.
    pub fn new(options: ConsumerOptions, cluster: Cluster) -> Self {
        let topics: Vec<String> = cluster.topics.keys().cloned().collect();
        let topics: Vec<_> = topics.iter().map(String::as_str).collect();
        Self::reading(options, &topics, cluster)
    }

    pub fn reading(options: ConsumerOptions, topics: &[&str], cluster: Cluster) -> Self {
        let acking = options.mode != ConsumerMode::RealTime;
        let setup = setup(options, topics, cluster.nodes.len() as i32);
        Self {
            machine: Machine::new(setup).unwrap(),
            now: Instant::from_nanos(1),
            cluster,
            app: App::Acks,
            latency: millis(1),
            single: false,
            seen: Vec::new(),
            got: Vec::new(),
            lane: Vec::new(),
            notices: Vec::new(),
            done: BTreeMap::new(),
            opened: Vec::new(),
            record_bytes: 0,
            taken_bytes: 0,
            wake: None,
            transcript: Vec::new(),
            quiet: false,
            chaos: false,
            rules: Vec::new(),
            conns: BTreeMap::new(),
            due: BTreeMap::new(),
            count: 0,
            parked: Vec::new(),
            unacked: BTreeMap::new(),
            assigned: BTreeMap::new(),
            committed: BTreeMap::new(),
            to_ack: VecDeque::new(),
            acking,
            at_one_moment: 0,
            ended: false,
        }
    }

    /// The next `times` answers to this request are changed after the broker acted.
    pub fn on<R: Request + 'static>(
        &mut self,
        times: usize,
        mut edit: impl FnMut(&R, &mut R::Response) -> Fate + 'static,
    ) where
        R::Response: 'static,
    {
        let edit: Edit = Box::new(move |request, answer| {
            let request = request.downcast_ref().unwrap();
            (None, edit(request, answer.unwrap().downcast_mut().unwrap()))
        });
        self.rules.push(Rule { key: R::KEY, left: times, instead: false, edit });
    }

    /// The next `times` requests of this kind are answered so, and the broker doesn't act.
    pub fn instead<R: Request + 'static>(
        &mut self,
        times: usize,
        mut answer: impl FnMut(&R) -> R::Response + 'static,
    ) where
        R::Response: 'static,
    {
        let edit: Edit = Box::new(move |request, _| {
            let answer: Box<dyn Any> = Box::new(answer(request.downcast_ref().unwrap()));
            (Some(answer), Fate::Reply)
        });
        self.rules.push(Rule { key: R::KEY, left: times, instead: true, edit });
    }

    /// No request is answered in another way any more.
    pub fn heal(&mut self) {
        self.rules.clear();
    }

    /// All requests of this kind so far.
    pub fn all<R: Request + 'static>(&self) -> Vec<&R> {
        self.seen
            .iter()
            .filter(|seen| seen.key == R::KEY)
            .filter_map(|seen| seen.body.downcast_ref())
            .collect()
    }

    /// When and where they came.
    pub fn places<R: Request>(&self) -> Vec<(Instant, i32)> {
        self.seen.iter().filter(|seen| seen.key == R::KEY).map(|seen| (seen.at, seen.node)).collect()
    }

    pub fn count<R: Request>(&self) -> usize {
        self.seen.iter().filter(|seen| seen.key == R::KEY).count()
    }

    pub fn offsets(&self, topic: &str, index: i32) -> Vec<i64> {
        self.got.iter().filter(|got| got.part == part(topic, index)).map(|got| got.offset).collect()
    }

    pub fn committed(&self, topic: &str, index: i32) -> Option<i64> {
        self.cluster.group.committed.get(&part(topic, index)).map(|(offset, _)| *offset)
    }

    pub fn produce(&mut self, topic: &str, index: i32, count: i64) {
        self.cluster.produce(topic, index, count);
    }

    pub fn ask(&mut self, ask: Ask) -> Result<Option<Ticket>, RequestError> {
        let ticket = self.machine.request(self.now, ask);
        self.settle();
        ticket
    }

    /// Acks one message.
    pub fn ack(&mut self, topic: &str, index: i32, offset: i64) {
        let got = self.got.iter().rev().find(|got| got.part == part(topic, index) && got.offset == offset);
        let range =
            got.unwrap_or_else(|| panic!("{topic}/{index} {offset} was not delivered")).range.unwrap();
        self.unacked.entry(part(topic, index)).or_default().remove(&offset);
        self.machine.request(self.now, Ask::Ack(vec![range])).unwrap();
    }

    /// Asks, and waits for the outcome.
    pub fn outcome(&mut self, ask: Ask, within: Duration) -> Outcome {
        let ticket = self.ask(ask).unwrap().expect("a ticket");
        self.until(within, |world| world.done.contains_key(&ticket));
        self.done[&ticket].clone()
    }

    /// Goes on for so long.
    pub fn run(&mut self, by: Duration) {
        let end = self.now + by;
        self.settle();
        while self.step(end) {}
    }

    /// Goes on until it holds.
    pub fn until(&mut self, within: Duration, mut holds: impl FnMut(&Self) -> bool) {
        let end = self.now + within;
        self.settle();
        while !holds(self) {
            if !self.step(end) {
                self.report();
                panic!("it doesn't come true within {within:?}");
            }
        }
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        if !self.quiet {
            self.transcript.push(format!("{:?} {}", self.now, line()));
        }
    }

    /// What happened, for a test that fails.
    pub fn report(&self) {
        let dull = |line: &&String| ["Wait(", " write ", "Fetch"].iter().any(|word| line.contains(word));
        let lines: Vec<_> = self.transcript.iter().filter(|line| !dull(line)).collect();
        for line in lines.iter().skip(lines.len().saturating_sub(40)) {
            eprintln!("{}", line.chars().take(300).collect::<String>());
        }
        eprintln!("at {:?}, {:?}; lane {:?}", self.now, self.wake, self.lane);
        eprintln!("got {}, committed {:?}", self.got.len(), self.cluster.group.committed);
    }

    /// The next thing that happens, not after `end`; false when there is nothing more until then.
    pub fn step(&mut self, end: Instant) -> bool {
        let due = self.due.first_key_value().map(|((at, _), _)| *at);
        let parked = self.parked.iter().map(|parked| parked.until).min();
        let wake = self.wake.map(|wake| wake.at.max(self.now));
        let Some(next) = [due, parked, wake].into_iter().flatten().min().filter(|next| *next <= end) else {
            self.now = self.now.max(end);
            return false;
        };
        if next > self.now {
            self.at_one_moment = 0;
        }
        self.now = self.now.max(next);
        self.at_one_moment += 1;
        assert!(self.at_one_moment < 2_000 || self.single, "it spins: {:?}", self.wake);
        if let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let due = entry.remove();
            self.happen(due);
        } else {
            self.handle(Event::Tick);
        }
        self.settle();
        true
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Opened(conn) => {
                let Some(known) = self.conns.get_mut(&conn) else { return };
                known.open = true;
                self.handle(Event::Opened { conn });
            }
            Due::Refused(conn) => {
                if self.conns.remove(&conn).is_some() {
                    self.handle(Event::OpenFailed { conn, cause: Cause::Refused });
                }
            }
            Due::Bytes(conn, bytes) => {
                if !self.conns.contains_key(&conn) {
                    return;
                }
                for piece in bytes.chunks(if self.single { 1 } else { bytes.len().max(1) }) {
                    if !self.machine.wants_read(conn) {
                        break;
                    }
                    self.machine.incoming(conn).extend_from_slice(piece);
                    self.handle(Event::Received { conn });
                }
            }
            Due::Cut(conn) => self.cut(conn),
        }
    }

    fn handle(&mut self, event: Event) {
        self.machine.handle(self.now, event);
    }

    /// The connection ends, from the broker's side.
    pub fn cut(&mut self, conn: ConnId) {
        if self.conns.remove(&conn).is_some() {
            self.parked.retain(|parked| parked.conn != conn);
            self.handle(Event::Closed { conn, cause: Cause::Reset });
        }
    }

    /// All connections to this node.
    pub fn conns_to(&self, node: i32) -> Vec<ConnId> {
        self.conns.iter().filter(|(_, conn)| conn.node == node).map(|(id, _)| *id).collect()
    }

    pub fn conns(&self) -> Vec<ConnId> {
        self.conns.keys().copied().collect()
    }

    /// A broker dies: what is connected ends, nobody listens.
    pub fn kill(&mut self, node: i32) {
        self.cluster.down.insert(node);
        self.conns_to(node).into_iter().for_each(|conn| self.cut(conn));
        self.settle();
    }

    /// A broker is stopped: connections stay, nothing is answered.
    pub fn freeze(&mut self) {
        self.conns.values_mut().for_each(|conn| conn.mute = true);
        self.parked.clear();
        self.due.clear();
    }

    /// Until there is nothing to do at this moment.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            let commanded = self.commands();
            let delivered = self.deliveries();
            let answered = self.answer_parked();
            if !(commanded || delivered || answered) {
                return;
            }
        }
        panic!("it never settles: {:?}", &self.transcript[self.transcript.len().saturating_sub(10)..]);
    }

    fn commands(&mut self) -> bool {
        let mut any = false;
        loop {
            let command = self.machine.poll_command();
            if !matches!(command, Command::Write { .. }) {
                self.note(|| format!("{command:?}"));
            }
            match command {
                Command::Wait(wake) => {
                    self.wake = wake;
                    return any;
                }
                Command::Open { conn, endpoint } => {
                    let node =
                        endpoint.host.strip_prefix('b').and_then(|node| node.parse().ok()).unwrap_or(0);
                    self.opened.push((self.now, node));
                    let last = self.now;
                    let made = Conn { node, open: false, mute: false, read: BytesMut::new(), last };
                    let there = self.cluster.nodes.contains(&node) && !self.cluster.down.contains(&node);
                    assert!(self.conns.insert(conn, made).is_none(), "{conn} is used twice");
                    let due = if there { Due::Opened(conn) } else { Due::Refused(conn) };
                    self.schedule(self.now + self.latency, due);
                }
                Command::Close { conn } => {
                    self.conns.remove(&conn);
                    self.parked.retain(|parked| parked.conn != conn);
                }
                Command::Write { conn } => self.write(conn),
                Command::Done { ticket, outcome } => {
                    assert!(self.done.insert(ticket, outcome).is_none(), "{ticket:?} is done twice");
                }
                Command::Notice(notice) => self.notices.push(notice),
            }
            any = true;
        }
    }

    fn schedule(&mut self, at: Instant, due: Due) {
        self.count += 1;
        self.due.insert((at, self.count), due);
    }

    fn write(&mut self, conn: ConnId) {
        let bytes = self.machine.outgoing(conn).to_vec();
        self.note(|| format!("write {conn} {}", bytes.escape_ascii()));
        let Some(known) = self.conns.get_mut(&conn) else { return };
        known.read.extend_from_slice(&bytes);
        self.handle(Event::Wrote { conn, n: bytes.len() });
        while let Some(frame) =
            self.conns.get_mut(&conn).and_then(|known| split_frame(&mut known.read, 1 << 30).unwrap())
        {
            self.serve(conn, frame);
        }
    }
}

#[path = "world_io.rs"]
mod io;
#[path = "world_serve.rs"]
mod serve;
