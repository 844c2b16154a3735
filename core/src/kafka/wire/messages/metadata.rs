//! Brokers, topics, partitions and their leaders.

use crate::kafka::wire::Uuid;
use crate::kafka::wire::declare::wire;

wire! {
    /// Asks for brokers and topics.
    request MetadataRequest = 3, versions "0-13", flexible "9+", response MetadataResponse {
        /// Null: all topics. Empty: none (in version 0: all).
        topics: Option<Vec<MetadataRequestTopic>> = "0+", nullable "1+";
        /// Whether a topic that is not there may be created, if the broker does that at all.
        allow_auto_topic_creation: bool = "4+", default true;
        /// Whether to say what this client may do with the cluster.
        include_cluster_authorized_operations: bool = "8-10";
        /// Whether to say what this client may do with each topic.
        include_topic_authorized_operations: bool = "8+";
    }
}

wire! {
    /// A topic that is asked for, by name or by id.
    structure MetadataRequestTopic as "MetadataRequestTopic" {
        /// The topic's id; zero: none.
        topic_id: Uuid = "10+", ignorable true;
        /// The topic's name; null: by id.
        name: Option<String> = "0+", nullable "10+";
    }
}

wire! {
    /// Brokers and topics.
    response MetadataResponse, versions "0-13", flexible "9+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "3+", ignorable true;
        /// All brokers that are alive.
        brokers: Vec<MetadataResponseBroker> = "0+";
        /// The cluster's id.
        cluster_id: Option<String> = "2+", nullable "2+", ignorable true, default None;
        /// The controller's broker id; -1: not known.
        controller_id: i32 = "1+", ignorable true, default -1;
        /// What was asked for.
        topics: Vec<MetadataResponseTopic> = "0+";
        /// What this client may do with the cluster, a bit each; [`i32::MIN`]: not asked.
        cluster_authorized_operations: i32 = "8-10", default i32::MIN;
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "13+", ignorable true;
    }
}

wire! {
    /// A broker and where it is.
    structure MetadataResponseBroker as "MetadataResponseBroker" {
        /// The broker's id.
        node_id: i32 = "0+";
        /// Its host name or address.
        host: String = "0+";
        /// Its port.
        port: i32 = "0+";
        /// The rack that it stands in, if any.
        rack: Option<String> = "1+", nullable "1+", ignorable true, default None;
    }
}

wire! {
    /// A topic.
    structure MetadataResponseTopic as "MetadataResponseTopic" {
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The topic's name; null when an id is not known.
        name: Option<String> = "0+", nullable "12+";
        /// The topic's id; zero: none.
        topic_id: Uuid = "10+", ignorable true;
        /// Whether the topic is Kafka's own.
        is_internal: bool = "1+", ignorable true;
        /// Its partitions.
        partitions: Vec<MetadataResponsePartition> = "0+";
        /// What this client may do with the topic, a bit each; [`i32::MIN`]: not asked.
        topic_authorized_operations: i32 = "8+", default i32::MIN;
    }
}

wire! {
    /// A partition.
    structure MetadataResponsePartition as "MetadataResponsePartition" {
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The partition.
        partition_index: i32 = "0+";
        /// The leader's broker id; -1: there is none.
        leader_id: i32 = "0+";
        /// The leader's epoch; -1: not known.
        leader_epoch: i32 = "7+", ignorable true, default -1;
        /// Broker ids of the replicas.
        replica_nodes: Vec<i32> = "0+";
        /// Broker ids of the replicas that are in sync.
        isr_nodes: Vec<i32> = "0+";
        /// Broker ids of the replicas that are gone.
        offline_replicas: Vec<i32> = "5+", ignorable true;
    }
}
