//! What stands before every request and every response.

use crate::kafka::wire::declare::wire;

wire! {
    /// Before every request. Version 2 before flexible requests, else 1.
    data RequestHeader, versions "1-2", flexible "2+" {
        /// One of [`api_key`](crate::kafka::wire::api_key).
        request_api_key: i16 = "0+";
        /// The version of the request, and of its response.
        request_api_version: i16 = "0+";
        /// What the response repeats.
        correlation_id: i32 = "0+";
        /// The client's name, for the broker's logs and quotas.
        client_id: Option<String> = "1+", nullable "1+", classic true;
    }
}

wire! {
    /// Before every response. Version 1 before flexible responses, else 0; always 0 before
    /// ApiVersions'.
    data ResponseHeader, versions "0-1", flexible "1+" {
        /// What the response repeats.
        correlation_id: i32 = "0+";
    }
}
