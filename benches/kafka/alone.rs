//! The machine alone, on bytes captured from the broker: no socket, no runtime. What is timed are the calls
//! into the machine and nothing else, and the allocations are theirs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tidegate_benches::Failure;
use tidegate_benches::allocations::{count, counted};
use tidegate_benches::kafka::wire::{PREFIX, Wire};
use tidegate_core::kafka::Machine;
use tidegate_core::kafka::records::Batches;
use tidegate_core::kafka::wire::{FetchRequest, read_response, split_frame};
use tidegate_core::{
    Command, ConnId, ConsumerMode, ConsumerOptions, Delivery, Endpoint, Event, Machine as _, Request, Setup,
};

use crate::floor::{VERSION, request};
use crate::model::{Captured, Model};

/// As a socket hands them over when much comes.
const CHUNK: usize = 256 << 10;
/// Longest frame of the machine.
const FRAME_MAX: usize = 1 << 20;

/// What one run showed.
pub(crate) struct Alone {
    pub(crate) records: u64,
    /// Spent in the machine.
    pub(crate) seconds: f64,
    pub(crate) allocations: u64,
}

/// The first `answers` answers to fetches of 1 MiB from the only partition of a topic.
pub(crate) fn capture(port: u16, topic: &str, answers: usize) -> Result<Vec<Captured>, Failure> {
    let mut wire = Wire::connect(port)?;
    let topic = wire.topic(topic)?;
    let mut captured = Vec::new();
    let mut from = 0;
    while captured.len() < answers {
        wire.ask(VERSION, &request(&topic, &[from], 0))?;
        let frame = wire.receive()?;
        let response = read_response::<FetchRequest>(frame.slice(PREFIX..), VERSION)?;
        let partitions = response.responses.into_iter().flat_map(|topic| topic.partitions);
        let records = partitions.filter_map(|data| data.records).find(|records| !records.is_empty());
        let Some(records) = records else { break };
        let mut next = from;
        for batch in Batches::new(records.clone()) {
            next = batch?.next_offset();
        }
        captured.push(Captured { from, records });
        from = next;
    }
    Ok(captured)
}

/// Reads, delivers, acks and commits all of it.
pub(crate) fn run(captured: &[Captured]) -> Result<Alone, Failure> {
    count();
    let machine = Machine::new(Setup {
        endpoints: vec![Endpoint::tcp("captured", 1)],
        streams: vec![Model::topic().into()],
        options: ConsumerOptions::new(ConsumerMode::LoadBalanced).group("group"),
        host: None,
        generated_consumer: "member".into(),
        seed: 1,
        wall_clock: None,
    })?;
    let mut bench = Bench {
        machine,
        model: Model::new(captured),
        start: Instant::now(),
        asked: BTreeMap::new(),
        acks: Vec::new(),
        alone: Alone { records: 0, seconds: 0.0, allocations: 0 },
    };
    bench.carry_out()?;
    let mut expected = 0;
    for batch in captured.iter().flat_map(|captured| Batches::new(captured.records.clone())) {
        expected += u64::from(batch?.count);
    }
    match bench.alone.records == expected {
        true => Ok(bench.alone),
        false => Err(format!("{} records of {expected} came out", bench.alone.records).into()),
    }
}

struct Bench<'a> {
    machine: Machine,
    model: Model<'a>,
    start: Instant,
    /// By connection: requests that were written.
    asked: BTreeMap<ConnId, BytesMut>,
    acks: Vec<tidegate_core::AckRange>,
    alone: Alone,
}

impl Bench<'_> {
    fn now(&self) -> tidegate_core::Instant {
        tidegate_core::Instant::from_nanos(self.start.elapsed().as_nanos() as u64)
    }

    /// A call into the machine, with the clock on.
    fn timed<T>(&mut self, call: impl FnOnce(&mut Machine) -> T) -> T {
        let before = counted();
        let clock = Instant::now();
        let result = call(&mut self.machine);
        let spent: Duration = clock.elapsed();
        self.alone.allocations += counted() - before;
        self.alone.seconds += spent.as_secs_f64();
        result
    }

    fn event(&mut self, event: Event) {
        let now = self.now();
        self.timed(|machine| machine.handle(now, event));
    }

    fn carry_out(&mut self) -> Result<(), Failure> {
        self.event(Event::Tick);
        let mut answers = Vec::new();
        loop {
            self.commands(&mut answers)?;
            self.take()?;
            self.commands(&mut answers)?;
            // Nothing to say to anybody: all is read.
            if answers.is_empty() {
                return Ok(());
            }
            for (conn, frame) in std::mem::take(&mut answers) {
                self.receive(conn, &frame)?;
            }
        }
    }

    fn receive(&mut self, conn: ConnId, frame: &Bytes) -> Result<(), Failure> {
        for chunk in frame.chunks(CHUNK) {
            self.machine.incoming(conn).extend_from_slice(chunk);
            self.event(Event::Received { conn });
            self.take()?;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<(), Failure> {
        while let Some(delivery) = self.timed(|machine| machine.poll_delivery()) {
            match delivery {
                Delivery::Batch(batch) => {
                    self.alone.records += batch.len() as u64;
                    self.acks.extend(batch.ack_range());
                    self.timed(|_| drop(batch));
                }
                Delivery::Failed(error) => return Err(error.into()),
                _ => {}
            }
        }
        if !self.acks.is_empty() {
            let (now, acks) = (self.now(), std::mem::take(&mut self.acks));
            self.timed(|machine| machine.request(now, Request::Ack(acks)))?;
        }
        Ok(())
    }

    /// Carries out commands until there are none; what the model has to say to them.
    fn commands(&mut self, answers: &mut Vec<(ConnId, Bytes)>) -> Result<(), Failure> {
        loop {
            match self.timed(|machine| machine.poll_command()) {
                Command::Open { conn, .. } => self.event(Event::Opened { conn }),
                Command::Write { conn } => {
                    let asked = self.asked.entry(conn).or_default();
                    let out = self.machine.outgoing(conn);
                    let n = out.len();
                    asked.extend_from_slice(out);
                    while let Some(frame) = split_frame(asked, FRAME_MAX)? {
                        let mut answer = BytesMut::new();
                        self.model.answer(frame, &mut answer)?;
                        if !answer.is_empty() {
                            answers.push((conn, answer.freeze()));
                        }
                    }
                    self.event(Event::Wrote { conn, n });
                }
                Command::Close { .. } => return Err("the machine closed a connection".into()),
                Command::Wait(_) => return Ok(()),
                _ => {}
            }
        }
    }
}
