//! What is acked on Kafka is committed: on time, in each mode, up to the first message that isn't, and
//! before a close returns.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;
mod kafka_api_tools;

use std::time::{Duration, Instant};

use api_tools::*;
use kafka_api_tools::*;
use tidegate::{AutoCommit, Isolation, KafkaOptions};
use tidegate_live::kafka::{Outcome, shared, unique};
use tidegate_live::wait;

const HOUR: Duration = Duration::from_secs(3_600);

fn rolling(interval: Duration) -> AutoCommit {
    AutoCommit::Rolling { interval }
}

#[test]
fn a_commit_says_how_many_and_the_broker_s_books_have_it() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(1), unique("group"));
    kafka.add(&topic, numbers(0..50));
    runtime().block_on(async {
        let metadata = KafkaOptions::default().commit_metadata("written by a test");
        let consumer = open(&kafka.url(&topic), member_of(&group).kafka(metadata)).await;
        assert_eq!(consumer.commit().await, Ok(0), "there is nothing to commit");
        let messages = take(&consumer, 50).await;
        messages[..30].iter().for_each(|message| consumer.ack(message));
        wait::always("nobody said commit", millis(1_200), || {
            kafka.committed_offsets(&group, &topic, 1) == [-1]
        });
        assert_eq!(consumer.commit().await, Ok(30));
        let books = kafka.committed(&group).remove(&(topic.clone(), 0)).unwrap();
        assert_eq!((books.offset, &*books.metadata), (30, "written by a test"));
        messages[..40].iter().for_each(|message| consumer.ack(message));
        assert_eq!(consumer.commit().await, Ok(10), "repeated acks count once");
        assert_eq!(kafka.committed_offsets(&group, &topic, 1), [40]);
        assert_eq!(consumer.commit().await, Ok(0));
        let stats = consumer.stats().await;
        assert_eq!((stats.acked, stats.committed, stats.uncommitted, stats.in_flight), (40, 40, 0, 10));
        consumer.close().await.unwrap();
    });
    let commits: Vec<_> = kafka.commits(&group).iter().map(|commit| commit.offset).collect();
    assert_eq!(commits, [30, 40], "and no more than that was written");
}

#[test]
fn acks_out_of_order_are_committed_up_to_the_first_that_is_missing() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(1), unique("group"));
    kafka.add(&topic, numbers(0..100));
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), member_of(&group)).await;
        let messages = take(&consumer, 100).await;
        let mut acked = [false; 100];
        let mut told = 0;
        // Every step by 37 comes by each once.
        for step in 0..100 {
            let at = step * 37 % 100;
            consumer.ack(&messages[at]);
            acked[at] = true;
            if step % 10 == 9 {
                let count = within("a commit", wait::PATIENCE, consumer.commit()).await.unwrap();
                told += count;
                let frontier = acked.iter().take_while(|acked| **acked).count() as i64;
                let books = kafka.committed_offsets(&group, &topic, 1)[0];
                assert_eq!(books.max(0), frontier, "after {} acks", step + 1);
            }
        }
        assert_eq!(told, 100, "each was told of once");
        consumer.close().await.unwrap();
    });
}

#[test]
fn a_resumable_consumer_goes_on_with_exactly_the_next_message() {
    let kafka = shared();
    let (topic, host) = (kafka.topic(1), unique("host"));
    kafka.add(&topic, numbers(0..60));
    runtime().block_on(async {
        let mut next_offset = 0;
        for count in [1, 2, 17, 40] {
            let consumer = resumable(&kafka.url(&topic), &host).await;
            let messages = take(&consumer, count).await;
            let expected: Vec<_> = (next_offset..next_offset + count as u64).collect();
            assert_eq!(offsets(&messages), expected);
            messages.iter().for_each(|message| consumer.ack(message));
            consumer.close().await.unwrap();
            next_offset += count as u64;
            assert_eq!(kafka.committed_offsets(&host, &topic, 1), [next_offset as i64]);
        }
        let consumer = resumable(&kafka.url(&topic), &host).await;
        nothing_comes(&consumer, millis(300)).await;
        kafka.add(&topic, ["new"]);
        assert_eq!(text(&next(&consumer).await), "new");
        consumer.close().await.unwrap();
        // Another host is another group.
        let other = resumable(&kafka.url(&topic), &unique("host")).await;
        assert_eq!(offset(&next(&other).await), 0);
        other.close().await.unwrap();
    });
}

#[test]
fn a_crash_repeats_all_that_was_un_acked_and_skips_nothing() {
    let kafka = shared();
    let (topic, host) = (kafka.topic(2), unique("host"));
    kafka.numbers(&topic, 2).send(0..400);
    let url = kafka.url(&topic);
    let committed = {
        let runtime = runtime();
        let committed = runtime.block_on(async {
            let consumer = resumable(&url, &host).await;
            let messages = take(&consumer, 300).await;
            // All but a few, from the last to the first.
            for message in messages.iter().rev().filter(|message| ![7, 50, 99].contains(&offset(message))) {
                consumer.ack(message);
            }
            consumer.commit().await.unwrap();
            kafka.committed_offsets(&host, &topic, 2)
        });
        // Shut down without a close, as a process that dies.
        drop(runtime);
        committed
    };
    assert!(committed.iter().all(|offset| *offset <= 7), "past an un-acked one: {committed:?}");
    assert!(committed.contains(&7), "{committed:?}");
    runtime().block_on(async {
        let began = Instant::now();
        let consumer = resumable(&url, &host).await;
        let mut tally = Tally::default();
        let left = 400 - committed.iter().map(|offset| (*offset).max(0)).sum::<i64>() as usize;
        for message in take(&consumer, left).await {
            tally.add(&message);
            consumer.ack(&message);
        }
        println!("committed {committed:?}; {left} of 400 repeated, {:?} after the crash", began.elapsed());
        for (shard, from) in (0_u64..).zip(&committed) {
            for at in (*from).max(0) as u64..200 {
                assert_eq!(tally.0.get(&(topic.clone(), shard, at)), Some(&1), "{shard}/{at}");
            }
        }
        nothing_comes(&consumer, millis(100)).await;
        consumer.close().await.unwrap();
        assert_eq!(kafka.committed_offsets(&host, &topic, 2), [200, 200]);
    });
}

#[test]
fn rolling_commits_on_time_while_the_application_sits_on_a_message() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(1), unique("group"));
    kafka.add(&topic, numbers(0..20));
    runtime().block_on(async {
        let options = member_of(&group).auto_commit(rolling(millis(200)));
        let consumer = open(&kafka.url(&topic), options).await;
        let messages = take(&consumer, 20).await;
        for (message, expected) in messages[..5].iter().zip(1..) {
            consumer.ack(message);
            wait::until_true("an ack is committed", Duration::from_secs(3), || {
                kafka.committed_offsets(&group, &topic, 1) == [expected]
            });
        }
        // Behind one that it sits on nothing is.
        messages[6..].iter().for_each(|message| consumer.ack(message));
        wait::always("not past an un-acked one", millis(800), || {
            kafka.committed_offsets(&group, &topic, 1) == [5]
        });
        consumer.ack(&messages[5]);
        wait::until_true("all of them", Duration::from_secs(3), || {
            kafka.committed_offsets(&group, &topic, 1) == [20]
        });
        consumer.close().await.unwrap();
    });
}

#[test]
fn delayed_counts_from_the_taking() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(1), unique("group"));
    kafka.add(&topic, numbers(0..10));
    let committed = || kafka.committed_offsets(&group, &topic, 1)[0];
    runtime().block_on(async {
        let options = member_of(&group).auto_commit(AutoCommit::Delayed { delay: Duration::from_secs(1) });
        let consumer = open(&kafka.url(&topic), options).await;
        wait::always("nobody took one", millis(1_500), || committed() == -1);
        let taken = Instant::now();
        take(&consumer, 4).await;
        wait::until_true("what was taken is committed", Duration::from_secs(4), || committed() == 4);
        let took = taken.elapsed();
        println!("delayed by 1 s: committed {took:?} after the taking");
        assert!(took >= millis(900), "{took:?}");
        wait::always("the others were not taken", millis(1_200), || committed() == 4);
        // Earlier, where the application says so.
        consumer.ack(&next(&consumer).await);
        assert_eq!(consumer.commit().await, Ok(1));
        assert_eq!(committed(), 5);
        next(&consumer).await;
        consumer.close().await.unwrap();
        assert_eq!(committed(), 6, "a clean close acks what was taken");
    });
}

#[test]
fn after_a_close_nothing_acked_is_uncommitted_in_each_mode() {
    let kafka = shared();
    let modes = [
        ("immediate", AutoCommit::Immediate),
        ("delayed", AutoCommit::Delayed { delay: HOUR }),
        ("rolling", rolling(HOUR)),
        ("disabled", AutoCommit::Disabled),
    ];
    runtime().block_on(async {
        for (mode, auto_commit) in modes {
            let (topic, group) = (kafka.topic(1), unique("group"));
            kafka.numbers(&topic, 1).send(0..3_000);
            let options = member_of(&group).auto_commit(auto_commit).batch(100);
            let consumer = open(&kafka.url(&topic), options).await;
            let messages = take(&consumer, 310).await;
            assert_eq!(offsets(&messages), (0..310).collect::<Vec<_>>(), "{mode}: in order");
            let acks = matches!(mode, "rolling" | "disabled");
            if acks {
                // In any order, repeated, one by one and as ranges.
                messages[..100].iter().rev().for_each(|message| consumer.ack(message));
                messages[50..120].iter().for_each(|message| consumer.ack(message));
                messages[120..300].iter().for_each(|m| consumer.ack_range(m.ack_range().unwrap()));
            }
            assert_eq!(messages[0].ack_range().is_none(), mode == "immediate", "is there anything to ack?");
            within(mode, Duration::from_secs(5), consumer.close()).await.unwrap();
            let committed = kafka.committed_offsets(&group, &topic, 1)[0];
            println!("{mode}: 310 taken, committed {committed} at the close");
            match mode {
                // At most once: not before what was taken, so that none comes twice.
                "immediate" => assert!(committed >= 310, "{mode}: {committed}"),
                "delayed" => assert_eq!(committed, 310, "a clean close acks what was taken"),
                _ => assert_eq!(committed, 300, "{mode}"),
            }
            kafka.add(&topic, ["new"]);
            let other = open(&kafka.url(&topic), member_of(&group)).await;
            assert_eq!(offset(&next(&other).await) as i64, committed, "{mode}: and there it goes on");
            other.close().await.unwrap();
        }
    });
}

#[test]
fn immediate_loses_at_most_what_was_on_its_way_and_repeats_nothing() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(1), unique("group"));
    kafka.numbers(&topic, 1).send(0..1_000);
    let url = kafka.url(&topic);
    let options = || member_of(&group).auto_commit(AutoCommit::Immediate);
    let last = {
        let runtime = runtime();
        let last = runtime.block_on(async {
            let consumer = open(&url, options()).await;
            let last = offset(take(&consumer, 100).await.last().unwrap());
            tokio::time::sleep(millis(300)).await;
            last
        });
        drop(runtime);
        last
    };
    runtime().block_on(async {
        let consumer = open(&url, options()).await;
        kafka.add(&topic, ["new"]);
        let first = next(&consumer).await;
        println!("immediate: taken up to {last}, after a crash the first is {}", offset(&first));
        assert!(offset(&first) > last, "{} comes twice", offset(&first));
        consumer.close().await.unwrap();
    });
}

#[test]
fn what_is_committed_is_past_trailing_markers() {
    let kafka = shared();
    runtime().block_on(async {
        for isolation in [Isolation::ReadCommitted, Isolation::ReadUncommitted] {
            let (topic, group, id) = (kafka.topic(1), unique("group"), unique("transaction"));
            let send = |values: &[&str], outcome| {
                kafka.produce(&topic).values(0, values).transaction(&id, outcome).send();
            };
            send(&["a", "b", "c"], Outcome::Commit);
            send(&["never"], Outcome::Abort);
            let end = kafka.ends(&topic)[0];
            let options = member_of(&group).kafka(KafkaOptions::default().isolation(isolation));
            let consumer = open(&kafka.url(&topic), options).await;
            let count = if isolation == Isolation::ReadCommitted { 3 } else { 4 };
            take(&consumer, count).await.iter().for_each(|message| consumer.ack(message));
            nothing_comes(&consumer, millis(200)).await;
            assert_eq!(consumer.commit().await, Ok(count as u64));
            let committed = kafka.committed_offsets(&group, &topic, 1)[0];
            println!("{isolation:?}: {count} messages, the log ends at {end}, committed {committed}");
            assert_eq!(committed, end, "{isolation:?}");
            consumer.close().await.unwrap();
            let other = open(&kafka.url(&topic), member_of(&group)).await;
            kafka.add(&topic, ["next"]);
            assert_eq!(text(&next(&other).await), "next");
            other.close().await.unwrap();
        }
    });
}

#[test]
fn commits_asked_for_at_the_same_time_are_all_answered_truthfully() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(4), unique("group"));
    kafka.numbers(&topic, 4).send(0..1_000);
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), member_of(&group)).await;
        let messages = take(&consumer, 1_000).await;
        let tasks: Vec<_> = messages
            .chunks(100)
            .map(|some| {
                let (consumer, some) = (consumer.clone(), some.to_vec());
                tokio::spawn(async move {
                    for few in some.chunks(10) {
                        few.iter().for_each(|message| consumer.ack(message));
                        consumer.commit().await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            within("commits", wait::PATIENCE, task).await.unwrap();
        }
        assert_eq!(kafka.committed_offsets(&group, &topic, 4), [250; 4]);
        let stats = consumer.stats().await;
        assert_eq!((stats.acked, stats.committed, stats.uncommitted), (1_000, 1_000, 0), "{stats:?}");
        consumer.close().await.unwrap();
    });
}

#[test]
fn a_commit_of_an_idle_consumer_takes_a_round_trip() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(1), unique("group"));
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), patient(member_of(&group))).await;
        let mut times = Vec::new();
        for at in 0..5 {
            kafka.add(&topic, ["one"]);
            consumer.ack(&next(&consumer).await);
            tokio::time::sleep(millis(100)).await;
            let (done, took) = timed(consumer.commit()).await;
            assert_eq!(done, Ok(1));
            assert_eq!(kafka.committed_offsets(&group, &topic, 1), [at + 1]);
            times.push(took);
        }
        println!("commit beside a poll of {LONG_POLL:?}: {times:?}");
        assert!(median(times.clone()) < ROUND_TRIP, "{times:?}");
        consumer.close().await.unwrap();
    });
}
