//! Histories that look like real ones, for eyes and tests.

use std::time::Duration;

use tidegate_core::random::Random;
use tidegate_core::{Instant, SeqNo};
use tidegate_sim::history::{History, Hold, HoldEnd, Mark, MarkKind, Origin, Span, SpanKind};

/// Milliseconds after the beginning.
pub(crate) fn at(millis: u64) -> Instant {
    Instant::ZERO + Duration::from_millis(millis)
}

/// Text that would be markup, and end the script, where it isn't escaped.
pub(crate) const HOSTILE: &str = "</script><script>alert(1)</script><!--<b title=\"&\">{{data}}\u{2028}\0";

/// A history whose every text is hostile, and whose every number is extreme.
pub(crate) fn hostile() -> History {
    let text = || HOSTILE.to_owned();
    let hold = |member, from, until| Hold {
        member,
        shard: text(),
        first: SeqNo::ZERO,
        last: SeqNo::MAX,
        messages: u64::MAX,
        from,
        until,
        origin: Origin::Recovered,
        end: HoldEnd::Abandoned,
    };
    let (kind, from, until) = (SpanKind::Outage, at(5), Some(at(1)));
    History {
        title: text(),
        members: vec![text()],
        holds: vec![
            hold(0, Instant::ZERO, Some(Instant::MAX)),
            hold(0, at(9), Some(at(3))),
            hold(1, at(0), None),
        ],
        spans: vec![
            Span { member: None, kind, from, until, text: text() },
            Span { member: Some(7), kind, from, until: None, text: text() },
        ],
        marks: vec![
            Mark { member: None, kind: MarkKind::Violation, at: Instant::MAX, text: text() },
            Mark { member: Some(7), kind: MarkKind::Fault, at: Instant::MAX, text: text() },
        ],
        totals: vec![(text(), u64::MAX)],
    }
}

/// Three members for five minutes: one is killed, another claims what it left, the broker is
/// down for a while, one stands still, one is cut off.
pub(crate) fn three() -> History {
    let mut sample = Sample::new("seed 4217 · 3 members, 2 shards, a kill and a claim", 3, 300_000);
    sample.alive(0, 400, None);
    sample.alive(1, 900, Some((118_000, MarkKind::Killed)));
    sample.alive(1, 171_000, None);
    sample.alive(2, 1_300, Some((282_000, MarkKind::Closed)));
    sample.span(Some(2), SpanKind::Frozen, 203_000, Some(231_000), "SIGSTOP");
    sample.span(Some(0), SpanKind::Disconnected, 40_000, Some(49_000), "black hole");
    sample.span(None, SpanKind::Outage, 139_000, Some(158_000), "redis restarts: LOADING");
    sample.span(None, SpanKind::Outage, 252_000, Some(256_500), "OOM");
    for (when, text) in [
        (40_000, "black hole to member-0"),
        (118_000, "kill member-1"),
        (139_000, "crash of the broker"),
        (203_000, "SIGSTOP member-2"),
        (243_000, "reset that loses the tail"),
    ] {
        sample.mark(None, MarkKind::Fault, when, text);
    }
    for member in 0..3 {
        let mut now = 2_000 + 700 * member as u64;
        while now < 296_000 {
            let long = sample.random.below(7_000) + 600;
            sample.new_hold(member, now, long, 8);
            now += sample.random.below(5_000) + 700;
        }
    }
    for when in [176_000, 176_900] {
        sample.mark(Some(0), MarkKind::Claimed, when, "claimed 11 of orders/1");
        sample.hold(0, when, 9_000, 11, Origin::Claimed);
        sample.hold(1, when - 4_000, 5_500, 6, Origin::Recovered);
    }
    sample.hold(0, 50_500, 4_000, 7, Origin::Recovered);
    sample.mark(Some(0), MarkKind::Notice, 50_000, "recovered 7 of orders/0");
    sample.mark(
        Some(0),
        MarkKind::Notice,
        41_500,
        "reconnecting to localhost:6379 in 250ms (attempt 1): timed out",
    );
    sample.mark(Some(2), MarkKind::Violation, 236_000, "G11: 5-31 of orders/0 came after 5-34");
    sample.finish()
}

/// Fifty members for 3 h 20 min, with some thousand holds each thousand of `holds`.
pub(crate) fn fifty(holds: usize) -> History {
    const END: u64 = 12_000_000;
    let mut sample = Sample::new("seed 9 · 50 members, 8 shards, full faults", 50, END);
    for member in 0..50 {
        let mut now = sample.random.below(60_000);
        while now < END {
            let life = sample.random.below(5_000_000) + 900_000;
            let kind = if sample.random.below(3) == 0 { MarkKind::Closed } else { MarkKind::Killed };
            let end = now + life;
            sample.alive(member, now, (end < END).then_some((end, kind)));
            now = end + sample.random.below(400_000) + 30_000;
        }
        for _ in 0..3 {
            let (from, long) = (sample.random.below(END), sample.random.below(200_000));
            let kind = if sample.random.below(2) == 0 { SpanKind::Frozen } else { SpanKind::Disconnected };
            sample.span(Some(member), kind, from, Some(from + long), "a fault");
        }
        sample.mark(Some(member), MarkKind::Notice, now / 3, "stalled: 10000 messages are un-acked");
    }
    for (from, long, text) in [
        (1_900_000, 240_000, "fail-over, a suffix lost"),
        (5_400_000, 620_000, "broker down"),
        (9_100_000, 130_000, "READONLY"),
        (9_600_000, 60_000, "OOM"),
    ] {
        sample.span(None, SpanKind::Outage, from, Some(from + long), text);
        sample.mark(None, MarkKind::Fault, from, text);
    }
    for number in 0..holds {
        let member = sample.random.below(50) as usize;
        let from = END * number as u64 / holds as u64 + sample.random.below(2_000);
        let long = match sample.random.below(10) {
            0 => sample.random.below(240_000),
            1..4 => sample.random.below(30_000),
            _ => sample.random.below(6_000),
        };
        let origin = match sample.random.below(24) {
            0 => Origin::Claimed,
            1 => Origin::Recovered,
            _ => Origin::New,
        };
        if origin == Origin::Claimed && number % 7 == 0 {
            sample.mark(Some(member), MarkKind::Claimed, from, "claimed 9 of orders/3");
        }
        sample.hold(member, from, long, 100, origin);
    }
    sample.finish()
}

struct Sample {
    history: History,
    random: Random,
    end: u64,
    sent: u64,
    alive: Vec<(usize, u64, u64)>,
}

impl Sample {
    fn new(title: &str, members: usize, end: u64) -> Self {
        let members = (0..members).map(|member| format!("member-{member}")).collect();
        let history = History { title: title.into(), members, ..History::default() };
        Self { history, random: Random::new(7), end, sent: 0, alive: Vec::new() }
    }

    fn span(&mut self, member: Option<usize>, kind: SpanKind, from: u64, until: Option<u64>, text: &str) {
        let (from, until) = (at(from), until.map(at));
        self.history.spans.push(Span { member, kind, from, until, text: text.into() });
    }

    fn mark(&mut self, member: Option<usize>, kind: MarkKind, when: u64, text: &str) {
        self.history.marks.push(Mark { member, kind, at: at(when), text: text.into() });
    }

    fn alive(&mut self, member: usize, from: u64, end: Option<(u64, MarkKind)>) {
        self.mark(Some(member), MarkKind::Started, from, "started");
        self.mark(Some(member), MarkKind::Assigned, from + 60, "assigned orders/0");
        self.span(Some(member), SpanKind::Alive, from, end.map(|end| end.0), "");
        self.alive.push((member, from, end.map_or(self.end, |end| end.0)));
        if let Some((end, kind)) = end {
            self.mark(Some(member), kind, end, if kind == MarkKind::Killed { "kill -9" } else { "closed" });
        }
    }

    fn new_hold(&mut self, member: usize, from: u64, long: u64, most: u64) {
        let quiet = |&(low, high): &(u64, u64)| (low..high).contains(&from);
        if [(139_000, 158_000), (252_000, 256_500)].iter().any(quiet)
            || (member == 2 && (203_000..231_000).contains(&from))
            || (member == 0 && (40_000..49_500).contains(&from))
        {
            return;
        }
        let messages = self.random.below(most) + 1;
        self.hold(member, from, long, messages, Origin::New);
    }

    fn hold(&mut self, member: usize, from: u64, long: u64, messages: u64, origin: Origin) {
        let life = self.alive.iter().find(|life| life.0 == member && (life.1..life.2).contains(&from));
        let Some(&(_, _, died)) = life else { return };
        let (until, end) = match from + long {
            until if until < died => (Some(until), HoldEnd::Acked),
            _ if died < self.end => (Some(died), HoldEnd::Abandoned),
            _ => (None, HoldEnd::Open),
        };
        if origin == Origin::New {
            self.sent += messages;
        }
        let first = self.sent;
        let shard = format!("orders/{}", self.random.below(3));
        let (first, last) = (SeqNo::redis(5, first), SeqNo::redis(5, first + messages - 1));
        let (from, until) = (at(from), until.map(at));
        self.history.holds.push(Hold { member, shard, first, last, messages, from, until, origin, end });
        if let (Some(until), HoldEnd::Acked) = (until, end) {
            let (kind, text) = (MarkKind::Committed, "committed".into());
            let at = until + Duration::from_millis(400);
            self.history.marks.push(Mark { member: Some(member), kind, at, text });
        }
    }

    fn finish(mut self) -> History {
        self.history.holds.sort_by_key(|hold| hold.from);
        let again = self.history.holds.iter().filter(|hold| hold.origin != Origin::New).count() as u64;
        let sent = self.sent;
        let totals = [("sent", sent), ("received", sent + again), ("duplicated", again), ("lost", 0)];
        self.history.totals = totals.map(|(name, count)| (name.to_owned(), count)).into();
        self.history
    }
}
