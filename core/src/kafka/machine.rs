//! The machine: its parts, and the contract over them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::BytesMut;

use super::cluster::Cluster;
use super::coordinator::Coordinator;
use super::fetch::Reader;
use super::lane::Lane;
use super::link::Link;
use super::links::Role;
use super::membership::Membership;
use super::partitions::Partitions;
use crate::ack::Slot;
use crate::ack_buffer::AckBuffer;
use crate::backoff::Backoff;
use crate::command::Command;
use crate::commit::{AutoCommit, Schedule};
use crate::delivery::Delivery;
use crate::desk::{Close, Desk, Move, Phase};
use crate::endpoint::Endpoint;
use crate::error::{Error, RequestError};
use crate::event::{ConnId, Event};
use crate::options::{ConsumerMode, ConsumerOptions, Reset, Start};
use crate::pattern::{Pattern, Patterns, is_topic_name};
use crate::random::Random;
use crate::request::{Request, Ticket};
use crate::stats::Stats;
use crate::stream::{Epoch, Position, ShardId, StreamKey, Timestamp};
use crate::time::Instant;
use crate::timer::Wake;
use crate::{Machine as Contract, Setup};

/// What never changes.
pub(super) struct Config {
    pub(super) bootstrap: Vec<Endpoint>,
    pub(super) group: String,
    pub(super) no_ack: bool,
    pub(super) options: ConsumerOptions,
    /// At [`Instant::ZERO`].
    pub(super) wall_clock: Option<Timestamp>,
}

/// A consumer of Kafka topics as a pure value. See the [module](super) for how it works and
/// [`crate::Machine`] for how to drive it.
pub struct Machine {
    pub(super) config: Config,
    pub(super) now: Instant,
    pub(super) random: Random,
    pub(super) phase: Phase,
    pub(super) desk: Desk,
    pub(super) links: Vec<Link>,
    /// By role, the number of its link.
    pub(super) roles: BTreeMap<Role, u16>,
    /// Numbers whose connection isn't needed any more.
    pub(super) free_links: Vec<u16>,
    /// Which of the endpoints the seed tries.
    pub(super) seed_at: usize,
    pub(super) cluster: Cluster,
    pub(super) partitions: Partitions,
    /// By broker: the fetch sessions.
    pub(super) readers: BTreeMap<i32, Reader>,
    /// The first moment at which a replica has been read from for long enough.
    pub(super) replicas_until: Instant,
    pub(super) lane: Lane,
    pub(super) buffer: AckBuffer,
    pub(super) coordinator: Coordinator,
    pub(super) membership: Membership,
    pub(super) epoch: Epoch,
    /// The group was left by a seek or a rewind, or a position to start from: real-time.
    pub(super) detached: bool,
    /// Where partitions that appear later are read from, without a group.
    pub(super) start: Start,
    /// In force; empty is all.
    pub(super) selected: BTreeSet<(StreamKey, ShardId)>,
    /// In force: the first shard of each topic, whatever is selected.
    pub(super) first_only: bool,
    pub(super) moving: Option<Move>,
    pub(super) closing: Option<Close>,
    /// Acked messages of a membership that was lost while closing.
    pub(super) lost_acks: u64,
    /// A commit is on its way.
    pub(super) committing: bool,
    /// Messages acked, all in all, when a commit was sent last.
    pub(super) acked_before: u64,
    /// Positions to be committed that no ack stands behind, and when they may be.
    pub(super) unacked_commits: BTreeMap<Slot, i64>,
    pub(super) unacked_at: Instant,
    pub(super) unacked_backoff: Backoff,
    /// The operator was told that there are too many partitions.
    pub(super) too_many_said: bool,
    /// The operator was told that nothing is asked for.
    pub(super) unacked_said: bool,
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
        let Setup { endpoints, streams, options, host, generated_consumer, seed, wall_clock } = setup;
        options.check()?;
        let wrong = |what: &str| Err(Error::Options(what.into()));
        if endpoints.is_empty() {
            return wrong("no server is named");
        }
        if streams.is_empty() {
            return wrong("no topic is named");
        }
        if streams.len() > options.limits.shards_max {
            return wrong("more topics are named than limits.shards_max allows");
        }
        let is_odd = |name: &&StreamKey| !Pattern::is_one(name) && !is_topic_name(name.as_bytes());
        if let Some(odd) = streams.iter().find(is_odd) {
            return wrong(&format!(
                "{odd} can't be a topic: at most 249 letters, digits, dots, dashes and underscores"
            ));
        }
        let patterns = Patterns::among(&streams)?;
        if matches!(options.kafka.reset, Some(Reset::ByDuration(_))) && wall_clock.is_none() {
            return wrong(
                "reset by duration needs the time of day: fill in wall_clock in the setup, or choose earliest or \
                 latest",
            );
        }
        let named = options.group.as_ref().map(|group| text_of(group.as_bytes())).transpose()?;
        let group = match options.mode {
            ConsumerMode::RealTime => String::new(),
            ConsumerMode::LoadBalanced => named.unwrap_or_default(),
            ConsumerMode::Resumable => named
                .or_else(|| host.as_ref().map(ToString::to_string))
                .ok_or_else(|| Error::Options("resumable needs the host's id: set HOST_ID".into()))?,
        };
        // A position or a moment to start from is a rewind or a seek before the first message.
        let moved = matches!(options.start, Start::From(Position::At(_)) | Start::After(_));
        let selected: BTreeSet<_> = options.shards.iter().cloned().collect();
        let desk = Desk::new(&options.limits, &streams, selected.clone()).with_patterns(patterns.clone());
        if let Some((stream, _)) = selected.iter().find(|(stream, _)| !desk.is_subscribed(stream)) {
            return wrong(&format!("a shard of {stream} is assigned, but the topic is not subscribed"));
        }
        let limits = &options.limits;
        let backoff = || Backoff::new(limits.retry_min, limits.retry_max);
        let mut random = Random::new(seed);
        let membership = Membership::new(&options, &generated_consumer, &mut random, backoff())?;
        Ok(Self {
            now: Instant::ZERO,
            phase: Phase::Starting,
            desk,
            links: Vec::new(),
            roles: BTreeMap::new(),
            free_links: Vec::new(),
            seed_at: 0,
            cluster: Cluster::new(&streams, patterns, backoff()),
            partitions: Partitions::default(),
            readers: BTreeMap::new(),
            replicas_until: Instant::MAX,
            lane: Lane::new(limits.lane_bytes_max),
            // A frontier is one small request, whatever it stands for: sent long before so much is
            // un-acked that nothing more is asked for, as a second's messages may be.
            buffer: AckBuffer::new(options.auto_commit, limits.unacked_max / COMMITS, Schedule::IDLE),
            coordinator: Coordinator::new(backoff()),
            membership,
            epoch: Epoch(1),
            detached: moved,
            start: options.start,
            selected,
            first_only: false,
            moving: None,
            closing: None,
            lost_acks: 0,
            committing: false,
            acked_before: 0,
            unacked_commits: BTreeMap::new(),
            unacked_at: Instant::ZERO,
            unacked_backoff: backoff(),
            too_many_said: false,
            unacked_said: false,
            stats: Stats::default(),
            wake_at: Instant::MAX,
            nowhere: BytesMut::new(),
            random,
            config: Config {
                bootstrap: endpoints,
                group,
                no_ack: options.auto_commit == AutoCommit::Immediate,
                options,
                wall_clock,
            },
        })
    }

    /// There is a group whose offsets are kept: resumable, load-balanced, until a seek.
    pub(super) fn has_group(&self) -> bool {
        self.config.options.mode != ConsumerMode::RealTime && !self.detached
    }

    /// The group says which partitions are ours. Resumable is one consumer's alone: it takes all
    /// partitions itself, and is no member; so it goes on at once after a crash.
    pub(super) fn is_member(&self) -> bool {
        self.config.options.mode == ConsumerMode::LoadBalanced && !self.detached
    }

    /// Messages are acked and committed.
    pub(super) fn acks(&self) -> bool {
        self.has_group() && !self.config.no_ack
    }

    /// What is tried again later may be tried so often.
    pub(super) fn new_backoff(&self) -> Backoff {
        let limits = &self.config.options.limits;
        Backoff::new(limits.retry_min, limits.retry_max)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Failed(_))
    }

    pub(super) fn response_timeout(&self) -> Duration {
        self.config.options.limits.response_timeout
    }

    /// What any broker can answer from memory: one that doesn't is stuck, and another is asked.
    pub(super) fn seed_timeout(&self) -> Duration {
        self.response_timeout().min(SEED_TIMEOUT)
    }

    /// A coordinator that stands still is given up while the member's session at the next one
    /// still lasts; a commit may take it 5 s (`offsets.commit.timeout.ms`).
    pub(super) fn coordinator_timeout(&self) -> Duration {
        self.response_timeout().min(COORDINATOR_TIMEOUT)
    }

    /// Nothing can repair this: the last delivery.
    pub(super) fn fail(&mut self, error: Error) {
        if !self.is_over() {
            self.finish(Phase::Failed(error));
        }
    }

    fn pass_time(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.now > self.wake_at + OVERSLEPT {
            // It was us who were silent (a stopped process, a sleeping machine): what the brokers
            // answered meanwhile is still to be read.
            let now = self.now;
            self.links.iter_mut().for_each(|link| link.be_patient(now));
            self.membership.doubt(now);
            self.wake_at = Instant::MAX;
        }
    }

    /// Everything that can be done now.
    fn pump(&mut self) {
        if self.is_over() {
            return;
        }
        self.pump_links();
        self.pump_metadata();
        self.pump_commits();
        self.pump_close();
        if self.is_over() {
            return;
        }
        self.pump_move();
        self.pump_membership();
        self.pump_positions();
        self.pump_fetches();
        if self.is_over() {
            return;
        }
        for link in &mut self.links {
            if link.says_write() {
                self.desk.command(Command::Write { conn: link.conn() });
            }
        }
    }

    /// The first moment at which `pump` has something to do, if no event comes before.
    fn next_wake(&self) -> Option<Wake> {
        let wake = |at: Instant, why: &'static str| Some(Wake { at, why });
        let candidates = [
            self.links_wake(),
            self.closing.as_ref().and_then(|closing| wake(closing.until, "close deadline")),
            self.metadata_wake(),
            self.commit_wake(),
            self.coordinator_wake(),
            self.membership_wake(),
            self.positions_wake(),
            self.fetch_wake(),
        ];
        candidates.into_iter().flatten().min_by_key(|wake| wake.at)
    }

    /// Records of our partitions that were not handed out; `None` before the brokers told.
    fn lag(&self) -> Option<u64> {
        let behind = |slot: &Slot| {
            let partition = self.partitions.at(*slot);
            let known = partition.high_watermark >= 0;
            known.then(|| {
                u64::try_from(partition.high_watermark.saturating_sub(partition.handed.max(0))).unwrap_or(0)
            })
        };
        self.partitions.owned().iter().map(behind).try_fold(0u64, |sum, lag| Some(sum.saturating_add(lag?)))
    }

    fn link(&self, conn: ConnId) -> Option<&Link> {
        self.links.get(usize::from(conn.number)).filter(|link| link.is(conn))
    }
}

/// In how many commits what may be un-acked is committed, where it is acked faster than the interval
/// comes round.
const COMMITS: usize = 8;

const SEED_TIMEOUT: Duration = Duration::from_secs(3);
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(6);

/// A driver that wakes so much too late was not running.
const OVERSLEPT: Duration = Duration::from_secs(1);

/// Names are text on Kafka.
fn text_of(name: &[u8]) -> Result<String, Error> {
    let text =
        std::str::from_utf8(name).map_err(|_| Error::Options("the group's name is not text".into()))?;
    match text.len() {
        1..=32_767 => Ok(text.to_owned()),
        0 => Err(Error::Options("the group's name is empty: choose one".into())),
        _ => Err(Error::Options("the group's name is longer than Kafka allows (32,767 bytes)".into())),
    }
}

impl Contract for Machine {
    fn handle(&mut self, now: Instant, event: Event) {
        self.pass_time(now);
        match event {
            Event::Tick => {}
            Event::Opened { conn } => self.on_opened(conn),
            Event::OpenFailed { conn, cause } | Event::Closed { conn, cause } => {
                if self.link(conn).is_some() {
                    self.lose(conn.number, cause.into());
                }
            }
            Event::Received { conn } => {
                self.nowhere.clear();
                if self.link(conn).is_some() {
                    self.on_received(conn.number);
                }
            }
            Event::Wrote { conn, n } => {
                if let Some(link) = self.links.get_mut(usize::from(conn.number)).filter(|link| link.is(conn))
                {
                    self.stats.bytes_sent += link.handle_wrote(n) as u64;
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
        self.pump_expired();
        self.next_delivery().or_else(|| match &self.phase {
            Phase::Ended => Some(Delivery::End),
            Phase::Failed(error) => Some(Delivery::Failed(error.clone())),
            _ => None,
        })
    }

    fn outgoing(&self, conn: ConnId) -> &[u8] {
        self.link(conn).map_or(&[], Link::outgoing)
    }

    fn incoming(&mut self, conn: ConnId) -> &mut BytesMut {
        let number = usize::from(conn.number);
        if self.links.get(number).is_some_and(|link| link.is(conn)) {
            // Proved: looked up in the line before.
            return &mut self.links[number].incoming;
        }
        self.nowhere.clear();
        &mut self.nowhere
    }

    /// Always: what comes was asked for, and no more is asked for than there is room.
    fn wants_read(&self, conn: ConnId) -> bool {
        self.link(conn).is_some()
    }

    fn ack_appetite(&self) -> u64 {
        if self.acks() { self.buffer.schedule.appetite(self.buffer.ledger.acked()).max(1) } else { u64::MAX }
    }

    fn stats(&self) -> Stats {
        Stats {
            queued_bytes: self.lane.bytes() as u64,
            in_flight: self.buffer.ledger.in_flight(),
            uncommitted: self.buffer.ledger.acked(),
            shards: self.partitions.owned().len() as u64,
            lag: self.lag(),
            ..self.stats
        }
    }
}
