//! Three brokers, of which one after the other is killed, comes back, or stands still, while a group
//! reads what a producer goes on to write.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::time::{Duration, Instant};

use tidegate_live::kafka::{Cluster, Crew, Feed, Protocol, unique};
use tidegate_live::{heavy, wait};

const PARTITIONS: usize = 6;

/// A dead broker is found out after 3 s by the others (broker.session.timeout.ms), its partitions and
/// groups are somebody else's a moment later, and that has to be found out by everybody.
const FAIL_OVER: Duration = Duration::from_secs(18);

fn fail_over(protocol: Protocol, stand_still: Option<Duration>) {
    let _turn = heavy();
    let mut cluster = Cluster::start(3);
    println!("three brokers in {:?}", cluster.took());
    let kafka = cluster.admin().clone();
    let (topic, group) = (unique("topic"), unique("group"));
    kafka.create_topic(&topic, PARTITIONS, 3, &[]);
    let mut crew = Crew::new(&kafka, &topic, PARTITIONS, &group, protocol.args()).brokers_fail();
    for _ in 0..3 {
        crew.join();
    }
    kafka.wait_until_shared(&group, &topic, &[2, 2, 2], wait::PATIENCE);
    let feed = Feed::start(&kafka, &topic, PARTITIONS, 20);
    crew.goes_on(FAIL_OVER);

    let mut dies = |what: &str, broker: usize| {
        cluster.kill9(broker);
        let killed = Instant::now();
        crew.goes_on(FAIL_OVER);
        println!("{protocol:?}: goes on {:?} after the {what} was killed", killed.elapsed());
        cluster.restart(broker);
        cluster.wait_until_known(broker, true);
        // Before the next one dies: of what only one broker has, nobody could take the lead.
        wait::until_true("in sync again", wait::PATIENCE, || {
            let of = |topic: &str| kafka.partitions(topic).into_iter();
            of(&topic).chain(of("__consumer_offsets")).all(|partition| partition.in_sync.len() == 3)
        });
        crew.goes_on(FAIL_OVER);
        println!("{protocol:?}: goes on after it came back");
    };
    dies("leader of a partition", kafka.partitions(&topic)[0].leader as usize);
    dies("coordinator", kafka.group(&group).unwrap().coordinator as usize);

    if let Some(during) = stand_still {
        let broker = kafka.partitions(&topic)[1].leader as usize;
        println!("{protocol:?}: broker {broker} is stopped");
        cluster.stop(broker);
        let stopped = Instant::now();
        crew.goes_on(FAIL_OVER);
        println!("{protocol:?}: goes on {:?} after a broker was stopped", stopped.elapsed());
        while stopped.elapsed() < during {
            crew.goes_on(FAIL_OVER);
        }
        cluster.cont(broker);
        cluster.wait_until_known(broker, true);
        crew.goes_on(FAIL_OVER);
    }
    let sent = feed.end();
    let ends = kafka.ends(&topic);
    assert!(ends.iter().sum::<i64>() as usize >= sent, "{ends:?}, {sent} sent");
    crew.wait_for(&ends, FAIL_OVER);
    crew.wait_until_committed(&ends, FAIL_OVER);
    let report = crew.finish();
    println!(
        "{protocol:?}: {sent} records sent, 0 lost, {} duplicates of at most {} explained",
        report.duplicates,
        report.excused.explained()
    );
}

#[test]
fn leader_and_coordinator_die_and_a_broker_stands_still_under_the_consumer_protocol() {
    fail_over(Protocol::Consumer, Some(Duration::from_secs(20)));
}

#[test]
fn leader_and_coordinator_die_under_the_classic_protocol() {
    fail_over(Protocol::Cooperative, None);
}
