//! The same on tokio: real sockets, real threads, and what only a runtime can do wrong.
#![cfg(feature = "tokio")]
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::fake::Fake;
use tidegate::{
    Cause, ConsumerError, ConsumerMode, ConsumerOptions, Endpoint, Error, Handle, Limits, Runtime, Tokio,
};
use tidegate_core::{Command, ConnId, Event, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

const CONN: ConnId = ConnId { number: 0, generation: 1 };
const PATIENCE: Duration = Duration::from_secs(30);

fn start(fake: &Fake) -> Handle {
    tidegate::drive(Tokio::current().unwrap(), fake.machine(), &ConsumerOptions::default())
}

/// Lets the driver look at its script again and again until it says so.
async fn until(fake: &Fake, handle: &Handle, done: impl Fn(&Fake) -> bool) {
    let wait = async {
        while !done(fake) {
            handle.stats().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

async fn open_fails(endpoint: Endpoint) -> Cause {
    let fake = Fake::default();
    fake.script().commands.push_back(Command::Open { conn: CONN, endpoint });
    let handle = start(&fake);
    let failed = |fake: &Fake| {
        let events = &fake.script().events;
        events.iter().find_map(|event| match event {
            Event::OpenFailed { cause, .. } => Some(cause.clone()),
            _ => None,
        })
    };
    until(&fake, &handle, |fake| failed(fake).is_some()).await;
    failed(&fake).unwrap()
}

#[tokio::test]
async fn bytes_go_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 1 << 20];
        socket.read_exact(&mut asked).await.unwrap();
        socket.write_all(&asked).await.unwrap();
    });
    let fake = Fake::default();
    let sent: Vec<u8> = (0..1 << 20).map(|at: u32| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    fake.script().to_write = sent.clone();
    let endpoint = Endpoint::tcp("localhost", port);
    fake.script().commands.push_back(Command::Open { conn: CONN, endpoint });
    let handle = start(&fake);
    let eof = Event::Closed { conn: CONN, cause: Cause::Eof };
    until(&fake, &handle, |fake| fake.script().events.last() == Some(&eof)).await;
    assert!(fake.script().received == sent);
    server.await.unwrap();
}

#[tokio::test]
async fn nobody_there() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_eq!(open_fails(Endpoint::tcp("127.0.0.1", free)).await, Cause::Refused);
    // Longer than any name in the DNS may be, so nobody is asked.
    assert_eq!(open_fails(Endpoint::tcp(&"x".repeat(300), 1)).await, Cause::Unresolved);
    let tls = Endpoint { tls: true, ..Endpoint::tcp("127.0.0.1", free) };
    assert!(open_fails(tls).await.to_string().contains("TLS"));
}

#[tokio::test]
async fn connect_says_what_is_wrong() {
    let options = ConsumerOptions::default;
    let wrong = |error| matches!(error, ConsumerError::Failed(Error::Options(_)));
    assert!(wrong(tidegate::connect("redis://localhost", options()).await.unwrap_err()));
    let no_group = ConsumerOptions::new(ConsumerMode::LoadBalanced);
    assert!(wrong(tidegate::connect("redis://localhost/s", no_group).await.unwrap_err()));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut limits = Limits::default();
    limits.connect_timeout = Duration::from_secs(1);
    let url = format!("redis://127.0.0.1:{free}/s");
    let connecting = tidegate::connect(&url, options().limits(limits));
    let error = timeout(PATIENCE, connecting).await.unwrap().unwrap_err();
    assert!(matches!(error, ConsumerError::Failed(Error::Connect { .. })), "{error}");
}

#[test]
fn outside_of_a_runtime_there_is_an_error_and_no_panic() {
    assert!(Tokio::current().is_err());
    let mut connecting = Box::pin(tidegate::connect("redis://localhost/s", ConsumerOptions::default()));
    let polled = common::manual::poll_once(connecting.as_mut());
    assert!(matches!(polled, std::task::Poll::Ready(Err(ConsumerError::Failed(Error::Options(_))))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_get_each_message_once() {
    const TOTAL: u64 = 100_000;
    let fake = Fake::supply(TOTAL, 37, 500);
    fake.script().appetite = 100;
    let handle = start(&fake);
    let got = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (handle, got) = (handle.clone(), got.clone());
            tokio::spawn(async move {
                let mut own = Vec::new();
                loop {
                    // Some are impatient, and drop what they wait for.
                    let next = match task {
                        0..4 => handle.next().await,
                        _ => match timeout(Duration::from_micros(50), handle.next()).await {
                            Ok(next) => next,
                            Err(_) => continue,
                        },
                    };
                    let Some(message) = next.unwrap() else { break };
                    own.push(message.seq().low());
                    handle.ack(&message);
                }
                got.lock().unwrap().extend(own);
            })
        })
        .collect();
    for task in tasks {
        timeout(PATIENCE, task).await.expect("a wake-up was lost").unwrap();
    }
    let got = got.lock().unwrap();
    assert_eq!(got.len() as u64, TOTAL);
    assert_eq!(got.iter().collect::<BTreeSet<_>>().len() as u64, TOTAL);
    assert_eq!(fake.script().acked(), TOTAL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_at_a_time_wakes_each_time() {
    const TOTAL: u64 = 5_000;
    let fake = Fake::supply(TOTAL, 1, 1);
    let handle = start(&fake);
    let all = async {
        let mut got = 0;
        while let Some(message) = handle.next().await.unwrap() {
            assert_eq!(message.seq().low(), got);
            got += 1;
            handle.ack(&message);
        }
        got
    };
    assert_eq!(timeout(PATIENCE, all).await.expect("a wake-up was lost"), TOTAL);
}

#[tokio::test]
async fn a_panic_of_the_driver_leaves_nobody_waiting() {
    let fake = Fake::default();
    let handle = start(&fake);
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.next().await }
    });
    handle.stats().await;
    fake.script().panics = true;
    fake.script().wake = Some(tidegate_core::Wake { at: tidegate_core::Instant::ZERO, why: "panic" });
    let commit = handle.commit().await;
    // It may have been answered before the panic.
    assert!(matches!(commit, Ok(0) | Err(ConsumerError::Stopped)), "{commit:?}");
    let next = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(next.unwrap_err(), ConsumerError::Stopped);
    assert_eq!(handle.close().await.unwrap_err(), ConsumerError::Stopped);
}

#[test]
fn a_runtime_that_is_shut_down_leaves_nobody_waiting() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let fake = Fake::default();
    let handle = runtime.block_on(async { start(&fake) });
    runtime.shutdown_timeout(PATIENCE);
    let mut next = Box::pin(handle.next());
    let polled = common::manual::poll_once(next.as_mut());
    assert!(matches!(polled, std::task::Poll::Ready(Err(ConsumerError::Stopped))));
}

#[tokio::test]
async fn dropping_does_not_block_and_closes_all_the_same() {
    let fake = Fake::default();
    let handle = start(&fake);
    handle.stats().await;
    drop(handle);
    let gone = async {
        while !fake.script().dropped {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
    assert!(matches!(fake.script().requests[..], [Request::Close { .. }]));
}

#[tokio::test(start_paused = true)]
async fn the_clock_and_the_timer_agree() {
    use tidegate::Timer;
    let runtime = Tokio::current().unwrap();
    let mut timer = runtime.timer();
    let started = runtime.now();
    for seconds in [5, 1] {
        timer.arm(runtime.now() + Duration::from_secs(seconds));
        std::future::poll_fn(|cx| timer.poll_fired(cx)).await;
    }
    let passed = runtime.now().since(started);
    assert!((6..7).contains(&passed.as_secs()), "{passed:?}");
    timer.arm(tidegate_core::Instant::MAX);
    let far = timeout(Duration::from_secs(3600), std::future::poll_fn(|cx| timer.poll_fired(cx)));
    assert!(far.await.is_err());
}
