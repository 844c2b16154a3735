//! Flows at least cost: how the sticky assignors move partitions about.
//!
//! What nodes supply flows along arcs to where there is room, as much as can and, of that, as
//! cheaply as can. The cheapest ways are taken first (successive shortest paths with potentials:
//! Ford and Fulkerson 1962, Edmonds and Karp 1972), all ways of one length at once (blocking
//! flows: Dinic 1970), so there are as many rounds as there are lengths, and few of those.
//!
//! Proved, for indexing here: arcs are numbers that [`Network::add`] gave, in pairs, and what
//! lists arcs and nodes (`order`, ways, queues) has no others. Nodes are below the count that the
//! network was made with, as its users number them from 0 without gaps.
//!
//! **Invariant:** work stops when a [`Patience`] is at its end. What flowed until then is a valid
//! flow, though not the largest or cheapest.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// How many steps all flows of one assignment may take together: a step looks at an arc.
#[derive(Debug)]
pub(super) struct Patience(u64);

impl Patience {
    /// For an input of so many subscriptions and partitions. A million partitions and two
    /// thousand members took up to 25 steps for each; the worst that is known, where surplus
    /// must be passed on along a chain of thousands of members that each share a topic with the
    /// next, is small, and covered by the constant: a few tenths of a second.
    pub(super) fn new(size: usize) -> Self {
        Self(100_000_000 + 200 * size as u64)
    }

    #[cfg(test)]
    pub(super) fn of(steps: u64) -> Self {
        Self(steps)
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> u64 {
        self.0
    }

    fn take(&mut self, steps: usize) {
        self.0 = self.0.saturating_sub(steps as u64);
    }

    fn is_over(&self) -> bool {
        self.0 == 0
    }
}

/// The capacity of an arc without a limit: more than all partitions.
pub(super) const ENDLESS: u32 = u32::MAX / 2;

const UNREACHED: u32 = u32::MAX;

/// A graph with a flow in it. Arcs are added first; then [`Network::run`].
pub(super) struct Network {
    /// Arcs in pairs: `2 n` as it was added, `2 n + 1` back, which holds what flows.
    heads: Vec<u32>,
    capacities: Vec<u32>,
    /// One a pair; back it is the negative.
    costs: Vec<i64>,
    supply: Vec<u32>,
    room: Vec<u32>,
    /// The length of the cheapest way from any supply, and to any room.
    potentials: Vec<i64>,
    target: i64,
    /// Arcs by the node that they leave, once frozen: those of node `n` are
    /// `order[first[n]..first[n + 1]]`.
    order: Vec<u32>,
    first: Vec<u32>,
    levels: Vec<u32>,
    cursors: Vec<u32>,
}

impl Network {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            heads: Vec::new(),
            capacities: Vec::new(),
            costs: Vec::new(),
            supply: vec![0; nodes],
            room: vec![0; nodes],
            potentials: vec![0; nodes],
            target: 0,
            order: Vec::new(),
            first: Vec::new(),
            levels: vec![UNREACHED; nodes],
            cursors: vec![0; nodes],
        }
    }

    /// Adds an arc and gives its number. Nodes are below those of [`Network::new`]; the cost is
    /// not below 0.
    pub(super) fn add(&mut self, from: usize, to: usize, capacity: u32, cost: i64) -> usize {
        let arc = self.heads.len();
        self.heads.extend([to as u32, from as u32]);
        self.capacities.extend([capacity, 0]);
        self.costs.push(cost);
        arc
    }

    /// The node has so much that must go somewhere.
    pub(super) fn supply(&mut self, node: usize, amount: u32) {
        self.supply[node] = amount;
    }

    /// So much more may end at the node. What was there to be had before comes first: room that
    /// is given after a run counts as worse than all that was before.
    pub(super) fn widen(&mut self, node: usize, amount: u32) {
        self.room[node] += amount;
    }

    /// What flows through an arc.
    pub(super) fn flow(&self, arc: usize) -> u32 {
        self.capacities[arc ^ 1]
    }

    /// After a run without costs: whether what was left over could get to this node, if no
    /// further.
    pub(super) fn reached(&self, node: usize) -> bool {
        self.levels[node] != UNREACHED
    }

    /// Lets flow what can. True: all that can, at least cost; false: patience ended before.
    pub(super) fn run(&mut self, patience: &mut Patience) -> bool {
        if self.first.is_empty() {
            self.freeze();
        }
        let open = self.room.iter().zip(&self.potentials).filter(|(room, _)| **room > 0);
        self.target = open.map(|(_, potential)| *potential).min().unwrap_or(0);
        loop {
            while self.level(patience) {
                self.block(patience);
            }
            if patience.is_over() {
                return false;
            }
            if !self.reprice(patience) {
                return true;
            }
        }
    }

    fn freeze(&mut self) {
        let nodes = self.supply.len();
        self.first = vec![0; nodes + 1];
        for arc in 0..self.heads.len() {
            self.first[self.heads[arc ^ 1] as usize + 1] += 1;
        }
        for node in 0..nodes {
            self.first[node + 1] += self.first[node];
        }
        let mut next = self.first.clone();
        self.order = vec![0; self.heads.len()];
        for arc in 0..self.heads.len() {
            let at = &mut next[self.heads[arc ^ 1] as usize];
            self.order[*at as usize] = arc as u32;
            *at += 1;
        }
    }

    /// What an arc costs beyond what the potentials explain: never below 0 where it has room.
    fn reduced(&self, arc: usize, from: usize) -> i64 {
        let cost = self.costs[arc / 2];
        let cost = if arc.is_multiple_of(2) { cost } else { -cost };
        cost + self.potentials[from] - self.potentials[self.heads[arc] as usize]
    }

    fn is_end(&self, node: usize) -> bool {
        self.room[node] > 0 && self.potentials[node] == self.target
    }

    /// Counts how many arcs each node is away from supply, along the cheapest ways. Whether there
    /// is anything to do.
    fn level(&mut self, patience: &mut Patience) -> bool {
        self.levels.fill(UNREACHED);
        let mut queue = VecDeque::new();
        for (node, supply) in self.supply.iter().enumerate() {
            if *supply > 0 {
                self.levels[node] = 0;
                queue.push_back(node);
            }
        }
        let mut found = false;
        while let Some(node) = queue.pop_front() {
            found |= self.is_end(node);
            let arcs = self.first[node] as usize..self.first[node + 1] as usize;
            patience.take(arcs.len() + 1);
            for at in arcs {
                let arc = self.order[at] as usize;
                let head = self.heads[arc] as usize;
                if self.levels[head] == UNREACHED && self.capacities[arc] > 0 && self.reduced(arc, node) == 0
                {
                    self.levels[head] = self.levels[node] + 1;
                    queue.push_back(head);
                }
            }
        }
        found && !patience.is_over()
    }

    /// Fills the ways that [`Network::level`] found until each has an arc that is full.
    fn block(&mut self, patience: &mut Patience) {
        self.cursors.copy_from_slice(&self.first[..self.supply.len()]);
        let mut way: Vec<usize> = Vec::new();
        for source in 0..self.supply.len() {
            way.clear();
            let mut node = source;
            while self.supply[source] > 0 && !patience.is_over() {
                patience.take(1);
                if self.is_end(node) {
                    self.send(source, node, &way);
                    patience.take(way.len());
                    // Go on from where the first arc is full.
                    let full = way.iter().position(|arc| self.capacities[*arc] == 0);
                    if let Some(full) = full {
                        node = self.heads[way[full] ^ 1] as usize;
                        way.truncate(full);
                    }
                    continue;
                }
                let cursor = self.cursors[node];
                if cursor < self.first[node + 1] {
                    let arc = self.order[cursor as usize] as usize;
                    let head = self.heads[arc] as usize;
                    if self.capacities[arc] > 0
                        && self.levels[head] == self.levels[node].wrapping_add(1)
                        && self.reduced(arc, node) == 0
                    {
                        way.push(arc);
                        node = head;
                    } else {
                        self.cursors[node] += 1;
                    }
                } else {
                    // A dead end: back, and past the arc that led here.
                    let Some(arc) = way.pop() else { break };
                    node = self.heads[arc ^ 1] as usize;
                    self.cursors[node] += 1;
                }
            }
        }
    }

    fn send(&mut self, source: usize, end: usize, way: &[usize]) {
        let narrowest = way.iter().map(|arc| self.capacities[*arc]).min().unwrap_or(ENDLESS);
        let amount = narrowest.min(self.supply[source]).min(self.room[end]);
        self.supply[source] -= amount;
        self.room[end] -= amount;
        for arc in way {
            self.capacities[*arc] -= amount;
            self.capacities[*arc ^ 1] += amount;
        }
    }

    /// Finds the next longer ways (Dijkstra 1959). False: there are none.
    fn reprice(&mut self, patience: &mut Patience) -> bool {
        const FAR: i64 = i64::MAX;
        let mut lengths = vec![FAR; self.supply.len()];
        let mut queue = BinaryHeap::new();
        for (node, supply) in self.supply.iter().enumerate() {
            if *supply > 0 {
                lengths[node] = 0;
                queue.push(Reverse((0, node)));
            }
        }
        let mut nearest = FAR;
        while let Some(Reverse((length, node))) = queue.pop() {
            if length >= nearest {
                break;
            }
            if length > lengths[node] {
                continue;
            }
            if self.room[node] > 0 {
                nearest = nearest.min(length + self.potentials[node] - self.target);
            }
            let arcs = self.first[node] as usize..self.first[node + 1] as usize;
            patience.take(arcs.len() + 1);
            for at in arcs {
                let arc = self.order[at] as usize;
                if self.capacities[arc] == 0 {
                    continue;
                }
                let head = self.heads[arc] as usize;
                let longer = length + self.reduced(arc, node);
                if longer < lengths[head] {
                    lengths[head] = longer;
                    queue.push(Reverse((longer, head)));
                }
            }
        }
        if nearest == FAR {
            return false;
        }
        for (potential, length) in self.potentials.iter_mut().zip(&lengths) {
            *potential += (*length).min(nearest);
        }
        self.target += nearest;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// All ways to send units one by one, searched exhaustively (Bellman and Ford for each unit).
    fn plainly(nodes: usize, arcs: &[(usize, usize, u32, i64)], supply: &[u32], room: &[u32]) -> (u32, i64) {
        let (source, sink) = (nodes, nodes + 1);
        let mut all: Vec<(usize, usize, u32, i64)> = Vec::new();
        let mut add = |from, to, capacity, cost: i64| {
            all.push((from, to, capacity, cost));
            all.push((to, from, 0, -cost));
        };
        arcs.iter().for_each(|(from, to, capacity, cost)| add(*from, *to, *capacity, *cost));
        supply.iter().enumerate().for_each(|(node, amount)| add(source, node, *amount, 0));
        room.iter().enumerate().for_each(|(node, amount)| add(node, sink, *amount, 0));
        let (mut sent, mut paid) = (0, 0);
        loop {
            let mut best = vec![(i64::MAX / 2, usize::MAX); nodes + 2];
            best[source].0 = 0;
            for _ in 0..nodes + 2 {
                for (at, (from, to, capacity, cost)) in all.iter().enumerate() {
                    if *capacity > 0 && best[*from].0 < i64::MAX / 2 && best[*from].0 + cost < best[*to].0 {
                        best[*to] = (best[*from].0 + cost, at);
                    }
                }
            }
            if best[sink].0 >= i64::MAX / 2 {
                return (sent, paid);
            }
            sent += 1;
            paid += best[sink].0;
            let mut node = sink;
            while node != source {
                let at = best[node].1;
                all[at].2 -= 1;
                all[at ^ 1].2 += 1;
                node = all[at].0;
            }
        }
    }

    #[test]
    fn flows_as_much_and_as_cheaply_as_the_plain_search() {
        let mut random = Random::new(1);
        let mut below = |bound: u64| random.below(bound);
        for case in 0..2_000 {
            let nodes = 2 + below(7) as usize;
            let arcs: Vec<_> = (0..below(25))
                .map(|_| {
                    (
                        below(nodes as u64) as usize,
                        below(nodes as u64) as usize,
                        below(5) as u32,
                        below(4) as i64,
                    )
                })
                .collect();
            let supply: Vec<u32> =
                (0..nodes).map(|_| below(3).saturating_sub(1) as u32 * below(6) as u32).collect();
            let room: Vec<u32> =
                (0..nodes).map(|_| below(3).saturating_sub(1) as u32 * below(6) as u32).collect();
            let mut network = Network::new(nodes);
            for (from, to, capacity, cost) in &arcs {
                network.add(*from, *to, *capacity, *cost);
            }
            for node in 0..nodes {
                network.supply(node, supply[node]);
                network.widen(node, room[node]);
            }
            assert!(network.run(&mut Patience::new(0)));
            let sent: u32 = supply.iter().sum::<u32>() - network.supply.iter().sum::<u32>();
            let paid: i64 = (0..arcs.len()).map(|arc| i64::from(network.flow(2 * arc)) * arcs[arc].3).sum();
            assert_eq!((sent, paid), plainly(nodes, &arcs, &supply, &room), "case {case}");
        }
    }

    #[test]
    fn stops_when_patience_ends_and_goes_on_with_more() {
        let mut network = Network::new(2);
        let arc = network.add(0, 1, 5, 0);
        network.supply(0, 5);
        network.widen(1, 5);
        assert!(!network.run(&mut Patience::of(0)));
        assert_eq!(network.flow(arc), 0);
        assert!(network.run(&mut Patience::of(100)));
        assert_eq!(network.flow(arc), 5);
    }
}
