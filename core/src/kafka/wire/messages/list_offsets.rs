//! Offsets by time, and the first and last of a partition (KIP-79).

use crate::kafka::wire::declare::wire;

wire! {
    /// Asks for offsets by time.
    request ListOffsetsRequest = 2, versions "1-11", flexible "6+", response ListOffsetsResponse {
        /// The replica that asks; -1: a consumer.
        replica_id: i32 = "0+";
        /// 0: read uncommitted. 1: read committed.
        isolation_level: i8 = "2+";
        /// By topic.
        topics: Vec<ListOffsetsRequestTopic> = "0+";
        /// Milliseconds that the broker may take for offsets in remote storage (KIP-1075).
        timeout_ms: i32 = "10+", ignorable true;
    }
}

wire! {
    /// A topic that is asked about.
    structure ListOffsetsRequestTopic as "ListOffsetsTopic" {
        /// The topic's name.
        name: String = "0+";
        /// Its partitions.
        partitions: Vec<ListOffsetsRequestPartition> = "0+";
    }
}

wire! {
    /// A partition that is asked about.
    structure ListOffsetsRequestPartition as "ListOffsetsPartition" {
        /// The partition.
        partition_index: i32 = "0+";
        /// The leader epoch that the asker knows, so that a stale one is noticed (KIP-320); -1:
        /// don't look.
        current_leader_epoch: i32 = "4+", ignorable true, default -1;
        /// Milliseconds since 1970: asks for the first record that is not earlier. -1: the end (the
        /// last stable offset under read committed). -2: the start. -3: the record with the largest
        /// timestamp. -4: the start of local storage. -5: the end of remote storage. -6: the first
        /// that is not uploaded yet.
        timestamp: i64 = "0+";
    }
}

wire! {
    /// The offsets that were found.
    response ListOffsetsResponse, versions "1-11", flexible "6+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "2+", ignorable true;
        /// By topic.
        topics: Vec<ListOffsetsResponseTopic> = "0+";
    }
}

wire! {
    /// A topic's offsets.
    structure ListOffsetsResponseTopic as "ListOffsetsTopicResponse" {
        /// The topic's name.
        name: String = "0+";
        /// Its partitions.
        partitions: Vec<ListOffsetsResponsePartition> = "0+";
    }
}

wire! {
    /// A partition's offset.
    structure ListOffsetsResponsePartition as "ListOffsetsPartitionResponse" {
        /// The partition.
        partition_index: i32 = "0+";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The timestamp of the record that was found; -1: none.
        timestamp: i64 = "1+", default -1;
        /// The offset that was found; -1: none.
        offset: i64 = "1+", default -1;
        /// The leader epoch of the record that was found; -1: not known.
        leader_epoch: i32 = "4+", default -1;
    }
}
