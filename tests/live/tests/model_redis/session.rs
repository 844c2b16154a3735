//! A session: the same commands to both sides, until one answers differently.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::command::{Command, first_wait};
use super::compare::{Pair, Verdict};
use super::explained::{CUT_SHORT, EXPLAINED};
use super::frame::Frame;
use super::generate::Generator;
use super::side::{Batch, Seen, Side};
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
    resp3: bool,
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
    /// The longest that both sides together took for a batch. So much later may the one have done
    /// the same as the other.
    longest: Duration,
}

impl<'a> Session<'a> {
    /// Both sides as new.
    pub fn new(real: &'a mut dyn Side, model: &'a mut dyn Side, slots: usize) -> Self {
        real.reset(slots);
        model.reset(slots);
        Self {
            real,
            model,
            slots: vec![Slot::default(); slots],
            sent: Vec::new(),
            careful: false,
            longest: Duration::ZERO,
        }
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
            short_wait: first_wait(&commands).is_some_and(|at| commands[at].is_short_wait()),
        };
        let began = Instant::now();
        let real = self.real.run(batch);
        let model = self.model.run(Batch { bytes: &to_model, ..batch });
        self.longest = self.longest.max(began.elapsed());
        let pause = commands.iter().map(|command| command.wait_ms).sum();
        std::thread::sleep(Duration::from_millis(pause));
        let alone = acts_last(&commands).then(|| commands.last().cloned()).flatten();
        self.slots[slot].pending.extend(commands);

        for (at, (real, model)) in real.iter().zip(&model).enumerate() {
            let pairs = real.replies.iter().zip(&model.replies);
            for (real, model) in pairs {
                self.reply(at, real, model, at != slot, alone.as_ref(), tally)?;
            }
            let says = |seen: &Seen| (seen.replies.len(), seen.rest.clone(), seen.waits, seen.closed);
            if says(real) != says(model) && self.is_cut_short(at, real, model) {
                *tally.explained.entry(CUT_SHORT.0).or_default() += 1;
            } else if says(real) != says(model) {
                let mut text = format!("on connection {at}:\n");
                for (side, seen) in [(&*self.real, real), (&*self.model, model)] {
                    let _ = write!(text, "  {}: {} replies", side.name(), seen.replies.len());
                    text.push_str(if seen.waits { ", waits" } else { "" });
                    text.push_str(if seen.closed { ", closed" } else { "" });
                    seen.replies.iter().chain([&seen.rest]).for_each(|reply| {
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
            // Two moments count: when it was done, and when it was asked for. And clocks are rounded.
            tolerance_ms: 2 * self.longest.as_millis() as u64 + 5,
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
        match (command.word(0).as_str(), &frame) {
            ("HELLO", Frame::Many(kind, _)) => self.slots[at].resp3 = *kind == b'%',
            ("RESET", _) => self.slots[at].resp3 = false,
            _ => {}
        }
        tally.resp3 += u64::from(self.slots[at].resp3);
        tally.answered(&command, &frame);
        if is_exec {
            queued.iter().zip(frame.frames()).for_each(|(command, frame)| tally.answered(command, frame));
        }
        if let Some(by) = by.filter(|_| woken) {
            tally.woken(by, &frame);
        }
        Ok(())
    }

    /// See [`CUT_SHORT`].
    fn is_cut_short(&self, at: usize, real: &Seen, model: &Seen) -> bool {
        let slot = &self.slots[at];
        let kills = |command: &Command| command.word(0) == "CLIENT" && command.word(1) == "KILL";
        let more =
            real.replies.get(model.replies.len()..).map(|more| [more.concat(), real.rest.clone()].concat());
        real.closed
            && model.closed
            && slot.pending.front().is_some_and(|command| command.word(0) == "EXEC")
            && slot.queued.iter().any(kills)
            && more.is_some_and(|more| more.starts_with(&model.rest))
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

/// Whether nothing but the last command can have done anything that others notice.
fn acts_last(commands: &[Command]) -> bool {
    let at = |at: usize| commands.get(at).map(|command| command.word(0)).unwrap_or_default();
    let last = commands.len().saturating_sub(1);
    last == 0
        || at(0) == "MULTI"
            && at(last) == "EXEC"
            && (1..last).all(|i| !matches!(at(i).as_str(), "EXEC" | "DISCARD"))
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
