//! Which broker coordinates which group.

use tidegate_core::Instant;

/// Who leads one partition of the topic that keeps groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home {
    /// `None` while no broker is there.
    pub(super) node: Option<i32>,
    /// Until then it loads the groups.
    pub(super) loads_until: Instant,
}

/// The partitions of the topic that keeps groups.
///
/// **Invariant:** a group's partition follows from its id alone, on every machine alike.
#[derive(Clone, Debug)]
pub(super) struct Homes(Vec<Home>);

impl Homes {
    /// Led by these brokers in turn.
    pub(super) fn new(nodes: &[i32]) -> Self {
        let home = |node: &i32| Home { node: Some(*node), loads_until: Instant::ZERO };
        Self(nodes.iter().cycle().take(PARTITIONS).map(home).collect())
    }

    pub(super) fn of(&self, group: &str) -> Home {
        let nobody = Home { node: None, loads_until: Instant::ZERO };
        self.0.get(place_of(group)).copied().unwrap_or(nobody)
    }

    /// From now on this broker leads the partition; it loads until then.
    pub(super) fn assign(&mut self, place: usize, home: Home) {
        if let Some(known) = self.0.get_mut(place) {
            *known = home;
        }
    }

    /// Brokers are gone, or there again: where nobody leads, the next one in the order of ids does,
    /// and loads until then. The partitions that this moves.
    pub(super) fn elect(&mut self, alive: &[i32], loads_until: Instant) -> Vec<usize> {
        let mut moved = Vec::new();
        for (place, home) in self.0.iter_mut().enumerate() {
            if home.node.is_some_and(|node| alive.contains(&node)) {
                continue;
            }
            let before = home.node.unwrap_or(0);
            let next = alive.iter().find(|id| **id > before).or(alive.first()).copied();
            if next != home.node {
                *home = Home { node: next, loads_until };
                moved.push(place);
            }
        }
        moved
    }
}

/// A group's partition: Java's hash of its id (`GroupCoordinatorService.partitionFor`).
pub(super) fn place_of(group: &str) -> usize {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    // Java's absolute value of the least number is 0 here.
    usize::try_from(hash.checked_abs().unwrap_or(0)).unwrap_or(0) % PARTITIONS
}

/// `offsets.topic.num.partitions`.
const PARTITIONS: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_kafka() {
        // By Java: `Utils.abs(id.hashCode()) % 50`.
        let places = ["", "a", "billing", "polygenelubricants", "köln"].map(place_of);
        assert_eq!(places, [0, 47, 9, 0, 1]);
    }

    #[test]
    fn who_is_gone_is_followed_by_the_next_and_stays_away() {
        let mut homes = Homes::new(&[1, 2, 3]);
        assert_eq!(homes.of("").node, Some(1));
        let at = Instant::from_nanos(9);
        assert_eq!(homes.elect(&[2, 3], at).len(), 17);
        assert_eq!((homes.of("").node, homes.of("").loads_until), (Some(2), at));
        assert!(homes.elect(&[1, 2, 3], at).is_empty());
        assert_eq!(homes.elect(&[], at).len(), 50);
        assert_eq!(homes.of("").node, None);
        assert_eq!(homes.elect(&[3], at).len(), 50);
        assert_eq!(homes.of("").node, Some(3));
    }
}
