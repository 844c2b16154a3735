//! Records, with fetch sessions (KIP-227), leader epochs (KIP-320), follower fetching (KIP-392),
//! topic ids (KIP-516) and leader hints (KIP-951).

use bytes::Bytes;

use crate::kafka::wire::Uuid;
use crate::kafka::wire::declare::wire;

wire! {
    /// Asks for records, and waits for them at the broker.
    request FetchRequest = 1, versions "4-18", flexible "12+", response FetchResponse {
        /// The cluster's id, for the quorum's own fetches.
        cluster_id: Option<String> = "12+", nullable "12+", tag 0, ignorable true, default None;
        /// The replica that asks, up to version 14; -1: a consumer.
        replica_id: i32 = "0-14", default -1;
        /// The replica that asks, from version 15.
        replica_state: FetchRequestReplicaState = "15+", tag 1;
        /// Milliseconds that the broker may wait for `min_bytes`.
        max_wait_ms: i32 = "0+";
        /// Bytes to wait for.
        min_bytes: i32 = "0+";
        /// Bytes to answer with at most; the first batch comes whole all the same (KIP-74).
        max_bytes: i32 = "3+", ignorable true, default i32::MAX;
        /// 0: read uncommitted. 1: read committed.
        isolation_level: i8 = "4+", ignorable true;
        /// The fetch session (KIP-227); 0: none.
        session_id: i32 = "7+", ignorable true;
        /// The place of this request in the session: 0 opens one, -1 is without one or closes it.
        session_epoch: i32 = "7+", ignorable true, default -1;
        /// Partitions to fetch from; in a session, those that are new or changed.
        topics: Vec<FetchRequestTopic> = "0+";
        /// Partitions that leave the session.
        forgotten_topics_data: Vec<FetchRequestForgottenTopic> = "7+";
        /// The consumer's rack (KIP-392); empty: none.
        rack_id: String = "11+", ignorable true;
    }
}

wire! {
    /// Who fetches, when it is a replica.
    structure FetchRequestReplicaState as "ReplicaState" {
        /// The replica's broker id; -1: a consumer.
        replica_id: i32 = "15+", default -1;
        /// The replica's broker epoch; -1: not known.
        replica_epoch: i64 = "15+", default -1;
    }
}

wire! {
    /// A topic to fetch from; in a fetch session, one that is new or changed.
    structure FetchRequestTopic as "FetchTopic" {
        /// The topic's name.
        topic: String = "0-12", ignorable true;
        /// The topic's id; zero: none.
        topic_id: Uuid = "13+", ignorable true;
        /// Its partitions.
        partitions: Vec<FetchRequestPartition> = "0+";
    }
}

wire! {
    /// A partition to fetch from.
    structure FetchRequestPartition as "FetchPartition" {
        /// The partition.
        partition: i32 = "0+";
        /// The leader epoch that the asker knows, so that a stale one is noticed (KIP-320); -1:
        /// don't look.
        current_leader_epoch: i32 = "9+", ignorable true, default -1;
        /// The first offset that is wanted.
        fetch_offset: i64 = "0+";
        /// The epoch of the last record that was fetched, so that a truncated log is noticed
        /// (KIP-595); -1: don't look.
        last_fetched_epoch: i32 = "12+", default -1;
        /// The replica's first offset; -1: a consumer.
        log_start_offset: i64 = "5+", ignorable true, default -1;
        /// Bytes of this partition to answer with at most; the first batch of the answer comes
        /// whole all the same.
        partition_max_bytes: i32 = "0+";
        /// The replica's log directory.
        replica_directory_id: Uuid = "17+", tag 0, ignorable true;
        /// The high watermark that the replica knows (KIP-1166).
        high_watermark: i64 = "18+", tag 1, ignorable true, default i64::MAX;
    }
}

wire! {
    /// Partitions that leave a fetch session.
    structure FetchRequestForgottenTopic as "ForgottenTopic" {
        /// The topic's name.
        topic: String = "7-12", ignorable true;
        /// The topic's id; zero: none.
        topic_id: Uuid = "13+", ignorable true;
        /// Its partitions.
        partitions: Vec<i32> = "7+";
    }
}

wire! {
    /// Records; in a fetch session, of partitions that have something to say.
    response FetchResponse, versions "4-18", flexible "12+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "1+", ignorable true;
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "7+", ignorable true;
        /// The fetch session; 0: none.
        session_id: i32 = "7+";
        /// By topic.
        responses: Vec<FetchResponseTopic> = "0+";
        /// Where the brokers are that `current_leader` names.
        node_endpoints: Vec<FetchResponseNodeEndpoint> = "16+", tag 0;
    }
}

wire! {
    /// A topic's records.
    structure FetchResponseTopic as "FetchableTopicResponse" {
        /// The topic's name.
        topic: String = "0-12", ignorable true;
        /// The topic's id; zero: none.
        topic_id: Uuid = "13+", ignorable true;
        /// Its partitions.
        partitions: Vec<FetchResponsePartitionData> = "0+";
    }
}

wire! {
    /// A partition's records.
    structure FetchResponsePartitionData as "PartitionData" {
        /// The partition.
        partition_index: i32 = "0+";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The offset behind the last record that is replicated everywhere.
        high_watermark: i64 = "0+";
        /// The offset before which no transaction is open; -1: not known.
        last_stable_offset: i64 = "4+", ignorable true, default -1;
        /// The first offset that is there; -1: not known.
        log_start_offset: i64 = "5+", ignorable true, default -1;
        /// Where the fetched epoch ended at this leader, when `last_fetched_epoch` and the offset
        /// don't fit its log.
        diverging_epoch: FetchResponseEpochEndOffset = "12+", tag 0;
        /// The leader, when it is another one (KIP-951).
        current_leader: FetchResponseLeaderIdAndEpoch = "12+", tag 1;
        /// The snapshot to fetch instead, for replicas.
        snapshot_id: FetchResponseSnapshotId = "12+", tag 2;
        /// Transactions in these records that were aborted, under read committed, in no order that
        /// is promised; null: none.
        aborted_transactions: Option<Vec<FetchResponseAbortedTransaction>> = "4+",
            nullable "4+", ignorable true;
        /// The broker to fetch from next (KIP-392); -1: this one.
        preferred_read_replica: i32 = "11+", default -1;
        /// Record batches, as they lie in the log; the last may be cut off. A slice of the frame.
        records: Option<Bytes> = "0+", nullable "0+", default None;
    }
}

wire! {
    /// Where the fetched epoch ended, when it is not as the fetcher believes.
    structure FetchResponseEpochEndOffset as "EpochEndOffset" {
        /// The largest epoch that is not above the fetched one; -1: none.
        epoch: i32 = "12+", default -1;
        /// The offset behind that epoch's last record; -1: none.
        end_offset: i64 = "12+", default -1;
    }
}

wire! {
    /// The current leader.
    structure FetchResponseLeaderIdAndEpoch as "LeaderIdAndEpoch" {
        /// The leader's broker id; -1: not known.
        leader_id: i32 = "12+", default -1;
        /// The leader's epoch; -1: not known.
        leader_epoch: i32 = "12+", default -1;
    }
}

wire! {
    /// A snapshot of the metadata log, for replicas.
    structure FetchResponseSnapshotId as "SnapshotId" {
        /// The offset behind its last record; -1: none.
        end_offset: i64 = "0+", default -1;
        /// Its epoch; -1: none.
        epoch: i32 = "0+", default -1;
    }
}

wire! {
    /// A transaction that was aborted.
    structure FetchResponseAbortedTransaction as "AbortedTransaction" {
        /// The producer.
        producer_id: i64 = "4+";
        /// The transaction's first offset.
        first_offset: i64 = "4+";
    }
}

wire! {
    /// A broker and where it is.
    structure FetchResponseNodeEndpoint as "NodeEndpoint" {
        /// The broker's id.
        node_id: i32 = "16+";
        /// Its host name or address.
        host: String = "16+";
        /// Its port.
        port: i32 = "16+";
        /// The rack that it stands in, if any.
        rack: Option<String> = "16+", nullable "16+", default None;
    }
}
