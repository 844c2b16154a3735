//! Replicas in racks, and followers that lag (KIP-392).
//!
//! A leader sends a reader of another rack on to a replica in that rack, if it is in sync and has
//! what is asked for, as Kafka's `RackAwareReplicaSelector` does. Any follower answers any reader
//! whose version of Fetch knows of followers, in a rack or not.
//!
//! Replicas have at once what their leader has, unless they are held back by hand: either what they
//! know to be committed, of which a follower learns with a fetch later than its leader, or all that
//! they have, and then they are not in sync. In between a follower answers nothing at all, and
//! behind its end `OFFSET_OUT_OF_RANGE`. A leader that is new, and doesn't know yet whether what it
//! began with is committed, has no latest offset: `OFFSET_NOT_AVAILABLE` (KIP-207).

use super::Kafka;
use super::nodes::Nodes;
use super::topics::Partition;

/// How far a replica is, where it is held back; `None` where it isn't.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    end: Option<i64>,
    watermark: Option<i64>,
}

impl Partition {
    /// Whether a replica has all of the log, so that it may lead.
    pub(super) fn is_in_sync(&self, replica: i32) -> bool {
        self.held(replica).end.is_none()
    }

    /// One past the last offset that a replica has.
    pub(super) fn end_at(&self, replica: i32) -> i64 {
        self.held(replica).end.map_or(self.log.end(), |end| end.min(self.log.end()))
    }

    /// How far readers may read at a replica.
    pub(super) fn watermark_at(&self, replica: i32) -> i64 {
        let leader = self.leader.and_then(|leader| self.held(leader).watermark);
        let own = self.held(replica).watermark;
        [leader, own].into_iter().flatten().fold(self.end_at(replica), i64::min)
    }

    /// Whether this leader doesn't know yet that what it began with is committed (KIP-207).
    pub(super) fn is_behind(&self, leader: i32) -> bool {
        self.watermark_at(leader) < self.epoch_start
    }

    /// Where a leader sends a reader of this rack; `None`: it stays.
    pub(super) fn nearest(&self, node: i32, rack: &str, from: i64, nodes: &Nodes) -> Option<i32> {
        let near = |id: i32| !rack.is_empty() && nodes.rack(id).as_deref() == Some(rack);
        if self.leader != Some(node) || near(node) {
            return None;
        }
        let all = self.replicas.iter().copied().filter(|id| nodes.is_alive(*id) && near(*id));
        let fit =
            all.filter(|id| self.is_in_sync(*id) && (self.log.start()..=self.log.end()).contains(&from));
        // All of them are as far as the leader; then the largest id decides.
        fit.max()
    }

    fn held(&self, replica: i32) -> Held {
        let held = self.held.get(&replica).copied().unwrap_or_default();
        // Who leads has all of it.
        Held { end: held.end.filter(|_| self.leader != Some(replica)), ..held }
    }
}

impl Kafka {
    /// A replica knows of no commit behind this offset; `None`: it isn't held back any more.
    /// Readers get nothing of it that lies behind, and no error. What a leader doesn't know no
    /// follower knows.
    pub fn hold_watermark(&mut self, name: &str, index: i32, replica: i32, watermark: Option<i64>) {
        self.hold(name, index, replica, |held| held.watermark = watermark);
    }

    /// A follower gets nothing behind this offset, and is not in sync: it doesn't lead, and no
    /// reader is sent to it. `None`: it isn't held back any more. Who reads behind its end gets
    /// `OFFSET_OUT_OF_RANGE`.
    pub fn hold_follower(&mut self, name: &str, index: i32, replica: i32, end: Option<i64>) {
        self.hold(name, index, replica, |held| held.end = end);
    }

    fn hold(&mut self, name: &str, index: i32, replica: i32, change: impl FnOnce(&mut Held)) {
        if let Some(partition) = self.topics.partition_mut(name, index) {
            change(partition.held.entry(replica).or_default());
        }
        let alive = self.nodes.alive();
        self.topics.elect(&alive);
        self.rouse();
    }
}
