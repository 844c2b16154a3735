//! Many schedules of many tasks: nothing lost, nothing twice, and nobody waits for ever.
//!
//! Tasks run only when they were woken, in an order drawn from a seed, and drop their futures at
//! moments drawn from it. Where nobody is woken and not everything is done, a wake-up was lost.

#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod common;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::fake::Fake;
use common::manual::{Flag, Manual};
use tidegate::{AutoCommit, ConsumerOptions, Handle};

struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % n
    }
}

struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    flag: Arc<Flag>,
}

impl Task {
    fn new(future: impl Future<Output = ()> + 'static) -> Self {
        let flag = Arc::new(Flag::default());
        flag.clone().wake();
        Self { future: Some(Box::pin(future)), flag }
    }

    fn poll(&mut self) {
        self.flag.take();
        let waker = Waker::from(self.flag.clone());
        self.future.take_if(|future| future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }

    fn is_woken(&self) -> bool {
        self.future.is_some() && self.flag.is_set()
    }
}

/// Ready with `None` at the poll after `polls` ones: whoever waited is dropped.
async fn patience<F: Future>(polls: u64, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        Poll::Pending
    })
    .await
}

async fn consume(handle: Handle, got: Arc<Mutex<Vec<u64>>>, mut draw: Draw) {
    loop {
        let polls = if draw.below(3) == 0 { draw.below(3) } else { u64::MAX };
        if draw.below(4) == 0 {
            match patience(polls, handle.next_batch()).await {
                None => yield_once().await,
                Some(Ok(Some(messages))) => {
                    got.lock().unwrap().extend(messages.iter().map(|message| message.seq().low()));
                    handle.ack_batch(&messages);
                }
                Some(end) => return assert!(end.unwrap().is_none()),
            }
        } else {
            match patience(polls, handle.next()).await {
                None => yield_once().await,
                Some(Ok(Some(message))) => {
                    got.lock().unwrap().push(message.seq().low());
                    if draw.below(5) == 0 {
                        yield_once().await;
                    }
                    handle.ack(&message);
                }
                Some(end) => return assert!(end.unwrap().is_none()),
            }
        }
    }
}

/// Pauses, resumes, commits, looks; and leaves it resumed.
async fn meddle(handle: Handle, mut draw: Draw) {
    for _ in 0..draw.below(6) {
        match draw.below(4) {
            0 => {
                patience(draw.below(3), handle.pause()).await;
                yield_once().await;
                handle.resume().await.unwrap();
            }
            1 => drop(patience(draw.below(3), handle.commit()).await),
            2 => drop(handle.stats().await),
            _ => yield_once().await,
        }
    }
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn run(seed: u64) {
    let mut draw = Draw(seed);
    let total = 1 + draw.below(60);
    let (size, credit) = (1 + draw.below(7), 1 + draw.below(20));
    let fake = Fake::supply(total, size, credit);
    fake.script().appetite = 1 + draw.below(10);
    let delayed = AutoCommit::Delayed { delay: Duration::from_secs(1) };
    let options = match draw.below(2) {
        0 => ConsumerOptions::default(),
        _ => ConsumerOptions::default().auto_commit(delayed),
    };
    let (handle, mut driver) = Manual::default().start_with(fake.machine(), &options);
    let got = Arc::new(Mutex::new(Vec::new()));
    let consumers = 1 + draw.below(4);
    let mut tasks: Vec<_> = (0..consumers)
        .map(|_| Task::new(consume(handle.clone(), got.clone(), Draw(draw.below(u64::MAX)))))
        .collect();
    if draw.below(2) == 0 {
        tasks.push(Task::new(meddle(handle.clone(), Draw(draw.below(u64::MAX)))));
    }
    let mut steps = 0;
    while tasks.iter().any(|task| task.future.is_some()) {
        let woken: Vec<_> = (0..tasks.len()).filter(|&at| tasks[at].is_woken()).collect();
        let runnable = woken.len() as u64 + u64::from(driver.flag.is_set());
        assert!(runnable > 0, "seed {seed}: a wake-up was lost, {} of {total}", got.lock().unwrap().len());
        match woken.get(draw.below(runnable) as usize) {
            Some(&at) => tasks[at].poll(),
            None => drop(driver.poll()),
        }
        steps += 1;
        assert!(steps < 100_000, "seed {seed}: it goes on for ever");
    }
    let got = got.lock().unwrap();
    assert_eq!(got.len() as u64, total, "seed {seed}: twice");
    let different: BTreeSet<_> = got.iter().copied().collect();
    assert_eq!(different.len() as u64, total, "seed {seed}: lost");
    drop((handle, tasks));
    driver.run();
    assert!(driver.is_over(), "seed {seed}");
    assert_eq!(fake.script().acked(), total, "seed {seed}");
}

#[test]
fn no_schedule_loses_a_message_or_a_wake_up() {
    (0..3000).for_each(run);
}

#[test]
fn one_consumer_alone_gets_them_in_order() {
    for seed in 0..200 {
        let mut draw = Draw(seed);
        let fake = Fake::supply(40, 1 + draw.below(7), 1 + draw.below(20));
        let (handle, mut driver) = Manual::start(fake.machine());
        let got = Arc::new(Mutex::new(Vec::new()));
        let mut task = Task::new(consume(handle.clone(), got.clone(), draw));
        while task.future.is_some() {
            assert!(task.is_woken() || driver.flag.is_set(), "seed {seed}");
            task.poll();
            driver.poll();
        }
        assert_eq!(*got.lock().unwrap(), (0..40).collect::<Vec<_>>(), "seed {seed}");
    }
}
