//! What is committed, by whom, and what was acked.

use bytes::Bytes;
use tidegate_core::{AutoCommit, ConsumerMode, Instant, SeqNo};

use super::super::member::Held;
use super::super::{MessageId, Oracle, Run};
use crate::broker::PeerId;

/// A commit that the broker keeps.
pub(super) struct Commit<'a> {
    pub(super) shard: u32,
    pub(super) next: SeqNo,
    pub(super) member: &'a Bytes,
    pub(super) peer: PeerId,
}

impl Oracle {
    pub(super) fn on_committed_to(&mut self, commit: &Commit<'_>) {
        let Commit { shard, next, member, peer } = *commit;
        let Some(run) = self.run_of(peer) else { return };
        let Some(who) = self.runs.get(run.0 as usize) else { return };
        let (role, name, alive, left) = (who.role, who.name(), who.alive, who.left_group);
        // Bytes that were written before it closed, or before it was killed: nobody can stop them.
        let late = !alive || self.ended.contains(&peer);
        let Some(frontiers) = &mut self.frontiers else { return };
        if !member.is_empty() {
            frontiers.members.insert(member.clone(), run);
        }
        let Some(column) = frontiers.column(role, shard) else { return };
        let (before, adrift) = (column.committed(), column.adrift);
        let offset = next.low();
        let owner = column.owners.contains_key(member)
            || (column.owners.is_empty() && column.owner_before.as_ref() == Some(member));
        let owners: Vec<_> = column.owners.keys().cloned().collect();
        // Its position was out of range, or cut off: it may have gone back further than to what was
        // committed.
        let back = frontiers.reading(run, shard).is_some_and(|reading| reading.went_back);
        let must_own = self.roles.get(role).is_some_and(|role| role.rules.member);
        let wrong = if left && !late {
            Some("after it had left the group".into())
        } else if must_own && !owner {
            Some(format!("as {member:?}, which is owned by {owners:?}"))
        } else if before.is_some_and(|before| offset < before) && !adrift && !late && !back {
            Some(format!("though {} was committed before", before.unwrap_or(0)))
        } else {
            self.passes(run, shard, before.unwrap_or(0), offset, adrift)
        };
        if let Some(wrong) = wrong {
            let log = self.shards.get(shard as usize).map(|log| log.name()).unwrap_or_default();
            self.accuse("K2", || format!("{name} committed {log} up to {offset} {wrong}"));
        }
        // Of a log that was cut: as far as it is true.
        let true_up_to = self.true_up_to(run, shard, offset);
        let places = self.frontiers.as_ref().map(|all| &all.places);
        let start = places.and_then(|places| places.get(shard as usize)).map_or(0, |place| place.start);
        if let Some(column) = self.frontiers.as_mut().and_then(|all| all.column_mut(role, shard)) {
            column.said = column.history.len();
            column.history.push(Some(offset));
            column.adrift = true_up_to < offset || offset < start;
            if true_up_to < offset {
                column.was_adrift = true;
                column.history.push(Some(true_up_to));
            }
        }
        self.sometimes.saw("committed");
    }

    /// A run that read behind where the log was cut, and hasn't found out, commits what is no more,
    /// and passes what is there instead: what came before, and what it got of that.
    fn true_up_to(&mut self, run: Run, shard: u32, offset: u64) -> u64 {
        let Some(place) = self.frontiers.as_ref().and_then(|all| all.places.get(shard as usize)) else {
            return offset;
        };
        let (cuts, cut_at) = (place.cuts, place.cut_at);
        let Some(log) = self.shards.get(shard as usize).filter(|_| cuts > 0) else { return offset };
        let end = (0..log.len()).rev().find(|at| !log.is_gone(*at)).map_or(0, |at| log.seq(at).low() + 1);
        let end = end.max(cut_at);
        self.unread_by(run, shard, offset).map_or(offset, |(first, _)| first).min(end.max(1)).min(offset)
    }

    /// What was appended since the log was cut for the first time without this run's knowledge, as it has
    /// got nothing of what came then: the first position, and the places.
    fn unread_by(&self, run: Run, shard: u32, offset: u64) -> Option<(u64, Vec<usize>)> {
        let frontiers = self.frontiers.as_ref()?;
        let cuts = &frontiers.places.get(shard as usize)?.cut_places;
        let log = self.shards.get(shard as usize)?;
        let reading = frontiers.reading(run, shard)?;
        let began = reading.current.and_then(|epoch| reading.begins.get(&epoch));
        let known = match (began, reading.last) {
            // It went back, and a commit of before that is on its way.
            (Some(began), Some((last, _))) if began.goes_on => last,
            // Nothing came of this assignment yet: it is of before, or of after.
            (Some(began), _) => began.end,
            (None, last) => last?.0,
        };
        // The first cut that it may not have heard of.
        let since = cuts.iter().copied().find(|cut| *cut > known)?;
        let places: Vec<usize> =
            (since..log.len()).filter(|at| log.seq(*at).low() < offset && !log.is_gone(*at)).collect();
        Some((log.seq(*places.first()?).low(), places))
    }

    /// What a commit passes that no application is done with.
    fn passes(&mut self, run: Run, shard: u32, from: u64, to: u64, adrift: bool) -> Option<String> {
        let role = self.runs.get(run.0 as usize)?.role;
        let kind = self.roles.get(role)?;
        let (acks, commit, earliest) = (kind.acks, kind.commit, kind.rules.earliest);
        for at in self.unread_by(run, shard, to).map(|(_, places)| places).unwrap_or_default() {
            self.give_up(role, shard, at, at + 1);
        }
        let (from, to) = (self.place_from(shard, from), self.place_from(shard, to));
        if adrift && !earliest {
            self.give_up(role, shard, from, to);
            return None;
        }
        for at in from..to {
            if !self.counts(role, shard, at) {
                continue;
            }
            let id = MessageId { shard, at: at as u32 };
            let done = self.shards.get(shard as usize).is_some_and(|log| log.mark(role, at).done);
            let who = self.runs.get(run.0 as usize)?;
            let delayed = matches!(commit, AutoCommit::Delayed { .. });
            let by_itself = match who.held.get(&id) {
                Some(Held::Acked { .. } | Held::Past { .. }) => true,
                Some(Held::InHand { since }) => {
                    delayed && (who.leaving || self.is_acked_by_delay(run, *since))
                }
                None => !acks,
            };
            if !done && !by_itself {
                let got = if who.held.contains_key(&id) { "is not done with" } else { "never got" };
                return Some(format!("though its application {got} {}", self.describe(id)));
            }
            let now = self.now;
            if let Some(mark) = self.shards.get_mut(shard as usize).and_then(|log| log.mark_mut(role, at)) {
                mark.done = true;
            }
            if let Some(held) = self.runs.get_mut(run.0 as usize).and_then(|who| who.held.get_mut(&id))
                && let Held::InHand { .. } = held
            {
                *held = Held::Acked { at: now };
            }
        }
        None
    }

    /// An ack that what is committed doesn't have in it.
    pub(in super::super) fn is_behind_committed(&self, role: usize, id: MessageId) -> bool {
        let Some(log) = self.shards.get(id.shard as usize) else { return false };
        let at = id.at as usize;
        let column = self.frontiers.as_ref().and_then(|all| all.column(role, id.shard));
        let committed = column.and_then(|column| column.committed()).unwrap_or(0);
        !log.is_gone(at) && self.place_from(id.shard, committed) <= at
    }

    /// Since when a message could be committed: everything before it is done, and the run owns the
    /// shard.
    pub(in super::super) fn committable_since(&self, run: Run, id: MessageId) -> Option<Instant> {
        let who = self.runs.get(run.0 as usize)?;
        let role = who.role;
        let frontiers = self.frontiers.as_ref()?;
        let column = frontiers.column(role, id.shard)?;
        let owns = column.owners.keys().all(|owner| frontiers.members.get(owner) == Some(&run));
        if self.roles.get(role)?.rules.member && (!owns || column.owners.is_empty()) {
            return None;
        }
        let from = self.place_from(id.shard, column.committed().unwrap_or(0));
        let log = self.shards.get(id.shard as usize)?;
        let mut since = Instant::ZERO;
        for at in (from..=id.at as usize).filter(|at| self.counts(role, id.shard, *at)) {
            match who.held.get(&MessageId { shard: id.shard, at: at as u32 }) {
                Some(Held::Acked { at } | Held::Past { at }) => since = since.max(*at),
                _ if log.mark(role, at).done => {}
                _ => return None,
            }
        }
        Some(since)
    }

    /// The coordinator has given the shard to somebody else, and this run must know.
    pub(super) fn not_owned(&self, run: Run, id: MessageId) -> Option<(&'static str, String)> {
        let who = self.runs.get(run.0 as usize)?;
        let role = self.roles.get(who.role)?;
        if role.mode != ConsumerMode::LoadBalanced || who.left_group {
            return None;
        }
        let frontiers = self.frontiers.as_ref()?;
        let column = frontiers.column(who.role, id.shard)?;
        let unaware = role.rules.unaware;
        let other = column.owners.iter().find(|(owner, (_, since))| {
            let known = frontiers.members.get(*owner);
            known.is_some_and(|known| *known != run) && self.now.since(*since) > unaware
        })?;
        let mine = column.owners.keys().any(|owner| frontiers.members.get(owner) == Some(&run));
        let calm = self.calm_for(role.recovery.saturating_add(unaware));
        (calm && !mine).then(|| ("K2", format!("which {:?} owns for longer than {unaware:?}", other.0)))
    }
}
