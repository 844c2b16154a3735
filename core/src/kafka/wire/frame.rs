//! Frames: a length of four bytes, a header, a message.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::error::{Place, WireError};
use super::messages::{RequestHeader, ResponseHeader};
use super::reader::Reader;
use super::{Message, Request, api_key};

/// Bytes of the length before a frame.
const PREFIX: usize = 4;

/// Looks whether a whole frame is at the front of `buffer`, and splits it off without its length.
///
/// Constant work a call: no byte of a frame is looked at, none is copied.
///
/// # Errors
///
/// [`WireError::FrameTooLong`] for a frame of more than `max` bytes, [`WireError::FrameLength`]
/// for a negative length; both as soon as the length is there. The buffer is left as it is.
///
/// ```
/// use bytes::BytesMut;
/// use tidegate_core::kafka::wire::split_frame;
///
/// let mut buffer = BytesMut::from(&[0, 0, 0, 2, b'a'][..]);
/// assert_eq!(split_frame(&mut buffer, 100)?, None);
/// buffer.extend_from_slice(b"b\0");
/// assert_eq!(split_frame(&mut buffer, 100)?.as_deref(), Some(&b"ab"[..]));
/// assert_eq!(buffer[..], [0]);
/// # Ok::<(), tidegate_core::kafka::wire::WireError>(())
/// ```
pub fn split_frame(buffer: &mut BytesMut, max: usize) -> Result<Option<Bytes>, WireError> {
    let Some(prefix) = buffer.first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*prefix);
    let Ok(len) = usize::try_from(length) else {
        return Err(WireError::FrameLength { length });
    };
    if len > max {
        return Err(WireError::FrameTooLong { length: len, bound: max });
    }
    if buffer.len() - PREFIX < len {
        return Ok(None);
    }
    buffer.advance(PREFIX);
    Ok(Some(buffer.split_to(len).freeze()))
}

/// The correlation id that a response begins with: that of the request that it answers.
///
/// # Errors
///
/// [`WireError::Truncated`].
pub fn correlation_id(frame: &Bytes) -> Result<i32, WireError> {
    let needed = size_of::<i32>();
    match frame.first_chunk() {
        Some(bytes) => Ok(i32::from_be_bytes(*bytes)),
        None => Err(WireError::Truncated {
            place: Place { message: "ResponseHeader", field: "correlation_id" },
            needed,
            left: frame.len(),
        }),
    }
}

/// Appends one whole frame: its length, the request header of this version, the request.
///
/// # Errors
///
/// Those of [`Message::encode`], and [`WireError::FrameTooLong`] above [`i32::MAX`] bytes; `out`
/// is then as it was.
///
/// ```
/// use bytes::BytesMut;
/// use tidegate_core::kafka::wire::{ApiVersionsRequest, write_request};
///
/// let mut out = BytesMut::new();
/// write_request(&mut out, 1, "me", 0, &ApiVersionsRequest::default())?;
/// assert_eq!(out[..], *b"\0\0\0\x0c\0\x12\0\0\0\0\0\x01\0\x02me");
/// # Ok::<(), tidegate_core::kafka::wire::WireError>(())
/// ```
pub fn write_request<R: Request>(
    out: &mut BytesMut,
    correlation: i32,
    client_id: &str,
    version: i16,
    request: &R,
) -> Result<(), WireError> {
    let header = RequestHeader {
        request_api_key: R::KEY,
        request_api_version: version,
        correlation_id: correlation,
        client_id: Some(client_id.to_owned()),
    };
    write_frame(out, |out| {
        header.encode(request_header_version::<R>(version), out)?;
        request.encode(version, out)
    })
}

/// The response in a frame, which begins at the correlation id ([`correlation_id`]).
///
/// `version` is the request's. A broker that doesn't know the version of an ApiVersionsRequest
/// answers with error 35 in version 0, whatever was asked (KIP-511); so that is how such an
/// answer is read.
///
/// # Errors
///
/// Those of [`Message::decode`], and [`WireError::TrailingBytes`].
pub fn read_response<R: Request>(frame: Bytes, version: i16) -> Result<R::Response, WireError> {
    const UNSUPPORTED_VERSION: [u8; 2] = super::ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes();
    let mut reader = Reader::new(frame.clone());
    ResponseHeader::decode(response_header_version::<R>(version), &mut reader)?;
    let mut version = version;
    if R::KEY == api_key::API_VERSIONS && frame.get(4..6) == Some(&UNSUPPORTED_VERSION) {
        version = 0;
    }
    let response = R::Response::decode(version, &mut reader)?;
    reader.finish::<R::Response>()?;
    Ok(response)
}

/// The header of a request, for who plays the broker: its API key, version and correlation id
/// stand at the same place in all header versions.
///
/// # Errors
///
/// [`WireError::Truncated`].
pub fn request_header(frame: &Bytes) -> Result<RequestHeader, WireError> {
    RequestHeader::decode(1, &mut Reader::new(frame.clone()))
}

/// The request in a frame, for who plays the broker.
///
/// # Errors
///
/// [`WireError::ApiKey`] when it is another request, else those of [`Message::decode`], and
/// [`WireError::TrailingBytes`].
pub fn read_request<R: Request>(frame: Bytes) -> Result<(RequestHeader, R), WireError> {
    let header = request_header(&frame)?;
    if header.request_api_key != R::KEY {
        return Err(WireError::ApiKey { expected: R::KEY, found: header.request_api_key });
    }
    let version = header.request_api_version;
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(request_header_version::<R>(version), &mut reader)?;
    let request = R::decode(version, &mut reader)?;
    reader.finish::<R>()?;
    Ok((header, request))
}

/// Appends one whole frame with a response, for who plays the broker.
///
/// # Errors
///
/// As [`write_request`].
pub fn write_response<R: Request>(
    out: &mut BytesMut,
    correlation: i32,
    version: i16,
    response: &R::Response,
) -> Result<(), WireError> {
    let header = ResponseHeader { correlation_id: correlation };
    write_frame(out, |out| {
        header.encode(response_header_version::<R>(version), out)?;
        response.encode(version, out)
    })
}

/// Requests have header 2 in flexible versions, 1 in others; header 0 is gone with Kafka 4.
fn request_header_version<R: Request>(version: i16) -> i16 {
    if version >= R::FLEXIBLE { 2 } else { 1 }
}

/// Responses have header 1 in flexible versions, 0 in others. ApiVersions always has 0, because
/// it is read before the broker's versions are known (KIP-511).
fn response_header_version<R: Request>(version: i16) -> i16 {
    i16::from(version >= R::Response::FLEXIBLE && R::KEY != api_key::API_VERSIONS)
}

/// Appends what `write` does with its length before it, or nothing.
fn write_frame(
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> Result<(), WireError>,
) -> Result<(), WireError> {
    let start = out.len();
    out.put_i32(0);
    let written = write(out).and_then(|()| {
        let length = out.len() - start - PREFIX;
        i32::try_from(length).map_err(|_| WireError::FrameTooLong { length, bound: i32::MAX as usize })
    });
    match written {
        Ok(length) => {
            // Proved: four bytes were put there.
            out[start..start + PREFIX].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}
