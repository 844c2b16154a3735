//! The typed path: replies of stream entries, handed out while they arrive.
//!
//! Theory of operation. A reply of one of the three [`Shape`]s is walked by a state machine, one
//! token a step ([`Phase`] says what comes next); where a whole entry is there at once,
//! [`entry::read_entry`] takes it in one step. Complete entries of a call are gathered in a
//! [`Pass`], as offsets, and turned into [`Chunk`]s when the call ends: then their bytes are
//! split off the buffer, once. The beginning of an incomplete entry stays in front of the
//! buffer, with its spans so far remembered.
//!
//! **Invariant:** between two calls the buffer begins with the incomplete entry, or else with the
//! incomplete token; everything before has been handed out or was framing.

mod entry;
mod pass;

use bytes::{Buf, Bytes, BytesMut};

use self::entry::read_entry;
use self::pass::{Key, Pass};
use super::nesting::Nesting;
use super::number::parse_id;
use super::{Bounds, RespError, Token, Tokenizer};
use crate::message::{Entries, Span};
use crate::stream::SeqNo;

/// What the reply of a command looks like. In each an entry is an id with its fields, or an id
/// with a null where the entry was deleted, or a null (Redis before 7.0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// XREAD and XREADGROUP: null, or streams, each a key with its entries; an array of two in
    /// RESP2, a map in RESP3.
    Read,
    /// XCLAIM and XRANGE: entries.
    Claim,
    /// XAUTOCLAIM: the next cursor, entries, and from Redis 7.0 on the ids that were deleted.
    AutoClaim,
}

/// Entries of one stream that one call completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The stream's key; `None` where the shape has none.
    pub key: Option<Bytes>,
    /// The entries that have a body, with `deliveries` 1. `data` begins with the first one's
    /// framing and ends with the last one's; chunks of one call share one buffer.
    pub entries: Entries,
    /// Ids that came with a null for their fields: deleted while they were pending.
    pub deleted: Vec<SeqNo>,
}

/// How a reply ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndKind {
    /// A null instead of streams: nothing to read.
    Null,
    /// All that was announced has come.
    Complete,
    /// An error instead of all else: the server's words.
    Error(Bytes),
}

/// What there is to say of a whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// How it ended.
    pub kind: EndKind,
    /// [`Shape::AutoClaim`]: where to go on; `0-0` is the end of the pending list.
    pub cursor: Option<SeqNo>,
    /// [`Shape::AutoClaim`]: ids in its third element, which Redis removed from the pending list.
    pub deleted: Vec<SeqNo>,
    /// Entries that were null, id and all: deleted ones, before Redis 7.0.
    pub nils: usize,
    /// Entries with a body, over all chunks of the reply.
    pub entries: u64,
}

/// Reads replies of one shape from the front of a buffer.
///
/// ```
/// # use bytes::BytesMut;
/// # use tidegate_core::redis::resp::{Bounds, EndKind, Shape, StreamDecoder};
/// let mut decoder = StreamDecoder::new(Shape::Read, Bounds::default());
/// let mut chunks = Vec::new();
/// let reply = b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$3\r\nmsg\r\n$2\r\nhi\r\n";
/// let mut buffer = BytesMut::from(&reply[..]);
/// let end = decoder.decode(&mut buffer, &mut chunks).unwrap().unwrap();
/// assert_eq!((end.kind, end.entries), (EndKind::Complete, 1));
/// assert_eq!(chunks[0].key.as_deref(), Some(&b"s"[..]));
/// ```
#[derive(Clone, Debug)]
pub struct StreamDecoder {
    shape: Shape,
    bounds: Bounds,
    tokens: Tokenizer,
    phase: Phase,
    /// Inside a push or an attribute that is passed over.
    nesting: Nesting,
    skipped: u64,
    reply: Reply,
    partial: Partial,
    failed: Option<RespError>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The reply.
    Top,
    /// The rest of a push or an attribute in front of it.
    Skip,
    /// RESP2: the pair of a key and its entries.
    Stream,
    Key,
    Cursor,
    /// How many entries.
    Entries,
    Entry,
    Id,
    /// How many names and values.
    Fields,
    Field,
    /// How many ids.
    Deleted,
    DeletedId,
}

/// The reply so far.
#[derive(Clone, Debug, Default)]
struct Reply {
    /// Streams to come, the one being read included.
    streams: u32,
    /// They came in a map.
    keyed: bool,
    /// The stream being read, if it was begun in a call before.
    key: Option<Bytes>,
    /// Entries to come in this stream, the one being read included.
    entries: u32,
    /// A third element was announced.
    third: bool,
    /// Deleted ids to come.
    ids: u32,
    cursor: Option<SeqNo>,
    deleted: Vec<SeqNo>,
    nils: usize,
    total: u64,
}

/// The entry that is being read token by token.
#[derive(Clone, Debug, Default)]
struct Partial {
    /// Where it begins.
    start: usize,
    id: SeqNo,
    /// Names and values to come.
    left: u32,
    /// Those that are there, counted from `start`.
    spans: Vec<Span>,
}

/// A decoder keeps the room for this many spans; what a bigger entry took it gives back.
const KEPT_SPANS: usize = 1024;

impl StreamDecoder {
    /// At the start of a reply.
    pub fn new(shape: Shape, bounds: Bounds) -> Self {
        Self {
            shape,
            bounds,
            tokens: Tokenizer::new(bounds),
            phase: Phase::Top,
            nesting: Nesting::new(bounds),
            skipped: 0,
            reply: Reply::default(),
            partial: Partial::default(),
            failed: None,
        }
    }

    /// Takes what is complete off the front of `buffer`: appends the entries to `out`, one chunk a
    /// stream, and gives the reply's end once that is there; then the next call reads the next
    /// reply. Between two calls the buffer may only grow at its end.
    ///
    /// A stream without entries (they may all have been deleted before the reply was written)
    /// makes no chunk. Pushes and attributes in front of a reply are passed over. A stream makes
    /// a second chunk in one call only where a first one would pass 4 GiB.
    ///
    /// # Errors
    ///
    /// The first rule that the bytes break; the same for ever after. Entries that were complete
    /// before it are in `out`, as they would be had the bytes come one by one.
    pub fn decode(&mut self, buffer: &mut BytesMut, out: &mut Vec<Chunk>) -> Result<Option<End>, RespError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut pass = Pass::new(self.reply.key.take(), out);
        let ended = self.walk(buffer, &mut pass);
        pass.close_chunk();

        // Whatever is behind this was handed out or was framing.
        let consumed = match self.phase {
            Phase::Id | Phase::Fields | Phase::Field => self.partial.start,
            _ => self.tokens.position(),
        };
        let consumed = consumed.min(buffer.len());
        self.tokens.drop_front(consumed);
        self.partial.start -= consumed.min(self.partial.start);

        let wants_bytes = pass.wants_bytes() || matches!(ended, Ok(Some(Ended::Error(..))));
        let front = if wants_bytes {
            buffer.split_to(consumed).freeze()
        } else {
            buffer.advance(consumed);
            Bytes::new()
        };
        self.reply.key = pass.finish(&front);
        let kind = match ended {
            Ok(None) => return Ok(None),
            Ok(Some(Ended::Null)) => EndKind::Null,
            Ok(Some(Ended::Complete)) => EndKind::Complete,
            // Proved: the text was a token that this call consumed.
            Ok(Some(Ended::Error(start, end))) => EndKind::Error(front.slice(start..end)),
            Err(error) => {
                self.failed = Some(error.clone());
                return Err(error);
            }
        };
        self.phase = Phase::Top;
        let Reply { cursor, deleted, nils, total, .. } = std::mem::take(&mut self.reply);
        Ok(Some(End { kind, cursor, deleted, nils, entries: total }))
    }

    /// True between two replies: `buffer`, as the last call left it, holds no part of one, and
    /// none was taken from it yet.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Top && !self.tokens.is_partial()
    }

    /// See [`Tokenizer::steps`].
    #[doc(hidden)]
    pub fn steps(&self) -> u64 {
        self.tokens.steps()
    }

    /// Takes steps until the bytes or the reply end.
    fn walk(&mut self, bytes: &[u8], pass: &mut Pass<'_>) -> Result<Option<Ended>, RespError> {
        loop {
            if self.phase == Phase::Entry {
                self.take_entries(bytes, pass);
                if self.reply.entries == 0 {
                    if let Some(ended) = self.end_entries(pass) {
                        return Ok(Some(ended));
                    }
                    continue;
                }
            }
            if !matches!(self.phase, Phase::Id | Phase::Fields | Phase::Field) {
                self.tokens.count_from_here();
            }
            let at = self.tokens.position();
            let Some(token) = self.tokens.next_token(bytes)? else {
                return Ok(None);
            };
            if let Some(ended) = self.handle_token(token, at, bytes, pass)? {
                return Ok(Some(ended));
            }
        }
    }

    /// As many whole entries as there are.
    fn take_entries(&mut self, bytes: &[u8], pass: &mut Pass<'_>) {
        let mut at = self.tokens.position();
        while self.reply.entries > 0 {
            pass.make_room(at, &self.bounds);
            // Within the bound of one entry nothing has to be counted.
            let window = bytes.len().min(at.saturating_add(self.bounds.total as usize));
            let spans = pass.spans.len();
            let origin = pass.origin_for(at);
            // Proved: `window` is at most the length.
            let Some((id, end)) = read_entry(&bytes[..window], at, origin, &self.bounds, &mut pass.spans)
            else {
                // What was looked at in vain: a header, or an entry as far as it goes.
                let begun = bytes.get(at..).is_some_and(|rest| rest.starts_with(b"*2\r\n"));
                self.tokens.add_steps(if begun { 64 + 8 * (pass.spans.len() - spans) } else { 4 });
                pass.spans.truncate(spans);
                break;
            };
            pass.add_entry(id, at, end, bytes.len() - end, self.reply.entries - 1);
            self.reply.entries -= 1;
            self.reply.total += 1;
            at = end;
        }
        if at > self.tokens.position() {
            self.tokens.jump(at);
        }
    }

    fn handle_token(
        &mut self,
        token: Token,
        at: usize,
        bytes: &[u8],
        pass: &mut Pass<'_>,
    ) -> Result<Option<Ended>, RespError> {
        match (self.phase, token) {
            (Phase::Top, token) => return self.handle_top(token),
            (Phase::Skip, token) => self.skip(&token, at)?,
            (Phase::Stream, Token::Array(2)) => self.phase = Phase::Key,
            (Phase::Key, Token::Bulk(range)) => {
                pass.key = Key::Here(range);
                self.phase = Phase::Entries;
            }
            (Phase::Cursor, Token::Bulk(range)) => {
                self.reply.cursor = Some(id_at(bytes, range)?);
                self.phase = Phase::Entries;
            }
            (Phase::Entries, Token::Array(count)) => {
                // None at all is the business of the next step.
                self.reply.entries = count;
                self.phase = Phase::Entry;
            }
            (Phase::Entry, Token::Array(2)) => {
                self.partial.start = at;
                self.phase = Phase::Id;
            }
            (Phase::Entry, Token::Null) => {
                self.reply.nils += 1;
                self.reply.entries -= 1;
            }
            (Phase::Id, Token::Bulk(range)) => {
                self.partial.id = id_at(bytes, range)?;
                self.phase = Phase::Fields;
            }
            (Phase::Fields, Token::Null) => {
                pass.deleted.push(self.partial.id);
                self.reply.entries -= 1;
                self.phase = Phase::Entry;
            }
            (Phase::Fields, Token::Array(count)) if count % 2 != 0 => {
                return Err(RespError::OddFields { count });
            }
            (Phase::Fields, Token::Array(count)) => self.begin_fields(count, bytes, pass),
            // Proved: the tokenizer lets only pairs through whose double is within 32 bits.
            (Phase::Fields, Token::Map(pairs)) => self.begin_fields(2 * pairs, bytes, pass),
            (Phase::Field, Token::Bulk(range)) => {
                let start = (range.start - self.partial.start) as u32;
                self.partial.spans.push(Span { start, len: range.len() as u32 });
                self.partial.left -= 1;
                if self.partial.left == 0 {
                    self.end_partial(bytes, pass);
                }
            }
            (Phase::Deleted, Token::Array(0)) => return Ok(Some(Ended::Complete)),
            (Phase::Deleted, Token::Array(count)) => {
                self.reply.ids = count;
                self.phase = Phase::DeletedId;
            }
            (Phase::DeletedId, Token::Bulk(range)) => {
                self.reply.deleted.push(id_at(bytes, range)?);
                self.reply.ids -= 1;
                if self.reply.ids == 0 {
                    return Ok(Some(Ended::Complete));
                }
            }
            (phase, token) => {
                return Err(RespError::Shape { expected: phase.expected(), found: token.name() });
            }
        }
        Ok(None)
    }

    fn handle_top(&mut self, token: Token) -> Result<Option<Ended>, RespError> {
        self.phase = match (self.shape, token) {
            (_, Token::Null) => return Ok(Some(Ended::Null)),
            (_, Token::Error(text) | Token::BlobError(text)) => {
                return Ok(Some(Ended::Error(text.start, text.end)));
            }
            (_, token @ (Token::Push(_) | Token::Attribute(_))) => {
                // Its values alone: the value that an attribute is about is the reply.
                let values = match token {
                    Token::Push(count) => Token::Array(count),
                    Token::Attribute(pairs) => Token::Map(pairs),
                    other => other,
                };
                self.skipped = 0;
                if self.nesting.handle_token(&values)? { Phase::Top } else { Phase::Skip }
            }
            (Shape::Read, Token::Array(0) | Token::Map(0)) => return Ok(Some(Ended::Complete)),
            (Shape::Read, Token::Array(streams)) => {
                self.reply.streams = streams;
                Phase::Stream
            }
            (Shape::Read, Token::Map(streams)) => {
                self.reply.streams = streams;
                self.reply.keyed = true;
                Phase::Key
            }
            (Shape::Claim, Token::Array(entries)) => {
                self.reply.entries = entries;
                Phase::Entry
            }
            (Shape::AutoClaim, Token::Array(elements @ (2 | 3))) => {
                self.reply.third = elements == 3;
                Phase::Cursor
            }
            (shape, token) => {
                return Err(RespError::Shape { expected: shape.expected(), found: token.name() });
            }
        };
        Ok(None)
    }

    fn skip(&mut self, token: &Token, at: usize) -> Result<(), RespError> {
        self.skipped += (self.tokens.position() - at) as u64;
        if self.skipped > u64::from(self.bounds.total) {
            return Err(RespError::ReplyTooLong { bytes: self.skipped, bound: self.bounds.total });
        }
        if self.nesting.handle_token(token)? {
            self.phase = Phase::Top;
        }
        Ok(())
    }

    fn begin_fields(&mut self, count: u32, bytes: &[u8], pass: &mut Pass<'_>) {
        self.partial.left = count;
        self.phase = Phase::Field;
        if count == 0 {
            self.end_partial(bytes, pass);
        }
    }

    /// The entry that was read token by token is complete.
    fn end_partial(&mut self, bytes: &[u8], pass: &mut Pass<'_>) {
        let Partial { start, id, spans, .. } = &mut self.partial;
        pass.make_room(*start, &self.bounds);
        let shift = (*start - pass.origin_for(*start)) as u32;
        pass.spans.extend(spans.iter().map(|span| Span { start: span.start + shift, len: span.len }));
        spans.clear();
        if spans.capacity() > KEPT_SPANS {
            *spans = Vec::new();
        }
        let end = self.tokens.position();
        self.reply.entries -= 1;
        pass.add_entry(*id, *start, end, bytes.len() - end, self.reply.entries);
        self.reply.total += 1;
        self.phase = Phase::Entry;
    }

    /// All entries of a list have come.
    fn end_entries(&mut self, pass: &mut Pass<'_>) -> Option<Ended> {
        match self.shape {
            Shape::Claim => return Some(Ended::Complete),
            Shape::AutoClaim if !self.reply.third => return Some(Ended::Complete),
            Shape::AutoClaim => self.phase = Phase::Deleted,
            Shape::Read => {
                pass.close_chunk();
                pass.key = Key::None;
                self.reply.streams -= 1;
                if self.reply.streams == 0 {
                    return Some(Ended::Complete);
                }
                self.phase = if self.reply.keyed { Phase::Key } else { Phase::Stream };
            }
        }
        None
    }
}

/// As [`EndKind`], with an error's text as offsets.
enum Ended {
    Null,
    Complete,
    Error(usize, usize),
}

impl Shape {
    fn expected(self) -> &'static str {
        match self {
            Self::Read => "streams",
            Self::Claim => "entries",
            Self::AutoClaim => "a cursor, entries and ids",
        }
    }
}

impl Phase {
    fn expected(self) -> &'static str {
        match self {
            Self::Top | Self::Skip => "a reply",
            Self::Stream => "a key and its entries",
            Self::Key => "a stream's key",
            Self::Cursor => "a cursor",
            Self::Entries => "a list of entries",
            Self::Entry => "an entry of two elements",
            Self::Id => "an entry's id",
            Self::Fields => "an entry's fields",
            Self::Field => "a field's name or value",
            Self::Deleted => "a list of deleted ids",
            Self::DeletedId => "a deleted id",
        }
    }
}

fn id_at(bytes: &[u8], range: std::ops::Range<usize>) -> Result<SeqNo, RespError> {
    bytes.get(range).and_then(parse_id).ok_or(RespError::EntryId)
}
