//! Who read which shard from when to when, from the marks that say so.

use std::collections::BTreeMap;

use tidegate_core::Instant;

use crate::history::{History, MarkKind};

/// A shard in the hands of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owned<'a> {
    pub(super) member: usize,
    pub(super) shard: &'a str,
    pub(super) from: Instant,
    /// `None`: to the end.
    pub(super) until: Option<Instant>,
}

/// In the order in which they began.
pub(super) fn owned(history: &History) -> Vec<Owned<'_>> {
    let mut marks: Vec<_> = history
        .marks
        .iter()
        .filter_map(|mark| Some((mark, mark.member.filter(|member| *member < history.members.len())?)))
        .collect();
    marks.sort_by_key(|(mark, _)| mark.at); // stable
    let mut all: Vec<Owned<'_>> = Vec::new();
    // By member and shard: its place in `all`.
    let mut open: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for (mark, member) in marks {
        let mut end = |place: usize| {
            if let Some(one) = all.get_mut(place) {
                one.until = Some(mark.at);
            }
        };
        match mark.kind {
            MarkKind::Assigned => {
                let Some(shard) = mark.text.strip_prefix("assigned ") else { continue };
                open.entry((member, shard)).or_insert_with(|| {
                    all.push(Owned { member, shard, from: mark.at, until: None });
                    all.len() - 1
                });
            }
            MarkKind::Revoked => {
                let Some(shard) = mark.text.strip_prefix("revoked ") else { continue };
                if let Some(place) = open.remove(&(member, shard)) {
                    end(place);
                }
            }
            MarkKind::Killed | MarkKind::Closed | MarkKind::Started => {
                open.retain(|(owner, _), place| {
                    let stays = *owner != member;
                    if !stays {
                        end(*place);
                    }
                    stays
                });
            }
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Mark;

    #[test]
    fn a_shard_goes_from_hand_to_hand() {
        let at = |seconds: u64| Instant::from_nanos(seconds * 1_000_000_000);
        let mark = |seconds, member, kind, text: &str| Mark {
            member: Some(member),
            kind,
            at: at(seconds),
            text: text.into(),
        };
        let history = History {
            members: vec!["a".into(), "b".into()],
            marks: vec![
                mark(1, 0, MarkKind::Assigned, "assigned orders/0"),
                mark(1, 0, MarkKind::Assigned, "assigned orders/1"),
                mark(3, 1, MarkKind::Assigned, "assigned orders/0"),
                mark(2, 0, MarkKind::Revoked, "revoked orders/0"),
                mark(2, 0, MarkKind::Revoked, "revoked orders/7"),
                mark(4, 0, MarkKind::Killed, "killed"),
                mark(5, 9, MarkKind::Assigned, "assigned orders/1"),
            ],
            ..History::default()
        };
        let one = |member, shard, from, until: Option<u64>| Owned {
            member,
            shard,
            from: at(from),
            until: until.map(at),
        };
        assert_eq!(
            owned(&history),
            [one(0, "orders/0", 1, Some(2)), one(0, "orders/1", 1, Some(4)), one(1, "orders/0", 3, None),]
        );
    }
}
