//! Users' handlers under faults, with production's handle and driver: what is wrong is found,
//! shrunk and told; what is right stays right, wherever its futures are dropped.
//!
//! `TIDEGATE_SEED=1:123 cargo test -p tidegate-sim --test handled NAME` replays one run;
//! `TIDEGATE_SEEDS=20000 cargo test --release -p tidegate-sim --test handled` makes many.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

#[expect(unreachable_pub, reason = "an example is a crate of its own, and here a module")]
#[path = "../examples/handler.rs"]
mod handler;

use std::collections::BTreeSet;
use std::ops::Range;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::{
    AutoCommit, ClaimOptions, Consumer, ConsumerError, ConsumerMode, ConsumerOptions, Message, Position,
    SeqNo, ShardId, StreamKey,
};
use tidegate_sim::{Faults, Sent, Sim, SimConsumer, Simulation};

/// So many, or as the environment says; without optimisation a part of it has to do.
fn seeds(wanted: u64) -> Range<u64> {
    let said = std::env::var("TIDEGATE_SEEDS").ok();
    let said =
        said.map(|text| text.parse().unwrap_or_else(|_| panic!("TIDEGATE_SEEDS is no number: {text}")));
    0..said.unwrap_or(if cfg!(debug_assertions) { wanted / 20 } else { wanted })
}

/// What was handled, by any process.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<BTreeSet<(StreamKey, ShardId, SeqNo)>>>);

impl Book {
    fn write(&self, message: &Message) {
        self.0.lock().unwrap().insert((message.stream().clone(), message.shard(), message.seq()));
    }

    fn verify(&self, sent: &[Sent]) -> Result<(), String> {
        let book = self.0.lock().unwrap();
        let missing =
            |sent: &&Sent| !sent.lost && !book.contains(&(sent.stream.clone(), sent.shard, sent.seq));
        sent.iter()
            .find(missing)
            .map_or(Ok(()), |sent| Err(format!("number {} was never handled", sent.number)))
    }
}

fn balanced() -> ConsumerOptions {
    let claim = ClaimOptions::Every { interval: Duration::from_secs(2), idle: Duration::from_secs(6) };
    ConsumerOptions::new(ConsumerMode::LoadBalanced).group("handled").claim(claim)
}

/// Takes, works and acks, message by message.
async fn plain(book: Book, consumer: SimConsumer) -> Result<(), ConsumerError> {
    while let Some(message) = consumer.next().await? {
        book.write(&message);
        consumer.ack(&message);
    }
    Ok(())
}

/// Does everything, and drops every other future at an await.
async fn careless(book: Book, sim: Sim, consumer: SimConsumer) {
    loop {
        if sim.chance(30) {
            match sim.cancel(consumer.next_batch()).await {
                None => {}
                Some(Ok(Some(messages))) => {
                    for at in 0..messages.len() {
                        book.write(&messages.message(at).unwrap());
                    }
                    if sim.chance(30) {
                        sim.sleep(Duration::from_millis(sim.below(3_000))).await;
                    }
                    consumer.ack_batch(&messages);
                }
                Some(_) => return,
            }
        } else {
            match sim.cancel(consumer.next()).await {
                None => {}
                Some(Ok(Some(message))) => {
                    book.write(&message);
                    let (sim, consumer) = (sim.clone(), consumer.clone());
                    if sim.chance(20) {
                        // Acked later, and out of order.
                        sim.clone().spawn(async move {
                            sim.sleep(Duration::from_millis(sim.below(2_000))).await;
                            consumer.ack(&message);
                        });
                    } else {
                        consumer.ack(&message);
                    }
                }
                Some(_) => return,
            }
        }
        if sim.chance(10) {
            // Refused or not: it may be dropped before it is known.
            let _ = sim.cancel(consumer.commit()).await;
        }
        if sim.chance(3) {
            let _ = sim.cancel(consumer.pause()).await;
            sim.sleep(Duration::from_millis(sim.below(500))).await;
            while sim.cancel(consumer.resume()).await.is_none() {}
        }
        if sim.chance(1) {
            while sim.cancel(consumer.close()).await.is_none() {}
            return;
        }
    }
}

#[test]
fn the_wrong_handler_of_the_example_is_found() {
    let finding = handler::check_v1().unwrap_err();
    println!("{finding}");
    assert_eq!(finding.violation.rule, "check");
    assert!(finding.violation.text.contains("and should owe"), "{}", finding.violation);
    assert_eq!(finding.shrunk_violation.rule, "check");
    assert!(finding.shrunk.len() * 2 < finding.choices, "{} of {}", finding.shrunk.len(), finding.choices);
    assert!(finding.trace.contains(" got orders/0 ") && finding.history.members.len() == 3);
}

#[test]
fn the_right_handler_of_the_example_passes() {
    let summary = handler::check_v2().unwrap_or_else(|finding| panic!("{finding}"));
    assert_eq!((summary.runs, summary.failures.len()), (500, 0));
    let (sent, got, again) = summary.messages;
    println!("{sent} sent, {got} got, {again} again; {:?}", summary.simulated);
    assert!(sent > 500 * 50 && got > sent && again > 0);
}

#[test]
fn futures_dropped_at_any_await_lose_nothing() {
    for (commit, wanted) in [
        (AutoCommit::Rolling { interval: Duration::from_millis(300) }, 1_400),
        (AutoCommit::Delayed { delay: Duration::from_millis(1_500) }, 600),
    ] {
        let summary = Simulation::new()
            .messages(60)
            .stream("orders", 0)
            .stream("bills", 2)
            .options(balanced().auto_commit(commit).batch(7))
            .check(
                seeds(wanted),
                Book::default,
                |book, sim, consumer| async move {
                    // Two tasks that take in turn; the process ends with the first.
                    sim.spawn(careless(book.clone(), sim.clone(), consumer.clone()));
                    careless(book, sim, consumer).await;
                },
                |book, sent| match commit {
                    // Acked by time, also if nobody has handled it: that is what was asked for.
                    AutoCommit::Delayed { .. } => Ok(()),
                    _ => book.verify(sent),
                },
            );
        let summary = summary.unwrap_or_else(|finding| panic!("{commit:?}: {finding}"));
        println!("{commit:?}: {} runs, {:?} messages\n{}", summary.runs, summary.messages, summary.sometimes);
        assert!(summary.messages.0 > summary.runs * 20);
    }
}

#[test]
fn a_handler_that_acks_before_it_writes_is_found() {
    let found = Simulation::new().options(balanced()).faults(Faults::members()).check(
        0..300,
        Book::default,
        |book, sim, consumer| async move {
            while let Some(message) = consumer.next().await? {
                consumer.ack(&message);
                sim.sleep(Duration::from_millis(20)).await;
                book.write(&message);
            }
            Ok::<_, ConsumerError>(())
        },
        |book, sent| book.verify(sent),
    );
    let finding = found.unwrap_err();
    assert!(finding.violation.text.ends_with("was never handled"), "{finding}");
    assert!(finding.shrunk.len() < finding.choices / 2, "{finding}");
}

#[test]
fn a_panic_is_a_finding_with_its_words_and_its_place() {
    let found = Simulation::new().calm().check(
        0..20,
        || (),
        |(), _, consumer| async move {
            while let Ok(Some(message)) = consumer.next().await {
                assert!(message.payload() != Some(b"13"), "13 brings bad luck");
                consumer.ack(&message);
            }
        },
        |(), _| Ok(()),
    );
    let finding = found.unwrap_err();
    assert_eq!(finding.violation.rule, "handler");
    assert!(finding.violation.text.contains("handled.rs"), "{finding}");
    assert!(finding.violation.text.contains("13 brings bad luck"), "{finding}");
    let text = finding.to_string();
    assert!(text.contains(&format!("TIDEGATE_SEED={} cargo test", finding.seed)), "{text}");
}

#[test]
fn an_end_check_may_panic_too() {
    let found = Simulation::new().messages(5).check(
        0..3,
        Book::default,
        |book, _, consumer| plain(book, consumer),
        |_, sent| {
            assert!(sent.is_empty(), "so many");
            Ok(())
        },
    );
    let finding = found.unwrap_err();
    assert!(finding.violation.rule == "check" && finding.violation.text.contains("so many"), "{finding}");
}

#[test]
fn a_handler_that_never_acks_or_never_waits_is_found() {
    let check = |waits: bool| {
        let found = Simulation::new().messages(10).options(balanced()).calm().check(
            0..3,
            || (),
            |(), sim, consumer| async move {
                while let Ok(Some(_)) = consumer.next().await {
                    if !waits {
                        loop {
                            sim.sleep(Duration::ZERO).await;
                        }
                    }
                }
            },
            |(), _| Ok(()),
        );
        found.unwrap_err()
    };
    let never_acks = check(true);
    assert_eq!(never_acks.violation.rule, "G1", "{never_acks}");
    let spins = check(false);
    assert!(
        spins.violation.rule == "handler" && spins.violation.text.contains("still don't wait"),
        "{spins}"
    );
}

#[test]
fn every_mode_and_every_commit_with_losses() {
    let modes = [
        ConsumerOptions::new(ConsumerMode::RealTime).create(true),
        ConsumerOptions::new(ConsumerMode::Resumable),
        balanced().auto_commit(AutoCommit::Disabled),
        balanced().auto_commit(AutoCommit::Immediate),
        balanced().claim(ClaimOptions::Never).create(true),
    ];
    for options in modes {
        let acks = options.mode != ConsumerMode::RealTime && options.auto_commit != AutoCommit::Immediate;
        let summary = Simulation::redis()
            .members(2)
            .messages(40)
            .options(options.clone())
            .faults(Faults::all().and(Faults::losses()))
            .check(
                seeds(400),
                Book::default,
                |book, _, consumer| async move {
                    while let Some(message) = consumer.next().await? {
                        book.write(&message);
                        consumer.ack(&message);
                        // A refusal is told; the acks stay, and go with the next commit.
                        let _ = consumer.commit().await;
                    }
                    Ok::<_, ConsumerError>(())
                },
                |book, sent| if acks { book.verify(sent) } else { Ok(()) },
            );
        let summary = summary.unwrap_or_else(|finding| panic!("{:?}: {finding}", options.mode));
        assert!(summary.messages.1 > 0, "{:?}", options.mode);
    }
}

#[test]
fn seeks_are_the_handlers_to_make() {
    let summary =
        Simulation::new().members(1).messages(30).options(balanced()).faults(Faults::network()).check(
            seeds(300),
            Book::default,
            |book, sim, consumer| async move {
                let mut count = 0;
                while let Some(message) = consumer.next().await? {
                    book.write(&message);
                    consumer.ack(&message);
                    count += 1;
                    if count == 10 && sim.chance(50) {
                        // From then on it reads alone, and this again.
                        sim.cancel(consumer.rewind(Position::Beginning)).await.transpose()?;
                    }
                }
                Ok::<_, ConsumerError>(())
            },
            // Whoever has left its group commits no more, and nobody else is there to do it.
            |_, _| Ok(()),
        );
    let summary = summary.unwrap_or_else(|finding| panic!("{finding}"));
    assert!(summary.sometimes.count("moved") > 0);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let check = || {
        let found = Simulation::new().messages(30).options(balanced()).check(
            3..4,
            Book::default,
            careless,
            |_, sent| Err(format!("{} messages", sent.len())),
        );
        found.unwrap_err()
    };
    let (first, second) = (check(), check());
    assert_eq!(first.to_string(), second.to_string());
    assert_eq!((first.trace, first.shrunk), (second.trace, second.shrunk));
}

/// Run by the next test, with a seed in its environment.
#[test]
fn replayed() {
    let run = Simulation::new().messages(10).check(
        0..3,
        Book::default,
        |book, sim, consumer| async move {
            sim.note(format!("{} begins", sim.member()));
            plain(book, consumer).await
        },
        |book, sent| book.verify(sent),
    );
    assert!(run.is_ok());
}

#[test]
fn a_seed_in_the_environment_runs_alone_with_its_trace() {
    let run = |seed: &str| {
        let this = std::env::current_exe().unwrap();
        let run = Command::new(this)
            .args(["--exact", "replayed", "--nocapture"])
            .env("TIDEGATE_SEED", seed)
            .output();
        let run = run.unwrap();
        let text = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
        (run.status.success(), text)
    };
    let (well, text) = run("1:7");
    assert!(well && text.contains("says m") && text.contains("everything is well"), "{text}");
    assert!(text.contains("seed 1:7: nothing is wrong with it"), "{text}");
    let (well, text) = run("7:1");
    assert!(!well && text.contains("TIDEGATE_SEED: the seed 7:1 is of version 7"), "{text}");
}
