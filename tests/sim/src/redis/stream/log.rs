//! The entries of a stream.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use tidegate_core::SeqNo;

use super::packs::Packs;

/// One entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: SeqNo,
    /// Its names and values, as they stand in a reply.
    pub(crate) body: Bytes,
}

/// Entries in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    pub(crate) packs: Packs,
    pub(crate) last_id: SeqNo,
    pub(crate) max_deleted: SeqNo,
    pub(crate) added: i64,
}

/// What trimming leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trim {
    /// So many entries.
    MaxLen(u64),
    /// Entries from here on.
    MinId(SeqNo),
}

impl Log {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn first(&self) -> Option<&Entry> {
        self.entries.front()
    }

    pub(crate) fn last(&self) -> Option<&Entry> {
        self.entries.back()
    }

    /// The first entry's id, `0-0` if there is none.
    pub(crate) fn first_id(&self) -> SeqNo {
        self.first().map_or(SeqNo::ZERO, |entry| entry.id)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The places of the entries from `start` to `end`, both included.
    pub(crate) fn range(&self, start: SeqNo, end: SeqNo) -> Range<usize> {
        let from = self.place(start);
        let to = if end == SeqNo::MAX { self.len() } else { self.place(end.next()) };
        from..to.max(from)
    }

    pub(crate) fn get(&self, place: usize) -> Option<&Entry> {
        self.entries.get(place)
    }

    pub(crate) fn entries(&self, places: Range<usize>) -> impl DoubleEndedIterator<Item = &Entry> {
        let len = self.len();
        self.entries.range(places.start.min(len)..places.end.min(len))
    }

    pub(crate) fn find(&self, id: SeqNo) -> Option<&Entry> {
        self.get(self.place(id)).filter(|entry| entry.id == id)
    }

    /// How many entries are before `id`.
    #[inline]
    fn place(&self, id: SeqNo) -> usize {
        match (self.entries.front(), self.entries.back()) {
            (Some(first), _) if id <= first.id => 0,
            (_, Some(last)) if id > last.id => self.len(),
            _ => self.entries.partition_point(|entry| entry.id < id),
        }
    }

    /// Puts an entry at the end. `id` is later than the last one's.
    pub(crate) fn append<'a>(
        &mut self,
        id: SeqNo,
        fields: impl Iterator<Item = &'a [u8]> + Clone,
        body: Bytes,
    ) {
        self.packs.append(id, fields);
        self.entries.push_back(Entry { id, body });
        self.last_id = id;
        self.added = self.added.wrapping_add(1);
    }

    /// Whether it was there.
    pub(crate) fn delete(&mut self, id: SeqNo) -> bool {
        let place = self.place(id);
        if self.get(place).is_none_or(|entry| entry.id != id) {
            return false;
        }
        self.entries.remove(place);
        self.packs.remove(id);
        self.max_deleted = self.max_deleted.max(id);
        true
    }

    /// Trims, whole nodes only if `roughly`, at most `limit` entries unless that is 0; each one
    /// that goes is told.
    pub(crate) fn trim(&mut self, trim: Trim, roughly: bool, limit: u64, mut told: impl FnMut(SeqNo)) -> u64 {
        let mut gone = 0;
        while let Some(pack) = self.packs.front() {
            let len = self.entries.len() as u64;
            let whole = match trim {
                Trim::MaxLen(keep) if len <= keep => break,
                Trim::MaxLen(keep) => len - pack.live >= keep,
                Trim::MinId(id) => pack.last < id,
            };
            if limit != 0 && gone + pack.live > limit {
                break;
            }
            let going = if whole {
                pack.live
            } else if roughly {
                break;
            } else {
                let part = match trim {
                    Trim::MaxLen(keep) => len - keep,
                    Trim::MinId(id) => {
                        let end = pack.end_of_trim(id);
                        self.entries.partition_point(|entry| entry.id < end) as u64
                    }
                };
                // Both keep what is in later nodes: the former as the whole node were too many.
                let part = part.min(pack.live);
                pack.live -= part;
                pack.dead += part;
                part
            };
            for entry in self.entries.drain(..(going as usize).min(self.entries.len())) {
                told(entry.id);
            }
            gone += going;
            if !whole {
                break;
            }
            self.packs.pop_front();
        }
        gone
    }
}
