//! Commands about groups, their members, and what is pending.

use super::{Generator, Words};

impl Generator {
    pub(super) fn xack(&mut self) -> Words {
        let key = self.key_name();
        let mut words: Words = vec![b"XACK".to_vec(), key.into(), self.group()];
        for _ in 0..self.tape.within(1, 3) {
            words.push(self.id(key));
        }
        words
    }

    pub(super) fn xpending(&mut self) -> Words {
        let key = self.key_name();
        let mut words: Words = vec![b"XPENDING".to_vec(), key.into(), self.group()];
        if self.tape.chance(3_000) {
            return words;
        }
        if self.perhaps(3_000, &mut words, "IDLE") {
            words.push(self.least_idle());
        }
        words.push(self.bound(key, "-"));
        words.push(self.bound(key, "+"));
        words.push(self.count());
        if self.tape.chance(4_000) {
            words.push(self.member());
        }
        words
    }

    pub(super) fn xclaim(&mut self) -> Words {
        let key = self.key_name();
        let mut words: Words =
            vec![b"XCLAIM".to_vec(), key.into(), self.group(), self.member(), self.least_idle()];
        for _ in 0..self.tape.within(1, 4) {
            words.push(self.id(key));
        }
        if self.perhaps(4_000, &mut words, "IDLE") {
            words.push(self.one(&["1000000", "2000000", "0", "-1", "9223372036854775807"]));
        }
        if self.perhaps(1_500, &mut words, "TIME") {
            let ago = [1_000_000, 2_000_000, 0][self.tape.below(3) as usize];
            words.push(if self.tape.chance(1_000) {
                self.one(&["0", "-1", "9223372036854775807"])
            } else {
                (self.began_ms - ago).to_string().into_bytes()
            });
        }
        if self.perhaps(2_000, &mut words, "RETRYCOUNT") {
            words.push(self.one(&["0", "1", "7", "-1", "abc"]));
        }
        self.perhaps(3_000, &mut words, "FORCE");
        self.perhaps(2_000, &mut words, "JUSTID");
        if self.perhaps(1_000, &mut words, "LASTID") {
            words.push(self.id(key));
        }
        words
    }

    pub(super) fn xautoclaim(&mut self) -> Words {
        let key = self.key_name();
        let mut words: Words =
            vec![b"XAUTOCLAIM".to_vec(), key.into(), self.group(), self.member(), self.least_idle()];
        words.push(if self.tape.chance(5_000) { self.bound(key, "-") } else { b"0-0".to_vec() });
        self.perhaps_count(&mut words);
        self.perhaps(3_000, &mut words, "JUSTID");
        words
    }

    pub(super) fn xgroup(&mut self) -> Words {
        let key = self.key_name();
        let (name, group) = (b"XGROUP".to_vec(), self.group());
        match self.tape.below(20) {
            0..10 => {
                let mut words = vec![name, b"CREATE".to_vec(), key.into(), group, self.start(key)];
                self.perhaps(7_000, &mut words, "MKSTREAM");
                self.entries_read(&mut words);
                words
            }
            10..13 => {
                let mut words = vec![name, b"SETID".to_vec(), key.into(), group, self.start(key)];
                self.entries_read(&mut words);
                words
            }
            13..15 if self.is_wild() => vec![name, b"DESTROY".to_vec(), key.into(), group],
            15..18 => vec![name, b"CREATECONSUMER".to_vec(), key.into(), group, self.member()],
            _ => vec![name, b"DELCONSUMER".to_vec(), key.into(), group, self.member()],
        }
    }

    fn start(&mut self, key: &'static str) -> Vec<u8> {
        match self.tape.below(6) {
            0 => b"$".to_vec(),
            1 | 2 => self.id(key),
            _ => b"0".to_vec(),
        }
    }

    fn entries_read(&mut self, words: &mut Words) {
        if self.perhaps(1_500, words, "ENTRIESREAD") {
            words.push(self.one(&["1", "3", "0", "-1", "-2", "100", "abc"]));
        }
    }

    pub(super) fn xinfo(&mut self) -> Words {
        let key = self.key();
        let name = b"XINFO".to_vec();
        match self.tape.below(10) {
            0..2 => vec![name, b"STREAM".to_vec(), key],
            2..6 => {
                let mut words = vec![name, b"STREAM".to_vec(), key, b"FULL".to_vec()];
                self.perhaps_count(&mut words);
                words
            }
            6..8 => vec![name, b"GROUPS".to_vec(), key],
            _ => vec![name, b"CONSUMERS".to_vec(), key, self.group()],
        }
    }
}
