//! The model Redis against reality: the same random commands, the same replies.
//!
//! `TIDEGATE_MODEL_COMMANDS` is how many (200,000 unless set), `TIDEGATE_SEED` another sequence of
//! them. A million takes a minute or two:
//!
//! ```text
//! TIDEGATE_MODEL_COMMANDS=1000000 cargo test --release -p tidegate-live --test model_redis -- --nocapture
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in tests a panic with its line is the report")]

#[allow(unreachable_pub, reason = "a test executable has no outside")]
#[path = "model_redis/mod.rs"]
mod rig;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rig::{Generator, Model, Real, Session, Side, Tally, found, session};
use tidegate_sim::Tape;

/// Commands of one session.
const SESSION: u32 = 200;

#[test]
fn the_model_answers_as_the_real_server_does() {
    let mut real = Real::start();
    if !is_compared(&real) {
        return;
    }
    let commands = number("TIDEGATE_MODEL_COMMANDS", 200_000);
    let seed = number("TIDEGATE_SEED", 1);
    let result = compare(&mut real, &mut Model::new(), seed, commands);
    drop(real);
    let tally = result.unwrap_or_else(|difference| panic!("{difference}"));
    // What is rare needs many.
    if commands >= 200_000 {
        assert_eq!(tally.missing(), <Vec<String>>::new(), "it should have happened at least once");
    }
}

#[test]
fn what_was_found_stays_mended() {
    let mut real = Real::start();
    if !is_compared(&real) {
        return;
    }
    let mut model = Model::new();
    for (what, lines) in found::FOUND {
        if let Err(difference) = Session::new(&mut real, &mut model, 4).replayed(&found::commands(lines)) {
            drop(real);
            panic!("{what}: {}", difference.text);
        }
    }
}

/// The rig itself: two servers of one version have no differences, so that whatever is compared
/// is nothing that chance decides.
#[test]
fn two_real_servers_answer_alike() {
    let result = compare(&mut Real::start(), &mut Real::start(), number("TIDEGATE_SEED", 1), 20_000);
    result.unwrap_or_else(|difference| panic!("{difference}"));
}

/// The model answers as 7.0 does, and others do otherwise.
fn is_compared(real: &Real) -> bool {
    let is = real.version().starts_with("7.0.");
    if !is {
        eprintln!("redis-server {}: the model is compared with 7.0 only", real.version());
    }
    is
}

/// Sessions until there were this many commands. The error is a difference, shrunk.
fn compare(real: &mut dyn Side, model: &mut dyn Side, seed: u64, commands: u64) -> Result<Tally, String> {
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut tape = Tape::from_seed(seed);
    while tally.commands < commands {
        let began_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let mut generator = Generator::new(Tape::from_seed(tape.below(u64::MAX)), began_ms, SESSION);
        let slots = generator.slots();
        tally.sessions += 1;
        if let Err(found) = Session::new(real, model, slots).generated(&mut generator, &mut tally) {
            let all = found.sent.len();
            let least = session::shrink(real, model, slots, found);
            let sent: Vec<String> =
                least.sent.iter().map(|(slot, command)| format!("  {slot}> {command}\n")).collect();
            return Err(format!(
                "a difference in session {} of seed {seed}, after {} commands; {} of {all} are enough:\n{}{}",
                tally.sessions,
                tally.commands,
                least.sent.len(),
                sent.concat(),
                least.text
            ));
        }
    }
    println!("{} and {}, seed {seed}, {:.1} s", real.name(), model.name(), started.elapsed().as_secs_f64());
    println!("{tally}");
    Ok(tally)
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
        Err(_) => default,
    }
}
