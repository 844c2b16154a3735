//! Which faults a user's simulation has.

use std::collections::BTreeSet;

use crate::backend::{Backend, RedisBackend};
use crate::swarm::FaultKind;

/// Kinds of faults. Which of them a run has, how often they come and how long they last is drawn
/// from its seed; some runs have none.
///
/// ```
/// use tidegate_sim::Faults;
/// let some = Faults::network().and(Faults::members());
/// assert!(some.names().any(|name| name == "member killed"));
/// assert!(some.names().all(|name| name != "XTRIM"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(BTreeSet<&'static str>);

/// The server's own, after which it still has all messages, and knows which are pending.
const SERVER: &[&str] = &[
    "XGROUP SETID back",
    "XCLAIM by hand",
    "CLIENT KILL",
    "CLIENT PAUSE",
    "LOADING",
    "READONLY",
    "OOM",
    "BUSY",
    "MASTERDOWN",
    "MISCONF",
    "server crash, all kept",
    "server stands still",
];

/// The server's own, after which messages are gone, or nobody's.
const LOSSES: &[&str] = &[
    "DEL",
    "FLUSHALL",
    "SET over a stream",
    "RENAME away",
    "XGROUP DESTROY",
    "XGROUP DELCONSUMER by hand",
    "XTRIM",
    "XDEL",
    "XDEL of what is pending",
    "EXPIRE",
    "server crash, back to the save point",
    "fail-over that loses a suffix",
];

impl Faults {
    /// None.
    pub fn none() -> Self {
        Self::default()
    }

    /// All that leave each message in its stream until it is acked. A handler may get a message
    /// several times (and after `XGROUP SETID`, also one that it has acked), and gets each once at
    /// least.
    pub fn all() -> Self {
        Self::network().and(Self::members()).and(Self::server())
    }

    /// Connections that are refused, hang, are reset, cut in the middle of a reply, half open,
    /// swallow what is written, are slow; members that are cut off.
    pub fn network() -> Self {
        let kinds = FaultKind::ALL.iter().map(|kind| kind.name());
        let members = Self::members();
        Self(kinds.filter(|name| !members.0.contains(name) && *name != FaultKind::ClockBack.name()).collect())
    }

    /// Members that are killed, stand still, are asked to close; some stay dead for ever, if
    /// others may claim what they had.
    pub fn members() -> Self {
        Self([FaultKind::Crash, FaultKind::Freeze, FaultKind::Close].iter().map(|kind| kind.name()).collect())
    }

    /// A server that crashes, loads, stands still, refuses; and operators that set a group back,
    /// claim, kill connections.
    pub fn server() -> Self {
        Self(SERVER.iter().copied().collect())
    }

    /// Messages that are deleted, trimmed, lost by a fail-over, taken off the pending list with
    /// their group or their member. Not in [`Faults::all`], as a handler can't make up for them:
    /// [`Sent::lost`](super::Sent::lost) says which they are.
    pub fn losses() -> Self {
        Self(LOSSES.iter().copied().collect())
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// These without others.
    #[must_use]
    pub fn without(mut self, others: &Self) -> Self {
        self.0.retain(|name| !others.0.contains(name));
        self
    }

    /// Only the one of this name, as [`Faults::names`] and traces have it; none, if there is none.
    pub fn only(name: &str) -> Self {
        let all = Self::all().and(Self::losses());
        Self(all.0.into_iter().filter(|known| *known == name).collect())
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }

    /// Takes the others out of what was drawn. What was drawn without any of these gets all.
    pub(super) fn mask(&self, weights: &mut [u32]) {
        let kinds = FaultKind::ALL.iter().map(|kind| kind.name()).chain(RedisBackend::FAULTS.iter().copied());
        let wanted: Vec<bool> = kinds.map(|name| self.0.contains(name)).collect();
        weights.iter_mut().zip(&wanted).for_each(|(weight, wanted)| *weight *= u32::from(*wanted));
        if weights.iter().all(|weight| *weight == 0) {
            weights.iter_mut().zip(&wanted).for_each(|(weight, wanted)| *weight = u32::from(*wanted));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_of_the_server_loses_messages_or_does_not() {
        let named: BTreeSet<_> = SERVER.iter().chain(LOSSES).copied().collect();
        let known: BTreeSet<_> = RedisBackend::FAULTS.iter().copied().collect();
        assert_eq!(named, known, "a new fault belongs into one of the two lists");
        assert_eq!(named.len(), SERVER.len() + LOSSES.len());
    }

    #[test]
    fn what_is_not_wanted_is_never_drawn() {
        let kinds = FaultKind::ALL.len() + RedisBackend::FAULTS.len();
        let mut weights = vec![3; kinds];
        Faults::only("member killed").mask(&mut weights);
        assert_eq!(weights.iter().filter(|weight| **weight > 0).count(), 1);
        let mut none = vec![0; kinds];
        Faults::members().mask(&mut none);
        assert_eq!(none.iter().sum::<u32>(), 3);
        Faults::none().mask(&mut none);
        assert_eq!(none.iter().sum::<u32>(), 0);
    }
}
