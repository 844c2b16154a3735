//! Who reads what: the partition assignors of classic consumer groups.
//!
//! # Theory of operation
//!
//! In a classic group one member, the leader, hears what all members subscribe to and own, and
//! says who reads which partition. An [`Assignor`] is that decision as a function: topics and
//! members in, one [`MemberAssignment`] a member out. It keeps no state; what the sticky ones
//! must know of the past is in [`Member::owned`].
//!
//! | | |
//! |---|---|
//! | [`Range`] | topic by topic, runs of neighbours; same-sized topics side by side; racks (KIP-881) |
//! | [`RoundRobin`] | all partitions of all topics, dealt in turn |
//! | [`Sticky`] | balanced, racks, and then as few moves as can be |
//! | [`CooperativeSticky`] | the same; what moves is withheld until its owner let go (KIP-429) |
//!
//! [`Range`] and [`RoundRobin`] answer exactly as Apache Kafka's own, so that it doesn't matter
//! whose client leads. The sticky ones solve the same task in another way: Kafka's search stops
//! where no single move helps, or never (where subscriptions differ, a partition may go back and
//! forth: librdkafka#4783, and Apache Kafka 4.3.1 too); here balance is the best there is, and
//! moves the fewest that it can be had with (see the private modules `levels` and `moves`).
//!
//! All of them look at the world in one canonical order ([`Topic`]s by name, [`Member`]s by
//! `group.instance.id`, then by id, both as Java compares strings), so the answer depends on
//! what there is and not on how it was listed.
//!
//! A leader's way: topics from metadata, members from their subscriptions, each completed by
//! [`sticky_data::recall`](crate::kafka::sticky_data::recall); then [`Assignor::assign`], and what
//! [`MemberAssignment::topics`] lists goes into each member's assignment.
//!
//! Costs: O((subscriptions + partitions) log topics) for range and round robin, and for sticky
//! where all members subscribe to the same; else a few flows through a network with an arc for
//! each (subscription, topic) and each (member, topic) owned, whose steps are bounded. Memory:
//! some 25 bytes a partition, and where flows are needed some 50 an arc.
//!
//! **Invariant:** each partition of a topic that somebody subscribes to is assigned once, to a
//! subscriber; the cooperative one may withhold those whose owner changes, and no others.
//!
//! **Invariant:** same topics and members, in whatever order: same answer.
//!
//! **Invariant:** no topics and no members, however wrong, make it panic, or work longer than
//! their size and [`PARTITIONS_MAX`] explain. What is wrong (partitions below 0 or past the
//! last, topics that don't exist) is as if it weren't there.
//!
//! **Invariant:** no bytes: [`Member::user_data`] is carried for assignors of others, and none
//! of these looks into it.

mod levels;
mod moves;
mod network;
mod own;
mod racks;
mod range;
mod round_robin;
mod share;
mod sticky;
mod world;

pub use own::OwnAssignor;
pub(crate) use own::{LeftOut, vetted};
pub use range::Range;
pub use round_robin::RoundRobin;
pub use share::MemberAssignment;
pub use sticky::{CooperativeSticky, Sticky};

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;

/// The most partitions that are assigned at once, over all topics. Apache Kafka's own limit for
/// a cluster is lower; this one keeps memory bounded where metadata lies.
pub const PARTITIONS_MAX: usize = 1 << 24;

/// One member of the group, as its subscription tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// The member id that the coordinator gave. Of several members with one id, which no
    /// coordinator has, the one of the highest generation counts.
    pub id: String,
    /// `group.instance.id`, if its membership is static (KIP-345).
    pub instance: Option<String>,
    /// Where it runs (`client.rack`, KIP-881). An empty one is none.
    pub rack: Option<String>,
    /// What it subscribes to. Topics that don't exist, and repetitions, are ignored.
    pub topics: Vec<String>,
    /// What it owned as it joined, by topic: matters to the sticky assignors alone. Which part
    /// of the subscription tells it is said by [`Assignor::memory`].
    pub owned: Vec<(String, Vec<i32>)>,
    /// The generation in which it owned them; -1 if unknown, which is older than all others.
    pub generation: i32,
    /// The subscription's user data, as it came. No assignor of this crate looks at it.
    pub user_data: Bytes,
}

impl Member {
    /// A dynamic member without a rack or a past.
    pub fn new(id: impl Into<String>, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            id: id.into(),
            instance: None,
            rack: None,
            topics: topics.into_iter().map(Into::into).collect(),
            owned: Vec::new(),
            generation: -1,
            user_data: Bytes::new(),
        }
    }
}

/// A topic, as far as assignment needs it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic {
    /// Its name. Of several with one name the one with most partitions counts.
    pub name: String,
    /// How many partitions it has; they are numbered from 0. Below 0 is none.
    pub partitions: i32,
    /// The racks of each partition's replicas, online or not, by the partition's number, in any
    /// order. Empty, or too short: unknown, which matches no rack. Needed only if some member
    /// has a rack.
    pub racks: Vec<Vec<Arc<str>>>,
}

impl Topic {
    /// A topic of which no racks are known.
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self { name: name.into(), partitions, racks: Vec::new() }
    }
}

/// How members of a group go from one assignment to the next (KIP-429).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RebalanceProtocol {
    /// Everything is let go before joining.
    Eager,
    /// Members keep what they have while they join, and let go what the new assignment lacks.
    Cooperative,
}

/// How a member tells the leader what it owns: what the subscription's user data is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Memory {
    /// The assignor doesn't ask. Its user data is [`Assignor::user_data`]'s.
    None,
    /// The subscription's own fields tell, from version 1 (owned partitions) and 2 (generation)
    /// on; the user data has the generation for older ones.
    Fields,
    /// The user data has the previous assignment and its generation, as the eager protocol has
    /// let everything go by then, and the fields are empty.
    UserData,
}

/// A strategy, by the name that all members of a group must have in common. One's own goes into
/// an [`OwnAssignor`].
///
/// It is called while a machine handles an event, so it must not wait; and it must be a function of
/// what it is given, or a replay differs from what was recorded. What is wrong in the answer of one's
/// own is left out, and told by [`Notice::LeftOut`](crate::Notice::LeftOut): members that there are
/// not, partitions that there are not, that are assigned already, or whose topic the member doesn't
/// subscribe to. Members that are missing in it read nothing.
pub trait Assignor: Debug + Send + Sync {
    /// The name on the wire, as in `partition.assignment.strategy`.
    fn name(&self) -> &str;

    /// [`RebalanceProtocol::Cooperative`]: able to do that, and eager too. A member goes the
    /// cooperative way only if all its assignors can. One's own needn't care for what others still
    /// own: that is withheld from its answer until it was let go, and then it is asked again. It has
    /// to give the same answer then, so it should not shuffle.
    fn protocol(&self) -> RebalanceProtocol {
        RebalanceProtocol::Eager
    }

    /// Where [`Member::owned`] and [`Member::generation`] are to be read from, and written to.
    fn memory(&self) -> Memory {
        Memory::None
    }

    /// User data for a subscription to these topics, where [`Assignor::memory`] is
    /// [`Memory::None`]; the leader gets it as [`Member::user_data`].
    fn user_data(&self, topics: &[String]) -> Bytes {
        let _ = topics;
        Bytes::new()
    }

    /// Decides: one answer a member, ordered by member id. Total: an error says only that there
    /// is too much.
    ///
    /// # Errors
    ///
    /// [`AssignError::TooManyPartitions`].
    fn assign<'a>(
        &self,
        topics: &'a [Topic],
        members: &'a [Member],
    ) -> Result<Vec<MemberAssignment<'a>>, AssignError>;
}

/// The assignor of this name: `range`, `roundrobin`, `sticky` or `cooperative-sticky`.
pub fn by_name(name: &str) -> Option<Arc<dyn Assignor>> {
    match name {
        Range::NAME => Some(Arc::new(Range)),
        RoundRobin::NAME => Some(Arc::new(RoundRobin)),
        Sticky::NAME => Some(Arc::new(Sticky)),
        CooperativeSticky::NAME => Some(Arc::new(CooperativeSticky)),
        _ => None,
    }
}

/// Why nothing was assigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignError {
    /// More than [`PARTITIONS_MAX`].
    #[error(
        "the topics have {partitions} partitions together, of which {PARTITIONS_MAX} can be \
         assigned at once: subscribe to fewer topics"
    )]
    TooManyPartitions {
        /// How many there are.
        partitions: u64,
    },
}
