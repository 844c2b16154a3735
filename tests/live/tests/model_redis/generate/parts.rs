//! Keys, ids, counts: few of each, so that they meet.

use super::Generator;

const KEYS: &[&str] = &["a", "a", "a", "a", "b", "b", "c", "s", "none"];

/// For sessions in which little is destroyed.
const FEW: &[&str] = &["a", "a", "a", "a", "a", "a", "a", "a", "a", "b", "b", "b", "b", "c", "s", "none"];

impl Generator {
    /// One of these, as bytes.
    pub(super) fn one(&mut self, of: &[&str]) -> Vec<u8> {
        self.tape.pick(of).copied().unwrap_or_default().as_bytes().to_vec()
    }

    pub(super) fn key_name(&mut self) -> &'static str {
        let keys = if self.calm { FEW } else { KEYS };
        self.tape.pick(keys).copied().unwrap_or("a")
    }

    pub(super) fn key(&mut self) -> Vec<u8> {
        self.key_name().as_bytes().to_vec()
    }

    pub(super) fn group(&mut self) -> Vec<u8> {
        let few = &["g", "g", "g", "g", "g", "g", "g", "g", "g", "g", "h", "h", "h", "other"][..];
        self.one(if self.calm { few } else { &["g", "g", "g", "g", "h", "h", "other"] })
    }

    pub(super) fn member(&mut self) -> Vec<u8> {
        self.one(&["one", "one", "two", "two", "three"])
    }

    /// An id near those that are there.
    pub(super) fn id_pair(&mut self, key: &'static str) -> (u64, u64) {
        let (millis, counter) = self.tops.get(key).copied().unwrap_or((3, 0));
        match self.tape.below(30) {
            10.. => match self.added.get(key).and_then(|added| self.tape.pick(added)) {
                Some(id) => *id,
                None => (millis, counter),
            },
            0 => (millis, counter),
            1 => (0, self.tape.within(0, 2)),
            2 => (millis + self.tape.within(0, 1), counter + 1),
            _ => (millis.saturating_sub(self.tape.within(0, 4)), self.tape.within(0, 3)),
        }
    }

    /// An id of an entry that may be there; some have no counter.
    pub(super) fn id(&mut self, key: &'static str) -> Vec<u8> {
        let (millis, counter) = self.id_pair(key);
        match self.tape.below(40) {
            0 => self.bad_id(),
            1 => b"18446744073709551615-18446744073709551615".to_vec(),
            2..5 => format!("{millis}").into_bytes(),
            _ => format!("{millis}-{counter}").into_bytes(),
        }
    }

    /// Where a range begins or ends.
    pub(super) fn bound(&mut self, key: &'static str, open: &str) -> Vec<u8> {
        match self.tape.below(10) {
            0..5 => open.as_bytes().to_vec(),
            5 => [b"(".to_vec(), self.id(key)].concat(),
            6 => self.one(&["-", "+", "0", "(-", "(+", "(18446744073709551615-18446744073709551615", "(0-0"]),
            _ => self.id(key),
        }
    }

    /// An id for XADD: mostly a new one.
    pub(super) fn new_id(&mut self, key: &'static str) -> Vec<u8> {
        let (millis, counter) = self.tops.get(key).copied().unwrap_or((0, 0));
        let id = match self.tape.below(60) {
            0 => return self.bad_id(),
            1..4 => return self.id(key),
            4 => return b"0-0".to_vec(),
            5..9 => {
                let next = millis + self.tape.within(0, 1);
                self.top(key, if next == millis { (millis, counter + 1) } else { (next, 0) });
                return format!("{next}-*").into_bytes();
            }
            9 if self.tape.chance(500) => return b"18446744073709551615-*".to_vec(),
            9 if self.tape.chance(500) => return b"18446744073709551615-18446744073709551615".to_vec(),
            10..35 => (millis, counter + 1),
            _ => (millis + self.tape.within(1, 2), self.tape.within(0, 2)),
        };
        self.top(key, id);
        format!("{}-{}", id.0, id.1).into_bytes()
    }

    /// Something is added with this id.
    pub(super) fn top(&mut self, key: &'static str, id: (u64, u64)) {
        self.tops.insert(key, id);
        let added = self.added.entry(key).or_default();
        added.push(id);
        if added.len() > 12 {
            added.remove(0);
        }
    }

    pub(super) fn bad_id(&mut self) -> Vec<u8> {
        self.one(&[
            "abc",
            "",
            "-",
            "+",
            "$",
            ">",
            "5-",
            "-5",
            "1-1-1",
            "1.5",
            "+5",
            "05",
            "5-01",
            "5-+1",
            " 5",
            "5 ",
            "0x5",
            "18446744073709551616",
            "5-18446744073709551616",
            "(5",
            "5-a",
            "*-1",
            "-1-1",
        ])
    }

    pub(super) fn count(&mut self) -> Vec<u8> {
        self.one(&["1", "2", "3", "1", "2", "3", "5", "10", "100", "0", "-1", "9223372036854775807"])
    }

    /// How long an entry must have been idle: nothing at all, or in the wide gaps between the
    /// idle times that XCLAIM sets.
    pub(super) fn least_idle(&mut self) -> Vec<u8> {
        self.one(&["0", "0", "0", "500000", "500000", "1500000", "-1", "9223372036854775807"])
    }

    /// Puts an option in, now and then.
    pub(super) fn perhaps(&mut self, parts: u32, words: &mut Vec<Vec<u8>>, option: &str) -> bool {
        let put = self.tape.chance(parts);
        if put {
            words.push(option.as_bytes().to_vec());
        }
        put
    }

    /// COUNT, now and then.
    pub(super) fn perhaps_count(&mut self, words: &mut Vec<Vec<u8>>) {
        if self.perhaps(3_000, words, "COUNT") {
            words.push(self.count());
        }
    }
}
