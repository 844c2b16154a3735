//! The timeline: a history as one picture, who held what when.
//!
//! # Theory of operation
//!
//! [`html`] writes one file: the page's frame, its style and its script, as they lie beside this
//! file, and the history as JSON between them. Whatever depends on the window (which part is
//! shown, how high a row is, what falls into one pixel) is the script's matter; this side only
//! says what there is. Instants go over as whole microseconds, since a browser's numbers hold
//! 285 years of those exactly and of nanoseconds 104 days. Names and texts are written once, and
//! then named by their number.
//!
//! Totals and a bounded table of the holds and marks are plain HTML, so that the page says
//! something to screen readers, and without its script.
//!
//! [`History::from_trace`](crate::History::from_trace) makes a history of one machine's trace.
//!
//! **Invariant:** the file loads nothing: no address is in it outside of data, and its content
//! policy forbids it anyway.
//!
//! **Invariant:** no text of a history is ever markup or script.
//!
//! **Invariant:** any history gives a page; what belongs to no member is left out of the rows.

mod owned;
mod table;
mod trace;

use std::borrow::Cow;
use std::collections::BTreeMap;

use tidegate_core::Instant;

use crate::history::{History, HoldEnd, MarkKind, Origin, SpanKind};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &[&str] =
    &[include_str!("model.js"), include_str!("glyphs.js"), include_str!("paint.js"), include_str!("page.js")];

/// The history as one HTML file, UTF-8, for any browser of today.
///
/// ```
/// use tidegate_sim::{History, timeline};
///
/// let history = History { title: "seed 7".into(), ..History::default() };
/// assert!(timeline::html(&history).contains("seed 7"));
/// ```
pub fn html(history: &History) -> String {
    fill(
        PAGE,
        &[
            ("title", &escape(&history.title)),
            ("style", STYLE),
            ("totals", &table::totals(history)),
            ("table", &table::table(history)),
            ("data", &data(history)),
            ("script", &SCRIPT.concat()),
        ],
    )
}

/// Puts values for `{{names}}`. What is in a value is not looked at again.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?)))
    {
        filled.push_str(before);
        filled.push_str(values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value));
        rest = after;
    }
    filled + rest
}

/// Text for HTML, and for attributes in double quotes.
fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"']) {
        return Cow::Borrowed(text);
    }
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").into()
}

/// Texts by number, each once.
#[derive(Default)]
struct Texts<'a> {
    numbers: BTreeMap<Cow<'a, str>, usize>,
    texts: Vec<Cow<'a, str>>,
}

impl<'a> Texts<'a> {
    fn number(&mut self, text: impl Into<Cow<'a, str>>) -> usize {
        let text = text.into();
        if let Some(number) = self.numbers.get(&text) {
            return *number;
        }
        self.numbers.insert(text.clone(), self.texts.len());
        self.texts.push(text);
        self.texts.len() - 1
    }
}

/// The history as JSON that can stand in a script element; model.js reads it.
fn data(history: &History) -> String {
    let micros = |at: Instant| at.as_nanos() / 1_000;
    let is_member = |member: usize| member < history.members.len();
    let mut texts = Texts::default();
    let holds: Vec<_> = history
        .holds
        .iter()
        .filter(|hold| is_member(hold.member))
        .map(|hold| {
            let seqs = (hold.first.to_string(), hold.last.to_string());
            let times = (micros(hold.from), hold.until.map(micros));
            let kinds = (texts.number(origin(hold.origin)), texts.number(end(hold.end)));
            let shard = texts.number(&*hold.shard);
            (hold.member, shard, seqs.0, seqs.1, hold.messages, times.0, times.1, kinds.0, kinds.1)
        })
        .collect();
    let spans: Vec<_> = history
        .spans
        .iter()
        .filter(|span| span.member.is_none_or(is_member))
        .map(|span| {
            let (kind, text) = (texts.number(span_kind(span.kind)), texts.number(&*span.text));
            (span.member, kind, micros(span.from), span.until.map(micros), text)
        })
        .collect();
    let marks: Vec<_> = history
        .marks
        .iter()
        .filter(|mark| mark.member.is_none_or(is_member))
        .map(|mark| {
            let (kind, text) = (texts.number(mark_kind(mark.kind)), texts.number(&*mark.text));
            (mark.member, kind, micros(mark.at), text)
        })
        .collect();
    let owned: Vec<_> = owned::owned(history)
        .into_iter()
        .map(|one| (one.member, texts.number(one.shard), micros(one.from), one.until.map(micros)))
        .collect();
    // Numbers, texts and lists of them always print.
    let json = serde_json::to_string(&(&history.members, &texts.texts, holds, spans, marks, owned));
    // A `<` can only be inside of a string there, where this means the same.
    json.unwrap_or_default().replace('<', "\\u003c")
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::New => "new",
        Origin::Recovered => "recovered",
        Origin::Claimed => "claimed",
    }
}

fn end(end: HoldEnd) -> &'static str {
    match end {
        HoldEnd::Acked => "acked",
        HoldEnd::Abandoned => "abandoned",
        HoldEnd::Open => "open",
    }
}

fn span_kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Alive => "alive",
        SpanKind::Frozen => "frozen",
        SpanKind::Disconnected => "disconnected",
        SpanKind::Outage => "outage",
    }
}

fn mark_kind(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Started => "started",
        MarkKind::Killed => "killed",
        MarkKind::Closed => "closed",
        MarkKind::Committed => "committed",
        MarkKind::Claimed => "claimed",
        MarkKind::Assigned => "assigned",
        MarkKind::Revoked => "revoked",
        MarkKind::Fault => "fault",
        MarkKind::Notice => "notice",
        MarkKind::Violation => "violation",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_templates() {
        let values = [("a", "{{b}}"), ("b", "2")];
        assert_eq!(fill("x{{a}}y{{b}}z{{c}}{{", &values), "x{{b}}y2z{{");
    }

    #[test]
    fn markup_in_text_is_text() {
        assert_eq!(escape("plain"), "plain");
        assert_eq!(escape("</script><b a=\"&\">"), "&lt;/script&gt;&lt;b a=&quot;&amp;&quot;&gt;");
    }
}
