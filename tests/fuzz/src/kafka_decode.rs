//! Kafka's decoders against any bytes.
//!
//! **Input:** a choice. Even: which message, which version, then its bytes. Odd: the longest frame,
//! how to split, then the bytes of a connection, frames of requests and of responses.

use bytes::{Bytes, BytesMut};
use tidegate_core::kafka::wire::{
    Request, WireError, correlation_id, read_request, read_response, request_header, split_frame,
    write_request, write_response,
};

use crate::kafka::{chosen, settled};
use crate::source::splits;

/// No panic; an error, or a message that is encoded to bytes that mean the same and come back as they
/// are; a cut message is an error; the same frames however the bytes were split.
pub fn kafka_decode(data: &[u8]) {
    match data.split_first() {
        Some((choice, rest)) if choice % 2 == 0 => message(rest),
        Some((_, rest)) => connection(rest),
        None => {}
    }
}

fn message(data: &[u8]) {
    let Some((row, version, bytes)) = chosen(data) else { return };
    let Ok(again) = (row.again)(version, bytes) else { return };
    assert!((row.same)(version, bytes, &again), "{} {version}", row.name);
    assert!((row.decodes)(version, &Bytes::copy_from_slice(bytes)));
    settled(&row, version, &again);
    if let Some((_, cut)) = bytes.split_last() {
        assert!((row.again)(version, cut).is_err(), "{} {version} without its last byte", row.name);
    }
}

fn connection(data: &[u8]) {
    let Some(([max, seed], bytes)) = data.split_first_chunk() else { return };
    let max = 1 << (max % 16);
    let [whole, cut, single] = splits(bytes, *seed).map(|pieces| frames(&pieces, max));
    assert_eq!(whole, cut);
    assert_eq!(whole, single);
    for frame in whole.0 {
        assert!(frame.len() <= max);
        assert_eq!(correlation_id(&frame).is_ok(), frame.len() >= 4);
        each(&frame);
    }
}

/// Frames that were whole, and the error or how many bytes were left.
fn frames(pieces: &[&[u8]], max: usize) -> (Vec<Bytes>, Result<usize, WireError>) {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match split_frame(&mut buffer, max) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                // What is behind it doesn't count.
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, Ok(buffer.len()))
}

/// As a request it is what its header says. As a response it could be to anything: the last byte but
/// one of the correlation id says to what, the last one in which version.
fn each(frame: &Bytes) {
    macro_rules! requests {
        ($($request:ident)*) => {
            let all = [$((request::<tidegate_core::kafka::wire::$request> as fn(&Bytes)),)*];
            all.iter().for_each(|read| read(frame));
            let all = [$((response::<tidegate_core::kafka::wire::$request> as fn(&Bytes, u8)),)*];
            if let [_, _, which, version, ..] = frame[..]
                && let Some(read) = all.get(usize::from(which) % all.len())
            {
                read(frame, version);
            }
        };
    }
    requests! {
        ApiVersionsRequest ConsumerGroupHeartbeatRequest CreateTopicsRequest FetchRequest
        FindCoordinatorRequest HeartbeatRequest JoinGroupRequest LeaveGroupRequest ListOffsetsRequest
        MetadataRequest OffsetCommitRequest OffsetFetchRequest OffsetForLeaderEpochRequest
        ProduceRequest SaslAuthenticateRequest SaslHandshakeRequest ShareAcknowledgeRequest
        ShareFetchRequest ShareGroupHeartbeatRequest SyncGroupRequest
    }
}

fn request<R: Request>(frame: &Bytes) {
    let Ok((header, request)) = read_request::<R>(frame.clone()) else { return };
    assert_eq!((header.request_api_key, request_header(frame).as_ref()), (R::KEY, Ok(&header)));
    let (correlation, version) = (header.correlation_id, header.request_api_version);
    let client = header.client_id.clone().unwrap_or_default();
    let mut out = BytesMut::new();
    write_request(&mut out, correlation, &client, version, &request).unwrap();
    let (again, same) = read_request::<R>(split_frame(&mut out, usize::MAX).unwrap().unwrap()).unwrap();
    assert_eq!(
        (again.correlation_id, again.client_id.unwrap_or_default(), same),
        (correlation, client, request)
    );
}

fn response<R: Request>(frame: &Bytes, version: u8) {
    let mut versions: Vec<i16> = R::VERSIONS.collect();
    let version = versions.swap_remove(usize::from(version) % versions.len());
    let Ok(response) = read_response::<R>(frame.clone(), version) else { return };
    let mut out = BytesMut::new();
    // A refused ApiVersions is in version 0, whatever was asked (KIP-511).
    let refused = R::NAME == "ApiVersionsRequest" && frame.get(4..6) == Some(&[0, 35]);
    let version = if refused { 0 } else { version };
    write_response::<R>(&mut out, correlation_id(frame).unwrap(), version, &response).unwrap();
    let again = split_frame(&mut out, usize::MAX).unwrap().unwrap();
    assert_eq!(read_response::<R>(again, version).as_ref(), Ok(&response));
}
