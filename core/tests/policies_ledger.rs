//! The ledger against a naive model: one record a message, searched from end to end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use tidegate_core::ack::{AckRange, CommitId, Ledger, SegmentId, Slot};
use tidegate_core::{Epoch, Instant, SeqNo};

#[derive(Clone, Debug)]
enum Op {
    /// Positions `first`, `first + stride`, …, those already here left out; shuffled if odd.
    Deliver {
        slot: u32,
        first: u64,
        stride: u64,
        count: u64,
        odd: bool,
        newer: bool,
    },
    Ack {
        back: usize,
        start: u32,
        end: u32,
        wrong_epoch: bool,
    },
    Withdraw {
        back: usize,
        start: u32,
        end: u32,
    },
    NextCommit {
        max: usize,
    },
    Committed {
        pick: usize,
    },
    Failed {
        pick: usize,
    },
    FailAll,
    Revoke {
        slot: u32,
    },
    RevokeAll,
    Age {
        wait: u64,
        older: u64,
        max: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    // Bounds of ranges near word borders and past the end, more often than chance would.
    let bound = || prop_oneof![0..12u32, 60..70u32, 120..135u32, 0..300u32, Just(u32::MAX)];
    prop_oneof![
        8 => (0..3u32, 0..400u64, 1..4u64, prop_oneof![0..6u64, 60..70u64, 100..200u64], any::<[bool; 2]>())
            .prop_map(|(slot, first, stride, count, [odd, newer])| Op::Deliver {
                slot, first, stride, count, odd: odd && first % 4 == 0, newer: newer && first % 8 == 0,
            }),
        12 => (0..12usize, bound(), bound(), 0..20u8)
            .prop_map(|(back, start, end, wrong)| Op::Ack { back, start, end, wrong_epoch: wrong == 0 }),
        2 => (0..6usize, bound(), bound()).prop_map(|(back, start, end)| Op::Withdraw { back, start, end }),
        6 => prop_oneof![0..5usize, 50..300usize].prop_map(|max| Op::NextCommit { max }),
        5 => (0..4usize).prop_map(|pick| Op::Committed { pick }),
        2 => (0..4usize).prop_map(|pick| Op::Failed { pick }),
        1 => Just(Op::FailAll),
        1 => (0..3u32).prop_map(|slot| Op::Revoke { slot }),
        1 => (0..8u8).prop_map(|n| if n == 0 { Op::RevokeAll } else { Op::FailAll }),
        4 => (0..40u64, 0..60u64, 0..200usize).prop_map(|(wait, older, max)| Op::Age { wait, older, max }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    InFlight,
    Acked,
    Committing(CommitId),
    Gone,
}

#[derive(Debug)]
struct Segment {
    slot: u32,
    epoch: Epoch,
    messages: Vec<(SeqNo, State)>,
    revoked: bool,
}

impl Segment {
    fn live(&self) -> bool {
        !self.revoked && self.messages.iter().any(|message| message.1 != State::Gone)
    }
}

#[derive(Default)]
struct Model {
    segments: Vec<Segment>,
    epochs: BTreeMap<u32, Epoch>,
    commits: Vec<(CommitId, u32)>,
    /// When each message in flight was last handed out or found.
    touched: BTreeMap<(u32, SeqNo), u64>,
    frontiers: BTreeMap<u32, (Epoch, Option<SeqNo>)>,
    now: u64,
}

impl Model {
    fn all(&self) -> impl Iterator<Item = (&Segment, SeqNo, State)> {
        let live = self.segments.iter().filter(|segment| !segment.revoked);
        live.flat_map(|segment| segment.messages.iter().map(move |&(seq, state)| (segment, seq, state)))
    }

    fn count(&self, wanted: impl Fn(&Segment, State) -> bool) -> u64 {
        self.all().filter(|(segment, _, state)| wanted(segment, *state)).count() as u64
    }

    fn set(&mut self, wanted: impl Fn(&Segment, SeqNo, State) -> bool, to: State) {
        for segment in self.segments.iter_mut().filter(|segment| !segment.revoked) {
            for at in 0..segment.messages.len() {
                let (seq, state) = segment.messages[at];
                if wanted(segment, seq, state) {
                    segment.messages[at].1 = to;
                }
            }
        }
    }

    fn range(&self, back: usize, start: u32, end: u32) -> AckRange {
        // Now and then a segment that never was.
        let id = (self.segments.len() + 1).wrapping_sub(back).min(self.segments.len() + 5);
        let epoch = self.segments.get(id).map_or(Epoch(1), |segment| segment.epoch);
        AckRange { segment: SegmentId(id as u64), epoch, start, end }
    }
}

fn apply(ledger: &mut Ledger, model: &mut Model, op: Op) {
    match op {
        Op::Deliver { slot, first, stride, count, odd, newer } => {
            let here: BTreeSet<SeqNo> = (model.all())
                .filter(|(segment, _, state)| segment.slot == slot && *state != State::Gone)
                .map(|(_, seq, _)| seq)
                .collect();
            let mut seqs: Vec<_> = (0..count).map(|n| SeqNo::offset(first + n * stride)).collect();
            seqs.retain(|seq| !here.contains(seq));
            if odd {
                seqs.reverse();
            }
            let epoch = model.epochs.entry(slot).or_insert(Epoch(1));
            if newer {
                *epoch = epoch.next();
            }
            let epoch = *epoch;
            let id = ledger.deliver(Instant::from_nanos(model.now), Slot(slot), epoch, seqs.iter().copied());
            assert_eq!(id, SegmentId(model.segments.len() as u64), "ids ascend");
            model.touched.extend(seqs.iter().map(|&seq| ((slot, seq), model.now)));
            let messages = seqs.into_iter().map(|seq| (seq, State::InFlight)).collect();
            model.segments.push(Segment { slot, epoch, messages, revoked: false });
        }
        Op::Ack { back, start, end, wrong_epoch } => {
            let mut range = model.range(back, start, end);
            if wrong_epoch {
                range.epoch = Epoch(range.epoch.0 + 100);
            }
            let report = ledger.ack(range);
            let spoken_of = u64::from(end.saturating_sub(start));
            let (mut newly, mut repeated, mut unknown, mut stale) = (0, 0, 0, 0);
            match model.segments.get_mut(range.segment.0 as usize) {
                None => unknown = spoken_of,
                Some(segment) if segment.revoked => stale = spoken_of,
                Some(segment) if !segment.live() => repeated = spoken_of,
                Some(_) if wrong_epoch => stale = spoken_of,
                Some(segment) => {
                    for at in start.min(300)..end.min(300) {
                        match segment.messages.get_mut(at as usize) {
                            Some(message) if message.1 == State::InFlight => {
                                message.1 = State::Acked;
                                newly += 1;
                            }
                            Some(_) => repeated += 1,
                            None => {}
                        }
                    }
                    unknown = spoken_of - newly - repeated;
                }
            }
            assert_eq!(
                (report.newly, report.repeated, report.unknown, report.stale),
                (newly, repeated, unknown, stale)
            );
        }
        Op::Withdraw { back, start, end } => {
            let range = model.range(back, start, end);
            let withdrawn = ledger.withdraw(range);
            let mut expected = 0;
            if let Some(segment) = model.segments.get_mut(range.segment.0 as usize).filter(|s| !s.revoked) {
                for message in segment.messages.iter_mut().take(end as usize).skip(start as usize) {
                    if message.1 == State::InFlight {
                        message.1 = State::Gone;
                        expected += 1;
                    }
                }
            }
            assert_eq!(withdrawn, expected);
        }
        Op::NextCommit { max } => next_commit(ledger, model, max),
        Op::Committed { pick } => {
            let id = (!model.commits.is_empty()).then(|| model.commits.remove(pick % model.commits.len()).0);
            let id = id.unwrap_or(CommitId(1 << 40));
            ledger.committed(id);
            model.set(|_, _, state| state == State::Committing(id), State::Gone);
            ledger.failed(id);
        }
        Op::Failed { pick } => {
            if !model.commits.is_empty() {
                let id = model.commits.remove(pick % model.commits.len()).0;
                ledger.failed(id);
                model.set(|_, _, state| state == State::Committing(id), State::Acked);
                ledger.committed(id);
            }
        }
        Op::FailAll => {
            ledger.fail_all();
            model.commits.clear();
            model.set(|_, _, state| matches!(state, State::Committing(_)), State::Acked);
        }
        Op::Revoke { slot } => {
            ledger.revoke(Slot(slot));
            model.frontiers.remove(&slot);
            for segment in model.segments.iter_mut().filter(|segment| segment.slot == slot) {
                segment.revoked |= segment.live();
            }
        }
        Op::RevokeAll => {
            ledger.revoke_all();
            model.frontiers.clear();
            model.commits.clear();
            model.segments.iter_mut().for_each(|segment| segment.revoked = true);
        }
        Op::Age { wait, older, max } => {
            model.now += wait;
            age(ledger, model, older, max);
        }
    }
    check(ledger, model);
}

fn next_commit(ledger: &mut Ledger, model: &mut Model, max: usize) {
    let mut out = vec![SeqNo::MAX];
    let commit = ledger.next_commit(max, &mut out);
    assert_eq!(out.remove(0), SeqNo::MAX, "appends");
    let Some(commit) = commit else {
        assert!(max == 0 || model.count(|_, state| state == State::Acked) == 0, "forgot what is acked");
        return;
    };
    let slot = commit.slot.0;
    let all_of_slot = model.count(|segment, state| segment.slot == slot && state == State::Acked);
    assert_eq!(out.len() as u64, all_of_slot.min(max as u64), "as many as fit");
    for seq in out {
        let acked =
            |segment: &Segment, own, state| segment.slot == slot && own == seq && state == State::Acked;
        assert_eq!(
            model.all().filter(|&(segment, own, state)| acked(segment, own, state)).count(),
            1,
            "{seq}"
        );
        model.set(acked, State::Committing(commit.id));
    }
    model.commits.push((commit.id, slot));
}

/// Whatever is due is found, once; what isn't, isn't.
fn age(ledger: &mut Ledger, model: &mut Model, older: u64, max: usize) {
    let (now, period) = (Instant::from_nanos(model.now), Duration::from_nanos(older));
    let mut out = Vec::new();
    let mut found = BTreeSet::new();
    while let Some(slot) = ledger.next_aging(now, period, max, &mut out) {
        assert!(!out.is_empty() && out.len() <= max);
        for seq in out.drain(..) {
            let in_flight = |&(segment, own, state): &(&Segment, SeqNo, State)| {
                segment.slot == slot.0 && own == seq && state == State::InFlight
            };
            assert!(model.all().any(|message| in_flight(&message)), "{seq} isn't in flight");
            assert!(found.insert((slot.0, seq)), "{seq} twice");
            assert!(model.now - model.touched[&(slot.0, seq)] >= older, "{seq} too early");
        }
    }
    model.touched.extend(found.into_iter().map(|message| (message, model.now)));
    if max > 0 {
        for (segment, seq, _) in model.all().filter(|message| message.2 == State::InFlight) {
            assert!(model.now - model.touched[&(segment.slot, seq)] < older.max(1), "{seq} missed");
        }
        assert!(ledger.next_aging_at(period).is_none_or(|at| at > now));
    }
}

fn check(ledger: &Ledger, model: &mut Model) {
    assert_eq!(ledger.in_flight(), model.count(|_, state| state == State::InFlight));
    assert_eq!(ledger.acked(), model.count(|_, state| state == State::Acked));
    assert_eq!(ledger.committing(), model.count(|_, state| matches!(state, State::Committing(_))));
    assert_eq!(ledger.len(), model.count(|_, state| state != State::Gone));
    for slot in 0..3 {
        let of_slot = |segment: &Segment| segment.slot == slot;
        let in_flight = |segment: &Segment, state| of_slot(segment) && state == State::InFlight;
        assert_eq!(ledger.in_flight_of(Slot(slot)), model.count(in_flight));
        let here: BTreeSet<SeqNo> = (model.all())
            .filter(|(segment, _, state)| of_slot(segment) && *state != State::Gone)
            .map(|(_, seq, _)| seq)
            .collect();
        for offset in (0..1_000).step_by(7) {
            let seq = SeqNo::offset(offset);
            assert_eq!(ledger.contains(Slot(slot), seq), here.contains(&seq), "{slot}: {seq}");
        }
        assert!(here.iter().all(|&seq| ledger.contains(Slot(slot), seq)));

        let epoch = model.epochs.get(&slot).copied().unwrap_or_default();
        let frontier = ledger.frontier(Slot(slot));
        let before = model.frontiers.insert(slot, (epoch, frontier)).filter(|before| before.0 == epoch);
        let before = before.and_then(|before| before.1);
        assert!(frontier >= before, "{slot}: the frontier went back from {before:?} to {frontier:?}");
        if let Some(frontier) = frontier.filter(|_| frontier > before) {
            for (_, seq, state) in model.all().filter(|message| of_slot(message.0)) {
                assert!(seq > frontier || state != State::InFlight, "{slot}: {frontier} passes {seq}");
            }
        }
    }
}

/// Ends as a clean close does: everything is acked and committed, whatever came before.
fn drain(ledger: &mut Ledger, model: &mut Model) {
    apply(ledger, model, Op::FailAll);
    for id in 0..model.segments.len() {
        let epoch = model.segments[id].epoch;
        ledger.ack(AckRange { segment: SegmentId(id as u64), epoch, start: 0, end: 300 });
    }
    model.set(|_, _, state| state == State::InFlight, State::Acked);
    while ledger.acked() > 0 {
        next_commit(ledger, model, 37);
        apply(ledger, model, Op::Committed { pick: 0 });
    }
    check(ledger, model);
    assert!(ledger.is_empty());
    assert_eq!(ledger.next_aging_at(Duration::ZERO), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_one_record_a_message(ops in prop::collection::vec(op(), 1..60)) {
        let (mut ledger, mut model) = (Ledger::new(), Model::default());
        for op in ops {
            apply(&mut ledger, &mut model, op);
        }
        drain(&mut ledger, &mut model);
    }
}
