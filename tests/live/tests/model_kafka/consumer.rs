//! Heartbeats of the new protocol's members (KIP-848).

use std::collections::BTreeMap;

use tidegate_core::kafka::wire::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatRequestTopicPartitions as Owned, ErrorCode, Uuid,
};

use super::ask::{Answer, Ask};
use super::generate::Generator;

/// Members at most.
const MEMBERS: usize = 5;

/// A member as it sees itself.
#[derive(Clone, Debug)]
pub struct ConsumerMember {
    /// Its group.
    pub group: String,
    pub id: String,
    pub instance: Option<String>,
    /// 0: it is to join.
    pub epoch: i32,
    /// What it says that it owns.
    owned: BTreeMap<Uuid, Vec<i32>>,
    /// What it was told to own.
    assigned: BTreeMap<Uuid, Vec<i32>>,
}

impl Generator {
    pub(super) fn consumer_ask(&mut self) -> Ask {
        if self.consumers.len() < MEMBERS && (self.consumers.is_empty() || self.one_in(6)) {
            self.made += 1;
            let instance = self.one_in(4).then(|| format!("s{}", self.tape.below(2)));
            // Of any shape, as the order of members hangs on it.
            let id = format!("c{}-{}", self.made, self.tape.below(1_000_000));
            let (owned, assigned) = (BTreeMap::new(), BTreeMap::new());
            // The place of an id that a broker makes up is chance in its tables, and with it who gets
            // what: such a member has a group of its own.
            let nameless = self.one_in(6);
            let id = if nameless { String::new() } else { id };
            let group = if nameless {
                format!("{}{}", self.consumer_group(), self.made)
            } else {
                self.consumer_group()
            };
            self.consumers.push(ConsumerMember { group, id, instance, epoch: 0, owned, assigned });
        }
        let at = self.index(self.consumers.len());
        let own = self.consumers[at].group.clone();
        let named = !self.consumers[at].id.is_empty();
        let group_id = if named && self.one_in(30) { self.classic_group() } else { own };
        let joins = self.consumers[at].epoch == 0;
        let choice = self.tape.below(40);
        let mut version = self.version(0, 1);
        let member = self.consumers[at].clone();
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id,
            member_id: member.id.clone(),
            member_epoch: member.epoch,
            instance_id: member.instance.clone().filter(|_| joins || !self.one_in(8)),
            ..Default::default()
        };
        if joins {
            self.wants(&mut request, version);
            request.rebalance_timeout_ms = 60_000;
            request.topic_partitions = Some(Vec::new());
            if !named {
                version = 0;
            }
        } else {
            request.topic_partitions = match self.tape.below(8) {
                0 | 1 => None,
                // Not yet let go of.
                2 => Some(owned(&member.owned)),
                _ => {
                    self.consumers[at].owned = member.assigned.clone();
                    Some(owned(&member.assigned))
                }
            };
        }
        match choice {
            0 => request.member_epoch = -1,
            1 if member.instance.is_some() => request.member_epoch = -2,
            2 => request.member_epoch += 1,
            3 | 4 => request.member_epoch -= 1,
            5 if request.instance_id.is_none() => request.member_id = "nobody".into(),
            6 | 7 => self.wants(&mut request, version),
            // All of it, as after a lost answer.
            8 | 9 => {
                self.wants(&mut request, version);
                request.rebalance_timeout_ms = 60_000;
                request.topic_partitions = Some(owned(&member.assigned));
            }
            10 => request = self.wrong(request),
            11 => {
                request.member_epoch = 0;
                request.rebalance_timeout_ms = 60_000;
                request.topic_partitions = Some(Vec::new());
                self.wants(&mut request, version);
            }
            _ => {}
        }
        if request.subscribed_topic_regex.is_some() {
            version = 1;
        }
        Ask::ConsumerGroupHeartbeat(version, request)
    }

    /// What it wants: topics by name, or by a pattern.
    fn wants(&mut self, request: &mut ConsumerGroupHeartbeatRequest, version: i16) {
        let names = self.topic_names();
        let wanted = names.iter().filter(|_| !self.one_in(3)).cloned().collect();
        request.subscribed_topic_names = Some(wanted);
        if version >= 1 && !request.member_id.is_empty() && self.one_in(12) {
            let begin = names[0].trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
            let pattern = match self.tape.below(5) {
                0 => format!("{begin}[01]"),
                1 => String::new(),
                2 => "[".into(),
                3 => format!("{begin}0|nothing"),
                _ => format!("{begin}.*"),
            };
            request.subscribed_topic_regex = Some(pattern);
            if self.one_in(2) {
                request.subscribed_topic_names = self.one_in(2).then(Vec::new);
            }
        }
        if self.one_in(5) {
            let assignor = ["uniform", "range", "uniform", "range", "sticky"][self.index(5)];
            request.server_assignor = Some(assignor.into());
        }
    }

    /// What no broker takes.
    fn wrong(&mut self, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatRequest {
        match self.tape.below(7) {
            0 => ConsumerGroupHeartbeatRequest { member_epoch: -3, ..request },
            1 => ConsumerGroupHeartbeatRequest { member_epoch: -2, instance_id: None, ..request },
            2 => ConsumerGroupHeartbeatRequest { member_id: String::new(), member_epoch: 1, ..request },
            3 => ConsumerGroupHeartbeatRequest { group_id: String::new(), ..request },
            4 => ConsumerGroupHeartbeatRequest { instance_id: Some(String::new()), ..request },
            5 => ConsumerGroupHeartbeatRequest { rack_id: Some(String::new()), ..request },
            _ => ConsumerGroupHeartbeatRequest { member_epoch: 0, rebalance_timeout_ms: -1, ..request },
        }
    }

    pub(super) fn consumer_answered(&mut self, ask: &Ask, answer: &Answer) {
        let (Ask::ConsumerGroupHeartbeat(_, request), Answer::ConsumerGroupHeartbeat(answer)) = (ask, answer)
        else {
            return;
        };
        // One that has no id yet has a group of its own.
        let asked = |one: &&mut ConsumerMember| {
            one.id == request.member_id && (!one.id.is_empty() || one.group == request.group_id)
        };
        let Some(member) = self.consumers.iter_mut().find(asked) else { return };
        match ErrorCode(answer.error_code) {
            ErrorCode::NONE => {
                if let Some(id) = answer.member_id.as_ref().filter(|id| id.starts_with('@')) {
                    member.id.clone_from(id);
                }
                member.epoch = answer.member_epoch.max(0);
                member.group.clone_from(&request.group_id);
                if request.member_epoch <= 0 {
                    member.owned.clear();
                    member.assigned.clear();
                }
                if let Some(assignment) = &answer.assignment {
                    let topics = assignment.topic_partitions.iter();
                    member.assigned = topics.map(|one| (one.topic_id, one.partitions.clone())).collect();
                }
            }
            ErrorCode::UNKNOWN_MEMBER_ID | ErrorCode::FENCED_MEMBER_EPOCH | ErrorCode::GROUP_ID_NOT_FOUND => {
                member.epoch = 0;
                member.owned.clear();
                member.assigned.clear();
            }
            // Another has its place: it is another member from now on.
            ErrorCode::FENCED_INSTANCE_ID => {
                let id = member.id.clone();
                self.consumers.retain(|one| one.id != id);
            }
            _ => {}
        }
    }
}

fn owned(spots: &BTreeMap<Uuid, Vec<i32>>) -> Vec<Owned> {
    spots.iter().map(|(id, parts)| Owned { topic_id: *id, partitions: parts.clone() }).collect()
}
