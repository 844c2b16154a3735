//! A replica nearby is read from instead of the leader (KIP-392), left when it dies or stands still, and
//! found again. Which broker the records came from the proxies before the brokers tell.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;

use std::time::Instant;

use api_tools::*;
use tidegate::{Handle, KafkaOptions};
use tidegate_live::kafka::{Cluster, ClusterOptions, unique};
use tidegate_live::{heavy, wait};

/// Bytes of a record's value.
const SIZE: usize = 1_000;

/// A cluster, a topic of one partition, and how far a consumer has read it.
struct Scene {
    cluster: Cluster,
    topic: String,
    end: u64,
    leader: usize,
    nearby: usize,
}

impl Scene {
    fn new() -> Self {
        let selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
        let options = ClusterOptions {
            settings: vec![("replica.selector.class".into(), selector.into())],
            proxied: true,
            ..ClusterOptions::default()
        };
        let cluster = Cluster::with(3, &options);
        println!("three brokers in {:?}", cluster.took());
        let topic = unique("topic");
        cluster.admin().create_topic(&topic, 1, 3, &[]);
        let leader = cluster.admin().partitions(&topic)[0].leader as usize;
        Self { cluster, topic, end: 0, leader, nearby: leader % 3 + 1 }
    }

    /// Bytes that each broker has sent to the consumer, by its number less one.
    fn sent(&self) -> [u64; 3] {
        [1, 2, 3].map(|broker| self.cluster.proxy(broker).bytes().0)
    }

    /// That many more records come, in order and once each; how many bytes each broker sent meanwhile.
    async fn read(&mut self, consumer: &Handle, count: u64) -> [u64; 3] {
        let before = self.sent();
        let range = self.end..self.end + count;
        self.cluster.admin().numbers(&self.topic, 1).size(SIZE).send(range.clone());
        for offset in range {
            let message = next(consumer).await;
            assert_eq!(message.seq().low(), offset);
            assert_eq!(message.payload().map(<[u8]>::len), Some(SIZE));
        }
        self.end += count;
        let after = self.sent();
        [0, 1, 2].map(|broker| after[broker] - before[broker])
    }

    /// The same, and all of them from this broker.
    async fn read_from(&mut self, consumer: &Handle, broker: usize, what: &str) {
        const COUNT: u64 = 2_000;
        let began = Instant::now();
        let sent = self.read(consumer, COUNT).await;
        let (took, leader, nearby) = (began.elapsed(), self.leader, self.nearby);
        println!(
            "{what}: {COUNT} records in {took:?}; bytes sent {sent:?}, leader {leader}, nearby {nearby}"
        );
        let records = COUNT * SIZE as u64;
        for (number, sent) in (1..).zip(sent) {
            // All else is answers that say that there is nothing, metadata, and the like.
            let right = if number == broker { sent >= records } else { sent < records / 4 };
            assert!(right, "{sent} bytes from broker {number} for {records} bytes of records from {broker}");
        }
    }
}

#[test]
fn a_replica_nearby_is_read_from_left_when_it_fails_and_found_again() {
    let _turn = heavy();
    let mut scene = Scene::new();
    let nearby = scene.nearby;
    let url = scene.cluster.proxied_url(&scene.topic);
    let kafka = KafkaOptions::default().rack(format!("rack-{nearby}"));
    runtime().block_on(async {
        let consumer = open(&url, from_the_beginning().kafka(kafka)).await;
        scene.read_from(&consumer, nearby, "from nearby").await;

        for stands in [false, true] {
            if stands {
                scene.cluster.stop(nearby);
            } else {
                scene.cluster.kill9(nearby);
            }
            let what = if stands { "it stands still" } else { "it is dead" };
            scene.read_from(&consumer, scene.leader, what).await;
            if stands {
                scene.cluster.cont(nearby);
            } else {
                scene.cluster.restart(nearby);
            }
            scene.cluster.wait_until_known(nearby, true);
            // As soon as it is in sync, the leader names it again.
            let back = Instant::now();
            while scene.read(&consumer, 100).await[nearby - 1] < 100 * SIZE as u64 {
                assert!(back.elapsed() < wait::PATIENCE, "it is not read from again");
            }
            println!("it is back, and read from again {:?} later", back.elapsed());
        }
        consumer.close().await.unwrap();
    });
}

#[test]
fn without_a_rack_the_leader_is_read_from() {
    let _turn = heavy();
    let mut scene = Scene::new();
    let url = scene.cluster.proxied_url(&scene.topic);
    runtime().block_on(async {
        let consumer = open(&url, from_the_beginning()).await;
        scene.read_from(&consumer, scene.leader, "no rack").await;
        consumer.close().await.unwrap();
    });
}
