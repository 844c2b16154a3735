//! A member of a classic group.

use std::time::Duration;

use bytes::Bytes;
use tidegate_core::Instant;
use tidegate_core::kafka::wire::JoinGroupRequest;

use crate::broker::PeerId;

/// A member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The static member's own name.
    pub(super) instance: Option<String>,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    /// Names of assignors with what the leader is to know, best first.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    /// Who waits for a JoinGroup's answer.
    pub(super) joining: Option<PeerId>,
    /// Who waits for a SyncGroup's answer.
    pub(super) syncing: Option<PeerId>,
    /// It was in no generation yet.
    pub(super) new: bool,
    /// When its session ends.
    pub(super) expires: Option<Instant>,
}

impl Member {
    /// Who joins for the first time.
    pub(super) fn new(peer: PeerId, request: &JoinGroupRequest) -> Self {
        let mut member = Self {
            instance: request.group_instance_id.clone(),
            session_timeout: Duration::ZERO,
            rebalance_timeout: Duration::ZERO,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            new: true,
            expires: None,
        };
        member.update(peer, request);
        member
    }

    /// It joins again, and waits.
    pub(super) fn update(&mut self, peer: PeerId, request: &JoinGroupRequest) {
        self.session_timeout = millis(request.session_timeout_ms);
        self.rebalance_timeout = millis(request.rebalance_timeout_ms);
        self.protocols = protocols(request);
        self.joining = Some(peer);
    }

    /// Whether the request says of it what is known already.
    pub(super) fn matches(&self, request: &JoinGroupRequest) -> bool {
        self.protocols == protocols(request)
    }

    pub(super) fn metadata_of(&self, protocol: &str) -> Option<&Bytes> {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, metadata)| metadata)
    }

    /// Whether its silence is no sign of its death.
    pub(super) fn waits(&self) -> bool {
        !self.new && (self.joining.is_some() || self.syncing.is_some())
    }
}

fn protocols(request: &JoinGroupRequest) -> Vec<(String, Bytes)> {
    request.protocols.iter().map(|one| (one.name.clone(), one.metadata.clone())).collect()
}

pub(super) fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
