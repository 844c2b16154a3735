//! The one request of the new group protocol (KIP-848): it joins, keeps alive, reconciles and
//! leaves.

use crate::kafka::wire::Uuid;
use crate::kafka::wire::declare::wire;

wire! {
    /// What a member wants and owns. A field that did not change since the last answer may be left
    /// null or -1.
    request ConsumerGroupHeartbeatRequest = 68,
    versions "0-1", flexible "0+", response ConsumerGroupHeartbeatResponse {
        /// The group.
        group_id: String = "0+";
        /// The member's id, which the member makes up (a UUID) and keeps; in version 0 empty when
        /// it joins.
        member_id: String = "0+";
        /// The member's epoch: 0 joins, -1 leaves, -2 leaves for a while (a static member).
        member_epoch: i32 = "0+";
        /// The static member's own name; null: not static, or as before.
        instance_id: Option<String> = "0+", nullable "0+", default None;
        /// The member's rack; null: none, or as before.
        rack_id: Option<String> = "0+", nullable "0+", default None;
        /// Milliseconds that the coordinator waits for the member to let go of partitions; -1: as
        /// before.
        rebalance_timeout_ms: i32 = "0+", default -1;
        /// The topics that are wanted; null: as before.
        subscribed_topic_names: Option<Vec<String>> = "0+", nullable "0+", default None;
        /// A regular expression (RE2) for topics that are wanted; null: as before.
        subscribed_topic_regex: Option<String> = "1+", nullable "1+", default None;
        /// The broker's assignor; null: the broker's choice, or as before.
        server_assignor: Option<String> = "0+", nullable "0+", default None;
        /// What the member owns; null: as before.
        topic_partitions: Option<Vec<ConsumerGroupHeartbeatRequestTopicPartitions>> = "0+",
            nullable "0+", default None;
    }
}

wire! {
    /// Partitions of a topic that the member owns.
    structure ConsumerGroupHeartbeatRequestTopicPartitions as "TopicPartitions" {
        /// The topic's id; zero: none.
        topic_id: Uuid = "0+";
        /// Its partitions.
        partitions: Vec<i32> = "0+";
    }
}

wire! {
    /// What the coordinator makes of it.
    response ConsumerGroupHeartbeatResponse, versions "0-1", flexible "0+" {
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
        /// What the member is to own; null: as before.
        assignment: Option<ConsumerGroupHeartbeatResponseAssignment> = "0+", nullable "0+", default None;
    }
}

wire! {
    /// What the member is to own.
    structure ConsumerGroupHeartbeatResponseAssignment as "Assignment" {
        /// Partitions by topic.
        topic_partitions: Vec<ConsumerGroupHeartbeatResponseTopicPartitions> = "0+";
    }
}

wire! {
    /// Partitions of a topic.
    structure ConsumerGroupHeartbeatResponseTopicPartitions as "TopicPartitions" {
        /// The topic's id; zero: none.
        topic_id: Uuid = "0+";
        /// Its partitions.
        partitions: Vec<i32> = "0+";
    }
}
