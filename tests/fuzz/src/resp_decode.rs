//! Bytes of a server into replies: G8 and G10.
//!
//! **Input:** a byte that says which bounds hold, a byte that says how to split, the server's
//! bytes.

use bytes::BytesMut;
use tidegate_core::redis::resp::{Bounds, Decoder, RespError, Value};

use crate::oracle::{agrees, comparable, heap};
use crate::source::splits;
use crate::typed::{self, SHAPES};

/// What is read doesn't depend on the split: values, entries, errors. Work and memory are linear
/// in the bytes. The typed decoder reads what the tree decoder reads, and takes what is of its
/// shape and nothing else; where the `redis-protocol` crate takes a reply, it reads the same.
pub fn resp_decode(data: &[u8]) {
    let [which, seed, wire @ ..] = data else { return };
    let bounds = bounds(*which);
    let splits = splits(wire, *seed);
    let (values, rest) = trees(bounds, &splits[0]);
    for pieces in &splits[1..] {
        assert_eq!(trees(bounds, pieces), (values.clone(), rest.clone()), "in {} pieces", pieces.len());
    }
    let mut start = 0;
    for (value, until) in &values {
        let reply = &wire[start..*until];
        start = *until;
        // NaN was replaced, which the other crate knows nothing of.
        if !reply.windows(3).any(|text| text == b"nan") {
            agrees(reply, value);
        }
    }
    // As a connection would: pushes come between replies, and answer nothing.
    let first = values.iter().find(|(value, _)| !matches!(value, Value::Push(_)));
    for shape in SHAPES {
        let (replies, end) = typed::decode(shape, bounds, &splits[0]);
        for pieces in &splits[1..] {
            let other = typed::decode(shape, bounds, pieces);
            assert_eq!(other, (replies.clone(), end.clone()), "{shape:?} in {} pieces", pieces.len());
        }
        let Some((value, until)) = first else { continue };
        let reply = &replies[0];
        let of_shape = typed::from_tree(shape, value);
        match (&reply.end, &end) {
            (Some(end), _) => {
                assert_eq!(Some((reply.streams.clone(), end.clone())), of_shape, "{shape:?}");
                assert_eq!(reply.until, *until, "{shape:?}");
            }
            // The tree drops attributes anywhere, the typed path knows them in front of a reply.
            (None, Err(RespError::Shape { found: "an attribute", .. })) => {}
            (None, Err(RespError::Shape { .. } | RespError::OddFields { .. } | RespError::EntryId)) => {
                assert_eq!(of_shape, None, "{shape:?} refused it: {end:?}");
            }
            (None, other) => panic!("{shape:?}: a tree of it was read, and here {other:?}"),
        }
    }
}

/// Bounds that short inputs can reach, or those of every day.
fn bounds(which: u8) -> Bounds {
    match which % 4 {
        0 => Bounds::default(),
        1 => Bounds { depth: 4, line: 12, bulk: 20, aggregate: 3, total: 120 },
        2 => Bounds { depth: u32::MAX, line: u32::MAX, bulk: u32::MAX, aggregate: u32::MAX, total: u32::MAX },
        _ => Bounds { total: 16 + u32::from(which), ..Bounds::default() },
    }
}

/// Values and where each ended; the error, or how many bytes were left.
type Trees = (Vec<(Value, usize)>, Result<usize, RespError>);

fn trees(bounds: Bounds, pieces: &[&[u8]]) -> Trees {
    let mut decoder = Decoder::new(bounds);
    let mut buffer = BytesMut::new();
    let mut values = Vec::new();
    let (mut bytes, mut calls) = (0, 0);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        bytes += piece.len();
        loop {
            let there = buffer.len();
            let result = decoder.decode(&mut buffer);
            calls += 1;
            assert!(decoder.steps() <= 4 * bytes as u64 + 2 * calls + 16, "{} steps", decoder.steps());
            match result {
                Ok(Some(value)) => {
                    let (used, heap) = (there - buffer.len(), heap(&value));
                    assert!(heap <= 16 * used, "{heap} bytes of memory for {used}");
                    values.push((comparable(value), bytes - buffer.len()));
                }
                Ok(None) => {
                    assert_eq!(buffer.len(), there, "what is incomplete stays");
                    break;
                }
                Err(error) => {
                    assert_eq!(decoder.decode(&mut buffer), Err(error.clone()), "an error is for ever");
                    return (values, Err(error));
                }
            }
        }
        assert_eq!(decoder.is_idle(), buffer.is_empty());
    }
    (values, Ok(buffer.len()))
}
