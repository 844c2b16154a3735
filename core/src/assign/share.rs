//! One member's part of the answer.

use super::world::World;

/// What one member is to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberAssignment<'a> {
    member: &'a str,
    /// Topics with where their run in `partitions` ends: a million partitions are a few
    /// allocations a member, and not one a topic.
    topics: Vec<(&'a str, usize)>,
    partitions: Vec<i32>,
}

impl<'a> MemberAssignment<'a> {
    /// Nothing, for this member id.
    pub fn new(member: &'a str) -> Self {
        Self { member, topics: Vec::new(), partitions: Vec::new() }
    }

    /// Adds a partition. Those of one topic come after each other: a topic that comes back after
    /// another is listed twice.
    pub fn push(&mut self, topic: &'a str, partition: i32) {
        self.partitions.push(partition);
        let end = self.partitions.len();
        match self.topics.last_mut() {
            Some((last, run)) if *last == topic => *run = end,
            _ => self.topics.push((topic, end)),
        }
    }

    /// The member id.
    pub fn member(&self) -> &'a str {
        self.member
    }

    /// The topics of which it reads anything, each with the numbers of the partitions. The
    /// assignors of this crate list both in ascending order.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = (&'a str, &[i32])> + Clone {
        let mut start = 0;
        self.topics.iter().map(move |&(topic, end)| {
            // Proved: ends ascend, and the last is the length.
            let run = &self.partitions[start..end];
            start = end;
            (topic, run)
        })
    }

    /// How many partitions it reads.
    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// It stands by.
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }
}

/// Nobody's, in an array of owners.
pub(super) const NOBODY: u32 = u32::MAX;

/// The answer, from the owner of each partition: a member's place in the world, or [`NOBODY`].
pub(super) fn collect<'a>(world: &World<'a>, owners: &[u32]) -> Vec<MemberAssignment<'a>> {
    let mut counts = vec![0usize; world.members.len()];
    for owner in owners {
        if let Some(count) = counts.get_mut(*owner as usize) {
            *count += 1;
        }
    }
    let mut answer: Vec<_> = world.members.iter().map(|member| MemberAssignment::new(&member.id)).collect();
    for (assignment, count) in answer.iter_mut().zip(counts) {
        assignment.partitions.reserve_exact(count);
    }
    for (topic, view) in world.topics.iter().enumerate() {
        for (partition, owner) in owners[world.partitions(topic)].iter().enumerate() {
            let Some(assignment) = answer.get_mut(*owner as usize) else { continue };
            // Not `push`: whether it is the same topic is seen by where it lies, not by reading it.
            assignment.partitions.push(partition as i32);
            let end = assignment.partitions.len();
            match assignment.topics.last_mut() {
                Some((last, run)) if std::ptr::eq(*last, view.name) => *run = end,
                _ => assignment.topics.push((view.name, end)),
            }
        }
    }
    answer.sort_unstable_by(|one, other| one.member.cmp(other.member));
    answer
}
