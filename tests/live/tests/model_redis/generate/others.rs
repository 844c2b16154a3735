//! Commands about keys and connections.

use super::{Generator, Words};
use crate::rig::command::Command;

impl Generator {
    pub(super) fn keyspace(&mut self, batch: &mut Vec<Command>) -> Words {
        let name = self.key_name();
        let key: Vec<u8> = name.into();
        let which = self.tape.below(24);
        if matches!(which, 0..11 | 20) && !self.is_wild() {
            return vec![self.one(&["TYPE", "TTL", "PTTL"]), key];
        }
        match which {
            0..4 => {
                self.tops.remove(name);
                let mut words = vec![b"DEL".to_vec(), key];
                if self.tape.chance(3_000) {
                    words.push(self.key());
                }
                words
            }
            4 => {
                self.tops.remove(name);
                vec![b"UNLINK".to_vec(), key]
            }
            5..7 => {
                // Mostly a key that isn't a stream for the others to fall over.
                let key = if self.tape.chance(3_000) { key } else { b"s".to_vec() };
                self.set(key)
            }
            7 => vec![b"GET".to_vec(), self.one(&["s", "a", "none"])],
            8..11 => {
                let to = self.key_name();
                if let Some(top) = self.tops.remove(name) {
                    self.tops.insert(to, top);
                }
                vec![self.one(&["RENAME", "RENAME", "RENAMENX"]), key, to.into()]
            }
            11 => vec![b"EXISTS".to_vec(), key, self.key()],
            12 => vec![b"TYPE".to_vec(), key],
            13..16 => {
                let expire = self.expire(key.clone());
                batch.push(Command::of(expire));
                vec![b"TTL".to_vec(), key]
            }
            16 => vec![b"TTL".to_vec(), key],
            17 => vec![b"PTTL".to_vec(), key],
            18..20 => vec![b"PERSIST".to_vec(), key],
            20 => vec![b"FLUSHDB".to_vec()],
            _ if self.tape.chance(7_000) => vec![b"WATCH".to_vec(), key, self.key()],
            _ => vec![b"UNWATCH".to_vec()],
        }
    }

    fn set(&mut self, key: Vec<u8>) -> Words {
        let mut words = vec![b"SET".to_vec(), key, self.one(&["v", "", "17"])];
        match self.tape.below(12) {
            0 => words.push(self.one(&["NX", "XX"])),
            1 => words.push(b"GET".to_vec()),
            2 => words.extend([b"NX".to_vec(), b"GET".to_vec()]),
            3 => words.push(b"KEEPTTL".to_vec()),
            4 => words.extend([self.one(&["EX", "PX"]), self.one(&["5000000", "0", "-1", "abc"])]),
            _ => {}
        }
        words
    }

    /// EXPIRE and its like, each time for longer, so that GT and LT don't hang on a millisecond.
    fn expire(&mut self, key: Vec<u8>) -> Words {
        self.lives += 1;
        let soon = 1_000 * (1_000 + self.lives);
        let (name, at) = match self.tape.below(8) {
            0 => ("EXPIREAT", self.began_ms / 1_000 + soon),
            1 => ("PEXPIREAT", self.began_ms + 1_000 * soon),
            2..5 => ("PEXPIRE", 1_000 * soon),
            _ => ("EXPIRE", soon),
        };
        let at = if self.tape.chance(1_500) && self.is_wild() {
            self.one(&["0", "-1", "-9223372036854775808", "9223372036854775807"])
        } else {
            at.to_string().into_bytes()
        };
        let mut words = vec![name.into(), key, at];
        if self.tape.chance(3_000) {
            words.push(self.one(&["NX", "XX", "GT", "LT", "gt", "NOSUCH"]));
            if self.tape.chance(2_000) {
                words.push(self.one(&["XX", "GT", "LT"]));
            }
        }
        words
    }

    pub(super) fn connection(&mut self, slot: usize) -> Words {
        match self.tape.below(20) {
            0 => vec![b"PING".to_vec()],
            1 => vec![b"PING".to_vec(), b"hello there".to_vec()],
            2 => vec![b"ECHO".to_vec(), b"hello\r\nthere".to_vec()],
            3..8 if self.calm && !self.tape.chance(3_000) => vec![b"PING".to_vec()],
            3..8 => vec![b"SELECT".to_vec(), self.one(&["0", "0", "0", "1", "1", "16", "-1", "x"])],
            8 => vec![b"AUTH".to_vec(), b"default".to_vec(), b"anything".to_vec()],
            9 => vec![b"AUTH".to_vec(), self.one(&["", "word"])],
            10 => vec![b"AUTH".to_vec(), b"nobody".to_vec(), b"word".to_vec()],
            11 => vec![b"HELLO".to_vec()],
            12..15 => vec![b"HELLO".to_vec(), self.one(&["3", "2", "3", "4", "1", "x"])],
            15 => {
                let mut words = vec![b"HELLO".to_vec(), self.one(&["3", "2"])];
                if self.perhaps(5_000, &mut words, "AUTH") {
                    words.push(self.one(&["default", "nobody"]));
                    words.push(b"word".to_vec());
                }
                if self.perhaps(5_000, &mut words, "SETNAME") {
                    words.push(self.one(&["name", "no name", ""]));
                }
                words
            }
            16..18 => {
                self.slots[slot].multi = false;
                vec![self.one(&["EXEC", "DISCARD"])]
            }
            18 => {
                self.slots[slot].multi = false;
                vec![b"RESET".to_vec()]
            }
            _ if self.tape.chance(2_000) => vec![b"QUIT".to_vec()],
            _ => vec![b"PING".to_vec()],
        }
    }
}
