//! The replay: a trace done again to another machine.

use std::cell::RefCell;
use std::fmt;

use super::line::{Input, Line};
use super::mask::MASK;
use super::record::Recorder;
use super::setup::Reader;
use super::text::Quoted;
use crate::event::{ConnId, Event};
use crate::machine::{Machine, Setup};

const MAGIC: &str = "tidegate-trace";
const VERSION: &str = "1";

pub(super) fn header(backend: &str) -> String {
    format!("{MAGIC} {VERSION} {backend}\n")
}

/// What is wrong with a trace, or with the machine that should do it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// It doesn't begin as a trace does.
    #[error("not a trace: the first line should be '{MAGIC} {VERSION} …'; record one with --record")]
    NotATrace,
    /// It was written by another version.
    #[error(
        "a trace of version {found}, and this program reads version {VERSION}: use the one that recorded it"
    )]
    Version {
        /// Its version.
        found: Box<str>,
    },
    /// It ends before a machine can be made from it.
    #[error("the trace ends in line {line}, before its setup does: it was cut off, so record it again")]
    Cut {
        /// The last line, counted from 1.
        line: usize,
    },
    /// A line that no trace has.
    #[error("line {line} is corrupt: {what}")]
    Corrupt {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: Box<str>,
    },
    /// The machine did something else than the one that was recorded.
    #[error("line {line} differs: expected {}, got {}", Around(expected, got), Around(got, expected))]
    Differs {
        /// Counted from 1.
        line: usize,
        /// The line of the trace.
        expected: Box<str>,
        /// What the machine did instead, as such a line.
        got: Box<str>,
    },
}

/// A line where it begins to differ from another, and not much more.
struct Around<'a>(&'a str, &'a str);

impl fmt::Display for Around<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BEFORE: usize = 60;
        const AFTER: usize = 100;
        let same = self.0.bytes().zip(self.1.bytes()).take_while(|(one, other)| one == other).count();
        let (start, end) = (same.saturating_sub(BEFORE), same.saturating_add(AFTER).min(self.0.len()));
        // Lines of a corrupt trace may hold any character.
        let shown = String::from_utf8_lossy(self.0.as_bytes().get(start..end).unwrap_or_default());
        let (before, after) = (if start > 0 { "…" } else { "" }, if end < self.0.len() { "…" } else { "" });
        write!(f, "`{before}{shown}{after}`")
    }
}

/// A trace, read as far as its setup.
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    /// Which machine it was: `redis`.
    pub backend: &'a str,
    /// What it was made from; the password is asterisks.
    pub setup: Setup,
    lines: Lines<'a>,
}

/// The lines of a trace, its setup left out. Ends after the first error.
#[derive(Clone, Debug)]
pub struct TraceLines<'a> {
    lines: Lines<'a>,
    over: bool,
}

/// How much was done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Lines that went into the machine.
    pub inputs: u64,
    /// Lines that came out of it, all as recorded.
    pub outputs: u64,
    /// The last line was incomplete, and left out: whoever recorded was killed.
    pub cut: bool,
}

#[derive(Clone, Debug)]
struct Lines<'a> {
    rest: &'a [u8],
    /// The number of the last one.
    number: usize,
    cut: bool,
}

impl<'a> Lines<'a> {
    /// The next complete line.
    fn next(&mut self) -> Result<Option<&'a str>, TraceError> {
        let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') else {
            self.cut |= !self.rest.is_empty();
            return Ok(None);
        };
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest.get(1..).unwrap_or_default();
        self.number += 1;
        let corrupt = |_| self.corrupt("it is not text");
        std::str::from_utf8(line).map(Some).map_err(corrupt)
    }

    fn corrupt(&self, what: impl Into<Box<str>>) -> TraceError {
        TraceError::Corrupt { line: self.number, what: what.into() }
    }
}

impl<'a> Trace<'a> {
    /// Reads the header and the setup. The rest is read as it is replayed.
    ///
    /// # Errors
    /// [`TraceError`], all but `Differs`.
    pub fn parse(trace: &'a [u8]) -> Result<Self, TraceError> {
        let mut lines = Lines { rest: trace, number: 0, cut: false };
        let first = lines.next().map_err(|_| TraceError::NotATrace)?.ok_or(TraceError::NotATrace)?;
        let mut words = first.split(' ');
        if words.next() != Some(MAGIC) {
            return Err(TraceError::NotATrace);
        }
        match (words.next(), words.next(), words.next()) {
            (Some(VERSION), Some(backend), None) => {
                let mut reader = Reader::new();
                loop {
                    let line = lines.next()?.ok_or(TraceError::Cut { line: lines.number })?;
                    if reader.read(line).map_err(|what| lines.corrupt(what))? {
                        return Ok(Self { backend, setup: reader.finish(), lines });
                    }
                }
            }
            (Some(VERSION), ..) => Err(lines.corrupt("one backend should be named")),
            (Some(found), ..) => Err(TraceError::Version {
                found: Quoted(found.as_bytes()).to_string().trim_matches('"').into(),
            }),
            (None, ..) => Err(TraceError::NotATrace),
        }
    }

    /// What went into the machine and came out of it, line by line, for whoever wants to look
    /// at it without a machine.
    pub fn lines(&self) -> TraceLines<'a> {
        TraceLines { lines: self.lines.clone(), over: false }
    }
}

impl TraceLines<'_> {
    /// Whether the last line is incomplete: whoever recorded was killed. Known at the end.
    pub fn is_cut(&self) -> bool {
        self.lines.cut
    }
}

impl Iterator for TraceLines<'_> {
    type Item = Result<Line<'static>, TraceError>;

    /// The error is [`TraceError::Corrupt`].
    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let line = self.lines.next().transpose().map(|line| parse(&self.lines, line?));
        self.over = !matches!(line, Some(Ok(_)));
        line
    }
}

/// Does a trace again to `machine`, which was just made from [`Trace::setup`].
///
/// # Errors
/// [`TraceError::Differs`] at the first line that comes out differently,
/// [`TraceError::Corrupt`] at the first that can't be read.
pub fn replay<M: Machine>(trace: &Trace<'_>, machine: M) -> Result<Replayed, TraceError> {
    let said = RefCell::new(String::new());
    let machine =
        Recorder::new(machine, trace.backend, &trace.setup, |line| said.borrow_mut().push_str(line));
    said.borrow_mut().clear();
    let mut replay = Replay {
        machine,
        said: &said,
        check: trace.lines.clone(),
        done: Replayed { inputs: 0, outputs: 0, cut: false },
    };
    let mut lines = trace.lines.clone();
    while let Some(line) = lines.next()? {
        // Bytes that were read, but not told, belong to the call that follows.
        if line.starts_with("> appended ") {
            if let Line::Appended { conn, bytes } = parse(&lines, line)? {
                replay.append(conn, &bytes);
            }
            continue;
        }
        if lines.number <= replay.check.number {
            // Said by a call before this line was reached: several lines can come of one.
            continue;
        }
        replay.call(&lines, line)?;
        if !replay.compare()? {
            break;
        }
    }
    // Where the trace ends between the lines of one call, the check has seen it.
    Ok(Replayed { cut: lines.cut | replay.check.cut, ..replay.done })
}

struct Replay<'a, M, S> {
    machine: Recorder<M, S>,
    said: &'a RefCell<String>,
    /// The next line that has to come out.
    check: Lines<'a>,
    done: Replayed,
}

/// A password that was cut in two by a read is masked before it is certain that it is one. So a
/// text of the machine that quotes such bytes may have asterisks in the replay alone. And a short
/// one may be a part of the machine's own words, which are masked in the record alone.
fn same_but_for_mask(got: &str, expected: &str) -> bool {
    let is_text = ["< notice ", "< done ", "< failed "].iter().any(|word| got.starts_with(word));
    let same = |(got, expected): (u8, u8)| got == expected || got == MASK || expected == MASK;
    is_text && got.len() == expected.len() && got.bytes().zip(expected.bytes()).all(same)
}

fn parse(lines: &Lines<'_>, line: &str) -> Result<Line<'static>, TraceError> {
    line.parse().map_err(|what: String| lines.corrupt(what))
}

impl<M: Machine, S: FnMut(&str)> Replay<'_, M, S> {
    fn append(&mut self, conn: ConnId, bytes: &[u8]) {
        self.machine.incoming(conn).extend_from_slice(bytes);
    }

    /// What the line tells is done again; what answered a call is asked for.
    fn call(&mut self, lines: &Lines<'_>, line: &str) -> Result<(), TraceError> {
        if line.starts_with("< ") {
            let _ = self.machine.poll_command();
            return Ok(());
        }
        let (now, input) = match parse(lines, line)? {
            Line::At(now, input) => (now, input),
            Line::Take => {
                let _ = self.machine.poll_delivery();
                return Ok(());
            }
            Line::Appended { .. } | Line::Out(_) => return Ok(()),
        };
        let event = match input {
            Input::Tick => Event::Tick,
            Input::Opened { conn } => Event::Opened { conn },
            Input::OpenFailed { conn, cause } => Event::OpenFailed { conn, cause: cause.into_owned() },
            Input::Received { conn, bytes } => {
                self.append(conn, &bytes);
                Event::Received { conn }
            }
            Input::Wrote { conn, n } => Event::Wrote { conn, n },
            Input::Closed { conn, cause } => Event::Closed { conn, cause: cause.into_owned() },
            Input::Request(request) => {
                let _ = self.machine.request(now, request.into_owned());
                return Ok(());
            }
        };
        self.machine.handle(now, event);
        Ok(())
    }

    /// Whether what the call said is what the trace says; false at the trace's end.
    fn compare(&mut self) -> Result<bool, TraceError> {
        let said = std::mem::take(&mut *self.said.borrow_mut());
        for got in said.lines() {
            let Some(expected) = self.check.next()? else { return Ok(false) };
            if got != expected && !same_but_for_mask(got, expected) {
                parse(&self.check, expected)?;
                return Err(TraceError::Differs {
                    line: self.check.number,
                    expected: expected.into(),
                    got: got.into(),
                });
            }
            *(if got.starts_with("< ") { &mut self.done.outputs } else { &mut self.done.inputs }) += 1;
        }
        Ok(true)
    }
}
