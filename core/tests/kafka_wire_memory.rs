//! What Kafka's messages allocate, counted: one test, so that nothing else allocates at the same
//! time.
#![allow(clippy::unwrap_used)] // a panic with its line is the report, in helpers too

mod counting;
#[macro_use]
#[path = "kafka_wire/list.rs"]
mod list;
#[path = "kafka_wire/random.rs"]
mod random;
#[path = "kafka_wire/rows.rs"]
#[allow(dead_code)] // each test uses a part
mod rows;

use bytes::{Bytes, BytesMut};
use counting::measured;
use rows::{Row, rows};
use tidegate_core::kafka::wire::{
    FetchRequest, FetchResponse, FetchResponsePartitionData, FetchResponseTopic, Message, read_response,
    write_response,
};

/// Bytes in memory for a byte received, at most: an empty string is a byte on the wire and three
/// words in memory, and an array in an array may be announced twice as long as it is.
const FACTOR: usize = 48;
const CONSTANT: usize = 1 << 10;

#[test]
fn memory_is_bounded_by_the_bytes_that_are_there() {
    let mut worst = (0.0, "", 0);
    let mut cases = 0;
    for row in rows() {
        for version in row.versions.clone() {
            for bytes in hostile(&row, version) {
                let (_, peak, _) = measured(|| (row.decodes)(version, &bytes));
                let factor = peak.saturating_sub(CONSTANT) as f64 / bytes.len().max(1) as f64;
                assert!(
                    peak <= CONSTANT + FACTOR * bytes.len(),
                    "{} {version}: {peak} bytes for {}",
                    row.name,
                    bytes.len()
                );
                cases += 1;
                if factor > worst.0 {
                    worst = (factor, row.name, version);
                }
            }
        }
    }
    println!("{cases} hostile messages; the worst factor was {:.1}, {} {}", worst.0, worst.1, worst.2);
    assert!(worst.0 > 8.0, "nothing here was hostile");
    records_are_not_copied();
}

/// Messages of one kind with lengths and counts that are not so.
fn hostile(row: &Row, version: i16) -> Vec<Bytes> {
    let mut all = Vec::new();
    let flexible = version >= row.flexible;
    // All bytes alike: as many empty elements as fit, at every depth.
    for byte in [0, 1, 2, 0x7f, 0xff] {
        all.push(Bytes::from(vec![byte; 10_000]));
    }
    // A whole message, in which each place in turn announces a lot.
    let announced: &[&[u8]] = match flexible {
        true => &[&[0xff, 0xff, 0xff, 0xff, 0x07], &[0x91, 0x4e], &[0x89, 0x27]],
        false => &[&[0x7f, 0xff, 0xff, 0xff], &[0, 0, 0x27, 0x10], &[0, 0, 0x13, 0x88]],
    };
    let tape: Vec<u8> = (0..200u8).map(|at| at.wrapping_mul(37) & 0x7e | 2).collect();
    let bytes = row.random(version, &tape, false);
    let rest = vec![u8::from(flexible); 10_000];
    for at in 0..bytes.len().min(400) {
        for announced in announced {
            all.push(Bytes::from([&bytes[..at], announced, &rest].concat()));
        }
    }
    all
}

/// Fetched records are a slice of the frame.
fn records_are_not_copied() {
    let records = Bytes::from(vec![7; 1 << 20]);
    let partition = FetchResponsePartitionData { records: Some(records), ..Default::default() };
    let topic = FetchResponseTopic { partitions: vec![partition], ..Default::default() };
    let response = FetchResponse { responses: vec![topic], ..Default::default() };
    for version in FetchResponse::VERSIONS {
        let mut out = BytesMut::new();
        write_response::<FetchRequest>(&mut out, 1, version, &response).unwrap();
        let frame = out.freeze().slice(4..);
        let (read, peak, _) = measured(|| read_response::<FetchRequest>(frame, version).unwrap());
        assert!(peak < CONSTANT, "version {version}: {peak} bytes");
        assert_eq!(read.responses[0].partitions[0].records.as_ref().unwrap().len(), 1 << 20);
    }
}
