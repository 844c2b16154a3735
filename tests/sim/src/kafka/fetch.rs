//! Fetch: the long poll, and what a reader may have.

use bytes::Bytes;
use tidegate_core::kafka::wire::{
    ErrorCode, FetchRequestPartition, FetchResponse, FetchResponseAbortedTransaction,
    FetchResponseEpochEndOffset, FetchResponseLeaderIdAndEpoch, FetchResponseNodeEndpoint,
    FetchResponsePartitionData, FetchResponseTopic, Uuid,
};

use super::nodes::Nodes;
use super::sessions::{Partitions, Pending, Sessions};
use super::topics::Topics;

/// Who reads, and from whom.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) node: i32,
    pub(super) topics: &'a Topics,
    pub(super) nodes: &'a Nodes,
    pub(super) pending: &'a Pending,
}

impl Reading<'_> {
    /// The answer as it is now, and how many bytes there are, or `None` where it must not wait. Of no
    /// consequence: [`Sessions::handle_answered`] is told which one was sent.
    pub(super) fn answer(self, sessions: &Sessions) -> (FetchResponse, Option<usize>) {
        let Self { pending, topics, .. } = self;
        let session = sessions.of(pending);
        let none = Partitions::new();
        let asked = sessions.asked(pending).unwrap_or(&none);
        let turn = session.map_or(0, |session| session.turn) % asked.len().max(1);
        let mut response = FetchResponse::default();
        let (mut left, mut bytes, mut at_once) = (pending.most, 0, false);
        let mut first = true;
        for (key, wanted) in asked.iter().skip(turn).chain(asked.iter().take(turn)) {
            let (id, (name, index)) = key;
            let mut data = self.one(*id, name, wanted, left, first);
            let size = data.records.as_ref().map_or(0, Bytes::len);
            (left, bytes) = (left.saturating_sub(size), bytes + size);
            first &= size == 0;
            let tells =
                data.error_code != 0 || data.preferred_read_replica >= 0 || data.diverging_epoch.epoch >= 0;
            at_once |= tells;
            let news = session.is_some_and(|session| session.is_news(key, &data));
            if !pending.is_full() && !tells && size == 0 && !news {
                continue;
            }
            let known = topics.name_of(*id, name);
            if pending.version >= HINTS_SINCE
                && HINTED.contains(&ErrorCode(data.error_code))
                && let Some(known) = known
                && let Some(partition) = topics.partition(known, *index)
                && let Some(leader_id) = partition.leader
            {
                let leader_epoch = partition.epoch;
                data.current_leader = FetchResponseLeaderIdAndEpoch { leader_id, leader_epoch };
                let rack = self.nodes.rack(leader_id);
                let endpoint =
                    |(host, port)| FetchResponseNodeEndpoint { node_id: leader_id, host, port, rack };
                response.node_endpoints.extend(self.nodes.address(leader_id).map(endpoint));
            }
            match response.responses.iter_mut().find(|topic| topic.topic == *name && topic.topic_id == *id) {
                Some(topic) => topic.partitions.push(data),
                None => response.responses.push(FetchResponseTopic {
                    topic: name.clone(),
                    topic_id: *id,
                    partitions: vec![data],
                }),
            }
        }
        (response, (!at_once).then_some(bytes))
    }

    /// One partition's answer.
    fn one(
        self,
        id: Uuid,
        name: &str,
        wanted: &FetchRequestPartition,
        left: usize,
        first: bool,
    ) -> FetchResponsePartitionData {
        let Self { node, pending, .. } = self;
        let mut data = FetchResponsePartitionData {
            partition_index: wanted.partition,
            high_watermark: -1,
            records: Some(Bytes::new()),
            ..FetchResponsePartitionData::default()
        };
        let followers = pending.version >= FOLLOWERS_SINCE;
        let (index, epoch) = (wanted.partition, wanted.current_leader_epoch);
        let found = match self.topics.name_of(id, name) {
            Some(name) if followers => self.topics.hosted(node, name, index, epoch),
            Some(name) => self.topics.led(node, name, index, epoch),
            None if id != Uuid::ZERO => Err(ErrorCode::UNKNOWN_TOPIC_ID),
            None => Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
        };
        let partition = match found {
            Ok(partition) => partition,
            Err(error) => return FetchResponsePartitionData { error_code: error.0, ..data },
        };
        let out_of_range = ErrorCode::OFFSET_OUT_OF_RANGE.0;
        let (log, from) = (&partition.log, wanted.fetch_offset);
        let (end, watermark) = (partition.end_at(node), partition.watermark_at(node));
        let preferred = partition.nearest(node, &pending.rack, from, self.nodes).filter(|_| followers);
        if let Some(replica) = preferred {
            data.preferred_read_replica = replica;
        } else if wanted.last_fetched_epoch >= 0 {
            let Some((epoch, until)) = log.end_of_epoch(wanted.last_fetched_epoch) else {
                return FetchResponsePartitionData { error_code: out_of_range, ..data };
            };
            let end_offset = until.min(end);
            if epoch < wanted.last_fetched_epoch || end_offset < from {
                data.diverging_epoch = FetchResponseEpochEndOffset { epoch, end_offset };
            }
        }
        if preferred.is_none() && data.diverging_epoch.epoch < 0 && (from < log.start() || from > end) {
            return FetchResponsePartitionData { error_code: out_of_range, ..data };
        }
        data.high_watermark = watermark;
        data.last_stable_offset = log.readable(true).min(watermark);
        data.log_start_offset = log.start();
        if preferred.is_some() || data.diverging_epoch.epoch >= 0 {
            return data;
        }
        let room = left.min(usize::try_from(wanted.partition_max_bytes).unwrap_or(0));
        let until = log.readable(pending.committed).min(watermark);
        data.records = Some(log.read(from, until, room, first));
        if pending.committed {
            let aborted = log.aborted(from, until).map(|one| FetchResponseAbortedTransaction {
                producer_id: one.producer,
                first_offset: one.first,
            });
            data.aborted_transactions = Some(aborted.collect());
        }
        data
    }
}

/// The first version in which errors come with where the leader is (KIP-951), and which do.
const HINTS_SINCE: i16 = 16;
const HINTED: [ErrorCode; 2] = [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::FENCED_LEADER_EPOCH];
/// The first version in which a consumer may read from a follower (KIP-392).
const FOLLOWERS_SINCE: i16 = 11;
