//! Hands out the assignments of a classic group's generation.

use bytes::Bytes;

use crate::kafka::wire::declare::wire;

wire! {
    /// Asks for the own assignment; the leader's carries everybody's.
    request SyncGroupRequest = 14, versions "0-5", flexible "4+", response SyncGroupResponse {
        /// The group.
        group_id: String = "0+";
        /// The group's generation.
        generation_id: i32 = "0+";
        /// The member's id.
        member_id: String = "0+";
        /// The static member's own name (KIP-345); null: not static.
        group_instance_id: Option<String> = "3+", nullable "3+", default None;
        /// The kind of group; `consumer`.
        protocol_type: Option<String> = "5+", nullable "5+", ignorable true, default None;
        /// The assignor, as it was chosen.
        protocol_name: Option<String> = "5+", nullable "5+", ignorable true, default None;
        /// Everybody's, from the leader; empty from others.
        assignments: Vec<SyncGroupRequestAssignment> = "0+";
    }
}

wire! {
    /// A member's assignment.
    structure SyncGroupRequestAssignment as "SyncGroupRequestAssignment" {
        /// The member's id.
        member_id: String = "0+";
        /// A [`ConsumerProtocolAssignment`](crate::kafka::wire::ConsumerProtocolAssignment) with
        /// its version.
        assignment: Bytes = "0+";
    }
}

wire! {
    /// The own assignment.
    response SyncGroupResponse, versions "0-5", flexible "4+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "1+", ignorable true;
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The kind of group; `consumer`.
        protocol_type: Option<String> = "5+", nullable "5+", ignorable true, default None;
        /// The assignor, as it was chosen.
        protocol_name: Option<String> = "5+", nullable "5+", ignorable true, default None;
        /// A [`ConsumerProtocolAssignment`](crate::kafka::wire::ConsumerProtocolAssignment) with
        /// its version.
        assignment: Bytes = "0+";
    }
}
