//! Gives a producer its id (KIP-98; KIP-360 from version 3, KIP-939 for version 6).

use crate::kafka::wire::declare::wire;

wire! {
    /// Asks for a producer id.
    request InitProducerIdRequest = 22, versions "0-6", flexible "2+", response InitProducerIdResponse {
        /// The producer's own name, if it has transactions; null: it only wants each batch once.
        transactional_id: Option<String> = "0+", nullable "0+";
        /// Milliseconds after which the broker aborts a transaction that is idle.
        transaction_timeout_ms: i32 = "0+";
        /// The id that it has; -1: none.
        producer_id: i64 = "3+", default -1;
        /// The epoch that it has; -1: none.
        producer_epoch: i16 = "3+", default -1;
        /// Whether transactions are committed in two phases (KIP-939).
        enable2_pc: bool = "6+";
        /// Whether a transaction that is prepared is kept rather than aborted (KIP-939).
        keep_prepared_txn: bool = "6+";
    }
}

wire! {
    /// A producer id.
    response InitProducerIdResponse, versions "0-6", flexible "2+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "0+", ignorable true;
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The producer's id.
        producer_id: i64 = "0+", default -1;
        /// Its epoch.
        producer_epoch: i16 = "0+";
        /// The id of a transaction that was kept (KIP-939); -1: none.
        ongoing_txn_producer_id: i64 = "6+", default -1;
        /// Its epoch; -1: none.
        ongoing_txn_producer_epoch: i16 = "6+", default -1;
    }
}
