//! The positions of one batch: those that follow each other without a gap, as Kafka's offsets do
//! where nothing was compacted away, are two numbers however many they are.

use crate::stream::SeqNo;

/// **Invariant:** `Run` holds positions of one upper half whose lower halves count up by one.
#[derive(Clone, Debug)]
pub(super) enum Seqs {
    Run { first: SeqNo, len: u32 },
    List(Box<[SeqNo]>),
}

impl Seqs {
    /// At most `u32::MAX` of them.
    pub(super) fn new(seqs: impl ExactSizeIterator<Item = SeqNo>) -> Self {
        let count = seqs.len();
        let mut seqs = seqs.take(u32::MAX as usize);
        let Some(first) = seqs.next() else { return Self::List(Box::default()) };
        let mut len = 1;
        for seq in seqs.by_ref() {
            if Some(seq) == nth(first, len) {
                len += 1;
                continue;
            }
            let mut list = Vec::with_capacity(count.min(u32::MAX as usize));
            list.extend((0..len).filter_map(|at| nth(first, at)));
            list.push(seq);
            list.extend(seqs);
            return Self::List(list.into());
        }
        Self::Run { first, len }
    }

    pub(super) fn len(&self) -> u32 {
        match self {
            Self::Run { len, .. } => *len,
            // Proved: `new` takes no more.
            Self::List(list) => list.len() as u32,
        }
    }

    pub(super) fn get(&self, at: u32) -> Option<SeqNo> {
        match self {
            Self::Run { first, len } => (at < *len).then(|| nth(*first, at)).flatten(),
            Self::List(list) => list.get(at as usize).copied(),
        }
    }

    pub(super) fn first(&self) -> Option<SeqNo> {
        self.get(0)
    }

    pub(super) fn last(&self) -> Option<SeqNo> {
        self.get(self.len().checked_sub(1)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = SeqNo> + Clone {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    /// Each is later than the one before.
    pub(super) fn ascend(&self) -> bool {
        match self {
            Self::Run { .. } => true,
            Self::List(list) => list.is_sorted_by(|a, b| a < b),
        }
    }

    /// How many are at or before `seq`, where they ascend.
    pub(super) fn count_through(&self, seq: SeqNo) -> u32 {
        match self {
            Self::Run { first, .. } if seq < *first => 0,
            Self::Run { first, len } if seq.high() == first.high() => {
                // At most `len`, so it fits.
                (seq.low() - first.low()).saturating_add(1).min(u64::from(*len)) as u32
            }
            Self::Run { len, .. } => *len,
            Self::List(list) => list.partition_point(|&own| own <= seq) as u32,
        }
    }

    /// Where `seq` is, where they ascend.
    pub(super) fn find(&self, seq: SeqNo) -> Option<u32> {
        let at = self.count_through(seq).checked_sub(1)?;
        (self.get(at) == Some(seq)).then_some(at)
    }
}

/// The position `at` places after `first`.
fn nth(first: SeqNo, at: u32) -> Option<SeqNo> {
    // On Redis the two halves are an id's, and a lower half that runs over isn't the next id.
    Some(SeqNo::redis(first.high(), first.low().checked_add(at.into())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(seqs: &[SeqNo]) -> Seqs {
        Seqs::List(seqs.into())
    }

    #[test]
    fn a_run_answers_as_a_list_of_the_same() {
        let near_end = SeqNo::redis(1, u64::MAX - 1);
        for (first, len) in [(SeqNo::offset(0), 1), (SeqNo::offset(7), 100), (near_end, 2)] {
            let all: Vec<_> = (0..len).filter_map(|at| nth(first, at)).collect();
            let (run, list) = (Seqs::new(all.iter().copied()), list(&all));
            assert!(matches!(run, Seqs::Run { len: own, .. } if own == len));
            assert_eq!((run.len(), run.first(), run.last()), (list.len(), list.first(), list.last()));
            assert!(run.ascend() && list.ascend() && run.iter().eq(list.iter()));
            let around = all.iter().flat_map(|seq| [seq.previous(), *seq, seq.next()]);
            for seq in around.chain([SeqNo::ZERO, SeqNo::MAX, SeqNo::redis(2, 0)]) {
                assert_eq!(run.count_through(seq), list.count_through(seq), "{seq} in {first}, {len}");
                assert_eq!(run.find(seq), list.find(seq), "{seq} in {first}, {len}");
            }
            assert_eq!(run.get(len), None);
        }
    }

    #[test]
    fn gaps_steps_back_and_another_upper_half_make_a_list() {
        let offset = SeqNo::offset;
        let over = [SeqNo::redis(1, u64::MAX), SeqNo::redis(2, 0)];
        for seqs in [&[offset(1), offset(3)][..], &[offset(2), offset(1)], &[offset(1), offset(1)], &over] {
            let made = Seqs::new(seqs.iter().copied());
            assert!(matches!(made, Seqs::List(_)), "{seqs:?}");
            assert!(made.iter().eq(seqs.iter().copied()), "{seqs:?}");
        }
        assert_eq!(Seqs::new([].into_iter()).len(), 0);
    }
}
