//! What the broker tells.

use bytes::Bytes;
use tidegate_core::{AutoCommit, SeqNo};

use super::member::Held;
use super::{MessageId, Oracle, Run};
use crate::broker::{Fact, Gone, Handed, PeerId};

/// What the world's own hand is called by a broker.
const BY_HAND: PeerId = PeerId(u64::MAX);

impl Oracle {
    /// This connection is this run's.
    pub fn connected(&mut self, peer: PeerId, run: Run) {
        let at = peer.0 as usize;
        if self.peers.len() <= at {
            self.peers.resize(at + 1, None);
        }
        if let Some(place) = self.peers.get_mut(at) {
            *place = Some(run);
        }
    }

    pub(super) fn run_of(&self, peer: PeerId) -> Option<Run> {
        self.peers.get(peer.0 as usize).copied().flatten()
    }

    /// Something happened inside of the broker.
    pub fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::Appended { shard, seq } => {
                let log = self.shards.get_mut(*shard as usize);
                let appended = log.is_some_and(|log| log.append(*seq));
                if self.frontiers.is_some() {
                    return self.on_appended(*shard, *seq, appended);
                }
                if appended {
                    return;
                }
                // A fail-over that lost a deletion brings messages back: whoever reads alone may
                // take it for another stream.
                let back = self.shards.get_mut(*shard as usize).is_some_and(|log| log.restore(*seq));
                for seen in self.runs.iter_mut().filter_map(|run| run.shards.get_mut(*shard as usize)) {
                    (seen.since, seen.next) = (None, None);
                }
                if !back {
                    self.accuse("model", || format!("shard {shard}: {} is not the end", seq.as_redis()));
                }
            }
            Fact::Gone { shard, seq, why } => {
                self.sometimes.saw(match why {
                    Gone::Deleted => "message deleted",
                    Gone::Lost => "message lost by the broker",
                });
                if let Some(id) = self.find(*shard, *seq)
                    && let Some(log) = self.shards.get_mut(*shard as usize)
                {
                    log.lose(id.at as usize);
                }
            }
            Fact::Handed { shard, seq, member, from, how, peer } => {
                self.on_handed(*shard, *seq, member, from.as_ref(), *how, *peer);
            }
            Fact::Committed { shard, seq, peer, .. } => self.on_committed(*shard, *seq, *peer),
            Fact::Dropped { shard, seq, member, peer } => self.on_dropped(*shard, *seq, member, *peer),
            Fact::SetBack { shard } => self.on_set_back(*shard),
            Fact::Walked { shard, peer, anew, goes_on } => self.on_walked(*shard, *peer, *anew, *goes_on),
            Fact::Commanded { peer, name, refused } => self.on_command(*peer, name, *refused),
            Fact::CommittedTo { .. }
            | Fact::Met { .. }
            | Fact::Owned { .. }
            | Fact::Disowned { .. }
            | Fact::Undecided { .. }
            | Fact::Decided { .. }
            | Fact::Trimmed { .. }
            | Fact::Cut { .. }
            | Fact::HeldBack { .. }
            | Fact::Grown { .. } => self.on_fact_of_offsets(fact),
        }
    }

    fn on_handed(
        &mut self,
        shard: u32,
        seq: SeqNo,
        member: &Bytes,
        from: Option<&Bytes>,
        how: Handed,
        peer: PeerId,
    ) {
        if peer == BY_HAND {
            // Somebody who is no consumer of ours has it now: nobody has to get it.
            let previous = from.and_then(|from| self.names.get(from).copied());
            let role = previous.and_then(|run| self.runs.get(run.0 as usize)).map(|who| who.role);
            if let (Some(role), Some(id)) = (role, self.find(shard, seq))
                && let Some(log) = self.shards.get_mut(shard as usize)
                && let Some(mark) = log.mark_mut(role, id.at as usize)
            {
                (mark.excused, mark.pending) = (true, false);
            }
            return;
        }
        let Some(asker) = self.run_of(peer) else { return };
        let asker_name = self.runs.get(asker.0 as usize).map(|who| who.consumer.clone());
        if asker_name.as_ref() != Some(member) {
            self.accuse("R2", || {
                format!("{} took {} for {member:?}", self_name(asker_name.as_ref()), seq.as_redis())
            });
            return;
        }
        let Some(run) = self.names.get(member).copied() else { return };
        let Some(role) = self.runs.get(asker.0 as usize).map(|who| who.role) else { return };
        let Some(id) = self.find(shard, seq) else { return };
        let previous = from.and_then(|from| self.names.get(from).copied());
        if let Handed::Claimed { .. } = how {
            self.check_claim(id, asker, from == Some(member), previous);
        }
        let (now, acks) = (self.now, self.roles.get(role).is_some_and(|role| role.acks));
        let alive = self.runs.get(asker.0 as usize).is_some_and(|who| who.alive);
        let reaches = alive && !self.ended.contains(&peer);
        let touched = from == Some(member) && matches!(how, Handed::Claimed { .. });
        if let Some(mark) =
            self.shards.get_mut(shard as usize).and_then(|log| log.mark_mut(role, id.at as usize))
        {
            mark.pending = acks;
            mark.granted += u32::from(how == Handed::New);
            mark.claimed_again |= touched;
            // At most once: the broker gave it to a connection that nobody listens to any more.
            mark.excused = !acks && (mark.excused || !reaches);
            if !touched || mark.handed.is_none() {
                mark.handed = Some((now, run, how));
            }
        }
        self.sometimes.saw(match how {
            Handed::New => "handed out: new",
            Handed::Own => "handed out: own again",
            Handed::Claimed { .. } if touched => "kept alive",
            Handed::Claimed { .. } => "handed out: claimed",
        });
    }

    /// Who is told that there is more goes on from there: what is behind would never be reached,
    /// where those in front stay. Only a page that failed, or was lost, lets it begin anew.
    fn on_walked(&mut self, shard: u32, peer: PeerId, anew: bool, goes_on: bool) {
        let Some(run) = self.run_of(peer) else { return };
        let Some(who) = self.runs.get_mut(run.0 as usize) else { return };
        let before = who.walks.insert(shard, (peer, goes_on));
        if anew && before == Some((peer, true)) {
            let name = who.name();
            self.accuse("R2", || {
                format!("{name} began a walk anew, though there was more of the one before")
            });
        }
    }

    /// A claim takes nothing that a live member works on.
    fn check_claim(&mut self, id: MessageId, asker: Run, own: bool, previous: Option<Run>) {
        let Some(previous) = previous.filter(|previous| !own && *previous != asker) else { return };
        let Some(who) = self.runs.get(previous.0 as usize) else { return };
        let Some(role) = self.roles.get(who.role) else { return };
        let works = who.alive && !who.moving && matches!(who.held.get(&id), Some(Held::InHand { .. }));
        let since = who.held.get(&id).map(Held::since).unwrap_or_default();
        if works
            && role.keeps_alive
            && !who.leaving
            && self.calm_for(role.recovery * 2)
            && self.now.since(since) > role.idle
        {
            let name = who.name();
            let what = self.describe(id);
            self.accuse("R2", || format!("{what} was claimed from {name}, which works on it"));
        }
    }

    fn on_committed(&mut self, shard: u32, seq: SeqNo, peer: PeerId) {
        let Some(run) = self.run_of(peer) else { return };
        let Some(who) = self.runs.get(run.0 as usize) else { return };
        let role = who.role;
        let Some(id) = self.find(shard, seq) else { return };
        let gone = self.shards.get(shard as usize).is_none_or(|log| log.is_gone(id.at as usize));
        let commit = self.roles.get(role).map_or(AutoCommit::Immediate, |role| role.commit);
        let mark =
            self.shards.get(shard as usize).map(|log| log.mark(role, id.at as usize)).unwrap_or_default();
        let wrong = match (who.held.get(&id), commit) {
            _ if who.left_group => Some("after it had left the group"),
            // Deleted while it was pending: it may leave, whoever works on what was in it.
            _ if gone => None,
            (Some(Held::Acked { .. } | Held::Past { .. }), _) => None,
            (Some(Held::InHand { .. }), AutoCommit::Delayed { .. }) if who.leaving => None,
            (Some(Held::InHand { since }), AutoCommit::Delayed { delay })
                if self.now.since(*since) + who.clock_slack >= delay =>
            {
                None
            }
            (Some(Held::InHand { .. }), AutoCommit::Delayed { .. }) => Some("before its delay was over"),
            // Handed out again by a group that was set back: an ack of before, on its way for long.
            (Some(Held::InHand { .. }), _) if mark.done && mark.granted > 1 => None,
            (Some(Held::InHand { .. }), _) => Some("though the application is not done with it"),
            (None, _) => Some("though no application got it"),
        };
        if let Some(wrong) = wrong {
            let name = who.name();
            let what = self.describe(id);
            self.accuse("G1", || format!("{name} committed {what} {wrong}"));
        }
        if let Some(Held::InHand { .. }) = self.runs.get(run.0 as usize).and_then(|who| who.held.get(&id)) {
            let now = self.now;
            if let Some(who) = self.runs.get_mut(run.0 as usize) {
                who.held.insert(id, Held::Acked { at: now });
            }
        }
        if let Some(mark) =
            self.shards.get_mut(shard as usize).and_then(|log| log.mark_mut(role, id.at as usize))
        {
            (mark.pending, mark.done) = (false, true);
        }
        self.sometimes.saw("committed");
    }

    fn on_dropped(&mut self, shard: u32, seq: SeqNo, member: &Bytes, peer: Option<PeerId>) {
        let Some(role) = self.names.get(member).and_then(|run| self.runs.get(run.0 as usize)).map(|w| w.role)
        else {
            return;
        };
        let Some(id) = self.find(shard, seq) else { return };
        let Some(log) = self.shards.get_mut(shard as usize) else { return };
        let gone = log.is_gone(id.at as usize);
        let Some(mark) = log.mark_mut(role, id.at as usize) else { return };
        mark.pending = false;
        if let Some(run) = peer.and_then(|peer| self.run_of(peer)) {
            self.sometimes.saw("pending entry without a message left");
            if !gone {
                let name = self.runs.get(run.0 as usize).map(|who| who.name()).unwrap_or_default();
                let text = format!("{name} dropped {}, pending with {member:?}", self.describe(id));
                self.accuse("R6", || text);
            }
        } else if let Some(mark) =
            self.shards.get_mut(shard as usize).and_then(|log| log.mark_mut(role, id.at as usize))
        {
            mark.excused = true;
        }
    }

    fn on_set_back(&mut self, shard: u32) {
        self.sometimes.saw("group set back");
        if let Some(log) = self.shards.get_mut(shard as usize) {
            log.set_back = Some(self.now);
            for mark in log.marks_mut() {
                // Pending, and perhaps nobody remembers, unless it is handed out again.
                mark.excused |= mark.pending;
                mark.pending = false;
            }
        }
        for who in &mut self.runs {
            for (_, held) in who.held.iter_mut().filter(|(id, _)| id.shard == shard) {
                if let Held::Acked { at } = *held {
                    *held = Held::Past { at };
                }
            }
            if let Some(seen) = who.shards.get_mut(shard as usize) {
                seen.last_new = None;
            }
        }
    }
}

fn self_name(name: Option<&Bytes>) -> String {
    name.map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default()
}
