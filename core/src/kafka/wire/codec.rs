//! Types on the wire: how each is written and read, in both encodings.
//!
//! *Classic*: a string has a length of two bytes, bytes and arrays one of four; -1 is null.
//! *Flexible* (KIP-482): the length plus one, of variable length; 0 is null. A nullable structure
//! has a byte before it, -1 for null, in either.

use bytes::{BufMut, Bytes, BytesMut};

use super::error::{Place, WireError};
use super::reader::Reader;
use super::structure::Kind;
use super::uuid::Uuid;
use super::varint;

/// What a field has to know about where it is.
#[derive(Clone, Copy)]
pub(super) struct Context {
    pub(super) version: i16,
    pub(super) flexible: bool,
    /// Whether this version has a null here.
    pub(super) nullable: bool,
    pub(super) place: Place,
}

impl Context {
    #[cold]
    fn null(&self) -> WireError {
        WireError::Null { place: self.place, version: self.version }
    }

    #[cold]
    fn too_long(&self, length: usize) -> WireError {
        WireError::TooLong { place: self.place, version: self.version, length }
    }

    /// For what is inside.
    fn inside(&self) -> Self {
        Self { nullable: false, ..*self }
    }
}

/// A type that fields have.
pub(super) trait Codec: Sized {
    const KIND: Kind;

    /// A field's default, where its declaration has no other: zero, false, empty, and not null.
    fn initial() -> Self;

    /// The least bytes that a value takes.
    fn minimum(version: i16, flexible: bool) -> usize;

    fn encode(&self, context: &Context, to: &mut BytesMut) -> Result<(), WireError>;

    fn decode(context: &Context, from: &mut Reader) -> Result<Self, WireError>;
}

/// A type that can be null.
pub(super) trait Nullable: Codec {
    /// The least bytes that a value or a null takes: what has a length has it for a null too.
    fn minimum_or_null(version: i16, flexible: bool) -> usize {
        Self::minimum(version, flexible)
    }

    /// The null's own bytes. Only for versions that have one.
    fn encode_null(context: &Context, to: &mut BytesMut);

    /// As [`Codec::encode`], with what a nullable field has before a value.
    fn encode_some(&self, context: &Context, to: &mut BytesMut) -> Result<(), WireError> {
        self.encode(context, to)
    }

    /// A value or a null, whether this version has one or not.
    fn decode_nullable(context: &Context, from: &mut Reader) -> Result<Option<Self>, WireError>;
}

impl<T: Nullable> Codec for Option<T> {
    const KIND: Kind = T::KIND;

    fn initial() -> Self {
        Some(T::initial())
    }

    fn minimum(version: i16, flexible: bool) -> usize {
        T::minimum_or_null(version, flexible)
    }

    fn encode(&self, context: &Context, to: &mut BytesMut) -> Result<(), WireError> {
        match self {
            Some(value) => value.encode_some(context, to),
            None if context.nullable => {
                T::encode_null(context, to);
                Ok(())
            }
            None => Err(context.null()),
        }
    }

    fn decode(context: &Context, from: &mut Reader) -> Result<Self, WireError> {
        let value = T::decode_nullable(context, from)?;
        if value.is_none() && !context.nullable {
            return Err(context.null());
        }
        Ok(value)
    }
}

macro_rules! number {
    ($type:ty, $kind:ident) => {
        impl Codec for $type {
            const KIND: Kind = Kind::$kind;

            fn initial() -> Self {
                Self::default()
            }

            #[inline]
            fn minimum(_: i16, _: bool) -> usize {
                size_of::<Self>()
            }

            #[inline]
            fn encode(&self, _: &Context, to: &mut BytesMut) -> Result<(), WireError> {
                to.put_slice(&self.to_be_bytes());
                Ok(())
            }

            #[inline]
            fn decode(context: &Context, from: &mut Reader) -> Result<Self, WireError> {
                Ok(Self::from_be_bytes(from.array(context.place)?))
            }
        }
    };
}

number!(i8, Int8);
number!(i16, Int16);
number!(u16, Uint16);
number!(i32, Int32);
number!(i64, Int64);
number!(f64, Float64);

impl Codec for bool {
    const KIND: Kind = Kind::Bool;

    fn initial() -> Self {
        false
    }

    fn minimum(_: i16, _: bool) -> usize {
        1
    }

    fn encode(&self, _: &Context, to: &mut BytesMut) -> Result<(), WireError> {
        to.put_u8(u8::from(*self));
        Ok(())
    }

    fn decode(context: &Context, from: &mut Reader) -> Result<Self, WireError> {
        Ok(from.array(context.place)? != [0])
    }
}

impl Codec for Uuid {
    const KIND: Kind = Kind::Uuid;

    fn initial() -> Self {
        Self::ZERO
    }

    fn minimum(_: i16, _: bool) -> usize {
        16
    }

    fn encode(&self, _: &Context, to: &mut BytesMut) -> Result<(), WireError> {
        to.put_slice(&self.0);
        Ok(())
    }

    fn decode(context: &Context, from: &mut Reader) -> Result<Self, WireError> {
        Ok(Self(from.array(context.place)?))
    }
}

/// How a length is written in classic versions.
#[derive(Clone, Copy)]
enum Width {
    Two,
    Four,
}

fn encode_length(len: usize, width: Width, context: &Context, to: &mut BytesMut) -> Result<(), WireError> {
    match (context.flexible, width) {
        // Above what a signed number can say, Kafka's own reader sees a negative length.
        (true, _) if len < i32::MAX as usize => varint::put_unsigned(len as u32 + 1, to),
        (false, Width::Two) if len <= i16::MAX as usize => to.put_i16(len as i16),
        (false, Width::Four) if len <= i32::MAX as usize => to.put_i32(len as i32),
        _ => return Err(context.too_long(len)),
    }
    Ok(())
}

fn encode_null_length(width: Width, context: &Context, to: &mut BytesMut) {
    match (context.flexible, width) {
        (true, _) => varint::put_unsigned(0, to),
        (false, Width::Two) => to.put_i16(-1),
        (false, Width::Four) => to.put_i32(-1),
    }
}

/// A length, or `None` for null.
#[inline]
fn decode_length(width: Width, context: &Context, from: &mut Reader) -> Result<Option<usize>, WireError> {
    let place = context.place;
    let length = match (context.flexible, width) {
        (true, _) => i64::from(from.unsigned(place)?) - 1,
        (false, Width::Two) => i64::from(i16::from_be_bytes(from.array(place)?)),
        (false, Width::Four) => i64::from(i32::from_be_bytes(from.array(place)?)),
    };
    match length {
        -1 => Ok(None),
        0.. => Ok(Some(length as usize)),
        _ => Err(WireError::NegativeLength { place, length }),
    }
}

/// The least bytes of a length.
fn minimum_length(width: Width, flexible: bool) -> usize {
    match (flexible, width) {
        (true, _) => 1,
        (false, Width::Two) => 2,
        (false, Width::Four) => 4,
    }
}

/// What types with a length have in common.
macro_rules! with_length {
    ($width:ident) => {
        fn minimum(_: i16, flexible: bool) -> usize {
            minimum_length(Width::$width, flexible)
        }

        #[inline]
        fn decode(context: &Context, from: &mut Reader) -> Result<Self, WireError> {
            Self::decode_nullable(context, from)?.ok_or_else(|| context.null())
        }
    };
}

impl Codec for String {
    const KIND: Kind = Kind::Text;

    fn initial() -> Self {
        Self::new()
    }

    with_length!(Two);

    fn encode(&self, context: &Context, to: &mut BytesMut) -> Result<(), WireError> {
        encode_length(self.len(), Width::Two, context, to)?;
        to.put_slice(self.as_bytes());
        Ok(())
    }
}

impl Nullable for String {
    fn encode_null(context: &Context, to: &mut BytesMut) {
        encode_null_length(Width::Two, context, to);
    }

    fn decode_nullable(context: &Context, from: &mut Reader) -> Result<Option<Self>, WireError> {
        match decode_length(Width::Two, context, from)? {
            Some(len) => Ok(Some(from.text(len, context.place)?)),
            None => Ok(None),
        }
    }
}

impl Codec for Bytes {
    const KIND: Kind = Kind::Bytes;

    fn initial() -> Self {
        Self::new()
    }

    with_length!(Four);

    fn encode(&self, context: &Context, to: &mut BytesMut) -> Result<(), WireError> {
        encode_length(self.len(), Width::Four, context, to)?;
        to.put_slice(self);
        Ok(())
    }
}

impl Nullable for Bytes {
    fn encode_null(context: &Context, to: &mut BytesMut) {
        encode_null_length(Width::Four, context, to);
    }

    fn decode_nullable(context: &Context, from: &mut Reader) -> Result<Option<Self>, WireError> {
        match decode_length(Width::Four, context, from)? {
            Some(len) => Ok(Some(from.bytes(len, context.place)?)),
            None => Ok(None),
        }
    }
}

impl<T: Codec> Codec for Vec<T> {
    const KIND: Kind = Kind::Array(&T::KIND);

    fn initial() -> Self {
        Self::new()
    }

    with_length!(Four);

    fn encode(&self, context: &Context, to: &mut BytesMut) -> Result<(), WireError> {
        encode_length(self.len(), Width::Four, context, to)?;
        let context = context.inside();
        self.iter().try_for_each(|element| element.encode(&context, to))
    }
}

impl<T: Codec> Nullable for Vec<T> {
    fn encode_null(context: &Context, to: &mut BytesMut) {
        encode_null_length(Width::Four, context, to);
    }

    fn decode_nullable(context: &Context, from: &mut Reader) -> Result<Option<Self>, WireError> {
        let Some(count) = decode_length(Width::Four, context, from)? else {
            return Ok(None);
        };
        // So that what is allocated at once is a constant times the bytes that are there.
        if count > from.left() / T::minimum(context.version, context.flexible).max(1) {
            return Err(WireError::TooManyElements { place: context.place, count, left: from.left() });
        }
        let context = context.inside();
        let mut elements = Self::with_capacity(count);
        for _ in 0..count {
            elements.push(T::decode(&context, from)?);
        }
        Ok(Some(elements))
    }
}

/// A nullable structure that is null.
pub(super) fn encode_absent(to: &mut BytesMut) {
    to.put_i8(-1);
}

/// A structure in a field that can be null in some version; in this one there's a byte before it.
pub(super) fn encode_present<T: Codec>(
    value: &T,
    context: &Context,
    to: &mut BytesMut,
) -> Result<(), WireError> {
    if context.nullable {
        to.put_i8(1);
    }
    value.encode(context, to)
}

/// Reads what [`encode_absent`] and [`encode_present`] write. As Kafka does, takes any byte that
/// isn't negative for "present".
pub(super) fn decode_present<T: Codec>(context: &Context, from: &mut Reader) -> Result<Option<T>, WireError> {
    if context.nullable && i8::from_be_bytes(from.array(context.place)?) < 0 {
        return Ok(None);
    }
    T::decode(context, from).map(Some)
}
