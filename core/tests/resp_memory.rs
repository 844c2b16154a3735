//! What RESP allocates, counted: one test, so that nothing else allocates at the same time.

mod counting;

use bytes::BytesMut;
use counting::measured;
use tidegate_core::redis::resp::{Bounds, Decoder, RespError, Shape, StreamDecoder};

const CONSTANT: usize = 64 << 10;

/// Feeds both kinds of decoder in pieces; an error ends it.
fn hostile(bounds: Bounds, bytes: &[u8], piece: usize) -> Vec<Option<RespError>> {
    let mut errors = Vec::new();
    let mut tree = Decoder::new(bounds);
    let mut buffer = BytesMut::with_capacity(bytes.len());
    let (error, peak, _) = measured(|| {
        bytes.chunks(piece).find_map(|part| {
            buffer.extend_from_slice(part);
            tree.decode(&mut buffer).err()
        })
    });
    errors.push(error);
    assert!(
        peak < CONSTANT + bytes.len(),
        "tree: {peak} bytes for {}",
        bytes[..20.min(bytes.len())].escape_ascii()
    );
    for shape in [Shape::Read, Shape::Claim, Shape::AutoClaim] {
        let mut typed = StreamDecoder::new(shape, bounds);
        let mut buffer = BytesMut::with_capacity(bytes.len());
        let mut chunks = Vec::new();
        let (error, peak, _) = measured(|| {
            bytes.chunks(piece).find_map(|part| {
                buffer.extend_from_slice(part);
                typed.decode(&mut buffer, &mut chunks).err()
            })
        });
        errors.push(error);
        assert!(
            peak < CONSTANT + bytes.len(),
            "{shape:?}: {peak} for {}",
            bytes[..20.min(bytes.len())].escape_ascii()
        );
    }
    errors
}

#[test]
fn memory_is_bounded_by_the_bytes_received() {
    // The widest bounds there are: nothing is refused, and still nothing is allocated.
    let wide =
        Bounds { depth: u32::MAX, line: u32::MAX, bulk: u32::MAX, aggregate: u32::MAX, total: u32::MAX };
    let nested = b"*1\r\n".repeat(47 << 8);
    let announced: [&[u8]; 13] = [
        b"*1000000000\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n",
        b"*1000000000\r\n",
        b"%1000000000\r\n",
        b"~1000000000\r\n",
        b">1000000000\r\n:1\r\n",
        b"|1000000000\r\n:1\r\n",
        b"$536870912\r\nabc",
        b"!536870912\r\nabc",
        b"=536870912\r\nabc",
        b"*1\r\n*2\r\n$536870912\r\n",
        b"*2\r\n$3\r\n1-1\r\n*1000000000\r\n*2\r\n$3\r\n1-1\r\n*1000000000\r\n$1\r\na\r\n",
        b"*1000000000\r\n*2\r\n$1\r\na\r\n*1000000000\r\n*2\r\n$3\r\n1-1\r\n*1000000000\r\n$1\r\na\r\n",
        b"*1000000000\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$536870912\r\nabc",
    ];
    for bytes in announced.into_iter().chain([&nested[..]]) {
        for piece in [1, 7, bytes.len()] {
            hostile(wide, bytes, piece);
            hostile(Bounds::default(), bytes, piece);
        }
    }
    let too_deep = Some(RespError::TooDeep { bound: 16 });
    assert_eq!(hostile(Bounds::default(), &nested, 1024)[0], too_deep);
    let too_many =
        Some(RespError::AggregateTooLong { count: 1_000_000_000, bound: Bounds::default().aggregate });
    assert_eq!(hostile(Bounds::default(), announced[1], 1024), vec![too_many; 4]);

    // One small entry, and much behind it that is none.
    let mut reply = b"*1\r\n*2\r\n$3\r\n1-1\r\n*0\r\n+".to_vec();
    reply.resize(1 << 20, b'x');
    let mut buffer = BytesMut::from(&reply[..]);
    let mut decoder = StreamDecoder::new(Shape::Claim, Bounds::default());
    let (end, peak, _) = measured(|| decoder.decode(&mut buffer, &mut Vec::new()));
    assert!(end.unwrap().is_some() && peak < 1024, "{peak} bytes for one entry");

    // Ten thousand entries: some vectors, whatever their number.
    let entry = format!("*2\r\n$15\r\n1526919030474-0\r\n*2\r\n$3\r\nmsg\r\n$100\r\n{}\r\n", "x".repeat(100));
    let reply = format!("*1\r\n*2\r\n$1\r\ns\r\n*10000\r\n{}", entry.repeat(10_000));
    let mut decoder = StreamDecoder::new(Shape::Read, Bounds::default());
    let mut buffer = BytesMut::from(reply.as_bytes());
    let mut chunks = Vec::new();
    let (end, peak, calls) = measured(|| decoder.decode(&mut buffer, &mut chunks));
    assert_eq!(end.unwrap().unwrap().entries, 10_000);
    assert!(calls < 12, "{calls} allocations");
    assert!(peak < 10_000 * (32 + 2 * 8) + 1024, "{peak} bytes for the index");

    // The same in pieces as a socket gives them.
    let mut decoder = StreamDecoder::new(Shape::Read, Bounds::default());
    let mut calls = 0;
    let mut pieces = 0;
    for piece in reply.as_bytes().chunks(16 << 10) {
        buffer.extend_from_slice(piece);
        chunks.clear();
        calls += measured(|| decoder.decode(&mut buffer, &mut chunks)).2;
        pieces += 1;
    }
    assert!(decoder.is_idle());
    assert!(calls < 12 * pieces, "{calls} allocations in {pieces} pieces");

    // Small entries of many kinds: an index is a small multiple of its bytes at the worst.
    for unit in ["*2\r\n$3\r\n1-1\r\n*0\r\n", "*2\r\n$3\r\n1-1\r\n*2\r\n$0\r\n\r\n$0\r\n\r\n", "*-1\r\n"] {
        let reply = format!("*10000\r\n{}", unit.repeat(10_000));
        let mut buffer = BytesMut::from(reply.as_bytes());
        let mut decoder = StreamDecoder::new(Shape::Claim, Bounds::default());
        let (end, peak, _) = measured(|| decoder.decode(&mut buffer, &mut Vec::new()));
        assert!(end.unwrap().is_some());
        assert!(peak < 3 * reply.len(), "{peak} bytes for {} of {unit:?}", reply.len());
    }
}
