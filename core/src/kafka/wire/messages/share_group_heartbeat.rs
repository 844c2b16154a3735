//! Membership of a share group (KIP-932).

use crate::kafka::wire::Uuid;
use crate::kafka::wire::declare::wire;

wire! {
    /// What a member of a share group wants; member epoch 0 joins, -1 leaves.
    request ShareGroupHeartbeatRequest = 76,
    versions "1", flexible "0+", response ShareGroupHeartbeatResponse {
        /// The group.
        group_id: String = "0+";
        /// The member's id.
        member_id: String = "0+";
        /// The member's epoch.
        member_epoch: i32 = "0+";
        /// The member's rack; null: none, or as before.
        rack_id: Option<String> = "0+", nullable "0+", default None;
        /// The topics that are wanted; null: as before.
        subscribed_topic_names: Option<Vec<String>> = "0+", nullable "0+", default None;
    }
}

wire! {
    /// What the coordinator makes of it.
    response ShareGroupHeartbeatResponse, versions "1", flexible "0+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "0+";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The error in words, where the broker has some.
        error_message: Option<String> = "0+", nullable "0+", default None;
        /// The member's id.
        member_id: Option<String> = "0+", nullable "0+", default None;
        /// The member's epoch.
        member_epoch: i32 = "0+";
        /// Milliseconds between heartbeats.
        heartbeat_interval_ms: i32 = "0+";
        /// What the member may fetch; null: as before.
        assignment: Option<ShareGroupHeartbeatResponseAssignment> = "0+", nullable "0+", default None;
    }
}

wire! {
    /// What the member may fetch.
    structure ShareGroupHeartbeatResponseAssignment as "Assignment" {
        /// Partitions by topic.
        topic_partitions: Vec<ShareGroupHeartbeatResponseTopicPartitions> = "0+";
    }
}

wire! {
    /// Partitions of a topic.
    structure ShareGroupHeartbeatResponseTopicPartitions as "TopicPartitions" {
        /// The topic's id; zero: none.
        topic_id: Uuid = "0+";
        /// Its partitions.
        partitions: Vec<i32> = "0+";
    }
}
