//! `tidegate sim`, without any server: what it prints, what it refuses, and a picture that loads
//! nothing.
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn sim(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("sim").args(args).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

fn done(args: &[&str]) -> (Output, String, String) {
    let output = sim(args).output().unwrap();
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(!stdout.contains('\x1b') && !stderr.contains('\x1b'), "NO_COLOR: {stdout}{stderr}");
    (output, stdout, stderr)
}

/// Ends with status 2 and names what is wrong in its first line.
#[track_caller]
fn refused(args: &[&str], words: &[&str]) {
    let (output, stdout, stderr) = done(args);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
    assert_eq!(stdout, "", "{args:?}");
    let first = stderr.lines().next().unwrap();
    assert!(first.starts_with("error: "), "{args:?}: {stderr}");
    for word in words {
        assert!(first.contains(word), "{args:?}: no {word:?} in: {stderr}");
    }
}

/// A path of this test's own, whose file is removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("tidegate-sim-{}-{name}", std::process::id())))
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
fn twenty_seeds_hold_and_it_says_what_was_run() {
    let (output, stdout, stderr) = done(&["--seeds", "20"]);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    assert!(stdout.starts_with("20 seeds in ") && stdout.ends_with("; 0 failed\n"), "{stdout}");
    // Something was sent and received, so something was simulated.
    let number = |unit: &str| -> u64 {
        let (before, _) = stdout.split_once(unit).unwrap();
        before.rsplit(' ').next().unwrap().replace(',', "").parse().unwrap()
    };
    assert!(number(" messages sent") > 100 && number(" received") > 100, "{stdout}");
    // The table of what happened at all.
    assert!(stderr.lines().count() > 20 && stderr.contains("delivered for the first time"), "{stderr}");
}

#[test]
fn one_seed_is_told_line_by_line_and_the_same_each_time() {
    let (output, told, stderr) = done(&["--seed", "3"]);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(told.lines().count() > 100, "{told}");
    assert!(stderr.contains("a world of ") && stderr.contains("seed 1:3: no promise was broken"), "{stderr}");
    assert_eq!(done(&["--seed", "1:3"]).1, told);
    assert_ne!(done(&["--seed", "4"]).1, told);
}

#[test]
fn the_picture_is_one_file_that_loads_nothing() {
    let html = Scratch::new("picture.html");
    let (output, _, stderr) = done(&["--seed", "3", "--html", html.path()]);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains(&format!("timeline: {}\n", html.path())), "{stderr}");
    let page = std::fs::read_to_string(&html.0).unwrap();
    assert!(page.starts_with("<!") && page.trim_end().ends_with("</html>"), "{page}");
    assert!(page.contains("seed 1:3") && page.contains("orders"), "what was run");
    let page = page.to_lowercase();
    for way_out in ["http://", "https://", "src=", "href=", "url(", "@import", "<link", "<img", "<iframe"] {
        assert!(!page.contains(way_out), "{way_out}");
    }
}

#[test]
fn a_picture_that_can_not_be_written_is_one_line() {
    let (output, _, stderr) = done(&["--seed", "3", "--html", "/nowhere/at/all"]);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.lines().last().unwrap().starts_with("error: /nowhere/at/all: No such file"), "{stderr}");
}

#[test]
fn wrong_usage_is_status_2_and_named() {
    refused(&["--seed", "9:14"], &["9:14", "version 9", "version 1", "check out the commit"]);
    refused(&["--seed", "x"], &["'x'", "--seed"]);
    refused(&["--seed", "1:"], &["'1:'"]);
    refused(&["--first", "-1"], &["-1"]);
    refused(&["--seeds", "0"], &["'0'", "--seeds"]);
    refused(&["--seeds", "many"], &["many"]);
    refused(&["--seeds", "2", "--seed", "3"], &["--seed"]);
    refused(&["--backend", "rabbit"], &["rabbit"]);
    refused(&["--nonsense"], &["--nonsense"]);
    refused(&["more"], &["more"]);
}

#[test]
fn a_backend_that_is_not_simulated_is_one_line() {
    let (output, stdout, stderr) = done(&["--backend", "stdio"]);
    assert_eq!((output.status.code(), stdout.as_str()), (Some(1), ""), "{stderr}");
    assert_eq!(stderr, "error: stdio is not simulated yet: choose --backend redis or --backend kafka\n");
}

#[test]
fn kafka_is_simulated_too() {
    let (output, stdout, stderr) = done(&["--backend", "kafka", "--seeds", "5"]);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stdout.starts_with("5 seeds in ") && stdout.ends_with("0 failed\n"), "{stdout}");
    assert!(stderr.contains("  Fetch: "), "{stderr}");
}

#[test]
fn a_reader_may_have_enough() {
    for args in [&["--seed", "3"][..], &["--seeds", "3"]] {
        let mut child = sim(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
        // Nobody who reads stderr, either.
        let mut child = sim(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stderr.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_one_line() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = sim(&["--seed", "3"]).stdout(full).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("error: can't write to stdout: ") && stderr.lines().count() == 1, "{stderr}");
}
