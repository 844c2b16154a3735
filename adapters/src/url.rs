//! The URL of a stream.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use tidegate_core::kafka::{Pattern, is_topic_name};
use tidegate_core::{ConsumerError, ConsumerOptions, Endpoint, Error, Login, Secret, StreamKey};
use url::{Host, Url, form_urlencoded};

use crate::any::Backend;

/// Which servers, which streams:
///
/// - `redis://[user:password@]host[:port][,host[:port]…]/stream[,stream…][?db=N]`
/// - `kafka://[user:password@]host[:port][,host[:port]…]/topic[,topic…]`
///
/// The port is 6379, or 9092, unless it is named. An IPv6 address stands in brackets. User,
/// password and streams are percent-decoded, a Redis stream to any bytes: a comma in its name is
/// `%2C`. Kafka's user and password are for SASL PLAIN. `Debug` and `Display` show no password.
///
/// On Kafka a name that begins with `^` is a regular expression ([`Pattern`]): all topics whose
/// whole name matches are read, those that appear later as well. `^`, `\`, `{` and the like stand for
/// themselves; what a URL gives another meaning is encoded: `,` as `%2C`, `?` as `%3F`, `#` as `%23`,
/// `%` as `%25`. In a shell the URL goes in single quotes.
///
/// ```
/// # use tidegate::{Backend, StreamUrl};
/// let url: StreamUrl = "redis://:secret@localhost/orders,returns?db=2".parse()?;
/// assert_eq!(url.streams().len(), 2);
/// assert_eq!(url.to_string(), "redis://:…@localhost:6379/orders,returns?db=2");
///
/// let url: StreamUrl = "kafka://one,two:9093/orders".parse()?;
/// assert_eq!(url.backend(), Backend::Kafka);
/// assert_eq!(url.endpoints()[0].port, 9092);
///
/// let url: StreamUrl = r"kafka://one/returns,^orders-\d{2%2C4}".parse()?;
/// assert_eq!(url.streams()[1].as_bytes(), br"^orders-\d{2,4}");
/// # Ok::<(), tidegate::UrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StreamUrl {
    backend: Backend,
    endpoints: Vec<Endpoint>,
    streams: Vec<StreamKey>,
    login: Option<Login>,
    database: Option<u32>,
}

/// What is wrong with a URL, and how to mend it; one line, never with a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// There is no `scheme://`.
    #[error("the URL has no scheme: write redis://host/stream or kafka://host/topic")]
    NoScheme,
    /// The scheme is none of a stream's.
    #[error("'{0}' is no scheme of a stream: use redis:// or kafka://")]
    UnknownScheme(Box<str>),
    /// The scheme is meant to work, and doesn't yet.
    #[error("{0}:// is not supported yet: use redis:// or kafka://")]
    NotSupportedYet(Box<str>),
    /// There is no host, or an empty one in the list.
    #[error("the URL names no host, or an empty one: write {0}://host/stream")]
    NoHost(Backend),
    /// A host can't be read.
    #[error(
        "'{0}', with what follows it, is no host[:port]: the port is 1 to 65535, an IPv6 address stands in brackets"
    )]
    Host(Box<str>),
    /// A host can't be read, and an `@` after it says that it may be a password.
    #[error(
        "the host can't be read: in user and password write / as %2F, ? as %3F, # as %23, @ as %40, : as %3A"
    )]
    Unescaped,
    /// A user without a password.
    #[error("the URL has a user but no password: write user:password@host")]
    NoPassword,
    /// A password without a user, which Kafka always has.
    #[error("the URL has a password but no user: write user:password@host")]
    NoUser,
    /// User or password is not text.
    #[error("user or password is not UTF-8 after percent-decoding")]
    LoginText,
    /// A `%` is not followed by two hex digits.
    #[error("a '%' in the {0} is not followed by two hex digits: write the '%' itself as %25")]
    Percent(&'static str),
    /// There is no stream, or an empty one in the list.
    #[error("the URL names no stream, or an empty one: write {0}://host/stream[,stream…]")]
    NoStream(Backend),
    /// No topic can have this name.
    #[error(
        "'{0}' is no name of a topic: it is 1 to 249 of a-z, A-Z, 0-9, '.', '_' and '-', not . or .. alone; a \
         pattern begins with ^, and a comma in it is %2C"
    )]
    Topic(Box<str>),
    /// What is meant as a pattern of topics is none; the words are those of [`Pattern::new`].
    #[error("{0}; in a URL write ',' as %2C, '?' as %3F, '#' as %23, '%' as %25")]
    Pattern(Box<str>),
    /// There is a fragment.
    #[error("the URL has a '#': in a stream's name write it as %23")]
    Fragment,
    /// A query parameter that means nothing here.
    #[error(
        "the URL's parameter '{0}' is unknown: there is db=N, of Redis alone (in a stream's name write '?' as %3F)"
    )]
    Parameter(Box<str>),
    /// The database is no number.
    #[error("db={0} is no database: it is a number from 0")]
    Database(Box<str>),
}

impl From<UrlError> for ConsumerError {
    fn from(error: UrlError) -> Self {
        Self::Failed(Error::Options(error.to_string().into()))
    }
}

impl StreamUrl {
    /// Whose streams they are.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The servers, in order; at least one.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The streams, in order; at least one. Those of Kafka that begin with `^` are patterns.
    pub fn streams(&self) -> &[StreamKey] {
        &self.streams
    }

    /// User and password, if the URL has them.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// The database, if the URL has it.
    pub fn database(&self) -> Option<u32> {
        self.database
    }

    /// The options with what the URL says: its login and database take the place of theirs.
    #[must_use]
    pub fn apply(&self, mut options: ConsumerOptions) -> ConsumerOptions {
        if let Some(login) = &self.login {
            options.login = Some(login.clone());
        }
        if let Some(database) = self.database {
            options.database = database;
        }
        options
    }
}

impl FromStr for StreamUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        let backend = match &*scheme.to_ascii_lowercase() {
            "redis" => Backend::Redis,
            "kafka" => Backend::Kafka,
            scheme @ ("rediss" | "kafkas" | "stdio") => {
                return Err(UrlError::NotSupportedYet(scheme.into()));
            }
            // What precedes may be anything, a password too, if this is no URL at all.
            other if other.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) => {
                return Err(UrlError::UnknownScheme(other.into()));
            }
            _ => return Err(UrlError::NoScheme),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (parse_login(backend, login)?, hosts),
            None => (None, authority),
        };
        let endpoints: Result<Vec<_>, _> = hosts.split(',').map(|host| parse_host(backend, host)).collect();
        // Behind an unescaped slash there may be the rest of a password, before it the start.
        let endpoints =
            endpoints.map_err(|error| if rest.contains('@') { UrlError::Unescaped } else { error })?;
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let names = path.strip_prefix('/').unwrap_or(path);
        let streams: Result<Vec<_>, _> = names.split(',').map(|name| parse_stream(backend, name)).collect();
        let streams = streams?;
        // The end of a pattern, and no empty query.
        let is_cut = backend == Backend::Kafka && path.len() < rest.len() && query.is_empty();
        if is_cut && streams.iter().any(Pattern::is_one) {
            return Err(UrlError::Parameter("".into()));
        }
        Ok(Self { backend, endpoints, streams, login, database: parse_query(backend, query)? })
    }
}

/// Where a broker listens unless it is told otherwise.
fn port(backend: Backend) -> u16 {
    match backend {
        Backend::Redis => 6379,
        Backend::Kafka => 9092,
    }
}

fn parse_login(backend: Backend, text: &str) -> Result<Option<Login>, UrlError> {
    if text.is_empty() {
        return Ok(None);
    }
    let (user, password) = text.split_once(':').ok_or(UrlError::NoPassword)?;
    let decode = |text: &str| {
        let bytes = decode(text, "user or password")?;
        String::from_utf8(bytes).map_err(|_| UrlError::LoginText)
    };
    let user = if user.is_empty() { None } else { Some(decode(user)?) };
    if password.is_empty() {
        return Err(UrlError::NoPassword);
    }
    if user.is_none() && backend == Backend::Kafka {
        return Err(UrlError::NoUser);
    }
    Ok(Some(Login { user, password: Secret::new(decode(password)?) }))
}

fn parse_host(backend: Backend, text: &str) -> Result<Endpoint, UrlError> {
    if text.is_empty() || text.starts_with(':') {
        return Err(UrlError::NoHost(backend));
    }
    // What stands where a port should may be a password whose host was forgotten.
    let shown = if text.starts_with('[') { text } else { text.split(':').next().unwrap_or_default() };
    let wrong = || UrlError::Host(shown.escape_debug().to_string().into());
    // Of any scheme that has no port of its own.
    let url = Url::parse(&format!("redis://{text}/")).map_err(|_| wrong())?;
    let host = match url.host() {
        Some(Host::Domain(name)) => {
            let name = percent_decode_str(name).decode_utf8().map_err(|_| wrong())?;
            if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return Err(wrong());
            }
            name.into_owned()
        }
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return Err(wrong()),
    };
    match url.port().unwrap_or(port(backend)) {
        0 => Err(wrong()),
        port => Ok(Endpoint::tcp(&host, port)),
    }
}

fn parse_stream(backend: Backend, text: &str) -> Result<StreamKey, UrlError> {
    if text.is_empty() {
        return Err(UrlError::NoStream(backend));
    }
    let name = StreamKey::from(Bytes::from(decode(text, "stream's name")?));
    if backend == Backend::Kafka {
        let wrong = match Pattern::is_one(&name) {
            true => Pattern::new(&name).err().map(|error| UrlError::Pattern(error.to_string().into())),
            false if is_topic_name(name.as_bytes()) => None,
            false => Some(UrlError::Topic(text.escape_debug().to_string().into())),
        };
        // It may be the rest of a password that has a slash; no topic's name has an @.
        let wrong = if text.contains('@') { Some(UrlError::Unescaped) } else { wrong };
        return wrong.map_or(Ok(name), Err);
    }
    Ok(name)
}

fn parse_query(backend: Backend, query: &str) -> Result<Option<u32>, UrlError> {
    let mut database = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name != "db" || backend != Backend::Redis {
            return Err(UrlError::Parameter(name.escape_debug().to_string().into()));
        }
        let wrong = || UrlError::Database(value.escape_debug().to_string().into());
        database = Some(value.parse().map_err(|_| wrong())?);
    }
    Ok(database)
}

/// Percent-decoding that takes no half sequence for text.
fn decode(text: &str, what: &'static str) -> Result<Vec<u8>, UrlError> {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    for (at, _) in text.match_indices('%') {
        let bytes = text.as_bytes();
        if !is_hex(bytes.get(at + 1)) || !is_hex(bytes.get(at + 2)) {
            return Err(UrlError::Percent(what));
        }
    }
    Ok(percent_decode_str(text).collect())
}

/// As it is written, with dots for the password.
impl fmt::Display for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.backend)?;
        if let Some(login) = &self.login {
            write!(f, "{}:…@", login.user.as_deref().unwrap_or_default().escape_debug())?;
        }
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            write!(f, "{}{endpoint}", if at == 0 { "" } else { "," })?;
        }
        for (at, stream) in self.streams.iter().enumerate() {
            write!(f, "{}{stream}", if at == 0 { "/" } else { "," })?;
        }
        match self.database {
            Some(database) => write!(f, "?db={database}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamUrl({self})")
    }
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
