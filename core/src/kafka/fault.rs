//! Errors that a broker answered, by what follows from them.
//!
//! Each request has its own table beside its answer's handler, as the same code means different
//! things there; what all have in common is here: the words for the operator.

use super::wire::ErrorCode;
use crate::error::Error;
use crate::stream::StreamKey;

/// The broker's error as a value with cause and way out.
pub(super) fn error_of(code: ErrorCode, command: &'static str, stream: Option<&StreamKey>) -> Error {
    match (code, stream) {
        (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID, Some(stream)) => {
            Error::StreamMissing { stream: stream.clone() }
        }
        (ErrorCode::TOPIC_AUTHORIZATION_FAILED, Some(stream)) => {
            Error::Permission { command, message: format!("{} on {stream}", code.name()).into() }
        }
        (
            ErrorCode::TOPIC_AUTHORIZATION_FAILED
            | ErrorCode::GROUP_AUTHORIZATION_FAILED
            | ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            _,
        ) => Error::Permission { command, message: code.to_string().into() },
        (code, _) if code.is_retriable() => Error::Unavailable { message: code.to_string().into() },
        (code, _) => Error::Broker { command, message: code.to_string().into() },
    }
}
