//! Who owns which partition, as the coordinator sees it, and what changes in that.

use std::collections::BTreeMap;

use crate::broker::Lost;
use crate::kafka::topics::Place;

/// Partitions by the member that owns them, with the epoch.
pub(in crate::kafka) type Held = BTreeMap<(String, Place), i32>;

/// A partition was given to a member, or is its no longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Change {
    pub(in crate::kafka) member: String,
    pub(in crate::kafka) place: Place,
    /// The generation or member epoch from which on it has it, or in which it had it.
    pub(in crate::kafka) epoch: i32,
    /// `None`: given.
    pub(in crate::kafka) lost: Option<Lost>,
}

/// Who owns what.
///
/// **Invariant:** the changes, one after the other, make what is held of nothing.
#[derive(Clone, Debug, Default)]
pub(in crate::kafka) struct Owners {
    held: Held,
    changes: Vec<Change>,
}

impl Owners {
    /// This is what is owned now; what is owned no longer was lost so. Losses come first.
    pub(in crate::kafka) fn set(&mut self, held: Held, why: Lost) {
        let before = std::mem::replace(&mut self.held, held);
        for ((member, place), epoch) in &before {
            if !self.held.contains_key(&(member.clone(), place.clone())) {
                self.changes.push(change(member, place, *epoch, Some(why)));
            }
        }
        for (key, epoch) in &self.held {
            if before.get(key) != Some(epoch) {
                self.changes.push(change(&key.0, &key.1, *epoch, None));
            }
        }
    }

    /// All that a member owns is its no longer.
    pub(in crate::kafka) fn remove(&mut self, member: &str, why: Lost) {
        let kept = self.held.iter().filter(|((owner, _), _)| owner != member);
        let kept: Held = kept.map(|(key, epoch)| (key.clone(), *epoch)).collect();
        self.set(kept, why);
    }

    /// What a member owns is another's from now on, who took its place.
    pub(in crate::kafka) fn replace(&mut self, old: &str, new: &str) {
        let renamed = |owner: &str| if owner == old { new.to_owned() } else { owner.to_owned() };
        let held = self.held.iter().map(|((owner, place), epoch)| ((renamed(owner), place.clone()), *epoch));
        let held: Held = held.collect();
        self.set(held, Lost::Fenced);
    }

    /// The changes since the last time.
    pub(in crate::kafka) fn drain(&mut self) -> impl Iterator<Item = Change> {
        self.changes.drain(..)
    }
}

fn change(member: &str, place: &Place, epoch: i32, lost: Option<Lost>) -> Change {
    Change { member: member.to_owned(), place: place.clone(), epoch, lost }
}
