//! A billing handler, tested under a simulated year of faults: the first version is wrong, and
//! a seed shows how; the second one is right.
//!
//! ```text
//! cargo run -p tidegate-sim --example handler
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use tidegate::{Consumer, ConsumerError, ConsumerMode, ConsumerOptions, Message, SeqNo, ShardId, StreamKey};
use tidegate_sim::{Faults, Finding, Sent, Simulation, Summary};

/// Stands for the service's database: it outlives the processes that write to it.
#[derive(Default)]
pub struct Accounts {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// What each account owes.
    owed: BTreeMap<String, u64>,
    /// The messages that are in there.
    booked: BTreeSet<(StreamKey, ShardId, SeqNo)>,
}

impl Accounts {
    /// One transaction. With `once` a message that is booked already changes nothing.
    fn book(&self, message: &Message, once: bool) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (message.stream().clone(), message.shard(), message.seq());
        if !inner.booked.insert(place) && once {
            return;
        }
        if let Some((account, cents)) = message.payload().and_then(parse) {
            *inner.owed.entry(account).or_default() += cents;
        }
    }
}

/// `account cents`
fn parse(payload: &[u8]) -> Option<(String, u64)> {
    let (account, cents) = std::str::from_utf8(payload).ok()?.split_once(' ')?;
    Some((account.into(), cents.parse().ok()?))
}

/// Version 1: books, then acks. If its process dies in between, or its ack gets lost, the message
/// comes again and is booked twice.
pub async fn bill_v1(accounts: Arc<Accounts>, consumer: impl Consumer) -> Result<(), ConsumerError> {
    while let Some(message) = consumer.next().await? {
        accounts.book(&message, false);
        consumer.ack(&message);
    }
    consumer.close().await
}

/// Version 2: books each message once, known by its place in the stream.
pub async fn bill_v2(accounts: Arc<Accounts>, consumer: impl Consumer) -> Result<(), ConsumerError> {
    while let Some(message) = consumer.next().await? {
        accounts.book(&message, true);
        consumer.ack(&message);
    }
    consumer.close().await
}

/// What must be true of the accounts in the end: everything that was sent, once.
fn verify(accounts: &Accounts, sent: &[Sent]) -> Result<(), String> {
    let mut expected = BTreeMap::new();
    for (account, cents) in sent.iter().filter_map(|sent| parse(&sent.payload)) {
        *expected.entry(account).or_default() += cents;
    }
    let inner = accounts.inner.lock().unwrap_or_else(PoisonError::into_inner);
    let wrong = expected.iter().find(|(account, cents)| inner.owed.get(*account) != Some(*cents));
    match wrong {
        None => Ok(()),
        Some((account, cents)) => {
            let owed = inner.owed.get(account).copied().unwrap_or(0);
            Err(format!("{account} owes {owed} cents, and should owe {cents}"))
        }
    }
}

fn simulation() -> Simulation {
    Simulation::new()
        .members(3)
        .messages(100)
        .options(ConsumerOptions::new(ConsumerMode::LoadBalanced).group("billing"))
        .payload(|n| format!("account-{} {}", n % 5, 100 + n).into_bytes())
        .faults(Faults::network().and(Faults::members()))
}

/// The first version, under faults.
pub fn check_v1() -> Result<Summary, Box<Finding>> {
    simulation().check(
        0..500,
        Arc::<Accounts>::default,
        |accounts, _, consumer| bill_v1(accounts, consumer),
        |accounts, sent| verify(accounts, sent),
    )
}

/// The second one.
pub fn check_v2() -> Result<Summary, Box<Finding>> {
    simulation().check(
        0..500,
        Arc::<Accounts>::default,
        |accounts, _, consumer| bill_v2(accounts, consumer),
        |accounts, sent| verify(accounts, sent),
    )
}

#[allow(dead_code, reason = "the tests run the two checks by themselves")]
fn main() {
    match check_v1() {
        Ok(summary) => println!("version 1: {} seeds, and nothing found?", summary.runs),
        Err(finding) => {
            println!("version 1: seed {}: {}", finding.seed, finding.violation.text);
            println!(
                "shrunk from {} choices to {}; the end of that run:",
                finding.choices,
                finding.shrunk.len()
            );
            // What members do with messages, and what is done to members.
            let words = [" got ", " acks ", " claimed ", " starts ", " FAULT member"];
            let told = finding.trace.lines().filter(|line| words.iter().any(|word| line.contains(word)));
            let told: Vec<&str> = told.collect();
            told.iter().skip(told.len().saturating_sub(16)).for_each(|line| println!("  {line}"));
            println!("all of it: TIDEGATE_SEED={} cargo run …", finding.seed);
        }
    }
    match check_v2() {
        Ok(summary) => {
            let hours = summary.simulated.as_secs() / 3600;
            let (sent, got, again) = summary.messages;
            println!("version 2: {} seeds, {hours} simulated hours, nothing found", summary.runs);
            println!("  {sent} messages sent, {got} received, {again} of them again");
        }
        Err(finding) => println!("version 2: {finding}"),
    }
}
