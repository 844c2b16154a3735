//! Leaves a classic group.

use crate::kafka::wire::declare::wire;

wire! {
    /// Takes members out of a classic group.
    request LeaveGroupRequest = 13, versions "0-5", flexible "4+", response LeaveGroupResponse {
        /// The group.
        group_id: String = "0+";
        /// The member's id, up to version 2.
        member_id: String = "0-2";
        /// Who leaves, from version 3.
        members: Vec<LeaveGroupRequestMemberIdentity> = "3+";
    }
}

wire! {
    /// A member that leaves.
    structure LeaveGroupRequestMemberIdentity as "MemberIdentity" {
        /// The member's id, up to version 2.
        member_id: String = "3+";
        /// The static member's own name (KIP-345); null: not static.
        group_instance_id: Option<String> = "3+", nullable "3+", default None;
        /// Why, for the broker's log (KIP-800).
        reason: Option<String> = "5+", nullable "5+", ignorable true, default None;
    }
}

wire! {
    /// What became of it.
    response LeaveGroupResponse, versions "0-5", flexible "4+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "1+", ignorable true;
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// One for each that was to leave, from version 3.
        members: Vec<LeaveGroupResponseMemberResponse> = "3+";
    }
}

wire! {
    /// What became of one member.
    structure LeaveGroupResponseMemberResponse as "MemberResponse" {
        /// The member's id.
        member_id: String = "3+";
        /// The static member's own name (KIP-345); null: not static.
        group_instance_id: Option<String> = "3+", nullable "3+";
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "3+";
    }
}
