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

use super::command::{Arg, Command};

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
    many_entries: bool,
    paused: bool,
    slots: Vec<Slot>,
    /// About the last id of each key.
    tops: BTreeMap<&'static str, (u64, u64)>,
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
        let pausing = blocking && tape.chance(1_000);
        let many_entries = !blocking && tape.chance(200);
        Self {
            tape,
            began_ms,
            left: commands,
            blocking,
            pausing,
            many_entries,
            paused: false,
            slots,
            tops: BTreeMap::new(),
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
        if !self.slots[slot].greeted {
            self.slots[slot].greeted = true;
            let greeting = self.tape.below(2) == 0;
            batch.push(Command::of(if greeting { ["HELLO", "3"] } else { ["HELLO", "2"] }));
        }
        while batch.len() < most {
            self.unit(slot, may_block, &mut batch);
            let Some(last) = batch.last() else { continue };
            let ends = last.wait_ms > 0 || last.may_block() || last.word(0) == "QUIT" || last.is_hang_up();
            if ends {
                let behind = last.may_block() && most > 1 && self.tape.chance(1_500);
                if behind {
                    let (from, to) = (batch.len(), batch.len() + 1);
                    while batch.len() < to {
                        self.unit(slot, false, &mut batch);
                    }
                    self.slots[slot].trailing = batch[from..].iter().all(|command| !command.may_block());
                    if !self.slots[slot].trailing {
                        batch.truncate(from);
                    }
                }
                break;
            }
        }
        if self.pausing || most == 1 {
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
        if self.slots[slot].multi && self.tape.chance(2_500) {
            self.slots[slot].multi = false;
            let end = if self.tape.chance(1_500) { "DISCARD" } else { "EXEC" };
            return batch.push(Command::of([end]));
        }
        if may_block && self.tape.chance(2_000) {
            let words = self.waiting_read();
            return self.push(words, batch);
        }
        let words = match self.tape.below(1_000) {
            0..180 => self.xadd(),
            180..240 => self.xreadgroup(),
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
            900..930 => return self.client(slot, batch),
            930..950 => self.wrong(),
            950..960 => return self.auto_id(batch),
            960..970 if !may_block => self.waiting_read_in_vain(slot),
            970..972 if !self.blocking => return self.expiry(batch),
            972..974 => vec![b"FLUSHALL".to_vec()],
            _ if self.many_entries => self.one_more(),
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
            if is_steady(&Command::of(&spoilt)) {
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
                for _ in 0..self.tape.within(0, 5) {
                    self.unit(slot, true, batch);
                }
                batch.push(Command::of(["EXEC"]));
                self.slots[slot].multi = false;
            }
        }
    }

    /// An id that the server chooses, on a key that nothing else uses and that goes at once.
    fn auto_id(&mut self, batch: &mut Vec<Command>) {
        batch.push(Command::of(["XADD", "auto", "*", "f", "v"]));
        batch.push(Command::of(["DEL", "auto"]));
    }

    /// A key whose time to live passes.
    fn expiry(&mut self, batch: &mut Vec<Command>) {
        let mut command = Command::of([b"PEXPIRE".to_vec(), self.key(), b"2".to_vec()]);
        command.wait_ms = 10;
        batch.push(command);
    }

    fn client(&mut self, slot: usize, batch: &mut Vec<Command>) {
        let text = |word: &str| Arg::Text(word.as_bytes().to_vec());
        let whom = self.tape.below(self.slots.len() as u64) as usize;
        let other = if self.tape.chance(1_000) { text("999999999") } else { Arg::IdOf(whom) };
        let args = match self.tape.below(20) {
            0..2 => vec![text("ID")],
            2..4 => vec![text("GETNAME")],
            4..6 => vec![text("SETNAME"), text(["one", "two", "", "a b", "a\nb"][self.tape.below(5) as usize])],
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
            13 if self.pausing && !self.slots[slot].multi => {
                self.paused = true;
                vec![text("PAUSE"), text("100000000"), text("WRITE")]
            }
            14 if self.pausing => {
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
        "EXPIRE" | "PEXPIRE" => false,
        "XADD" => !command.has("*") && command.word(1) != "AUTO",
        "CLIENT" => !matches!(command.word(1).as_str(), "PAUSE" | "KILL" | "REPLY" | "LIST"),
        _ => true,
    }
}
