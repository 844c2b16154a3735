//! Round robin: one deck, dealt in turn.

use super::share::{NOBODY, collect};
use super::world::World;
use super::{AssignError, Assignor, Member, MemberAssignment, Topic};

/// All partitions of all topics, by topic and number, dealt to the members in turn; members that
/// don't subscribe to a topic are passed over, and not made up to. As Apache Kafka's
/// `RoundRobinAssignor`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundRobin;

impl RoundRobin {
    /// Its name.
    pub const NAME: &'static str = "roundrobin";
}

impl Assignor for RoundRobin {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn assign<'a>(
        &self,
        topics: &'a [Topic],
        members: &'a [Member],
    ) -> Result<Vec<MemberAssignment<'a>>, AssignError> {
        let world = World::new(topics, members)?;
        let mut owners = vec![NOBODY; world.partition_count()];
        // The first member whose turn it may be.
        let mut turn = 0u32;
        for topic in 0..world.topics.len() {
            let subscribers = world.subscribers(topic);
            let mut at = subscribers.partition_point(|member| *member < turn);
            for owner in &mut owners[world.partitions(topic)] {
                let Some(member) = subscribers.get(at).or(subscribers.first()) else { break };
                *owner = *member;
                turn = *member + 1;
                at = if at < subscribers.len() { at + 1 } else { 1 };
            }
        }
        Ok(collect(&world, &owners))
    }
}
