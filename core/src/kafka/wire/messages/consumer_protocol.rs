//! What members of a classic group tell the leader, and the leader them: opaque bytes to the
//! coordinator (KIP-429, KIP-792, KIP-881 for versions 1 to 3).

use bytes::Bytes;

use crate::kafka::wire::declare::wire;

wire! {
    /// What a member of a classic group wants and has.
    data ConsumerProtocolSubscription, versions "0-3", flexible "none" {
        /// The topics that are wanted.
        topics: Vec<String> = "0+";
        /// The assignor's own.
        user_data: Option<Bytes> = "0+", nullable "0+", default None;
        /// What the member has (KIP-429).
        owned_partitions: Vec<ConsumerProtocolSubscriptionTopicPartition> = "1+", ignorable true;
        /// The generation in which it got that (KIP-792); -1: none.
        generation_id: i32 = "2+", ignorable true, default -1;
        /// The member's rack (KIP-881); null: none.
        rack_id: Option<String> = "3+", nullable "3+", ignorable true, default None;
    }
}

wire! {
    /// Partitions of a topic that the member has.
    structure ConsumerProtocolSubscriptionTopicPartition as "TopicPartition" {
        /// The topic's name.
        topic: String = "1+";
        /// Its partitions.
        partitions: Vec<i32> = "1+";
    }
}

wire! {
    /// What a member of a classic group gets.
    data ConsumerProtocolAssignment, versions "0-3", flexible "none" {
        /// What the member gets.
        assigned_partitions: Vec<ConsumerProtocolAssignmentTopicPartition> = "0+";
        /// The assignor's own.
        user_data: Option<Bytes> = "0+", nullable "0+", default None;
    }
}

wire! {
    /// Partitions of a topic that the member gets.
    structure ConsumerProtocolAssignmentTopicPartition as "TopicPartition" {
        /// The topic's name.
        topic: String = "0+";
        /// Its partitions.
        partitions: Vec<i32> = "0+";
    }
}
