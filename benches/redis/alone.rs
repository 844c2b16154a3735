//! The machine alone, on recorded bytes: no socket, no runtime, no server. What is timed are the
//! calls into the machine and nothing else; the allocations are those of the whole process.

use std::time::{Duration, Instant};

use tidegate_benches::{
    Failure,
    allocations::{count, counted},
};
use tidegate_core::redis::Machine;
use tidegate_core::{
    Command, ConnId, ConsumerMode, ConsumerOptions, Delivery, Endpoint, Event, Machine as _, Request, Setup,
};

/// What one run showed.
pub(crate) struct Alone {
    /// Entries read and acked in a second of one core.
    pub(crate) entries_per_second: f64,
    /// Allocations an entry.
    pub(crate) allocations: f64,
}

/// Entries of one reply.
const COUNT: usize = 1_000;
/// As a socket hands them over.
const CHUNK: usize = 64 << 10;

/// Reads and acks `replies` × 1,000 entries of `size` bytes.
pub(crate) fn run(replies: usize, size: usize) -> Result<Alone, Failure> {
    count();
    let mut machine = Machine::new(Setup {
        endpoints: vec![Endpoint::tcp("recorded", 1)],
        streams: vec!["orders".into()],
        options: ConsumerOptions::new(ConsumerMode::LoadBalanced).group("group"),
        host: None,
        generated_consumer: "member".into(),
        seed: 1,
        wall_clock: None,
    })?;
    let mut bench =
        Bench { start: Instant::now(), spent: Duration::ZERO, acks: Vec::new(), reads: 0, commits: 0 };
    bench.greet(&mut machine)?;
    let (reader, control) = (ConnId { number: 0, generation: 1 }, ConnId { number: 1, generation: 1 });
    let warm_up = replies / 10;
    let (mut allocations, mut entries) = (0, 0);
    for number in 0..warm_up + replies {
        if bench.reads == 0 {
            return Err("the machine asked for nothing".into());
        }
        bench.reads -= 1;
        let reply = reply(1_700_000_000_000 + number as u64, size);
        for _ in 0..std::mem::take(&mut bench.commits) {
            bench.receive(&mut machine, control, b":1000\r\n")?;
        }
        if number == warm_up {
            bench.spent = Duration::ZERO;
            entries = 0;
        }
        let before = counted();
        for chunk in reply.chunks(CHUNK) {
            entries += bench.receive(&mut machine, reader, chunk)?;
        }
        if number >= warm_up {
            allocations += counted() - before;
        }
    }
    if entries != replies * COUNT {
        return Err(format!("{entries} entries of {} came out", replies * COUNT).into());
    }
    Ok(Alone {
        entries_per_second: entries as f64 / bench.spent.as_secs_f64(),
        allocations: allocations as f64 / entries as f64,
    })
}

struct Bench {
    start: Instant,
    spent: Duration,
    acks: Vec<tidegate_core::AckRange>,
    reads: usize,
    commits: usize,
}

impl Bench {
    fn now(&self) -> tidegate_core::Instant {
        tidegate_core::Instant::from_nanos(self.start.elapsed().as_nanos() as u64)
    }

    /// Everything that a server says before the first read.
    fn greet(&mut self, machine: &mut Machine) -> Result<(), Failure> {
        machine.handle(self.now(), Event::Tick);
        for number in [0, 1] {
            machine.handle(self.now(), Event::Opened { conn: ConnId { number, generation: 1 } });
        }
        for number in [0, 1] {
            let conn = ConnId { number, generation: 1 };
            for reply in ["%0\r\n", "+OK\r\n", ":7\r\n"] {
                self.receive(machine, conn, reply.as_bytes())?;
            }
        }
        let control = ConnId { number: 1, generation: 1 };
        self.receive(machine, control, b":1\r\n")?;
        for _ in 0..8 {
            self.receive(machine, control, b":0\r\n")?;
        }
        self.receive(machine, control, b"%1\r\n$17\r\nlast-generated-id\r\n$3\r\n0-0\r\n")?;
        self.receive(machine, control, b"+OK\r\n")?;
        Ok(())
    }

    /// Bytes come, and everything that follows from them. How many entries came out.
    fn receive(&mut self, machine: &mut Machine, conn: ConnId, bytes: &[u8]) -> Result<usize, Failure> {
        machine.incoming(conn).extend_from_slice(bytes);
        let now = self.now();
        let clock = Instant::now();
        machine.handle(now, Event::Received { conn });
        let mut entries = 0;
        while let Some(delivery) = machine.poll_delivery() {
            match delivery {
                Delivery::Batch(batch) => {
                    entries += batch.len();
                    self.acks.extend(batch.ack_range());
                }
                Delivery::Failed(error) => return Err(error.into()),
                _ => {}
            }
        }
        if !self.acks.is_empty() {
            machine.request(now, Request::Ack(std::mem::take(&mut self.acks)))?;
        }
        self.spent += clock.elapsed();
        loop {
            let clock = Instant::now();
            let command = machine.poll_command();
            self.spent += clock.elapsed();
            match command {
                Command::Write { conn } => {
                    let out = machine.outgoing(conn);
                    self.commits += times(out, b"\r\nXACK\r\n");
                    self.reads += times(out, b"\r\nXREADGROUP\r\n");
                    let n = out.len();
                    let clock = Instant::now();
                    machine.handle(now, Event::Wrote { conn, n });
                    self.spent += clock.elapsed();
                }
                Command::Close { .. } => return Err("the machine closed a connection".into()),
                Command::Wait(_) => return Ok(entries),
                _ => {}
            }
        }
    }
}

fn times(out: &[u8], word: &[u8]) -> usize {
    out.windows(word.len()).filter(|window| *window == word).count()
}

/// A whole reply, as redis-server 7 writes it in RESP3.
fn reply(millis: u64, size: usize) -> Vec<u8> {
    let mut reply = format!("%1\r\n$6\r\norders\r\n*{COUNT}\r\n").into_bytes();
    let payload = vec![b'x'; size];
    for at in 0..COUNT {
        let id = format!("{millis}-{at}");
        reply.extend_from_slice(
            format!("*2\r\n${}\r\n{id}\r\n*2\r\n$3\r\nmsg\r\n${size}\r\n", id.len()).as_bytes(),
        );
        reply.extend_from_slice(&payload);
        reply.extend_from_slice(b"\r\n");
    }
    reply
}
