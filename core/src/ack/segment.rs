//! One delivered batch: positions and three bits a message.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::seqs::Seqs;
use super::{Slot, Steps};
use crate::stream::{Epoch, SeqNo};
use crate::time::Instant;

const BITS: u32 = u64::BITS;

/// The states of 64 messages. At most one bit of the three is set for each; none is in flight.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    acked: u64,
    committing: u64,
    gone: u64,
}

impl Word {
    const fn open(self) -> u64 {
        !(self.acked | self.committing | self.gone)
    }
}

/// Some messages of one word: what a commit remembers, 64 messages at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) word: u32,
    pub(super) mask: u64,
}

/// **Invariant:** `open`, `acked` and `committing` count the messages in these states; bits past
/// the last message are gone from the start; `ready` names every word with an acked message
/// where there are several words.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) slot: Slot,
    pub(super) epoch: Epoch,
    /// Indexed message by message, because its positions overlap those of others.
    pub(super) aside: bool,
    /// When it was handed out, or last found by a sweep.
    pub(super) touched: Instant,
    pub(super) open: u32,
    pub(super) acked: u32,
    pub(super) committing: u32,
    /// No message before this word is in flight.
    open_hint: u32,
    /// All messages before this word are gone.
    gone_hint: u32,
    /// A sweep that stopped half way: when it began, and where it goes on.
    sweep: Option<(Instant, u32)>,
    /// Words with acked messages, in the order of their first acks; not kept for a single word.
    ready: VecDeque<u32>,
    words: SmallVec<[Word; 1]>,
    seqs: Seqs,
    steps: Steps,
}

impl Segment {
    pub(super) fn new(slot: Slot, epoch: Epoch, now: Instant, seqs: Seqs, steps: Steps) -> Self {
        let open = seqs.len();
        let mut words: SmallVec<[Word; 1]> =
            SmallVec::from_elem(Word::default(), open.div_ceil(BITS) as usize);
        if let (Some(last), used @ 1..) = (words.last_mut(), open % BITS) {
            last.gone = !mask(0, used);
        }
        Self {
            slot,
            epoch,
            aside: false,
            touched: now,
            open,
            acked: 0,
            committing: 0,
            open_hint: 0,
            gone_hint: 0,
            sweep: None,
            ready: VecDeque::new(),
            words,
            seqs,
            steps,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.seqs.len()
    }

    pub(super) fn seqs(&self) -> &Seqs {
        &self.seqs
    }

    pub(super) fn is_gone(&self) -> bool {
        self.open == 0 && self.acked == 0 && self.committing == 0
    }

    /// In flight, acked or committing.
    pub(super) fn holds(&self, at: u32) -> bool {
        self.words.get((at / BITS) as usize).is_some_and(|word| word.gone >> (at % BITS) & 1 == 0)
    }

    /// The first position that is in flight.
    pub(super) fn first_open(&self) -> Option<SeqNo> {
        let word = self.words.get(self.open_hint as usize)?;
        // Where the hinted word is full, so are all: the hint moves with each change.
        let at = self.open_hint * BITS + word.open().trailing_zeros();
        self.seqs.get(at)
    }

    /// Marks `start..end` acked and tells how many were in flight; `changed` hears of each, if
    /// the segment is aside.
    pub(super) fn ack(&mut self, start: u32, end: u32, mut changed: impl FnMut(SeqNo, u32)) -> u32 {
        let mut newly = 0;
        let several = self.words.len() > 1;
        for (at, part) in parts(start, end) {
            self.steps.add(1);
            let Some(word) = self.words.get_mut(at as usize) else { break };
            let part = part & word.open();
            if part == 0 {
                continue;
            }
            if several && word.acked == 0 {
                self.ready.push_back(at);
            }
            word.acked |= part;
            newly += part.count_ones();
            if self.aside {
                self.steps.add(part.count_ones() as usize);
                each(part, at, &self.seqs, &mut changed);
            }
        }
        self.open -= newly;
        self.acked += newly;
        self.move_open_hint();
        newly
    }

    /// Marks what is in flight in `start..end` gone.
    pub(super) fn withdraw(&mut self, start: u32, end: u32, mut changed: impl FnMut(SeqNo, u32)) -> u32 {
        let mut newly = 0;
        for (at, part) in parts(start, end) {
            self.steps.add(1);
            let Some(word) = self.words.get_mut(at as usize) else { break };
            let part = part & word.open();
            word.gone |= part;
            newly += part.count_ones();
            self.steps.add(part.count_ones() as usize);
            each(part, at, &self.seqs, &mut changed);
        }
        self.open -= newly;
        self.move_open_hint();
        newly
    }

    fn move_open_hint(&mut self) {
        while self.words.get(self.open_hint as usize).is_some_and(|word| word.open() == 0) {
            self.steps.add(1);
            self.open_hint += 1;
        }
    }

    /// Moves up to `room` acked messages of one word into a commit.
    pub(super) fn take_acked(&mut self, room: usize, out: &mut Vec<SeqNo>) -> Option<Part> {
        let several = self.words.len() > 1;
        while let Some(at) = if several { self.ready.front().copied() } else { Some(0) } {
            self.steps.add(1);
            let word = self.words.get_mut(at as usize)?;
            let part = lowest(word.acked, room);
            word.acked &= !part;
            word.committing |= part;
            if word.acked == 0 {
                self.ready.pop_front();
            }
            if part != 0 {
                self.acked -= part.count_ones();
                self.committing += part.count_ones();
                self.steps.add(part.count_ones() as usize);
                each(part, at, &self.seqs, &mut |seq, _| out.push(seq));
                return Some(Part { word: at, mask: part });
            }
            if room == 0 || !several {
                break;
            }
        }
        None
    }

    /// The broker has confirmed `part`.
    pub(super) fn committed(&mut self, part: Part, mut changed: impl FnMut(SeqNo, u32)) -> u32 {
        self.steps.add(1);
        let Some(word) = self.words.get_mut(part.word as usize) else { return 0 };
        let mask = word.committing & part.mask;
        word.committing &= !mask;
        word.gone |= mask;
        self.committing -= mask.count_ones();
        if self.aside {
            self.steps.add(mask.count_ones() as usize);
            each(mask, part.word, &self.seqs, &mut changed);
        }
        mask.count_ones()
    }

    /// The broker hasn't: acked again.
    pub(super) fn failed(&mut self, part: Part) -> u32 {
        self.steps.add(1);
        let several = self.words.len() > 1;
        let Some(word) = self.words.get_mut(part.word as usize) else { return 0 };
        let mask = word.committing & part.mask;
        if several && word.acked == 0 && mask != 0 {
            self.ready.push_back(part.word);
        }
        word.committing &= !mask;
        word.acked |= mask;
        self.committing -= mask.count_ones();
        self.acked += mask.count_ones();
        mask.count_ones()
    }

    /// Marks what is acked among the first `end` messages gone, without a commit of its own.
    pub(super) fn retire(&mut self, start: u32, end: u32, mut changed: impl FnMut(SeqNo, u32)) -> u32 {
        let mut newly = 0;
        for (at, part) in parts(start.max(self.gone_hint.saturating_mul(BITS)), end) {
            self.steps.add(1);
            let Some(word) = self.words.get_mut(at as usize) else { break };
            let part = part & word.acked;
            word.acked &= !part;
            word.gone |= part;
            newly += part.count_ones();
            if self.aside {
                self.steps.add(part.count_ones() as usize);
                each(part, at, &self.seqs, &mut changed);
            }
        }
        self.acked -= newly;
        while self.words.get(self.gone_hint as usize).is_some_and(|word| word.gone == u64::MAX) {
            self.gone_hint += 1;
        }
        newly
    }

    /// Appends up to `room` positions that are in flight, from where the last call stopped.
    /// `Some(when the sweep began)` once the end is reached.
    pub(super) fn sweep(&mut self, now: Instant, room: usize, out: &mut Vec<SeqNo>) -> Option<Instant> {
        let (begun, mut from) = self.sweep.take().unwrap_or((now, 0));
        let mut room = room;
        from = from.max(self.open_hint.saturating_mul(BITS));
        for (at, part) in parts(from, self.len()) {
            self.steps.add(1);
            let Some(word) = self.words.get(at as usize) else { break };
            let open = part & word.open();
            let part = lowest(open, room);
            room -= part.count_ones() as usize;
            self.steps.add(part.count_ones() as usize);
            each(part, at, &self.seqs, &mut |seq, _| out.push(seq));
            if part != open {
                let next = at * BITS + (open & !part).trailing_zeros();
                self.sweep = Some((begun, next));
                return None;
            }
        }
        self.touched = begun;
        Some(begun)
    }
}

/// Bits `from..to` of a word; `from < to <= 64`.
const fn mask(from: u32, to: u32) -> u64 {
    (u64::MAX << from) & (u64::MAX >> (BITS - to))
}

/// `start..end` as words and masks.
fn parts(start: u32, end: u32) -> impl Iterator<Item = (u32, u64)> {
    let words = if start < end { start / BITS..(end - 1) / BITS + 1 } else { 0..0 };
    words.map(move |at| {
        let base = at * BITS;
        (at, mask(start.saturating_sub(base), (end - base).min(BITS)))
    })
}

/// The lowest `n` bits that are set.
fn lowest(bits: u64, n: usize) -> u64 {
    if bits.count_ones() as usize <= n {
        return bits;
    }
    let mut rest = bits;
    for _ in 0..n {
        rest &= rest.wrapping_sub(1);
    }
    bits & !rest
}

/// Calls `changed` for each bit of `mask`.
fn each(mask: u64, word: u32, seqs: &Seqs, changed: &mut impl FnMut(SeqNo, u32)) {
    let mut rest = mask;
    while rest != 0 {
        let at = word * BITS + rest.trailing_zeros();
        if let Some(seq) = seqs.get(at) {
            changed(seq, at);
        }
        rest &= rest - 1;
    }
}
