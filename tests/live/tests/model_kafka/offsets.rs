//! Commits, and what was committed.

use tidegate_core::kafka::wire::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetFetchRequest,
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics, Uuid,
};

use super::ask::Ask;
use super::generate::{CLASSIC, Generator, Topic};

/// Somebody who commits or asks: group, member id, instance id, generation or epoch.
type Who = (String, String, Option<String>, i32);

impl Generator {
    pub(super) fn offsets_ask(&mut self) -> Ask {
        if self.one_in(2) { self.commit() } else { self.fetch_offsets() }
    }

    /// A member as it is or nearly, or nobody.
    fn who(&mut self) -> Who {
        let groups = [self.classic_group(), self.consumer_group(), self.simple_group()];
        let other = groups[self.index(3)].clone();
        match self.tape.below(8) {
            0 => (other, String::new(), None, -1),
            1 => (other, "nobody".into(), None, self.below(3)),
            2..=4 if !self.consumers.is_empty() => {
                let at = self.index(self.consumers.len());
                let member = self.consumers[at].clone();
                let epoch = self.maybe_wrong(member.epoch);
                (member.group, member.id, member.instance.filter(|_| self.one_in(2)), epoch)
            }
            _ => {
                let at = self.index(CLASSIC);
                let member = self.classic[at].clone();
                let generation = self.maybe_wrong(member.generation);
                (self.classic_group(), member.id, member.instance, generation)
            }
        }
    }

    fn wanted(&mut self) -> Vec<(Topic, Vec<i32>)> {
        let mut wanted: Vec<(Topic, Vec<i32>)> = Vec::new();
        for _ in 0..1 + self.tape.below(2) {
            let topic = self.any_topic();
            if wanted.iter().any(|(one, _)| one.name == topic.name) {
                continue;
            }
            let mut parts: Vec<i32> = (0..1 + self.tape.below(2)).map(|_| self.partition(&topic)).collect();
            parts.sort_unstable();
            parts.dedup();
            wanted.push((topic, parts));
        }
        wanted
    }

    fn commit(&mut self) -> Ask {
        let (group_id, member_id, group_instance_id, epoch) = self.who();
        let version = self.version(if group_instance_id.is_some() { 7 } else { 2 }, 10);
        let metadata = match self.tape.below(8) {
            0 => None,
            1 => Some("x".repeat(4_096)),
            2 => Some("x".repeat(4_097)),
            _ => Some(format!("m{}", self.tape.below(3))),
        };
        let offset = i64::from(self.below(100));
        let partition = |index: i32| OffsetCommitRequestPartition {
            partition_index: index,
            committed_offset: offset + i64::from(index),
            committed_leader_epoch: if version >= 6 { index - 1 } else { -1 },
            committed_metadata: metadata.clone(),
        };
        let topics = self.wanted().into_iter().map(|(topic, parts)| OffsetCommitRequestTopic {
            name: if version < 10 { topic.name } else { String::new() },
            topic_id: if version < 10 { Uuid::ZERO } else { topic.id },
            partitions: parts.into_iter().map(partition).collect(),
        });
        let request = OffsetCommitRequest {
            topics: topics.collect(),
            group_id,
            generation_id_or_member_epoch: epoch,
            member_id,
            group_instance_id,
            ..Default::default()
        };
        Ask::OffsetCommit(version, request)
    }

    fn fetch_offsets(&mut self) -> Ask {
        let version = self.version(1, 10);
        let require_stable = version >= 7 && self.one_in(2);
        let (group_id, member_id, _, member_epoch) = self.who();
        let all = version >= 2 && self.one_in(4);
        let wanted = self.wanted();
        if version < 8 {
            let topics = wanted.into_iter().map(|(topic, partition_indexes)| OffsetFetchRequestTopic {
                name: topic.name,
                partition_indexes,
            });
            let topics = Some(topics.collect()).filter(|_| !all);
            let request = OffsetFetchRequest { group_id, topics, require_stable, ..Default::default() };
            return Ask::OffsetFetch(version, request);
        }
        let topics = wanted.into_iter().map(|(topic, partition_indexes)| OffsetFetchRequestTopics {
            name: if version < 10 { topic.name } else { String::new() },
            topic_id: if version < 10 { Uuid::ZERO } else { topic.id },
            partition_indexes,
        });
        let topics = Some(topics.collect::<Vec<_>>()).filter(|_| !all);
        let named = version >= 9 && !self.one_in(3);
        let first = OffsetFetchRequestGroup {
            group_id,
            member_id: named.then_some(member_id),
            member_epoch: if named { member_epoch } else { -1 },
            topics: topics.clone(),
        };
        let mut groups = vec![first];
        if self.one_in(4) {
            groups.push(OffsetFetchRequestGroup {
                group_id: self.simple_group(),
                topics,
                ..Default::default()
            });
            groups.dedup_by(|a, b| a.group_id == b.group_id);
        }
        let request = OffsetFetchRequest { groups, require_stable, ..Default::default() };
        Ask::OffsetFetch(version, request)
    }
}
