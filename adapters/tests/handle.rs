//! The handle over a scripted machine, step by step.

mod common;

use std::pin::pin;
use std::time::Duration;

use common::batch;
use common::fake::Fake;
use common::manual::{Manual, finish, poll_once, waits};
use tidegate::{
    Assignment, AutoCommit, ConsumerError, ConsumerOptions, Error, Limits, Message, Notice, Position,
    RequestError, ShardId, StreamKey, Taken, Timestamp,
};
use tidegate_core::{Delivery, Epoch, Outcome, Request};

fn number(message: &Message) -> u64 {
    message.seq().low()
}

fn shard(epoch: u64) -> Assignment {
    Assignment { stream: "s".into(), shard: ShardId::ZERO, epoch: Epoch(epoch) }
}

fn failure() -> Error {
    Error::Unavailable { message: "as scripted".into() }
}

#[test]
fn messages_come_in_order_and_the_end_stays() {
    let fake = Fake::default();
    fake.deliver(1, 0, 3);
    fake.deliver(1, 3, 4);
    fake.script().deliveries.push_back(Delivery::End);
    let (handle, mut driver) = Manual::start(fake.machine());
    for expected in 0..4 {
        let message = finish(&mut driver, handle.next()).unwrap().unwrap();
        assert_eq!(number(&message), expected);
    }
    for _ in 0..3 {
        assert!(finish(&mut driver, handle.next()).unwrap().is_none());
        assert!(finish(&mut driver, handle.next_batch()).unwrap().is_none());
    }
}

#[test]
fn a_dropped_next_takes_nothing() {
    for polls in 0..4 {
        let fake = Fake::default();
        let (handle, mut driver) = Manual::start(fake.machine());
        for expected in 0..20 {
            let mut next = Box::pin(handle.next());
            for _ in 0..polls {
                assert!(waits(&mut driver, next.as_mut()));
            }
            // It comes while somebody waits, who then goes away.
            fake.deliver(1, expected, expected + 1);
            finish(&mut driver, handle.stats());
            drop(next);
            assert_eq!(number(&finish(&mut driver, handle.next()).unwrap().unwrap()), expected);
        }
    }
}

#[test]
fn who_is_woken_and_goes_away_passes_the_word_on() {
    let fake = Fake::default();
    let (handle, mut driver) = Manual::start(fake.machine());
    let flags: Vec<_> = (0..3).map(|_| std::sync::Arc::new(common::manual::Flag::default())).collect();
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(handle.next())).collect();
    for (next, flag) in waiting.iter_mut().zip(&flags) {
        let waker = flag.clone().into();
        assert!(next.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    }
    fake.deliver(1, 0, 1);
    finish(&mut driver, handle.stats());
    assert_eq!(flags.iter().filter(|flag| flag.is_set()).count(), 1, "one message, one is woken");
    let first = flags.iter().position(|flag| flag.is_set()).unwrap();
    drop(waiting.remove(first));
    let second = (0..3).find(|&at| at != first && flags[at].is_set()).expect("another one is woken");
    let at = if second > first { second - 1 } else { second };
    assert!(poll_once(waiting[at].as_mut()).is_ready());
}

#[test]
fn one_batch_wakes_as_many_as_it_has_messages_for() {
    let fake = Fake::default();
    let (handle, mut driver) = Manual::start(fake.machine());
    let flags: Vec<_> = (0..4).map(|_| std::sync::Arc::new(common::manual::Flag::default())).collect();
    let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(handle.next())).collect();
    let mut poll = |at: usize| {
        flags[at].take();
        let waker = flags[at].clone().into();
        waiting[at].as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_ready()
    };
    (0..4).for_each(|at| assert!(!poll(at)));
    fake.deliver(1, 0, 3);
    finish(&mut driver, handle.stats());
    // Each takes one, and then is busy with it.
    let mut served = 0;
    while let Some(at) = flags.iter().position(|flag| flag.is_set()) {
        assert!(poll(at), "woken for nothing");
        served += 1;
    }
    assert_eq!(served, 3);
}

#[test]
fn failure_comes_after_the_messages_and_stays() {
    let fake = Fake::default();
    fake.deliver(1, 0, 1);
    fake.script().deliveries.push_back(Delivery::Failed(failure()));
    let (handle, mut driver) = Manual::start(fake.machine());
    assert!(finish(&mut driver, handle.next()).unwrap().is_some());
    let failed = ConsumerError::Failed(failure());
    for _ in 0..3 {
        assert_eq!(finish(&mut driver, handle.next()).unwrap_err(), failed);
    }
    driver.run();
    assert!(driver.is_over() && fake.script().dropped);
    assert_eq!(finish(&mut driver, handle.commit()).unwrap_err(), failed);
    assert_eq!(finish(&mut driver, handle.close()).unwrap_err(), failed);
    assert_eq!(finish(&mut driver, handle.ready()).unwrap_err(), failed);
}

#[test]
fn a_batch_is_what_next_left_of_it() {
    let fake = Fake::default();
    fake.script().deliveries.push_back(Delivery::Assigned(shard(1)));
    fake.deliver(1, 0, 3);
    fake.deliver(1, 3, 5);
    let (handle, mut driver) = Manual::start(fake.machine());
    let taken = finish(&mut driver, handle.take()).unwrap().unwrap();
    assert!(matches!(taken, Taken::Assigned(found) if found == shard(1)));
    finish(&mut driver, handle.next()).unwrap();
    let rest = finish(&mut driver, handle.next_batch()).unwrap().unwrap();
    assert_eq!(rest.iter().map(|message| message.seq().low()).collect::<Vec<_>>(), [1, 2]);
    handle.ack_batch(&rest);
    let whole = finish(&mut driver, handle.next_batch()).unwrap().unwrap();
    assert_eq!(whole.len(), 2);
    // What waits of a shard that is revoked would not be handed out any more.
    fake.script().deliveries.push_back(Delivery::Revoked(shard(1)));
    fake.deliver(2, 5, 6);
    finish(&mut driver, handle.stats());
    let taken = finish(&mut driver, handle.take()).unwrap().unwrap();
    assert!(matches!(taken, Taken::Revoked(found) if found == shard(1)));
    let last = finish(&mut driver, handle.next_batch()).unwrap().unwrap();
    assert_eq!((last.len(), last.source().epoch), (1, Epoch(2)));
    finish(&mut driver, handle.stats());
    let acked = fake.script().acks[0];
    assert_eq!((acked.start, acked.end), (1, 3));
}

#[test]
fn neighbours_are_one_ack_and_wait_for_the_appetite() {
    let fake = Fake::default();
    fake.deliver(1, 0, 10);
    fake.deliver(1, 10, 20);
    fake.script().appetite = 15;
    let (handle, mut driver) = Manual::start(fake.machine());
    let messages: Vec<_> = (0..20).map(|_| finish(&mut driver, handle.next()).unwrap().unwrap()).collect();
    driver.run();
    let woken = driver.flag.count();
    messages[..14].iter().for_each(|message| handle.ack(message));
    assert!(!driver.flag.is_set() && driver.flag.count() == woken);
    handle.ack(&messages[14]);
    assert_eq!(driver.flag.count(), woken + 1);
    messages[15..].iter().for_each(|message| handle.ack(message));
    assert_eq!(driver.flag.count(), woken + 1, "once is enough");
    driver.run();
    assert_eq!(fake.script().acks.len(), 2);
    assert_eq!(fake.script().acked(), 20);

    // Not neighbours: the same place in another batch, backwards, twice, and an empty range.
    handle.ack(&messages[4]);
    handle.ack(&messages[15]);
    for at in [5, 4, 4] {
        handle.ack(&messages[at]);
    }
    let range = messages[0].ack_range().unwrap();
    handle.ack_range(tidegate::AckRange { end: 0, ..range });
    assert_eq!(finish(&mut driver, handle.commit()).unwrap(), 25);
    assert_eq!(fake.script().acks.len(), 7);
}

#[test]
fn a_smaller_appetite_is_noticed_at_once() {
    let fake = Fake::default();
    fake.deliver(1, 0, 10);
    let (handle, mut driver) = Manual::start(fake.machine());
    let messages = finish(&mut driver, handle.next_batch()).unwrap().unwrap();
    driver.run();
    for at in 0..5 {
        handle.ack(&messages.message(at).unwrap());
    }
    assert!(!driver.flag.is_set());
    fake.script().appetite = 3;
    finish(&mut driver, handle.stats());
    assert_eq!(fake.script().acked(), 5);
    for at in 5..8 {
        assert!(!driver.flag.is_set());
        handle.ack(&messages.message(at).unwrap());
    }
    assert!(driver.flag.is_set());
}

#[test]
fn what_was_taken_is_told_where_it_counts() {
    for (auto_commit, told) in
        [(AutoCommit::Delayed { delay: Duration::from_secs(5) }, 5), (AutoCommit::Disabled, 0)]
    {
        let fake = Fake::default();
        fake.deliver(1, 0, 3);
        fake.deliver(1, 3, 6);
        fake.script().appetite = 4;
        let options = ConsumerOptions::default().auto_commit(auto_commit);
        let (handle, mut driver) = Manual::default().start_with(fake.machine(), &options);
        finish(&mut driver, handle.next()).unwrap();
        finish(&mut driver, handle.next_batch()).unwrap();
        finish(&mut driver, handle.next()).unwrap();
        assert_eq!(driver.flag.is_set(), told > 0);
        finish(&mut driver, handle.next()).unwrap();
        finish(&mut driver, handle.stats());
        let taken: u32 = fake.script().taken.iter().map(|range| range.end - range.start).sum();
        assert_eq!(taken, told);
        assert!(fake.script().taken.len() <= 2);
    }
}

#[test]
fn a_seek_withdraws_what_was_not_taken() {
    let fake = Fake::default();
    (0..5).for_each(|at| fake.deliver(1, at * 10, at * 10 + 10));
    let (handle, mut driver) = Manual::start(fake.machine());
    let old = finish(&mut driver, handle.next()).unwrap().unwrap();
    driver.run();
    fake.script().hold = true;
    let mut seek = Box::pin(handle.seek(Timestamp::from_millis(5)));
    assert!(waits(&mut driver, seek.as_mut()));
    assert!(waits(&mut driver, pin!(handle.next())), "nothing of before");
    // The new ones may come before the outcome does: they are the first all the same.
    fake.deliver(2, 100, 102);
    finish(&mut driver, handle.stats());
    let ticket = fake.script().tickets;
    fake.answer(ticket, Outcome::Positioned);
    finish(&mut driver, handle.stats());
    finish(&mut driver, seek).unwrap();
    assert_eq!(number(&finish(&mut driver, handle.next()).unwrap().unwrap()), 100);
    assert_eq!(number(&finish(&mut driver, handle.next()).unwrap().unwrap()), 101);
    // An old one can still be acked; whether that means anything is the machine's to say.
    handle.ack(&old);
    fake.script().hold = false;
    finish(&mut driver, handle.rewind(Position::Beginning)).unwrap();
    assert_eq!(fake.script().acks.len(), 1);
}

#[test]
fn a_superseded_seek_says_so() {
    let fake = Fake::default();
    fake.script().hold = true;
    let (handle, mut driver) = Manual::start(fake.machine());
    let mut seek = Box::pin(handle.seek(Timestamp::from_millis(5)));
    assert!(waits(&mut driver, seek.as_mut()));
    fake.answer(1, Outcome::Superseded);
    finish(&mut driver, handle.stats());
    assert_eq!(finish(&mut driver, seek).unwrap_err(), ConsumerError::Failed(Error::Superseded));
}

#[test]
fn a_dropped_commit_is_carried_out_after_the_acks_before_it() {
    let fake = Fake::default();
    fake.deliver(1, 0, 2);
    let (handle, mut driver) = Manual::start(fake.machine());
    let message = finish(&mut driver, handle.next()).unwrap().unwrap();
    driver.run();
    handle.ack(&message);
    {
        let commit = pin!(handle.commit());
        assert!(poll_once(commit).is_pending());
    }
    drop(handle.commit());
    driver.run();
    let requests = std::mem::take(&mut fake.script().requests);
    assert!(matches!(requests[..], [Request::Ack(_), Request::Commit]), "{requests:?}");
}

#[test]
fn errors_of_requests_reach_their_caller() {
    let fake = Fake::default();
    let (handle, mut driver) = Manual::start(fake.machine());
    let stream = StreamKey::from("s");
    finish(&mut driver, handle.assign(&stream, ShardId::ZERO)).unwrap();
    let error = finish(&mut driver, handle.unassign(&stream, ShardId::new(7))).unwrap_err();
    let expected = RequestError::ConsumerNotAssigned { stream, shard: ShardId::new(7) };
    assert_eq!(error, ConsumerError::Request(expected));
    fake.script().hold = true;
    let mut commit = Box::pin(handle.commit());
    assert!(waits(&mut driver, commit.as_mut()));
    fake.answer(1, Outcome::Failed(failure()));
    finish(&mut driver, handle.stats());
    assert_eq!(finish(&mut driver, commit).unwrap_err(), ConsumerError::Failed(failure()));
}

#[test]
fn requests_are_bounded() {
    let fake = Fake::default();
    let mut limits = Limits::default();
    limits.requests_max = 2;
    let options = ConsumerOptions::default().limits(limits);
    let (handle, mut driver) = Manual::default().start_with(fake.machine(), &options);
    let mut first: Vec<_> = (0..2).map(|_| Box::pin(handle.commit())).collect();
    first.iter_mut().for_each(|commit| assert!(poll_once(commit.as_mut()).is_pending()));
    let refused = finish(&mut driver, handle.commit()).unwrap_err();
    assert_eq!(refused, ConsumerError::Request(RequestError::TooManyRequests { max: 2 }));
    first.into_iter().for_each(|commit| assert!(finish(&mut driver, commit).is_ok()));
}

#[test]
fn paused_means_nothing_until_resumed() {
    let fake = Fake::default();
    fake.deliver(1, 0, 4);
    let (handle, mut driver) = Manual::start(fake.machine());
    finish(&mut driver, handle.next()).unwrap();
    finish(&mut driver, handle.pause()).unwrap();
    let mut next = Box::pin(handle.next());
    assert!(waits(&mut driver, next.as_mut()));
    let flag = std::sync::Arc::new(common::manual::Flag::default());
    let waker = flag.clone().into();
    assert!(next.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    finish(&mut driver, handle.commit()).unwrap();
    finish(&mut driver, handle.resume()).unwrap();
    assert!(flag.is_set());
    assert_eq!(number(&finish(&mut driver, next).unwrap().unwrap()), 1);
    // Paused for ever isn't possible: nobody could resume it.
    finish(&mut driver, handle.pause()).unwrap();
    finish(&mut driver, handle.close()).unwrap();
    assert!(finish(&mut driver, handle.next()).unwrap().is_none());
}

#[test]
fn the_lane_is_short_and_refilled_before_it_is_empty() {
    let fake = Fake::default();
    (0..50).for_each(|at| fake.deliver(1, at * 1000, at * 1000 + 1000));
    let (handle, mut driver) = Manual::start(fake.machine());
    driver.run();
    assert_eq!(fake.script().deliveries.len(), 48);
    for _ in 0..1000 {
        assert!(!driver.flag.is_set());
        finish(&mut driver, handle.next()).unwrap();
    }
    finish(&mut driver, handle.next()).unwrap();
    assert!(driver.flag.is_set(), "the last batch was begun");
    driver.run();
    // What is left of the begun one counts: one more fills the lane's share.
    assert_eq!(fake.script().deliveries.len(), 47);

    let small = Fake::default();
    (0..1000).for_each(|at| small.deliver(1, at, at + 1));
    let (handle, mut driver) = Manual::start(small.machine());
    driver.run();
    let woken = driver.flag.count();
    for _ in 0..1000 {
        finish(&mut driver, handle.next()).unwrap();
    }
    assert!(driver.flag.count() - woken < 20, "{}", driver.flag.count() - woken);
}

#[test]
fn close_says_what_was_not_committed() {
    let closed = |uncommitted| {
        let fake = Fake::default();
        fake.deliver(1, 0, 10);
        fake.script().uncommitted = uncommitted;
        let (handle, mut driver) = Manual::start(fake.machine());
        finish(&mut driver, handle.next()).unwrap();
        let result = finish(&mut driver, handle.close());
        assert!(driver.is_over() && fake.script().dropped);
        assert!(finish(&mut driver, handle.next()).unwrap().is_none(), "what was not taken is withdrawn");
        assert_eq!(finish(&mut driver, handle.close()), result, "the same answer again");
        let refused = finish(&mut driver, handle.commit()).unwrap_err();
        assert_eq!(refused, ConsumerError::Request(RequestError::Closed));
        let asked = &fake.script().requests;
        assert_eq!(*asked, [Request::Close { deadline: tidegate::CLOSE_DEADLINE }]);
        result
    };
    assert_eq!(closed(0), Ok(()));
    assert_eq!(closed(3), Err(ConsumerError::Failed(Error::Uncommitted { messages: 3 })));
}

#[test]
fn two_closes_have_one_end() {
    let fake = Fake::default();
    fake.deliver(1, 0, 2);
    fake.script().hold = true;
    let (handle, mut driver) = Manual::start(fake.machine());
    let message = finish(&mut driver, handle.next()).unwrap().unwrap();
    let mut first = Box::pin(handle.close());
    assert!(waits(&mut driver, first.as_mut()));
    let mut second = Box::pin(handle.close_within(Duration::from_secs(1)));
    assert!(waits(&mut driver, second.as_mut()));
    fake.answer(1, Outcome::Superseded);
    finish(&mut driver, handle.stats());
    assert!(waits(&mut driver, first.as_mut()));
    // An ack that comes when the machine has said its last word is not committed either.
    let acking = handle.clone();
    fake.script().meanwhile = Some(Box::new(move || acking.ack(&message)));
    fake.answer(2, Outcome::Closed { uncommitted: 1 });
    finish(&mut driver, handle.stats());
    let expected = Err(ConsumerError::Failed(Error::Uncommitted { messages: 2 }));
    assert_eq!(finish(&mut driver, second), expected);
    assert_eq!(finish(&mut driver, first), expected);
}

#[test]
fn the_last_handle_closes_in_the_background() {
    let fake = Fake::default();
    let (handle, mut driver) = Manual::start(fake.machine());
    driver.run();
    let mut notices = handle.notices();
    let other = handle.clone();
    drop(handle);
    assert!(!driver.flag.is_set());
    drop(other);
    driver.run();
    assert!(driver.is_over() && fake.script().dropped);
    assert!(
        matches!(fake.script().requests[..], [Request::Close { deadline }] if deadline <= Duration::from_secs(1))
    );
    assert!(poll_once(pin!(notices.recv())).is_ready());
}

#[test]
fn dropped_after_the_end_there_is_nothing_left_to_do() {
    for end in [Delivery::End, Delivery::Failed(failure())] {
        let fake = Fake::default();
        fake.deliver(1, 0, 1);
        fake.script().deliveries.push_back(end);
        fake.script().over = true;
        let (handle, mut driver) = Manual::start(fake.machine());
        driver.poll();
        drop(handle);
        driver.run();
        assert!(driver.is_over());
    }
}

#[test]
fn a_driver_that_is_gone_leaves_nobody_waiting() {
    let fake = Fake::default();
    fake.deliver(1, 0, 1);
    let (handle, mut driver) = Manual::start(fake.machine());
    assert!(finish(&mut driver, handle.next()).unwrap().is_some());
    fake.script().hold = true;
    let mut next = Box::pin(handle.next());
    let mut commit = Box::pin(handle.commit());
    let mut close = Box::pin(handle.close());
    let mut late = Box::pin(handle.commit());
    assert!(waits(&mut driver, next.as_mut()));
    assert!(waits(&mut driver, commit.as_mut()));
    assert!(waits(&mut driver, close.as_mut()));
    driver.run();
    assert!(poll_once(late.as_mut()).is_pending());
    driver.kill();
    let stopped = ConsumerError::Stopped;
    assert_eq!(finish(&mut driver, next).unwrap_err(), stopped);
    assert_eq!(finish(&mut driver, commit).unwrap_err(), stopped);
    assert_eq!(finish(&mut driver, close).unwrap_err(), stopped);
    assert_eq!(finish(&mut driver, late).unwrap_err(), stopped);
    assert_eq!(finish(&mut driver, handle.next()).unwrap_err(), stopped);
    assert_eq!(finish(&mut driver, handle.close()).unwrap_err(), stopped);
    assert_eq!(finish(&mut driver, handle.ready()).unwrap_err(), stopped);
    assert_eq!(finish(&mut driver, handle.stats()), tidegate::Stats::default());
}

#[test]
fn ready_waits_for_the_notice() {
    let fake = Fake::default();
    let (handle, mut driver) = Manual::start(fake.machine());
    let mut ready = Box::pin(handle.ready());
    assert!(waits(&mut driver, ready.as_mut()));
    fake.notice(Notice::Ready);
    finish(&mut driver, handle.stats());
    finish(&mut driver, ready).unwrap();
    finish(&mut driver, handle.ready()).unwrap();
}

#[test]
fn notices_are_bounded_and_the_first_subscription_gets_the_early_ones() {
    let fake = Fake::default();
    let mut limits = Limits::default();
    limits.notices_max = 3;
    let options = ConsumerOptions::default().limits(limits);
    let (handle, mut driver) = Manual::default().start_with(fake.machine(), &options);
    let claimed = |messages| Notice::Claimed { shard: shard(1), messages };
    (0..5).for_each(|messages| fake.notice(claimed(messages)));
    driver.run();
    let mut first = handle.notices();
    let mut second = handle.notices();
    assert_eq!(first.lost(), 2);
    assert_eq!(finish(&mut driver, first.recv()), Some(claimed(2)));
    assert_eq!(second.try_recv(), None);
    (5..9).for_each(|messages| fake.notice(claimed(messages)));
    finish(&mut driver, handle.stats());
    assert_eq!((first.lost(), second.lost()), (5, 1));
    let rest: Vec<_> = std::iter::from_fn(|| first.try_recv()).collect();
    assert_eq!(rest, [claimed(6), claimed(7), claimed(8)]);
    assert!(waits(&mut driver, pin!(first.recv())));
    finish(&mut driver, handle.close()).unwrap();
    assert_eq!(finish(&mut driver, first.recv()), None);
    assert_eq!(finish(&mut driver, second.recv()), Some(claimed(6)));
    let mut late = handle.notices();
    assert_eq!(finish(&mut driver, late.recv()), None);
}

#[test]
fn a_stream_ends_with_the_consumer_or_its_error() {
    use futures_core::Stream;
    for end in [Delivery::End, Delivery::Failed(failure())] {
        let failed = matches!(end, Delivery::Failed(_));
        let fake = Fake::default();
        fake.deliver(1, 0, 2);
        let (mut handle, mut driver) = Manual::start(fake.machine());
        // It may be dropped and made again.
        let mut stream = handle.stream();
        let first = finish(&mut driver, std::future::poll_fn(|cx| pin!(&mut stream).poll_next(cx)));
        stream.ack(&first.unwrap().unwrap());
        drop(stream);
        fake.script().deliveries.push_back(end);
        std::task::Wake::wake(driver.flag.clone());
        let mut stream = handle.stream();
        let mut items = Vec::new();
        while let Some(item) = finish(&mut driver, std::future::poll_fn(|cx| pin!(&mut stream).poll_next(cx)))
        {
            items.push(item.map(|message| number(&message)));
            assert!(items.len() < 5);
            std::task::Wake::wake(driver.flag.clone());
        }
        let mut expected = vec![Ok(1)];
        expected.extend(failed.then(|| Err(ConsumerError::Failed(failure()))));
        assert_eq!(items, expected);
    }
}

#[test]
fn the_counters_know_what_waits_here() {
    let fake = Fake::supply(100, 10, 1000);
    let (handle, mut driver) = Manual::start(fake.machine());
    driver.run();
    let before = finish(&mut driver, handle.stats());
    assert_eq!((before.queued, before.in_flight), (100, 0));
    finish(&mut driver, handle.next()).unwrap();
    let after = finish(&mut driver, handle.stats());
    assert_eq!((after.queued, after.in_flight), (99, 1));
    finish(&mut driver, handle.close()).unwrap();
    assert_eq!(finish(&mut driver, handle.stats()).in_flight, 100, "as the machine said at last");
}

#[test]
fn empty_batches_are_nothing() {
    let fake = Fake::default();
    fake.script().deliveries.push_back(Delivery::Batch(batch(1, 0, 0)));
    fake.deliver(1, 0, 1);
    let (handle, mut driver) = Manual::start(fake.machine());
    assert_eq!(finish(&mut driver, handle.next_batch()).unwrap().unwrap().len(), 1);
}
