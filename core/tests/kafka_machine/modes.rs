//! Options of each mode and protocol.

use tidegate_core::{AssignorKind, ConsumerMode, ConsumerOptions, GroupProtocol, KafkaOptions};

use super::world::group;

pub fn classic() -> ConsumerOptions {
    group().kafka(KafkaOptions::default().protocol(GroupProtocol::Classic))
}

pub fn cooperative() -> ConsumerOptions {
    let kafka =
        KafkaOptions::default().protocol(GroupProtocol::Classic).assignors([AssignorKind::CooperativeSticky]);
    group().kafka(kafka)
}

pub fn newer() -> ConsumerOptions {
    group().kafka(KafkaOptions::default().protocol(GroupProtocol::Consumer))
}

pub fn resumable() -> ConsumerOptions {
    ConsumerOptions::new(ConsumerMode::Resumable)
}
