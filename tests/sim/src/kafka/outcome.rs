//! Whether an answer refuses something: its first error code.

use tidegate_core::kafka::wire::{
    ApiVersionsResponse, ConsumerGroupHeartbeatResponse, CreateTopicsResponse, ErrorCode, FetchResponse,
    FindCoordinatorResponse, HeartbeatResponse, InitProducerIdResponse, JoinGroupResponse,
    LeaveGroupResponse, ListOffsetsResponse, MetadataResponse, OffsetCommitResponse, OffsetFetchResponse,
    OffsetForLeaderEpochResponse, ProduceResponse, SyncGroupResponse,
};

/// An answer that says whether it refuses something.
pub(super) trait Outcome {
    /// The first error in the order of its fields, or none.
    fn error(&self) -> ErrorCode;
}

fn first(codes: impl IntoIterator<Item = i16>) -> ErrorCode {
    ErrorCode(codes.into_iter().find(|code| *code != 0).unwrap_or(0))
}

macro_rules! outcomes {
    ($($response:ty: |$one:ident| $codes:expr;)*) => {
        $(impl Outcome for $response {
            fn error(&self) -> ErrorCode {
                let $one = self;
                first($codes)
            }
        })*
    };
}

outcomes! {
    ApiVersionsResponse: |one| [one.error_code];
    HeartbeatResponse: |one| [one.error_code];
    InitProducerIdResponse: |one| [one.error_code];
    ConsumerGroupHeartbeatResponse: |one| [one.error_code];
    JoinGroupResponse: |one| [one.error_code];
    SyncGroupResponse: |one| [one.error_code];
    CreateTopicsResponse: |one| one.topics.iter().map(|topic| topic.error_code);
    FindCoordinatorResponse: |one| {
        [one.error_code].into_iter().chain(one.coordinators.iter().map(|one| one.error_code))
    };
    LeaveGroupResponse: |one| {
        [one.error_code].into_iter().chain(one.members.iter().map(|member| member.error_code))
    };
    ProduceResponse: |one| {
        one.responses.iter().flat_map(|topic| &topic.partition_responses).map(|one| one.error_code)
    };
    ListOffsetsResponse: |one| one.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code);
    OffsetForLeaderEpochResponse: |one| {
        one.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code)
    };
    OffsetCommitResponse: |one| one.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code);
    FetchResponse: |one| {
        let parts = one.responses.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code);
        [one.error_code].into_iter().chain(parts)
    };
    MetadataResponse: |one| {
        one.topics.iter().flat_map(|topic| {
            [topic.error_code].into_iter().chain(topic.partitions.iter().map(|one| one.error_code))
        })
    };
    OffsetFetchResponse: |one| {
        let old = one.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code);
        let new = one.groups.iter().flat_map(|group| {
            let parts = group.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.error_code);
            [group.error_code].into_iter().chain(parts)
        });
        [one.error_code].into_iter().chain(old).chain(new)
    };
}
