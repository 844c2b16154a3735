//! Messages described as data, from the same declaration as their code.

use super::Versions;

/// A message, or a structure inside one.
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub struct Structure {
    /// As Kafka's message definitions name it. Not unique: several messages have a
    /// `TopicPartitions`.
    pub name: &'static str,
    /// Its fields, in the order of the definition, which is the order on the wire.
    pub fields: &'static [Field],
}

/// A field of a [`Structure`].
#[derive(Debug, PartialEq)]
#[non_exhaustive]
pub struct Field {
    /// In snake_case.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Versions of the message that have it.
    pub versions: Versions,
    /// Versions in which it may be null.
    pub nullable: Versions,
    /// Its tag, when it is a tagged field (KIP-482), in all versions that have it.
    pub tag: Option<u32>,
    /// Whether a version without it may be encoded although it isn't at its default.
    pub ignorable: bool,
    /// Whether it is written the old way in flexible versions too: only a request header's
    /// client id is.
    pub classic: bool,
    /// Its default as a Rust expression, where that isn't zero, false, or empty.
    pub default: Option<&'static str>,
}

/// A type on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// One byte, false when zero.
    Bool,
    /// A signed byte.
    Int8,
    /// Two bytes, big-endian, as are all that follow.
    Int16,
    /// Two bytes without a sign.
    Uint16,
    /// Four bytes.
    Int32,
    /// Eight bytes.
    Int64,
    /// Eight bytes, IEEE 754.
    Float64,
    /// Sixteen bytes.
    Uuid,
    /// A length and UTF-8.
    Text,
    /// A length and bytes; `bytes` and `records` of the definitions, which look the same.
    Bytes,
    /// A count and elements.
    Array(&'static Kind),
    /// Fields in order; in flexible versions tagged fields behind them.
    Structure(&'static Structure),
}
