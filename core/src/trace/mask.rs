//! Keeping the password out of a trace.
//!
//! It can be in two places: in the login that the machine writes (Redis's AUTH, the PLAIN message
//! of RFC 4616 that Kafka takes), and in an error that quotes what it didn't understand (a Redis
//! without HELLO does that). Only these are masked: the same bytes may well be a stream's name,
//! too, and elsewhere they have to stay.
//!
//! **Invariant:** masking changes no length, and masking what was masked changes nothing; so a
//! replay that logs in with the mask records the same lines.

use crate::options::Login;

/// What the bytes of a password become.
pub(super) const MASK: u8 = b'*';
/// Only a connection's first replies can quote its login.
const GREETING_BYTES_MAX: usize = 16 << 10;
/// Part of a long password that is quoted cut off is masked from this length on.
const PREFIX_BYTES_MIN: usize = 8;

/// The password, and where it may be.
pub(super) struct Mask {
    secret: Vec<u8>,
    /// Login commands as they are on the wire, up to the password.
    logins: Vec<Vec<u8>>,
    /// The same of PLAIN: the user between two zeros.
    plain: Option<Vec<u8>>,
    /// A reply quoted the password, so our own texts may do so.
    quoted: bool,
}

/// Where a connection's replies are.
#[derive(Default)]
pub(super) struct Heard {
    bytes: usize,
    line: Place,
    /// The last bytes were so many of the password's first.
    open: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    InError,
    Elsewhere,
}

impl Mask {
    pub(super) fn new(login: Option<&Login>) -> Self {
        let secret = login.map_or("", |login| login.password.reveal()).as_bytes().to_vec();
        let word = |word: &str| format!("${}\r\n{word}\r\n", word.len()).into_bytes();
        let user = login.and_then(|login| login.user.as_deref());
        let length = format!("${}\r\n", secret.len()).into_bytes();
        let login =
            |user: Option<&str>| [word("AUTH"), user.map_or(Vec::new(), word), length.clone()].concat();
        let logins = vec![login(Some(user.unwrap_or("default"))), login(None)];
        let plain = user.map(|user| [b"\0", user.as_bytes(), b"\0"].concat());
        Self { secret, logins, plain, quoted: false }
    }

    /// What was queued for writing, in whole commands.
    pub(super) fn written(&self, bytes: &mut [u8]) {
        if self.secret.is_empty() {
            return;
        }
        if let Some(before) = &self.plain {
            let mut at = 0;
            while let Some(found) = bytes.get(at..).and_then(|rest| find(rest, before)) {
                at += found + before.len();
                let password = bytes.get_mut(at..).unwrap_or_default();
                if password.starts_with(&self.secret) {
                    password.iter_mut().take(self.secret.len()).for_each(|byte| *byte = MASK);
                }
                // The zero after one user may be the one before the next.
                at -= 1;
            }
        }
        let mut at = 0;
        while let Some(rest) = bytes.get_mut(at..) {
            let Some(found) = find(rest, b"$4\r\nAUTH\r\n") else { return };
            let Some(rest) = rest.get_mut(found..) else { return };
            for login in &self.logins {
                let password = rest.get(login.len()..).unwrap_or_default();
                if password.starts_with(&self.secret) && rest.starts_with(login) {
                    let password = rest.iter_mut().skip(login.len()).take(self.secret.len());
                    password.for_each(|byte| *byte = MASK);
                    break;
                }
            }
            at += found + 1;
        }
    }

    /// What came on a connection.
    pub(super) fn received(&mut self, heard: &mut Heard, bytes: &mut [u8]) {
        if self.secret.is_empty() || heard.bytes >= GREETING_BYTES_MAX {
            return;
        }
        heard.bytes = heard.bytes.saturating_add(bytes.len());
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if heard.line == Place::InError {
                let tail = bytes.get_mut(at..).unwrap_or_default();
                let (open, masked) = self.mask_here(tail, heard.open);
                heard.open = open;
                if masked > 0 {
                    self.quoted = true;
                    at += masked;
                    continue;
                }
            }
            heard.line = match (heard.line, byte) {
                (_, b'\n') => Place::Start,
                (Place::Start, b'-') => Place::InError,
                (Place::Start, _) => Place::Elsewhere,
                (place, _) => place,
            };
            at += 1;
        }
    }

    /// A text of ours, which may quote what a reply quoted.
    pub(super) fn text(&self, text: String) -> String {
        if !self.quoted {
            return text;
        }
        let mut bytes = text.into_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let tail = bytes.get_mut(at..).unwrap_or_default();
            at += self.mask_long(tail).max(1);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Masks the password, or its first part, if `bytes` begins with it or goes on with what
    /// is `open` of it. How much is open at the end, and how many bytes were masked.
    fn mask_here(&self, bytes: &mut [u8], open: usize) -> (usize, usize) {
        let rest = self.secret.get(open..).unwrap_or_default();
        let same = common(rest, bytes);
        let at_end = same == bytes.len() && open + same < self.secret.len();
        if open > 0 || at_end {
            // Of a password that is cut in two by a read each part is masked.
            bytes.iter_mut().take(same).for_each(|byte| *byte = MASK);
            return (if at_end { open + same } else { 0 }, same);
        }
        (0, self.mask_long(bytes))
    }

    fn mask_long(&self, bytes: &mut [u8]) -> usize {
        let same = common(&self.secret, bytes);
        if same < self.secret.len().min(PREFIX_BYTES_MIN) {
            return 0;
        }
        bytes.iter_mut().take(same).for_each(|byte| *byte = MASK);
        same
    }
}

fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
