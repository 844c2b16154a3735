//! Servers that die, connections that break, replies that get lost or lie.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::time::Duration;

use tidegate_live::{Consume, Cut, Proxy, RedisServer, heavy, peak_memory_kib, wait};

fn numbers(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|n| format!("entry-{n}"))
}

/// A small generator: the same choices in every run.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn a_server_killed_and_restarted_in_the_middle_loses_nothing() {
    let mut server = RedisServer::durable();
    server.client().add("orders", numbers(0..1_500));
    let mut consumer = Consume::of(&server.url("orders"))
        .member("crew", "one")
        .args(["--work", "1ms", "--batch", "100", "--commit-interval", "200ms"])
        .start();
    for (count, down) in [(200, Duration::ZERO), (600, Duration::from_secs(2)), (1_000, Duration::ZERO)] {
        consumer.wait_for_count(count);
        let notices = consumer.seen().notices.len();
        server.kill9();
        if !down.is_zero() {
            consumer
                .wait_for("a notice of the lost server", wait::PATIENCE, |seen| seen.notices.len() > notices);
            wait::always("the consumer waits for its server", down, || consumer.is_running());
        }
        server.restart();
    }
    server.client().add("orders", numbers(1_500..1_700));
    consumer.wait_for_payloads(numbers(0..1_700), wait::PATIENCE * 2);
    let mut redis = server.client();
    wait::until_true("none of its own left pending", wait::PATIENCE, || redis.pending("orders", "crew") == 0);
    consumer.interrupt();
    assert_eq!(redis.pending("orders", "crew"), 0);
}

#[test]
fn two_hundred_killed_connections_lose_nothing() {
    let _turn = heavy();
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..100));
    let mut consumer = Consume::of(&server.url("orders"))
        .member("crew", "one")
        .args(["--commit-interval", "50ms", "--batch", "7"])
        .start();
    consumer.wait_for_count(1);
    let mut random = 20_260_101;
    let mut added = 100;
    let mut kills = 0;
    while kills < 200 {
        let clients = wait::until("a connection to kill", wait::PATIENCE, || {
            assert!(consumer.is_running());
            let clients = redis.clients();
            (!clients.is_empty()).then_some(clients)
        });
        let victim = &clients[next_random(&mut random) as usize % clients.len()];
        let burst = next_random(&mut random) as usize % 20;
        // Killed before, amid and after new entries.
        let early = next_random(&mut random).is_multiple_of(2);
        if early && redis.kill(victim.id) {
            kills += 1;
        }
        redis.add("orders", numbers(added..added + burst));
        added += burst;
        if !early && redis.kill(victim.id) {
            kills += 1;
        }
        if kills % 4 == 0 {
            // Some of the time it may get on with its work before the next blow.
            let shown = consumer.count();
            redis.add("orders", numbers(added..added + 1));
            added += 1;
            consumer.wait_for("progress", wait::PATIENCE, |seen| seen.lines.len() > shown);
        }
    }
    consumer.wait_for_payloads(numbers(0..added), wait::PATIENCE);
    wait::until_true("none of its own left pending", wait::PATIENCE, || redis.pending("orders", "crew") == 0);
    consumer.interrupt();
}

#[test]
fn a_reply_lost_after_the_server_read_comes_again_without_a_restart() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["first"]);
    let proxy = Proxy::to(server.port());
    let mut consumer = Consume::of(&proxy.url("orders")).member("crew", "one").start();
    consumer.wait_for_count(1);
    // An entry's reply is longer than the last of these cuts.
    let long = "x".repeat(2_000);
    for (round, pass) in [0, 1, 5, 21, 60, 1_000, 2_000].into_iter().enumerate() {
        wait::until_true("a blocked read", wait::PATIENCE, || redis.someone_waits());
        proxy.arm(Cut::after("XREADGROUP").pass(pass));
        let payload = format!("{round}-{long}");
        redis.add("orders", [payload.as_str()]);
        consumer.wait_for_payloads([payload], wait::PATIENCE);
        assert_eq!(proxy.fired(), round + 1, "the reply was cut at byte {pass}");
    }
    wait::until_true("all committed", wait::PATIENCE, || redis.pending("orders", "crew") == 0);
    consumer.interrupt();
}

#[test]
fn a_lost_reply_to_a_commit_or_a_claim_is_made_up_for() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", numbers(0..20));
    redis.tell(&["XGROUP", "CREATE", "orders", "crew", "0"]);
    assert_eq!(redis.take("orders", "crew", "dead", 20).len(), 20);
    let proxy = Proxy::to(server.port());
    proxy.arm(Cut::after_next("XAUTOCLAIM").pass(3));
    let mut consumer = Consume::of(&proxy.url("orders"))
        .member("crew", "one")
        .args(["--claim-idle", "300ms", "--claim-interval", "300ms", "--commit-interval", "100ms"])
        .start();
    wait::until_true("a claim's reply cut", wait::PATIENCE, || proxy.fired() == 1);
    consumer.wait_for_payloads(numbers(0..20), wait::PATIENCE);
    for (round, pass) in [0, 2].into_iter().enumerate() {
        wait::until_true("all committed", wait::PATIENCE, || redis.pending("orders", "crew") == 0);
        proxy.arm(Cut::after_next("XACK").pass(pass));
        let payload = format!("after-{round}");
        redis.add("orders", [payload.as_str()]);
        wait::until_true("a commit's reply cut", wait::PATIENCE, || proxy.fired() == round + 2);
        consumer.wait_for_payloads([payload], wait::PATIENCE);
    }
    wait::until_true("all committed", wait::PATIENCE, || redis.pending("orders", "crew") == 0);
    consumer.interrupt();
}

#[test]
fn a_hostile_reply_costs_its_connection_and_nothing_else() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["first"]);
    let proxy = Proxy::to(server.port());
    let mut consumer = Consume::of(&proxy.url("orders")).member("crew", "one").start();
    consumer.wait_for_count(1);
    let hostile: [Vec<u8>; 9] = [
        b"*2147483647\r\n*2147483647\r\n".to_vec(),
        b"%9223372036854775807\r\n".to_vec(),
        b"$9223372036854775807\r\n".to_vec(),
        b"*1\r\n".repeat(100_000),
        b"?what\r\n".to_vec(),
        b"*-5\r\n".to_vec(),
        b":12a\r\n".to_vec(),
        [b"+".as_slice(), &[b'a'; 1 << 20]].concat(),
        b"+OK\r\n".repeat(1_000),
    ];
    for (round, bytes) in hostile.into_iter().enumerate() {
        wait::until_true("a blocked read", wait::PATIENCE, || redis.someone_waits());
        let notices = consumer.seen().notices.len();
        proxy.arm(Cut::after("XREADGROUP").inject(bytes));
        let payload = format!("after-{round}");
        redis.add("orders", [payload.as_str()]);
        consumer.wait_for_payloads([payload], wait::PATIENCE);
        assert_eq!(proxy.fired(), round + 1);
        consumer.wait_for("the cause as a notice", wait::PATIENCE, |seen| seen.notices.len() > notices);
    }
    let peak_kib = peak_memory_kib(consumer.pid()).unwrap();
    assert!(peak_kib < 100 * 1024, "{peak_kib} KiB: announced lengths are not allocated");
    consumer.interrupt();
}

#[test]
fn a_black_hole_is_noticed_and_left() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["first"]);
    let proxy = Proxy::to(server.port());
    let mut consumer = Consume::of(&proxy.url("orders")).member("crew", "one").start();
    consumer.wait_for_count(1);
    wait::until_true("a blocked read", wait::PATIENCE, || redis.someone_waits());
    proxy.hold_open_ones();
    redis.add("orders", ["into the hole"]);
    consumer.wait_for_payloads(["into the hole"], Duration::from_secs(60));
    consumer.interrupt();
}

#[test]
fn a_refusing_server_is_awaited_patiently_and_visibly() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["first"]);
    let proxy = Proxy::to(server.port());
    let mut consumer = Consume::of(&proxy.url("orders")).member("crew", "one").start();
    consumer.wait_for_count(1);
    let notices = consumer.seen().notices.len();
    proxy.refuse(true);
    proxy.cut_all();
    consumer.wait_for("a notice", wait::PATIENCE, |seen| seen.noticed_after(notices, "reconnect"));
    redis.add("orders", ["meanwhile"]);
    wait::always("it waits", Duration::from_secs(2), || consumer.is_running());
    assert!(consumer.seen().notices.len() < notices + 50, "retries back off");
    proxy.refuse(false);
    consumer.wait_for_payloads(["meanwhile"], wait::PATIENCE);
    consumer.interrupt();
}

#[test]
fn real_time_keeps_its_place_on_a_quiet_stream_while_it_is_cut_off() {
    let server = RedisServer::start();
    let mut redis = server.client();
    redis.add("orders", ["old"]);
    let mut consumer = Consume::of(&server.url("orders")).start();
    for round in 0..5 {
        wait::until_true("a blocked read", wait::PATIENCE, || redis.someone_waits());
        let payload = format!("unheard-{round}");
        // Cut and spoken in one step: nobody listens at that moment.
        let mut commands: Vec<Vec<String>> = redis
            .clients()
            .iter()
            .map(|client| ["CLIENT", "KILL", "ID", &client.id.to_string()].map(String::from).to_vec())
            .collect();
        commands.push(["XADD", "orders", "*", "msg", &payload].map(String::from).to_vec());
        let commands: Vec<Vec<&str>> =
            commands.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
        let commands: Vec<&[&str]> = commands.iter().map(Vec::as_slice).collect();
        redis.atomically(&commands);
        consumer.wait_for_payloads([payload], wait::PATIENCE);
    }
    consumer.interrupt();
    let seen = consumer.seen();
    assert_eq!(seen.messages.len(), 5, "nothing old, nothing twice");
}
