//! Other people's clients, and tidegate's own, live a group's life at `tidegate serve redis`.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod serve_tools;

use std::process::Command;
use std::time::{Duration, Instant};

use serve_tools::{Served, cli, redis_cli, redis_py, rest};
use tidegate_live::{Client, Consume, Pending, RedisServer, wait};

/// What redis-cli printed, one command after the other, against a server with no keys.
fn life_with_redis_cli(port: u16, mut other: Client) -> Vec<String> {
    let mut said = Vec::new();
    let mut say = |line: &str| said.push(format!("{line} -> {}", cli(port, line)));
    say("XGROUP CREATE orders crew 0 MKSTREAM");
    say("XGROUP CREATE orders crew 0");
    // Blocked, and woken by an entry that another connection adds.
    let line = ["XREADGROUP", "GROUP", "crew", "alice", "BLOCK", "20000", "STREAMS", "orders", ">"];
    let reader = redis_cli(port, &line).spawn().unwrap();
    wait::until_true("redis-cli waits", wait::PATIENCE, || other.someone_waits());
    say("XADD orders 1-1 msg a n 1");
    let woken = rest(reader);
    for line in [
        "XADD orders 2-0 msg b",
        "XADD orders 3-0 msg c",
        "XADD orders 3-0 msg late",
        "XREADGROUP GROUP crew alice COUNT 1 STREAMS orders >",
        "XREADGROUP GROUP crew alice STREAMS orders >",
        "XREADGROUP GROUP crew alice BLOCK 50 STREAMS orders >",
        "XACK orders crew 1-1",
        "XACK orders crew 1-1",
        "XPENDING orders crew",
        "XAUTOCLAIM orders crew bob 0 0 COUNT 1",
        "XCLAIM orders crew bob 0 3-0 JUSTID",
        "XPENDING orders crew",
        "XREADGROUP GROUP crew bob STREAMS orders 0",
        "XACK orders crew 2-0",
        "XGROUP DELCONSUMER orders crew alice",
        "XGROUP DELCONSUMER orders crew bob",
        "XPENDING orders crew",
        "XINFO GROUPS orders",
        "XRANGE orders - +",
        "XGROUP DESTROY orders crew",
        "XREADGROUP GROUP crew alice STREAMS orders >",
        "XLEN orders",
        "DEL orders",
    ] {
        say(line);
    }
    said.push(woken);
    said
}

#[test]
fn redis_cli_sees_what_the_real_server_shows() {
    let served = Served::start();
    let ours = life_with_redis_cli(served.port(), served.client());
    let find =
        |line: &str| ours.iter().find_map(|said| said.strip_prefix(line)?.strip_prefix(" -> ")).unwrap();
    assert_eq!(ours.last().unwrap(), "orders|1-1|msg|a|n|1");
    assert_eq!(find("XPENDING orders crew"), "2|2-0|3-0|alice|2");
    assert_eq!(find("XAUTOCLAIM orders crew bob 0 0 COUNT 1"), "3-0|2-0|msg|b");
    assert_eq!(find("XGROUP DELCONSUMER orders crew bob"), "1");

    let real = RedisServer::start();
    let real = life_with_redis_cli(real.port(), real.client());
    assert_eq!(ours, real, "the model against the real server");
}

#[test]
fn redis_rs_lives_a_groups_life() {
    for version in ["6.2", "7.0", "7.2", "8.0"] {
        let served = Served::with(&["--version", version]);
        let (mut client, mut other) = (served.client(), served.client());
        client.tell(&["XGROUP", "CREATE", "orders", "crew", "$", "MKSTREAM"]);
        let twice = client.query::<String>(&["XGROUP", "CREATE", "orders", "crew", "$"]).unwrap_err();
        assert_eq!(twice.code(), Some("BUSYGROUP"));

        let woken = std::thread::spawn(move || {
            type Entries = Vec<(String, Vec<(String, Vec<String>)>)>;
            let line = ["XREADGROUP", "GROUP", "crew", "alice", "BLOCK", "15000", "STREAMS", "orders", ">"];
            let reply: Entries = other.run(&line);
            (Instant::now(), reply)
        });
        wait::until_true("redis-rs waits", wait::PATIENCE, || client.someone_waits());
        let since = Instant::now();
        let first: String = client.run(&["XADD", "orders", "*", "msg", "a"]);
        let (at, reply) = woken.join().unwrap();
        assert_eq!(reply, [("orders".into(), vec![(first.clone(), vec!["msg".into(), "a".into()])])]);
        assert!(at - since < Duration::from_secs(5), "{version}: {:?}", at - since);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let millis: u128 = first.split_once('-').unwrap().0.parse().unwrap();
        assert!(now.as_millis().abs_diff(millis) < 10_000, "an id is of this moment: {first}");

        let ids = client.add("orders", ["b", "c"]);
        assert_eq!(client.take("orders", "crew", "alice", 10), ids);
        let acked: u64 = client.run(&["XACK", "orders", "crew", &first]);
        assert_eq!(acked, 1);
        // Until they are idle for so long that it shows.
        wait::until_true("idle entries", wait::PATIENCE, || {
            client.pending_list("orders", "crew").iter().all(|entry| entry.idle_ms >= 20)
        });
        let (cursor, claimed): (String, Vec<String>) = {
            let claim = ["XAUTOCLAIM", "orders", "crew", "bob", "20", "0", "JUSTID"];
            match version {
                "6.2" => client.run(&claim),
                _ => {
                    let (cursor, claimed, deleted): (String, Vec<String>, Vec<String>) = client.run(&claim);
                    assert!(deleted.is_empty());
                    (cursor, claimed)
                }
            }
        };
        assert_eq!((cursor.as_str(), &claimed), ("0-0", &ids));
        let list = client.pending_list("orders", "crew");
        let entry = |Pending { id, owner, deliveries, .. }| (id, owner, deliveries);
        let list: Vec<_> = list.into_iter().map(entry).collect();
        let wanted: Vec<_> = ids.iter().map(|id| (id.clone(), "bob".to_owned(), 1)).collect();
        assert_eq!(list, wanted, "JUSTID counts no delivery");
        assert_eq!(client.pending_by_consumer("orders", "crew"), [("bob".to_owned(), 2)].into());
        let dropped: u64 = client.run(&["XGROUP", "DELCONSUMER", "orders", "crew", "bob"]);
        assert_eq!((dropped, client.pending("orders", "crew")), (2, 0));
        assert_eq!(client.consumers("orders", "crew"), ["alice"]);
        client.atomically(&[&["DEL", "orders"], &["XADD", "orders", "5-5", "msg", "z"]]);
        assert!(client.groups("orders").is_empty());
    }
}

#[test]
fn redis_py_lives_a_groups_life() {
    let python = redis_py();
    for (version, protocol) in [("7.0", "2"), ("7.0", "3"), ("6.2", "2"), ("8.0", "3")] {
        let served = Served::with(&["--version", version]);
        let output = Command::new(&python)
            .args(["-c", include_str!("serve_tools/group_life.py"), &served.port().to_string(), protocol])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && output.stdout == b"done\n", "{version}, RESP{protocol}: {said}");
    }
}

#[test]
fn two_members_of_tidegate_share_1000_messages_and_one_takes_over_what_the_other_left() {
    const EACH: usize = 500;
    let served = Served::start();
    let mut client = served.client();
    client.tell(&["XGROUP", "CREATE", "orders", "crew", "0", "MKSTREAM"]);
    let url = served.url("orders");
    let member = |name: &str, work: &str| {
        let claims = ["--claim-idle", "1s", "--claim-interval", "500ms", "--batch", "20", "--work", work];
        Consume::of(&url).member("crew", name).args(claims).start()
    };
    let (mut killed, mut steady) = (member("killed", "1ms"), member("steady", "1ms"));
    wait::until_true("both wait", wait::PATIENCE, || client.consumers("orders", "crew").len() == 2);
    client.add("orders", (0..EACH).map(|n| n.to_string()));
    killed.wait_for_count(20);
    killed.kill9();
    client.add("orders", (EACH..2 * EACH).map(|n| n.to_string()));
    wait::until_true("every message shown and acked", wait::PATIENCE, || {
        let (killed, steady) = (killed.seen(), steady.seen());
        let mut all = killed.payloads();
        all.extend(steady.payloads());
        all.len() == 2 * EACH && client.pending("orders", "crew") == 0
    });
    let (first, second) = (killed.seen(), steady.seen());
    let mut all = first.payloads();
    all.extend(second.payloads());
    let sum: usize = all.iter().map(|n| n.parse::<usize>().unwrap()).sum();
    assert_eq!(sum, 2 * EACH * (2 * EACH - 1) / 2);
    assert!(second.messages.iter().any(|message| message.deliveries > 1), "something was claimed");
    drop((first, second));
    steady.interrupt();
    let groups = client.groups("orders");
    assert_eq!(groups, ["crew"]);
}

/// Prints the sum of what it found in three streams of a cluster.
const CLUSTER_PY: &str = "
import sys, redis
cluster = redis.RedisCluster(host='127.0.0.1', port=int(sys.argv[1]), decode_responses=True)
assert len(cluster.get_primaries()) == 3, cluster.get_nodes()
print(sum(int(fields['msg']) for name in 'abc' for id, fields in cluster.xrange(name)))
";

#[test]
fn clients_of_a_cluster_find_its_nodes_and_follow_redirects() {
    let served = Served::with(&["--nodes", "3"]);
    let first = served.port();
    let mut moved = Vec::new();
    for (stream, n) in [("a", "1"), ("b", "2"), ("c", "3")] {
        let add = format!("XADD {stream} {n}-0 msg {n}");
        let said = cli(first, &add);
        if let Some((_, to)) = said.strip_prefix("MOVED ").and_then(|rest| rest.split_once(" 127.0.0.1:")) {
            moved.push(to.trim_end_matches('|').parse::<u16>().unwrap());
            let followed = cli(first, &format!("-c {add}"));
            assert_eq!(followed, format!("{n}-0"));
        }
    }
    assert_eq!(moved, [first + 2, first + 1], "`a` and `c` are elsewhere, `b` is here");
    let output = Command::new(redis_py()).args(["-c", CLUSTER_PY, &first.to_string()]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "6\n", "{}", String::from_utf8_lossy(&output.stderr));
}
