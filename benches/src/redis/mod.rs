//! What a Redis bench needs besides the clients it measures: a plain connection, and the scan of the wire
//! floor. Both are as small as their purpose allows; neither is a client.

pub mod scan;
pub mod wire;
