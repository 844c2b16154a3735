//! The invariants of a group.

use std::collections::BTreeMap;

use super::member::State;
use super::{ConsumerGroup, LEAVES_FOR_NOW, Spot};

impl ConsumerGroup {
    /// See the [module](super).
    ///
    /// # Errors
    /// In one line what doesn't hold.
    pub(in crate::kafka) fn check(&self) -> Result<(), String> {
        if self.target_epoch > self.epoch {
            return Err(format!("the target is at epoch {}, the group at {}", self.target_epoch, self.epoch));
        }
        let mut owners: BTreeMap<Spot, &str> = BTreeMap::new();
        let mut aimed: BTreeMap<Spot, &str> = BTreeMap::new();
        for (id, member) in &self.members {
            if member.epoch > self.target_epoch {
                return Err(format!(
                    "{id} is at epoch {}, its target at {}",
                    member.epoch, self.target_epoch
                ));
            }
            for spot in member.owned() {
                if let Some(other) = owners.insert(*spot, id) {
                    return Err(format!("{spot:?} is owned by {other} and {id}"));
                }
            }
            let waits = member.state == State::UnrevokedPartitions;
            if member.epoch != LEAVES_FOR_NOW && waits == member.pending.is_empty() {
                return Err(format!("{id} is {:?} with {:?} to let go of", member.state, member.pending));
            }
            let target = self.targets.get(id);
            for spot in target.into_iter().flatten() {
                if let Some(other) = aimed.insert(*spot, id) {
                    return Err(format!("{spot:?} is meant for {other} and {id}"));
                }
            }
            let strays = |spot: &&Spot| target.is_none_or(|target| !target.contains(*spot));
            let arrived = member.epoch == self.target_epoch && !waits;
            if let Some(spot) = member.assigned.keys().find(strays).filter(|_| arrived) {
                return Err(format!("{id} has {spot:?} at the target's epoch, which is not in its target"));
            }
        }
        let known: BTreeMap<Spot, &str> = self.owners.iter().map(|(spot, id)| (*spot, id.as_str())).collect();
        if known != owners {
            return Err(format!("owners are {known:?} and should be {owners:?}"));
        }
        match self.targets.keys().find(|id| !self.members.contains_key(*id)) {
            Some(id) => Err(format!("there is a target for {id}, who is no member")),
            None => Ok(()),
        }
    }
}
