//! What the application gets: messages in batches, over the bytes that came from the broker.
//!
//! A batch is one buffer as it was read, and an index into it. A message is a batch and a
//! number: cloning or moving one copies no payload and allocates nothing.
//!
//! **Invariant:** all messages of a batch are of one stream, one shard and one epoch, in the
//! order in which the broker gave them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::ack::{AckRange, SegmentId};
use crate::kafka::records::{Body, Headers};
use crate::stream::{Epoch, SeqNo, ShardId, StreamKey, Timestamp};

/// A piece of a batch's buffer. 32 bits: a buffer holds less than 4 GiB (`Limits` sees to it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte in [`Entries::data`].
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.len as usize
    }
}

/// The index of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub seq: SeqNo,
    /// When the broker, or the producer, stamped it.
    pub timestamp: Timestamp,
    /// How often it was handed out, this time included; at least 1.
    pub deliveries: u32,
    /// Where it is; what that means, [`Entries::layout`] says.
    pub place: u32,
}

/// How the messages of a run lie in its buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Redis: named fields. Two spans a field, its name and its value, in the order of the
    /// message. An entry's spans in [`Entries::spans`] end at its [`Entry::place`], and begin where
    /// those of the entry before end.
    #[default]
    Fields,
    /// Kafka: a key, a value and headers. [`Entry::place`] is the offset in [`Entries::data`] at
    /// which the record's key begins, as [`kafka::records`](crate::kafka::records) has it: the
    /// rest is read when it is asked for. There are no spans.
    Record,
}

/// A run of complete messages over one buffer, as a dialect makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// The bytes as they were read.
    pub data: Bytes,
    /// One a message.
    pub index: Vec<Entry>,
    /// Pieces of `data`, grouped by [`Entry::place`].
    pub spans: Vec<Span>,
    /// How the messages lie in `data`.
    pub layout: Layout,
}

impl Entries {
    /// Keeps the messages for which `keep` is true. Linear; for replies that may bring what is
    /// known already.
    pub fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        if self.layout == Layout::Record {
            return self.index.retain(keep);
        }
        let old = std::mem::take(&mut self.index);
        let spans = std::mem::take(&mut self.spans);
        let mut start = 0;
        for entry in old {
            let end = entry.place as usize;
            if keep(&entry) {
                self.spans.extend_from_slice(spans.get(start..end).unwrap_or_default());
                self.index.push(Entry { place: self.spans.len() as u32, ..entry });
            }
            start = end;
        }
    }

    fn spans_of(&self, at: usize) -> &[Span] {
        let start = match at.checked_sub(1) {
            Some(before) => self.index.get(before).map_or(0, |entry| entry.place as usize),
            None => 0,
        };
        let end = self.index.get(at).map_or(start, |entry| entry.place as usize);
        self.spans.get(start..end).unwrap_or_default()
    }

    fn bytes(&self, span: Span) -> &[u8] {
        self.data.get(span.range()).unwrap_or_default()
    }
}

/// Where a batch comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The stream that was subscribed to.
    pub stream: StreamKey,
    /// Which part of it.
    pub shard: ShardId,
    /// The assignment under which it was read.
    pub epoch: Epoch,
    /// Where its acks go; `None` where there is nothing to ack (real-time, immediate).
    pub segment: Option<SegmentId>,
}

struct Inner {
    source: Source,
    entries: Entries,
}

/// Messages of one shard, in order. Clones are cheap and share the buffer; the buffer lives as
/// long as the last batch or message of it.
#[derive(Clone)]
pub struct Batch(Arc<Inner>);

impl Batch {
    /// A batch over `entries`.
    pub fn new(source: Source, entries: Entries) -> Self {
        Self(Arc::new(Inner { source, entries }))
    }

    /// Where it comes from.
    pub fn source(&self) -> &Source {
        &self.0.source
    }

    /// How many messages.
    pub fn len(&self) -> usize {
        self.0.entries.index.len()
    }

    /// True for a batch without messages; machines don't deliver such.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the buffer behind it: what the limits count.
    pub fn bytes(&self) -> usize {
        self.0.entries.data.len()
    }

    /// Message number `at`, counted from 0.
    pub fn message(&self, at: usize) -> Option<Message> {
        (at < self.len()).then(|| Message { batch: self.clone(), at: at as u32 })
    }

    /// Its messages, as views that borrow the batch: the cheapest way through it.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = MessageRef<'_>> + DoubleEndedIterator {
        (0..self.len()).map(|at| MessageRef { inner: &self.0, at })
    }

    /// All of it, as something to ack.
    pub fn ack_range(&self) -> Option<AckRange> {
        let segment = self.0.source.segment?;
        Some(AckRange { segment, epoch: self.0.source.epoch, start: 0, end: self.len() as u32 })
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source();
        write!(f, "Batch({}/{} x{}", source.stream, source.shard, self.len())?;
        if let (Some(first), Some(last)) = (self.0.entries.index.first(), self.0.entries.index.last()) {
            write!(f, " {}..={}", first.seq, last.seq)?;
        }
        f.write_str(")")
    }
}

/// One message, owned: it may be sent to another task, kept, acked later.
#[derive(Clone)]
pub struct Message {
    batch: Batch,
    at: u32,
}

/// One message of a batch that stays where it is.
#[derive(Clone, Copy)]
pub struct MessageRef<'a> {
    inner: &'a Inner,
    at: usize,
}

impl<'a> MessageRef<'a> {
    fn entry(&self) -> &'a Entry {
        // Proved: views are made only for positions below the length, and batches never change.
        &self.inner.entries.index[self.at]
    }

    /// The stream that was subscribed to.
    pub fn stream(&self) -> &'a StreamKey {
        &self.inner.source.stream
    }

    /// Which part of the stream.
    pub fn shard(&self) -> ShardId {
        self.inner.source.shard
    }

    /// Its position in the shard.
    pub fn seq(&self) -> SeqNo {
        self.entry().seq
    }

    /// Milliseconds since the Unix epoch. On Redis the id's first half; on Kafka as the producer or
    /// the broker stamped it, -1 where the producer gave none.
    pub fn timestamp(&self) -> Timestamp {
        self.entry().timestamp
    }

    /// How often it was handed out, this time included: 1 unless a member died, or gave up,
    /// while it held the message. Own recovery after a reconnect doesn't count.
    pub fn deliveries(&self) -> u32 {
        self.entry().deliveries
    }

    /// Redis: name and value of each field, in order, repeated names included. On Kafka there are
    /// none: see [`key`](Self::key), [`payload`](Self::payload) and [`headers`](Self::headers).
    pub fn fields(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let entries = &self.inner.entries;
        entries.spans_of(self.at).chunks_exact(2).map(|pair| (entries.bytes(pair[0]), entries.bytes(pair[1])))
    }

    /// The value of the first field of this name.
    pub fn field(self, name: &[u8]) -> Option<&'a [u8]> {
        self.fields().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Kafka: the key; `None` for null, and on Redis.
    #[inline]
    pub fn key(&self) -> Option<&'a [u8]> {
        match self.inner.entries.layout {
            Layout::Fields => None,
            Layout::Record => Body::key(&self.inner.entries.data, self.entry().place as usize),
        }
    }

    /// Kafka: name and value of each header, in order, repeated names included; a value may be
    /// null. Names are UTF-8 where the producer keeps to the protocol. On Redis there are none.
    pub fn headers(self) -> Headers<'a> {
        match self.inner.entries.layout {
            Layout::Fields => None,
            Layout::Record => Body::at(&self.inner.entries.data, self.entry().place as usize),
        }
        .map_or_else(Headers::default, |body| body.headers)
    }

    /// What the message is about. On Kafka the value, `None` for null: a tombstone, in a compacted
    /// topic. On Redis the field `msg` if there is one, else the only field; `None` where there
    /// are several fields and none is named so.
    #[inline]
    pub fn payload(&self) -> Option<&'a [u8]> {
        match self.inner.entries.layout {
            Layout::Fields => self.field_payload(),
            Layout::Record => Body::value(&self.inner.entries.data, self.entry().place as usize),
        }
    }

    fn field_payload(&self) -> Option<&'a [u8]> {
        let mut fields = self.fields();
        let (name, value) = fields.next()?;
        if name == b"msg" {
            return Some(value);
        }
        match fields.next() {
            None => Some(value),
            Some(_) => self.field(b"msg"),
        }
    }

    /// This message, to ack it.
    pub fn ack_range(&self) -> Option<AckRange> {
        let segment = self.inner.source.segment?;
        let at = self.at as u32;
        Some(AckRange { segment, epoch: self.inner.source.epoch, start: at, end: at + 1 })
    }
}

impl fmt::Debug for MessageRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({}/{} {})", self.stream(), self.shard(), self.seq())
    }
}

impl Message {
    /// This message as a view.
    pub fn view(&self) -> MessageRef<'_> {
        MessageRef { inner: &self.batch.0, at: self.at as usize }
    }

    /// The batch that it came in.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// See [`MessageRef::stream`].
    pub fn stream(&self) -> &StreamKey {
        self.view().stream()
    }

    /// See [`MessageRef::shard`].
    pub fn shard(&self) -> ShardId {
        self.view().shard()
    }

    /// See [`MessageRef::seq`].
    pub fn seq(&self) -> SeqNo {
        self.view().seq()
    }

    /// See [`MessageRef::timestamp`].
    pub fn timestamp(&self) -> Timestamp {
        self.view().timestamp()
    }

    /// See [`MessageRef::deliveries`].
    pub fn deliveries(&self) -> u32 {
        self.view().deliveries()
    }

    /// See [`MessageRef::fields`].
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.view().fields()
    }

    /// See [`MessageRef::field`].
    pub fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.view().field(name)
    }

    /// See [`MessageRef::key`].
    pub fn key(&self) -> Option<&[u8]> {
        self.view().key()
    }

    /// See [`MessageRef::headers`].
    pub fn headers(&self) -> Headers<'_> {
        self.view().headers()
    }

    /// See [`MessageRef::payload`].
    pub fn payload(&self) -> Option<&[u8]> {
        self.view().payload()
    }

    /// See [`MessageRef::ack_range`].
    pub fn ack_range(&self) -> Option<AckRange> {
        self.view().ack_range()
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(fields: &[(&str, &str)]) -> Batch {
        let mut data = Vec::new();
        let mut spans = Vec::new();
        for text in fields.iter().flat_map(|(name, value)| [name, value]) {
            spans.push(Span { start: data.len() as u32, len: text.len() as u32 });
            data.extend_from_slice(text.as_bytes());
        }
        let place = spans.len() as u32;
        let entry =
            Entry { seq: SeqNo::redis(5, 1), timestamp: Timestamp::from_millis(5), deliveries: 1, place };
        let source =
            Source { stream: "s".into(), shard: ShardId::ZERO, epoch: Epoch(1), segment: Some(SegmentId(3)) };
        Batch::new(source, Entries { data: data.into(), index: vec![entry], spans, ..Entries::default() })
    }

    #[test]
    fn payload_is_msg_else_the_only_field_else_nothing() {
        let payload = |fields: &[(&str, &str)]| {
            batch(fields).message(0).unwrap().payload().map(|p| String::from_utf8(p.to_vec()).unwrap())
        };
        assert_eq!(payload(&[("msg", "a")]).as_deref(), Some("a"));
        assert_eq!(payload(&[("x", "a")]).as_deref(), Some("a"));
        assert_eq!(payload(&[("x", "a"), ("msg", "b")]).as_deref(), Some("b"));
        assert_eq!(payload(&[("msg", "b"), ("x", "a")]).as_deref(), Some("b"));
        assert_eq!(payload(&[("x", "a"), ("y", "b")]), None);
        assert_eq!(payload(&[]), None);
        assert_eq!(payload(&[("x", "")]).as_deref(), Some(""));
    }

    #[test]
    fn fields_keep_their_order_and_repetitions() {
        let batch = batch(&[("b", "1"), ("a", "2"), ("b", "3")]);
        let message = batch.message(0).unwrap();
        let fields: Vec<_> = message.fields().collect();
        assert_eq!(fields, [(&b"b"[..], &b"1"[..]), (b"a", b"2"), (b"b", b"3")]);
        assert_eq!(message.field(b"b"), Some(&b"1"[..]));
        assert!(batch.message(1).is_none());
    }
}
