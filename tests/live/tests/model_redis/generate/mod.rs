//! Random sessions, drawn from a tape.
//!
//! Most commands are right and meet something; some are wrong in every way that a client can be.

mod groups;
mod others;
mod parts;
mod streams;
mod wrong;

use std::collections::BTreeMap;

use tidegate_sim::Tape;

use super::command::{Arg, Command, first_wait};

/// A command's words.
type Words = Vec<Vec<u8>>;

/// Commands until the session ends.
pub struct Generator {
    tape: Tape,
    /// Milliseconds since 1970 when the session began.
    began_ms: u64,
    left: u32,
    blocking: bool,
    pausing: bool,
    /// So many that Redis keeps them in several nodes, of which trimming by `~` takes whole ones.
    many_entries: bool,
    /// Little is destroyed, so that much is pending.
    calm: bool,
    /// Now and then some time passes, which idle times show.
    slow: bool,
    paused: bool,
    slots: Vec<Slot>,
    /// About the last id of each key.
    tops: BTreeMap<&'static str, (u64, u64)>,
    /// The last ids that were added.
    added: BTreeMap<&'static str, Vec<(u64, u64)>>,
    /// Keys that clients waited for, the latest last.
    awaited: Vec<&'static str>,
    /// Times to live that were given: each is longer than the one before.
    lives: u64,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// Between MULTI and EXEC, if all went well.
    multi: bool,
    /// Commands were sent behind one that waits.
    trailing: bool,
    greeted: bool,
}

impl Generator {
    /// A session of about this many commands.
    pub fn new(mut tape: Tape, began_ms: u64, commands: u32) -> Self {
        let slots = vec![Slot::default(); tape.within(3, 5) as usize];
        let blocking = tape.chance(2_500);
        let pausing = blocking && tape.chance(2_000);
        let many_entries = !blocking && tape.chance(400);
        let slow = tape.chance(50);
        let calm = many_entries || tape.chance(7_500);
        Self {
            tape,
            began_ms,
            left: if many_entries { commands * 3 } else { commands },
            blocking,
            pausing,
            many_entries,
            calm,
            slow,
            paused: false,
            slots,
            tops: BTreeMap::new(),
            added: BTreeMap::new(),
            awaited: Vec::new(),
            lives: 0,
        }
    }

    /// How many connections it uses.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Whether the server may hold any command back now.
    pub fn is_careful(&self) -> bool {
        self.pausing
    }

    /// The next commands for one connection, none of those that wait; `None` at the end.
    pub fn batch(&mut self, waiting: &[bool]) -> Option<(usize, Vec<Command>)> {
        if self.left == 0 {
            return None;
        }
        let (waits, free): (Vec<usize>, Vec<usize>) = (0..waiting.len()).partition(|slot| waiting[*slot]);
        let someone = self.tape.pick(&waits).copied();
        if let Some(slot) = someone
            && (free.is_empty() || self.tape.chance(200))
        {
            self.slots[slot] = Slot::default();
            return Some((slot, vec![Command::default()]));
        }
        let slot = *self.tape.pick(&free).unwrap_or(&0);
        self.slots[slot].trailing = false;
        let most = self.size(&waits);
        let may_block = self.blocking && free.len() > 1;
        let mut batch = Vec::new();
        if !self.pausing && !waits.is_empty() && self.tape.chance(if self.calm { 2_000 } else { 4_000 }) {
            self.stir(&waits, &mut batch);
        }
        if !self.slots[slot].greeted {
            self.slots[slot].greeted = true;
            let greeting = self.tape.below(2) == 0;
            batch.push(Command::of(if greeting { ["HELLO", "3"] } else { ["HELLO", "2"] }));
            for key in if self.calm && self.tops.is_empty() { &["a", "b"][..] } else { &[] } {
                batch.push(Command::of(["XGROUP", "CREATE", key, "g", "0", "MKSTREAM"]));
            }
        }
        while batch.len() < most && first_wait(&batch).is_none() {
            self.unit(slot, may_block, &mut batch);
            if batch.last().is_some_and(|last| last.wait_ms > 0 || last.word(0) == "QUIT") {
                break;
            }
        }
        if let Some(at) = first_wait(&batch) {
            let behind = most > 1 && self.tape.chance(1_500);
            if behind && batch.len() == at + 1 {
                self.unit(slot, false, &mut batch);
            }
            let trailing = behind && batch.get(at + 1).is_some_and(|command| !command.may_block());
            self.slots[slot].trailing = trailing;
            batch.truncate(at + 1 + usize::from(trailing));
        }
        if self.pausing || waits.iter().any(|slot| self.slots[*slot].trailing) {
            batch.truncate(1);
        }
        self.left = self.left.saturating_sub(batch.len() as u32);
        Some((slot, batch))
    }

    /// How many commands at once: what comes behind a command that waits is done only when the
    /// server has nothing else to do, so then they come one by one.
    fn size(&mut self, waits: &[usize]) -> usize {
        let trailing = waits.iter().any(|slot| self.slots[*slot].trailing);
        if self.pausing || trailing || !waits.is_empty() && self.tape.chance(6_000) {
            return 1;
        }
        let most = if self.blocking { 8 } else { 60 };
        self.tape.within(1, most) as usize
    }

    /// One command, or some that belong together.
    fn unit(&mut self, slot: usize, may_block: bool, batch: &mut Vec<Command>) {
        if self.paused && self.tape.chance(1_500) {
            self.paused = false;
            return batch.push(Command::of(["CLIENT", "UNPAUSE"]));
        }
        if self.pausing && !self.paused && self.tape.chance(500) {
            self.paused = true;
            return batch.push(Command::of(["CLIENT", "PAUSE", "100000000", "WRITE"]));
        }
        if self.slow && self.tape.chance(600) {
            return batch.push(Command { wait_ms: 60, ..Command::of(["PING"]) });
        }
        if self.slots[slot].multi && self.tape.chance(2_500) {
            self.slots[slot].multi = false;
            let end = if self.tape.chance(1_500) { "DISCARD" } else { "EXEC" };
            return batch.push(Command::of([end]));
        }
        if may_block && self.tape.chance(2_000) {
            let words = self.waiting_read();
            self.group_for(&words, batch);
            return self.push(words, batch);
        }
        if self.many_entries && self.tape.chance(6_000) {
            let words = self.one_more();
            return self.push(words, batch);
        }
        let words = match self.tape.below(1_000) {
            0..160 => self.xadd(),
            160..240 => self.xreadgroup(),
            240..280 => self.xread(),
            280..330 => self.xack(),
            330..390 => self.xclaim(),
            390..430 => self.xautoclaim(),
            430..480 => self.xpending(),
            480..580 => self.xgroup(),
            580..630 => self.xinfo(),
            630..670 => self.xdel(),
            670..700 => self.xtrim(),
            700..740 => self.xrange(),
            740..760 => vec![b"XLEN".to_vec(), self.key()],
            760..780 => self.xsetid(),
            780..850 => self.keyspace(batch),
            850..870 => self.connection(slot),
            870..900 => return self.transaction(slot, batch),
            900..930 => return self.client(batch),
            930..950 => self.wrong(),
            950..960 => return self.auto_id(batch),
            960..970 if !may_block => self.waiting_read_in_vain(slot),
            970..972 if !self.blocking && !self.slots[slot].multi => return self.expiry(batch),
            972..974 if self.is_wild() => vec![b"FLUSHALL".to_vec()],
            974..980 if self.calm => {
                vec![b"XGROUP".to_vec(), b"CREATE".to_vec(), self.key(), self.group(), b"0".to_vec()]
            }
            _ => self.xadd(),
        };
        self.push(words, batch);
    }

    /// Adds a command, some of them spoilt.
    fn push(&mut self, words: Words, batch: &mut Vec<Command>) {
        if words.is_empty() {
            return;
        }
        let mut words = words;
        if self.tape.chance(400) {
            let spoilt = self.spoil(words.clone());
            if !spoilt.is_empty() && is_steady(&Command::of(&spoilt)) {
                words = spoilt;
            }
        }
        if self.tape.chance(1_000) {
            words[0].make_ascii_lowercase();
        }
        batch.push(Command::of(words));
    }

    /// MULTI and what follows it.
    fn transaction(&mut self, slot: usize, batch: &mut Vec<Command>) {
        batch.push(Command::of(["MULTI"]));
        match self.tape.below(4) {
            0 => self.slots[slot].multi = true,
            1 => {
                // What is added and deleted at once wakes nobody, or somebody for nothing.
                let words = self.one_more();
                let gone = [b"XDEL".to_vec(), words[1].clone(), words[2].clone()];
                batch.push(Command::of(words));
                batch.push(Command::of(gone));
                batch.push(Command::of(["EXEC"]));
            }
            _ => {
                self.slots[slot].multi = true;
                for _ in 0..self.tape.within(0, 5) {
                    self.unit(slot, false, batch);
                }
                batch.push(Command::of(["EXEC"]));
                self.slots[slot].multi = false;
            }
        }
    }

    /// Whether something may be destroyed now.
    fn is_wild(&mut self) -> bool {
        !self.calm || self.tape.chance(700)
    }

    /// An id that the server chooses, on a key that nothing else uses and that goes at once.
    fn auto_id(&mut self, batch: &mut Vec<Command>) {
        batch.push(Command::of(["XADD", "auto", "*", "f", "v"]));
        batch.push(Command::of(["DEL", "auto"]));
    }

    /// A key whose time to live passes. Not in a transaction: that would run it at another time.
    fn expiry(&mut self, batch: &mut Vec<Command>) {
        batch.push(Command::of(["DISCARD"]));
        let mut command = Command::of([b"PEXPIRE".to_vec(), self.key(), b"2".to_vec()]);
        command.wait_ms = 10;
        batch.push(command);
    }

    /// Mostly sees to it that the group of a read that waits is there.
    fn group_for(&mut self, words: &Words, batch: &mut Vec<Command>) {
        let Some(at) = words.iter().position(|word| word == b"STREAMS") else { return };
        let Some(key) = words.get(at + 1).cloned() else { return };
        if words[0] == b"XREADGROUP" && self.tape.chance(6_000) {
            let start = self.one(&["$", "0"]);
            let create = [b"XGROUP".to_vec(), b"CREATE".to_vec(), key, words[2].clone(), start];
            batch.push(Command::of(create.into_iter().chain([b"MKSTREAM".to_vec()])));
        }
    }

    /// Something that a waiting client notices, or just doesn't.
    fn stir(&mut self, waits: &[usize], batch: &mut Vec<Command>) {
        let key = self.awaited.last().copied().unwrap_or("a");
        let add = [b"XADD".to_vec(), key.into(), self.new_id(key), b"f".to_vec(), b"v".to_vec()];
        let key = key.as_bytes();
        let other = self.key();
        let group = self.group();
        let words: Vec<&[u8]> = match self.tape.below(20) {
            0 => vec![b"DEL", key],
            1 => vec![b"UNLINK", key],
            2 => vec![b"SET", key, b"v"],
            3 => vec![b"XGROUP", b"DESTROY", key, &group],
            4 => vec![b"RENAME", &other, key],
            5 => vec![b"RENAME", key, &other],
            6 => vec![b"FLUSHALL"],
            7 => vec![b"FLUSHDB"],
            8 => vec![b"EXPIRE", key, b"0"],
            9 => vec![b"XTRIM", key, b"MAXLEN", b"0"],
            10 => vec![b"XGROUP", b"SETID", key, &group, b"0"],
            11 => vec![b"DEL", &other, key],
            12 => {
                let change: Vec<&[u8]> = match self.tape.below(4) {
                    0 => vec![b"SET", key, b"v"],
                    1 => vec![b"XGROUP", b"CREATE", key, &group, b"0", b"MKSTREAM"],
                    2 => vec![b"XADD", key, b"1-1", b"f", b"v"],
                    _ => vec![b"RENAME", &other, key],
                };
                batch.extend([Command::of(["MULTI"]), Command::of([&b"DEL"[..], key]), Command::of(change)]);
                if self.tape.chance(3_000) {
                    batch.push(Command::of([&b"XADD"[..], key, b"9-9", b"f", b"v"]));
                }
                vec![b"EXEC"]
            }
            13..16 => {
                batch.extend([Command::of(["MULTI"]), Command::of(add)]);
                if self.tape.chance(5_000) {
                    batch.push(Command::of([&b"DEL"[..], &other]));
                }
                vec![b"EXEC"]
            }
            _ => {
                let whom = Arg::IdOf(self.tape.pick(waits).copied().unwrap_or(0));
                let mut command = Command::of(["CLIENT", "UNBLOCK"]);
                command.args.push(whom);
                if self.tape.chance(5_000) {
                    command.args.push(Arg::Text(self.one(&["TIMEOUT", "ERROR"])));
                }
                return batch.push(command);
            }
        };
        batch.push(Command::of(words));
    }

    fn client(&mut self, batch: &mut Vec<Command>) {
        let text = |word: &str| Arg::Text(word.as_bytes().to_vec());
        let whom = self.tape.below(self.slots.len() as u64) as usize;
        // See `explained::NOT_SENT` for why nobody is unblocked where somebody may be held back.
        let other = if self.pausing {
            text("0")
        } else if self.tape.chance(1_000) {
            text("999999999")
        } else {
            Arg::IdOf(whom)
        };
        let args = match self.tape.below(20) {
            0..2 => vec![text("ID")],
            2..4 => vec![text("GETNAME")],
            4..6 => {
                vec![text("SETNAME"), text(["one", "two", "", "a b", "a\nb"][self.tape.below(5) as usize])]
            }
            6..12 => {
                let how = ["", "TIMEOUT", "ERROR", "error", "OTHER"];
                let how = self.tape.pick(&how[..]).copied().unwrap_or_default();
                let mut args = vec![text("UNBLOCK"), other];
                args.extend((!how.is_empty()).then(|| text(how)));
                args
            }
            12 if self.tape.chance(3_000) => {
                let mut args = vec![text("KILL"), text("ID"), other];
                match self.tape.below(4) {
                    0 => args.extend([text("SKIPME"), text("no")]),
                    1 => args.extend([text("SKIPME"), text("yes")]),
                    2 => args.extend([text("TYPE"), text("normal")]),
                    _ => {}
                }
                args
            }
            13 if self.pausing => {
                self.paused = false;
                vec![text("UNPAUSE")]
            }
            _ => {
                let words = self.wrong_client();
                return self.push(words, batch);
            }
        };
        batch.push(Command { args: [vec![text("CLIENT")], args].concat(), wait_ms: 0 });
    }
}

/// Whether its answer depends on nothing that only a clock decides, and it stops nobody for
/// good but those who are to be stopped.
fn is_steady(command: &Command) -> bool {
    let brief = |at: usize| (1..=400_000).contains(&command.number(at).unwrap_or(0));
    match command.word(0).as_str() {
        "XCLAIM" | "XAUTOCLAIM" => !brief(4) || command.number(4) == Some(300_000),
        "XPENDING" => !command.after("IDLE").is_some_and(brief),
        "EXPIRE" | "PEXPIRE" | "EXPIREAT" | "PEXPIREAT" | "SET" => false,
        "XADD" => !command.has("*") && command.word(1) != "AUTO",
        "CLIENT" => !matches!(command.word(1).as_str(), "PAUSE" | "KILL" | "REPLY" | "LIST"),
        // What was a subcommand or an option.
        "INFO" | "SYNC" => false,
        _ => true,
    }
}
