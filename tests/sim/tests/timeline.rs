//! The timeline: nothing in it is loaded, no text becomes markup, any history draws, and a
//! recorded trace tells who held what.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod timeline_samples;

use serde_json::{Value, json};
use tidegate_core::trace::{Recorder, Trace, TraceError};
use tidegate_core::{
    AutoCommit, ConsumerMode, ConsumerOptions, Endpoint, Instant, Machine as _, SeqNo, Setup, redis,
};
use tidegate_sim::history::{History, Hold, HoldEnd, Mark, MarkKind, Origin, Span, SpanKind};
use tidegate_sim::timeline::html;

use timeline_samples::{HOSTILE, at, fifty, hostile, three};

fn data(page: &str) -> Value {
    let (_, data) = page.split_once("id=\"data\">").unwrap();
    serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn nothing_is_loaded() {
    let page = html(&three()).to_lowercase();
    for way_out in [
        "http:", "https:", "src=", "href=", "url(", "@import", "<link", "<img", "<iframe", "fetch(",
        "import(",
    ] {
        assert!(!page.contains(way_out), "{way_out}");
    }
    assert!(page.contains("content=\"default-src 'none'; "));
}

#[test]
fn no_text_becomes_markup() {
    let page = html(&hostile());
    assert_eq!(page.matches("<script").count(), html(&History::default()).matches("<script").count());
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(!page.contains("<!--") && !page.contains("<b title"));
    // Whatever it is, it arrives.
    let data = data(&page);
    assert_eq!((&data[0], &data[1][2]), (&json!([HOSTILE]), &json!(HOSTILE)));
    assert!(page.contains("<h1>&lt;/script&gt;&lt;script&gt;alert(1)"));
}

#[test]
fn the_data_says_what_the_history_does() {
    let hold = Hold {
        member: 1,
        shard: "orders/0".into(),
        first: SeqNo::redis(5, 1),
        last: SeqNo::redis(6, 0),
        messages: 3,
        from: at(2),
        until: Some(at(5)),
        origin: Origin::Claimed,
        end: HoldEnd::Acked,
    };
    let open = Hold { until: None, end: HoldEnd::Open, ..hold.clone() };
    let history = History {
        title: "t".into(),
        members: vec!["a".into(), "b".into()],
        holds: vec![hold, open],
        spans: vec![Span {
            member: None,
            kind: SpanKind::Outage,
            from: at(1),
            until: None,
            text: "down".into(),
        }],
        marks: vec![
            Mark { member: Some(0), kind: MarkKind::Assigned, at: at(3), text: "assigned orders/1".into() },
            Mark { member: Some(0), kind: MarkKind::Killed, at: at(4), text: "down".into() },
        ],
        totals: vec![("sent".into(), 12_345)],
    };
    let page = html(&history);
    assert_eq!(
        data(&page),
        json!([
            ["a", "b"],
            [
                "claimed",
                "acked",
                "orders/0",
                "open",
                "outage",
                "down",
                "assigned",
                "assigned orders/1",
                "killed",
                "orders/1",
            ],
            [[1, 2, "5-1", "6-0", 3, 2_000, 5_000, 0, 1], [1, 2, "5-1", "6-0", 3, 2_000, null, 0, 3]],
            [[null, 4, 1_000, null, 5]],
            [[0, 6, 3_000, 7], [0, 8, 4_000, 5]],
            [[0, 9, 3_000, 4_000]],
        ])
    );
    assert!(page.contains("<dt>sent</dt><dd>12\u{202f}345</dd>"));
    assert!(page.contains("<td>b<td>orders/0<td>5-1<td>6-0<td>3<td>0.002 s<td>0.005 s<td>claimed<td>acked"));
    assert!(page.contains("<td>0.001 s<td>the end<td>the broker<td>outage<td>down"));
}

#[test]
fn what_belongs_to_no_member_is_left_out() {
    let data = data(&html(&hostile()));
    let counts: Vec<_> = (2..5).map(|part| data[part].as_array().unwrap().len()).collect();
    assert_eq!(counts, [2, 1, 1]);
    assert!(html(&History::default()).contains("id=\"canvas\""));
}

#[test]
fn a_hundred_thousand_holds_are_a_page_of_megabytes() {
    let history = fifty(100_000);
    let page = html(&history);
    assert!(history.holds.len() > 90_000);
    assert!(page.len() < 12 << 20, "{}", page.len());
    // The tables stay short.
    assert_eq!(page.matches("<tr><td>").count(), 1_000);
    assert_eq!(page.matches(", the first 500 of them here").count(), 2);
}

// ---- traces

fn setup(auto_commit: AutoCommit) -> Setup {
    let options = ConsumerOptions::new(ConsumerMode::LoadBalanced)
        .group("billing")
        .consumer("b-1")
        .auto_commit(auto_commit);
    Setup {
        endpoints: vec![Endpoint::tcp("localhost", 6379)],
        streams: vec!["orders".into()],
        options,
        host: None,
        generated_consumer: "c".into(),
        seed: 1,
        wall_clock: None,
    }
}

/// A trace with these lines after its setup.
fn trace(auto_commit: AutoCommit, lines: &str) -> String {
    let setup = setup(auto_commit);
    let mut text = String::new();
    let machine = redis::Machine::new(setup.clone()).unwrap();
    drop(Recorder::new(machine, "redis", &setup, |line| text.push_str(line)));
    text + lines
}

fn read(trace: &str) -> Result<History, TraceError> {
    History::from_trace(&Trace::parse(trace.as_bytes()).unwrap())
}

fn batch(segment: &str, messages: u64, ids: &str) -> String {
    format!(
        "> take\n< batch \"orders\"/0 epoch 1 segment {segment} messages {messages} {ids} hash 0123456789abcdef\n"
    )
}

/// Start, end and how they came and ended, in seconds.
fn holds(history: &History) -> Vec<(u64, Option<u64>, Origin, HoldEnd)> {
    let seconds = |at: Instant| at.as_nanos() / 1_000_000_000;
    history
        .holds
        .iter()
        .map(|hold| (seconds(hold.from), hold.until.map(seconds), hold.origin, hold.end))
        .collect()
}

const SECOND: &str = "000000000";

#[test]
fn a_trace_tells_who_held_what() {
    let text = [
        "0 > tick\n< open c0.1 tcp \"localhost\" 6379\n< wait 5000000000 \"connect\"\n",
        &format!("1{SECOND} > opened c0.1\n"),
        &format!("2{SECOND} > tick\n< notice \"recovered 2 of orders/0\"\n"),
        &batch("0", 2, "5-1..5-2"),
        &format!("3{SECOND} > tick\n"),
        &batch("1", 3, "7-0..7-2"),
        &format!("4{SECOND} > request ack 1@1:0..2 0@1:0..1\n< accepted\n"),
        "< write c0.1 \"*5\\r\\n$4\\r\\nXACK\\r\\n$6\\r\\norders\"\n",
        &format!("5{SECOND} > closed c0.1 reset\n< notice \"claimed 4 of orders/0\"\n"),
        &batch("2", 4, "6-0..6-3"),
        &format!("6{SECOND} > request ack 1@1:1..3 2@9:0..4\n< accepted\n"),
        &format!("7{SECOND} > opened c0.2\n> take\n< nothing\n"),
        &format!("8{SECOND} > request close 5s\n< ticket 1\n< done 1 closed 2\n> take\n< end\n"),
        &format!("9{SECOND} > tick\n< wait\n"),
    ]
    .concat();
    let history = read(&trace(AutoCommit::Disabled, &text)).unwrap();
    assert_eq!(history.title, "trace of redis: orders, group billing");
    assert_eq!(history.members, ["b-1"]);
    assert_eq!(
        holds(&history),
        [
            (2, Some(8), Origin::Recovered, HoldEnd::Abandoned),
            (3, Some(6), Origin::New, HoldEnd::Acked),
            (5, Some(8), Origin::Claimed, HoldEnd::Abandoned),
        ]
    );
    let spans: Vec<_> =
        history.spans.iter().map(|span| (span.kind, span.from, span.until, &*span.text)).collect();
    assert_eq!(
        spans,
        [
            (SpanKind::Alive, at(0), Some(at(8_000)), ""),
            (SpanKind::Disconnected, at(0), Some(at(1_000)), "c0: connecting to localhost:6379"),
            (SpanKind::Disconnected, at(5_000), Some(at(7_000)), "c0: connection reset"),
        ]
    );
    let marks: Vec<_> = history.marks.iter().map(|mark| (mark.kind, mark.at, &*mark.text)).collect();
    assert_eq!(
        marks,
        [
            (MarkKind::Started, at(0), "the trace begins"),
            (MarkKind::Notice, at(2_000), "recovered 2 of orders/0"),
            (MarkKind::Committed, at(4_000), "XACK was written"),
            (MarkKind::Claimed, at(5_000), "claimed 4 of orders/0"),
            (MarkKind::Notice, at(8_000), "asked: close within 5s"),
            (MarkKind::Closed, at(8_000), "closed, 2 acked messages not committed"),
        ]
    );
    let total = |name: &str| history.totals.iter().find(|total| total.0 == name).unwrap().1;
    assert_eq!((total("delivered"), total("acked"), total("claimed")), (9, 4, 4));
    assert_eq!((total("recovered"), total("connections lost")), (2, 1));
}

#[test]
fn delayed_acks_count_from_when_they_were_taken() {
    let delay = AutoCommit::Delayed { delay: std::time::Duration::from_secs(5) };
    let text = [
        "0 > tick\n",
        &batch("0", 2, "5-1..5-2"),
        &batch("1", 1, "5-3..5-3"),
        &format!("1{SECOND} > request taken 0@1:0..2\n< accepted\n"),
        &format!("7{SECOND} > request taken 1@1:0..1\n< accepted\n"),
    ]
    .concat();
    let history = read(&trace(delay, &text)).unwrap();
    let (new, acked, open) = (Origin::New, HoldEnd::Acked, HoldEnd::Open);
    assert_eq!(holds(&history), [(0, Some(6), new, acked), (0, None, new, open)]);
    let closed = format!("{text}8{SECOND} > request close 5s\n< ticket 1\n< done 1 closed 0\n");
    let history = read(&trace(delay, &closed)).unwrap();
    assert_eq!(holds(&history), [(0, Some(6), new, acked), (0, Some(8), new, acked)]);
}

#[test]
fn without_acks_nothing_is_held() {
    let text = "0 > tick\n".to_owned() + &batch("none", 2, "5-1..5-2");
    let history = read(&trace(AutoCommit::Immediate, &text)).unwrap();
    assert_eq!(holds(&history), [(0, Some(0), Origin::New, HoldEnd::Acked)]);
}

#[test]
fn a_revoked_shard_is_abandoned_and_begins_anew() {
    let text = [
        "0 > tick\n> take\n< assigned \"orders\"/0 epoch 1\n",
        &batch("0", 2, "5-1..5-2"),
        &format!("1{SECOND} > tick\n> take\n< revoked \"orders\"/0 epoch 1\n"),
        &format!("2{SECOND} > tick\n"),
        &batch("1", 2, "5-1..5-2").replace("epoch 1", "epoch 2"),
    ]
    .concat();
    let history = read(&trace(AutoCommit::Disabled, &text)).unwrap();
    assert_eq!(
        holds(&history),
        [(0, Some(1), Origin::New, HoldEnd::Abandoned), (2, None, Origin::New, HoldEnd::Open)]
    );
}

#[test]
fn a_trace_that_was_cut_is_drawn_up_to_there() {
    let whole = trace(AutoCommit::Disabled, &("0 > tick\n".to_owned() + &batch("0", 2, "5-1..5-2")));
    let cut = read(&format!("{whole}1 > req")).unwrap();
    assert_eq!(cut.marks.last().unwrap().kind, MarkKind::Killed);
    assert_eq!(holds(&cut), [(0, None, Origin::New, HoldEnd::Open)]);
    assert!(html(&read(&trace(AutoCommit::Disabled, "")).unwrap()).contains("b-1"));

    let line = whole.lines().count() + 1;
    let error = read(&format!("{whole}nonsense\n0 > tick\n")).unwrap_err();
    assert!(matches!(&error, TraceError::Corrupt { line: at, .. } if *at == line), "{error}");
}

#[test]
fn a_real_machine_leaves_a_trace_that_draws() {
    let setup = setup(AutoCommit::default());
    let mut text = String::new();
    let machine = redis::Machine::new(setup.clone()).unwrap();
    let mut machine = Recorder::new(machine, "redis", &setup, |line| text.push_str(line));
    machine.handle(at(10), tidegate_core::Event::Tick);
    while !matches!(machine.poll_command(), tidegate_core::Command::Wait(_)) {}
    drop(machine);
    let history = read(&text).unwrap();
    assert_eq!(history.spans.first().map(|span| (span.kind, span.from)), Some((SpanKind::Alive, at(10))));
}
