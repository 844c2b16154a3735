//! Chooses a SASL mechanism (KIP-43).

use crate::kafka::wire::declare::wire;

wire! {
    /// Names the mechanism to be used.
    request SaslHandshakeRequest = 17, versions "0-1", flexible "none", response SaslHandshakeResponse {
        /// The mechanism's name: `PLAIN`, `SCRAM-SHA-256` and so on.
        mechanism: String = "0+";
    }
}

wire! {
    /// Whether the broker has it.
    response SaslHandshakeResponse, versions "0-1", flexible "none" {
        /// An [`ErrorCode`](crate::kafka::wire::ErrorCode); 0: none.
        error_code: i16 = "0+";
        /// The broker's mechanisms.
        mechanisms: Vec<String> = "0+";
    }
}
