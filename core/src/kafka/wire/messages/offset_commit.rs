//! Commits offsets of a group (topic ids from version 10, KIP-848).

use crate::kafka::wire::Uuid;
use crate::kafka::wire::declare::wire;

wire! {
    /// Commits offsets.
    request OffsetCommitRequest = 8, versions "2-10", flexible "8+", response OffsetCommitResponse {
        /// The group.
        group_id: String = "0+";
        /// The generation of a classic group, or the member's epoch (KIP-848); -1: committed from
        /// outside of the group.
        generation_id_or_member_epoch: i32 = "1+", ignorable true, default -1;
        /// The member's id.
        member_id: String = "1+", ignorable true;
        /// The static member's own name (KIP-345); null: not static.
        group_instance_id: Option<String> = "7+", nullable "7+", default None;
        /// Milliseconds to keep the offsets; -1: as the broker is set.
        retention_time_ms: i64 = "2-4", ignorable true, default -1;
        /// By topic.
        topics: Vec<OffsetCommitRequestTopic> = "0+";
    }
}

wire! {
    /// A topic's offsets.
    structure OffsetCommitRequestTopic as "OffsetCommitRequestTopic" {
        /// The topic's name.
        name: String = "0-9", ignorable true;
        /// The topic's id; zero: none.
        topic_id: Uuid = "10+", ignorable true;
        /// Its partitions.
        partitions: Vec<OffsetCommitRequestPartition> = "0+";
    }
}

wire! {
    /// A partition's offset.
    structure OffsetCommitRequestPartition as "OffsetCommitRequestPartition" {
        /// The partition.
        partition_index: i32 = "0+";
        /// The offset of the record to go on with.
        committed_offset: i64 = "0+";
        /// The leader epoch of the record before it; -1: not known.
        committed_leader_epoch: i32 = "6+", ignorable true, default -1;
        /// Anything that the member wants to remember with it.
        committed_metadata: Option<String> = "0+", nullable "0+";
    }
}

wire! {
    /// What became of the commits.
    response OffsetCommitResponse, versions "2-10", flexible "8+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "3+", ignorable true;
        /// By topic.
        topics: Vec<OffsetCommitResponseTopic> = "0+";
    }
}

wire! {
    /// A topic's commits.
    structure OffsetCommitResponseTopic as "OffsetCommitResponseTopic" {
        /// The topic's name.
        name: String = "0-9", ignorable true;
        /// The topic's id; zero: none.
        topic_id: Uuid = "10+", ignorable true;
        /// Its partitions.
        partitions: Vec<OffsetCommitResponsePartition> = "0+";
    }
}

wire! {
    /// A partition's commit.
    structure OffsetCommitResponsePartition as "OffsetCommitResponsePartition" {
        /// The partition.
        partition_index: i32 = "0+";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
    }
}
