//! Keeps a member of a classic group alive.

use crate::kafka::wire::declare::wire;

wire! {
    /// Says that a member is alive.
    request HeartbeatRequest = 12, versions "0-4", flexible "4+", response HeartbeatResponse {
        /// The group.
        group_id: String = "0+";
        /// The group's generation.
        generation_id: i32 = "0+";
        /// The member's id.
        member_id: String = "0+";
        /// The static member's own name (KIP-345); null: not static.
        group_instance_id: Option<String> = "3+", nullable "3+", default None;
    }
}

wire! {
    /// Whether the member still belongs to the generation.
    response HeartbeatResponse, versions "0-4", flexible "4+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "1+", ignorable true;
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
    }
}
