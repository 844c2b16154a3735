//! Replies cut into frames that keep every byte that tells one reply from another.
//!
//! A parser of its own: the model writes with the crate's encoder, and a reader from the same
//! hand could share its mistakes.

/// One frame, its line endings aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A line or a string, its type byte first; a null is `$-1`, `*-1` or `_`.
    Leaf(Vec<u8>),
    /// An aggregate: its type byte and its frames, those of a map one after the other.
    Many(u8, Vec<Frame>),
}

impl Frame {
    /// The first frame and how many bytes it took; `None` where it isn't complete.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &bytes[..end];
        let mut at = end + 2;
        let count = || std::str::from_utf8(&line[1..]).ok()?.parse::<i64>().ok();
        match (line.first()?, count()) {
            (b'$' | b'=' | b'!', Some(len)) if len >= 0 => {
                let len = len as usize;
                let mut leaf = vec![line[0]];
                leaf.extend(bytes.get(at..at + len)?);
                assert_eq!(bytes.get(at + len..at + len + 2)?, b"\r\n", "a string's end");
                Some((Self::Leaf(leaf), at + len + 2))
            }
            (b'*' | b'%' | b'~' | b'>', Some(count)) if count >= 0 => {
                let frames = count * if line[0] == b'%' { 2 } else { 1 };
                let mut many = Vec::new();
                for _ in 0..frames {
                    let (frame, used) = Self::parse(&bytes[at..])?;
                    many.push(frame);
                    at += used;
                }
                Some((Self::Many(line[0], many), at))
            }
            _ => Some((Self::Leaf(line.to_vec()), at)),
        }
    }

    /// An integer's value.
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Leaf(leaf) => std::str::from_utf8(leaf.strip_prefix(b":")?).ok()?.parse().ok(),
            Self::Many(..) => None,
        }
    }

    /// A bulk string's bytes.
    pub fn bulk(&self) -> Option<&[u8]> {
        match self {
            Self::Leaf(leaf) if leaf != b"$-1" => leaf.strip_prefix(b"$"),
            _ => None,
        }
    }

    /// The frames of an aggregate; none of a leaf.
    pub fn frames(&self) -> &[Frame] {
        match self {
            Self::Leaf(_) => &[],
            Self::Many(_, frames) => frames,
        }
    }

    /// What it is, in a word: the first word of an error, else the kind of a reply.
    pub fn kind(&self) -> String {
        match self {
            Self::Leaf(leaf) => match leaf.first() {
                Some(b'-') => {
                    String::from_utf8_lossy(&leaf[1..]).split(' ').next().unwrap_or_default().to_owned()
                }
                _ if matches!(leaf.as_slice(), b"$-1" | b"*-1" | b"_") => "null".to_owned(),
                _ => "value".to_owned(),
            },
            Self::Many(..) => "entries".to_owned(),
        }
    }
}

/// Takes the whole replies from the front of `buffer`, as their bytes.
pub fn split(buffer: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut replies = Vec::new();
    let mut at = 0;
    while let Some((_, used)) = Frame::parse(&buffer[at..]) {
        replies.push(buffer[at..at + used].to_vec());
        at += used;
    }
    buffer.drain(..at);
    replies
}
