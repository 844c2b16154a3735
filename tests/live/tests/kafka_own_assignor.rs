//! An assignor that a service brings itself, against a real coordinator and other clients.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod api_tools;
mod kafka_api_tools;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api_tools::*;
use kafka_api_tools::*;
use tidegate::assign::{AssignError, Assignor, Member, MemberAssignment, RebalanceProtocol, Topic};
use tidegate::{
    AssignorKind, AutoCommit, ConsumerOptions, GroupProtocol, Handle, KafkaOptions, Notice, OwnAssignor,
};
use tidegate_live::kafka::{Admin, shared, unique};
use tidegate_live::wait;

/// The first member, by its id, reads everything.
#[derive(Debug)]
struct FirstTakesAll {
    protocol: RebalanceProtocol,
    /// And so do all others, and one that there isn't.
    greedy: bool,
}

impl Assignor for FirstTakesAll {
    fn name(&self) -> &str {
        "first-takes-all"
    }

    fn protocol(&self) -> RebalanceProtocol {
        self.protocol
    }

    fn assign<'a>(
        &self,
        topics: &'a [Topic],
        members: &'a [Member],
    ) -> Result<Vec<MemberAssignment<'a>>, AssignError> {
        let mut ids: Vec<&str> = members.iter().map(|member| member.id.as_str()).collect();
        ids.sort_unstable();
        ids.truncate(if self.greedy { usize::MAX } else { 1 });
        ids.extend(self.greedy.then_some("nobody"));
        let all = |id| {
            let mut all = MemberAssignment::new(id);
            for topic in topics {
                (0..topic.partitions).for_each(|partition| all.push(&topic.name, partition));
            }
            all
        };
        Ok(ids.into_iter().map(all).collect())
    }
}

fn options(group: &str, client: &str, own: FirstTakesAll, others: &[AssignorKind]) -> ConsumerOptions {
    let kafka = KafkaOptions::default()
        .protocol(GroupProtocol::Classic)
        .own_assignors([OwnAssignor::new(own)])
        .assignors(others.iter().copied())
        .session_timeout(Duration::from_secs(6))
        .heartbeat_interval(millis(300))
        .client_id(client);
    member_of(group).auto_commit(AutoCommit::Rolling { interval: millis(100) }).kafka(kafka)
}

/// Who read which offset of which shard.
type Read = Arc<Mutex<Vec<(&'static str, u64, u64)>>>;

/// Takes and acks what comes, until the handle is closed.
fn work(consumer: &Handle, name: &'static str, read: &Read) -> tokio::task::JoinHandle<()> {
    let (consumer, read) = (consumer.clone(), Arc::clone(read));
    tokio::spawn(async move {
        while let Ok(Some(message)) = consumer.next().await {
            read.lock().unwrap().push((name, message.shard().number(), offset(&message)));
            consumer.ack(&message);
        }
    })
}

/// How many partitions each member holds, by its client id.
fn held(kafka: &Admin, group: &str) -> BTreeMap<String, usize> {
    let members = kafka.group(group).map(|group| group.members).unwrap_or_default();
    members.into_iter().map(|member| (member.client_id, member.partitions.len())).collect()
}

async fn holds(kafka: &'static Admin, group: &str, expected: &[(&str, usize)]) {
    let expected: BTreeMap<String, usize> =
        expected.iter().map(|(client, count)| ((*client).to_owned(), *count)).collect();
    let group = group.to_owned();
    until(&format!("{expected:?}"), wait::PATIENCE, || {
        let (group, expected) = (group.clone(), expected.clone());
        async move { blocking(move || held(kafka, &group) == expected).await }
    })
    .await;
}

async fn all_read(read: &Read, count: usize) {
    until("all that was sent", wait::PATIENCE, || async { read.lock().unwrap().len() >= count }).await;
}

#[test]
fn the_first_member_by_its_id_has_everything_and_whoever_is_next_after_it() {
    for protocol in [RebalanceProtocol::Eager, RebalanceProtocol::Cooperative] {
        let kafka = shared();
        let (topic, group) = (kafka.topic(4), unique("group"));
        let own = || FirstTakesAll { protocol, greedy: false };
        runtime().block_on(async {
            let (url, read) = (kafka.url(&topic), Read::default());
            // The broker makes a member's id of its client id and something random.
            let second = open(&url, options(&group, "b", own(), &[])).await;
            let two = work(&second, "b", &read);
            kafka.numbers(&topic, 4).send(0..400);
            all_read(&read, 400).await;
            holds(kafka, &group, &[("b", 4)]).await;
            assert_eq!(kafka.group(&group).unwrap().assignor, "first-takes-all");

            let first = open(&url, options(&group, "a", own(), &[])).await;
            let one = work(&first, "a", &read);
            holds(kafka, &group, &[("a", 4), ("b", 0)]).await;
            kafka.numbers(&topic, 4).send(400..800);
            all_read(&read, 800).await;

            first.close().await.unwrap();
            one.await.unwrap();
            holds(kafka, &group, &[("b", 4)]).await;
            kafka.numbers(&topic, 4).send(800..1_200);
            all_read(&read, 1_200).await;
            second.close().await.unwrap();
            two.await.unwrap();

            let mut read = read.lock().unwrap().clone();
            let of =
                |name, from| read.iter().filter(|(who, _, at)| *who == name && *at / 100 == from).count();
            assert_eq!([of("b", 0), of("a", 1), of("b", 2)], [400; 3], "{protocol:?}");
            read.sort_unstable_by_key(|(_, shard, at)| (*shard, *at));
            read.dedup_by_key(|(_, shard, at)| (*shard, *at));
            assert_eq!(read.len(), 1_200, "each of them, and none twice");
            assert_eq!(kafka.committed_offsets(&group, &topic, 4), [300; 4]);
        });
    }
}

#[test]
fn of_a_plan_that_gives_everything_to_everybody_the_first_has_it_and_it_is_said() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(3), unique("group"));
    let own = || FirstTakesAll { protocol: RebalanceProtocol::Eager, greedy: true };
    kafka.numbers(&topic, 3).send(0..300);
    runtime().block_on(async {
        let (url, read) = (kafka.url(&topic), Read::default());
        let first = open(&url, options(&group, "a", own(), &[])).await;
        let mut said = [first.notices(), first.notices()];
        let second = open(&url, options(&group, "b", own(), &[])).await;
        said[1] = second.notices();
        let tasks = [work(&first, "a", &read), work(&second, "b", &read)];
        holds(kafka, &group, &[("a", 3), ("b", 0)]).await;
        all_read(&read, 300).await;
        // Whoever leads says it, with each plan; what is made for one member was said before.
        second.close().await.unwrap();
        let mut told = String::new();
        until("that something was left out", wait::PATIENCE, || {
            let left_out = |notice: &Notice| matches!(notice, Notice::LeftOut { .. });
            let all = said.iter_mut().flat_map(|notices| std::iter::from_fn(|| notices.try_recv()));
            told.extend(all.filter(left_out).map(|notice| notice.to_string()));
            std::future::ready(!told.is_empty())
        })
        .await;
        assert!(told.contains("first-takes-all") && told.contains("partitions"), "{told}");
        first.close().await.unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        let mut read = read.lock().unwrap().clone();
        read.sort_unstable();
        read.dedup_by_key(|(_, shard, at)| (*shard, *at));
        assert_eq!(read.len(), 300);
    });
}

#[test]
fn a_member_that_has_not_got_it_makes_the_group_agree_on_what_all_can() {
    let kafka = shared();
    let (topic, group) = (kafka.topic(4), unique("group"));
    let own = FirstTakesAll { protocol: RebalanceProtocol::Eager, greedy: false };
    runtime().block_on(async {
        let read = Read::default();
        let ours = open(&kafka.url(&topic), options(&group, "ours", own, &[AssignorKind::Range])).await;
        let task = work(&ours, "ours", &read);
        holds(kafka, &group, &[("ours", 4)]).await;
        let settings = [
            ("partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor"),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "300"),
        ];
        let (of, name) = (topic.clone(), group.clone());
        let java = blocking(move || kafka.java_consumer(&name, &[&of], &settings)).await;
        until("two partitions each", wait::PATIENCE, || async {
            let name = group.clone();
            blocking(move || held(kafka, &name).values().copied().collect::<Vec<_>>() == [2, 2]).await
        })
        .await;
        assert_eq!(kafka.group(&group).unwrap().assignor, "range");
        blocking(move || java.close()).await;
        holds(kafka, &group, &[("ours", 4)]).await;
        assert_eq!(kafka.group(&group).unwrap().assignor, "first-takes-all");
        ours.close().await.unwrap();
        task.await.unwrap();
    });
}
