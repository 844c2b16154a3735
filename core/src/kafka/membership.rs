//! The group's life, as far as both protocols have it in common: the state, and the way from one
//! assignment to the next.
//!
//! | state | classic | consumer (KIP-848) |
//! |---|---|---|
//! | `Unjoined` | about to join | about to send epoch 0 |
//! | `Preparing` | eager: lets everything go first, and heartbeats meanwhile | |
//! | `Joining` | JoinGroup is on its way | the heartbeat with epoch 0 is |
//! | `Assigning` | leader: waits for metadata of the members' topics | |
//! | `Syncing` | SyncGroup is on its way | |
//! | `Stable` | heartbeats | heartbeats, and reconciles |
//! | `Leaving` | LeaveGroup is on its way | the heartbeat with epoch -1 or -2 is |
//! | `Left` | out | out |
//!
//! [`LEGAL`] has the transitions; what both protocols do with an error code of the coordinator is
//! the table at [`Machine::on_group_error`].
//!
//! **Invariant:** partitions are let go in two ways: revoked, which commits first and takes a
//! bounded time; or lost, when the coordinator says that we are no member, or the topic is gone,
//! which commits nothing.
//!
//! **Invariant:** a partition is read only while the last assignment that we know of has it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::classic::Classic;
use super::consumer::Consumer;
use super::fault;
use super::machine::Machine;
use super::task::Task;
use super::wire::{ConsumerGroupHeartbeatRequest, ErrorCode};
use crate::ack::Slot;
use crate::backoff::Backoff;
use crate::delivery::{Notice, Reason};
use crate::desk::Phase;
use crate::error::Error;
use crate::identity::ConsumerId;
use crate::mutation::{self, Mutation};
use crate::options::{ConsumerMode, ConsumerOptions, GroupProtocol};
use crate::random::Random;
use crate::time::Instant;
use crate::timer::Wake;

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Unjoined,
    Preparing,
    Joining,
    Assigning,
    Syncing,
    Stable,
    Leaving,
    Left,
}

/// From each state, where it may go. A membership may be lost in any of them (`Unjoined`), and
/// ended in any of them (`Leaving`, `Left`).
const LEGAL: &[(State, &[State])] = &[
    (State::Unjoined, &[State::Preparing, State::Joining]),
    (State::Preparing, &[State::Joining]),
    (State::Joining, &[State::Assigning, State::Syncing, State::Stable]),
    (State::Assigning, &[State::Syncing]),
    (State::Syncing, &[State::Stable]),
    (State::Stable, &[State::Preparing, State::Joining]),
    (State::Leaving, &[]),
    (State::Left, &[]),
];

/// Which protocol the group's life follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The coordinator's connection will tell.
    Undecided,
    Classic,
    Consumer,
}

/// Partitions on their way out.
pub(super) struct Revoking {
    pub(super) slots: Vec<Slot>,
    until: Instant,
}

/// As whom something is committed.
pub(super) struct Identity {
    pub(super) member_id: String,
    pub(super) generation: i32,
    pub(super) instance: Option<String>,
}

/// See the [module](self).
pub(super) struct Membership {
    member: bool,
    pub(super) protocol: Protocol,
    wish: GroupProtocol,
    state: State,
    pub(super) member_id: String,
    /// The classic generation, or the member epoch; -1 or 0 outside the group.
    pub(super) generation: i32,
    pub(super) instance: Option<String>,
    /// A request of the group's life waits for its answer.
    pub(super) in_flight: bool,
    pub(super) heartbeat_at: Instant,
    pub(super) backoff: Backoff,
    /// As the last assignment has it: topic and partition.
    pub(super) target: BTreeSet<(usize, i32)>,
    /// What is owned is what is wanted, as of this count of changes of what is owned.
    pub(super) reconciled: Option<u64>,
    pub(super) revoking: Option<Revoking>,
    taken_at: Instant,
    /// We stood still so long that we may be out of the group: heartbeats that have to be
    /// answered before anything more is handed out.
    doubts: u8,
    /// It left because the application took nothing for too long.
    pub(super) expired: bool,
    stalled: bool,
    pub(super) classic: Classic,
    pub(super) consumer: Consumer,
}

impl Membership {
    pub(super) fn new(
        options: &ConsumerOptions,
        generated: &ConsumerId,
        random: &mut Random,
        backoff: Backoff,
    ) -> Result<Self, Error> {
        let kafka = &options.kafka;
        if options.mode == ConsumerMode::LoadBalanced && kafka.protocol == GroupProtocol::Share {
            return Err(Error::Options(
                "share groups are not supported yet: choose the protocol consumer or classic".into(),
            ));
        }
        // KIP-848: made by the member itself, once for its life; 22 letters as Kafka's own.
        let consumer = Consumer::new(super::consumer::member_id(generated, random));
        Ok(Self {
            member: options.mode == ConsumerMode::LoadBalanced,
            protocol: match kafka.protocol {
                GroupProtocol::Classic => Protocol::Classic,
                _ => Protocol::Undecided,
            },
            wish: kafka.protocol,
            state: State::Unjoined,
            member_id: String::new(),
            generation: -1,
            instance: kafka.instance.clone(),
            in_flight: false,
            heartbeat_at: Instant::ZERO,
            backoff,
            target: BTreeSet::new(),
            reconciled: None,
            revoking: None,
            taken_at: Instant::ZERO,
            doubts: 0,
            expired: false,
            stalled: false,
            classic: Classic::new(options),
            consumer,
        })
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn generation(&self) -> i32 {
        self.generation
    }

    /// On to another state.
    pub(super) fn go(&mut self, to: State) {
        let from = self.state;
        let always = matches!(to, State::Unjoined | State::Leaving | State::Left) || to == from;
        let listed = || LEGAL.iter().any(|(state, to_list)| *state == from && to_list.contains(&to));
        debug_assert!(always || listed(), "from {from:?} to {to:?}");
        self.state = to;
    }

    /// The request that was on its way is answered, whatever became of the state meanwhile. When
    /// we leave, the answer to that counts alone: it was sent behind what was on its way.
    pub(super) fn handle_answer(&mut self) {
        self.in_flight &= self.state == State::Leaving;
    }

    /// The process, or its machine, stood still: others may have our partitions, and what waits
    /// here would be done twice. An answer that was on its way then proves nothing.
    pub(super) fn doubt(&mut self, now: Instant) {
        if self.state == State::Stable {
            self.doubts = 1 + u8::from(self.in_flight);
            self.heartbeat_at = now;
        }
    }

    /// Whether records may be handed out.
    pub(super) fn is_sure(&self) -> bool {
        self.doubts == 0 || self.state != State::Stable
    }

    /// The application took something.
    pub(super) fn handle_taken(&mut self, now: Instant) {
        self.taken_at = now;
    }

    /// Topics and partitions may have changed.
    pub(super) fn handle_metadata(&mut self) {
        self.classic.handle_metadata();
    }

    /// As whom to commit; `None` while we are nobody, or about to be somebody else.
    pub(super) fn identity_for_commits(&self) -> Option<Identity> {
        if !self.member {
            return Some(Identity { member_id: String::new(), generation: -1, instance: None });
        }
        let identity = || Identity {
            member_id: self.member_id.clone(),
            generation: self.generation,
            instance: self.instance.clone(),
        };
        // Also while it joins again: what it owns it owns until it is told otherwise.
        (self.generation >= 0 && self.state != State::Left).then(identity)
    }

    /// As whom to ask for committed offsets: member id and epoch, which KIP-848 alone has.
    pub(super) fn identity_for_offsets(&self) -> Option<(Option<String>, i32)> {
        match (self.member, self.protocol) {
            (false, _) => Some((None, -1)),
            (true, Protocol::Consumer) => {
                (self.state == State::Stable).then(|| (Some(self.member_id.clone()), self.generation))
            }
            (true, _) => (self.generation >= 0).then_some((None, -1)),
        }
    }

    /// What was assigned is what is owned.
    pub(super) fn is_settled(&self) -> bool {
        self.state == State::Stable && self.revoking.is_none()
    }
}

impl Machine {
    pub(super) fn pump_membership(&mut self) {
        if !self.has_group() && self.membership.state != State::Leaving {
            self.coordinator.needed = false;
            return;
        }
        // Resumable needs it for its offsets; asked for early, it is there when it is needed.
        self.coordinator.needed = true;
        if mutation::is(Mutation::CoordinatorPausedByBackpressure) && self.lane.bytes() > 0 {
            return;
        }
        self.pump_coordinator();
        if !self.membership.member {
            return;
        }
        self.pump_revoking();
        let waits = self.membership.state == State::Unjoined && self.waits_for_topics();
        if matches!(self.membership.state, State::Left) || waits {
            return;
        }
        if self.phase != Phase::Closing && self.membership.state != State::Leaving {
            self.expire_idle();
        }
        if self.coordinator_link().is_none() || self.is_over() {
            return;
        }
        if self.membership.protocol == Protocol::Undecided {
            self.choose_protocol();
        }
        match self.membership.protocol {
            Protocol::Undecided => {}
            Protocol::Classic => self.pump_classic(),
            Protocol::Consumer => self.pump_consumer(),
        }
    }

    fn choose_protocol(&mut self) {
        let wish = self.membership.wish;
        let Some(link) = self.coordinator_link() else { return };
        let has_consumer = link.version::<ConsumerGroupHeartbeatRequest>().is_some();
        match (wish, has_consumer) {
            (_, true) => {
                self.membership.protocol = Protocol::Consumer;
                self.membership.member_id = self.membership.consumer.member_id().to_owned();
            }
            (GroupProtocol::Consumer, false) => self.fail(Error::Options(
                "this broker has no consumer protocol (KIP-848): choose the classic one".into(),
            )),
            (_, false) => self.membership.protocol = Protocol::Classic,
        }
    }

    /// A request of the group's life will not be answered.
    pub(super) fn abandon_membership(&mut self, task: &Task) {
        self.membership.in_flight = false;
        self.membership.doubts = self.membership.doubts.min(1);
        self.membership.heartbeat_at = self.membership.heartbeat_at.min(self.now);
        match task {
            // Whether it was executed, nobody knows: all is said again.
            Task::GroupHeartbeat => {
                if !mutation::is(Mutation::HeartbeatNotResentInFull) {
                    self.membership.consumer.say_all();
                }
                self.restart_join();
            }
            Task::JoinGroup | Task::SyncGroup => self.restart_join(),
            _ => {}
        }
    }

    /// What the coordinator's errors mean for the membership, in any of its requests.
    ///
    /// | error | reaction |
    /// |---|---|
    /// | NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE | the coordinator is looked for |
    /// | COORDINATOR_LOAD_IN_PROGRESS, other retriable ones | the same again, after a while |
    /// | REBALANCE_IN_PROGRESS | classic: joins again |
    /// | STALE_MEMBER_EPOCH | consumer: a heartbeat at once, which brings the epoch |
    /// | UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, FENCED_MEMBER_EPOCH | the membership is lost: joins anew |
    /// | the same, where we are no member (resumable) | told: the group has members; again after a while |
    /// | FENCED_INSTANCE_ID | failed: another member has our name |
    /// | UNRELEASED_INSTANCE_ID | again after a while, until our predecessor's session is over |
    /// | anything else | at the start failed; else told, and again after a while |
    pub(super) fn on_group_error(&mut self, code: ErrorCode, command: &'static str) -> Result<(), Error> {
        self.stats.broker_errors += 1;
        match code {
            ErrorCode::NOT_COORDINATOR if mutation::is(Mutation::CoordinatorNeverRefreshed) => {
                self.wait_a_while();
            }
            ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE => self.lose_coordinator(),
            ErrorCode::REBALANCE_IN_PROGRESS => self.rejoin(),
            ErrorCode::STALE_MEMBER_EPOCH if mutation::is(Mutation::StaleMemberEpochFatal) => {
                self.fail(self.group_error(code, command));
            }
            ErrorCode::STALE_MEMBER_EPOCH => self.membership.heartbeat_at = self.now,
            // Resumable is no member: others are, of the group of this host.
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION | ErrorCode::FENCED_MEMBER_EPOCH
                if !self.is_member() =>
            {
                self.tell_group_stalled(self.group_error(code, command));
                self.wait_a_while();
            }
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::ILLEGAL_GENERATION | ErrorCode::FENCED_MEMBER_EPOCH => {
                if mutation::is(Mutation::GenerationNotReset) && command.ends_with("Heartbeat") {
                    self.wait_a_while();
                    return Ok(());
                }
                self.lose_membership(code)
            }
            ErrorCode::FENCED_INSTANCE_ID => self.fail(self.group_error(code, command)),
            ErrorCode::UNRELEASED_INSTANCE_ID => {
                self.tell_group_stalled(self.group_error(code, command));
                self.wait_a_while();
            }
            code if code.is_retriable() => self.wait_a_while(),
            code => {
                let error = self.group_error(code, command);
                if self.phase == Phase::Starting {
                    self.fail(error);
                } else {
                    self.tell_group_stalled(error);
                    self.wait_a_while();
                }
            }
        }
        Ok(())
    }

    /// The coordinator's error, with the name of the group that it is about.
    fn group_error(&self, code: ErrorCode, command: &'static str) -> Error {
        let about = |message: &str| format!("{message} on the group {}", self.config.group).into();
        match fault::error_of(code, command, None) {
            Error::Permission { command, message } => Error::Permission { command, message: about(&message) },
            Error::Broker { command, message } => Error::Broker { command, message: about(&message) },
            error => error,
        }
    }

    fn tell_group_stalled(&mut self, error: Error) {
        if !std::mem::replace(&mut self.membership.stalled, true) {
            self.desk.notice(Notice::Stalled { shard: None, reason: Reason::Error(error) });
        }
    }

    /// The next request of the group's life comes after a while; a member's next heartbeat no later
    /// than it would have come anyway, as its session goes on.
    pub(super) fn wait_a_while(&mut self) {
        let after = self.membership.backoff.next(self.now, &mut self.random);
        let interval = match (self.membership.state, self.membership.protocol) {
            (State::Stable, Protocol::Consumer) => self.membership.consumer.interval(),
            (State::Stable | State::Preparing, _) => self.config.options.kafka.heartbeat_interval,
            _ => Duration::MAX,
        };
        self.membership.heartbeat_at = after.min(self.now + interval);
    }

    /// The group's life goes well.
    pub(super) fn group_works(&mut self) {
        self.membership.backoff.handle_success(self.now);
        self.membership.doubts = self.membership.doubts.saturating_sub(1);
        if self.membership.doubts > 0 {
            self.membership.heartbeat_at = self.now;
        }
        self.membership.stalled = false;
    }

    /// We are no member any more: all partitions may be others' by now. Nothing is committed.
    pub(super) fn lose_membership(&mut self, code: ErrorCode) {
        if matches!(self.membership.state, State::Left | State::Leaving) {
            return self.membership.go(State::Left);
        }
        if self.phase == Phase::Closing {
            // Acked, and nobody can commit it any more: the close must say so.
            self.lost_acks += self.buffer.ledger.acked();
        }
        let owned: Vec<_> = self.partitions.owned().iter().copied().collect();
        self.membership.revoking = None;
        if !owned.is_empty() {
            let error = fault::error_of(code, "Heartbeat", None);
            self.desk.notice(Notice::Refused { command: "Heartbeat", error });
        }
        owned.into_iter().for_each(|slot| self.release(slot));
        let membership = &mut self.membership;
        membership.target.clear();
        membership.reconciled = None;
        membership.doubts = 0;
        membership.generation = -1;
        // One that takes nothing isn't back before it takes something.
        membership.go(if membership.expired { State::Left } else { State::Unjoined });
        match membership.protocol {
            // The id stays for the process's life.
            Protocol::Consumer => membership.consumer.begin_anew(),
            _ => membership.classic.begin_anew(code, &mut membership.member_id),
        }
        self.wait_a_while();
    }

    /// From one assignment to the next: what isn't in it is let go, what is new is read.
    pub(super) fn reconcile(&mut self) {
        let settled = self.membership.reconciled == Some(self.partitions.ownings());
        if settled || self.membership.revoking.is_some() || self.phase == Phase::Closing {
            return;
        }
        let target = &self.membership.target;
        let leaving: Vec<_> = self
            .partitions
            .owned()
            .iter()
            .copied()
            .filter(|slot| {
                let partition = self.partitions.at(*slot);
                !target.contains(&(partition.topic, partition.index))
            })
            .collect();
        if !leaving.is_empty() && !mutation::is(Mutation::CooperativeRevokeSkipped) {
            return self.revoke(leaving);
        }
        let coming: Vec<_> = target.iter().copied().collect();
        for (topic, index) in coming {
            match self.partition(topic, index) {
                Some(slot) => self.acquire(slot, false),
                None => self.tell_too_many(),
            }
        }
        self.membership.reconciled = Some(self.partitions.ownings());
    }

    /// These are let go, once what was acked of them is committed.
    pub(super) fn revoke(&mut self, slots: Vec<Slot>) {
        for &slot in &slots {
            self.withdraw(slot);
            self.partitions.leave(slot);
        }
        self.buffer.schedule.handle_request(self.now);
        let half = self.config.options.kafka.rebalance_timeout / 2;
        let until = self.now + half.min(REVOKE_MAX);
        self.membership.revoking = Some(Revoking { slots, until });
        self.pump_commits();
        self.pump_revoking();
    }

    fn pump_revoking(&mut self) {
        let Some(revoking) = &self.membership.revoking else { return };
        if !self.is_committed_for(&revoking.slots) && self.now < revoking.until {
            return;
        }
        let Some(revoking) = self.membership.revoking.take() else { return };
        revoking.slots.into_iter().for_each(|slot| self.release(slot));
        match self.membership.protocol {
            _ if self.membership.expired => self.leave(),
            Protocol::Classic => self.on_revoked_classic(),
            _ => self.membership.heartbeat_at = self.now,
        }
    }

    /// K13: an application that takes nothing for too long is no member any more; its partitions
    /// go to those that work. It is one again as soon as it takes something.
    fn expire_idle(&mut self) {
        if self.membership.expired {
            return;
        }
        if self.desk.paused || self.lane.bytes() == 0 {
            self.membership.taken_at = self.now;
            return;
        }
        let timeout = self.config.options.kafka.rebalance_timeout;
        if self.membership.state != State::Stable || self.membership.taken_at + timeout > self.now {
            return;
        }
        let words = format!("nothing was taken for {timeout:?}: the group is left until something is");
        self.desk
            .notice(Notice::Stalled { shard: None, reason: Reason::Error(Error::Options(words.into())) });
        self.membership.expired = true;
        self.membership.target.clear();
        self.membership.reconciled = None;
        if mutation::is(Mutation::MaxPollLostFlag) {
            return self.leave();
        }
        // What was acked is committed first, as in any other revocation.
        let owned: Vec<_> = self.partitions.owned().iter().copied().collect();
        self.revoke(owned);
    }

    /// The application takes again.
    pub(super) fn pump_expired(&mut self) {
        if self.membership.state == State::Left && std::mem::take(&mut self.membership.expired) {
            self.membership.taken_at = self.now;
            self.membership.generation = -1;
            self.membership.go(State::Unjoined);
            self.membership.heartbeat_at = self.now;
            self.membership.consumer.begin_anew();
        }
    }

    /// Out of the group, with a word to the coordinator if we are in it.
    pub(super) fn leave(&mut self) {
        let membership = &mut self.membership;
        if membership.state == State::Left || membership.state == State::Leaving {
            return;
        }
        let inside = membership.member && membership.generation >= 0 && !membership.member_id.is_empty();
        // A static member of a classic group doesn't say so: it will be back (KIP-345).
        let silent = membership.protocol == Protocol::Classic && membership.instance.is_some();
        if !inside || silent {
            return membership.go(State::Left);
        }
        // Whatever waits for an answer: that we leave is sent behind it.
        membership.go(State::Leaving);
        membership.in_flight = false;
        membership.heartbeat_at = self.now;
    }

    /// The coordinator was told, or there is nothing to tell.
    pub(super) fn has_left(&self) -> bool {
        !self.membership.member || self.membership.state == State::Left
    }

    pub(super) fn membership_wake(&self) -> Option<Wake> {
        if !self.has_group() && self.membership.state != State::Leaving {
            return None;
        }
        let membership = &self.membership;
        let ahead = |at: Instant, why| (at > self.now).then_some(Wake { at, why });
        let member = membership.member && membership.state != State::Left;
        let heartbeat = (member && !membership.in_flight && self.coordinator.endpoint.is_some())
            .then(|| ahead(membership.heartbeat_at, "heartbeat"))
            .flatten();
        let revoke = membership.revoking.as_ref().and_then(|revoking| ahead(revoking.until, "let go"));
        let timeout = self.config.options.kafka.rebalance_timeout;
        let waits = member && self.lane.bytes() > 0 && membership.state == State::Stable && !self.desk.paused;
        let expiry = waits.then(|| ahead(membership.taken_at + timeout, "nothing is taken")).flatten();
        [heartbeat, revoke, expiry].into_iter().flatten().min_by_key(|wake| wake.at)
    }
}

/// The longest that a partition is held back so that its acks can be committed.
const REVOKE_MAX: Duration = Duration::from_secs(5);
