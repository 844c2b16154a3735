//! Enters a classic group, or its next generation.

use bytes::Bytes;

use crate::kafka::wire::declare::wire;

wire! {
    /// Asks to be in a classic group's next generation.
    request JoinGroupRequest = 11, versions "0-9", flexible "6+", response JoinGroupResponse {
        /// The group.
        group_id: String = "0+";
        /// Milliseconds without a heartbeat after which the coordinator takes the member for dead.
        session_timeout_ms: i32 = "0+";
        /// Milliseconds that the coordinator waits for each member to join again; -1: the
        /// session's.
        rebalance_timeout_ms: i32 = "1+", ignorable true, default -1;
        /// The member's id; empty: a new one.
        member_id: String = "0+";
        /// The static member's own name (KIP-345); null: not static.
        group_instance_id: Option<String> = "5+", nullable "5+", default None;
        /// The kind of group; `consumer`.
        protocol_type: String = "0+";
        /// Assignors, best first.
        protocols: Vec<JoinGroupRequestProtocol> = "0+";
        /// Why, for the broker's log (KIP-800).
        reason: Option<String> = "8+", nullable "8+", ignorable true, default None;
    }
}

wire! {
    /// An assignor that the member could work with.
    structure JoinGroupRequestProtocol as "JoinGroupRequestProtocol" {
        /// The assignor's name.
        name: String = "0+";
        /// A [`ConsumerProtocolSubscription`](crate::kafka::wire::ConsumerProtocolSubscription)
        /// with its version.
        metadata: Bytes = "0+";
    }
}

wire! {
    /// The generation, once all members are there.
    response JoinGroupResponse, versions "0-9", flexible "6+" {
        /// Milliseconds for which the broker will not look at further requests of this client,
        /// because of a quota (KIP-219). 0: none.
        throttle_time_ms: i32 = "2+", ignorable true;
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The generation; -1: none.
        generation_id: i32 = "0+", default -1;
        /// The kind of group; `consumer`.
        protocol_type: Option<String> = "7+", nullable "7+", ignorable true, default None;
        /// The assignor that was chosen.
        protocol_name: Option<String> = "0+", nullable "7+";
        /// The leader's member id.
        leader: String = "0+";
        /// Whether the leader is not to assign anew (KIP-814).
        skip_assignment: bool = "9+";
        /// The member's id.
        member_id: String = "0+";
        /// Everybody, for the leader; empty for others.
        members: Vec<JoinGroupResponseMember> = "0+";
    }
}

wire! {
    /// A member, as the leader gets to see it.
    structure JoinGroupResponseMember as "JoinGroupResponseMember" {
        /// The member's id.
        member_id: String = "0+";
        /// The static member's own name (KIP-345); null: not static.
        group_instance_id: Option<String> = "5+", nullable "5+", ignorable true, default None;
        /// A [`ConsumerProtocolSubscription`](crate::kafka::wire::ConsumerProtocolSubscription)
        /// with its version.
        metadata: Bytes = "0+";
    }
}
