//! One handle on many tasks and threads, several topics, topics that grow and that come later, on Kafka.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;
mod kafka_api_tools;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use api_tools::*;
use kafka_api_tools::*;
use tidegate::{ConsumerOptions, Handle, KafkaOptions};
use tidegate_live::kafka::{shared, unique};
use tidegate_live::wait;

fn curious(options: ConsumerOptions) -> ConsumerOptions {
    options.kafka(KafkaOptions::default().metadata_age(millis(300)))
}

/// Takes and acks until `count` came in all.
async fn share(consumer: Handle, tally: Arc<Mutex<Tally>>, count: usize, batches: bool) -> usize {
    let mut own = 0;
    loop {
        if tally.lock().unwrap().0.len() >= count {
            return own;
        }
        let wait = millis(100);
        if batches {
            let Ok(messages) = tokio::time::timeout(wait, consumer.next_batch()).await else { continue };
            let messages = messages.unwrap().unwrap();
            let mut tally = tally.lock().unwrap();
            (0..messages.len()).for_each(|at| tally.add(&messages.message(at).unwrap()));
            own += messages.len();
            consumer.ack_batch(&messages);
        } else {
            let Ok(message) = tokio::time::timeout(wait, consumer.next()).await else { continue };
            let message = message.unwrap().unwrap();
            tally.lock().unwrap().add(&message);
            own += 1;
            consumer.ack(&message);
        }
    }
}

#[test]
fn each_message_goes_to_one_of_many_tasks() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(6), unique("group"));
    kafka.numbers(&topic, 6).send(0..30_000);
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), member_of(&group).batch(50)).await;
        let tally = Arc::new(Mutex::new(Tally::default()));
        let tasks: Vec<_> = (0..16)
            .map(|n| tokio::spawn(share(consumer.clone(), Arc::clone(&tally), 30_000, n % 3 == 0)))
            .collect();
        let mut shares = Vec::new();
        for task in tasks {
            shares.push(within("a task", wait::PATIENCE, task).await.unwrap());
        }
        println!("30000 messages among 16 tasks: {shares:?}");
        tally.lock().unwrap().each_once(&topic, &[5_000; 6]);
        consumer.close().await.unwrap();
        assert_eq!(kafka.committed_offsets(&group, &topic, 6), [5_000; 6]);
    });
}

#[test]
fn each_message_goes_to_one_of_many_threads_with_runtimes_of_their_own() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(3), unique("group"));
    kafka.numbers(&topic, 3).send(0..9_000);
    let runtime = runtime();
    let consumer = runtime.block_on(open(&kafka.url(&topic), member_of(&group).batch(50)));
    let tally = Arc::new(Mutex::new(Tally::default()));
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let (consumer, tally) = (consumer.clone(), Arc::clone(&tally));
            thread::spawn(move || single().block_on(share(consumer, tally, 9_000, n == 0)))
        })
        .collect();
    let shares: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    println!("9000 messages among 4 threads: {shares:?}");
    tally.lock().unwrap().each_once(&topic, &[3_000; 3]);
    single().block_on(consumer.close()).unwrap();
    assert_eq!(kafka.committed_offsets(&group, &topic, 3), [3_000; 3]);
}

#[test]
fn many_that_wait_are_all_woken_in_turn() {
    let kafka = shared();
    let topic = kafka.topic(1);
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), member_of(&unique("group"))).await;
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let consumer = consumer.clone();
                tokio::spawn(async move { offset(&next(&consumer).await) })
            })
            .collect();
        tokio::time::sleep(millis(50)).await;
        kafka.add(&topic, numbers(0..20));
        let mut seen = BTreeSet::new();
        for task in waiting {
            seen.insert(within("a message for each", wait::PATIENCE, task).await.unwrap());
        }
        assert_eq!(seen, (0..20).collect());
        consumer.close().await.unwrap();
    });
}

#[test]
fn several_topics_come_through_one_consumer() {
    let kafka = shared();
    let (a, b, c) = (kafka.topic(2), kafka.topic(1), kafka.topic(3));
    runtime().block_on(async {
        for options in [from_the_beginning(), member_of(&unique("group"))] {
            let group = options.group.as_ref().map(|group| group.to_string());
            let consumer = open(&kafka.url(&format!("{a},{b},{c}")), options).await;
            let mut expected = 0;
            for (topic, partitions) in [(&a, 2), (&b, 1), (&c, 3)] {
                if kafka.ends(topic)[0] == 0 {
                    kafka.numbers(topic, partitions).send(0..600);
                }
                expected += 600;
            }
            let mut tally = Tally::default();
            for message in take(&consumer, expected).await {
                tally.add(&message);
                consumer.ack(&message);
            }
            tally.each_once(&a, &[300; 2]);
            tally.each_once(&b, &[600]);
            tally.each_once(&c, &[200; 3]);
            consumer.close().await.unwrap();
            if let Some(group) = group {
                assert_eq!(kafka.committed_offsets(&group, &a, 2), [300; 2]);
                assert_eq!(kafka.committed_offsets(&group, &b, 1), [600]);
                assert_eq!(kafka.committed_offsets(&group, &c, 3), [200; 3]);
            }
        }
    });
}

#[test]
fn a_topic_that_gets_more_partitions_while_being_read_is_read_whole() {
    let kafka = shared();
    runtime().block_on(async {
        for (mode, group) in [("real-time", None), ("a member", Some(unique("group")))] {
            let topic = kafka.topic(1);
            let options = curious(group.as_ref().map_or_else(real_time, |group| member_of(group)));
            let consumer = open(&kafka.url(&topic), options).await;
            kafka.add(&topic, ["before"]);
            assert_eq!(text(&next(&consumer).await), "before");
            kafka.add_partitions(&topic, 4);
            // Written before it is found: all in a new partition is new.
            let grown = Instant::now();
            let sending = topic.clone();
            blocking(move || {
                wait::until_true("four partitions", wait::PATIENCE, || kafka.partitions(&sending).len() == 4);
                kafka.numbers(&sending, 4).send(0..40);
            })
            .await;
            let mut tally = Tally::default();
            take(&consumer, 40).await.iter().for_each(|message| tally.add(message));
            println!("{mode}: three more partitions read {:?} after they were made", grown.elapsed());
            let places: BTreeSet<_> = tally.0.keys().map(|(_, shard, _)| *shard).collect();
            assert_eq!(places, BTreeSet::from([0, 1, 2, 3]), "{mode}");
            assert!(tally.0.values().all(|times| *times == 1), "{mode}");
            assert_eq!(consumer.stats().await.shards, 4, "{mode}");
            consumer.close().await.unwrap();
        }
    });
}

#[test]
fn a_missing_topic_is_created_where_that_was_asked_for() {
    let kafka = shared();
    runtime().block_on(async {
        for (mode, group) in [("real-time", None), ("a member", Some(unique("group")))] {
            let (there, missing) = (kafka.topic(1), unique("missing"));
            let options =
                curious(group.as_ref().map_or_else(real_time, |group| member_of(group))).create(true);
            let consumer = open(&kafka.url(&format!("{there},{missing}")), options).await;
            kafka.add(&there, ["from the one that is there"]);
            assert_eq!(text(&next(&consumer).await), "from the one that is there", "{mode}");
            // The producer waits for a topic that isn't there; nobody else makes it.
            let made = Instant::now();
            kafka.add(&missing, numbers(0..20));
            let mut tally = Tally::default();
            take(&consumer, 20).await.iter().for_each(|message| tally.add(message));
            println!("{mode}: from a topic that was missing after {:?}", made.elapsed());
            tally.each_once(&missing, &[20]);
            assert_eq!(consumer.stats().await.shards, 2);
            consumer.close().await.unwrap();
        }
        // Alone, too.
        for options in [real_time(), member_of(&unique("group"))] {
            let missing = unique("missing");
            let consumer = open(&kafka.url(&missing), curious(options).create(true)).await;
            kafka.add(&missing, ["the first"]);
            assert_eq!(text(&next(&consumer).await), "the first");
            within("a close", Duration::from_secs(5), consumer.close()).await.unwrap();
        }
    });
}

#[test]
fn two_members_with_many_tasks_each_lose_nothing() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(4), unique("group"));
    kafka.numbers(&topic, 4).send(0..2_000);
    runtime().block_on(async {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let url = kafka.url(&topic);
        let join = || open(&url, member_of(&group).batch(20));
        let (one, two) = tokio::join!(join(), join());
        let spawn = |consumer: &Handle| {
            (0..3)
                .map(|_| tokio::spawn(share(consumer.clone(), Arc::clone(&tally), 2_000, false)))
                .collect::<Vec<_>>()
        };
        for task in spawn(&one).into_iter().chain(spawn(&two)) {
            within("a task", wait::PATIENCE, task).await.unwrap();
        }
        let repeated: usize = {
            let tally = tally.lock().unwrap();
            tally.all(&topic, &[500; 4]);
            tally.0.values().map(|times| times - 1).sum()
        };
        println!("2000 messages of a group that was shared meanwhile: {repeated} repeated");
        one.close().await.unwrap();
        two.close().await.unwrap();
        assert_eq!(kafka.committed_offsets(&group, &topic, 4), [500; 4]);
    });
}
