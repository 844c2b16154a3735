//! The command without a server: help, wrong usage, wrong files, and no password anywhere.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};

const SECRET: &str = "s3cr3t-0f-the-tide";
const URL: &str = "redis://127.0.0.1:1/orders";

fn tidegate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(args).env("NO_COLOR", "1").output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn refused(args: &[&str], words: &[&str]) {
    let output = tidegate(args);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    assert!(output.stdout.is_empty(), "{args:?}");
    assert!(said.starts_with("error: "), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?}: {said}");
    }
    assert!(!said.contains(SECRET) && !said.contains('\x1b'), "{said:?}");
}

/// A file of this test's own, removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("tidegate-usage-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn help_has_examples_and_goes_to_stdout() {
    let help = |args: &[&str]| {
        let output = tidegate(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stderr.is_empty(), "{args:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains('\x1b'), "NO_COLOR");
        text
    };
    let all = help(&["--help"]);
    assert!(all.contains("Examples:\n") && all.contains("tidegate consume redis://"), "{all}");
    assert!(all.contains("tidegate consume kafka://"), "{all}");
    // Whatever commands there are: as the help lists them.
    let (_, list) = all.split_once("Commands:\n").unwrap();
    let names =
        list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    let names: Vec<&str> = names.filter(|name| *name != "help").collect();
    for name in ["consume", "replay", "serve", "sim"] {
        assert!(names.contains(&name), "{name}: {all}");
    }
    for name in names {
        let text = help(&[name, "--help"]);
        let (_, examples) = text.split_once("Examples:\n").unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(examples.contains(&format!("tidegate {name}")), "{name}: {text}");
        assert_eq!(help(&["help", name]), text);
    }
    let consume = help(&["consume", "--help"]);
    for words in
        ["tidegate consume kafka://one:9092,two:9092/orders", "--from 42", "Kafka only:", "\"seq\":\"42\""]
    {
        assert!(consume.contains(words), "{words}: {consume}");
    }
    let output = tidegate(&["--version"]);
    assert!(output.status.success() && output.stdout.starts_with(b"tidegate "));
}

#[test]
fn wrong_usage_is_status_2() {
    assert_eq!(tidegate(&[]).status.code(), Some(2));
    refused(&["consume"], &["URL"]);
    refused(&["nothing"], &["nothing"]);
    refused(&["replay"], &["FILE"]);
    refused(&["consume", URL, "--mode", "load-balanced"], &["--group"]);
    refused(&["consume", URL, "--group", "g"], &["--group", "--mode"]);
    refused(&["consume", URL, "--mode", "sideways"], &["sideways", "load-balanced"]);
    refused(&["consume", URL, "--commit-interval", "5"], &["'5'", "500ms"]);
    refused(&["consume", URL, "--from", "yesterday-ish"], &["yesterday-ish", "beginning"]);
    refused(&["consume", URL, "--shard", "elsewhere:1"], &["elsewhere"]);
    refused(&["consume", URL, "--runtime", "smol"], &["smol", "not in this build"]);
    refused(&["consume", URL, "--runtime", "async-std"], &["async-std", "not in this build"]);
}

#[test]
fn what_is_kafkas_alone_is_refused_with_redis() {
    for (option, value) in [
        ("--protocol", "share"),
        ("--assignor", "roundrobin"),
        ("--isolation", "read-committed"),
        ("--reset", "none"),
        ("--session-timeout", "45s"),
    ] {
        refused(&["consume", URL, option, value], &[option, "Kafka", "redis://"]);
    }
}

#[test]
fn what_kafka_can_not_have_is_refused() {
    const URL: &str = "kafka://127.0.0.1:1/orders";
    refused(&["consume", URL, "--protocol", "raft"], &["raft", "classic", "consumer", "share"]);
    refused(&["consume", URL, "--assignor", "random"], &["random", "roundrobin", "cooperative-sticky"]);
    refused(&["consume", URL, "--isolation", "none"], &["none", "read-committed"]);
    refused(&["consume", URL, "--reset", "middle"], &["middle", "earliest", "latest", "none"]);
    refused(&["consume", URL, "--session-timeout", "45"], &["'45'", "500ms"]);
    refused(&["consume", URL, "--session-timeout", "0s"], &["session_timeout", "1 ms"]);
    refused(&["consume", URL, "--assignor", "range", "--assignor", "range"], &["range twice"]);
    for option in [["--assignor", "range"], ["--session-timeout", "6s"]] {
        for protocol in ["consumer", "share"] {
            let args = [&["consume", URL, "--protocol", protocol], &option[..]].concat();
            refused(&args, &[option[0], "--protocol classic"]);
        }
    }
    refused(&["consume", URL, "--protocol", "share", "--reset", "latest"], &["--reset", "share groups"]);
    refused(&["consume", URL, "--from", "1700000000000-0"], &["--from", "1700000000000-0", "offset"]);
    refused(&["consume", URL, "--from", "9223372036854775808"], &["--from", "offset"]);
    refused(&["consume", URL, "--group", "g"], &["--group", "--mode"]);
    refused(&["consume", URL, "--mode", "load-balanced"], &["--group"]);
    refused(&["consume", URL, "--shard", "elsewhere:1"], &["elsewhere"]);
    refused(&["consume", "kafka://h/a b"], &["'a b'", "topic"]);
    refused(&["consume", "kafka://h"], &["kafka://host/"]);
    refused(&["consume", "kafka://h/orders?db=1"], &["db"]);
    refused(&["consume", &format!("kafka://:{SECRET}@h/orders")], &["user:password@host"]);
    refused(&["consume", &format!("kafka://tide:1/{SECRET}@h/orders")], &["%2F"]);
}

#[test]
fn a_broker_that_is_not_there_is_one_line_without_the_password() {
    let url = format!("kafka://tide:{SECRET}@127.0.0.1:1/orders");
    for args in [
        &["consume", &url][..],
        &["consume", &url, "--mode", "load-balanced", "--group", "g", "--from", "42", "--assignor", "range"],
    ] {
        let output = tidegate(args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(
            said,
            "error: can't connect to 127.0.0.1:1: connection refused; is the server running there?\n"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn wrong_urls_are_refused_and_passwords_kept() {
    for url in ["", "orders", "http://h/s", "redis:///", "redis://h:port/s", "redis://h:70000/s"] {
        refused(&["consume", url], &["URL"]);
    }
    refused(&["consume", "redis://h/"], &["stream"]);
    for scheme in ["rediss", "kafkas", "stdio"] {
        refused(&["consume", &format!("{scheme}://h/s")], &[scheme, "not supported yet"]);
    }
    let secret = format!("redis://tide:{SECRET}@h:port/orders");
    refused(&["consume", &secret], &[]);
    let secret = format!("redis://tide:{SECRET}@h/orders");
    refused(&["consume", URL, &secret], &["unexpected", "redis://tide:…@h/orders"]);
    refused(&["consume", URL, "--from", &secret], &["redis://tide:…@h/orders"]);
    refused(&[&secret], &[]);
}

#[test]
fn nobody_listening_is_one_line_and_status_1() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let output = tidegate(&["consume", &format!("redis://tide:{SECRET}@127.0.0.1:{port}/orders")]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty());
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.starts_with("error: ") && said.contains(&port.to_string()) && said.contains("refused"),
        "{said}"
    );
    assert!(!said.contains(SECRET));
}

#[test]
fn a_trace_that_cannot_be_written_is_status_1() {
    let output = tidegate(&["consume", URL, "--record", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.starts_with("error: can't write the trace /nowhere/at/all: ") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn a_failed_start_is_recorded_and_replays() {
    let trace = Scratch::new("trace", b"");
    let url = format!("redis://tide:{SECRET}@127.0.0.1:1/orders");
    assert_eq!(tidegate(&["consume", &url, "--record", trace.path()]).status.code(), Some(1));
    let text = std::fs::read_to_string(&trace.0).unwrap();
    assert!(text.starts_with("tidegate-trace 1 redis\n") && text.contains("open-failed"), "{text}");
    assert!(!text.contains(SECRET));
    let output = tidegate(&["replay", trace.path()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("all as recorded"));

    let whole = text.replace("127.0.0.1\" 1\n<", "127.0.0.1\" 2\n<");
    assert_ne!(whole, text);
    let changed = Scratch::new("changed", whole.as_bytes());
    let output = tidegate(&["replay", changed.path()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("differs: expected `"), "{}", stderr(&output));

    let cut = Scratch::new("cut", &text.as_bytes()[..text.len() - 3]);
    let output = tidegate(&["replay", cut.path()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("incomplete"));
}

#[test]
fn what_is_no_trace_is_one_line_that_names_the_file() {
    let nonsense = Scratch::new("nonsense", b"this is no trace\n\x00\xff");
    let version = Scratch::new("version", b"tidegate-trace 9 redis\n");
    let kafka = Scratch::new("kafka", b"tidegate-trace 1 kafka\n= end\n");
    let rabbit = Scratch::new("rabbit", b"tidegate-trace 1 rabbit\n= end\n");
    let empty = Scratch::new("empty", b"tidegate-trace 1 redis\n= end\n");
    for (path, word) in [
        (nonsense.path(), "not a trace"),
        (version.path(), "version 9"),
        (kafka.path(), "no server is named"),
        (rabbit.path(), "of a rabbit consumer, and this build knows redis and kafka"),
        (empty.path(), "no server is named"),
        ("/nowhere/at/all", "No such file"),
    ] {
        let output = tidegate(&["replay", path]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(path) && said.contains(word), "{said}");
    }
}
