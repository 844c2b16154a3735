//! Where a server is.

use std::fmt;
use std::sync::Arc;

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// A host name or address, as the user or the broker named it; an IPv6 address without
    /// brackets.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// Whether the bytes go through TLS. Never turned off by what a broker answers.
    pub tls: bool,
}

impl Endpoint {
    /// A plain-text endpoint.
    pub fn tcp(host: &str, port: u16) -> Self {
        Self { host: host.into(), port, tls: false }
    }
}

/// `host:port`, brackets around an IPv6 address.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
