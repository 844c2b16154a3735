//! Where an assignment begins.

use tidegate_core::{Assignment, ConsumerMode, SeqNo};

use super::super::{MessageId, Oracle, Run};

/// An assignment of which nothing has come yet.
#[derive(Clone, Debug)]
pub(super) struct Begin {
    /// From this one on in the history of what was committed, each may be where it begins.
    history: usize,
    /// Where the log ended.
    pub(super) end: usize,
    /// It goes on with what was read before, elsewhere.
    pub(super) goes_on: bool,
    /// The reset policy may decide.
    adrift: bool,
}

impl Oracle {
    pub(super) fn on_begin(&mut self, run: Run, assignment: &Assignment) {
        let Some(shard) = self.shard_ids.get(&(assignment.stream.clone(), assignment.shard)).copied() else {
            return;
        };
        let Some(role) = self.runs.get(run.0 as usize).map(|who| who.role) else { return };
        let end = self.shards.get(shard as usize).map_or(0, |log| log.len());
        let Some(frontiers) = &mut self.frontiers else { return };
        let Some(column) = frontiers.column(role, shard) else { return };
        let (history, adrift) = (column.said, column.adrift);
        // The end, for who reads what is committed, is where the first open transaction begins.
        let open = frontiers.places.get(shard as usize).and_then(|place| place.undecided.first().copied());
        let committed = self.roles.get(role).is_some_and(|role| role.rules.read_committed);
        let end = open.filter(|open| committed && *open < end).unwrap_or(end);
        if let Some(reading) = frontiers.reading_mut(run, shard) {
            (reading.current, reading.went_back) = (Some(assignment.epoch), false);
            reading.begins.insert(assignment.epoch, Begin { history, end, goes_on: false, adrift });
        }
    }

    /// K10: only what is out of range is given up.
    pub(super) fn on_repositioned(&mut self, run: Run, assignment: &Assignment, from: SeqNo) {
        let Some(shard) = self.shard_ids.get(&(assignment.stream.clone(), assignment.shard)).copied() else {
            return;
        };
        let Some(who) = self.runs.get(run.0 as usize) else { return };
        let (name, moving) = (who.name(), who.moving || who.left_group);
        let jumps = self.roles.get(who.role).is_some_and(|role| role.rules.jumps);
        let Some(frontiers) = &mut self.frontiers else { return };
        let explained = frontiers
            .places
            .get(shard as usize)
            .is_some_and(|place| place.cuts > 0 || place.start > from.low());
        if let Some(reading) = frontiers.reading_mut(run, shard) {
            reading.went_back = true;
        }
        if let Some(reading) = frontiers.reading_mut(run, shard)
            && let Some(begin) = reading.begins.get_mut(&assignment.epoch)
        {
            begin.goes_on = true;
            if jumps {
                reading.need = None;
            }
        }
        if !explained && !moving {
            self.accuse("K10", || {
                format!("{name} gave up its position {from} in {assignment}, which is there")
            });
        }
    }

    /// Why this can't be the first message of an assignment.
    pub(super) fn begins_wrong(
        &mut self,
        run: Run,
        id: MessageId,
        begin: Option<&Begin>,
    ) -> Option<(&'static str, String)> {
        let Some(begin) = begin else {
            return Some(("G11", "under an assignment that no notice told of".into()));
        };
        let (shard, at) = (id.shard, id.at as usize);
        let role = self.runs.get(run.0 as usize)?.role;
        let rules = &self.roles.get(role)?.rules;
        let (mode, earliest, latest) = (self.roles.get(role)?.mode, rules.earliest, rules.latest);
        let jumps = rules.jumps;
        let frontiers = self.frontiers.as_ref()?;
        let place = frontiers.places.get(shard as usize)?;
        let column = frontiers.column(role, shard)?;
        let last = frontiers.reading(run, shard)?.last.map(|(last, _)| last + 1).filter(|_| begin.goes_on);
        let skips = |from: usize| match from <= at {
            true => self.first_that_counts(role, shard, from, at),
            false => Some(at),
        };
        if mode == ConsumerMode::RealTime {
            return match last {
                // Out of range, it goes on with the oldest, or where it was cut.
                Some(last) => skips(last)
                    .filter(|skipped| *skipped != at && !jumps)
                    .map(|skipped| ("K10", format!("without {} before it", self.name_of(shard, skipped)))),
                None if begin.goes_on || place.end_is_vague => None,
                None if latest && at < begin.end && place.cuts == 0 => {
                    Some(("K10", "though it reads what comes from now on".into()))
                }
                None => None,
            };
        }
        let positions = column.history.get(begin.history..).unwrap_or_default();
        let candidates: Vec<usize> = positions
            .iter()
            .filter_map(|position| Some(self.place_from(shard, (*position)?)))
            .chain(last)
            .collect();
        if candidates.iter().any(|from| skips(*from).is_none()) {
            return None;
        }
        // Where a log was cut, what was in hand or on its way comes again.
        if last.is_some_and(|last| at < last) && place.cuts > 0 {
            return None;
        }
        // The reset policy, or the end of what is left of an epoch.
        let adrift = begin.adrift || column.adrift || (begin.goes_on && place.cuts > 0);
        let from_oldest = adrift && self.first_that_counts(role, shard, 0, at).is_none();
        if from_oldest {
            return None;
        }
        if adrift && !earliest {
            let from = candidates.iter().copied().min().unwrap_or(0);
            self.give_up(role, shard, from, at);
            return None;
        }
        let skipped = candidates.iter().filter_map(|from| skips(*from)).max();
        let text = match skipped.filter(|skipped| *skipped < at) {
            Some(skipped) => format!("first, without {} before it", self.name_of(shard, skipped)),
            None => "first".into(),
        };
        Some(("K4", format!("{text}; committed was {positions:?}")))
    }

    /// Nobody of this role has to get these.
    pub(super) fn give_up(&mut self, role: usize, shard: u32, from: usize, to: usize) {
        let Some(log) = self.shards.get_mut(shard as usize) else { return };
        for at in from..to {
            if let Some(mark) = log.mark_mut(role, at) {
                mark.excused |= !mark.done;
            }
        }
        self.sometimes.saw("passed over by the reset policy");
    }
}
