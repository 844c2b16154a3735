//! What the cluster answers to Fetch: sessions, positions, long poll.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use tidegate_core::kafka::wire::*;

use super::answers::{PORT, host};
use super::model::{Cluster, Log, Session, code};

/// A fetch that the broker took: whose session it is, and whether all of it is to be answered.
#[derive(Clone, Copy)]
pub struct Taken {
    pub session: i32,
    pub full: bool,
}

impl Cluster {
    /// Changes the session as the request says; else the error for the whole request.
    pub fn take_fetch(&mut self, node: i32, request: &FetchRequest) -> Result<Taken, i16> {
        let mut parts = BTreeMap::new();
        for topic in &request.topics {
            let name = self.name_of(&topic.topic, topic.topic_id);
            let name = name.unwrap_or_else(|| topic.topic_id.to_string());
            parts.extend(topic.partitions.iter().map(|part| ((name.clone(), part.partition), part.clone())));
        }
        if request.session_epoch <= 0 {
            self.sessions.remove(&(node, request.session_id));
            self.sessions_made += 1;
            let id = if request.session_epoch < 0 { 0 } else { self.sessions_made };
            self.sessions.insert((node, id), Session { epoch: 1, parts, ..Session::default() });
            return Ok(Taken { session: id, full: true });
        }
        let forgotten: Vec<_> = request
            .forgotten_topics_data
            .iter()
            .filter_map(|topic| Some((self.name_of(&topic.topic, topic.topic_id)?, &topic.partitions)))
            .flat_map(|(name, indexes)| indexes.iter().map(move |index| (name.clone(), *index)))
            .collect();
        let key = (node, request.session_id);
        let session = self.sessions.get_mut(&key).ok_or(code::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.epoch != request.session_epoch {
            return Err(code::INVALID_FETCH_SESSION_EPOCH);
        }
        session.epoch += 1;
        session.parts.extend(parts);
        forgotten.iter().for_each(|part| {
            session.parts.remove(part);
        });
        Ok(Taken { session: request.session_id, full: false })
    }

    /// The answer as it is now, and whether there is anything in it to answer for.
    pub fn fetch(&mut self, node: i32, taken: Taken, request: &FetchRequest) -> (FetchResponse, bool) {
        let committed = request.isolation_level == 1;
        let session = self.sessions.get(&(node, taken.session));
        let asked = session.map(|session| session.parts.clone()).unwrap_or_default();
        let mut answer = FetchResponse { session_id: taken.session, ..Default::default() };
        let (mut left, mut something) = (request.max_bytes, false);
        for ((name, index), asked) in &asked {
            let nearby = !request.rack_id.is_empty();
            let mut data = self.fetch_one(node, name, asked, committed, left, nearby);
            let bytes = data.records.as_ref().map_or(0, Bytes::len);
            left = (left - bytes as i32).max(0);
            let tells = bytes > 0
                || data.error_code != 0
                || data.preferred_read_replica >= 0
                || data.diverging_epoch.epoch >= 0;
            something |= tells;
            if let Some(session) = self.sessions.get_mut(&(node, taken.session)) {
                let before = session.told.insert((name.clone(), *index), data.high_watermark);
                if !taken.full && !tells && before == Some(data.high_watermark) {
                    continue;
                }
            }
            if self.hints
                && data.error_code == code::NOT_LEADER_OR_FOLLOWER
                && let Some(log) = self.find(name, *index)
            {
                let (leader_id, leader_epoch) = (log.leader, log.epoch);
                data.current_leader = FetchResponseLeaderIdAndEpoch { leader_id, leader_epoch };
                answer.node_endpoints.push(FetchResponseNodeEndpoint {
                    node_id: leader_id,
                    host: host(leader_id),
                    port: PORT,
                    rack: None,
                });
            }
            let topic_id = self.id_of(name);
            match answer.responses.iter_mut().find(|topic| topic.topic == *name) {
                Some(topic) => topic.partitions.push(data),
                None => answer.responses.push(FetchResponseTopic {
                    topic: name.clone(),
                    topic_id,
                    partitions: vec![data],
                }),
            }
        }
        (answer, something)
    }

    fn fetch_one(
        &self,
        node: i32,
        name: &str,
        asked: &FetchRequestPartition,
        committed: bool,
        left: i32,
        nearby: bool,
    ) -> FetchResponsePartitionData {
        let mut data = FetchResponsePartitionData {
            partition_index: asked.partition,
            high_watermark: -1,
            records: Some(Bytes::new()),
            ..Default::default()
        };
        let by_follower = self.find(name, asked.partition).is_some_and(|log| log.preferred == Some(node));
        let found = match self.led(node, name, asked.partition, asked.current_leader_epoch) {
            Err(code::NOT_LEADER_OR_FOLLOWER) if by_follower => {
                self.find(name, asked.partition).ok_or(code::UNKNOWN_TOPIC_ID)
            }
            Err(code::UNKNOWN_TOPIC_OR_PARTITION) => Err(code::UNKNOWN_TOPIC_ID),
            found => found,
        };
        let log = match found {
            Ok(log) => log,
            Err(error_code) => return FetchResponsePartitionData { error_code, ..data },
        };
        data.high_watermark = log.end;
        data.last_stable_offset = log.readable(true);
        data.log_start_offset = log.start;
        if asked.last_fetched_epoch >= 0 {
            let (epoch, end_offset) = log.end_of_epoch(asked.last_fetched_epoch);
            if epoch >= 0 && (epoch < asked.last_fetched_epoch || end_offset < asked.fetch_offset) {
                data.diverging_epoch = FetchResponseEpochEndOffset { epoch, end_offset };
                return data;
            }
        }
        if asked.fetch_offset < log.start || asked.fetch_offset > log.end {
            data.error_code = code::OFFSET_OUT_OF_RANGE;
            return data;
        }
        // Only who says where he is is sent elsewhere.
        if let Some(preferred) =
            log.preferred.filter(|preferred| nearby && log.leader == node && *preferred != node)
        {
            data.preferred_read_replica = preferred;
            return data;
        }
        data.records = Some(records_of(log, asked, committed, left));
        if committed {
            // Those that end after the position.
            let aborted = log.aborted.iter().filter(|(_, _, end)| *end >= asked.fetch_offset);
            let aborted = aborted.map(|&(producer_id, first_offset, _)| FetchResponseAbortedTransaction {
                producer_id,
                first_offset,
            });
            data.aborted_transactions = Some(aborted.collect());
        }
        data
    }
}

/// Whole batches as far as there is room; the first in any case (KIP-74).
fn records_of(log: &Log, asked: &FetchRequestPartition, committed: bool, left: i32) -> Bytes {
    let end = log.readable(committed);
    let room = left.min(asked.partition_max_bytes).max(0) as usize;
    let mut out = BytesMut::new();
    for batch in log.batches.iter().filter(|batch| batch.last >= asked.fetch_offset && batch.last < end) {
        if left == 0 || (!out.is_empty() && out.len() + batch.bytes.len() > room) {
            break;
        }
        out.extend_from_slice(&batch.bytes);
    }
    out.freeze()
}
