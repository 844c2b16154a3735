//! The codec's primitives, with messages of the tests' own that have every type.

#![allow(unreachable_pub)] // the macro makes public types

use bytes::{Bytes, BytesMut};

use super::declare::wire;
use super::{ErrorCode, Kind, Message, Place, Reader, Uuid, Versions, WireError};

wire! {
    /// Every type, classic in version 0 and flexible from version 1.
    data Everything, versions "0-2", flexible "1+" {
        /// Two bytes.
        short: u16 = "0+";
        /// Eight bytes.
        float: f64 = "0+", ignorable true, default 0.5;
        /// One byte.
        flag: bool = "0+";
        /// Sixteen bytes.
        id: Uuid = "0+";
        /// Text.
        text: Option<String> = "0+", nullable "1+", default None;
        /// Bytes.
        bytes: Option<Bytes> = "0+", nullable "0+";
        /// Numbers.
        numbers: Option<Vec<i32>> = "0+", nullable "0-1";
        /// A structure that can be null in later versions only.
        inner: Option<EverythingInner> = "0+", nullable "2+";
        /// A tagged structure.
        tagged: EverythingInner = "2+", tag 5;
        /// A tagged text.
        label: Option<String> = "1+", nullable "1+", tag 9, default None;
    }
}

wire! {
    /// What is inside.
    structure EverythingInner as "Inner" {
        /// Eight bytes.
        long: i64 = "0+", default -7;
        /// Never flexible.
        old: String = "1+", ignorable true, classic true;
    }
}

fn encoded<M: Message>(version: i16, message: &M) -> Result<Vec<u8>, WireError> {
    let mut out = BytesMut::new();
    message.encode(version, &mut out)?;
    Ok(out.to_vec())
}

fn decoded<M: Message>(version: i16, bytes: &[u8]) -> Result<M, WireError> {
    let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
    let message = M::decode(version, &mut reader)?;
    reader.finish::<M>()?;
    Ok(message)
}

fn place(field: &'static str) -> Place {
    Place { message: "Everything", field }
}

fn everything() -> Everything {
    Everything {
        short: 0xabcd,
        float: -1.5,
        flag: true,
        id: Uuid([7; 16]),
        text: Some("é".into()),
        bytes: Some(Bytes::from_static(b"xyz")),
        numbers: Some(vec![1, -1]),
        inner: Some(EverythingInner { long: 2, old: String::new() }),
        ..Default::default()
    }
}

#[test]
fn classic_bytes_are_these() {
    let mut bytes = vec![0xab, 0xcd];
    bytes.extend([0xbf, 0xf8, 0, 0, 0, 0, 0, 0, 1]);
    bytes.extend([7; 16]);
    bytes.extend(b"\0\x02\xc3\xa9\0\0\0\x03xyz\0\0\0\x02\0\0\0\x01\xff\xff\xff\xff");
    bytes.extend(2i64.to_be_bytes());
    assert_eq!(encoded(0, &everything()), Ok(bytes.clone()));
    assert_eq!(decoded(0, &bytes), Ok(everything()));
}

#[test]
fn flexible_bytes_are_these() {
    let mut message = everything();
    message.inner = Some(EverythingInner { long: 2, old: "old".into() });
    message.tagged.long = 3;
    message.label = Some("on".into());
    let mut bytes = vec![0xab, 0xcd];
    bytes.extend([0xbf, 0xf8, 0, 0, 0, 0, 0, 0, 1]);
    bytes.extend([7; 16]);
    bytes.extend(b"\x03\xc3\xa9\x04xyz\x03\0\0\0\x01\xff\xff\xff\xff");
    // There, long, old the old way, no tagged fields.
    bytes.push(1);
    bytes.extend(2i64.to_be_bytes());
    bytes.extend(b"\0\x03old\0");
    // Two tagged fields: 5 of 11 bytes, 9 of 3.
    bytes.extend([2, 5, 11]);
    bytes.extend(3i64.to_be_bytes());
    bytes.extend([0, 0, 0, 9, 3, 3]);
    bytes.extend(b"on");
    assert_eq!(encoded(2, &message), Ok(bytes.clone()));
    assert_eq!(decoded(2, &bytes), Ok(message));
}

#[test]
fn nulls_are_these_and_only_where_they_may_be() {
    let mut message = everything();
    message.bytes = None;
    message.numbers = None;
    let classic = encoded(0, &message).unwrap();
    assert!(classic.ends_with(&[&[0xff; 8][..], &2i64.to_be_bytes()].concat()), "{classic:x?}");
    assert_eq!(decoded(0, &classic), Ok(message.clone()));
    message.text = None;
    let flexible = encoded(1, &message).unwrap();
    assert!(flexible.ends_with(&[&[0; 3][..], &2i64.to_be_bytes(), &[0; 4]].concat()), "{flexible:x?}");
    assert_eq!(decoded(1, &flexible), Ok(message.clone()));
    message.numbers = Some(vec![]);
    message.inner = None;
    let null = encoded(2, &message).unwrap();
    assert!(null.ends_with(&[0, 0, 1, 0xff, 0]), "{null:x?}");
    assert_eq!(decoded(2, &null), Ok(message.clone()));

    let refused = |place, version| WireError::Null { place, version };
    assert_eq!(encoded(0, &message), Err(refused(place("text"), 0)));
    assert_eq!(encoded(1, &message), Err(refused(place("inner"), 1)));
    message.numbers = None;
    assert_eq!(encoded(2, &message), Err(refused(place("numbers"), 2)));
    let mut bytes = encoded(0, &everything()).unwrap();
    bytes[27..29].fill(0xff);
    assert_eq!(decoded::<Everything>(0, &bytes), Err(refused(place("text"), 0)));
}

#[test]
fn every_truncation_is_an_error_that_names_its_field() {
    for version in 0..=2 {
        let bytes = encoded(version, &everything()).unwrap();
        for cut in 0..bytes.len() {
            match decoded::<Everything>(version, &bytes[..cut]).unwrap_err() {
                WireError::Truncated { place, needed, left } => {
                    assert!(needed > left, "{version} cut to {cut}: {place} {needed} {left}");
                }
                WireError::TooManyElements { place, count: 2, .. } => assert_eq!(place.field, "numbers"),
                error => panic!("{version} cut to {cut}: {error}"),
            }
        }
    }
    let error = decoded::<Everything>(0, &[0]).unwrap_err();
    assert_eq!(error.to_string(), "Everything.short needs 2 bytes, and 1 are left");
}

/// Version 1 up to the text, and then what is given.
fn flexible_from_text(rest: &[u8]) -> WireError {
    let bytes = [&[0; 27][..], rest].concat();
    decoded::<Everything>(1, &bytes).unwrap_err()
}

#[test]
fn hostile_lengths_are_told_before_anything_is_done() {
    let mut bytes = encoded(0, &everything()).unwrap();
    bytes[27..29].copy_from_slice(&(-2i16).to_be_bytes());
    let negative = WireError::NegativeLength { place: place("text"), length: -2 };
    assert_eq!(decoded::<Everything>(0, &bytes), Err(negative));

    let huge = WireError::Truncated { place: place("text"), needed: u32::MAX as usize - 1, left: 1 };
    assert_eq!(flexible_from_text(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]), huge);
    let long = WireError::Varint { place: place("text") };
    assert_eq!(flexible_from_text(&[0xff, 0xff, 0xff, 0xff, 0x1f]), long);
    let utf8 = WireError::Utf8 { place: place("text") };
    assert_eq!(flexible_from_text(&[2, 0xff]), utf8);
    // Ten numbers need forty bytes.
    let many = WireError::TooManyElements { place: place("numbers"), count: 10, left: 39 };
    assert_eq!(flexible_from_text(&[&[0, 0, 11][..], &[0; 39]].concat()), many);
}

#[test]
fn tagged_fields_ascend_and_fill_their_bytes() {
    let start = |tagged: &[u8]| [&[0; 30][..], &[0; 8], &[0, 0, 0], tagged].concat();
    let whole = decoded::<Everything>(1, &start(&[2, 9, 2, 2, b'x', 10, 1, 0])).unwrap();
    assert_eq!(whole.label.as_deref(), Some("x"));
    let order = |tag| Err(WireError::TagOrder { message: "Everything", tag });
    assert_eq!(decoded::<Everything>(1, &start(&[2, 9, 1, 0, 9, 1, 0])), order(9));
    assert_eq!(decoded::<Everything>(1, &start(&[2, 9, 1, 0, 8, 1, 0])), order(8));
    let longer = WireError::TagLength { place: place("label"), left: 1 };
    assert_eq!(decoded::<Everything>(1, &start(&[1, 9, 3, 2, b'x', 0])), Err(longer));
    // What is inside may not reach over the end of its section.
    let shorter = WireError::Truncated { place: place("label"), needed: 2, left: 1 };
    assert_eq!(decoded::<Everything>(1, &start(&[1, 9, 2, 3, b'x', b'y'])), Err(shorter));
    // Tag 5 is of version 2, so version 1 skips it.
    assert_eq!(decoded(1, &start(&[1, 5, 1, 0])), decoded::<Everything>(1, &start(&[0])));
}

#[test]
fn what_a_version_does_not_have_is_refused_unless_ignorable() {
    let mut message = everything();
    message.label = Some("on".into());
    let refused = WireError::NotInVersion { place: place("label"), version: 0 };
    assert_eq!(encoded(0, &message), Err(refused.clone()));
    assert_eq!(refused.to_string(), "version 0 has no Everything.label, and it is not at its default");
    let mut message = everything();
    message.inner = Some(EverythingInner { long: 2, old: "ignorable".into() });
    assert_eq!(encoded(0, &message), encoded(0, &everything()));
}

#[test]
fn too_long_for_two_bytes_is_refused() {
    let mut message = everything();
    message.text = Some("x".repeat(32_768));
    let refused = WireError::TooLong { place: place("text"), version: 0, length: 32_768 };
    assert_eq!(encoded(0, &message), Err(refused));
    assert_eq!(decoded(1, &encoded(1, &message).unwrap()), Ok(message));
}

#[test]
fn bytes_are_slices_of_the_frame() {
    let frame = Bytes::from(encoded(0, &everything()).unwrap());
    let message = Everything::decode(0, &mut Reader::new(frame.clone())).unwrap();
    assert!(frame.as_ptr_range().contains(&message.bytes.unwrap().as_ptr()));
}

#[test]
fn the_description_is_the_declaration() {
    let structure = Everything::STRUCTURE;
    assert_eq!((structure.name, structure.fields.len()), ("Everything", 10));
    let inner = &structure.fields[7];
    assert_eq!((inner.name, inner.nullable), ("inner", Versions::of("2+")));
    let Kind::Structure(inner) = inner.kind else { panic!("{inner:?}") };
    assert_eq!((inner.name, inner.fields[0].default), ("Inner", Some("-7")));
    assert!(inner.fields[1].classic && inner.fields[1].ignorable && !inner.fields[0].ignorable);
    assert_eq!(structure.fields[6].kind, Kind::Array(&Kind::Int32));
    assert_eq!((structure.fields[8].tag, structure.fields[7].tag), (Some(5), None));
    assert_eq!((Everything::VERSIONS, Everything::FLEXIBLE), (0..=2, 1));
}

#[test]
fn error_codes_have_names() {
    assert_eq!(ErrorCode::default(), ErrorCode::NONE);
    assert_eq!(ErrorCode(133), ErrorCode::SHARE_SESSION_LIMIT_REACHED);
    assert_eq!(ErrorCode(-1).to_string(), "UNKNOWN_SERVER_ERROR");
    assert_eq!((ErrorCode(134).name(), ErrorCode(134).is_retriable()), ("UNKNOWN", false));
    assert!(!ErrorCode::REBALANCE_IN_PROGRESS.is_retriable());
}
