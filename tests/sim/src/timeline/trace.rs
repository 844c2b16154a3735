//! A history from a recorded trace: one machine, seen from inside.
//!
//! A trace says when batches were taken and acked, but not how their messages came here; that
//! follows from notices (`claimed 3 of orders/0`) and from positions: what is handed out for the
//! first time only ever grows. Where a claim and new messages are taken at the same time, this
//! is a good guess and no more.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tidegate_core::ack::SegmentId;
use tidegate_core::trace::{Digest, Ended, Input, Line, Output, Trace, TraceError};
use tidegate_core::{AckRange, Assignment, AutoCommit, ConsumerMode, Epoch, Instant, Request, SeqNo, Setup};

use crate::history::{History, Hold, HoldEnd, Mark, MarkKind, Origin, Span, SpanKind};

impl History {
    /// What a trace tells: one member, its batches until they were acked, its connections, and
    /// what it had to say. Instants are the trace's own, so that its lines can be found.
    ///
    /// # Errors
    /// [`TraceError::Corrupt`] at the first line that can't be read. A trace that was cut off is
    /// drawn up to there.
    pub fn from_trace(trace: &Trace<'_>) -> Result<Self, TraceError> {
        let mut reader = Reader::new(trace);
        let mut lines = trace.lines();
        for line in &mut lines {
            reader.line(line?);
        }
        Ok(reader.finish(lines.is_cut()))
    }
}

/// Everything concerns the only member.
const MEMBER: usize = 0;

struct Reader {
    history: History,
    now: Instant,
    started: bool,
    closing: bool,
    ended: bool,
    /// Whether commits show as `XACK` in what is written.
    writes_xack: bool,
    /// With delayed acks: how long after they were taken messages count as acked.
    delay: Option<Duration>,
    segments: BTreeMap<SegmentId, Segment>,
    shards: BTreeMap<String, Shard>,
    lost: BTreeMap<u16, Lost>,
    counts: Counts,
}

/// A batch that is not acked yet.
struct Segment {
    hold: usize,
    epoch: Epoch,
    messages: u64,
    /// Acked ranges by their start: apart from each other, so that nothing is counted twice.
    acked: BTreeMap<u64, u64>,
    left: u64,
    until: Instant,
}

#[derive(Default)]
struct Shard {
    newest: Option<SeqNo>,
    /// Messages that notices told of, and that were not taken yet.
    announced: VecDeque<(Origin, u64)>,
}

/// A connection that isn't there.
struct Lost {
    since: Instant,
    why: String,
    /// Else the machine closed it, and may never want it again.
    wanted: bool,
}

#[derive(Default)]
struct Counts {
    delivered: u64,
    acked: u64,
    claimed: u64,
    recovered: u64,
    vanished: u64,
    losses: u64,
}

impl Reader {
    fn new(trace: &Trace<'_>) -> Self {
        let Setup { streams, options, host, generated_consumer, .. } = &trace.setup;
        let host = host.as_ref().filter(|_| options.mode == ConsumerMode::Resumable);
        let consumer = options.consumer.as_ref().map(ToString::to_string);
        let consumer = consumer.or_else(|| host.map(|host| host.as_str().to_owned()));
        let mut title = format!("trace of {}:", trace.backend);
        streams.iter().for_each(|stream| title.push_str(&format!(" {stream}")));
        if let Some(group) = &options.group {
            title.push_str(&format!(", group {group}"));
        }
        Self {
            history: History {
                title,
                members: vec![consumer.unwrap_or_else(|| generated_consumer.to_string())],
                ..History::default()
            },
            now: Instant::ZERO,
            started: false,
            closing: false,
            ended: false,
            writes_xack: trace.backend == "redis",
            delay: match options.auto_commit {
                AutoCommit::Delayed { delay } => Some(delay),
                AutoCommit::Immediate | AutoCommit::Rolling { .. } | AutoCommit::Disabled => None,
            },
            segments: BTreeMap::new(),
            shards: BTreeMap::new(),
            lost: BTreeMap::new(),
            counts: Counts::default(),
        }
    }

    fn line(&mut self, line: Line<'_>) {
        match line {
            Line::At(at, input) => {
                // As in a machine, time never goes backwards.
                self.now = self.now.max(at);
                if !self.started {
                    self.started = true;
                    self.mark(MarkKind::Started, "the trace begins");
                    self.span(SpanKind::Alive, self.now, None, String::new());
                }
                self.input(input);
            }
            Line::Out(output) => self.output(output),
            Line::Take | Line::Appended { .. } => {}
        }
    }

    fn input(&mut self, input: Input<'_>) {
        match input {
            Input::Opened { conn } => {
                if let Some(lost) = self.lost.remove(&conn.number).filter(|lost| lost.since < self.now) {
                    self.span(SpanKind::Disconnected, lost.since, Some(self.now), lost.why);
                }
            }
            Input::OpenFailed { conn, cause } | Input::Closed { conn, cause } if !self.closing => {
                let lost = self.lost.entry(conn.number).or_insert_with(|| {
                    self.counts.losses += 1;
                    Lost { since: self.now, why: String::new(), wanted: true }
                });
                lost.why = format!("c{}: {cause}", conn.number);
            }
            Input::Request(request) => self.request(&request),
            Input::Tick | Input::Received { .. } | Input::Wrote { .. } => {}
            Input::OpenFailed { .. } | Input::Closed { .. } => {}
        }
    }

    fn request(&mut self, request: &Request) {
        match request {
            Request::Ack(ranges) => ranges.iter().for_each(|range| self.ack(range, self.now)),
            Request::Taken(ranges) => {
                if let Some(delay) = self.delay {
                    ranges.iter().for_each(|range| self.ack(range, self.now + delay));
                }
            }
            Request::Commit => self.mark(MarkKind::Notice, "asked: commit"),
            Request::Seek(to) => self.mark(MarkKind::Notice, format!("asked: seek {}", to.as_millis())),
            Request::Rewind(to) => self.mark(MarkKind::Notice, format!("asked: rewind {to:?}")),
            Request::Assign { stream, shard } => {
                self.mark(MarkKind::Notice, format!("asked: assign {stream}/{shard}"));
            }
            Request::Unassign { stream, shard } => {
                self.mark(MarkKind::Notice, format!("asked: unassign {stream}/{shard}"));
            }
            Request::Pause => self.mark(MarkKind::Notice, "asked: pause"),
            Request::Resume => self.mark(MarkKind::Notice, "asked: resume"),
            Request::Close { deadline } => {
                self.closing = true;
                self.mark(MarkKind::Notice, format!("asked: close within {deadline:?}"));
            }
        }
    }

    fn output(&mut self, output: Output<'_>) {
        match output {
            Output::Open { conn, endpoint } => {
                let why = || format!("c{}: connecting to {endpoint}", conn.number);
                let lost = Lost { since: self.now, why: String::new(), wanted: true };
                let lost = self.lost.entry(conn.number).or_insert(lost);
                lost.wanted = true;
                if lost.why.is_empty() {
                    lost.why = why();
                }
            }
            Output::Close { conn } if !self.closing => {
                let lost = Lost { since: self.now, why: format!("c{}: closed", conn.number), wanted: false };
                self.lost.entry(conn.number).or_insert(lost);
            }
            Output::Write { bytes, .. } | Output::More { bytes, .. } => {
                if self.writes_xack && contains(&bytes, b"\r\nXACK\r\n") {
                    self.mark(MarkKind::Committed, "XACK was written");
                }
            }
            Output::Done { ended: Ended::Closed(uncommitted), .. } => {
                let text = match uncommitted {
                    0 => "closed".to_owned(),
                    _ => format!("closed, {uncommitted} acked messages not committed"),
                };
                self.end(MarkKind::Closed, text);
            }
            Output::Done { ended: Ended::Committed(messages), .. } => {
                let kind = if self.writes_xack { MarkKind::Notice } else { MarkKind::Committed };
                self.mark(kind, format!("committed {messages} messages"));
            }
            Output::Done { ended, .. } => self.mark(MarkKind::Notice, format!("done: {ended}")),
            Output::Notice(text) => self.notice(&text),
            Output::Batch(batch) => self.batch(&batch),
            Output::Assigned(shard) => self.mark(MarkKind::Assigned, format!("assigned {shard}")),
            Output::Revoked(shard) => self.revoked(&shard),
            Output::End => self.end(MarkKind::Closed, "the end".into()),
            Output::Failed(error) => self.end(MarkKind::Killed, format!("failed: {error}")),
            Output::Refused(error) => self.mark(MarkKind::Notice, format!("refused: {error}")),
            Output::Close { .. } | Output::Wait(_) | Output::Ticket(_) => {}
            Output::Accepted | Output::Nothing => {}
        }
    }

    fn notice(&mut self, text: &str) {
        let messages_of = |text: &str, word: &str| {
            let (messages, shard) = text.strip_prefix(word)?.split_once(" of ")?;
            Some((messages.parse::<u64>().ok()?, shard.to_owned()))
        };
        if let Some((messages, shard)) = messages_of(text, "claimed ") {
            self.counts.claimed = self.counts.claimed.saturating_add(messages);
            self.shards.entry(shard).or_default().announced.push_back((Origin::Claimed, messages));
            return self.mark(MarkKind::Claimed, text);
        }
        if let Some((messages, shard)) = messages_of(text, "recovered ") {
            self.counts.recovered = self.counts.recovered.saturating_add(messages);
            self.shards.entry(shard).or_default().announced.push_back((Origin::Recovered, messages));
        }
        if let Some(messages) = text.split_once(" pending of ").and_then(|(n, _)| n.parse().ok()) {
            self.counts.vanished = self.counts.vanished.saturating_add(messages);
        }
        // The deliveries say these, in order with the batches.
        if !text.starts_with("assigned ") && !text.starts_with("revoked ") {
            self.mark(MarkKind::Notice, text);
        }
    }

    fn batch(&mut self, batch: &Digest) {
        let shard = format!("{}/{}", batch.stream, batch.shard);
        let messages = batch.messages as u64;
        self.counts.delivered = self.counts.delivered.saturating_add(messages);
        let origin = self.shards.entry(shard.clone()).or_default().origin(batch);
        let hold = self.history.holds.len();
        // Without a segment there is nothing to ack: the broker forgot it as it handed it out.
        let done = batch.segment.is_none();
        self.history.holds.push(Hold {
            member: MEMBER,
            shard,
            first: batch.first,
            last: batch.last,
            messages,
            from: self.now,
            until: done.then_some(self.now),
            origin,
            end: if done { HoldEnd::Acked } else { HoldEnd::Open },
        });
        if let Some(segment) = batch.segment {
            let (epoch, left, acked, until) = (batch.epoch, messages, BTreeMap::new(), self.now);
            self.segments.insert(segment, Segment { hold, epoch, messages, acked, left, until });
        }
    }

    fn ack(&mut self, range: &AckRange, at: Instant) {
        let Some(segment) = self.segments.get_mut(&range.segment) else { return };
        if segment.epoch != range.epoch {
            return;
        }
        let acked = segment.ack(range.start.into(), range.end.into(), at);
        self.counts.acked = self.counts.acked.saturating_add(acked);
        if segment.left == 0 {
            let (hold, until) = (segment.hold, segment.until);
            self.segments.remove(&range.segment);
            self.ends(hold, until, HoldEnd::Acked);
        }
    }

    fn ends(&mut self, hold: usize, until: Instant, end: HoldEnd) {
        if let Some(hold) = self.history.holds.get_mut(hold) {
            (hold.until, hold.end) = (Some(until), end);
        }
    }

    fn revoked(&mut self, shard: &Assignment) {
        let name = shard.to_string();
        self.mark(MarkKind::Revoked, format!("revoked {name}"));
        let holds = &self.history.holds;
        let is_of = |segment: &Segment| {
            segment.epoch <= shard.epoch && holds.get(segment.hold).is_some_and(|hold| hold.shard == name)
        };
        let stale: Vec<_> =
            self.segments.iter().filter(|(_, segment)| is_of(segment)).map(|(id, _)| *id).collect();
        for id in stale {
            self.abandon(id);
        }
        // What follows may begin anywhere.
        self.shards.remove(&name);
    }

    fn abandon(&mut self, id: SegmentId) {
        if let Some(segment) = self.segments.remove(&id) {
            self.ends(segment.hold, self.now, HoldEnd::Abandoned);
        }
    }

    /// The consumer is no more; what it says after that is said once.
    fn end(&mut self, kind: MarkKind, text: String) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.mark(kind, text);
        while let Some((&id, _)) = self.segments.first_key_value() {
            self.abandon(id);
        }
        // A close acks what was taken, and waits for no delay.
        for hold in &mut self.history.holds {
            hold.until = hold.until.map(|until| until.min(self.now));
        }
        let alive = self.history.spans.iter_mut().find(|span| span.kind == SpanKind::Alive);
        if let Some(alive) = alive {
            alive.until = Some(self.now);
        }
    }

    fn finish(mut self, cut: bool) -> History {
        if cut && !self.ended {
            self.mark(MarkKind::Killed, "the trace is cut off here");
        }
        for hold in self.history.holds.iter_mut().filter(|hold| hold.until > Some(self.now)) {
            (hold.until, hold.end) = (None, HoldEnd::Open);
        }
        let until = self.ended.then_some(self.now);
        for lost in std::mem::take(&mut self.lost).into_values().filter(|lost| lost.wanted) {
            self.span(SpanKind::Disconnected, lost.since, until, lost.why);
        }
        let Counts { delivered, acked, claimed, recovered, vanished, losses } = self.counts;
        let totals = [
            ("delivered", delivered),
            ("acked", acked),
            ("claimed", claimed),
            ("recovered", recovered),
            ("vanished", vanished),
            ("connections lost", losses),
        ];
        self.history.totals = totals.map(|(name, count)| (name.to_owned(), count)).into();
        self.history
    }

    fn mark(&mut self, kind: MarkKind, text: impl Into<String>) {
        self.history.marks.push(Mark { member: Some(MEMBER), kind, at: self.now, text: text.into() });
    }

    fn span(&mut self, kind: SpanKind, from: Instant, until: Option<Instant>, text: String) {
        self.history.spans.push(Span { member: Some(MEMBER), kind, from, until, text });
    }
}

impl Segment {
    /// How many of these were not acked before.
    fn ack(&mut self, start: u64, end: u64, at: Instant) -> u64 {
        let (mut start, mut end) = (start, end.min(self.messages));
        if start >= end {
            return 0;
        }
        let mut fresh = end - start;
        // Merges with the ranges that it touches; `fresh` loses what they had of it.
        while let Some((&from, &to)) = self.acked.range(..=end).next_back().filter(|(_, to)| **to >= start) {
            fresh = fresh.saturating_sub(to.min(end).saturating_sub(from.max(start)));
            self.acked.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        self.acked.insert(start, end);
        self.left = self.left.saturating_sub(fresh);
        self.until = self.until.max(at);
        fresh
    }
}

impl Shard {
    fn origin(&mut self, batch: &Digest) -> Origin {
        let messages = batch.messages as u64;
        let again = self.newest.is_some_and(|newest| batch.first <= newest);
        let announced = self.announced.front().copied();
        let fits = announced.is_some_and(|(_, left)| left == messages || self.newest.is_none());
        if !again && !fits {
            self.newest = self.newest.max(Some(batch.last));
            return Origin::New;
        }
        let mut left = messages;
        while let Some((_, announced)) = self.announced.front_mut().filter(|_| left > 0) {
            let taken = left.min(*announced);
            left -= taken;
            *announced -= taken;
            if *announced == 0 {
                self.announced.pop_front();
            }
        }
        announced.map_or(Origin::Recovered, |(origin, _)| origin)
    }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_in_any_order_count_once() {
        let acked = BTreeMap::new();
        let (hold, epoch, until) = (0, Epoch(1), Instant::ZERO);
        let mut segment = Segment { hold, epoch, messages: 10, acked, left: 10, until };
        let mut ack = |start, end| segment.ack(start, end, Instant::ZERO);
        assert_eq!((ack(2, 4), ack(6, 8), ack(3, 7), ack(0, 10), ack(0, 10)), (2, 2, 2, 4, 0));
        assert_eq!((ack(9, 200), ack(5, 5), ack(200, 9)), (0, 0, 0));
        assert_eq!(segment.left, 0);
        assert_eq!(segment.acked, BTreeMap::from([(0, 10)]));
    }
}
