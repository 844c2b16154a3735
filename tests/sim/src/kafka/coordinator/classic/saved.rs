//! What is written of a group, and what a coordinator that takes over makes of it.

use std::collections::BTreeMap;

use tidegate_core::Instant;
use tidegate_core::kafka::wire::{ErrorCode, SyncGroupResponse};

use super::member::Member;
use super::{Answer, ClassicGroup, Scope, State};

/// A group as it was written last (`GroupMetadataValue`).
#[derive(Clone, Debug, Default)]
pub(super) struct Saved {
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
}

impl ClassicGroup {
    /// Writes the group. Of a member's protocols only the one that was chosen is written.
    pub(super) fn save(&mut self) {
        let chosen = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.iter().map(|(id, member)| {
            let protocols = member.protocols.iter().filter(|(name, _)| name == chosen).cloned().collect();
            let (joining, syncing, expires) = (None, None, None);
            (id.clone(), Member { protocols, joining, syncing, new: false, expires, ..member.clone() })
        });
        self.saved = Saved {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: members.collect(),
        };
    }

    /// Who coordinates it now knows what was written, and sessions begin at this time; `None`: nobody
    /// does. Who waits is told to look for the coordinator.
    pub(in crate::kafka::coordinator) fn reload(&mut self, scope: &mut Scope<'_>, from: Option<Instant>) {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            self.refuse_join(scope, &id, &id, ErrorCode::NOT_COORDINATOR);
            if let Some(peer) = self.members.get_mut(&id).and_then(|member| member.syncing.take()) {
                let error_code = ErrorCode::NOT_COORDINATOR.0;
                scope.answer(peer, Answer::Sync(SyncGroupResponse { error_code, ..Default::default() }));
            }
        }
        let saved = self.saved.clone();
        let mut members = saved.members.clone();
        for member in members.values_mut() {
            member.expires = from.map(|from| from + member.session_timeout);
        }
        let statics = members.iter().filter_map(|(id, member)| Some((member.instance.clone()?, id.clone())));
        *self = Self {
            state: if members.is_empty() { State::Empty } else { State::Stable },
            generation: saved.generation,
            protocol_type: saved.protocol_type.clone(),
            protocol: saved.protocol.clone(),
            leader: saved.leader.clone(),
            statics: statics.collect(),
            members,
            owners: std::mem::take(&mut self.owners),
            saved,
            ..Self::default()
        };
        self.settle_owners();
    }
}
