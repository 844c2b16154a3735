//! Brokers that hold their clients up (KIP-219).
//!
//! An answer says for how long; its connection is muted for so long: nothing that comes is read. A
//! fetch that is held up brings no records, as in Kafka, and the reader asks again. Answers whose
//! version has no word for it mute the connection all the same.

use std::time::Duration;

use tidegate_core::Instant;
use tidegate_core::kafka::wire;

use super::Kafka;

/// For how long a broker holds up each answer, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Throttle {
    each: Duration,
    until: Instant,
}

/// An answer that can say for how long it was held up.
pub(super) trait HeldUp {
    /// Milliseconds.
    fn say_held_up(&mut self, millis: i32);
}

macro_rules! held_up {
    ($($response:ident)*) => {
        $(
            impl HeldUp for wire::$response {
                fn say_held_up(&mut self, millis: i32) {
                    self.throttle_time_ms = millis;
                }
            }
        )*
    };
}

held_up! {
    ApiVersionsResponse ConsumerGroupHeartbeatResponse CreateTopicsResponse FetchResponse
    FindCoordinatorResponse HeartbeatResponse InitProducerIdResponse JoinGroupResponse
    LeaveGroupResponse ListOffsetsResponse MetadataResponse OffsetCommitResponse OffsetFetchResponse
    OffsetForLeaderEpochResponse ProduceResponse SyncGroupResponse
}

impl Kafka {
    /// Holds up clients of this broker as if they went beyond their quota: from now on, for this
    /// long, each answer says `each`, and its connection is muted for it. Zero ends it.
    pub fn throttle(&mut self, now: Instant, id: i32, each: Duration, long: Duration) {
        self.now = self.now.max(now);
        match each {
            Duration::ZERO => drop(self.throttles.remove(&id)),
            each => drop(self.throttles.insert(id, Throttle { each, until: self.now + long })),
        }
    }

    /// For how long an answer of this broker is held up now.
    pub(super) fn held_up(&self, id: i32) -> Duration {
        let throttle = self.throttles.get(&id).filter(|throttle| throttle.until > self.now);
        throttle.map_or(Duration::ZERO, |throttle| throttle.each)
    }
}
