//! The messages, one file an API: the request and its response, then what is inside them.
//!
//! A nested structure is named after its message and its own name in Kafka's definitions, without
//! what the message's name says already; its documentation has that name in full.
//!
//! **Invariant:** a declaration here is one of Kafka's definitions field by field, in its order
//! (a test compares them).

mod api_versions;
mod consumer_group_heartbeat;
mod consumer_protocol;
mod create_topics;
mod fetch;
mod find_coordinator;
mod header;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sasl_authenticate;
mod sasl_handshake;
mod share_acknowledge;
mod share_fetch;
mod share_group_heartbeat;
mod sync_group;

pub use api_versions::{
    ApiVersionsRequest, ApiVersionsResponse, ApiVersionsResponseApiVersion,
    ApiVersionsResponseFinalizedFeatureKey, ApiVersionsResponseSupportedFeatureKey,
};
pub use consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatRequestTopicPartitions,
    ConsumerGroupHeartbeatResponse, ConsumerGroupHeartbeatResponseAssignment,
    ConsumerGroupHeartbeatResponseTopicPartitions,
};
pub use consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolAssignmentTopicPartition, ConsumerProtocolSubscription,
    ConsumerProtocolSubscriptionTopicPartition,
};
pub use create_topics::{
    CreateTopicsRequest, CreateTopicsRequestReplicaAssignment, CreateTopicsRequestTopic,
    CreateTopicsRequestTopicConfig, CreateTopicsResponse, CreateTopicsResponseTopic,
    CreateTopicsResponseTopicConfigs,
};
pub use fetch::{
    FetchRequest, FetchRequestForgottenTopic, FetchRequestPartition, FetchRequestReplicaState,
    FetchRequestTopic, FetchResponse, FetchResponseAbortedTransaction, FetchResponseEpochEndOffset,
    FetchResponseLeaderIdAndEpoch, FetchResponseNodeEndpoint, FetchResponsePartitionData,
    FetchResponseSnapshotId, FetchResponseTopic,
};
pub use find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse, FindCoordinatorResponseCoordinator,
};
pub use header::{RequestHeader, ResponseHeader};
pub use heartbeat::{HeartbeatRequest, HeartbeatResponse};
pub use init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
pub use join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember,
};
pub use leave_group::{
    LeaveGroupRequest, LeaveGroupRequestMemberIdentity, LeaveGroupResponse, LeaveGroupResponseMemberResponse,
};
pub use list_offsets::{
    ListOffsetsRequest, ListOffsetsRequestPartition, ListOffsetsRequestTopic, ListOffsetsResponse,
    ListOffsetsResponsePartition, ListOffsetsResponseTopic,
};
pub use metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
pub use offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
pub use offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
pub use offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochRequestPartition, OffsetForLeaderEpochRequestTopic,
    OffsetForLeaderEpochResponse, OffsetForLeaderEpochResponseEpochEndOffset,
    OffsetForLeaderEpochResponseTopic,
};
pub use produce::{
    ProduceRequest, ProduceRequestPartitionData, ProduceRequestTopicData, ProduceResponse,
    ProduceResponseBatchIndexAndErrorMessage, ProduceResponseLeaderIdAndEpoch, ProduceResponseNodeEndpoint,
    ProduceResponsePartition, ProduceResponseTopic,
};
pub use sasl_authenticate::{SaslAuthenticateRequest, SaslAuthenticateResponse};
pub use sasl_handshake::{SaslHandshakeRequest, SaslHandshakeResponse};
pub use share_acknowledge::{
    ShareAcknowledgeRequest, ShareAcknowledgeRequestAcknowledgementBatch, ShareAcknowledgeRequestPartition,
    ShareAcknowledgeRequestTopic, ShareAcknowledgeResponse, ShareAcknowledgeResponseLeaderIdAndEpoch,
    ShareAcknowledgeResponseNodeEndpoint, ShareAcknowledgeResponsePartitionData,
    ShareAcknowledgeResponseTopic,
};
pub use share_fetch::{
    ShareFetchRequest, ShareFetchRequestAcknowledgementBatch, ShareFetchRequestForgottenTopic,
    ShareFetchRequestPartition, ShareFetchRequestTopic, ShareFetchResponse,
    ShareFetchResponseAcquiredRecords, ShareFetchResponseLeaderIdAndEpoch, ShareFetchResponseNodeEndpoint,
    ShareFetchResponsePartitionData, ShareFetchResponseTopic,
};
pub use share_group_heartbeat::{
    ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponse, ShareGroupHeartbeatResponseAssignment,
    ShareGroupHeartbeatResponseTopicPartitions,
};
pub use sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
