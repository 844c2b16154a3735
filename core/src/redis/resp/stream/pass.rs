//! What one call completes, as offsets into the buffer, until the call ends.

use std::mem::take;
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Chunk;
use crate::message::{Entries, Entry, Span};
use crate::redis::resp::Bounds;
use crate::stream::{SeqNo, Timestamp};

/// The key of the stream that is being read.
#[derive(Clone, Debug)]
pub(super) enum Key {
    /// There is none, or it hasn't come yet.
    None,
    /// Of a call before.
    Held(Bytes),
    /// In the buffer.
    Here(Range<usize>),
}

/// A key that outlives its call is copied up to this length, so that it doesn't hold a whole
/// buffer; a longer one holds it.
const COPIED_KEY: usize = 256;

/// Where a finished chunk lies in the buffer.
struct Place {
    key: Option<Range<usize>>,
    data: Range<usize>,
}

pub(super) struct Pass<'a> {
    pub(super) key: Key,
    /// The chunk that is being made.
    pub(super) spans: Vec<Span>,
    pub(super) deleted: Vec<SeqNo>,
    index: Vec<Entry>,
    data: Range<usize>,
    /// Those that are finished, and where their key and data lie.
    out: &'a mut Vec<Chunk>,
    first: usize,
    places: SmallVec<[Place; 4]>,
}

impl<'a> Pass<'a> {
    pub(super) fn new(key: Option<Bytes>, out: &'a mut Vec<Chunk>) -> Self {
        let first = out.len();
        Self {
            key: key.map_or(Key::None, Key::Held),
            spans: Vec::new(),
            deleted: Vec::new(),
            index: Vec::new(),
            data: 0..0,
            out,
            first,
            places: SmallVec::new(),
        }
    }

    /// Where spans count from, for an entry that begins at `at`.
    #[inline]
    pub(super) fn origin_for(&self, at: usize) -> usize {
        if self.index.is_empty() { at } else { self.data.start }
    }

    /// Sees to it that an entry from `at` on keeps its spans within 32 bits.
    #[inline]
    pub(super) fn make_room(&mut self, at: usize, bounds: &Bounds) {
        if (at - self.origin_for(at)) as u64 + u64::from(bounds.total) > u64::from(u32::MAX) {
            self.close_chunk();
        }
    }

    /// An entry from `start` to `end`, whose spans are in place. `behind` bytes are there after it,
    /// and `more` entries were announced.
    #[inline]
    pub(super) fn add_entry(&mut self, id: SeqNo, start: usize, end: usize, behind: usize, more: u32) {
        if self.index.is_empty() {
            self.data.start = start;
            // As many as there would be of this size: bytes that came, not a number that was said.
            let alike = (behind / (end - start).max(1)).min(more as usize);
            self.index.reserve_exact(1 + alike);
            self.spans.reserve_exact(alike.saturating_mul(self.spans.len()));
        }
        self.data.end = end;
        self.index.push(Entry {
            seq: id,
            timestamp: Timestamp::from_millis(i64::try_from(id.high()).unwrap_or(i64::MAX)),
            deliveries: 1,
            place: self.spans.len() as u32,
        });
    }

    /// What was gathered becomes a chunk of the stream that is being read.
    pub(super) fn close_chunk(&mut self) {
        if self.index.is_empty() && self.deleted.is_empty() {
            return;
        }
        let (key, place) = match &self.key {
            Key::None => (None, None),
            Key::Held(key) => (Some(key.clone()), None),
            Key::Here(range) => (None, Some(range.clone())),
        };
        self.places.push(Place { key: place, data: take(&mut self.data) });
        let entries =
            Entries { index: take(&mut self.index), spans: take(&mut self.spans), ..Entries::default() };
        self.out.push(Chunk { key, entries, deleted: take(&mut self.deleted) });
    }

    /// True if the front of the buffer is of use for more than being dropped.
    pub(super) fn wants_bytes(&self) -> bool {
        !self.places.is_empty() || matches!(self.key, Key::Here(_))
    }

    /// Gives the chunks their pieces of `front`, and the next call the key that it goes on with.
    pub(super) fn finish(self, front: &Bytes) -> Option<Bytes> {
        // Proved: all ranges are of complete tokens before what was left in the buffer.
        for (chunk, Place { key, data }) in self.out.iter_mut().skip(self.first).zip(self.places) {
            chunk.entries.data = front.slice(data);
            if let Some(key) = key {
                chunk.key = Some(front.slice(key));
            }
        }
        match self.key {
            Key::None => None,
            Key::Held(key) => Some(key),
            Key::Here(range) if range.len() <= COPIED_KEY => front.get(range).map(Bytes::copy_from_slice),
            Key::Here(range) => Some(front.slice(range)),
        }
    }
}
