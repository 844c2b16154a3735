//! A session: the same commands to both sides, until one answers differently.

use std::collections::VecDeque;
use std::fmt::Write as _;

use super::command::Command;
use super::compare::{Pair, Verdict};
use super::explained::EXPLAINED;
use super::frame::Frame;
use super::generate::Generator;
use super::side::{Batch, Side};
use super::tally::Tally;

/// A command on a connection, as it was sent.
pub type Sent = (usize, Command);

/// Where the sides differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// After which commands, in order.
    pub sent: Vec<Sent>,
    /// In what, for people.
    pub text: String,
}

/// One connection, as both sides agree that it is.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// Commands without an answer, the oldest first.
    pending: VecDeque<Command>,
    /// Commands between MULTI and EXEC.
    queued: Vec<Command>,
    waits: bool,
}

/// Both sides, and where a session stands.
pub struct Session<'a> {
    real: &'a mut dyn Side,
    model: &'a mut dyn Side,
    slots: Vec<Slot>,
    sent: Vec<Sent>,
    /// The server may hold back any command (CLIENT PAUSE).
    careful: bool,
}

impl<'a> Session<'a> {
    /// Both sides as new.
    pub fn new(real: &'a mut dyn Side, model: &'a mut dyn Side, slots: usize) -> Self {
        real.reset(slots);
        model.reset(slots);
        Self { real, model, slots: vec![Slot::default(); slots], sent: Vec::new(), careful: false }
    }

    /// Runs what the generator says to its end.
    pub fn generated(mut self, generator: &mut Generator, tally: &mut Tally) -> Result<(), Difference> {
        loop {
            let waiting: Vec<bool> = self.slots.iter().map(|slot| slot.waits).collect();
            let Some((slot, commands)) = generator.batch(&waiting) else { return Ok(()) };
            self.careful = generator.is_careful();
            self.step(slot, commands, tally)?;
        }
    }

    /// Runs these commands one by one; those for a connection that waits are left out.
    pub fn replayed(mut self, sent: &[Sent]) -> Result<(), Difference> {
        let mut tally = Tally::default();
        self.careful = true;
        for (slot, command) in sent {
            if !self.slots[*slot].waits || command.is_hang_up() {
                self.step(*slot, vec![command.clone()], &mut tally)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, slot: usize, commands: Vec<Command>, tally: &mut Tally) -> Result<(), Difference> {
        self.sent.extend(commands.iter().map(|command| (slot, command.clone())));
        if commands.first().is_some_and(Command::is_hang_up) {
            tally.hung_up += 1;
            self.reconnect(slot);
            return Ok(());
        }
        let encode = |ids: &[u64]| {
            let mut bytes = Vec::new();
            commands.iter().for_each(|command| command.encode(ids, &mut bytes));
            bytes
        };
        let (to_real, to_model) = (encode(self.real.ids()), encode(self.model.ids()));
        let certain = commands.iter().position(|command| self.careful || command.may_block());
        let batch = Batch {
            slot,
            bytes: &to_real,
            commands: commands.len(),
            certain: certain.unwrap_or(commands.len()),
            short_wait: commands.iter().any(Command::is_short_wait),
            wait_ms: commands.iter().map(|command| command.wait_ms).sum(),
        };
        let real = self.real.run(batch);
        let model = self.model.run(Batch { bytes: &to_model, ..batch });
        let alone = (commands.len() == 1).then(|| commands[0].clone());
        self.slots[slot].pending.extend(commands);

        for (at, (real, model)) in real.iter().zip(&model).enumerate() {
            let pairs = real.replies.iter().zip(&model.replies);
            for (real, model) in pairs {
                self.reply(at, real, model, at != slot, alone.as_ref(), tally)?;
            }
            if real.replies.len() != model.replies.len() || real.waits != model.waits || real.closed != model.closed {
                let mut text = format!("on connection {at}:\n");
                for (side, seen) in [(&*self.real, real), (&*self.model, model)] {
                    let _ = write!(text, "  {}: {} replies", side.name(), seen.replies.len());
                    text.push_str(if seen.waits { ", waits" } else { "" });
                    text.push_str(if seen.closed { ", closed" } else { "" });
                    seen.replies.iter().for_each(|reply| {
                        let _ = write!(text, "\n    {}", reply.escape_ascii());
                    });
                    text.push('\n');
                }
                return Err(self.difference(text));
            }
            if real.waits && !self.slots[at].waits {
                tally.blocked += 1;
            }
            self.slots[at].waits = real.waits;
        }
        for (at, seen) in real.iter().enumerate() {
            if seen.closed {
                tally.closed += 1;
                self.reconnect(at);
            }
        }
        Ok(())
    }

    /// One reply of each side to the oldest command of a connection that has none.
    fn reply(
        &mut self,
        at: usize,
        real: &[u8],
        model: &[u8],
        woken: bool,
        by: Option<&Command>,
        tally: &mut Tally,
    ) -> Result<(), Difference> {
        let Some(command) = self.slots[at].pending.pop_front() else {
            let text = format!("connection {at}: a reply to nothing: {}", real.escape_ascii());
            return Err(self.difference(text));
        };
        let is_exec = command.word(0) == "EXEC";
        let queued = if is_exec { std::mem::take(&mut self.slots[at].queued) } else { Vec::new() };
        let pair = Pair {
            command: &command,
            queued: &queued,
            real: (real, self.real.ids()[at]),
            model: (model, self.model.ids()[at]),
        };
        match pair.verdict() {
            Verdict::Equal => {}
            Verdict::Explained(which) => *tally.explained.entry(EXPLAINED[which].0).or_default() += 1,
            Verdict::Different => {
                let text = format!(
                    "connection {at}, answer to {command}:\n  {}: {}\n  {}: {}\n",
                    self.real.name(),
                    real.escape_ascii(),
                    self.model.name(),
                    model.escape_ascii(),
                );
                return Err(self.difference(text));
            }
        }
        if real == b"+QUEUED\r\n" {
            self.slots[at].queued.push(command);
            return Ok(());
        }
        let Some((frame, _)) = Frame::parse(real) else { return Ok(()) };
        if matches!(command.word(0).as_str(), "DISCARD" | "RESET") && frame.kind() == "value" {
            self.slots[at].queued.clear();
        }
        tally.answered(&command, &frame);
        if is_exec {
            queued.iter().zip(frame.frames()).for_each(|(command, frame)| tally.answered(command, frame));
        }
        if let Some(by) = by.filter(|_| woken) {
            tally.woken(by, &frame);
        }
        Ok(())
    }

    fn reconnect(&mut self, slot: usize) {
        self.real.reconnect(slot);
        self.model.reconnect(slot);
        self.slots[slot] = Slot::default();
    }

    fn difference(&self, text: String) -> Difference {
        Difference { sent: self.sent.clone(), text }
    }
}

/// Drops commands while the sides still differ. What is left, with its difference.
pub fn shrink(real: &mut dyn Side, model: &mut dyn Side, slots: usize, found: Difference) -> Difference {
    let mut least = match Session::new(real, model, slots).replayed(&found.sent) {
        Err(again) => again,
        Ok(()) => {
            let text = format!("{}  (not seen again when sent one by one; all of it:)\n", found.text);
            return Difference { text, ..found };
        }
    };
    let mut chunk = least.sent.len().div_ceil(2);
    loop {
        let mut at = 0;
        let before = least.sent.len();
        while at < least.sent.len() {
            let mut fewer = least.sent.clone();
            fewer.drain(at..(at + chunk).min(least.sent.len()));
            match Session::new(real, model, slots).replayed(&fewer) {
                Err(again) => least = again,
                Ok(()) => at += chunk,
            }
        }
        if chunk == 1 && least.sent.len() == before {
            return least;
        }
        chunk = chunk.div_ceil(2);
    }
}
