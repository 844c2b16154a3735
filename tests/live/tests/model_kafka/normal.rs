//! What is left out of the comparison, by rule.
//!
//! - How long a client is to keep quiet (quotas are timing), and errors in words.
//! - Ids that a broker makes up: by their numbers ([`Names`]).
//! - The order in which a broker lists what it keeps in hash maps: members of a classic group in the
//!   leader's answer, partitions of an assignment, of all offsets of a group, and of a fetch.
//! - The part of a batch at the end of a fetch: a broker cuts a file, whichever batch that splits
//!   (a client has to leave it out).
//! - Racks: the model has none.

use bytes::Bytes;
use tidegate_core::kafka::wire::FetchResponseTopic;

use super::ask::Answer;
use super::names::Names;

/// The answer as it is compared.
pub fn normal(mut answer: Answer, names: &mut Names) -> Answer {
    match &mut answer {
        Answer::FindCoordinator(one) => {
            one.throttle_time_ms = 0;
            one.error_message = None;
            one.coordinators.iter_mut().for_each(|one| one.error_message = None);
        }
        Answer::JoinGroup(one) => {
            one.throttle_time_ms = 0;
            names.member(&mut one.member_id);
            names.member(&mut one.leader);
            // Metadata tells members apart.
            one.members.sort_by(|a, b| a.metadata.cmp(&b.metadata));
            one.members.iter_mut().for_each(|member| names.member(&mut member.member_id));
        }
        Answer::SyncGroup(one) => one.throttle_time_ms = 0,
        Answer::Heartbeat(one) => one.throttle_time_ms = 0,
        Answer::LeaveGroup(one) => {
            one.throttle_time_ms = 0;
            one.members.iter_mut().for_each(|member| names.member(&mut member.member_id));
        }
        Answer::ConsumerGroupHeartbeat(one) => {
            one.throttle_time_ms = 0;
            one.error_message = None;
            one.member_id.iter_mut().for_each(|id| names.member(id));
            if let Some(assignment) = &mut one.assignment {
                assignment.topic_partitions.sort_by_key(|topic| topic.topic_id);
                assignment.topic_partitions.iter_mut().for_each(|topic| topic.partitions.sort_unstable());
            }
        }
        Answer::OffsetCommit(one) => one.throttle_time_ms = 0,
        Answer::OffsetFetch(one) => {
            one.throttle_time_ms = 0;
            one.topics.sort_by(|a, b| a.name.cmp(&b.name));
            for topic in &mut one.topics {
                topic.partitions.sort_by_key(|one| one.partition_index);
            }
            for group in &mut one.groups {
                group.topics.sort_by(|a, b| (&a.name, a.topic_id).cmp(&(&b.name, b.topic_id)));
                for topic in &mut group.topics {
                    topic.partitions.sort_by_key(|one| one.partition_index);
                }
            }
        }
        Answer::ListOffsets(one) => one.throttle_time_ms = 0,
        Answer::OffsetForLeaderEpoch(one) => one.throttle_time_ms = 0,
        Answer::Fetch(one) => {
            one.throttle_time_ms = 0;
            names.session(&mut one.session_id);
            one.node_endpoints.iter_mut().for_each(|node| node.rack = None);
            // A topic comes as often as its partitions are apart.
            let mut topics: Vec<FetchResponseTopic> = Vec::new();
            for topic in std::mem::take(&mut one.responses) {
                let same = |known: &&mut FetchResponseTopic| {
                    known.topic == topic.topic && known.topic_id == topic.topic_id
                };
                match topics.iter_mut().find(same) {
                    Some(known) => known.partitions.extend(topic.partitions),
                    None => topics.push(topic),
                }
            }
            topics.sort_by(|a, b| (&a.topic, a.topic_id).cmp(&(&b.topic, b.topic_id)));
            one.responses = topics;
            for topic in &mut one.responses {
                topic.partitions.sort_by_key(|one| one.partition_index);
                for partition in &mut topic.partitions {
                    partition.records = partition.records.take().map(whole_batches);
                }
            }
        }
        Answer::Produce(one) => {
            one.throttle_time_ms = 0;
            one.node_endpoints.iter_mut().for_each(|node| node.rack = None);
            for partition in one.responses.iter_mut().flat_map(|topic| &mut topic.partition_responses) {
                partition.error_message = None;
                partition.record_errors.iter_mut().for_each(|one| one.batch_index_error_message = None);
            }
        }
    }
    answer
}

/// Without the part of a batch at the end. A batch has its length after its first offset.
fn whole_batches(records: Bytes) -> Bytes {
    let mut end = 0;
    while let Some(head) = records.get(end + 8..end + 12) {
        let length = u32::from_be_bytes(head.try_into().unwrap()) as usize;
        if end + 12 + length > records.len() {
            break;
        }
        end += 12 + length;
    }
    records.slice(..end)
}
