//! One command of a session, the same for both sides.

use std::fmt;

/// A part of a command. What differs between the sides by nature has a name here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// These bytes.
    Text(Vec<u8>),
    /// What CLIENT ID answers on this connection, in decimal.
    IdOf(usize),
}

/// A command, or, without any argument: the client hangs up and connects anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Its words, the name first.
    pub args: Vec<Arg>,
    /// How long to wait after its answer, in milliseconds: for what only time can do.
    pub wait_ms: u64,
}

impl Command {
    /// A command of these words.
    pub fn of<T: AsRef<[u8]>>(words: impl IntoIterator<Item = T>) -> Self {
        let args = words.into_iter().map(|word| Arg::Text(word.as_ref().to_vec())).collect();
        Self { args, wait_ms: 0 }
    }

    /// Whether the client hangs up instead of sending anything.
    pub fn is_hang_up(&self) -> bool {
        self.args.is_empty()
    }

    /// A word in upper case; empty where there is none.
    pub fn word(&self, at: usize) -> String {
        match self.args.get(at) {
            Some(Arg::Text(text)) => String::from_utf8_lossy(text).to_ascii_uppercase(),
            _ => String::new(),
        }
    }

    /// Whether one of its words, its name aside, is this one in whatever case.
    pub fn has(&self, word: &str) -> bool {
        self.after(word).is_some()
    }

    /// Where the word behind the first one that is `word` stands.
    pub fn after(&self, word: &str) -> Option<usize> {
        (1..self.args.len()).find(|at| self.word(*at) == word).map(|at| at + 1)
    }

    /// A word as a number.
    pub fn number(&self, at: usize) -> Option<i64> {
        self.word(at).parse().ok()
    }

    /// Whether it may keep its client waiting.
    pub fn may_block(&self) -> bool {
        matches!(self.word(0).as_str(), "XREAD" | "XREADGROUP") && self.has("BLOCK")
    }

    /// Whether it waits for so short a time that the rig waits with it.
    pub fn is_short_wait(&self) -> bool {
        let short =
            |at: usize| self.word(at) == "BLOCK" && (1..=1000).contains(&self.number(at + 1).unwrap_or(0));
        self.may_block() && (1..self.args.len()).any(short)
    }

    /// Its bytes on the wire, with the ids that the connections have on one side.
    pub fn encode(&self, ids: &[u64], out: &mut Vec<u8>) {
        out.extend(format!("*{}\r\n", self.args.len()).into_bytes());
        for arg in &self.args {
            let text = match arg {
                Arg::Text(text) => text.clone(),
                Arg::IdOf(slot) => ids[*slot].to_string().into_bytes(),
            };
            out.extend(format!("${}\r\n", text.len()).into_bytes());
            out.extend(text);
            out.extend(b"\r\n");
        }
    }
}

/// The first command that may keep its client waiting: that surely follows no MULTI.
pub fn first_wait(batch: &[Command]) -> Option<usize> {
    let mut multi = false;
    batch.iter().position(|command| {
        match command.word(0).as_str() {
            "MULTI" if command.args.len() == 1 => multi = true,
            "EXEC" | "DISCARD" | "RESET" => multi = false,
            _ => {}
        }
        !multi && command.may_block()
    })
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_hang_up() {
            return f.write_str("(hangs up and connects anew)");
        }
        for (at, arg) in self.args.iter().enumerate() {
            let gap = if at == 0 { "" } else { " " };
            match arg {
                Arg::Text(text) if text.is_empty() || text.iter().any(|b| !b.is_ascii_graphic()) => {
                    write!(f, "{gap}\"{}\"", text.escape_ascii())?
                }
                Arg::Text(text) => write!(f, "{gap}{}", String::from_utf8_lossy(text))?,
                Arg::IdOf(slot) => write!(f, "{gap}<id of {slot}>")?,
            }
        }
        if self.wait_ms > 0 {
            write!(f, "   (and {} ms pass)", self.wait_ms)?;
        }
        Ok(())
    }
}
