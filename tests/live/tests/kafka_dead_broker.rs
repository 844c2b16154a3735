//! Brokers that are dead for a while are tried again and again, in vain; each connection backs off (G12),
//! whatever metadata and the coordinators that are named say meanwhile.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tidegate::Limits;
use tidegate_live::kafka::{Admin, Cluster, Crew, Feed, Protocol, unique};
use tidegate_live::{heavy, wait};

const PARTITIONS: usize = 6;

/// As long as nobody is there, and tries are counted.
const DEAD_FOR: Duration = Duration::from_secs(20);

/// As in kafka_brokers.rs.
const FAIL_OVER: Duration = Duration::from_secs(18);

/// What may be connected to one broker at a time: fetches from it, questions to it about positions, the
/// group's coordinator, and the seed, to which any broker will do.
const LINKS: usize = 4;

/// The most tries of one connection in so long: one at once, and each of the others after half a wait at
/// least, where the wait begins with `retry_min` and doubles up to `retry_max`.
fn tries_at_most(over: Duration) -> usize {
    let limits = Limits::default();
    let (mut wait, mut at, mut tries) = (limits.retry_min, Duration::ZERO, 0);
    while at <= over {
        tries += 1;
        at += wait / 2;
        wait = (wait * 2).min(limits.retry_max);
    }
    tries
}

/// A group with one member, and the trace of that.
struct Watched {
    protocol: Protocol,
    crew: Crew,
    trace: PathBuf,
}

/// An attempt to connect.
#[derive(Debug)]
struct Open {
    /// By the trace's clock.
    at: Duration,
    /// The number of the machine's connection; one that is opened again keeps it.
    link: u16,
    port: u16,
}

impl Watched {
    fn start(kafka: &Admin, topic: &str, group: &str, protocol: Protocol, dir: &TempDir) -> Self {
        let trace = dir.path().join(format!("{protocol:?}"));
        let mut args = protocol.args().to_vec();
        args.extend(["--record", trace.to_str().unwrap()]);
        let mut crew = Crew::new(kafka, topic, PARTITIONS, group, &args).brokers_fail();
        crew.join();
        kafka.wait_until_shared(group, topic, &[PARTITIONS], wait::PATIENCE);
        Self { protocol, crew, trace }
    }

    /// How far its trace is, and all attempts to connect so far.
    fn opens(&self) -> (Duration, Vec<Open>) {
        let text = std::fs::read_to_string(&self.trace).unwrap();
        // The last line may not be whole yet.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut at = Duration::ZERO;
        let mut opens = Vec::new();
        for line in whole.lines() {
            // < open c0.1 tcp "127.0.0.1" 9092
            if let Some(open) = line.strip_prefix("< open c") {
                let link = open.split('.').next().unwrap().parse().unwrap();
                let port = open.rsplit(' ').next().unwrap().parse().unwrap();
                opens.push(Open { at, link, port });
            } else if let Some((nanos, _)) = line.split_once(" > ")
                && let Ok(nanos) = nanos.parse()
            {
                at = Duration::from_nanos(nanos);
            }
        }
        (at, opens)
    }

    /// Holds the tries of the next [`DEAD_FOR`] since `since` against the back-off; `dead`: ports of
    /// brokers of which nobody answers.
    fn check(&self, since: Duration, dead: &[u16], what: &str) {
        let until = since + DEAD_FOR;
        wait::until_true("the trace goes on", DEAD_FOR + wait::PATIENCE, || {
            std::thread::sleep(Duration::from_millis(300)); // the trace is read whole each time
            self.opens().0 > until
        });
        let mut by_port: BTreeMap<u16, BTreeMap<u16, usize>> = BTreeMap::new();
        let mut tries = Vec::new();
        for open in self.opens().1.into_iter().filter(|open| open.at > since && open.at <= until) {
            *by_port.entry(open.port).or_default().entry(open.link).or_default() += 1;
            tries.push(format!("{:.3?} c{} to {}", open.at - since, open.link, open.port));
        }
        let most = tries_at_most(DEAD_FOR);
        println!(
            "{:?}, {what}: tries by port and connection {by_port:?}, of those that are dead {dead:?}; at most \
             {most} explained for a connection, {} for a broker",
            self.protocol,
            LINKS * most
        );
        for (port, by_link) in &by_port {
            let sum: usize = by_link.values().sum();
            let one = by_link.values().max().copied().unwrap_or_default();
            assert!(
                one <= most && sum <= LINKS * most,
                "{:?}, {what}: a storm on {port}, {by_link:?}:\n{}",
                self.protocol,
                tries.join("\n")
            );
        }
        // Else it wasn't dead, or nothing was counted.
        assert!(dead.iter().all(|port| by_port.contains_key(port)), "nobody tried: {tries:?}");
    }
}

/// The partition of `__consumer_offsets` that a group is kept in: whose leader coordinates it.
fn kept_in(group: &str, kafka: &Admin) -> usize {
    let hash = group.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
    (hash & i32::MAX) as usize % kafka.partitions("__consumer_offsets").len()
}

#[test]
fn a_dead_broker_is_not_stormed() {
    let _turn = heavy();
    let mut cluster = Cluster::start(3);
    println!("three brokers in {:?}", cluster.took());
    let kafka = cluster.admin().clone();
    let dir = tempfile::tempdir().unwrap();
    let topic = unique("topic");
    kafka.create_topic(&topic, PARTITIONS, 3, &[]);
    let first = unique("group");
    let mut watched = vec![Watched::start(&kafka, &topic, &first, Protocol::Consumer, &dir)];
    // Of the same coordinator, so that one death is enough for both.
    let second = std::iter::repeat_with(|| unique("group"))
        .find(|group| kept_in(group, &kafka) == kept_in(&first, &kafka))
        .unwrap();
    watched.push(Watched::start(&kafka, &topic, &second, Protocol::Cooperative, &dir));
    // They may be asked in the middle of a move.
    let coordinator = |kafka: &Admin| {
        wait::until("both groups have the same coordinator", wait::PATIENCE, || {
            let of = |group: &str| Some(kafka.group(group)?.coordinator as usize);
            of(&first).filter(|found| of(&second) == Some(*found))
        })
    };
    let leader = |kafka: &Admin, not: usize| {
        let leaders = kafka.partitions(&topic).into_iter().map(|partition| partition.leader as usize);
        leaders.into_iter().find(|&leader| leader != not).unwrap()
    };
    let in_sync = || {
        wait::until_true("in sync again", wait::PATIENCE, || {
            let of = |topic: &str| kafka.partitions(topic).into_iter();
            of(&topic).chain(of("__consumer_offsets")).all(|partition| partition.in_sync.len() == 3)
        });
    };
    let feed = Feed::start(&kafka, &topic, PARTITIONS, 2);
    for what in ["a leader is dead", "the coordinator is dead", "leader and coordinator stand still"] {
        let broker = match what {
            "a leader is dead" => leader(&kafka, coordinator(&kafka)),
            _ => coordinator(&kafka),
        };
        let stands = what == "leader and coordinator stand still";
        if stands {
            kafka.move_leader(&topic, 0, broker);
        }
        watched.iter_mut().for_each(|watched| watched.crew.goes_on(FAIL_OVER));
        let since: Vec<_> = watched.iter().map(|watched| watched.opens().0).collect();
        if stands {
            cluster.stop(broker);
        } else {
            cluster.kill9(broker);
        }
        for (watched, since) in watched.iter_mut().zip(since) {
            watched.crew.goes_on(FAIL_OVER);
            // Who stands still takes connections, and isn't tried again before it is known to be gone.
            let dead: Vec<_> = if stands { Vec::new() } else { vec![cluster.port(broker)] };
            watched.check(since, &dead, what);
        }
        if stands {
            cluster.cont(broker);
        } else {
            cluster.restart(broker);
        }
        cluster.wait_until_known(broker, true);
        in_sync();
    }
    let sent = feed.end();
    let ends = kafka.ends(&topic);
    for watched in &mut watched {
        watched.crew.wait_for(&ends, FAIL_OVER);
        watched.crew.wait_until_committed(&ends, FAIL_OVER);
    }
    let since: Vec<_> = watched.iter().map(|watched| watched.opens().0).collect();
    let ports = [1, 2, 3].map(|broker| cluster.port(broker));
    (1..=3).for_each(|broker| cluster.kill9(broker));
    for (watched, since) in watched.iter().zip(since) {
        watched.check(since, &ports, "all are dead");
    }
    cluster.restart_all();
    in_sync();
    for partition in 0..PARTITIONS as i32 {
        kafka.produce(&topic).values(partition, ["after that"]).send();
    }
    let ends = kafka.ends(&topic);
    for mut watched in watched {
        watched.crew.wait_for(&ends, FAIL_OVER);
        // Its members may still be joining again: who leaves now can't commit.
        watched.crew.wait_until_committed(&ends, FAIL_OVER);
        let report = watched.crew.finish();
        println!(
            "{:?}: {sent} records sent, 0 lost, {} duplicates of at most {} explained",
            watched.protocol,
            report.duplicates,
            report.excused.explained()
        );
    }
}
