//! Who may commit offsets, and ask for them.

use tidegate_core::kafka::wire::ErrorCode;

use super::{ConsumerGroup, Spot};
use crate::kafka::Release;

/// Before it, commits carry no member epoch.
const FIRST_WITH_EPOCH: i16 = 9;

impl ConsumerGroup {
    /// Whether these partitions may be committed: all of them, or none. An epoch below 0 is of
    /// somebody who is no member.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`; `UNSUPPORTED_VERSION` below version 9; `STALE_MEMBER_EPOCH` for another
    /// epoch than the member's, or, since 4.3, for one that is older than the one at which the
    /// member got the partition (KIP-1251).
    pub(in crate::kafka) fn may_commit(
        &self,
        member_id: &str,
        epoch: i32,
        version: i16,
        spots: impl IntoIterator<Item = Spot>,
    ) -> Result<(), ErrorCode> {
        if epoch < 0 && self.is_empty() {
            return Ok(());
        }
        let member = self.members.get(member_id).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if version < FIRST_WITH_EPOCH {
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        if epoch == member.epoch {
            return Ok(());
        }
        if epoch > member.epoch || self.release < Release::V4_3 {
            return Err(ErrorCode::STALE_MEMBER_EPOCH);
        }
        let since = |spot: &Spot| member.assigned.get(spot).or_else(|| member.pending.get(spot)).copied();
        let fresh = spots.into_iter().all(|spot| since(&spot).is_some_and(|since| epoch >= since));
        if fresh { Ok(()) } else { Err(ErrorCode::STALE_MEMBER_EPOCH) }
    }

    /// Whether committed offsets may be asked for. Without a member id and with an epoch below 0
    /// anybody may.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `STALE_MEMBER_EPOCH`.
    pub(in crate::kafka) fn may_fetch_offsets(
        &self,
        member_id: Option<&str>,
        epoch: i32,
    ) -> Result<(), ErrorCode> {
        if member_id.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = member_id.and_then(|id| self.members.get(id)).ok_or(ErrorCode::UNKNOWN_MEMBER_ID)?;
        if epoch == member.epoch { Ok(()) } else { Err(ErrorCode::STALE_MEMBER_EPOCH) }
    }
}
