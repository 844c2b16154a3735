//! A blocking connection for what surrounds the measurement: filling, groups, pending counts.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};

use crate::Failure;

/// A RESP2 reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A simple string.
    Text(String),
    /// An integer.
    Number(i64),
    /// A bulk string, or null.
    Bytes(Option<Vec<u8>>),
    /// An array, or null.
    List(Option<Vec<Reply>>),
}

impl Reply {
    /// The elements of an array; none of anything else.
    pub fn items(&self) -> &[Reply] {
        match self {
            Self::List(Some(items)) => items,
            _ => &[],
        }
    }
}

/// One command, one reply.
#[derive(Debug)]
pub struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    /// Connects to 127.0.0.1.
    pub fn connect(port: u16) -> Result<Self, Failure> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends one command and waits for its reply. An error reply is an `Err`.
    pub fn call(&mut self, words: &[&[u8]]) -> Result<Reply, Failure> {
        let mut command = Vec::new();
        encode(&mut command, words);
        self.send(&command)?;
        self.reply()
    }

    /// Sends bytes of whole commands; as many replies are to be fetched with [`Wire::reply`].
    pub fn send(&mut self, commands: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.get_mut().write_all(commands)?)
    }

    /// Waits for the next reply. An error reply is an `Err`.
    pub fn reply(&mut self) -> Result<Reply, Failure> {
        read_reply(&mut self.stream)
    }

    /// Entries of the group that nobody acked yet.
    pub fn pending(&mut self, key: &str, group: &str) -> Result<u64, Failure> {
        let reply = self.call(&[b"XPENDING", key.as_bytes(), group.as_bytes()])?;
        match reply.items().first() {
            Some(Reply::Number(pending)) => Ok(u64::try_from(*pending)?),
            _ => Err(format!("odd XPENDING reply: {reply:?}").into()),
        }
    }

    /// True when the group was handed everything up to the last entry of the stream.
    pub fn is_drained(&mut self, key: &str, group: &str) -> Result<bool, Failure> {
        let last = self.call(&[b"XREVRANGE", key.as_bytes(), b"+", b"-", b"COUNT", b"1"])?;
        let last = last.items().first().and_then(|entry| entry.items().first()).cloned();
        let groups = self.call(&[b"XINFO", b"GROUPS", key.as_bytes()])?;
        let mine = |fields: &&Reply| field(fields, "name") == Some(&Reply::Bytes(Some(group.into())));
        let delivered =
            groups.items().iter().find(mine).and_then(|fields| field(fields, "last-delivered-id"));
        Ok(last.is_some() && delivered == last.as_ref())
    }

    /// What INFO says about `field`.
    pub fn info(&mut self, field: &str) -> Result<String, Failure> {
        let Reply::Bytes(Some(text)) = self.call(&[b"INFO"])? else { return Err("odd INFO reply".into()) };
        let text = String::from_utf8(text)?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(value.ok_or("no such field in INFO")?.trim().to_owned())
    }
}

/// Appends one command as an array of bulk strings.
pub fn encode(into: &mut Vec<u8>, words: &[&[u8]]) {
    into.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        into.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        into.extend_from_slice(word);
        into.extend_from_slice(b"\r\n");
    }
}

/// What follows `name` in a list of names and values.
fn field<'a>(list: &'a Reply, name: &str) -> Option<&'a Reply> {
    let is_name = |pair: &&[Reply]| pair.first() == Some(&Reply::Bytes(Some(name.into())));
    list.items().chunks(2).find(is_name)?.get(1)
}

fn read_reply(from: &mut impl BufRead) -> Result<Reply, Failure> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let line = line.trim_end();
    let (Some(kind), Some(rest)) = (line.get(..1), line.get(1..)) else {
        return Err("the server closed the connection".into());
    };
    Ok(match kind {
        "+" => Reply::Text(rest.to_owned()),
        "-" => return Err(rest.to_owned().into()),
        ":" => Reply::Number(rest.parse()?),
        "$" if rest == "-1" => Reply::Bytes(None),
        "$" => {
            let mut bytes = vec![0; rest.parse::<usize>()? + 2];
            from.read_exact(&mut bytes)?;
            bytes.truncate(bytes.len() - 2);
            Reply::Bytes(Some(bytes))
        }
        "*" if rest == "-1" => Reply::List(None),
        "*" => Reply::List(Some((0..rest.parse()?).map(|_| read_reply(from)).collect::<Result<_, _>>()?)),
        other => return Err(format!("odd reply type {other}").into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_a_command() {
        let mut command = Vec::new();
        encode(&mut command, &[b"GET", b"", b"key"]);
        assert_eq!(command, b"*3\r\n$3\r\nGET\r\n$0\r\n\r\n$3\r\nkey\r\n");
    }

    #[test]
    fn finds_a_field() {
        let bytes = |text: &str| Reply::Bytes(Some(text.into()));
        let list = Reply::List(Some(vec![bytes("a"), bytes("b"), bytes("b"), Reply::Number(2), bytes("c")]));
        assert_eq!(field(&list, "a"), Some(&bytes("b")));
        assert_eq!(field(&list, "b"), Some(&Reply::Number(2)));
        assert_eq!((field(&list, "c"), field(&bytes("a"), "a")), (None, None));
    }

    #[test]
    fn reads_every_kind_of_reply() {
        let mut bytes: &[u8] = b"+OK\r\n:-7\r\n$-1\r\n$4\r\na\r\nb\r\n*-1\r\n*2\r\n:1\r\n*0\r\n-ERR no\r\n";
        let mut next = || read_reply(&mut bytes);
        assert_eq!(next().unwrap(), Reply::Text("OK".into()));
        assert_eq!(next().unwrap(), Reply::Number(-7));
        assert_eq!(next().unwrap(), Reply::Bytes(None));
        assert_eq!(next().unwrap(), Reply::Bytes(Some(b"a\r\nb".to_vec())));
        assert_eq!(next().unwrap(), Reply::List(None));
        assert_eq!(next().unwrap(), Reply::List(Some(vec![Reply::Number(1), Reply::List(Some(vec![]))])));
        assert_eq!(next().unwrap_err().to_string(), "ERR no");
        assert!(next().unwrap_err().to_string().contains("closed"));
    }
}
