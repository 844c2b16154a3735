//! Which faults come when.

use std::time::Duration;

use tidegate_core::random::Random;
use tidegate_live::Trouble;

use super::{BROKERS, MEMBERS, PRODUCERS};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A member and a broker don't hear each other.
    MemberFromBroker,
    /// The cable of some members is pulled.
    MemberFromAll,
    /// A broker and the other brokers don't hear each other, but all clients hear it and are heard.
    BrokerFromBrokers,
    /// A broker and all members don't hear each other, but the brokers do.
    BrokerFromMembers,
    /// A broker and the producers don't hear each other.
    BrokerFromProducers,
    /// The cable of a broker is pulled.
    BrokerFromAll,
    /// A broker doesn't hear a member, which hears it.
    OneWayToBroker,
    /// A member doesn't hear a broker, which hears it.
    OneWayFromBroker,
    /// The other brokers don't hear one, which hears them.
    OneWayFromOneBroker,
    /// A broker doesn't hear the others, which hear it.
    OneWayToOneBroker,
    /// A broker or some members are far away.
    Slow,
    /// A broker or some members lose packets.
    Lossy,
    /// SIGSTOP of a broker.
    BrokerStops,
    /// SIGSTOP of a member.
    MemberStops,
    /// SIGKILL of a member; another one joins at the end.
    MemberDies,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 15] = [
        Self::MemberFromBroker,
        Self::MemberFromAll,
        Self::BrokerFromBrokers,
        Self::BrokerFromMembers,
        Self::BrokerFromProducers,
        Self::BrokerFromAll,
        Self::OneWayToBroker,
        Self::OneWayFromBroker,
        Self::OneWayFromOneBroker,
        Self::OneWayToOneBroker,
        Self::Slow,
        Self::Lossy,
        Self::BrokerStops,
        Self::MemberStops,
        Self::MemberDies,
    ];
}

/// What has to be done for a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// These troubles of the network.
    Network(Vec<Trouble>),
    /// SIGSTOP of the broker of this number, from 1.
    BrokerStops(usize),
    /// SIGSTOP of a member of this crew; which one, modulo those that run.
    MemberStops { crew: usize, pick: usize },
    /// SIGKILL of one.
    MemberDies { crew: usize, pick: usize },
}

/// A fault and its time, since the beginning.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
    pub(crate) kind: Kind,
    pub(crate) act: Act,
}

/// Faults of these kinds for so long, among so many crews.
pub(crate) fn plan(seed: u64, total: Duration, kinds: &[Kind], crews: usize) -> Vec<Planned> {
    let mut draw = Draw { random: Random::new(seed), deck: Vec::new() };
    let mut plan = Vec::new();
    let mut now = draw.between(1_000, 3_000);
    while now + Duration::from_secs(1) <= total {
        let first = draw.fault(now, total, kinds, crews);
        now = first.until;
        // The second one of two begins while the first one is there.
        let overlap = first.until - first.from;
        if draw.random.below(2) == 0 {
            let from = first.from + draw.between(0, overlap.as_millis() as u64);
            if from + Duration::from_secs(1) <= total {
                let second = draw.fault(from, total, kinds, crews);
                now = now.max(second.until);
                plan.push(second);
            }
        }
        plan.push(first);
        now += draw.between(1_000, 5_000);
    }
    plan.sort_by_key(|fault| fault.from);
    plan
}

/// When which of these faults begins (true) and ends, in order.
pub(crate) fn events<'a>(plan: impl Iterator<Item = &'a Planned>) -> Vec<(Duration, bool, &'a Planned)> {
    let mut events: Vec<_> =
        plan.flat_map(|fault| [(fault.from, true, fault), (fault.until, false, fault)]).collect();
    events.sort_by_key(|(at, ..)| *at);
    events
}

struct Draw {
    random: Random,
    /// The kinds that have not come yet.
    deck: Vec<Kind>,
}

impl Draw {
    fn fault(&mut self, from: Duration, total: Duration, kinds: &[Kind], crews: usize) -> Planned {
        if self.deck.is_empty() {
            self.deck = kinds.to_vec();
        }
        let drawn = self.below(self.deck.len());
        let kind = self.deck.swap_remove(drawn);
        // Half of them are over before anybody is held for dead.
        let most = if self.below(2) == 0 { 4_000 } else { 15_000 };
        let until = (from + self.between(1_000, most)).min(total);
        Planned { from, until, kind, act: self.act(kind, crews) }
    }

    fn act(&mut self, kind: Kind, crews: usize) -> Act {
        let broker = self.below(BROKERS);
        let members = MEMBERS[self.below(MEMBERS.len())];
        let (crew, pick) = (self.below(crews), self.below(1_000));
        let anybody = if self.below(2) == 0 { broker } else { members };
        let others = (0..BROKERS).filter(|&other| other != broker);
        let one_way = |from, to| Trouble::Deaf { from, to };
        let both = |with: usize| [one_way(broker, with), one_way(with, broker)];
        match kind {
            Kind::MemberFromBroker => Act::Network(both(members).into()),
            Kind::MemberFromAll => Act::Network(vec![Trouble::Unplugged(members)]),
            Kind::BrokerFromBrokers => Act::Network(others.flat_map(both).collect()),
            Kind::BrokerFromMembers => Act::Network(MEMBERS.into_iter().flat_map(both).collect()),
            Kind::BrokerFromProducers => Act::Network(both(PRODUCERS).into()),
            Kind::BrokerFromAll => Act::Network(vec![Trouble::Unplugged(broker)]),
            Kind::OneWayToBroker => Act::Network(vec![one_way(members, broker)]),
            Kind::OneWayFromBroker => Act::Network(vec![one_way(broker, members)]),
            Kind::OneWayFromOneBroker => Act::Network(others.map(|other| one_way(broker, other)).collect()),
            Kind::OneWayToOneBroker => Act::Network(others.map(|other| one_way(other, broker)).collect()),
            Kind::Slow => Act::Network(vec![Trouble::Slow(anybody)]),
            Kind::Lossy => Act::Network(vec![Trouble::Lossy(anybody)]),
            Kind::BrokerStops => Act::BrokerStops(broker + 1),
            Kind::MemberStops => Act::MemberStops { crew, pick },
            Kind::MemberDies => Act::MemberDies { crew, pick },
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    /// A time in milliseconds.
    fn between(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.random.below(most - least + 1))
    }
}
