//! What a crew's books say in the end.

use std::time::Duration;

/// What may have been written twice, and why.
#[derive(Debug, Clone, Copy, Default)]
pub struct Excused {
    /// Written by somebody who was killed, and not committed.
    pub killed: u64,
    /// Written by somebody who was stopped, and not committed.
    pub stopped: u64,
    /// Written after that by somebody who went on, before it knew that it had been replaced.
    pub late: u64,
    /// In hand when a partition was taken away.
    pub in_hand: u64,
    /// Written and not committed when a partition was taken away, as the member says: it was held for
    /// dead, or the coordinator didn't answer in time.
    pub uncommitted: u64,
    /// Where brokers or connections fail, instead of all these: written and not committed when somebody
    /// took the partition over,
    pub taken_over: u64,
    /// or written by who had not heard of that, as it was cut off.
    pub overlapping: u64,
}

impl Excused {
    /// All but what may have been in hand.
    pub(super) fn by_events(self) -> u64 {
        self.killed + self.stopped + self.late + self.uncommitted
    }

    /// All that may have been written twice.
    pub fn explained(self) -> u64 {
        self.by_events() + self.in_hand + self.taken_over + self.overlapping
    }
}

/// What there was to see in the end.
#[derive(Debug, Clone)]
pub struct Report {
    /// Records in the topic, each of which was written at least once.
    pub records: u64,
    /// Lines beyond one for each record.
    pub duplicates: u64,
    /// How many of those were excused.
    pub excused: Excused,
    /// How many processes took part.
    pub processes: usize,
    /// How many commits the group has made.
    pub commits: usize,
    /// The longest time in which nobody wrote a line.
    pub longest_gap: Duration,
}
