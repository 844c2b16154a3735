//! Two replies to one command, byte for byte but for what time decides.
//!
//! **Invariant:** what is passed over is a number or an id at a named place of a named command's
//! reply; its type, and whether it is there, always counts.

use super::command::Command;
use super::explained::{EXPLAINED, Explained};
use super::frame::Frame;

/// Both replies to one command.
pub struct Pair<'a> {
    /// The command.
    pub command: &'a Command,
    /// How far apart two times may be, in milliseconds.
    pub tolerance_ms: u64,
    /// If it was EXEC: what had been queued.
    pub queued: &'a [Command],
    /// The first side's bytes, and its connection's id.
    pub real: (&'a [u8], u64),
    /// The other side's.
    pub model: (&'a [u8], u64),
}

/// What a comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Equal.
    Equal,
    /// Different, and written down: an index into [`EXPLAINED`].
    Explained(usize),
    /// Different.
    Different,
}

impl Pair<'_> {
    /// Compares.
    pub fn verdict(&self) -> Verdict {
        if self.real.0 == self.model.0 && self.real.1 == self.model.1 {
            return Verdict::Equal;
        }
        let (Some((real, _)), Some((model, _))) = (Frame::parse(self.real.0), Frame::parse(self.model.0))
        else {
            return Verdict::Different;
        };
        if self.frames(self.command, &real, &model) {
            return Verdict::Equal;
        }
        let known = |(_, matches, _): &Explained| matches(self.command, &real, &model);
        EXPLAINED.iter().position(known).map_or(Verdict::Different, Verdict::Explained)
    }

    fn own_ids(&self, real: &Frame, model: &Frame) -> bool {
        (real.int(), model.int()) == (Some(self.real.1 as i64), Some(self.model.1 as i64))
    }

    fn frames(&self, command: &Command, real: &Frame, model: &Frame) -> bool {
        match (command.word(0).as_str(), command.word(1).as_str()) {
            ("EXEC", _) if real.frames().len() == self.queued.len() => {
                alike(real, model, |at, real, model| self.frames(&self.queued[at], real, model))
            }
            ("CLIENT", "ID") => self.own_ids(real, model) || real.int().is_none() && real == model,
            ("HELLO", _) => fields(real, model, &|name, real, model| match name {
                b"id" => self.own_ids(real, model),
                _ => real == model,
            }),
            ("XADD", _) if command.has("*") => real == model || self.near(millis(real), millis(model)),
            // Whole seconds, rounded.
            ("TTL", _) => real == model || near(real.int(), model.int(), 1 + self.tolerance_ms / 1_000),
            ("PTTL", _) => real == model || self.near(real.int(), model.int()),
            ("XPENDING", _) => alike(real, model, |_, real, model| {
                alike(real, model, |at, one, other| {
                    one == other || at == 2 && real.frames().len() == 4 && self.near(one.int(), other.int())
                })
            }),
            ("XINFO", _) => self.info(real, model),
            _ => real == model,
        }
    }

    /// XINFO's replies: names and values, lists of them, and pending lists.
    fn info(&self, real: &Frame, model: &Frame) -> bool {
        real == model
            || alike(real, model, |at, one, other| {
                let name =
                    at.checked_sub(1).and_then(|at| real.frames().get(at)?.bulk()).filter(|_| at % 2 == 1);
                self.field(name.unwrap_or_default(), one, other)
            })
    }

    fn field(&self, name: &[u8], real: &Frame, model: &Frame) -> bool {
        match name {
            b"idle" | b"inactive" | b"seen-time" | b"active-time" => self.near(real.int(), model.int()),
            b"pel" | b"pending" => alike(real, model, |_, real, model| {
                let time = real.frames().len().wrapping_sub(2);
                alike(real, model, |at, one, other| {
                    one == other || at == time && self.near(one.int(), other.int())
                })
            }),
            _ => self.info(real, model),
        }
    }

    /// Two moments or durations in milliseconds.
    fn near(&self, real: Option<i64>, model: Option<i64>) -> bool {
        near(real, model, self.tolerance_ms)
    }
}

/// Two moments or durations of the same meaning. What is negative means something else.
fn near(real: Option<i64>, model: Option<i64>, tolerance: u64) -> bool {
    match (real, model) {
        (Some(real), Some(model)) if real >= 0 && model >= 0 => real.abs_diff(model) <= tolerance,
        (Some(real), Some(model)) => real == model,
        _ => false,
    }
}

/// Two maps, or flat arrays of names and values.
fn fields(real: &Frame, model: &Frame, value: &dyn Fn(&[u8], &Frame, &Frame) -> bool) -> bool {
    alike(real, model, |at, one, other| match real.frames().get(at.wrapping_sub(1)).and_then(Frame::bulk) {
        Some(name) if at % 2 == 1 => value(name, one, other),
        _ => one == other,
    })
}

/// Equal, or two aggregates of one kind and length whose parts are alike.
fn alike(real: &Frame, model: &Frame, mut part: impl FnMut(usize, &Frame, &Frame) -> bool) -> bool {
    match (real, model) {
        (Frame::Many(one, real), Frame::Many(other, model)) => {
            one == other
                && real.len() == model.len()
                && real.iter().zip(model).enumerate().all(|(at, (one, other))| part(at, one, other))
        }
        _ => real == model,
    }
}

/// The milliseconds of an id that the server chose.
fn millis(id: &Frame) -> Option<i64> {
    let text = std::str::from_utf8(id.bulk()?).ok()?;
    text.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(command: &[&str], real: &str, model: &str) -> Verdict {
        let command = Command::of(command);
        Pair {
            command: &command,
            tolerance_ms: 100,
            queued: &[],
            real: (real.as_bytes(), 7),
            model: (model.as_bytes(), 9),
        }
        .verdict()
    }

    #[test]
    fn only_what_time_decides_is_passed_over() {
        let pending =
            |idle: &str, count: &str| format!("*1\r\n*4\r\n$3\r\n1-1\r\n$1\r\nc\r\n:{idle}\r\n:{count}\r\n");
        let ask = ["XPENDING", "k", "g", "-", "+", "1"];
        assert_eq!(verdict(&ask, &pending("5", "1"), &pending("90", "1")), Verdict::Equal);
        assert_eq!(verdict(&ask, &pending("5", "1"), &pending("5", "2")), Verdict::Different);
        assert_eq!(verdict(&ask, &pending("5", "1"), &pending("500000", "1")), Verdict::Different);
        assert_eq!(verdict(&["TTL", "k"], ":-1\r\n", ":-2\r\n"), Verdict::Different);
        assert_eq!(verdict(&["TTL", "k"], ":10000\r\n", ":10001\r\n"), Verdict::Equal);
        assert_eq!(verdict(&["CLIENT", "ID"], ":7\r\n", ":9\r\n"), Verdict::Equal);
        assert_eq!(verdict(&["CLIENT", "ID"], ":7\r\n", ":7\r\n"), Verdict::Different);
        assert_eq!(verdict(&["GET", "k"], "$-1\r\n", "*-1\r\n"), Verdict::Different);
        assert_eq!(verdict(&["GET", "k"], "$-1\r\n", "_\r\n"), Verdict::Different);
    }
}
