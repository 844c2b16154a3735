//! The reference log of one shard, and beside it what each role has done.

use tidegate_core::{Instant, SeqNo, ShardId, StreamKey};

use crate::broker::Handed;

use super::Run;

/// What a role did with a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// An application is done with it.
    pub(super) done: bool,
    /// The broker lost it, or somebody else gave it up: nobody has to get it.
    pub(super) excused: bool,
    /// The broker waits for an ack.
    pub(super) pending: bool,
    /// How often the broker handed it out as new: more than once if the group was set back.
    pub(super) granted: u32,
    /// It was claimed by, or kept alive for, the member that had it.
    pub(super) claimed_again: bool,
    /// How often applications got it.
    pub(super) delivered: u32,
    /// When it was handed to whom, and how.
    pub(super) handed: Option<(Instant, Run, Handed)>,
}

#[derive(Debug)]
pub(super) struct ShardLog {
    stream: StreamKey,
    shard: ShardId,
    /// A crash or a fail-over brought messages back that were gone.
    pub(super) restored: bool,
    /// When the groups were set back last.
    pub(super) set_back: Option<Instant>,
    seqs: Vec<SeqNo>,
    /// Where the log was cut, and positions given again: the places from which they ascend anew.
    anew: Vec<usize>,
    gone: Vec<bool>,
    marks: Vec<Vec<Mark>>,
    /// By role: nothing before this is undone.
    done_to: Vec<std::cell::Cell<usize>>,
}

impl ShardLog {
    pub(super) fn new(stream: &StreamKey, shard: ShardId, roles: usize) -> Self {
        Self {
            stream: stream.clone(),
            shard,
            restored: false,
            set_back: None,
            seqs: Vec::new(),
            anew: Vec::new(),
            gone: Vec::new(),
            marks: vec![Vec::new(); roles],
            done_to: vec![std::cell::Cell::new(0); roles],
        }
    }

    pub(super) fn key(&self) -> (StreamKey, ShardId) {
        (self.stream.clone(), self.shard)
    }

    pub(super) fn stream(&self) -> &StreamKey {
        &self.stream
    }

    pub(super) fn shard(&self) -> ShardId {
        self.shard
    }

    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.stream, self.shard)
    }

    pub(super) fn len(&self) -> usize {
        self.seqs.len()
    }

    pub(super) fn seq(&self, at: usize) -> SeqNo {
        self.seqs.get(at).copied().unwrap_or_default()
    }

    /// False if it isn't later than the last one.
    pub(super) fn append(&mut self, seq: SeqNo) -> bool {
        if self.seqs.last().is_some_and(|last| *last >= seq) {
            return false;
        }
        self.push(seq);
        true
    }

    /// The log was cut before this position, which is another message's from now on.
    pub(super) fn append_anew(&mut self, seq: SeqNo) {
        self.anew.push(self.seqs.len());
        self.push(seq);
    }

    fn push(&mut self, seq: SeqNo) {
        self.seqs.push(seq);
        self.gone.push(false);
        self.marks.iter_mut().for_each(|marks| marks.push(Mark::default()));
    }

    /// The place of the last message that had this position.
    pub(super) fn find(&self, seq: SeqNo) -> Option<usize> {
        let at = self.place_from(seq);
        (self.seqs.get(at) == Some(&seq)).then_some(at)
    }

    /// The place of the first message from this position on, as the log is now.
    pub(super) fn place_from(&self, seq: SeqNo) -> usize {
        let mut end = self.seqs.len();
        for begin in self.anew.iter().rev().copied().chain([0]) {
            let part = self.seqs.get(begin..end).unwrap_or_default();
            let holds = part.first().is_some_and(|first| *first <= seq);
            if holds || begin == 0 {
                return begin + part.partition_point(|known| *known < seq);
            }
            end = begin;
        }
        0
    }

    pub(super) fn lose(&mut self, at: usize) {
        if let Some(gone) = self.gone.get_mut(at) {
            *gone = true;
        }
    }

    /// A message that was gone is back; false if there never was one.
    pub(super) fn restore(&mut self, seq: SeqNo) -> bool {
        let place = self.find(seq).and_then(|at| self.gone.get_mut(at));
        let back = place.is_some_and(|gone| std::mem::replace(gone, false));
        self.restored |= back;
        if let Some(at) = self.find(seq).filter(|_| back) {
            // Who read past its place meanwhile doesn't come back for it.
            self.marks.iter_mut().filter_map(|marks| marks.get_mut(at)).for_each(|mark| mark.excused = true);
        }
        back
    }

    pub(super) fn is_gone(&self, at: usize) -> bool {
        self.gone.get(at).copied().unwrap_or(true)
    }

    pub(super) fn mark(&self, role: usize, at: usize) -> Mark {
        self.marks.get(role).and_then(|marks| marks.get(at)).copied().unwrap_or_default()
    }

    pub(super) fn mark_mut(&mut self, role: usize, at: usize) -> Option<&mut Mark> {
        self.marks.get_mut(role)?.get_mut(at)
    }

    pub(super) fn marks_mut(&mut self) -> impl Iterator<Item = &mut Mark> {
        self.marks.iter_mut().flatten()
    }

    /// The first message that this role must still be done with.
    pub(super) fn undone(&self, role: usize) -> Option<SeqNo> {
        let (marks, from) = (self.marks.get(role)?, self.done_to.get(role)?);
        for at in from.get()..self.seqs.len() {
            let mark = marks.get(at).copied().unwrap_or_default();
            if !mark.done && !mark.excused && !self.is_gone(at) {
                from.set(at);
                return Some(self.seq(at));
            }
        }
        from.set(self.seqs.len());
        None
    }

    /// The first message that is there, from one place up to another.
    pub(super) fn missing(&self, from: usize, to: usize) -> Option<usize> {
        (from..to).find(|at| !self.is_gone(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_that_was_given_again_is_the_later_message() {
        let seq = SeqNo::offset;
        let mut log = ShardLog::new(&"orders".into(), ShardId::ZERO, 1);
        assert!([0, 1, 2, 5].into_iter().all(|offset| log.append(seq(offset))));
        assert!(!log.append(seq(2)));
        log.append_anew(seq(2));
        assert!(log.append(seq(3)));
        assert_eq!([1, 2, 3, 5].map(|offset| log.find(seq(offset))), [Some(1), Some(4), Some(5), None]);
        assert_eq!([0, 2, 3, 4].map(|offset| log.place_from(seq(offset))), [0, 4, 5, 6]);
        log.append_anew(seq(0));
        assert_eq!([0, 1, 9].map(|offset| log.place_from(seq(offset))), [6, 7, 7]);
    }
}
