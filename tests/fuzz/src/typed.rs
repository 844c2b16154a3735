//! Replies of entries: what the typed decoder gives, and the same read off a tree.

use bytes::BytesMut;
use tidegate_core::SeqNo;
use tidegate_core::redis::resp::{Bounds, Chunk, End, EndKind, RespError, Shape, StreamDecoder, Value};

/// All shapes.
pub(crate) const SHAPES: [Shape; 3] = [Shape::Read, Shape::Claim, Shape::AutoClaim];

/// Entries of a stream, as far apart from spans as can be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stream {
    key: Option<Vec<u8>>,
    entries: Vec<(SeqNo, Vec<Vec<u8>>)>,
    deleted: Vec<SeqNo>,
}

/// One reply.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Reply {
    pub(crate) streams: Vec<Stream>,
    /// `None` while it isn't whole.
    pub(crate) end: Option<End>,
    /// Where it ended, counted from the first byte.
    pub(crate) until: usize,
}

/// All replies, the last of which is not whole; and the error, or how many bytes were not used.
pub(crate) type Replies = (Vec<Reply>, Result<usize, RespError>);

/// Reads `pieces` as replies of this shape, and checks what has to hold for any.
pub(crate) fn decode(shape: Shape, bounds: Bounds, pieces: &[&[u8]]) -> Replies {
    let mut decoder = StreamDecoder::new(shape, bounds);
    let mut buffer = BytesMut::new();
    let mut replies = vec![Reply::default()];
    let (mut bytes, mut calls) = (0, 0);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        bytes += piece.len();
        loop {
            let mut chunks = Vec::new();
            let there = buffer.len();
            let result = decoder.decode(&mut buffer, &mut chunks);
            calls += 1;
            assert!(decoder.steps() <= 16 * bytes as u64 + 2 * calls + 64, "{} steps", decoder.steps());
            let heap: usize = chunks.iter().map(chunk_heap).sum();
            assert!(heap <= 16 * there + 1024, "{heap} bytes of memory for {there}");
            let reply = replies.last_mut().unwrap();
            chunks.into_iter().for_each(|chunk| add_chunk(&mut reply.streams, chunk));
            match result {
                Ok(Some(end)) => {
                    let entries: usize = reply.streams.iter().map(|stream| stream.entries.len()).sum();
                    assert_eq!(end.entries, entries as u64);
                    assert!(decoder.is_idle());
                    reply.end = Some(end);
                    reply.until = bytes - buffer.len();
                    replies.push(Reply::default());
                }
                Ok(None) => break,
                Err(error) => {
                    let again = decoder.decode(&mut buffer, &mut Vec::new());
                    assert_eq!(again, Err(error.clone()), "an error is for ever");
                    return (replies, Err(error));
                }
            }
        }
        if decoder.is_idle() {
            assert!(buffer.is_empty());
        }
    }
    (replies, Ok(buffer.len()))
}

/// What the reply means, read off its tree; `None` where it is none of this shape.
pub(crate) fn from_tree(shape: Shape, value: &Value) -> Option<(Vec<Stream>, End)> {
    let mut end = End { kind: EndKind::Complete, cursor: None, deleted: vec![], nils: 0, entries: 0 };
    let mut streams = Vec::new();
    match (shape, value) {
        (_, Value::Null) => end.kind = EndKind::Null,
        (_, Value::Error(text)) => end.kind = EndKind::Error(text.clone()),
        (Shape::Read, Value::Map(pairs)) => {
            for (key, list) in pairs {
                add_list(&mut streams, &mut end, Some(bulk(key)?), list)?;
            }
        }
        (Shape::Read, Value::Array(pairs)) => {
            for pair in pairs {
                let Value::Array(pair) = pair else { return None };
                let [key, list] = &pair[..] else { return None };
                add_list(&mut streams, &mut end, Some(bulk(key)?), list)?;
            }
        }
        (Shape::Claim, value) => add_list(&mut streams, &mut end, None, value)?,
        (Shape::AutoClaim, Value::Array(parts)) => {
            let (cursor, list, ids) = match &parts[..] {
                [cursor, list] => (cursor, list, &[][..]),
                [cursor, list, Value::Array(ids)] => (cursor, list, &ids[..]),
                _ => return None,
            };
            end.cursor = Some(id(cursor)?);
            add_list(&mut streams, &mut end, None, list)?;
            end.deleted = ids.iter().map(id).collect::<Option<_>>()?;
        }
        _ => return None,
    }
    Some((streams, end))
}

fn add_list(streams: &mut Vec<Stream>, end: &mut End, key: Option<Vec<u8>>, list: &Value) -> Option<()> {
    let Value::Array(list) = list else { return None };
    let mut stream = Stream { key, ..Stream::default() };
    for entry in list {
        let Value::Array(parts) = entry else {
            entry.is_null().then_some(())?;
            end.nils += 1;
            continue;
        };
        let [seq, fields] = &parts[..] else { return None };
        let seq = id(seq)?;
        match fields {
            Value::Null => stream.deleted.push(seq),
            Value::Array(texts) if texts.len() % 2 == 0 => {
                stream.entries.push((seq, texts.iter().map(bulk).collect::<Option<_>>()?));
            }
            Value::Map(pairs) => {
                let texts = pairs.iter().flat_map(|(name, value)| [name, value]);
                stream.entries.push((seq, texts.map(bulk).collect::<Option<_>>()?));
            }
            _ => return None,
        }
    }
    end.entries += stream.entries.len() as u64;
    if !stream.entries.is_empty() || !stream.deleted.is_empty() {
        join(streams, stream);
    }
    Some(())
}

fn bulk(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Bulk(bytes) => Some(bytes.to_vec()),
        _ => None,
    }
}

fn id(value: &Value) -> Option<SeqNo> {
    let text = String::from_utf8(bulk(value)?).ok()?;
    let (millis, counter) = text.split_once('-')?;
    let id = SeqNo::redis(millis.parse().ok()?, counter.parse().ok()?);
    // No plus, no needless zero.
    (id.as_redis().to_string() == text).then_some(id)
}

/// Where one stream was cut in two is no matter, so neighbours of one name are one.
fn join(streams: &mut Vec<Stream>, stream: Stream) {
    match streams.last_mut().filter(|last| last.key == stream.key) {
        Some(last) => {
            last.entries.extend(stream.entries);
            last.deleted.extend(stream.deleted);
        }
        None => streams.push(stream),
    }
}

fn add_chunk(streams: &mut Vec<Stream>, chunk: Chunk) {
    let Chunk { key, entries, deleted } = chunk;
    assert!(!entries.index.is_empty() || !deleted.is_empty(), "an empty chunk");
    assert_eq!(entries.data.is_empty(), entries.index.is_empty(), "bytes for nothing");
    if !entries.data.is_empty() {
        // Held as long as the messages, so nothing around them may be in it.
        assert!(entries.data.starts_with(b"*2\r\n$") && entries.data.ends_with(b"\r\n"));
    }
    let mut stream = Stream { key: key.map(|key| key.to_vec()), deleted, ..Stream::default() };
    let mut first = 0;
    for entry in &entries.index {
        assert_eq!(entry.deliveries, 1);
        let spans = &entries.spans[first..entry.place as usize];
        first = entry.place as usize;
        let texts = spans.iter().map(|s| entries.data[s.start as usize..][..s.len as usize].to_vec());
        stream.entries.push((entry.seq, texts.collect()));
    }
    assert_eq!(first, entries.spans.len());
    join(streams, stream);
}

/// Memory on top of the buffer that was read.
fn chunk_heap(chunk: &Chunk) -> usize {
    let Chunk { entries, deleted, .. } = chunk;
    fn size<T>(list: &Vec<T>) -> usize {
        list.capacity() * size_of::<T>()
    }
    size_of::<Chunk>() + size(&entries.index) + size(&entries.spans) + size(deleted)
}
