//! Where a leader epoch ended, to find out whether a log was truncated (KIP-101, KIP-320).

use crate::kafka::wire::declare::wire;

wire! {
    /// Asks where leader epochs ended.
    request OffsetForLeaderEpochRequest = 23,
    versions "2-4", flexible "4+", response OffsetForLeaderEpochResponse {
        /// The replica that asks; -1: a consumer; -2: not said.
        replica_id: i32 = "3+", ignorable true, default -2;
        /// By topic.
        topics: Vec<OffsetForLeaderEpochRequestTopic> = "0+";
    }
}

wire! {
    /// A topic that is asked about.
    structure OffsetForLeaderEpochRequestTopic as "OffsetForLeaderTopic" {
        /// The topic's name.
        topic: String = "0+";
        /// Its partitions.
        partitions: Vec<OffsetForLeaderEpochRequestPartition> = "0+";
    }
}

wire! {
    /// A partition that is asked about.
    structure OffsetForLeaderEpochRequestPartition as "OffsetForLeaderPartition" {
        /// The partition.
        partition: i32 = "0+";
        /// The leader epoch that the asker knows, so that a stale one is noticed (KIP-320); -1:
        /// don't look.
        current_leader_epoch: i32 = "2+", ignorable true, default -1;
        /// The epoch that is asked about.
        leader_epoch: i32 = "0+";
    }
}

wire! {
    /// Where the leader epochs ended.
    response OffsetForLeaderEpochResponse, versions "2-4", flexible "4+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "2+", ignorable true;
        /// By topic.
        topics: Vec<OffsetForLeaderEpochResponseTopic> = "0+";
    }
}

wire! {
    /// A topic's answers.
    structure OffsetForLeaderEpochResponseTopic as "OffsetForLeaderTopicResult" {
        /// The topic's name.
        topic: String = "0+";
        /// Its partitions.
        partitions: Vec<OffsetForLeaderEpochResponseEpochEndOffset> = "0+";
    }
}

wire! {
    /// A partition's answer.
    structure OffsetForLeaderEpochResponseEpochEndOffset as "EpochEndOffset" {
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The partition.
        partition: i32 = "0+";
        /// The largest epoch that is not above the one asked about; -1: none.
        leader_epoch: i32 = "1+", ignorable true, default -1;
        /// The offset behind that epoch's last record; -1: none.
        end_offset: i64 = "0+", default -1;
    }
}
