//! The simulator's own test: bugs that other consumers really had are put back into the machine,
//! one at a time, and the oracle must find each of them. `tests/run` has the command, and
//! `tidegate_core::mutation` the bugs with their sources; in an ordinary build this file is empty.
//!
//! `TIDEGATE_MUTATION=LateReplyToTheNext` runs that one alone.
#![cfg(tidegate_mutation)]
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tidegate_core::mutation::{Mutation, put_back};
use tidegate_sim::oracle::Violation;
use tidegate_sim::{Fresh, KafkaBackend, Keep, RedisBackend, Seed, run};

/// Each bug must be found within so many seeds.
const SEEDS: u64 = 10_000;
/// Without any bug none of so many seeds may fail.
const SEEDS_WITHOUT: u64 = 2_000;

/// What became of one bug.
#[derive(Debug, Default)]
struct Hunt {
    /// The first seed that breaks a promise with the bug, and not without it.
    found: Option<(u64, Violation)>,
    /// Seeds on the way on which the machine panicked, or the model broker failed: they count
    /// for nothing, as it isn't the oracle that saw the bug.
    passed_over: u64,
}

fn violation<B: Fresh>(mutation: Option<Mutation>, seed: u64) -> Option<Violation> {
    put_back(mutation);
    let report = run::<B>(Seed(seed), Keep::default());
    put_back(None);
    report.violation
}

fn hunt<B: Fresh>(mutation: Mutation) -> Hunt {
    let mut hunt = Hunt::default();
    for seed in 0..SEEDS {
        match catch_unwind(AssertUnwindSafe(|| violation::<B>(Some(mutation), seed))) {
            Ok(None) => {}
            Ok(Some(violation)) if violation.rule != "model" => {
                if self::violation::<B>(None, seed).is_none() {
                    hunt.found = Some((seed, violation));
                    break;
                }
            }
            Ok(Some(_)) | Err(_) => hunt.passed_over += 1,
        }
    }
    hunt
}

/// Does `work` for each of `items`, on all cores; the results in the order of the items.
fn on_all_cores<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some((at, item)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    items.get(at).map(|item| (at, item))
                } {
                    let result = work(item);
                    done.lock().unwrap().push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Hunts those of one machine's bugs that are wanted; the names of those that weren't found.
fn hunt_all<B: Fresh>(mutations: &[Mutation]) -> Vec<&'static str> {
    let wanted = std::env::var("TIDEGATE_MUTATION").ok();
    let is_wanted = |mutation: &&Mutation| wanted.as_ref().is_none_or(|wanted| wanted == mutation.name());
    let mutations: Vec<Mutation> = mutations.iter().filter(is_wanted).copied().collect();
    let results = on_all_cores(&mutations, |mutation| {
        let since = Instant::now();
        (hunt::<B>(*mutation), since.elapsed().as_secs_f64())
    });
    println!("{:<32} {:>6}  {:<4}  what the oracle said, and whose bug it was", "bug", "seeds", "rule");
    let mut missed = Vec::new();
    for (mutation, (hunt, took)) in mutations.iter().zip(&results) {
        let name = mutation.name();
        match &hunt.found {
            Some((seed, violation)) => {
                let text = violation.text.lines().next().unwrap_or_default();
                println!("{name:<32} {:>6}  {:<4}  {text} ({took:.1} s)", seed + 1, violation.rule);
            }
            None => {
                println!("{name:<32}   none        not found ({took:.1} s)");
                missed.push(name);
            }
        }
        if hunt.passed_over > 0 {
            println!("{:46}{} seeds passed over: a panic, or the model", "", hunt.passed_over);
        }
        println!("{:46}{}", "", mutation.source());
    }
    println!("{} bugs, {} found", mutations.len(), mutations.len() - missed.len());
    missed
}

/// None of so many seeds fails where no bug is put back.
fn find_nothing<B: Fresh>() {
    const PIECES: u64 = 20;
    let pieces: Vec<u64> = (0..PIECES).collect();
    let failures = on_all_cores(&pieces, |piece| {
        let seeds = SEEDS_WITHOUT / PIECES * piece..SEEDS_WITHOUT / PIECES * (piece + 1);
        let failed = |seed| Some(format!("seed {}: {}", Seed(seed), violation::<B>(None, seed)?));
        seeds.filter_map(failed).collect::<Vec<_>>()
    });
    let failures = failures.concat();
    assert!(failures.is_empty(), "{} of {SEEDS_WITHOUT}:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_bug_of_the_redis_machine_is_found() {
    let missed = hunt_all::<RedisBackend>(Mutation::REDIS);
    assert!(missed.is_empty(), "not found by the oracle within {SEEDS} seeds: {missed:?}");
}

#[test]
fn every_bug_of_the_kafka_machine_is_found() {
    let missed = hunt_all::<KafkaBackend>(Mutation::KAFKA);
    assert!(missed.is_empty(), "not found by the oracle within {SEEDS} seeds: {missed:?}");
}

#[test]
fn without_a_bug_nothing_is_found() {
    find_nothing::<RedisBackend>();
    find_nothing::<KafkaBackend>();
}
