//! One direction of a connection: bytes on their way.
//!
//! **Invariant:** bytes arrive in the order in which they were written, each once, or the
//! connection ends; what a fault swallows is always the end of what was written.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};
use tidegate_core::Instant;

/// Bytes on their way, in pieces that arrive one after the other.
#[derive(Debug)]
pub(super) struct Lane {
    bytes: BytesMut,
    due: VecDeque<(Instant, usize)>,
    capacity: usize,
    last: Instant,
    /// What is written is taken, and never arrives.
    pub(super) hole: bool,
    /// So many bytes more arrive, and then no more: the fault that swallows a reply at a chosen
    /// byte.
    pub(super) cut_after: Option<usize>,
}

impl Lane {
    /// A lane that holds `capacity` bytes at most: then its writer has to wait.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            bytes: BytesMut::new(),
            due: VecDeque::new(),
            capacity: capacity.max(1),
            last: Instant::ZERO,
            hole: false,
            cut_after: None,
        }
    }

    /// How many bytes may be written now.
    pub(super) fn room(&self) -> usize {
        if self.hole { self.capacity } else { self.capacity.saturating_sub(self.bytes.len()) }
    }

    /// Takes bytes that arrive at `at`, or with those before them if that is later. The moment,
    /// where there is something new to wait for.
    pub(super) fn write(&mut self, bytes: &[u8], at: Instant) -> Option<Instant> {
        let mut bytes = bytes;
        if let Some(left) = &mut self.cut_after {
            bytes = bytes.get(..*left).unwrap_or(bytes);
            *left -= bytes.len();
        }
        if self.hole || bytes.is_empty() {
            return None;
        }
        self.last = self.last.max(at);
        self.bytes.extend_from_slice(bytes);
        self.due.push_back((self.last, bytes.len()));
        Some(self.last)
    }

    /// Moves the next piece into `into`, if it has arrived.
    pub(super) fn take(&mut self, now: Instant, into: &mut BytesMut) -> Option<usize> {
        if !self.has_arrived(now) {
            return None;
        }
        let len = self.due.pop_front()?.1.min(self.bytes.len());
        into.extend_from_slice(self.bytes.get(..len)?);
        self.bytes.advance(len);
        Some(len)
    }

    /// Whether the next piece has arrived.
    pub(super) fn has_arrived(&self, now: Instant) -> bool {
        self.due.front().is_some_and(|(at, _)| *at <= now)
    }

    /// When everything that was written will have arrived.
    pub(super) fn all_arrived_at(&self) -> Instant {
        self.last
    }

    /// Nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// Whether a fault swallowed something, so that what follows must not arrive.
    pub(super) fn is_broken(&self) -> bool {
        self.cut_after == Some(0)
    }

    /// Everything that is on its way is lost.
    pub(super) fn lose(&mut self) {
        self.bytes.clear();
        self.due.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_in_order_and_in_their_time() {
        let at = Instant::from_nanos;
        let mut lane = Lane::new(5);
        let mut into = BytesMut::new();
        assert_eq!(lane.write(b"abc", at(9)), Some(at(9)));
        // Faster, but not past those before it.
        assert_eq!(lane.write(b"de", at(3)), Some(at(9)));
        assert_eq!((lane.room(), lane.take(at(8), &mut into)), (0, None));
        assert_eq!((lane.take(at(9), &mut into), lane.take(at(9), &mut into)), (Some(3), Some(2)));
        assert_eq!((lane.is_empty(), lane.take(at(99), &mut into)), (true, None));
        assert_eq!(&into[..], b"abcde");
    }

    #[test]
    fn a_cut_lets_so_many_bytes_through() {
        let at = Instant::from_nanos;
        let mut lane = Lane::new(100);
        let mut into = BytesMut::new();
        lane.cut_after = Some(4);
        lane.write(b"abc", at(1));
        lane.write(b"def", at(1));
        lane.write(b"ghi", at(1));
        while lane.take(at(1), &mut into).is_some() {}
        assert_eq!((&into[..], lane.is_broken()), (&b"abcd"[..], true));
        lane.hole = true;
        assert_eq!((lane.write(b"x", at(1)), lane.room()), (None, 100));
    }
}
