//! Records to be written: nothing that a consumer sends, but model brokers are written to.

use bytes::Bytes;

use crate::kafka::wire::Uuid;
use crate::kafka::wire::declare::wire;

wire! {
    /// Asks for records to be written.
    request ProduceRequest = 0, versions "3-13", flexible "9+", response ProduceResponse {
        /// The transactional id, if the producer has one.
        transactional_id: Option<String> = "3+", nullable "3+", default None;
        /// Who must have the records before it is answered: 0: nobody, and there is no answer. 1:
        /// the leader. -1: all in-sync replicas.
        acks: i16 = "0+";
        /// Milliseconds that the broker may take.
        timeout_ms: i32 = "0+";
        /// By topic.
        topic_data: Vec<ProduceRequestTopicData> = "0+";
    }
}

wire! {
    /// A topic to write to.
    structure ProduceRequestTopicData as "TopicProduceData" {
        /// The topic's name.
        name: String = "0-12", ignorable true;
        /// The topic's id; zero: none.
        topic_id: Uuid = "13+", ignorable true;
        /// By partition.
        partition_data: Vec<ProduceRequestPartitionData> = "0+";
    }
}

wire! {
    /// A partition to write to.
    structure ProduceRequestPartitionData as "PartitionProduceData" {
        /// The partition.
        index: i32 = "0+";
        /// Record batches.
        records: Option<Bytes> = "0+", nullable "0+", default None;
    }
}

wire! {
    /// What became of them.
    response ProduceResponse, versions "3-13", flexible "9+" {
        /// By topic.
        responses: Vec<ProduceResponseTopic> = "0+";
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "1+", ignorable true;
        /// Where the leaders that are named listen (KIP-951).
        node_endpoints: Vec<ProduceResponseNodeEndpoint> = "10+", tag 0;
    }
}

wire! {
    /// A topic's partitions.
    structure ProduceResponseTopic as "TopicProduceResponse" {
        /// The topic's name.
        name: String = "0-12", ignorable true;
        /// The topic's id; zero: none.
        topic_id: Uuid = "13+", ignorable true;
        /// By partition.
        partition_responses: Vec<ProduceResponsePartition> = "0+";
    }
}

wire! {
    /// What became of a partition's records.
    structure ProduceResponsePartition as "PartitionProduceResponse" {
        /// The partition.
        index: i32 = "0+";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The offset of the first record.
        base_offset: i64 = "0+";
        /// Milliseconds since 1970 at which the broker wrote them, where its time counts; else -1.
        log_append_time_ms: i64 = "2+", ignorable true, default -1;
        /// The log's first offset; -1: not known.
        log_start_offset: i64 = "5+", ignorable true, default -1;
        /// Which records were at fault (KIP-467).
        record_errors: Vec<ProduceResponseBatchIndexAndErrorMessage> = "8+", ignorable true;
        /// What was wrong, in words.
        error_message: Option<String> = "8+", nullable "8+", ignorable true, default None;
        /// Who leads the partition now (KIP-951).
        current_leader: ProduceResponseLeaderIdAndEpoch = "10+", tag 0;
    }
}

wire! {
    /// A record that was at fault.
    structure ProduceResponseBatchIndexAndErrorMessage as "BatchIndexAndErrorMessage" {
        /// Its place in the batch.
        batch_index: i32 = "8+";
        /// What is wrong with it.
        batch_index_error_message: Option<String> = "8+", nullable "8+", default None;
    }
}

wire! {
    /// A leader and its epoch.
    structure ProduceResponseLeaderIdAndEpoch as "LeaderIdAndEpoch" {
        /// The leader's broker id; -1: not known.
        leader_id: i32 = "10+", default -1;
        /// Its epoch; -1: not known.
        leader_epoch: i32 = "10+", default -1;
    }
}

wire! {
    /// Where a broker listens.
    structure ProduceResponseNodeEndpoint as "NodeEndpoint" {
        /// The broker's id.
        node_id: i32 = "10+";
        /// Its host.
        host: String = "10+";
        /// Its port.
        port: i32 = "10+";
        /// Its rack.
        rack: Option<String> = "10+", nullable "10+", default None;
    }
}
