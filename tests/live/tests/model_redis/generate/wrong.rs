//! Commands that are wrong.

use super::{Generator, Words};

const JUNK: &[&str] = &[
    "abc", "", "0", "-1", "-", "+", "$", ">", "=", "~", "9223372036854775807", "9223372036854775808",
    "18446744073709551615", "18446744073709551616", "5-1", "1-1-1", "1.5", "+300000", "0300000", "COUNT", "BLOCK",
    "STREAMS", "GROUP", "IDLE", "JUSTID", "MAXLEN", "a", "g", "s", "with space", "with\r\nline",
];

impl Generator {
    /// A command in which one thing is wrong, or at least odd.
    pub(super) fn spoil(&mut self, mut words: Words) -> Words {
        let at = self.tape.below(words.len() as u64) as usize;
        match self.tape.below(5) {
            0 => {
                words.remove(at);
            }
            1 => words.insert(at, words[at].clone()),
            2 => words.truncate(at + 1),
            3 => words[at] = self.one(JUNK),
            _ => {
                let junk = self.one(JUNK);
                words.insert(at + 1, junk);
            }
        }
        words
    }

    /// Commands that there aren't, and some mistakes that are too rare otherwise.
    pub(super) fn wrong(&mut self) -> Words {
        let line = self.tape.pick(LINES).copied().unwrap_or("PING");
        line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    pub(super) fn wrong_client(&mut self) -> Words {
        let line = self.tape.pick(CLIENT).copied().unwrap_or("CLIENT");
        line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }
}

const LINES: &[&str] = &[
    "NOSUCH",
    "nosuch a b c",
    "XNOSUCH a",
    "XGROUP",
    "XGROUP NOSUCH a g",
    "XGROUP CREATE a",
    "XGROUP CREATE a g",
    "XGROUP CREATE a g 0 NOSUCH",
    "XGROUP DESTROY a",
    "XGROUP DELCONSUMER a g",
    "XINFO",
    "XINFO NOSUCH a",
    "XINFO STREAM",
    "XINFO STREAM a NOSUCH",
    "XINFO STREAM a FULL NOSUCH 1",
    "XINFO STREAM a FULL COUNT abc",
    "XINFO CONSUMERS a",
    "XADD a",
    "XADD a 1-1",
    "XADD a 1-1 f",
    "XADD a MAXLEN 1 MINID 1 9-9 f v",
    "XADD a MAXLEN abc 9-9 f v",
    "XADD a NOSUCH 9-9 f v",
    "XADD a MAXLEN 5 LIMIT 5 9-9 f v",
    "XTRIM a",
    "XTRIM a MAXLEN",
    "XTRIM a NOSUCH 5",
    "XTRIM a MAXLEN 1 MINID 1",
    "XTRIM a MAXLEN 5 LIMIT 5",
    "XREAD",
    "XREAD COUNT 1",
    "XREAD STREAMS",
    "XREAD STREAMS a",
    "XREAD STREAMS a b 0",
    "XREAD GROUP g one STREAMS a >",
    "XREAD NOACK STREAMS a 0",
    "XREAD COUNT abc STREAMS a 0",
    "XREAD BLOCK abc STREAMS a 0",
    "XREAD BLOCK -1 STREAMS a 0",
    "XREAD NOSUCH STREAMS a 0",
    "XREAD COUNT 1 COUNT 2 STREAMS a 0",
    "XREADGROUP STREAMS a >",
    "XREADGROUP GROUP g STREAMS a >",
    "XREADGROUP GROUP g one STREAMS a $",
    "XREADGROUP COUNT 1 STREAMS a b c d >",
    "XREADGROUP GROUP g one STREAMS a b >",
    "XCLAIM a g one",
    "XCLAIM a g one abc 1-1",
    "XCLAIM a g one 0 1-1 NOSUCH",
    "XCLAIM a g one 0 1-1 IDLE",
    "XCLAIM a g one 0 1-1 RETRYCOUNT -1",
    "XCLAIM a g one 0 abc",
    "XCLAIM none g one 0 abc",
    "XAUTOCLAIM a g one 0",
    "XAUTOCLAIM a g one abc 0",
    "XAUTOCLAIM a g one 0 abc",
    "XAUTOCLAIM a g one 0 0 COUNT 0",
    "XAUTOCLAIM a g one 0 0 COUNT",
    "XAUTOCLAIM a g one 0 0 NOSUCH",
    "XPENDING a",
    "XPENDING a g -",
    "XPENDING a g - +",
    "XPENDING a g - + abc",
    "XPENDING a g IDLE abc - + 1",
    "XPENDING a g IDLE 0 - +",
    "XPENDING a g NOSUCH - + 1 one",
    "XPENDING a g - + 1 one two",
    "XACK a g",
    "XACK a g abc",
    "XACK a g 1-1 abc",
    "XDEL a",
    "XDEL a abc",
    "XDEL a 1-1 abc",
    "XRANGE a -",
    "XRANGE a - + COUNT",
    "XRANGE a - + COUNT abc",
    "XRANGE a - + NOSUCH 1",
    "XRANGE a - + COUNT 1 2",
    "XSETID a",
    "XSETID a 1-1 NOSUCH 1",
    "XSETID a 1-1 ENTRIESADDED",
    "XSETID a 1-1 ENTRIESADDED abc",
    "XSETID a 1-1 MAXDELETEDID 5-5",
    "XSETID none 1-1",
    "XLEN",
    "XLEN a b",
    "SET a",
    "SET a b NOSUCH",
    "GET",
    "DEL",
    "RENAME a",
    "RENAME none a",
    "RENAME a a",
    "EXPIRE a",
    "EXPIRE a abc",
    "EXPIRE a 9223372036854775807",
    "EXPIRE none 5000000",
    "TTL",
    "TTL a b",
    "PERSIST",
    "FLUSHALL NOSUCH",
    "FLUSHALL ASYNC",
    "FLUSHALL SYNC",
    "SELECT",
    "SELECT 1 2",
    "SELECT abc",
    "SELECT 99",
    "SELECT -1",
    "PING a b",
    "ECHO",
    "MULTI a",
    "EXEC a",
    "DISCARD a",
    "EXEC",
    "DISCARD",
    "MULTI",
    "AUTH",
    "AUTH a b c",
    "HELLO abc",
    "HELLO 9",
    "HELLO 3 NOSUCH",
    "HELLO 3 AUTH a",
    "HELLO 3 SETNAME",
    "HELLO 9223372036854775808",
];

const CLIENT: &[&str] = &[
    "CLIENT",
    "CLIENT NOSUCH",
    "CLIENT nosuch a",
    "CLIENT ID a",
    "CLIENT GETNAME a",
    "CLIENT SETNAME",
    "CLIENT SETNAME a b",
    "CLIENT UNBLOCK",
    "CLIENT UNBLOCK abc",
    "CLIENT UNBLOCK 0",
    "CLIENT UNBLOCK -1",
    "CLIENT UNBLOCK 999999999 NOSUCH",
    "CLIENT UNBLOCK 1 TIMEOUT ERROR",
    "CLIENT KILL",
    "CLIENT KILL 1.2.3.4:5",
    "CLIENT KILL abc",
    "CLIENT KILL ID abc",
    "CLIENT KILL ID 0",
    "CLIENT KILL ID -1",
    "CLIENT KILL ID 999999999",
    "CLIENT KILL NOSUCH 1",
    "CLIENT KILL ID 999999999 SKIPME maybe",
    "CLIENT KILL ID 999999999 SKIPME",
    "CLIENT KILL TYPE nosuch",
    "CLIENT KILL USER nobody",
    "CLIENT KILL ADDR 1.2.3.4:5",
    "CLIENT PAUSE",
    "CLIENT PAUSE abc",
    "CLIENT PAUSE -1",
    "CLIENT PAUSE 1 NOSUCH",
    "CLIENT PAUSE 1 WRITE 2",
    "CLIENT UNPAUSE a",
    "CLIENT ID",
    "CLIENT GETNAME",
];
