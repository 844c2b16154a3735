//! `range`: each topic's partitions in equal runs, to members in the order of their names.

use std::collections::BTreeMap;

use super::{Spec, Subscriber, Targets};

pub(super) fn assign(spec: &Spec) -> Targets {
    let mut members: Vec<&Subscriber> = spec.subscribers.iter().collect();
    // Static members first, by instance id; so a restart changes nothing.
    members.sort_by_key(|member| (member.instance.is_none(), member.instance.as_ref(), &member.id));
    let mut left: BTreeMap<_, i32> = BTreeMap::new();
    for topic in members.iter().flat_map(|member| &member.topics) {
        *left.entry(*topic).or_default() += 1;
    }
    let mut next: BTreeMap<_, i32> = BTreeMap::new();
    let mut targets = Targets::new();
    for member in members {
        let target = targets.entry(member.id.clone()).or_default();
        for topic in &member.topics {
            let (Some(left), from) = (left.get_mut(topic), next.entry(*topic).or_default()) else { continue };
            // Who comes first has the odd ones: what is left, in equal shares, rounded up.
            let share = (spec.count(*topic) - *from + *left - 1) / (*left).max(1);
            target.extend((*from..*from + share).map(|index| (*topic, index)));
            *from += share;
            *left -= 1;
        }
    }
    targets
}
