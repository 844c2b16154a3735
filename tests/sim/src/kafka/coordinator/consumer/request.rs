//! What is wrong with a heartbeat whoever sends it, and assignments as the wire has them.

use std::collections::BTreeMap;

use tidegate_core::kafka::wire::{
    ConsumerGroupHeartbeatRequest as Request, ConsumerGroupHeartbeatResponseAssignment as Assignment,
    ConsumerGroupHeartbeatResponseTopicPartitions as TopicPartitions, ErrorCode,
};

use super::assignor::Assignor;
use super::{LEAVES, LEAVES_FOR_NOW, Spot};

/// The error with which such a request is refused before anybody looks for its group.
///
/// # Errors
/// `INVALID_REQUEST` for fields that can't be so, `UNSUPPORTED_ASSIGNOR` for an assignor that the
/// broker doesn't have.
pub(in crate::kafka) fn refusal(request: &Request, version: i16) -> Result<(), ErrorCode> {
    let empty = |text: &Option<String>| text.as_ref().is_some_and(|text| text.trim().is_empty());
    // From version 1 on members choose their ids (KIP-1082).
    let names_itself = version >= 1 || request.member_epoch > 0 || request.member_epoch == LEAVES;
    let joins = request.member_epoch == 0;
    let owns_nothing = request.topic_partitions.as_ref().is_some_and(Vec::is_empty);
    let wants_nothing = request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none();
    let wrong = names_itself && request.member_id.trim().is_empty()
        || request.group_id.trim().is_empty()
        || empty(&request.instance_id)
        || empty(&request.rack_id)
        || joins && (request.rebalance_timeout_ms == -1 || !owns_nothing || wants_nothing)
        || request.member_epoch == LEAVES_FOR_NOW && request.instance_id.is_none()
        || request.member_epoch < LEAVES_FOR_NOW;
    match &request.server_assignor {
        _ if wrong => Err(ErrorCode::INVALID_REQUEST),
        Some(name) if Assignor::named(name).is_none() => Err(ErrorCode::UNSUPPORTED_ASSIGNOR),
        _ => Ok(()),
    }
}

/// By topic, in order.
pub(super) fn assignment<'a>(spots: impl Iterator<Item = &'a Spot>) -> Assignment {
    let mut by_topic: BTreeMap<_, Vec<i32>> = BTreeMap::new();
    for (topic, index) in spots {
        by_topic.entry(*topic).or_default().push(*index);
    }
    let topics = by_topic.into_iter().map(|(topic_id, partitions)| TopicPartitions { topic_id, partitions });
    Assignment { topic_partitions: topics.collect() }
}
