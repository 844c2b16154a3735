//! The tools themselves, against redis-rs instead of the command.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use tidegate_live::{Client, Cut, Options, Proxy, RedisServer, unused_port, wait};

#[test]
fn a_durable_server_keeps_what_it_answered_through_a_kill() {
    let mut server = RedisServer::durable();
    let ids = server.client().add("s", ["a", "b", "c"]);
    let port = server.port();
    server.kill9();
    assert!(Client::connect(&server.url("")).is_err());
    server.restart();
    assert_eq!(server.port(), port);
    let entries: Vec<(String, Vec<String>)> = server.client().run(&["XRANGE", "s", "-", "+"]);
    assert_eq!(entries.iter().map(|(id, _)| id).collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>());
}

#[test]
fn a_stopped_server_is_silent_until_it_goes_on() {
    let server = RedisServer::start();
    let mut redis = server.client();
    server.stop();
    let asked = Instant::now();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| redis.run::<String>(&["PING"]));
        wait::always("no answer while stopped", Duration::from_millis(200), || !answer.is_finished());
        server.cont();
        assert_eq!(answer.join().unwrap(), "PONG");
    });
    assert!(asked.elapsed() >= Duration::from_millis(200));
}

#[test]
fn a_password_is_asked_for() {
    let server = RedisServer::with(Options { password: Some("open-sesame".into()), ..Options::default() });
    assert!(
        Client::connect(&format!("redis://127.0.0.1:{}/", server.port())).is_err_and(|_| true)
            || Client::connect(&format!("redis://127.0.0.1:{}/", server.port()))
                .unwrap()
                .query::<String>(&["PING"])
                .is_err()
    );
    assert_eq!(server.client().run::<String>(&["PING"]), "PONG");
}

#[test]
fn the_books_are_read_right() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let ids = redis.add("s", (0..100_000).map(|n| n.to_string()));
    assert_eq!(ids.len(), 100_000);
    redis.tell(&["XGROUP", "CREATE", "s", "g", "0"]);
    assert_eq!(redis.pending("s", "g"), 0);
    assert!(redis.pending_by_consumer("s", "g").is_empty());
    assert_eq!(redis.take("s", "g", "ann", 3), ids[..3]);
    assert_eq!(redis.take("s", "g", "bob", 2), ids[3..5]);
    let by_consumer = redis.pending_by_consumer("s", "g");
    assert_eq!(by_consumer.into_iter().collect::<Vec<_>>(), [("ann".into(), 3), ("bob".into(), 2)]);
    redis.each(&["XACK", "s", "g"], &ids[..3]);
    let list = redis.pending_list("s", "g");
    assert_eq!(
        list.iter().map(|p| (&p.id, p.owner.as_str(), p.deliveries)).collect::<Vec<_>>(),
        [(&ids[3], "bob", 1), (&ids[4], "bob", 1)]
    );
    assert_eq!(redis.consumers("s", "g"), ["ann", "bob"]);
    assert_eq!(redis.groups("s"), ["g"]);
    redis.atomically(&[&["DEL", "s"], &["XADD", "s", "1-1", "f", "v"]]);
    assert_eq!(redis.run::<u64>(&["XLEN", "s"]), 1);
    let before = redis.calls();
    assert!(redis.query::<u64>(&["XLEN"]).is_err());
    redis.tell(&["PING"]);
    let after = redis.calls();
    let more = |name: &str| after.get(name).unwrap_or(&0) - before.get(name).unwrap_or(&0);
    assert_eq!((more("ping"), more("xlen"), more("info")), (1, 1, 1));
}

#[test]
fn a_blocked_client_is_seen_and_killed() {
    let server = RedisServer::start();
    let mut redis = server.client();
    let mut other = server.client();
    std::thread::scope(|scope| {
        let blocked =
            scope.spawn(move || other.query::<Option<String>>(&["XREAD", "BLOCK", "0", "STREAMS", "s", "$"]));
        wait::until_true("a blocked client", wait::PATIENCE, || redis.someone_waits());
        let id = redis.clients()[0].id;
        assert!(redis.kill(id));
        assert!(blocked.join().unwrap().is_err());
    });
}

#[test]
fn a_cut_loses_the_reply_after_the_server_has_acted() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    for pass in [0, 1, 3] {
        let mut through = Client::connect(&proxy.url("")).unwrap();
        through.tell(&["SET", "before", "x"]);
        proxy.arm(Cut::after_next("INCR").pass(pass));
        through.tell(&["SET", "still", "fine"]);
        assert!(through.query::<u64>(&["INCR", "n"]).is_err());
    }
    assert_eq!(proxy.fired(), 3);
    assert_eq!(server.client().run::<u64>(&["GET", "n"]), 3);
    wait::until_true("no connection left", wait::PATIENCE, || proxy.open() == 0);
}

#[test]
fn a_cut_lets_exactly_its_bytes_through_and_an_injection_follows_them() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let ask = |cut: Cut, reads: usize| {
        proxy.arm(cut);
        let mut raw = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        raw.write_all(b"PING\r\n").unwrap();
        let mut got = vec![0; reads];
        raw.read_exact(&mut got).unwrap();
        (raw, got)
    };
    let (mut raw, got) = ask(Cut::after("PING").pass(4), 4);
    assert_eq!(got, b"+PON");
    assert_eq!(raw.read(&mut [0]).unwrap_or(0), 0);
    let (mut raw, got) = ask(Cut::after("PING").pass(2).inject("garbage"), 9);
    assert_eq!(got, b"+Pgarbage");
    raw.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    raw.write_all(b"PING\r\n").unwrap();
    assert!(raw.read(&mut [0]).is_err(), "nothing follows an injection");
    assert_eq!(proxy.fired(), 2);
}

#[test]
fn a_black_hole_holds_and_releases() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let mut old = Client::connect(&proxy.url("")).unwrap();
    proxy.hold_open_ones();
    std::thread::scope(|scope| {
        let held = scope.spawn(move || old.run::<String>(&["PING"]));
        let mut new = Client::connect(&proxy.url("")).unwrap();
        assert_eq!(new.run::<String>(&["PING"]), "PONG");
        wait::always("held", Duration::from_millis(100), || !held.is_finished());
        proxy.release();
        assert_eq!(held.join().unwrap(), "PONG");
        proxy.hold();
        let held = scope.spawn(move || new.run::<String>(&["PING"]));
        wait::always("held", Duration::from_millis(100), || !held.is_finished());
        proxy.release();
        assert_eq!(held.join().unwrap(), "PONG");
    });
    assert!(proxy.bytes().0 > 0 && proxy.bytes().1 > 0);
}

#[test]
fn a_delay_delays_and_a_refusal_refuses() {
    let server = RedisServer::start();
    let proxy = Proxy::to(server.port());
    let mut redis = Client::connect(&proxy.url("")).unwrap();
    proxy.delay(Duration::from_millis(60));
    let asked = Instant::now();
    redis.tell(&["PING"]);
    assert!(asked.elapsed() >= Duration::from_millis(120), "there and back");
    proxy.delay(Duration::ZERO);
    proxy.refuse(true);
    assert_eq!(redis.run::<String>(&["PING"]), "PONG", "open connections go on");
    proxy.cut_all();
    assert!(redis.query::<String>(&["PING"]).is_err());
    assert!(Client::connect(&proxy.url("")).is_err());
    proxy.refuse(false);
    assert!(Client::connect(&proxy.url("")).is_ok());
}

#[test]
fn ports_are_free_and_differ() {
    let ports: Vec<u16> = (0..50).map(|_| unused_port()).collect();
    let mut different = ports.clone();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), ports.len());
    for port in ports {
        TcpListener::bind(("127.0.0.1", port)).unwrap();
    }
}
