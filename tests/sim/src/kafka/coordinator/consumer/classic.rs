//! What the classic protocol's requests find in a consumer group: members that don't speak it.

use tidegate_core::kafka::wire::{ErrorCode, LeaveGroupRequestMemberIdentity};

use super::ConsumerGroup;
use super::member::Member;
use crate::broker::Lost;
use crate::kafka::topics::Topics;

impl ConsumerGroup {
    /// Heartbeat, SyncGroup: no member of the new protocol may send it.
    pub(in crate::kafka) fn refuse_classic(&self, id: &str, instance: Option<&str>) -> ErrorCode {
        self.named(id, instance).err().unwrap_or(ErrorCode::UNKNOWN_MEMBER_ID)
    }

    /// LeaveGroup takes out whoever it names, as an administrator does it. All leave at once: the
    /// group is at one new epoch. What becomes of each.
    pub(in crate::kafka) fn leave_classic(
        &mut self,
        members: &[LeaveGroupRequestMemberIdentity],
        topics: &Topics,
    ) -> Vec<ErrorCode> {
        let found = |one: &LeaveGroupRequestMemberIdentity| match one.group_instance_id.as_deref() {
            // By its name alone.
            Some(instance) if one.member_id.is_empty() => self.of_instance(instance).cloned(),
            instance => self.named(&one.member_id, instance).cloned(),
        };
        let found: Vec<Result<Member, ErrorCode>> = members.iter().map(found).collect();
        let epoch = self.epoch + 1;
        for member in found.iter().flatten() {
            if self.members.contains_key(&member.id) {
                self.fence(member, Lost::Left, topics);
                self.epoch = epoch;
            }
        }
        found.into_iter().map(|one| one.err().unwrap_or_default()).collect()
    }

    fn of_instance(&self, instance: &str) -> Result<&Member, ErrorCode> {
        let id = self.statics.get(instance).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        self.members.get(id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)
    }

    fn named(&self, id: &str, instance: Option<&str>) -> Result<&Member, ErrorCode> {
        let Some(instance) = instance else {
            return self.members.get(id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID);
        };
        let member = self.of_instance(instance)?;
        if member.id == id { Ok(member) } else { Err(ErrorCode::FENCED_INSTANCE_ID) }
    }
}
