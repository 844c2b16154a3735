//! What members of a classic group tell their leader, as any bytes, through its assignor.
//!
//! **Input:** which assignor; a tape: topics, then members, each of which has a subscription as a
//! value, or damaged, or any bytes.

use bytes::Bytes;
use tidegate_core::assign::{Member, Memory, RebalanceProtocol, Topic, by_name};
use tidegate_core::kafka::sticky_data;
use tidegate_core::kafka::wire::{
    ConsumerProtocolAssignment, ConsumerProtocolAssignmentTopicPartition, ConsumerProtocolSubscription,
    ConsumerProtocolSubscriptionTopicPartition, Message, read_embedded, write_embedded,
};
use tidegate_sim::Tape;

use crate::source::{bytes, number};

const NAMES: [&str; 4] = ["range", "roundrobin", "sticky", "cooperative-sticky"];
const TOPICS: [&str; 4] = ["orders", "bills", "", "no such topic"];

/// No panic; each member has one answer, each partition one subscriber, but for what the cooperative
/// assignor withholds; the order of members makes no difference; what is answered can be sent, and
/// read again.
pub fn kafka_embedded(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    let assignor = by_name(NAMES[usize::from(*which) % NAMES.len()]).unwrap();
    let tape = &mut Tape::from_bytes(rest);
    let topics: Vec<Topic> = ["orders", "bills"].map(|name| topic(tape, name)).into();
    let mut members: Vec<Member> = Vec::new();
    for at in 0..tape.below(6) {
        let blob = blob(tape, assignor.memory());
        again::<ConsumerProtocolSubscription>(&blob);
        again::<ConsumerProtocolAssignment>(&blob);
        let instance = (tape.below(4) == 3).then(|| format!("i{}", tape.below(3)));
        members.push(member(format!("m{at}"), instance, blob, assignor.memory()));
    }
    let plan = assignor.assign(&topics, &members).unwrap();
    assert!(plan.iter().map(|share| share.member()).eq(members.iter().map(|member| member.id.as_str())));
    let mut given: Vec<(&str, i32)> = Vec::new();
    for (share, member) in plan.iter().zip(&members) {
        let mut assigned = Vec::new();
        for (name, partitions) in share.topics() {
            assert!(member.topics.iter().any(|topic| topic == name), "{name:?} is not for {member:?}");
            given.extend(partitions.iter().map(|partition| (name, *partition)));
            let partitions = partitions.to_vec();
            assigned.push(ConsumerProtocolAssignmentTopicPartition { topic: name.into(), partitions });
        }
        let assignment = ConsumerProtocolAssignment { assigned_partitions: assigned, user_data: None };
        let sent = write_embedded(1, &assignment).unwrap();
        assert_eq!(read_embedded(sent), Ok((1, assignment)));
    }
    given.sort_unstable();
    assert!(given.is_sorted_by(|one, other| one < other), "a partition twice: {given:?}");
    let wanted = |topic: &&Topic| members.iter().any(|member| member.topics.contains(&topic.name));
    let wanted = topics.iter().filter(wanted);
    let mut all: Vec<(&str, i32)> =
        wanted.flat_map(|topic| (0..topic.partitions).map(|at| (topic.name.as_str(), at))).collect();
    all.sort_unstable();
    match assignor.protocol() {
        RebalanceProtocol::Eager => assert_eq!(given, all),
        RebalanceProtocol::Cooperative => assert!(given.iter().all(|one| all.contains(one))),
    }
    let mut turned = members.clone();
    turned.reverse();
    assert_eq!(assignor.assign(&topics, &turned).as_ref(), Ok(&plan));
}

fn topic(tape: &mut Tape, name: &str) -> Topic {
    let mut topic = Topic::new(name, tape.below(7) as i32 - 1);
    for _ in 0..tape.below(4) {
        topic.racks.push((0..tape.below(3)).map(|_| format!("r{}", tape.below(3)).into()).collect());
    }
    topic
}

/// As a leader reads it.
fn member(id: String, instance: Option<String>, blob: Bytes, memory: Memory) -> Member {
    let mut member = Member::new(id, Vec::<String>::new());
    member.instance = instance;
    let Ok((_, read)) = read_embedded::<ConsumerProtocolSubscription>(blob) else { return member };
    (member.topics, member.rack, member.generation) = (read.topics, read.rack_id, read.generation_id);
    member.user_data = read.user_data.unwrap_or_default();
    member.owned = read.owned_partitions.into_iter().map(|one| (one.topic, one.partitions)).collect();
    sticky_data::recall(memory, &mut member);
    member
}

fn partitions(tape: &mut Tape) -> Vec<i32> {
    let one = |tape: &mut Tape| match tape.below(8) {
        7 => number(tape) as i32,
        _ => tape.below(7) as i32 - 1,
    };
    (0..tape.below(6)).map(|_| one(tape)).collect()
}

fn name(tape: &mut Tape) -> String {
    TOPICS[(tape.below(8) as usize).saturating_sub(4)].into()
}

fn generation(tape: &mut Tape) -> i32 {
    if tape.below(8) == 7 { number(tape) as i32 } else { tape.below(4) as i32 - 1 }
}

/// A subscription, in any version, with what may be wrong with it.
fn blob(tape: &mut Tape, memory: Memory) -> Bytes {
    if tape.below(8) == 7 {
        return bytes(tape).into();
    }
    let owned: Vec<(String, Vec<i32>)> = (0..tape.below(4)).map(|_| (name(tape), partitions(tape))).collect();
    let version = tape.below(4) as i16;
    let mut subscription = ConsumerProtocolSubscription {
        topics: (0..tape.below(4)).map(|_| name(tape)).collect(),
        user_data: match tape.below(4) {
            0 => None,
            1 => Some(bytes(tape).into()),
            _ => {
                let mut data = sticky_data::encode(memory, &owned, generation(tape)).to_vec();
                damage(tape, &mut data);
                Some(data.into())
            }
        },
        ..Default::default()
    };
    if version >= 1 {
        let one = |(topic, partitions): &(String, Vec<i32>)| ConsumerProtocolSubscriptionTopicPartition {
            topic: topic.clone(),
            partitions: partitions.clone(),
        };
        subscription.owned_partitions = owned.iter().map(one).collect();
    }
    if version >= 2 {
        subscription.generation_id = generation(tape);
    }
    if version >= 3 {
        subscription.rack_id =
            [None, Some(""), Some("r0"), Some("r1")][tape.below(4) as usize].map(Into::into);
    }
    let mut blob = write_embedded(version, &subscription).unwrap().to_vec();
    assert_eq!(read_embedded(blob.clone().into()), Ok((version, subscription)));
    damage(tape, &mut blob);
    blob.into()
}

/// Now and then a byte is another one, the end is missing, or something is behind it.
fn damage(tape: &mut Tape, bytes: &mut Vec<u8>) {
    let at = tape.below(bytes.len() as u64) as usize;
    match tape.below(8) {
        5 if at < bytes.len() => bytes[at] = tape.below(256) as u8,
        6 => bytes.truncate(at),
        7 => bytes.extend_from_slice(&[0; 3]),
        _ => {}
    }
}

/// What can be read says the same when it is written again.
fn again<M: Message>(blob: &Bytes) {
    let Ok((version, message)) = read_embedded::<M>(blob.clone()) else { return };
    let version = version.min(*M::VERSIONS.end());
    let written = write_embedded(version, &message).unwrap();
    assert_eq!(read_embedded(written), Ok((version, message)));
}
