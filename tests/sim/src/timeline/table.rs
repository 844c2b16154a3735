//! What the page says in plain HTML: the totals, and what happened, as bounded tables.

use std::fmt::{self, Write};

use tidegate_core::Instant;

use super::{end, escape, mark_kind, origin, span_kind};
use crate::history::{History, Mark, MarkKind};

/// Most rows of each table: enough to read, and no page of 100 MB.
const ROWS_MAX: usize = 500;

pub(super) fn totals(history: &History) -> String {
    let mut html = String::new();
    for (name, count) in &history.totals {
        // Printing into a string can't fail, here and below.
        let _ = write!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), Grouped(*count));
    }
    html
}

pub(super) fn table(history: &History) -> String {
    let mut html = String::new();
    let _ = holds(&mut html, history);
    let _ = happened(&mut html, history);
    html
}

fn holds(to: &mut String, history: &History) -> fmt::Result {
    caption(to, "Holds", history.holds.len())?;
    head(to, &["member", "shard", "first", "last", "messages", "from", "until", "came", "ended"])?;
    for hold in history.holds.iter().take(ROWS_MAX) {
        let until = hold.until.map_or_else(|| "–".to_owned(), |until| Time(until).to_string());
        write!(
            to,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{until}<td>{}<td>{}",
            escape(member(history, Some(hold.member))),
            escape(&hold.shard),
            hold.first,
            hold.last,
            Grouped(hold.messages),
            Time(hold.from),
            origin(hold.origin),
            end(hold.end),
        )?;
    }
    to.write_str("</table>")
}

/// Spans and marks, all but the commits: there are too many of them.
fn happened(to: &mut String, history: &History) -> fmt::Result {
    let marks = || history.marks.iter().filter(|mark| mark.kind != MarkKind::Committed);
    let mut rows: Vec<_> = history
        .spans
        .iter()
        .map(|span| (span.from, span.member, span_kind(span.kind), &span.text, Some(span.until)))
        .chain(marks().map(|Mark { at, member, kind, text }| (*at, *member, mark_kind(*kind), text, None)))
        .collect();
    rows.sort_by_key(|row| row.0);
    caption(to, "What happened", rows.len())?;
    head(to, &["when", "until", "whom", "what", "in words"])?;
    for (from, whom, what, text, until) in rows.into_iter().take(ROWS_MAX) {
        let until = match until {
            Some(Some(until)) => Time(until).to_string(),
            Some(None) => "the end".to_owned(),
            None => String::new(),
        };
        let (whom, text) = (escape(member(history, whom)), escape(text));
        write!(to, "<tr><td>{}<td>{until}<td>{whom}<td>{what}<td>{text}", Time(from))?;
    }
    to.write_str("</table>")
}

fn caption(to: &mut String, what: &str, count: usize) -> fmt::Result {
    write!(to, "<table><caption>{what}: {}", Grouped(count as u64))?;
    if count > ROWS_MAX {
        write!(to, ", the first {ROWS_MAX} of them here")?;
    }
    to.write_str("</caption>")
}

fn head(to: &mut String, names: &[&str]) -> fmt::Result {
    to.write_str("<thead><tr>")?;
    for name in names {
        write!(to, "<th scope=col>{name}")?;
    }
    to.write_str("<tbody>")
}

fn member(history: &History, member: Option<usize>) -> &str {
    member.map_or("the broker", |member| history.members.get(member).map_or("–", String::as_str))
}

/// A moment as people say it: `3 h 20 min 5.25 s`, exact to a microsecond.
struct Time(Instant);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_nanos() / 1_000;
        let mut seconds = micros / 1_000_000;
        let mut space = "";
        for (name, long) in [("d", 86_400), ("h", 3_600), ("min", 60)] {
            if seconds >= long {
                write!(f, "{space}{} {name}", seconds / long)?;
                seconds %= long;
                space = " ";
            }
        }
        let fraction = format!("{:06}", micros % 1_000_000);
        match fraction.trim_end_matches('0') {
            "" if seconds == 0 && !space.is_empty() => Ok(()),
            "" => write!(f, "{space}{seconds} s"),
            fraction => write!(f, "{space}{seconds}.{fraction} s"),
        }
    }
}

/// A count with thin spaces between thousands.
struct Grouped(u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (digit, left) in digits.chars().zip((0..digits.len()).rev()) {
            f.write_char(digit)?;
            if left % 3 == 0 && left > 0 {
                f.write_char('\u{202f}')?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_say_them() {
        let time = |nanos| Time(Instant::from_nanos(nanos)).to_string();
        assert_eq!(time(0), "0 s");
        assert_eq!(time(1_500), "0.000001 s");
        assert_eq!(time(12_000_000_000_000), "3 h 20 min");
        assert_eq!(time(12_005_250_000_000), "3 h 20 min 5.25 s");
        assert_eq!(time(86_400_000_000_000), "1 d");
        assert_eq!(time(u64::MAX), "213503 d 23 h 34 min 33.709551 s");
    }

    #[test]
    fn counts_are_grouped() {
        let grouped = |n| Grouped(n).to_string().replace('\u{202f}', " ");
        assert_eq!((grouped(0), grouped(999), grouped(1_000)), ("0".into(), "999".into(), "1 000".into()));
        assert_eq!(grouped(12_345_678), "12 345 678");
    }
}
