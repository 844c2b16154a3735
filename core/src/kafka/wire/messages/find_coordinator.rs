//! Which broker coordinates a group (KIP-699 for several at once).

use crate::kafka::wire::declare::wire;

wire! {
    /// Asks for the coordinators of groups.
    request FindCoordinatorRequest = 10, versions "0-6", flexible "3+", response FindCoordinatorResponse {
        /// The group, up to version 3.
        key: String = "0-3";
        /// 0: group. 1: transaction. 2: share-partition.
        key_type: i8 = "1+";
        /// The groups, from version 4.
        coordinator_keys: Vec<String> = "4+";
    }
}

wire! {
    /// The coordinators.
    response FindCoordinatorResponse, versions "0-6", flexible "3+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "1+", ignorable true;
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0-3";
        /// The error in words, where the broker has some.
        error_message: Option<String> = "1-3", nullable "1-3", ignorable true;
        /// The coordinator's broker id, up to version 3.
        node_id: i32 = "0-3";
        /// Its host name or address, up to version 3.
        host: String = "0-3";
        /// Its port, up to version 3.
        port: i32 = "0-3";
        /// One for each key, from version 4.
        coordinators: Vec<FindCoordinatorResponseCoordinator> = "4+";
    }
}

wire! {
    /// The coordinator of one key.
    structure FindCoordinatorResponseCoordinator as "Coordinator" {
        /// The group.
        key: String = "4+";
        /// The coordinator's broker id, up to version 3.
        node_id: i32 = "4+";
        /// Its host name or address, up to version 3.
        host: String = "4+";
        /// Its port, up to version 3.
        port: i32 = "4+";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "4+";
        /// The error in words, where the broker has some.
        error_message: Option<String> = "4+", nullable "4+", ignorable true;
    }
}
