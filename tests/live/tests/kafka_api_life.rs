//! A consumer's end on Kafka: crash, close, drop, silence; in each, what was acked and what is read again.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::time::{Duration, Instant};

use api_tools::kafka::*;
use api_tools::*;
use tidegate::{ConsumerError, ConsumerOptions, Error, GroupProtocol, Handle, KafkaOptions};
use tidegate_live::kafka::{Cluster, Protocol, shared, unique};
use tidegate_live::{heavy, wait};

fn of(protocol: Protocol) -> KafkaOptions {
    let classic = |kind| {
        let timeout = Duration::from_secs(3);
        let options = KafkaOptions::default().protocol(GroupProtocol::Classic).assignors([kind]);
        options.session_timeout(timeout).heartbeat_interval(timeout / 3)
    };
    match protocol {
        Protocol::Eager => classic(tidegate::AssignorKind::Range),
        Protocol::Cooperative => classic(tidegate::AssignorKind::CooperativeSticky),
        Protocol::Consumer => KafkaOptions::default().protocol(GroupProtocol::Consumer),
    }
}

fn options(group: &str, protocol: Protocol) -> ConsumerOptions {
    in_group(group).kafka(of(protocol))
}

/// The consumer on a runtime of its own, which is torn down with everything on it as if the process had
/// been killed: nobody gets to say farewell.
struct Doomed {
    runtime: tokio::runtime::Runtime,
    consumer: Handle,
}

impl Doomed {
    fn open(url: &str, options: ConsumerOptions) -> Self {
        let runtime = runtime();
        let consumer = runtime.block_on(open(url, options));
        Self { runtime, consumer }
    }

    fn crash(self) {
        // A runtime can't be torn down from within another one.
        let torn = std::thread::spawn(|| self.runtime.shutdown_timeout(Duration::from_secs(5)));
        torn.join().unwrap();
    }
}

#[test]
fn acks_out_of_order_and_a_crash_repeat_all_that_was_un_acked_and_skip_nothing() {
    let kafka = shared();
    for protocol in Protocol::ALL {
        let topic = kafka.topic(1);
        let group = unique("group");
        kafka.numbers(&topic, 1).send(0..20);
        let doomed = Doomed::open(&kafka.url(&topic), options(&group, protocol));
        doomed.runtime.block_on(async {
            let messages = take(&doomed.consumer, 20).await;
            for n in [19, 7, 0, 5, 2, 1] {
                doomed.consumer.ack(&messages[n]);
            }
            doomed.consumer.commit().await.unwrap();
            assert_eq!(kafka.committed_offsets(&group, &topic, 1), [3], "up to the first un-acked one");
            doomed.consumer.ack(&messages[3]);
            doomed.consumer.commit().await.unwrap();
            assert_eq!(kafka.committed_offsets(&group, &topic, 1), [4]);
            doomed.consumer.ack(&messages[4]);
            doomed.consumer.commit().await.unwrap();
            assert_eq!(kafka.committed_offsets(&group, &topic, 1), [6], "and on over those acked before");
        });
        doomed.crash();
        runtime().block_on(async {
            let consumer = open(&kafka.url(&topic), options(&group, protocol)).await;
            assert_eq!(by_shard(&consumer, 14).await, each([0], 6..20));
            nothing_comes(&consumer, millis(300)).await;
            consumer.close().await.unwrap();
        });
    }
}

#[test]
fn a_close_takes_less_than_a_second_and_leaves_the_group() {
    let kafka = shared();
    for protocol in Protocol::ALL {
        let topic = kafka.topic(2);
        let group = unique("group");
        kafka.numbers(&topic, 2).size(100).send(0..50_000);
        runtime().block_on(async {
            // A busy one that sits on a full lane, and then an idle one at the end.
            for take_all in [false, true] {
                let consumer = open(&kafka.url(&topic), options(&group, protocol)).await;
                let acked = if take_all { 50_000 - 1_000 } else { 1_000 };
                take(&consumer, acked).await.iter().for_each(|message| consumer.ack(message));
                let (done, took) = timed(consumer.close()).await;
                assert_eq!(done, Ok(()));
                println!("{protocol:?}: closed in {took:?}, all taken: {take_all}");
                assert!(took < Duration::from_secs(1), "{protocol:?}: {took:?}");
                let books = kafka.group(&group).unwrap();
                assert_eq!(books.members, [], "no ghost");
                assert_eq!(
                    consumer.next().await.map(|message| message.is_none()),
                    Ok(true),
                    "after the close"
                );
            }
            let committed: i64 = kafka.committed_offsets(&group, &topic, 2).iter().sum();
            assert_eq!(committed, 50_000);
        });
    }
}

#[test]
fn a_close_with_all_brokers_stopped_is_bounded_and_truthful_and_a_drop_blocks_nobody() {
    let _turn = heavy();
    let cluster = Cluster::start(1);
    let kafka = cluster.admin();
    for protocol in Protocol::ALL {
        let topic = kafka.topic(1);
        let group = unique("group");
        kafka.numbers(&topic, 1).send(0..50);
        let runtime = runtime();
        let consumer = runtime.block_on(async {
            let consumer = open(&kafka.url(&topic), options(&group, protocol)).await;
            let messages = take(&consumer, 20).await;
            messages[..3].iter().for_each(|message| consumer.ack(message));
            consumer.commit().await.unwrap();
            cluster.stop(1);
            messages[3..10].iter().for_each(|message| consumer.ack(message));
            let limit = Duration::from_secs(1);
            let (done, took) = timed(consumer.close_within(limit)).await;
            println!("{protocol:?}: {done:?} after {took:?}");
            assert!(took < limit + millis(500), "its deadline is {limit:?}: {took:?}");
            assert_eq!(done, Err(ConsumerError::Failed(Error::Uncommitted { messages: 7 })));
            consumer
        });
        let started = Instant::now();
        drop(consumer);
        drop(runtime);
        assert!(started.elapsed() < Duration::from_secs(1), "dropping: {:?}", started.elapsed());
        cluster.cont(1);
        // Without a close: neither the handle nor its runtime waits for a broker.
        let runtime = self::runtime();
        let consumer = runtime.block_on(async {
            let consumer = open(&kafka.url(&topic), options(&unique("group"), protocol)).await;
            take(&consumer, 20).await.iter().for_each(|message| consumer.ack(message));
            consumer
        });
        cluster.stop(1);
        let started = Instant::now();
        drop(consumer);
        assert!(started.elapsed() < millis(100), "the handle: {:?}", started.elapsed());
        drop(runtime);
        assert!(started.elapsed() < Duration::from_secs(1), "the runtime: {:?}", started.elapsed());
        cluster.cont(1);
    }
}

#[test]
fn dropping_the_last_handle_commits_and_leaves_in_the_background() {
    let kafka = shared();
    let topic = kafka.topic(1);
    let group = unique("group");
    kafka.numbers(&topic, 1).send(0..50);
    runtime().block_on(async {
        let consumer = open(&kafka.url(&topic), in_group(&group)).await;
        take(&consumer, 50).await[..20].iter().for_each(|message| consumer.ack(message));
        drop(consumer);
        wait::until_true("what was acked is committed", Duration::from_secs(3), || {
            kafka.committed_offsets(&group, &topic, 1) == [20]
        });
        wait::until_true("it has left", Duration::from_secs(3), || {
            kafka.group(&group).is_some_and(|books| books.members.is_empty())
        });
    });
}

#[test]
fn an_application_that_takes_nothing_of_a_full_lane_loses_its_membership_and_is_told() {
    let records: u64 = 100_000;
    let kafka = shared();
    for protocol in Protocol::ALL {
        let topic = kafka.topic(1);
        let group = unique("group");
        kafka.numbers(&topic, 1).size(100).send(0..records);
        runtime().block_on(async {
            let patience = Duration::from_secs(3);
            let kafka_options = of(protocol).rebalance_timeout(patience);
            let options = in_group_rolling(&group, 60_000).kafka(kafka_options);
            let consumer = open(&kafka.url(&topic), options).await;
            let mut notices = consumer.notices();
            let message = next(&consumer).await;
            consumer.ack(&message);
            let started = Instant::now();
            wait::until_true("it is no member any more", patience * 4, || {
                kafka.group(&group).is_some_and(|books| books.members.is_empty())
            });
            println!("{protocol:?}: out of the group after {:?}", started.elapsed());
            let committed = kafka.committed_offsets(&group, &topic, 1);
            assert_eq!(committed, [1], "what it had acked is committed before it leaves");
            let said = notice(&mut notices, "the loss", |notice| {
                let text = notice.to_string();
                (text.contains("revoked") || text.contains("left") || text.contains("lost")).then_some(text)
            });
            println!("{protocol:?}: {}", said.await);
            // It takes again, and is a member again; what it had acked is not read again.
            let last = records - 1;
            let mut times = vec![0; records as usize];
            let mut offset = 0;
            while offset != last || times[..last as usize].iter().skip(1).any(|&times| times == 0) {
                offset = next(&consumer).await.seq().low();
                times[offset as usize] += 1;
            }
            assert_eq!(times[0], 0, "it was acked, and committed before it left");
            kafka.wait_until_shared(&group, &topic, &[1], wait::PATIENCE);
            consumer.close().await.unwrap();
            assert_eq!(kafka.committed_offsets(&group, &topic, 1), [1]);
        });
    }
}

#[test]
fn a_static_member_that_is_back_in_time_finds_its_partitions_without_a_rebalance() {
    let kafka = shared();
    let topic = kafka.topic(2);
    let group = unique("group");
    let long = Duration::from_secs(30);
    let member = |name: &str| {
        let classic = KafkaOptions::default().protocol(GroupProtocol::Classic).instance(name);
        in_group(&group).kafka(classic.session_timeout(long).heartbeat_interval(Duration::from_secs(1)))
    };
    let doomed = Doomed::open(&kafka.url(&topic), member("first"));
    runtime().block_on(async {
        let other = open(&kafka.url(&topic), member("second")).await;
        kafka.wait_until_shared(&group, &topic, &[1, 1], wait::PATIENCE);
        let before = kafka.group(&group).unwrap();
        assert!(before.members.iter().any(|member| member.instance == "first"), "{before:?}");
        doomed.crash();
        let back = open(&kafka.url(&topic), member("first")).await;
        let started = Instant::now();
        kafka.numbers(&topic, 2).send(0..2);
        let (a, b) = (at(&next(&back).await), at(&next(&other).await));
        assert_ne!(a.0, b.0);
        assert!(started.elapsed() < long / 3, "long before anybody is missed: {:?}", started.elapsed());
        let after = kafka.group(&group).unwrap();
        let held = |books: &tidegate_live::kafka::Group, name: &str| {
            let member = books.members.iter().find(|member| member.instance == name);
            member.map(|member| member.partitions.clone())
        };
        assert_eq!(held(&after, "first"), held(&before, "first"));
        assert_eq!(held(&after, "second"), held(&before, "second"));
        other.close().await.unwrap();
        back.close().await.unwrap();
    });
}

#[test]
fn a_text_is_committed_with_the_offset() {
    let kafka = shared();
    let topic = kafka.topic(1);
    let group = unique("group");
    kafka.add(&topic, ["one"]);
    runtime().block_on(async {
        let options = KafkaOptions::default().commit_metadata("as of release 7");
        let consumer = open(&kafka.url(&topic), in_group(&group).kafka(options)).await;
        consumer.ack(&next(&consumer).await);
        consumer.commit().await.unwrap();
        let committed = &kafka.committed(&group)[&(topic.clone(), 0)];
        assert_eq!((committed.offset, committed.metadata.as_str()), (1, "as of release 7"));
        assert!(committed.leader_epoch >= 0, "with the epoch of the leader (KIP-320): {committed:?}");
        consumer.close().await.unwrap();
    });
}
