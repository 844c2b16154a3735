//! The machine over `std::net`, without any runtime: what a driver has to do, and no more.
//!
//! `cargo run -p tidegate-core --example drive -- HOST PORT STREAM GROUP COUNT` reads COUNT messages as a
//! member of GROUP, from the beginning if the group is new, acks each, and closes.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant as Clock};

use tidegate_core::redis::Machine;
use tidegate_core::{
    Cause, Command, ConnId, ConsumerMode, ConsumerOptions, Delivery, Endpoint, Event, Instant, Machine as _,
    Request, Setup, StreamKey,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut next = |default: &str| args.next().unwrap_or_else(|| default.to_owned());
    let (host, port) = (next("127.0.0.1"), next("6379").parse()?);
    let (stream, group) = (next("orders"), next("billing"));
    let mut wanted: usize = next("10").parse()?;
    let mut machine = Machine::new(Setup {
        endpoints: vec![Endpoint::tcp(&host, port)],
        streams: vec![StreamKey::from(&*stream)],
        options: ConsumerOptions::new(ConsumerMode::LoadBalanced).group(&*group),
        host: None,
        generated_consumer: "drive".into(),
        seed: 1,
        wall_clock: None,
    })?;
    let start = Clock::now();
    let now = || Instant::from_nanos(start.elapsed().as_nanos() as u64);
    let mut sockets: BTreeMap<ConnId, TcpStream> = BTreeMap::new();
    let mut closing = false;
    machine.handle(now(), Event::Tick);
    loop {
        // Commands, until there are no more.
        let wait = loop {
            match machine.poll_command() {
                Command::Open { conn, endpoint } => {
                    let opened = TcpStream::connect((&*endpoint.host, endpoint.port))
                        .and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
                    let event = match opened {
                        Ok(socket) => {
                            socket.set_nodelay(true)?;
                            sockets.insert(conn, socket);
                            Event::Opened { conn }
                        }
                        Err(error) => Event::OpenFailed { conn, cause: cause_of(&error) },
                    };
                    machine.handle(now(), event);
                }
                Command::Close { conn } => drop(sockets.remove(&conn)),
                Command::Done { outcome, .. } => println!("done: {outcome:?}"),
                Command::Notice(notice) => println!("notice: {notice}"),
                Command::Write { .. } => {} // All sockets are looked at below.
                Command::Wait(wake) => break wake,
            }
        };
        // Deliveries.
        let mut acks = Vec::new();
        let mut took = false;
        while let Some(delivery) = machine.poll_delivery() {
            match delivery {
                Delivery::Batch(batch) => {
                    acks.extend(batch.ack_range());
                    wanted = wanted.saturating_sub(batch.len());
                    took = true;
                }
                Delivery::End => return Ok(()),
                Delivery::Failed(error) => return Err(error.into()),
                _ => {}
            }
        }
        if !acks.is_empty() {
            machine.request(now(), Request::Ack(acks))?;
        }
        if wanted == 0 && !closing {
            closing = true;
            println!("{:?}", machine.stats());
            machine.request(now(), Request::Close { deadline: Duration::from_secs(5) })?;
            took = true;
        }
        // Sockets.
        let mut moved = took;
        let mut events = Vec::new();
        for (&conn, socket) in &mut sockets {
            moved |= serve(&mut machine, conn, socket, &mut events);
        }
        for event in events {
            if let Event::Closed { conn, .. } = &event {
                sockets.remove(conn);
            }
            machine.handle(now(), event);
        }
        if !moved {
            let until = wake_after(wait, now());
            std::thread::sleep(until.min(Duration::from_micros(200)));
            machine.handle(now(), Event::Tick);
        }
    }
}

/// Reads and writes what can be, without waiting.
fn serve(machine: &mut Machine, conn: ConnId, socket: &mut TcpStream, events: &mut Vec<Event>) -> bool {
    let before = events.len();
    if machine.wants_read(conn) {
        let mut chunk = [0; 64 * 1024];
        match socket.read(&mut chunk) {
            Ok(0) => events.push(Event::Closed { conn, cause: Cause::Eof }),
            Ok(n) => {
                machine.incoming(conn).extend_from_slice(&chunk[..n]);
                events.push(Event::Received { conn });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => events.push(Event::Closed { conn, cause: cause_of(&error) }),
        }
    }
    match machine.outgoing(conn) {
        [] => {}
        bytes => match socket.write(bytes) {
            Ok(n) => events.push(Event::Wrote { conn, n }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => events.push(Event::Closed { conn, cause: cause_of(&error) }),
        },
    }
    events.len() > before
}

fn wake_after(wait: Option<tidegate_core::Wake>, now: Instant) -> Duration {
    wait.map_or(Duration::MAX, |wake| wake.at - now)
}

fn cause_of(error: &std::io::Error) -> Cause {
    match error.kind() {
        ErrorKind::ConnectionRefused => Cause::Refused,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Cause::Reset,
        _ => Cause::Other(error.to_string().into()),
    }
}
