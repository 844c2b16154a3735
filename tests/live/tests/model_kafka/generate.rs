//! What a dialogue asks next.

use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_core::kafka::wire::{FindCoordinatorRequest, Uuid};
use tidegate_sim::Tape;

use super::ask::{Answer, Ask};
use super::classic::ClassicMember;
use super::consumer::ConsumerMember;
use super::dialogue::Sides;
use super::records::FetchSession;

/// Connections of a dialogue: one for each classic member, as it may have to wait, and more.
const CONNECTIONS: usize = CLASSIC + 2;
/// Classic members at most.
pub const CLASSIC: usize = 3;

/// Topics at most.
const TOPICS: usize = 4;

/// A topic of the dialogue.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Generator {
    pub(super) tape: Tape,
    /// What names begin with.
    name: String,
    left: u32,
    /// How often each kind of request is chosen, of this dialogue.
    weights: [u64; 5],
    pub(super) topics: Vec<Topic>,
    made_topics: usize,
    pub(super) classic: Vec<ClassicMember>,
    pub(super) consumers: Vec<ConsumerMember>,
    /// Members made so far.
    pub(super) made: u64,
    pub(super) sessions: Vec<FetchSession>,
    /// Milliseconds since the Unix epoch; later with each record.
    pub(super) clock: i64,
}

impl Generator {
    /// A dialogue of this many requests. Nothing else has names that begin so.
    pub fn new(mut tape: Tape, name: String, requests: u32) -> Self {
        // Classic, new protocol, offsets, records, coordinators; some of them not at all.
        let weights = [4, 8, 4, 2, 1].map(|most| if tape.below(4) == 0 { 0 } else { 1 + tape.below(most) });
        let classic = (1..=CLASSIC).map(ClassicMember::new).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        Self {
            tape,
            name,
            left: requests,
            weights,
            topics: Vec::new(),
            made_topics: 0,
            classic,
            consumers: Vec::new(),
            made: 0,
            sessions: Vec::new(),
            clock: i64::try_from(now).unwrap() - 1_000_000,
        }
    }

    /// How many connections it talks on.
    pub fn connections(&self) -> usize {
        CONNECTIONS
    }

    /// Makes the first topics on both sides.
    pub fn begin(&mut self, sides: &mut Sides) {
        let topics = (0..1 + self.tape.below(3)).map(|_| 1 + self.below(5)).collect();
        self.create(sides, topics);
    }

    /// Makes another topic, or gives one more partitions, rarely. What is to be said of it.
    pub fn maybe_grow(&mut self, sides: &mut Sides) -> Option<String> {
        if !self.one_in(80) {
            return None;
        }
        if self.made_topics == TOPICS || self.one_in(2) {
            let at = self.index(self.topics.len());
            let topic = &mut self.topics[at];
            topic.partitions += 1;
            sides.real.add_partitions(&topic.name, topic.partitions);
            sides.model.add_partitions(&topic.name, topic.partitions);
            return Some(format!("{} has {} partitions", topic.name, topic.partitions));
        }
        let partitions = 1 + self.below(5);
        self.create(sides, vec![partitions]);
        Some(format!("another topic, of {partitions} partitions"))
    }

    fn create(&mut self, sides: &mut Sides, topics: Vec<i32>) {
        let named = |(at, partitions): (usize, i32)| (self.topic_name(self.made_topics + at), partitions);
        let topics: Vec<(String, i32)> = topics.into_iter().enumerate().map(named).collect();
        self.made_topics += topics.len();
        let ids = sides.real.create_topics(&topics);
        for ((name, partitions), id) in topics.into_iter().zip(ids) {
            sides.model.create_topic(&name, id, partitions);
            // Of two in one slot of a broker's tables, chance says which one comes first.
            if self.topics.iter().any(|one| slot(one.id) == slot(id)) {
                self.left = 0;
            }
            self.topics.push(Topic { name, id, partitions });
        }
    }

    /// All topics that there are, and that may still come.
    pub(super) fn topic_names(&self) -> Vec<String> {
        (0..TOPICS).map(|number| self.topic_name(number)).collect()
    }

    fn topic_name(&self, number: usize) -> String {
        format!("{}-t{number}", self.name)
    }

    /// The next request, and on which connection; `None`: the dialogue is over. `busy`: connections
    /// that wait for an answer.
    pub fn next(&mut self, busy: &[bool]) -> Option<(usize, Ask)> {
        self.left = self.left.checked_sub(1)?;
        let free = [0, CONNECTIONS - 1][self.index(2)];
        let total = self.weights.iter().sum::<u64>().max(1);
        let mut at = self.tape.below(total);
        let kind = self.weights.iter().position(|weight| {
            let here = at < *weight;
            at = at.saturating_sub(*weight);
            here
        });
        Some(match kind.unwrap_or(4) {
            0 => self.classic_ask(busy, free),
            1 => (free, self.consumer_ask()),
            2 => (free, self.offsets_ask()),
            3 => (free, self.records_ask()),
            _ => (free, self.coordinator_ask()),
        })
    }

    /// An answer that both sides gave.
    pub fn answered(&mut self, connection: usize, ask: &Ask, answer: &Answer) {
        match ask {
            Ask::JoinGroup(..) | Ask::SyncGroup(..) | Ask::LeaveGroup(..) => {
                self.classic_answered(connection, ask, answer);
            }
            Ask::ConsumerGroupHeartbeat(..) => self.consumer_answered(ask, answer),
            Ask::Fetch(..) => self.fetch_answered(ask, answer),
            _ => {}
        }
    }

    /// The group of the classic members.
    pub fn classic_group(&self) -> String {
        format!("{}-g", self.name)
    }

    /// The group of the new protocol's members.
    pub fn consumer_group(&self) -> String {
        format!("{}-c", self.name)
    }

    /// A group that has no members.
    pub fn simple_group(&self) -> String {
        format!("{}-s", self.name)
    }

    fn coordinator_ask(&mut self) -> Ask {
        let version = self.version(0, 6);
        let key = [self.classic_group(), self.consumer_group(), self.simple_group()][self.index(3)].clone();
        // Transactions are not modelled.
        let mut request = FindCoordinatorRequest::default();
        if version >= 4 {
            request.coordinator_keys = vec![key, self.simple_group()];
            request.coordinator_keys.truncate(self.index(3));
        } else {
            request.key = key;
        }
        Ask::FindCoordinator(version, request)
    }

    /// Below `bound`.
    pub(super) fn below(&mut self, bound: i32) -> i32 {
        i32::try_from(self.tape.below(u64::try_from(bound).unwrap())).unwrap()
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.tape.below(count) == 0
    }

    pub(super) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.tape.below(count as u64)).unwrap()
    }

    /// Mostly the newest, of these versions.
    pub(super) fn version(&mut self, from: i16, to: i16) -> i16 {
        if self.one_in(2) {
            return to;
        }
        from + i16::try_from(self.tape.below(u64::try_from(to - from).unwrap() + 1)).unwrap()
    }

    pub(super) fn topic(&mut self) -> Topic {
        let at = self.index(self.topics.len());
        self.topics[at].clone()
    }

    /// A topic, or, rarely, one that isn't there.
    pub(super) fn any_topic(&mut self) -> Topic {
        if self.one_in(25) {
            return Topic { name: format!("{}-none", self.name), id: Uuid([9; 16]), partitions: 1 };
        }
        self.topic()
    }

    /// A partition, or, rarely, one that isn't there.
    pub(super) fn partition(&mut self, topic: &Topic) -> i32 {
        if self.one_in(25) { topic.partitions } else { self.below(topic.partitions) }
    }
}

/// Its place in a table of `java.util.HashMap` with 16 slots, as a broker's are.
fn slot(id: Uuid) -> u32 {
    let bits = u128::from_be_bytes(id.0);
    let words = [96, 64, 32, 0].map(|shift| (bits >> shift) as u32);
    let hash = words.into_iter().fold(0, |hash, word| hash ^ word);
    (hash ^ hash >> 16) & 15
}
