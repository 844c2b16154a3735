//! What must hold for any bytes, one function a target. Each takes the bytes of a fuzzer and
//! panics where a promise is broken: G3, G6, G8 and G10 of the guarantees above all.
//!
//! # Theory of operation
//!
//! A target is a plain function, so that the fuzzer (`libfuzzer`, with a nightly toolchain) and
//! the ordinary tests (`tests/corpus.rs`, stable) call the same one. `corpus` holds, for each
//! target, a small set of inputs that between them reach all that a long run has reached;
//! `regressions` holds each input that once broke a promise. Both are run again by
//! `cargo test -p tidegate-fuzz`; `tests/fuzz/run` fuzzes.
//!
//! A new target is a file here, a line in [`TARGETS`], a file and a `[[bin]]` in `libfuzzer`, and
//! a folder in `corpus`. What the tests check of that, they say.
//!
//! | target | what its input is |
//! |---|---|
//! | [`resp_decode()`] | which bounds, how to split, then the bytes of a server |
//! | [`resp_encode()`] | a tape: values and commands; or the bytes of a server |
//! | [`trace()`] | a line of a trace, a whole trace, or a tape: lines |
//! | [`redis_machine()`] | a tape: options, then each event, reply and request in turn |
//! | [`kafka_decode()`] | a message, a version and its bytes; or the bytes of a connection |
//! | [`kafka_encode()`] | a message, a version and a tape of its fields |
//! | [`kafka_records()`] | the records of an answer; a batch's body; or a tape: a batch |
//! | [`kafka_embedded()`] | a tape: topics, and what members of a group tell their leader |
//! | [`kafka_machine()`] | options, how to run, then a tape: what happens |
//!
//! **Invariant:** a target is a pure function of its bytes.
//!
//! **Invariant:** nothing here accepts what it can't explain: a check that is relaxed says why.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic with its line is what a fuzzer looks for"
)]

mod kafka;
mod kafka_decode;
mod kafka_embedded;
mod kafka_encode;
#[allow(dead_code, unreachable_pub, reason = "tests of `core` use all of it")]
mod kafka_machine;
mod kafka_records;
mod oracle;
mod redis_machine;
mod resp_decode;
mod resp_encode;
mod source;
mod trace;
mod typed;

pub use kafka_decode::kafka_decode;
pub use kafka_embedded::kafka_embedded;
pub use kafka_encode::kafka_encode;
pub use kafka_machine::kafka_machine;
pub use kafka_records::kafka_records;
pub use redis_machine::{redis_machine, redis_machine_told};
pub use resp_decode::resp_decode;
pub use resp_encode::resp_encode;
pub use trace::trace;

/// A target: its name, which is also its folder's in `corpus`, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 9] = [
    ("resp_decode", resp_decode),
    ("resp_encode", resp_encode),
    ("trace", trace),
    ("redis_machine", redis_machine),
    ("kafka_decode", kafka_decode),
    ("kafka_encode", kafka_encode),
    ("kafka_records", kafka_records),
    ("kafka_embedded", kafka_embedded),
    ("kafka_machine", kafka_machine),
];
