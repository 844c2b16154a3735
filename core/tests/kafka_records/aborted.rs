//! Aborted transactions, against histories of which the outcome is known.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate_core::kafka::records::{Aborted, BatchBuilder, Marker, NewRecord, RecordBatch};

use crate::model::{cases, only};

/// A step of a producer in the history of a partition.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write { producer: i64, transactional: bool, records: i64 },
    End { producer: i64, marker: Marker },
}

fn step() -> impl Strategy<Value = Step> {
    let marker = prop_oneof![Just(Marker::Abort), Just(Marker::Commit)];
    prop_oneof![
        3 => (0..4_i64, prop::bool::weighted(0.8), 1..4_i64).prop_map(|(producer, transactional, records)| {
            // A producer is transactional or not; 10 and more are not.
            let producer = if transactional { producer } else { producer + 10 };
            Step::Write { producer, transactional, records }
        }),
        1 => (0..4_i64, marker).prop_map(|(producer, marker)| Step::End { producer, marker }),
    ]
}

fn write(base: i64, producer: i64, transactional: bool, records: i64) -> RecordBatch {
    let mut builder = BatchBuilder::new(base);
    builder.producer(producer, 0, 0).transactional(transactional);
    for offset in base..base + records {
        builder.record(NewRecord { offset, value: Some(b"value"), ..NewRecord::default() });
    }
    only(builder.build().unwrap()).unwrap()
}

fn end(offset: i64, producer: i64, marker: Marker) -> RecordBatch {
    only(BatchBuilder::marker(offset, producer, 0, 0, marker).build().unwrap()).unwrap()
}

#[derive(Clone, Copy, Debug)]
struct Transaction {
    producer: i64,
    first: i64,
    last: i64,
    aborted: bool,
}

/// The batches of a history, and its transactions; those that are open at its end are committed.
fn log(steps: &[Step]) -> (Vec<RecordBatch>, Vec<Transaction>) {
    let (mut batches, mut done) = (Vec::new(), Vec::new());
    let mut open = BTreeMap::new();
    let mut next = 0;
    let close = (0..4).map(|producer| Step::End { producer, marker: Marker::Commit });
    for step in steps.iter().copied().chain(close) {
        match step {
            Step::Write { producer, transactional, records } => {
                if transactional {
                    open.entry(producer).or_insert(next);
                }
                batches.push(write(next, producer, transactional, records));
                next += records;
            }
            Step::End { producer, marker } => {
                let Some(first) = open.remove(&producer) else { continue };
                batches.push(end(next, producer, marker));
                done.push(Transaction { producer, first, last: next, aborted: marker == Marker::Abort });
                next += 1;
            }
        }
    }
    (batches, done)
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn what_was_committed_is_kept_and_nothing_else(
        (steps, from, len) in (proptest::collection::vec(step(), 1..40), any::<prop::sample::Index>(), 1..40_usize),
        order in any::<u64>(),
        compacted in prop::option::weighted(0.3, any::<prop::sample::Index>()),
    ) {
        let (mut batches, transactions) = log(&steps);
        prop_assume!(!batches.is_empty());
        // What a broker answers to a Fetch from the middle of the log, up to somewhere.
        let from = from.index(batches.len());
        batches.truncate(from + len);
        let window: Vec<_> = batches.split_off(from);
        let (first, last) = (window[0].base_offset, window[window.len() - 1].last_offset);
        let mut list: Vec<_> = transactions
            .iter()
            .filter(|done| done.aborted && done.last >= first && done.first <= last)
            .map(|done| (done.producer, done.first))
            .collect();
        // Any order.
        let mut random = order;
        for at in (1..list.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            list.swap(at, (random >> 33) as usize % (at + 1));
        }
        let mut aborted = Aborted::new(list);
        let gone = compacted.map(|index| index.index(window.len()));
        for (at, batch) in window.iter().enumerate() {
            // Compaction may have removed a batch of data, never the marker of what is left.
            if gone == Some(at) && !batch.control {
                continue;
            }
            let void = |done: &Transaction| {
                let within = (done.first..=done.last).contains(&batch.base_offset);
                done.aborted && done.producer == batch.producer_id && within
            };
            let expected = !batch.control && !transactions.iter().any(void);
            prop_assert_eq!(aborted.keeps(batch), expected, "{:?} of {:?}", batch, transactions);
        }
    }
}

#[test]
fn without_a_list_all_but_control_batches_are_kept() {
    for mut aborted in [Aborted::default(), Aborted::new([])] {
        assert!(aborted.keeps(&write(0, 1, true, 3)));
        assert!(!aborted.keeps(&end(3, 1, Marker::Abort)));
        assert!(aborted.keeps(&write(4, -1, false, 3)));
    }
}

#[test]
fn a_producer_aborts_again_and_commits_between() {
    let mut aborted = Aborted::new([(1, 20), (1, 0), (2, 5)]);
    assert!(!aborted.keeps(&write(0, 1, true, 2)));
    assert!(aborted.keeps(&write(2, 2, true, 2)), "before its aborted transaction");
    assert!(!aborted.keeps(&end(4, 1, Marker::Abort)));
    assert!(!aborted.keeps(&write(5, 2, true, 1)));
    assert!(aborted.keeps(&write(6, 1, true, 1)), "the next transaction");
    assert!(aborted.keeps(&write(7, 2, false, 1)), "not transactional");
    assert!(!aborted.keeps(&end(8, 1, Marker::Commit)));
    assert!(!aborted.keeps(&write(20, 1, true, 1)));
    assert!(!aborted.keeps(&write(21, 2, true, 1)), "its marker hasn't come");
    assert!(!aborted.keeps(&end(22, 2, Marker::Abort)));
    assert!(aborted.keeps(&write(23, 2, true, 1)));
}

#[test]
fn control_records_of_other_kinds_end_nothing() {
    let other = |key: Option<&[u8]>| {
        let mut builder = BatchBuilder::new(5);
        builder.producer(1, 0, 0).transactional(true).control(true);
        builder.record(NewRecord { offset: 5, key, value: Some(b""), ..NewRecord::default() });
        only(builder.build().unwrap()).unwrap()
    };
    // A key that is null or cut off, of a version below zero, of a type that isn't known.
    for key in [None, Some(&b""[..]), Some(&[0, 0, 0]), Some(&[255, 255, 0, 0]), Some(&[0, 0, 0, 2])] {
        let mut aborted = Aborted::new([(1, 0)]);
        assert!(!aborted.keeps(&write(0, 1, true, 5)));
        assert_eq!(Marker::of(&other(key)), None);
        assert!(!aborted.keeps(&other(key)));
        assert!(!aborted.keeps(&write(6, 1, true, 1)), "{key:?}");
    }
    // Of a later version.
    assert_eq!(Marker::of(&other(Some(&[0, 9, 0, 1]))), Some(Marker::Commit));
    assert_eq!(Marker::of(&other(Some(&[0, 9, 0, 0, 7]))), Some(Marker::Abort));
}
