//! Fetch: sessions (KIP-227), the long poll, what a reader may have.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tidegate_core::kafka::wire::{
    ErrorCode, FetchRequest, FetchRequestPartition, FetchResponse, FetchResponseAbortedTransaction,
    FetchResponseEpochEndOffset, FetchResponseLeaderIdAndEpoch, FetchResponseNodeEndpoint,
    FetchResponsePartitionData, FetchResponseTopic, Uuid,
};

use super::nodes::Nodes;
use super::topics::{Place, Topics};

/// What a broker remembers of a reader.
#[derive(Clone, Debug, Default)]
struct Session {
    epoch: i32,
    partitions: Partitions,
    /// High watermarks and log starts as they were told last.
    told: BTreeMap<Key, (i64, i64)>,
}

/// A topic's partition; the topic as it was named.
type Key = (Uuid, Place);

/// What is asked for, in the order in which it is looked at.
#[derive(Clone, Debug, Default)]
struct Partitions(Vec<(Key, FetchRequestPartition)>);

impl Partitions {
    /// Something new comes last.
    fn put(&mut self, key: Key, wanted: FetchRequestPartition) {
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = wanted,
            None => self.0.push((key, wanted)),
        }
    }

    fn remove(&mut self, key: &Key) -> Option<FetchRequestPartition> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.remove(at).1)
    }

    /// Who had records goes last, so that the others have their turn.
    fn put_last(&mut self, key: &Key) {
        if let Some(wanted) = self.remove(key) {
            self.0.push((key.clone(), wanted));
        }
    }
}

/// The sessions of one broker.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    by_id: BTreeMap<i32, Session>,
    oldest: VecDeque<i32>,
    made: i32,
}

/// A fetch that was taken: its answer may have to wait for records.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    session: i32,
    /// All of it is answered for, not only what changed.
    full: bool,
    /// Without a session.
    alone: Option<Partitions>,
    most: usize,
    pub(super) least: usize,
    committed: bool,
    version: i16,
}

impl Sessions {
    /// Changes the session as the request says; else the error for all of it.
    pub(super) fn take(
        &mut self,
        request: FetchRequest,
        version: i16,
        most: usize,
    ) -> Result<Pending, ErrorCode> {
        let mut asked = Partitions::default();
        for topic in request.topics {
            let id = topic.topic_id;
            for partition in topic.partitions {
                asked.put((id, (topic.topic.clone(), partition.partition)), partition);
            }
        }
        let mut pending = Pending {
            session: 0,
            full: true,
            alone: None,
            most: usize::try_from(request.max_bytes).unwrap_or(0),
            least: usize::try_from(request.min_bytes).unwrap_or(0),
            committed: request.isolation_level == 1,
            version,
        };
        match request.session_epoch {
            ..0 => {
                self.forget(request.session_id);
                pending.alone = Some(asked);
            }
            0 => {
                self.forget(request.session_id);
                self.made = self.made.wrapping_add(1).max(1);
                pending.session = self.made;
                self.by_id.insert(self.made, Session { epoch: 1, partitions: asked, ..Session::default() });
                self.oldest.push_back(self.made);
                if self.oldest.len() > most
                    && let Some(oldest) = self.oldest.pop_front()
                {
                    self.by_id.remove(&oldest);
                }
            }
            epoch => {
                let session =
                    self.by_id.get_mut(&request.session_id).ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
                if session.epoch != epoch {
                    return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
                }
                session.epoch = epoch.checked_add(1).unwrap_or(1);
                for (key, wanted) in &asked.0 {
                    session.partitions.put(key.clone(), wanted.clone());
                }
                for topic in request.forgotten_topics_data {
                    for index in topic.partitions {
                        let key = (topic.topic_id, (topic.topic.clone(), index));
                        session.partitions.remove(&key);
                        session.told.remove(&key);
                    }
                }
                if session.partitions.0.is_empty() {
                    // Nothing is left to keep it for; what was asked for is answered.
                    self.forget(request.session_id);
                    pending.alone = Some(asked);
                    return Ok(pending);
                }
                (pending.session, pending.full) = (request.session_id, false);
            }
        }
        Ok(pending)
    }

    fn forget(&mut self, id: i32) {
        if self.by_id.remove(&id).is_some() {
            self.oldest.retain(|known| *known != id);
        }
    }

    /// The answer as it is now, and how many bytes there are, or `None` where it must not wait. Of no
    /// consequence: [`Sessions::handle_answered`] is told which one was sent.
    pub(super) fn answer(
        &self,
        pending: &Pending,
        node: i32,
        topics: &Topics,
        nodes: &Nodes,
    ) -> (FetchResponse, Option<usize>) {
        let session = self.by_id.get(&pending.session);
        let none = Partitions::default();
        let asked = pending.alone.as_ref().or(session.map(|session| &session.partitions)).unwrap_or(&none);
        let mut response = FetchResponse { session_id: pending.session, ..FetchResponse::default() };
        let (mut left, mut bytes, mut at_once) = (pending.most, 0, false);
        let mut first = true;
        for (key, wanted) in &asked.0 {
            let (id, (name, index)) = key;
            let mut data = one(node, topics, *id, name, wanted, pending, left, first);
            let size = data.records.as_ref().map_or(0, Bytes::len);
            (left, bytes) = (left.saturating_sub(size), bytes + size);
            first &= size == 0;
            let tells =
                data.error_code != 0 || data.preferred_read_replica >= 0 || data.diverging_epoch.epoch >= 0;
            at_once |= tells;
            let told = session.and_then(|session| session.told.get(key)).copied();
            let now = (data.high_watermark, data.log_start_offset);
            if !pending.full && !tells && size == 0 && told == Some(now) {
                continue;
            }
            let known = topics.name_of(*id, name);
            if data.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER.0
                && let Some(known) = known
                && let Some(partition) = topics.partition(known, *index)
                && let Some(leader_id) = partition.leader
            {
                let leader_epoch = partition.epoch;
                data.current_leader = FetchResponseLeaderIdAndEpoch { leader_id, leader_epoch };
                let endpoint =
                    |(host, port)| FetchResponseNodeEndpoint { node_id: leader_id, host, port, rack: None };
                response.node_endpoints.extend(nodes.address(leader_id).map(endpoint));
            }
            match response.responses.last_mut() {
                Some(topic) if topic.topic == *name && topic.topic_id == *id => topic.partitions.push(data),
                _ => response.responses.push(FetchResponseTopic {
                    topic: name.clone(),
                    topic_id: *id,
                    partitions: vec![data],
                }),
            }
        }
        (response, (!at_once).then_some(bytes))
    }

    /// This was sent.
    pub(super) fn handle_answered(&mut self, pending: &Pending, response: &FetchResponse) {
        let Some(session) = self.by_id.get_mut(&pending.session) else { return };
        for topic in &response.responses {
            for data in &topic.partitions {
                let key = (topic.topic_id, (topic.topic.clone(), data.partition_index));
                if data.records.as_ref().is_some_and(|records| !records.is_empty()) {
                    session.partitions.put_last(&key);
                }
                session.told.insert(key, (data.high_watermark, data.log_start_offset));
            }
        }
    }
}

/// One partition's answer.
#[allow(clippy::too_many_arguments)]
fn one(
    node: i32,
    topics: &Topics,
    id: Uuid,
    name: &str,
    wanted: &FetchRequestPartition,
    pending: &Pending,
    left: usize,
    first: bool,
) -> FetchResponsePartitionData {
    let mut data = FetchResponsePartitionData {
        partition_index: wanted.partition,
        high_watermark: -1,
        aborted_transactions: None,
        records: Some(Bytes::new()),
        ..FetchResponsePartitionData::default()
    };
    let found = match topics.name_of(id, name) {
        Some(name) => topics.led(node, name, wanted.partition, wanted.current_leader_epoch),
        None if pending.version >= 13 => Err(ErrorCode::UNKNOWN_TOPIC_ID),
        None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    };
    let log = match found {
        Ok(partition) => &partition.log,
        Err(error) => {
            // Not so where it is a replica that refuses.
            let nobody = matches!(error, ErrorCode::UNKNOWN_TOPIC_ID | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            data.aborted_transactions = nobody.then(Vec::new);
            return FetchResponsePartitionData { error_code: error.0, ..data };
        }
    };
    let from = wanted.fetch_offset;
    let ended = (wanted.last_fetched_epoch >= 0).then(|| log.end_of_epoch(wanted.last_fetched_epoch));
    let diverged = |(epoch, end): &(i32, i64)| *epoch < wanted.last_fetched_epoch || *end < from;
    let diverging = ended.flatten().filter(diverged);
    let out_of_range = from < log.start() || from > log.end();
    // An epoch that is newer than all is out of range as well.
    if ended == Some(None) || diverging.is_none() && out_of_range {
        data.error_code = ErrorCode::OFFSET_OUT_OF_RANGE.0;
        return data;
    }
    data.high_watermark = log.end();
    data.last_stable_offset = log.readable(true);
    data.log_start_offset = log.start();
    if let Some((epoch, end_offset)) = diverging {
        data.diverging_epoch = FetchResponseEpochEndOffset { epoch, end_offset };
        return data;
    }
    let room = left.min(usize::try_from(wanted.partition_max_bytes).unwrap_or(0));
    let records = log.read(from, pending.committed, room, first);
    let too_large = records.is_empty() && from < log.readable(pending.committed);
    data.records = Some(records);
    // A batch that has no room goes, and with it what is said of transactions.
    if pending.committed && !too_large {
        let aborted = log.aborted(from, log.readable(true));
        data.aborted_transactions = Some(
            aborted
                .map(|one| FetchResponseAbortedTransaction {
                    producer_id: one.producer,
                    first_offset: one.first,
                })
                .collect(),
        );
    }
    data
}
