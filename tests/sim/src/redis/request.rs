//! Requests off the front of what a peer sent: arrays of bulk strings, or a line of words.
//!
//! **Invariant:** where it stopped is remembered, so work is linear in the bytes however they
//! come, and an announced count or length allocates nothing.

use super::args::{Args, Span, parse_int};
use super::refusal::Refusal;

/// The longest line, and the longest line of words.
const LINE: usize = 64 << 10;
/// Redis's own `proto-max-bulk-len`.
const BULK: i64 = 512 << 20;
/// Redis's own `client-query-buffer-limit`: what more is sent for one request ends the peer.
const REQUEST: usize = 1 << 30;

/// Reads one request after the other.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// Bytes of this request that were read.
    at: usize,
    /// Bytes after `at` that hold no line's end.
    searched: usize,
    state: State,
    spans: Vec<Span>,
    /// The words of an inline request, as quotes and escapes may make them other than they came.
    inline: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    /// Arguments to come.
    Length(u32),
    /// As before, the first one's length known.
    Bulk(u32, u32),
    Inline,
}

/// What is at the front.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing whole.
    More,
    /// A request; it takes so many bytes.
    Request(usize),
    /// What breaks the protocol.
    Broken(Refusal),
    /// More than a server takes for one request.
    TooLong,
}

impl Parser {
    /// Looks at the front of `input`, which begins where the last request ended and has only
    /// grown since the last call.
    pub(crate) fn next(&mut self, input: &[u8], authenticated: bool) -> Next {
        match self.read(input, authenticated) {
            Ok(true) => Next::Request(self.at),
            Ok(false) if input.len() > REQUEST => Next::TooLong,
            Ok(false) => Next::More,
            Err(refusal) => Next::Broken(refusal),
        }
    }

    /// The arguments of the request that [`Parser::next`] told of.
    pub(crate) fn args<'a>(&'a self, input: &'a [u8]) -> Args<'a> {
        Args::new(if self.state == State::Inline { &self.inline } else { input }, &self.spans)
    }

    /// To the next request.
    pub(crate) fn reset(&mut self) {
        self.at = 0;
        self.searched = 0;
        self.state = State::Start;
        self.spans.clear();
        self.inline.clear();
    }

    fn read(&mut self, input: &[u8], authenticated: bool) -> Result<bool, Refusal> {
        loop {
            let rest = input.get(self.at..).unwrap_or_default();
            match self.state {
                State::Start => match rest.first() {
                    None => return Ok(false),
                    Some(b'*') => {
                        let Some(line) = self.line(rest, "Protocol error: too big mbulk count string")?
                        else {
                            return Ok(false);
                        };
                        let count = parse_int(line.get(1..).unwrap_or_default())
                            .filter(|count| *count <= i64::from(i32::MAX))
                            .ok_or(Refusal::err("Protocol error: invalid multibulk length"))?;
                        if count > 10 && !authenticated {
                            return Err(Refusal::err("Protocol error: unauthenticated multibulk length"));
                        }
                        match u32::try_from(count) {
                            Ok(1..) => self.state = State::Length(count as u32),
                            // None at all: a request that asks for nothing.
                            _ => return Ok(true),
                        }
                    }
                    Some(_) => self.state = State::Inline,
                },
                State::Length(0) => return Ok(true),
                State::Length(left) => {
                    let Some(line) = self.line(rest, "Protocol error: too big bulk count string")? else {
                        return Ok(false);
                    };
                    match line.first() {
                        Some(b'$') => {}
                        other => {
                            let got = [other.copied().unwrap_or(b'\r')];
                            return Err(Refusal::say(
                                "ERR",
                                &[b"Protocol error: expected '$', got '", &got, b"'"],
                            ));
                        }
                    }
                    let len = parse_int(line.get(1..).unwrap_or_default())
                        .filter(|len| (0..=BULK).contains(len))
                        .ok_or(Refusal::err("Protocol error: invalid bulk length"))?;
                    if len > 16_384 && !authenticated {
                        return Err(Refusal::err("Protocol error: unauthenticated bulk length"));
                    }
                    self.state = State::Bulk(left, len as u32);
                }
                State::Bulk(left, len) => {
                    if rest.len() < len as usize + 2 {
                        return Ok(false);
                    }
                    let start = self.at as u32;
                    self.spans.push(Span { start, end: start + len });
                    self.at += len as usize + 2;
                    self.state = State::Length(left - 1);
                }
                State::Inline => return self.words(rest),
            }
        }
    }

    /// A line off the front of `rest`, without its end. As in Redis a CR and any byte end it.
    fn line<'a>(&mut self, rest: &'a [u8], too_long: &'static str) -> Result<Option<&'a [u8]>, Refusal> {
        let unseen = rest.get(self.searched..).unwrap_or_default();
        match unseen.iter().position(|byte| *byte == b'\r') {
            Some(at) if self.searched + at + 2 <= rest.len() => {
                let end = self.searched + at;
                self.searched = 0;
                self.at += end + 2;
                Ok(rest.get(..end))
            }
            Some(at) => {
                self.searched += at;
                Ok(None)
            }
            None if rest.len() > LINE => Err(Refusal::err(too_long)),
            None => {
                self.searched = rest.len();
                Ok(None)
            }
        }
    }

    fn words(&mut self, rest: &[u8]) -> Result<bool, Refusal> {
        let unseen = rest.get(self.searched..).unwrap_or_default();
        let Some(at) = unseen.iter().position(|byte| *byte == b'\n') else {
            if rest.len() > LINE {
                return Err(Refusal::err("Protocol error: too big inline request"));
            }
            self.searched = rest.len();
            return Ok(false);
        };
        let end = self.searched + at;
        let line = rest.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        split_words(line, &mut self.inline, &mut self.spans)
            .ok_or(Refusal::err("Protocol error: unbalanced quotes in request"))?;
        self.at += end + 1;
        Ok(true)
    }
}

/// Words as redis-cli writes them: plain, "with \x00 escapes" or 'plain but for \''.
fn split_words(line: &[u8], to: &mut Vec<u8>, spans: &mut Vec<Span>) -> Option<()> {
    let mut bytes = line.iter().copied().take_while(|byte| *byte != 0).peekable();
    loop {
        while bytes.next_if(|byte| byte.is_ascii_whitespace() || *byte == 0x0b).is_some() {}
        if bytes.peek().is_none() {
            return Some(());
        }
        let start = to.len() as u32;
        let mut quote = None;
        loop {
            match (quote, bytes.next()) {
                (None, None) => break,
                (Some(_), None) => return None,
                (Some(open), Some(byte)) if byte == open => {
                    // What follows a closing quote is a space, or the end.
                    match bytes.peek() {
                        None => break,
                        Some(next) if next.is_ascii_whitespace() || *next == 0x0b => break,
                        Some(_) => return None,
                    }
                }
                (Some(b'"'), Some(b'\\')) => to.push(escaped(&mut bytes)?),
                (Some(b'\''), Some(b'\\')) if bytes.next_if_eq(&b'\'').is_some() => to.push(b'\''),
                (None, Some(byte @ (b'"' | b'\''))) => quote = Some(byte),
                (None, Some(byte)) if byte.is_ascii_whitespace() => break,
                (_, Some(byte)) => to.push(byte),
            }
        }
        spans.push(Span { start, end: to.len() as u32 });
    }
}

fn escaped(bytes: &mut std::iter::Peekable<impl Iterator<Item = u8> + Clone>) -> Option<u8> {
    let mut ahead = bytes.clone();
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    if ahead.next() == Some(b'x')
        && let (Some(high), Some(low)) = (digit(ahead.next()), digit(ahead.next()))
    {
        *bytes = ahead;
        return Some((16 * high + low) as u8);
    }
    Some(match bytes.next()? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], step: usize) -> (Vec<Vec<Vec<u8>>>, Option<Refusal>) {
        let mut parser = Parser::default();
        let (mut from, mut requests) = (0, Vec::new());
        let mut to = 0;
        while to < input.len() {
            to = (to + step).min(input.len());
            loop {
                match parser.next(&input[from..to], true) {
                    Next::More => break,
                    Next::Request(len) => {
                        requests.push(parser.args(&input[from..to]).iter().map(<[u8]>::to_vec).collect());
                        parser.reset();
                        from += len;
                    }
                    Next::Broken(refusal) => return (requests, Some(refusal)),
                    Next::TooLong => panic!("nothing here is long"),
                }
            }
        }
        (requests, None)
    }

    #[test]
    fn the_same_however_they_come() {
        let input = b"*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\n*0\r\n*-1\r\nPING\n\r\nSET \"a\\x41\\n\" 'b\\'c' d\"e\"\r\n*1\r\n$0\r\n\r\n";
        let whole = all(input, input.len());
        assert_eq!(whole.1, None);
        let words: Vec<Vec<&[u8]>> = whole.0.iter().map(|r| r.iter().map(Vec::as_slice).collect()).collect();
        assert_eq!(
            words,
            [
                vec![&b"ECHO"[..], b"\r\n"],
                vec![],
                vec![],
                vec![b"PING"],
                vec![],
                vec![b"SET", b"aA\n", b"b'c", b"de"],
                vec![b""]
            ]
        );
        for step in 1..9 {
            assert_eq!(all(input, step), whole, "{step}");
        }
    }

    #[test]
    fn what_breaks_the_protocol() {
        for (input, text) in [
            ("*x\r\n", "Protocol error: invalid multibulk length"),
            ("*2147483648\r\n", "Protocol error: invalid multibulk length"),
            ("*1\r\n:1\r\n", "Protocol error: expected '$', got ':'"),
            ("*1\r\n\r\n", "Protocol error: expected '$', got '\r'"),
            ("*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
            ("*1\r\n$536870913\r\n", "Protocol error: invalid bulk length"),
            ("GET \"a\r\n", "Protocol error: unbalanced quotes in request"),
            ("GET 'a'b\r\n", "Protocol error: unbalanced quotes in request"),
        ] {
            for step in [1, 100] {
                assert_eq!(all(input.as_bytes(), step).1.unwrap().text, text.as_bytes(), "{input:?}");
            }
        }
        let long = "x".repeat(LINE + 1);
        for (start, text) in [
            ("", "Protocol error: too big inline request"),
            ("*", "Protocol error: too big mbulk count string"),
            ("*1\r\n$", "Protocol error: too big bulk count string"),
        ] {
            let input = format!("{start}{long}");
            assert_eq!(all(input.as_bytes(), 1000).1.unwrap().text, text.as_bytes());
        }
    }
}
