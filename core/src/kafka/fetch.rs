//! Fetching: one Fetch at a time on each broker's connection, in a session (KIP-227).
//!
//! A session is what the broker remembers of the last request: only what changed is sent. The
//! broker takes turns among its partitions, so none starves. The bytes that are asked for are
//! credit of the lane, shared among the brokers.
//!
//! | answer for a partition | what follows |
//! |---|---|
//! | no error | records into the lane; perhaps a replica nearby to read from (KIP-392) |
//! | no error, and a replica that can't be reached | the leader is asked again, and isn't told the rack for a while |
//! | OFFSET_OUT_OF_RANGE | from a replica: back to the leader, likewise; else the reset policy |
//! | with a leader that is newer (KIP-951) | on to that leader, at once |
//! | other retriable errors | metadata, and again after a while |
//! | anything else | told, and again after a while |
//!
//! **Invariant:** records are taken only for the offset that was asked for last, in the same turn.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::cluster::{Broker, Leader};
use super::fault;
use super::lane::Part;
use super::links::{Role, read};
use super::machine::Machine;
use super::partitions::Stage;
use super::records::{Aborted, Batches};
use super::task::{Fetch, Task};
use super::wire::{
    ErrorCode, FetchRequest, FetchRequestForgottenTopic, FetchRequestPartition, FetchRequestTopic,
    FetchResponsePartitionData, Uuid,
};
use crate::ack::Slot;
use crate::backoff::Backoff;
use crate::delivery::{Notice, Reason};
use crate::desk::Phase;
use crate::error::Error;
use crate::mutation::{self, Mutation};
use crate::time::Instant;
use crate::timer::Wake;

/// What a session has of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    topic: usize,
    topic_id: Uuid,
    index: i32,
    turn: u64,
    offset: i64,
    leader_epoch: i32,
    bytes_max: usize,
}

/// One broker's fetch session.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// 0: none.
    session: i32,
    epoch: i32,
    in_flight: bool,
    /// It is silent, and metadata was asked whether others have its partitions.
    suspect: bool,
    known: BTreeMap<Slot, Known>,
    /// Partitions that may differ from what is known.
    dirty: BTreeSet<Slot>,
    retry_at: Instant,
    backoff: Option<Backoff>,
    /// A replica that it named was of no use: until then it isn't told where we are, so that it gives
    /// the records itself.
    nearby_at: Instant,
    /// Which partition goes first where there is no session.
    round: usize,
}

impl Reader {
    /// The next request says everything.
    fn begin_anew(&mut self) {
        (self.session, self.epoch) = (0, 0);
        self.known.clear();
    }
}

impl Machine {
    pub(super) fn pump_fetches(&mut self) {
        for (broker, slot) in std::mem::take(&mut self.partitions.moved) {
            self.readers.entry(broker).or_default().dirty.insert(slot);
        }
        let moving = self.moving.as_ref().is_some_and(|moving| !moving.placed);
        if self.phase == Phase::Closing || moving || self.is_held_back() {
            return;
        }
        self.suspect_silent();
        self.give_up_deserted();
        self.expire_replicas();
        let brokers: Vec<i32> = self.partitions.readers().keys().copied().collect();
        let idle = |broker: &&i32| self.readers.get(broker).is_none_or(|reader| !reader.in_flight);
        let mut sharing = brokers.iter().filter(idle).count();
        for broker in brokers {
            let reader = self.readers.entry(broker).or_default();
            if reader.in_flight {
                continue;
            }
            let retry_at = reader.retry_at;
            let share = self.lane.credit() / sharing.max(1);
            sharing = sharing.saturating_sub(1);
            let now = self.now;
            let Some(link) = self.ready_link(Role::Data(broker)) else { continue };
            if retry_at > now || link.throttled_until > now {
                continue;
            }
            // A little credit isn't worth a request, unless nothing waits at all.
            let least = self.lane.bytes_max() / (4 * self.partitions.readers().len()).max(1);
            // In several answers, so that one is on its way while another is taken; and a broker
            // that stands still must not have all of the credit.
            let quarter = (self.lane.bytes_max() / 4).max(1);
            let most = (self.config.options.kafka.fetch_bytes_max as usize).min(quarter);
            let bytes = share.min(most);
            if bytes > 0 && (bytes >= least.min(most) || self.lane.bytes() == 0) {
                self.send_fetch(broker, bytes);
            }
        }
    }

    /// When a broker that was asked to answer after a while at the latest has been silent for long.
    fn suspect_at(&self, broker: i32) -> Option<Instant> {
        self.readers.get(&broker).filter(|reader| reader.in_flight && !reader.suspect)?;
        let link = self.links.get(usize::from(*self.roles.get(&Role::Data(broker))?))?;
        Some(link.waiting_since() + self.config.options.kafka.fetch_max_wait + SUSPECT_AFTER)
    }

    /// A silent broker of which nothing is read any more is not waited for.
    fn give_up_deserted(&mut self) {
        let deserted = |(broker, reader): (&i32, &Reader)| {
            let alone = reader.in_flight && reader.suspect && !self.partitions.readers().contains_key(broker);
            alone.then_some(*broker)
        };
        let deserted: Vec<_> = self.readers.iter().filter_map(deserted).collect();
        deserted.into_iter().for_each(|broker| self.shut_link(Role::Data(broker)));
    }

    /// A broker that stands still keeps its connections; others may lead its partitions long
    /// before we give it up, and of what was read from it as a replica others do already.
    fn suspect_silent(&mut self) {
        let brokers = self.partitions.readers().keys().copied();
        let silent = brokers.filter(|broker| self.suspect_at(*broker).is_some_and(|at| at <= self.now));
        for broker in silent.collect::<Vec<_>>() {
            if let Some(reader) = self.readers.get_mut(&broker) {
                reader.suspect = true;
            }
            self.leave_replica(broker);
            self.refresh_soon();
        }
    }

    /// The application holds too much un-acked: told once, until it is less.
    fn is_held_back(&mut self) -> bool {
        let unacked = self.buffer.ledger.len();
        let max = self.config.options.limits.unacked_max as u64;
        let held = self.acks() && unacked >= max;
        let told = std::mem::replace(&mut self.unacked_said, held);
        if held && !told {
            self.desk.notice(Notice::Stalled { shard: None, reason: Reason::Unacked { unacked } });
        } else if told && !held && self.phase != Phase::Starting {
            // At the start it is said once everything is read.
            self.desk.notice(Notice::Ready);
        }
        held
    }

    /// A replica is read from for a while, then the leader is asked again whether it still says so.
    fn expire_replicas(&mut self) {
        let now = self.now;
        if self.replicas_until > now {
            return;
        }
        // Not while its answer is on the way, perhaps for long: it would be thrown away, and the leader
        // would name the same replica again, and so on for ever.
        let is_asked = |broker: i32| self.readers.get(&broker).is_some_and(|reader| reader.in_flight);
        let (mut over, mut next) = (Vec::new(), Instant::MAX);
        for &slot in self.partitions.owned() {
            match self.partitions.at(slot).replica {
                Some((broker, until)) if until <= now && !is_asked(broker) => over.push(slot),
                Some((_, until)) => next = next.min(until),
                None => {}
            }
        }
        self.replicas_until = next;
        self.read_from_leaders(over);
    }

    /// A replica can't be reached: what was to be read from it is read from the leaders.
    pub(super) fn leave_replica(&mut self, broker: i32) {
        let from_it = |slot: &&Slot| self.partitions.at(**slot).replica.is_some_and(|(id, _)| id == broker);
        let from_it: Vec<_> = self.partitions.owned().iter().filter(from_it).copied().collect();
        from_it.iter().for_each(|slot| self.hide_rack(*slot));
        self.read_from_leaders(from_it);
    }

    /// The leader would name the same replica again, for as long as it takes the cluster to find out
    /// what is wrong with it.
    fn hide_rack(&mut self, slot: Slot) {
        let until = self.now + self.config.options.limits.retry_max;
        if let Some(leader) = self.partitions.at(slot).leader {
            self.readers.entry(leader).or_default().nearby_at = until;
        }
    }

    fn read_from_leaders(&mut self, slots: Vec<Slot>) {
        for slot in slots {
            self.partitions.at_mut(slot).replica = None;
            self.partitions.file(slot);
        }
    }

    fn send_fetch(&mut self, broker: i32, bytes: usize) {
        let (now, kafka) = (self.now, &self.config.options.kafka);
        let client_id = kafka.client_id.clone();
        let (max_wait, min_bytes) = (kafka.fetch_max_wait, kafka.fetch_min_bytes);
        let isolation_level = self.isolation();
        let Some(slots) = self.partitions.readers().get(&broker) else { return };
        let topic_id = |slot: Slot| {
            let topic = self.cluster.topic(self.partitions.at(slot).topic);
            topic.map_or(Uuid::ZERO, |topic| topic.id)
        };
        let ids_known = self.cluster.has_ids();
        let Some(&number) = self.roles.get(&Role::Data(broker)) else { return };
        let link = &self.links[usize::from(number)];
        // From version 13 on topics are named by their ids alone (KIP-516).
        let Some(version) = link.version_up_to::<FetchRequest>(if ids_known { i16::MAX } else { 12 }) else {
            return self.too_old(number, "Fetch");
        };
        let Some(reader) = self.readers.get_mut(&broker) else { return };
        let rack_id = kafka.rack.clone().filter(|_| reader.nearby_at <= now).unwrap_or_default();
        let wanted = |slot: Slot| {
            let partition = self.partitions.at(slot);
            Known {
                topic: partition.topic,
                topic_id: topic_id(slot),
                index: partition.index,
                turn: partition.turn,
                offset: partition.position,
                leader_epoch: partition.leader_epoch,
                bytes_max: partition.bytes_max,
            }
        };
        let mut changed: Vec<(Slot, Known)> = Vec::new();
        let mut forgotten: Vec<Known> = Vec::new();
        if reader.session == 0 {
            reader.known.clear();
            reader.dirty.clear();
            changed.extend(slots.iter().map(|slot| (*slot, wanted(*slot))));
            let first = reader.round % changed.len().max(1);
            changed.rotate_left(first);
            reader.round = reader.round.wrapping_add(1);
        } else {
            for slot in std::mem::take(&mut reader.dirty) {
                let before = reader.known.get(&slot).copied();
                if !slots.contains(&slot) {
                    forgotten.extend(before);
                    reader.known.remove(&slot);
                    continue;
                }
                let now = wanted(slot);
                if let Some(before) = before.filter(|before| before.topic_id != now.topic_id) {
                    forgotten.push(before);
                }
                if before != Some(now) {
                    changed.push((slot, now));
                }
            }
        }
        let mut topics: Vec<FetchRequestTopic> = Vec::new();
        let mut places: BTreeMap<usize, usize> = BTreeMap::new();
        let mut epochs = BTreeMap::new();
        for (slot, known) in &changed {
            let place = *places.entry(known.topic).or_insert_with(|| {
                let topic =
                    self.cluster.topic(known.topic).map(|topic| topic.text.clone()).unwrap_or_default();
                topics.push(FetchRequestTopic { topic, topic_id: known.topic_id, partitions: Vec::new() });
                topics.len() - 1
            });
            if let Some(topic) = topics.get_mut(place) {
                topic.partitions.push(FetchRequestPartition {
                    partition: known.index,
                    current_leader_epoch: known.leader_epoch,
                    fetch_offset: known.offset,
                    partition_max_bytes: i32::try_from(known.bytes_max.min(bytes)).unwrap_or(i32::MAX),
                    ..Default::default()
                });
            }
            epochs.insert(*slot, *known);
        }
        reader.known.extend(epochs);
        let mut forgotten_topics: BTreeMap<(usize, Uuid), Vec<i32>> = BTreeMap::new();
        for known in forgotten {
            forgotten_topics.entry((known.topic, known.topic_id)).or_default().push(known.index);
        }
        let request = FetchRequest {
            max_wait_ms: millis(max_wait),
            min_bytes: i32::try_from(min_bytes).unwrap_or(i32::MAX),
            max_bytes: i32::try_from(bytes).unwrap_or(i32::MAX),
            isolation_level,
            session_id: reader.session,
            session_epoch: if version >= 7 { reader.epoch } else { -1 },
            topics,
            forgotten_topics_data: forgotten_topics
                .into_iter()
                .map(|((topic, topic_id), partitions)| FetchRequestForgottenTopic {
                    topic: self.cluster.topic(topic).map(|topic| topic.text.clone()).unwrap_or_default(),
                    topic_id,
                    partitions,
                })
                .collect(),
            rack_id,
            ..Default::default()
        };
        (reader.in_flight, reader.suspect) = (true, false);
        self.lane.handle_asked(bytes);
        let patience = self.response_timeout() + max_wait;
        let link = &mut self.links[usize::from(number)];
        link.send(now, &client_id, version, &request, Task::Fetch(Fetch { broker, bytes }), patience);
    }

    pub(super) fn fetch_wake(&self) -> Option<Wake> {
        if self.phase == Phase::Closing || self.unacked_said {
            return None;
        }
        let waits = |broker: &i32| {
            let reader = self.readers.get(broker).filter(|reader| !reader.in_flight)?;
            let number = *self.roles.get(&Role::Data(*broker))?;
            let link = self.links.get(usize::from(number)).filter(|link| link.is_ready())?;
            let at = reader.retry_at.max(link.throttled_until);
            (at > self.now).then_some(at)
        };
        let brokers = || self.partitions.readers().keys();
        let again = brokers().filter_map(waits).min().map(|at| Wake { at, why: "fetch again" });
        let silent = brokers().filter_map(|broker| self.suspect_at(*broker)).filter(|at| *at > self.now);
        let silent = silent.min().map(|at| Wake { at, why: "a broker is silent" });
        Wake::earlier(again, silent)
    }

    /// No answer will come to this fetch; done once, whoever says it.
    pub(super) fn abandon_fetch(&mut self, fetch: &Fetch) {
        let Some(reader) = self.readers.get_mut(&fetch.broker) else { return };
        if std::mem::take(&mut reader.in_flight) {
            reader.begin_anew();
            self.lane.handle_answered(fetch.bytes);
        }
    }

    pub(super) fn drop_data_link(&mut self, broker: i32) {
        if let Some(&number) = self.roles.get(&Role::Data(broker)) {
            let words = "records that are not what the format says";
            self.drop_link(number, Reason::Error(Error::Protocol(words.into())));
        }
    }

    pub(super) fn on_fetch(
        &mut self,
        number: u16,
        fetch: &Fetch,
        version: i16,
        frame: Bytes,
    ) -> Result<(), Error> {
        let response = read::<FetchRequest>(frame, version)?;
        let now = self.now;
        let backoff = self.new_backoff();
        let random = &mut self.random;
        self.lane.handle_answered(fetch.bytes);
        let Some(reader) = self.readers.get_mut(&fetch.broker) else { return Ok(()) };
        reader.in_flight = false;
        if response.throttle_time_ms > 0
            && let Some(link) = self.links.get_mut(usize::from(number))
        {
            link.throttled_until =
                now + Duration::from_millis(response.throttle_time_ms.unsigned_abs().into());
        }
        match ErrorCode(response.error_code) {
            ErrorCode::NONE => {
                if let Some(backoff) = &mut reader.backoff {
                    backoff.handle_success(now);
                }
            }
            code => {
                // Whatever it was about the session, a new one is right.
                reader.begin_anew();
                reader.retry_at = reader.backoff.get_or_insert(backoff).next(now, random);
                self.stats.broker_errors += 1;
                if !code.is_retriable() {
                    let error = fault::error_of(code, "Fetch", None);
                    self.desk.notice(Notice::Refused { command: "Fetch", error });
                }
                return Ok(());
            }
        }
        match response.session_id {
            0 => reader.begin_session(0),
            id if id == reader.session => reader.epoch = reader.epoch.checked_add(1).unwrap_or(1),
            id => reader.begin_session(id),
        }
        for node in response.node_endpoints {
            if let Some(endpoint) = self.endpoint_named(&node.host, node.port)
                && !self.cluster.brokers.contains_key(&node.node_id)
            {
                self.cluster.brokers.insert(node.node_id, Broker { endpoint, rack: node.rack });
            }
        }
        let mut wrong = None;
        for topic in response.responses {
            let id = if version >= 13 { topic.topic_id } else { Uuid::ZERO };
            let Some(at) = self.cluster.find(id, &topic.topic) else { continue };
            for data in topic.partitions {
                let Some(slot) = self.partitions.find(at, data.partition_index) else { continue };
                if let Err(error) = self.on_partition(fetch.broker, slot, data) {
                    wrong.get_or_insert(error);
                }
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    fn on_partition(
        &mut self,
        broker: i32,
        slot: Slot,
        data: FetchResponsePartitionData,
    ) -> Result<(), Error> {
        let Some(reader) = self.readers.get_mut(&broker) else { return Ok(()) };
        let partition = self.partitions.at(slot);
        let current = reader.known.get(&slot).is_some_and(|known| {
            (known.turn, known.offset) == (partition.turn, partition.position)
                && partition.stage() == Stage::Fetching
                && self.phase != Phase::Closing
        });
        // Also where the answer comes too late, as another broker's was there first: the session has
        // a position that is over, and would answer for it again and again.
        if !mutation::is(Mutation::FetchSessionDesync) {
            reader.dirty.insert(slot);
        }
        if !current {
            return Ok(());
        }
        let code = ErrorCode(data.error_code);
        if code != ErrorCode::NONE {
            self.on_fetch_error(slot, code, &data);
            return Ok(());
        }
        let now = self.now;
        // Long enough for some answers: one that is about something else may have to come first.
        let kafka = &self.config.options.kafka;
        let until = now + kafka.metadata_age.max(kafka.fetch_max_wait * REPLICA_WAITS);
        let partition = self.partitions.at_mut(slot);
        partition.high_watermark = data.high_watermark;
        partition.backoff.handle_success(now);
        if data.preferred_read_replica >= 0 && partition.source() != Some(data.preferred_read_replica) {
            let replica = data.preferred_read_replica;
            if self.cluster.brokers.contains_key(&replica) {
                self.partitions.at_mut(slot).replica = Some((replica, until));
                self.replicas_until = self.replicas_until.min(until);
                self.partitions.set(slot, Stage::Fetching);
            } else {
                self.hide_rack(slot);
                self.partitions.set(slot, Stage::Waiting);
                self.retry(slot);
                self.refresh_soon();
            }
            return Ok(());
        }
        self.mend(slot);
        let Some(records) = data.records.filter(|records| !records.is_empty()) else { return Ok(()) };
        let partition = self.partitions.at_mut(slot);
        let (from, mut end, mut epoch) = (partition.position, partition.position, partition.position_epoch);
        let mut batches = Batches::new(records.clone());
        for batch in batches.by_ref() {
            match batch {
                Ok(batch) if mutation::is(Mutation::LastOffsetDeltaIgnored) => {
                    let end_of_it = batch.base_offset + i64::from(batch.count);
                    (end, epoch) = (end.max(end_of_it), batch.leader_epoch);
                }
                Ok(batch) if mutation::is(Mutation::ControlBatchStuck) && batch.control => {}
                Ok(batch) => (end, epoch) = (end.max(batch.next_offset()), batch.leader_epoch),
                Err(error) => {
                    self.partitions.set(slot, Stage::Waiting);
                    self.retry(slot);
                    self.stall(slot, Reason::Error(Error::Protocol(error.to_string().into())));
                    return Err(Error::Protocol(error.to_string().into()));
                }
            }
        }
        if end == from && batches.is_truncated() {
            // Brokers before 0.10.1, or a cut: the first batch didn't fit.
            let most = self.config.options.limits.reply_bytes_max;
            partition.bytes_max = batches.bytes_needed().max(partition.bytes_max).min(most);
            return Ok(());
        }
        if end == from {
            self.partitions.set(slot, Stage::Waiting);
            self.retry(slot);
            return Err(Error::Protocol(format!("records that all lie before offset {from}").into()));
        }
        // A batch that was cut off is asked for with the next fetch, as the position tells.
        let records = records.slice(..batches.position());
        let aborted = data.aborted_transactions.unwrap_or_default();
        let aborted = Aborted::new(aborted.iter().map(|one| (one.producer_id, one.first_offset)));
        (partition.position, partition.position_epoch) = (end, epoch);
        let part = Part::new(slot, records, aborted, from, end);
        if self.config.no_ack && self.has_group() {
            self.commit_position(slot, end);
        }
        self.lane.put_part(part);
        Ok(())
    }

    fn on_fetch_error(&mut self, slot: Slot, code: ErrorCode, data: &FetchResponsePartitionData) {
        self.stats.broker_errors += 1;
        let partition = self.partitions.at_mut(slot);
        let (topic, index, stream) = (partition.topic, partition.index, partition.stream.clone());
        // From now on the leader; after a while it may name a replica again.
        let from_replica = partition.replica.take().is_some();
        if from_replica {
            self.hide_rack(slot);
        }
        let partition = self.partitions.at_mut(slot);
        if code == ErrorCode::OFFSET_OUT_OF_RANGE {
            if from_replica {
                return self.partitions.set(slot, Stage::Fetching);
            }
            return self.on_lost_position(slot, Reason::Error(fault::error_of(code, "Fetch", Some(&stream))));
        }
        let hint = &data.current_leader;
        if hint.leader_id >= 0 && hint.leader_epoch > partition.leader_epoch {
            let leader =
                Leader { broker: Some(hint.leader_id), epoch: hint.leader_epoch, replicas: Vec::new() };
            if self.cluster.brokers.contains_key(&hint.leader_id) {
                self.refresh_soon();
                return self.on_leader(topic, usize::try_from(index).unwrap_or(usize::MAX), leader, false);
            }
        }
        self.partitions.set(slot, Stage::Waiting);
        self.retry(slot);
        self.refresh_soon();
        if !code.is_retriable() {
            self.stall(slot, Reason::Error(fault::error_of(code, "Fetch", Some(&stream))));
        }
    }
}

impl Reader {
    fn begin_session(&mut self, id: i32) {
        self.session = id;
        self.epoch = i32::from(id != 0);
    }
}

/// A replica is read from for at least so many times what a fetch may wait.
const REPLICA_WAITS: u32 = 5;

/// How much longer than it was asked to wait a broker may be silent before others are asked.
const SUSPECT_AFTER: Duration = Duration::from_secs(2);

/// As the protocol counts time.
pub(super) fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
