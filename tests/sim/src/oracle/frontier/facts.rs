//! What the broker tells of offsets, owners and transactions.

use bytes::Bytes;
use tidegate_core::SeqNo;

use super::super::{MessageId, Oracle};
use super::commit::Commit;
use crate::broker::{Fact, Lost};

impl Oracle {
    /// A message was appended; else it can only be that the log was cut, and its position is another
    /// message's from now on.
    pub(in super::super) fn on_appended(&mut self, shard: u32, seq: SeqNo, appended: bool) {
        let cut = self.place_of(shard).is_some_and(|place| place.cuts > 0);
        if !appended && let Some(log) = self.shards.get_mut(shard as usize) {
            log.append_anew(seq);
        }
        if !appended && !cut {
            self.accuse("model", || format!("shard {shard}: {seq} is not the end"));
        }
        if !cut {
            return;
        }
        // Whoever has committed behind it begins there, and nobody can tell it: the position is all
        // that a group keeps.
        let at = self.shards.get(shard as usize).map_or(0, |log| log.len().saturating_sub(1));
        for role in 0..self.roles.len() {
            let Some(column) = self.frontiers.as_ref().and_then(|all| all.column(role, shard)) else {
                continue;
            };
            if column.history.iter().flatten().max().is_some_and(|most| *most > seq.low()) && column.adrift {
                self.give_up(role, shard, at, at + 1);
            }
        }
    }

    fn place_of(&self, shard: u32) -> Option<&super::Place> {
        self.frontiers.as_ref()?.places.get(shard as usize)
    }

    pub(in super::super) fn on_fact_of_offsets(&mut self, fact: &Fact) {
        match fact {
            Fact::CommittedTo { shard, next, member, peer, .. } => {
                self.on_committed_to(&Commit { shard: *shard, next: *next, member, peer: *peer });
            }
            Fact::Met { member, peer, .. } => {
                if let (Some(run), Some(frontiers)) = (self.run_of(*peer), &mut self.frontiers) {
                    frontiers.members.insert(member.clone(), run);
                }
            }
            Fact::Owned { shard, group, member, epoch } => self.on_owned(*shard, group, member, *epoch),
            Fact::Disowned { shard, group, member, why, .. } => {
                self.on_disowned(*shard, group, member, *why);
            }
            Fact::Undecided { shard, seq } => self.on_transaction(*shard, *seq, None),
            Fact::Decided { shard, seq, aborted } => self.on_transaction(*shard, *seq, Some(*aborted)),
            Fact::Trimmed { shard, start } => self.on_range(*shard, Some(*start), None),
            Fact::Cut { shard, end } => self.on_range(*shard, None, Some(*end)),
            Fact::Grown { shard } | Fact::HeldBack { shard } => {
                let places = self.frontiers.as_mut().map(|all| &mut all.places);
                if let Some(place) = places.and_then(|places| places.get_mut(*shard as usize)) {
                    place.end_is_vague = true;
                    place.grown |= matches!(fact, Fact::Grown { .. });
                }
                (0..self.roles.len()).for_each(|role| self.handle_stir(role));
            }
            _ => {}
        }
    }

    fn on_transaction(&mut self, shard: u32, seq: SeqNo, ended: Option<bool>) {
        let Some(MessageId { at, .. }) = self.find(shard, seq) else { return };
        let at = at as usize;
        let places = self.frontiers.as_mut().map(|all| &mut all.places);
        let Some(place) = places.and_then(|places| places.get_mut(shard as usize)) else { return };
        match ended {
            None => drop(place.undecided.insert(at)),
            Some(aborted) => {
                place.undecided.remove(&at);
                if aborted {
                    place.aborted.insert(at);
                }
            }
        }
        self.sometimes.saw(match ended {
            None => "message of a transaction",
            Some(true) => "message aborted",
            Some(false) => "message of a transaction committed",
        });
    }

    /// The log begins, or ends, elsewhere.
    fn on_range(&mut self, shard: u32, start: Option<SeqNo>, end: Option<SeqNo>) {
        let len = self.shards.get(shard as usize).map_or(0, |log| log.len());
        let Some(frontiers) = &mut self.frontiers else { return };
        if let Some(place) = frontiers.places.get_mut(shard as usize) {
            place.start = place.start.max(start.map_or(0, SeqNo::low));
            place.cuts += u32::from(end.is_some());
            if let Some(end) = end {
                place.cut_at = end.low();
                place.cut_places.push(len);
            }
        }
        for column in frontiers.columns.iter_mut().filter_map(|columns| columns.get_mut(shard as usize)) {
            let Some(committed) = column.committed() else { continue };
            if start.is_some_and(|start| committed < start.low()) {
                (column.adrift, column.was_adrift) = (true, true);
            }
            if let Some(end) = end.filter(|end| committed > end.low()) {
                // As far as it is true still.
                column.history.push(Some(end.low()));
                (column.adrift, column.was_adrift) = (true, true);
            }
        }
        self.sometimes.saw(if start.is_some() { "log trimmed" } else { "log cut" });
    }

    fn role_of_group(&self, group: &Bytes) -> Option<usize> {
        // Group names end with the role's number.
        std::str::from_utf8(group).ok()?.strip_prefix("group-")?.parse().ok()
    }

    fn on_owned(&mut self, shard: u32, group: &Bytes, member: &Bytes, epoch: i32) {
        let (now, role) = (self.now, self.role_of_group(group));
        role.into_iter().for_each(|role| self.handle_stir(role));
        let frontiers = self.frontiers.as_mut();
        let Some(column) = role.and_then(|role| frontiers?.column_mut(role, shard)) else { return };
        column.owners.entry(member.clone()).or_insert((epoch, now)).0 = epoch;
        column.owner_before = Some(member.clone());
        self.sometimes.saw("owned, as the coordinator sees it");
    }

    fn on_disowned(&mut self, shard: u32, group: &Bytes, member: &Bytes, why: Lost) {
        let role = self.role_of_group(group);
        role.into_iter().for_each(|role| self.handle_stir(role));
        let frontiers = self.frontiers.as_mut();
        let Some(column) = role.and_then(|role| frontiers?.column_mut(role, shard)) else { return };
        column.owners.remove(member);
        if why != Lost::Rebalanced && column.owner_before.as_ref() == Some(member) {
            column.owner_before = None;
        }
        self.sometimes.saw(match why {
            Lost::Left => "disowned: left",
            Lost::Expired => "disowned: expired",
            Lost::Fenced => "disowned: fenced",
            Lost::Rebalanced => "disowned: rebalanced",
        });
    }
}
