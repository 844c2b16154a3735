//! The consumer protocol (KIP-848): one request, ConsumerGroupHeartbeat, that joins, keeps alive,
//! reconciles and leaves; the broker decides who reads what.
//!
//! Joining is epoch 0; the answer has the member's epoch and what it is to own. What isn't in
//! that is let go, and once what is owned is what is wanted, a heartbeat says so; then the
//! broker gives what others let go.
//!
//! **Invariant:** after anything that may have lost a heartbeat or its answer, the next one says
//! everything (K5), as the broker takes what is left out for unchanged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::fetch::millis;
use super::links::read;
use super::machine::Machine;
use super::membership::{Protocol, State};
use super::task::Task;
use super::wire::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatRequestTopicPartitions, ErrorCode, Uuid,
};
use crate::desk::Phase;
use crate::error::Error;
use crate::identity::ConsumerId;
use crate::options::GroupProtocol;
use crate::random::Random;

/// Epochs that say something else than an epoch.
const JOIN: i32 = 0;
const LEAVE: i32 = -1;
const LEAVE_FOR_A_WHILE: i32 = -2;

/// What only the consumer protocol has.
pub(super) struct Consumer {
    member_id: String,
    interval: Duration,
    /// The next heartbeat says everything.
    all: bool,
    /// What the broker was told that we own.
    told: Option<BTreeMap<Uuid, Vec<i32>>>,
    /// The count of changes of what is owned at which that was so.
    told_at: u64,
    /// The count of subscriptions of which it was told.
    told_topics: u64,
    /// What was assigned in topics whose names are not known yet.
    unknown: Vec<(Uuid, Vec<i32>)>,
}

/// A name that nobody else has, for the life of this member: a random UUID (RFC 9562, version 4)
/// in Kafka's notation.
pub(super) fn member_id(generated: &ConsumerId, random: &mut Random) -> String {
    // Two members may have the same seed; what they are called tells them apart.
    let mut salt = Random::new(generated.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        // FNV-1a.
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    }));
    let high = random.next_u64() ^ salt.next_u64();
    let low = random.next_u64() ^ salt.next_u64();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    bytes[8..].copy_from_slice(&low.to_be_bytes());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Uuid(bytes).to_string()
}

impl Consumer {
    pub(super) fn new(member_id: String) -> Self {
        Self {
            member_id,
            interval: Duration::from_secs(3),
            all: true,
            told: None,
            told_at: 0,
            told_topics: 0,
            unknown: Vec::new(),
        }
    }

    pub(super) fn member_id(&self) -> &str {
        &self.member_id
    }

    /// From one heartbeat to the next, as the broker says.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether the broker knows what was said last is uncertain.
    pub(super) fn say_all(&mut self) {
        self.all = true;
    }

    /// The membership is lost.
    pub(super) fn begin_anew(&mut self) {
        self.all = true;
        self.told = None;
        self.unknown.clear();
    }
}

impl Machine {
    pub(super) fn pump_consumer(&mut self) {
        let due = self.membership.heartbeat_at <= self.now && !self.membership.in_flight;
        match self.membership.state() {
            State::Leaving if due => {
                let epoch = if self.membership.instance.is_some() { LEAVE_FOR_A_WHILE } else { LEAVE };
                self.send_group_heartbeat(epoch);
            }
            // What was acked is still to be committed, perhaps in an epoch that a heartbeat brings.
            State::Stable if self.phase == Phase::Closing && due => {
                let epoch = self.membership.generation;
                self.send_group_heartbeat(epoch);
            }
            _ if self.phase == Phase::Closing => {}
            State::Unjoined if due => {
                self.membership.consumer.begin_anew();
                self.send_group_heartbeat(JOIN);
            }
            State::Stable => {
                self.name_topics();
                self.reconcile();
                // What is owned changed as it should: the broker is told at once.
                let settled = self.membership.revoking.is_none();
                let news = (settled && self.is_news()) || self.has_other_topics();
                if !self.membership.in_flight && (due || news) {
                    let epoch = self.membership.generation;
                    self.send_group_heartbeat(epoch);
                }
            }
            _ => {}
        }
    }

    /// What is subscribed is not what the broker was told.
    fn has_other_topics(&self) -> bool {
        self.membership.consumer.told_topics != self.cluster.subscriptions
    }

    /// What is owned is not what the broker was told.
    fn is_news(&self) -> bool {
        let consumer = &self.membership.consumer;
        let Some(told) = &consumer.told else { return true };
        consumer.told_at != self.partitions.ownings() && *told != self.owned_by_id()
    }

    fn owned_by_id(&self) -> BTreeMap<Uuid, Vec<i32>> {
        let mut owned: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for &slot in self.partitions.owned() {
            let partition = self.partitions.at(slot);
            if let Some(topic) = self.cluster.topic(partition.topic) {
                owned.entry(topic.id).or_default().push(partition.index);
            }
        }
        owned
    }

    fn send_group_heartbeat(&mut self, member_epoch: i32) {
        let (now, patience) = (self.now, self.coordinator_timeout());
        let kafka = &self.config.options.kafka;
        let (client_id, rack, rebalance) =
            (kafka.client_id.clone(), kafka.rack.clone(), kafka.rebalance_timeout);
        let group_id = self.config.group.clone();
        let leaving = member_epoch < 0;
        let owned = if member_epoch == JOIN { BTreeMap::new() } else { self.owned_by_id() };
        // An assignment that names what isn't there is asked for again: it is told only where it
        // changed, or everything is said.
        let lost = !self.membership.consumer.unknown.is_empty();
        let all = (self.membership.consumer.all || lost || member_epoch == JOIN) && !leaving;
        let settled = self.membership.revoking.is_none();
        let news = (settled && self.membership.consumer.told.as_ref() != Some(&owned)) || all;
        let topics = || {
            let subscribed = self.cluster.topics().iter().filter(|topic| topic.subscribed);
            subscribed.map(|topic| topic.text.clone()).collect::<Vec<_>>()
        };
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id,
            member_id: self.membership.member_id.clone(),
            member_epoch,
            ..Default::default()
        };
        if all || leaving {
            request.instance_id = self.membership.instance.clone();
        }
        if all {
            request.rack_id = rack;
            request.rebalance_timeout_ms = millis(rebalance);
        }
        if all || (self.has_other_topics() && !leaving) {
            request.subscribed_topic_names = Some(topics());
        }
        if news && !leaving {
            let partitions =
                owned.iter().map(|(topic_id, partitions)| ConsumerGroupHeartbeatRequestTopicPartitions {
                    topic_id: *topic_id,
                    partitions: partitions.clone(),
                });
            request.topic_partitions = Some(partitions.collect());
        }
        let Some(link) = self.coordinator_link() else { return };
        let number = link.conn().number;
        let Some(version) = link.version::<ConsumerGroupHeartbeatRequest>() else {
            return self.too_old(number, "ConsumerGroupHeartbeat");
        };
        let task = if leaving { Task::GroupLeave } else { Task::GroupHeartbeat };
        link.send(now, &client_id, version, &request, task, patience);
        let membership = &mut self.membership;
        membership.in_flight = true;
        if leaving {
            return;
        }
        if news {
            membership.consumer.told = Some(owned);
            membership.consumer.told_at = self.partitions.ownings();
        }
        membership.consumer.all = false;
        membership.consumer.told_topics = self.cluster.subscriptions;
        membership.heartbeat_at = now + membership.consumer.interval;
        if member_epoch == JOIN {
            membership.go(State::Joining);
        }
    }

    pub(super) fn on_group_heartbeat(&mut self, version: i16, frame: Bytes) -> Result<(), Error> {
        let response = read::<ConsumerGroupHeartbeatRequest>(frame, version)?;
        self.membership.handle_answer();
        if !matches!(self.membership.state(), State::Joining | State::Stable) {
            return Ok(());
        }
        let code = ErrorCode(response.error_code);
        if code != ErrorCode::NONE {
            self.membership.consumer.say_all();
            return self.on_heartbeat_refused(code, response.error_message);
        }
        self.group_works();
        let membership = &mut self.membership;
        // An epoch never goes back; an answer with an older one is late.
        if response.member_epoch >= membership.generation || membership.state() == State::Joining {
            membership.generation = response.member_epoch;
        }
        if let Some(id) = response.member_id.filter(|id| !id.is_empty()) {
            membership.member_id = id;
        }
        let millis = u64::try_from(response.heartbeat_interval_ms).unwrap_or(0).clamp(1, 60_000);
        membership.consumer.interval = Duration::from_millis(millis);
        if membership.is_sure() {
            membership.heartbeat_at = self.now + membership.consumer.interval;
        }
        membership.go(State::Stable);
        if let Some(assignment) = response.assignment {
            membership.target = BTreeSet::new();
            membership.reconciled = None;
            membership.consumer.unknown = assignment
                .topic_partitions
                .into_iter()
                .map(|topic| (topic.topic_id, topic.partitions))
                .collect();
            self.name_topics();
        }
        self.reconcile();
        Ok(())
    }

    /// Assignments name topics by id; one that isn't known yet waits for metadata (K1).
    fn name_topics(&mut self) {
        for (id, partitions) in std::mem::take(&mut self.membership.consumer.unknown) {
            match self.cluster.with_id(id) {
                Some(at) => {
                    let valid = partitions.into_iter().filter(|index| *index >= 0).map(|index| (at, index));
                    self.membership.target.extend(valid);
                    self.membership.reconciled = None;
                }
                None => {
                    self.membership.consumer.unknown.push((id, partitions));
                    if self.cluster.refresh_at > self.now + SOON && !self.cluster.asked {
                        self.refresh_soon();
                    }
                }
            }
        }
    }

    fn on_heartbeat_refused(&mut self, code: ErrorCode, message: Option<String>) -> Result<(), Error> {
        let joining = self.membership.state() == State::Joining;
        if joining {
            self.membership.go(State::Unjoined);
            self.membership.heartbeat_at = self.now;
        }
        let auto = self.config.options.kafka.protocol == GroupProtocol::Auto;
        match code {
            // The broker has the request, but not the feature (`group.version`).
            ErrorCode::UNSUPPORTED_VERSION if auto => {
                self.membership.protocol = Protocol::Classic;
                self.membership.member_id.clear();
                self.membership.generation = -1;
                self.membership.go(State::Unjoined);
                self.membership.heartbeat_at = self.now;
                Ok(())
            }
            ErrorCode::UNSUPPORTED_ASSIGNOR
            | ErrorCode::INVALID_REQUEST
            | ErrorCode::GROUP_MAX_SIZE_REACHED
            | ErrorCode::INVALID_REGULAR_EXPRESSION
                if self.phase == Phase::Starting =>
            {
                let words = message.unwrap_or_else(|| code.to_string());
                self.fail(Error::Broker { command: "ConsumerGroupHeartbeat", message: words.into() });
                Ok(())
            }
            code => self.on_group_error(code, "ConsumerGroupHeartbeat"),
        }
    }

    pub(super) fn on_group_left(&mut self, version: i16, frame: Bytes) -> Result<(), Error> {
        let response = read::<ConsumerGroupHeartbeatRequest>(frame, version)?;
        self.on_leave_answer(ErrorCode(response.error_code));
        Ok(())
    }
}

/// Metadata that comes within this time is waited for.
const SOON: Duration = Duration::from_secs(1);
