//! The model Kafka against reality: the same random dialogues, the same answers, with brokers of both
//! releases.
//!
//! `TIDEGATE_MODEL_REQUESTS` is how many each release is asked (3,000 unless set), `TIDEGATE_SEED`
//! another sequence of them:
//!
//! ```text
//! TIDEGATE_MODEL_REQUESTS=100000 cargo test --release -p tidegate-live --test model_kafka -- --nocapture
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in tests a panic with its line is the report")]

#[allow(unreachable_pub, reason = "a test executable has no outside")]
#[path = "model_kafka/mod.rs"]
mod rig;

use std::time::Instant;

use rig::{Dialogue, Generator, Model, Real, Sides, Tally};
use tidegate_core::kafka::wire::ErrorCode;
use tidegate_live::kafka::{Version, unique};
use tidegate_sim::Tape;

/// Requests of one dialogue.
const DIALOGUE: u32 = 120;
/// How often the same dialogue has to differ to count.
const TRIES: u32 = 3;
/// So many differences are enough for one report.
const DIFFERENCES: usize = 8;

/// Refusals that a few thousand requests bring about, whatever the seed.
const EXPECTED: &[(&str, ErrorCode)] = &[
    ("ConsumerGroupHeartbeat", ErrorCode::FENCED_MEMBER_EPOCH),
    ("ConsumerGroupHeartbeat", ErrorCode::GROUP_ID_NOT_FOUND),
    ("ConsumerGroupHeartbeat", ErrorCode::INVALID_REQUEST),
    ("ConsumerGroupHeartbeat", ErrorCode::UNKNOWN_MEMBER_ID),
    ("ConsumerGroupHeartbeat", ErrorCode::UNRELEASED_INSTANCE_ID),
    ("ConsumerGroupHeartbeat", ErrorCode::UNSUPPORTED_ASSIGNOR),
    ("Fetch", ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
    ("Fetch", ErrorCode::INVALID_FETCH_SESSION_EPOCH),
    ("Fetch", ErrorCode::OFFSET_OUT_OF_RANGE),
    ("Fetch", ErrorCode::UNKNOWN_LEADER_EPOCH),
    ("Heartbeat", ErrorCode::ILLEGAL_GENERATION),
    ("Heartbeat", ErrorCode::REBALANCE_IN_PROGRESS),
    ("JoinGroup", ErrorCode::INCONSISTENT_GROUP_PROTOCOL),
    ("JoinGroup", ErrorCode::MEMBER_ID_REQUIRED),
    ("LeaveGroup", ErrorCode::UNKNOWN_MEMBER_ID),
    ("OffsetCommit", ErrorCode::GROUP_ID_NOT_FOUND),
    ("OffsetCommit", ErrorCode::ILLEGAL_GENERATION),
    ("OffsetCommit", ErrorCode::OFFSET_METADATA_TOO_LARGE),
    ("OffsetCommit", ErrorCode::STALE_MEMBER_EPOCH),
    ("OffsetCommit", ErrorCode::UNKNOWN_MEMBER_ID),
    ("OffsetFetch", ErrorCode::STALE_MEMBER_EPOCH),
    ("OffsetFetch", ErrorCode::UNKNOWN_MEMBER_ID),
    ("SyncGroup", ErrorCode::REBALANCE_IN_PROGRESS),
];

#[test]
fn the_model_answers_as_4_3_does() {
    compare(Version::Newest);
}

#[test]
fn the_model_answers_as_4_2_does() {
    compare(Version::Old);
}

/// Dialogues until there were this many answers.
fn compare(version: Version) {
    let requests = number("TIDEGATE_MODEL_REQUESTS", 3_000);
    let seed = number("TIDEGATE_SEED", 1);
    let real = Real::start(version);
    let model = Model::new(version, real.port());
    let mut sides = Sides { real, model };
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut tape = Tape::from_seed(seed);
    let mut differences: Vec<String> = Vec::new();
    let mut late = 0;
    while tally.answers < requests {
        let own = tape.below(u64::MAX);
        tally.dialogues += 1;
        let mut talk = || {
            let mut generator = Generator::new(Tape::from_seed(own), unique("d"), DIALOGUE);
            Dialogue::run(&mut sides, &mut generator, &mut tally)
        };
        // A broker that is late with a timer of its own answers otherwise, but not time and again.
        let talked = talk().or_else(|first| {
            late += 1;
            (1..TRIES).find_map(|_| talk().ok()).ok_or(first)
        });
        let of = format!("dialogue {} of seed {seed} with {version:?}", tally.dialogues);
        differences.extend(talked.err().map(|difference| format!("{of}:\n{difference}")));
        // A dialogue that differs is over, and the next one knows nothing of it.
        if differences.len() == DIFFERENCES {
            break;
        }
    }
    drop(sides);
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    // What is rare needs many.
    if requests >= 3_000 {
        assert_eq!(tally.missing(EXPECTED), <Vec<String>>::new(), "it should have happened at least once");
    }
    println!(
        "{version:?}, seed {seed}, {:.1} s, {late} dialogues once more",
        started.elapsed().as_secs_f64()
    );
    assert!(late * 10 <= tally.dialogues, "{late} of {} dialogues differed at first", tally.dialogues);
    println!("{tally}");
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
        Err(_) => default,
    }
}
