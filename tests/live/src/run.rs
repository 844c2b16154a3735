//! Any `tidegate` command, to its end.

use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::consume::each_line;
use crate::{binary, process};

/// What a command left when it ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// What was run.
    pub what: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// stdout, line by line.
    pub stdout: Vec<String>,
    /// stderr, line by line.
    pub stderr: Vec<String>,
    /// How long it ran.
    pub took: Duration,
}

impl Finished {
    /// Panics unless the exit status is this one.
    #[track_caller]
    pub fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }

    /// Panics unless stderr holds one of these words, in whatever case.
    #[track_caller]
    pub fn says_one_of(&self, words: &[&str]) -> &Self {
        let stderr = self.stderr.join("\n").to_lowercase();
        assert!(
            words.iter().any(|word| stderr.contains(&word.to_lowercase())),
            "none of {words:?}: {self:#?}"
        );
        self
    }

    /// Panics unless stderr holds this word, in whatever case.
    #[track_caller]
    pub fn says(&self, word: &str) -> &Self {
        self.says_one_of(&[word])
    }

    /// Panics if this is anywhere in what was said.
    #[track_caller]
    pub fn never_says(&self, secret: &str) -> &Self {
        let said = self.stdout.iter().chain(&self.stderr).any(|line| line.contains(secret));
        assert!(!said, "said {secret}: {self:#?}");
        self
    }
}

/// Runs `tidegate` with these arguments to its end. Panics if it takes longer than 30 s, or panics.
#[track_caller]
pub fn run(args: &[&str]) -> Finished {
    run_with(args, &[])
}

/// As [`run`], with environment variables.
#[track_caller]
pub fn run_with(args: &[&str], env: &[(&str, &str)]) -> Finished {
    let started = Instant::now();
    let what = format!("tidegate {}", args.join(" "));
    let mut child = Command::new(binary::tidegate())
        .args(args)
        .env("NO_COLOR", "1")
        .env_remove("RUST_LOG")
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    let collect = |from: Box<dyn std::io::Read + Send>| {
        thread::spawn(move || {
            let mut lines = Vec::new();
            each_line(from, |line| lines.push(line));
            lines
        })
    };
    let (stdout, stderr) = (collect(Box::new(stdout)), collect(Box::new(stderr)));
    let status = process::wait_for_end(&mut child, Duration::from_secs(30));
    let took = started.elapsed();
    process::end(&mut child);
    let (stdout, stderr) = (stdout.join().expect("a reader"), stderr.join().expect("a reader"));
    let Some(status) = status else {
        panic!("`{what}` runs on after {took:?}; stderr:\n{}", stderr.join("\n"));
    };
    let finished = Finished { what, status, stdout, stderr, took };
    finished.never_says("panicked at");
    finished
}

/// A fatal error: status 1, nothing on stdout, one line that says these words.
#[track_caller]
pub fn is_fatal(done: &Finished, words: &[&str]) {
    done.expect(1);
    assert!(done.stdout.is_empty(), "{done:#?}");
    assert_eq!(done.stderr.len(), 1, "one line: {done:#?}");
    for word in words {
        done.says(word);
    }
}

/// Wrong usage: status 2 (or 1 where only the start finds out), nothing on stdout, these words.
#[track_caller]
pub fn is_refused(done: &Finished, words: &[&str]) {
    assert!(matches!(done.status.code(), Some(1 | 2)), "{done:#?}");
    assert!(done.stdout.is_empty(), "{done:#?}");
    for word in words {
        done.says(word);
    }
}
