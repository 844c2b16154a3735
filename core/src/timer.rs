//! Deadlines: one per kind in a flat array, and the wake that they ask for.
//!
//! A machine has a handful of timers and looks at all of them: an array is faster than a heap,
//! and setting a timer twice leaves nothing behind.
//!
//! **Invariant:** a timer that expired is cleared, so it fires once for each time it is set.

use std::marker::PhantomData;

use crate::time::Instant;

/// When to wake a machine, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wake {
    /// When; never before it would do something.
    pub at: Instant,
    /// Why, in a word or two, for traces.
    pub why: &'static str,
}

impl Wake {
    /// The earlier of two; the first one if both are at the same time.
    pub fn earlier(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) if other.at < one.at => Some(other),
            (one, other) => one.or(other),
        }
    }
}

/// The kinds of timers of one machine: a fieldless enum.
pub trait Kind: Copy + 'static {
    /// All of them. Of two that expire at once the earlier here goes first.
    const ALL: &'static [Self];
    /// Its place in the array, different for each: `self as usize`.
    fn index(self) -> usize;
    /// What a wake for it is called.
    fn why(self) -> &'static str;
}

/// One deadline for each kind. `N` is at least the number of kinds; what is past it never fires.
#[derive(Clone, Debug)]
pub struct Timers<K, const N: usize> {
    at: [Option<Instant>; N],
    kinds: PhantomData<K>,
}

impl<K: Kind, const N: usize> Default for Timers<K, N> {
    fn default() -> Self {
        Self { at: [None; N], kinds: PhantomData }
    }
}

impl<K: Kind, const N: usize> Timers<K, N> {
    /// None is set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a timer, whether it was set or not.
    pub fn set(&mut self, kind: K, at: Instant) {
        if let Some(place) = self.at.get_mut(kind.index()) {
            *place = Some(at);
        }
    }

    /// Clears a timer, whether it was set or not.
    pub fn clear(&mut self, kind: K) {
        if let Some(place) = self.at.get_mut(kind.index()) {
            *place = None;
        }
    }

    /// When a timer expires, if it is set.
    pub fn get(&self, kind: K) -> Option<Instant> {
        self.at.get(kind.index()).copied().flatten()
    }

    /// The timer that expired first, if one has; it is cleared. Call it until `None`.
    pub fn poll_expired(&mut self, now: Instant) -> Option<K> {
        let (_, kind) = self.first().filter(|(at, _)| *at <= now)?;
        self.clear(kind);
        Some(kind)
    }

    /// The timer that expires next.
    pub fn next_wake(&self) -> Option<Wake> {
        self.first().map(|(at, kind)| Wake { at, why: kind.why() })
    }

    fn first(&self) -> Option<(Instant, K)> {
        K::ALL.iter().filter_map(|&kind| Some((self.get(kind)?, kind))).min_by_key(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Both {
        First,
        Second,
    }

    impl Kind for Both {
        const ALL: &'static [Self] = &[Self::First, Self::Second];
        fn index(self) -> usize {
            self as usize
        }
        fn why(self) -> &'static str {
            match self {
                Self::First => "first",
                Self::Second => "second",
            }
        }
    }

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn expires_once_and_in_order() {
        let mut timers = Timers::<Both, 2>::new();
        assert_eq!(timers.next_wake(), None);
        timers.set(Both::First, at(9));
        timers.set(Both::Second, at(5));
        assert_eq!(timers.next_wake(), Some(Wake { at: at(5), why: "second" }));
        assert_eq!(timers.poll_expired(at(4)), None);
        assert_eq!(timers.poll_expired(at(9)), Some(Both::Second));
        assert_eq!(timers.poll_expired(at(9)), Some(Both::First));
        assert_eq!(timers.poll_expired(Instant::MAX), None);
        timers.set(Both::Second, at(5));
        timers.set(Both::First, at(5));
        assert_eq!(timers.poll_expired(at(5)), Some(Both::First));
        timers.clear(Both::Second);
        assert_eq!((timers.next_wake(), timers.get(Both::Second)), (None, None));
    }

    #[test]
    fn what_has_no_place_never_fires() {
        let mut timers = Timers::<Both, 1>::new();
        timers.set(Both::Second, at(0));
        assert_eq!(timers.poll_expired(Instant::MAX), None);
    }

    #[test]
    fn the_earlier_wake_wins() {
        let wake = |nanos, why| Some(Wake { at: at(nanos), why });
        assert_eq!(Wake::earlier(None, None), None);
        assert_eq!(Wake::earlier(wake(2, "a"), None), wake(2, "a"));
        assert_eq!(Wake::earlier(None, wake(2, "b")), wake(2, "b"));
        assert_eq!(Wake::earlier(wake(2, "a"), wake(1, "b")), wake(1, "b"));
        assert_eq!(Wake::earlier(wake(2, "a"), wake(2, "b")), wake(2, "a"));
    }
}
