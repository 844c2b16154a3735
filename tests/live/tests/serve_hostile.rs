//! Clients that mean no good, against `tidegate serve redis`: it goes on, serves others, and holds a
//! bounded amount of memory.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod serve_tools;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use serve_tools::Served;
use tidegate_core::random::Random;
use tidegate_live::{RedisServer, heavy, tidegate, wait};

/// Both limits of the server together, and what it is itself.
const MOST_MIB: u64 = 256 + 64;

/// Sends these bytes and no more, and reads until the other side ends.
#[track_caller]
fn exchange(mut socket: TcpStream, bytes: &[u8]) -> String {
    let mut sender = socket.try_clone().unwrap();
    let bytes = bytes.to_vec();
    // Beside the reading: what is not read could hold up what is written.
    let sending = std::thread::spawn(move || {
        // Who is closed meanwhile can't send the rest.
        let _ = sender.write_all(&bytes);
        let _ = sender.shutdown(Shutdown::Write);
    });
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    sending.join().unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn connect(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    socket
}

#[test]
fn what_is_wrong_is_answered_in_redis_own_words() {
    let (served, real) = (Served::start(), RedisServer::start());
    let long = format!("NOSUCH {}\r\n", "x".repeat(300));
    let many = format!("NOSUCH {}\r\n", "abcdefgh ".repeat(40));
    for bytes in [
        &b"NOSUCH\r\n"[..],
        b"nosuch a 'b c' \"d\\x00e\"\r\n",
        b"*3\r\n$6\r\nno\r\nsu\r\n$1\r\na\r\n$2\r\n\r\n\r\n",
        b"*1\r\n$0\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
        b"XGROUP NOSUCH a b\r\n",
        b"XGROUP\r\nXADD\r\nXREADGROUP a\r\nPING a b c\r\n",
        b"XADD s nonsense a 1\r\nXADD s * a\r\nXREAD COUNT x STREAMS s 0\r\nXREAD STREAMS s\r\n",
        b"XREADGROUP GROUP g c STREAMS s >\r\nXACK s g\r\nXAUTOCLAIM s g c x 0\r\n",
        b"HELLO 9\r\nHELLO x\r\nSELECT 99\r\nSELECT x\r\nAUTH a b\r\nEXEC\r\nDISCARD\r\n",
        b"MULTI\r\nNOSUCH\r\nEXEC\r\n",
        b"CLIENT NOSUCH\r\nCLIENT KILL\r\nCLIENT SETNAME 'a b'\r\n",
        b"SET s\r\nSET s 1\r\nXADD s * a 1\r\n",
        // And what breaks the protocol.
        b"*1\r\n$1073741824\r\n",
        b"*1\r\n$-5\r\n",
        b"*1\r\n$x\r\n",
        b"*1\r\n:5\r\n",
        b"*2147483648\r\n",
        b"*x\r\n",
        b"*-1\r\nPING\r\n",
        b"*0\r\n\r\n\r\nPING\r\n",
        b"PING 'a\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let what = String::from_utf8_lossy(bytes).into_owned();
        let model = exchange(served.connect(), bytes);
        let wanted = exchange(connect(real.port()), bytes);
        assert_eq!(model, wanted, "{what:?}");
    }
    served.serves_others();
}

#[test]
fn random_bytes_close_their_own_connection_at_most() {
    let served = Served::start();
    let pieces: &[&[u8]] = &[
        b"*",
        b"$",
        b"\r\n",
        b"1",
        b"3",
        b"-1",
        b"9999999999999999999",
        b"$5\r\nXREAD\r\n",
        b"$4\r\nXADD\r\n",
        b"PING\r\n",
        b"XADD s * a 1\r\n",
        b"XREADGROUP GROUP g c BLOCK 1 STREAMS s >\r\n",
        b"\"",
        b"'",
        b" ",
        b"\0",
        b"HELLO 3\r\n",
        b"MULTI\r\n",
        b"EXEC\r\n",
        b"XGROUP CREATE s g 0 MKSTREAM\r\n",
        b"\xff",
        b"(",
        b"%",
        b"STREAMS",
    ];
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut bytes = Vec::new();
        for _ in 0..random.below(2_000) {
            if random.below(10) < seed % 11 {
                bytes.extend_from_slice(pieces[random.below(pieces.len() as u64) as usize]);
            } else {
                bytes.push(random.below(256) as u8);
            }
        }
        exchange(served.connect(), &bytes);
    }
    served.serves_others();
    assert!(served.peak_mib() < 64, "{} MiB", served.peak_mib());
}

#[test]
fn what_is_only_announced_costs_nothing() {
    let served = Served::start();
    let socket = |words: &[u8]| {
        let mut socket = served.connect();
        socket.write_all(words).unwrap();
        socket
    };
    let mut announced: Vec<_> = (0..200).map(|_| socket(b"*1000000\r\n$536870912\r\nabc")).collect();
    served.serves_others();
    assert!(served.peak_mib() < 48, "{} MiB", served.peak_mib());
    // Who really sends it is closed at the limit; a gigabyte is refused at once.
    let rest = vec![b'x'; 1 << 20];
    let sent = (0..512).take_while(|_| announced[0].write_all(&rest).is_ok()).count();
    assert!((32..200).contains(&sent), "{sent} MiB were taken");
    assert_eq!(
        exchange(served.connect(), b"*1\r\n$1073741824\r\n"),
        "-ERR Protocol error: invalid bulk length\r\n"
    );
    served.serves_others();
    // And many that send it a bit at a time share what there is for all.
    let started = Instant::now();
    for round in 0..40 {
        for socket in &mut announced[1..30] {
            socket.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            let _ = socket.write(&rest);
        }
        assert!(started.elapsed() < Duration::from_secs(60), "round {round}");
    }
    served.serves_others();
    assert!(served.peak_mib() < MOST_MIB, "{} MiB", served.peak_mib());
}

#[test]
fn a_line_without_end_is_refused() {
    let served = Served::start();
    let answer = exchange(served.connect(), &vec![b'x'; 1 << 20]);
    assert_eq!(answer, "-ERR Protocol error: too big inline request\r\n");
    let answer = exchange(served.connect(), &[b"*".as_slice(), &vec![b'1'; 1 << 20]].concat());
    assert_eq!(answer, "-ERR Protocol error: too big mbulk count string\r\n");
    served.serves_others();
    assert!(served.peak_mib() < 48, "{} MiB", served.peak_mib());
}

#[test]
fn readers_that_do_not_read_are_held_back_and_others_served() {
    let served = Served::start();
    let mut client = served.client();
    for _ in 0..50 {
        client.add("big", ["x".repeat(100_000)]);
    }
    // Each line asks for 5 MB; nobody reads.
    let ask = b"XRANGE big - +\r\n".repeat(10_000);
    let mut slow: Vec<_> = (0..10).map(|_| served.connect()).collect();
    for socket in &mut slow {
        socket.set_nonblocking(true).unwrap();
        let since = Instant::now();
        let mut at = 0;
        while at < ask.len() && since.elapsed() < Duration::from_millis(300) {
            match socket.write(&ask[at..]) {
                Ok(n) => at += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
        served.serves_others();
    }
    assert!(served.peak_mib() < MOST_MIB, "{} MiB", served.peak_mib());
    // Who reads after all gets what it was owed, in order.
    let mut late = slow.pop().unwrap();
    late.set_nonblocking(false).unwrap();
    late.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let mut answer = vec![0; 30 << 20];
    late.read_exact(&mut answer).unwrap();
    assert!(answer.starts_with(b"*50\r\n*2\r\n$"), "{:?}", String::from_utf8_lossy(&answer[..40]));
    served.serves_others();
}

#[test]
fn a_thousand_connections_are_served_beside_each_other() {
    let _turn = heavy();
    // This side needs as many files.
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(limit.maximum.map_or(4096, |most| most.min(4096)));
    setrlimit(Resource::Nofile, limit).unwrap();
    let served = Served::start();
    let mut sockets: Vec<_> = (0..1_000).map(|_| served.connect()).collect();
    for socket in &mut sockets {
        socket.write_all(b"XREAD BLOCK 0 STREAMS news $\r\n").unwrap();
    }
    let mut client = served.client();
    let blocked = |info: &str| info.contains("blocked_clients:1000");
    wait::until_true("all are blocked", wait::PATIENCE, || {
        blocked(&client.run::<String>(&["INFO", "clients"]))
    });
    let since = Instant::now();
    client.tell(&["XADD", "news", "7-7", "msg", "a"]);
    for socket in &mut sockets {
        let mut answer = [0; 53];
        socket.read_exact(&mut answer).unwrap();
        let wanted = "*1\r\n*2\r\n$4\r\nnews\r\n*1\r\n*2\r\n$3\r\n7-7\r\n*2\r\n$3\r\nmsg\r\n$1\r\na\r\n";
        assert!(wanted.starts_with(std::str::from_utf8(&answer).unwrap()));
    }
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    drop(sockets);
    wait::until_true("all are gone", wait::PATIENCE, || client.clients().is_empty());
    served.serves_others();
    assert!(served.peak_mib() < 96, "{} MiB", served.peak_mib());
}

#[test]
fn more_connections_than_files_wait_and_are_served_later() {
    // Through a shell that gives it few.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 40 && exec \"$0\" serve redis"]).arg(tidegate());
    let served = Served::from(command);
    let mut sockets: Vec<_> = (0..60).map(|_| served.connect()).collect();
    let mut pongs = 0;
    for socket in &mut sockets {
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        socket.write_all(b"PING\r\n").unwrap();
        pongs += usize::from(socket.read_exact(&mut [0; 7]).is_ok());
    }
    assert!((15..40).contains(&pongs), "{pongs} of 60 were answered at once");
    let mut last = sockets.pop().unwrap();
    drop(sockets);
    last.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    last.read_exact(&mut [0; 7]).unwrap();
    served.serves_others();
}
