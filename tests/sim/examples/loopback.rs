//! The model Redis on a loopback socket, for any client: here redis-rs, in place of your own.
//!
//! ```text
//! cargo run -p tidegate-sim --features serve --example loopback
//! ```
//!
//! A test of code that talks to Redis needs a server, and one that can be made to fail at the right
//! moment. This one is a value in your own process: it starts in no time at a free port, and your
//! test crashes it, lets it load, or makes it refuse, whenever it likes. Whatever speaks RESP2 or
//! RESP3 can be pointed at its address. Where no test is to be written, `tidegate serve redis` does
//! the same from a shell.

use std::error::Error;
use std::time::{Duration, SystemTime};

use redis::{Connection, RedisResult};
use tidegate_sim::redis::{Condition, Config, Keep, Redis, Version};
use tidegate_sim::serve::{Options, Server};

/// One stream, its entries, their fields.
type Read = Vec<(String, Vec<(String, Vec<String>)>)>;

fn main() -> Result<(), Box<dyn Error>> {
    // A model doesn't read a clock. What it takes for the time of day when it starts is an option;
    // leave it out, and ids are the same in each run (but for how long things take).
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let config =
        Config { version: Version::V7_2, unix_ms_at_origin: unix.as_millis() as u64, ..Config::default() };

    // One node, at any free port: the broker is made when the port is known, as a cluster has to name
    // it in its answers. The server lives on a thread of its own until `server` is dropped.
    let server = Server::start_with(1, 0, Options::default(), |port| Redis::new(Config { port, ..config }))?;
    let addr = server.addr(0).ok_or("it has one node")?;
    println!("a model Redis listens at redis://{addr}");

    // From here on what your own code would do. A group, three orders, and a worker that takes two.
    let client = redis::Client::open(format!("redis://{addr}"))?;
    let mut alice = client.get_connection()?;
    let _: () = ask(&mut alice, "XGROUP CREATE orders packers 0 MKSTREAM")?;
    for item in ["apples", "pears", "plums"] {
        let id: String = ask(&mut alice, &format!("XADD orders * item {item}"))?;
        println!("ordered {item}: {id}");
    }
    let taken: Read = ask(&mut alice, "XREADGROUP GROUP packers alice COUNT 2 STREAMS orders >")?;
    println!("alice takes {:?}, and is never seen again", items(&taken));
    drop(alice);

    // The hand of the test: the server refuses as one that reads its files again …
    let mut bob = client.get_connection()?;
    server.with(|redis| {
        let until = server.now() + Duration::from_millis(200);
        redis.set_condition(server.now(), 0, Condition::Loading { until });
    });
    let refused = ask::<String>(&mut bob, "XLEN orders").err().ok_or("it was to refuse")?;
    println!("bob is told: {refused}");
    std::thread::sleep(Duration::from_millis(250));

    // … and then it crashes. All was on disk, so that nothing is lost but the connections.
    server.with(|redis| redis.crash(server.now(), 0, Keep::All));
    let lost = ask::<u64>(&mut bob, "XLEN orders").err().ok_or("the connection was to end")?;
    println!("bob's connection: {lost}");
    println!("and a new one: {}", client.get_connection().err().ok_or("nobody was to listen")?);
    server.with(|redis| redis.restart(server.now(), 0, Duration::ZERO));
    let mut bob = again(&client)?;

    // What Alice left is claimed, and the rest is read.
    let (_, claimed, _): (String, Vec<String>, Vec<String>) =
        ask(&mut bob, "XAUTOCLAIM orders packers bob 0 0 JUSTID")?;
    let own: Read = ask(&mut bob, "XREADGROUP GROUP packers bob STREAMS orders 0")?;
    let new: Read = ask(&mut bob, "XREADGROUP GROUP packers bob STREAMS orders >")?;
    println!("bob takes over {:?}, and reads {:?}", items(&own), items(&new));
    for (id, _) in own.iter().chain(&new).flat_map(|(_, entries)| entries) {
        let _: u64 = ask(&mut bob, &format!("XACK orders packers {id}"))?;
    }

    // The test looks at the server's own books, past all clients.
    let pending = server.with(|redis| redis.pending(server.now(), b"orders", b"packers").count());
    println!("{} claimed, {pending} pending at the end", claimed.len());
    assert_eq!((claimed.len(), pending), (2, 0));
    server.with(|redis| tidegate_sim::Broker::check(redis))?;
    Ok(())
}

fn ask<T: redis::FromRedisValue>(connection: &mut Connection, line: &str) -> RedisResult<T> {
    let mut command = redis::Cmd::new();
    line.split(' ').for_each(|word| {
        command.arg(word);
    });
    command.query(connection)
}

/// Connects, as soon as somebody listens.
fn again(client: &redis::Client) -> RedisResult<Connection> {
    for _ in 0..200 {
        if let Ok(connection) = client.get_connection() {
            return Ok(connection);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    client.get_connection()
}

/// The values of all entries.
fn items(read: &Read) -> Vec<&str> {
    let entries = read.iter().flat_map(|(_, entries)| entries);
    entries.filter_map(|(_, fields)| fields.get(1)).map(String::as_str).collect()
}

#[test]
fn it_runs_to_its_end() {
    main().unwrap();
}
