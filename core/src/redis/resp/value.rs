//! Whole replies as trees, for what isn't a stream's entries.

use bytes::{Bytes, BytesMut};

use super::nesting::Nesting;
use super::{Bounds, RespError, Token, Tokenizer};

/// One reply. Payloads are slices of the buffer that was read: no copy, and the buffer lives as
/// long as the last of them.
///
/// It costs about 40 bytes an element on top, however short the element is; a connection that
/// reads only control replies should set [`Bounds::total`] accordingly.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `_`, `$-1` or `*-1`.
    Null,
    /// A short line, as `OK`.
    Simple(Bytes),
    /// The server's words, as `NOGROUP No such key …`; a line or a blob.
    Error(Bytes),
    /// 64 bits, signed.
    Integer(i64),
    /// RESP3.
    Double(f64),
    /// RESP3.
    Boolean(bool),
    /// RESP3: sign and digits as they came.
    BigNumber(Bytes),
    /// Any bytes.
    Bulk(Bytes),
    /// RESP3: text and what it is written in.
    Verbatim {
        /// `txt` or `mkd`.
        format: [u8; 3],
        /// The text alone.
        text: Bytes,
    },
    /// In order.
    Array(Vec<Value>),
    /// RESP3: in the order of the wire, doubles kept.
    Map(Vec<(Value, Value)>),
    /// RESP3: in the order of the wire, doubles kept.
    Set(Vec<Value>),
    /// RESP3: answers nothing; may come between two replies.
    Push(Vec<Value>),
}

impl Value {
    /// True for a null of either protocol.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The server's words, of an error.
    pub fn as_error(&self) -> Option<&[u8]> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of a string of any kind: bulk, simple, verbatim. Not of an error.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) | Self::Simple(bytes) | Self::Verbatim { text: bytes, .. } => Some(bytes),
            _ => None,
        }
    }

    /// As [`Value::as_bytes`], owned.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Bulk(bytes) | Self::Simple(bytes) | Self::Verbatim { text: bytes, .. } => Some(bytes),
            _ => None,
        }
    }

    /// An integer. Numbers inside strings are not integers.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of an array, set or push.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(values) | Self::Set(values) | Self::Push(values) => Some(values),
            _ => None,
        }
    }

    /// As [`Value::as_array`], owned.
    pub fn into_array(self) -> Option<Vec<Value>> {
        match self {
            Self::Array(values) | Self::Set(values) | Self::Push(values) => Some(values),
            _ => None,
        }
    }

    /// The pairs of a map, or of a flat array of even length: so that replies of names and
    /// values read alike in RESP2 and RESP3.
    pub fn into_pairs(self) -> Option<Vec<(Value, Value)>> {
        match self {
            Self::Map(pairs) => Some(pairs),
            Self::Array(values) if values.len() % 2 == 0 => {
                let mut pairs = Vec::with_capacity(values.len() / 2);
                let mut values = values.into_iter();
                while let (Some(name), Some(value)) = (values.next(), values.next()) {
                    pairs.push((name, value));
                }
                Some(pairs)
            }
            _ => None,
        }
    }

    /// The value beside the first name that is `name`, of a map or of a flat array of names and
    /// values.
    pub fn field(&self, name: &[u8]) -> Option<&Value> {
        match self {
            Self::Map(pairs) => {
                pairs.iter().find(|(n, _)| n.as_bytes() == Some(name)).map(|(_, value)| value)
            }
            Self::Array(values) => match values.chunks_exact(2).find(|pair| pair[0].as_bytes() == Some(name))
            {
                Some([_, value]) => Some(value),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Reads whole replies from the front of a buffer, whatever they are.
///
/// ```
/// # use bytes::BytesMut;
/// # use tidegate_core::redis::resp::{Bounds, Decoder};
/// let mut decoder = Decoder::new(Bounds::default());
/// let mut buffer = BytesMut::from(&b"*2\r\n:1\r\n$2\r\no"[..]);
/// assert_eq!(decoder.decode(&mut buffer), Ok(None));
/// buffer.extend_from_slice(b"k\r\n");
/// let reply = decoder.decode(&mut buffer).unwrap().unwrap();
/// assert_eq!(reply.as_array().unwrap()[1].as_bytes(), Some(&b"ok"[..]));
/// assert!(buffer.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    bounds: Bounds,
    tokens: Tokenizer,
    nesting: Nesting,
    inside: bool,
    failed: Option<RespError>,
}

impl Decoder {
    /// At the start of a reply.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            tokens: Tokenizer::new(bounds),
            nesting: Nesting::new(bounds),
            inside: false,
            failed: None,
        }
    }

    /// One reply off the front of `buffer`; `None`, and `buffer` as it is, while it is
    /// incomplete. Between two calls the buffer may only grow at its end. A push is a reply here;
    /// attributes are dropped.
    ///
    /// # Errors
    ///
    /// The first rule that the bytes break; the same for ever after.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Value>, RespError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.decode_next(buffer).inspect_err(|error| self.failed = Some(error.clone()))
    }

    /// True between two replies: `buffer`, as the last call left it, holds no part of one.
    pub fn is_idle(&self) -> bool {
        !self.nesting.is_open() && !self.inside && !self.tokens.is_partial()
    }

    /// See [`Tokenizer::steps`].
    #[doc(hidden)]
    pub fn steps(&self) -> u64 {
        self.tokens.steps()
    }

    fn decode_next(&mut self, buffer: &mut BytesMut) -> Result<Option<Value>, RespError> {
        loop {
            let Some(token) = self.tokens.next_token(buffer)? else {
                return Ok(None);
            };
            if self.nesting.handle_token(&token)? {
                break;
            }
            self.inside = true;
        }
        self.inside = false;
        let end = self.tokens.position();
        let data = buffer.split_to(end.min(buffer.len())).freeze();
        self.tokens.drop_front(end);
        self.tokens.count_from_here();
        let mut tokens = Tokenizer::new(self.bounds);
        let value = build(&mut tokens, &data);
        self.tokens.add_steps(tokens.steps() as usize);
        value
    }
}

/// An aggregate whose elements are being read.
struct Open {
    kind: Kind,
    /// Values to come.
    left: u32,
}

enum Kind {
    List(fn(Vec<Value>) -> Value, Vec<Value>),
    Map(Vec<(Value, Value)>, Option<Value>),
    Attribute,
}

impl Open {
    fn add(&mut self, value: Value) {
        self.left -= 1;
        match &mut self.kind {
            Kind::List(_, values) => values.push(value),
            Kind::Map(pairs, name) => match name.take() {
                Some(name) => pairs.push((name, value)),
                None => *name = Some(value),
            },
            Kind::Attribute => {}
        }
    }
}

/// The second pass, over a reply that is known to be complete: so each announced count is of
/// elements that are there, and each list is allocated once, in its size.
fn build(tokens: &mut Tokenizer, data: &Bytes) -> Result<Option<Value>, RespError> {
    let mut stack: Vec<Open> = Vec::new();
    while let Some(token) = tokens.next_token(data)? {
        let mut ended = None;
        let list = |kind, count: u32| Open {
            kind: Kind::List(kind, Vec::with_capacity(count as usize)),
            left: count,
        };
        match token {
            Token::Array(count) => stack.push(list(Value::Array, count)),
            Token::Set(count) => stack.push(list(Value::Set, count)),
            Token::Push(count) => stack.push(list(Value::Push, count)),
            Token::Map(pairs) => {
                stack.push(Open {
                    kind: Kind::Map(Vec::with_capacity(pairs as usize), None),
                    left: 2 * pairs,
                });
            }
            Token::Attribute(pairs) => stack.push(Open { kind: Kind::Attribute, left: 2 * pairs }),
            leaf => ended = Some(leaf_value(leaf, data)),
        }
        // A value that ended may have been the last one of what is around it, and so on.
        loop {
            if let Some(value) = ended.take() {
                match stack.last_mut() {
                    Some(parent) => parent.add(value),
                    None => return Ok(Some(value)),
                }
            }
            let Some(full) = stack.pop_if(|open| open.left == 0) else {
                break;
            };
            ended = match full.kind {
                Kind::List(kind, values) => Some(kind(values)),
                Kind::Map(pairs, _) => Some(Value::Map(pairs)),
                // It was about the value that comes next.
                Kind::Attribute => break,
            };
        }
    }
    Ok(None)
}

fn leaf_value(token: Token, data: &Bytes) -> Value {
    match token {
        Token::Bulk(range) => Value::Bulk(data.slice(range)),
        Token::Verbatim { format, text } => Value::Verbatim { format, text: data.slice(text) },
        Token::BlobError(range) | Token::Error(range) => Value::Error(data.slice(range)),
        Token::Simple(range) => Value::Simple(data.slice(range)),
        Token::Integer(value) => Value::Integer(value),
        Token::Double(value) => Value::Double(value),
        Token::Boolean(value) => Value::Boolean(value),
        Token::BigNumber(range) => Value::BigNumber(data.slice(range)),
        // The rest are aggregates, which the caller opens.
        _ => Value::Null,
    }
}
