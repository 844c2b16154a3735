//! Creates topics (KIP-4).

use crate::kafka::wire::Uuid;
use crate::kafka::wire::declare::wire;

wire! {
    /// Asks for topics to be created.
    request CreateTopicsRequest = 19, versions "2-7", flexible "5+", response CreateTopicsResponse {
        /// Topics to be created.
        topics: Vec<CreateTopicsRequestTopic> = "0+";
        /// Milliseconds to wait until they are there.
        timeout_ms: i32 = "0+", default 60000;
        /// Whether to look only whether they could be created.
        validate_only: bool = "1+";
    }
}

wire! {
    /// A topic to be created.
    structure CreateTopicsRequestTopic as "CreatableTopic" {
        /// The topic's name.
        name: String = "0+";
        /// How many partitions; -1: as assigned, or the broker's default (KIP-464).
        num_partitions: i32 = "0+";
        /// How many replicas of each; -1: as assigned, or the broker's default.
        replication_factor: i16 = "0+";
        /// Where the replicas are to be; empty: the broker's choice.
        assignments: Vec<CreateTopicsRequestReplicaAssignment> = "0+";
        /// Settings.
        configs: Vec<CreateTopicsRequestTopicConfig> = "0+";
    }
}

wire! {
    /// Where a partition's replicas are to be.
    structure CreateTopicsRequestReplicaAssignment as "CreatableReplicaAssignment" {
        /// The partition.
        partition_index: i32 = "0+";
        /// The brokers, the preferred leader first.
        broker_ids: Vec<i32> = "0+";
    }
}

wire! {
    /// A setting of the topic.
    structure CreateTopicsRequestTopicConfig as "CreatableTopicConfig" {
        /// The setting's name.
        name: String = "0+";
        /// Its value.
        value: Option<String> = "0+", nullable "0+";
    }
}

wire! {
    /// What became of it.
    response CreateTopicsResponse, versions "2-7", flexible "5+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "2+", ignorable true;
        /// By topic.
        topics: Vec<CreateTopicsResponseTopic> = "0+";
    }
}

wire! {
    /// What became of one topic.
    structure CreateTopicsResponseTopic as "CreatableTopicResult" {
        /// The topic's name.
        name: String = "0+";
        /// The topic's id; zero: none.
        topic_id: Uuid = "7+", ignorable true;
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The error in words, where the broker has some.
        error_message: Option<String> = "1+", nullable "0+", ignorable true;
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode): why `configs` is not told; 0: none.
        topic_config_error_code: i16 = "5+", tag 0, ignorable true;
        /// How many partitions; -1: not told.
        num_partitions: i32 = "5+", ignorable true, default -1;
        /// How many replicas of each; -1: not told.
        replication_factor: i16 = "5+", ignorable true, default -1;
        /// Its settings; null: not told.
        configs: Option<Vec<CreateTopicsResponseTopicConfigs>> = "5+", nullable "5+", ignorable true;
    }
}

wire! {
    /// A setting that the topic has.
    structure CreateTopicsResponseTopicConfigs as "CreatableTopicConfigs" {
        /// The setting's name.
        name: String = "5+";
        /// Its value.
        value: Option<String> = "5+", nullable "5+";
        /// Whether it can't be changed.
        read_only: bool = "5+";
        /// Where the value comes from; -1: not told.
        config_source: i8 = "5+", ignorable true, default -1;
        /// Whether the value is secret.
        is_sensitive: bool = "5+";
    }
}
