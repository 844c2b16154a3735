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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::wire::{
        ApiVersionsRequest, ApiVersionsResponse, ErrorCode, HeartbeatRequest, HeartbeatResponse,
        LeaveGroupRequest, SaslHandshakeRequest,
    };

    fn framed(write: impl FnOnce(&mut BytesMut) -> Result<(), WireError>) -> Bytes {
        let mut out = BytesMut::from(&b"before"[..]);
        write(&mut out).unwrap();
        let mut out = out.split_off(6);
        let frame = split_frame(&mut out, 1000).unwrap().unwrap();
        assert!(out.is_empty());
        frame
    }

    #[test]
    fn requests_have_the_header_of_their_version() {
        let request = HeartbeatRequest { group_id: "g".into(), ..Default::default() };
        let classic = framed(|out| write_request(out, 5, "me", 3, &request));
        assert_eq!(classic[..], *b"\0\x0c\0\x03\0\0\0\x05\0\x02me\0\x01g\0\0\0\0\0\0\xff\xff");
        let flexible = framed(|out| write_request(out, 5, "me", 4, &request));
        assert_eq!(flexible[..], *b"\0\x0c\0\x04\0\0\0\x05\0\x02me\0\x02g\0\0\0\0\x01\0\0");
        for frame in [classic, flexible] {
            let (header, read) = read_request::<HeartbeatRequest>(frame.clone()).unwrap();
            assert_eq!((header.correlation_id, header.client_id.as_deref()), (5, Some("me")));
            assert_eq!(header, request_header(&frame).unwrap());
            assert_eq!(read, request);
            let wrong = WireError::ApiKey { expected: 13, found: 12 };
            assert_eq!(read_request::<LeaveGroupRequest>(frame), Err(wrong));
        }
    }

    #[test]
    fn responses_have_the_header_of_their_version() {
        let response = HeartbeatResponse { error_code: 27, ..Default::default() };
        let classic = framed(|out| write_response::<HeartbeatRequest>(out, 9, 3, &response));
        assert_eq!(classic[..], *b"\0\0\0\x09\0\0\0\0\0\x1b");
        let flexible = framed(|out| write_response::<HeartbeatRequest>(out, 9, 4, &response));
        assert_eq!(flexible[..], *b"\0\0\0\x09\0\0\0\0\0\0\x1b\0");
        for (frame, version) in [(classic, 3), (flexible, 4)] {
            assert_eq!(correlation_id(&frame), Ok(9));
            assert_eq!(read_response::<HeartbeatRequest>(frame.clone(), version), Ok(response.clone()));
            for cut in 0..frame.len() {
                let cut = frame.slice(..cut);
                let error = read_response::<HeartbeatRequest>(cut, version).unwrap_err();
                assert!(matches!(error, WireError::Truncated { .. }), "{error}");
            }
            let longer = Bytes::from([&frame[..], &[0]].concat());
            let trailing = WireError::TrailingBytes { message: "HeartbeatResponse", left: 1 };
            assert_eq!(read_response::<HeartbeatRequest>(longer, version), Err(trailing));
        }
        assert!(correlation_id(&Bytes::from_static(b"\0\0\0")).is_err());
    }

    #[test]
    fn api_versions_has_the_oldest_header_and_falls_back_to_version_0() {
        let response = ApiVersionsResponse { throttle_time_ms: 3, ..Default::default() };
        let frame = framed(|out| write_response::<ApiVersionsRequest>(out, 1, 4, &response));
        assert_eq!(frame[..], *b"\0\0\0\x01\0\0\x01\0\0\0\x03\0");
        assert_eq!(read_response::<ApiVersionsRequest>(frame, 4), Ok(response));

        let old = ApiVersionsResponse { error_code: 35, ..Default::default() };
        let frame = framed(|out| write_response::<ApiVersionsRequest>(out, 1, 0, &old));
        let read = read_response::<ApiVersionsRequest>(frame, 4).unwrap();
        assert_eq!(ErrorCode(read.error_code), ErrorCode::UNSUPPORTED_VERSION);
    }

    #[test]
    fn what_cannot_be_said_leaves_the_buffer_alone() {
        let mut out = BytesMut::from(&b"before"[..]);
        let request = SaslHandshakeRequest { mechanism: "x".repeat(40_000) };
        assert!(matches!(write_request(&mut out, 1, "", 1, &request), Err(WireError::TooLong { .. })));
        let unsupported = WireError::UnsupportedVersion { message: "SaslHandshakeRequest", version: 2 };
        assert_eq!(write_request(&mut out, 1, "", 2, &SaslHandshakeRequest::default()), Err(unsupported));
        assert_eq!(out[..], *b"before");
    }

    #[test]
    fn frames_are_split_at_any_cut_and_bounded() {
        let bytes = b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01";
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        for byte in bytes {
            buffer.extend_from_slice(&[*byte]);
            frames.extend(split_frame(&mut buffer, 3).unwrap());
        }
        assert_eq!(frames, [Bytes::from_static(b"abc"), Bytes::new()]);
        assert_eq!(buffer[..], [0, 0, 0, 1]);

        let mut buffer = BytesMut::from(&[0, 0, 0, 4][..]);
        assert_eq!(split_frame(&mut buffer, 3), Err(WireError::FrameTooLong { length: 4, bound: 3 }));
        let mut buffer = BytesMut::from(&[0xff; 4][..]);
        assert_eq!(split_frame(&mut buffer, 3), Err(WireError::FrameLength { length: -1 }));
        assert_eq!(buffer.len(), 4);
    }
}
