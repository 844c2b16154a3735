//! What operators and fate do to a Kafka cluster.

use std::time::Duration;

use tidegate_core::Instant;

use super::produce::Writer;
use super::{Heal, KafkaBackend, Outage};
use crate::broker::{Broker, Fact};
use crate::tape::Tape;

/// Names of the faults.
pub(super) const FAULTS: &[&str] = &[
    "broker crash",
    "leader moved",
    "unclean election",
    "retention",
    "retention of all",
    "partitions added",
    "transactions end",
    "coordinator moved",
    "coordinator loads",
    "compaction",
    "fetch sessions forgotten",
    "throttled",
    "watermark held back",
    "follower held back",
    "rolling upgrade",
];

/// Groups as the world calls them: the load-balanced one, and resumable ones.
const GROUPS: [&str; 3] = ["group-0", "n0", "m0"];

/// What ends a fault.
#[derive(Clone, Debug)]
pub(super) enum Undo {
    Restart { id: i32 },
    Watermark { topic: String, index: i32, id: i32 },
    Follower { topic: String, index: i32, id: i32 },
    Throttle { id: i32 },
}

impl KafkaBackend {
    fn later(&mut self, undo: Undo, text: String) -> Option<Outage> {
        self.heals.push(undo);
        Some(Outage { heal: Some(Heal(self.heals.len() as u64 - 1)), text })
    }

    pub(super) fn undo(&mut self, now: Instant, undo: &Undo) {
        match undo {
            Undo::Restart { id } => self.kafka.restart(*id),
            Undo::Watermark { topic, index, id } => self.kafka.hold_watermark(topic, *index, *id, None),
            Undo::Follower { topic, index, id } => self.kafka.hold_follower(topic, *index, *id, None),
            Undo::Throttle { id } => self.kafka.throttle(now, *id, Duration::ZERO, Duration::ZERO),
        }
    }

    /// Gives a topic more partitions, up to this many in all.
    pub(super) fn grow(&mut self, topic: &str, count: i32) -> bool {
        let new = |place: &&(u32, &(String, i32))| {
            let (name, index) = place.1;
            name == topic && *index < count && self.kafka.end(name, *index).is_none()
        };
        let grown: Vec<u32> =
            (0..).zip(&self.places).filter(|place| new(&place)).map(|(shard, _)| shard).collect();
        let done = self.kafka.add_partitions(topic, count);
        self.kafka.facts().extend(grown.into_iter().map(|shard| Fact::Grown { shard }));
        done
    }

    /// The offsets of a partition. Retention leaves alone what a transaction is open for.
    fn trimmable(&self, shard: usize) -> Option<(i64, i64)> {
        let place =
            self.places.get(shard).filter(|_| !self.writers.get(shard).is_none_or(Writer::has_open))?;
        // Nor does it go further than what is known to be committed.
        let held = |undo: &Undo| matches!(undo, Undo::Watermark { topic, index, .. } if (topic, index) == (&place.0, &place.1));
        self.kafka.range(&place.0, place.1).filter(|_| !self.heals.iter().any(held))
    }

    pub(super) fn put_in(&mut self, now: Instant, which: usize, tape: &mut Tape) -> Option<Outage> {
        let shard = tape.below(self.places.len() as u64) as usize;
        let (topic, index) = self.places.get(shard)?.clone();
        let name = format!("{topic}-{index}");
        let done = |done: bool, text: String| done.then_some(Outage { heal: None, text });
        match *FAULTS.get(which)? {
            "broker crash" => {
                let id = tape.within(1, self.nodes as u64) as i32;
                self.kafka.crash(id);
                self.later(Undo::Restart { id }, format!("broker {id} crashes"))
            }
            "leader moved" => {
                let id = tape.within(1, self.nodes as u64) as i32;
                done(self.kafka.move_leader(&topic, index, id), format!("{name} is led by {id}"))
            }
            "unclean election" => {
                let (start, end) = self.kafka.range(&topic, index)?;
                let writer = self.writers.get(shard)?;
                let cut = (end - tape.within(1, 12) as i64).max(start).max(writer.floor);
                if writer.has_open() || cut >= end {
                    return None;
                }
                self.kafka.lose(&topic, index, cut);
                done(true, format!("{name} is cut at {cut} of {end}"))
            }
            "retention" => {
                let (start, end) = self.trimmable(shard)?;
                let to = start + tape.within(0, (end - start) as u64) as i64;
                self.kafka.trim(&topic, index, to);
                done(to > start, format!("{name} begins at {to}"))
            }
            "retention of all" => {
                let (start, end) = self.trimmable(shard)?;
                self.kafka.trim(&topic, index, end);
                done(end > start, format!("{name} is empty up to {end}"))
            }
            "partitions added" => {
                let full = self.full(&topic) as u64;
                let count = tape.within(1, full) as i32;
                done(self.grow(&topic, count), format!("{topic} has {count} partitions"))
            }
            "transactions end" => {
                let open = self.writers.get(shard)?.has_open();
                self.end_transactions(now, shard, true);
                done(open, format!("transactions of {name} end"))
            }
            "coordinator moved" => {
                let id = tape.within(1, self.nodes as u64) as i32;
                let group = GROUPS[tape.below(GROUPS.len() as u64) as usize];
                let moved =
                    self.kafka.coordinator(group) != Some(id) && self.kafka.move_coordinator(group, id);
                done(moved, format!("broker {id} coordinates {group}"))
            }
            "coordinator loads" => {
                let group = GROUPS[tape.below(GROUPS.len() as u64) as usize];
                let takes = Duration::from_millis(tape.within(1, 5_000));
                self.kafka.reload_coordinator(group, takes);
                done(true, format!("the coordinator of {group} loads for {takes:?}"))
            }
            "compaction" => {
                let (start, end) = self.trimmable(shard)?;
                let share = tape.within(1, 9_000);
                let gone: Vec<bool> = (start..end).map(|_| self.random.below(10_000) < share).collect();
                let is_gone = |offset: i64| {
                    usize::try_from(offset - start).ok().and_then(|at| gone.get(at)).copied().unwrap_or(false)
                };
                self.kafka.compact(&topic, index, is_gone);
                done(end > start, format!("{name} is compacted"))
            }
            "fetch sessions forgotten" => {
                let id = tape.within(1, self.nodes as u64) as i32;
                self.kafka.forget_sessions(id);
                done(true, format!("broker {id} forgets its fetch sessions"))
            }
            "throttled" => {
                let id = tape.within(1, self.nodes as u64) as i32;
                let each = Duration::from_millis(tape.within(1, 400));
                self.kafka.throttle(now, id, each, Duration::from_secs(3_600));
                self.later(Undo::Throttle { id }, format!("broker {id} holds up answers for {each:?}"))
            }
            "watermark held back" => {
                let (start, end) = self.kafka.range(&topic, index)?;
                let id = tape.within(1, self.nodes as u64) as i32;
                let least = tape.within(start as u64, end as u64) as i64;
                self.kafka.hold_watermark(&topic, index, id, Some(least));
                self.kafka.facts().push(Fact::HeldBack { shard: shard as u32 });
                self.later(Undo::Watermark { topic, index, id }, format!("{name} ends at {least} for {id}"))
            }
            "follower held back" => {
                let (start, end) = self.kafka.range(&topic, index)?;
                let id = tape.within(1, self.nodes as u64) as i32;
                let least = tape.within(start as u64, end as u64) as i64;
                self.kafka.hold_follower(&topic, index, id, Some(least));
                self.kafka.facts().push(Fact::HeldBack { shard: shard as u32 });
                self.later(Undo::Follower { topic, index, id }, format!("{name} at {id} lags at {least}"))
            }
            "rolling upgrade" => {
                let id = tape.within(1, self.nodes as u64) as i32;
                let release = *tape.pick(&self.releases)?;
                self.kafka.set_release(id, release);
                self.kafka.crash(id);
                self.later(Undo::Restart { id }, format!("broker {id} stops, to be {release}"))
            }
            _ => None,
        }
    }
}
