//! Records for a member of a share group, and acknowledgements on the way (KIP-932).

use bytes::Bytes;

use crate::kafka::wire::Uuid;
use crate::kafka::wire::declare::wire;

wire! {
    /// Asks for records of a share group.
    request ShareFetchRequest = 78, versions "1-2", flexible "0+", response ShareFetchResponse {
        /// The group.
        group_id: Option<String> = "0+", nullable "0+", default None;
        /// The member's id.
        member_id: Option<String> = "0+", nullable "0+";
        /// The share session's epoch: 0 opens one, -1 closes it.
        share_session_epoch: i32 = "0+";
        /// Milliseconds that the broker may wait for `min_bytes`.
        max_wait_ms: i32 = "0+";
        /// Bytes to wait for.
        min_bytes: i32 = "0+";
        /// Bytes to answer with at most; the first batch comes whole all the same (KIP-74).
        max_bytes: i32 = "0+", default i32::MAX;
        /// Records to answer with at most, or nearly: a batch is not cut.
        max_records: i32 = "1+";
        /// How many records an acquired range is to have.
        batch_size: i32 = "1+";
        /// 0: by whole batches. 1: strictly by records (KIP-1206).
        share_acquire_mode: i8 = "2+", ignorable true;
        /// Whether some acknowledgements only ask for more time (KIP-1222).
        is_renew_ack: bool = "2+";
        /// By topic.
        topics: Vec<ShareFetchRequestTopic> = "0+";
        /// Partitions that leave the session.
        forgotten_topics_data: Vec<ShareFetchRequestForgottenTopic> = "0+";
    }
}

wire! {
    /// A topic to fetch from, or to acknowledge in.
    structure ShareFetchRequestTopic as "FetchTopic" {
        /// The topic's id; zero: none.
        topic_id: Uuid = "0+";
        /// Its partitions.
        partitions: Vec<ShareFetchRequestPartition> = "0+";
    }
}

wire! {
    /// A partition to fetch from, or to acknowledge in.
    structure ShareFetchRequestPartition as "FetchPartition" {
        /// The partition.
        partition_index: i32 = "0+";
        /// Version 0's limit of bytes.
        partition_max_bytes: i32 = "0";
        /// What is acknowledged.
        acknowledgement_batches: Vec<ShareFetchRequestAcknowledgementBatch> = "0+";
    }
}

wire! {
    /// Acknowledgements of a range of offsets.
    structure ShareFetchRequestAcknowledgementBatch as "AcknowledgementBatch" {
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
    /// Partitions that leave the share session.
    structure ShareFetchRequestForgottenTopic as "ForgottenTopic" {
        /// The topic's id; zero: none.
        topic_id: Uuid = "0+";
        /// Its partitions.
        partitions: Vec<i32> = "0+";
    }
}

wire! {
    /// Records of a share group.
    response ShareFetchResponse, versions "1-2", flexible "0+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "0+";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The error in words, where the broker has some.
        error_message: Option<String> = "0+", nullable "0+", default None;
        /// Milliseconds for which acquired records stay this member's.
        acquisition_lock_timeout_ms: i32 = "1+";
        /// By topic.
        responses: Vec<ShareFetchResponseTopic> = "0+";
        /// Where the brokers are that `current_leader` names.
        node_endpoints: Vec<ShareFetchResponseNodeEndpoint> = "0+";
    }
}

wire! {
    /// A topic's records.
    structure ShareFetchResponseTopic as "ShareFetchableTopicResponse" {
        /// The topic's id; zero: none.
        topic_id: Uuid = "0+";
        /// Its partitions.
        partitions: Vec<ShareFetchResponsePartitionData> = "0+";
    }
}

wire! {
    /// A partition's records.
    structure ShareFetchResponsePartitionData as "PartitionData" {
        /// The partition.
        partition_index: i32 = "0+";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The error in words, where the broker has some.
        error_message: Option<String> = "0+", nullable "0+", default None;
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode) for the acknowledgements; 0: none.
        acknowledge_error_code: i16 = "0+";
        /// That error in words, where the broker has some.
        acknowledge_error_message: Option<String> = "0+", nullable "0+", default None;
        /// The leader, when it is another one (KIP-951).
        current_leader: ShareFetchResponseLeaderIdAndEpoch = "0+";
        /// Record batches, as they lie in the log. A slice of the frame.
        records: Option<Bytes> = "0+", nullable "0", default None;
        /// What of them is now this member's.
        acquired_records: Vec<ShareFetchResponseAcquiredRecords> = "0+";
    }
}

wire! {
    /// The current leader.
    structure ShareFetchResponseLeaderIdAndEpoch as "LeaderIdAndEpoch" {
        /// The leader's broker id; -1: not known.
        leader_id: i32 = "0+";
        /// The leader's epoch; -1: not known.
        leader_epoch: i32 = "0+";
    }
}

wire! {
    /// A range of offsets that is now this member's.
    structure ShareFetchResponseAcquiredRecords as "AcquiredRecords" {
        /// The first offset of the range.
        first_offset: i64 = "0+";
        /// The last offset of the range.
        last_offset: i64 = "0+";
        /// How often these were delivered, this time included.
        delivery_count: i16 = "0+";
    }
}

wire! {
    /// A broker and where it is.
    structure ShareFetchResponseNodeEndpoint as "NodeEndpoint" {
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
