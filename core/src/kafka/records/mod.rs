//! Record batches, message format 2 (KIP-98), as partitions hold them: read lazily.
//!
//! ```text
//! records of a partition ─► Batches ─► RecordBatch ─► verify ─► decompressed ─► index ─► messages
//!                                          │                                    Records ─► one by one
//!                                          └─► Aborted: is it for the application?
//! ```
//!
//! Theory of operation. [`Batches`] finds the batches and reads their headers, which alone say
//! where the position goes on. [`RecordBatch::verify`] checks all bytes against the batch's
//! checksum. Records that are not compressed stay where they came; others are decompressed once,
//! into one buffer, within a bound. [`index`] goes over them once, checks each number in them, and
//! notes for each record its offset, its timestamp, and where its key begins: key, value and
//! headers are read when somebody asks for them. [`Records`] gives the same without an index.
//!
//! [`Aborted`] knows which batches are of transactions that came to nothing. [`BatchBuilder`]
//! writes batches, for tests and model brokers.
//!
//! The sources are <https://kafka.apache.org/documentation/#recordbatch>, KIP-98 (format,
//! transactions), KIP-82 (headers), KIP-32 (timestamps), KIP-110 (Zstandard), KIP-534 (delete
//! horizon).
//!
//! **Invariant:** no bytes make any of it panic, or allocate more than the bytes received, an
//! index of a few times their size, and the bound that the caller sets for decompression.
//!
//! **Invariant:** nothing is allocated for a record: only for a batch.
//!
//! **Invariant:** the position after a batch is its header's last offset plus one, whatever
//! records compaction left in it.
//!
//! **Invariant:** offsets that are given grow.

mod aborted;
mod batch;
mod build;
mod codec;
mod error;
mod index;
mod record;
mod varint;

pub use aborted::{Aborted, Marker};
pub use batch::{Batches, Compression, RecordBatch, TimestampType};
pub use build::{BatchBuilder, NewRecord};
pub use codec::Decompressor;
pub use error::{Fault, RecordsError};
pub use index::{IndexReport, index, index_at};
pub(crate) use record::{Body, RECORD_MIN};
pub use record::{Headers, Record, Records};
