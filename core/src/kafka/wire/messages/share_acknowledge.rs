//! Acknowledges records of a share group (KIP-932).

use crate::kafka::wire::Uuid;
use crate::kafka::wire::declare::wire;

wire! {
    /// Acknowledges records of a share group.
    request ShareAcknowledgeRequest = 79,
    versions "1-2", flexible "0+", response ShareAcknowledgeResponse {
        /// The group.
        group_id: Option<String> = "0+", nullable "0+", default None;
        /// The member's id.
        member_id: Option<String> = "0+", nullable "0+";
        /// The share session's epoch: 0 opens one, -1 closes it.
        share_session_epoch: i32 = "0+";
        /// Whether some acknowledgements only ask for more time (KIP-1222).
        is_renew_ack: bool = "2+";
        /// By topic.
        topics: Vec<ShareAcknowledgeRequestTopic> = "0+";
    }
}

wire! {
    /// A topic's acknowledgements.
    structure ShareAcknowledgeRequestTopic as "AcknowledgeTopic" {
        /// The topic's id; zero: none.
        topic_id: Uuid = "0+";
        /// Its partitions.
        partitions: Vec<ShareAcknowledgeRequestPartition> = "0+";
    }
}

wire! {
    /// A partition's acknowledgements.
    structure ShareAcknowledgeRequestPartition as "AcknowledgePartition" {
        /// The partition.
        partition_index: i32 = "0+";
        /// What is acknowledged.
        acknowledgement_batches: Vec<ShareAcknowledgeRequestAcknowledgementBatch> = "0+";
    }
}

wire! {
    /// Acknowledgements of a range of offsets.
    structure ShareAcknowledgeRequestAcknowledgementBatch as "AcknowledgementBatch" {
        /// The first offset of the range.
        first_offset: i64 = "0+";
        /// The last offset of the range.
        last_offset: i64 = "0+";
        /// What became of each record, or of all if there's only one: 0 gap, 1 accept, 2 release, 3
        /// reject, 4 renew.
        acknowledge_types: Vec<i8> = "0+";
    }
}

wire! {
    /// What became of the acknowledgements.
    response ShareAcknowledgeResponse, versions "1-2", flexible "0+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "0+";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The error in words, where the broker has some.
        error_message: Option<String> = "0+", nullable "0+", default None;
        /// Milliseconds for which acquired records stay this member's.
        acquisition_lock_timeout_ms: i32 = "2+", ignorable true;
        /// By topic.
        responses: Vec<ShareAcknowledgeResponseTopic> = "0+";
        /// Where the brokers are that `current_leader` names.
        node_endpoints: Vec<ShareAcknowledgeResponseNodeEndpoint> = "0+";
    }
}

wire! {
    /// A topic's acknowledgements.
    structure ShareAcknowledgeResponseTopic as "ShareAcknowledgeTopicResponse" {
        /// The topic's id; zero: none.
        topic_id: Uuid = "0+";
        /// Its partitions.
        partitions: Vec<ShareAcknowledgeResponsePartitionData> = "0+";
    }
}

wire! {
    /// A partition's acknowledgements.
    structure ShareAcknowledgeResponsePartitionData as "PartitionData" {
        /// The partition.
        partition_index: i32 = "0+";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The error in words, where the broker has some.
        error_message: Option<String> = "0+", nullable "0+", default None;
        /// The leader, when it is another one (KIP-951).
        current_leader: ShareAcknowledgeResponseLeaderIdAndEpoch = "0+";
    }
}

wire! {
    /// The current leader.
    structure ShareAcknowledgeResponseLeaderIdAndEpoch as "LeaderIdAndEpoch" {
        /// The leader's broker id; -1: not known.
        leader_id: i32 = "0+";
        /// The leader's epoch; -1: not known.
        leader_epoch: i32 = "0+";
    }
}

wire! {
    /// A broker and where it is.
    structure ShareAcknowledgeResponseNodeEndpoint as "NodeEndpoint" {
        /// The broker's id.
        node_id: i32 = "0+";
        /// Its host name or address.
        host: String = "0+";
        /// Its port.
        port: i32 = "0+";
        /// The rack that it stands in, if any.
        rack: Option<String> = "0+", nullable "0+", default None;
    }
}
