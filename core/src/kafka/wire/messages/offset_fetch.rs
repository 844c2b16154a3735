//! What a group has committed (KIP-447 for stable offsets, KIP-709 for several groups, KIP-848 for
//! member epochs).

use crate::kafka::wire::Uuid;
use crate::kafka::wire::declare::wire;

wire! {
    /// Asks what groups have committed.
    request OffsetFetchRequest = 9, versions "1-10", flexible "6+", response OffsetFetchResponse {
        /// The group, up to version 7.
        group_id: String = "0-7";
        /// Up to version 7; null: all that the group has committed.
        topics: Option<Vec<OffsetFetchRequestTopic>> = "0-7", nullable "2-7";
        /// From version 8.
        groups: Vec<OffsetFetchRequestGroup> = "8+";
        /// Whether to answer UNSTABLE_OFFSET_COMMIT while a transaction is about to commit offsets
        /// (KIP-447).
        require_stable: bool = "7+";
    }
}

wire! {
    /// A topic that is asked about, up to version 7.
    structure OffsetFetchRequestTopic as "OffsetFetchRequestTopic" {
        /// The topic's name.
        name: String = "0-7";
        /// The partitions.
        partition_indexes: Vec<i32> = "0-7";
    }
}

wire! {
    /// A group that is asked about, from version 8.
    structure OffsetFetchRequestGroup as "OffsetFetchRequestGroup" {
        /// The group, up to version 7.
        group_id: String = "8+";
        /// The member that asks (KIP-848); null: somebody else.
        member_id: Option<String> = "9+", nullable "9+", ignorable true, default None;
        /// Its epoch; -1: none.
        member_epoch: i32 = "9+", ignorable true, default -1;
        /// Null: all that the group has committed.
        topics: Option<Vec<OffsetFetchRequestTopics>> = "8+", nullable "8+";
    }
}

wire! {
    /// A topic that is asked about, from version 8.
    structure OffsetFetchRequestTopics as "OffsetFetchRequestTopics" {
        /// The topic's name.
        name: String = "8-9", ignorable true;
        /// The topic's id; zero: none.
        topic_id: Uuid = "10+", ignorable true;
        /// The partitions.
        partition_indexes: Vec<i32> = "8+";
    }
}

wire! {
    /// What groups have committed.
    response OffsetFetchResponse, versions "1-10", flexible "6+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "3+", ignorable true;
        /// Up to version 7.
        topics: Vec<OffsetFetchResponseTopic> = "0-7";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode) for the group, up to version 7; 0: none.
        error_code: i16 = "2-7", ignorable true;
        /// From version 8.
        groups: Vec<OffsetFetchResponseGroup> = "8+";
    }
}

wire! {
    /// A topic's offsets, up to version 7.
    structure OffsetFetchResponseTopic as "OffsetFetchResponseTopic" {
        /// The topic's name.
        name: String = "0-7";
        /// Its partitions.
        partitions: Vec<OffsetFetchResponsePartition> = "0-7";
    }
}

wire! {
    /// A partition's offset, up to version 7.
    structure OffsetFetchResponsePartition as "OffsetFetchResponsePartition" {
        /// The partition.
        partition_index: i32 = "0-7";
        /// The offset of the record to go on with; -1: none is committed.
        committed_offset: i64 = "0-7";
        /// The leader epoch of the record before it; -1: not known.
        committed_leader_epoch: i32 = "5-7", ignorable true, default -1;
        /// What was committed with it.
        metadata: Option<String> = "0-7", nullable "0-7";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode) for the group, up to version 7; 0: none.
        error_code: i16 = "0-7";
    }
}

wire! {
    /// A group's offsets, from version 8.
    structure OffsetFetchResponseGroup as "OffsetFetchResponseGroup" {
        /// The group.
        group_id: String = "8+";
        /// Up to version 7.
        topics: Vec<OffsetFetchResponseTopics> = "8+";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode) for the group, up to version 7; 0: none.
        error_code: i16 = "8+";
    }
}

wire! {
    /// A topic's offsets, from version 8.
    structure OffsetFetchResponseTopics as "OffsetFetchResponseTopics" {
        /// The topic's name.
        name: String = "8-9", ignorable true;
        /// The topic's id; zero: none.
        topic_id: Uuid = "10+", ignorable true;
        /// Its partitions.
        partitions: Vec<OffsetFetchResponsePartitions> = "8+";
    }
}

wire! {
    /// A partition's offset, from version 8.
    structure OffsetFetchResponsePartitions as "OffsetFetchResponsePartitions" {
        /// The partition.
        partition_index: i32 = "8+";
        /// The offset of the record to go on with; -1: none is committed.
        committed_offset: i64 = "8+";
        /// The leader epoch of the record before it; -1: not known.
        committed_leader_epoch: i32 = "8+", ignorable true, default -1;
        /// What was committed with it.
        metadata: Option<String> = "8+", nullable "8+";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode) for the group, up to version 7; 0: none.
        error_code: i16 = "8+";
    }
}
