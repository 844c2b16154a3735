//! Several processes in one group: sharing, dying, standing still, claiming.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::Duration;

use tidegate_live::{Consume, RedisServer, heavy, run, wait};

fn numbers(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|n| format!("entry-{n}"))
}

#[test]
fn three_processes_share_100_000_entries_though_one_is_killed_and_one_stands_still() {
    const TOTAL: usize = 100_000;
    let _turn = heavy();
    let server = RedisServer::start();
    let mut redis = server.client();
    let url = server.url("orders");
    let member = |name: &str, work: &str| {
        let claims = ["--claim-idle", "2s", "--claim-interval", "1s", "--batch", "500", "--work", work];
        Consume::of(&url).member("crew", name).args(claims).start()
    };
    redis.add("orders", numbers(0..40_000));
    let mut killed = member("killed", "1ms");
    let mut stopped = member("stopped", "1ms");
    killed.wait_for_count(100);
    stopped.wait_for_count(100);
    let mut steady = member("steady", "0ms");
    redis.add("orders", numbers(40_000..50_000));
    steady.wait_for_count(1);

    killed.kill9();
    stopped.stop();
    redis.add("orders", numbers(50_000..70_000));
    let list = redis.pending_list("orders", "crew");
    let of = |owner: &str| -> BTreeSet<String> {
        list.iter().filter(|entry| entry.owner == owner).map(|entry| entry.id.clone()).collect()
    };
    let (left_by_killed, left_by_stopped) = (of("killed"), of("stopped"));
    assert!(!left_by_killed.is_empty(), "the killed process should have left something to claim");
    assert!(!left_by_stopped.is_empty(), "the stopped process should have left something to claim");

    // Until nothing is left with either, each of their entries is with its old owner, or with the
    // claimer, or done.
    let mut claimed = BTreeSet::new();
    wait::until_true("the claims", wait::PATIENCE, || {
        let list = redis.pending_list("orders", "crew");
        for entry in &list {
            let old = if left_by_killed.contains(&entry.id) { "killed" } else { "stopped" };
            if left_by_killed.contains(&entry.id) || left_by_stopped.contains(&entry.id) {
                assert!(entry.owner == "steady" || entry.owner == old, "{entry:?}");
                if entry.owner == "steady" {
                    claimed.insert(entry.id.clone());
                }
            }
        }
        !list.iter().any(|entry| entry.owner != "steady")
    });
    assert!(!claimed.is_empty(), "no claimed entry was ever seen with its claimer");
    {
        let seen = steady.seen();
        let claims = seen.messages.iter().filter(|message| claimed.contains(&message.seq));
        for message in claims {
            assert!(message.deliveries >= 2, "a claimed message was delivered before: {message:?}");
        }
    }

    stopped.cont();
    redis.add("orders", numbers(70_000..TOTAL));
    wait::until_true("every entry received", wait::PATIENCE * 2, || {
        let (a, b, c) = (killed.seen(), stopped.seen(), steady.seen());
        if a.messages.len() + b.messages.len() + c.messages.len() < TOTAL {
            return false;
        }
        let mut all = a.payloads();
        all.extend(b.payloads());
        all.extend(c.payloads());
        all.len() == TOTAL
    });
    wait::until_true("an empty pending list", wait::PATIENCE, || redis.pending("orders", "crew") == 0);
    stopped.interrupt();
    steady.interrupt();
    assert_eq!(redis.pending("orders", "crew"), 0);
}

#[test]
fn ten_dead_entries_behind_200_of_a_live_consumer_are_claimed_within_two_intervals() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", (0..200).map(|n| format!("live-{n}")));
    redis.add("orders", (0..10).map(|n| format!("dead-{n}")));
    redis.tell(&["XGROUP", "CREATE", "orders", "crew", "0"]);
    let live = redis.take("orders", "crew", "live", 200);
    let dead = redis.take("orders", "crew", "dead", 10);
    assert_eq!((live.len(), dead.len()), (200, 10));

    std::thread::scope(|scope| {
        // The live consumer keeps its 200 alive, as tidegate itself does with long work.
        let (end, ended) = mpsc::channel::<()>();
        let mut keeper = server.client();
        let live = &live;
        scope.spawn(move || {
            while ended.recv_timeout(Duration::from_millis(200)) == Err(mpsc::RecvTimeoutError::Timeout) {
                let mut claim = vec!["XCLAIM", "orders", "crew", "live", "0"];
                claim.extend(live.iter().map(String::as_str));
                claim.push("JUSTID");
                keeper.tell(&claim);
            }
        });
        let end = end; // dropped with this scope also when an assertion fails
        wait::until_true("idle entries", wait::PATIENCE, || {
            let list = redis.pending_list("orders", "crew");
            list.iter().filter(|entry| entry.owner == "dead").all(|entry| entry.idle_ms > 2_000)
        });
        let claims = ["--claim-idle", "2s", "--claim-interval", "3s"];
        let mut claimer = Consume::of(&server.url("orders")).member("crew", "claimer").args(claims).start();
        // Two intervals, and a second for the process to start.
        claimer.wait_for_payloads((0..10).map(|n| format!("dead-{n}")), Duration::from_secs(2 * 3 + 1));
        claimer.interrupt();
        assert_eq!(claimer.count(), 10, "only the dead entries are claimed");
        drop(end);
    });
    let list = redis.pending_list("orders", "crew");
    assert_eq!(list.len(), 200);
    assert!(list.iter().all(|entry| entry.owner == "live" && entry.deliveries == 1));
}

#[test]
fn work_that_takes_longer_than_the_idle_time_is_not_taken_from_a_live_consumer() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["slow-1", "slow-2", "slow-3"]);
    let member = |name: &str, interval: &str, work: &str| {
        let claims = ["--claim-idle", "2s", "--claim-interval", interval, "--work", work];
        Consume::of(&server.url("orders")).member("crew", name).args(claims).start()
    };
    // The slow one's own claims come too late to keep anything alive by accident.
    let mut slow = member("slow", "60s", "5s");
    wait::until_true("all three with the slow one", wait::PATIENCE, || {
        redis.groups("orders").contains(&"crew".into())
            && redis.pending_by_consumer("orders", "crew").get("slow") == Some(&3)
    });
    let mut eager = member("eager", "500ms", "0ms");
    slow.wait_for_count(3);
    wait::until_true("all committed", wait::PATIENCE, || redis.pending("orders", "crew") == 0);
    slow.interrupt();
    eager.interrupt();
    assert_eq!(eager.count(), 0, "taken from a live consumer");
    let seen = slow.seen();
    assert_eq!(seen.messages.len(), 3, "nor taken twice by itself");
    assert!(seen.messages.iter().all(|message| message.deliveries == 1), "{:?}", seen.messages);
}

#[test]
fn two_live_members_share_without_duplicates() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..2_000));
    let member = |name: &str| {
        Consume::of(&server.url("orders"))
            .member("crew", name)
            .args(["--batch", "20", "--work", "1ms"])
            .start()
    };
    let (mut a, mut b) = (member("a"), member("b"));
    wait::until_true("2,000 lines", wait::PATIENCE, || a.count() + b.count() >= 2_000);
    a.interrupt();
    b.interrupt();
    assert!(a.count() > 0 && b.count() > 0, "first asks, first served: {} and {}", a.count(), b.count());
    assert_eq!(a.count() + b.count(), 2_000);
    let (a, b) = (a.seen(), b.seen());
    assert!(a.seqs().is_disjoint(&b.seqs()));
    for member in [&a, &b] {
        let ordered = member.messages.windows(2).all(|pair| pair[0].timestamp <= pair[1].timestamp);
        assert!(ordered, "in one shard sequences only grow");
    }
}

#[test]
fn resumable_goes_on_where_the_killed_process_was() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let ids = redis.add("orders", numbers(0..500));
    let start = |args: &[&str]| {
        Consume::of(&server.url("orders"))
            .args(["--mode", "resumable"])
            .args(args)
            .env("HOST_ID", "harbour-7")
            .start()
    };
    let mut first = start(&["--commit-interval", "60s", "--work", "2ms"]);
    first.wait_for_count(50);
    first.kill9();
    assert_eq!(redis.groups("orders"), ["harbour-7"]);
    let left = redis.pending_list("orders", "harbour-7");
    assert_eq!(left[0].id, ids[0], "nothing was committed");

    let mut second = start(&[]);
    second.wait_for_count(500);
    second.interrupt();
    let seen = second.seen();
    assert_eq!(
        seen.messages.iter().map(|message| &message.seq).collect::<Vec<_>>(),
        ids.iter().collect::<Vec<_>>()
    );
    assert_eq!(redis.pending("orders", "harbour-7"), 0);
    assert_eq!(redis.consumers("orders", "harbour-7").len(), 1, "the consumer id is the same each time");
}

#[test]
fn resumable_ends_and_resumes_without_gap_or_duplicate() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..30));
    let url = server.url("orders");
    let resumed = |env: &str| {
        let args = ["consume", &url, "--mode", "resumable", "--format", "payload", "--exit-idle", "1s"];
        tidegate_live::run_with(&args, &[("HOST_ID", env)])
    };
    assert_eq!(resumed("harbour-7").expect(0).stdout, numbers(0..30).collect::<Vec<_>>());
    redis.add("orders", numbers(30..40));
    assert_eq!(resumed("harbour-7").expect(0).stdout, numbers(30..40).collect::<Vec<_>>());
    assert_eq!(resumed("harbour-8").expect(0).stdout.len(), 40, "another host is another group");
}

#[test]
fn a_generated_consumer_goes_with_an_empty_pending_list_and_stays_with_a_full_one() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..10));
    let url = server.url("orders");
    let consume = ["consume", &url, "--mode", "load-balanced", "--group", "crew"];
    let with = |more: &[&str]| run(&[&consume[..], more].concat());
    with(&["--count", "10"]).expect(0);
    assert_eq!(redis.consumers("orders", "crew"), [""; 0], "deleted, as nothing was pending");

    redis.add("orders", numbers(10..110));
    let some = with(&["--count", "20", "--format", "payload"]);
    assert_eq!(some.expect(0).stdout.len(), 20);
    let others = with(&[
        "--claim-idle",
        "200ms",
        "--claim-interval",
        "200ms",
        "--exit-idle",
        "2s",
        "--format",
        "payload",
    ]);
    others.expect(0);
    let mut all: BTreeSet<String> = some.stdout.into_iter().collect();
    all.extend(others.stdout);
    assert_eq!(all, numbers(10..110).collect(), "what was read ahead is not lost");
    assert_eq!(redis.pending("orders", "crew"), 0);
}
