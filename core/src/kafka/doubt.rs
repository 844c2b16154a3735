//! Leaders that are older than those that are known, and are told again and again.
//!
//! Leader epochs only grow (KIP-320), so a leader of an older epoch is told by a broker that lags
//! behind, and isn't believed. But an epoch may have been told that never was, by a broken broker or
//! by whoever answered in its place; then all that is true is older, for ever. So an older leader is
//! believed after all, once nothing but older ones was told for [`PATIENCE`], while the known one was
//! of no use: no connection to it, or it refuses.
//!
//! A broker that lags behind may win so, if it is the only one that answers and the leader is
//! unreachable. What it tells costs a refused fetch (`FENCED_LEADER_EPOCH`), and the first broker
//! that knows better is believed at once.
//!
//! **Invariant:** a leader that is read from is never given up for an older one.

use std::time::Duration;

use super::links::Role;
use super::machine::Machine;

/// How long an older leader has to be told. Longer than a broker that is cut off takes to be noticed
/// by its cluster (`broker.session.timeout.ms`, 9 s).
const PATIENCE: Duration = Duration::from_secs(15);

impl Machine {
    /// Whether a leader of an older epoch is believed, which was told now.
    pub(super) fn believes_older(&mut self, topic: usize, index: usize) -> bool {
        let (now, works) = (self.now, self.is_led(topic, index));
        let Some(known) = self.cluster.topic_mut(topic) else { return false };
        if works {
            known.doubts.remove(&index);
            return false;
        }
        let since = *known.doubts.entry(index).or_insert(now);
        let believed = now.since(since) >= PATIENCE;
        if believed {
            known.doubts.remove(&index);
        }
        believed
    }

    /// A leader was told that isn't older.
    pub(super) fn end_doubt(&mut self, topic: usize, index: usize) {
        if let Some(known) = self.cluster.topic_mut(topic) {
            known.doubts.remove(&index);
        }
    }

    /// The partition is ours, and its leader answers.
    fn is_led(&self, topic: usize, index: usize) -> bool {
        let slot = i32::try_from(index).ok().and_then(|index| self.partitions.find(topic, index));
        let Some(partition) = slot.map(|slot| self.partitions.at(slot)).filter(|one| one.is_owned()) else {
            return false;
        };
        let link = partition.leader.and_then(|leader| self.link_for(Role::Data(leader)));
        link.is_some_and(|link| link.is_ready()) && !partition.backoff.is_failing()
    }
}
