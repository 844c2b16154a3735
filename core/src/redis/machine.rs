//! The machine: its parts, and the contract over them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::keys::Keys;
use super::link::{Link, State};
use super::resp::{Bounds, Chunk};
use super::task::Origin;
use crate::ack::Slot;
use crate::ack_buffer::AckBuffer;
use crate::backoff::Backoff;
use crate::claim::{ClaimOptions, Cycle};
use crate::command::Command;
use crate::commit::{AutoCommit, Schedule};
use crate::delivery::{Delivery, Notice, Reason};
use crate::desk::{Close, Desk, Move, Phase};
use crate::endpoint::Endpoint;
use crate::error::{Error, RequestError};
use crate::event::{Cause, ConnId, Event};
use crate::flow::Flow;
use crate::mutation::{self, Mutation};
use crate::options::{ConsumerMode, ConsumerOptions, Start};
use crate::random::Random;
use crate::request::{Outcome, Request, Ticket};
use crate::stats::Stats;
use crate::stream::{Epoch, Position, SeqNo, ShardId, StreamKey};
use crate::time::Instant;
use crate::timer::Wake;
use crate::{Machine as Contract, Setup};

/// The connection that reads.
pub(super) const READER: u16 = 0;
/// The connection for everything else: nothing on it ever waits behind a blocked read.
pub(super) const CONTROL: u16 = 1;

/// What never changes.
pub(super) struct Config {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) group: Bytes,
    pub(super) consumer: Bytes,
    /// The consumer's name was made up, so it is removed at the end.
    pub(super) generated: bool,
    pub(super) no_ack: bool,
    pub(super) options: ConsumerOptions,
}

/// When to read, and how much.
pub(super) struct Reads {
    pub(super) hold_until: Instant,
    pub(super) backoff: Backoff,
    /// The last read gave all that was asked for: there is more, so ask twice.
    pub(super) full: bool,
    /// Keys that gave something lately: the credit is shared among them.
    pub(super) busy: usize,
    pub(super) unblock_at: Instant,
    pub(super) unblock_after: Duration,
    pub(super) unblocking: bool,
    pub(super) recovery: Option<Recovery>,
    /// By slot: committed while own pending entries are being read, so they may still come.
    pub(super) settled: BTreeSet<(u32, SeqNo)>,
    /// By slot: entries that wait for their delivery counts.
    pub(super) held: BTreeSet<(u32, SeqNo)>,
    /// Recovered entries that wait for their delivery counts.
    pub(super) counting: usize,
    /// The operator was told that nothing is asked for.
    pub(super) stalled: bool,
}

/// One read of own pending entries.
pub(super) struct Recovery {
    pub(super) asked: Vec<Slot>,
    pub(super) count: usize,
    /// By slot: entries that came, known ones and deleted ones included.
    pub(super) came: BTreeMap<u32, usize>,
}

/// A consumer of Redis streams as a pure value. See the [module](super) for how it works and
/// [`crate::Machine`] for how to drive it.
pub struct Machine {
    pub(super) config: Config,
    pub(super) now: Instant,
    pub(super) random: Random,
    pub(super) phase: Phase,
    /// Index of the endpoint in use.
    pub(super) endpoint: usize,
    pub(super) reader: Link,
    pub(super) control: Link,
    pub(super) keys: Keys,
    pub(super) probes: VecDeque<(usize, Option<u64>)>,
    pub(super) discovered: bool,
    pub(super) discover_at: Instant,
    pub(super) lag_next: u32,
    pub(super) reads: Reads,
    pub(super) buffer: AckBuffer,
    pub(super) cycle: Cycle,
    /// Questions about what is still ours that are without an answer.
    pub(super) touching: usize,
    /// Keys of which it is to be found out whether acks were forgotten, and from where on.
    pub(super) audits: BTreeMap<Slot, SeqNo>,
    /// When to find it out for all keys, and when once more.
    pub(super) audit_at: Option<Instant>,
    pub(super) audit_again_at: Option<Instant>,
    pub(super) flow: Flow,
    pub(super) epoch: Epoch,
    /// Reading without the group: by the mode, or since a seek.
    pub(super) real_time: bool,
    pub(super) start: Start,
    /// In force; empty is all.
    pub(super) selected: BTreeSet<(StreamKey, ShardId)>,
    pub(super) lane: VecDeque<Delivery>,
    pub(super) desk: Desk,
    pub(super) moving: Option<Move>,
    pub(super) closing: Option<Close>,
    pub(super) chunks: Vec<Chunk>,
    pub(super) ids: Vec<SeqNo>,
    pub(super) stats: Stats,
    /// As `Wait` said last.
    wake_at: Instant,
    /// Where bytes for a connection that is no more go.
    nowhere: BytesMut,
}

impl Machine {
    /// A consumer that hasn't done anything yet; its first commands open its connections.
    ///
    /// # Errors
    /// [`Error::Options`] and [`Error::Identity`]: what to change in the setup.
    pub fn new(setup: Setup) -> Result<Self, Error> {
        let Setup { endpoints, streams, options, host, generated_consumer, seed, .. } = setup;
        options.check()?;
        let wrong = |what: &str| Err(Error::Options(what.into()));
        if endpoints.is_empty() {
            return wrong("no server is named");
        }
        if streams.is_empty() {
            return wrong("no stream is named");
        }
        if streams.len() > options.limits.shards_max {
            return wrong("more streams are named than limits.shards_max allows");
        }
        let host = || host.as_ref().map(|host| Bytes::copy_from_slice(host.to_string().as_bytes()));
        let named_group = options.group.as_ref().map(|group| Bytes::copy_from_slice(group.as_bytes()));
        let named = options.consumer.as_ref().map(|consumer| Bytes::copy_from_slice(consumer.as_bytes()));
        let generated = Bytes::copy_from_slice(generated_consumer.as_bytes());
        let no_host = || Error::Options("resumable needs the host's id: set HOST_ID".into());
        let (group, consumer) = match options.mode {
            ConsumerMode::RealTime => (Bytes::new(), named.clone().unwrap_or(generated)),
            ConsumerMode::LoadBalanced => {
                (named_group.unwrap_or_default(), named.clone().unwrap_or(generated))
            }
            ConsumerMode::Resumable => (
                named_group.or_else(host).ok_or_else(no_host)?,
                named.clone().or_else(host).ok_or_else(no_host)?,
            ),
        };
        let no_ack = options.auto_commit == AutoCommit::Immediate;
        // A position or a moment to start from is a rewind or a seek before the first message.
        let moved = matches!(options.start, Start::From(Position::At(_)) | Start::After(_));
        let real_time = options.mode == ConsumerMode::RealTime || moved;
        let limits = &options.limits;
        let bound = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        let bounds = Bounds {
            depth: bound(limits.reply_depth_max),
            line: bound(limits.reply_line_max),
            bulk: bound(limits.reply_bulk_max),
            aggregate: bound(limits.reply_elements_max),
            total: bound(limits.reply_bytes_max),
        };
        let backoff = || Backoff::new(limits.retry_min, limits.retry_max);
        let mut random = Random::new(seed);
        let claims = match options.mode {
            ConsumerMode::LoadBalanced if !no_ack && !real_time => options.claim,
            _ => ClaimOptions::Never,
        };
        let cycle =
            Cycle::new(claims, limits.claim_messages_max, Cycle::PAGES_MAX, Instant::ZERO, &mut random);
        let selected: BTreeSet<_> = options.shards.iter().cloned().collect();
        if let Some((stream, _)) = selected.iter().find(|(stream, _)| !streams.contains(stream)) {
            return wrong(&format!("a shard of {stream} is assigned, but the stream is not subscribed"));
        }
        Ok(Self {
            now: Instant::ZERO,
            phase: Phase::Starting,
            endpoint: 0,
            reader: Link::new(READER, bounds, backoff()),
            control: Link::new(CONTROL, bounds, backoff()),
            keys: Keys::new(&streams),
            probes: VecDeque::new(),
            discovered: false,
            discover_at: Instant::MAX,
            lag_next: 0,
            reads: Reads {
                hold_until: Instant::ZERO,
                backoff: backoff(),
                full: false,
                busy: 1,
                unblock_at: Instant::ZERO,
                unblock_after: UNBLOCK_AFTER,
                unblocking: false,
                recovery: None,
                settled: BTreeSet::new(),
                held: BTreeSet::new(),
                counting: 0,
                stalled: false,
            },
            buffer: AckBuffer::new(options.auto_commit, limits.commit_messages_max, Schedule::IDLE),
            cycle,
            touching: 0,
            audits: BTreeMap::new(),
            audit_at: None,
            audit_again_at: None,
            flow: Flow::new(limits.lane_records_max, limits.lane_bytes_max)
                .with_unacked_max(limits.unacked_max),
            epoch: Epoch(1),
            real_time,
            start: options.start,
            lane: VecDeque::new(),
            desk: Desk::new(limits, &streams, selected.clone()),
            selected,
            moving: None,
            closing: None,
            chunks: Vec::new(),
            ids: Vec::new(),
            stats: Stats::default(),
            wake_at: Instant::MAX,
            nowhere: BytesMut::new(),
            random,
            config: Config {
                endpoints,
                group,
                consumer,
                generated: named.is_none() && options.mode == ConsumerMode::LoadBalanced,
                no_ack,
                options,
            },
        })
    }

    /// Messages are acked and committed.
    pub(super) fn acks(&self) -> bool {
        !self.real_time && !self.config.no_ack
    }

    /// What is tried again later may be tried so often.
    pub(super) fn new_backoff(&self) -> Backoff {
        let limits = &self.config.options.limits;
        Backoff::new(limits.retry_min, limits.retry_max)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Failed(_))
    }

    pub(super) fn link_mut(&mut self, conn: ConnId) -> Option<&mut Link> {
        let link = if conn.number == READER { &mut self.reader } else { &mut self.control };
        link.is(conn).then_some(link)
    }

    fn link(&self, conn: ConnId) -> Option<&Link> {
        let link = if conn.number == READER { &self.reader } else { &self.control };
        link.is(conn).then_some(link)
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.desk.notice(notice);
    }

    pub(super) fn done(&mut self, ticket: Ticket, outcome: Outcome) {
        self.desk.done(ticket, outcome);
    }

    /// Nothing can repair this: the last delivery.
    pub(super) fn fail(&mut self, error: Error) {
        if self.is_over() {
            return;
        }
        self.finish(Phase::Failed(error));
    }

    fn pass_time(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.now > self.wake_at + OVERSLEPT {
            // It was us who were silent (a stopped process, a sleeping machine): what the server
            // answered meanwhile is still to be read.
            self.reader.be_patient(self.now);
            self.control.be_patient(self.now);
            self.wake_at = Instant::MAX;
        }
    }

    /// Everything that can be done now.
    fn pump(&mut self) {
        if self.is_over() {
            return;
        }
        self.pump_links();
        self.keys.handle_time(self.now);
        self.pump_setup();
        self.pump_commits();
        self.pump_close();
        if self.is_over() {
            return;
        }
        self.pump_move();
        self.pump_claims();
        self.pump_audits();
        self.pump_reads();
        self.pump_unblock();
        for link in [&mut self.reader, &mut self.control] {
            if link.says_write() {
                self.desk.command(Command::Write { conn: link.conn() });
            }
        }
    }

    /// The first moment at which `pump` has something to do, if no event comes before.
    fn next_wake(&self) -> Option<Wake> {
        let wake = |at: Instant, why: &'static str| Some(Wake { at, why });
        let control = self.control.is_ready();
        let candidates = [
            self.link_wake(&self.reader, self.flow.wants_read()),
            self.link_wake(&self.control, true),
            self.closing.as_ref().and_then(|closing| wake(closing.until, "close deadline")),
            self.keys.next_wake().and_then(|at| wake(at, "a key is looked at again")),
            self.discover_wake(),
            self.unblock_wake(),
            self.read_wake(),
            self.audit_wake(),
            if control { self.commit_wake() } else { None },
            if control { self.claim_wake() } else { None },
        ];
        candidates.into_iter().flatten().min_by_key(|wake| wake.at)
    }

    fn link_wake(&self, link: &Link, reading: bool) -> Option<Wake> {
        match link.state {
            State::Down { .. } if mutation::is(Mutation::WakeForgotten) => None,
            State::Down { retry_at } => Some(Wake { at: retry_at, why: "reconnect" }),
            State::Off => None,
            State::Opening { until } => Some(Wake { at: until, why: "connect timeout" }),
            _ if reading => link.deadline().map(|at| Wake { at, why: "response timeout" }),
            _ => None,
        }
    }
}

/// A driver that wakes so much too late was not running.
const OVERSLEPT: Duration = Duration::from_secs(1);

/// How soon a CLIENT UNBLOCK that came before its read is sent again: about a round trip.
pub(super) const UNBLOCK_AFTER: Duration = Duration::from_millis(1);

impl Contract for Machine {
    fn handle(&mut self, now: Instant, event: Event) {
        self.pass_time(now);
        match event {
            Event::Tick => {}
            Event::Opened { conn } => self.on_opened(conn),
            Event::OpenFailed { conn, cause } | Event::Closed { conn, cause } => {
                if self.link_mut(conn).is_some() {
                    self.lose(conn.number, Reason::Connection(cause));
                }
            }
            Event::Received { conn } => {
                self.nowhere.clear();
                if self.link_mut(conn).is_some() {
                    self.on_received(conn.number);
                }
            }
            Event::Wrote { conn, n } => {
                if let Some(link) = self.link_mut(conn) {
                    let sent = link.handle_wrote(n);
                    self.stats.bytes_sent += sent as u64;
                }
            }
        }
        self.pump();
    }

    fn request(&mut self, now: Instant, request: Request) -> Result<Option<Ticket>, RequestError> {
        self.pass_time(now);
        let ticket = self.on_request(request)?;
        self.pump();
        Ok(ticket)
    }

    fn poll_command(&mut self) -> Command {
        // Taking a delivery made room; its driver then comes here.
        if self.desk.is_empty() {
            self.pump();
        }
        match self.desk.poll() {
            Some(command) => command,
            None if self.is_over() => Command::Wait(None),
            None => {
                let wake = self.next_wake();
                self.wake_at = wake.map_or(Instant::MAX, |wake| wake.at);
                Command::Wait(wake)
            }
        }
    }

    fn poll_delivery(&mut self) -> Option<Delivery> {
        if self.desk.paused && !self.is_over() {
            return None;
        }
        match self.lane.pop_front() {
            Some(Delivery::Batch(batch)) => {
                self.flow.handle_taken(batch.len(), batch.bytes());
                Some(Delivery::Batch(batch))
            }
            Some(delivery) => Some(delivery),
            None => match &self.phase {
                Phase::Ended => Some(Delivery::End),
                Phase::Failed(error) => Some(Delivery::Failed(error.clone())),
                _ => None,
            },
        }
    }

    fn outgoing(&self, conn: ConnId) -> &[u8] {
        self.link(conn).map_or(&[], Link::outgoing)
    }

    fn incoming(&mut self, conn: ConnId) -> &mut BytesMut {
        let link = if conn.number == READER { &mut self.reader } else { &mut self.control };
        if link.is(conn) {
            return &mut link.incoming;
        }
        self.nowhere.clear();
        &mut self.nowhere
    }

    fn wants_read(&self, conn: ConnId) -> bool {
        self.link(conn).is_some() && (conn.number != READER || self.flow.wants_read())
    }

    fn ack_appetite(&self) -> u64 {
        if self.acks() { self.buffer.schedule.appetite(self.buffer.ledger.acked()).max(1) } else { u64::MAX }
    }

    fn stats(&self) -> Stats {
        Stats {
            queued: self.flow.records() as u64,
            queued_bytes: self.flow.bytes() as u64,
            in_flight: self.buffer.ledger.in_flight(),
            uncommitted: self.buffer.ledger.acked() + self.buffer.ledger.committing(),
            shards: self.keys.ready() as u64,
            lag: self.lag(),
            ..self.stats
        }
    }
}

/// The origin of own entries that are read again.
impl Machine {
    pub(super) fn recovered_origin(&self, slot: Slot) -> Origin {
        if self.keys.at(slot).recovered { Origin::Reconnected } else { Origin::Restarted }
    }

    /// The first connection could not be made; other endpoints are tried first.
    pub(super) fn connect_error(&self, cause: Cause) -> Error {
        Error::Connect { endpoint: self.endpoint().clone(), cause }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        // Proved: `new` refuses a setup without endpoints, and the index is taken modulo.
        &self.config.endpoints[self.endpoint % self.config.endpoints.len()]
    }
}
