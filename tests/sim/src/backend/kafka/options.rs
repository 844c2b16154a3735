//! What only Kafka's consumers have, drawn from the tape.

use std::time::Duration;

use tidegate_core::{AssignorKind, ConsumerMode, GroupProtocol, Isolation, KafkaOptions, Reset};

use crate::kafka::Release;
use crate::swarm::{Role, Swarm};
use crate::tape::Tape;

/// Makes a swarm one of Kafka's: topics with partitions, and each role with options of its own.
pub(super) fn refine(swarm: &mut Swarm, tape: &mut Tape) {
    for (_, partitions) in &mut swarm.streams {
        *partitions = [1, 1, 2, 3, 4, 6][tape.below(6) as usize];
    }
    for role in &mut swarm.roles {
        refine_role(role, tape);
    }
}

/// What brokers may run: old ones where nobody needs what is new (KIP-848), and one rule about
/// commits where somebody does.
pub(super) fn releases(swarm: &Swarm) -> Vec<Release> {
    let classic = |role: &Role| {
        role.mode != ConsumerMode::LoadBalanced || role.options.kafka.protocol == GroupProtocol::Classic
    };
    match swarm.roles.iter().all(classic) {
        true => vec![Release::V4_3, Release::V4_2, Release::V3_7, Release::V2_8],
        false => vec![Release::V4_3, Release::V4_2],
    }
}

fn refine_role(role: &mut Role, tape: &mut Tape) {
    let ms = Duration::from_millis;
    let mut kafka = KafkaOptions::default();
    kafka.protocol =
        [GroupProtocol::Classic, GroupProtocol::Consumer, GroupProtocol::Auto][tape.below(3) as usize];
    kafka.assignors = match tape.below(6) {
        0 => vec![AssignorKind::Range],
        1 => vec![AssignorKind::RoundRobin],
        2 => vec![AssignorKind::Sticky],
        3 | 4 => vec![AssignorKind::CooperativeSticky],
        _ => KafkaOptions::default().assignors,
    };
    if tape.chance(4_000) {
        kafka.isolation = Isolation::ReadCommitted;
    }
    kafka.reset = match tape.below(10) {
        0 => Some(Reset::Earliest),
        1 => Some(Reset::Latest),
        2 => Some(Reset::ByDuration(ms(tape.within(1, 20_000)))),
        _ => None,
    };
    kafka.session_timeout = ms([6_000, 10_000, 3_000][tape.below(3) as usize]);
    kafka.heartbeat_interval = kafka.session_timeout / [3, 6][tape.below(2) as usize];
    kafka.rebalance_timeout = ms([15_000, 5_000, 60_000][tape.below(3) as usize]);
    kafka.metadata_age = ms([300_000, 2_000, 10_000][tape.below(3) as usize]);
    kafka.fetch_min_bytes = [1, 1, 400][tape.below(3) as usize];
    kafka.fetch_max_wait = ms([500, 50, 2_000][tape.below(3) as usize]);
    kafka.fetch_bytes_max = [8 << 20, 3_000][tape.below(2) as usize];
    kafka.partition_bytes_max = [1 << 20, 500][tape.below(2) as usize].min(kafka.fetch_bytes_max);
    kafka.fetch_min_bytes = kafka.fetch_min_bytes.min(kafka.fetch_bytes_max);
    if role.mode == ConsumerMode::LoadBalanced && tape.chance(2_000) {
        // Named by the world, each member another.
        (role.named, kafka.instance) = (true, Some("static".into()));
    }
    if tape.chance(3_000) {
        kafka.rack = Some(["west", "east", "elsewhere"][tape.below(3) as usize].into());
    }
    if tape.chance(500) {
        kafka.commit_metadata = Some("from the simulator".into());
    }
    role.options.kafka = kafka;
}
