//! All messages by name, once for all tests.

/// Gives the names to a macro.
macro_rules! all_messages {
    ($then:ident) => {
        $then! {
            ApiVersionsRequest ApiVersionsResponse
            ConsumerGroupHeartbeatRequest ConsumerGroupHeartbeatResponse
            ConsumerProtocolAssignment ConsumerProtocolSubscription
            CreateTopicsRequest CreateTopicsResponse
            FetchRequest FetchResponse
            FindCoordinatorRequest FindCoordinatorResponse
            HeartbeatRequest HeartbeatResponse
            InitProducerIdRequest InitProducerIdResponse
            JoinGroupRequest JoinGroupResponse
            LeaveGroupRequest LeaveGroupResponse
            ListOffsetsRequest ListOffsetsResponse
            MetadataRequest MetadataResponse
            OffsetCommitRequest OffsetCommitResponse
            OffsetFetchRequest OffsetFetchResponse
            OffsetForLeaderEpochRequest OffsetForLeaderEpochResponse
            ProduceRequest ProduceResponse
            RequestHeader ResponseHeader
            SaslAuthenticateRequest SaslAuthenticateResponse
            SaslHandshakeRequest SaslHandshakeResponse
            ShareAcknowledgeRequest ShareAcknowledgeResponse
            ShareFetchRequest ShareFetchResponse
            ShareGroupHeartbeatRequest ShareGroupHeartbeatResponse
            SyncGroupRequest SyncGroupResponse
        }
    };
}
