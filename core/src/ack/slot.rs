//! The segments of one shard in the order of their positions, and how far it is done.

use std::collections::{BTreeMap, BTreeSet};

use super::segment::Segment;
use super::{SegmentId, Steps};
use crate::stream::{Epoch, SeqNo};
use crate::time::Instant;

/// Boxed: a tree moves its values about.
pub(super) type Segments = BTreeMap<SegmentId, Box<Segment>>;

/// A message of a segment that is indexed one by one.
type Single = (SeqNo, SegmentId, u32);

/// A segment whose positions ascend, and that shares its interval with no other.
#[derive(Clone, Debug)]
pub(super) struct Run {
    id: SegmentId,
    epoch: Epoch,
    last: SeqNo,
    /// Up to here and to the next run there is nothing but what is gone: the freed runs behind
    /// this one, which a frontier may pass with it.
    through: SeqNo,
}

/// What was withdrawn and not handed out again.
#[derive(Clone, Copy, Debug)]
struct Withdrawn {
    low: SeqNo,
    high: SeqNo,
    /// It is being read again from `low` on: what then comes behind `low` proves that there is
    /// nothing left in between (compacted, expired).
    again: bool,
}

#[derive(Clone, Debug)]
pub(super) struct SlotState {
    pub(super) epoch: Epoch,
    pub(super) in_flight: u64,
    /// Segments with acked messages, oldest first.
    pub(super) dirty: BTreeSet<SegmentId>,
    /// Segments with messages in flight, by when they were last touched.
    pub(super) aging: BTreeSet<(Instant, SegmentId)>,
    /// What the ledger's own queue holds for this slot.
    pub(super) aging_key: Option<Instant>,
    pub(super) frontier: Option<SeqNo>,
    /// A frontier that was sent and not answered.
    pub(super) sent: Option<SeqNo>,
    highest: Option<SeqNo>,
    withdrawn: Option<Withdrawn>,
    runs: BTreeMap<SeqNo, Run>,
    /// First positions of the runs with messages in flight.
    open_runs: BTreeSet<SeqNo>,
    singles: BTreeSet<Single>,
    open_singles: BTreeSet<Single>,
    steps: Steps,
}

impl SlotState {
    pub(super) fn new(epoch: Epoch, steps: Steps) -> Self {
        Self {
            epoch,
            in_flight: 0,
            dirty: BTreeSet::new(),
            aging: BTreeSet::new(),
            aging_key: None,
            frontier: None,
            sent: None,
            highest: None,
            withdrawn: None,
            runs: BTreeMap::new(),
            open_runs: BTreeSet::new(),
            singles: BTreeSet::new(),
            open_singles: BTreeSet::new(),
            steps,
        }
    }

    /// A later assignment: its frontier begins anew. What is left of the one before still holds
    /// it back, and never moves it.
    pub(super) fn begin(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.frontier = None;
        self.sent = None;
        self.highest = None;
        self.withdrawn = None;
    }

    /// Takes up a segment that was just made; not an empty one.
    pub(super) fn insert(&mut self, id: SegmentId, segment: &mut Segment) {
        let (Some(first), Some(last)) = (segment.seqs().first(), segment.seqs().last()) else { return };
        let ascends = segment.seqs().ascend();
        if segment.epoch == self.epoch {
            let highest = if ascends { Some(last) } else { segment.seqs().iter().max() };
            self.highest = self.highest.max(highest);
            if ascends {
                self.hand_out_again(first, last);
            }
        }
        self.in_flight += u64::from(segment.open);
        self.aging.insert((segment.touched, id));
        self.steps.add(2);

        let before = self.runs.range(..=last).next_back().map(|(_, run)| run);
        if !ascends || before.is_some_and(|run| run.last >= first) {
            segment.aside = true;
            let singles = segment.seqs().iter().zip(0..).map(|(seq, at)| (seq, id, at));
            self.singles.extend(singles.clone());
            self.open_singles.extend(singles);
            return;
        }
        // Older messages that come late stand in front of freed ones: those are behind them now.
        let freed = before.filter(|run| run.epoch == segment.epoch).map(|run| run.through);
        let through = freed.map_or(last, |freed| freed.max(last));
        self.runs.insert(first, Run { id, epoch: segment.epoch, last, through });
        self.open_runs.insert(first);
    }

    fn hand_out_again(&mut self, first: SeqNo, last: SeqNo) {
        if let Some(gap) = self.withdrawn.filter(|gap| (gap.again || first <= gap.low) && last >= gap.low) {
            let rest = Withdrawn { low: last.next(), again: true, ..gap };
            self.withdrawn = (last < gap.high).then_some(rest);
        }
    }

    /// Reading goes on at `from`.
    pub(super) fn read_from(&mut self, from: SeqNo) {
        if let Some(gap) = &mut self.withdrawn {
            gap.again = from <= gap.low;
        }
    }

    /// A message of a segment that is aside was acked.
    pub(super) fn close_single(&mut self, seq: SeqNo, id: SegmentId, at: u32) {
        self.steps.add(1);
        self.open_singles.remove(&(seq, id, at));
    }

    /// A message of a segment that is aside is gone.
    pub(super) fn forget_single(&mut self, seq: SeqNo, id: SegmentId, at: u32) {
        self.steps.add(1);
        self.open_singles.remove(&(seq, id, at));
        self.singles.remove(&(seq, id, at));
    }

    /// A message is gone that nobody has seen: the frontier must not pass it.
    pub(super) fn hold_back(&mut self, seq: SeqNo) {
        let (low, high) = self.withdrawn.map_or((seq, seq), |gap| (gap.low.min(seq), gap.high.max(seq)));
        self.withdrawn = Some(Withdrawn { low, high, again: false });
    }

    /// Messages of `segment` stopped being in flight.
    pub(super) fn handle_closed(&mut self, id: SegmentId, segment: &Segment, messages: u32) {
        self.in_flight -= u64::from(messages);
        if segment.open == 0 {
            self.aging.remove(&(segment.touched, id));
            if let (false, Some(first)) = (segment.aside, segment.seqs().first()) {
                self.open_runs.remove(&first);
            }
        }
    }

    /// Everything of `segment` is gone: it leaves the order.
    pub(super) fn remove(&mut self, segment: &Segment) {
        if segment.aside {
            return;
        }
        let Some(first) = segment.seqs().first() else { return };
        let Some(gone) = self.runs.remove(&first) else { return };
        self.steps.add(1);
        if let Some((_, run)) = self.runs.range_mut(..first).next_back()
            && run.epoch == gone.epoch
        {
            run.through = run.through.max(gone.through);
        }
    }

    /// Whether `seq` is here and not gone.
    pub(super) fn contains(&self, segments: &Segments, seq: SeqNo) -> bool {
        let in_run = || {
            let (_, run) = self.runs.range(..=seq).next_back()?;
            if run.last < seq {
                return None;
            }
            let segment = segments.get(&run.id)?;
            Some(segment.holds(segment.seqs().find(seq)?))
        };
        in_run() == Some(true) || self.singles_of(seq).next().is_some()
    }

    fn singles_of(&self, seq: SeqNo) -> impl Iterator<Item = &Single> {
        self.singles.range((seq, SegmentId(0), 0)..=(seq, SegmentId(u64::MAX), u32::MAX))
    }

    /// Moves the frontier as far as it goes; tells whether it moved.
    pub(super) fn move_frontier(&mut self, segments: &Segments) -> bool {
        let first_open = self
            .open_runs
            .first()
            .and_then(|first| self.runs.get(first))
            .and_then(|run| segments.get(&run.id))
            .and_then(|segment| segment.first_open());
        let first_single = self.open_singles.first().map(|single| single.0);
        let first_withdrawn = self.withdrawn.map(|gap| gap.low);
        let limit = [first_open, first_single, first_withdrawn].into_iter().flatten().min();
        let candidate = match limit {
            None => self.highest,
            Some(limit) => self.last_before(segments, limit),
        };
        let moved = candidate > self.frontier;
        if moved {
            self.frontier = candidate;
        }
        moved
    }

    /// The last message of this epoch before `limit`, where everything before it is done.
    fn last_before(&self, segments: &Segments, limit: SeqNo) -> Option<SeqNo> {
        let (_, run) = self.runs.range(..limit).next_back()?;
        if run.epoch != self.epoch {
            return None;
        }
        if run.through < limit {
            return Some(run.through);
        }
        let seqs = segments.get(&run.id)?.seqs();
        let before = limit.previous();
        if limit == before {
            return None;
        }
        seqs.get(seqs.count_through(before).checked_sub(1)?)
    }

    /// The segments with a message up to `seq`, and the single messages up to it.
    pub(super) fn up_to(&self, seq: SeqNo) -> (Vec<SegmentId>, Vec<(SegmentId, u32)>) {
        let runs = self.runs.range(..=seq).map(|(_, run)| run.id).collect();
        let singles = self.singles.range(..=(seq, SegmentId(u64::MAX), u32::MAX));
        (runs, singles.map(|&(_, id, at)| (id, at)).collect())
    }

    /// All segments; those that are aside once a message.
    pub(super) fn segments(&self) -> impl Iterator<Item = SegmentId> {
        self.runs.values().map(|run| run.id).chain(self.singles.iter().map(|single| single.1))
    }
}
