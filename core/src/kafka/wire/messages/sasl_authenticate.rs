//! A step of a SASL exchange (KIP-152, KIP-368).

use bytes::Bytes;

use crate::kafka::wire::declare::wire;

wire! {
    /// The client's step.
    request SaslAuthenticateRequest = 36,
    versions "0-2", flexible "2+", response SaslAuthenticateResponse {
        /// The mechanism's own. Secret: not for logs.
        auth_bytes: Bytes = "0+";
    }
}

wire! {
    /// The broker's step.
    response SaslAuthenticateResponse, versions "0-2", flexible "2+" {
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The error in words, where the broker has some.
        error_message: Option<String> = "0+", nullable "0+";
        /// The mechanism's own.
        auth_bytes: Bytes = "0+";
        /// Milliseconds until the client has to authenticate again (KIP-368); 0: never.
        session_lifetime_ms: i64 = "1+", ignorable true;
    }
}
