//! Transactions that were aborted, for read_committed (KIP-98).

use std::collections::BTreeSet;

use super::batch::i16_at;
use super::{RecordBatch, Records};
use crate::mutation::{self, Mutation};

/// A control record's type: the transaction's outcome.
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// Decompressed, a batch with a marker is no longer than this.
const MARKER_MAX: usize = 4 << 10;

/// What a transaction's marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// What the producer wrote in the transaction is void.
    Abort,
    /// It is valid.
    Commit,
}

impl Marker {
    /// Of a control batch; `None` for any other batch, and for control records of other kinds,
    /// which are to be passed over.
    pub fn of(batch: &RecordBatch) -> Option<Self> {
        if !batch.control {
            return None;
        }
        let data = batch.decompressed(MARKER_MAX).ok()?;
        let record = Records::new(batch, &data).next()?.ok()?;
        let key = record.key?;
        match (i16_at(key, 0)?, i16_at(key, 2)?) {
            (0.., ABORT) => Some(Self::Abort),
            (0.., COMMIT) => Some(Self::Commit),
            _ => None,
        }
    }
}

/// Which batches of one partition's records in one Fetch response are for the application.
///
/// The broker sends, beside the records, which transactions with data among them were aborted: a
/// producer, and the first offset of its transaction. From there on the producer's transactional
/// batches are void, up to its marker; what comes after belongs to its next transaction. Other
/// producers' batches lie between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aborted {
    /// First offset and producer of the transactions that are still to come; the last is the next.
    ahead: Vec<(i64, i64)>,
    /// Producers in the midst of an aborted transaction.
    open: BTreeSet<i64>,
}

impl Aborted {
    /// From the response's list, in any order, as `(producer_id, first_offset)`. An empty list, or
    /// [`Aborted::default`], keeps all but control batches: read_uncommitted.
    pub fn new(list: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let mut ahead: Vec<_> = list.into_iter().map(|(producer, first)| (first, producer)).collect();
        match mutation::is(Mutation::AbortedListSorted) {
            true => ahead.reverse(),
            false => ahead.sort_unstable_by(|a, b| b.cmp(a)),
        }
        Self { ahead, open: BTreeSet::new() }
    }

    /// Whether this batch's records are for the application; control batches never are. To be
    /// asked once for each batch of the response, in order, also for those that lie before the
    /// wanted offset.
    pub fn keeps(&mut self, batch: &RecordBatch) -> bool {
        while let Some((_, producer)) = self.ahead.pop_if(|(first, _)| *first <= batch.last_offset) {
            self.open.insert(producer);
        }
        if batch.control {
            if !self.open.is_empty() && Marker::of(batch).is_some() {
                self.open.remove(&batch.producer_id);
            }
            return false;
        }
        !(batch.transactional && self.open.contains(&batch.producer_id))
    }
}
