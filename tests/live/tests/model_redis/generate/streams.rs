//! Commands about entries.

use super::{Generator, Words};

impl Generator {
    pub(super) fn xadd(&mut self) -> Words {
        let key = self.key_name();
        let mut words: Words = vec![b"XADD".to_vec(), key.into()];
        self.perhaps(1_000, &mut words, "NOMKSTREAM");
        if self.tape.chance(if self.calm { 400 } else { 1_500 }) {
            self.trimming(key, &mut words);
        }
        words.push(self.new_id(key));
        for _ in 0..self.tape.within(1, 2) {
            words.push(self.one(&["f", "f", "g", "", "0017", "long-field-name"]));
            words.push(self.one(&[
                "v",
                "",
                "17",
                "-5",
                "007",
                "1.5",
                "9223372036854775808",
                "a\r\nb",
                "forty bytes of a value, which are many.",
            ]));
        }
        words
    }

    /// An entry behind all others of a key.
    pub(super) fn one_more(&mut self) -> Words {
        let key = if self.many_entries { "a" } else { self.key_name() };
        let (millis, _) = self.tops.get(key).copied().unwrap_or((0, 0));
        self.top(key, (millis + 1, 0));
        vec![b"XADD".to_vec(), key.into(), format!("{}-0", millis + 1).into(), b"f".to_vec(), b"v".to_vec()]
    }

    fn trimming(&mut self, key: &'static str, words: &mut Words) {
        let by_id = self.tape.chance(5_000);
        words.push(if by_id { b"MINID".to_vec() } else { b"MAXLEN".to_vec() });
        let roughly = self.perhaps(3_000, words, "~");
        if !roughly {
            self.perhaps(2_000, words, "=");
        }
        words.push(if by_id { self.id(key) } else { self.length() });
        if self.tape.chance(if roughly { 3_000 } else { 300 }) {
            words.push(b"LIMIT".to_vec());
            words.push(self.one(&["1", "10", "0", "99", "100", "101", "200", "-1"]));
        }
    }

    fn length(&mut self) -> Vec<u8> {
        if self.many_entries {
            return self.one(&["100", "50", "150", "99", "101", "200", "0"]);
        }
        let some = &["5", "10", "20", "10", "20", "100", "2", "0", "-1"][..];
        self.one(if self.calm { some } else { &["2", "3", "5", "10", "1", "0", "100", "-1"] })
    }

    pub(super) fn xtrim(&mut self) -> Words {
        let key = self.key_name();
        let mut words: Words = vec![b"XTRIM".to_vec(), key.into()];
        self.trimming(key, &mut words);
        words
    }

    pub(super) fn xdel(&mut self) -> Words {
        let key = self.key_name();
        let mut words: Words = vec![b"XDEL".to_vec(), key.into()];
        for _ in 0..self.tape.within(1, 3) {
            words.push(self.id(key));
        }
        words
    }

    pub(super) fn xrange(&mut self) -> Words {
        let key = self.key_name();
        let back = self.tape.chance(5_000);
        let (name, from, to) = if back { ("XREVRANGE", "+", "-") } else { ("XRANGE", "-", "+") };
        let mut words: Words = vec![name.into(), key.into(), self.bound(key, from), self.bound(key, to)];
        self.perhaps_count(&mut words);
        words
    }

    pub(super) fn xread(&mut self) -> Words {
        let mut words: Words = vec![b"XREAD".to_vec()];
        self.perhaps_count(&mut words);
        self.streams_from(&mut words, false);
        words
    }

    /// STREAMS, keys, and where to begin.
    fn streams_from(&mut self, words: &mut Words, new: bool) {
        words.push(b"STREAMS".to_vec());
        let keys: Vec<&'static str> =
            (0..[1, 1, 1, 2, 3][self.tape.below(5) as usize]).map(|_| self.key_name()).collect();
        words.extend(keys.iter().map(|key| key.as_bytes().to_vec()));
        for key in keys {
            let id = match self.tape.below(20) {
                0 => self.one(&["$", ">", "+", "-"]),
                1..5 => b"0".to_vec(),
                5..9 => self.id(key),
                _ if new => b">".to_vec(),
                _ => {
                    let (millis, counter) = self.tops.get(key).copied().unwrap_or((0, 0));
                    format!("{}-{counter}", millis.saturating_sub(1)).into()
                }
            };
            words.push(id);
        }
    }

    pub(super) fn xreadgroup(&mut self) -> Words {
        let mut words = self.as_member();
        self.perhaps_count(&mut words);
        self.perhaps(1_000, &mut words, "NOACK");
        self.streams_from(&mut words, true);
        words
    }

    fn as_member(&mut self) -> Words {
        vec![b"XREADGROUP".to_vec(), b"GROUP".to_vec(), self.group(), self.member()]
    }

    /// XREAD or XREADGROUP that waits if there is nothing.
    pub(super) fn waiting_read(&mut self) -> Words {
        let grouped = self.tape.chance(6_000);
        let mut words = if grouped { self.as_member() } else { vec![b"XREAD".to_vec()] };
        self.perhaps_count(&mut words);
        words.push(b"BLOCK".to_vec());
        let timeout = match self.tape.below(200) {
            0 if !self.pausing => "3",
            2..4 => "-1",
            4..6 => "abc",
            6..70 => "0",
            _ => "100000000",
        };
        words.push(timeout.into());
        if grouped {
            self.perhaps(1_500, &mut words, "NOACK");
        }
        words.push(b"STREAMS".to_vec());
        let keys: Vec<&'static str> =
            (0..[1, 1, 2][self.tape.below(3) as usize]).map(|_| self.awaited_key()).collect();
        words.extend(keys.iter().map(|key| key.as_bytes().to_vec()));
        for key in keys {
            words.push(match self.tape.below(10) {
                0 => self.id(key),
                _ if grouped => b">".to_vec(),
                _ => b"$".to_vec(),
            });
        }
        words
    }

    /// A key to wait for: often one that somebody else waits for.
    fn awaited_key(&mut self) -> &'static str {
        match self.awaited.last() {
            Some(key) if self.tape.chance(5_000) => key,
            _ => {
                let key = self.key_name();
                self.awaited.push(key);
                key
            }
        }
    }

    /// The same where it doesn't wait: between MULTI and EXEC.
    pub(super) fn waiting_read_in_vain(&mut self, slot: usize) -> Words {
        if self.slots[slot].multi { self.waiting_read() } else { self.xread() }
    }

    /// Mostly the last id, or one near it.
    fn later_id(&mut self, key: &'static str) -> Vec<u8> {
        let (millis, counter) = self.tops.get(key).copied().unwrap_or((0, 0));
        match self.tape.below(4) {
            0 if self.is_wild() => self.id(key),
            1 => format!("{millis}-{}", counter + 1).into(),
            _ => format!("{millis}-{counter}").into(),
        }
    }

    pub(super) fn xsetid(&mut self) -> Words {
        let key = self.key_name();
        let mut words: Words = vec![b"XSETID".to_vec(), key.into(), self.later_id(key)];
        if self.perhaps(4_000, &mut words, "ENTRIESADDED") {
            words.push(self.one(&["1", "3", "10", "1000", "0", "-1", "abc"]));
        }
        if self.perhaps(4_000, &mut words, "MAXDELETEDID") {
            words.push(self.id(key));
        }
        words
    }
}
