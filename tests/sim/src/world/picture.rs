//! The run as a history to look at, if somebody wants to.

use std::collections::BTreeMap;

use tidegate_core::ack::SegmentId;
use tidegate_core::{AckRange, Batch, Instant, Notice};

use super::START;
use crate::history::{History, Hold, HoldEnd, Mark, MarkKind, Origin, Span, SpanKind};

/// Collects a history; does nothing when it isn't wanted.
#[derive(Debug)]
pub(super) struct Picture {
    history: Option<History>,
    /// By member and segment: the hold, and how many of its messages are not acked.
    open: BTreeMap<(usize, SegmentId), (usize, u64)>,
    alive: BTreeMap<usize, usize>,
    standing: BTreeMap<usize, usize>,
    cut_off: BTreeMap<usize, usize>,
    connections: BTreeMap<usize, i64>,
    outages: Vec<usize>,
    claimed: BTreeMap<usize, u64>,
}

fn at(now: Instant) -> Instant {
    Instant::ZERO + now.since(START)
}

impl Picture {
    pub(super) fn new(wanted: bool, members: Vec<String>) -> Self {
        Self {
            history: wanted.then(|| History { members, ..History::default() }),
            open: BTreeMap::new(),
            alive: BTreeMap::new(),
            standing: BTreeMap::new(),
            cut_off: BTreeMap::new(),
            connections: BTreeMap::new(),
            outages: Vec::new(),
            claimed: BTreeMap::new(),
        }
    }

    pub(super) fn history(
        self,
        now: Instant,
        (sent, got, again): (u64, u64, u64),
        unfinished: bool,
    ) -> Option<History> {
        let mut history = self.history?;
        history.title = format!("{:.1} s of virtual time", now.since(START).as_secs_f64());
        history.totals =
            vec![("sent".into(), sent), ("received".into(), got), ("received again".into(), again)];
        if !unfinished {
            history.totals.push(("lost".into(), 0));
        }
        Some(history)
    }

    fn mark(&mut self, now: Instant, member: Option<usize>, kind: MarkKind, text: &str) {
        if let Some(history) = &mut self.history {
            history.marks.push(Mark { member, kind, at: at(now), text: text.into() });
        }
    }

    fn begin(&mut self, now: Instant, member: Option<usize>, kind: SpanKind, text: &str) -> Option<usize> {
        let history = self.history.as_mut()?;
        history.spans.push(Span { member, kind, from: at(now), until: None, text: text.into() });
        Some(history.spans.len() - 1)
    }

    fn end(&mut self, now: Instant, span: Option<usize>) {
        if let Some(span) = span.and_then(|span| self.history.as_mut()?.spans.get_mut(span)) {
            span.until = Some(at(now));
        }
    }

    pub(super) fn started(&mut self, now: Instant, member: usize) {
        self.mark(now, Some(member), MarkKind::Started, "started");
        if let Some(span) = self.begin(now, Some(member), SpanKind::Alive, "runs") {
            self.alive.insert(member, span);
        }
    }

    pub(super) fn stopped(&mut self, now: Instant, member: usize, killed: bool) {
        if self.history.is_none() {
            return;
        }
        if killed {
            self.mark(now, Some(member), MarkKind::Killed, "killed");
        }
        let spans = [self.alive.remove(&member), self.standing.remove(&member), self.cut_off.remove(&member)];
        spans.into_iter().for_each(|span| self.end(now, span));
        self.connections.remove(&member);
        let theirs: Vec<_> = self.open.keys().filter(|(known, _)| *known == member).copied().collect();
        for key in theirs {
            if let Some((hold, _)) = self.open.remove(&key) {
                self.end_hold(now, hold, HoldEnd::Abandoned);
            }
        }
    }

    fn end_hold(&mut self, now: Instant, hold: usize, end: HoldEnd) {
        if let Some(hold) = self.history.as_mut().and_then(|history| history.holds.get_mut(hold)) {
            (hold.until, hold.end) = (Some(at(now)), end);
        }
    }

    pub(super) fn closed(&mut self, now: Instant, member: usize) {
        self.mark(now, Some(member), MarkKind::Closed, "closed");
    }

    pub(super) fn frozen(&mut self, now: Instant, member: usize, begins: bool) {
        if begins {
            if let Some(span) = self.begin(now, Some(member), SpanKind::Frozen, "stands still") {
                self.standing.insert(member, span);
            }
        } else {
            let span = self.standing.remove(&member);
            self.end(now, span);
        }
    }

    pub(super) fn connected(&mut self, now: Instant, member: usize, up: bool) {
        if self.history.is_none() || !self.alive.contains_key(&member) {
            return;
        }
        let count = self.connections.entry(member).or_default();
        *count = (*count + if up { 1 } else { -1 }).max(0);
        match (*count, up) {
            (1, true) => {
                let span = self.cut_off.remove(&member);
                self.end(now, span);
            }
            (0, false) if !self.cut_off.contains_key(&member) => {
                if let Some(span) = self.begin(now, Some(member), SpanKind::Disconnected, "no connection") {
                    self.cut_off.insert(member, span);
                }
            }
            _ => {}
        }
    }

    pub(super) fn outage(&mut self, now: Instant, begins: bool, text: &str) {
        if begins {
            if let Some(span) = self.begin(now, None, SpanKind::Outage, text) {
                self.outages.push(span);
            }
        } else if !self.outages.is_empty() {
            let span = self.outages.remove(0);
            self.end(now, Some(span));
        }
    }

    pub(super) fn fault(&mut self, now: Instant, member: Option<usize>, text: &str) {
        self.mark(now, member, MarkKind::Fault, text);
    }

    pub(super) fn violation(&mut self, now: Instant, text: &str) {
        self.mark(now, None, MarkKind::Violation, text);
    }

    pub(super) fn took(&mut self, now: Instant, member: usize, batch: &Batch) {
        let Some(history) = &mut self.history else { return };
        let (Some(first), Some(last)) = (batch.iter().next(), batch.iter().next_back()) else { return };
        let again = batch.iter().any(|message| message.deliveries() > 1);
        let claimed = self.claimed.get_mut(&member).filter(|left| **left > 0);
        let origin = match (again, claimed) {
            (true, Some(left)) => {
                *left = left.saturating_sub(batch.len() as u64);
                Origin::Claimed
            }
            (true, None) => Origin::Recovered,
            (false, _) => Origin::New,
        };
        let source = batch.source();
        let acked = source.segment.is_none();
        history.holds.push(Hold {
            member,
            shard: format!("{}/{}", source.stream, source.shard),
            first: first.seq(),
            last: last.seq(),
            messages: batch.len() as u64,
            from: at(now),
            until: acked.then(|| at(now)),
            origin,
            end: if acked { HoldEnd::Acked } else { HoldEnd::Open },
        });
        if let Some(segment) = source.segment {
            self.open.insert((member, segment), (history.holds.len() - 1, batch.len() as u64));
        }
    }

    pub(super) fn acked(&mut self, now: Instant, member: usize, range: AckRange) {
        if self.history.is_none() {
            return;
        }
        let Some((hold, left)) = self.open.get_mut(&(member, range.segment)) else { return };
        *left = left.saturating_sub(u64::from(range.end - range.start));
        if *left == 0 {
            let hold = *hold;
            self.open.remove(&(member, range.segment));
            self.end_hold(now, hold, HoldEnd::Acked);
        }
    }

    pub(super) fn notice(&mut self, now: Instant, member: usize, notice: &Notice) {
        if self.history.is_none() {
            return;
        }
        let kind = match notice {
            Notice::Claimed { messages, .. } => {
                *self.claimed.entry(member).or_default() += messages;
                MarkKind::Claimed
            }
            Notice::Assigned(_) => MarkKind::Assigned,
            Notice::Revoked(_) => MarkKind::Revoked,
            _ => MarkKind::Notice,
        };
        self.mark(now, Some(member), kind, &notice.to_string());
    }
}
