//! Commands about keys and connections.

use super::{Generator, Words};
use crate::rig::command::Command;

impl Generator {
    pub(super) fn keyspace(&mut self, batch: &mut Vec<Command>) -> Words {
        let name = self.key_name();
        let key: Vec<u8> = name.into();
        match self.tape.below(24) {
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
                vec![b"SET".to_vec(), key, self.one(&["v", "", "17"])]
            }
            7 => vec![b"GET".to_vec(), self.one(&["s", "a", "none"])],
            8..11 => {
                let to = self.key_name();
                if let Some(top) = self.tops.remove(name) {
                    self.tops.insert(to, top);
                }
                vec![b"RENAME".to_vec(), key, to.into()]
            }
            11 => vec![b"EXISTS".to_vec(), key, self.key()],
            12 => vec![b"TYPE".to_vec(), key],
            13..16 => {
                self.lives += 1;
                let long = (1_000 + self.lives).to_string() + "000";
                let seconds = if self.tape.chance(1_500) { self.one(&["0", "-1"]) } else { long.into() };
                batch.push(Command::of([self.one(&["EXPIRE", "PEXPIRE"]), key.clone(), seconds]));
                vec![b"TTL".to_vec(), key]
            }
            16 => vec![b"TTL".to_vec(), key],
            17 => vec![b"PTTL".to_vec(), key],
            18..20 => vec![b"PERSIST".to_vec(), key],
            20 => vec![b"FLUSHDB".to_vec()],
            21 => vec![b"DBSIZE".to_vec()],
            _ => vec![b"PING".to_vec()],
        }
    }

    pub(super) fn connection(&mut self, slot: usize) -> Words {
        match self.tape.below(20) {
            0 => vec![b"PING".to_vec()],
            1 => vec![b"PING".to_vec(), b"hello there".to_vec()],
            2 => vec![b"ECHO".to_vec(), b"hello\r\nthere".to_vec()],
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
