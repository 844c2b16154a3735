//! What can be wrong with the records of a partition.

use super::Compression;

/// Why a record batch can't be read. Offsets are those of the batch's first record, so that an
/// operator finds it, and can go on after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// A message format that Kafka wrote before 0.11 (KIP-98), or none that exists.
    #[error(
        "the batch at offset {base_offset} has message format {magic}; only format 2, of Kafka 0.11 and \
         later, is read: let the topic be written again, or skip these messages"
    )]
    Magic {
        /// The batch's first offset.
        base_offset: i64,
        /// The format it announces.
        magic: i8,
    },
    /// The length in a batch's frame is too small for its header.
    #[error("the batch at offset {base_offset} announces {length} bytes, less than its header has")]
    Length {
        /// The batch's first offset.
        base_offset: i64,
        /// What was announced.
        length: i32,
    },
    /// A field of a batch's header has a value that can't be.
    #[error("the batch at offset {base_offset} has the {field} {value}")]
    Header {
        /// The batch's first offset.
        base_offset: i64,
        /// The field's name in Kafka's documentation of the format.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// The bytes are not those that were written.
    #[error("the batch at offset {base_offset} has the CRC-32C {computed:#010x}, not {announced:#010x}")]
    Checksum {
        /// The batch's first offset.
        base_offset: i64,
        /// In the header.
        announced: u32,
        /// Of the bytes that came.
        computed: u32,
    },
    /// A codec that no version of Kafka up to 4.3 has.
    #[error("the batch at offset {base_offset} is compressed with the unknown codec {codec}")]
    UnknownCodec {
        /// The batch's first offset.
        base_offset: i64,
        /// Its number in the batch's attributes.
        codec: u8,
    },
    /// A codec that was left out of this build.
    #[error(
        "{codec} was left out of this build: build with the cargo feature `{codec}` to read such batches"
    )]
    CodecOff {
        /// The codec, named as its cargo feature.
        codec: Compression,
    },
    /// Decompressed, the records are more than the caller allows.
    #[error("the batch at offset {base_offset} has more than {max} bytes of records when decompressed")]
    TooLarge {
        /// The batch's first offset.
        base_offset: i64,
        /// The caller's bound in bytes.
        max: usize,
    },
    /// The compressed bytes are not of the codec's format.
    #[error("the batch at offset {base_offset} does not decompress as {codec}: {cause}")]
    Decompress {
        /// The batch's first offset.
        base_offset: i64,
        /// Its codec.
        codec: Compression,
        /// What the codec says.
        cause: Box<str>,
    },
    /// A record breaks the format.
    #[error("record {record} of the batch at offset {base_offset}: {fault}")]
    Record {
        /// The batch's first offset.
        base_offset: i64,
        /// Which record, counted from 0.
        record: u32,
        /// What is wrong.
        fault: Fault,
    },
    /// There are bytes behind the last record that the header counts.
    #[error("the batch at offset {base_offset} counts {count} records and has {bytes} bytes more")]
    Count {
        /// The batch's first offset.
        base_offset: i64,
        /// What the header says.
        count: u32,
        /// Bytes behind that many records.
        bytes: usize,
    },
    /// Misuse: the index is over another buffer, or over one of another kind, or the buffer doesn't
    /// have the batch's records, or it has 4 GiB and more.
    #[error("the records do not lie in the buffer of the index: give each buffer an index of its own")]
    Buffer,
}

/// How a record breaks the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It ends behind the end of the batch, or something in it behind its own end.
    #[error("it ends too early")]
    Short,
    /// There are bytes left behind its last header.
    #[error("it has bytes behind its last header")]
    Long,
    /// A variable-length number of too many bytes.
    #[error("a number in it is too long")]
    Number,
    /// A length or count is below zero and doesn't stand for null.
    #[error("a length in it is below zero")]
    Negative,
    /// Its offset is not above that of the record before, or not between the batch's first and
    /// last.
    #[error("its offset is out of order")]
    Offset,
}
