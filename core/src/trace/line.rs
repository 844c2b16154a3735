//! One line each: what goes into a machine, and what comes out.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use super::text::What;
use super::text::{Place, Quoted, Shard, Span, Why, Words, seq, wrong};
use crate::ack::{AckRange, SegmentId};
use crate::delivery::Assignment;
use crate::endpoint::Endpoint;
use crate::event::{Cause, ConnId};
use crate::request::{Request, Ticket};
use crate::stream::{Epoch, SeqNo, ShardId, StreamKey, Timestamp};
use crate::time::Instant;

/// One line of a trace's body. [`Display`](fmt::Display) and [`FromStr`] are each other's
/// inverse; no line contains a line break or anything but ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// `123 > …`: an event or a request, at this moment.
    At(Instant, Input<'a>),
    /// `> take`: [`Machine::poll_delivery`](crate::Machine::poll_delivery) was called.
    Take,
    /// `> appended c0.1 "…"`: bytes were put into
    /// [`Machine::incoming`](crate::Machine::incoming), and something else was called before
    /// they were reported.
    Appended {
        /// Whose bytes.
        conn: ConnId,
        /// The bytes.
        bytes: Cow<'a, [u8]>,
    },
    /// `< …`: what the machine answered.
    Out(Output<'a>),
}

/// What goes into a machine at a moment: an [`Event`](crate::Event), with the bytes that it
/// speaks of, or a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the event of the same name")]
pub enum Input<'a> {
    Tick,
    Opened { conn: ConnId },
    OpenFailed { conn: ConnId, cause: Cow<'a, Cause> },
    Received { conn: ConnId, bytes: Cow<'a, [u8]> },
    Wrote { conn: ConnId, n: usize },
    Closed { conn: ConnId, cause: Cow<'a, Cause> },
    Request(Cow<'a, Request>),
}

/// What comes out of a machine. What is text in it is compared as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<'a> {
    /// [`Command::Open`](crate::Command::Open).
    Open {
        /// The connection.
        conn: ConnId,
        /// Where to.
        endpoint: Cow<'a, Endpoint>,
    },
    /// [`Command::Write`](crate::Command::Write), and the bytes queued since the last such line.
    Write {
        /// The connection.
        conn: ConnId,
        /// The bytes, the password masked.
        bytes: Cow<'a, [u8]>,
    },
    /// Bytes queued since the last line, without a command: said at
    /// [`Command::Wait`](crate::Command::Wait).
    More {
        /// The connection.
        conn: ConnId,
        /// The bytes, the password masked.
        bytes: Cow<'a, [u8]>,
    },
    /// [`Command::Close`](crate::Command::Close).
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// [`Command::Done`](crate::Command::Done).
    Done {
        /// The request's.
        ticket: Ticket,
        /// How it ended.
        ended: Ended<'a>,
    },
    /// [`Command::Notice`](crate::Command::Notice), as it prints.
    Notice(Cow<'a, str>),
    /// [`Command::Wait`](crate::Command::Wait): until when and why.
    Wait(Option<(Instant, Cow<'a, str>)>),
    /// The request was taken, and its outcome follows.
    Ticket(Ticket),
    /// The request was taken, and is done.
    Accepted,
    /// The request was misuse, in the words of its [`RequestError`](crate::RequestError).
    Refused(Cow<'a, str>),
    /// [`Delivery::Batch`](crate::Delivery::Batch), in short.
    Batch(Digest),
    /// [`Delivery::Assigned`](crate::Delivery::Assigned).
    Assigned(Cow<'a, Assignment>),
    /// [`Delivery::Revoked`](crate::Delivery::Revoked).
    Revoked(Cow<'a, Assignment>),
    /// [`Delivery::End`](crate::Delivery::End).
    End,
    /// [`Delivery::Failed`](crate::Delivery::Failed), as its error prints.
    Failed(Cow<'a, str>),
    /// There was no delivery.
    Nothing,
}

/// How a request ended: an [`Outcome`](crate::Outcome), its error as text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the outcome of the same name")]
pub enum Ended<'a> {
    Committed(u64),
    Positioned,
    Closed(u64),
    Superseded,
    Failed(Cow<'a, str>),
}

/// A batch in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Its stream.
    pub stream: StreamKey,
    /// Which part.
    pub shard: ShardId,
    /// The assignment's generation.
    pub epoch: Epoch,
    /// Where its acks go.
    pub segment: Option<SegmentId>,
    /// How many messages.
    pub messages: usize,
    /// The first one's position.
    pub first: SeqNo,
    /// The last one's.
    pub last: SeqNo,
    /// FNV-1a, 64 bits, of each message's position, time, number of deliveries and fields.
    pub hash: u64,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(at, input) => write!(f, "{} > {input}", at.as_nanos()),
            Self::Take => f.write_str("> take"),
            Self::Appended { conn, bytes } => write!(f, "> appended {conn} {}", Quoted(bytes)),
            Self::Out(output) => write!(f, "< {output}"),
        }
    }
}

impl fmt::Display for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tick => f.write_str("tick"),
            Self::Opened { conn } => write!(f, "opened {conn}"),
            Self::OpenFailed { conn, cause } => write!(f, "open-failed {conn} {}", Why(cause)),
            Self::Received { conn, bytes } => write!(f, "received {conn} {}", Quoted(bytes)),
            Self::Wrote { conn, n } => write!(f, "wrote {conn} {n}"),
            Self::Closed { conn, cause } => write!(f, "closed {conn} {}", Why(cause)),
            Self::Request(request) => {
                f.write_str("request ")?;
                print_request(f, request)
            }
        }
    }
}

fn print_request(f: &mut fmt::Formatter<'_>, request: &Request) -> fmt::Result {
    let ranges = |f: &mut fmt::Formatter<'_>, verb: &str, ranges: &[AckRange]| {
        f.write_str(verb)?;
        for AckRange { segment, epoch, start, end } in ranges {
            write!(f, " {}@{}:{start}..{end}", segment.0, epoch.0)?;
        }
        Ok(())
    };
    match request {
        Request::Ack(acks) => ranges(f, "ack", acks),
        Request::Taken(taken) => ranges(f, "taken", taken),
        Request::Commit => f.write_str("commit"),
        Request::Seek(to) => write!(f, "seek {}", to.as_millis()),
        Request::Rewind(to) => write!(f, "rewind {}", Place(*to)),
        Request::Assign { stream, shard } => write!(f, "assign {}", Shard(stream, *shard)),
        Request::Unassign { stream, shard } => write!(f, "unassign {}", Shard(stream, *shard)),
        Request::Pause => f.write_str("pause"),
        Request::Resume => f.write_str("resume"),
        Request::Close { deadline } => write!(f, "close {}", Span(*deadline)),
    }
}

impl fmt::Display for Output<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |f: &mut fmt::Formatter<'_>, word: &str, text: &str| {
            write!(f, "{word} {}", Quoted(text.as_bytes()))
        };
        let shard = |f: &mut fmt::Formatter<'_>, word: &str, a: &Assignment| {
            write!(f, "{word} {} epoch {}", Shard(&a.stream, a.shard), a.epoch.0)
        };
        match self {
            Self::Open { conn, endpoint } => {
                let kind = if endpoint.tls { "tls" } else { "tcp" };
                write!(f, "open {conn} {kind} {} {}", Quoted(endpoint.host.as_bytes()), endpoint.port)
            }
            Self::Write { conn, bytes } => write!(f, "write {conn} {}", Quoted(bytes)),
            Self::More { conn, bytes } => write!(f, "more {conn} {}", Quoted(bytes)),
            Self::Close { conn } => write!(f, "close {conn}"),
            Self::Done { ticket, ended } => write!(f, "done {} {ended}", ticket.0),
            Self::Notice(notice) => text(f, "notice", notice),
            Self::Wait(None) => f.write_str("wait"),
            Self::Wait(Some((at, why))) => text(f, &format!("wait {}", at.as_nanos()), why),
            Self::Ticket(ticket) => write!(f, "ticket {}", ticket.0),
            Self::Accepted => f.write_str("accepted"),
            Self::Refused(error) => text(f, "refused", error),
            Self::Batch(batch) => batch.fmt(f),
            Self::Assigned(assignment) => shard(f, "assigned", assignment),
            Self::Revoked(assignment) => shard(f, "revoked", assignment),
            Self::End => f.write_str("end"),
            Self::Failed(error) => text(f, "failed", error),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for Ended<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Committed(messages) => write!(f, "committed {messages}"),
            Self::Positioned => f.write_str("positioned"),
            Self::Closed(uncommitted) => write!(f, "closed {uncommitted}"),
            Self::Superseded => f.write_str("superseded"),
            Self::Failed(error) => write!(f, "failed {}", Quoted(error.as_bytes())),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch {} epoch {} segment ", Shard(&self.stream, self.shard), self.epoch.0)?;
        match self.segment {
            Some(segment) => write!(f, "{}", segment.0)?,
            None => f.write_str("none")?,
        }
        let (first, last) = (self.first.as_redis(), self.last.as_redis());
        write!(f, " messages {} {first}..{last} hash {:016x}", self.messages, self.hash)
    }
}

/// In a few words what is wrong with the line.
impl FromStr for Line<'static> {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let mut words = Words(line);
        let line = match words.word()? {
            "<" => Self::Out(output(&mut words)?),
            ">" => match words.word()? {
                "take" => Self::Take,
                "appended" => Self::Appended { conn: words.conn()?, bytes: words.bytes()?.into() },
                word => return Err(wrong(word, "input without a time")),
            },
            nanos => {
                let at = nanos.parse().map_err(|_| wrong(nanos, "time, '<' or '>'"))?;
                words.literal(">")?;
                Self::At(Instant::from_nanos(at), input(&mut words)?)
            }
        };
        words.end()?;
        Ok(line)
    }
}

fn input(words: &mut Words<'_>) -> Result<Input<'static>, What> {
    Ok(match words.word()? {
        "tick" => Input::Tick,
        "opened" => Input::Opened { conn: words.conn()? },
        "open-failed" => Input::OpenFailed { conn: words.conn()?, cause: Cow::Owned(words.cause()?) },
        "received" => Input::Received { conn: words.conn()?, bytes: words.bytes()?.into() },
        "wrote" => Input::Wrote { conn: words.conn()?, n: words.value("number of bytes")? },
        "closed" => Input::Closed { conn: words.conn()?, cause: Cow::Owned(words.cause()?) },
        "request" => Input::Request(Cow::Owned(request(words)?)),
        word => return Err(wrong(word, "input")),
    })
}

fn request(words: &mut Words<'_>) -> Result<Request, What> {
    Ok(match words.word()? {
        "ack" => Request::Ack(ranges(words)?),
        "taken" => Request::Taken(ranges(words)?),
        "commit" => Request::Commit,
        "seek" => Request::Seek(Timestamp::from_millis(words.value("moment")?)),
        "rewind" => Request::Rewind(words.place()?),
        "assign" => words.shard().map(|(stream, shard)| Request::Assign { stream, shard })?,
        "unassign" => words.shard().map(|(stream, shard)| Request::Unassign { stream, shard })?,
        "pause" => Request::Pause,
        "resume" => Request::Resume,
        "close" => Request::Close { deadline: words.span()? },
        word => return Err(wrong(word, "request")),
    })
}

fn ranges(words: &mut Words<'_>) -> Result<Vec<AckRange>, What> {
    let mut ranges = Vec::new();
    while !words.0.is_empty() {
        let word = words.word()?;
        let range = word.split_once('@').and_then(|(segment, rest)| {
            let (epoch, rest) = rest.split_once(':')?;
            let (start, end) = rest.split_once("..")?;
            Some(AckRange {
                segment: SegmentId(segment.parse().ok()?),
                epoch: Epoch(epoch.parse().ok()?),
                start: start.parse().ok()?,
                end: end.parse().ok()?,
            })
        });
        ranges.push(range.ok_or_else(|| wrong(word, "range of messages"))?);
    }
    Ok(ranges)
}

fn output(words: &mut Words<'_>) -> Result<Output<'static>, What> {
    let text = |words: &mut Words<'_>| words.text().map(|text| Cow::Owned(text.into()));
    let shard = |words: &mut Words<'_>| {
        let (stream, shard) = words.shard()?;
        Ok::<_, What>(Cow::Owned(Assignment { stream, shard, epoch: words.epoch()? }))
    };
    Ok(match words.word()? {
        "open" => {
            let conn = words.conn()?;
            let tls = match words.word()? {
                "tcp" => false,
                "tls" => true,
                word => return Err(wrong(word, "transport")),
            };
            let (host, port) = (words.text()?.into(), words.value("port")?);
            Output::Open { conn, endpoint: Cow::Owned(Endpoint { host, port, tls }) }
        }
        "write" => Output::Write { conn: words.conn()?, bytes: words.bytes()?.into() },
        "more" => Output::More { conn: words.conn()?, bytes: words.bytes()?.into() },
        "close" => Output::Close { conn: words.conn()? },
        "done" => Output::Done { ticket: Ticket(words.value("ticket")?), ended: ended(words)? },
        "notice" => Output::Notice(text(words)?),
        "wait" if words.0.is_empty() => Output::Wait(None),
        "wait" => Output::Wait(Some((Instant::from_nanos(words.value("time")?), text(words)?))),
        "ticket" => Output::Ticket(Ticket(words.value("ticket")?)),
        "accepted" => Output::Accepted,
        "refused" => Output::Refused(text(words)?),
        "batch" => Output::Batch(batch(words)?),
        "assigned" => Output::Assigned(shard(words)?),
        "revoked" => Output::Revoked(shard(words)?),
        "end" => Output::End,
        "failed" => Output::Failed(text(words)?),
        "nothing" => Output::Nothing,
        word => return Err(wrong(word, "output")),
    })
}

fn ended(words: &mut Words<'_>) -> Result<Ended<'static>, What> {
    Ok(match words.word()? {
        "committed" => Ended::Committed(words.value("number of messages")?),
        "positioned" => Ended::Positioned,
        "closed" => Ended::Closed(words.value("number of messages")?),
        "superseded" => Ended::Superseded,
        "failed" => Ended::Failed(Cow::Owned(words.text()?.into())),
        word => return Err(wrong(word, "outcome")),
    })
}

fn batch(words: &mut Words<'_>) -> Result<Digest, What> {
    let (stream, shard) = words.shard()?;
    let epoch = words.epoch()?;
    words.literal("segment")?;
    let segment = match words.word()? {
        "none" => None,
        word => Some(SegmentId(super::text::parse(word, "segment")?)),
    };
    words.literal("messages")?;
    let messages = words.value("number of messages")?;
    let word = words.word()?;
    let (first, last) = word.split_once("..").ok_or_else(|| wrong(word, "range of sequences"))?;
    let (first, last) = (seq(first)?, seq(last)?);
    words.literal("hash")?;
    let word = words.word()?;
    let hash = u64::from_str_radix(word, 16).map_err(|_| wrong(word, "hash"))?;
    Ok(Digest { stream, shard, epoch, segment, messages, first, last, hash })
}
