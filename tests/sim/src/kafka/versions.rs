//! What brokers of other releases know (KIP-35): a cluster that is upgraded one broker at a time.
//!
//! Sources: the message definitions of Apache Kafka 2.8.0, 3.7.0, 4.2.2 and 4.3.1. The last two have
//! the same versions of what a consumer sends. First versions that Kafka 4 took away (KIP-896) are
//! away in all of them here.

use std::fmt;
use std::ops::RangeInclusive;

use tidegate_core::kafka::wire::{
    ApiVersionsRequest, ConsumerGroupHeartbeatRequest, FetchRequest, FindCoordinatorRequest,
    InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest, ListOffsetsRequest, MetadataRequest,
    OffsetCommitRequest, OffsetFetchRequest, ProduceRequest, Request,
};

use super::Kafka;

/// What a broker runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// Kafka 2.8: fetches name topics, and `SyncGroup` is at its last version already.
    V2_8,
    /// Kafka 3.7: fetches name topics by their ids; no new groups (KIP-848) yet.
    V3_7,
    /// Kafka 4.2.
    V4_2,
    /// Kafka 4.3.
    #[default]
    V4_3,
}

impl Release {
    /// Which of these versions it has of an API; `None`: it doesn't know the API.
    pub(super) fn versions(self, key: i16, all: &RangeInclusive<i16>) -> Option<RangeInclusive<i16>> {
        let last = match self.last(key) {
            Some(last) => last.min(*all.end()),
            None => *all.end(),
        };
        (*all.start() <= last).then_some(*all.start()..=last)
    }

    /// The last version where it is lower than today's; -1: none.
    fn last(self, key: i16) -> Option<i16> {
        let lower: &[(i16, i16)] = match self {
            Self::V2_8 => &[
                (ProduceRequest::KEY, 9),
                (FetchRequest::KEY, 12),
                (ListOffsetsRequest::KEY, 6),
                (MetadataRequest::KEY, 11),
                (OffsetCommitRequest::KEY, 8),
                (OffsetFetchRequest::KEY, 7),
                (FindCoordinatorRequest::KEY, 3),
                (InitProducerIdRequest::KEY, 4),
                (JoinGroupRequest::KEY, 7),
                (LeaveGroupRequest::KEY, 4),
                (ApiVersionsRequest::KEY, 3),
                (ConsumerGroupHeartbeatRequest::KEY, -1),
            ],
            Self::V3_7 => &[
                (InitProducerIdRequest::KEY, 4),
                (ProduceRequest::KEY, 10),
                (FetchRequest::KEY, 16),
                (ListOffsetsRequest::KEY, 8),
                (MetadataRequest::KEY, 12),
                (OffsetCommitRequest::KEY, 9),
                (OffsetFetchRequest::KEY, 9),
                (FindCoordinatorRequest::KEY, 4),
                (ApiVersionsRequest::KEY, 3),
                (ConsumerGroupHeartbeatRequest::KEY, -1),
            ],
            Self::V4_2 | Self::V4_3 => &[],
        };
        lower.iter().find(|(known, _)| *known == key).map(|(_, last)| *last)
    }
}

/// As Kafka writes it: `4.3`.
impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V2_8 => "2.8",
            Self::V3_7 => "3.7",
            Self::V4_2 => "4.2",
            Self::V4_3 => "4.3",
        })
    }
}

impl Kafka {
    /// What a broker runs now.
    pub fn release(&self, id: i32) -> Release {
        self.nodes.release(id)
    }

    /// What a broker runs once it starts again: [`crash`](Self::crash) and
    /// [`restart`](Self::restart) then make an upgrade, or the way back.
    pub fn set_release(&mut self, id: i32, release: Release) {
        self.nodes.set_release(id, release);
    }
}
