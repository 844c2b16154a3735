//! Lines of every kind, from a tape.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use tidegate_core::ack::SegmentId;
use tidegate_core::trace::{Digest, Ended, Input, Line, Output};
use tidegate_core::{
    AckRange, Assignment, Cause, ConnId, Endpoint, Epoch, Instant, Position, Request, ShardId, StreamKey,
    Ticket, Timestamp,
};
use tidegate_sim::Tape;

use crate::source::{bytes, number, seq, signed, text};

pub(super) fn line(tape: &mut Tape) -> Line<'static> {
    match tape.below(8) {
        0 => Line::Take,
        1 => Line::Appended { conn: conn(tape), bytes: bytes(tape).into() },
        2..5 => Line::At(Instant::from_nanos(number(tape)), input(tape)),
        _ => Line::Out(output(tape)),
    }
}

fn input(tape: &mut Tape) -> Input<'static> {
    match tape.below(7) {
        0 => Input::Tick,
        1 => Input::Opened { conn: conn(tape) },
        2 => Input::OpenFailed { conn: conn(tape), cause: Cow::Owned(cause(tape)) },
        3 => Input::Received { conn: conn(tape), bytes: bytes(tape).into() },
        4 => Input::Wrote { conn: conn(tape), n: number(tape) as usize },
        5 => Input::Closed { conn: conn(tape), cause: Cow::Owned(cause(tape)) },
        _ => Input::Request(Cow::Owned(request(tape))),
    }
}

fn request(tape: &mut Tape) -> Request {
    match tape.below(10) {
        0 => Request::Commit,
        1 => Request::Pause,
        2 => Request::Resume,
        3 => Request::Ack(ranges(tape)),
        4 => Request::Taken(ranges(tape)),
        5 => Request::Seek(Timestamp::from_millis(signed(tape))),
        6 => Request::Rewind(match tape.below(3) {
            0 => Position::Beginning,
            1 => Position::End,
            _ => Position::At(seq(tape)),
        }),
        7 => Request::Assign { stream: stream(tape), shard: shard(tape) },
        8 => Request::Unassign { stream: stream(tape), shard: shard(tape) },
        _ => {
            let deadline = Duration::new(number(tape), tape.below(1_000_000_000) as u32);
            Request::Close { deadline }
        }
    }
}

fn output(tape: &mut Tape) -> Output<'static> {
    match tape.below(16) {
        0 => Output::Nothing,
        1 => {
            let endpoint = Endpoint {
                host: text(tape).into(),
                port: tape.below(1 << 16) as u16,
                tls: tape.below(2) == 1,
            };
            Output::Open { conn: conn(tape), endpoint: Cow::Owned(endpoint) }
        }
        2 => Output::Write { conn: conn(tape), bytes: bytes(tape).into() },
        3 => Output::More { conn: conn(tape), bytes: bytes(tape).into() },
        4 => Output::Close { conn: conn(tape) },
        5 => Output::Done { ticket: Ticket(number(tape)), ended: ended(tape) },
        6 => Output::Notice(text(tape).into()),
        7 => Output::Wait(None),
        8 => Output::Wait(Some((Instant::from_nanos(number(tape)), text(tape).into()))),
        9 => Output::Ticket(Ticket(number(tape))),
        10 => Output::Accepted,
        11 => Output::Refused(text(tape).into()),
        12 => Output::Batch(digest(tape)),
        13 => Output::Assigned(Cow::Owned(assignment(tape))),
        14 => Output::Revoked(Cow::Owned(assignment(tape))),
        _ => match tape.below(2) {
            0 => Output::End,
            _ => Output::Failed(text(tape).into()),
        },
    }
}

fn ended(tape: &mut Tape) -> Ended<'static> {
    match tape.below(5) {
        0 => Ended::Committed(number(tape)),
        1 => Ended::Positioned,
        2 => Ended::Closed(number(tape)),
        3 => Ended::Superseded,
        _ => Ended::Failed(text(tape).into()),
    }
}

fn digest(tape: &mut Tape) -> Digest {
    Digest {
        stream: stream(tape),
        shard: shard(tape),
        epoch: Epoch(number(tape)),
        segment: (tape.below(2) == 1).then(|| SegmentId(number(tape))),
        messages: number(tape) as usize,
        first: seq(tape),
        last: seq(tape),
        hash: number(tape),
    }
}

fn assignment(tape: &mut Tape) -> Assignment {
    Assignment { stream: stream(tape), shard: shard(tape), epoch: Epoch(number(tape)) }
}

fn ranges(tape: &mut Tape) -> Vec<AckRange> {
    let range = |tape: &mut Tape| AckRange {
        segment: SegmentId(number(tape)),
        epoch: Epoch(number(tape)),
        start: number(tape) as u32,
        end: number(tape) as u32,
    };
    (0..tape.below(4)).map(|_| range(tape)).collect()
}

fn cause(tape: &mut Tape) -> Cause {
    match tape.below(6) {
        0 => Cause::Eof,
        1 => Cause::Refused,
        2 => Cause::Reset,
        3 => Cause::TimedOut,
        4 => Cause::Unresolved,
        _ => Cause::Other(text(tape).into()),
    }
}

fn conn(tape: &mut Tape) -> ConnId {
    ConnId { number: number(tape) as u16, generation: number(tape) }
}

fn stream(tape: &mut Tape) -> StreamKey {
    StreamKey::from(Bytes::from(bytes(tape)))
}

fn shard(tape: &mut Tape) -> ShardId {
    ShardId::new(number(tape))
}
