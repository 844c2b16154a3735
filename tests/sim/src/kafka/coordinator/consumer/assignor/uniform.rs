//! `uniform`, where all members want the same topics: equal numbers of partitions, and nobody loses
//! what it may keep.

use super::super::Spot;
use super::super::order;
use super::{Spec, Targets};

pub(super) fn assign(spec: &Spec) -> Targets {
    let mut targets = Targets::new();
    let members = spec.subscribers.len();
    let topics = spec.subscribers.first().map(|member| member.topics.clone()).unwrap_or_default();
    let all = topics.iter().flat_map(|topic| (0..spec.count(*topic)).map(|index| (*topic, index)));
    let all: Vec<Spot> = all.collect();
    let mut unassigned: Vec<Spot> =
        all.iter().filter(|spot| !spec.assigned.contains(spot)).copied().collect();
    let (least, mut extras) = (all.len() / members.max(1), all.len() % members.max(1));
    let mut unfilled: Vec<(&str, usize)> = Vec::new();
    for (at, member) in spec.subscribers.iter().enumerate() {
        let target = targets.entry(member.id.clone()).or_default();
        if topics.is_empty() {
            continue;
        }
        let mut has_extra = extras > 0;
        let mut room = least + usize::from(has_extra);
        for (topic, indices) in order::spots(&member.target) {
            if !topics.contains(&topic) {
                continue;
            }
            for index in indices {
                if room > 0 {
                    room -= 1;
                    target.insert((topic, index));
                } else {
                    unassigned.push((topic, index));
                }
            }
        }
        // The odd one is for those who have it already, as long as enough others come.
        if room > 0 && has_extra && members - at > extras {
            room -= 1;
            has_extra = false;
        }
        if room > 0 {
            unfilled.push((&member.id, room));
        }
        extras -= usize::from(has_extra);
    }
    let mut unassigned = unassigned.into_iter();
    for (id, room) in unfilled {
        targets.entry(id.to_owned()).or_default().extend(unassigned.by_ref().take(room));
    }
    targets
}
