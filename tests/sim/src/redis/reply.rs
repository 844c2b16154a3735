//! Replies, written straight into a connection's output.

use bytes::{Buf, BytesMut};
use tidegate_core::SeqNo;

use super::refusal::Refusal;

/// What is still to be written to a peer, and in which protocol more is added.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) out: BytesMut,
    pub(crate) resp3: bool,
}

impl Reply {
    #[inline]
    fn header(&mut self, kind: u8, number: u64) {
        let mut room = [0; 24];
        let mut at = room.len() - 2;
        room[at..].copy_from_slice(b"\r\n");
        at = digits(&mut room, at, number);
        // Proved: 20 digits and a line ending leave two bytes.
        room[at - 1] = kind;
        self.out.extend_from_slice(&room[at - 1..]);
    }

    pub(crate) fn array(&mut self, len: usize) {
        self.header(b'*', len as u64);
    }

    /// Names and values follow, in turn.
    pub(crate) fn map(&mut self, pairs: usize) {
        if self.resp3 { self.header(b'%', pairs as u64) } else { self.header(b'*', 2 * pairs as u64) }
    }

    /// A reply of streams with their entries; so many follow, each begun with [`Reply::stream`].
    pub(crate) fn streams(&mut self, count: usize) {
        self.header(if self.resp3 { b'%' } else { b'*' }, count as u64);
    }

    /// A stream's name; its entries follow.
    pub(crate) fn stream(&mut self, key: &[u8]) {
        if !self.resp3 {
            self.array(2);
        }
        self.bulk(key);
    }

    /// Sets right a [`Reply::streams`] that was written at `start` for fewer than ten.
    pub(crate) fn fix_streams(&mut self, start: usize, count: usize) {
        const GUESS: usize = 4;
        if count < 10 {
            if let Some(digit) = self.out.get_mut(start + 1) {
                *digit = b'0' + count as u8;
            }
            return;
        }
        let written = self.out.split_off((start + GUESS).min(self.out.len()));
        self.out.truncate(start);
        self.streams(count);
        self.out.extend_from_slice(&written);
    }

    pub(crate) fn set(&mut self, len: usize) {
        self.header(if self.resp3 { b'~' } else { b'*' }, len as u64);
    }

    #[inline]
    pub(crate) fn bulk(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len() as u64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bulk(text.as_bytes());
    }

    /// Text that is marked as such in RESP3.
    pub(crate) fn verbatim(&mut self, text: &str) {
        if self.resp3 {
            self.header(b'=', text.len() as u64 + 4);
            self.out.extend_from_slice(b"txt:");
            self.out.extend_from_slice(text.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        } else {
            self.text(text);
        }
    }

    pub(crate) fn simple(&mut self, text: &str) {
        self.out.extend_from_slice(b"+");
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    pub(crate) fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    pub(crate) fn int(&mut self, value: i64) {
        if value < 0 {
            self.out.extend_from_slice(format!(":{value}\r\n").as_bytes());
        } else {
            self.header(b':', value as u64);
        }
    }

    pub(crate) fn count(&mut self, value: usize) {
        self.header(b':', value as u64);
    }

    pub(crate) fn null(&mut self) {
        self.out.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    pub(crate) fn null_array(&mut self) {
        self.out.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// An entry's id.
    #[inline]
    pub(crate) fn seq(&mut self, id: SeqNo) {
        let mut room = [0; 50];
        let mut at = room.len() - 2;
        room[at..].copy_from_slice(b"\r\n");
        let end = at;
        at = digits(&mut room, at, id.low()) - 1;
        room[at] = b'-';
        at = digits(&mut room, at, id.high());
        let len = (end - at) as u64;
        // Proved: two numbers of 20 digits, a dash, two line endings, two digits and a type: 48.
        room[at - 2..at].copy_from_slice(b"\r\n");
        at = digits(&mut room, at - 2, len) - 1;
        room[at] = b'$';
        self.out.extend_from_slice(&room[at..]);
    }

    /// An entry: its id, and its names and values as they were encoded when it came.
    #[inline]
    pub(crate) fn entry(&mut self, id: SeqNo, body: &[u8]) {
        self.out.reserve(body.len() + 64);
        self.out.extend_from_slice(b"*2\r\n");
        self.seq(id);
        self.out.extend_from_slice(body);
    }

    pub(crate) fn refuse(&mut self, refusal: &Refusal) {
        self.out.extend_from_slice(b"-");
        self.out.extend_from_slice(refusal.code.as_bytes());
        self.out.extend_from_slice(b" ");
        let start = self.out.len();
        self.out.extend_from_slice(&refusal.text);
        for byte in self.out.iter_mut().skip(start) {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// The first bytes are written.
    pub(crate) fn wrote(&mut self, n: usize) {
        self.out.advance(n.min(self.out.len()));
    }
}

/// Writes a number so that it ends before `end`; where it begins.
#[inline]
fn digits(room: &mut [u8], end: usize, mut value: u64) -> usize {
    let mut at = end;
    loop {
        at -= 1;
        // Proved: the callers leave room for 20 digits.
        room[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_and_shortest() {
        let mut reply = Reply::default();
        reply.seq(SeqNo::MAX);
        reply.seq(SeqNo::ZERO);
        reply.int(i64::MIN);
        reply.header(b'*', u64::MAX);
        reply.refuse(&Refusal::say("ERR", &[b"a\nb", b"c\0d"]));
        let expected = "$41\r\n18446744073709551615-18446744073709551615\r\n$3\r\n0-0\r\n\
                        :-9223372036854775808\r\n*18446744073709551615\r\n-ERR a bc\r\n";
        assert_eq!(reply.out, expected.as_bytes());
    }
}
