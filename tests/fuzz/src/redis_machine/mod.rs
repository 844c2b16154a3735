//! The Redis machine, driven by a tape: each event, reply and request in any order.
//!
//! **Input:** a tape. First the options, then one choice a step; zeros are a server that answers
//! as it should, and an application that takes and acks everything.
//!
//! # Theory of operation
//!
//! [`driver`] carries out the machine's commands and checks them. [`peer`] is the other end of a
//! connection: it reads the machine's commands and answers with what fits them, or with what
//! doesn't. All of it is recorded as a trace, and the trace is replayed to a second machine: that
//! it comes out the same is determinism, and one more test of the trace.
//!
//! **Invariant:** a run is a pure function of the tape, and is bounded by it.

mod driver;
mod peer;
mod setup;

use std::time::Duration;

use tidegate_core::ack::SegmentId;
use tidegate_core::redis::Machine;
use tidegate_core::trace::{Recorder, Trace, replay};
use tidegate_core::{AckRange, Cause, ConnId, Epoch, Event, Position, Request, ShardId, Timestamp};
use tidegate_sim::Tape;

use self::driver::Driver;
use self::setup::{PASSWORD, STREAMS, flip};

pub(crate) use self::setup::setup;

/// Steps of one run.
const STEPS_MAX: usize = 200;
/// Rounds in which a server that answers as it should is greeted, and its streams are found.
const GREETING_STEPS: usize = 6;
/// Messages that a single answer may have.
const ANSWER_MAX: usize = 400;

/// No panic, whatever comes; after a bounded number of commands it waits; a wake-up lies ahead,
/// not again and again behind; nothing is written after a close, nor left unwritten without a
/// word; each ticket is done once; memory keeps the limits; batches are of assigned shards; a
/// close ends by its deadline; and the same again gives the same.
pub fn redis_machine(data: &[u8]) {
    let mut trace = String::new();
    redis_machine_told(data, |line| trace.push_str(line));

    assert!(!trace.contains(PASSWORD));
    let trace = Trace::parse(trace.as_bytes()).unwrap();
    let again = Machine::new(trace.setup.clone()).unwrap();
    if let Err(error) = replay(&trace, again) {
        panic!("the same events, and not the same commands: {error}");
    }
}

/// The run alone, told line by line as a trace: `cargo run -p tidegate-fuzz --example show FILE`.
pub fn redis_machine_told(data: &[u8], sink: impl FnMut(&str)) {
    let mut tape = Tape::from_bytes(data);
    let setup = setup(&mut tape);
    let machine = Machine::new(setup.clone()).expect("all of these options fit together");
    let recorder = Recorder::new(machine, "redis", &setup, sink);
    let mut driver = Driver::new(recorder, setup.options.limits.clone());
    // A polite driver reads while it is welcome. Only of such a one the lane keeps its limit.
    let polite = !flip(&mut tape);
    driver.settle();
    // Most of them begin where streams are being read, the others at the very start.
    if tape.below(4) < 3 {
        for _ in 0..GREETING_STEPS {
            everything(&mut driver, &mut Tape::from_bytes(&[]));
            driver.settle();
        }
    }
    let mut steps_after_end = 0;
    for _ in 0..STEPS_MAX {
        if driver.is_over() {
            steps_after_end += 1;
        }
        if tape.is_over() || steps_after_end > 5 {
            break;
        }
        step(&mut driver, &mut tape, polite);
        if tape.below(16) == 15 {
            // A driver that is in no hurry.
            driver.poll_some(tape.below(4) as usize);
        } else {
            driver.settle();
        }
        if polite {
            let max = setup.options.limits.lane_records_max.saturating_mul(2).saturating_add(ANSWER_MAX);
            assert!(driver.queued() <= max, "{} messages wait", driver.queued());
        }
    }
    drop(driver.close(Duration::from_secs(tape.below(3) * 5)));
}

fn step<M: tidegate_core::Machine>(driver: &mut Driver<M>, tape: &mut Tape, polite: bool) {
    match tape.below(24) {
        0..4 => everything(driver, tape),
        4..6 => to_the_wake(driver),
        6 => {
            let nanos = [0, 1, 1_000_000, 100_000_000, 1_000_000_000, 10_000_000_000, 1 << 45];
            driver.now = driver.now + Duration::from_nanos(nanos[tape.below(7) as usize]);
            driver.handle(Event::Tick);
        }
        7 => {
            if let Some(number) = driver.pick(tape) {
                driver.opened(number);
            }
        }
        8 => {
            if let Some(number) = driver.pick(tape) {
                let cause = [Cause::Eof, Cause::Reset, Cause::Refused, Cause::Unresolved];
                driver.lost(number, cause[tape.below(4) as usize].clone());
            }
        }
        9 => {
            if let Some(number) = driver.pick(tape) {
                driver.write(number, tape.below(300) as usize);
            }
        }
        10..15 => answer(driver, tape, polite),
        15 => noise(driver, tape, polite),
        16 => {
            let request = request(tape);
            driver.request(request);
        }
        17 => {
            for _ in 0..tape.below(4) {
                driver.take();
            }
        }
        18 | 19 => acks(driver, tape),
        20 => late(driver, tape),
        21 => {
            let ago = tape.below(1 << 40);
            driver.handle_late(Event::Tick, ago);
        }
        22 => {
            if let Some(number) = driver.pick(tape) {
                let n = [0, 1, 100_000, usize::MAX][tape.below(4) as usize];
                driver.write_too_much(number, n);
            }
        }
        _ => {
            if let Some(number) = driver.pick(tape) {
                // Nothing came.
                let conn = driver.id(number);
                driver.handle(Event::Received { conn });
            }
        }
    }
}

/// All that there is to do is done, as it should be; if there is nothing, time passes.
fn everything<M: tidegate_core::Machine>(driver: &mut Driver<M>, tape: &mut Tape) {
    let mut idle = true;
    for number in [0, 1] {
        if driver.conns.get(&number).is_some_and(|conn| !conn.opened) {
            driver.opened(number);
            idle = false;
        }
        driver.write(number, usize::MAX);
        while driver.wants_read(number)
            && driver.conns.get(&number).is_some_and(|conn| conn.peer.waiting() > 0)
        {
            let bytes = driver.answer(number, tape);
            driver.read(number, &bytes, usize::MAX, true);
            idle = false;
        }
    }
    while driver.take() {
        idle = false;
    }
    let acks = std::mem::take(&mut driver.held);
    driver.request(Request::Ack(acks));
    if idle {
        to_the_wake(driver);
    }
}

fn to_the_wake<M: tidegate_core::Machine>(driver: &mut Driver<M>) {
    // Some options are for ever.
    let far = driver.now + Duration::from_secs(3600);
    driver.now = driver.now.max(driver.wake.map_or(far, |at| at.min(far)));
    driver.handle(Event::Tick);
}

fn answer<M: tidegate_core::Machine>(driver: &mut Driver<M>, tape: &mut Tape, polite: bool) {
    let Some(number) = driver.pick(tape) else { return };
    if polite && !driver.wants_read(number) {
        return;
    }
    let bytes = driver.answer(number, tape);
    let piece = [usize::MAX, 1, 7][tape.below(3) as usize];
    // Sometimes it is read, and told later.
    driver.read(number, &bytes, piece, tape.below(8) < 7);
}

/// What nobody asked for.
fn noise<M: tidegate_core::Machine>(driver: &mut Driver<M>, tape: &mut Tape, polite: bool) {
    const WIRE: &[u8] = b"*$%:-+_>|=!,#(0123456789\r\nx";
    const KNOWN: [&[u8]; 8] = [
        b"+OK\r\n",
        b":1\r\n",
        b"_\r\n",
        b"*0\r\n",
        b"%0\r\n",
        b"%1\r\n$17\r\nlast-generated-id\r\n$20\r\n18446744073709551615\r\n",
        b"%1\r\n$6\r\norders\r\n*1\r\n*2\r\n$41\r\n18446744073709551615-18446744073709551615\r\n*0\r\n",
        b"*2\r\n$41\r\n18446744073709551615-18446744073709551615\r\n*1\r\n*2\r\n$3\r\n0-0\r\n*2\r\n$0\r\n\r\n$0\r\n\r\n",
    ];
    let Some(number) = driver.pick(tape) else { return };
    if polite && !driver.wants_read(number) {
        return;
    }
    let bytes = match flip(tape) {
        true => KNOWN[tape.below(8) as usize].to_vec(),
        false => (0..tape.below(12)).map(|_| WIRE[tape.below(WIRE.len() as u64) as usize]).collect(),
    };
    driver.read_noise(number, &bytes);
}

fn request(tape: &mut Tape) -> Request {
    let stream = STREAMS.get(tape.below(4) as usize).copied().unwrap_or("unknown").into();
    match tape.below(10) {
        0 | 1 => Request::Commit,
        2 => Request::Pause,
        3 => Request::Resume,
        4 => Request::Seek(Timestamp::from_millis([0, 5, i64::MAX, i64::MIN][tape.below(4) as usize])),
        5 => Request::Rewind(Position::Beginning),
        6 => Request::Rewind(Position::End),
        7 => Request::Assign { stream, shard: ShardId::new(tape.below(3)) },
        8 => Request::Unassign { stream, shard: ShardId::new(tape.below(3)) },
        _ => {
            let deadline = [Duration::from_secs(5), Duration::ZERO, Duration::from_millis(1)];
            Request::Close { deadline: deadline[tape.below(3) as usize] }
        }
    }
}

fn acks<M: tidegate_core::Machine>(driver: &mut Driver<M>, tape: &mut Tape) {
    let count = driver.held.len();
    let some: Vec<AckRange> = match tape.below(5) {
        0 => std::mem::take(&mut driver.held),
        // In the order of a stack.
        1 => driver.held.pop().into_iter().collect(),
        // Again and again.
        2 => driver.held.get(tape.below(count as u64) as usize).copied().into_iter().collect(),
        // A part, the end first.
        3 => {
            let mut parts: Vec<AckRange> = driver.held.drain(..).collect();
            for part in &mut parts {
                part.start = part.end.saturating_sub(1 + tape.below(2) as u32);
            }
            parts
        }
        // Of nothing that there ever was.
        _ => vec![AckRange {
            segment: SegmentId(tape.below(4)),
            epoch: Epoch(tape.below(3)),
            start: [0, 1, u32::MAX][tape.below(3) as usize],
            end: [1, 0, u32::MAX][tape.below(3) as usize],
        }],
    };
    driver.request(if flip(tape) { Request::Taken(some) } else { Request::Ack(some) });
}

/// Events of connections that are no more, or never were.
fn late<M: tidegate_core::Machine>(driver: &mut Driver<M>, tape: &mut Tape) {
    // So that what is open is known here.
    driver.settle();
    let conn = ConnId { number: [0, 1, 2, u16::MAX][tape.below(4) as usize], generation: tape.below(4) };
    if driver.conns.get(&conn.number).is_some_and(|known| known.id == conn) {
        return;
    }
    driver.handle(match tape.below(5) {
        0 => Event::Received { conn },
        1 => Event::Closed { conn, cause: Cause::Reset },
        2 => Event::OpenFailed { conn, cause: Cause::Other("no".into()) },
        3 => Event::Opened { conn },
        _ => Event::Wrote { conn, n: usize::MAX },
    });
}
